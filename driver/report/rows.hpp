#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sor::report {

// An object of the database's JSON, its members as they stand there: numbers keep every digit, and nothing is too deep.
// Refers to the text that it was read from.
class row {
public:
    row() = default;
    explicit row(std::string_view json);

    // The member's JSON; empty when there is none.
    std::string_view json(std::string_view name) const;
    // A string without its quotes, anything else as it stands; empty for null and where there is none.
    std::string text(std::string_view name) const;
    bool has(std::string_view name) const;
    row object(std::string_view name) const { return row(json(name)); }
    std::vector<row> objects(std::string_view name) const;

private:
    std::vector<std::pair<std::string_view, std::string_view>> members_; // keys with their quotes
};

// The elements of an array of objects.
std::vector<row> rows_of(std::string_view json);

// Indented, every value spelled as it was.
std::string indented(std::string_view json);

// Microseconds since 1970 of 2026-11-20T11:51:32.125+00:00; null when it is no such text, or infinite.
std::optional<std::int64_t> moment_of(std::string_view iso);
// "2.5 s", "3 min 20 s": three digits at most of each, or two units.
std::string duration_text(std::int64_t microseconds);

// For a person's eyes: control characters and those that turn the direction of text stand as ⟨U+001B⟩, so that a text
// can neither steer a terminal nor pass for another. Line ends and tabs too, unless they are kept.
std::string visible(std::string_view utf8, bool keep_lines = false);

// Like visible(), and safe between the tags and in the quoted attributes of HTML and SVG. What is longer than `longest`
// characters is cut, and says so.
std::string html(std::string_view utf8, std::size_t longest = 4000);

} // namespace sor::report
