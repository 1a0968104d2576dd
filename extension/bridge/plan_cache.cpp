#include "bridge/plan_cache.hpp"

namespace sor::bridge {

value result::column(uint64 row, int number) const {
    value out;
    out.datum = SPI_getbinval(table->vals[row], table->tupdesc, number, &out.null);
    return out;
}

Datum result::datum(uint64 row, int number) const {
    const value v = column(row, number);
    if (v.null)
        elog(ERROR, "unexpected null in column %d of a result", number);
    return v.datum;
}

const pg_uuid_t* result::uuid_or_null(uint64 row, int number) const {
    const value v = column(row, number);
    return v.null ? nullptr : DatumGetUUIDP(v.datum);
}

namespace {

result execute_kept(SPIPlanPtr plan, const value* values, int count, bool read_only) {
    Datum datums[64] = {};
    char nulls[64] = {};
    Assert(count <= 64);
    for (int i = 0; i < count; ++i) {
        datums[i] = values[i].datum;
        nulls[i] = values[i].null ? 'n' : ' ';
    }
    const int code = SPI_execute_plan(plan, datums, nulls, read_only, 0);
    if (code < 0)
        elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(code));
    return {SPI_tuptable, SPI_processed};
}

} // namespace

result execute_plan(SPIPlanPtr plan, const value* values, int count) {
    return execute_kept(plan, values, count, false);
}

void statement::prepare(int count) {
    if (count != count_)
        elog(ERROR, "%d values for %d parameters of: %s", count, count_, sql_);
    if (plan_ != nullptr)
        return;
    // Generic from its first use: planning it for five sets of values costs more than it could gain.
    SPIPlanPtr plan = nullptr;
    by_the_standard([&] { plan = SPI_prepare_cursor(sql_, count_, types_, CURSOR_OPT_GENERIC_PLAN); });
    if (plan == nullptr)
        elog(ERROR, "SPI_prepare failed: %s: %s", SPI_result_code_string(SPI_result), sql_);
    if (SPI_keepplan(plan) != 0)
        elog(ERROR, "SPI_keepplan failed");
    plan_ = plan;
}

cursor statement::open_at(const value* values, int count) {
    prepare(count);
    Datum datums[most_parameters] = {};
    char nulls[most_parameters] = {};
    for (int i = 0; i < count; ++i) {
        datums[i] = values[i].datum;
        nulls[i] = values[i].null ? 'n' : ' ';
    }
    Portal portal = nullptr;
    by_index([&] { portal = SPI_cursor_open(nullptr, plan_, datums, nulls, true); });
    return cursor(portal);
}

result statement::execute(const value* values, int count, reading snapshot) {
    prepare(count);
    if (snapshot != reading::latest || !IsolationUsesXactSnapshot()) {
        result out;
        by_index([&] { out = execute_kept(plan_, values, count, snapshot == reading::caller); });
        return out;
    }
    Datum datums[most_parameters] = {};
    char nulls[most_parameters] = {};
    for (int i = 0; i < count; ++i) {
        datums[i] = values[i].datum;
        nulls[i] = values[i].null ? 'n' : ' ';
    }
    CommandCounterIncrement();
    int code = 0;
    by_index([&] {
        code = SPI_execute_snapshot(plan_, datums, nulls, GetLatestSnapshot(), InvalidSnapshot, false, true, 0);
    });
    if (code < 0)
        elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(code));
    return {SPI_tuptable, SPI_processed};
}

result execute_text(const char* sql) {
    const int code = SPI_execute(sql, false, 0);
    if (code < 0)
        elog(ERROR, "SPI_execute failed: %s: %s", SPI_result_code_string(code), sql);
    return {SPI_tuptable, SPI_processed};
}

namespace {

struct plan_key {
    Oid relid;
    uint32 purpose;
};

struct plan_entry {
    plan_key key;
    SPIPlanPtr plan;
    char* sql; // of the plan
    bool valid;
};

HTAB* plans = nullptr;
uint64 changes = 0;

// Runs at any moment, even within a failing transaction: it only marks.
void relation_changed(Datum, Oid relid) {
    ++changes;
    if (plans == nullptr)
        return;
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, plans);
    while (auto* entry = static_cast<plan_entry*>(hash_seq_search(&scan)))
        if (relid == InvalidOid || entry->key.relid == relid)
            entry->valid = false;
}

} // namespace

uint64 relation_changes() {
    static bool watching = false;
    if (!watching)
        CacheRegisterRelcacheCallback(relation_changed, 0);
    watching = true;
    return changes;
}

SPIPlanPtr detail::find_plan(Oid relid, uint32 purpose) {
    if (plans == nullptr)
        return nullptr;
    const plan_key key = {relid, purpose};
    auto* entry = static_cast<plan_entry*>(hash_search(plans, &key, HASH_FIND, nullptr));
    if (entry == nullptr || !entry->valid)
        return nullptr;
    return entry->plan;
}

SPIPlanPtr detail::keep_plan(Oid relid, uint32 purpose, uint64 seen, const relation_plan_text& text) {
    if (plans == nullptr) {
        HASHCTL control = {};
        control.keysize = sizeof(plan_key);
        control.entrysize = sizeof(plan_entry);
        control.hcxt = CacheMemoryContext;
        plans = hash_create("sor relation plans", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    }
    const plan_key key = {relid, purpose};
    auto* entry = static_cast<plan_entry*>(hash_search(plans, &key, HASH_FIND, nullptr));
    if (entry != nullptr && entry->plan != nullptr) {
        // The same text: PostgreSQL revalidates the plan itself. It may be running just now, further out.
        if (strcmp(entry->sql, text.sql) == 0) {
            entry->valid = seen == relation_changes();
            return entry->plan;
        }
        SPIPlanPtr stale = entry->plan;
        entry->plan = nullptr;
        SPI_freeplan(stale);
    }
    SPIPlanPtr plan = nullptr;
    by_the_standard([&] { plan = SPI_prepare(text.sql, text.count, const_cast<Oid*>(text.types)); });
    if (plan == nullptr)
        elog(ERROR, "SPI_prepare failed: %s: %s", SPI_result_code_string(SPI_result), text.sql);
    bool found;
    entry = static_cast<plan_entry*>(hash_search(plans, &key, HASH_ENTER, &found));
    if (!found)
        entry->sql = nullptr;
    entry->plan = nullptr;
    entry->valid = false;
    if (SPI_keepplan(plan) != 0)
        elog(ERROR, "SPI_keepplan failed");
    if (found && entry->sql != nullptr)
        pfree(entry->sql);
    entry->sql = MemoryContextStrdup(CacheMemoryContext, text.sql);
    entry->plan = plan;
    entry->valid = seen == relation_changes();
    return plan;
}

} // namespace sor::bridge
