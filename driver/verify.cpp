#include <cstdio>
#include <memory>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include "command.hpp"
#include "report/rows.hpp"
#include "stop.hpp"

namespace sor {
namespace {

struct verify_options {
    std::string tenant;
    bool json = false;
};

std::string as_text(const db::tenant& tenant, const db::verification& found) {
    const auto name = "tenant \"" + report::visible(tenant.name) + "\": ";
    if (found.first_bad.empty())
        return "ok    " + name + std::to_string(found.events) + " events in " + std::to_string(found.streams) +
               (found.streams == 1 ? " stream\n" : " streams\n");
    const auto bad = nlohmann::json::parse(found.first_bad);
    auto text = "FAIL  " + name + bad.at("problem").get<std::string>() + "\n      stream " + bad.at("stream_id").dump();
    const bool of_event = !bad.at("seq").is_null();
    if (of_event)
        text += ", seq " + bad.at("seq").dump();
    if (!bad.at("id").is_null())
        text += (of_event ? ", event " : ", row ") + bad.at("id").dump();
    return text + "\n";
}

exit_status verify(const verify_options& options, command_context& context) {
    auto connection = connect(context);
    auto rows = nlohmann::ordered_json::array();
    exit_outcome outcome;
    for (const auto& tenant : tenants_meant(connection, options.tenant)) {
        if (stop::requested())
            throw failure(exit_status::try_again, "stopped before every tenant was verified");
        db::verification found;
        try {
            found = db::verify_events(connection, tenant.id);
        } catch (const db::sql_error& error) {
            if (!connection.alive() || db::is_of_stop(error))
                throw;
            // The others' history is looked at all the same.
            context.log.error("tenant \"" + report::visible(tenant.name) + "\" was not verified: " + error.message(),
                              error.detail(), error.hint());
            outcome.add(error.code());
            continue;
        }
        if (!found.first_bad.empty())
            outcome.add(exit_status::check_failed);
        if (options.json)
            rows.push_back({{"tenant", tenant.name},
                            {"tenant_id", tenant.id},
                            {"streams", found.streams},
                            {"events", found.events},
                            {"first_bad", found.first_bad.empty() ? nlohmann::ordered_json()
                                                                  : nlohmann::ordered_json::parse(found.first_bad)}});
        else if (!found.first_bad.empty() || context.log.verbose() || isatty(STDOUT_FILENO))
            std::fputs(as_text(tenant, found).c_str(), stdout);
    }
    if (options.json)
        std::printf("%s\n", rows.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    return outcome.code();
}

} // namespace

void declare_verify(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "verify", "Recompute the hash chain of all history",
        "Of each tenant granted to the login: reads every event, and every row of the journal and the outbox, which\n"
        "events tell of. Prints the first of each tenant that does not fit and ends with 1; success is silent, so\n"
        "that cron mails only trouble. A tenant that cannot be read keeps no other from being verified.\n"
        "sor status and sor metrics tell the outcome and its age. For a login in sor_auditor.",
        common);
    auto options = std::make_shared<verify_options>();
    command->add_option("--tenant", options->tenant, "This tenant alone")->type_name("NAME");
    command->add_flag("--json", options->json, "One array of objects, for programs");
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return verify(*options, context); }; });
}

} // namespace sor
