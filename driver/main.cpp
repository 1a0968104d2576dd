#include <clocale>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <unistd.h>
#include "command.hpp"
#include "stop.hpp"

namespace {

// The command that the arguments chose, as it was written: `report`, `migrate apply`.
std::string command_of(const CLI::App& app) {
    const auto chosen = app.get_subcommands();
    if (chosen.empty())
        return {};
    const auto inner = command_of(*chosen.front());
    return chosen.front()->get_name() + (inner.empty() ? "" : " " + inner);
}

int run(int argc, char** argv) {
    using namespace sor;
    CLI::App app(
        "PostgreSQL as the system of record of AI Workers: loads their input, runs them, sends what they queued.\n"
        "Every rule is in the extension; this command calls its functions.",
        "sor");
    app.set_version_flag("--version", SOR_VERSION);
    app.require_subcommand(1);
    app.footer("sor COMMAND --help says what a command promises, its exit codes and its environment.");
    common_options common;
    chosen_command chosen;
    declare_load(app, common, chosen);
    declare_work(app, common, chosen);
    declare_relay(app, common, chosen);
    declare_mcp(app, common, chosen);
    declare_report(app, common, chosen);
    declare_verify(app, common, chosen);
    declare_purge(app, common, chosen);
    declare_metrics(app, common, chosen);
    declare_status(app, common, chosen);
    declare_switches(app, common, chosen);
    declare_preflight(app, common, chosen);
    declare_migrate(app, common, chosen);
    declare_drill(app, common, chosen);
    declare_doctor(app, common, chosen);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0)
            return app.exit(error);
        auto command = command_of(app);
        std::string message = error.what();
        const int next = command.empty() ? 1 : command == "migrate" ? 2 : 0;
        if (next != 0 && argc > next && argv[next][0] != '-')
            message = "unknown command \"" + std::string(argv[next]) + "\"";
        if (!command.empty())
            command.insert(0, " ");
        std::fprintf(stderr, "sor%s: error: %s\nHINT: sor%s --help says what it takes.\n", command.c_str(),
                     message.c_str(), command.c_str());
        return static_cast<int>(exit_status::usage);
    }
    const auto command = command_of(app);
    logger log(command, common.verbose, common.log_format == "json");
    try {
        stop::install();
        const auto settings = read_settings(common.settings_path);
        command_context context{command, common, settings, log};
        auto code = chosen(context);
        if (std::fflush(stdout) != 0 || std::ferror(stdout)) { // the latter: of what was written before
            log.error("could not write the result");
            code = exit_status::unavailable;
        }
        return static_cast<int>(code);
    } catch (const failure& error) {
        log.error(error);
        return static_cast<int>(error.code());
    } catch (const std::exception& error) {
        log.error("unexpected error", error.what(), "Run again with -v and report what is printed.");
        return static_cast<int>(exit_status::unavailable);
    }
}

} // namespace

int main(int argc, char** argv) {
    // Where one of these was closed, the next file or connection that is opened would take its place.
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (fcntl(standard, F_GETFD) == -1 && open("/dev/null", O_RDWR) != standard)
            return static_cast<int>(sor::exit_status::unavailable);
    return run(argc, argv);
}
