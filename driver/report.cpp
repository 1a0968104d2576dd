#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <nlohmann/json.hpp>
#include "command.hpp"
#include "db/calls.hpp"
#include "report/page.hpp"
#include "report/rows.hpp"
#include "text.hpp"

namespace sor {
namespace {

using nlohmann::ordered_json;

struct report_options {
    std::string tenant, run, worker, run_key, since, until, at, time_zone;
    std::string format = "text";
    int max = 1000;
};

void print(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

std::string cell(const std::string& text) {
    return text.empty() ? "-" : report::visible(excerpt(text, 300));
}

// Rows under a heading, columns as wide as their longest value; the last one is not cut.
void print_table(const char* heading, const std::vector<const char*>& columns,
                 const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto* column : columns)
        widths.push_back(characters(column));
    for (const auto& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], characters(row[i]));
    print("\n" + std::string(heading) + " (" + std::to_string(rows.size()) + ")\n");
    const auto print_row = [&](const auto& row) {
        std::string line = " ";
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string value = row[i];
            line += " " + value + std::string(i + 1 < row.size() ? widths[i] - characters(value) + 1 : 0, ' ');
        }
        print(line + "\n");
    };
    if (rows.empty())
        return;
    print_row(columns);
    for (const auto& row : rows)
        print_row(row);
}

void print_table(const report::row& of, const char* part, const std::vector<const char*>& columns) {
    std::vector<std::vector<std::string>> rows;
    for (const auto& row : of.objects(part)) {
        rows.emplace_back();
        for (const auto* column : columns)
            rows.back().push_back(cell(row.text(column)));
    }
    print_table(part, columns, rows);
}

// ✕ stands before what went wrong.
void print_event(const std::string& type, const std::string& narrative) {
    print((report::is_bad(type) ? "✕ " : "  ") + report::visible(narrative) + "\n");
}

void print_report(const std::string& text) {
    const report::row whole(text);
    const auto verification = whole.object("verification");
    if (verification.has("first_bad")) {
        const auto bad = verification.object("first_bad");
        print("HISTORY WAS CHANGED: " +
              report::visible((bad.has("seq") ? "event " + bad.text("seq") + " of " : std::string()) + "stream " +
                              bad.text("stream_id") + (bad.has("id") ? ", id " + bad.text("id") : std::string()) +
                              ": " + bad.text("problem")) +
              "\n");
    }
    const auto summary = whole.object("summary");
    for (const auto* name : {"run", "scope", "timeline", "failure_point", "side_effects", "cause_and_next_action"}) {
        std::string label = name;
        for (auto& c : label)
            c = c == '_' ? ' ' : c;
        std::printf("%-22s %s\n", (label + ":").c_str(), report::visible(summary.text(name)).c_str());
    }
    const auto events = whole.objects("events");
    print("\ntimeline (" + std::to_string(events.size()) + ")\n");
    for (const auto& event : events)
        print_event(event.text("event_type"), event.text("narrative"));
    print_table(whole, "tool_calls", {"turn_no", "tool", "status", "started_at", "finished_at", "error"});
    print_table(whole, "outbox",
                {"destination", "event_type", "aggregate_id", "status", "attempts", "processed_at", "last_error"});
}

db::tenant only_tenant(const std::vector<db::tenant>& tenants) {
    if (tenants.size() == 1)
        return tenants.front();
    throw failure(exit_status::usage, "--tenant is missing",
                  std::to_string(tenants.size()) + " tenants are granted to the login.",
                  "Name one with --tenant NAME.");
}

exit_status report_run(const report_options& options, db::connection& connection,
                       const std::vector<db::tenant>& tenants, const std::string& run) {
    std::string text;
    const db::tenant* whose = nullptr; // an id does not say whose run it is
    for (std::size_t at = 0; at < tenants.size() && whose == nullptr; ++at) {
        try {
            text = db::forensic_report(connection, tenants[at].id, run);
            whose = &tenants[at];
        } catch (const db::sql_error& error) {
            if (error.sqlstate() != "SR010" && error.sqlstate() != "22P02")
                throw;
        }
    }
    if (whose == nullptr)
        throw failure(exit_status::usage, "there is no run \"" + report::visible(excerpt(run, 100)) + "\"",
                      options.tenant.empty() ? "It was looked for in each tenant that is granted to the login."
                                             : "It was looked for in tenant \"" + tenants.front().name + "\".",
                      "sor report --tenant NAME lists the runs of a tenant.");
    if (options.format == "json")
        print(report::indented(text) + "\n");
    else if (options.format == "html")
        print(report::page_of_run(text, whose->name, static_cast<std::size_t>(options.max)));
    else
        print_report(text);
    return exit_status::done;
}

void print_runs(const std::vector<db::found_run>& found) {
    std::vector<std::vector<std::string>> rows;
    for (const auto& run : found)
        rows.push_back(
            {run.id, cell(run.worker), cell(run.run_key), run.status, cell(run.started_at), cell(run.finished_at)});
    print_table("runs", {"run_id", "worker", "run_key", "status", "started_at", "finished_at"}, rows);
}

// What became of the runs, of so many at most: first of those that did not succeed, then of the newest.
std::map<std::string, report::run_story> stories_of(std::vector<db::found_run> runs, db::connection& connection,
                                                    const db::tenant& tenant) {
    constexpr std::size_t most = 100;
    std::stable_partition(runs.begin(), runs.end(), [](const auto& run) { return run.status != "succeeded"; });
    std::map<std::string, report::run_story> stories;
    for (const auto& run : runs) {
        if (stories.size() == most)
            break;
        try {
            stories[run.id] = report::story_of(db::forensic_report(connection, tenant.id, run.id));
        } catch (const db::sql_error& error) {
            if (error.sqlstate() != "SR010") // purged meanwhile
                throw;
        }
    }
    return stories;
}

// The runs that were not in progress in that time, but of which something went wrong then, such as a message that was
// given up; and those whose row is gone, of which only events tell.
void add_other_runs(report::period& what, db::connection& connection) {
    constexpr std::size_t most = 100;
    const bool all_listed = what.runs.size() < what.most;
    std::set<std::string> known{""};
    for (const auto& run : what.runs)
        known.insert(run.id);
    std::size_t looked_into = 0;
    for (const auto& event : what.events) {
        const bool is_of_run = event.event_type.starts_with("run.") || event.event_type.starts_with("turn.");
        if (known.contains(event.run_id) || !(report::is_bad(event.event_type) || (all_listed && is_of_run)) ||
            looked_into == most)
            continue;
        ++looked_into;
        known.insert(event.run_id);
        try {
            const auto text = db::forensic_report(connection, what.tenant.id, event.run_id);
            what.runs.push_back(report::run_of(text));
            what.stories[event.run_id] = report::story_of(text);
        } catch (const db::sql_error& error) {
            if (error.sqlstate() == "SR010")
                continue;
            if (error.sqlstate() != "XX001")
                throw;
            what.runs.push_back({event.run_id, {}, {}, "gone", {}, {}});
            what.stories[event.run_id] = {"tampered",
                                          error.message() + ". " + error.detail(),
                                          error.hint(),
                                          "select narrative from sor.replay('" + what.tenant.id + "', '" +
                                              event.run_id + "');",
                                          "That cannot be told.",
                                          "Its messages stand among the events below.",
                                          {{what.tenant.id, "the tenant"}, {event.run_id, "this run"}},
                                          {}};
        }
    }
}

void print_page_of_period(const report_options& options, db::connection& connection, const db::tenant& tenant,
                          const db::resolved_time& time) {
    const db::time_range range{time.since, time.until};
    const auto runs = db::find_runs(connection, tenant.id, std::nullopt, std::nullopt, options.max, range);
    report::period what{tenant,
                        time,
                        runs,
                        stories_of(runs, connection, tenant),
                        db::what_happened(connection, tenant.id, range, options.max),
                        static_cast<std::size_t>(options.max)};
    add_other_runs(what, connection);
    print(report::page_of_period(what));
}

exit_status report_period(const report_options& options, db::connection& connection, const db::tenant& tenant,
                          const db::time_range& meant) {
    const auto resolved = db::resolve(connection, tenant.id, meant);
    if (options.format == "html") {
        print_page_of_period(options, connection, tenant, resolved);
        return exit_status::done;
    }
    const db::time_range time{resolved.since, resolved.until};
    const auto happenings = db::what_happened(connection, tenant.id, time, options.max);
    const bool cut = happenings.size() == static_cast<std::size_t>(options.max);
    if (options.format == "json") {
        auto rows = ordered_json::array();
        for (const auto& one : happenings)
            rows.push_back({{"created_at", one.created_at},
                            {"run_id", one.run_id.empty() ? ordered_json() : ordered_json(one.run_id)},
                            {"event_type", one.event_type},
                            {"actor", one.actor},
                            {"narrative", one.narrative}});
        print(rows.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
        return exit_status::done;
    }
    const auto runs = db::find_runs(connection, tenant.id, std::nullopt, std::nullopt, options.max, time);
    for (const auto& one : happenings)
        print_event(one.event_type, one.narrative + (one.run_id.empty() ? "" : " [run " + one.run_id + "]"));
    if (cut)
        print("... " + std::to_string(options.max) + " shown; --max shows more\n");
    print_runs(runs);
    return exit_status::done;
}

// The run that was in progress in that minute; where there was none, or more than one, the hour around it.
exit_status report_moment(const report_options& options, db::connection& connection, const db::tenant& tenant) {
    for (const db::time_range& time :
         {db::time_range{options.at, options.at, "0", "1 min"}, {options.at, options.at, "-30 min", "30 min"}}) {
        const auto runs = db::find_runs(connection, tenant.id, std::nullopt, std::nullopt, 2, time);
        if (runs.size() == 1)
            return report_run(options, connection, {tenant}, runs.front().id);
        if (runs.size() > 1)
            break;
    }
    return report_period(options, connection, tenant, {options.at, options.at, "-30 min", "30 min"});
}

exit_status report_runs(const report_options& options, db::connection& connection, const db::tenant& tenant) {
    const auto found = db::find_runs(connection, tenant.id, std::nullopt, std::nullopt, options.max);
    if (options.format == "text") {
        print_runs(found);
        return exit_status::done;
    }
    if (options.format == "html")
        throw failure(exit_status::usage, "a list of runs has no page", {},
                      "Name a run, or a time with --at or --since, for --format html.");
    auto runs = ordered_json::array();
    for (const auto& run : found)
        runs.push_back({{"run_id", run.id},
                        {"worker", run.worker},
                        {"run_key", run.run_key},
                        {"status", run.status},
                        {"started_at", run.started_at},
                        {"finished_at", run.finished_at}});
    print(runs.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
    return exit_status::done;
}

// With the time zone of --time-zone, which libpq takes from its environment.
db::connection connect_in_zone(const report_options& options, command_context& context) {
    if (options.time_zone.empty())
        return connect(context);
    setenv("PGTZ", options.time_zone.c_str(), 1);
    try {
        return connect(context);
    } catch (const failure& error) {
        if (error.detail().find("\"TimeZone\"") == std::string::npos)
            throw;
        throw failure(exit_status::usage,
                      "unknown time zone \"" + report::visible(excerpt(options.time_zone, 100)) + "\"", {},
                      "Give a name such as Europe/Berlin, or UTC.");
    }
}

exit_status answer(const report_options& options, command_context& context) {
    const bool period = !options.since.empty();
    const bool of_run = !options.run.empty() || !options.worker.empty() || !options.run_key.empty();
    if (of_run + period + !options.at.empty() > 1)
        throw failure(exit_status::usage, "a run, --at and --since exclude each other");
    if (!period && options.until != "now")
        throw failure(exit_status::usage, "--until goes with --since");
    auto connection = connect_in_zone(options, context);
    std::signal(SIGPIPE, SIG_DFL); // `sor report | head` ends as any filter does
    const auto tenants = tenants_meant(connection, options.tenant);
    if (!options.run.empty() && options.run != "latest")
        return report_run(options, connection, tenants, options.run);
    const auto tenant = only_tenant(tenants);
    if (of_run) {
        const auto runs =
            db::find_runs(connection, tenant.id, options.worker.empty() ? std::nullopt : std::optional(options.worker),
                          options.run_key.empty() ? std::nullopt : std::optional(options.run_key), 1);
        if (runs.empty())
            throw failure(exit_status::usage, "tenant \"" + tenant.name + "\" has no such run", {},
                          "sor report --tenant NAME lists its runs.");
        return report_run(options, connection, {tenant}, runs.front().id);
    }
    try {
        if (!options.at.empty())
            return report_moment(options, connection, tenant);
        if (period)
            return report_period(options, connection, tenant, {options.since, options.until});
    } catch (const db::sql_error& error) {
        if (!error.sqlstate().starts_with("22"))
            throw;
        if (error.sqlstate() == "22023") // it could be read, and is wrong
            throw failure(exit_status::usage, error.message(), {}, error.hint());
        throw failure(exit_status::usage, "a time could not be read", error.message(),
                      "Give a time such as \"2026-11-17 23:00\", yesterday or now.");
    }
    return report_runs(options, connection, tenant);
}

} // namespace

void declare_report(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "report", "Say what a Worker did, out of the database alone",
        "With a run, its id, `latest` or the newest of --worker or --run-key: the forensic report, six lines, the\n"
        "timeline, the tool calls and messages. With --at: the run that was in progress in that minute; where there\n"
        "was none, or more than one, the hour around it. With --since and --until: what happened in that time. With\n"
        "none of these: the runs. As html it is one file that needs no network.\n"
        "For a login in sor_auditor.",
        common);
    auto options = std::make_shared<report_options>();
    command->add_option("run,--run", options->run, "Id of a run, or latest")->type_name("RUN");
    command->add_option("--tenant", options->tenant, "The tenant, where the login has several")->type_name("NAME");
    command->add_option("--worker", options->worker, "The newest run of this Worker")->type_name("NAME");
    command->add_option("--run-key", options->run_key, "The run of this key")->type_name("K");
    command->add_option("--at", options->at, "The moment asked about, as PostgreSQL reads it")->type_name("TIME");
    command->add_option("--since,--from", options->since, "Begin of the time asked about, likewise")->type_name("TIME");
    command->add_option("--until", options->until, "Its end")->type_name("TIME")->default_str("now");
    options->until = "now";
    command
        ->add_option("--time-zone", options->time_zone,
                     "The zone in which times are read and shown; the server's unless given")
        ->type_name("ZONE");
    command->add_option("--max", options->max, "Rows at most, and of a page's tables each")
        ->check(CLI::Range(1, 100000))
        ->capture_default_str();
    command->add_option("--format", options->format, "text, json or html")
        ->check(CLI::IsMember({"text", "json", "html"}))
        ->capture_default_str();
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return answer(*options, context); }; });
}

} // namespace sor
