#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include "command.hpp"
#include "db/calls.hpp"
#include "report/rows.hpp"
#include "stop.hpp"
#include "text.hpp"

namespace sor {
namespace {

using nlohmann::ordered_json;

struct status_options {
    bool watch = false, json = false;
    std::chrono::seconds interval{5};
};

// Text out of rows, on one line of a terminal.
std::string plain(const std::string& text) {
    return report::visible(excerpt(text, 300));
}

std::string as_text(const std::vector<db::problem>& problems) {
    if (problems.empty())
        return "nothing to do\n";
    std::string out;
    for (const auto& p : problems) {
        out += p.severity + ": " + p.what + (p.tenant.empty() ? "" : " of tenant \"" + plain(p.tenant) + "\"") +
               (p.subject.empty() ? "" : ", " + plain(p.subject)) + ", since " + p.since +
               (p.count == "1" ? "" : ", " + p.count + (p.count == "10000" ? " or more" : "")) + "\n  " +
               plain(p.detail) + "\n  do: " + report::visible(p.action) + "\n"; // a command is said whole
    }
    return out;
}

std::string as_json(const std::vector<db::problem>& problems) {
    auto rows = ordered_json::array();
    const auto text = [](const std::string& value) { return value.empty() ? ordered_json() : ordered_json(value); };
    for (const auto& p : problems)
        rows.push_back({{"severity", p.severity},
                        {"problem", p.what},
                        {"tenant", text(p.tenant)},
                        {"subject", text(p.subject)},
                        {"since", p.since},
                        {"count", std::stoll(p.count)},
                        {"detail", p.detail},
                        {"action", p.action}});
    return rows.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

exit_status status(const status_options& options, command_context& context) {
    std::optional<db::connection> connection(connect(context, login_kind::operator_));
    std::signal(SIGPIPE, SIG_DFL); // `sor status | head` ends as any filter does
    const bool redraws = options.watch && isatty(STDOUT_FILENO) == 1;
    for (;;) {
        std::optional<std::vector<db::problem>> problems;
        std::optional<db::sql_error> lost; // who watches wants to see the database come back
        try {
            if (!connection)
                connection.emplace(connect(context, login_kind::operator_));
            problems = db::status(*connection);
        } catch (const db::sql_error& error) {
            const bool away = error.sqlstate().starts_with("08") || error.sqlstate().starts_with("57P");
            if (!options.watch || !away)
                throw;
            connection.reset();
            lost = error;
        }
        if (redraws) // home, and what was below it gone
            std::fputs("\x1b[H\x1b[2J", stdout);
        if (problems) {
            const auto text = options.json ? as_json(*problems) : as_text(*problems);
            std::fwrite(text.data(), 1, text.size(), stdout);
        }
        std::fflush(stdout);
        if (lost)
            context.log.error(*lost);
        if (!options.watch || stop::wait(options.interval)) {
            if (!problems)
                return exit_status::unavailable;
            for (const auto& p : *problems)
                if (p.severity != "info")
                    return exit_status::check_failed;
            return exit_status::done;
        }
    }
}

exit_status pause(const std::string& kind, const std::string& name, const std::string& reason,
                  command_context& context) {
    auto connection = connect(context, login_kind::operator_);
    db::pause(connection, kind, name, reason);
    context.log.info(kind + " \"" + name + "\" is paused");
    return exit_status::done;
}

exit_status resume(const std::string& kind, const std::string& name, command_context& context) {
    auto connection = connect(context, login_kind::operator_);
    db::resume(connection, kind, name);
    context.log.info(kind + " \"" + name + "\" goes on");
    return exit_status::done;
}

struct redrive_options {
    std::string tenant, destination, message;
};

exit_status redrive(const redrive_options& options, command_context& context) {
    constexpr int batch = 1000;
    if (options.message.empty() == options.destination.empty())
        throw failure(exit_status::usage, "give either --message or --destination");
    auto connection = connect(context, login_kind::operator_);
    const auto tenant = db::find_tenant(connection, options.tenant);
    std::int64_t total = 0, count = 0;
    do {
        count = options.message.empty() ? db::redrive_destination(connection, tenant, options.destination, batch)
                                        : db::redrive_message(connection, tenant, options.message);
        total += count;
    } while (count == batch && !stop::requested());
    context.log.info(std::to_string(total) + " messages are due again");
    return exit_status::done;
}

} // namespace

void declare_status(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "status", "Say what a person on call has to know, and what to do",
        "Worst first: runs that lost their holder, leases that ran out, work and messages that nobody takes, what was\n"
        "given up, what is paused; each with the command for it. Ends with 1 when there is anything but pauses. Of "
        "the\n"
        "tenants granted to the login, of all for operators. For a login in sor_auditor or sor_operator.",
        common);
    auto options = std::make_shared<status_options>();
    command->add_flag("--watch", options->watch,
                      "Go on until a signal ends it, on a terminal in place; also while the database is away");
    add_duration(command, "--interval", options->interval, "Pause between two looks with --watch", 1, 3600);
    command->add_flag("--json", options->json, "A JSON array instead of lines");
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return status(*options, context); }; });
}

void declare_switches(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto kind = std::make_shared<std::string>(), name = std::make_shared<std::string>(),
         reason = std::make_shared<std::string>();
    const auto add_subject = [&](CLI::App* command) {
        command->add_option("kind", *kind, "tool, queue or tenant")
            ->required()
            ->check(CLI::IsMember({"tool", "queue", "tenant"}));
        command->add_option("name", *name, "Its name; the queue outbox is that of all messages")->required();
    };
    auto* command =
        add_command(app, "pause", "Stop a tool, a queue or a tenant, from the next statement on",
                    "A tool is refused (SR016). A queue hands out nothing; who holds an item may settle it. "
                    "A tenant: both, and its\nmessages stay. Recorded, with the reason. `sor status` lists "
                    "what is paused. For a login in sor_operator.",
                    common);
    add_subject(command);
    command->add_option("--reason", *reason, "Why, for whoever finds it paused")->required()->type_name("TEXT");
    command->callback(
        [=, &chosen] { chosen = [=](command_context& context) { return pause(*kind, *name, *reason, context); }; });
    command = add_command(app, "resume", "Let what was paused go on", "For a login in sor_operator.", common);
    add_subject(command);
    command->callback(
        [=, &chosen] { chosen = [=](command_context& context) { return resume(*kind, *name, context); }; });
    auto options = std::make_shared<redrive_options>();
    command = add_command(app, "redrive", "Bring dead messages back into the outbox",
                          "Due at once, their attempts counted from 0. One of --message and --destination. What was "
                          "wrong with them should be\nmended before. For a login in sor_operator.",
                          common);
    command->add_option("--tenant", options->tenant, "The tenant")->required()->type_name("NAME");
    command->add_option("--destination", options->destination, "All dead messages of this destination")
        ->type_name("NAME");
    command->add_option("--message", options->message, "This message alone")->type_name("ID");
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return redrive(*options, context); }; });
}

} // namespace sor
