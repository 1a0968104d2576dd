#include "journal/journal.hpp"

#include "bridge/uuid_v7.hpp"

namespace sor::journal {

using bridge::in;

namespace {

// A run as its row says, locked or not.
struct row {
    pg_uuid_t id;
    char* worker;
    const pg_uuid_t* on_behalf_of;
    const ArrayType* delegating_users;
    char* status;
    int64 token;
    TimestampTz lease_until; // 0 when it has ended
    int resumptions;

    bool running() const { return strcmp(status, "running") == 0; }
    bool live(TimestampTz now) const { return running() && lease_until > now; }
};

#define RUN_COLUMNS                                                                                                    \
    "r.id, r.worker, r.on_behalf_of, r.delegating_users, r.status, r.run_token, r.lease_until, r.resumptions"

row row_of(const bridge::result& found) {
    row r;
    r.id = found.uuid(0, 1);
    r.worker = found.string(0, 2);
    const pg_uuid_t* user = found.uuid_or_null(0, 3);
    r.on_behalf_of = user ? bridge::copy(*user) : nullptr;
    r.delegating_users = found.null(0, 4) ? nullptr : DatumGetArrayTypePCopy(found.datum(0, 4));
    r.status = found.string(0, 5);
    r.token = found.bigint(0, 6);
    r.lease_until = found.null(0, 7) ? 0 : found.time(0, 7);
    r.resumptions = found.integer(0, 8);
    return r;
}

[[noreturn]] void no_such_run(const pg_uuid_t& id) {
    bridge::raise(code::invalid_state_transition, psprintf("there is no run %s", bridge::to_cstring(id)), nullptr,
                  "Give the run_id that sor.start_run returned, in the same tenant.");
}

[[noreturn]] void has_ended(const pg_uuid_t& id, const char* status) {
    bridge::raise(code::invalid_state_transition, psprintf("run %s has ended", bridge::to_cstring(id)),
                  psprintf("It is %s.", status), "Start a new run.");
}

// SR010 when there is no such run in the open tenant, SR002 when its user was not granted to the calling role.
row lock_granted(const pg_uuid_t& run_id) {
    static bridge::statement lock(
        "select " RUN_COLUMNS ","
        " $4 or exists (select from sor.tenant_grants g where g.login = $3 and g.tenant_id = $1"
        "                 and (g.user_ids is null or r.on_behalf_of = any (g.user_ids)))"
        " from sor.runs r where r.tenant_id = $1 and r.id = $2 for no key update of r",
        {UUIDOID, UUIDOID, NAMEOID, BOOLOID});
    const auto found = lock.run(in(context::required_tenant()), in(run_id), bridge::in_name(context::caller_name()),
                                in(context::caller_is_superuser()));
    if (found.empty())
        no_such_run(run_id);
    if (!found.boolean(0, 9))
        bridge::raise(code::tenant_not_granted,
                      psprintf("role \"%s\" was not granted the user of run %s", context::caller_name(),
                               bridge::to_cstring(run_id)),
                      nullptr, "An operator grants it with sor.grant_tenant(login, tenant_id, user_ids, actor_kinds).");
    return row_of(found);
}

// Who an event of the journal says did it.
struct doer {
    const char* kind;
    const char* name;
    const pg_uuid_t* user;
};

// The worker that holds the run.
doer holder(const char* worker, const pg_uuid_t* user) {
    return {context::current_actor_kind(), worker, user};
}

constexpr const char* expiry = "lease expiry";

events::event event_of(const pg_uuid_t& run, const char* type, const doer& who, const Jsonb* payload, int turn_no = 0,
                       const pg_uuid_t* tool_call = nullptr) {
    events::event e;
    e.stream = run;
    e.type = type;
    e.actor_kind = who.kind;
    e.actor = who.name;
    e.on_behalf_of = who.user;
    e.payload = payload;
    e.run = &run;
    e.turn_no = turn_no;
    e.tool_call = tool_call;
    return e;
}

void append_uuids(bridge::json_writer& w, const char* key, const ArrayType* ids) {
    w.key(key);
    if (ids == nullptr) {
        w.null();
        return;
    }
    Datum* elements;
    int count;
    deconstruct_array(const_cast<ArrayType*>(ids), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, nullptr, &count);
    w.array();
    for (int i = 0; i < count; ++i)
        w.string(bridge::to_cstring(*DatumGetUUIDP(elements[i])));
    w.end();
}

// The outside calls of the run that were begun and have not ended; their outcome cannot be known any more.
bridge::result open_calls(const pg_uuid_t& run) {
    static bridge::statement find("select id, turn_no, tool, request_id from sor.tool_calls"
                                  " where tenant_id = $1 and run_id = $2 and status = 'started' order by id",
                                  {UUIDOID, UUIDOID});
    return find.run_latest(in(context::required_tenant()), in(run));
}

void make_unknown(const pg_uuid_t& run, const bridge::result& calls, const doer& who, const char* why,
                  TimestampTz now) {
    static bridge::statement update("update sor.tool_calls set status = 'unknown', error = $4, finished_at = $5"
                                    " where tenant_id = $1 and run_id = $2 and id = $3",
                                    {UUIDOID, UUIDOID, UUIDOID, JSONBOID, TIMESTAMPTZOID});
    for (uint64 i = 0; i < calls.count; ++i) {
        bridge::json_writer error;
        const Jsonb* reason = error.object().field("message", why).end().done();
        const pg_uuid_t& id = calls.uuid(i, 1);
        update.run(in(context::required_tenant()), in(run), in(id), in(reason), bridge::in_time(now));
        bridge::json_writer payload;
        payload.object()
            .field("tool", calls.string(i, 3))
            .field("request_id", calls.uuid(i, 4))
            .field("status", "unknown");
        payload.field("error", reason).key("finished_at").time(now).end();
        events::append(event_of(run, "tool_call.unknown", who, payload.done(), calls.integer(i, 2), &id));
    }
}

struct turn {
    int no; // 0: there is none
    bool open;
};

turn last_turn(const pg_uuid_t& run) {
    static bridge::statement find(
        "select turn_no, status = 'running' from sor.turns where tenant_id = $1 and run_id = $2"
        " order by turn_no desc limit 1",
        {UUIDOID, UUIDOID});
    const auto found = find.run_latest(in(context::required_tenant()), in(run));
    return found.empty() ? turn{0, false} : turn{found.integer(0, 1), found.boolean(0, 2)};
}

int next_turn(const pg_uuid_t& run) {
    const turn last = last_turn(run);
    return last.open ? last.no : last.no + 1;
}

// False when the run has no such open turn.
bool end_turn(const pg_uuid_t& run, int turn_no, const char* status, const Jsonb* output, const doer& who,
              TimestampTz now) {
    static bridge::statement update("update sor.turns set status = $4, output = $5, finished_at = $6"
                                    " where tenant_id = $1 and run_id = $2 and turn_no = $3 and status = 'running'",
                                    {UUIDOID, UUIDOID, INT4OID, TEXTOID, JSONBOID, TIMESTAMPTZOID});
    if (update.run(in(context::required_tenant()), in(run), in(turn_no), in(status), in(output), bridge::in_time(now))
            .count == 0)
        return false;
    bridge::json_writer payload;
    payload.object().field("status", status).field("output", output).key("finished_at").time(now).end();
    events::append(event_of(run, "turn.finished", who, payload.done(), turn_no));
    return true;
}

// Ends the locked run and, unless it succeeded, what it left open.
void end_run(const pg_uuid_t& run, const char* status, const Jsonb* error, const doer& who, const char* why) {
    const TimestampTz now = GetCurrentTimestamp();
    const auto calls = open_calls(run);
    const turn last = last_turn(run);
    if (strcmp(status, "succeeded") == 0) {
        if (last.open)
            bridge::raise(code::invalid_state_transition, psprintf("turn %d has not ended", last.no), nullptr,
                          "Call sor.finish_turn first, or finish the run as failed.");
        if (!calls.empty())
            bridge::raise(
                code::invalid_state_transition, "an outside call has not ended",
                psprintf("It is call %s of tool \"%s\".", bridge::to_cstring(calls.uuid(0, 1)), calls.string(0, 3)),
                "Call sor.finish_tool_call first, with the outcome unknown if it cannot be known.");
    } else {
        make_unknown(run, calls, who, why, now);
        if (last.open)
            end_turn(run, last.no, status, nullptr, who, now);
    }
    static bridge::statement update("update sor.runs set status = $3, error = $4, finished_at = $5, lease_until = null"
                                    " where tenant_id = $1 and id = $2",
                                    {UUIDOID, UUIDOID, TEXTOID, JSONBOID, TIMESTAMPTZOID});
    update.run(in(context::required_tenant()), in(run), in(status), in(error), bridge::in_time(now));
    bridge::json_writer payload;
    payload.object().field("status", status).field("error", error).key("finished_at").time(now);
    payload.key("lease_until").null().end();
    events::append(event_of(run, psprintf("run.%s", status), who, payload.done()));
}

// ---------------------------------------------------------------- starting

struct started {
    pg_uuid_t run;
    int64 token;
    bool resumed;
    int next;
    char* status; // in the caller's memory
};

started as_it_is(const row& r, MemoryContext caller) {
    return {r.id, r.token, false, next_turn(r.id), MemoryContextStrdup(caller, r.status)};
}

// SR005 when the run of that key belongs to another user than the one asked for.
void require_same_user(const row& r, const pg_uuid_t* user) {
    if (user == nullptr || (r.on_behalf_of != nullptr && bridge::equal(*user, *r.on_behalf_of)))
        return;
    bridge::raise(code::request_mismatch, "the run of that run_key acts for another user",
                  psprintf("It is run %s.", bridge::to_cstring(r.id)), "Use a run_key of its own for each user.");
}

// Gives the locked, lapsed run to a new holder.
started resume(const row& r, int64 lease, MemoryContext caller) {
    const pg_uuid_t& tenant = context::required_tenant();
    const TimestampTz now = GetCurrentTimestamp();
    static bridge::statement last_event(
        "select created_at from sor.agent_events where tenant_id = $1 and stream_id = $2"
        " order by seq desc limit 1",
        {UUIDOID, UUIDOID});
    static bridge::statement take(
        "update sor.runs set run_token = greatest(run_token + 1, $3), lease_until = $4, resumptions = resumptions + 1"
        " where tenant_id = $1 and id = $2 returning run_token",
        {UUIDOID, UUIDOID, INT8OID, TIMESTAMPTZOID});
    const auto last = last_event.run_latest(in(tenant), in(r.id));
    const TimestampTz until = now + lease;
    const int64 token =
        take.run(in(tenant), in(r.id), in(static_cast<int64>(now)), bridge::in_time(until)).bigint(0, 1);
    const turn unended = last_turn(r.id);
    const auto calls = open_calls(r.id);

    bridge::json_writer payload;
    payload.object().field("run_token", token).field("resumptions", r.resumptions + 1).key("lease_until").time(until);
    payload.key("gap").object();
    payload.key("from").time(last.empty() ? r.lease_until : last.time(0, 1)).key("to").time(now);
    payload.key("lease_until").time(r.lease_until).field("former_token", r.token).key("unended_turn");
    unended.open ? payload.integer(unended.no) : payload.null();
    payload.key("unknown_calls").array();
    for (uint64 i = 0; i < calls.count; ++i)
        payload.string(bridge::to_cstring(calls.uuid(i, 1)));
    payload.end().end().end();
    events::append(event_of(r.id, "run.resumed", holder(r.worker, r.on_behalf_of), payload.done()));
    make_unknown(r.id, calls, {"system", expiry, r.on_behalf_of}, "the run's holder was lost before the call ended",
                 now);
    return {r.id, token, true, unended.open ? unended.no : unended.no + 1, MemoryContextStrdup(caller, "running")};
}

// SR002 unless each user is one of the tenant and granted to the caller.
void require_granted_users(const pg_uuid_t* user, const ArrayType* others) {
    static bridge::statement check(
        "select pg_catalog.string_agg(coalesce(u::text, 'null'), ', ')"
        "  from pg_catalog.unnest(pg_catalog.array_append($2, $3)) with ordinality x (u, n)"
        " where (n <= coalesce(pg_catalog.cardinality($2), 0) or u is not null)"
        "   and (not exists (select from sor.users s where s.tenant_id = $1 and s.id = u)"
        "        or not ($5 or exists (select from sor.tenant_grants g where g.login = $4 and g.tenant_id = $1"
        "                                 and (g.user_ids is null or u = any (g.user_ids)))))",
        {UUIDOID, UUIDARRAYOID, UUIDOID, NAMEOID, BOOLOID});
    const pg_uuid_t& tenant = context::required_tenant();
    const auto found = check.run(in(tenant), in(others), in(user), bridge::in_name(context::caller_name()),
                                 in(context::caller_is_superuser()));
    if (!found.null(0, 1))
        bridge::raise(
            code::tenant_not_granted,
            psprintf("role \"%s\" cannot start a run for user %s", context::caller_name(), found.string(0, 1)),
            "No such user of this tenant was granted to it.", "sor.granted_users(tenant_id) lists those that were.");
}

// False when a twin holds that run_key.
bool insert_run(const pg_uuid_t& id, const char* worker, const char* key, const Jsonb* input, int64 lease,
                const ArrayType* delegating, int64* token) {
    const pg_uuid_t& tenant = context::required_tenant();
    const pg_uuid_t* user = context::current_user_id();
    require_granted_users(user, delegating);
    const context::origin* from = context::current_origin();
    const pg_uuid_t* parent = from ? &from->run : nullptr;
    const TimestampTz now = GetCurrentTimestamp();
    const TimestampTz until = now + lease;
    *token = now;
    static bridge::statement insert(
        "insert into sor.runs (tenant_id, id, worker, run_key, on_behalf_of, delegating_users, status, input, "
        "started_at,"
        " lease_until, run_token, parent_run_id) values ($1, $2, $3, $4, $5, $6, 'running', $7, $8, $9, $10, $11)"
        " on conflict (tenant_id, worker, run_key) do nothing",
        {UUIDOID, UUIDOID, TEXTOID, TEXTOID, UUIDOID, UUIDARRAYOID, JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID,
         UUIDOID});
    if (insert
            .run(in(tenant), in(id), in(worker), in(key), in(user), in(delegating), in(input), bridge::in_time(now),
                 bridge::in_time(until), in(*token), in(parent))
            .count == 0)
        return false;
    bridge::json_writer payload;
    payload.object().field("worker", worker).field("run_key", key).field("on_behalf_of", user);
    append_uuids(payload, "delegating_users", delegating);
    payload.field("status", "running").field("input", input).field("run_token", *token).field("resumptions", 0);
    payload.field("parent_run_id", parent).key("started_at").time(now).key("lease_until").time(until).end();
    events::append_first(event_of(id, "run.started", holder(worker, user), payload.done()));
    return true;
}

[[noreturn]] void already_running(const row& r) {
    bridge::raise(code::run_already_running, "a run of that run_key is running",
                  psprintf("It is run %s of worker \"%s\".", bridge::to_cstring(r.id), r.worker),
                  psprintf("Its lease ends at %s: try again then, or wait until it has finished.",
                           DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(r.lease_until)))));
}

started start_keyed(const char* worker, const char* key, const pg_uuid_t* user, const Jsonb* input, int64 lease,
                    const ArrayType* delegating, MemoryContext caller) {
    static bridge::statement find("select " RUN_COLUMNS " from sor.runs r"
                                  " where r.tenant_id = $1 and r.worker = $2 and r.run_key = $3",
                                  {UUIDOID, TEXTOID, TEXTOID});
    for (;;) {
        // Looked at before it is locked: a live holder's batch is not waited for.
        const auto found = find.run_latest(in(context::required_tenant()), in(worker), in(key));
        if (found.empty()) {
            int64 token;
            const pg_uuid_t id = bridge::uuid_v7();
            if (insert_run(id, worker, key, input, lease, delegating, &token))
                return {id, token, false, 1, MemoryContextStrdup(caller, "running")};
            continue; // a twin's insert has committed meanwhile
        }
        row r = row_of(found);
        require_same_user(r, user);
        if (r.running() && !r.live(GetCurrentTimestamp()))
            r = lock_granted(r.id); // runs are never deleted
        if (!r.running())
            return as_it_is(r, caller);
        if (r.live(GetCurrentTimestamp()))
            already_running(r);
        return resume(r, lease, caller);
    }
}

started start_unkeyed(const char* worker, const Jsonb* input, int64 lease, const ArrayType* delegating,
                      MemoryContext caller) {
    // One that is locked has a resumer already, or a holder that is about to commit.
    static bridge::statement lapsed(
        "select " RUN_COLUMNS " from sor.runs r"
        " where r.tenant_id = $1 and r.worker = $2 and r.status = 'running' and r.lease_until <= $3"
        "   and r.on_behalf_of is not distinct from $4"
        " order by r.id limit 1 for no key update skip locked",
        {UUIDOID, TEXTOID, TIMESTAMPTZOID, UUIDOID});
    const auto found = lapsed.run(in(context::required_tenant()), in(worker), bridge::in_time(GetCurrentTimestamp()),
                                  in(context::current_user_id()));
    if (!found.empty())
        return resume(row_of(found), lease, caller);
    int64 token;
    const pg_uuid_t id = bridge::uuid_v7();
    insert_run(id, worker, nullptr, input, lease, delegating, &token);
    return {id, token, false, 1, MemoryContextStrdup(caller, "running")};
}

const char* required_text(const bridge::arguments& a, int n, const char* name) {
    char* given = bridge::to_cstring(bridge::view(a.string(n, name)));
    if (*given == '\0')
        bridge::raise(code::invalid_parameter, psprintf("%s must not be empty", name), nullptr,
                      psprintf("Give a %s.", name));
    return given;
}

} // namespace

// ---------------------------------------------------------------- interface

run lock_run(const pg_uuid_t& run_id, int64 run_token) {
    const row r = lock_granted(run_id); // a token is no secret
    if (!r.running())
        has_ended(run_id, r.status);
    if (r.token != run_token)
        bridge::raise(code::lease_lost, psprintf("run %s is held by another", bridge::to_cstring(run_id)),
                      "The run_token is not its current one.",
                      "Stop: whoever called sor.start_run last goes on with it.");
    if (!r.live(GetCurrentTimestamp()))
        bridge::raise(code::lease_lost, psprintf("the lease of run %s is over", bridge::to_cstring(run_id)), nullptr,
                      "Call sor.start_run to resume it, and sor.heartbeat before the lease ends.");
    return {r.id, r.token, r.worker, r.on_behalf_of, r.delegating_users, r.lease_until};
}

void require_open_turn(const pg_uuid_t& run_id, int turn_no) {
    static bridge::statement find(
        "select from sor.turns where tenant_id = $1 and run_id = $2 and turn_no = $3 and status = 'running'",
        {UUIDOID, UUIDOID, INT4OID});
    if (find.run_latest(in(context::required_tenant()), in(run_id), in(turn_no)).empty())
        bridge::raise(code::invalid_state_transition,
                      psprintf("run %s has no open turn %d", bridge::to_cstring(run_id), turn_no), nullptr,
                      "Give the number that sor.begin_turn returned; a finished turn is never run again.");
}

void extend_lease(const run& locked, TimestampTz until) {
    if (until <= locked.lease_until)
        return;
    static bridge::statement extend(
        "update sor.runs set lease_until = $3 where tenant_id = $1 and id = $2 and lease_until < $3",
        {UUIDOID, UUIDOID, TIMESTAMPTZOID});
    extend.run(in(context::required_tenant()), in(locked.id), bridge::in_time(until));
}

void give_up_lease(const run& locked) {
    static bridge::statement give_up("update sor.runs set lease_until = $3 where tenant_id = $1 and id = $2",
                                     {UUIDOID, UUIDOID, TIMESTAMPTZOID});
    give_up.run(in(context::required_tenant()), in(locked.id), bridge::in_time(GetCurrentTimestamp()));
}

void record_calls(const call* made, int count) {
    // One statement for all of them: a batch records hundreds.
    static bridge::statement insert("insert into sor.tool_calls (tenant_id, run_id, turn_no, finished_at, id, "
                                    "request_id, tool, arguments, status, response, error,"
                                    " user_id, started_at)"
                                    " select $1, $2, $3, $4, c.* from rows from (pg_catalog.unnest($5), "
                                    "pg_catalog.unnest($6), pg_catalog.unnest($7),"
                                    " pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10), "
                                    "pg_catalog.unnest($11), pg_catalog.unnest($12),"
                                    " pg_catalog.unnest($13)) as c",
                                    {UUIDOID, UUIDOID, INT4OID, TIMESTAMPTZOID, UUIDARRAYOID, UUIDARRAYOID,
                                     TEXTARRAYOID, JSONBARRAYOID, TEXTARRAYOID, JSONBARRAYOID, JSONBARRAYOID,
                                     UUIDARRAYOID, TIMESTAMPTZARRAYOID});
    if (count == 0)
        return;
    const run& of = *made[0].of;
    const TimestampTz now = GetCurrentTimestamp();
    bridge::array_builder ids(bridge::array_of_uuid, count), request_ids(bridge::array_of_uuid, count),
        tools(bridge::array_of_text, count), arguments(bridge::array_of_jsonb, count),
        statuses(bridge::array_of_text, count), responses(bridge::array_of_jsonb, count),
        errors(bridge::array_of_jsonb, count), users(bridge::array_of_uuid, count),
        started(bridge::array_of_timestamptz, count);
    for (int i = 0; i < count; ++i) {
        const call& c = made[i];
        ids.add(in(c.id));
        request_ids.add(in(c.request_id));
        tools.add(in(c.tool));
        arguments.add(in(c.arguments));
        statuses.add(in(c.status));
        responses.add(in(c.response));
        errors.add(in(c.error));
        users.add(in(c.user));
        started.add(bridge::in_time(c.started_at));
    }
    insert.run(in(context::required_tenant()), in(of.id), in(made[0].turn_no), bridge::in_time(now), in(ids.done()),
               in(request_ids.done()), in(tools.done()), in(arguments.done()), in(statuses.done()),
               in(responses.done()), in(errors.done()), in(users.done()), in(started.done()));
    for (int i = 0; i < count; ++i) {
        const call& c = made[i];
        bridge::json_writer payload;
        payload.object().field("tool", c.tool).field("request_id", c.request_id).field("arguments", c.arguments);
        payload.field("status", c.status)
            .field("response", c.response)
            .field("error", c.error)
            .field("user_id", c.user);
        payload.key("started_at").time(c.started_at).key("finished_at").time(now).end();
        const char* type = strcmp(c.status, "succeeded") == 0 ? "tool_call.succeeded"
                           : strcmp(c.status, "failed") == 0  ? "tool_call.failed"
                                                              : "tool_call.refused";
        events::append(event_of(of.id, type, holder(of.worker, c.user), payload.done(), c.turn_no, &c.id));
    }
}

} // namespace sor::journal

using namespace sor;
using bridge::in;
using journal::run;

SOR_FUNCTION(start_run) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const char* worker = journal::required_text(a, 1, "worker");
    const char* key = a.null(2) ? nullptr : journal::required_text(a, 2, "run_key");
    const Jsonb* input = a.json(4, "input");
    const int64 lease =
        bridge::bounded_interval(a.interval(5, "lease"), bridge::lease_least, bridge::lease_most, "lease");
    const ArrayType* delegating = a.array_or_null(6);
    context::identity who;
    who.user = a.uuid_or_null(3);
    who.acts = true;
    const journal::started made = context::data_plane(tenant, who, [&](MemoryContext caller) {
        if (delegating != nullptr && context::current_origin() != nullptr)
            bridge::raise(code::tenant_not_granted, "a tool cannot start a run for other users", nullptr,
                          "Leave delegating_users null: the run acts for the tool's own user.");
        return key ? journal::start_keyed(worker, key, who.user, input, lease, delegating, caller)
                   : journal::start_unkeyed(worker, input, lease, delegating, caller);
    });
    const bridge::value columns[] = {in(made.run), in(made.token), in(made.resumed), in(made.next), in(made.status)};
    return bridge::composite(fcinfo, columns, 5);
}

SOR_FUNCTION(heartbeat) {
    const bridge::arguments a(fcinfo);
    const int64 lease =
        bridge::bounded_interval(a.interval(3, "lease"), bridge::lease_least, bridge::lease_most, "lease");
    context::data_plane(a.uuid(0, "tenant_id"), {}, [&](MemoryContext) {
        const run held = journal::lock_run(a.uuid(1, "run_id"), a.bigint(2, "run_token"));
        journal::extend_lease(held, GetCurrentTimestamp() + lease);
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(finish_run) {
    const bridge::arguments a(fcinfo);
    const char* status = journal::required_text(a, 3, "status");
    const bool failed = strcmp(status, "failed") == 0;
    if (!failed && strcmp(status, "succeeded") != 0)
        bridge::raise(code::invalid_parameter, psprintf("a run cannot finish as \"%s\"", status), nullptr,
                      "Give succeeded or failed; sor.cancel_run cancels.");
    context::data_plane(a.uuid(0, "tenant_id"), {}, [&](MemoryContext) {
        const run held = journal::lock_run(a.uuid(1, "run_id"), a.bigint(2, "run_token"));
        journal::end_run(held.id, status, a.json_or_null(4), journal::holder(held.worker, held.on_behalf_of),
                         "the run failed before the call ended");
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(cancel_run) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& id = a.uuid(1, "run_id");
    const char* reason = journal::required_text(a, 2, "reason");
    context::data_plane(a.uuid(0, "tenant_id"), {}, [&](MemoryContext) {
        const journal::row r = journal::lock_granted(id);
        if (!r.running())
            journal::has_ended(id, r.status);
        bridge::json_writer error;
        error.object().field("reason", reason).field("cancelled_by", context::caller_name()).end();
        const pg_uuid_t* user = context::current_user_id();
        journal::end_run(id, "cancelled", error.done(),
                         {context::current_actor_kind(), context::caller_name(), user ? bridge::copy(*user) : nullptr},
                         "the run was cancelled before the call ended");
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(begin_turn) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const Jsonb* input = a.json(3, "input");
    return Int32GetDatum(context::data_plane(tenant, {}, [&](MemoryContext) -> int {
        const run held = journal::lock_run(a.uuid(1, "run_id"), a.bigint(2, "run_token"));
        const journal::turn last = journal::last_turn(held.id);
        const int turn_no = last.open ? last.no : last.no + 1;
        const TimestampTz now = GetCurrentTimestamp();
        bridge::json_writer payload;
        payload.object();
        if (last.open) {
            static bridge::statement again(
                "update sor.turns set input = $4 where tenant_id = $1 and run_id = $2 and turn_no = $3",
                {UUIDOID, UUIDOID, INT4OID, JSONBOID});
            again.run(in(tenant), in(held.id), in(turn_no), in(input));
            payload.field("reopened", true);
        } else {
            static bridge::statement insert(
                "insert into sor.turns (tenant_id, id, run_id, turn_no, status, input, started_at)"
                " values ($1, $2, $3, $4, 'running', $5, $6)",
                {UUIDOID, UUIDOID, UUIDOID, INT4OID, JSONBOID, TIMESTAMPTZOID});
            const pg_uuid_t id = bridge::uuid_v7();
            insert.run(in(tenant), in(id), in(held.id), in(turn_no), in(input), bridge::in_time(now));
            payload.field("id", id).key("started_at").time(now);
        }
        payload.field("status", "running").field("input", input).end();
        events::append(journal::event_of(held.id, "turn.started", journal::holder(held.worker, held.on_behalf_of),
                                         payload.done(), turn_no));
        return turn_no;
    }));
}

SOR_FUNCTION(finish_turn) {
    const bridge::arguments a(fcinfo);
    const int turn_no = a.integer(3, "turn_no");
    const Jsonb* output = a.json(4, "output");
    context::data_plane(a.uuid(0, "tenant_id"), {}, [&](MemoryContext) {
        const run held = journal::lock_run(a.uuid(1, "run_id"), a.bigint(2, "run_token"));
        if (!journal::end_turn(held.id, turn_no, "succeeded", output, journal::holder(held.worker, held.on_behalf_of),
                               GetCurrentTimestamp()))
            journal::require_open_turn(held.id, turn_no);
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(begin_tool_call) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const int turn_no = a.integer(3, "turn_no");
    const pg_uuid_t& request = a.uuid(4, "request_id");
    const char* tool = journal::required_text(a, 5, "tool");
    const Jsonb* arguments = a.json(6, "arguments");
    const pg_uuid_t id = bridge::uuid_v7();
    context::data_plane(tenant, {}, [&](MemoryContext) {
        const run held = journal::lock_run(a.uuid(1, "run_id"), a.bigint(2, "run_token"));
        journal::require_open_turn(held.id, turn_no);
        // The run in a query of its own, or the planner may take a run's calls for few and read them all.
        static bridge::statement former("select status, id from (select status, id, run_id from sor.tool_calls"
                                        "   where tenant_id = $1 and request_id = $2 offset 0) c"
                                        " where run_id = $3 and status in ('started', 'succeeded') limit 1",
                                        {UUIDOID, UUIDOID, UUIDOID});
        const auto found = former.run_latest(in(tenant), in(request), in(held.id));
        if (!found.empty()) {
            const char* detail = psprintf("It is tool call %s.", bridge::to_cstring(found.uuid(0, 2)));
            if (strcmp(found.string(0, 1), "started") == 0)
                bridge::raise(code::request_in_progress, "that request has begun and has not ended", detail,
                              "End it with sor.finish_tool_call first.");
            bridge::raise(code::invalid_state_transition, "that request has succeeded", detail,
                          "Read its response in sor.tool_calls; a new logical call takes a new request_id.");
        }
        static bridge::statement insert(
            "insert into sor.tool_calls (tenant_id, id, run_id, turn_no, request_id, tool, arguments, status, user_id, "
            "started_at)"
            " values ($1, $2, $3, $4, $5, $6, $7, 'started', $8, $9)",
            {UUIDOID, UUIDOID, UUIDOID, INT4OID, UUIDOID, TEXTOID, JSONBOID, UUIDOID, TIMESTAMPTZOID});
        const TimestampTz now = GetCurrentTimestamp();
        insert.run(in(tenant), in(id), in(held.id), in(turn_no), in(request), in(tool), in(arguments),
                   in(held.on_behalf_of), bridge::in_time(now));
        bridge::json_writer payload;
        payload.object()
            .field("tool", tool)
            .field("request_id", request)
            .field("arguments", arguments)
            .field("status", "started");
        payload.field("user_id", held.on_behalf_of).key("started_at").time(now).end();
        events::append(journal::event_of(held.id, "tool_call.started", journal::holder(held.worker, held.on_behalf_of),
                                         payload.done(), turn_no, &id));
    });
    return UUIDPGetDatum(bridge::copy(id));
}

SOR_FUNCTION(finish_tool_call) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& id = a.uuid(3, "tool_call_id");
    const char* outcome = journal::required_text(a, 4, "outcome");
    const Jsonb* answer = a.json_or_null(5);
    const bool succeeded = strcmp(outcome, "succeeded") == 0;
    if (!succeeded && strcmp(outcome, "failed") != 0 && strcmp(outcome, "unknown") != 0)
        bridge::raise(code::invalid_parameter, psprintf("a call cannot end as \"%s\"", outcome), nullptr,
                      "Give succeeded, failed or unknown.");
    context::data_plane(tenant, {}, [&](MemoryContext) {
        const run held = journal::lock_run(a.uuid(1, "run_id"), a.bigint(2, "run_token"));
        static bridge::statement update(
            "update sor.tool_calls set status = $4, response = $5, error = $6, finished_at = $7"
            " where tenant_id = $1 and run_id = $2 and id = $3 and status = 'started' returning turn_no, tool, "
            "request_id",
            {UUIDOID, UUIDOID, UUIDOID, TEXTOID, JSONBOID, JSONBOID, TIMESTAMPTZOID});
        const TimestampTz now = GetCurrentTimestamp();
        const Jsonb* response = succeeded ? answer : nullptr;
        const Jsonb* error = succeeded ? nullptr : answer;
        const auto done =
            update.run(in(tenant), in(held.id), in(id), in(outcome), in(response), in(error), bridge::in_time(now));
        if (done.empty())
            bridge::raise(
                code::invalid_state_transition,
                psprintf("run %s has no open tool call %s", bridge::to_cstring(held.id), bridge::to_cstring(id)),
                nullptr, "Give the id that sor.begin_tool_call returned; a call ends once.");
        bridge::json_writer payload;
        payload.object().field("tool", done.string(0, 2)).field("request_id", done.uuid(0, 3)).field("status", outcome);
        payload.field("response", response).field("error", error).key("finished_at").time(now).end();
        events::append(journal::event_of(held.id, psprintf("tool_call.%s", outcome),
                                         journal::holder(held.worker, held.on_behalf_of), payload.done(),
                                         done.integer(0, 1), &id));
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(append_event) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    char* type = bridge::to_cstring(bridge::view(a.string(1, "event_type")));
    const Jsonb* payload = a.json(2, "payload");
    const pg_uuid_t* run_id = a.uuid_or_null(3);
    context::identity who;
    who.acts = true;
    return context::data_plane(tenant, who, [&](MemoryContext) -> Datum {
        static bridge::statement reserved(
            "select $1 ~ " SOR_RESERVED_EVENT_TYPES " or $1 !~ '^[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*)+$'", {TEXTOID});
        if (reserved.run(bridge::in(type)).boolean(0, 1))
            bridge::raise(code::invalid_parameter,
                          psprintf("\"%s\" cannot be the type of an application's event", type),
                          "The names that sor writes itself are reserved.",
                          "Name it noun.verb in lower case, such as expense.approved.");
        events::event e;
        e.type = type;
        e.actor_kind = context::current_actor_kind();
        e.actor = context::caller_name();
        e.on_behalf_of = context::current_user_id();
        e.payload = payload;
        if (run_id != nullptr) {
            journal::lock_granted(*run_id);
            e.stream = *run_id;
            e.run = run_id;
        } else {
            e.stream = events::lock_stream(events::stream_kind::tenant, "");
        }
        return Int64GetDatum(events::append(e));
    });
}

SOR_FUNCTION(find_runs) {
    const bridge::arguments a(fcinfo);
    const text* worker = a.string_or_null(1);
    const text* key = a.string_or_null(2);
    const int max = a.integer(3, "max");
    const TimestampTz since = a.null(4) ? DT_NOBEGIN : a.time(4, "since");
    const TimestampTz until = a.null(5) ? DT_NOEND : a.time(5, "until");
    if (max < 1)
        bridge::raise(code::invalid_parameter, "max must be at least 1", nullptr, "Give the number of runs to list.");
    bridge::rowset rows(fcinfo);
    context::inspection(a.uuid(0, "tenant_id"), [&](MemoryContext) {
        static bridge::statement find(
            "select id, worker, run_key, status, started_at, finished_at from sor.runs"
            " where tenant_id = $1 and ($2 is null or worker = $2) and ($3 is null or run_key = $3)"
            "   and started_at < $6 and coalesce(finished_at, 'infinity') >= $5"
            " order by id desc limit $4",
            {UUIDOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID});
        const auto found = find.look(in(context::required_tenant()), in(worker), in(key), in(max),
                                     bridge::in_time(since), bridge::in_time(until));
        for (uint64 i = 0; i < found.count; ++i)
            rows.add({found.column(i, 1), found.column(i, 2), found.column(i, 3), found.column(i, 4),
                      found.column(i, 5), found.column(i, 6)});
    });
    return 0;
}
