#include "claim/ready.hpp"

#include "claim/claim_core.hpp"

extern "C" {
#include "common/hashfn.h"
#include "storage/lock.h"
}

namespace sor::claim::ready {

using bridge::in;
using bridge::in_time;
using bridge::value;

namespace {

// How many more rows than asked for a claim looks at when it met parked or exhausted ones.
constexpr int most_looked_at = 10000;

// The place of a new row among those of its order_value: when it became due, and never twice the same in one backend.
TimestampTz next_place(TimestampTz now) {
    static TimestampTz last = 0;
    last = now > last ? now : last + 1;
    return last;
}

// Claims of one order_value exclude each other: without it a row committed late, yet with an earlier place, could be
// handed out beside one that another claim is just taking. Never waits; held until the transaction ends.
bool try_lock_order(const pg_uuid_t& tenant, const char* queue, const char* order_value) {
    uint64 hash = hash_bytes_extended(tenant.data, UUID_LEN, 0x736f722e726479);
    hash = hash_bytes_extended(reinterpret_cast<const unsigned char*>(queue), static_cast<int>(strlen(queue)), hash);
    hash = hash_bytes_extended(reinterpret_cast<const unsigned char*>(order_value),
                               static_cast<int>(strlen(order_value)), hash);
    // An advisory lock of a class (3) that no SQL function takes, or any session could keep an order_value from all
    // others.
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, static_cast<uint32>(hash >> 32), static_cast<uint32>(hash), 3);
    return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

// The place of a row that was handed out.
constexpr TimestampTz in_front = DT_NOBEGIN;

// After a row was removed from that place of its order_value: the next one may be handed out.
void let_next_pass(const char* queue, const char* order_value, TimestampTz order_at, const char* item_id) {
    // Waits for whoever is removing that row, or handing it out, and takes the one after it when it is gone. Whether
    // yet another row is before both does not matter: a claim looks before it hands out.
    static bridge::statement first(
        "select item_id, available_at = 'infinity' from sor.ready"
        " where tenant_id = $1 and queue = $2 and order_value = $3 and (order_at, item_id) > ($4, $5)"
        " order by order_at, item_id limit 1 for update",
        {UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID});
    static bridge::statement pass("update sor.ready set available_at = order_at"
                                  " where tenant_id = $1 and queue = $2 and item_id = $3 and available_at = 'infinity'",
                                  {UUIDOID, TEXTOID, TEXTOID});
    const pg_uuid_t& tenant = context::required_tenant();
    bridge::result next;
    bridge::in_index_order(
        [&] { next = first.run_latest(in(tenant), in(queue), in(order_value), in_time(order_at), in(item_id)); });
    if (!next.empty() && next.boolean(0, 2))
        pass.run_latest(in(tenant), in(queue), next.column(0, 1));
    next.free();
}

// Candidates of one look at the due rows, all locked.
struct candidates {
    row* rows;
    Datum* places; // their tids; an array of keys could be looked up by a scan of the whole queue
    bool* passes;  // may be handed out, as far as its order_value goes
    int count;
};

ItemPointer copy_tid(Datum tid) {
    auto* copy = static_cast<ItemPointer>(palloc(sizeof(ItemPointerData)));
    *copy = *reinterpret_cast<ItemPointer>(DatumGetPointer(tid));
    return copy;
}

ArrayType* tid_array(Datum* tids, int count) {
    return construct_array(tids, count, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
}

// Decides for the rows that have an order_value which of them pass, and parks those behind another. Returns how many
// it parked.
int settle_order(const char* queue, candidates& c, int wanted) {
    const auto room = static_cast<size_t>(c.count);
    auto* keys =
        static_cast<Datum*>(palloc(sizeof(Datum) * room)); // order values, each once for a row of candidates with it
    auto* locked = static_cast<bool*>(palloc0(sizeof(bool) * room));
    auto* key_of = static_cast<int*>(palloc(sizeof(int) * room)); // of each candidate; -1: none
    const pg_uuid_t& tenant = context::required_tenant();
    int n = 0;
    const char* last = nullptr;
    for (int i = 0; i < c.count; ++i) {
        const char* order_value = c.rows[i].order_value;
        c.passes[i] = order_value == nullptr;
        key_of[i] = -1;
        if (c.passes[i])
            continue;
        if (last == nullptr || strcmp(last, order_value) != 0) {
            // Beyond those wanted, rows are only looked at to be parked: a lock for each could fill the lock table.
            if (n < wanted)
                locked[n] = try_lock_order(tenant, queue, order_value);
            keys[n++] = CStringGetTextDatum(order_value);
            last = order_value;
        }
        key_of[i] = n - 1;
    }
    if (n == 0)
        return 0;
    // Looks with a snapshot taken after the locks. The subquery's LIMIT keeps it one index probe for each.
    static bridge::statement firsts("select (select r.item_id from sor.ready r"
                                    "         where r.tenant_id = $1 and r.queue = $2 and r.order_value = k.order_value"
                                    "         order by r.order_at, r.item_id limit 1)"
                                    "  from pg_catalog.unnest($3) with ordinality as k(order_value, n) order by k.n",
                                    {UUIDOID, TEXTOID, TEXTARRAYOID});
    bridge::result first;
    bridge::in_index_order([&] { first = firsts.run_latest(in(tenant), in(queue), in(text_array(keys, nullptr, n))); });
    auto** first_of = static_cast<char**>(palloc(sizeof(char*) * room));
    for (int i = 0; i < n; ++i)
        first_of[i] = first.string(static_cast<uint64>(i), 1); // the candidates themselves are there, locked
    first.free();
    // A row is parked only while the first one cannot go unseen: whoever removes that waits for this lock, and then
    // finds the parked row. One that is just being removed cannot be locked, and its followers are left as they are.
    static bridge::statement hold(
        "select k.n::int from pg_catalog.unnest($3) with ordinality as k(item_id, n),"
        "  lateral (select from sor.ready r where r.tenant_id = $1 and r.queue = $2 and r.item_id = k.item_id"
        "           limit 1 for key share skip locked) h",
        {UUIDOID, TEXTOID, TEXTARRAYOID});
    auto* held = static_cast<bool*>(palloc0(sizeof(bool) * room));
    auto* asked = static_cast<int*>(palloc(sizeof(int) * room));
    int to_hold = 0;
    for (int i = 0; i < c.count; ++i)
        if (key_of[i] >= 0 && strcmp(first_of[key_of[i]], c.rows[i].item_id) != 0 &&
            (to_hold == 0 || asked[to_hold - 1] != key_of[i])) {
            keys[to_hold] = CStringGetTextDatum(first_of[key_of[i]]);
            asked[to_hold++] = key_of[i];
        }
    if (to_hold > 0) {
        const auto got = hold.run_latest(in(tenant), in(queue), in(text_array(keys, nullptr, to_hold)));
        for (uint64 i = 0; i < got.count; ++i)
            held[asked[got.integer(i, 1) - 1]] = true;
        got.free();
    }
    auto* behind = static_cast<Datum*>(palloc(sizeof(Datum) * room));
    int parked = 0;
    for (int i = 0; i < c.count; ++i) {
        if (key_of[i] < 0)
            continue;
        const bool is_first = strcmp(first_of[key_of[i]], c.rows[i].item_id) == 0;
        c.passes[i] = is_first && locked[key_of[i]];
        if (!is_first && held[key_of[i]])
            behind[parked++] = c.places[i];
    }
    if (parked > 0) {
        static bridge::statement park("update sor.ready set available_at = 'infinity' where ctid = any ($1)",
                                      {TIDARRAYOID});
        park.run(in(tid_array(behind, parked)));
    }
    return parked;
}

} // namespace

int64 unix_microseconds(TimestampTz t) {
    return t + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

ArrayType* text_array(Datum* texts, bool* nulls, int count) {
    int dimensions[1] = {count};
    int bounds[1] = {1};
    if (count == 0)
        return construct_empty_array(TEXTOID);
    return construct_md_array(texts, nulls, 1, dimensions, bounds, TEXTOID, -1, false, TYPALIGN_INT);
}

taken take(const char* queue, const char* worker, int max, int64 lease, int max_attempts) {
    // A select of its own, so that its LIMIT bounds what is locked and its plan is the ordered index scan however
    // large the backlog is; what it found and locked is then addressed by its place.
    static bridge::statement due("select item_id, claim_token, attempt, order_value, claimed_by, ctid from sor.ready"
                                 " where tenant_id = $1 and queue = $2 and available_at <= $3"
                                 " order by available_at limit $4 for no key update skip locked",
                                 {UUIDOID, TEXTOID, TIMESTAMPTZOID, INT4OID});
    static bridge::statement hand_out(
        "update sor.ready set claim_token = greatest(claim_token + 1, $2), attempt = attempt + 1, available_at = $3,"
        "   claimed_by = $4, run_id = $5, order_at = case when order_value is not null then '-infinity'::timestamptz "
        "end"
        " where ctid = any ($1)",
        {TIDARRAYOID, INT8OID, TIMESTAMPTZOID, TEXTOID, UUIDOID});
    const pg_uuid_t& tenant = context::required_tenant();
    const context::origin* from = context::current_origin();
    const TimestampTz now = GetCurrentTimestamp();
    const int64 stamp = unix_microseconds(now);
    taken out = {static_cast<row*>(palloc(sizeof(row) * static_cast<size_t>(max))), 0, NIL, now + lease};
    int limit = max;
    while (out.count < max) {
        const auto found = due.run(in(tenant), in(queue), in_time(now), in(limit));
        if (found.empty())
            break;
        const auto n = static_cast<size_t>(found.count);
        candidates c = {static_cast<row*>(palloc(sizeof(row) * n)), static_cast<Datum*>(palloc(sizeof(Datum) * n)),
                        static_cast<bool*>(palloc(sizeof(bool) * n)), 0};
        bool ordered = false;
        int given_up = 0;
        for (uint64 i = 0; i < n; ++i) {
            row r = {found.string(i, 1), found.bigint(i, 2), found.integer(i, 3), found.string_or_null(i, 4),
                     found.string_or_null(i, 5)};
            if (r.attempt >= max_attempts) {
                remove(queue, r.item_id);
                auto* kept = static_cast<row*>(palloc(sizeof(row)));
                *kept = r;
                out.exhausted = lappend(out.exhausted, kept);
                ++given_up;
                continue;
            }
            ordered = ordered || r.order_value != nullptr;
            c.passes[c.count] = true;
            c.places[c.count] = PointerGetDatum(copy_tid(found.datum(i, 6)));
            c.rows[c.count++] = r;
        }
        found.free();
        const int parked = ordered ? settle_order(queue, c, max - out.count) : 0;
        int handed = 0;
        for (int i = 0; i < c.count && out.count < max; ++i) {
            if (!c.passes[i])
                continue;
            row& r = c.rows[i];
            r.token = next_token(r.token, stamp);
            ++r.attempt;
            out.items[out.count++] = r;
            c.places[handed++] = c.places[i];
        }
        if (handed > 0) {
            const auto done = hand_out.run(in(tid_array(c.places, handed)), in(stamp), in_time(out.until), in(worker),
                                           in(from ? &from->run : nullptr));
            if (done.count != static_cast<uint64>(handed))
                elog(ERROR, "%d rows of queue \"%s\" were locked, " UINT64_FORMAT " handed out", handed, queue,
                     done.count);
        }
        // Nothing was moved out of the way: all there is was seen, or what is left waits for transactions in flight.
        if (parked + given_up == 0 && (n < static_cast<size_t>(limit) || limit == most_looked_at))
            break;
        limit = limit < most_looked_at / 10 ? most_looked_at / 10 : most_looked_at;
    }
    return out;
}

void raise_lost(const char* queue, const char* item_id, int64 token) {
    static bridge::statement find(
        "select claim_token, claimed_by, available_at::text, available_at = 'infinity' from sor.ready"
        " where tenant_id = $1 and queue = $2 and item_id = $3",
        {UUIDOID, TEXTOID, TEXTOID});
    const auto found = find.run_latest(in(context::required_tenant()), in(queue), in(item_id));
    const char* why = "It is not in the queue: it was completed or is dead, or its row was deleted.";
    if (found.empty()) {
        static bridge::statement known("select $1 = 'outbox' or exists (select from sor.queues where name = $1)",
                                       {TEXTOID});
        if (!known.run(in(queue)).boolean(0, 1))
            bridge::raise(code::not_registered, psprintf("queue \"%s\" is not registered", queue), nullptr,
                          "Have an operator call sor.register_queue.");
    } else {
        why = found.bigint(0, 1) != token ? "It was handed out again under another token, or never under this one."
              : found.null(0, 2)          ? "It was given back."
                                          : psprintf("The lease ended at %s.", found.string(0, 3));
    }
    bridge::raise(code::lease_lost, psprintf("the claim of item \"%s\" in queue \"%s\" is lost", item_id, queue), why,
                  "Write nothing more for it; claim again, and extend the lease of work that takes longer.");
}

bool try_remove_held(const char* queue, const char* item_id, int64 token, row& removed) {
    static bridge::statement remove("delete from sor.ready where tenant_id = $1 and queue = $2 and item_id = $3"
                                    " and claim_token = $4 and claimed_by is not null and available_at > $5"
                                    " returning attempt, order_value, claimed_by",
                                    {UUIDOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID});
    const auto found =
        remove.run(in(context::required_tenant()), in(queue), in(item_id), in(token), in_time(GetCurrentTimestamp()));
    if (found.empty())
        return false;
    removed = {pstrdup(item_id), token, found.integer(0, 1), found.string_or_null(0, 2), found.string(0, 3)};
    found.free();
    if (removed.order_value != nullptr)
        let_next_pass(queue, removed.order_value, in_front, item_id);
    return true;
}

row remove_held(const char* queue, const char* item_id, int64 token) {
    row r;
    if (!try_remove_held(queue, item_id, token, r))
        raise_lost(queue, item_id, token);
    return r;
}

row lock_held(const char* queue, const char* item_id, int64 token) {
    static bridge::statement lock("select claim_token, attempt, order_value, claimed_by, available_at from sor.ready"
                                  " where tenant_id = $1 and queue = $2 and item_id = $3 for no key update",
                                  {UUIDOID, TEXTOID, TEXTOID});
    const auto found = lock.run(in(context::required_tenant()), in(queue), in(item_id));
    if (found.empty() || found.bigint(0, 1) != token || found.null(0, 4) || found.time(0, 5) <= GetCurrentTimestamp())
        raise_lost(queue, item_id, token);
    const row r = {pstrdup(item_id), token, found.integer(0, 2), found.string_or_null(0, 3), found.string(0, 4)};
    found.free();
    return r;
}

void extend_held(const char* queue, const char* item_id, int64 token, int64 lease) {
    static bridge::statement extend("update sor.ready set available_at = greatest(available_at, $6)"
                                    " where tenant_id = $1 and queue = $2 and item_id = $3"
                                    " and claim_token = $4 and claimed_by is not null and available_at > $5",
                                    {UUIDOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID});
    const TimestampTz now = GetCurrentTimestamp();
    if (extend
            .run(in(context::required_tenant()), in(queue), in(item_id), in(token), in_time(now), in_time(now + lease))
            .count == 0)
        raise_lost(queue, item_id, token);
}

void put_back(const char* queue, const char* item_id, TimestampTz available_at, int attempt) {
    static bridge::statement put(
        "update sor.ready set available_at = $4, attempt = $5, claimed_by = null, run_id = null"
        " where tenant_id = $1 and queue = $2 and item_id = $3",
        {UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID});
    put.run(in(context::required_tenant()), in(queue), in(item_id), in_time(available_at), in(attempt));
}

bool remove(const char* queue, const char* item_id) {
    static bridge::statement remove("delete from sor.ready where tenant_id = $1 and queue = $2 and item_id = $3"
                                    " returning order_value, order_at",
                                    {UUIDOID, TEXTOID, TEXTOID});
    const auto found = remove.run(in(context::required_tenant()), in(queue), in(item_id));
    if (found.empty())
        return false;
    if (char* order_value = found.string_or_null(0, 1))
        let_next_pass(queue, order_value, found.time(0, 2), item_id);
    found.free();
    return true;
}

void add(const char* queue, const char* item_id, const TimestampTz* available_at, const char* order_value,
         int64 token) {
    static bridge::statement add(
        "insert into sor.ready (tenant_id, queue, item_id, available_at, claim_token, order_value, order_at)"
        " values ($1, $2, $3, $4, $5, $6, $7)",
        {UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID, TIMESTAMPTZOID});
    const TimestampTz now = GetCurrentTimestamp();
    const bool later = available_at != nullptr && *available_at > now;
    const TimestampTz from = later ? *available_at : now;
    add.run(in(context::required_tenant()), in(queue), in(item_id), in_time(from), in(token), in(order_value),
            order_value ? in_time(later ? from : next_place(now)) : value::none());
}

void add_many(const char* queue, ArrayType* tenants, ArrayType* item_ids, ArrayType* order_values, int count) {
    const TimestampTz now = GetCurrentTimestamp();
    if (order_values == nullptr) {
        static bridge::statement add(
            "insert into sor.ready (tenant_id, queue, item_id, available_at)"
            " select i.tenant_id, $1, i.item_id, $4"
            "   from rows from (pg_catalog.unnest($2), pg_catalog.unnest($3)) as i(tenant_id, item_id)"
            " on conflict (tenant_id, queue, item_id) do nothing",
            {TEXTOID, UUIDARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID});
        add.run(in(queue), in(tenants), in(item_ids), in_time(now));
        return;
    }
    // The later ones of an order_value are parked at once. That is safe only behind a row of the same statement:
    // whoever sees these sees that one, and lets them pass when it goes. Behind any other row it might already be gone.
    static bridge::statement add(
        "insert into sor.ready (tenant_id, queue, item_id, available_at, order_value, order_at)"
        " select i.tenant_id, $1, i.item_id, case when i.place > 1 then 'infinity' else $5 end, i.order_value,"
        "        case when i.order_value is not null then $6 + i.n * interval '1 microsecond' end"
        "   from (select tenant_id, item_id, order_value, n,"
        "                case when order_value is not null then row_number() over (partition by tenant_id, order_value "
        "order by n) end as place"
        "           from rows from (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) with "
        "ordinality"
        "             as given(tenant_id, item_id, order_value, n)) i"
        " on conflict (tenant_id, queue, item_id) do nothing",
        {TEXTOID, UUIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID});
    const TimestampTz place = next_place(now);
    for (int i = 0; i < count; ++i)
        next_place(now);
    if (add.run(in(queue), in(tenants), in(item_ids), in(order_values), in_time(now), in_time(place)).count ==
        static_cast<uint64>(count))
        return;
    // Some were there already, maybe the first of an order_value; then none of it may stay parked.
    static bridge::statement unpark(
        "update sor.ready r set available_at = r.order_at"
        "  from rows from (pg_catalog.unnest($2), pg_catalog.unnest($3)) as i(tenant_id, item_id)"
        " where r.tenant_id = i.tenant_id and r.queue = $1 and r.item_id = i.item_id"
        "   and r.available_at = 'infinity'",
        {TEXTOID, UUIDARRAYOID, TEXTARRAYOID});
    unpark.run(in(queue), in(tenants), in(item_ids));
}

void remove_many(const char* queue, ArrayType* item_ids) {
    static bridge::statement remove("with gone as (delete from sor.ready r using pg_catalog.unnest($3) i(item_id)"
                                    "               where r.tenant_id = $1 and r.queue = $2 and r.item_id = i.item_id"
                                    "               returning r.order_value, r.order_at, r.item_id)"
                                    " select distinct on (order_value) order_value, order_at, item_id from gone"
                                    "  where order_value is not null order by order_value, order_at, item_id",
                                    {UUIDOID, TEXTOID, TEXTARRAYOID});
    const auto found = remove.run(in(context::required_tenant()), in(queue), in(item_ids));
    for (uint64 i = 0; i < found.count; ++i)
        let_next_pass(queue, found.string(i, 1), found.time(i, 2), found.string(i, 3));
    found.free();
}

} // namespace sor::claim::ready
