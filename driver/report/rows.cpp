#include "report/rows.hpp"
#include <array>
#include <cstdio>
#include <ctime>
#include "json_text.hpp"
#include "text.hpp"

namespace sor::report {
namespace {

// A character and how many bytes it has. The database's text is valid UTF-8; a stray byte stands for itself.
std::pair<char32_t, std::size_t> character_at(std::string_view text, std::size_t at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length == 1 || at + length > text.size())
        return {lead, 1};
    char32_t value = lead & (0xFF >> (length + 1));
    for (std::size_t i = 1; i < length; ++i)
        value = value << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3F);
    return {value, length};
}

// Seen by nobody, or of effect on what stands beside it: controls, line ends, noncharacters, and what Unicode calls
// Default_Ignorable_Code_Point (bidirectional marks, zero widths, fillers, variation selectors, tags).
bool is_hidden(char32_t c) {
    constexpr std::pair<char32_t, char32_t> hidden[] = {
        {0x00, 0x1F},     {0x7F, 0x9F},       {0xAD, 0xAD},       {0x34F, 0x34F},     {0x61C, 0x61C},
        {0x115F, 0x1160}, {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x200B, 0x200F},   {0x2028, 0x202E},
        {0x2060, 0x206F}, {0x3164, 0x3164},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},
        {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
    };
    if ((c & 0xFFFE) == 0xFFFE)
        return true;
    for (const auto& [first, last] : hidden)
        if (c <= last)
            return c >= first;
    return false;
}

void append_named(std::string& out, char32_t c) {
    std::array<char, 16> name{};
    std::snprintf(name.data(), name.size(), "U+%04X", static_cast<unsigned>(c));
    out.append("⟨").append(name.data()).append("⟩");
}

} // namespace

row::row(std::string_view json) {
    if (json.starts_with('{'))
        each_member(json, [&](std::string_view key, std::string_view value) { members_.emplace_back(key, value); });
}

std::string_view row::json(std::string_view name) const {
    for (const auto& [key, value] : members_)
        if (key.substr(1, key.size() - 2) == name)
            return value;
    return {};
}

std::string row::text(std::string_view name) const {
    const auto value = json(name);
    return value == "null" ? std::string() : value.starts_with('"') ? json_unquote(value) : std::string(value);
}

bool row::has(std::string_view name) const {
    const auto value = json(name);
    return !value.empty() && value != "null";
}

std::vector<row> row::objects(std::string_view name) const {
    return rows_of(json(name));
}

std::vector<row> rows_of(std::string_view json) {
    std::vector<row> rows;
    if (json.starts_with('['))
        each_member(json, [&](std::string_view, std::string_view value) { rows.emplace_back(value); });
    return rows;
}

std::string indented(std::string_view json) {
    std::string out;
    std::size_t depth = 0;
    const auto new_line = [&] { out.append("\n").append(2 * depth, ' '); };
    for (std::size_t at = 0; at < json.size(); ++at) {
        const char c = json[at];
        if (c == '"') {
            const auto begin = at;
            while (json[++at] != '"')
                at += json[at] == '\\';
            out.append(json.substr(begin, at - begin + 1));
        } else if (c == '{' || c == '[') {
            out += c;
            const auto next = json.find_first_not_of(" \n", at + 1);
            if (json[next] == '}' || json[next] == ']') {
                out += json[next];
                at = next;
                continue;
            }
            ++depth;
            new_line();
        } else if (c == '}' || c == ']') {
            --depth;
            new_line();
            out += c;
        } else if (c == ',') {
            out += c;
            new_line();
        } else if (c == ':') {
            out += ": ";
        } else if (c != ' ' && c != '\n') {
            out += c;
        }
    }
    return out;
}

std::optional<std::int64_t> moment_of(std::string_view iso) {
    std::tm time{};
    int used = 0;
    const std::string text(iso);
    if (std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d%n", &time.tm_year, &time.tm_mon, &time.tm_mday, &time.tm_hour,
                    &time.tm_min, &time.tm_sec, &used) != 6)
        return std::nullopt;
    time.tm_year -= 1900;
    time.tm_mon -= 1;
    auto at = static_cast<std::size_t>(used);
    std::int64_t fraction = 0;
    if (at < text.size() && text[at] == '.') {
        std::int64_t unit = 1000000;
        for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
            fraction += (text[at] - '0') * (unit /= 10);
    }
    int hours = 0, minutes = 0, seconds = 0;
    const bool west = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '+' || west))
        std::sscanf(text.c_str() + at + 1, "%d:%d:%d", &hours, &minutes, &seconds);
    const std::int64_t offset = (west ? -1 : 1) * (hours * 3600L + minutes * 60L + seconds);
    return (static_cast<std::int64_t>(timegm(&time)) - offset) * 1000000 + fraction;
}

std::string duration_text(std::int64_t us) {
    std::array<char, 64> out{};
    const auto print = [&](const char* format, auto... values) {
        std::snprintf(out.data(), out.size(), format, values...);
        return std::string(out.data());
    };
    const std::int64_t s = us / 1000000;
    if (us < 1000)
        return print("%d µs", static_cast<int>(us));
    if (s < 1)
        return print("%.3g ms", static_cast<double>(us) / 1e3);
    if (s < 60)
        return print("%.3g s", static_cast<double>(us) / 1e6);
    if (s < 3600)
        return print("%d min %d s", static_cast<int>(s / 60), static_cast<int>(s % 60));
    if (s < 86400)
        return print("%d h %d min", static_cast<int>(s / 3600), static_cast<int>(s % 3600 / 60));
    return print("%d d %d h", static_cast<int>(s / 86400), static_cast<int>(s % 86400 / 3600));
}

std::string visible(std::string_view utf8, bool keep_lines) {
    std::string out;
    out.reserve(utf8.size());
    for (std::size_t at = 0; at < utf8.size();) {
        const auto [c, length] = character_at(utf8, at);
        if (is_hidden(c) && !(keep_lines && (c == '\n' || c == '\t')))
            append_named(out, c);
        else
            out.append(utf8.substr(at, length));
        at += length;
    }
    return out;
}

std::string html(std::string_view utf8, std::size_t longest) {
    const auto shown = excerpt(utf8, longest);
    std::string out;
    for (const char c : visible(shown, true)) {
        switch (c) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '"':
            out += "&quot;";
            break;
        case '\'':
            out += "&#39;";
            break;
        default:
            out += c;
        }
    }
    if (shown.size() != utf8.size())
        out += " (" + std::to_string(characters(utf8)) + " characters in all)";
    return out;
}

} // namespace sor::report
