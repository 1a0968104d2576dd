// sor migrate status and verify: where each migration stands, and whether files, history and schema agree.
#include <algorithm>
#include "migrate/commands.hpp"
#include "migrate/output.hpp"

namespace sor::migrate {
namespace {

struct row {
    std::string version, name, state, file;
    const db::migration_state* recorded = nullptr;
};

// Everything that the files or the database know, in order.
std::vector<row> side_by_side(const workspace& work) {
    std::vector<row> rows;
    for (const auto& state : work.states()) {
        const auto* file = work.find_file(state.version);
        rows.push_back({state.version, state.name, state.state, file ? file->up_at.path : "", &state});
    }
    for (const auto& file : work.files())
        if (!work.find_state(file.version))
            rows.push_back({file.version, file.name, "not proposed", file.up_at.path, nullptr});
    std::stable_sort(rows.begin(), rows.end(), [](const row& left, const row& right) {
        return compare_versions(left.version, right.version) < 0;
    });
    return rows;
}

ordered_json or_null(const std::string& text) {
    return text.empty() ? ordered_json() : ordered_json(text);
}

} // namespace

exit_status status(const options& options, command_context& context) {
    workspace work(options, context, workspace::files_optional{});
    auto document = ordered_json::array();
    table lines({"version", "name", "state", "proposed by", "approved by", "rehearsed", "applied at", "file"});
    std::string details;
    for (const auto& row : side_by_side(work)) {
        const auto* state = row.recorded;
        const auto of = [&](const std::string db::migration_state::*member) { return state ? state->*member : ""; };
        const auto detail = of(&db::migration_state::detail);
        document.push_back({{"version", row.version},
                            {"name", row.name},
                            {"state", row.state},
                            {"checksum", or_null(of(&db::migration_state::checksum))},
                            {"proposed_by", or_null(of(&db::migration_state::proposed_by))},
                            {"approved_by", or_null(of(&db::migration_state::approved_by))},
                            {"rehearsed", state && state->rehearsed},
                            {"applied_at", or_null(of(&db::migration_state::applied_at))},
                            {"rolled_back_at", or_null(of(&db::migration_state::rolled_back_at))},
                            {"detail", or_null(detail)},
                            {"file", or_null(row.file)}});
        lines.add({row.version, row.name, row.state, of(&db::migration_state::proposed_by),
                   of(&db::migration_state::approved_by), state ? (state->rehearsed ? "yes" : "no") : "",
                   of(&db::migration_state::applied_at), row.file.empty() ? "none" : row.file});
        if (!detail.empty())
            details += row.version + ": " + detail + "\n";
    }
    const auto left_behind = db::branches_left_behind(work.connection());
    if (options.json)
        print_json({{"migrations", document}, {"branches_left_behind", left_behind}});
    else if (lines.empty())
        print("no migrations\n");
    else
        print(lines.text(0) + (details.empty() ? "" : "\n" + details));
    name_branches_left_behind(work.connection(), context);
    return exit_status::done;
}

exit_status verify(const options& options, command_context& context) {
    workspace work(options, context);
    auto document = ordered_json::array();
    const auto found = [&](const std::string& what, const std::string& version, const std::string& detail) {
        document.push_back({{"finding", what}, {"version", or_null(version)}, {"detail", detail}});
        if (!options.json)
            print(what + ": " + detail + "\n");
    };
    const db::migration_state* newest = nullptr;
    bool half_done = false;
    for (const auto& state : work.states()) {
        if (state.fingerprint && (!newest || newest->changed_at < state.changed_at))
            newest = &state;
        if (state.state == "applying" || state.state == "rolling_back") {
            half_done = true;
            found("half done", state.version,
                  "migration " + state.version + " is " + state.state + ". " + state.detail);
        }
        if (state.state != "applied" && state.state != "applying")
            continue;
        const auto* file = work.find_file(state.version);
        if (!file)
            found("missing file", state.version,
                  "migration " + state.version + " " + state.name + " is " + state.state + ", and has no file.");
        else if (work.checksum(*file) != state.checksum)
            found("edited file", state.version,
                  "\"" + file->up_at.path + "\" or its downgrade is not what was applied.");
    }
    // in the midst of one no fingerprint is known
    if (newest && !half_done && db::schema_fingerprint(work.connection()) != *newest->fingerprint)
        found("schema drift", newest->version,
              "the schema is not what it was after migration " + newest->version + " was last " +
                  (newest->state == "applied" ? "applied" : "rolled back") + ": something else has changed it.");
    if (options.json)
        print_json({{"findings", document}});
    return document.empty() ? exit_status::done : exit_status::check_failed;
}

} // namespace sor::migrate
