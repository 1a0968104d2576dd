#include "migrations/migrations_core.hpp"

#include <algorithm>

namespace sor::migrations {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

constexpr std::string_view blanks = " \t\r\f\v";

// Removes the word from the front, and the blanks before it; false when something else is there.
bool take(std::string_view& line, std::string_view word) {
    const size_t at = std::min(line.find_first_not_of(blanks), line.size());
    if (!line.substr(at).starts_with(word))
        return false;
    line.remove_prefix(at + word.size());
    return true;
}

} // namespace

bool make_sort_key(std::string_view version, sort_key& into) {
    if (version.empty() || version.size() > longest_version)
        return false;
    char* out = into.text;
    for (size_t i = 0;;) {
        size_t end = i;
        while (end < version.size() && is_digit(version[end]))
            ++end;
        if (end == i)
            return false;
        while (end - i > 1 && version[i] == '0')
            ++i;
        // the length first, in two digits: of two numbers the longer one is the greater
        const size_t length = end - i;
        *out++ = static_cast<char>('0' + (length - 1) / 10);
        *out++ = static_cast<char>('0' + (length - 1) % 10);
        out = std::copy(version.begin() + static_cast<std::ptrdiff_t>(i),
                        version.begin() + static_cast<std::ptrdiff_t>(end), out);
        if (end == version.size())
            break;
        if (std::string_view("._-").find(version[end]) == std::string_view::npos)
            return false;
        i = end + 1;
    }
    *out = '\0';
    return true;
}

std::string_view header_role(std::string_view text) {
    for (;;) {
        const size_t start = text.find_first_not_of(" \t\r\n\f\v");
        if (start == text.npos || !text.substr(start).starts_with("--"))
            return {};
        const size_t end = std::min(text.find('\n', start), text.size());
        std::string_view line = text.substr(start + 2, end - start - 2);
        text.remove_prefix(end);
        if (!take(line, "sor:") || !take(line, "role") || line.empty() || blanks.find(line.front()) == blanks.npos)
            continue;
        line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
        line.remove_suffix(line.size() - (line.find_last_not_of(blanks) + 1));
        if (!line.empty())
            return line;
    }
}

} // namespace sor::migrations
