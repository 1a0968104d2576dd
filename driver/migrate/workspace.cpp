#include <filesystem>
#include "migrate/commands.hpp"

namespace sor::migrate {
namespace {

db::connection connect_and_pass_warnings(command_context& context) {
    auto connection = connect(context, login_kind::operator_);
    connection.end_statements_on_stop();
    connection.on_warning([&log = context.log](const auto& message, const auto& detail, const auto& hint) {
        log.warning(message, detail, hint);
    });
    return connection;
}

bool is_path(const std::string& text) {
    return text.find('/') != std::string::npos || text.ends_with(".sql");
}

} // namespace

std::string directory_of(const options& options, const command_context& context) {
    return options.directory.empty() ? context.settings.migrate.directory : options.directory;
}

std::vector<migration> read_files(const std::string& directory, command_context& context) {
    try {
        auto content = read_directory(directory);
        for (const auto& path : content.not_read)
            context.log.warning("\"" + path + "\" is not read: it is a repeatable or a baseline migration");
        return std::move(content.migrations);
    } catch (const bad_files& bad) {
        for (const auto& fault : bad.faults())
            context.log.line(fault.path, fault.line, fault.reason);
        throw;
    }
}

workspace::workspace(const options& options, command_context& context)
    : connection_(connect_and_pass_warnings(context)),
      files_(migrate::read_files(directory_of(options, context), context)) {
    read_states();
}

workspace::workspace(const options& options, command_context& context, files_optional)
    : connection_(connect_and_pass_warnings(context)) {
    const auto directory = directory_of(options, context);
    if (options.directory.empty() && !std::filesystem::exists(directory))
        context.log.warning("there is no directory \"" + directory + "\": the files are not looked at", {},
                            "--dir, or directory under [migrate] in the settings, names it.");
    else
        files_ = migrate::read_files(directory, context);
    read_states();
}

const migration* workspace::find_file(const std::string& version) const {
    for (const auto& one : files_)
        if (compare_versions(one.version, version) == 0)
            return &one;
    return nullptr;
}

const migration& workspace::file(const std::string& version_or_path) const {
    if (is_path(version_or_path)) {
        const auto wanted = std::filesystem::path(version_or_path).lexically_normal();
        for (const auto& one : files_)
            for (const auto* at : {&one.up_at, &one.down_at})
                if (std::filesystem::path(at->path).lexically_normal() == wanted)
                    return one;
    } else if (!is_version(version_or_path)) {
        throw failure(exit_status::usage, "\"" + version_or_path + "\" is no version",
                      "A version is numbers between dots, hyphens or underscores.");
    } else if (const auto* found = find_file(version_or_path)) {
        return *found;
    }
    throw failure(exit_status::usage, "there is no migration \"" + version_or_path + "\" in the directory", {},
                  "sor migrate status lists the migrations; --dir names their directory.");
}

const db::migration_state* workspace::find_state(const std::string& version) const {
    for (const auto& one : states_)
        if (compare_versions(one.version, version) == 0)
            return &one;
    return nullptr;
}

std::string workspace::checksum(const migration& migration) {
    return db::migration_checksum(connection_, migration.up, migration.down);
}

std::string workspace::propose(const migration& migration) {
    try {
        // under the version that it is known by: 7 and 0007 are one
        const auto* known = find_state(migration.version);
        return db::propose_migration(connection_, known ? known->version : migration.version, migration.name,
                                     migration.up, migration.down);
    } catch (const db::sql_error& error) {
        throw located(error, migration);
    }
}

void name_branches_left_behind(db::connection& connection, command_context& context) {
    for (const auto& branch : db::branches_left_behind(connection))
        context.log.warning("branch \"" + branch + "\" was left behind by a rehearsal that was killed", {},
                            "DROP DATABASE " + branch + ";");
}

} // namespace sor::migrate
