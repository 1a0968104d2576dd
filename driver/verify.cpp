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
    const auto of = [&](const char* key) { return bad.at(key).is_null() ? "none" : bad.at(key).dump(); };
    return "FAIL  " + name + bad.at("problem").get<std::string>() + "\n      stream " + of("stream_id") + ", seq " +
           of("seq") + ", event " + of("id") + "\n";
}

exit_status verify(const verify_options& options, command_context& context) {
    auto connection = connect(context);
    auto rows = nlohmann::ordered_json::array();
    bool sound = true;
    for (const auto& tenant : tenants_meant(connection, options.tenant)) {
        if (stop::requested())
            throw failure(exit_status::unavailable, "stopped before every tenant was verified");
        const auto found = db::verify_events(connection, tenant.id);
        sound &= found.first_bad.empty();
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
    return sound ? exit_status::done : exit_status::check_failed;
}

} // namespace

void declare_verify(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "verify", "Recompute the hash chain of all history",
        "Of each tenant granted to the login: reads every event, and what the journal and the outbox say there must\n"
        "be. Prints the first event that does not fit of each tenant and ends with 1; success is silent, so that cron\n"
        "mails only trouble. sor status and sor metrics tell the outcome and its age. For a login in sor_auditor.",
        common);
    auto options = std::make_shared<verify_options>();
    command->add_option("--tenant", options->tenant, "This tenant alone")->type_name("NAME");
    command->add_flag("--json", options->json, "One array of objects, for programs");
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return verify(*options, context); }; });
}

} // namespace sor
