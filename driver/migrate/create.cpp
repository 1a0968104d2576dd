// sor migrate new: a pair of files under the next version.
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include "migrate/commands.hpp"
#include "migrate/output.hpp"

namespace sor::migrate {
namespace {

// Small letters, digits and `_`.
std::string file_part(const std::string& name) {
    std::string result;
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalnum(byte) && byte < 0x80)
            result += static_cast<char>(std::tolower(byte));
        else if (c == ' ' || c == '-' || c == '_')
            result += result.empty() || result.back() == '_' ? "" : "_";
        else
            throw failure(exit_status::usage, "\"" + name + "\" is no name for a migration",
                          "It is letters, digits, spaces, hyphens and underscores.");
    }
    while (!result.empty() && result.back() == '_')
        result.pop_back();
    if (result.empty())
        throw failure(exit_status::usage, "a migration needs a name", {}, "sor migrate new add_notes_to_expenses");
    return result;
}

// One more than the newest, as wide as it; the time where the newest is one.
std::string next_version(const std::vector<migration>& migrations) {
    if (migrations.empty())
        return "0001";
    const auto& newest = migrations.back().version;
    auto digits = newest.substr(0, newest.find_first_of("._-"));
    if (digits.size() == 14) {
        char text[16];
        const std::time_t now = std::time(nullptr);
        std::tm utc{};
        gmtime_r(&now, &utc);
        std::strftime(text, sizeof text, "%Y%m%d%H%M%S", &utc);
        if (compare_versions(newest, text) < 0)
            return text;
    }
    std::size_t at = digits.size();
    while (at > 0 && digits[at - 1] == '9')
        digits[--at] = '0';
    if (at == 0)
        return "1" + digits;
    ++digits[at - 1];
    return digits;
}

void write_new(const std::string& path, const std::string& text) {
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    const bool written = file >= 0 && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const int error = errno;
    if (file >= 0)
        close(file);
    if (!written)
        throw failure(exit_status::unavailable, "could not write \"" + path + "\"", std::strerror(error));
}

} // namespace

exit_status create(const options& options, command_context& context) {
    const auto name = file_part(options.name);
    const auto directory = directory_of(options, context);
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error)
        throw failure(exit_status::unavailable, "could not make the directory \"" + directory + "\"", error.message());
    const auto version = next_version(read_files(directory, context));
    const auto stem = (std::filesystem::path(directory) / (version + "_" + name)).string();
    write_new(stem + ".up.sql", "-- " + version + " " + name + ": the upgrade\n\n");
    write_new(stem + ".down.sql", "-- " + version + " " + name + ": takes it back; empty this file if nothing can\n\n");
    if (options.json)
        print_json({{"version", version}, {"name", name}, {"up", stem + ".up.sql"}, {"down", stem + ".down.sql"}});
    else
        print(stem + ".up.sql\n" + stem + ".down.sql\n");
    return exit_status::done;
}

} // namespace sor::migrate
