#pragma once
#include <chrono>
#include <string>
#include <vector>
#include "command.hpp"
#include "db/calls.hpp"
#include "migrate/files.hpp"
#include "migrate/running.hpp"

// The commands of `sor migrate`, each with what its options say.
namespace sor::migrate {

struct options {
    std::string directory; // that of the settings unless given
    bool json = false;
    std::vector<std::string> which;             // versions, or files
    std::string name;                           // new
    bool propose = false;                       // review
    std::string review, branch, backup, reason; // approve
    std::string to;                             // apply
    bool out_of_order = false;
    std::chrono::seconds lock_timeout{3};
    migrate::patience patience;
};

exit_status create(const options& options, command_context& context);
exit_status review(const options& options, command_context& context);
exit_status rehearse(const options& options, command_context& context);
exit_status approve(const options& options, command_context& context);
exit_status apply(const options& options, command_context& context);
exit_status rollback(const options& options, command_context& context);
exit_status status(const options& options, command_context& context);
exit_status verify(const options& options, command_context& context);

// The files of the directory and the database's history, side by side.
class workspace {
public:
    // Names each file that is not read, and each fault, on standard error.
    workspace(const options& options, command_context& context);
    // Without files when the directory is not there.
    struct files_optional {};
    workspace(const options& options, command_context& context, files_optional);

    db::connection& connection() { return connection_; }
    const std::vector<migration>& files() const { return files_; }
    const std::vector<db::migration_state>& states() const { return states_; }
    // The file of a version, or that the argument names as a file. Throws failure (usage) when there is none.
    const migration& file(const std::string& version_or_path) const;
    const migration* find_file(const std::string& version) const;
    const db::migration_state* find_state(const std::string& version) const;

    std::string checksum(const migration& migration);
    // Proposes its texts unless the database has these; they replace others. Errors name file and line.
    std::string propose(const migration& migration);
    void read_states() { states_ = db::migration_status(connection_); }

private:
    db::connection connection_;
    std::vector<migration> files_;
    std::vector<db::migration_state> states_;
};

std::string directory_of(const options& options, const command_context& context);
// Reads the directory; names what is not read and every fault on standard error.
std::vector<migration> read_files(const std::string& directory, command_context& context);
// Says of branches that a killed rehearsal left behind what they are called.
void name_branches_left_behind(db::connection& connection, command_context& context);

} // namespace sor::migrate
