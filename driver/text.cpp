#include "text.hpp"
#include <algorithm>
#include <clocale>
#include <cwctype>
#include <nlohmann/json.hpp>

namespace sor {
namespace {

constexpr std::string_view no_break_space = "\xC2\xA0";

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

bool begins_character(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
}

// Appends the lower case of the character at `at` and returns its length in bytes.
std::size_t append_lower(std::string_view text, std::size_t at, std::string& result, locale_t locale) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (lead < 0x80) {
        result += static_cast<char>(lead >= 'A' && lead <= 'Z' ? lead + 32 : lead);
        return 1;
    }
    if (at + length > text.size() || length > 3 || !locale) { // no case beyond what two and three bytes reach here
        const auto end = std::min(at + length, text.size());
        result += text.substr(at, end - at);
        return end - at;
    }
    wint_t c = length == 2 ? lead & 0x1F : lead & 0x0F;
    for (std::size_t i = 1; i < length; ++i)
        c = (c << 6) | (static_cast<unsigned char>(text[at + i]) & 0x3F);
    c = towlower_l(c, locale);
    if (c < 0x80) {
        result += static_cast<char>(c);
    } else if (c < 0x800) {
        result += static_cast<char>(0xC0 | (c >> 6));
        result += static_cast<char>(0x80 | (c & 0x3F));
    } else {
        result += static_cast<char>(0xE0 | (c >> 12));
        result += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
        result += static_cast<char>(0x80 | (c & 0x3F));
    }
    return length;
}

} // namespace

std::string_view trim(std::string_view text) {
    while (true) {
        if (!text.empty() && is_space(text.front()))
            text.remove_prefix(1);
        else if (text.starts_with(no_break_space))
            text.remove_prefix(no_break_space.size());
        else
            break;
    }
    while (true) {
        if (!text.empty() && is_space(text.back()))
            text.remove_suffix(1);
        else if (text.ends_with(no_break_space))
            text.remove_suffix(no_break_space.size());
        else
            break;
    }
    return text;
}

std::string fold(std::string_view utf8) {
    static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    const auto text = trim(utf8);
    std::string result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size();)
        at += append_lower(text, at, result, locale);
    return result;
}

std::string json_quote(std::string_view utf8) {
    // Most text needs no escape; the library's way costs three allocations.
    const bool plain =
        std::all_of(utf8.begin(), utf8.end(), [](char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; });
    if (plain)
        return '"' + std::string(utf8) + '"';
    return nlohmann::json(utf8).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string excerpt(std::string_view utf8, std::size_t longest) {
    for (std::size_t at = 0, seen = 0; utf8.size() > longest && at < utf8.size(); ++at)
        if (begins_character(utf8[at]) && seen++ == longest)
            return std::string(utf8.substr(0, at)) + "…";
    return std::string(utf8);
}

std::size_t characters(std::string_view utf8) {
    return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), begins_character));
}

std::string canonical_decimal(std::string_view text) {
    auto digits = text;
    bool negative = false;
    if (!digits.empty() && (digits.front() == '+' || digits.front() == '-')) {
        negative = digits.front() == '-';
        digits.remove_prefix(1);
    }
    const auto point = digits.find('.');
    auto whole = digits.substr(0, point);
    auto fraction = point == digits.npos ? std::string_view() : digits.substr(point + 1);
    const auto all_digits = [](std::string_view part) {
        return std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    };
    if ((whole.empty() && fraction.empty()) || !all_digits(whole) || !all_digits(fraction))
        return std::string(text);
    while (whole.starts_with('0'))
        whole.remove_prefix(1);
    while (fraction.ends_with('0'))
        fraction.remove_suffix(1);
    std::string result = whole.empty() ? "0" : std::string(whole);
    if (!fraction.empty())
        result += "." + std::string(fraction);
    return negative && result != "0" ? "-" + result : result;
}

} // namespace sor
