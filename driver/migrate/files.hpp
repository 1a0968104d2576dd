#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include "failure.hpp"

// Migrations as files, in the names of golang-migrate (which are ours), dbmate and Flyway.
namespace sor::migrate {

// Where a text stands: its line 1 is this line of the file.
struct place {
    std::string path;
    std::uint64_t line = 1;
};

// Lines end in LF whatever the file has, so that a checkout on another system is the same migration.
struct migration {
    std::string version, name;
    std::string up;
    std::optional<std::string> down; // none: it cannot be taken back
    place up_at, down_at;
};

// What is wrong with a file; line 0 is the file as a whole.
struct file_fault {
    std::string path;
    std::uint64_t line = 0;
    std::string reason;
};

// Files that no migration can be read from (65). All faults, in order of their files.
class bad_files : public failure {
public:
    explicit bad_files(std::vector<file_fault> faults);
    const std::vector<file_fault>& faults() const { return faults_; }

private:
    std::vector<file_fault> faults_;
};

// A directory's migrations, in order of their versions; nothing is taken of a directory with a fault.
struct directory_content {
    std::vector<migration> migrations;
    std::vector<std::string> not_read; // Flyway's repeatable and baseline migrations
};

// Throws bad_files; failure (usage) when the directory is not there or may not be read.
directory_content read_directory(const std::string& path);
// One migration by any of its files, with its other half. Throws as read_directory.
migration read_migration(const std::string& path);

// Versions are numbers parted by `.`, `_` or `-`, compared number by number; missing ones count as 0.
bool is_version(std::string_view text);
int compare_versions(std::string_view left, std::string_view right);

// A file of this name could not be one of a migration, or which one it is.
enum class part { up, down, both, ignored, not_read, misnamed };
struct file_name {
    part holds = part::misnamed;
    std::string version, name;
};
file_name parse_file_name(std::string_view name);

} // namespace sor::migrate
