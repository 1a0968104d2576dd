#include "claim/claim.hpp"

#include "claim/claim_core.hpp"
#include "claim/queue.hpp"
#include "switches/switches.hpp"

extern "C" {
#include "common/pg_prng.h"
}

namespace sor::claim {

using bridge::in;
using bridge::in_time;

const char* const unanswered = "the lease ended without an answer, as often as the item may be tried";
const char* const lease_expiry = "lease expiry";

namespace {

// What happened to an item, in the run's stream or, outside a run, its own. The item's row in the ready table is
// locked, or was removed by this transaction, so nobody else writes to its stream.
void append_event(const char* type, const char* queue, const char* item_id, const char* actor, const Jsonb* payload) {
    const context::origin* from = context::current_origin();
    const pg_uuid_t stream =
        from ? from->run : events::lock_stream(events::stream_kind::item, psprintf("%s/%s", queue, item_id));
    events::event e = events::from_here(stream, type, payload);
    if (actor != nullptr)
        e.actor = actor;
    if (actor == lease_expiry) {
        e.actor_kind = "system";
        e.on_behalf_of = nullptr;
    }
    events::append(e);
}

bridge::json_writer& begin_payload(bridge::json_writer& w, const char* queue, const ready::row& r) {
    return w.object()
        .field("queue", queue)
        .field("item_id", r.item_id)
        .field("attempt", r.attempt)
        .field("claim_token", r.token);
}

// Error text is the tenant's: it lives under row security, not in the ready table.
void record_failure(const char* queue, const ready::row& r, const char* error, bool dead) {
    static bridge::statement record(
        "insert into sor.item_failures (tenant_id, queue, item_id, attempt, error, failed_at, dead, claim_token, "
        "order_value)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (tenant_id, queue, item_id) do update set attempt = "
        "excluded.attempt,"
        " error = excluded.error, failed_at = excluded.failed_at, dead = excluded.dead, claim_token = "
        "excluded.claim_token,"
        " order_value = excluded.order_value",
        {UUIDOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, TIMESTAMPTZOID, BOOLOID, INT8OID, TEXTOID});
    record.run(in(context::required_tenant()), in(queue), in(r.item_id), in(r.attempt), in(error),
               in_time(GetCurrentTimestamp()), in(dead), in(r.token), in(r.order_value));
}

// Of an item already removed from the ready table.
void bury(const char* queue, const ready::row& r, const char* actor, const char* error) {
    record_failure(queue, r, error, true);
    bridge::json_writer payload;
    append_event("item.dead", queue, r.item_id, actor,
                 begin_payload(payload, queue, r).field("error", error).end().done());
}

void require_domain_queue(const char* queue) {
    if (strcmp(queue, outbox_queue) == 0)
        bridge::raise(code::not_registered, "the outbox is no queue of items", nullptr,
                      "Its messages are settled by sor.mark_dispatched and sor.mark_failed.");
}

struct claimed {
    ready::row* rows;
    Jsonb** items;
    int count;
    TimestampTz until;
};

claimed claim(const char* name, const char* worker, int max, int64 lease) {
    require_item_count(max);
    if (*worker == '\0')
        bridge::raise(code::invalid_parameter, "worker must not be empty", nullptr,
                      "Give the name under which the claims are recorded.");
    const queue* q = find_queue(name);
    if (switches::stops_queue(q->name))
        return {nullptr, nullptr, 0, GetCurrentTimestamp() + lease};
    for (;;) {
        const ready::taken taken = ready::take(q->name, worker, max, lease, q->max_attempts);
        ListCell* cell;
        foreach (cell, taken.exhausted) {
            const auto* r = static_cast<ready::row*>(lfirst(cell));
            bury(q->name, *r, lease_expiry, unanswered);
        }
        claimed out = {taken.items, taken.count ? read_items(*q, taken.items, taken.count) : nullptr, 0, taken.until};
        for (int i = 0; i < taken.count; ++i) {
            if (out.items[i] == nullptr) { // the row is gone past the trigger, a partition dropped for instance
                ready::remove(q->name, taken.items[i].item_id);
                continue;
            }
            out.rows[out.count] = taken.items[i];
            out.items[out.count++] = out.items[i];
        }
        if (out.count == 0 && taken.count > 0)
            continue; // none of what was taken exists; others may wait behind it
        for (int i = 0; i < out.count; ++i) {
            bridge::json_writer payload;
            begin_payload(payload, q->name, out.rows[i]).key("lease_until").time(out.until);
            if (out.rows[i].claimed_by != nullptr) // who never settled it
                payload.field("lapsed_holder", out.rows[i].claimed_by);
            payload.end();
            append_event("item.claimed", q->name, out.rows[i].item_id, worker, payload.done());
        }
        return out;
    }
}

} // namespace

void require_item_count(int max) {
    if (max < 1 || max > most_items)
        bridge::raise(code::invalid_parameter, "max is out of bounds", psprintf("It is %d.", max),
                      psprintf("Give 1 to %d.", most_items));
}

int64 random_backoff(int64 base, int attempt) {
    return backoff(base, attempt, pg_prng_double(&pg_global_prng_state));
}

Jsonb* claim_items(const char* name, const char* worker, int max, int64 lease, TimestampTz* until) {
    const claimed c = claim(name, worker, max, lease);
    *until = c.until;
    bridge::json_writer w;
    w.array();
    for (int i = 0; i < c.count; ++i)
        w.object()
            .field("item_id", c.rows[i].item_id)
            .field("claim_token", c.rows[i].token)
            .field("attempt", c.rows[i].attempt)
            .field("item", c.items[i])
            .end();
    return w.end().done();
}

void complete(const char* name, const char* item_id, int64 token, const Jsonb* result) {
    require_domain_queue(name);
    const ready::row r = ready::remove_held(name, item_id, token);
    if (r.attempt > 1) {
        static bridge::statement forget(
            "delete from sor.item_failures where tenant_id = $1 and queue = $2 and item_id = $3",
            {UUIDOID, TEXTOID, TEXTOID});
        forget.run(in(context::required_tenant()), in(name), in(item_id));
    }
    bridge::json_writer payload;
    append_event("item.completed", name, item_id, r.claimed_by,
                 begin_payload(payload, name, r).field("result", result).end().done());
}

void fail(const char* name, const char* item_id, int64 token, const char* error) {
    const queue* q = find_queue(name);
    const ready::row r = ready::lock_held(name, item_id, token);
    if (r.attempt >= q->max_attempts) {
        ready::remove(name, item_id);
        bury(name, r, r.claimed_by, error);
        return;
    }
    const TimestampTz again = GetCurrentTimestamp() + random_backoff(q->backoff_base, r.attempt);
    ready::put_back(name, item_id, again, r.attempt);
    record_failure(name, r, error, false);
    bridge::json_writer payload;
    begin_payload(payload, name, r).field("error", error).key("available_at").time(again).end();
    append_event("item.failed", name, item_id, r.claimed_by, payload.done());
}

void release(const char* name, const char* item_id, int64 token, int64 delay) {
    require_domain_queue(name);
    const ready::row r = ready::lock_held(name, item_id, token);
    const TimestampTz again = GetCurrentTimestamp() + delay;
    // Given back unworked: the attempt does not count.
    ready::put_back(name, item_id, again, r.attempt - 1);
    bridge::json_writer payload;
    begin_payload(payload, name, r).key("available_at").time(again).end();
    append_event("item.released", name, item_id, r.claimed_by, payload.done());
}

int give_back(const journal::run& locked) {
    static bridge::statement held("select queue, item_id, claim_token, attempt, order_value, claimed_by from sor.ready"
                                  " where tenant_id = $1 and run_id = $2 and claimed_by is not null"
                                  "   and available_at > $3 order by queue, item_id for no key update",
                                  {UUIDOID, UUIDOID, TIMESTAMPTZOID});
    const TimestampTz now = GetCurrentTimestamp();
    const auto found = held.run(in(context::required_tenant()), in(locked.id), in_time(now));
    for (uint64 i = 0; i < found.count; ++i) {
        const char* queue = found.string(i, 1);
        const ready::row r = {found.string(i, 2), found.bigint(i, 3), found.integer(i, 4), found.string_or_null(i, 5),
                              found.string(i, 6)};
        ready::put_back(queue, r.item_id, now, r.attempt);
        bridge::json_writer payload;
        begin_payload(payload, queue, r).key("available_at").time(now).end();
        append_event("item.released", queue, r.item_id, r.claimed_by, payload.done());
    }
    return static_cast<int>(found.count);
}

void requeue(const char* name, const char* item_id) {
    find_queue(name);
    static bridge::statement revive(
        "delete from sor.item_failures where tenant_id = $1 and queue = $2 and item_id = $3 and dead"
        " returning claim_token, attempt, order_value",
        {UUIDOID, TEXTOID, TEXTOID});
    const auto found = revive.run(in(context::required_tenant()), in(name), in(item_id));
    if (found.empty())
        bridge::raise(code::invalid_state_transition,
                      psprintf("item \"%s\" of queue \"%s\" is not dead", item_id, name), nullptr,
                      "sor.item_failures lists the dead items.");
    const int64 token = next_token(found.bigint(0, 1), ready::unix_microseconds(GetCurrentTimestamp()));
    ready::add(name, item_id, nullptr, found.string_or_null(0, 3), token);
    bridge::json_writer payload;
    payload.object()
        .field("queue", name)
        .field("item_id", item_id)
        .field("attempts", found.integer(0, 2))
        .field("claim_token", token)
        .end();
    append_event("item.requeued", name, item_id, nullptr, payload.done());
}

} // namespace sor::claim

using namespace sor;
using bridge::in;

namespace {

// What the SQL functions that settle a claim have in common.
struct settled {
    const pg_uuid_t& tenant;
    char* queue;
    char* item_id;
    int64 token;

    explicit settled(const bridge::arguments& a)
        : tenant(a.uuid(0, "tenant_id")), queue(bridge::to_cstring(bridge::view(a.string(1, "queue")))),
          item_id(bridge::to_cstring(bridge::view(a.string(2, "item_id")))), token(a.bigint(3, "claim_token")) {}
};

context::identity acting() {
    context::identity who;
    who.acts = true;
    return who;
}

} // namespace

SOR_FUNCTION(claim) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    char* queue = bridge::to_cstring(bridge::view(a.string(1, "queue")));
    char* worker = bridge::to_cstring(bridge::view(a.string(2, "worker")));
    const int max = a.integer(3, "max");
    const int64 lease =
        bridge::bounded_interval(a.interval(4, "lease"), bridge::lease_least, bridge::lease_most, "lease");
    bridge::rowset rows(fcinfo);
    context::data_plane(tenant, acting(), [&](MemoryContext) {
        const auto c = claim::claim(queue, worker, max, lease);
        for (int i = 0; i < c.count; ++i)
            rows.add({in(c.rows[i].item_id), in(c.rows[i].token), in(c.rows[i].attempt), in(c.items[i])});
    });
    return 0;
}

SOR_FUNCTION(complete) {
    const bridge::arguments a(fcinfo);
    const settled s(a);
    const Jsonb* result = a.json_or_null(4);
    context::data_plane(s.tenant, acting(),
                        [&](MemoryContext) { claim::complete(s.queue, s.item_id, s.token, result); });
    PG_RETURN_VOID();
}

SOR_FUNCTION(leave_run) {
    const bridge::arguments a(fcinfo);
    return Int32GetDatum(context::data_plane(a.uuid(0, "tenant_id"), {}, [&](MemoryContext) -> int {
        const journal::run held = journal::lock_run(a.uuid(1, "run_id"), a.bigint(2, "run_token"));
        context::set_origin({held.id, held.token, 0, {}, held.worker});
        const int given_back = claim::give_back(held);
        journal::give_up_lease(held);
        return given_back;
    }));
}

SOR_FUNCTION(fail) {
    const bridge::arguments a(fcinfo);
    const settled s(a);
    char* error = bridge::to_cstring(bridge::view(a.string(4, "error")));
    context::data_plane(s.tenant, acting(), [&](MemoryContext) { claim::fail(s.queue, s.item_id, s.token, error); });
    PG_RETURN_VOID();
}

SOR_FUNCTION(release) {
    const bridge::arguments a(fcinfo);
    const settled s(a);
    const int64 delay = bridge::bounded_interval(a.interval(4, "delay"), 0, 366 * USECS_PER_DAY, "delay");
    context::data_plane(s.tenant, acting(), [&](MemoryContext) { claim::release(s.queue, s.item_id, s.token, delay); });
    PG_RETURN_VOID();
}

SOR_FUNCTION(extend) {
    const bridge::arguments a(fcinfo);
    const settled s(a);
    const int64 lease =
        bridge::bounded_interval(a.interval(4, "lease"), bridge::lease_least, bridge::lease_most, "lease");
    context::data_plane(s.tenant, acting(), [&](MemoryContext) {
        claim::require_domain_queue(s.queue);
        claim::ready::extend_held(s.queue, s.item_id, s.token, lease);
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(tenants_with_work) {
    const bridge::arguments a(fcinfo);
    char* queue = bridge::to_cstring(bridge::view(a.string(0, "queue")));
    const text* worker = a.string_or_null(1);
    const Oid caller = GetUserId();
    bridge::rowset rows(fcinfo, bridge::rowset::scalars);
    context::as_engine([&](MemoryContext) {
        if (strcmp(queue, claim::outbox_queue) != 0)
            claim::find_queue(queue);
        // A subquery that ends in LIMIT stays one index probe for each tenant.
        static bridge::statement list(
            "select t.tenant_id, coalesce((select true from sor.ready r where r.tenant_id = t.tenant_id and r.queue = "
            "$3 and r.available_at <= $4"
            "                               order by r.available_at limit 1), false)"
            "  from sor.tenants t"
            " where ($2 or t.tenant_id in (select g.tenant_id from sor.tenant_grants g where g.login = $1))"
            "   and not exists (select from sor.pauses p where p.kind = 'queue' and p.subject = $3)"
            "   and not exists (select from sor.pauses p where p.kind = 'tenant' and p.subject = t.tenant_id::text)"
            " order by t.tenant_id",
            {NAMEOID, BOOLOID, TEXTOID, TIMESTAMPTZOID});
        static bridge::statement lapsed("select exists (select from sor.runs where tenant_id = $1 and worker = $2"
                                        "                and status = 'running' and lease_until <= $3)",
                                        {UUIDOID, TEXTOID, TIMESTAMPTZOID});
        const TimestampTz now = GetCurrentTimestamp();
        const auto found = list.run(bridge::in_name(GetUserNameFromId(caller, false)), in(superuser_arg(caller)),
                                    in(queue), bridge::in_time(now));
        for (uint64 i = 0; i < found.count; ++i) {
            const pg_uuid_t& tenant = found.uuid(i, 1);
            const bool work =
                found.boolean(i, 2) ||
                (worker != nullptr && context::administration(tenant, "system", [&](MemoryContext) -> bool {
                     return lapsed.run(in(tenant), in(worker), bridge::in_time(now)).boolean(0, 1);
                 }));
            if (work)
                rows.add({found.column(i, 1)});
        }
    });
    return 0;
}
