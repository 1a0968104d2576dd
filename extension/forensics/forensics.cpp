#include "forensics/forensics_core.hpp"

#include "bridge/subtransaction.hpp"
#include "bridge/uuid_v7.hpp"
#include "journal/journal.hpp"

namespace sor::forensics {

using bridge::in;

namespace {

constexpr int batch = 100; // rows in memory at once, where there may be any number

[[noreturn]] void no_such_run(const pg_uuid_t& id) {
    bridge::raise(code::invalid_state_transition, psprintf("there is no run %s", bridge::to_cstring(id)), nullptr,
                  "Give the run_id that sor.start_run returned, in the same tenant.");
}

// ---------------------------------------------------------------- narratives

// The scalars of a payload down to its third level, as the core wants them.
struct fields {
    static constexpr int most = 96;
    field list[most];
    int count = 0;

    void add(std::string_view name, std::string_view text) {
        if (count < most)
            list[count++] = {name, text};
    }
};

// The scalars of a level before what is nested in it, so that none is lost to a large neighbour.
void flatten(JsonbContainer* object, std::string_view prefix, int levels, fields& into) {
    for (const bool nested : {false, true}) {
        JsonbIterator* it = JsonbIteratorInit(object);
        JsonbValue v;
        std::string_view name;
        JsonbIteratorToken token;
        while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE && into.count < fields::most) {
            if (token == WJB_KEY) {
                const auto length = static_cast<size_t>(v.val.string.len);
                char* joined = psprintf("%.*s%.*s", static_cast<int>(prefix.size()), prefix.data(), v.val.string.len,
                                        v.val.string.val);
                name = {joined, prefix.size() + length};
            } else if (token == WJB_VALUE && nested) {
                if (v.type == jbvBinary && !JsonContainerIsArray(v.val.binary.data) && levels > 1)
                    flatten(v.val.binary.data, psprintf("%.*s.", static_cast<int>(name.size()), name.data()),
                            levels - 1, into);
            } else if (token == WJB_VALUE) {
                if (v.type == jbvString)
                    into.add(name, {v.val.string.val, static_cast<size_t>(v.val.string.len)});
                else if (v.type == jbvNumeric)
                    into.add(name, DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v.val.numeric))));
                else if (v.type == jbvBool)
                    into.add(name, v.val.boolean ? "true" : "false");
                else if (v.type == jbvBinary && JsonContainerIsArray(v.val.binary.data))
                    into.add(psprintf("%.*s#", static_cast<int>(name.size()), name.data()),
                             psprintf("%u", JsonContainerSize(v.val.binary.data)));
            }
        }
    }
}

// Moments in the session's time zone, which is named beside them.
#define LOCAL_TEXT(moment)                                                                                             \
    "pg_catalog.regexp_replace(pg_catalog.to_char(" moment ", 'YYYY-MM-DD HH24:MI:SS \"UTC\"OF'), 'UTC[+]00$', 'UTC')"

// What a narrative is made of: seven columns of agent_events e, in this order. A message's events are told with what
// its intent, the first event of its stream, says of it; users by their names. Each is looked up by its key, row by
// row: a join would be turned round while the tables look small.
#define OF_INTENT(column)                                                                                              \
    "(select i." column " from sor.agent_events i where i.tenant_id = e.tenant_id and i.stream_id = e.message_id and " \
    "i.seq = 1)"
#define UUID_IN(key)                                                                                                   \
    "case when e.payload ->> '" key "' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (e.payload ->> '" key      \
    "')::uuid end"
#define EMAIL_OF(user) "(select u.email from sor.users u where u.tenant_id = e.tenant_id and u.id = " user ")"
#define TOLD_COLUMNS                                                                                                   \
    "e.event_type, e.actor_kind, e.actor, coalesce(" EMAIL_OF("coalesce(e.on_behalf_of, " OF_INTENT(                   \
        "on_behalf_of") ")") ", e.on_behalf_of::text), e.turn_no,"                                                     \
                             " case when e.message_id is not null and e.stream_id = e.message_id and e.seq > 1"        \
                             " then coalesce(" OF_INTENT(                                                              \
                                 "payload") ", '{}') || e.payload"                                                     \
                                            " when e.event_type = 'role.assigned' then e.payload || "                  \
                                            "pg_catalog.jsonb_build_object('user_id', coalesce(" EMAIL_OF(             \
                                                UUID_IN("user_id")) ", e.payload ->> 'user_id')) else "                \
                                                                    "e.payload end, e.created_at"

// As LOCAL_TEXT writes it.
const char* local_text(TimestampTz moment) {
    struct pg_tm tm;
    fsec_t fraction;
    int west = 0; // seconds
    if (TIMESTAMP_NOT_FINITE(moment) || timestamp2tm(moment, &west, &tm, &fraction, nullptr, nullptr) != 0)
        return "at no time";
    char* out = psprintf("%04d-%02d-%02d %02d:%02d:%02d UTC", tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min,
                         tm.tm_sec);
    if (west == 0)
        return out;
    const int ahead = abs(west);
    out = psprintf("%s%c%02d", out, west < 0 ? '+' : '-', ahead / SECS_PER_HOUR);
    const int minutes = ahead % SECS_PER_HOUR / SECS_PER_MINUTE;
    return minutes == 0 ? out : psprintf("%s:%02d", out, minutes);
}

// Same of a moment in a payload, which the journal writes in UTC. What is none stands as it is: history that was
// changed must not keep the rest from being told.
std::string_view local_text(std::string_view utc) {
    struct pg_tm tm = {};
    int used = 0;
    int west = 0;
    TimestampTz moment;
    const char* copy = psprintf("%.*s", static_cast<int>(utc.size()), utc.data());
    if (sscanf(copy, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &used) != 6 ||
        strcmp(copy + used + strspn(copy + used, ".0123456789"), "+00:00") != 0 || tm.tm_mon < 1 || tm.tm_mon > 12 ||
        tm.tm_mday < 1 || tm.tm_mday > 31 || tm2timestamp(&tm, 0, &west, &moment) != 0)
        return utc;
    return local_text(moment);
}

// `first`: where those columns begin.
text* narrative_of(const bridge::result& rows, uint64 row, int first) {
    auto* flat = static_cast<fields*>(palloc0(sizeof(fields)));
    const Jsonb* json = rows.json(row, first + 5);
    if (bridge::is_object(json))
        flatten(const_cast<JsonbContainer*>(&json->root), "", 3, *flat);
    for (field& f : std::span(flat->list, static_cast<size_t>(flat->count)))
        if (f.name == "gap.from" || f.name == "gap.to")
            f.value = local_text(f.value);
    happening event;
    event.type = rows.string(row, first);
    event.actor_kind = rows.string(row, first + 1);
    event.actor = rows.string(row, first + 2);
    if (const char* user = rows.string_or_null(row, first + 3))
        event.on_behalf_of = user;
    event.turn_no = rows.null(row, first + 4) ? 0 : rows.integer(row, first + 4);
    event.payload = {flat->list, static_cast<size_t>(flat->count)};
    event.at = local_text(rows.time(row, first + 6));
    const std::string told = narrative(event);
    const std::string_view view = told;
    return bridge::call([view] { return bridge::to_text(view); });
}

// Calls with(page) for each page of the rows; only one is in memory at a time, with what `with` allocates. False when
// there was none.
template <bridge::guarded F>
bool for_each_page(bridge::cursor rows, long size, F&& with) {
    MemoryContext of_page = AllocSetContextCreate(CurrentMemoryContext, "sor page", ALLOCSET_DEFAULT_SIZES);
    const MemoryContext outer = CurrentMemoryContext;
    bool any = false;
    for (;;) {
        CHECK_FOR_INTERRUPTS();
        const bridge::result page = rows.fetch(size);
        if (page.empty())
            break;
        any = true;
        MemoryContextSwitchTo(of_page); // SPI leaves its own
        with(page);
        page.free();
        MemoryContextReset(of_page);
    }
    MemoryContextSwitchTo(outer);
    MemoryContextDelete(of_page);
    rows.close();
    return any;
}

// Calls add(page, row) for each row; what it allocates is gone after each, for an event may be as large as 256 MB.
// False when there was none.
template <bridge::guarded F>
bool for_each(bridge::cursor rows, F&& add) {
    return for_each_page(rows, batch, [&](const bridge::result& page) {
        const MemoryContext of_row = CurrentMemoryContext;
        for (uint64 i = 0; i < page.count; ++i) {
            add(page, i);
            MemoryContextSwitchTo(of_row);
            MemoryContextReset(of_row);
        }
    });
}

// ---------------------------------------------------------------- verification

// As much of the text as there is room for, no character cut: a table that somebody has changed may hold anything.
template <size_t room>
void copy_clipped(char (&into)[room], const char* from) {
    strlcpy(into, from, static_cast<size_t>(pg_mbcliplen(from, static_cast<int>(strlen(from)), room - 1)) + 1);
}

struct verdict {
    int64 streams = 0;
    int64 events = 0;
    bool bad = false;
    pg_uuid_t stream = {};
    int64 seq = 0;                      // 0: no event of the stream is meant
    const char* table = "agent_events"; // that `id` is a row of; nil: a whole stream is meant
    pg_uuid_t id = {};
    char problem[256] = {};

    void found(const pg_uuid_t& in_stream, int64 at, const pg_uuid_t* row, const char* what) {
        if (bad)
            return;
        bad = true;
        stream = in_stream;
        seq = at;
        if (row != nullptr)
            id = *row;
        copy_clipped(problem, what);
    }
};

// How calls end.
constexpr const char* outcomes[] = {"succeeded", "failed", "refused", "unknown"};
constexpr int outcome_count = 4;

int outcome_of(const char* status) {
    for (int i = 0; i < outcome_count; ++i)
        if (strcmp(status, outcomes[i]) == 0)
            return i;
    return -1;
}

// What the events of one stream say of the thing whose life it is; turn and call counts are a run's.
struct told {
    const char* run = nullptr;     // its status; null: it was not started
    const char* message = nullptr; // its status; null: it was not enqueued
    int last_turn;
    int64 turns, ended_turns;
    int64 calls[outcome_count];

    void hear(const char* type, int turn_no) {
        if (strncmp(type, "run.", 4) == 0)
            hear_run(type + 4);
        else if (strncmp(type, "outbox.", 7) == 0)
            hear_message(type + 7);
        else if (strcmp(type, "item.requeued") == 0 && message != nullptr)
            message = "pending";
        else if (strcmp(type, "turn.finished") == 0)
            ++ended_turns;
        else if (strcmp(type, "turn.started") == 0 && turn_no > last_turn) { // the last one may begin again
            ++turns;
            last_turn = turn_no;
        } else if (strncmp(type, "tool_call.", 10) == 0 && outcome_of(type + 10) >= 0)
            ++calls[outcome_of(type + 10)];
    }

private:
    void hear_run(const char* verb) {
        if (strcmp(verb, "started") == 0)
            run = "running";
        for (const char* end : {"succeeded", "failed", "cancelled"})
            if (run != nullptr && strcmp(verb, end) == 0)
                run = end;
    }
    void hear_message(const char* verb) {
        if (strcmp(verb, "enqueued") == 0)
            message = "pending";
        for (const char* end : {"dispatched", "dead"})
            if (message != nullptr && strcmp(verb, end) == 0)
                message = end;
    }
};

// What the tables say of it. A chain alone cannot show that its end was cut off, or that it is missing altogether.
struct kept {
    pg_uuid_t stream;
    char run[16]; // its status; empty: there is no such run
    int64 turns, ended_turns;
    int64 calls[outcome_count];
    char message[16]; // its status; empty: there is no such message
    bool other;       // a stream of event_streams
};

// Reads, in the order of their streams, what the tables say.
class state {
public:
#define STATE(of_run, of_run_id)                                                                                       \
    "select id, 'run', status, 0::bigint, 0::bigint from sor.runs where tenant_id = $1" of_run_id                      \
    " union all select run_id, 'turns', null, count(*), count(finished_at) from sor.turns"                             \
    "   where tenant_id = $1" of_run " group by run_id"                                                                \
    " union all select run_id, 'calls', status, count(*), 0 from sor.tool_calls"                                       \
    "   where tenant_id = $1" of_run " group by run_id, status"                                                        \
    " union all select id, 'message', status, 0, 0 from sor.outbox where tenant_id = $1" of_run
    static constexpr const char* of_tenant =
        STATE("", "") " union all select stream_id, 'stream', null, 0, 0 from sor.event_streams where tenant_id = $1"
                      " order by 1";
    static constexpr const char* of_run = STATE(" and run_id = $2", " and id = $2") " order by 1";
#undef STATE

    explicit state(bridge::cursor rows) : rows_(rows) {
        advance();
    }

    bool any() const {
        return any_;
    }
    const kept& now() const {
        return now_;
    }

    // Folds the rows of the next stream into one.
    void advance() {
        any_ = peek();
        if (!any_)
            return;
        now_ = {};
        now_.stream = page_.uuid(at_, 1);
        for (; peek() && bridge::equal(page_.uuid(at_, 1), now_.stream); ++at_) {
            const char* what = page_.string(at_, 2);
            if (strcmp(what, "run") == 0)
                copy_clipped(now_.run, page_.string(at_, 3));
            else if (strcmp(what, "message") == 0)
                copy_clipped(now_.message, page_.string(at_, 3));
            else if (strcmp(what, "stream") == 0)
                now_.other = true;
            else if (strcmp(what, "calls") == 0) {
                if (const int i = outcome_of(page_.string(at_, 3)); i >= 0)
                    now_.calls[i] = page_.bigint(at_, 4);
            } else {
                now_.turns = page_.bigint(at_, 4);
                now_.ended_turns = page_.bigint(at_, 5);
            }
        }
    }
    void close() {
        rows_.close();
    }

private:
    // False at the end.
    bool peek() {
        if (at_ < page_.count)
            return true;
        page_.free();
        page_ = rows_.fetch(batch);
        at_ = 0;
        return page_.count > 0;
    }
    bridge::cursor rows_;
    bridge::result page_;
    uint64 at_ = 0;
    kept now_ = {};
    bool any_ = false;
};

void compare(const pg_uuid_t& stream, const told& events, const kept& tables, verdict& out) {
    const auto wrong = [&](const char* what) { out.found(stream, 0, nullptr, what); };
    const auto compare_status = [&](const char* thing, const char* by_events, const char* by_table) {
        if (strcmp(by_events ? by_events : "", by_table) != 0)
            wrong(by_events == nullptr ? psprintf("the %s is %s, and no event began it", thing, by_table)
                                       : psprintf("the %s is %s, and its events say that it is %s", thing,
                                                  *by_table ? by_table : "gone", by_events));
    };
    compare_status("run", events.run, tables.run);
    compare_status("message", events.message, tables.message);
    if (events.run == nullptr && events.message == nullptr && !tables.other)
        wrong("it is the stream of no run, message or other thing");
    if (tables.turns != events.turns || tables.ended_turns != events.ended_turns)
        wrong(psprintf("the journal has " INT64_FORMAT " turns and " INT64_FORMAT
                       " ended ones, the events " INT64_FORMAT " and " INT64_FORMAT,
                       tables.turns, tables.ended_turns, events.turns, events.ended_turns));
    for (int i = 0; i < outcome_count; ++i)
        if (tables.calls[i] != events.calls[i])
            wrong(psprintf("the journal has " INT64_FORMAT " tool calls that are %s, the events " INT64_FORMAT,
                           tables.calls[i], outcomes[i], events.calls[i]));
}

// The chain of the stream now being read, and what it told so far.
struct chain {
    bool any = false;
    pg_uuid_t stream = {};
    int64 seq = 0;
    pg_uuid_t id = {};
    unsigned char hash[32] = {};
    told so_far = {};
};

const unsigned char* hash_bytes(const bridge::result& rows, uint64 row, int column) {
    const auto* value = DatumGetByteaPP(rows.datum(row, column));
    return VARSIZE_ANY_EXHDR(value) == 32 ? reinterpret_cast<const unsigned char*>(VARDATA_ANY(value)) : nullptr;
}

void examine(const bridge::result& rows, uint64 row, chain& last, verdict& out) {
    const pg_uuid_t& stream = rows.uuid(row, 2);
    const int64 seq = rows.bigint(row, 3);
    const pg_uuid_t& id = rows.uuid(row, 4);
    ++out.events;
    const unsigned char* prev_hash = hash_bytes(rows, row, events::hashed_column_count + 1);
    const unsigned char* hash = hash_bytes(rows, row, events::hashed_column_count + 2);
    if (seq != last.seq + 1)
        out.found(stream, seq, &id, psprintf("event " INT64_FORMAT " is missing before it", last.seq + 1));
    else if (prev_hash == nullptr || memcmp(prev_hash, last.hash, 32) != 0)
        out.found(stream, seq, &id, "its prev_hash is not the hash of the event before it");
    else if (last.seq > 0 && memcmp(id.data, last.id.data, UUID_LEN) <= 0)
        out.found(stream, seq, &id, "its id is not later than that of the event before it");
    else {
        unsigned char computed[32];
        events::hash_of(rows, row, prev_hash, computed);
        if (hash == nullptr || memcmp(hash, computed, 32) != 0)
            out.found(stream, seq, &id, "its columns do not match its hash");
    }
    last.seq = seq;
    last.id = id;
    if (hash != nullptr)
        memcpy(last.hash, hash, 32);
    last.so_far.hear(rows.string(row, 9), rows.null(row, 6) ? 0 : rows.integer(row, 6));
}

// The stream has ended: holds what it told against the tables, and every thing before it that has no stream at all.
void conclude(const chain& ended, state& tables, verdict& out) {
    while (tables.any() && memcmp(tables.now().stream.data, ended.stream.data, UUID_LEN) < 0) {
        if (tables.now().other)
            out.found(tables.now().stream, 0, nullptr, "the stream has no event");
        compare(tables.now().stream, told{}, tables.now(), out);
        tables.advance();
    }
    if (!ended.any)
        return;
    ++out.streams;
    if (tables.any() && bridge::equal(tables.now().stream, ended.stream)) {
        compare(ended.stream, ended.so_far, tables.now(), out);
        tables.advance();
    } else {
        compare(ended.stream, ended.so_far, kept{}, out);
    }
}

// Rows of the runs ($2): run by run, or the planner may take the tenant's for few and read them all.
#define OF_RUNS(columns, table, run_id, condition)                                                                     \
    "pg_catalog.unnest($2) run, lateral (select run as run_id, " columns " from sor." table " r"                       \
    " where r.tenant_id = $1 and r." run_id " = run" condition " offset 0) r"

// The rows of runs, of their turns and of their calls, and as their events tell them: each event overwrites what
// earlier ones said of the same thing. The row types give each value the form that it has in the journal and leave out
// what is no column. Events are looked at one by one, each may be as large as a jsonb can be: neither are the first and
// the last joined in one jsonb, nor are all in memory at once.
#define ROW_KEPT(key, table, run_id)                                                                                   \
    "(select run_id, " key "kept from " OF_RUNS(key "r as kept", table, run_id, "") ") k"
#define EVENTS_OF_EACH(type, thing)                                                                                    \
    "(select *, pg_catalog.cardinality(seqs) as n from (select run_id, tool_call_id as id, min(turn_no) as turn_no,"   \
    "   pg_catalog.array_agg(seq order by seq) as seqs from " OF_RUNS(                                                 \
        "seq, turn_no, tool_call_id", "agent_events", "stream_id",                                                     \
        " and event_type like '" type "'") " group by run_id, tool_call_id" thing ") e offset 0) e"
#define EVENT_SAID(seq)                                                                                                \
    "(select payload from sor.agent_events s where s.tenant_id = $1 and s.stream_id = e.run_id and s.seq = " seq ")"
#define SAID_BETWEEN                                                                                                   \
    "(select pg_catalog.jsonb_object_agg(key, value) from (select distinct on (key) key, value"                        \
    "  from sor.agent_events s, pg_catalog.jsonb_each(payload) where s.tenant_id = $1 and s.stream_id = e.run_id"      \
    "   and s.seq = any (seqs[2:n - 1]) order by key, s.seq desc) s)"
#define OVERWRITTEN(row, by) "pg_catalog.jsonb_populate_record(" row ", " by ")"
#define FIRST_TOLD(table) OVERWRITTEN("null::sor." table, EVENT_SAID("seqs[1]"))
#define LAST_TOLD(table)                                                                                               \
    OVERWRITTEN(OVERWRITTEN(FIRST_TOLD(table), "case when n > 2 then " SAID_BETWEEN " end"),                           \
                "case when n > 1 then " EVENT_SAID("seqs[n]") " end")
#define KEY(key) "pg_catalog.jsonb_build_object('tenant_id', $1, " key ")"
#define ROW_TOLD(columns, table, key, type, thing)                                                                     \
    "(select run_id, " columns OVERWRITTEN(LAST_TOLD(table), KEY(key)) " as told from " EVENTS_OF_EACH(type,           \
                                                                                                       thing) ") t"
#define RUNS_KEPT ROW_KEPT("", "runs", "id")
#define RUNS_TOLD ROW_TOLD("", "runs", "'id', run_id", "run.%", "")
#define TURNS_KEPT ROW_KEPT("turn_no, ", "turns", "run_id")
#define TURNS_TOLD ROW_TOLD("turn_no, ", "turns", "'run_id', run_id, 'turn_no', turn_no", "turn.%", ", turn_no")
#define CALLS_KEPT ROW_KEPT("id, ", "tool_calls", "run_id")
#define CALLS_TOLD ROW_TOLD("id, ", "tool_calls", "'run_id', run_id, 'turn_no', turn_no, 'id', id", "tool\\_call.%", "")

// The rows that are not what their events tell. Equal ones need not become jsonb; of others it tells whether they
// differ in more than SQL's null and that of jsonb.
#define DIFFERING(place, stream, rows)                                                                                 \
    "select " place " as place, " stream " as stream_id, pg_catalog.to_jsonb(kept) as kept,"                           \
    " pg_catalog.to_jsonb(told) as told from " rows " where kept is distinct from told"

// How the first of these differs: its table, its id, the columns, whether the row is missing, whether the events are,
// and the stream.
#define DIFFERENCE_OF(rows)                                                                                            \
    "select place, coalesce(kept, told) ->> 'id', (select pg_catalog.string_agg(coalesce(k.key, t.key), ', ' order by" \
    " coalesce(k.key, t.key)) from pg_catalog.jsonb_each(kept) k full join pg_catalog.jsonb_each(told) t"              \
    " on t.key = k.key where k.value is distinct from t.value), kept is null, told is null, stream_id from (" rows     \
    ") x where kept is distinct from told order by stream_id, place, coalesce(kept, told) ->> 'id' limit 1"

// The runs ($2), their turns and their calls. Extending a lease is no event.
#define LEASE "case when kept ->> 'status' = 'running' then 'lease_until' else '' end"
#define RUNS_DIFFERING DIFFERING("0", "run_id", RUNS_KEPT " full join " RUNS_TOLD " using (run_id)")
#define TURNS_DIFFERING DIFFERING("1", "run_id", TURNS_KEPT " full join " TURNS_TOLD " using (run_id, turn_no)")
#define CALLS_DIFFERING DIFFERING("2", "run_id", CALLS_KEPT " full join " CALLS_TOLD " using (run_id, id)")
constinit bridge::statement difference_of_runs(DIFFERENCE_OF("select place, stream_id, kept - " LEASE
                                                             " as kept, told - " LEASE " as told"
                                                             " from (" RUNS_DIFFERING ") r union all " TURNS_DIFFERING
                                                             " union all " CALLS_DIFFERING),
                                               {UUIDOID, UUIDARRAYOID});
#undef LEASE

// The messages ($2). The intent is the first event of a message, and what became of it stands in the last. What they
// leave out is taken from the row.
#define MESSAGE_TOLD                                                                                                   \
    OVERWRITTEN(                                                                                                       \
        OVERWRITTEN("null::sor.outbox", "i.payload"),                                                                  \
        "pg_catalog.jsonb_build_object('tenant_id', $1, 'id', o.id, 'run_id', i.run_id, 'tool_call_id',"               \
        " i.tool_call_id, 'attempts', coalesce(l.payload -> 'attempt', '0'), 'processed_at',"                          \
        " l.payload -> 'processed_at', 'last_error', (select f.payload ->> 'error' from sor.agent_events f"            \
        "   where f.tenant_id = $1 and f.stream_id = o.id and f.event_type in ('outbox.failed', 'outbox.dead')"        \
        "   order by f.seq desc limit 1), 'status', o.status, 'next_attempt_at', o.next_attempt_at,"                   \
        " 'created_at', o.created_at, 'claim_token', o.claim_token)")
constinit bridge::statement difference_of_messages(
    DIFFERENCE_OF(DIFFERING(
        "3", "coalesce(run_id, id)",
        "(select id, run_id, o as kept, (select " MESSAGE_TOLD " from sor.agent_events i,"
        "    lateral (select payload from sor.agent_events l where l.tenant_id = $1 and l.stream_id = o.id"
        "      order by l.seq desc limit 1) l where i.tenant_id = $1 and i.stream_id = o.id and i.seq = 1) as told"
        "  from pg_catalog.unnest($2) message_id, lateral (select * from sor.outbox o where o.tenant_id = $1"
        "    and o.id = message_id offset 0) o offset 0) m")),
    {UUIDOID, UUIDARRAYOID});

void find_difference(bridge::statement& difference, const pg_uuid_t& tenant, const bridge::array_builder& ids,
                     verdict& out) {
    static constexpr const char* places[] = {"runs", "turns", "tool_calls", "outbox"};
    const auto rows = difference.look(in(tenant), in(ids.done()));
    if (!rows.empty()) {
        out.table = places[rows.integer(0, 1)];
        pg_uuid_t row = {};
        if (const char* id = rows.string_or_null(0, 2))
            bridge::parse_uuid(id, row);
        out.found(rows.uuid(0, 6), 0, &row,
                  rows.boolean(0, 4) ? psprintf("its events tell of a row of %s that is gone", out.table)
                  : rows.boolean(0, 5)
                      ? psprintf("it has a row of %s that no event tells of", out.table)
                      : psprintf("its row of %s is not what its events tell: %s", out.table, rows.string(0, 3)));
    }
    rows.free(); // one for each page
}

// Same, of the rows first to last of the page of ids. Where events say what cannot stand in a row, for their chain was
// made by somebody else, the comparison ends with an error: it is repeated thing by thing, to name the one.
void find_difference(bridge::statement& difference, const pg_uuid_t& tenant, const bridge::result& page, uint64 first,
                     uint64 last, verdict& out) {
    bridge::array_builder ids(bridge::array_of_uuid, static_cast<int>(last - first));
    for (uint64 i = first; i < last; ++i)
        ids.add(page.column(i, 1));
    ErrorData* failure = bridge::attempt([&] { find_difference(difference, tenant, ids, out); });
    if (failure == nullptr)
        return;
    if (ERRCODE_TO_CATEGORY(failure->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
        ReThrowError(failure);
    if (last - first == 1)
        out.found(page.uuid(first, 1), 0, nullptr,
                  psprintf("what its events say cannot stand in a row: %s", failure->message));
    for (uint64 i = first; i < last && !out.bad; ++i)
        find_difference(difference, tenant, page, i, i + 1, out);
}

// Each row of the journal and each message against what the events tell. run null: all of the tenant's.
void verify_rows(const pg_uuid_t& tenant, const pg_uuid_t* run, verdict& out) {
    static bridge::statement runs("select id from sor.runs where tenant_id = $1 order by id", {UUIDOID});
    static bridge::statement one_run("select id from sor.runs where tenant_id = $1 and id = $2", {UUIDOID, UUIDOID});
    static bridge::statement messages("select id from sor.outbox where tenant_id = $1 order by id", {UUIDOID});
    static bridge::statement messages_of_run(
        "select id from sor.outbox where tenant_id = $1 and run_id = $2 order by id", {UUIDOID, UUIDOID});
    // Few at a time, for a run may have any number of turns and calls.
    for_each_page(run ? one_run.open(in(tenant), in(*run)) : runs.open(in(tenant)), 50,
                  [&](const bridge::result& page) {
                      if (!out.bad)
                          find_difference(difference_of_runs, tenant, page, 0, page.count, out);
                  });
    for_each_page(run ? messages_of_run.open(in(tenant), in(*run)) : messages.open(in(tenant)), 1000,
                  [&](const bridge::result& page) {
                      if (!out.bad)
                          find_difference(difference_of_messages, tenant, page, 0, page.count, out);
                  });
}

#define EVENTS_TO_VERIFY "select " SOR_HASHED_COLUMNS ", prev_hash, hash from sor.agent_events where tenant_id = $1"

// run null: all of the tenant's. One pass over the events beside one over the tables, both in the order of the streams.
void verify(const pg_uuid_t& tenant, const pg_uuid_t* run, verdict& out) {
    static bridge::statement all(EVENTS_TO_VERIFY " order by stream_id, seq", {UUIDOID});
    static bridge::statement some(EVENTS_TO_VERIFY " and stream_id = any ($2) order by stream_id, seq",
                                  {UUIDOID, UUIDARRAYOID});
    static bridge::statement streams_of("select pg_catalog.array_agg(id) from (select $2 as id union select stream_id "
                                        "from sor.agent_events where tenant_id = $1 and run_id = $2"
                                        " union select id from sor.outbox where tenant_id = $1 and run_id = $2) x",
                                        {UUIDOID, UUIDOID});
    static bridge::statement all_tables(state::of_tenant, {UUIDOID});
    static bridge::statement some_tables(state::of_run, {UUIDOID, UUIDOID});

    bridge::cursor events =
        run ? some.open(in(tenant), streams_of.look(in(tenant), in(run)).column(0, 1)) : all.open(in(tenant));
    state tables(run ? some_tables.open(in(tenant), in(run)) : all_tables.open(in(tenant)));
    chain last;
    for_each(events, [&](const bridge::result& found, uint64 i) {
        if (!last.any || !bridge::equal(last.stream, found.uuid(i, 2))) {
            if (last.any)
                conclude(last, tables, out);
            last = {};
            last.any = true;
            last.stream = found.uuid(i, 2);
        }
        examine(found, i, last, out);
    });
    if (last.any)
        conclude(last, tables, out);
    chain beyond;
    memset(beyond.stream.data, 0xff, UUID_LEN);
    conclude(beyond, tables, out);
    tables.close();
    if (!out.bad)
        verify_rows(tenant, run, out);
}

bool has_run(const pg_uuid_t& tenant, const pg_uuid_t& run) {
    static bridge::statement find("select from sor.runs where tenant_id = $1 and id = $2", {UUIDOID, UUIDOID});
    return !find.look(in(tenant), in(run)).empty();
}

// Events of a run, and not of a message or another thing of that id.
bool has_events(const pg_uuid_t& tenant, const pg_uuid_t& run) {
    static bridge::statement find(
        "select from sor.agent_events where tenant_id = $1 and stream_id = $2 and run_id = $2 limit 1",
        {UUIDOID, UUIDOID});
    return !find.look(in(tenant), in(run)).empty();
}

Jsonb* first_bad(const verdict& v) {
    if (!v.bad)
        return nullptr;
    bridge::json_writer w;
    w.object().field("stream_id", v.stream).key("seq");
    v.seq != 0 ? w.integer(v.seq) : w.null();
    w.key("id");
    bridge::is_nil(v.id) ? w.null() : w.string(bridge::to_cstring(v.id));
    return w.field("problem", v.problem).end().done();
}

// ---------------------------------------------------------------- report

std::string_view text_of(const bridge::result& rows, int column, uint64 row = 0) {
    const char* s = rows.empty() ? nullptr : rows.string_or_null(row, column);
    return s ? std::string_view(s) : std::string_view();
}

// The row that these columns name; the second, where given, is an event's seq.
row_name row_of(const char* table, const bridge::result& rows, int id, int seq = 0, uint64 row = 0) {
    if (rows.empty() || rows.null(row, id))
        return {table, {}, 0};
    return {table, text_of(rows, id, row), seq == 0 || rows.null(row, seq) ? 0 : rows.bigint(row, seq)};
}

// The rows (name, count) of the result.
std::span<const counted> counts_of(const bridge::result& rows) {
    auto* list = static_cast<counted*>(palloc0(sizeof(counted) * (rows.count + 1)));
    for (uint64 i = 0; i < rows.count; ++i)
        list[i] = {rows.string(i, 1), rows.bigint(i, 2)};
    return {list, rows.count};
}

// Whether the same request, tried again by this run or another, has succeeded. A scalar subquery: as an EXISTS it might
// be hashed, with all calls of the tenant.
#define MENDED                                                                                                         \
    "coalesce((select true from sor.tool_calls l where l.tenant_id = c.tenant_id and l.request_id = c.request_id"      \
    " and l.status = 'succeeded' and l.id > c.id limit 1), false)"

void gather_calls(const pg_uuid_t& tenant, const pg_uuid_t& run, run_facts& f) {
    static bridge::statement about_calls(
        "select tool, count(*), count(*) filter (where status = 'failed'), count(*) filter (where status = 'refused'),"
        " count(*) filter (where status = 'unknown'), count(*) filter (where status = 'started'),"
        " count(*) filter (where status = 'mended')"
        "  from (select tool, case when status in ('failed', 'refused', 'unknown') and " MENDED " then 'mended' else "
        "status end as status"
        "          from sor.tool_calls c where tenant_id = $1 and run_id = $2) x group by tool order by tool",
        {UUIDOID, UUIDOID});
    const auto calls = about_calls.look(in(tenant), in(run));
    f.calls = counts_of(calls);
    for (uint64 i = 0; i < calls.count; ++i) {
        f.failed += calls.bigint(i, 3);
        f.refused += calls.bigint(i, 4);
        f.unknown += calls.bigint(i, 5);
        f.open += calls.bigint(i, 6);
        f.mended_calls += calls.bigint(i, 7);
    }
    if (f.failed + f.refused + f.unknown > 0) {
        static bridge::statement about_bad(
            "select tool, status, request_id::text, turn_no, coalesce(error ->> 'message', error #>> '{}'), error ->> "
            "'sqlstate', c.id::text as name, c.id"
            "  from sor.tool_calls c where tenant_id = $1 and run_id = $2 and status in ('failed', 'refused', "
            "'unknown') and not " MENDED " order by status = 'unknown', c.id desc limit 1",
            {UUIDOID, UUIDOID});
        const auto bad = about_bad.look(in(tenant), in(run));
        f.bad_tool = text_of(bad, 1);
        f.bad_status = text_of(bad, 2);
        f.bad_request = text_of(bad, 3);
        f.bad_turn = bad.integer(0, 4);
        f.bad_message = text_of(bad, 5);
        f.bad_sqlstate = text_of(bad, 6);
        f.bad_call = row_of("tool_calls", bad, 7);
        static bridge::statement its_event(
            "select id::text, seq from sor.agent_events where tenant_id = $1 and stream_id = $2 and tool_call_id = $3"
            " order by seq desc limit 1",
            {UUIDOID, UUIDOID, UUIDOID});
        f.bad_call_event = row_of("agent_events", its_event.look(in(tenant), in(run), bad.column(0, 8)), 1, 2);
    }
    static bridge::statement about_last(
        "select tool, request_id::text, c.id::text from sor.tool_calls c where tenant_id = $1 and run_id = $2"
        " and status = $3 and not " MENDED " order by c.id desc limit 1",
        {UUIDOID, UUIDOID, TEXTOID});
    if (f.open > 0) {
        const auto open = about_last.look(in(tenant), in(run), in("started"));
        f.open_tool = text_of(open, 1);
        f.open_request = text_of(open, 2);
    }
    if (f.unknown > 0) {
        const auto unknown = about_last.look(in(tenant), in(run), in("unknown"));
        f.unknown_tool = text_of(unknown, 1);
        f.unknown_request = text_of(unknown, 2);
        f.unknown_call = row_of("tool_calls", unknown, 3);
    }
}

// What became of the items that failed here is in sor.item_failures, which keeps those that nobody has completed or put
// back since.
void gather_items(const pg_uuid_t& tenant, const pg_uuid_t& run, run_facts& f) {
    static bridge::statement about_completed("select count(*) from sor.agent_events where tenant_id = $1 and "
                                             "stream_id = $2 and event_type = 'item.completed'",
                                             {UUIDOID, UUIDOID});
    f.items_completed = about_completed.look(in(tenant), in(run)).bigint(0, 1);
    static bridge::statement about_failed(
        "select x.item_id, x.queue, x.error, x.id::text, x.seq, f.dead"
        "  from (select distinct on (payload ->> 'queue', payload ->> 'item_id') payload ->> 'item_id' as item_id,"
        "               payload ->> 'queue' as queue, payload ->> 'error' as error, id, seq from sor.agent_events"
        "         where tenant_id = $1 and stream_id = $2 and event_type in ('item.failed', 'item.dead')"
        "         order by payload ->> 'queue', payload ->> 'item_id', seq desc) x"
        "  left join lateral (select f.dead from sor.item_failures f where f.tenant_id = $1 and f.queue = x.queue and "
        "f.item_id = x.item_id limit 1) f on true order by x.seq desc",
        {UUIDOID, UUIDOID});
    const auto failed = about_failed.look(in(tenant), in(run));
    for (uint64 i = 0; i < failed.count; ++i) {
        if (failed.null(i, 6)) {
            ++f.items_settled;
            continue;
        }
        const bool dead = failed.boolean(i, 6);
        if (dead ? f.items_dead++ > 0 : f.items_failed++ > 0)
            continue;
        (dead ? f.dead_item : f.bad_item) = text_of(failed, 1, i);
        (dead ? f.dead_queue : f.bad_queue) = text_of(failed, 2, i);
        (dead ? f.dead_item_error : f.bad_item_error) = text_of(failed, 3, i);
        (dead ? f.dead_item_event : f.bad_item_event) = row_of("agent_events", failed, 4, 5, i);
    }
}

void gather_events(const pg_uuid_t& tenant, const pg_uuid_t& run, run_facts& f) {
    gather_items(tenant, run, f);
    static bridge::statement about_events(
        "select event_type, " LOCAL_TEXT("created_at") ", id::text, seq from sor.agent_events"
                                                       " where tenant_id = $1 and stream_id = $2 order by seq desc "
                                                       "limit 1",
        {UUIDOID, UUIDOID});
    const auto last = about_events.look(in(tenant), in(run));
    f.last_event = text_of(last, 1);
    f.last_event_at = text_of(last, 2);
    f.last_row = row_of("agent_events", last, 3, 4);
    if (f.resumptions > 0) {
        static bridge::statement about_gap(
            "select payload #>> '{gap,from}', payload #>> '{gap,to}', payload #>> '{gap,unended_turn}', id::text, seq"
            "  from sor.agent_events where tenant_id = $1 and stream_id = $2 and event_type = 'run.resumed'"
            " order by seq desc limit 1",
            {UUIDOID, UUIDOID});
        const auto gap = about_gap.look(in(tenant), in(run));
        f.gap_from = local_text(text_of(gap, 1));
        f.gap_to = local_text(text_of(gap, 2));
        f.gap_turn = text_of(gap, 3);
        f.resumed = row_of("agent_events", gap, 4, 5);
    }
    static bridge::statement about_outside(
        "select coalesce(payload ->> 'tool', ''), count(*) from sor.agent_events"
        " where tenant_id = $1 and stream_id = $2 and event_type = 'tool_call.started' group by 1 order by 1",
        {UUIDOID, UUIDOID});
    f.outside_calls = counts_of(about_outside.look(in(tenant), in(run)));
}

void gather_messages(const pg_uuid_t& tenant, const pg_uuid_t& run, run_facts& f) {
    static bridge::statement about_messages(
        "select count(*) filter (where status = 'pending'), count(*) filter (where status = 'dispatched'),"
        " count(*) filter (where status = 'dead'), count(*) filter (where status = 'pending' and last_error is not "
        "null), " LOCAL_TEXT("max(processed_at) filter (where status = 'dispatched')") "  from sor.outbox where "
                                                                                       "tenant_id = $1 and run_id = $2",
        {UUIDOID, UUIDOID});
    const auto messages = about_messages.look(in(tenant), in(run));
    f.pending = messages.bigint(0, 1);
    f.dispatched = messages.bigint(0, 2);
    f.dead = messages.bigint(0, 3);
    f.failed_sends = messages.bigint(0, 4);
    f.delivered_at = text_of(messages, 5);
    static bridge::statement about_one("select destination, last_error, o.id::text from sor.outbox o where tenant_id = "
                                       "$1 and run_id = $2 and status = "
                                       "$3 and ($3 = 'dead' or last_error is not null) order by o.id desc limit 1",
                                       {UUIDOID, UUIDOID, TEXTOID});
    if (f.dead > 0) {
        const auto dead = about_one.look(in(tenant), in(run), in("dead"));
        f.dead_destination = text_of(dead, 1);
        f.dead_error = text_of(dead, 2);
        f.dead_message = row_of("outbox", dead, 3);
    }
    if (f.failed_sends > 0) {
        const auto pending = about_one.look(in(tenant), in(run), in("pending"));
        f.pending_error = text_of(pending, 2);
        f.pending_message = row_of("outbox", pending, 3);
    }
    static bridge::statement about_delivered(
        "select pg_catalog.format('%s \"%s\"', pg_catalog.left(destination, 60), pg_catalog.left(event_type, 60)), "
        "count(*)"
        "  from sor.outbox where tenant_id = $1 and run_id = $2 and status = 'dispatched' group by 1 order by 2 desc, "
        "1",
        {UUIDOID, UUIDOID});
    f.delivered = counts_of(about_delivered.look(in(tenant), in(run)));
}

// What an operator has paused of what the next action needs.
void gather_pauses(run_facts& f) {
    static bridge::statement about_pauses(
        "select pg_catalog.string_agg(pg_catalog.format('%s by %s: %s', case when kind = 'tenant' then 'the tenant' "
        "else pg_catalog.format('queue \"%s\"', subject) end, paused_by, reason), '; ' order by paused_at)"
        "  from sor.pauses where (kind = 'tenant' and subject = $1) or (kind = 'queue' and subject in ($2, $3))",
        {TEXTOID, TEXTOID, TEXTOID});
    f.paused =
        text_of(about_pauses.look(in(f.tenant_id), in(f.queue), in(f.pending + f.dead > 0 ? "outbox" : nullptr)), 1);
}

// Raises, for there is no such run in the journal.
[[noreturn]] void missing_run(const pg_uuid_t& tenant, const pg_uuid_t& run) {
    if (!has_events(tenant, run))
        no_such_run(run);
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("the row of run %s is gone", bridge::to_cstring(run)),
                    errdetail("Its events are there: somebody has changed the journal."),
                    errhint("See sor.verify_events, and sor.replay for what the events tell.")));
    pg_unreachable();
}

// Fills the facts; returns the run's row as jsonb.
Jsonb* gather(const pg_uuid_t& tenant, const pg_uuid_t& run, run_facts& f) {
    static bridge::statement about_run(
        "select pg_catalog.to_jsonb(r), r.worker, r.run_key, t.name, u.email, "
        "r.status, " LOCAL_TEXT("r.started_at") ", " LOCAL_TEXT(
            "r.finished_at") ", pg_catalog.to_char(pg_catalog.make_interval(secs => extract(epoch from "
                             "r.finished_at - r.started_at)::float8), 'HH24:MI:SS.MS'), " LOCAL_TEXT(
                                 "r.lease_until") ", r.status = 'running' and r.lease_until <= "
                                                  "pg_catalog.clock_timestamp(), r.resumptions, "
                                                  "coalesce(r.error ->> 'message', r.error ->> "
                                                  "'reason', "
                                                  "r.error #>> '{}'), r.error ->> 'cancelled_by', "
                                                  "r.on_behalf_of::text, coalesce(r.input ->> "
                                                  "'queue',"
                                                  " (select c.arguments ->> 'queue' from "
                                                  "sor.tool_calls c where c.tenant_id = $1 and "
                                                  "c.run_id = $2"
                                                  "     and c.tool = 'claim' and c.status = "
                                                  "'succeeded' order by c.id limit 1)), r.input ? "
                                                  "'client'"
                                                  "  from sor.runs r join sor.tenants t using "
                                                  "(tenant_id)"
                                                  "  left join sor.users u on u.tenant_id = "
                                                  "r.tenant_id and u.id = r.on_behalf_of"
                                                  " where r.tenant_id = $1 and r.id = $2",
        {UUIDOID, UUIDOID});
    const auto r = about_run.look(in(tenant), in(run));
    if (r.empty())
        missing_run(tenant, run);
    f.run_id = bridge::to_cstring(run);
    f.tenant_id = bridge::to_cstring(tenant);
    f.worker = text_of(r, 2);
    f.run_key = text_of(r, 3);
    f.tenant = text_of(r, 4);
    f.user = text_of(r, 5);
    f.status = text_of(r, 6);
    f.started_at = text_of(r, 7);
    f.finished_at = text_of(r, 8);
    f.duration = text_of(r, 9);
    f.lease_until = text_of(r, 10);
    f.lapsed = r.boolean(0, 11);
    f.resumptions = r.integer(0, 12);
    f.error = text_of(r, 13);
    f.cancelled_by = text_of(r, 14);
    f.user_id = text_of(r, 15);
    f.queue = text_of(r, 16);
    f.is_client = r.boolean(0, 17);

    static bridge::statement about_turns("select count(*), count(*) filter (where status = 'succeeded'),"
                                         " coalesce(max(turn_no) filter (where status <> 'succeeded'), 0)"
                                         "  from sor.turns where tenant_id = $1 and run_id = $2",
                                         {UUIDOID, UUIDOID});
    const auto turns = about_turns.look(in(tenant), in(run));
    f.turns = turns.bigint(0, 1);
    f.finished_turns = turns.bigint(0, 2);
    f.open_turn = turns.integer(0, 3);
    gather_calls(tenant, run, f);
    gather_events(tenant, run, f);
    gather_messages(tenant, run, f);
    gather_pauses(f);
    return r.json(0, 1);
}

void gather_verdict(const verdict& v, run_facts& f) {
    f.tampered = v.bad;
    if (!v.bad)
        return;
    f.problem = MemoryContextStrdup(CurrentMemoryContext, v.problem);
    f.bad_stream = bridge::to_cstring(v.stream);
    f.bad_row = {v.table, bridge::is_nil(v.id) ? "" : bridge::to_cstring(v.id), v.seq};
}

Jsonb* summary_json(const run_facts& f) {
    const summary s = summarize(f, find_cause(f));
    const std::string_view lines[] = {s.run,           s.scope,        s.timeline,
                                      s.failure_point, s.side_effects, s.cause_and_next_action};
    return bridge::call([&lines] {
        static const char* const names[] = {"run",           "scope",        "timeline",
                                            "failure_point", "side_effects", "cause_and_next_action"};
        bridge::json_writer w;
        w.object();
        for (int i = 0; i < 6; ++i)
            w.field(names[i], lines[i]);
        return w.end().done();
    });
}

Jsonb* finding_json(const run_facts& f) {
    const finding found = find_cause(f);
    const std::string_view lines[] = {name_of(found.kind), found.root_cause, found.next_action, found.command};
    const std::span<const piece_of_evidence> evidence = found.evidence;
    return bridge::call([&lines, &evidence] {
        bridge::json_writer w;
        w.object().field("kind", lines[0]).field("root_cause", lines[1]).key("evidence").array();
        for (const piece_of_evidence& e : evidence) {
            w.object().field("table", e.row.table).field("id", e.row.id).key("seq");
            e.row.seq > 0 ? w.integer(e.row.seq) : w.null();
            w.field("says", e.says).end();
        }
        w.end().field("next_action", lines[2]).key("command");
        lines[3].empty() ? w.null() : w.string(lines[3]);
        return w.end().done();
    });
}

Jsonb* verdict_json(const verdict& v) {
    bridge::json_writer w;
    return w.object()
        .field("streams", v.streams)
        .field("events", v.events)
        .field("first_bad", first_bad(v))
        .end()
        .done();
}

// The objects that are the rows, as an array.
Jsonb* array_of(bridge::cursor rows) {
    bridge::json_joiner joined;
    for_each(rows, [&](const bridge::result& found, uint64 i) { joined.add(found.json(i, 1)); });
    return joined.done();
}

} // namespace
} // namespace sor::forensics

using namespace sor;
using namespace sor::forensics;

SOR_FUNCTION(replay) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& run = a.uuid(1, "run_id");
    bridge::rowset rows(fcinfo);
    context::inspection(tenant, [&](MemoryContext) {
        static bridge::statement find(
            "select e.seq, e.created_at, e.on_behalf_of, " TOLD_COLUMNS
            "  from sor.agent_events e where e.tenant_id = $1 and e.run_id = $2 order by e.id",
            {UUIDOID, UUIDOID});
        if (!for_each(find.open(in(tenant), in(run)), [&](const bridge::result& found, uint64 i) {
                rows.add({found.column(i, 1), found.column(i, 2), found.column(i, 4), found.column(i, 5),
                          found.column(i, 6), found.column(i, 3), in(narrative_of(found, i, 4))});
            }))
            no_such_run(run);
    });
    return 0;
}

SOR_FUNCTION(what_happened) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const TimestampTz since = a.time(1, "since");
    const TimestampTz until = a.time(2, "until");
    const int max = a.integer(3, "max");
    if (max < 1)
        bridge::raise(code::invalid_parameter, "max must be at least 1", nullptr, "Give the number of events to list.");
    if (since > until)
        bridge::raise(code::invalid_parameter, "until is before since", nullptr, "Give the earlier moment first.");
    const pg_uuid_t floor = bridge::uuid_v7_floor(since);
    const pg_uuid_t ceiling = bridge::uuid_v7_floor(until);
    bridge::rowset rows(fcinfo);
    const auto look = [&](MemoryContext) {
        static bridge::statement find(
            "select e.created_at, e.run_id, " TOLD_COLUMNS
            "  from sor.agent_events e where e.tenant_id = $1 and e.id >= $2 and e.id < $3 order by e.id limit $4",
            {UUIDOID, UUIDOID, UUIDOID, INT4OID});
        for_each(find.open(in(tenant), in(floor), in(ceiling), in(max)), [&](const bridge::result& found, uint64 i) {
            rows.add({found.column(i, 1), found.column(i, 2), found.column(i, 3), found.column(i, 5),
                      in(narrative_of(found, i, 3))});
        });
    };
    // The system is no tenant: whoever may call this may read what happened to it.
    if (bridge::equal(tenant, context::system_tenant))
        context::administration(tenant, "user", look);
    else
        context::inspection(tenant, look);
    return 0;
}

SOR_FUNCTION(rebuild_run) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& run = a.uuid(1, "run_id");
    return JsonbPGetDatum(context::inspection(tenant, [&](MemoryContext caller) -> Jsonb* {
        static bridge::statement of_run("select pg_catalog.to_jsonb(told) from " RUNS_TOLD, {UUIDOID, UUIDARRAYOID});
        static bridge::statement of_turns("select pg_catalog.to_jsonb(told) from " TURNS_TOLD " order by turn_no",
                                          {UUIDOID, UUIDARRAYOID});
        static bridge::statement of_calls("select pg_catalog.to_jsonb(told) from " CALLS_TOLD " order by id",
                                          {UUIDOID, UUIDARRAYOID});
        bridge::array_builder only(bridge::array_of_uuid, 1);
        only.add(in(run));
        const bridge::value runs = in(only.done());
        const auto found = of_run.look(in(tenant), runs);
        if (found.empty())
            no_such_run(run);
        return bridge::join_object({{"run", found.json(0, 1)},
                                    {"turns", array_of(of_turns.open(in(tenant), runs))},
                                    {"tool_calls", array_of(of_calls.open(in(tenant), runs))}},
                                   caller);
    }));
}

SOR_FUNCTION(forensic_report) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& run = a.uuid(1, "run_id");
    return JsonbPGetDatum(context::inspection(tenant, [&](MemoryContext caller) -> Jsonb* {
        static bridge::statement calls(
            "select pg_catalog.to_jsonb(x) from (select c.*, t.status as turn_status from sor.tool_calls c"
            "   left join sor.turns t using (tenant_id, run_id, turn_no)"
            "   where c.tenant_id = $1 and c.run_id = $2) x order by id",
            {UUIDOID, UUIDOID});
        static bridge::statement messages(
            "select pg_catalog.to_jsonb(o) from sor.outbox o where tenant_id = $1 and run_id = $2 order by id",
            {UUIDOID, UUIDOID});
        static bridge::statement turns(
            "select pg_catalog.to_jsonb(t) from sor.turns t where tenant_id = $1 and run_id = $2 order by turn_no",
            {UUIDOID, UUIDOID});
        static bridge::statement happenings(
            "select pg_catalog.jsonb_build_object('id', e.id, 'stream_id', e.stream_id, 'seq', e.seq, 'created_at', "
            "e.created_at, 'event_type', e.event_type, 'actor_kind', e.actor_kind, 'actor', e.actor, 'on_behalf_of', "
            "e.on_behalf_of, 'turn_no', e.turn_no, 'tool_call_id', e.tool_call_id, 'message_id', e.message_id, "
            "'payload', e.payload), " TOLD_COLUMNS
            "  from sor.agent_events e where e.tenant_id = $1 and e.run_id = $2 order by e.id",
            {UUIDOID, UUIDOID});
        run_facts facts;
        const Jsonb* row = gather(tenant, run, facts);
        verdict v;
        verify(tenant, &run, v);
        gather_verdict(v, facts);
        bridge::json_joiner events;
        for_each(happenings.open(in(tenant), in(run)), [&](const bridge::result& rows, uint64 i) {
            bridge::json_writer told;
            told.object().key("narrative").string(bridge::view(narrative_of(rows, i, 2))).end();
            events.add(DatumGetJsonbP(
                DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(rows.json(i, 1)), JsonbPGetDatum(told.done()))));
        });
        bridge::json_writer names;
        names.object().field("tenant", facts.tenant).key("on_behalf_of");
        facts.user.empty() ? names.null() : names.string(facts.user);
        return bridge::join_object({{"run", row},
                                    {"names", names.end().done()},
                                    {"turns", array_of(turns.open(in(tenant), in(run)))},
                                    {"events", events.done()},
                                    {"outbox", array_of(messages.open(in(tenant), in(run)))},
                                    {"finding", finding_json(facts)},
                                    {"summary", summary_json(facts)},
                                    {"tool_calls", array_of(calls.open(in(tenant), in(run)))},
                                    {"verification", verdict_json(v)}},
                                   caller);
    }));
}

SOR_FUNCTION(verify_events) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t* run = a.uuid_or_null(1);
    const auto look = [&](MemoryContext) -> verdict {
        verdict out;
        if (run != nullptr && !has_run(tenant, *run) && !has_events(tenant, *run))
            no_such_run(*run);
        verify(tenant, run, out);
        // For whoever watches. Under REPEATABLE READ the row of a verification in between could not be replaced.
        if (run == nullptr && !XactReadOnly && !IsolationUsesXactSnapshot()) {
            static bridge::statement note(
                "insert into sor.verifications (tenant_id, verified_at, whole) values ($1, $2, $3)"
                " on conflict (tenant_id) do update set verified_at = excluded.verified_at,"
                " whole = excluded.whole",
                {UUIDOID, TIMESTAMPTZOID, BOOLOID});
            note.run(in(tenant), bridge::in_time(GetCurrentTimestamp()), in(!out.bad));
        }
        return out;
    };
    // The system's stream is no tenant's: whoever may call this may verify it.
    const verdict v = bridge::equal(tenant, context::system_tenant) ? context::administration(tenant, "user", look)
                                                                    : context::inspection(tenant, look);
    const bridge::value columns[] = {in(v.streams), in(v.events), in(first_bad(v))};
    return bridge::composite(fcinfo, columns, 3);
}

// ---------------------------------------------------------------- doctor

namespace sor::forensics {
namespace {

// Each returns what is wrong, as text, or null; a table or function of the extension is meant unless said otherwise.
struct check {
    const char* name;
    const char* good; // evidence when nothing is wrong
    const char* fix;
    bridge::statement find;
};

constinit check checks[] = {
    {"row_security",
     "every table with a tenant_id is under forced row security, or for sor_engine alone",
     "Run sor.protect_tenant on the table as its owner.",
     {"select pg_catalog.string_agg(c.oid::regclass::text, ', ' order by c.relname) from pg_catalog.pg_class c"
      "  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped"
      " where c.relnamespace = 'sor'::regnamespace and c.relkind in ('r', 'p')"
      "   and not (c.relrowsecurity and c.relforcerowsecurity"
      "            and exists (select from pg_catalog.pg_policy p where p.polrelid = c.oid and p.polname = "
      "'tenant_isolation'))"
      "   and exists (select from pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) x"
      "                where x.grantee not in (c.relowner, 'sor_engine'::regrole))",
      {}}},
    {"registered_row_security",
     "every registered table and queue is under forced row security",
     "Run sor.protect_tenant on the table as its owner.",
     {"select pg_catalog.string_agg(r.target, ', ' order by r.target)"
      "  from (select target from sor.registered_tables union select target from sor.queues) r"
      "  join pg_catalog.pg_namespace n on true join pg_catalog.pg_class c on c.relnamespace = n.oid"
      " where pg_catalog.format('%I.%I', n.nspname, c.relname) = r.target and not (c.relrowsecurity and "
      "c.relforcerowsecurity)",
      {}}},
    {"append_only_guard",
     "sor.agent_events refuses UPDATE, DELETE and TRUNCATE, in replica sessions too",
     "As a superuser: select sor.protect_append_only('sor.agent_events'); then look for what was changed with "
     "sor.verify_events.",
     {"select case when count(*) < 2 then 'the guard of sor.agent_events is missing or not ENABLE ALWAYS' end"
      "  from pg_catalog.pg_trigger where tgrelid = 'sor.agent_events'::regclass and tgenabled = 'A'"
      "   and tgname in ('append_only_rows', 'append_only_truncate')",
      {}}},
    {"drop_guard",
     "the drop guard's event triggers and its triggers at TRUNCATE fire in every session",
     "As a superuser, with sor.drop_guard = off: ALTER EVENT TRIGGER … ENABLE ALWAYS, ALTER TABLE … ENABLE ALWAYS "
     "TRIGGER "
     "sor_refuse_truncate.",
     {"select nullif(pg_catalog.concat_ws(', ',"
      "   (select pg_catalog.string_agg('event trigger ' || name, ', ' order by name)"
      "      from pg_catalog.unnest(array['sor_drop_guard', 'sor_drop_guard_child', 'sor_drop_guard_done']) name"
      "     where not exists (select from pg_catalog.pg_event_trigger e where e.evtname = name and e.evtenabled = "
      "'A')),"
      "   (select pg_catalog.string_agg(t.tgrelid::regclass::text, ', ' order by t.tgrelid::regclass::text)"
      "      from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid"
      "     where p.pronamespace = 'sor'::regnamespace and p.proname = 'refuse_truncate' and t.tgenabled <> 'A')), '')",
      {}}},
    {"engine",
     "sor_engine cannot log in, holds no power beyond its tables, has no members and owns no table",
     "ALTER ROLE sor_engine NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION; revoke its "
     "memberships, give its tables another owner.",
     {"select nullif(pg_catalog.concat_ws(', ', case when r.rolcanlogin then 'it can log in' end, case when r.rolsuper "
      "then 'it is superuser' end,"
      "   case when r.rolbypassrls then 'it bypasses row security' end, case when r.rolcreaterole then 'it can create "
      "roles' end,"
      "   case when r.rolreplication then 'it can replicate' end,"
      "   (select 'its members are ' || pg_catalog.string_agg(m.member::regrole::text, ', ') from "
      "pg_catalog.pg_auth_members m where m.roleid = r.oid),"
      "   (select 'it is a member of ' || pg_catalog.string_agg(m.roleid::regrole::text, ', ') from "
      "pg_catalog.pg_auth_members m where m.member = r.oid),"
      "   (select 'it owns ' || pg_catalog.string_agg(c.oid::regclass::text, ', ') from pg_catalog.pg_class c"
      "     where c.relowner = r.oid and c.relkind in ('r', 'p'))), '')"
      "  from pg_catalog.pg_roles r where r.rolname = 'sor_engine'",
      {}}},
    {"functions",
     "every function belongs to sor_engine and is closed to PUBLIC but for the four that policies and defaults call",
     "ALTER FUNCTION … OWNER TO sor_engine; REVOKE EXECUTE … FROM PUBLIC.",
     {"select pg_catalog.string_agg(p.oid::regprocedure::text, ', ' order by p.proname) from pg_catalog.pg_proc p"
      " where p.pronamespace = 'sor'::regnamespace"
      "   and (p.proowner <> 'sor_engine'::regrole"
      "        or (p.proname not in ('current_tenant', 'current_user_id', 'current_actor_kind', 'uuid_v7')"
      "            and exists (select from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', "
      "p.proowner))) x"
      "                         where x.grantee = 0 and x.privilege_type = 'EXECUTE')))",
      {}}},
    {"table_privileges",
     "nobody but sor_engine may write a table of sor",
     "REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON … FROM …",
     {"select pg_catalog.string_agg(distinct pg_catalog.format('%s on %s', case x.grantee when 0 then 'PUBLIC' else "
      "x.grantee::regrole::text end, c.oid::regclass), ', ')"
      "  from pg_catalog.pg_class c,"
      "       pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault(case c.relkind when 'S' then 's' else 'r' "
      "end::\"char\", c.relowner))) x"
      " where c.relnamespace = 'sor'::regnamespace and c.relkind in ('r', 'p', 'S') and x.privilege_type <> 'SELECT'"
      "   and x.grantee not in (c.relowner, 'sor_engine'::regrole)",
      {}}},
    {"logins",
     "no login of a sor role is superuser or bypasses row security, but for operators",
     "Give the Worker, relay, backend or auditor a login of its own, without those attributes.",
     {"select pg_catalog.string_agg(r.rolname, ', ' order by r.rolname) from pg_catalog.pg_roles r"
      " where r.rolcanlogin and (r.rolsuper or r.rolbypassrls)"
      "   and exists (select from pg_catalog.pg_auth_members m where m.member = r.oid"
      "                  and m.roleid in ('sor_worker'::regrole, 'sor_app'::regrole, 'sor_relay'::regrole, "
      "'sor_auditor'::regrole))",
      {}}},
    {"registrations",
     "every registered table, queue and tool is there",
     "Register it again under its new name, or unregister it.",
     {"select pg_catalog.string_agg(x.what, ', ' order by x.what) from ("
      "  select 'table ' || r.name as what from sor.registered_tables r where not exists (select from "
      "pg_catalog.pg_class c"
      "    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where pg_catalog.format('%I.%I', n.nspname, "
      "c.relname) = r.target)"
      "  union all select 'queue ' || q.name from sor.queues q where not exists (select from pg_catalog.pg_class c"
      "    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where pg_catalog.format('%I.%I', n.nspname, "
      "c.relname) = q.target)"
      "  union all select 'tool ' || t.name from sor.tools t where t.function is not null and not exists (select from "
      "pg_catalog.pg_proc p"
      "    join pg_catalog.pg_namespace n on n.oid = p.pronamespace"
      "    where pg_catalog.format('%I.%I(jsonb)', n.nspname, p.proname) = t.function and p.proargtypes = '3802')) x",
      {}}},
    {"owners",
     "the owners of registered tables, queues and tools are ordinary roles",
     "Give it to a role that is neither superuser, nor BYPASSRLS, nor member of a sor role.",
     {"select pg_catalog.string_agg(distinct pg_catalog.format('%s of %s', r.rolname, x.what), ', ')"
      "  from (select c.relowner as owner, t.target as what from (select target from sor.registered_tables union "
      "select target from sor.queues) t,"
      "               pg_catalog.pg_class c, pg_catalog.pg_namespace n"
      "         where n.oid = c.relnamespace and pg_catalog.format('%I.%I', n.nspname, c.relname) = t.target"
      "        union all select p.proowner, t.function from sor.tools t, pg_catalog.pg_proc p, pg_catalog.pg_namespace "
      "n"
      "         where n.oid = p.pronamespace and pg_catalog.format('%I.%I(jsonb)', n.nspname, p.proname) = t.function "
      "and p.proargtypes = '3802') x"
      "  join pg_catalog.pg_roles r on r.oid = x.owner"
      " where r.rolsuper or r.rolbypassrls or exists (select from pg_catalog.pg_roles s"
      "         where s.rolname in ('sor_engine', 'sor_worker', 'sor_app', 'sor_relay', 'sor_auditor', 'sor_operator')"
      "           and pg_catalog.pg_has_role(r.oid, s.oid, 'member'))",
      {}}},
    {"queue_triggers",
     "the triggers of every queue are ENABLE ALWAYS",
     "Run sor.register_queue on the table again.",
     {"select pg_catalog.string_agg(q.name, ', ' order by q.name) from sor.queues q, pg_catalog.pg_class c, "
      "pg_catalog.pg_namespace n"
      " where n.oid = c.relnamespace and pg_catalog.format('%I.%I', n.nspname, c.relname) = q.target"
      "   and (not exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgname like "
      "'sor\\_queue%')"
      "        or exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgname like 'sor\\_queue%' "
      "and t.tgenabled <> 'A'))",
      {}}},
    {"durability",
     "fsync and full_page_writes are on; sor's own commits wait for the disk whatever synchronous_commit says",
     "Set it on in postgresql.conf and restart: without it a crash can lose what was acknowledged.",
     {"select pg_catalog.string_agg(name || ' is ' || setting, ', ' order by name) from pg_catalog.pg_settings"
      " where name in ('fsync', 'full_page_writes') and setting <> 'on'",
      {}}},
};

// What is counted in each tenant, with the tenant opened. Bounded: a backlog is named, not measured.
struct backlog {
    const char* name;
    const char* good;
    const char* what; // after the number
    const char* fix;
    bridge::statement count;
};

constinit backlog backlogs[] = {
    {"lapsed_runs",
     "no run has been without a holder for more than an hour",
     "without a holder for more than an hour",
     "Run the worker again, which resumes the run, or end it with sor.cancel_run.",
     {"select count(*) from (select from sor.runs where tenant_id = $1 and status = 'running'"
      "   and lease_until < pg_catalog.clock_timestamp() - interval '1 hour' limit 1000) x",
      {UUIDOID}}},
    {"dead_messages",
     "no message was given up",
     "given up",
     "Correct the cause in last_error of sor.outbox, then call sor.requeue(tenant_id, 'outbox', id).",
     {"select count(*) from (select from sor.outbox where tenant_id = $1 and status = 'dead' limit 1000) x",
      {UUIDOID}}},
    {"dead_items",
     "no item was given up",
     "given up",
     "Correct the cause in error of sor.item_failures, then call sor.requeue(tenant_id, queue, item_id).",
     {"select count(*) from (select from sor.item_failures where tenant_id = $1 and dead limit 1000) x", {UUIDOID}}},
    {"expired_responses",
     "no stored response has been expired for more than a week",
     "expired for more than a week",
     "Run `sor purge`, daily.",
     {"select count(*) from (select from sor.idempotency_keys where tenant_id = $1"
      "   and expires_at < pg_catalog.clock_timestamp() - interval '7 days' limit 1000) x",
      {UUIDOID}}},
};

} // namespace
} // namespace sor::forensics

SOR_FUNCTION(doctor) {
    bridge::rowset rows(fcinfo);
    context::as_engine([&](MemoryContext) {
        for (check& c : checks) {
            const auto found = c.find.look();
            const char* wrong = found.string_or_null(0, 1);
            rows.add({in(c.name), in(wrong == nullptr), in(wrong ? wrong : c.good), in(wrong ? c.fix : nullptr)});
        }
        static bridge::statement list("select tenant_id, name from sor.tenants order by name", {});
        const auto tenants = list.look();
        for (backlog& b : backlogs) {
            StringInfoData wrong;
            initStringInfo(&wrong);
            for (uint64 i = 0; i < tenants.count; ++i) {
                const pg_uuid_t& tenant = tenants.uuid(i, 1);
                const int64 count = context::administration(
                    tenant, "system", [&](MemoryContext) -> int64 { return b.count.look(in(tenant)).bigint(0, 1); });
                if (count > 0)
                    appendStringInfo(&wrong, "%s%s: " INT64_FORMAT "%s %s", wrong.len ? "; " : "", tenants.string(i, 2),
                                     count, count == 1000 ? " or more" : "", b.what);
            }
            const bool ok = wrong.len == 0;
            rows.add({in(b.name), in(ok), in(ok ? b.good : wrong.data), in(ok ? nullptr : b.fix)});
        }
        const verdict system = context::administration(context::system_tenant, "system", [&](MemoryContext) -> verdict {
            verdict out;
            verify(context::system_tenant, nullptr, out);
            return out;
        });
        rows.add({in("system_history"), in(!system.bad),
                  in(system.bad ? psprintf("event " INT64_FORMAT ": %s", system.seq, system.problem)
                                : psprintf("the chain of " INT64_FORMAT " system events is whole", system.events)),
                  in(system.bad ? "Restore sor.agent_events from a backup and compare: somebody changed history."
                                : nullptr)});
    });
    return 0;
}
