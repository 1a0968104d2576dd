#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <nlohmann/json_fwd.hpp>

namespace sor {

// Reads a JSON text and calls `found` for each value at most `depth` levels below the root, inner ones first, with its
// JSON pointer (`/items/0/item`; the root is empty) and its own compact JSON text. In a pointer a key is cut after
// 100 characters, so that a long one costs nothing at each value below it. Numbers keep the spelling they came in, so
// an amount passes without becoming a double. Throws Failure (handler_fault) when the text is no JSON, nests deeper
// than 200 levels or has a character that the database cannot store (U+0000).
void split_json(std::string_view text, int depth,
                const std::function<void(const std::string& path, std::string_view json)>& found);

// What is wrong with a text though it is JSON; places are JSON pointers.
struct json_faults {
    bool too_deep = false;
    std::optional<std::string> double_key; // the first
    std::optional<std::string> nul;        // the first string, or member whose key, holds U+0000
};

// As split_json, but faults are reported at the end, so that `found` gets all the rest: what nests deeper than
// `deepest` levels stands as null in the texts. A depth of -1 calls nothing. Keys are compared when `unique_keys`.
// Memory is bounded by the text's length, the stack by nothing that the text holds. Throws Failure (bad_data) when the
// text is no JSON; the detail says where.
json_faults scan_json(std::string_view text, int depth, std::size_t deepest, bool unique_keys,
                      const std::function<void(const std::string& path, std::string_view json)>& found);

// The members of an object as they stand in its text, key (with its quotes) and value, or the elements of an array,
// whose keys are empty. For a text that is known to be JSON, such as the database's: nothing is read, so no number is
// too large and nothing too deep.
void each_member(std::string_view text, const std::function<void(std::string_view key, std::string_view value)>& found);

// The object without one member, which may be absent; the rest keeps its spelling. Keys are spelled as json_quote does.
std::string without_member(std::string_view object, std::string_view member);

// A member that is a string; empty when there is none.
std::string string_member(const nlohmann::json& object, const char* member);

// The string that a JSON string's text means.
std::string json_unquote(std::string_view json);

} // namespace sor
