#include <cstdio>
#include <memory>
#include "command.hpp"
#include "db/calls.hpp"
#include "stop.hpp"

namespace sor {
namespace {

exit_status purge(int batch, command_context& context) {
    auto connection = connect(context);
    std::int64_t purged = 0;
    for (const auto& tenant : db::granted_tenants(connection)) {
        std::int64_t count = batch;
        while (count == batch && !stop::requested()) {
            count = db::purge_idempotency_keys(connection, tenant.id, batch);
            purged += count;
        }
    }
    if (context.log.verbose())
        std::printf("%lld keys removed\n", static_cast<long long>(purged));
    return exit_status::done;
}

} // namespace

void declare_purge(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "purge", "Remove idempotency keys that have expired",
        "Of every tenant granted to the login, in batches, each a transaction. Keys within their time stay.", common);
    auto batch = std::make_shared<int>(1000);
    command->add_option("--batch", *batch, "Keys a transaction")->check(CLI::Range(1, 100000))->capture_default_str();
    command->callback(
        [batch, &chosen] { chosen = [batch](command_context& context) { return purge(*batch, context); }; });
}

} // namespace sor
