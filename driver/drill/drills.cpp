#include "drill/drills.hpp"
#include <csignal>
#include <filesystem>
#include <tuple>
#include <unistd.h>
#include "db/calls.hpp"
#include "text.hpp"
#include "uuid.hpp"

namespace sor::drill {
namespace {

constexpr const char* queue = "pending_transactions";

std::string text_or_null(const std::string& value) {
    return value.empty() ? "null" : json_quote(value);
}

// A JSON object of texts and of what is JSON already (in `raw`).
std::string object(const db::parameter_list& texts, const db::parameter_list& raw = {}) {
    std::string result = "{";
    for (const auto& [key, value] : texts)
        result += (result.size() > 1 ? ", " : "") + json_quote(key) + ": " + text_or_null(value);
    for (const auto& [key, value] : raw)
        result += (result.size() > 1 ? ", " : "") + json_quote(key) + ": " + (value.empty() ? "null" : value);
    return result + "}";
}

// As one word of a shell's.
std::string word(const std::string& text) {
    std::string result = "'";
    for (const char c : text)
        result += c == '\'' ? "'\\''" : std::string(1, c);
    return result + "'";
}

std::string purchase(const std::string& transaction, const std::string& merchant, const std::string& amount = "12.50") {
    return object({{"transaction_id", transaction},
                   {"trans_date", "2026-09-01"},
                   {"merchant", merchant},
                   {"card", "************1001"},
                   {"currency", "GBP"},
                   {"category", "Books"}},
                  {{"amount", amount}});
}

// `n` new items in the tenant's queue, under a statement of their own; their ids as a JSON array.
std::string add_items(stage& on, const tenant& in, const std::string& statement, int n) {
    std::string records = "[";
    for (int i = 1; i <= n; ++i)
        records += (i > 1 ? ", " : "") + object({{"statement", statement},
                                                 {"trans_date", "2026-09-01"},
                                                 {"merchant", "drill shop " + std::to_string(i)},
                                                 {"card", "************1001"},
                                                 {"currency", "GBP"},
                                                 {"category_code", "L100"},
                                                 {"category", "Books"}},
                                                {{"amount", std::to_string(i) + ".00"}, {"occurrence", "1"}});
    auto backend = on.session("backend");
    db::send_upsert_many(*backend, in.id, queue, records + "]", false);
    const auto counts = db::receive_upsert_many(*backend);
    if (counts.inserted != n)
        throw failure(exit_status::bad_data, "the drill's items were refused",
                      counts.refused.empty() ? "They are there already." : counts.refused.front().message);
    return on.admin().query(sql::new_items, {in.id, statement}).text(0, 0);
}

std::vector<std::string> work(const stage& on, const drill_options& options, const std::string& key,
                              const std::string& handler) {
    return {
        "work",
        queue,
        "--worker",
        "drill",
        "--on-behalf-of=" + on.first().email,
        "--tenant=" + on.first().name,
        "--run-key",
        key,
        "--batch",
        "2",
        "--lease",
        "6", // no shorter, for the handler has half of it for an item; no longer, for without a journal it ends this
        "--verbose",
        "--handler",
        handler + options.handler};
}

// -------------------------------------------------------------------------------------------------- 1 migration review

// The last line of what a program wrote as its review is the hash that an approval takes.
std::string review_hash(const std::string& review) {
    const auto end = review.find_last_not_of('\n');
    const auto start = review.find_last_of(' ', end);
    return end == std::string::npos || start == std::string::npos ? "" : review.substr(start + 1, end - start);
}

// As in production: proposed, rehearsed on a branch, read and approved by somebody else, applied; and rolled back.
void migration_review(stage& on, const drill_options&, const std::string& without) {
    const auto& key = drills[0].key;
    on.admin().query(sql::no_notes, {});
    const auto version = on.admin().query(sql::next_version, {}).text(0, 0);
    const auto directory = on.file("migrations"), stem = directory + "/" + version + "_expenses_have_notes";
    std::filesystem::create_directory(directory);
    write_file(stem + ".up.sql",
               "-- sor: touches reconciler.expenses\nALTER TABLE reconciler.expenses ADD COLUMN notes text;\n");
    // an empty one says that there is no way back
    write_file(stem + ".down.sql",
               without == "downgrade" ? "" : "ALTER TABLE reconciler.expenses DROP COLUMN notes;\n");
    std::string error;
    const auto migrate = [&](const std::string& name, const char* as, std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), "migrate");
        arguments.insert(arguments.end(), {"--dir", directory});
        const auto end = on.start("drill1." + name, as, std::move(arguments))->wait();
        if (end.status != 0 && error.empty())
            error = read_file(on.file("drill1." + name + ".err"));
        return end.status == 0;
    };
    const auto look = [&](const char* name) {
        on.observe(key, name,
                   object({{"fingerprint", db::schema_fingerprint(on.admin())}},
                          {{"objects", on.admin().query(sql::objects, {}).text(0, 0)}}));
    };
    look("before");
    migrate("proposed", "proposer", {"review", version, "--propose"});
    migrate("rehearsed", superuser, {"rehearse", version, "--allow-privileged-login"});
    migrate("reviewed", "approver", {"review", version, "--verbose"});
    migrate("approved", "approver",
            {"approve", version, "--review", review_hash(read_file(on.file("drill1.reviewed.out")))});
    if (migrate("applied", "proposer", {"apply", version}))
        look("applied");
    if (migrate("rolled_back", "proposer", {"rollback", version}))
        look("rolled_back");
    std::string drop;
    {
        const auto owner = on.session("proposer");
        const db::transaction undone(*owner);
        drop = sqlstate_of(*owner, sql::drop_expenses, {});
    }
    on.observe(key, "outcome", object({{"version", version}, {"error", error}, {"drop_table", drop}}));
}

// ------------------------------------------------------------------------------------------------ 2 run journal resume

void run_journal_resume(stage& on, const drill_options& options, const std::string&) {
    const auto& key = drills[1].key;
    on.observe(key, "items", add_items(on, on.first(), "drill 2", 10));
    // The handler stops at its fifth item, which is in the third turn, until it is let go.
    const auto asked = on.file("drill2.asked"), hold = on.file("drill2.hold");
    write_file(hold, "");
    const auto slow = "n=0; while IFS= read -r line; do n=$((n+1)); if [ $n -eq 5 ] && [ -e " + word(hold) +
                      " ]; then : > " + word(asked) + "; while [ -e " + word(hold) +
                      " ]; do sleep 0.02; done; fi; printf '%s\\n' \"$line\"; done | ";
    const auto arguments = work(on, options, "drill-2", slow);
    auto worker = on.start("drill2.killed", "worker", arguments);
    std::string crash, run;
    wait_until("the worker is in its third turn", [&] {
        if (worker->ended())
            throw failure(exit_status::unavailable, "the worker ended before it was killed",
                          read_file(on.file("drill2.killed.err")));
        return access(asked.c_str(), F_OK) == 0;
    });
    worker->signal(SIGKILL);
    const auto end = worker->wait();
    // its backend may be at what it has sent
    wait_until("the dead worker's session is gone",
               [&] { return on.admin().query(sql::is_gone, {on.login("worker")}).boolean(0, 0); });
    {
        const auto seen = on.admin().query(sql::crash, {on.first().id, "drill"});
        crash = seen.text(0, 0);
        run = seen.text(0, 1);
    }
    unlink(hold.c_str());
    on.observe(key, "crash", crash);
    on.observe(key, "worker", object({{"signal", std::to_string(end.signal)}}));
    on.admin().query(sql::lapse, {on.first().id, run});
    const auto successor = on.start("drill2.successor", "worker", arguments)->wait();
    on.observe(key, "successor", object({{"status", std::to_string(successor.status)}}));
}

// --------------------------------------------------------------------------------------------------------- a short run

struct short_run {
    db::connection& as;
    db::run run;

    short_run(db::connection& worker, const tenant& of, const std::string& key)
        : as(worker), run(db::start_run(worker, of.id, "drill", key, of.user_id, "{}", std::chrono::seconds(60))) {
        db::begin_turn(as, run, "{}");
    }
    std::string write(const std::string& request, const std::string& record) {
        return db::call_tool(as, run, 1, request, "write", object({{"table", "expenses"}}, {{"record", record}}));
    }
    void end() {
        // A journal that was sabotaged may not let it succeed; what it holds is what is judged.
        try {
            db::finish_turn(as, run, 1, "{}");
            db::finish_run(as, run, "succeeded", std::nullopt);
        } catch (const db::sql_error& error) {
            if (error.sqlstate() != "SR010")
                throw;
        }
    }
};

// -------------------------------------------------------------------------------------------------- 3 idempotency
// retry

void idempotency_retry(stage& on, const drill_options&, const std::string& without) {
    const auto& key = drills[2].key;
    const auto request = uuid_v4(), transaction = uuid_v4();
    auto worker = on.session("worker");
    short_run run(*worker, on.first(), "drill-3");
    on.observe(key, "input",
               object({{"tenant_id", on.first().id},
                       {"run_id", run.run.id},
                       {"request_id", request},
                       {"transaction_id", transaction},
                       {"before", on.admin().query(sql::expenses_of, {on.first().id}).text(0, 0)}}));
    const auto first = run.write(request, purchase(transaction, "paper & quill"));
    const auto second =
        run.write(without == "idempotency-key" ? uuid_v4() : request, purchase(transaction, "paper & quill"));
    const auto third = run.write(uuid_v4(), purchase(transaction, "PAPER AND QUILL"));
    on.observe(key, "answers", object({}, {{"first", first}, {"second", second}, {"third", third}}));
    run.end();
}

// --------------------------------------------------------------------------------------------------- 4 concurrent
// claim

struct claimed {
    std::string item, token, error;
};

claimed claim(db::connection& as, const tenant& of, const char* worker, const char* lease) {
    try {
        const auto found = as.query("select item_id, claim_token from sor.claim($1::uuid, $2, $3, 1, $4::interval)",
                                    {of.id, queue, worker, lease});
        return found.rows() == 0 ? claimed{} : claimed{found.text(0, 0), found.text(0, 1), {}};
    } catch (const db::sql_error& error) {
        return {{}, {}, error.sqlstate()};
    }
}

std::string complete(db::connection& as, const tenant& of, const claimed& what) {
    return sqlstate_of(as, "select sor.complete($1::uuid, $2, $3, $4::bigint)", {of.id, queue, what.item, what.token});
}

void concurrency_claim(stage& on, const drill_options&, const std::string&) {
    const auto& key = drills[3].key;
    const auto& of = on.second();
    on.observe(key, "input", object({{"tenant_id", of.id}}, {{"items", add_items(on, of, "drill 4", 2)}}));
    auto a = on.session("backend"), b = on.session("rival");
    claimed of_a, of_b;
    {
        db::transaction both(*a); // A holds its locks while B claims
        of_a = claim(*a, of, "A", "1 s");
        of_b = claim(*b, of, "B", "1 min");
        both.commit();
    }
    on.observe(key, "race", object({{"a", of_a.item}, {"b", of_b.item}, {"error", of_b.error}}));
    if (of_a.item.empty() || of_b.item.empty())
        return;
    claimed again;
    wait_until("A's claim has lapsed and B has its item", [&] {
        again = claim(*b, of, "B", "1 min");
        if (!again.error.empty())
            throw failure(exit_status::unavailable, "claiming failed with SQLSTATE " + again.error);
        return !again.item.empty();
    });
    const auto stale = complete(*a, of, of_a);
    const auto rest = complete(*b, of, of_b), own = complete(*b, of, again);
    on.observe(
        key, "stale",
        object({{"a", stale}, {"b", rest == "00000" ? own : rest}, {"a_token", of_a.token}, {"b_token", again.token}}));
}

// ---------------------------------------------------------------------------------------------------------- 5 the
// relay

void outbox_relay_retry(stage& on, const drill_options& options, const std::string& without) {
    const auto& key = drills[4].key;
    const auto& of = on.first();
    const auto mails = on.file("mails.jsonl"), refuse = mails + ".refuse", settings = on.file("settings.toml");
    program sink({"/bin/sh", "-c", "exec " + options.mail_server + " \"$1\"", "sh", mails}, on.environment(), {},
                 on.file("mail_server.out"), on.file("mail_server.err"));
    std::string port;
    wait_until("the mail server listens", [&] {
        if (sink.ended())
            throw failure(exit_status::unavailable, "the mail server did not start",
                          read_file(on.file("mail_server.err")),
                          "--mail-server is a command that prints its port, and writes each mail as a line of JSON.");
        port = read_file(on.file("mail_server.out"));
        return port.ends_with('\n');
    });
    port.pop_back();
    write_file(settings, "[destinations.mail]\ntype = \"smtp\"\nurl = \"smtp://127.0.0.1:" + port +
                             "\"\nfrom = \"drill@expenses.example\"\n");
    const auto relay = [&](const std::string& name) {
        return on.start(name, "relay", {"relay", "--settings", settings, "--verbose"})->wait();
    };

    const auto transaction = uuid_v4(), undone = uuid_v4();
    const auto subject = "drill 5: " + transaction;
    auto backend = on.session("backend"), outside = on.session("rival");
    const auto queue_message = [&](db::connection& as, const std::string& about) {
        return as
            .query("select message_id from sor.enqueue($1::uuid, 'mail', 'expense.recorded', $2, $3::jsonb, $4)",
                   {of.id, about,
                    object({{"to", "member@expenses.example"},
                            {"subject", "drill 5: " + about},
                            {"text", "An expense was recorded."}}),
                    "expense.recorded/" + about + (without == "dedup-key" ? "/" + uuid_v4() : "")})
            .text(0, 0);
    };
    std::string message;
    {
        db::transaction together(*backend);
        db::upsert(*backend, of.id, "expenses", purchase(transaction, "drill 5"));
        message = queue_message(*backend, transaction);
        together.commit();
    }
    queue_message(*backend, transaction); // a Worker that is not sure says it again
    {
        db::transaction rolled_back(*backend);
        db::upsert(*backend, of.id, "expenses", purchase(undone, "drill 5"));
        queue_message(without == "outbox-transaction" ? *outside : *backend, undone);
    }
    on.observe(key, "input",
               object({{"tenant_id", of.id},
                       {"message_id", message},
                       {"aggregate_id", transaction},
                       {"rolled_back", undone},
                       {"subject", subject}}));
    write_file(refuse, "451 try later");
    const auto failed = relay("drill5.fails");
    unlink(refuse.c_str());
    const auto found = on.admin().query(
        "select to_jsonb(m) from sor.find_messages($1::uuid, null, 1000) m where message_id = $2::uuid",
        {of.id, message});
    on.observe(key, "failed_once", found.rows() == 0 ? "null" : found.text(0, 0));
    on.admin().query(sql::due_now, {message}); // its backoff is a quarter to half a minute
    const auto sent = relay("drill5.sends"), idle = relay("drill5.has_nothing");
    sink.signal(SIGTERM);
    sink.wait();
    on.observe(key, "relays",
               object({{"failed", std::to_string(failed.status)},
                       {"sent", std::to_string(sent.status)},
                       {"idle", std::to_string(idle.status)}}));
    on.keep_log(key, "mails", read_file(mails));
}

// ------------------------------------------------------------------------------------------------------- 6 append-only

void append_only_event(stage& on, const drill_options&, const std::string&) {
    const auto& key = drills[5].key;
    const auto& of = on.first();
    const auto found = on.admin().query(sql::finished_run, {of.id});
    if (found.rows() == 0)
        throw failure(exit_status::refused, "the demo has no run that succeeded");
    const auto run = found.text(0, 0);
    on.observe(key, "input", object({{"tenant_id", of.id}, {"run_id", run}}));
    std::string refusals;
    auto worker = on.session("worker");
    for (const auto& [name, as, statement] : {std::tuple{"superuser", &on.admin(), sql::change_event},
                                              {"superuser_delete", &on.admin(), sql::delete_event},
                                              {"worker", worker.get(), sql::change_event}}) {
        const db::transaction undone(*as);
        refusals += (refusals.empty() ? "{" : ", ") + json_quote(name) + ": " +
                    json_quote(sqlstate_of(*as, statement, {of.id, run}));
    }
    on.observe(key, "refusals", refusals + "}");
    auto auditor = on.session("auditor");
    on.observe(
        key, "replay",
        auditor
            ->query("select coalesce(jsonb_agg(to_jsonb(r)), '[]') from sor.replay($1::uuid, $2::uuid) r", {of.id, run})
            .text(0, 0));
    on.observe(key, "rebuilt", auditor->query("select sor.rebuild_run($1::uuid, $2::uuid)", {of.id, run}).text(0, 0));
    on.observe(
        key, "verified",
        auditor->query("select to_jsonb(v) from sor.verify_events($1::uuid, $2::uuid) v", {of.id, run}).text(0, 0));
}

// ----------------------------------------------------------------------------------------------------- 7 identity flip

void rls_identity_flip(stage& on, const drill_options&, const std::string&) {
    const auto& key = drills[6].key;
    const auto& a = on.first();
    const auto& b = on.second();
    on.observe(key, "input",
               object({}, {{"a", object({{"tenant_id", a.id}, {"name", a.name}})},
                           {"b", object({{"tenant_id", b.id}, {"name", b.name}})}}));
    auto auditor = on.session("auditor"); // one session for all three
    for (const auto& [name, of] : {std::pair<const char*, const tenant*>{"a", &a}, {"b", &b}, {"unset", nullptr}}) {
        const db::transaction reading(*auditor);
        if (of)
            db::set_context(*auditor, of->id);
        on.observe(key, name, auditor->query(sql::visible, {of ? of->id : a.id}).text(0, 0));
    }
    // a member of the owner, whom row security that is not forced does not bind
    on.observe(key, "owner", on.session("proposer")->query(sql::visible, {a.id}).text(0, 0));
}

// ------------------------------------------------------------------------------------------------------ 8 the boundary

void mcp_boundary(stage& on, const drill_options& options, const std::string& without) {
    const auto& key = drills[7].key;
    const auto& of = on.first();
    // The Worker's code is what the handler runs; `sor work` itself is given what must not reach it.
    add_items(on, of, "drill 8", 1);
    const auto environment = on.file("drill8.environment");
    const std::string leak = without == "credentials" ? "export STORE=postgresql://worker@127.0.0.1/reconciler; " : "";
    on.start("drill8.work", "worker", work(on, options, "drill-8", leak + "env > " + word(environment) + "; exec "), {},
             {"DATABASE_URL=postgresql://nobody@127.0.0.1/none", "SOR_SECRET=1"})
        ->wait();

    auto path = options.server_log;
    if (path.empty())
        path = on.admin().query(sql::current_log, {}).text(0, 0);
    if (path.empty())
        throw failure(exit_status::usage, "the server's log is not where the server could say", {},
                      "--server-log PATH names the file, as the server's account sees it.");
    const auto position = on.admin().query(sql::log_position, {path}).text(0, 0);
    const auto marker = "drill-8-" + uuid_v4(), end = "drill-8-end-" + uuid_v4();
    const std::string meta = "\"_meta\": {\"io.modelcontextprotocol/protocolVersion\": \"2026-07-28\", "
                             "\"io.modelcontextprotocol/clientCapabilities\": {}}";
    const auto request = [&](const char* id, const char* method, const std::string& parameters) {
        return std::string("{\"jsonrpc\": \"2.0\", \"id\": ") + id + ", \"method\": \"" + method + "\", \"params\": {" +
               parameters + meta + "}}\n";
    };
    write_file(on.file("drill8.requests"),
               request("1", "tools/list", "") +
                   request("2", "tools/call",
                           "\"name\": \"read\", \"arguments\": " +
                               object({{"from", "expenses"}}, {{"where", object({{"merchant", marker}})}}) + ", ") +
                   request("3", "tools/call",
                           "\"name\": \"drop_table\", \"arguments\": " +
                               object({{"request_id", uuid_v4()}, {"table", "expenses"}}) + ", "));
    on.start("drill8.answers", "worker",
             {"mcp", "--tenant=" + of.name, "--worker", "drill-client", "--on-behalf-of=" + of.email},
             on.file("drill8.requests"))
        ->wait();
    on.admin().query(sql::say, {end}); // what was to be logged before it, is there when it is
    std::string log;
    wait_until("the server's log, which --server-log names, shows a statement of this drill", [&] {
        log = on.admin().query(sql::log_since, {path, position}).text(0, 0);
        return log.find(end) != std::string::npos;
    });
    write_file(on.file("drill8.server"), log);
    const auto seen = on.without_password(read_file(environment));
    write_file(environment, seen);
    on.observe(key, "input", object({{"marker", marker}, {"log", path}}));
    on.keep_log(key, "environment", seen);
    on.keep_log(key, "answers", read_file(on.file("drill8.answers.out")));
    on.keep_log(key, "server", log);
}

// -------------------------------------------------------------------------------------------------------- 9 forensics

void forensics(stage& on, const drill_options&, const std::string&) {
    const auto& key = drills[8].key;
    const auto& of = on.first();
    auto worker = on.session("worker");
    short_run run(*worker, of, "drill-9");
    // more decimals than the table takes
    const auto answer = run.write(uuid_v4(), purchase(uuid_v4(), "drill 9", "1.234"));
    db::finish_run(*worker, run.run, "failed", on.admin().query(sql::error_of, {answer}).text(0, 0));
    on.observe(key, "input", object({{"tenant_id", of.id}, {"run_id", run.run.id}}));
    auto auditor = on.session("auditor");
    on.observe(key, "report", db::forensic_report(*auditor, of.id, run.run.id));
}

} // namespace

void act(int index, stage& on, const drill_options& options, const std::string& without) {
    using action = void (*)(stage&, const drill_options&, const std::string&);
    constexpr action actions[drill_count] = {migration_review,  run_journal_resume, idempotency_retry,
                                             concurrency_claim, outbox_relay_retry, append_only_event,
                                             rls_identity_flip, mcp_boundary,       forensics};
    actions[index](on, options, without);
}

} // namespace sor::drill
