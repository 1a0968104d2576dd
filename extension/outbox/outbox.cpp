#include "outbox/outbox.hpp"

#include "bridge/uuid_v7.hpp"
#include "claim/claim_core.hpp"
#include "claim/queue.hpp"
#include "switches/switches.hpp"

namespace sor::outbox {

using bridge::in;
using bridge::in_time;
using bridge::value;
using claim::outbox_queue;

namespace ready = claim::ready;

namespace {

constexpr int most_attempts = 12;
constexpr int64 backoff_base = 30 * bridge::second;

// What of a message its events repeat; found by the update that changes its row, which also locks its stream.
struct message {
    pg_uuid_t id;
    char* destination;
    char* dedup_key;
    const pg_uuid_t* run;
    const pg_uuid_t* tool_call;
};
#define MESSAGE_COLUMNS "destination, dedup_key, run_id, tool_call_id"

message message_of(const pg_uuid_t& id, const bridge::result& row) {
    const pg_uuid_t* run = row.uuid_or_null(0, 3);
    const pg_uuid_t* tool_call = row.uuid_or_null(0, 4);
    return {id, row.string(0, 1), row.string(0, 2), run ? bridge::copy(*run) : nullptr,
            tool_call ? bridge::copy(*tool_call) : nullptr};
}

// The execution of an intent is the system's: its actor is the relay.
void append_event(const char* type, const message& m, const char* relay, const Jsonb* payload) {
    events::event e;
    e.stream = m.id;
    e.type = type;
    e.actor_kind = "system";
    e.actor = relay;
    e.payload = payload;
    e.run = m.run;
    e.tool_call = m.tool_call;
    e.message = &m.id;
    events::append(e);
}

bridge::json_writer& begin_payload(bridge::json_writer& w, const message& m, const ready::row& r) {
    return w.object().field("destination", m.destination).field("dedup_key", m.dedup_key).field("attempt", r.attempt);
}

// Of a message already removed from the ready table.
void bury(const pg_uuid_t& id, const ready::row& r, const char* actor, const char* error, bool permanent) {
    static bridge::statement mark(
        "update sor.outbox set status = 'dead', attempts = $3, last_error = $4, claim_token = $5"
        " where tenant_id = $1 and id = $2 returning " MESSAGE_COLUMNS,
        {UUIDOID, UUIDOID, INT4OID, TEXTOID, INT8OID});
    const auto row = mark.run(in(context::required_tenant()), in(id), in(r.attempt), in(error), in(r.token));
    if (row.empty())
        return; // no message: nothing to bury
    const message m = message_of(id, row);
    bridge::json_writer payload;
    begin_payload(payload, m, r).field("error", error).field("permanent", permanent).end();
    append_event("outbox.dead", m, actor, payload.done());
}

pg_uuid_t id_of(const char* item_id) {
    pg_uuid_t id;
    if (!bridge::parse_uuid(item_id, id))
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no message id", item_id), nullptr,
                      "Give the id of a row in sor.outbox.");
    return id;
}

void require(const text* t, const char* name) {
    if (VARSIZE_ANY_EXHDR(t) == 0)
        bridge::raise(code::invalid_parameter, psprintf("%s must not be empty", name), nullptr, nullptr);
}

} // namespace

enqueued enqueue(const char* destination, const char* event_type, const char* aggregate_id, const Jsonb* payload,
                 const char* dedup_key, const TimestampTz* available_at) {
    if (*destination == '\0' || *event_type == '\0' || *aggregate_id == '\0' || *dedup_key == '\0')
        bridge::raise(code::invalid_parameter, "destination, event_type, aggregate_id and dedup_key must not be empty",
                      nullptr,
                      "dedup_key is what makes a repeated call the same message; aggregate_id is what it is about.");
    if (!bridge::is_object(payload))
        bridge::raise(code::invalid_parameter, "payload must be a JSON object", nullptr,
                      "Give what the destination expects.");
    const pg_uuid_t& tenant = context::required_tenant();
    const pg_uuid_t id = bridge::uuid_v7();
    const TimestampTz now = GetCurrentTimestamp();
    const TimestampTz due = available_at != nullptr && *available_at > now ? *available_at : now;
    if (!IS_VALID_TIMESTAMP(due))
        bridge::raise(code::invalid_parameter, "available_at is out of bounds", nullptr,
                      "Give a moment, or null for at once.");
    const context::origin* from = context::current_origin();
    // Waits for a twin in flight.
    static bridge::statement insert("insert into sor.outbox (tenant_id, id, aggregate_id, event_type, destination, "
                                    "payload, dedup_key, next_attempt_at, created_at,"
                                    " run_id, tool_call_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on "
                                    "conflict (tenant_id, dedup_key) do nothing",
                                    {UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TIMESTAMPTZOID,
                                     TIMESTAMPTZOID, UUIDOID, UUIDOID});
    const auto made = insert.run(in(tenant), in(id), in(aggregate_id), in(event_type), in(destination), in(payload),
                                 in(dedup_key), in_time(due), in_time(now), in(from ? &from->run : nullptr),
                                 in(from && !bridge::is_nil(from->tool_call) ? &from->tool_call : nullptr));
    if (made.count == 0) {
        static bridge::statement find(
            "select id, destination = $3 and event_type = $4 and aggregate_id = $5 and payload = $6"
            "  from sor.outbox where tenant_id = $1 and dedup_key = $2",
            {UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID});
        const auto twin =
            find.run_latest(in(tenant), in(dedup_key), in(destination), in(event_type), in(aggregate_id), in(payload));
        if (twin.empty())
            elog(ERROR, "no message has the dedup_key \"%s\" that another was refused for", dedup_key);
        if (!twin.boolean(0, 2))
            bridge::raise(code::request_mismatch, psprintf("dedup_key \"%s\" belongs to another message", dedup_key),
                          psprintf("Message %s differs in destination, event_type, aggregate_id or payload.",
                                   bridge::to_cstring(twin.uuid(0, 1))),
                          "Give each side effect a dedup_key of its own, and repeat it with the same content.");
        return {twin.uuid(0, 1), false};
    }
    ready::add(outbox_queue, bridge::to_cstring(id), &due, aggregate_id, 0);
    bridge::json_writer intent;
    intent.object()
        .field("destination", destination)
        .field("event_type", event_type)
        .field("aggregate_id", aggregate_id)
        .field("dedup_key", dedup_key)
        .field("payload", payload)
        .key("available_at")
        .time(due)
        .end();
    events::event e = events::from_here(id, "outbox.enqueued", intent.done());
    e.message = &id;
    events::append_first(e);
    return {id, true};
}

namespace {

// Of a message that was handed out.
void mark_dispatched(const pg_uuid_t& id, int64 token, const Jsonb* receipt) {
    const pg_uuid_t& tenant = context::required_tenant();
    char* item_id = bridge::to_cstring(id);
    ready::row held;
    if (!ready::try_remove_held(outbox_queue, item_id, token, held)) {
        static bridge::statement done("select exists (select from sor.outbox where tenant_id = $1 and id = $2"
                                      "                and status = 'dispatched' and claim_token = $3)",
                                      {UUIDOID, UUIDOID, INT8OID});
        if (done.run_latest(in(tenant), in(id), in(token)).boolean(0, 1))
            return; // a mark whose answer was lost
        ready::raise_lost(outbox_queue, item_id, token);
    }
    static bridge::statement mark(
        "update sor.outbox set status = 'dispatched', processed_at = $3, attempts = $4, claim_token = $5"
        " where tenant_id = $1 and id = $2 returning " MESSAGE_COLUMNS,
        {UUIDOID, UUIDOID, TIMESTAMPTZOID, INT4OID, INT8OID});
    const TimestampTz now = GetCurrentTimestamp();
    const auto row = mark.run(in(tenant), in(id), in_time(now), in(held.attempt), in(token));
    if (row.empty())
        ready::raise_lost(outbox_queue, item_id, token);
    const message m = message_of(id, row);
    bridge::json_writer payload;
    begin_payload(payload, m, held).field("receipt", receipt).key("processed_at").time(now).end();
    append_event("outbox.dispatched", m, held.claimed_by, payload.done());
}

void mark_failed(const pg_uuid_t& id, int64 token, const char* error, bool permanent) {
    const pg_uuid_t& tenant = context::required_tenant();
    char* item_id = bridge::to_cstring(id);
    const ready::row held = ready::lock_held(outbox_queue, item_id, token);
    if (permanent || held.attempt >= most_attempts) {
        ready::remove(outbox_queue, item_id);
        bury(id, held, held.claimed_by, error, permanent);
        return;
    }
    const TimestampTz again = GetCurrentTimestamp() + claim::random_backoff(backoff_base, held.attempt);
    ready::put_back(outbox_queue, item_id, again, held.attempt);
    static bridge::statement mark(
        "update sor.outbox set attempts = $3, next_attempt_at = $4, last_error = $5, claim_token = $6"
        " where tenant_id = $1 and id = $2 returning " MESSAGE_COLUMNS,
        {UUIDOID, UUIDOID, INT4OID, TIMESTAMPTZOID, TEXTOID, INT8OID});
    const auto row = mark.run(in(tenant), in(id), in(held.attempt), in_time(again), in(error), in(token));
    if (row.empty())
        ready::raise_lost(outbox_queue, item_id, token);
    const message m = message_of(id, row);
    bridge::json_writer payload;
    begin_payload(payload, m, held).field("error", error).key("next_attempt_at").time(again).end();
    append_event("outbox.failed", m, held.claimed_by, payload.done());
}

// False when the message is not dead.
bool revive(const pg_uuid_t& id) {
    static bridge::statement revive("update sor.outbox set status = 'pending', attempts = 0, next_attempt_at = $3"
                                    " where tenant_id = $1 and id = $2 and status = 'dead'"
                                    " returning " MESSAGE_COLUMNS ", claim_token, aggregate_id",
                                    {UUIDOID, UUIDOID, TIMESTAMPTZOID});
    const TimestampTz now = GetCurrentTimestamp();
    const auto row = revive.run(in(context::required_tenant()), in(id), in_time(now));
    if (row.empty())
        return false;
    const int64 token = claim::next_token(row.bigint(0, 5), ready::unix_microseconds(now));
    ready::add(outbox_queue, bridge::to_cstring(id), nullptr, row.string(0, 6), token);
    const message m = message_of(id, row);
    bridge::json_writer payload;
    payload.object()
        .field("queue", outbox_queue)
        .field("item_id", bridge::to_cstring(id))
        .field("claim_token", token)
        .end();
    events::event e = events::from_here(id, "item.requeued", payload.done());
    e.run = m.run;
    e.tool_call = m.tool_call;
    e.message = &id;
    events::append(e);
    return true;
}

void requeue(const pg_uuid_t& id) {
    if (!revive(id))
        bridge::raise(code::invalid_state_transition, psprintf("message %s is not dead", bridge::to_cstring(id)),
                      nullptr, "sor.find_messages(tenant_id, 'dead') lists the dead messages.");
}

context::identity relaying() {
    context::identity who;
    who.actor_kind = "system";
    return who;
}

} // namespace

} // namespace sor::outbox

using namespace sor;
using bridge::in;

SOR_FUNCTION(enqueue) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    char* destination = bridge::to_cstring(bridge::view(a.string(1, "destination")));
    char* event_type = bridge::to_cstring(bridge::view(a.string(2, "event_type")));
    char* aggregate_id = bridge::to_cstring(bridge::view(a.string(3, "aggregate_id")));
    const Jsonb* payload = a.json(4, "payload");
    char* dedup_key = bridge::to_cstring(bridge::view(a.string(5, "dedup_key")));
    const TimestampTz at = a.null(6) ? 0 : a.time(6, "available_at");
    const TimestampTz* available_at = a.null(6) ? nullptr : &at;
    context::identity who;
    who.acts = true;
    return context::data_plane(tenant, who, [&](MemoryContext caller) -> Datum {
        const auto message = outbox::enqueue(destination, event_type, aggregate_id, payload, dedup_key, available_at);
        const MemoryContext here = MemoryContextSwitchTo(caller);
        const bridge::value columns[] = {in(message.message_id), in(message.inserted)};
        const Datum row = bridge::composite(fcinfo, columns, 2);
        MemoryContextSwitchTo(here);
        return row;
    });
}

SOR_FUNCTION(claim_outbox) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const text* name = a.string(1, "relay");
    outbox::require(name, "relay");
    char* relay = bridge::to_cstring(bridge::view(name));
    const int max = a.integer(2, "max");
    const int64 lease =
        bridge::bounded_interval(a.interval(3, "lease"), bridge::lease_least, bridge::lease_most, "lease");
    claim::require_item_count(max);
    bridge::rowset rows(fcinfo);
    context::data_plane(tenant, outbox::relaying(), [&](MemoryContext) {
        if (switches::stops_queue(claim::outbox_queue))
            return;
        for (;;) {
            const auto taken = claim::ready::take(claim::outbox_queue, relay, max, lease, outbox::most_attempts);
            ListCell* cell;
            foreach (cell, taken.exhausted) {
                const auto* r = static_cast<claim::ready::row*>(lfirst(cell));
                outbox::bury(outbox::id_of(r->item_id), *r, claim::lease_expiry, claim::unanswered, false);
            }
            if (taken.count == 0)
                return;
            auto* ids = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(taken.count)));
            for (int i = 0; i < taken.count; ++i)
                ids[i] = UUIDPGetDatum(bridge::copy(outbox::id_of(taken.items[i].item_id)));
            static bridge::statement read(
                "select i.n, o.id, o.destination, o.event_type, o.aggregate_id, o.payload, o.dedup_key, o.created_at"
                "  from pg_catalog.unnest($2) with ordinality as i(id, n) join sor.outbox o on o.tenant_id = $1 and "
                "o.id = i.id"
                " order by i.n",
                {UUIDOID, UUIDARRAYOID});
            const auto found =
                read.run(in(tenant), in(construct_array(ids, taken.count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
            uint64 next = 0;
            for (int i = 0; i < taken.count; ++i) {
                if (next == found.count || found.bigint(next, 1) != i + 1) {
                    claim::ready::remove(claim::outbox_queue, taken.items[i].item_id); // its message is gone
                    continue;
                }
                rows.add({found.column(next, 2), in(taken.items[i].token), in(taken.items[i].attempt),
                          found.column(next, 3), found.column(next, 4), found.column(next, 5), found.column(next, 6),
                          found.column(next, 7), found.column(next, 8)});
                ++next;
            }
            if (next > 0)
                return;
        }
    });
    return 0;
}

SOR_FUNCTION(mark_dispatched) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& id = a.uuid(1, "message_id");
    const int64 token = a.bigint(2, "claim_token");
    const Jsonb* receipt = a.json_or_null(3);
    context::data_plane(tenant, outbox::relaying(),
                        [&](MemoryContext) { outbox::mark_dispatched(id, token, receipt); });
    PG_RETURN_VOID();
}

SOR_FUNCTION(mark_failed) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& id = a.uuid(1, "message_id");
    const int64 token = a.bigint(2, "claim_token");
    char* error = bridge::to_cstring(bridge::view(a.string(3, "error")));
    const bool permanent = a.boolean(4, "permanent");
    context::data_plane(tenant, outbox::relaying(),
                        [&](MemoryContext) { outbox::mark_failed(id, token, error, permanent); });
    PG_RETURN_VOID();
}

SOR_FUNCTION(redrive) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t* message = a.uuid_or_null(1);
    const text* destination = a.string_or_null(2);
    const int max = a.integer(3, "max");
    if ((message == nullptr) == (destination == nullptr))
        bridge::raise(code::invalid_parameter, "give either a message or a destination", nullptr,
                      "sor.find_messages(tenant_id, 'dead') lists the dead messages.");
    if (max < 1 || max > 10000)
        bridge::raise(code::invalid_parameter, "max is out of bounds", psprintf("It is %d.", max), "Give 1 to 10000.");
    return Int32GetDatum(context::administration(tenant, "user", [&](MemoryContext) -> int {
        if (message != nullptr) {
            outbox::requeue(*message);
            return 1;
        }
        // Those that another call brings back just now are its.
        static bridge::statement dead("select id from sor.outbox where tenant_id = $1 and status = 'dead'"
                                      " and destination = $2 order by id limit $3 for no key update skip locked",
                                      {UUIDOID, TEXTOID, INT4OID});
        const auto found = dead.run(in(tenant), in(destination), in(max));
        int revived = 0;
        for (uint64 i = 0; i < found.count; ++i)
            revived += outbox::revive(found.uuid(i, 1));
        return revived;
    }));
}

#define FOUND_MESSAGE                                                                                                  \
    "select id, status, destination, event_type, aggregate_id, dedup_key, attempts, last_error, created_at,"           \
    " next_attempt_at, processed_at, run_id from sor.outbox where tenant_id = $1"

SOR_FUNCTION(find_messages) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const char* status = a.null(1) ? "" : bridge::to_cstring(bridge::view(a.string(1, "status")));
    const int max = a.integer(2, "max");
    // Each by an index that holds little beside what is asked for.
    static bridge::statement of_any(FOUND_MESSAGE " order by id desc limit $2", {UUIDOID, INT4OID});
    static bridge::statement of_pending(FOUND_MESSAGE " and status = 'pending' and processed_at is null"
                                                      " order by created_at desc limit $2",
                                        {UUIDOID, INT4OID});
    static bridge::statement of_dispatched(FOUND_MESSAGE " and status = 'dispatched' order by id desc limit $2",
                                           {UUIDOID, INT4OID});
    static bridge::statement of_dead(FOUND_MESSAGE " and status = 'dead' order by id desc limit $2",
                                     {UUIDOID, INT4OID});
    bridge::statement* find = *status == '\0'                     ? &of_any
                              : strcmp(status, "pending") == 0    ? &of_pending
                              : strcmp(status, "dispatched") == 0 ? &of_dispatched
                              : strcmp(status, "dead") == 0       ? &of_dead
                                                                  : nullptr;
    if (find == nullptr)
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no status of a message", status), nullptr,
                      "Give pending, dispatched or dead.");
    if (max < 1)
        bridge::raise(code::invalid_parameter, "max is less than 1", nullptr, "Give how many messages to list.");
    bridge::rowset rows(fcinfo);
    context::inspection(tenant, [&](MemoryContext) {
        const auto found = find->look(in(tenant), in(max));
        for (uint64 i = 0; i < found.count; ++i) {
            bridge::value columns[12];
            for (int c = 0; c < 12; ++c)
                columns[c] = found.column(i, c + 1);
            rows.add(columns, 12);
        }
    });
    return 0;
}

// Here and not beside sor_claim, because it serves both kinds of queue.
SOR_FUNCTION(requeue) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    char* queue = bridge::to_cstring(bridge::view(a.string(1, "queue")));
    char* item_id = bridge::to_cstring(bridge::view(a.string(2, "item_id")));
    context::administration(tenant, "user", [&](MemoryContext) {
        if (strcmp(queue, claim::outbox_queue) == 0)
            outbox::requeue(outbox::id_of(item_id));
        else
            claim::requeue(queue, item_id);
    });
    PG_RETURN_VOID();
}
