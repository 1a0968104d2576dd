#include "migrate/files.hpp"
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

namespace sor::migrate {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t largest_file = 64 << 20; // bytes
constexpr std::string_view names_known = "Names known: 0007_NAME.up.sql with 0007_NAME.down.sql, 0007_NAME.sql with "
                                         "\"-- migrate:up\" and \"-- migrate:down\" (dbmate), V7__NAME.sql with "
                                         "U7__NAME.sql (Flyway).";

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// How many bytes at the beginning are a version, with separators from this set.
std::size_t version_length(std::string_view text, std::string_view separators) {
    std::size_t length = 0, at = 0;
    while (at < text.size() && is_digit(text[at])) {
        while (at < text.size() && is_digit(text[at]))
            ++at;
        length = at;
        if (at < text.size() && separators.find(text[at]) != separators.npos)
            ++at;
    }
    return length;
}

std::string_view next_number(std::string_view& rest) {
    while (!rest.empty() && !is_digit(rest.front()))
        rest.remove_prefix(1);
    std::size_t length = 0;
    while (length < rest.size() && is_digit(rest[length]))
        ++length;
    auto number = rest.substr(0, length);
    rest.remove_prefix(length);
    while (!number.empty() && number.front() == '0')
        number.remove_prefix(1);
    return number;
}

bool ends_as_sql(std::string_view name) {
    if (name.size() < 4)
        return false;
    const auto end = name.substr(name.size() - 4);
    return std::equal(end.begin(), end.end(), ".sql",
                      [](char have, char want) { return std::tolower(static_cast<unsigned char>(have)) == want; });
}

// V7__add_notes.sql: the version may have `_` for `.`.
file_name flyway_name(std::string_view stem, part holds) {
    const auto rest = stem.substr(1);
    const auto length = version_length(rest, "._");
    if (length == 0 || rest.substr(length, 2) != "__" || rest.size() == length + 2)
        return {};
    std::string version(rest.substr(0, length));
    std::replace(version.begin(), version.end(), '_', '.');
    return {holds, std::move(version), std::string(rest.substr(length + 2))};
}

std::uint64_t line_of(std::string_view text, std::size_t offset) {
    return 1 + static_cast<std::uint64_t>(
                   std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

// Where the text stops being UTF-8 as PostgreSQL takes it: neither NUL nor surrogates nor overlong forms.
std::optional<std::size_t> first_bad_byte(std::string_view text) {
    std::size_t at = 0;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    while (at < text.size()) {
        const auto lead = byte(at);
        if (lead == 0)
            return at;
        const std::size_t length = lead < 0x80                    ? 1
                                   : lead >= 0xc2 && lead <= 0xdf ? 2
                                   : (lead & 0xf0) == 0xe0        ? 3
                                   : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                                  : 0;
        if (length == 0 || at + length > text.size())
            return at;
        for (std::size_t i = 1; i < length; ++i)
            if ((byte(at + i) & 0xc0) != 0x80)
                return at;
        if ((lead == 0xe0 && byte(at + 1) < 0xa0) || (lead == 0xed && byte(at + 1) > 0x9f) ||
            (lead == 0xf0 && byte(at + 1) < 0x90) || (lead == 0xf4 && byte(at + 1) > 0x8f))
            return at;
        at += length;
    }
    return std::nullopt;
}

bool is_blank(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isspace(c); });
}

// The text of a file, or nothing and a fault.
std::optional<std::string> read_text(const std::string& path, std::vector<file_fault>& faults) {
    std::error_code error;
    const auto status = fs::status(path, error);
    if (error || !fs::is_regular_file(status)) {
        faults.push_back({path, 0, error ? "could not be read: " + error.message() : "is no file"});
        return std::nullopt;
    }
    const auto size = fs::file_size(path, error);
    if (!error && size > largest_file) {
        faults.push_back({path, 0, "is larger than 64 MB: rows are loaded by sor load, not by a migration"});
        return std::nullopt;
    }
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        faults.push_back({path, 0, std::string("could not be read: ") + std::strerror(errno)});
        return std::nullopt;
    }
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    if (file.bad()) {
        faults.push_back({path, 0, std::string("could not be read: ") + std::strerror(errno)});
        return std::nullopt;
    }
    std::string_view rest = bytes;
    if (rest.starts_with("\xff\xfe") || rest.starts_with("\xfe\xff")) {
        faults.push_back({path, 1, "is UTF-16: write it as UTF-8"});
        return std::nullopt;
    }
    if (rest.starts_with("\xef\xbb\xbf"))
        rest.remove_prefix(3);
    if (const auto bad = first_bad_byte(rest)) {
        char value[8];
        std::snprintf(value, sizeof value, "0x%02x", static_cast<unsigned char>(rest[*bad]));
        faults.push_back({path, line_of(rest, *bad),
                          rest[*bad] == '\0' ? "has a zero byte" : std::string("is no UTF-8 at byte ") + value});
        return std::nullopt;
    }
    std::string text;
    text.reserve(rest.size());
    for (std::size_t i = 0; i < rest.size(); ++i)
        if (rest[i] != '\r' || i + 1 == rest.size() || rest[i + 1] != '\n')
            text += rest[i];
    return text;
}

// `-- migrate:up` or `-- migrate:down`, and what follows it in the line.
std::optional<std::pair<part, std::string_view>> section_marker(std::string_view line) {
    if (!line.starts_with("--"))
        return std::nullopt;
    line.remove_prefix(2);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t'))
        line.remove_prefix(1);
    for (const auto& [word, holds] :
         {std::pair<std::string_view, part>{"migrate:up", part::up}, {"migrate:down", part::down}})
        if (line.starts_with(word) &&
            (line.size() == word.size() || std::isspace(static_cast<unsigned char>(line[word.size()]))))
            return std::pair(holds, line.substr(word.size()));
    return std::nullopt;
}

// dbmate's one file. `transaction:false` is taken for granted: the database knows which statements run outside one.
void split_sections(migration& target, const std::string& path, std::string_view text,
                    std::vector<file_fault>& faults) {
    std::optional<std::size_t> begin[2]; // of up and down
    std::size_t end[2] = {text.size(), text.size()};
    std::uint64_t first_line[2] = {1, 1}, number = 0;
    int open = -1;
    for (std::size_t at = 0; at < text.size();) {
        const auto stop = std::min(text.find('\n', at), text.size());
        const auto line = text.substr(at, stop - at);
        const auto next = std::min(stop + 1, text.size());
        ++number;
        if (const auto marker = section_marker(line)) {
            const int side = marker->first == part::down;
            auto options = marker->second;
            const auto word_begin = options.find_first_not_of(" \t");
            if (word_begin != options.npos) {
                options.remove_prefix(word_begin);
                const auto word_end = options.find_last_not_of(" \t\r");
                options = options.substr(0, word_end + 1);
                if (options != "transaction:false" && options != "transaction:true")
                    faults.push_back({path, number, "unknown option \"" + std::string(options) + "\""});
            }
            if (begin[side])
                faults.push_back({path, number, std::string("a second \"-- migrate:") + (side ? "down" : "up") + "\""});
            else if (side == 1 && !begin[0])
                faults.push_back({path, number, "\"-- migrate:down\" stands before \"-- migrate:up\""});
            if (open >= 0)
                end[open] = at;
            begin[side] = next;
            first_line[side] = number + 1;
            open = side;
        } else if (open < 0 && !is_blank(line) && !line.substr(line.find_first_not_of(" \t\r")).starts_with("--")) {
            faults.push_back({path, number, "a statement before \"-- migrate:up\""});
            return;
        }
        at = next;
    }
    if (!begin[0]) {
        faults.push_back({path, 0, "has no line \"-- migrate:up\", nor .up or .down in its name"});
        return;
    }
    target.up = text.substr(*begin[0], end[0] - *begin[0]);
    target.up_at = {path, first_line[0]};
    if (begin[1] && !is_blank(text.substr(*begin[1], end[1] - *begin[1])))
        target.down = text.substr(*begin[1], end[1] - *begin[1]);
    target.down_at = {path, first_line[1]};
}

struct found_file {
    std::string path;
    file_name name;
};

// The migration that up, down or both files make; faults are added. A fault leaves what is returned without a use.
migration assemble(const std::vector<const found_file*>& files, std::vector<file_fault>& faults) {
    migration made;
    const auto* first = files.front();
    made.version = first->name.version;
    made.name = first->name.name;
    const found_file* sides[3] = {}; // up, down, both
    for (const auto* file : files) {
        auto& side = sides[file->name.holds == part::up ? 0 : file->name.holds == part::down ? 1 : 2];
        if (side || (file != first && (sides[2] || file->name.holds == part::both))) {
            faults.push_back({file->path, 0, "has the version of \"" + (side ? side : first)->path + "\""});
            return made;
        }
        side = file;
    }
    if (sides[2]) {
        if (const auto text = read_text(sides[2]->path, faults))
            split_sections(made, sides[2]->path, *text, faults);
    } else {
        const bool flyway = first->path.substr(first->path.find_last_of('/') + 1).find("__") != std::string::npos &&
                            !first->path.ends_with(".up.sql") && !first->path.ends_with(".down.sql");
        if (!sides[0]) {
            faults.push_back({first->path, 0, "has no upgrade beside it"});
            return made;
        }
        if (sides[1] && sides[1]->name.name != sides[0]->name.name) {
            faults.push_back({sides[1]->path, 0, "has another name than \"" + sides[0]->path + "\""});
            return made;
        }
        if (!sides[1] && !flyway) {
            faults.push_back(
                {sides[0]->path, 0, "has no .down.sql beside it: an empty one says that there is no way back"});
            return made;
        }
        made.name = sides[0]->name.name;
        made.version = sides[0]->name.version;
        made.up_at.path = sides[0]->path;
        if (auto text = read_text(sides[0]->path, faults))
            made.up = std::move(*text);
        if (sides[1]) {
            made.down_at.path = sides[1]->path;
            if (auto text = read_text(sides[1]->path, faults); text && !is_blank(*text))
                made.down = std::move(*text);
        }
    }
    if (faults.empty() && is_blank(made.up))
        faults.push_back({made.up_at.path, 0, "has an empty upgrade"});
    return made;
}

std::string summary(const std::vector<file_fault>& faults) {
    return faults.size() == 1 ? "a file cannot be read as a migration"
                              : std::to_string(faults.size()) + " faults in the files of migrations";
}

std::vector<std::string> names_in(const std::string& directory) {
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error))
        names.push_back(entry->path().filename().string());
    if (error)
        throw failure(exit_status::usage, "could not read the directory \"" + directory + "\"", error.message() + ".",
                      "--dir, or directory under [migrate] in the settings, names the directory of the migrations.");
    std::sort(names.begin(), names.end());
    return names;
}

std::string joined(const std::string& directory, const std::string& name) {
    return (fs::path(directory) / name).string();
}

} // namespace

bad_files::bad_files(std::vector<file_fault> faults)
    : failure(exit_status::bad_data, summary(faults), {}, std::string(names_known)), faults_(std::move(faults)) {}

bool is_version(std::string_view text) {
    return !text.empty() && version_length(text, "._-") == text.size();
}

int compare_versions(std::string_view left, std::string_view right) {
    while (!left.empty() || !right.empty()) {
        const auto one = next_number(left), other = next_number(right);
        if (one.size() != other.size())
            return one.size() < other.size() ? -1 : 1;
        if (const int order = one.compare(other))
            return order < 0 ? -1 : 1;
    }
    return 0;
}

file_name parse_file_name(std::string_view name) {
    if (name.starts_with(".") || !ends_as_sql(name))
        return {part::ignored, {}, {}};
    if (!name.ends_with(".sql"))
        return {};
    auto stem = name.substr(0, name.size() - 4);
    if (stem.starts_with("R__") || (stem.size() > 1 && stem.front() == 'B' && is_digit(stem[1])))
        return {part::not_read, {}, {}};
    if (stem.front() == 'V' || stem.front() == 'U')
        return flyway_name(stem, stem.front() == 'V' ? part::up : part::down);
    auto holds = part::both;
    if (stem.ends_with(".up")) {
        holds = part::up;
        stem.remove_suffix(3);
    } else if (stem.ends_with(".down")) {
        holds = part::down;
        stem.remove_suffix(5);
    }
    const auto length = version_length(stem, ".-");
    if (length == 0 || length + 1 >= stem.size() || stem[length] != '_')
        return {};
    return {holds, std::string(stem.substr(0, length)), std::string(stem.substr(length + 1))};
}

directory_content read_directory(const std::string& path) {
    directory_content content;
    std::vector<file_fault> faults;
    std::vector<found_file> files;
    for (const auto& name : names_in(path)) {
        auto parsed = parse_file_name(name);
        const auto file = joined(path, name);
        if (parsed.holds == part::misnamed)
            faults.push_back({file, 0, "is named like no migration"});
        else if (parsed.holds == part::not_read)
            content.not_read.push_back(file);
        else if (parsed.holds != part::ignored)
            files.push_back({file, std::move(parsed)});
    }
    std::stable_sort(files.begin(), files.end(), [](const found_file& left, const found_file& right) {
        return compare_versions(left.name.version, right.name.version) < 0;
    });
    for (auto begin = files.begin(); begin != files.end();) {
        std::vector<const found_file*> same;
        auto end = begin;
        for (; end != files.end() && compare_versions(begin->name.version, end->name.version) == 0; ++end)
            same.push_back(&*end);
        std::vector<file_fault> own;
        content.migrations.push_back(assemble(same, own));
        faults.insert(faults.end(), own.begin(), own.end());
        begin = end;
    }
    if (!faults.empty())
        throw bad_files(std::move(faults));
    return content;
}

migration read_migration(const std::string& path) {
    const auto wanted = fs::path(path).filename().string();
    const auto parsed = parse_file_name(wanted);
    if (parsed.version.empty())
        throw bad_files({{path, 0,
                          parsed.holds == part::not_read ? "is a repeatable or baseline migration, which is not read"
                                                         : "is named like no migration"}});
    auto directory = fs::path(path).parent_path().string();
    std::vector<found_file> files;
    for (const auto& name : names_in(directory.empty() ? "." : directory))
        if (auto other = parse_file_name(name);
            !other.version.empty() && compare_versions(other.version, parsed.version) == 0)
            files.push_back({directory.empty() ? name : joined(directory, name), std::move(other)});
    if (std::none_of(files.begin(), files.end(),
                     [&](const found_file& file) { return fs::path(file.path).filename() == wanted; }))
        throw bad_files({{path, 0, "is not there"}});
    std::vector<const found_file*> same;
    for (const auto& file : files)
        same.push_back(&file);
    std::vector<file_fault> faults;
    auto made = assemble(same, faults);
    if (!faults.empty())
        throw bad_files(std::move(faults));
    return made;
}

} // namespace sor::migrate
