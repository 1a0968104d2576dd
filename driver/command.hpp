#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <vector>
#include <CLI/CLI.hpp>
#include "db/calls.hpp"
#include "db/connection.hpp"
#include "failure.hpp"
#include "log.hpp"
#include "settings.hpp"

namespace sor {

// The options that every command has.
struct common_options {
    std::string conninfo;
    std::string settings_path;
    std::string log_format = "text";
    bool verbose = false;
    bool allow_privileged_login = false;
};

// What a command runs with.
struct command_context {
    const std::string command;
    const common_options& options;
    const driver_settings& settings;
    logger& log;
};

// Who may run a command. An operator is a member of the owners of the tables it registers, everybody else is of none.
// A boundary passes on what strangers ask for: its login can call functions and nothing else.
enum class login_kind { job, operator_, boundary };
// Connects as this command's login. Refuses (77) one without a sor_ role, and a superuser, one with BYPASSRLS or an
// owner of tables, whom row security would not bind, unless --allow-privileged-login. A boundary's login is refused
// with whatever sor.login_check finds in excess, and that option does not help it.
db::connection connect(const command_context& context, login_kind kind = login_kind::job);

// The tenants granted to the login or, where it is not empty, the one of that name. Refuses (77) where there is none.
std::vector<db::tenant> tenants_meant(db::connection& connection, const std::string& name);

// Filled by the command that the arguments chose.
using chosen_command = std::function<exit_status(command_context&)>;

// A subcommand with the common options and the parts of --help that all share.
CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::string& promises, common_options& common);

// Parses `90`, `90s`, `5m`, `1h` as an option's value; bounds in seconds.
CLI::Option* add_duration(CLI::App* command, const std::string& name, std::chrono::seconds& value,
                          const std::string& description, long min, long max);

void declare_load(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_work(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_relay(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_mcp(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_report(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_verify(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_purge(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_metrics(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_status(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_switches(CLI::App& app, common_options& common, chosen_command& chosen); // pause, resume, redrive
void declare_preflight(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_migrate(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_drill(CLI::App& app, common_options& common, chosen_command& chosen);
void declare_doctor(CLI::App& app, common_options& common, chosen_command& chosen);

} // namespace sor
