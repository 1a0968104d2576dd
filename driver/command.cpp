#include "command.hpp"
#include <charconv>
#include <optional>
#include "text.hpp"

namespace sor {
namespace {

constexpr const char* exit_codes_and_environment =
    "Exit codes:\n"
    "  0   done, or nothing to do\n"
    "  1   a check failed\n"
    "  64  usage: an argument, a setting, an unknown table, column or queue\n"
    "  65  bad data: a line, an item or a message was refused; the others are done\n"
    "  69  database or destination unavailable; run again\n"
    "  70  the handler is at fault\n"
    "  75  try again: the same run or request is in progress elsewhere\n"
    "  77  refused: no grant, no role, or a login that row security does not bind\n"
    "SIGTERM, SIGINT and SIGHUP end a command after the batch in hand.\n\n"
    "Environment: libpq's own (PGHOST, PGSERVICE, PGPASSFILE ...); --dbname overrides it.";

std::optional<long> seconds_of(const std::string& text) {
    long value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value < 0 || value > 100000)
        return std::nullopt;
    const std::string unit(end, text.data() + text.size());
    if (unit.empty() || unit == "s")
        return value;
    if (unit == "m")
        return value * 60;
    if (unit == "h")
        return value * 3600;
    return std::nullopt;
}

} // namespace

db::connection connect(const command_context& context, login_kind kind) {
    db::connection connection(context.options.conninfo, "sor " + context.command);
    if (context.options.allow_privileged_login && kind != login_kind::boundary)
        return connection;
    db::login_privileges login{};
    try {
        login = db::login_check(connection);
    } catch (const db::sql_error& error) {
        if (error.sqlstate() != "42501")
            throw;
        throw failure(exit_status::refused, "the login may not use sor", error.message(),
                      "An operator makes it a member of the role for this command (sor_worker, sor_app, sor_relay or "
                      "sor_auditor) and grants it tenants with sor.grant_tenant.");
    }
    std::string detail;
    if (kind == login_kind::boundary) {
        for (const std::string& sentence : login.excess)
            detail += (detail.empty() ? "" : " ") + sentence;
        if (!detail.empty())
            throw failure(exit_status::refused, "the login could do more than call functions", detail,
                          "Use a login of its own that is a member of sor_worker and of nothing else.");
        return connection;
    }
    if (login.superuser)
        detail = "It is a superuser.";
    else if (login.bypass_rls)
        detail = "It has BYPASSRLS.";
    else if (login.owns_tables && kind == login_kind::job)
        detail = "It owns tables, or is a member of a role that does.";
    if (!detail.empty())
        throw failure(exit_status::refused, "the login has more rights than this command should run with", detail,
                      "Use a login of its own with a sor_ role and nothing else, or --allow-privileged-login.");
    return connection;
}

std::vector<db::tenant> tenants_meant(db::connection& connection, const std::string& name) {
    auto granted = db::granted_tenants(connection);
    if (!name.empty())
        std::erase_if(granted, [&](const auto& tenant) { return fold(tenant.name) != fold(name); });
    if (granted.empty())
        throw failure(exit_status::refused,
                      name.empty() ? "no tenant is granted to the login" : "unknown tenant \"" + name + "\"",
                      name.empty() ? "" : "No tenant of this name is granted to the login.",
                      "An operator grants tenants with sor.grant_tenant, to operators too.");
    return granted;
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::string& promises, common_options& common) {
    auto* command = app.add_subcommand(name, description);
    command->footer(promises + "\n\n" + exit_codes_and_environment);
    command->add_option("--dbname,-d", common.conninfo, "Database name, connection string or URI, as psql takes it")
        ->type_name("CONNINFO");
    command->add_option("--settings", common.settings_path, "Settings in TOML: destinations, aliases, MCP peers")
        ->type_name("FILE");
    command->add_option("--log-format", common.log_format, "How messages on standard error look")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
    command->add_flag("--verbose,-v", common.verbose, "Say what was done; without it success is silent");
    command->add_flag("--allow-privileged-login", common.allow_privileged_login,
                      "Run even as superuser, table owner or with BYPASSRLS");
    return command;
}

CLI::Option* add_duration(CLI::App* command, const std::string& name, std::chrono::seconds& value,
                          const std::string& description, long min, long max) {
    return command
        ->add_option_function<std::string>(
            name,
            [&value, name, min, max](const std::string& text) {
                const auto seconds = seconds_of(text);
                if (!seconds || *seconds < min || *seconds > max)
                    throw CLI::ValidationError(name, "\"" + text + "\" is no duration from " + std::to_string(min) +
                                                         " s to " + std::to_string(max) + " s, such as 90, 90s, 5m");
                value = std::chrono::seconds(*seconds);
            },
            description)
        ->type_name("DURATION")
        ->default_str(std::to_string(value.count()) + "s");
}

} // namespace sor
