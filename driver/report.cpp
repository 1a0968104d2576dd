#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include "command.hpp"
#include "db/calls.hpp"
#include "text.hpp"

namespace sor {
namespace {

using nlohmann::ordered_json;

struct report_options {
    std::string tenant, run, worker, run_key, since, until;
    std::string format = "text";
    int max = 1000;
};

void print(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

// A value as a person reads it.
std::string plain(const ordered_json& value) {
    if (value.is_null())
        return "-";
    if (value.is_string())
        return value.get<std::string>();
    return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string member(const ordered_json& object, const char* name) {
    const auto found = object.find(name);
    return found == object.end() ? "-" : plain(*found);
}

// Rows under a heading, columns as wide as their longest value.
void print_table(const ordered_json& report, const char* part, const std::vector<const char*>& columns) {
    const auto found = report.find(part);
    if (found == report.end() || !found->is_array())
        return;
    std::vector<std::vector<std::string>> rows{{columns.begin(), columns.end()}};
    for (const auto& entry : *found) {
        rows.emplace_back();
        for (const auto* column : columns)
            rows.back().push_back(member(entry, column));
    }
    std::vector<std::size_t> widths(columns.size());
    for (const auto& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], row[i].size());
    print("\n" + std::string(part) + " (" + std::to_string(found->size()) + ")\n");
    if (found->empty())
        return;
    for (const auto& row : rows) {
        std::string line = " ";
        for (std::size_t i = 0; i < row.size(); ++i)
            line += " " + row[i] + std::string(i + 1 < row.size() ? widths[i] - row[i].size() + 1 : 0, ' ');
        print(line + "\n");
    }
}

void print_report(const std::string& text) {
    const auto report = ordered_json::parse(text);
    for (const auto* name : {"run", "scope", "timeline", "failure_point", "side_effects", "cause_and_next_action"}) {
        std::string label = name;
        for (auto& c : label)
            c = c == '_' ? ' ' : c;
        std::printf("%-22s %s\n", (label + ":").c_str(), member(report.at("summary"), name).c_str());
    }
    print_table(report, "tool_calls", {"turn_no", "tool", "status", "started_at", "finished_at", "error"});
    print_table(report, "outbox",
                {"destination", "event_type", "aggregate_id", "status", "attempts", "processed_at", "last_error"});
    print_table(report, "events", {"created_at", "seq", "event_type", "actor_kind", "actor"});
}

std::string tenant_id(const report_options& options, db::connection& connection) {
    for (const auto& tenant : db::granted_tenants(connection))
        if (fold(tenant.name) == fold(options.tenant))
            return tenant.id;
    throw failure(exit_status::refused, "unknown tenant \"" + options.tenant + "\"",
                  "No tenant of this name is granted to the login.",
                  "An operator grants tenants with sor.grant_tenant.");
}

std::string run_id(const report_options& options, db::connection& connection, const std::string& tenant) {
    if (!options.run.empty() && options.run != "latest")
        return options.run;
    const auto runs =
        db::find_runs(connection, tenant, options.worker.empty() ? std::nullopt : std::optional(options.worker),
                      options.run_key.empty() ? std::nullopt : std::optional(options.run_key), 1);
    if (runs.empty())
        throw failure(exit_status::usage, "tenant \"" + options.tenant + "\" has no such run", {},
                      "sor report --tenant NAME lists its runs.");
    return runs.front().id;
}

exit_status report_period(const report_options& options, db::connection& connection, const std::string& tenant) {
    const auto happenings = db::what_happened(connection, tenant, options.since, options.until, options.max);
    if (options.format == "json") {
        auto rows = ordered_json::array();
        for (const auto& one : happenings)
            rows.push_back({{"created_at", one.created_at},
                            {"run_id", one.run_id.empty() ? ordered_json() : ordered_json(one.run_id)},
                            {"event_type", one.event_type},
                            {"actor", one.actor},
                            {"narrative", one.narrative}});
        print(rows.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
    } else {
        for (const auto& one : happenings)
            print(one.created_at + "  " + one.event_type + "  " + one.actor + "  " + one.narrative + "\n");
        if (happenings.size() == static_cast<std::size_t>(options.max))
            print("... " + std::to_string(options.max) + " shown; --max shows more\n");
    }
    return exit_status::done;
}

exit_status report_runs(const report_options& options, db::connection& connection, const std::string& tenant) {
    auto runs = ordered_json::array();
    for (const auto& run : db::find_runs(connection, tenant, std::nullopt, std::nullopt, options.max))
        runs.push_back({{"run_id", run.id},
                        {"worker", run.worker},
                        {"run_key", run.run_key},
                        {"status", run.status},
                        {"started_at", run.started_at},
                        {"finished_at", run.finished_at}});
    if (options.format == "json")
        print(runs.dump(2) + "\n");
    else
        print_table({{"runs", runs}}, "runs", {"run_id", "worker", "run_key", "status", "started_at", "finished_at"});
    return exit_status::done;
}

exit_status report(const report_options& options, command_context& context) {
    const bool period = !options.since.empty();
    if (period && !options.run.empty())
        throw failure(exit_status::usage, "a run and --since exclude each other");
    if (!period && options.until != "now")
        throw failure(exit_status::usage, "--until goes with --since");
    auto connection = connect(context);
    std::signal(SIGPIPE, SIG_DFL); // `sor report | head` ends as any filter does
    const auto tenant = tenant_id(options, connection);
    if (period)
        return report_period(options, connection, tenant);
    if (options.run.empty() && options.worker.empty() && options.run_key.empty())
        return report_runs(options, connection, tenant);
    const auto text = db::forensic_report(connection, tenant, run_id(options, connection, tenant));
    if (options.format == "json")
        print(ordered_json::parse(text).dump(2) + "\n");
    else
        print_report(text);
    return exit_status::done;
}

} // namespace

void declare_report(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(app, "report", "Say what a Worker did, out of the database alone",
                                "With a run, its id, `latest` or the newest of --worker or --run-key: the forensic "
                                "report, a summary of six lines and\n"
                                "the tool calls, messages and events. With --since and --until: what happened in that "
                                "time. With neither: the runs.\n"
                                "For a login in sor_auditor.",
                                common);
    auto options = std::make_shared<report_options>();
    command->add_option("run,--run", options->run, "Id of a run, or latest")->type_name("RUN");
    command->add_option("--tenant", options->tenant, "The tenant")->required()->type_name("NAME");
    command->add_option("--worker", options->worker, "The newest run of this Worker")->type_name("NAME");
    command->add_option("--run-key", options->run_key, "The run of this key")->type_name("K");
    command->add_option("--since", options->since, "Begin of the time asked about, as PostgreSQL reads it")
        ->type_name("TIME");
    command->add_option("--until", options->until, "Its end")->type_name("TIME")->default_str("now");
    options->until = "now";
    command->add_option("--max", options->max, "Rows at most")->check(CLI::Range(1, 100000))->capture_default_str();
    command->add_option("--format", options->format, "text or json")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return report(*options, context); }; });
}

} // namespace sor
