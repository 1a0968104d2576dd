#pragma once
#include <functional>
#include <string>
#include <string_view>

namespace sor {

// Reads a JSON text and calls `found` for each value at most `depth` levels below the root, inner ones first, with its
// JSON pointer (`/items/0/item`; the root is empty) and its own compact JSON text. Numbers keep the spelling they came
// in, so an amount passes without becoming a double. Throws Failure (handler_fault) when the text is no JSON, nests
// deeper than 200 levels or has a character that the database cannot store (U+0000).
void split_json(std::string_view text, int depth,
                const std::function<void(const std::string& path, std::string_view json)>& found);

// The string that a JSON string's text means.
std::string json_unquote(std::string_view json);

} // namespace sor
