// Versions of migrations, and what a migration's header says. Pure C++; nothing here allocates.
#pragma once

#include <cstddef>
#include <string_view>

namespace sor::migrations {

constexpr size_t longest_version = 100;

// A text that sorts bytewise as the version's numbers do, one by one: 2 before 10, 1 before 1.0, and 1 is 01. NUL at
// its end.
struct sort_key {
    char text[3 * longest_version + 1];
};

// False when the text is no version: numbers between single dots, hyphens or underscores, of at most longest_version
// characters.
bool make_sort_key(std::string_view version, sort_key& into);

// The role that the comments before the first statement name, in a line of the form
//   -- sor: role NAME
// Empty when there is none.
std::string_view header_role(std::string_view text);

} // namespace sor::migrations
