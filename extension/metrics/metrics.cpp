#include "metrics/metrics.hpp"

#include "bridge/uuid_v7.hpp"

namespace sor::metrics {

using bridge::in;
using bridge::in_time;

watched_tenants tenants_of(Oid caller) {
    watched_tenants out = {nullptr, 0};
    watched_tenants* const into = &out;
    context::as_engine([caller, into](MemoryContext outer) {
        static bridge::statement list(
            "select t.tenant_id, t.name from sor.tenants t"
            " where $2 or t.tenant_id in (select g.tenant_id from sor.tenant_grants g where g.login = $1)"
            " order by t.name",
            {NAMEOID, BOOLOID});
        const auto found =
            list.run(bridge::in_name(GetUserNameFromId(caller, false)), in(switches::sees_every_tenant(caller)));
        const MemoryContext here = MemoryContextSwitchTo(outer);
        into->list = static_cast<watched_tenant*>(palloc(sizeof(watched_tenant) * (found.count + 1)));
        for (uint64 i = 0; i < found.count; ++i)
            into->list[into->count++] = {found.uuid(i, 1), found.string(i, 2)};
        MemoryContextSwitchTo(here);
    });
    return out;
}

namespace {

// ---------------------------------------------------------------- what is said

enum family_id {
    queue_items,
    queue_due_items,
    queue_oldest_due,
    queue_expired_leases,
    queue_dead,
    outbox_pending,
    runs_unended,
    runs_lapsed,
    runs_total,
    tool_calls_total,
    items_total,
    messages_total,
    events_total,
    lease_expiries_total,
    dispatch_seconds,
    verification_age,
    verification_whole,
    counters_age,
    paused,
    idempotency_keys,
    table_bytes,
    table_rows,
    table_dead_rows,
    measured,
    family_count
};
struct family {
    const char* name;
    const char* type;
    const char* help;
};
constexpr family families[family_count] = {
    {"sor_queue_items", "gauge", "Items that wait or are being worked on; 10000 means at least so many."},
    {"sor_queue_due_items", "gauge", "Items that may be handed out now; 10000 means at least so many."},
    {"sor_queue_oldest_due_seconds", "gauge",
     "For how long the item that is due longest has been due; 0 when none is."},
    {"sor_queue_expired_leases", "gauge",
     "Items whose holder let its lease run out and that nobody has taken since, among the 10000 due longest."},
    {"sor_queue_dead_items", "gauge",
     "Items, or for outbox messages, that were given up and wait for an operator; 10000 means at least so many."},
    {"sor_outbox_pending_messages", "gauge", "Messages that are not yet sent; 10000 means at least so many."},
    {"sor_runs_unended", "gauge", "Runs that have begun and not ended; 10000 means at least so many."},
    {"sor_runs_lapsed", "gauge", "Unended runs whose lease is over: nobody works on them, among 10000."},
    {"sor_runs_total", "counter", "Runs that were started, resumed, or ended with each status."},
    {"sor_tool_calls_total", "counter",
     "Attempts of tool calls by how they ended; started counts outside calls alone."},
    {"sor_items_total", "counter", "What happened to items: claimed, completed, failed, released, dead, requeued."},
    {"sor_messages_total", "counter",
     "What happened to messages: enqueued, dispatched, failed (each is a retry), dead."},
    {"sor_events_total", "counter",
     "Events of every type; of applications' types those after the first 100 of a tenant are other."},
    {"sor_lease_expiries_total", "counter",
     "Leases that ran out with their holder silent, seen when the next one took over."},
    {"sor_outbox_dispatch_seconds", "histogram", "From when a message first was due to the mark that it was sent."},
    {"sor_chain_verification_age_seconds", "gauge",
     "Since the history of the tenant was last verified as a whole, or since the tenant was made."},
    {"sor_chain_verification_whole", "gauge", "1: that verification found the history sound, 0: it did not."},
    {"sor_counters_age_seconds", "gauge",
     "How old the counters of the tenant are; grows while a transaction stays open."},
    {"sor_paused", "gauge", "1 for each tool, queue or tenant that an operator paused."},
    {"sor_idempotency_keys_estimated", "gauge", "Stored responses, as the planner knows their table."},
    {"sor_table_bytes", "gauge", "Size of a table with its indexes and TOAST; absent while it is locked exclusively."},
    {"sor_table_rows_estimated", "gauge", "Rows of a table, as the planner knows it; absent before its first ANALYZE."},
    {"sor_table_dead_rows_estimated", "gauge",
     "Rows of a table that await VACUUM, as the statistics collector knows it."},
    {"sor_measured_timestamp_seconds", "gauge", "When all of this was measured, in seconds since 1970."},
};

struct sample {
    const char* name; // null: the family's
    Jsonb* labels;
    double value;
};

// Samples of all tenants by family: Prometheus wants those of one family together.
struct samples {
    List* of[family_count] = {};
    MemoryContext memory;

    void add(family_id f, Jsonb* labels, double value, const char* name = nullptr) {
        const MemoryContext here = MemoryContextSwitchTo(memory);
        auto* s = static_cast<sample*>(palloc(sizeof(sample)));
        auto* copy = static_cast<Jsonb*>(palloc(VARSIZE(labels)));
        memcpy(copy, labels, VARSIZE(labels));
        *s = {name, copy, value};
        of[f] = lappend(of[f], s);
        MemoryContextSwitchTo(here);
    }
};

Jsonb* labels_of(std::initializer_list<std::pair<const char*, const char*>> pairs) {
    bridge::json_writer w;
    w.object();
    for (const auto& p : pairs)
        w.field(p.first, p.second);
    return w.end().done();
}

// ---------------------------------------------------------------- counters

// Of a histogram of seconds; the last bucket is +Inf.
constexpr double bounds[] = {0.1, 0.5, 1, 5, 15, 30, 60, 300, 1800, 3600, 21600, 86400};
constexpr const char* bound_names[] = {"0.1", "0.5",  "1",    "5",     "15",    "30",  "60",
                                       "300", "1800", "3600", "21600", "86400", "+Inf"};
constexpr int bucket_count = sizeof(bounds) / sizeof(bounds[0]) + 1;
static_assert(sizeof(bound_names) / sizeof(bound_names[0]) == bucket_count);

constexpr int most_events = 1000000;          // of one tenant in one call
constexpr int most_own_types = 100;           // of applications' events: each is a time series
constexpr int64 minting = 1 * bridge::second; // an id is minted at most that long before its transaction has an xid

// As of before anything was written: this transaction must not stand in its own way.
struct moment {
    TimestampTz time;
    char* xmin;
    char* xmax;
};

moment look_at_clock() {
    static bridge::statement now("select pg_catalog.pg_snapshot_xmin(s)::text, pg_catalog.pg_snapshot_xmax(s)::text"
                                 "  from pg_catalog.pg_current_snapshot() s",
                                 {});
    const TimestampTz time = GetCurrentTimestamp() - minting;
    const auto row = now.run();
    return {time, row.string(0, 1), row.string(0, 2)};
}

// Ids are in the order of their minting, not of their commits, so an event with a smaller id may appear later. Up to a
// moment all are there when every transaction that had an xid at that moment has ended.
void count_events(const pg_uuid_t& tenant, const moment& now) {
    static bridge::statement begin(
        "insert into sor.event_count_progress (tenant_id, counted_to, counted_at, candidate_to, candidate_at, "
        "candidate_xmax) values ($1, $2, $3, $2, $3, $4) on conflict (tenant_id) do nothing",
        {UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTOID});
    // A second caller at the same time counts nothing.
    static bridge::statement lock(
        "select counted_to, $2::xid8 >= $3::xid8, candidate_xmax::xid8 <= $2::xid8, candidate_to, candidate_at,"
        "       candidate_xmax::xid8 > $3::xid8"
        "  from sor.event_count_progress where tenant_id = $1 for update skip locked",
        {UUIDOID, TEXTOID, TEXTOID});
    // A message's intent, the first event of its stream, says when it was due.
    static bridge::statement count(
        "with e as materialized (select id, event_type, created_at, message_id,"
        "       event_type = 'item.claimed' and payload ? 'lapsed_holder' as lapsed"
        "  from sor.agent_events where tenant_id = $1 and id > $2 and id < $3 order by id limit $4),"
        " due as (select e.created_at as sent, (i.payload ->> 'available_at')::timestamptz as due"
        "  from e join sor.agent_events i on i.tenant_id = $1 and i.stream_id = e.message_id and i.seq = 1"
        " where e.event_type = 'outbox.dispatched'),"
        " latency as (select greatest(0, extract(epoch from sent - due))::float8 as s from due),"
        " known as (select substr(name, 7) as event_type from sor.event_counts"
        "  where tenant_id = $1 and name ^@ 'event '),"
        " types as (select event_type, count(*) as n, event_type !~ " SOR_RESERVED_EVENT_TYPES " as own,"
        "       event_type in (select k.event_type from known k) as known from e group by event_type),"
        " new_types as (select event_type from types where own and not known order by event_type limit"
        "  greatest(0, $6 - (select count(*) from known where event_type !~ " SOR_RESERVED_EVENT_TYPES "))),"
        " counted as (select 'event ' || case when not own or known"
        "       or event_type in (select t.event_type from new_types t) then event_type else 'other' end as name,"
        "       sum(n)::float8 as n from types group by 1"
        "  union all select 'lapsed item', count(*)::float8 from e where lapsed having count(*) > 0"
        "  union all select 'bucket ' || b.i, count(*)::float8"
        "    from latency, lateral (select pg_catalog.width_bucket(s, $5) as i) b group by b.i"
        "  union all select 'latency sum', sum(s) from latency having count(*) > 0),"
        " saved as (insert into sor.event_counts (tenant_id, name, value) select $1, name, n from counted"
        "  on conflict (tenant_id, name) do update set value = event_counts.value + excluded.value)"
        " select count(*), (select id from e order by id desc limit 1),"
        "       (select created_at from e order by id desc limit 1) from e",
        {UUIDOID, UUIDOID, UUIDOID, INT4OID, FLOAT8ARRAYOID, INT4OID});
    static bridge::statement save(
        "update sor.event_count_progress set counted_to = $2, counted_at = $3, candidate_to = $4, candidate_at = $5,"
        " candidate_xmax = $6 where tenant_id = $1",
        {UUIDOID, UUIDOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID, TEXTOID});
    static bridge::statement keep(
        "update sor.event_count_progress set candidate_to = $2, candidate_at = $3, candidate_xmax = $4 where tenant_id "
        "= $1",
        {UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTOID});
    const pg_uuid_t floor = bridge::uuid_v7_floor(now.time);
    const auto found = lock.run(in(tenant), in(now.xmin), in(now.xmax));
    if (found.empty()) {
        begin.run(in(tenant), in(floor), in_time(now.time), in(now.xmax));
        return;
    }
    const pg_uuid_t from = found.uuid(0, 1);
    const bool none_in_flight = found.boolean(0, 2);
    const bool candidate_is_over = found.boolean(0, 3);
    const pg_uuid_t candidate = found.uuid(0, 4);
    const TimestampTz candidate_at = found.time(0, 5);
    const bool of_another_cluster = found.boolean(0, 6); // restored: its xids say nothing here
    if (!none_in_flight && !candidate_is_over) {
        if (of_another_cluster)
            keep.run(in(tenant), in(floor), in_time(now.time), in(now.xmax));
        return;
    }
    const pg_uuid_t to = none_in_flight ? floor : candidate;
    if (memcmp(to.data, from.data, UUID_LEN) < 0)
        return; // the clock went back
    Datum edges[bucket_count - 1];
    for (int i = 0; i < bucket_count - 1; ++i)
        edges[i] = Float8GetDatum(bounds[i]);
    const auto counted =
        count.run(in(tenant), in(from), in(to), in(most_events),
                  in(construct_array(edges, bucket_count - 1, FLOAT8OID, sizeof(float8), true, TYPALIGN_DOUBLE)),
                  in(most_own_types));
    const bool all = counted.bigint(0, 1) < most_events;
    pg_uuid_t counted_to = to;
    TimestampTz counted_at = none_in_flight ? now.time : candidate_at;
    if (!all) {
        counted_to = counted.uuid(0, 2);
        counted_at = counted.time(0, 3);
    }
    save.run(in(tenant), in(counted_to), in_time(counted_at), in(floor), in_time(now.time), in(now.xmax));
}

// "event run.started" → sor_runs_total {status: started}.
void say_counters(samples& out, const pg_uuid_t& tenant, const char* name) {
    static bridge::statement read("select name, value from sor.event_counts where tenant_id = $1 order by name",
                                  {UUIDOID});
    static bridge::statement progress("select extract(epoch from $2 - counted_at)::float8 from sor.event_count_progress"
                                      " where tenant_id = $1",
                                      {UUIDOID, TIMESTAMPTZOID});
    // Those one alarms on are there from the first, as 0: a counter that appears with its first event shows no rise.
    struct known {
        family_id family;
        const char* noun;
        const char* verbs[8];
    };
    static constexpr known list[] = {
        {runs_total, "run", {"started", "resumed", "succeeded", "failed", "cancelled"}},
        {tool_calls_total, "tool_call", {"started", "succeeded", "failed", "refused", "unknown"}},
        {items_total, "item", {"claimed", "completed", "failed", "released", "dead", "requeued"}},
        {messages_total, "outbox", {"enqueued", "dispatched", "failed", "dead"}},
    };
    const auto rows = read.run(in(tenant));
    const auto value_of = [&rows](const char* what) -> double {
        for (uint64 i = 0; i < rows.count; ++i)
            if (strcmp(rows.string(i, 1), what) == 0)
                return DatumGetFloat8(rows.datum(i, 2));
        return 0;
    };
    for (const known& k : list)
        for (const char* verb : k.verbs)
            if (verb != nullptr)
                out.add(k.family, labels_of({{"tenant", name}, {"status", verb}}),
                        value_of(psprintf("event %s.%s", k.noun, verb)));
    for (uint64 i = 0; i < rows.count; ++i)
        if (strncmp(rows.string(i, 1), "event ", 6) == 0)
            out.add(events_total, labels_of({{"tenant", name}, {"event_type", rows.string(i, 1) + 6}}),
                    DatumGetFloat8(rows.datum(i, 2)));
    out.add(lease_expiries_total, labels_of({{"tenant", name}, {"of", "item"}}), value_of("lapsed item"));
    out.add(lease_expiries_total, labels_of({{"tenant", name}, {"of", "run"}}), value_of("event run.resumed"));
    double sum = 0;
    for (int i = 0; i < bucket_count; ++i) {
        sum += value_of(psprintf("bucket %d", i));
        out.add(dispatch_seconds, labels_of({{"tenant", name}, {"le", bound_names[i]}}), sum,
                "sor_outbox_dispatch_seconds_bucket");
    }
    out.add(dispatch_seconds, labels_of({{"tenant", name}}), value_of("latency sum"),
            "sor_outbox_dispatch_seconds_sum");
    out.add(dispatch_seconds, labels_of({{"tenant", name}}), sum, "sor_outbox_dispatch_seconds_count");
    const auto age = progress.run(in(tenant), in_time(GetCurrentTimestamp()));
    if (!age.empty())
        out.add(counters_age, labels_of({{"tenant", name}}), DatumGetFloat8(age.datum(0, 1)));
}

// ---------------------------------------------------------------- gauges

// Every count ends at most_counted rows of an index, in the order of that index.
void say_gauges(samples& out, const pg_uuid_t& tenant, const char* name, TimestampTz now) {
    static bridge::statement queues(
        "select q.name,"
        " (select count(*) from (select from sor.ready r where r.tenant_id = $1 and r.queue = q.name limit $3) "
        "x)::float8,"
        " (select count(*) from (select from sor.ready r where r.tenant_id = $1 and r.queue = q.name and "
        "r.available_at <= "
        "$2 order by r.available_at limit $3) x)::float8,"
        " coalesce((select extract(epoch from $2 - r.available_at)::float8 from sor.ready r where r.tenant_id = $1 and "
        "r.queue = q.name and r.available_at <= $2 order by r.available_at limit 1), 0),"
        " (select count(*) filter (where x.claimed_by is not null) from (select r.claimed_by from sor.ready r where "
        "r.tenant_id = $1 and r.queue = q.name and r.available_at <= $2 order by r.available_at limit $3) x)::float8,"
        " case when q.name = 'outbox'"
        "   then (select count(*) from (select from sor.outbox o where o.tenant_id = $1 and o.status = 'dead' limit "
        "$3) x)"
        "   else (select count(*) from (select from sor.item_failures f where f.tenant_id = $1 and f.queue = q.name "
        "and "
        "f.dead limit $3) x) end::float8"
        " from (select queues.name from sor.queues union all select 'outbox') q order by 1",
        {UUIDOID, TIMESTAMPTZOID, INT4OID});
    static bridge::statement runs(
        "select count(*)::float8, (count(*) filter (where lease_until <= $2))::float8 from"
        " (select lease_until from sor.runs where tenant_id = $1 and status = 'running' limit $3) x",
        {UUIDOID, TIMESTAMPTZOID, INT4OID});
    static bridge::statement verified(
        "select extract(epoch from $2 - coalesce(v.verified_at, t.created_at))::float8, v.whole"
        "  from sor.tenants t left join sor.verifications v using (tenant_id) where t.tenant_id = $1",
        {UUIDOID, TIMESTAMPTZOID});
    const auto number = [](const bridge::result& r, uint64 row, int column) {
        return DatumGetFloat8(r.datum(row, column));
    };
    const auto found = queues.run(in(tenant), in_time(now), in(most_counted));
    for (uint64 i = 0; i < found.count; ++i) {
        const char* queue = found.string(i, 1);
        const auto say = [&](family_id f, int column) {
            out.add(f, labels_of({{"tenant", name}, {"queue", queue}}), number(found, i, column));
        };
        say(queue_items, 2);
        say(queue_due_items, 3);
        say(queue_oldest_due, 4);
        say(queue_expired_leases, 5);
        say(queue_dead, 6);
        if (strcmp(queue, claim::outbox_queue) == 0)
            out.add(outbox_pending, labels_of({{"tenant", name}}), number(found, i, 2));
    }
    const auto of_runs = runs.run(in(tenant), in_time(now), in(most_counted));
    out.add(runs_unended, labels_of({{"tenant", name}}), number(of_runs, 0, 1));
    out.add(runs_lapsed, labels_of({{"tenant", name}}), number(of_runs, 0, 2));
    const auto of_chain = verified.run(in(tenant), in_time(now));
    if (of_chain.empty())
        return;
    out.add(verification_age, labels_of({{"tenant", name}}), number(of_chain, 0, 1));
    if (!of_chain.null(0, 2))
        out.add(verification_whole, labels_of({{"tenant", name}}), of_chain.boolean(0, 2) ? 1 : 0);
}

// Of the tables alone, of all tenants: for those who see every one. A partitioned table is all its partitions. To look
// at a size is to lock the table, and a migration may hold it for long: what it holds has none.
void say_tables(samples& out) {
    static bridge::statement tables(
        "with recursive part(root, oid, relkind, reltuples, toast) as ("
        "  select c.oid, c.oid, c.relkind, c.reltuples, c.reltoastrelid"
        "    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
        "   where c.relkind in ('r', 'p')"
        "     and (n.nspname = 'sor' or pg_catalog.format('%I.%I', n.nspname, c.relname) ="
        "          any (array(select target from sor.registered_tables union select target from sor.queues)))"
        "  union all"
        "  select p.root, c.oid, c.relkind, c.reltuples, c.reltoastrelid from part p"
        "    join pg_catalog.pg_inherits i on i.inhparent = p.oid"
        "    join pg_catalog.pg_class c on c.oid = i.inhrelid where p.relkind = 'p'),"
        " locked as materialized (select l.relation from pg_catalog.pg_locks l"
        "    join pg_catalog.pg_database d on d.oid = l.database and d.datname = pg_catalog.current_database()"
        "   where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'),"
        " leaf as materialized (select p.*, not exists (select from locked l where l.relation in (p.oid, p.toast)"
        "      or l.relation in (select i.indexrelid from pg_catalog.pg_index i"
        "                         where i.indrelid in (p.oid, p.toast))) as free"
        "    from part p where p.relkind = 'r')"
        " select root::regclass::text, case when pg_catalog.bool_and(free)"
        "       then sum(case when free then pg_catalog.pg_total_relation_size(oid) end) end::float8,"
        "       sum(reltuples) filter (where reltuples >= 0)::float8,"
        "       sum(pg_catalog.pg_stat_get_dead_tuples(oid))::float8,"
        "       root = 'sor.idempotency_keys'::regclass from leaf group by root order by 1",
        {});
    const auto found = tables.run();
    for (uint64 i = 0; i < found.count; ++i) {
        Jsonb* labels = labels_of({{"table", found.string(i, 1)}});
        if (!found.null(i, 2))
            out.add(table_bytes, labels, DatumGetFloat8(found.datum(i, 2)));
        if (!found.null(i, 3)) {
            out.add(table_rows, labels, DatumGetFloat8(found.datum(i, 3)));
            if (found.boolean(i, 5))
                out.add(idempotency_keys, bridge::empty_object(), DatumGetFloat8(found.datum(i, 3)));
        }
        out.add(table_dead_rows, labels, DatumGetFloat8(found.datum(i, 4)));
    }
}

void say_pauses(samples& out) {
    static bridge::statement list(
        "select p.kind, coalesce(t.name, p.subject) from sor.pauses p"
        "  left join sor.tenants t on p.kind = 'tenant' and t.tenant_id::text = p.subject order by 1, 2",
        {});
    const auto found = list.run();
    for (uint64 i = 0; i < found.count; ++i)
        out.add(paused, labels_of({{"kind", found.string(i, 1)}, {"name", found.string(i, 2)}}), 1);
}

} // namespace
} // namespace sor::metrics

using namespace sor;
using bridge::in;

SOR_FUNCTION(metrics) {
    using namespace sor::metrics;
    bridge::rowset rows(fcinfo);
    const Oid caller = GetUserId();
    const bool all = switches::sees_every_tenant(caller);
    const bool may_write = !XactReadOnly && !IsolationUsesXactSnapshot();
    auto* said = static_cast<samples*>(palloc0(sizeof(samples)));
    said->memory = CurrentMemoryContext;
    moment now = {};
    moment* const clock = &now;
    context::as_engine([said, all, clock](MemoryContext outer) {
        const moment found = look_at_clock();
        clock->time = found.time;
        clock->xmin = MemoryContextStrdup(outer, found.xmin);
        clock->xmax = MemoryContextStrdup(outer, found.xmax);
        if (all) {
            say_tables(*said);
            say_pauses(*said);
        }
    });
    const watched_tenants tenants = tenants_of(caller);
    for (int i = 0; i < tenants.count; ++i) {
        CHECK_FOR_INTERRUPTS();
        const watched_tenant& one = tenants.list[i];
        context::administration(one.id, "system", [&one, said, clock, may_write](MemoryContext) {
            if (may_write)
                count_events(one.id, *clock);
            say_counters(*said, one.id, one.name);
            say_gauges(*said, one.id, one.name, GetCurrentTimestamp());
        });
    }
    const int64 unix_now = GetCurrentTimestamp() + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
    said->add(measured, bridge::empty_object(), static_cast<double>(unix_now) / 1e6);
    for (int f = 0; f < family_count; ++f) {
        ListCell* cell;
        foreach (cell, said->of[f]) {
            const auto* s = static_cast<sample*>(lfirst(cell));
            rows.add({in(s->name ? s->name : families[f].name), in(static_cast<const Jsonb*>(s->labels)),
                      bridge::value::of(Float8GetDatum(s->value)), in(families[f].name), in(families[f].type),
                      in(families[f].help)});
        }
    }
    return 0;
}
