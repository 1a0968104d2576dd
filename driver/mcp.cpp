#include <memory>
#include <pwd.h>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include "command.hpp"
#include "mcp/database.hpp"
#include "mcp/message.hpp"
#include "mcp/server.hpp"

namespace sor {
namespace {

struct mcp_options {
    std::string socket, connect;
    mcp::identity who;
    std::chrono::seconds lease{30};
};

constexpr const char* promises =
    "Model Context Protocol, revisions 2026-07-28 and 2025-11-25 to 2024-11-05, one JSON message a line. A Worker\n"
    "gets the tools that the user's role permits and nothing else; every call goes through sor.call_tool: journaled,\n"
    "idempotent, for one user of one tenant.\n\n"
    "  sor mcp                  one client on standard input and output; the command line says for whom it acts\n"
    "  sor mcp --socket PATH    serves the accounts that [[mcp.peers]] of the settings name, each for its user; run\n"
    "                           it under an account of its own: that is the boundary, for a Worker's process then\n"
    "                           has neither the login nor a way to it\n"
    "  sor mcp --connect PATH   what such a Worker's client starts: carries standard input and output there\n\n"
    "The first call starts the run, or resumes the one that a crash left. End of input ends it; SIGTERM, or a client\n"
    "that was killed, leaves it to be resumed. Calls that carry one _meta \"sor/turn_id\", or that follow one another\n"
    "within a second, are a turn. The login may do nothing but call functions: any privilege beyond ends the command\n"
    "with 77.";

std::string account_name() {
    const auto* account = getpwuid(getuid());
    return account ? account->pw_name : "uid " + std::to_string(getuid());
}

std::vector<mcp::identity> identities(const mcp_options& options, const mcp_settings& settings) {
    if (options.socket.empty())
        return {options.who};
    std::vector<mcp::identity> all;
    for (const auto& peer : settings.peers)
        all.push_back({peer.tenant, peer.on_behalf_of, peer.worker, {}});
    if (all.empty())
        throw failure(exit_status::usage, "the settings name nobody who may connect", {},
                      "--settings FILE with [[mcp.peers]]: user, tenant, on_behalf_of.");
    return all;
}

exit_status run_connect(const mcp_options& options, command_context& context) {
    nlohmann::json hello = nlohmann::json::object();
    for (const auto& [member, value] : {std::pair{"tenant", options.who.tenant},
                                        {"onBehalfOf", options.who.on_behalf_of},
                                        {"worker", options.who.worker},
                                        {"runKey", options.who.run_key}})
        if (!value.empty())
            hello[member] = value;
    return mcp::carry(options.connect,
                      hello.empty() ? "" : mcp::notification_line("notifications/sor/session", hello.dump()) + "\n",
                      context.log);
}

exit_status run_server(mcp_options options, command_context& context) {
    const auto& settings = context.settings.mcp;
    if (options.who.worker.empty())
        options.who.worker = account_name();
    const auto users = identities(options, settings);
    // The first connection is made now, so that a login with too many rights, or too few, is found at once. A database
    // that is down is no reason to be down as well.
    std::unique_ptr<db::connection> first;
    std::mutex handing_over;
    const auto open = [&context] { return std::make_unique<db::connection>(connect(context, login_kind::boundary)); };
    std::vector<std::pair<mcp::identity, mcp::services::known_user>> known;
    try {
        first = open();
        std::exception_ptr refused;
        for (const auto& who : users)
            try {
                known.emplace_back(who, mcp::read_user(*first, who));
            } catch (const failure& error) {
                if (error.code() == exit_status::unavailable)
                    throw;
                refused = std::current_exception();
                if (users.size() > 1)
                    context.log.error(error);
            }
        if (known.empty())
            std::rethrow_exception(refused);
    } catch (const failure& error) {
        if (error.code() != exit_status::unavailable)
            throw;
        context.log.error(error);
        first.reset();
    }
    mcp::database data(
        [&] {
            {
                const std::lock_guard lock(handing_over);
                if (first)
                    return std::move(first);
            }
            return open();
        },
        options.socket.empty() ? 1 : settings.connections, std::chrono::seconds(settings.statement_timeout_seconds));
    mcp::services shared(data, settings, options.lease, context.log);
    for (auto& [who, user] : known)
        shared.keep(who, std::move(user));
    return options.socket.empty() ? mcp::serve_stdio(shared, options.who) : mcp::serve_socket(shared, options.socket);
}

} // namespace

void declare_mcp(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto options = std::make_shared<mcp_options>();
    auto* command =
        add_command(app, "mcp", "Serve a Worker its tools over the Model Context Protocol", promises, common);
    command->remove_option(command->get_option("--allow-privileged-login"));
    auto* connect = command->add_option("--connect", options->connect, "Carry standard input and output to this socket")
                        ->type_name("PATH");
    command->add_option("--socket", options->socket, "Serve on this Unix socket")->type_name("PATH")->excludes(connect);
    command->add_option("--tenant", options->who.tenant, "Tenant; may be left out where there is one")
        ->type_name("NAME");
    command
        ->add_option("--on-behalf-of", options->who.on_behalf_of, "User, by e-mail; may be left out where there is one")
        ->type_name("EMAIL");
    command
        ->add_option("--worker", options->who.worker,
                     "Name that the runs are recorded under; the account's unless given")
        ->type_name("NAME");
    command
        ->add_option("--run-key", options->who.run_key,
                     "Names the run once and for all: a later start resumes it, or finds it ended")
        ->type_name("KEY");
    add_duration(command, "--lease", options->lease,
                 "How long a run that was killed together with this server waits before it may be resumed", 2, 3600)
        ->excludes(connect);
    command->get_option("--dbname")->excludes(connect);
    command->get_option("--settings")->excludes(connect);
    command->callback([command, options, &chosen] {
        if (!options->socket.empty())
            for (const char* name : {"--tenant", "--on-behalf-of", "--worker", "--run-key"})
                if (command->count(name) > 0)
                    throw CLI::ValidationError(name, "for --socket the settings say for whom each account acts");
        chosen = [options](command_context& context) {
            return options->connect.empty() ? run_server(*options, context) : run_connect(*options, context);
        };
    });
}

} // namespace sor
