// sor migrate apply and rollback.
#include <algorithm>
#include <optional>
#include <source_location>
#include "migrate/commands.hpp"
#include "migrate/output.hpp"

namespace sor::migrate {
namespace {

db::run_options run_options_of(const options& options) {
    return {options.out_of_order, options.lock_timeout};
}

// The migrations to apply, in order: the one that is named, or all that are not applied, up to --to.
std::vector<const migration*> to_apply(const options& options, const workspace& work) {
    std::vector<const migration*> chosen;
    if (!options.which.empty() && !options.to.empty())
        throw failure(exit_status::usage, "a version and --to exclude each other");
    const auto* last = options.to.empty() ? nullptr : &work.file(options.to);
    for (const auto& file : work.files()) {
        if (!options.which.empty() && &file != &work.file(options.which.front()))
            continue;
        const auto* state = work.find_state(file.version);
        // one that was rolled back was meant to be: it is applied again when it is named
        const bool named = !options.which.empty() || &file == last;
        if (!state || (state->state != "applied" && (named || state->state != "rolled_back")))
            chosen.push_back(&file);
        if (&file == last)
            break;
    }
    return chosen;
}

// Files of what was applied or approved say what they said then.
void refuse_edited_files(workspace& work, const std::vector<const migration*>& chosen) {
    for (const auto& file : work.files()) {
        const auto* state = work.find_state(file.version);
        if (!state || state->state == "proposed" || work.checksum(file) == state->checksum)
            continue;
        const bool is_chosen = std::find(chosen.begin(), chosen.end(), &file) != chosen.end();
        if (!is_chosen && state->state == "rolled_back")
            continue;
        const bool was_applied = state->state != "approved" && state->state != "rolled_back";
        throw db::sql_error(
            "SR011", file.up_at.path + ": the files are not what was " + (was_applied ? "applied" : "approved"),
            "Migration " + state->version + " is " + state->state + " with the checksum " + state->checksum + ".",
            was_applied ? "Restore the files from version control; a change is a migration of its own."
                        : "Restore the files, or have the change rehearsed and approved: sor migrate rehearse " +
                              state->version + ".",
            {}, std::source_location::current());
    }
}

ordered_json report(const std::string& version, const std::string& name, db::direction direction,
                    const std::vector<db::ran_statement>& ran) {
    return {{"version", version},
            {"name", name},
            {"direction", db::name_of(direction)},
            {"statements", statements_json(ran)}};
}

ordered_json error_json(const failure& error) {
    const auto* database = dynamic_cast<const db::sql_error*>(&error);
    return {{"sqlstate", database ? ordered_json(database->sqlstate()) : ordered_json()},
            {"message", error.message()},
            {"detail", error.detail()},
            {"hint", error.hint()},
            {"context", database ? ordered_json(database->context()) : ordered_json()}};
}

void say_done(const std::string& what, const std::vector<db::ran_statement>& ran, command_context& context) {
    double total = 0;
    for (const auto& statement : ran)
        total += statement.milliseconds;
    context.log.info(what + ": " + std::to_string(ran.size()) + (ran.size() == 1 ? " statement, " : " statements, ") +
                     duration_text(total) + "\n" + statements_text(ran, 2));
}

// Says where a migration stands that an error left between two steps.
void say_where_it_stands(workspace& work, const std::string& version, command_context& context) {
    if (!work.connection().alive())
        return;
    const db::connection::spared looking(work.connection());
    work.read_states();
    const auto* state = work.find_state(version);
    if (state && (state->state == "applying" || state->state == "rolling_back"))
        context.log.warning("migration " + state->version + " is " +
                                (state->state == "applying" ? "half applied" : "half rolled back"),
                            state->detail,
                            "sor migrate " + std::string(state->state == "applying" ? "apply " : "rollback ") +
                                state->version + " goes on from there.");
}

} // namespace

exit_status apply(const options& options, command_context& context) {
    workspace work(options, context);
    const auto chosen = to_apply(options, work);
    refuse_edited_files(work, chosen);
    auto document = ordered_json{{"applied", ordered_json::array()}};
    for (const auto* file : chosen) {
        const auto* state = work.find_state(file->version);
        const auto version = state ? state->version : file->version;
        try {
            if (!state || state->state == "proposed")
                work.propose(*file);
            const auto ran = run(work.connection(), version, db::direction::up, run_options_of(options),
                                 options.patience, context.log);
            say_done("migration " + version + " " + file->name + " is applied", ran, context);
            document["applied"].push_back(report(version, file->name, db::direction::up, ran));
        } catch (const failure& error) {
            if (options.json) {
                document["error"] = error_json(error);
                document["error"]["version"] = version;
                print_json(document);
            }
            if (const auto* database = dynamic_cast<const db::sql_error*>(&error)) {
                const auto where = located(*database, *file);
                say_where_it_stands(work, version, context);
                throw where;
            }
            say_where_it_stands(work, version, context);
            throw;
        }
    }
    if (options.json)
        print_json(document);
    else if (chosen.empty())
        context.log.info("nothing to apply");
    return exit_status::done;
}

exit_status rollback(const options& options, command_context& context) {
    workspace work(options, context, workspace::files_optional{});
    const auto& argument = options.which.front();
    const auto* state = work.find_state(argument);
    if (!state)
        throw failure(exit_status::usage, "the database has no migration \"" + argument + "\"", {},
                      "sor migrate status lists the migrations.");
    const auto version = state->version;
    const auto* file = work.find_file(version);
    try {
        const auto ran = run(work.connection(), version, db::direction::down, run_options_of(options), options.patience,
                             context.log);
        say_done("migration " + version + " is rolled back", ran, context);
        if (options.json)
            print_json({{"rolled_back", {report(version, work.find_state(version)->name, db::direction::down, ran)}}});
    } catch (const failure& error) {
        const db::connection::spared looking(work.connection());
        std::optional<db::sql_error> where;
        // the text that ran is the database's: the file's line is meant when the file says the same
        if (const auto* database = dynamic_cast<const db::sql_error*>(&error);
            database && file && work.connection().alive() && work.checksum(*file) == state->checksum)
            where = located(*database, *file);
        if (options.json)
            print_json({{"rolled_back", ordered_json::array()}, {"error", error_json(where ? *where : error)}});
        say_where_it_stands(work, version, context);
        if (where)
            throw *where;
        throw;
    }
    return exit_status::done;
}

} // namespace sor::migrate
