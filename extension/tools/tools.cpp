#include "tools/tools.hpp"

#include "bridge/catalog.hpp"
#include "bridge/subtransaction.hpp"
#include "bridge/uuid_v7.hpp"
#include "switches/switches.hpp"

namespace sor::tools {

using bridge::in;
using idempotency::request;

namespace {

constexpr int most_calls = 1000;
constexpr int twin_wait_milliseconds = 10000;

// ---------------------------------------------------------------- the allow-list

struct tool {
    const char* name;
    const builtin* built_in; // or
    char* function;          // a registered function's signature
    const char* minimum_role;
    bool read_only;
    const Interval* response_ttl;
    const char* paused; // why; null: it is not
};

const Interval* one_day() {
    static constexpr Interval day = {24 * USECS_PER_HOUR, 0, 0};
    return &day;
}

// False when no such tool is on the list.
bool find_tool(const char* name, tool& into) {
    static bridge::statement find(
        "select function, minimum_role, read_only, response_ttl from sor.tools where name = $1", {TEXTOID});
    const auto row = find.run(in(name));
    into = {name, find_builtin(name), nullptr, nullptr, false, one_day(), switches::pause_of_tool(name)};
    if (!row.empty())
        into.response_ttl = DatumGetIntervalP(row.datum(0, 4));
    if (into.built_in != nullptr) {
        into.minimum_role = into.built_in->minimum_role;
        into.read_only = into.built_in->read_only;
        return true;
    }
    if (row.empty())
        return false;
    into.function = row.string(0, 1);
    into.minimum_role = row.string(0, 2);
    into.read_only = row.boolean(0, 3);
    return true;
}

// The function as its owner, in the open tenant; what it set is undone.
Jsonb* run_registered(const tool& t, const Jsonb* arguments) {
    const Oid function = bridge::find_function(t.function);
    if (!OidIsValid(function))
        bridge::raise(code::tool_not_found, psprintf("the function of tool \"%s\" is gone", t.name),
                      psprintf("It was %s.", t.function), "An operator registers it again with sor.register_tool.");
    const Oid owner = bridge::owner_of_function(function);
    context::require_harmless_owner(owner, psprintf("the function of tool \"%s\"", t.name));
    return context::as_role(owner, [&]() -> Jsonb* {
        FmgrInfo lookup;
        fmgr_info(function, &lookup);
        LOCAL_FCINFO(call, 1);
        InitFunctionCallInfoData(*call, &lookup, 1, DEFAULT_COLLATION_OID, nullptr, nullptr);
        call->args[0].value = JsonbPGetDatum(arguments);
        call->args[0].isnull = false;
        // A STABLE function reads with the snapshot that is active: let it see what this transaction did before.
        CommandCounterIncrement();
        PushActiveSnapshot(GetTransactionSnapshot());
        const Datum answer = FunctionCallInvoke(call);
        PopActiveSnapshot();
        context::fire_deferred_triggers();
        if (call->isnull)
            return bridge::parse_json("null");
        return DatumGetJsonbPCopy(answer);
    });
}

// ---------------------------------------------------------------- one batch

enum class status { pending, succeeded, failed, refused };

struct call {
    pg_uuid_t request_id;
    const char* name;
    const Jsonb* arguments;
    const char* group; // null: a group of its own
    bool listed;
    tool of;
    pg_uuid_t id;
    TimestampTz started_at;
    status is;
    bool replayed;
    Jsonb* result;
    Jsonb* error;
    bool leads; // first of its group to run
    bool done;  // its group has run
};

struct batch {
    call* calls;
    int count;
    request* requests; // one for each call
    journal::run run;
    call_frame frame;
    int turn_no;
};

Jsonb* error_json(const char* sqlstate, const char* message, const char* detail, const char* hint) {
    bridge::json_writer w;
    w.object().field("sqlstate", sqlstate).field("message", message).field("detail", detail).field("hint", hint).end();
    return w.done();
}

Jsonb* error_json(code which, const char* message, const char* detail, const char* hint) {
    return error_json(unpack_sql_state(bridge::sqlstate(which)), message, detail, hint);
}

void refuse(call& c, Jsonb* error) {
    c.is = status::refused;
    c.error = error;
}

const char* name_of(status s) {
    return s == status::succeeded ? "succeeded" : s == status::failed ? "failed" : "refused";
}

Jsonb* answer(const call& c) {
    bridge::json_writer w;
    w.object()
        .field("status", name_of(c.is))
        .field("result", c.result)
        .field("error", c.error)
        .field("replayed", c.replayed)
        .end();
    return w.done();
}

// SR003, SR005 and SR008 refuse before anything runs.
void refuse_what_is_not_allowed(batch& b, const pg_uuid_t* user) {
    const char* role = user ? access::role_of(*user) : nullptr;
    for (int i = 0; i < b.count; ++i) {
        call& c = b.calls[i];
        if (c.is != status::pending)
            continue;
        if (b.requests[i].state == request::mismatch)
            refuse(c, error_json(code::request_mismatch, "this request_id was used for another request",
                                 "The tool, the user or the arguments differ.",
                                 "Mint a new request_id for a new request."));
        else if (!c.listed)
            refuse(c, error_json(code::tool_not_found, psprintf("there is no tool \"%s\"", c.name), nullptr,
                                 "sor.list_tools lists the tools a user may call."));
        else if (!access::permits(role ? role : "", c.of.minimum_role))
            refuse(c, error_json(code::role_not_permitted,
                                 psprintf("tool \"%s\" needs the role %s", c.name, c.of.minimum_role),
                                 user == nullptr   ? "No user is set."
                                 : role == nullptr ? "The user has no role in this tenant."
                                                   : psprintf("The user has the role %s.", role),
                                 "Act for a user who has it, or have an operator call sor.assign_role."));
        else if (c.of.paused != nullptr)
            refuse(c, error_json(code::paused, psprintf("tool \"%s\" is paused", c.name),
                                 psprintf("The reason given: %s", c.of.paused),
                                 "Do without it, or call again later with the same request_id; an operator lets it go on "
                                 "with sor.resume."));
    }
}

void take_replays(batch& b) {
    for (int i = 0; i < b.count; ++i)
        if (b.requests[i].state == request::replay && b.calls[i].is == status::pending) {
            b.calls[i].is = status::succeeded;
            b.calls[i].replayed = true;
            b.calls[i].result = b.requests[i].response;
        }
}

bool same_group(const call& a, const call& b) {
    return &a == &b || (a.group != nullptr && b.group != nullptr && strcmp(a.group, b.group) == 0);
}

void run_one(batch& b, call& c) {
    c.id = bridge::uuid_v7();
    c.started_at = GetCurrentTimestamp();
    context::set_origin({b.run.id, b.run.token, b.turn_no, c.id, b.run.worker});
    const bool read_only = XactReadOnly;
    if (c.of.read_only)
        XactReadOnly = true; // until the subtransaction ends, or the line below
    c.result = c.of.built_in ? c.of.built_in->run(c.arguments, b.frame) : run_registered(c.of, c.arguments);
    XactReadOnly = read_only;
}

// Runs the calls of one group, together or not at all.
void run_group(batch& b, int first) {
    const call& leader = b.calls[first];
    const call* culprit = nullptr;
    Jsonb* error = nullptr;
    for (int i = first; i < b.count; ++i)
        if (same_group(leader, b.calls[i]) && b.calls[i].is == status::refused && culprit == nullptr)
            culprit = &b.calls[i];
    if (culprit == nullptr) {
        int at = first; // the call running, for the error to name
        int* const running = &at;
        ErrorData* failure = bridge::attempt([&b, &leader, first, running] {
            for (int i = first; i < b.count; ++i)
                if (same_group(leader, b.calls[i]) && b.calls[i].is == status::pending) {
                    *const_cast<volatile int*>(running) = i;
                    run_one(b, b.calls[i]);
                }
        });
        if (failure != nullptr) {
            call& c = b.calls[*const_cast<volatile int*>(running)];
            const bool wrote_though_read_only =
                c.of.read_only && !XactReadOnly && failure->sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION;
            if (bridge::is_not_the_answer(failure) && !wrote_though_read_only)
                ReThrowError(failure);
            error = error_json(unpack_sql_state(failure->sqlerrcode), failure->message, failure->detail, failure->hint);
            // What the gateway's own rules refuse inside a tool is a refusal too.
            c.is = failure->sqlerrcode == bridge::sqlstate(code::role_not_permitted) ||
                           failure->sqlerrcode == bridge::sqlstate(code::tool_not_found)
                       ? status::refused
                       : status::failed;
            c.error = error;
            culprit = &c;
        }
    }
    for (int i = first; i < b.count; ++i) {
        call& c = b.calls[i];
        if (!same_group(leader, c))
            continue;
        c.done = true;
        if (c.is != status::pending)
            continue;
        if (culprit == nullptr) {
            c.is = status::succeeded;
            continue;
        }
        c.is = status::failed;
        c.result = nullptr;
        c.error = error_json(code::group_failed, "another call of the group did not succeed",
                             psprintf("It is the call of tool \"%s\" with request_id %s.", culprit->name,
                                      bridge::to_cstring(culprit->request_id)),
                             "Mend that call; then all of the group may be called again with the same request ids.");
    }
}

// Journals what was not replayed.
void record(const batch& b, const pg_uuid_t* user) {
    auto* made = static_cast<journal::call*>(palloc(sizeof(journal::call) * static_cast<size_t>(b.count)));
    int n = 0;
    for (int i = 0; i < b.count; ++i) {
        call& c = b.calls[i];
        if (c.replayed)
            continue;
        if (bridge::is_nil(c.id)) { // never began
            c.id = bridge::uuid_v7();
            c.started_at = GetCurrentTimestamp();
        }
        const bool succeeded = c.is == status::succeeded;
        made[n++] = {c.id,    &b.run,      b.turn_no,     c.request_id,
                     c.name,  c.arguments, name_of(c.is), succeeded ? c.result : nullptr,
                     c.error, user,        c.started_at};
    }
    journal::record_calls(made, n);
}

// Locks the run and claims the request keys, waiting for a twin in flight no longer than twin_wait_milliseconds.
void lock_and_reserve(batch& b, const pg_uuid_t& run_id, int64 run_token, const pg_uuid_t* user) {
    const int level = NewGUCNestLevel();
    if (LockTimeout == 0 || LockTimeout > twin_wait_milliseconds)
        set_config_option("lock_timeout", psprintf("%d", twin_wait_milliseconds), PGC_USERSET, PGC_S_SESSION,
                          GUC_ACTION_SAVE, true, 0, false);
    const MemoryContext memory = CurrentMemoryContext;
    PG_TRY();
    {
        b.run = journal::lock_run(run_id, run_token);
        journal::require_open_turn(run_id, b.turn_no);
        refuse_what_is_not_allowed(b, user);
        auto* wanted = static_cast<request*>(palloc(sizeof(request) * static_cast<size_t>(b.count)));
        auto* index = static_cast<int*>(palloc(sizeof(int) * static_cast<size_t>(b.count)));
        int n = 0;
        for (int i = 0; i < b.count; ++i)
            if (b.calls[i].is == status::pending) {
                index[n] = i;
                wanted[n++] = b.requests[i];
            }
        idempotency::reserve(wanted, n);
        for (int i = 0; i < n; ++i)
            b.requests[index[i]] = wanted[i];
    }
    PG_CATCH();
    {
        if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
            PG_RE_THROW();
        MemoryContextSwitchTo(memory);
        FlushErrorState();
        bridge::raise(code::request_in_progress, "the same request, or another call of its run, is still in progress",
                      psprintf("Waited %d ms for it.", LockTimeout), "Try again with the same request_id.");
    }
    PG_END_TRY();
    AtEOXact_GUC(true, level);
}

const pg_uuid_t* acting_user(const pg_uuid_t* asked, const pg_uuid_t& run_id) {
    static bridge::statement find(
        "select on_behalf_of, $3 = any (delegating_users) from sor.runs where tenant_id = $1 and id = $2",
        {UUIDOID, UUIDOID, UUIDOID});
    const auto found = find.run(in(context::required_tenant()), in(run_id), in(asked));
    if (found.empty())
        bridge::raise(code::invalid_state_transition, psprintf("there is no run %s", bridge::to_cstring(run_id)),
                      nullptr, "Give the run_id that sor.start_run returned, in the same tenant.");
    const pg_uuid_t* of_run = found.uuid_or_null(0, 1);
    if (asked == nullptr)
        return of_run ? bridge::copy(*of_run) : nullptr;
    if ((of_run == nullptr || !bridge::equal(*of_run, *asked)) && (found.null(0, 2) || !found.boolean(0, 2)))
        bridge::raise(code::tenant_not_granted,
                      psprintf("the run does not act for user %s", bridge::to_cstring(*asked)), nullptr,
                      "Name the user in delegating_users of sor.start_run.");
    return asked;
}

void prepare(batch& b, const pg_uuid_t* user) {
    for (int i = 0; i < b.count; ++i) {
        call& c = b.calls[i];
        const call* like = nullptr; // a batch repeats few tools
        for (int k = 0; k < i; ++k) {
            const call& former = b.calls[k];
            if (bridge::equal(former.request_id, c.request_id))
                bridge::raise(code::invalid_parameter,
                              psprintf("request_id %s stands twice in the batch", bridge::to_cstring(c.request_id)),
                              nullptr, "Mint one request_id for each logical call.");
            if (like == nullptr && strcmp(former.name, c.name) == 0)
                like = &former;
        }
        if (like != nullptr) {
            c.listed = like->listed;
            c.of = like->of;
        } else {
            c.listed = find_tool(c.name, c.of);
        }
        b.requests[i] = {c.request_id,      c.name,           idempotency::fingerprint_of(c.name, user, c.arguments),
                         c.of.response_ttl, request::unknown, nullptr};
    }
}

bool is_whole(const batch& b, int first) {
    for (int i = first; i < b.count; ++i)
        if (same_group(b.calls[first], b.calls[i]) && b.calls[i].is == status::refused)
            return false;
    return true;
}

// Runs all groups in one subtransaction instead of one each: those cost, and past 64 of them every other session's
// snapshots do too. When a call fails all is undone, and each group runs by itself. Only for the
// built-in tools, which may be run again unseen; a registered tool is run once.
void run_at_once(batch& b) {
    int groups = 0;
    for (int i = 0; i < b.count; ++i) {
        call& c = b.calls[i];
        if (c.is == status::pending && c.of.built_in == nullptr)
            return;
        bool leads = c.is == status::pending;
        for (int k = 0; k < i && leads; ++k)
            leads = !same_group(b.calls[k], c);
        c.leads = leads;
        groups += leads;
    }
    if (groups < 2)
        return;
    ErrorData* failure = bridge::attempt([&b] {
        for (int first = 0; first < b.count; ++first)
            if (b.calls[first].leads && is_whole(b, first))
                for (int i = first; i < b.count; ++i)
                    if (same_group(b.calls[first], b.calls[i]) && b.calls[i].is == status::pending)
                        run_one(b, b.calls[i]);
    });
    if (failure != nullptr) {
        if (bridge::is_not_the_answer(failure))
            ReThrowError(failure);
        return;
    }
    for (int first = 0; first < b.count; ++first)
        if (b.calls[first].leads && is_whole(b, first))
            for (int i = first; i < b.count; ++i)
                if (same_group(b.calls[first], b.calls[i]) && b.calls[i].is == status::pending) {
                    b.calls[i].is = status::succeeded;
                    b.calls[i].done = true;
                }
}

void run_batch(batch& b, const pg_uuid_t* asked, const pg_uuid_t& run_id, int64 run_token) {
    switches::require_unpaused_tenant();
    const pg_uuid_t* user = acting_user(asked, run_id);
    if (user != nullptr)
        context::act_for(*user);
    prepare(b, user);
    // Before any fence: retrying a call that completed its claim, or ended its run, replays.
    idempotency::look_up(b.requests, b.count);
    take_replays(b);
    bool all = true;
    for (int i = 0; i < b.count; ++i)
        all = all && b.calls[i].replayed;
    if (all)
        return;
    lock_and_reserve(b, run_id, run_token, user);
    b.frame.run = &b.run;
    take_replays(b);
    for (int i = 0; i < b.count; ++i)
        if (b.requests[i].state == request::mismatch && b.calls[i].is == status::pending)
            refuse_what_is_not_allowed(b, user);
    events::open_batch();
    run_at_once(b);
    for (int i = 0; i < b.count; ++i)
        if (!b.calls[i].done)
            run_group(b, i);
    record(b, user);
    events::close_batch();
    for (int i = 0; i < b.count; ++i)
        if (b.requests[i].state == request::mine)
            b.requests[i].response = b.calls[i].is == status::succeeded ? b.calls[i].result : nullptr;
    idempotency::settle(b.requests, b.count);
}

// Both entry points; `write_answers` makes the result out of the finished batch.
template <class Answers>
Datum call_through_gateway(FunctionCallInfo fcinfo, call* calls, int count, Answers write_answers) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t* user = a.uuid_or_null(1);
    const pg_uuid_t& run_id = a.uuid(2, "run_id");
    const int64 run_token = a.bigint(3, "run_token");
    const int turn_no = a.integer(4, "turn_no");
    if (context::inside_entry())
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a tool cannot call another tool"),
                        errhint("Let the Worker make both calls, in one group if they belong together.")));
    context::fire_deferred_triggers_of_caller();
    return context::data_plane(tenant, {}, [&](MemoryContext caller) -> Datum {
        batch b = {};
        b.calls = calls;
        b.count = count;
        b.requests = static_cast<request*>(palloc(sizeof(request) * static_cast<size_t>(count + 1)));
        b.turn_no = turn_no;
        run_batch(b, user, run_id, run_token);
        const MemoryContext here = MemoryContextSwitchTo(caller);
        const Datum out = JsonbPGetDatum(write_answers(b));
        MemoryContextSwitchTo(here);
        return out;
    });
}

[[noreturn]] void malformed(int index, const char* what) {
    bridge::raise(code::invalid_parameter, psprintf("call %d %s", index, what), "Calls count from 0.",
                  "Give [{\"request_id\": uuid, \"tool\": name, \"arguments\": {…}, \"group\": name or absent}, …].");
}

void read_call(int index, const Jsonb* element, call& c) {
    if (!bridge::is_object(element))
        malformed(index, "is no JSON object");
    bridge::only_keys(element, "a call", {"request_id", "tool", "arguments", "group"});
    const char* id = bridge::find_string(element, "request_id");
    if (id == nullptr || !bridge::parse_uuid(id, c.request_id))
        malformed(index, "has no uuid as its request_id");
    c.name = bridge::find_string(element, "tool");
    if (c.name == nullptr)
        malformed(index, "names no tool");
    c.arguments = bridge::find_json(element, "arguments");
    if (c.arguments == nullptr || !bridge::is_object(c.arguments))
        malformed(index, "has no object as its arguments");
    c.group = bridge::find_string(element, "group");
}

void require_own_name(const char* name) {
    if (find_builtin(name) != nullptr)
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is the name of a built-in tool", name), nullptr,
                      "Choose another name.");
}

// MCP allows 128 characters of these; 64 is what every model provider takes.
void require_fit_name(std::string_view name) {
    constexpr std::string_view allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    if (name.empty() || name.size() > 64 || name.find_first_not_of(allowed) != name.npos)
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no name for a tool", bridge::to_cstring(name)),
                      nullptr, "Give 1 to 64 characters of A-Z, a-z, 0-9, _, . and -.");
}

// A client of the MCP server sends its request_id as a member of the arguments; the server takes it out.
void require_free_request_id(const Jsonb* input_schema) {
    const Jsonb* properties = bridge::find_json(input_schema, "properties");
    if (properties != nullptr && bridge::is_object(properties) && bridge::find(properties, "request_id") != nullptr)
        bridge::raise(code::invalid_parameter, "a tool cannot have an argument \"request_id\"",
                      "The MCP server adds it to each tool's arguments and takes it out of them.",
                      "Give the argument another name.");
}

void require_positive(const Interval* ttl) {
    static constexpr Interval zero = {};
    if (!DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(ttl), IntervalPGetDatum(&zero))))
        bridge::raise(code::invalid_parameter, "a response must be kept for some time", nullptr,
                      "Give a positive interval.");
}

[[noreturn]] void no_such_tool(const char* name) {
    bridge::raise(code::tool_not_found, psprintf("there is no tool \"%s\"", name), nullptr, "See sor.tools.");
}

} // namespace

Jsonb* call_within(const request_to_call& r) {
    auto* c = static_cast<call*>(palloc0(sizeof(call)));
    c->request_id = r.request_id;
    c->name = r.tool;
    c->arguments = r.arguments;
    batch b = {};
    b.calls = c;
    b.count = 1;
    b.requests = static_cast<request*>(palloc(sizeof(request)));
    b.turn_no = r.turn_no;
    run_batch(b, &r.user, r.run, r.run_token);
    return answer(*c);
}

} // namespace sor::tools

using namespace sor;
using bridge::in;

SOR_FUNCTION(call_tool) {
    const bridge::arguments a(fcinfo);
    auto* c = static_cast<tools::call*>(palloc0(sizeof(tools::call)));
    c->request_id = a.uuid(5, "request_id");
    c->name = bridge::to_cstring(bridge::view(a.string(6, "tool")));
    c->arguments = a.json(7, "arguments");
    if (!bridge::is_object(c->arguments))
        bridge::raise(code::invalid_parameter, "arguments must be a JSON object", nullptr, "Give {} for none.");
    return tools::call_through_gateway(fcinfo, c, 1, [](const tools::batch& b) { return tools::answer(b.calls[0]); });
}

SOR_FUNCTION(call_tools) {
    const bridge::arguments a(fcinfo);
    const Jsonb* list = a.json(5, "calls");
    if (!bridge::is_array(list) || JB_ROOT_COUNT(const_cast<Jsonb*>(list)) > tools::most_calls)
        bridge::raise(code::invalid_parameter, "calls must be a JSON array of at most 1000 calls", nullptr,
                      "Send them in batches.");
    const int count = static_cast<int>(JB_ROOT_COUNT(const_cast<Jsonb*>(list)));
    auto* calls = static_cast<tools::call*>(palloc0(sizeof(tools::call) * static_cast<size_t>(count + 1)));
    bridge::each_element(list, [&](int i, const Jsonb* element) { tools::read_call(i, element, calls[i]); });
    return tools::call_through_gateway(fcinfo, calls, count, [](const tools::batch& b) {
        bridge::json_writer w;
        w.array();
        for (int i = 0; i < b.count; ++i)
            w.json(tools::answer(b.calls[i]));
        return w.end().done();
    });
}

SOR_FUNCTION(list_tools) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t* user = a.uuid_or_null(1);
    const bool include_forbidden = a.boolean(2, "include_forbidden");
    bridge::rowset rows(fcinfo);
    context::identity who;
    who.user = user;
    context::data_plane(tenant, who, [&](MemoryContext) {
        const pg_uuid_t* acting = context::current_user_id();
        const char* role = acting ? access::role_of(*acting) : nullptr;
        int count;
        const tools::builtin* built_in = tools::all_builtins(&count);
        for (int i = 0; i < count; ++i) {
            const tools::builtin& b = built_in[i];
            const bool permitted = access::permits(role ? role : "", b.minimum_role);
            if (permitted || include_forbidden)
                rows.add({in(b.name), in(b.description), in(bridge::parse_json(b.input_schema)), in(b.read_only),
                          in(bridge::parse_json(b.output_schema)), in(b.destructive), in(b.minimum_role),
                          in(permitted)});
        }
        static bridge::statement list("select name, description, input_schema, read_only, output_schema, destructive,"
                                      " minimum_role from sor.tools where function is not null"
                                      " order by name collate \"C\"",
                                      {});
        const auto found = list.run();
        for (uint64 i = 0; i < found.count; ++i) {
            const bool permitted = access::permits(role ? role : "", found.string(i, 7));
            if (permitted || include_forbidden)
                rows.add({found.column(i, 1), found.column(i, 2), found.column(i, 3), found.column(i, 4),
                          found.column(i, 5), found.column(i, 6), found.column(i, 7), in(permitted)});
        }
    });
    return 0;
}

SOR_FUNCTION(register_tool) {
    const bridge::arguments a(fcinfo);
    char* name = bridge::to_cstring(bridge::view(a.string(0, "name")));
    const Oid function = a.oid(1, "function");
    const text* minimum_role = a.string(2, "minimum_role");
    const text* description = a.string(3, "description");
    const Jsonb* input_schema = a.json(4, "input_schema");
    const bool read_only = a.boolean(5, "read_only");
    const Interval* ttl = a.interval(6, "response_ttl");
    const Jsonb* output_schema = a.json_or_null(7);
    const bool destructive = a.boolean(8, "destructive") && !read_only;
    tools::require_fit_name(name);
    tools::require_own_name(name);
    tools::require_positive(ttl);
    if (access::rank(bridge::view(minimum_role)) == 0)
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no role", text_to_cstring(minimum_role)), nullptr,
                      "Give admin, member or viewer.");
    if (!bridge::is_object(input_schema))
        bridge::raise(code::invalid_parameter, "input_schema must be a JSON object", nullptr,
                      "Give a JSON Schema of type object.");
    if (output_schema != nullptr && !bridge::is_object(output_schema))
        bridge::raise(code::invalid_parameter, "output_schema must be a JSON object", nullptr,
                      "Give a JSON Schema, or null for none.");
    tools::require_free_request_id(input_schema);
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        const Oid owner = bridge::owner_of_function(function);
        context::require_member_of(owner, "Only a member of a function's owner can register it.");
        context::require_fit_owner(owner, psprintf("the tool \"%s\"", name));
        static bridge::statement check("select p.prorettype = 'jsonb'::pg_catalog.regtype and p.pronargs = 1 and "
                                       "p.proargtypes[0] = 'jsonb'::pg_catalog.regtype"
                                       "         and p.prokind = 'f' and not p.proretset,"
                                       "       exists (select from pg_catalog.unnest(p.proconfig) c where c ~ "
                                       "'^search_path=(.*, *)?\"?pg_temp\"?$')"
                                       "  from pg_catalog.pg_proc p where p.oid = $1",
                                       {OIDOID});
        const auto found = check.run(bridge::value::of(ObjectIdGetDatum(function)));
        if (!found.boolean(0, 1))
            bridge::raise(code::invalid_parameter, psprintf("function %s is no tool", get_func_name(function)), nullptr,
                          "A tool is a function of one argument jsonb that returns jsonb.");
        if (!found.boolean(0, 2))
            bridge::raise(code::invalid_parameter,
                          psprintf("function %s has no pinned search_path", get_func_name(function)),
                          "Whoever calls it could put other objects in its way.",
                          "ALTER FUNCTION … SET search_path = …, pg_temp.");
        const char* signature = bridge::qualified_signature(function);
        static bridge::statement save(
            "insert into sor.tools (name, function, minimum_role, description, input_schema, read_only, response_ttl,"
            " output_schema, destructive)"
            " values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (name) do update set function = "
            "excluded.function,"
            " minimum_role = excluded.minimum_role, description = excluded.description, input_schema = "
            "excluded.input_schema,"
            " read_only = excluded.read_only, response_ttl = excluded.response_ttl, output_schema = "
            "excluded.output_schema, destructive = excluded.destructive",
            {TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, BOOLOID, INTERVALOID, JSONBOID, BOOLOID});
        save.run(in(name), in(signature), in(minimum_role), in(description), in(input_schema), in(read_only), in(ttl),
                 in(output_schema), in(destructive));
        bridge::json_writer payload;
        payload.object()
            .field("kind", "tool")
            .field("name", name)
            .field("function", signature)
            .field("minimum_role", minimum_role);
        events::append_system("registered", payload.field("read_only", read_only).end().done());
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(unregister_tool) {
    const bridge::arguments a(fcinfo);
    char* name = bridge::to_cstring(bridge::view(a.string(0, "name")));
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        static bridge::statement remove("delete from sor.tools where name = $1 and function is not null", {TEXTOID});
        if (remove.run(in(name)).count == 0)
            tools::no_such_tool(name);
        bridge::json_writer payload;
        events::append_system(
            "registered",
            payload.object().field("kind", "tool").field("name", name).field("removed", true).end().done());
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(set_response_ttl) {
    const bridge::arguments a(fcinfo);
    char* name = bridge::to_cstring(bridge::view(a.string(0, "name")));
    const Interval* ttl = a.interval(1, "ttl");
    tools::require_positive(ttl);
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        static bridge::statement save("insert into sor.tools (name, response_ttl) select $1, $2"
                                      " where $3 or exists (select from sor.tools t where t.name = $1)"
                                      " on conflict (name) do update set response_ttl = excluded.response_ttl",
                                      {TEXTOID, INTERVALOID, BOOLOID});
        if (save.run(in(name), in(ttl), in(tools::find_builtin(name) != nullptr)).count == 0)
            tools::no_such_tool(name);
        bridge::json_writer payload;
        events::append_system(
            "registered", payload.object()
                              .field("kind", "response_ttl")
                              .field("name", name)
                              .field("ttl", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(ttl))))
                              .end()
                              .done());
    });
    PG_RETURN_VOID();
}
