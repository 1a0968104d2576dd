#include <cstdio>
#include "command.hpp"
#include "db/calls.hpp"

namespace sor {
namespace {

exit_status doctor(command_context& context) {
    auto connection = connect(context, login_kind::operator_);
    bool failed = false;
    for (const auto& check : db::doctor(connection)) {
        const bool bad = check.ok.has_value() && !*check.ok;
        failed |= bad;
        std::printf("%-5s %s%s%s\n",
                    !check.ok ? "?"
                    : bad     ? "FAIL"
                              : "ok",
                    check.name.c_str(), check.evidence.empty() ? "" : ": ", check.evidence.c_str());
        if (bad && !check.fix.empty())
            std::printf("      fix: %s\n", check.fix.c_str());
    }
    return failed ? exit_status::check_failed : exit_status::done;
}

} // namespace

void declare_doctor(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "doctor", "Check that the installation keeps its guarantees",
        "Prints each check of sor.doctor() with its evidence and, where it fails, what to do. Changes nothing.\n"
        "For a login in sor_operator.",
        common);
    command->callback([&chosen] { chosen = [](command_context& context) { return doctor(context); }; });
}

} // namespace sor
