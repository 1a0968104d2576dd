#include "events/events.hpp"

#include "bridge/catalog.hpp"
#include "bridge/digest.hpp"
#include "bridge/utility.hpp"
#include "bridge/uuid_v7.hpp"
#include "events/events_core.hpp"

extern "C" {
#include "replication/syncrep.h"
}

namespace sor::events {

using bridge::in;

namespace {

constexpr int64 unix_epoch_offset = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
constexpr unsigned char no_hash[hash_size] = {};

// ---------------------------------------------------------------- heads

// The last event of each stream this transaction appended to. Kept only while no subtransaction aborts: then the rows
// they describe may be gone.
struct head_key {
    pg_uuid_t tenant;
    pg_uuid_t stream;
};
struct head {
    head_key key;
    int64 seq;
    pg_uuid_t id;
    unsigned char hash[hash_size];
};
HTAB* heads = nullptr; // in TopTransactionContext
bool durable = false;

// ---------------------------------------------------------------- events held back

// While a batch is open its events are stamped and chained at once, but written together when it closes: one statement
// for hundreds of rows. What a subtransaction held back goes with it when it aborts.
constexpr int columns = 16;
struct held_event {
    Datum values[columns];
    bool nulls[columns];
    int nest_level;
    head at; // the stream's head after it
};
held_event* held = nullptr; // in TopTransactionContext, as what it points to
int held_count = 0;
int held_room = 0;
int batch_level = 0; // nest level of the open batch; 0: none

void drop_batch() {
    held = nullptr;
    held_count = held_room = batch_level = 0;
}

void drop_held_since(int level) {
    while (held_count > 0 && held[held_count - 1].nest_level >= level)
        --held_count;
    if (batch_level >= level)
        batch_level = 0;
}

void keep_held_for_parent(int level) {
    for (int i = held_count; i-- > 0 && held[i].nest_level >= level;)
        held[i].nest_level = level - 1;
    if (batch_level >= level)
        batch_level = level - 1;
}

void forget_heads() {
    if (heads != nullptr)
        hash_destroy(heads);
    heads = nullptr;
}

void at_transaction_event(XactEvent event, void*) {
    switch (event) {
    case XACT_EVENT_PRE_COMMIT:
        // ForceSyncCommit would flush locally but not wait for synchronous standbys.
        if (durable && synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
            set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
        break;
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE:
        heads = nullptr; // its memory ends with the transaction
        drop_batch();
        durable = false;
        break;
    default:
        break;
    }
}

void at_subtransaction_event(SubXactEvent event, SubTransactionId, SubTransactionId, void*) {
    const int level = GetCurrentTransactionNestLevel();
    if (event == SUBXACT_EVENT_ABORT_SUB) {
        forget_heads();
        drop_held_since(level);
    } else if (event == SUBXACT_EVENT_COMMIT_SUB) {
        keep_held_for_parent(level);
    }
}

void watch_transactions() {
    static bool watching = false;
    if (watching)
        return;
    RegisterXactCallback(at_transaction_event, nullptr);
    RegisterSubXactCallback(at_subtransaction_event, nullptr);
    watching = true;
}

head* head_of(const head_key& key, bool* found) {
    if (heads == nullptr) {
        HASHCTL control = {};
        control.keysize = sizeof(head_key);
        control.entrysize = sizeof(head);
        control.hcxt = TopTransactionContext;
        heads = hash_create("sor stream heads", 32, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    }
    return static_cast<head*>(hash_search(heads, &key, HASH_ENTER, found));
}

// Under REPEATABLE READ the transaction's own snapshot may miss what others appended before we got the lock.
void load_head(head& h) {
    static bridge::statement last("select seq, id, hash from sor.agent_events where tenant_id = $1 and stream_id = $2"
                                  " order by seq desc limit 1",
                                  {UUIDOID, UUIDOID});
    h.seq = 0;
    memset(h.hash, 0, hash_size);
    for (int i = held_count; i-- > 0;)
        if (memcmp(&held[i].at.key, &h.key, sizeof(head_key)) == 0) {
            h = held[i].at;
            return;
        }
    const auto found = last.run_latest(in(h.key.tenant), in(h.key.stream));
    if (found.empty())
        return;
    h.seq = found.bigint(0, 1);
    h.id = found.uuid(0, 2);
    memcpy(h.hash, VARDATA_ANY(DatumGetByteaPP(found.datum(0, 3))), hash_size);
    found.free();
}

void hash_record(const record& r, const unsigned char* prev_hash, unsigned char* into) {
    const size_t size = encoded_size(r);
    auto* bytes = static_cast<unsigned char*>(palloc(size));
    encode(r, prev_hash, bytes);
    bridge::sha256(bytes, size, into);
    pfree(bytes);
}

const unsigned char* bytes_of(const pg_uuid_t* id) {
    return id ? id->data : nullptr;
}

#define EVENT_COLUMNS                                                                                                  \
    "tenant_id, stream_id, seq, id, run_id, turn_no, tool_call_id, message_id, event_type, actor_kind, actor,"         \
    " on_behalf_of, payload, created_at, prev_hash, hash"

constexpr bridge::element_type event_columns[columns] = {
    bridge::array_of_uuid,  bridge::array_of_uuid,        bridge::array_of_int8,  bridge::array_of_uuid,
    bridge::array_of_uuid,  bridge::array_of_int4,        bridge::array_of_uuid,  bridge::array_of_uuid,
    bridge::array_of_text,  bridge::array_of_text,        bridge::array_of_text,  bridge::array_of_uuid,
    bridge::array_of_jsonb, bridge::array_of_timestamptz, bridge::array_of_bytea, bridge::array_of_bytea};

constinit bridge::statement
    insert_statement("insert into sor.agent_events (" EVENT_COLUMNS
                     ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
                     {UUIDOID, UUIDOID, INT8OID, UUIDOID, UUIDOID, INT4OID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID,
                      UUIDOID, JSONBOID, TIMESTAMPTZOID, BYTEAOID, BYTEAOID});

void hold(const bridge::value* row, const head& at) {
    const MemoryContext here = MemoryContextSwitchTo(TopTransactionContext);
    if (held_count == held_room) {
        const int room = held_room ? 2 * held_room : 64;
        const Size size = sizeof(held_event) * static_cast<Size>(room);
        held = static_cast<held_event*>(held ? repalloc_huge(held, size)
                                             : MemoryContextAllocHuge(TopTransactionContext, size));
        held_room = room;
    }
    held_event& e = held[held_count];
    for (int i = 0; i < columns; ++i) {
        e.nulls[i] = row[i].null;
        e.values[i] = row[i].null ? 0 : datumCopy(row[i].datum, event_columns[i].by_value, event_columns[i].length);
    }
    e.nest_level = GetCurrentTransactionNestLevel();
    e.at = at;
    ++held_count;
    MemoryContextSwitchTo(here);
}

// Stamps, chains and inserts; h is the head before and after.
void insert_after(head& h, const event& e) {
    const pg_uuid_t tenant = h.key.tenant;
    // Taken before the id is minted: an event's id is then no less than uuid_v7_floor of its created_at.
    const TimestampTz now = GetCurrentTimestamp();
    const pg_uuid_t id = h.seq == 0 ? bridge::uuid_v7() : bridge::uuid_v7_after(h.id);
    const Jsonb* payload = e.payload ? e.payload : bridge::empty_object();
    const int64 seq = h.seq + 1;
    record r;
    r.tenant_id = tenant.data;
    r.stream_id = e.stream.data;
    r.seq = seq;
    r.id = id.data;
    r.run_id = bytes_of(e.run);
    if (e.turn_no != 0)
        r.turn_no = e.turn_no;
    r.tool_call_id = bytes_of(e.tool_call);
    r.message_id = bytes_of(e.message);
    r.event_type = e.type;
    r.actor_kind = e.actor_kind;
    r.actor = e.actor;
    r.on_behalf_of = bytes_of(e.on_behalf_of);
    r.payload = bridge::to_cstring(payload);
    r.created_at = now + unix_epoch_offset;
    unsigned char hash[hash_size];
    hash_record(r, h.hash, hash);

    const bridge::value row[columns] = {in(tenant),
                                        in(e.stream),
                                        in(seq),
                                        in(id),
                                        in(e.run),
                                        e.turn_no ? in(e.turn_no) : bridge::value::none(),
                                        in(e.tool_call),
                                        in(e.message),
                                        in(e.type),
                                        in(e.actor_kind),
                                        in(e.actor),
                                        in(e.on_behalf_of),
                                        in(payload),
                                        bridge::in_time(now),
                                        in(bridge::to_bytea(h.hash)),
                                        in(bridge::to_bytea(hash))};
    h.seq = seq;
    h.id = id;
    memcpy(h.hash, hash, hash_size);
    if (batch_level > 0)
        hold(row, h);
    else
        insert_statement.execute(row, columns);
    require_durable_commit();
}

} // namespace

void require_durable_commit() {
    watch_transactions();
    durable = true;
}

event from_here(const pg_uuid_t& stream, const char* type, const Jsonb* payload) {
    event e;
    e.stream = stream;
    e.type = type;
    e.payload = payload;
    const char* kind = context::current_actor_kind();
    e.actor_kind = kind ? kind : "user";
    e.on_behalf_of = context::current_user_id();
    e.actor = context::caller_name();
    if (const context::origin* from = context::current_origin()) {
        e.actor = from->worker;
        e.run = &from->run;
        e.turn_no = from->turn_no;
        if (!bridge::is_nil(from->tool_call))
            e.tool_call = &from->tool_call;
    }
    return e;
}

int64 append(const event& e) {
    watch_transactions();
    head_key key;
    key.tenant = context::required_tenant();
    key.stream = e.stream;
    bool found;
    head* known = head_of(key, &found);
    // Worked on as a copy: until the row is in, the cache must not claim it.
    head h = *known;
    if (!found) {
        hash_search(heads, &key, HASH_REMOVE, nullptr);
        h.key = key;
        load_head(h);
    }
    insert_after(h, e);
    *head_of(key, &found) = h;
    return h.seq;
}

void append_first(const event& e) {
    head h = {};
    h.key.tenant = context::required_tenant();
    h.key.stream = e.stream;
    insert_after(h, e);
}

void open_batch() {
    watch_transactions();
    if (batch_level == 0)
        batch_level = GetCurrentTransactionNestLevel();
}

void close_batch() {
    batch_level = 0;
    if (held_count == 0)
        return;
    static bridge::statement insert(
        "insert into sor.agent_events (" EVENT_COLUMNS
        ") select * from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2),"
        " pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), "
        "pg_catalog.unnest($7),"
        " pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11), "
        "pg_catalog.unnest($12),"
        " pg_catalog.unnest($13), pg_catalog.unnest($14), pg_catalog.unnest($15), pg_catalog.unnest($16)) as e",
        {UUIDARRAYOID, UUIDARRAYOID, INT8ARRAYOID, UUIDARRAYOID, UUIDARRAYOID, INT4ARRAYOID, UUIDARRAYOID, UUIDARRAYOID,
         TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, UUIDARRAYOID, JSONBARRAYOID, TIMESTAMPTZARRAYOID, BYTEAARRAYOID,
         BYTEAARRAYOID});
    bridge::value arrays[columns];
    for (int c = 0; c < columns; ++c) {
        bridge::array_builder column(event_columns[c], held_count);
        for (int i = 0; i < held_count; ++i)
            column.add({held[i].values[c], held[i].nulls[c]});
        arrays[c] = in(column.done());
    }
    insert.execute(arrays, columns);
    for (int c = 0; c < columns; ++c)
        for (int i = 0; i < held_count && !event_columns[c].by_value; ++i)
            if (!held[i].nulls[c])
                pfree(DatumGetPointer(held[i].values[c]));
    held_count = 0;
}

pg_uuid_t lock_stream(stream_kind kind, const char* subject) {
    static bridge::statement lock("select stream_id from sor.event_streams"
                                  " where tenant_id = $1 and kind = $2 and subject = $3 for update",
                                  {UUIDOID, TEXTOID, TEXTOID});
    static bridge::statement make("insert into sor.event_streams (tenant_id, kind, subject, stream_id)"
                                  " values ($1, $2, $3, $4) on conflict (tenant_id, kind, subject) do nothing",
                                  {UUIDOID, TEXTOID, TEXTOID, UUIDOID});
    static constexpr const char* names[] = {"tenant", "item", "system", "switches"};
    const char* name = names[static_cast<int>(kind)];
    const pg_uuid_t& tenant = context::required_tenant();
    for (;;) {
        const auto found = lock.run_latest(in(tenant), in(name), in(subject));
        if (!found.empty()) {
            const pg_uuid_t id = found.uuid(0, 1);
            found.free();
            return id;
        }
        // Waits for a twin's insert; when that commits, the next look finds it.
        make.run(in(tenant), in(name), in(subject), in(bridge::uuid_v7()));
    }
}

namespace {

int64 append_as_login(stream_kind kind, const char* type, const Jsonb* payload) {
    event e;
    e.stream = lock_stream(kind, "");
    e.type = type;
    e.actor_kind = "user";
    e.actor = context::caller_name();
    e.payload = payload;
    return append(e);
}

} // namespace

void append_administrative(const char* type, const Jsonb* payload) {
    append_as_login(stream_kind::tenant, type, payload);
}

int64 append_system(const char* type, const Jsonb* payload) {
    return append_as_login(stream_kind::system, type, payload);
}

void append_switch(const char* type, const Jsonb* payload) {
    append_as_login(stream_kind::switches, type, payload);
}

void hash_of(const bridge::result& rows, uint64 row, const unsigned char* prev_hash, unsigned char* into) {
    record r;
    r.tenant_id = rows.uuid(row, 1).data;
    r.stream_id = rows.uuid(row, 2).data;
    r.seq = rows.bigint(row, 3);
    r.id = rows.uuid(row, 4).data;
    r.run_id = bytes_of(rows.uuid_or_null(row, 5));
    if (!rows.null(row, 6))
        r.turn_no = rows.integer(row, 6);
    r.tool_call_id = bytes_of(rows.uuid_or_null(row, 7));
    r.message_id = bytes_of(rows.uuid_or_null(row, 8));
    r.event_type = rows.string(row, 9);
    r.actor_kind = rows.string(row, 10);
    r.actor = rows.string(row, 11);
    r.on_behalf_of = bytes_of(rows.uuid_or_null(row, 12));
    r.payload = bridge::to_cstring(rows.json(row, 13));
    r.created_at = rows.time(row, 14) + unix_epoch_offset;
    hash_record(r, prev_hash ? prev_hash : no_hash, into);
}

} // namespace sor::events

using namespace sor;

// Attached to history by protect_append_only; never reads a table, so it holds under row_security = off too.
SOR_FUNCTION(refuse_change) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        elog(ERROR, "refuse_change: not called as a trigger");
    const auto* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
    const char* verb = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)   ? "UPDATE"
                       : TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ? "DELETE"
                                                                    : "TRUNCATE";
    bridge::raise(code::append_only_violation,
                  psprintf("%s is append-only", RelationGetRelationName(trigger->tg_relation)),
                  psprintf("%s was refused.", verb), "Record a correction as a new row.");
}

namespace {

void guard(Oid relid) {
    const char* table = bridge::qualified_name(relid);
    // On every verb, without a condition, and by our function; a partition has its row trigger from its parent.
    static bridge::statement find("select t.tgtype, t.tgqual is null and t.tgattr = '' and p.proname = 'refuse_change'"
                                  "         and p.pronamespace = 'sor'::pg_catalog.regnamespace"
                                  "  from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid"
                                  " where t.tgrelid = $1 and t.tgname = $2",
                                  {OIDOID, NAMEOID});
    static constexpr struct {
        const char* name;
        int16 type;
        const char* fires;
    } guards[] = {{"append_only_rows", 27, "before update or delete on %s for each row"},
                  {"append_only_truncate", 34, "before truncate on %s for each statement"}};
    for (const auto& g : guards) {
        const auto found = find.run(bridge::value::of(ObjectIdGetDatum(relid)), bridge::in_name(g.name));
        if (!found.empty() && DatumGetInt16(found.datum(0, 1)) == g.type && found.boolean(0, 2))
            continue;
        if (!found.empty())
            bridge::execute_own(psprintf("drop trigger %s on %s", g.name, table));
        StringInfoData sql;
        initStringInfo(&sql);
        appendStringInfo(&sql, "create trigger %s ", g.name);
        appendStringInfo(&sql, g.fires, table);
        appendStringInfoString(&sql, " execute function sor.refuse_change()");
        bridge::execute_own(sql.data);
    }
    // ALWAYS: a session in replica mode must not slip past.
    bridge::execute_own(psprintf("alter table %s enable always trigger append_only_rows,"
                                 " enable always trigger append_only_truncate",
                                 table));
}

} // namespace

SOR_FUNCTION(protect_append_only) {
    const bridge::arguments a(fcinfo);
    const Oid relid = a.oid(0, "target");
    context::require_member_of(bridge::owner_of_relation(relid), "The owner of a table protects it.");
    bridge::with_spi([&](MemoryContext) {
        guard(relid);
        // A partition can be addressed directly.
        static bridge::statement partitions("select relid::pg_catalog.oid from pg_catalog.pg_partition_tree($1)"
                                            " where relid <> $1 order by level, relid",
                                            {REGCLASSOID});
        const auto found = partitions.run(bridge::value::of(ObjectIdGetDatum(relid)));
        for (uint64 i = 0; i < found.count; ++i)
            guard(DatumGetObjectId(found.datum(i, 1)));
    });
    PG_RETURN_VOID();
}
