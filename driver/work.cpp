#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <nlohmann/json.hpp>
#include "command.hpp"
#include "db/calls.hpp"
#include "fault.hpp"
#include "handler.hpp"
#include "json_text.hpp"
#include "protocol.hpp"
#include "stop.hpp"
#include "text.hpp"
#include "uuid.hpp"

namespace sor {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

struct work_options {
    std::string queue, worker, handler, on_behalf_of, on_behalf_of_role, run_key;
    std::vector<std::string> tenants, pass_env;
    int batch = 150;
    std::chrono::seconds lease{300}, handler_timeout{30};
};

// An item that goes back to the queue with an error, or untouched.
struct returned_item {
    const protocol::item* item;
    std::string error; // empty: released, the attempt does not count
};

std::string with_detail(const json& error) {
    const auto detail = string_member(error, "detail");
    return detail.empty() ? detail : " (" + detail + ")";
}

// Works one tenant's queue as one run.
class tenant_run {
public:
    tenant_run(const work_options& options, command_context& context, db::connection& connection, handler& handler,
               const db::tenant& tenant, int& batch)
        : options_(options), context_(context), connection_(connection), handler_(handler), tenant_(tenant),
          batch_(batch) {}

    void work(const std::string& user_id) {
        run_ = db::start_run(connection_, tenant_.id, options_.worker,
                             options_.run_key.empty() ? std::nullopt : std::optional(options_.run_key), user_id,
                             json{{"queue", options_.queue}}.dump(), options_.lease);
        if (run_.status != "running") {
            context_.log.info("tenant \"" + tenant_.name + "\": run " + run_.id + " is " + run_.status + " already");
            return;
        }
        context_.log.info("tenant \"" + tenant_.name + "\": run " + run_.id + (run_.resumed ? " resumed" : " started"));
        bool more = true;
        while (more && !stop::requested() && !handler_.given_up())
            try {
                more = turn();
            } catch (const db::sql_error& error) {
                if (error.sqlstate() == "SR016") { // paused: what it holds is to be due when the tenant goes on
                    settle_connection();
                    db::leave_run(connection_, run_);
                }
                throw;
            }
        if (handler_.given_up() && more)
            db::finish_run(connection_, run_, "failed", json{{"message", "the handler is at fault"}}.dump());
        else if (more)
            // Stopped: whoever comes next takes the run over at once, not after the lease.
            db::leave_run(connection_, run_);
        else
            db::finish_run(connection_, run_, "succeeded", std::nullopt);
        context_.log.info("tenant \"" + tenant_.name + "\": " + std::to_string(succeeded_) + " done, " +
                          std::to_string(failed_) + " failed, " + std::to_string(released_) + " given back");
    }

    // What was sent is the server's to end, whatever went wrong here; the connection is free for the next tenant.
    ~tenant_run() { settle_connection(); }
    tenant_run(const tenant_run&) = delete;
    tenant_run& operator=(const tenant_run&) = delete;

    exit_status outcome() const { return outcome_.code(); }

private:
    void settle_connection() {
        try {
            if (connection_.in_flight())
                db::receive_call_tools(connection_);
        } catch (const failure&) { // the calls' ids make whoever repeats them find what they did
        }
    }

    // One batch. False when the queue has nothing more that is due.
    bool turn() {
        const int turn = db::begin_turn(connection_, run_, json{{"queue", options_.queue}, {"limit", batch_}}.dump());
        const auto claimed_at = steady_clock::now();
        const auto items = claim(turn);
        fault::point("after-claim");
        if (items.empty()) {
            finish_turn(turn, 0);
            return false;
        }
        auto renewed = claimed_at;
        // Past this the items could become another worker's while ours are committed.
        const auto deadline = claimed_at + std::chrono::milliseconds(options_.lease) * 4 / 5;
        const auto keep_lease = [&] {
            if (connection_.in_flight() ||
                steady_clock::now() - renewed < std::chrono::milliseconds(options_.lease) / 2)
                return;
            db::heartbeat(connection_, run_, options_.lease);
            renewed = steady_clock::now();
        };
        // A fast handler works the next part while the one before is committed; a slow one is given all at once.
        const std::span<const protocol::item> all(items);
        const auto part = fast_handler_ ? std::min<std::size_t>(part_size, all.size()) : all.size();
        std::vector<returned_item> returned;
        steady_clock::duration in_handler{};
        for (std::size_t first = 0; first < all.size(); first += part) {
            const auto some = all.subspan(first, std::min(part, all.size() - first));
            const auto handed_over = steady_clock::now();
            auto results = handler_.work(some, deadline, keep_lease);
            in_handler += steady_clock::now() - handed_over;
            auto groups = group_answers(some, results, returned);
            const auto committed = finish_calls(turn, returned);
            fault::point("before-commit");
            start_calls(turn, std::move(groups), returned);
            take_results(committed, returned); // while the server has work again
        }
        take_results(finish_calls(turn, returned), returned);
        give_back(turn, returned);
        adapt_batch(items.size(), in_handler);
        finish_turn(turn, items.size());
        return true;
    }

    std::vector<protocol::item> claim(int turn) {
        const auto answer = db::call_tool(
            connection_, run_, turn, claim_request(turn, "claim"), "claim",
            json{{"queue", options_.queue}, {"limit", batch_}, {"lease_seconds", options_.lease.count()}}.dump());
        return protocol::parse_claimed(result_of(answer, "the queue's items could not be claimed"));
    }

    // A claim is never repeated: the token in the name keeps a successor from being given a dead worker's items again.
    std::string claim_request(int turn, std::string_view step) const {
        return uuid_v5({run_.id, std::to_string(run_.token), std::to_string(turn), step});
    }

    // The `result` member of a gateway answer as it stands. Throws when the call did not succeed.
    std::string result_of(const std::string& answer, const std::string& what) const {
        std::string status, result, error;
        split_json(answer, 1, [&](const std::string& path, std::string_view value) {
            if (path == "/status")
                status = json_unquote(value);
            else if (path == "/result")
                result = value;
            else if (path == "/error")
                error = value;
        });
        if (status == "succeeded")
            return result;
        const auto parsed = json::parse(error.empty() ? "{}" : error);
        throw db::sql_error(string_member(parsed, "sqlstate"), what, string_member(parsed, "message") + with_detail(parsed),
                            string_member(parsed, "hint"), {}, std::source_location::current());
    }

    struct call_group {
        const protocol::item* item;
        std::string calls; // members of call_tools' array
        std::size_t size;
    };

    // The calls of the answered items, a group for each; the others are to be returned.
    std::vector<call_group> group_answers(std::span<const protocol::item> items, std::vector<handled>& handled,
                                          std::vector<returned_item>& returned) {
        std::vector<call_group> groups;
        for (std::size_t i = 0; i < items.size(); ++i) {
            const auto& item = items[i];
            auto& result = handled[i];
            switch (result.state) {
            case handled::fate::unworked:
                returned.push_back({&item, {}});
                continue;
            case handled::fate::fault:
                outcome_.add(exit_status::handler_fault);
                returned.push_back({&item, result.error});
                continue;
            case handled::fate::declined:
                outcome_.add(exit_status::bad_data);
                context_.log.error("the handler could not work an item",
                                   "Item \"" + item.id + "\" of tenant \"" + tenant_.name + "\": " + result.error,
                                   "It goes back to the queue and is tried again after a while.");
                returned.push_back({&item, result.error.empty() ? "the handler gave no reason" : result.error});
                continue;
            case handled::fate::answered:
                break;
            }
            try {
                groups.push_back({&item, protocol::group_calls(tenant_.id, options_.queue, item, result.calls),
                                  protocol::group_size(result.calls)});
            } catch (const protocol::bad_answer& bad) {
                outcome_.add(exit_status::handler_fault);
                context_.log.error(bad.message, "Item \"" + item.id + "\" goes back to the queue. " + bad.detail,
                                   "See `sor work --help` for what a handler answers.");
                returned.push_back({&item, bad.message});
            }
        }
        return groups;
    }

    static std::string calls_of(std::span<const call_group> groups) {
        std::string calls = "[";
        for (const auto& group : groups) {
            calls += calls.size() > 1 ? "," : "";
            calls += group.calls;
        }
        return calls += ']';
    }

    // Sends the calls of the groups; finish_calls waits for the answer. What is too much for one statement is done
    // here.
    void start_calls(int turn, std::vector<call_group> groups, std::vector<returned_item>& returned) {
        std::size_t calls = 0;
        for (const auto& group : groups)
            calls += group.size;
        if (calls > most_calls) {
            make_calls(turn, groups, returned);
            fault::point("after-commit");
        } else if (calls > 0) {
            under_way_ = std::move(groups);
            db::send_call_tools(connection_, run_, turn, calls_of(under_way_));
        }
    }

    // Groups and the gateway's answer to them.
    struct committed_calls {
        std::vector<call_group> groups;
        std::string answer;
    };

    committed_calls finish_calls(int turn, std::vector<returned_item>& returned) {
        committed_calls done;
        if (under_way_.empty())
            return done;
        auto groups = std::exchange(under_way_, {});
        try {
            done.answer = db::receive_call_tools(connection_);
            done.groups = std::move(groups);
        } catch (const db::sql_error& error) {
            if (!error.sqlstate().starts_with("40") && error.sqlstate() != "SR007")
                throw;
            make_calls(turn, groups, returned);
        }
        fault::point("after-commit");
        return done;
    }

    void take_results(const committed_calls& done, std::vector<returned_item>& returned) {
        if (!done.groups.empty())
            take_results(done.groups, done.answer, returned);
    }

    // In as few statements as the gateway takes.
    void make_calls(int turn, std::span<const call_group> groups, std::vector<returned_item>& returned) {
        std::size_t first = 0, calls = 0;
        for (std::size_t i = 0; i < groups.size(); ++i) {
            if (calls + groups[i].size > most_calls && i > first) {
                make_calls_at_once(turn, groups.subspan(first, i - first), returned);
                first = i;
                calls = 0;
            }
            calls += groups[i].size;
        }
        if (first < groups.size())
            make_calls_at_once(turn, groups.subspan(first), returned);
    }

    void make_calls_at_once(int turn, std::span<const call_group> groups, std::vector<returned_item>& returned) {
        const std::string calls = calls_of(groups);
        std::string answer;
        for (int tries = 1;; ++tries) {
            try {
                answer = db::call_tools(connection_, run_, turn, calls);
                break;
            } catch (const db::sql_error& error) {
                // A deadlock's or serialisation failure's victim left nothing; the ids make a repeat safe.
                if (error.sqlstate().starts_with("40") && tries < 3)
                    continue;
                if (error.sqlstate() != "SR007")
                    throw;
                // The run's lease, or that of one item? This throws when it is the run's.
                db::heartbeat(connection_, run_, options_.lease);
                if (groups.size() == 1)
                    return lost(*groups.front().item, error.detail());
                for (const auto& group : groups) // one lost claim spoils the call for all
                    make_calls_at_once(turn, {&group, 1}, returned);
                return;
            }
        }
        take_results(groups, answer, returned);
    }

    void take_results(std::span<const call_group> groups, const std::string& answer,
                      std::vector<returned_item>& returned) {
        const auto results = json::parse(answer);
        auto result = results.begin();
        for (const auto& group : groups) {
            const json* culprit = nullptr;
            for (std::size_t i = 0; i < group.size; ++i, ++result) {
                if (result == results.end())
                    throw failure(exit_status::unavailable, "the gateway gave fewer results than there were calls");
                if (string_member(*result, "status") == "succeeded")
                    continue;
                // SR015 only says that a mate failed.
                if (!culprit || string_member(culprit->value("error", json::object()), "sqlstate") == "SR015")
                    culprit = &*result;
            }
            if (culprit)
                failed_group(*group.item, *culprit, returned);
            else
                ++succeeded_;
        }
    }

    void failed_group(const protocol::item& item, const json& failure, std::vector<returned_item>& returned) {
        const auto error = failure.value("error", json::object());
        const auto sqlstate = string_member(error, "sqlstate");
        auto message = string_member(error, "message");
        if (sqlstate == "SR007")
            return lost(item, message);
        const bool again = sqlstate == "SR006";
        outcome_.add(again                 ? exit_status::try_again
                     : sqlstate == "SR003" ? exit_status::refused
                                           : exit_status::handler_fault);
        context_.log.error(db::sql_error(sqlstate,
                                         string_member(failure, "status") == "refused" ? "a call for an item was refused"
                                                                                 : "a call for an item failed",
                                         "Item \"" + item.id + "\" of tenant \"" + tenant_.name +
                                             "\" goes back to the queue: " + message + with_detail(error),
                                         string_member(error, "hint"), {}, std::source_location::current()));
        returned.push_back({&item, sqlstate + ": " + message});
    }

    void lost(const protocol::item& item, const std::string& message) {
        outcome_.add(exit_status::try_again);
        context_.log.warning("the lease of an item was lost",
                             "Item \"" + item.id + "\" of tenant \"" + tenant_.name + "\": " + message,
                             "Whoever claimed it since works it; a longer --lease or a smaller --batch avoids this.");
    }

    void give_back(int turn, std::span<const returned_item> returned) {
        if (returned.empty())
            return;
        json arguments{{"queue", options_.queue}, {"limit", 0}, {"lease_seconds", options_.lease.count()}};
        std::uint64_t failed = 0, released = 0;
        for (const auto& [item, error] : returned) {
            json entry{{"item_id", item->id}, {"claim_token", item->claim_token}};
            if (error.empty()) {
                arguments["release"].push_back(std::move(entry));
                ++released;
            } else {
                entry["error"] = error;
                arguments["fail"].push_back(std::move(entry));
                ++failed;
            }
        }
        const auto request =
            claim_request(turn, "give back " + std::to_string(returned.size()) + " from " + returned.front().item->id);
        const auto answer = db::call_tool(connection_, run_, turn, request, "claim",
                                          arguments.dump(-1, ' ', false, json::error_handler_t::replace));
        try {
            result_of(answer, "items could not be given back to the queue");
        } catch (const db::sql_error& error) {
            if (error.sqlstate() != "SR007")
                throw;
            // One lost claim spoils the call for all.
            if (returned.size() == 1)
                return lost(*returned.front().item, error.detail());
            for (const auto& one : returned)
                give_back(turn, {&one, 1});
            return;
        }
        failed_ += failed;
        released_ += released;
    }

    void finish_turn(int turn, std::size_t items) {
        db::finish_turn(connection_, run_, turn, json{{"items", items}}.dump());
        if (context_.log.terminal())
            context_.log.progress("tenant " + tenant_.name + ": " + std::to_string(succeeded_) + " items done");
    }

    // A slow handler gets so few items at a time that half the lease is enough for them.
    void adapt_batch(std::size_t items, steady_clock::duration took) {
        const auto each = took / static_cast<long>(items);
        const auto fitting =
            each.count() > 0 ? steady_clock::duration(options_.lease / 2).count() / each.count() : options_.batch;
        batch_ = static_cast<int>(std::clamp<long>(fitting, 1, options_.batch));
        fast_handler_ = each < std::chrono::milliseconds(1);
    }

    const work_options& options_;
    command_context& context_;
    db::connection& connection_;
    handler& handler_;
    const db::tenant& tenant_;
    int& batch_;
    db::run run_;
    exit_outcome outcome_;
    std::uint64_t succeeded_ = 0, failed_ = 0, released_ = 0;
    std::vector<call_group> under_way_; // sent, not yet answered
    bool fast_handler_ = false;         // of this tenant's last batch

    static constexpr std::size_t most_calls = 1000; // of one statement
    static constexpr std::size_t part_size = 50;    // items of a fast handler committed at a time
};

// The user to act for, or none.
std::optional<std::string> find_user(const work_options& options, const std::vector<db::user>& users) {
    for (const auto& user : users)
        if (options.on_behalf_of.empty() ? user.role == options.on_behalf_of_role
                                         : fold(user.email) == fold(options.on_behalf_of))
            return user.id;
    return std::nullopt;
}

std::vector<db::tenant> tenants_to_work(const work_options& options, command_context& context,
                                        db::connection& connection, exit_outcome& outcome) {
    const auto granted = db::granted_tenants(connection);
    std::set<std::string> wanted;
    for (const auto& name : options.tenants) {
        const auto found = std::find_if(granted.begin(), granted.end(),
                                        [&](const auto& tenant) { return fold(tenant.name) == fold(name); });
        if (found != granted.end()) {
            wanted.insert(found->id);
            continue;
        }
        outcome.add(exit_status::refused);
        context.log.error("unknown tenant \"" + name + "\"", "No tenant of this name is granted to the login.",
                          "An operator makes tenants with sor.create_tenant and grants them with sor.grant_tenant.");
    }
    const auto ids = db::tenants_with_work(connection, options.queue, options.worker);
    const std::set<std::string> with_work(ids.begin(), ids.end());
    std::vector<db::tenant> tenants;
    for (const auto& tenant : granted)
        if (with_work.contains(tenant.id) && (options.tenants.empty() || wanted.contains(tenant.id)))
            tenants.push_back(tenant);
    return tenants;
}

exit_status work(const work_options& options, command_context& context) {
    if (options.on_behalf_of.empty() == options.on_behalf_of_role.empty())
        throw failure(exit_status::usage, "one of --on-behalf-of and --on-behalf-of-role is needed", {},
                      "A worker always acts for a user of the tenant.");
    for (const auto& name : options.pass_env)
        if (name.starts_with("PG") || name.starts_with("SOR_") || name == "DATABASE_URL")
            throw failure(exit_status::usage, "the handler may not be given \"" + name + "\"", {},
                          "A handler has no way to the database but its answers.");
    exit_outcome outcome;
    auto connection = connect(context);
    const auto tenants = tenants_to_work(options, context, connection, outcome);
    // A single item must not outlast the lease: half of it, so that a slow one costs itself alone.
    const auto time_limit =
        std::min<std::chrono::milliseconds>(options.handler_timeout, std::chrono::milliseconds(options.lease) / 2);
    handler handler({options.handler, time_limit, options.pass_env}, context.log);
    int batch = options.batch;
    for (const auto& tenant : tenants) {
        if (stop::requested() || handler.given_up())
            break;
        tenant_run run(options, context, connection, handler, tenant, batch);
        try {
            const auto user = find_user(options, db::granted_users(connection, tenant.id));
            if (!user)
                throw failure(
                    exit_status::refused, "tenant \"" + tenant.name + "\" has no such user for the login to act for",
                    options.on_behalf_of.empty() ? "Wanted is one with the role " + options.on_behalf_of_role + "."
                                                 : "Wanted is " + options.on_behalf_of + ".",
                    "An operator grants users with sor.grant_tenant(login, tenant_id, user_ids).");
            run.work(*user);
        } catch (const failure& error) {
            if (error.code() == exit_status::unavailable)
                throw;
            // One tenant's trouble is not the others'.
            context.log.error(error);
            context.log.info("tenant \"" + tenant.name + "\" is left");
            outcome.add(error.code());
        }
        outcome.add(run.outcome());
    }
    context.log.progress({});
    handler.finish();
    if (handler.at_fault())
        outcome.add(exit_status::handler_fault);
    return outcome.code();
}

} // namespace

void declare_work(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "work", "Work a queue: claim items, ask the handler, commit what it answers",
        "For each granted tenant with work, one run: started, or resumed where a killed worker left it. Each batch is "
        "a\n"
        "turn: items are claimed under a lease, the handler is asked, and each item's calls take effect together or "
        "not\n"
        "at all, its claim completed in the same transaction. A run key that finished before is a no-op.\n\n"
        "The handler is started once, by /bin/sh -c, and speaks JSON lines.\n"
        "  in:   {\"item\": {\"id\", \"attempt\", \"row\": {...}}}\n"
        "  out:  {\"item_id\", \"calls\": [{\"tool\", \"arguments\": {...}}...]}  or  {\"item_id\", \"error\"}\n"
        "One answer for each item, in any order; several items may be written ahead. The driver adds what completes "
        "the\n"
        "claim to the item's last \"write\". Its environment holds PATH, HOME, USER, LOGNAME, SHELL, LANG, LANGUAGE, "
        "LC_*, TZ,\n"
        "TMPDIR and what --pass-env names, never PG*, DATABASE_URL or SOR_*; its standard error is passed on.\n"
        "An item whose answer is an error, malformed, late or refused goes back to the queue with that error.",
        common);
    auto options = std::make_shared<work_options>();
    command->add_option("queue", options->queue, "Name under which the queue is registered")
        ->required()
        ->type_name("QUEUE");
    command->add_option("--worker", options->worker, "The Worker's name in the journal")->required()->type_name("NAME");
    command->add_option("--handler", options->handler, "Command that works items")->required()->type_name("CMD");
    command->add_option("--on-behalf-of", options->on_behalf_of, "User of each tenant to act for")->type_name("EMAIL");
    command
        ->add_option("--on-behalf-of-role", options->on_behalf_of_role,
                     "Act for the first granted user of this role in each tenant instead")
        ->check(CLI::IsMember({"admin", "member", "viewer"}));
    command->add_option("--run-key", options->run_key, "Names the run: one of each key in a tenant")->type_name("K");
    command->add_option("--tenant", options->tenants, "Only this tenant; repeatable")
        ->type_name("NAME")
        ->allow_extra_args(false);
    command->add_option("--batch", options->batch, "Items a turn, at most; fewer when the handler is slow")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    add_duration(command, "--lease", options->lease, "How long a batch may take before its items are another worker's",
                 1, 3600);
    add_duration(command, "--handler-timeout", options->handler_timeout,
                 "Time limit for one item, never more than half the lease", 1, 1800);
    command->add_option("--pass-env", options->pass_env, "Variable of the environment for the handler; repeatable")
        ->type_name("NAME")
        ->allow_extra_args(false);
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return work(*options, context); }; });
}

} // namespace sor
