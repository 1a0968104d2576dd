// What SQL can do of the eight checks before a release. Each tries the control itself, in a subtransaction that is
// rolled back, and says what it saw; that the eighth reads history is all that differs.
#include "bridge/subtransaction.hpp"
#include "bridge/uuid_v7.hpp"
#include "tools/tools.hpp"

namespace sor::preflight {

using bridge::in;

namespace {

constexpr const char* worker = "preflight";
constexpr const char* operation = "preflight";
constexpr Interval kept_for = {USECS_PER_MINUTE, 0, 0};

struct finding {
    bool ok;
    const char* evidence;
};

// What says nothing about the control that was tried: a stopped statement, a full disk, a read-only transaction.
bool ends_everything(const ErrorData* e) {
    const int category = ERRCODE_TO_CATEGORY(e->sqlerrcode);
    return category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
           category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
           category == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) ||
           category == ERRCODE_TO_CATEGORY(ERRCODE_INVALID_TRANSACTION_STATE);
}

// f(finding&) is undone whatever it did; its error is a finding too.
template <bridge::guarded F>
finding try_out(F&& f) {
    finding out = {false, ""};
    finding* const into = &out;
    ErrorData* failure = bridge::attempt([&f, into] { bridge::rehearse([&f, into] { f(*into); }); });
    if (failure != nullptr) {
        if (ends_everything(failure))
            ReThrowError(failure);
        return {false, psprintf("%s: %s%s%s", unpack_sql_state(failure->sqlerrcode), failure->message,
                                failure->detail ? " " : "", failure->detail ? failure->detail : "")};
    }
    return out;
}

int64 count(const bridge::result& row) {
    return row.bigint(0, 1);
}

// ---------------------------------------------------------------- what the tries are made with

// A user of the tenant that is gone with the subtransaction.
pg_uuid_t make_user(const pg_uuid_t& tenant, const char* role) {
    static bridge::statement user(
        "insert into sor.users (tenant_id, id, email, display_name) values ($1, $2, 'preflight+' || $2::text || "
        "'@sor.invalid', 'Preflight')",
        {UUIDOID, UUIDOID});
    static bridge::statement assign("insert into sor.user_roles (tenant_id, user_id, role) values ($1, $2, $3)",
                                    {UUIDOID, UUIDOID, TEXTOID});
    const pg_uuid_t id = bridge::uuid_v7();
    user.run(in(tenant), in(id));
    assign.run(in(tenant), in(id), in(role));
    return id;
}

// Of an answer of the gateway that is no success: " (SR016: tool …)", else "".
const char* error_of(const Jsonb* answer) {
    const Jsonb* error = bridge::find_json(answer, "error");
    if (error == nullptr || !bridge::is_object(error))
        return "";
    return psprintf(" (%s: %s)", bridge::find_string(error, "sqlstate"), bridge::find_string(error, "message"));
}

struct run {
    pg_uuid_t id;
    int64 token;
};

// Within a frame of the user.
run start_run(const pg_uuid_t& tenant, const pg_uuid_t& user) {
    static bridge::statement start("select run_id, run_token from sor.start_run($1, $2, null, $3)",
                                   {UUIDOID, TEXTOID, UUIDOID});
    static bridge::statement begin_turn("select sor.begin_turn($1, $2, $3)", {UUIDOID, UUIDOID, INT8OID});
    const auto row = start.run(in(tenant), in(worker), in(user));
    const run made = {row.uuid(0, 1), row.bigint(0, 2)};
    begin_turn.run(in(tenant), in(made.id), in(made.token));
    return made;
}

int64 events_of(const pg_uuid_t& tenant, const pg_uuid_t& run, const char* prefix) {
    static bridge::statement find("select count(*) from sor.agent_events where tenant_id = $1 and run_id = $2"
                                  " and event_type ^@ $3",
                                  {UUIDOID, UUIDOID, TEXTOID});
    return count(find.run(in(tenant), in(run), in(prefix)));
}

int64 messages_of(const pg_uuid_t& tenant, const char* dedup_key) {
    static bridge::statement find("select count(*) from sor.outbox where tenant_id = $1 and dedup_key = $2",
                                  {UUIDOID, TEXTOID});
    return count(find.run(in(tenant), in(dedup_key)));
}

// ---------------------------------------------------------------- the checks

finding roles(const pg_uuid_t& tenant) {
    static bridge::statement find(
        "select count(*), count(*) filter (where r.user_id is null),"
        "       pg_catalog.array_to_string((pg_catalog.array_agg(u.email order by u.email)"
        "         filter (where r.user_id is null))[1:20], ', ')"
        "  from sor.users u left join sor.user_roles r on r.tenant_id = u.tenant_id and r.user_id = u.id"
        " where u.tenant_id = $1",
        {UUIDOID});
    const auto row = find.run(in(tenant));
    const int64 without = row.bigint(0, 2);
    return {without == 0,
            psprintf(INT64_FORMAT " of " INT64_FORMAT " users have no role%s%s%s", without, row.bigint(0, 1),
                     without ? ": " : "", without ? row.string(0, 3) : "", without > 20 ? ", …" : "")};
}

finding role_boundary(const pg_uuid_t& tenant) {
    return try_out([&tenant](finding& out) {
        static bridge::statement add_tool(
            "insert into sor.tools (name, function, minimum_role, description, input_schema, read_only)"
            " values ($1, 'sor.no_such_function(jsonb)', 'admin', 'Preflight', '{}', false)",
            {TEXTOID});
        const pg_uuid_t user = make_user(tenant, "member");
        const pg_uuid_t request = bridge::uuid_v7();
        const char* tool = psprintf("preflight.%s", bridge::to_cstring(request));
        add_tool.run(in(tool));
        finding* const into = &out;
        context::administration(
            tenant, "agent",
            [&tenant, &user, &request, tool, into](MemoryContext outer) {
                const run r = start_run(tenant, user);
                const Jsonb* answer =
                    tools::call_within({user, r.id, r.token, 1, request, tool, bridge::empty_object()});
                const char* role = access::role_of(user);
                const char* status = bridge::find_string(answer, "status");
                const Jsonb* error = bridge::find_json(answer, "error");
                const bool is_error = error != nullptr && bridge::is_object(error);
                const char* sqlstate = is_error ? bridge::find_string(error, "sqlstate") : "none";
                const char* message = is_error ? bridge::find_string(error, "message") : "";
                const char* detail = is_error ? bridge::find_string(error, "detail") : nullptr;
                const int64 refusals = events_of(tenant, r.id, "tool_call.refused");
                into->ok = role != nullptr && strcmp(role, "member") == 0 && strcmp(status, "refused") == 0 &&
                           strcmp(sqlstate, "SR003") == 0 && strstr(message, "needs the role admin") != nullptr &&
                           refusals == 1;
                const MemoryContext here = MemoryContextSwitchTo(outer);
                into->evidence = psprintf(
                    "an agent for a member (its role: %s) called a tool of admins: %s, %s: %s%s%s; " INT64_FORMAT
                    " tool_call.refused event",
                    role ? role : "none", status, sqlstate, message, detail ? "; " : "", detail ? detail : "",
                    refusals);
                MemoryContextSwitchTo(here);
            },
            &user);
    });
}

// What the layer is made of: the key, the default, the index.
finding key_layer(const pg_uuid_t& tenant) {
    static bridge::statement catalog(
        "select exists (select from pg_catalog.pg_index i where i.indrelid = 'sor.idempotency_keys'::regclass"
        "          and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null and i.indnkeyatts = "
        "2"
        "          and i.indkey[0] = (select a.attnum from pg_catalog.pg_attribute a where a.attrelid = i.indrelid and "
        "a.attname = 'tenant_id')"
        "          and i.indkey[1] = (select a.attnum from pg_catalog.pg_attribute a where a.attrelid = i.indrelid and "
        "a.attname = 'key')),"
        "       exists (select from pg_catalog.pg_index i where i.indrelid = 'sor.idempotency_keys'::regclass"
        "          and i.indisvalid and i.indpred is null"
        "          and i.indkey[0] = (select a.attnum from pg_catalog.pg_attribute a where a.attrelid = i.indrelid and "
        "a.attname = 'expires_at')),"
        "       (select c.relpersistence = 'p' from pg_catalog.pg_class c where c.oid = "
        "'sor.idempotency_keys'::regclass)",
        {});
    const auto found = catalog.run();
    const bool has_key = found.boolean(0, 1);
    const bool has_index = found.boolean(0, 2);
    const bool logged = found.boolean(0, 3);
    const finding lives = try_out([&tenant](finding& out) {
        static bridge::statement add(
            "insert into sor.idempotency_keys (tenant_id, key, operation, fingerprint, response)"
            " values ($1, $2, $3, '', '{}') returning expires_at - created_at = interval '24 "
            "hours', (expires_at - created_at)::text",
            {UUIDOID, UUIDOID, TEXTOID});
        const auto row = add.run(in(tenant), in(bridge::uuid_v7()), in(operation));
        out = {row.boolean(0, 1), row.string(0, 2)};
    });
    return {has_key && has_index && logged && lives.ok,
            psprintf("unique key (tenant_id, key): %s; index on expires_at: %s; a key lives for: %s%s",
                     has_key ? "there" : "MISSING", has_index ? "there" : "MISSING", lives.evidence,
                     logged ? "" : ", and a CRASH FORGETS ALL: the table is unlogged")};
}

finding repetition(const pg_uuid_t& tenant) {
    return try_out([&tenant](finding& out) {
        const pg_uuid_t user = make_user(tenant, "member");
        const pg_uuid_t request = bridge::uuid_v7();
        const char* dedup_key = psprintf("preflight/%s", bridge::to_cstring(request));
        bridge::json_writer w;
        w.object()
            .field("destination", worker)
            .field("event_type", "preflight.message")
            .field("aggregate_id", dedup_key)
            .field("payload", bridge::empty_object())
            .field("dedup_key", dedup_key)
            .end();
        const Jsonb* message = w.done();
        finding* const into = &out;
        context::administration(
            tenant, "agent",
            [&tenant, &user, &request, dedup_key, message, into](MemoryContext outer) {
                const run r = start_run(tenant, user);
                struct {
                    const char* status;
                    const char* error;
                    const char* result;
                    bool replayed;
                    int64 events, intents;
                } seen[2];
                for (auto& call : seen) {
                    const Jsonb* answer = tools::call_within({user, r.id, r.token, 1, request, "queue", message});
                    const Jsonb* result = bridge::find_json(answer, "result");
                    const JsonbValue* replayed = bridge::find(answer, "replayed");
                    call = {bridge::find_string(answer, "status"),        error_of(answer),
                            result ? bridge::to_cstring(result) : "null", replayed->val.boolean,
                            events_of(tenant, r.id, "tool_call."),        messages_of(tenant, dedup_key)};
                }
                const bool same = strcmp(seen[0].result, seen[1].result) == 0;
                into->ok = strcmp(seen[0].status, "succeeded") == 0 && strcmp(seen[1].status, "succeeded") == 0 &&
                           !seen[0].replayed && seen[1].replayed && same && seen[0].events == 1 &&
                           seen[0].intents == 1 && seen[1].events == 1 && seen[1].intents == 1;
                const MemoryContext here = MemoryContextSwitchTo(outer);
                into->evidence = psprintf(
                    "one request_id called twice: the first %s%s (" INT64_FORMAT " tool_call event, " INT64_FORMAT
                    " outbox intent); the second %s%s%s, %s response (" INT64_FORMAT " new events, " INT64_FORMAT
                    " new intents)",
                    seen[0].status, seen[0].error, seen[0].events, seen[0].intents, seen[1].status, seen[1].error,
                    seen[1].replayed ? ", replayed" : ", RUN AGAIN", same ? "the same" : "ANOTHER",
                    seen[1].events - seen[0].events, seen[1].intents - seen[0].intents);
                MemoryContextSwitchTo(here);
            },
            &user);
    });
}

finding stored_responses(const pg_uuid_t& tenant) {
    const finding layer = key_layer(tenant);
    const finding twice = repetition(tenant);
    return {layer.ok && twice.ok, psprintf("%s; %s", layer.evidence, twice.evidence)};
}

finding rolled_back_together(const pg_uuid_t& tenant) {
    return try_out([&tenant](finding& out) {
        static bridge::statement find("select count(*) from sor.users where tenant_id = $1 and id = $2",
                                      {UUIDOID, UUIDOID});
        pg_uuid_t user = {};
        pg_uuid_t* const made = &user;
        const char* dedup_key = psprintf("preflight/%s", bridge::to_cstring(bridge::uuid_v7()));
        int64 before[2] = {};
        int64* const seen = before;
        bridge::rehearse([&tenant, dedup_key, made, seen] {
            *made = make_user(tenant, "member");
            outbox::enqueue(worker, "preflight.rollback", dedup_key, bridge::empty_object(), dedup_key, nullptr);
            seen[0] = count(find.run(in(tenant), in(*made)));
            seen[1] = messages_of(tenant, dedup_key);
        });
        const int64 row = count(find.run(in(tenant), in(user)));
        const int64 message = messages_of(tenant, dedup_key);
        out = {before[0] == 1 && before[1] == 1 && row == 0 && message == 0,
               psprintf("a row and a message written together: " INT64_FORMAT " and " INT64_FORMAT
                        "; after the rollback: " INT64_FORMAT " and " INT64_FORMAT,
                        before[0], before[1], row, message)};
    });
}

finding actor_kinds(const pg_uuid_t& tenant) {
    // The system's are what relays and lapsed leases did, and maintenance.
    static bridge::statement find(
        "with kinds as (select actor_kind, count(*) as n, count(*) filter (where not (actor_kind in ('user', 'agent') "
        "or"
        "    actor_kind = 'system' and (event_type in ('outbox.dispatched', 'outbox.failed', 'outbox.dead', "
        "'item.dead', "
        "'tool_call.unknown')"
        "      or event_type ^@ 'migration.' or event_type ^@ 'drill.'))) as wrong, min(event_type collate \"C\") "
        "filter "
        "(where not (actor_kind in ('user', 'agent') or"
        "    actor_kind = 'system' and (event_type in ('outbox.dispatched', 'outbox.failed', 'outbox.dead', "
        "'item.dead', "
        "'tool_call.unknown')"
        "      or event_type ^@ 'migration.' or event_type ^@ 'drill.'))) as example"
        "  from sor.agent_events where tenant_id = $1 group by actor_kind)"
        " select coalesce(sum(wrong), 0)::bigint, coalesce(pg_catalog.string_agg(pg_catalog.format('%s %s%s', "
        "actor_kind, "
        "n, case when wrong > 0 then"
        "   pg_catalog.format(' (%s that neither relay nor maintenance wrote, such as %s)', wrong, example) end), ', ' "
        "order by actor_kind), 'none')"
        "  from kinds",
        {UUIDOID});
    const auto row = find.run(in(tenant));
    return {row.bigint(0, 1) == 0, psprintf("actor kinds of the tenant's events: %s", row.string(0, 2))};
}

struct check {
    const char* name;
    finding (*find)(const pg_uuid_t& tenant); // null: needs more than one session
    const char* otherwise;
};
constexpr check checks[] = {
    {"every user has a role", roles, nullptr},
    {"an agent has its user's role, no more", role_boundary, nullptr},
    {"a repeated request gets the stored response", stored_responses, nullptr},
    {"of two sessions with one request exactly one runs it", nullptr, "needs two sessions: sor preflight"},
    {"a message is picked up, dispatched and marked", nullptr, "needs a relay: sor preflight"},
    {"domain row and outbox row roll back together", rolled_back_together, nullptr},
    {"the context is gone on a reused connection", nullptr, "needs several transactions: sor preflight"},
    {"events are by users and agents, the system only for relay and maintenance", actor_kinds, nullptr},
};
constexpr int check_count = sizeof(checks) / sizeof(checks[0]);

void record(const finding* findings) {
    bridge::json_writer w;
    w.object().key("checks").array();
    bool ok = true;
    for (int i = 0; i < check_count; ++i)
        if (checks[i].find != nullptr) {
            ok = ok && findings[i].ok;
            w.object()
                .field("check_no", i + 1)
                .field("ok", findings[i].ok)
                .field("evidence", findings[i].evidence)
                .end();
        }
    events::append_administrative("drill.preflight", w.end().field("ok", ok).end().done());
}

// In the open tenant.
void look_at(const pg_uuid_t& tenant, finding* findings) {
    for (int i = 0; i < check_count; ++i)
        findings[i] = checks[i].find ? checks[i].find(tenant) : finding{true, checks[i].otherwise};
    record(findings);
}

} // namespace
} // namespace sor::preflight

using namespace sor;
using bridge::in;

SOR_FUNCTION(preflight) {
    using namespace sor::preflight;
    const bridge::arguments a(fcinfo);
    const pg_uuid_t* only = a.uuid_or_null(0);
    bridge::rowset rows(fcinfo);
    struct tenant {
        pg_uuid_t id;
        const char* name;
    };
    tenant* tenants = nullptr;
    int tenant_count = 0;
    if (only != nullptr) {
        tenants = static_cast<tenant*>(palloc(sizeof(tenant)));
        tenants[tenant_count++] = {*only, nullptr};
    } else {
        const Oid caller = GetUserId();
        tenant** const into = &tenants;
        int* const n = &tenant_count;
        context::as_engine([caller, into, n](MemoryContext outer) {
            static bridge::statement list(
                "select t.tenant_id, t.name from sor.tenants t"
                " where $2 or t.tenant_id in (select g.tenant_id from sor.tenant_grants g where g.login = $1)"
                " order by t.name",
                {NAMEOID, BOOLOID});
            const auto found = list.run(bridge::in_name(GetUserNameFromId(caller, false)), in(superuser_arg(caller)));
            const MemoryContext here = MemoryContextSwitchTo(outer);
            *into = static_cast<tenant*>(palloc(sizeof(tenant) * (found.count + 1)));
            for (uint64 i = 0; i < found.count; ++i)
                (*into)[(*n)++] = {found.uuid(i, 1), found.string(i, 2)};
            MemoryContextSwitchTo(here);
        });
        if (tenant_count == 0)
            bridge::raise(code::tenant_not_granted,
                          psprintf("role \"%s\" was granted no tenant", GetUserNameFromId(caller, false)), nullptr,
                          "An operator grants it with sor.grant_tenant(login, tenant_id, user_ids, actor_kinds).");
    }
    bool ok[check_count];
    StringInfoData evidence[check_count];
    for (int i = 0; i < check_count; ++i) {
        ok[i] = true;
        initStringInfo(&evidence[i]);
    }
    for (int t = 0; t < tenant_count; ++t) {
        CHECK_FOR_INTERRUPTS();
        const tenant& one = tenants[t];
        StringInfo const said = evidence;
        bool* const all = ok;
        context::inspection(one.id, [&one, said, all](MemoryContext) {
            finding findings[check_count];
            look_at(one.id, findings);
            for (int i = 0; i < check_count; ++i) {
                all[i] = all[i] && findings[i].ok;
                if (checks[i].find == nullptr) {
                    if (said[i].len == 0)
                        appendStringInfoString(&said[i], findings[i].evidence);
                } else {
                    appendStringInfo(&said[i], "%s%s%s%s", said[i].len ? "; " : "", one.name ? one.name : "",
                                     one.name ? ": " : "", findings[i].evidence);
                }
            }
        });
    }
    for (int i = 0; i < check_count; ++i)
        rows.add({in(i + 1), in(checks[i].name), checks[i].find ? in(ok[i]) : bridge::value::none(),
                  in(static_cast<const char*>(evidence[i].data))});
    return 0;
}

SOR_FUNCTION(preflight_request) {
    using namespace sor::preflight;
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& key = a.uuid(1, "request_id");
    return context::data_plane(tenant, {}, [&](MemoryContext caller) -> Datum {
        idempotency::request r = {key,
                                  operation,
                                  idempotency::fingerprint_of(operation, nullptr, bridge::empty_object()),
                                  &kept_for,
                                  idempotency::request::unknown,
                                  nullptr};
        idempotency::look_up(&r, 1);
        if (r.state == idempotency::request::unknown)
            idempotency::reserve(&r, 1);
        if (r.state == idempotency::request::mismatch)
            bridge::raise(code::request_mismatch, "this request_id was used for another request", nullptr,
                          "Mint a new one.");
        const bool mine = r.state == idempotency::request::mine;
        if (mine) {
            bridge::json_writer effect;
            events::append_administrative("drill.request", effect.object().field("request_id", key).end().done());
            bridge::json_writer response;
            r.response = response.object().field("request_id", key).field("backend_pid", MyProcPid).end().done();
            idempotency::settle(&r, 1);
        }
        const MemoryContext here = MemoryContextSwitchTo(caller);
        const bridge::value columns[] = {in(mine), in(r.response)};
        const Datum row = bridge::composite(fcinfo, columns, 2);
        MemoryContextSwitchTo(here);
        return row;
    });
}

SOR_FUNCTION(preflight_forget) {
    using namespace sor::preflight;
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& key = a.uuid(1, "request_id");
    return context::data_plane(tenant, {}, [&](MemoryContext caller) -> Datum {
        static bridge::statement remove(
            "delete from sor.idempotency_keys where tenant_id = $1 and key = $2 and operation = $3",
            {UUIDOID, UUIDOID, TEXTOID});
        static bridge::statement find("select count(*) from sor.agent_events where tenant_id = $1 and stream_id = $2"
                                      " and event_type = 'drill.request' and payload ->> 'request_id' = $3::text",
                                      {UUIDOID, UUIDOID, UUIDOID});
        const auto keys = static_cast<int64>(remove.run(in(tenant), in(key), in(operation)).count);
        const pg_uuid_t stream = events::lock_stream(events::stream_kind::tenant, "");
        const int64 made = count(find.run(in(tenant), in(stream), in(key)));
        const MemoryContext here = MemoryContextSwitchTo(caller);
        const bridge::value columns[] = {in(keys), in(made)};
        const Datum row = bridge::composite(fcinfo, columns, 2);
        MemoryContextSwitchTo(here);
        return row;
    });
}

SOR_FUNCTION(preflight_awaited) {
    const bool awaited = context::as_engine([](MemoryContext) {
        static bridge::statement waiting("select exists (select from pg_catalog.pg_locks where not granted"
                                         "    and transactionid = pg_catalog.pg_current_xact_id_if_assigned()::xid)",
                                         {});
        return waiting.run().boolean(0, 1);
    });
    return BoolGetDatum(awaited);
}

SOR_FUNCTION(preflight_context) {
    const pg_uuid_t* tenant = context::current_tenant();
    const pg_uuid_t* user = context::current_user_id();
    const char* kind = context::current_actor_kind();
    const bridge::value of_tenant = in(tenant ? bridge::copy(*tenant) : nullptr);
    const bridge::value of_user = in(user ? bridge::copy(*user) : nullptr);
    const bridge::value of_kind = in(kind ? pstrdup(kind) : nullptr);
    // All tables of sor that hold tenants' rows, but for those that tell who has which tenant, and the ready table,
    // which has no row security because it has no content.
    const int64 visible = context::as_engine([](MemoryContext) -> int64 {
        static bridge::statement list(
            "select pg_catalog.string_agg(pg_catalog.format('(exists (select from %s))::int', c.oid::regclass), ' + ')"
            "  from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid"
            " where c.relnamespace = 'sor'::regnamespace and c.relkind in ('r', 'p') and a.attname = 'tenant_id'"
            "   and c.relname <> all ('{tenants,tenant_grants,ready}')",
            {});
        return bridge::execute_text(psprintf("select %s", list.run().string(0, 1))).integer(0, 1);
    });
    const bridge::value columns[] = {in(MyProcPid), of_tenant, of_user, of_kind, in(visible)};
    return bridge::composite(fcinfo, columns, 5);
}

SOR_FUNCTION(record_drill) {
    const bridge::arguments a(fcinfo);
    const Jsonb* report = a.json(0, "report");
    if (!bridge::is_object(report))
        bridge::raise(code::invalid_parameter, "a report is an object", nullptr, nullptr);
    int64 seq = 0;
    context::administration(context::system_tenant, "user",
                            [&](MemoryContext) { seq = events::append_system("drill.decided", report); });
    return Int64GetDatum(seq);
}
