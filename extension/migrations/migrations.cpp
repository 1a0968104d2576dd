#include "bridge/uuid_v7.hpp"
#include "migrations/effect.hpp"
#include "migrations/history.hpp"
#include "migrations/reading.hpp"
#include "migrations/runner.hpp"
#include "review/summary.hpp"

extern "C" {
#include "tcop/tcopprot.h"
}

using namespace sor;
using namespace sor::migrations;
using bridge::in;

// ---------------------------------------------------------------- proposing and approving

namespace {

void require_runnable(const char* version, const text* up, const text* down) {
    if (steps_of(version, false, bridge::view(up)) == NIL)
        bridge::raise(code::invalid_parameter, psprintf("migration %s has no statement", version),
                      "Its upgrade is empty.", nullptr);
    if (down != nullptr)
        steps_of(version, true, bridge::view(down));
}

// False when it is there already.
bool insert(const char* version, const sort_key& key, const text* name, const char* checksum, const text* up,
            const text* down) {
    static bridge::statement row(
        "insert into sor.migrations (version, sort_key, name, checksum, up, down, proposed_by, proposed_at)"
        " values ($1, $2, $3, $4, $5, $6, $7, pg_catalog.clock_timestamp()) on conflict do nothing",
        {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    return row.run(in(version), in(key.text), in(name), in(checksum), in(up), in(down), in(login())).count == 1;
}

void replace(const migration& m, const text* name, const char* checksum, const text* up, const text* down) {
    static bridge::statement row(
        "update sor.migrations set name = $2, checksum = $3, up = $4, down = $5, proposed_by = $6,"
        "       proposed_at = pg_catalog.clock_timestamp(), review_hash = null, findings = null, approved_by = null,"
        "       approved_at = null, approval_seq = null, override = null, override_up = false, override_down = false"
        " where version = $1",
        {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    row.run(in(m.version), in(name), in(checksum), in(up), in(down), in(login()));
}

void append_proposed(const migration& m, const char* replaces) {
    bridge::json_writer payload;
    events::append_system(
        "migration.proposed",
        describe(payload, m).field("replaces", replaces).field("reversible", m.down != nullptr).end().done());
}

bool same(const text* a, const char* b) {
    return bridge::view(a) == b;
}

void propose(const text* version, const text* name, const text* up, const text* down, const char* checksum) {
    const char* own = bridge::to_cstring(bridge::view(version));
    const sort_key& key = key_of(version);
    migration* m = find(CurrentMemoryContext, key);
    if (m == nullptr) {
        const bool first = insert(own, key, name, checksum, up, down); // waits for a twin's
        m = find(CurrentMemoryContext, key);
        if (first) {
            append_proposed(*m, nullptr);
            return;
        }
    }
    if (strcmp(m->version, own) != 0)
        bridge::raise(code::invalid_parameter, psprintf("migration %s has the number of migration %s", own, m->version),
                      "Versions are compared number by number.", "Give it another version.");
    const bool same_texts = strcmp(m->checksum, checksum) == 0;
    if (same_texts && (same(name, m->name) || m->applied() || m->progress != nullptr))
        return; // an applied one keeps the name it was applied with
    if (m->progress != nullptr)
        bridge::raise(code::invalid_state_transition, psprintf("migration %s is half applied", own),
                      "Its texts cannot change now.", "Finish it or roll it back first.");
    if (m->applied())
        bridge::raise(code::migration_mismatch, psprintf("migration %s was applied with other texts", own),
                      psprintf("Its checksum is %s; that of these texts is %s.", m->checksum, checksum),
                      "Leave a migration that was applied as it is, and write the next one.");
    replace(*m, name, checksum, up, down);
    append_proposed(*find(CurrentMemoryContext, key), m->checksum);
}

} // namespace

SOR_FUNCTION(propose_migration) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const text* name = a.string(1, "name");
    const text* up = a.string(2, "up");
    const text* down = a.string_or_null(3);
    refuse_within_migration();
    key_of(version);
    const std::string_view shown = bridge::view(name);
    if (shown.find_first_not_of(" \t\r\n") == shown.npos || shown.size() > 200)
        bridge::raise(code::invalid_parameter, "a migration needs a name of at most 200 bytes", nullptr,
                      "Say in a few words what it does.");
    require_runnable(bridge::to_cstring(bridge::view(version)), up, down);
    const char* checksum = review::checksum(up, down);
    in_history([&](MemoryContext) { propose(version, name, up, down, checksum); });
    return CStringGetTextDatum(checksum);
}

namespace {

void require_override(const Jsonb* override) {
    if (!bridge::is_object(override))
        bridge::raise(code::invalid_parameter, "an override is an object", nullptr,
                      "Give {\"branch\": …, \"backup\": …, \"reason\": …}.");
    bridge::only_keys(override, "override", {"branch", "backup", "reason"});
    for (const char* key : {"branch", "backup", "reason"}) {
        const char* value = bridge::find_string(override, key);
        if (value == nullptr || strspn(value, " \t\r\n") == strlen(value))
            bridge::raise(code::invalid_parameter, psprintf("an override needs its %s", key), nullptr,
                          "Name the branch it was rehearsed on, the backup to go back to, and the reason.");
    }
}

bool is_rehearsed(const migration& m) {
    static bridge::statement any("select exists (select from sor.rehearsals where version = $1 and checksum = $2"
                                 " and report -> 'succeeded' is distinct from 'false')",
                                 {TEXTOID, TEXTOID});
    return any.run(in(m.version), in(m.checksum)).boolean(0, 1);
}

void approve(const migration& m, const Jsonb* override, const text* review) {
    if (strcmp(m.proposed_by, login()) == 0)
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("migration %s was proposed by \"%s\", who cannot approve it", m.version, login()),
                        errhint("Let somebody else read the review and approve it.")));
    if (m.progress != nullptr)
        bridge::raise(code::invalid_state_transition, psprintf("migration %s is half applied", m.version), nullptr,
                      "Finish it or roll it back first.");
    if (strcmp(m.checksum, review::checksum(m.up, m.down)) != 0)
        bridge::raise(code::migration_mismatch, psprintf("migration %s is not what was proposed", m.version),
                      "The texts in sor.migrations do not have its checksum.", "Propose it again.");
    const review::summary now = review::summarize(m.up, m.down, m.name);
    if (review != nullptr && !same(review, now.hash))
        bridge::raise(code::migration_mismatch, psprintf("the review of migration %s reads otherwise now", m.version),
                      psprintf("Its hash is %s.", now.hash), "Read sor.review_migration again.");
    if (now.worst != nullptr && override == nullptr)
        bridge::raise(code::destructive_change_refused, psprintf("migration %s is destructive", m.version), now.worst,
                      "Rehearse it, take a backup, and approve it with an override {branch, backup, reason}.");
    const bool rehearsed = is_rehearsed(m);
    // Once it is applied, the review is one of a database that has it: what an upgrade will be compared with stays.
    const char* hash = m.applied() && m.review_hash ? m.review_hash : now.hash;
    const Jsonb* findings = m.applied() && m.findings ? m.findings : now.findings;
    bridge::json_writer payload;
    const int64 seq = events::append_system("migration.approved", describe(payload, m)
                                                                      .field("review", hash)
                                                                      .field("findings", findings)
                                                                      .field("override", override)
                                                                      .field("rehearsed", rehearsed)
                                                                      .end()
                                                                      .done());
    static bridge::statement row("update sor.migrations set approved_by = $2, approved_at = "
                                 "pg_catalog.clock_timestamp(), review_hash = $3, findings = $4, override = $5,"
                                 "       override_up = $5 is not null, override_down = $5 is not null,"
                                 "       approval_seq = $6 where version = $1",
                                 {TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, INT8OID});
    row.run(in(m.version), in(login()), in(hash), in(findings), in(override), in(seq));
    if (!rehearsed)
        ereport(WARNING, (errmsg("migration %s was approved without a rehearsal", m.version),
                          errhint("sor migrate rehearse tries it on a branch of this database.")));
}

// What a client sent names the call: a view, a default, a trigger that it comes upon does not approve in its name.
bool client_asks_to_approve() {
    constexpr std::string_view function = "approve_migration";
    if (debug_query_string == nullptr)
        return false;
    for (const char* c = debug_query_string; *c != '\0'; ++c)
        if (pg_strncasecmp(c, function.data(), function.size()) == 0) {
            const char* next = c + function.size();
            next += *next == '"';
            next += strspn(next, " \t\r\n\f\v");
            if (*next == '(')
                return true;
        }
    return false;
}

} // namespace

SOR_FUNCTION(approve_migration) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const Jsonb* override = a.json_or_null(1);
    const text* review = a.string_or_null(2);
    refuse_within_migration();
    if (GetUserId() != GetSessionUserId())
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("a migration is approved with one's own login"),
                        errdetail("Login \"%s\" acts as role \"%s\".", login(), GetUserNameFromId(GetUserId(), false)),
                        errhint("RESET ROLE, and call sor.approve_migration as oneself.")));
    if (!client_asks_to_approve())
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("a migration is approved by a statement of one's own that says so"),
                        errdetail("What login \"%s\" executes came upon the call in something else.", login()),
                        errhint("Send a statement that calls sor.approve_migration.")));
    if (override != nullptr)
        require_override(override);
    in_history([&](MemoryContext caller) { approve(load(caller, version), override, review); });
    PG_RETURN_VOID();
}

// ---------------------------------------------------------------- applying and rolling back

namespace {

constexpr int most_reported = 1000;

Jsonb* report_of(const List* statements, TimestampTz end) {
    bridge::json_writer out;
    out.array();
    ListCell* cell;
    foreach (cell, statements) {
        if (foreach_current_index(cell) == most_reported)
            break;
        const auto* e = static_cast<const executed*>(lfirst(cell));
        out.object()
            .field("statement_no", e->statement_no)
            .field("line", e->line)
            .field("command", e->command)
            .field("us", e->microseconds)
            .field("locks", locks_of(*e, end))
            .end();
    }
    return out.end().done();
}

Interval* interval_of(int64 microseconds) {
    auto* out = static_cast<Interval*>(palloc0(sizeof(Interval)));
    out->time = microseconds;
    return out;
}

void add_rows(bridge::rowset& rows, const List* statements, TimestampTz end) {
    ListCell* cell;
    foreach (cell, statements) {
        const auto* e = static_cast<const executed*>(lfirst(cell));
        Jsonb* locks = locks_of(*e, end);
        Interval* duration = interval_of(e->microseconds);
        rows.add({in(e->statement_no), in(e->line), in(e->command), in(duration), in(locks)});
        pfree(duration);
        if (locks != nullptr)
            pfree(locks);
    }
}

// One going through of a migration, or of a step of it.
struct passage {
    const migration* m;
    bool down;
    bool out_of_order;
    permission permitted;
    const char* fingerprint_before; // null: of a step after the first
    const char* search_path;        // in which its first step ran
};

// Records what is reached with its end, and says so in an event. `microseconds` is the time of all steps.
void complete(const passage& p, const List* statements, int64 microseconds, int count) {
    const char* after = fingerprint(CurrentMemoryContext);
    const migration& m = *p.m;
    static bridge::statement applied(
        "update sor.migrations set applied_at = pg_catalog.clock_timestamp(), applied_by = $2, applied_from = $3,"
        "       duration = $4, rolled_back_at = null, rolled_back_by = null, override_up = false, progress = null,"
        "       fingerprint_before = coalesce($5, fingerprint_before), fingerprint_after = $6, fingerprint = $6,"
        "       search_path = $7"
        "  where version = $1",
        {TEXTOID, TEXTOID, TEXTOID, INTERVALOID, TEXTOID, TEXTOID, TEXTOID});
    static bridge::statement rolled_back(
        "update sor.migrations set rolled_back_at = pg_catalog.clock_timestamp(), rolled_back_by = $2,"
        "       override_down = false, progress = null, fingerprint = $3 where version = $1",
        {TEXTOID, TEXTOID, TEXTOID});
    if (p.down)
        rolled_back.run(in(m.version), in(login()), in(after));
    else
        applied.run(in(m.version), in(login()), in(client_address()), in(interval_of(microseconds)),
                    in(p.fingerprint_before), in(after), in(p.search_path));
    bridge::json_writer payload;
    describe(payload, m)
        .field("review", m.review_hash)
        .field("approved_by", m.approved_by)
        .field("override", m.override_left[p.down] ? m.override : nullptr)
        .field("forced", is_forced())
        .field("out_of_order", p.out_of_order)
        .field("fingerprint_before", p.fingerprint_before)
        .field("fingerprint_after", after)
        .field("us", microseconds)
        .field("statements", count);
    if (statements != NIL)
        payload.field("report", report_of(statements, GetCurrentTimestamp()));
    events::append_system(p.down ? "migration.rolled_back" : "migration.applied", payload.end().done());
}

// For the length of a call; an error undoes it with the transaction.
int wait_at_most(const Interval* lock_timeout) {
    const int64 microseconds = bridge::bounded_interval(lock_timeout, 0, USECS_PER_DAY, "lock_timeout");
    const int level = NewGUCNestLevel();
    set_config_option("lock_timeout", psprintf(INT64_FORMAT, (microseconds + 999) / 1000), PGC_USERSET, PGC_S_SESSION,
                      GUC_ACTION_SAVE, true, 0, false);
    return level;
}

int64 sum_of(const List* statements) {
    int64 sum = 0;
    ListCell* cell;
    foreach (cell, statements)
        sum += static_cast<const executed*>(lfirst(cell))->microseconds;
    return sum;
}

void require_one_transaction(const migration& m, bool down) {
    ListCell* cell;
    foreach (cell, steps_of(m.version, down, bridge::view(m.text_of(down))))
        if (const auto* s = static_cast<const step*>(lfirst(cell)); !s->transactional)
            ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                            errmsg("the %s of migration %s has a statement that no transaction can hold",
                                   down ? "downgrade" : "upgrade", m.version),
                            errdetail("Statement %d, line %d.", s->first, s->line),
                            errhint("Let sor migrate %s run it, step by step.", down ? "rollback" : "apply")));
}

// Before anything of ours writes.
bool has_written() {
    return TransactionIdIsValid(GetTopTransactionIdIfAny());
}

// Null where the review was read anew.
const char* read_earlier(const migration& m, bool down) {
    return !down && m.progress == nullptr ? nullptr : m.search_path ? m.search_path : "";
}

Datum run_whole(FunctionCallInfo fcinfo, bool down) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const bool out_of_order = a.boolean(1, "out_of_order");
    const Interval* lock_timeout = a.interval(2, "lock_timeout");
    bridge::rowset rows(fcinfo);
    refuse_within_migration();
    const bool first_writes = !has_written();
    const int level = wait_at_most(lock_timeout);
    lock_for_transaction();
    passage p = {nullptr, down, out_of_order, permission::none, nullptr, nullptr};
    in_history([&](MemoryContext caller) {
        p.m = &load(caller, version);
        p.permitted = require_fit(*p.m, down, out_of_order, false);
        require_one_transaction(*p.m, down);
        p.fingerprint_before = fingerprint(caller);
    });
    const List* statements =
        run({p.m->version, down, p.m->text_of(down), 1, 0, p.permitted, first_writes, read_earlier(*p.m, down)},
            &p.search_path);
    in_history([&](MemoryContext) { complete(p, statements, sum_of(statements), list_length(statements)); });
    add_rows(rows, statements, GetCurrentTimestamp());
    AtEOXact_GUC(true, level);
    return 0;
}

} // namespace

SOR_FUNCTION(apply_migration) {
    return run_whole(fcinfo, false);
}

SOR_FUNCTION(rollback_migration) {
    return run_whole(fcinfo, true);
}

SOR_FUNCTION(lock_migrations) {
    return BoolGetDatum(lock_for_session());
}

SOR_FUNCTION(unlock_migrations) {
    disarm();
    return BoolGetDatum(unlock_for_session());
}

// ---------------------------------------------------------------- step by step
//
// A migration with statements that no transaction can hold is half applied between its steps: its row's progress says
// how far it is, {direction, done, steps, us} and, of a step that has begun, {step, statement, effect, began_at}.

namespace {

int64 whole(const Jsonb* object, const char* key) {
    int64 n = 0;
    if (object != nullptr)
        bridge::find_integer(object, key, n);
    return n;
}

bool is_true(const Jsonb* object, const char* key) {
    const JsonbValue* v = bridge::find(object, key);
    return v != nullptr && v->type == jbvBool && v->val.boolean;
}

// How far it is in that direction.
int done_of(const migration& m, bool down) {
    return m.progress != nullptr && m.going_down() == down ? static_cast<int>(whole(m.progress, "done")) : 0;
}

bool has_begun(const migration& m, bool down, int number) {
    return m.progress != nullptr && m.going_down() == down && whole(m.progress, "step") == number;
}

void set_progress(const migration& m, const Jsonb* progress, const char* fingerprint_before) {
    static bridge::statement row("update sor.migrations set progress = $2,"
                                 "       fingerprint_before = coalesce($3, fingerprint_before) where version = $1",
                                 {TEXTOID, JSONBOID, TEXTOID});
    row.run(in(m.version), in(progress), in(fingerprint_before));
}

struct step_asked {
    passage p;
    const step* s;
    int number;
    int count;
};

// The step, when it is the next one.
step_asked next_step(MemoryContext into, const text* version, bool down, int number, bool out_of_order) {
    step_asked out = {};
    const migration& m = load(into, version);
    out.p = {&m, down, out_of_order, permission::none, nullptr, nullptr};
    out.p.permitted = require_fit(m, down, out_of_order, true);
    const MemoryContext outer = MemoryContextSwitchTo(into);
    const List* steps = steps_of(m.version, down, bridge::view(m.text_of(down)));
    MemoryContextSwitchTo(outer);
    const int done = done_of(m, down);
    if (number != done + 1 || number > list_length(steps))
        bridge::raise(code::invalid_state_transition,
                      psprintf("step %d is not the next one of migration %s", number, m.version),
                      psprintf("%d of %d steps are done.", done, list_length(steps)),
                      "sor.migration_steps(version, direction) lists them.");
    out.s = static_cast<const step*>(list_nth(steps, number - 1));
    out.number = number;
    out.count = list_length(steps);
    if (done == 0)
        out.p.fingerprint_before = fingerprint(into);
    if (m.progress != nullptr)
        out.p.search_path = m.search_path;
    return out;
}

// After the step: the next one's turn, or the migration is through.
void advance(const step_asked& asked, const List* statements, int64 microseconds) {
    const migration& m = *asked.p.m;
    const int64 sum =
        microseconds + (m.progress != nullptr && m.going_down() == asked.p.down ? whole(m.progress, "us") : 0);
    if (asked.count > 1) {
        bridge::json_writer payload;
        describe(payload, m)
            .field("direction", asked.p.down ? "down" : "up")
            .field("step", asked.number)
            .field("steps", asked.count)
            .field("us", microseconds);
        if (statements != NIL)
            payload.field("report", report_of(statements, GetCurrentTimestamp()));
        events::append_system("migration.step_finished", payload.end().done());
    }
    if (asked.number == asked.count) {
        complete(asked.p, asked.count == 1 ? statements : NIL, sum, asked.s->last);
        return;
    }
    bridge::json_writer progress;
    progress.object()
        .field("direction", asked.p.down ? "down" : "up")
        .field("done", asked.number)
        .field("steps", asked.count)
        .field("us", sum)
        .field("out_of_order", asked.p.out_of_order)
        .field("search_path", asked.p.search_path);
    set_progress(m, progress.end().done(), asked.p.down ? nullptr : asked.p.fingerprint_before);
}

} // namespace

SOR_FUNCTION(migration_steps) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const bool down = direction_of(a.string(1, "direction"));
    bridge::rowset rows(fcinfo);
    in_history([&](MemoryContext caller) {
        const migration& m = look(caller, version);
        if (m.text_of(down) == nullptr)
            bridge::raise(code::invalid_state_transition, psprintf("migration %s has no downgrade", m.version), nullptr,
                          nullptr);
        const int done = done_of(m, down);
        ListCell* cell;
        const List* steps = steps_of(m.version, down, bridge::view(m.text_of(down)));
        foreach (cell, steps) {
            const auto* s = static_cast<const step*>(lfirst(cell));
            const int number = foreach_current_index(cell) + 1;
            rows.add({in(number), in(s->transactional), in(s->first), in(s->last), in(s->line), in(s->text),
                      in(number <= done)});
        }
    });
    return 0;
}

SOR_FUNCTION(run_migration_step) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const bool down = direction_of(a.string(1, "direction"));
    const int number = a.integer(2, "step");
    const bool out_of_order = a.boolean(3, "out_of_order");
    const Interval* lock_timeout = a.interval(4, "lock_timeout");
    bridge::rowset rows(fcinfo);
    refuse_within_migration();
    disarm();
    const bool first_writes = !has_written();
    const int level = wait_at_most(lock_timeout);
    require_session_lock();
    step_asked asked = {};
    in_history([&](MemoryContext caller) {
        asked = next_step(caller, version, down, number, out_of_order);
        if (!asked.s->transactional)
            bridge::raise(code::invalid_state_transition,
                          psprintf("step %d of migration %s is not transactional", number, asked.p.m->version), nullptr,
                          "Begin it with sor.begin_migration_step.");
    });
    const migration& m = *asked.p.m;
    const char* ran_in = nullptr;
    const List* statements = run({m.version, down, m.text_of(down), asked.s->first, asked.s->last, asked.p.permitted,
                                  first_writes, read_earlier(m, down)},
                                 &ran_in);
    if (asked.p.search_path == nullptr)
        asked.p.search_path = ran_in;
    in_history([&](MemoryContext) { advance(asked, statements, sum_of(statements)); });
    add_rows(rows, statements, GetCurrentTimestamp());
    AtEOXact_GUC(true, level);
    return 0;
}

namespace {

bool step_names_may_differ(const step& s, const char* search_path) {
    return names_may_differ(static_cast<const RawStmt*>(linitial(bridge::parse_sql(s.text)))->stmt, search_path);
}

} // namespace

SOR_FUNCTION(begin_migration_step) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const bool down = direction_of(a.string(1, "direction"));
    const int number = a.integer(2, "step");
    const bool out_of_order = a.boolean(3, "out_of_order");
    bridge::rowset rows(fcinfo);
    refuse_within_migration();
    disarm();
    if (GetCurrentTransactionNestLevel() > 1) // what is let through then would stay so when the record is rolled back
        ereport(ERROR,
                (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION), errmsg("a migration's step cannot begin in a subtransaction"),
                 errhint("Call sor.begin_migration_step outside of savepoints and exception blocks.")));
    require_session_lock();
    step_asked asked = {};
    in_history([&](MemoryContext caller) {
        asked = next_step(caller, version, down, number, out_of_order);
        if (asked.s->transactional)
            bridge::raise(code::invalid_state_transition,
                          psprintf("step %d of migration %s is transactional", number, asked.p.m->version), nullptr,
                          "Run it with sor.run_migration_step.");
    });
    const migration& m = *asked.p.m;
    const bool again = has_begun(m, down, number);
    // What it names is what it names for the caller now, with the search_path of its login; an earlier attempt's stays.
    const Jsonb* effect = again ? bridge::find_json(m.progress, "effect") : nullptr;
    if (effect == nullptr)
        effect = effect_of(m.version, down, *asked.s);
    as_at_login([&] {
        if (asked.p.permitted == permission::reviewed && read_earlier(m, down) != nullptr &&
            step_names_may_differ(*asked.s, read_earlier(m, down)))
            asked.p.permitted = permission::none;
        if (asked.p.search_path == nullptr)
            asked.p.search_path = search_path_now();
    });
    List* texts = NIL; // what is to be executed
    ArrayType* cleanup = nullptr;
    bool statement_too = true;
    in_history([&](MemoryContext caller) {
        texts = again ? remains_of(caller, effect, statement_too) : NIL;
        const MemoryContext outer = MemoryContextSwitchTo(caller);
        bridge::array_builder array(bridge::array_of_text, list_length(texts));
        ListCell* cell;
        foreach (cell, texts)
            array.add(in(static_cast<const char*>(lfirst(cell))));
        cleanup = array.done();
        MemoryContextSwitchTo(outer);
        bridge::json_writer progress;
        progress.object()
            .field("direction", down ? "down" : "up")
            .field("done", number - 1)
            .field("steps", asked.count)
            .field("us", m.progress != nullptr && m.going_down() == down ? whole(m.progress, "us") : int64{0})
            .field("step", number)
            .field("statement", asked.s->first)
            .field("line", asked.s->line)
            .field("effect", effect)
            .field("out_of_order", out_of_order)
            .field("search_path", asked.p.search_path)
            .key("began_at")
            .time(GetCurrentTimestamp())
            .end();
        set_progress(m, progress.done(), down ? nullptr : asked.p.fingerprint_before);
        bridge::json_writer payload;
        describe(payload, m)
            .field("direction", down ? "down" : "up")
            .field("step", number)
            .field("steps", asked.count)
            .field("statement_no", asked.s->first)
            .field("effect", effect)
            .field("again", again)
            .field("forced", is_forced());
        events::append_system("migration.step_started", payload.end().done());
    });
    if (statement_too)
        texts = lappend(texts, const_cast<char*>(asked.s->text));
    arm(m.version, asked.p.permitted, texts);
    rows.add({bridge::value::of(PointerGetDatum(cleanup)), in(statement_too ? asked.s->text : nullptr)});
    return 0;
}

SOR_FUNCTION(finish_migration_step) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const bool down = direction_of(a.string(1, "direction"));
    const int number = a.integer(2, "step");
    const Interval* took = a.null(3) ? nullptr : a.interval(3, "duration");
    const int64 microseconds = took ? bridge::bounded_interval(took, 0, 1000 * USECS_PER_DAY, "duration") : 0;
    refuse_within_migration();
    require_session_lock();
    in_history([&](MemoryContext caller) {
        const migration& m = load(caller, version);
        if (!has_begun(m, down, number))
            bridge::raise(code::invalid_state_transition,
                          psprintf("step %d of migration %s has not begun", number, m.version), nullptr,
                          "Begin it with sor.begin_migration_step.");
        if (const char* missing = missing_of(bridge::find_json(m.progress, "effect")); missing != nullptr)
            bridge::raise(code::invalid_state_transition,
                          psprintf("step %d of migration %s has not had its effect", number, m.version), missing,
                          "Begin it again.");
        const List* steps = steps_of(m.version, down, bridge::view(m.text_of(down)));
        const auto* s = static_cast<const step*>(list_nth(steps, number - 1));
        const bool out_of_order = is_true(m.progress, "out_of_order"); // what was asked when it began
        advance({{&m, down, out_of_order, permission::none, nullptr, m.search_path}, s, number, list_length(steps)},
                NIL, microseconds);
    });
    disarm();
    PG_RETURN_VOID();
}

// ---------------------------------------------------------------- evidence

SOR_FUNCTION(migration_failed) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const bool down = direction_of(a.string(1, "direction"));
    const Jsonb* error = a.json(2, "error");
    refuse_within_migration();
    if (!bridge::is_object(error))
        bridge::raise(code::invalid_parameter, "an error is an object", nullptr,
                      "Give {\"sqlstate\": …, \"message\": …, …}.");
    in_history([&](MemoryContext caller) {
        const migration& m = load(caller, version);
        bridge::json_writer payload;
        events::append_system(
            "migration.failed",
            describe(payload, m).field("direction", down ? "down" : "up").field("error", error).end().done());
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(record_rehearsal) {
    const bridge::arguments a(fcinfo);
    const text* version = a.string(0, "version");
    const text* checksum = a.string(1, "checksum");
    const text* branch = a.string(2, "branch");
    const Jsonb* report = a.json(3, "report");
    refuse_within_migration();
    if (bridge::view(branch).empty())
        bridge::raise(code::invalid_parameter, "a rehearsal needs the branch it was on", nullptr, nullptr);
    if (!bridge::is_object(report))
        bridge::raise(code::invalid_parameter, "a report is an object", nullptr, nullptr);
    const pg_uuid_t id = bridge::uuid_v7();
    in_history([&](MemoryContext caller) {
        const migration& m = load(caller, version);
        if (!same(checksum, m.checksum))
            bridge::raise(code::migration_mismatch, psprintf("migration %s is not what was rehearsed", m.version),
                          psprintf("Its checksum is %s.", m.checksum), "Rehearse it as it is now.");
        static bridge::statement row(
            "insert into sor.rehearsals (id, version, checksum, branch, rehearsed_by, rehearsed_at, report)"
            " values ($1, $2, $3, $4, $5, pg_catalog.clock_timestamp(), $6)",
            {UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID});
        row.run(in(id), in(m.version), in(m.checksum), in(branch), in(login()), in(report));
        bridge::json_writer payload;
        events::append_system(
            "migration.rehearsed",
            describe(payload, m).field("rehearsal", id).field("branch", branch).field("report", report).end().done());
    });
    return UUIDPGetDatum(bridge::copy(id));
}

SOR_FUNCTION(migration_status) {
    bridge::rowset rows(fcinfo);
    in_history([&](MemoryContext) {
        static bridge::statement list(
            "select m.version, m.name,"
            "       case when m.progress is not null then case m.progress ->> 'direction' when 'down' then "
            "'rolling_back'"
            "                                             else 'applying' end"
            "            when m.rolled_back_at is not null then 'rolled_back' when m.applied_at is not null then "
            "'applied'"
            "            when m.approved_by is not null then 'approved' else 'proposed' end,"
            "       m.checksum, m.proposed_by, m.approved_by, m.applied_at, m.rolled_back_at,"
            "       exists (select from sor.rehearsals r where r.version = m.version and r.checksum = m.checksum"
            "               and r.report -> 'succeeded' is distinct from 'false'),"
            "       m.progress, m.up, m.down, m.fingerprint, greatest(m.applied_at, m.rolled_back_at)"
            "  from sor.migrations m order by m.sort_key",
            {});
        auto all = list.open();
        for (;;) {
            const auto some = all.fetch(20);
            for (uint64 i = 0; i < some.count; ++i) {
                const text* up = DatumGetTextPP(some.datum(i, 11));
                const text* down = some.null(i, 12) ? nullptr : DatumGetTextPP(some.datum(i, 12));
                const char* detail =
                    strcmp(some.string(i, 4), review::checksum(up, down)) != 0
                        ? "The texts in sor.migrations do not have its checksum: somebody has changed them by hand."
                    : some.null(i, 10) ? nullptr
                                       : standing_of(some.json(i, 10));
                rows.add({some.column(i, 1), some.column(i, 2), some.column(i, 3), some.column(i, 4), some.column(i, 5),
                          some.column(i, 6), some.column(i, 7), some.column(i, 8), some.column(i, 9), in(detail),
                          some.column(i, 13), some.column(i, 14)});
            }
            const bool end = some.count == 0;
            some.free();
            if (end)
                break;
        }
        all.close();
    });
    return 0;
}
