#include "claim/queue.hpp"

#include "bridge/catalog.hpp"
#include "bridge/utility.hpp"
#include "idempotency/idempotency.hpp"

extern "C" {
#include "utils/bytea.h"
#include "utils/float.h"
}

namespace sor::claim {

using bridge::in;
using bridge::value;

namespace {

constexpr uint32 read_items_purpose = 200; // unique among the extension's purposes of relation_plan
constexpr int chunk = 5000;
constexpr size_t longest_name = 40; // trigger names carry it

value in_oid(Oid oid) {
    return value::of(ObjectIdGetDatum(oid));
}

struct registration {
    char* target;
    char* key_column;
    char* order_key;
    int max_attempts;
    int64 backoff_base;
};

// Null when no queue has that name.
const registration* find_registration(const char* name) {
    static bridge::statement find(
        "select target, key_column, order_key, max_attempts, backoff_base from sor.queues where name = $1", {TEXTOID});
    const auto found = find.run(in(name));
    if (found.empty())
        return nullptr;
    auto* r = static_cast<registration*>(palloc(sizeof(registration)));
    *r = {found.string(0, 1), found.string(0, 2), found.string_or_null(0, 3), found.integer(0, 4),
          bridge::bounded_interval(DatumGetIntervalP(found.datum(0, 5)), 0, USECS_PER_DAY, "backoff_base")};
    found.free();
    return r;
}

// ---------------------------------------------------------------- rows to items

// Reads key and order key out of rows, as their types' text.
struct reader {
    AttrNumber tenant;
    AttrNumber key;
    AttrNumber order; // InvalidAttrNumber: none
    FmgrInfo key_out;
    FmgrInfo order_out;
};

void prepare_output(Oid relid, AttrNumber column, FmgrInfo* out) {
    Oid function;
    bool varlena;
    getTypeOutputInfo(get_atttype(relid, column), &function, &varlena);
    fmgr_info(function, out);
}

reader reader_of(Oid relid, const registration& r) {
    reader out = {};
    out.tenant = get_attnum(relid, "tenant_id");
    out.key = get_attnum(relid, r.key_column);
    out.order = r.order_key ? get_attnum(relid, r.order_key) : InvalidAttrNumber;
    if (out.tenant == InvalidAttrNumber || get_atttype(relid, out.tenant) != UUIDOID || out.key == InvalidAttrNumber ||
        (r.order_key && out.order == InvalidAttrNumber))
        bridge::raise(code::not_registered,
                      psprintf("table \"%s\" has lost a column of its queue", get_rel_name(relid)),
                      psprintf("It was registered with %s%s%s.", r.key_column, r.order_key ? " and " : "",
                               r.order_key ? r.order_key : ""),
                      "Rename the column back, or have an operator call sor.register_queue again.");
    prepare_output(relid, out.key, &out.key_out);
    if (out.order != InvalidAttrNumber)
        prepare_output(relid, out.order, &out.order_out);
    return out;
}

// What one session writes others compare and read, so none of the session's formats may show in it.
Datum text_of(FmgrInfo* output, Datum d) {
    const int date_style = DateStyle, date_order = DateOrder, interval_style = IntervalStyle,
              digits = extra_float_digits, bytea = bytea_output;
    pg_tz* const zone = session_timezone;
    volatile Datum text = 0;
    PG_TRY();
    {
        DateStyle = USE_ISO_DATES;
        DateOrder = DATEORDER_MDY;
        IntervalStyle = INTSTYLE_POSTGRES;
        extra_float_digits = 1;
        bytea_output = BYTEA_OUTPUT_HEX;
        session_timezone = pg_tzset("GMT");
        text = CStringGetTextDatum(OutputFunctionCall(output, d));
    }
    PG_FINALLY();
    {
        DateStyle = date_style;
        DateOrder = date_order;
        IntervalStyle = interval_style;
        extra_float_digits = digits;
        bytea_output = bytea;
        session_timezone = zone;
    }
    PG_END_TRY();
    return text;
}

// Of tenant and key, which the table's owner may have made nullable since the registration.
template <class F>
Datum required(AttrNumber column, F&& f) {
    bool null;
    const Datum d = f(column, &null);
    if (null)
        ereport(ERROR,
                (errcode(ERRCODE_NOT_NULL_VIOLATION), errmsg("tenant and key of a row of a queue must not be null"),
                 errhint("Make both columns NOT NULL again.")));
    return d;
}

// Items on their way to the ready table, in memory of their own.
class collected {
public:
    explicit collected(bool ordered)
        : memory_(AllocSetContextCreate(CurrentMemoryContext, "sor items", ALLOCSET_DEFAULT_SIZES)), ordered_(ordered) {
    }

    // f(number of the column, &null) is the row's column.
    template <class F>
    void take(reader& r, F&& f) {
        const MemoryContext before = MemoryContextSwitchTo(memory_);
        if (count_ == room_) {
            room_ = room_ == 0 ? 16 : room_ * 8 < chunk ? room_ * 8 : chunk;
            grow(tenants_);
            grow(items_);
            grow(orders_);
            nulls_ = static_cast<bool*>(nulls_ ? repalloc(nulls_, sizeof(bool) * static_cast<size_t>(room_))
                                               : palloc(sizeof(bool) * static_cast<size_t>(room_)));
        }
        tenants_[count_] = UUIDPGetDatum(bridge::copy(*DatumGetUUIDP(required(r.tenant, f))));
        items_[count_] = text_of(&r.key_out, required(r.key, f));
        nulls_[count_] = true;
        orders_[count_] = 0;
        if (ordered_) {
            const Datum order = f(r.order, &nulls_[count_]);
            if (!nulls_[count_])
                orders_[count_] = text_of(&r.order_out, order);
        }
        ++count_;
        MemoryContextSwitchTo(before);
    }
    bool full() const { return count_ == chunk; }
    int count() const { return count_; }
    const pg_uuid_t& tenant(int i) const { return *DatumGetUUIDP(tenants_[i]); }
    Datum item(int i) const { return items_[i]; }

    void add_to(const char* queue) {
        if (count_ == 0)
            return;
        const MemoryContext before = MemoryContextSwitchTo(memory_);
        ready::add_many(queue, construct_array(tenants_, count_, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR),
                        ready::text_array(items_, nullptr, count_),
                        ordered_ ? ready::text_array(orders_, nulls_, count_) : nullptr, count_);
        MemoryContextSwitchTo(before);
        clear();
    }
    void clear() {
        MemoryContextReset(memory_);
        tenants_ = items_ = orders_ = nullptr;
        nulls_ = nullptr;
        count_ = room_ = 0;
    }

private:
    void grow(Datum*& array) {
        array = static_cast<Datum*>(array ? repalloc(array, sizeof(Datum) * static_cast<size_t>(room_))
                                          : palloc(sizeof(Datum) * static_cast<size_t>(room_)));
    }
    MemoryContext memory_;
    Datum* tenants_ = nullptr;
    Datum* items_ = nullptr;
    Datum* orders_ = nullptr;
    bool* nulls_ = nullptr;
    int count_ = 0;
    int room_ = 0;
    bool ordered_;
};

// Of deleted rows: their ready rows and failures go along, tenant by tenant.
void forget(const char* name, const collected& rows) {
    auto* done = static_cast<bool*>(palloc0(sizeof(bool) * static_cast<size_t>(rows.count())));
    auto* items = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(rows.count())));
    for (int first = 0; first < rows.count(); ++first) {
        if (done[first])
            continue;
        int n = 0;
        for (int i = first; i < rows.count(); ++i)
            if (!done[i] && bridge::equal(rows.tenant(i), rows.tenant(first))) {
                items[n++] = rows.item(i);
                done[i] = true;
            }
        ArrayType* ids = ready::text_array(items, nullptr, n);
        context::administration(rows.tenant(first), "system", [&](MemoryContext) {
            ready::remove_many(name, ids);
            static bridge::statement failures(
                "delete from sor.item_failures where tenant_id = $1 and queue = $2 and item_id = any ($3)",
                {UUIDOID, TEXTOID, TEXTARRAYOID});
            failures.run(in(context::required_tenant()), in(name), in(ids));
        });
    }
}

// ---------------------------------------------------------------- triggers

struct fired {
    const TriggerData* trigger;
    const char* queue;
    const registration* of;
    reader columns;
};

// SR013 when the queue is not registered any more: then the table's triggers are orphans. Runs as the engine.
fired fired_by(FunctionCallInfo call) {
    fired f = {};
    f.trigger = reinterpret_cast<TriggerData*>(call->context);
    f.queue = f.trigger->tg_trigger->tgargs[0];
    f.of = find_registration(f.queue);
    if (f.of == nullptr)
        bridge::raise(code::not_registered, psprintf("queue \"%s\" is not registered", f.queue), nullptr,
                      "Have an operator call sor.register_queue, or drop the table's sor_queue triggers.");
    f.columns = reader_of(RelationGetRelid(f.trigger->tg_relation), *f.of);
    return f;
}

void require_trigger(FunctionCallInfo call) {
    if (!CALLED_AS_TRIGGER(call) || reinterpret_cast<TriggerData*>(call->context)->tg_trigger->tgnargs != 1)
        elog(ERROR, "not called as a trigger of a queue");
}

// Calls each(rows) with the rows the statement inserted or deleted, a chunk at a time.
template <class F>
void each_chunk(fired& f, Tuplestorestate* changed, F&& each) {
    const TupleDesc desc = RelationGetDescr(f.trigger->tg_relation);
    collected rows(f.of->order_key != nullptr);
    if (TRIGGER_FIRED_FOR_ROW(f.trigger->tg_event)) {
        rows.take(f.columns,
                  [&](AttrNumber n, bool* null) { return heap_getattr(f.trigger->tg_trigtuple, n, desc, null); });
        each(rows);
        return;
    }
    const int pointer = tuplestore_alloc_read_pointer(changed, EXEC_FLAG_REWIND);
    tuplestore_select_read_pointer(changed, pointer);
    tuplestore_rescan(changed);
    TupleTableSlot* slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
    while (tuplestore_gettupleslot(changed, true, false, slot)) {
        rows.take(f.columns, [&](AttrNumber n, bool* null) { return slot_getattr(slot, n, null); });
        if (rows.full()) {
            each(rows);
            rows.clear();
            tuplestore_select_read_pointer(changed, pointer);
        }
    }
    ExecDropSingleTupleTableSlot(slot);
    if (rows.count() > 0)
        each(rows);
}

// ---------------------------------------------------------------- registration

// The one column that, with tenant_id, is the table's primary key or else a unique index of not-null columns.
char* find_key_column(Oid relid) {
    static bridge::statement find("select a.attname::text from pg_catalog.pg_index i"
                                  "  join pg_catalog.pg_attribute t on t.attrelid = i.indrelid and t.attname = "
                                  "'tenant_id' and t.attnum = any (i.indkey)"
                                  "  join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any "
                                  "(i.indkey) and a.attnum <> t.attnum and a.attnotnull"
                                  " where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate and "
                                  "i.indnkeyatts = 2 and i.indnatts = 2"
                                  "   and i.indpred is null and i.indexprs is null"
                                  " order by i.indisprimary desc, i.indexrelid limit 1",
                                  {OIDOID});
    const auto found = find.run(in_oid(relid));
    if (found.empty())
        bridge::raise(code::invalid_parameter,
                      psprintf("table \"%s\" has no key of tenant_id and one other column", get_rel_name(relid)),
                      "That column names its items.", "Give it a primary key (tenant_id, id).");
    return found.string(0, 1);
}

bool has_triggers(Oid relid, const char* name) {
    static bridge::statement find(
        "select exists (select from pg_catalog.pg_trigger where tgrelid = $1 and tgname = $2)", {OIDOID, TEXTOID});
    return find.run(in_oid(relid), in(psprintf("sor_queue_%s_insert", name))).boolean(0, 1);
}

// As the operator who calls. Statement triggers, because a load inserts a thousand rows at a time; row triggers where
// a statement on another table of the hierarchy could change rows unseen by them.
void create_triggers(Oid relid, const char* name, const char* key_column, const char* order_key) {
    const char* table = bridge::qualified_name(relid);
    const char* argument = quote_literal_cstr(name);
    const bool by_row = get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE || get_rel_relispartition(relid);
    const char* key = quote_identifier(key_column);
    StringInfoData changed;
    initStringInfo(&changed);
    appendStringInfo(&changed, "old.tenant_id is distinct from new.tenant_id or old.%s is distinct from new.%s", key,
                     key);
    if (order_key != nullptr)
        appendStringInfo(&changed, " or old.%s is distinct from new.%s", quote_identifier(order_key),
                         quote_identifier(order_key));
    const struct {
        const char* suffix;
        const char* event;
        const char* how;
        const char* function;
    } triggers[] = {
        {"insert", "after insert", by_row ? "for each row" : "referencing new table as inserted for each statement",
         "queue_insert"},
        {"delete", "after delete", by_row ? "for each row" : "referencing old table as deleted for each statement",
         "queue_delete"},
        {"update", "after update", psprintf("for each row when (%s)", changed.data), "queue_update"},
        {"truncate", "before truncate", "for each statement", "queue_truncate"},
    };
    StringInfoData enable;
    initStringInfo(&enable);
    appendStringInfo(&enable, "alter table %s ", table);
    for (const auto& t : triggers) {
        const char* trigger = quote_identifier(psprintf("sor_queue_%s_%s", name, t.suffix));
        bridge::execute_own(psprintf("create or replace trigger %s %s on %s %s execute function sor.%s(%s)", trigger,
                                     t.event, table, t.how, t.function, argument));
        // ALWAYS: a session in replica mode must not slip past.
        appendStringInfo(&enable, "%senable always trigger %s", t.suffix == triggers[0].suffix ? "" : ", ", trigger);
    }
    bridge::execute_own(enable.data);
}

// Every row there is becomes an item, read tenant by tenant as the owner. The triggers' lock keeps others out.
void add_existing_rows(const queue& q, const registration& r) {
    static bridge::statement list("select tenant_id from sor.tenants order by tenant_id", {});
    const auto tenants = list.run();
    const char* key = quote_identifier(q.key_column);
    const char* sql =
        psprintf("select tenant_id, %s%s%s from %s where tenant_id = $1 order by %s", key, q.order_key ? ", " : "",
                 q.order_key ? quote_identifier(q.order_key) : "", bridge::qualified_name(q.relid), key);
    reader columns = reader_of(q.relid, r);
    columns.tenant = 1;
    columns.key = 2;
    columns.order = 3;
    for (uint64 i = 0; i < tenants.count; ++i) {
        context::administration(tenants.uuid(i, 1), "system", [&](MemoryContext) {
            collected rows(q.order_key != nullptr);
            Oid types[] = {UUIDOID};
            Datum values[] = {UUIDPGetDatum(&context::required_tenant())};
            Portal portal = context::as_role(
                q.owner, [&] { return SPI_cursor_open_with_args(nullptr, sql, 1, types, values, nullptr, false, 0); });
            for (;;) {
                context::as_role(q.owner, [&] { SPI_cursor_fetch(portal, true, chunk); });
                const bridge::result page = {SPI_tuptable, SPI_processed};
                for (uint64 n = 0; n < page.count; ++n)
                    rows.take(columns, [&](AttrNumber column, bool* null) {
                        return SPI_getbinval(page.table->vals[n], page.table->tupdesc, column, null);
                    });
                page.free();
                if (rows.count() == 0)
                    break;
                rows.add_to(q.name);
            }
            SPI_cursor_close(portal);
        });
    }
}

} // namespace

const queue* find_queue(const char* name) {
    const uint64 seen = bridge::relation_changes();
    const registration* r = find_registration(name);
    const Oid relid = r ? bridge::find_relation(r->target) : InvalidOid;
    if (!OidIsValid(relid))
        bridge::raise(code::not_registered, psprintf("queue \"%s\" is not registered", name),
                      r ? psprintf("Its table %s is gone.", r->target) : nullptr,
                      "Have an operator call sor.register_queue.");
    const Oid owner = bridge::owner_of_relation(relid);
    context::require_harmless_owner(owner, psprintf("the table of queue \"%s\"", name));
    auto* q = static_cast<queue*>(palloc(sizeof(queue)));
    *q = {pstrdup(name), relid, owner, r->key_column, r->order_key, r->max_attempts, r->backoff_base, seen};
    return q;
}

Jsonb** read_items(const queue& q, const ready::row* items, int count) {
    auto* ids = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(count)));
    for (int i = 0; i < count; ++i)
        ids[i] = CStringGetTextDatum(items[i].item_id);
    const value values[] = {in(context::required_tenant()), in(ready::text_array(ids, nullptr, count))};
    auto** out = static_cast<Jsonb**>(palloc0(sizeof(Jsonb*) * static_cast<size_t>(count)));
    context::as_role(q.owner, [&] {
        static constexpr Oid types[] = {UUIDOID, TEXTARRAYOID};
        SPIPlanPtr plan =
            bridge::relation_plan(q.relid, read_items_purpose, q.seen, [&]() -> bridge::relation_plan_text {
                const Oid type = get_atttype(q.relid, get_attnum(q.relid, q.key_column));
                // Converted in a subquery of its own: a text that a type's input reads could fail, so row security
                // would not let the comparison be an index condition.
                return {
                    psprintf(
                        "select i.n, v.item"
                        "  from (select g.item_id::%s as id, g.n from pg_catalog.unnest($2) with ordinality as "
                        "g(item_id, n) offset 0) i,"
                        "       lateral (select %s as item from %s t where t.tenant_id = $1 and t.%s = i.id limit 1) v",
                        format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY),
                        idempotency::row_expression(q.relid, "t"), bridge::qualified_name(q.relid),
                        quote_identifier(q.key_column)),
                    types, 2};
            });
        bridge::result found;
        bridge::by_index([&] { found = bridge::execute_plan(plan, values, 2); });
        for (uint64 i = 0; i < found.count; ++i)
            out[found.bigint(i, 1) - 1] = DatumGetJsonbPCopy(found.datum(i, 2));
        found.free();
    });
    return out;
}

} // namespace sor::claim

using namespace sor;
using bridge::in;

SOR_FUNCTION(queue_insert) {
    claim::require_trigger(fcinfo);
    context::as_engine([&](MemoryContext) {
        auto f = claim::fired_by(fcinfo);
        claim::each_chunk(f, f.trigger->tg_newtable, [&](claim::collected& rows) { rows.add_to(f.queue); });
    });
    return PointerGetDatum(nullptr);
}

SOR_FUNCTION(queue_delete) {
    claim::require_trigger(fcinfo);
    context::as_engine([&](MemoryContext) {
        auto f = claim::fired_by(fcinfo);
        claim::each_chunk(f, f.trigger->tg_oldtable, [&](claim::collected& rows) { claim::forget(f.queue, rows); });
    });
    return PointerGetDatum(nullptr);
}

// Fires only for rows whose tenant, key or order key changed.
SOR_FUNCTION(queue_update) {
    claim::require_trigger(fcinfo);
    context::as_engine([&](MemoryContext) {
        auto f = claim::fired_by(fcinfo);
        const TupleDesc desc = RelationGetDescr(f.trigger->tg_relation);
        const auto read = [&](HeapTuple tuple, AttrNumber n) {
            return claim::required(
                n, [&](AttrNumber column, bool* null) { return heap_getattr(tuple, column, desc, null); });
        };
        const pg_uuid_t tenant = *DatumGetUUIDP(read(f.trigger->tg_trigtuple, f.columns.tenant));
        const Datum before = claim::text_of(&f.columns.key_out, read(f.trigger->tg_trigtuple, f.columns.key));
        const Datum after = claim::text_of(&f.columns.key_out, read(f.trigger->tg_newtuple, f.columns.key));
        if (!bridge::equal(tenant, *DatumGetUUIDP(read(f.trigger->tg_newtuple, f.columns.tenant))) ||
            bridge::view(DatumGetTextPP(before)) != bridge::view(DatumGetTextPP(after)))
            bridge::raise(code::invalid_state_transition,
                          psprintf("key and tenant of a row of queue \"%s\" cannot be changed", f.queue),
                          psprintf("Item \"%s\" would be lost to who works on it.", TextDatumGetCString(before)),
                          "Delete the row and insert it anew.");
        static bridge::statement waits(
            "select exists (select from sor.ready where tenant_id = $1 and queue = $2 and item_id = $3)",
            {UUIDOID, TEXTOID, TEXTOID});
        if (waits.run(in(tenant), in(f.queue), bridge::value::of(before)).boolean(0, 1))
            bridge::raise(
                code::invalid_state_transition,
                psprintf("the order key of a waiting item of queue \"%s\" cannot be changed", f.queue),
                psprintf("Item \"%s\" has its place among those of its former value.", TextDatumGetCString(before)),
                "Complete the item first, or delete the row and insert it anew.");
    });
    return PointerGetDatum(nullptr);
}

SOR_FUNCTION(queue_truncate) {
    claim::require_trigger(fcinfo);
    const auto* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
    bridge::raise(
        code::invalid_state_transition,
        psprintf("table \"%s\" is a queue and cannot be truncated", RelationGetRelationName(trigger->tg_relation)),
        "Its items would stay in the queue without their rows.", "DELETE the rows: their items go along.");
}

SOR_FUNCTION(register_queue) {
    const bridge::arguments a(fcinfo);
    const Oid relid = a.oid(0, "target");
    const int max_attempts = a.integer(1, "max_attempts");
    const Interval* backoff_base = a.interval(2, "backoff_base");
    const text* order_key = a.string_or_null(3);
    const char* order_column = order_key ? bridge::to_cstring(bridge::view(order_key)) : nullptr;
    char* name = a.null(4) ? get_rel_name(relid) : bridge::to_cstring(bridge::view(a.string(4, "name")));
    const int64 base = bridge::bounded_interval(backoff_base, 0, USECS_PER_DAY, "backoff_base");
    if (max_attempts < 1)
        bridge::raise(code::invalid_parameter, "max_attempts must be at least 1", nullptr, nullptr);
    if (name == nullptr || *name == '\0' || strlen(name) > claim::longest_name)
        bridge::raise(code::invalid_parameter, "a queue's name has 1 to 40 bytes", nullptr,
                      "Give another one as name.");
    if (strcmp(name, claim::outbox_queue) == 0)
        bridge::raise(code::invalid_parameter, "the name outbox is reserved", nullptr, "Give another one as name.");

    claim::queue q = {name, relid, InvalidOid, nullptr, const_cast<char*>(order_column), max_attempts, base, 0};
    bool is_new = true;
    context::administration(context::system_tenant, "user", [&](MemoryContext caller) {
        idempotency::require_fit_table(relid);
        q.owner = bridge::owner_of_relation(relid);
        context::require_member_of(q.owner, "Only a member of a table's owner can register it.");
        context::require_fit_owner(q.owner, psprintf("the queue \"%s\"", name));
        q.key_column = MemoryContextStrdup(caller, claim::find_key_column(relid));
        if (order_column != nullptr && get_attnum(relid, order_column) <= 0)
            bridge::raise(code::invalid_parameter,
                          psprintf("table \"%s\" has no column %s", get_rel_name(relid), order_column), nullptr,
                          "order_key names the column whose values order the items.");
        const auto* former = claim::find_registration(name);
        if (former != nullptr && claim::has_triggers(relid, name) &&
            (strcmp(former->target, bridge::qualified_name(relid)) != 0 ||
             (former->order_key == nullptr ? order_column != nullptr
                                           : order_column == nullptr || strcmp(former->order_key, order_column) != 0)))
            bridge::raise(code::invalid_state_transition, psprintf("queue \"%s\" is registered otherwise", name),
                          psprintf("Its table is %s, its order key %s.", former->target,
                                   former->order_key ? former->order_key : "none"),
                          "Only max_attempts and backoff_base can be changed.");
        if (former != nullptr && OidIsValid(bridge::find_relation(former->target)) &&
            bridge::find_relation(former->target) != relid)
            bridge::raise(code::invalid_state_transition, psprintf("queue \"%s\" belongs to another table", name),
                          psprintf("Its table is %s.", former->target), "Give another name.");
        is_new = !claim::has_triggers(relid, name);
    });
    // With the caller's own rights. Again for a queue that is registered already: a restore may have left its triggers
    // enabled for ordinary sessions alone.
    bridge::with_spi([&](MemoryContext) { claim::create_triggers(relid, name, q.key_column, order_column); });
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        const char* target = bridge::qualified_name(relid);
        static bridge::statement save(
            "insert into sor.queues (name, target, key_column, order_key, max_attempts, backoff_base)"
            " values ($1, $2, $3, $4, $5, $6) on conflict (name) do update set target = excluded.target,"
            " key_column = excluded.key_column, order_key = excluded.order_key,"
            " max_attempts = excluded.max_attempts, backoff_base = excluded.backoff_base",
            {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INTERVALOID});
        save.run(in(name), in(target), in(q.key_column), in(order_column), in(max_attempts), in(backoff_base));
        CacheInvalidateRelcacheByRelid(relid); // a kept plan was made for the former registration
        static bridge::statement describe(
            "select pg_catalog.jsonb_build_object('kind', 'queue', 'name', $1, 'target', $2, 'key', $3,"
            " 'order_key', $4, 'max_attempts', $5, 'backoff_seconds', extract(epoch from $6))",
            {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INTERVALOID});
        events::append_system(
            "registered",
            describe.run(in(name), in(target), in(q.key_column), in(order_column), in(max_attempts), in(backoff_base))
                .json(0, 1));
        if (is_new)
            claim::add_existing_rows(q, *claim::find_registration(name));
    });
    PG_RETURN_VOID();
}
