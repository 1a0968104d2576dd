#pragma once
#include <string>
#include <string_view>

namespace sor::report {

// The base64 of a text's SHA-256, as a Content-Security-Policy names what it lets run.
std::string sha256_base64(std::string_view text);

} // namespace sor::report
