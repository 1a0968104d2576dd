#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include "command.hpp"
#include "db/calls.hpp"
#include "destinations/destination.hpp"
#include "report/rows.hpp"
#include "stop.hpp"
#include "text.hpp"
#include "uuid.hpp"

namespace sor {
namespace {

using nlohmann::ordered_json;

struct preflight_options {
    std::string tenant, destination, payload = "{}", table, record;
    bool json = false;
};

struct finding {
    bool ok;
    std::string evidence;
};

// A folder that is gone with its owner.
class scratch_folder {
public:
    scratch_folder() {
        auto name = (std::filesystem::temp_directory_path() / "sor-preflight.XXXXXX").string();
        if (!mkdtemp(name.data()))
            throw failure(exit_status::unavailable, "cannot make a folder for the test message", name,
                          "TMPDIR names a folder that can be written, or give --destination.");
        path_ = name;
    }
    ~scratch_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    std::string file() const { return (path_ / "messages.jsonl").string(); }

private:
    std::filesystem::path path_;
};

class checks_of_driver {
public:
    checks_of_driver(const preflight_options& options, command_context& context, db::connection& first,
                     db::connection& second, const db::tenant& tenant)
        : options_(options), context_(context), first_(first), second_(second), tenant_(tenant) {}

    finding run(int number) {
        try {
            switch (number) {
            case 4:
                return one_of_two();
            case 5:
                return dispatched();
            case 6:
                return rolled_back();
            case 7:
                return context_gone();
            }
            return {false, "this version of sor does not know the check"};
        } catch (const db::sql_error& error) {
            if (!first_.alive() || !second_.alive())
                throw;
            return {false,
                    error.sqlstate() + ": " + error.message() + (error.detail().empty() ? "" : " ") + error.detail()};
        }
    }

private:
    // Check 4: the first session holds the request open while the second makes it too.
    finding one_of_two() {
        const auto request = uuid_v4();
        db::preflight_response one{}, two{};
        const char* met = "did not wait and ";
        std::optional<std::string> error;
        {
            db::transaction transaction(first_);
            db::send_preflight_request(first_, tenant_.id, request);
            one = db::receive_preflight_request(first_);
            db::send_preflight_request(second_, tenant_.id, request);
            // As long as a busy server may need; behind a pooler with one connection it never comes to it.
            const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
            while (!second_.answered_within(std::chrono::milliseconds(10))) {
                const bool waits = db::preflight_awaited(first_);
                met = waits ? "waited and " : "was not let in before the first was done and ";
                if (waits || std::chrono::steady_clock::now() > end)
                    break;
            }
            transaction.commit();
        }
        try {
            two = db::receive_preflight_request(second_);
        } catch (const db::sql_error& failed) {
            if (!second_.alive())
                throw;
            error = failed.sqlstate() + ": " + failed.message();
        }
        const auto left = db::preflight_forget(first_, tenant_.id, request);
        const bool same = !error && one.response == two.response;
        return {one.inserted && !error && !two.inserted && same && left.keys == 1 && left.events == 1,
                "two sessions made one request: the first " + inserted(one.inserted) + "; the second " + met +
                    (error ? "failed with " + *error
                           : inserted(two.inserted) + (same ? ", with the same response" : ", with ANOTHER response")) +
                    "; " + std::to_string(left.keys) + " key, " + std::to_string(left.events) + " event of its effect"};
    }

    static std::string inserted(bool yes) { return yes ? "inserted 1 row" : "inserted 0 rows"; }

    // Check 5: a message of our own, handed out as a relay's and sent, in a transaction that is rolled back.
    finding dispatched() {
        destination_settings destination;
        std::unique_ptr<scratch_folder> folder;
        if (options_.destination.empty()) {
            folder = std::make_unique<scratch_folder>();
            destination = {"preflight", "file", {}, {folder->file()}};
        } else {
            const auto found = context_.settings.destinations.find(options_.destination);
            if (found == context_.settings.destinations.end())
                return {false, "the settings have no destination \"" + options_.destination + "\""};
            destination = found->second;
        }
        const auto sender = destinations::make_sender(destination);
        db::transaction transaction(first_);
        const auto queued = db::enqueue(first_, tenant_.id, destination.name, "preflight.message",
                                        "preflight/" + uuid_v4(), options_.payload);
        const auto claimed = db::claim_outbox(first_, tenant_.id, "preflight", 1000, std::chrono::seconds(60));
        const db::message* message = nullptr;
        for (const auto& one : claimed)
            if (one.id == queued.id)
                message = &one;
        if (!message)
            return {false, "message " + queued.id + " was not handed out" +
                               (claimed.size() == 1000 ? "; 1000 older ones are due before it: does a relay run?"
                                                       : "; " + std::to_string(claimed.size()) + " others were") +
                               pauses()};
        const auto delivery = sender->send(tenant_.id, *message, [] {});
        if (delivery.state != destinations::delivery_result::fate::sent)
            return {false, "message " + message->id + " was picked up, and destination \"" + destination.name +
                               "\" did not take it: " + delivery.error};
        if (folder) {
            std::ifstream file(folder->file());
            std::string line, more;
            std::getline(file, line);
            if (line.find(message->id) == std::string::npos || std::getline(file, more))
                return {false, "the file does not hold the message once: " + excerpt(line, 200)};
        }
        db::send_mark_dispatched(first_, tenant_.id, *message, delivery.receipt);
        db::receive_mark(first_);
        for (const auto& row : db::find_messages(first_, tenant_.id, std::nullopt, 1000))
            if (row.id == message->id)
                return {row.status == "dispatched" && row.attempts == 1 && !row.processed_at.empty(),
                        "message " + row.id + " was picked up, sent to " +
                            (folder ? "a file" : "destination \"" + destination.name + "\"") + ", marked: status " +
                            row.status + ", attempts " + std::to_string(row.attempts) + ", processed_at " +
                            (row.processed_at.empty() ? "null" : row.processed_at) + "; undone"};
        return {false, "message " + message->id + " is not among the newest 1000 of the outbox"};
    }

    // What is paused that messages wait for.
    std::string pauses() {
        std::string said;
        for (const auto& problem : db::status(first_))
            if (problem.what == "paused" && (problem.tenant == tenant_.name || problem.subject == "queue outbox"))
                said += "; " + problem.subject + " is paused " + problem.detail;
        return said;
    }

    // Check 6: the same row and message twice, each in a transaction that is rolled back: were the first there still,
    // the second would not be new.
    finding rolled_back() {
        const auto key = "preflight/" + uuid_v4();
        std::string evidence;
        bool ok = true;
        for (const char* time : {"first", "second"}) {
            db::transaction transaction(first_);
            const bool row = write_row(key);
            const bool message = db::enqueue(first_, tenant_.id, "preflight", "preflight.rollback", key, "{}").enqueued;
            ok = ok && row && message;
            evidence += (evidence.empty() ? "" : "; ") + std::string(time) + " transaction: row " +
                        (row ? "new" : "THERE ALREADY") + ", message " + (message ? "new" : "THERE ALREADY") +
                        ", rolled back";
        }
        return {ok, evidence};
    }

    bool write_row(const std::string& key) {
        if (!options_.table.empty())
            return db::upsert(first_, tenant_.id, options_.table, options_.record);
        try {
            db::create_user(first_, tenant_.id, key + "@sor.invalid", "Preflight");
            return true;
        } catch (const db::sql_error& error) {
            if (error.sqlstate() != "23505")
                throw;
            return false;
        }
    }

    // Check 7: what a transaction leaves to the next one of its connection, and of another.
    finding context_gone() {
        db::session_context inside{}, rolled_back{};
        {
            db::transaction transaction(first_);
            db::set_context(first_, tenant_.id);
            inside = db::preflight_context(first_);
            transaction.commit();
        }
        const auto committed = db::preflight_context(first_);
        {
            db::transaction transaction(first_);
            db::set_context(first_, tenant_.id);
        }
        rolled_back = db::preflight_context(first_);
        const auto other = db::preflight_context(second_);
        const auto seen = [](const db::session_context& c) {
            return (c.empty               ? "none"
                    : c.tenant_id.empty() ? "PARTS OF ONE"
                                          : c.tenant_id) +
                   ", " + std::to_string(c.visible) + " tables with visible rows";
        };
        const auto clean = [](const db::session_context& c) { return c.empty && c.visible == 0; };
        return {inside.tenant_id == tenant_.id && clean(committed) && clean(rolled_back) && clean(other),
                "context in a transaction of backend " + std::to_string(inside.backend_pid) + ": " + seen(inside) +
                    "; after COMMIT, backend " + std::to_string(committed.backend_pid) + ": " + seen(committed) +
                    "; after ROLLBACK, backend " + std::to_string(rolled_back.backend_pid) + ": " + seen(rolled_back) +
                    "; on another connection, backend " + std::to_string(other.backend_pid) + ": " + seen(other)};
    }

    const preflight_options& options_;
    command_context& context_;
    db::connection &first_, &second_;
    const db::tenant& tenant_;
};

exit_status preflight(const preflight_options& options, command_context& context) {
    if (options.table.empty() != options.record.empty())
        throw failure(exit_status::usage, "--table and --record go together");
    auto first = connect(context, login_kind::operator_);
    auto second = connect(context, login_kind::operator_);
    auto tenants = ordered_json::array();
    bool all_ok = true;
    for (const auto& tenant : tenants_meant(first, options.tenant)) {
        if (stop::requested()) // an answer about some of them would read as one about all
            throw failure(exit_status::try_again, "stopped before every tenant was checked");
        auto checks = db::preflight(first, tenant.id);
        checks_of_driver more(options, context, first, second, tenant);
        bool ok = true;
        auto rows = ordered_json::array();
        if (!options.json)
            std::printf("tenant \"%s\"\n", report::visible(tenant.name).c_str());
        for (auto& check : checks) {
            if (!check.ok || check.number == 6) {
                const auto found = more.run(check.number);
                check.evidence = (check.ok ? check.evidence + "; " : std::string()) + found.evidence;
                check.ok = check.ok.value_or(true) && found.ok;
            }
            ok &= *check.ok;
            if (options.json)
                rows.push_back({{"check_no", check.number},
                                {"name", check.name},
                                {"ok", *check.ok},
                                {"evidence", check.evidence}});
            else
                std::printf("%-4s  %d  %s: %s\n", *check.ok ? "ok" : "FAIL", check.number, check.name.c_str(),
                            report::visible(check.evidence).c_str());
        }
        all_ok &= ok;
        tenants.push_back({{"tenant", tenant.name}, {"tenant_id", tenant.id}, {"ok", ok}, {"checks", rows}});
    }
    if (options.json)
        std::printf("%s\n", ordered_json{{"ok", all_ok}, {"tenants", tenants}}
                                .dump(2, ' ', false, ordered_json::error_handler_t::replace)
                                .c_str());
    return all_ok ? exit_status::done : exit_status::check_failed;
}

} // namespace

void declare_preflight(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "preflight", "Try the eight controls that a release depends on, in production",
        "Of each tenant granted to the login: users and roles, the role boundary of agents, stored responses, two\n"
        "sessions with one request, a message from enqueue to processed_at, a rollback, a reused connection, the "
        "actors\n"
        "of the history. Each check prints what it did and the rows it saw. What it tries is rolled back or removed;\n"
        "events of type drill.preflight and drill.request are all that stays. A message to --destination really goes\n"
        "there. Ends with 1 when a check says no. For a login in sor_operator with a grant of the tenants.",
        common);
    auto options = std::make_shared<preflight_options>();
    command->add_option("--tenant", options->tenant, "This tenant alone")->type_name("NAME");
    command
        ->add_option("--destination", options->destination,
                     "Send the test message to this destination of the settings; else to a file that is removed")
        ->type_name("NAME");
    command->add_option("--payload", options->payload, "What the test message says")
        ->type_name("JSON")
        ->capture_default_str();
    command
        ->add_option("--table", options->table,
                     "Check the rollback with a row of this registered table; else with a user")
        ->type_name("NAME");
    command->add_option("--record", options->record, "That row, which must not be there")->type_name("JSON");
    command->add_flag("--json", options->json, "One JSON object instead of lines");
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return preflight(*options, context); }; });
}

} // namespace sor
