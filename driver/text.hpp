#pragma once
#include <string>
#include <string_view>

namespace sor {

// Without outer spaces, tabs, line ends and no-break spaces (UTF-8).
std::string_view trim(std::string_view text);

// For comparing names: trimmed, in lower case by Unicode's simple mapping.
std::string fold(std::string_view utf8);

// A JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD.
std::string json_quote(std::string_view utf8);

// The first `longest` characters, followed by … where there are more.
std::string excerpt(std::string_view utf8, std::size_t longest);

// How many characters (code points) it has.
std::size_t characters(std::string_view utf8);

// The one spelling of a decimal number: `+07.50` is `7.5`, `-0` is `0`. Anything else comes back as it is.
std::string canonical_decimal(std::string_view text);

} // namespace sor
