// sor migrate rehearse.
#include "migrate/commands.hpp"
#include "migrate/rehearsal.hpp"

namespace sor::migrate {
namespace {

ordered_json rehearse_on_a_branch(db::connection& live, const std::vector<const migration*>& migrations,
                                  command_context& context) {
    try {
        branch made(live, migrations, context);
        return rehearse_on(made, migrations, context);
    } catch (const failure& error) {
        if (!db::is_of_stop(error))
            throw;
        throw failure(exit_status::try_again, "the rehearsal was stopped by a signal",
                      "Nothing was changed but the branch, which is dropped.", "The same command begins it anew.");
    }
}

} // namespace

exit_status rehearse(const options& options, command_context& context) {
    workspace work(options, context);
    const auto& file = work.file(options.which.front());
    name_branches_left_behind(work.connection(), context);
    if (const auto* state = work.find_state(file.version);
        state && state->state != "proposed" && state->state != "approved" && state->state != "rolled_back")
        throw failure(exit_status::refused, "migration " + state->version + " is " + state->state, {},
                      "What is to be rehearsed is not applied yet.");
    const auto checksum = work.propose(file);
    work.read_states();
    // those before it that are not applied either come first
    std::vector<const migration*> migrations;
    for (const auto& earlier : work.files()) {
        const auto* state = work.find_state(earlier.version);
        if (&earlier == &file)
            break;
        if (!state || state->state == "proposed" || state->state == "approved")
            migrations.push_back(&earlier);
    }
    migrations.push_back(&file);
    const auto report = rehearse_on_a_branch(work.connection(), migrations, context);
    const db::connection::spared recording(work.connection()); // it is done
    db::on_this_or_another(work.connection(), [&](auto& connection) {
        db::record_rehearsal(connection, work.find_state(file.version)->version, checksum,
                             report.at("branch").template get<std::string>(),
                             report.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
    });
    if (options.json)
        print_json(report);
    else
        print(rehearsal_text(report));
    return report.at("succeeded").get<bool>() ? exit_status::done : exit_status::check_failed;
}

} // namespace sor::migrate
