// SQL from C++: kept plans only, every name in them schema-qualified.
//
// Two kinds: a statement is a constant text at a call site (sor's own tables), planned once a backend. A plan of the
// cache belongs to a relation known only at run time (a registered table), keyed (relid, purpose), and is dropped when
// the relation changes. All run inside one SPI connection, opened by with_spi.
#pragma once

#include "bridge/values.hpp"

#include <initializer_list>

extern "C" {
#include "parser/parser.h"
}

namespace sor::bridge {

// Runs f, which plans and executes statements, so that a table is read by index however small it looks: a kept plan
// made while a table is nearly empty, as queues are every night, would read all of it sequentially once it has grown.
// A list of keys is looked up key by key, or by a lateral subquery with a LIMIT, for the same reason: a join would be
// turned round while the table looks small.
template <guarded F>
void by_index(F&& f) {
    const bool seqscan = enable_seqscan;
    const bool jit = jit_enabled;
    PG_TRY();
    {
        enable_seqscan = false;
        jit_enabled = false; // the price that stands for "not this way" would ask for it
        f();
    }
    PG_FINALLY();
    {
        enable_seqscan = seqscan;
        jit_enabled = jit;
    }
    PG_END_TRY();
}

// Runs f, which plans and executes a statement that ends in ORDER BY and LIMIT, so that the index of that order is
// read: while a table has no statistics, any index whose first columns match seems to find one row, and a sort of one
// row seems free, but it would read and sort all that waits.
template <guarded F>
void in_index_order(F&& f) {
    const bool sort = enable_sort;
    PG_TRY();
    {
        enable_sort = false;
        f();
    }
    PG_FINALLY();
    { enable_sort = sort; }
    PG_END_TRY();
}

// Runs f, which reads SQL, so that strings are read by the standard whatever the session has set: with
// standard_conforming_strings off, a backslash in a pattern would be lost, and with it what the pattern refuses.
template <guarded F>
void by_the_standard(F&& f) {
    const bool standard = standard_conforming_strings;
    const bool warning = escape_string_warning;
    const int quote = backslash_quote;
    PG_TRY();
    {
        standard_conforming_strings = true;
        escape_string_warning = false;
        backslash_quote = BACKSLASH_QUOTE_SAFE_ENCODING;
        f();
    }
    PG_FINALLY();
    {
        standard_conforming_strings = standard;
        escape_string_warning = warning;
        backslash_quote = quote;
    }
    PG_END_TRY();
}

// The rows of one execution; valid until SPI_finish or free().
struct result {
    SPITupleTable* table = nullptr;
    uint64 count = 0;

    bool empty() const { return count == 0; }
    // Columns count from 1, as SPI's.
    value column(uint64 row, int number) const;
    bool null(uint64 row, int number) const { return column(row, number).null; }
    Datum datum(uint64 row, int number) const; // raises XX000 on a null
    const pg_uuid_t& uuid(uint64 row, int number) const { return *DatumGetUUIDP(datum(row, number)); }
    const pg_uuid_t* uuid_or_null(uint64 row, int number) const;
    int64 bigint(uint64 row, int number) const { return DatumGetInt64(datum(row, number)); }
    int integer(uint64 row, int number) const { return DatumGetInt32(datum(row, number)); }
    bool boolean(uint64 row, int number) const { return DatumGetBool(datum(row, number)); }
    TimestampTz time(uint64 row, int number) const { return DatumGetTimestampTz(datum(row, number)); }
    char* string(uint64 row, int number) const { return TextDatumGetCString(datum(row, number)); }
    char* string_or_null(uint64 row, int number) const { return null(row, number) ? nullptr : string(row, number); }
    Jsonb* json(uint64 row, int number) const { return DatumGetJsonbP(datum(row, number)); }
    Jsonb* json_or_null(uint64 row, int number) const { return null(row, number) ? nullptr : json(row, number); }
    void free() const {
        if (table != nullptr)
            SPI_freetuptable(table);
    }
};

// A statement's rows a few at a time, all of one snapshot: for tables that do not fit into memory.
class cursor {
public:
    explicit cursor(Portal portal) : portal_(portal) {}
    // The next rows, none at the end; free() them before fetching more.
    result fetch(long count) {
        SPI_cursor_fetch(portal_, true, count);
        return {SPI_tuptable, SPI_processed};
    }
    void close() { SPI_cursor_close(portal_); }

private:
    Portal portal_;
};

// Of sor's own tables: by index, always.
class statement {
public:
    static constexpr int most_parameters = 24;

    constexpr statement(const char* sql, std::initializer_list<Oid> types) : sql_(sql) {
        for (Oid type : types)
            types_[count_++] = type;
    }
    // Raises whatever the statement raises. The rows stay until free() or SPI_finish.
    template <class... Values>
    result run(const Values&... values) {
        const value given[] = {values..., value{}};
        return execute(given, static_cast<int>(sizeof...(values)));
    }
    // Same, reading with a snapshot taken now even under REPEATABLE READ: for what a lock has made stable.
    template <class... Values>
    result run_latest(const Values&... values) {
        const value given[] = {values..., value{}};
        return execute(given, static_cast<int>(sizeof...(values)), reading::latest);
    }
    // Same, reading only, with the snapshot of the statement that called us: several looks then see one state.
    template <class... Values>
    result look(const Values&... values) {
        const value given[] = {values..., value{}};
        return execute(given, static_cast<int>(sizeof...(values)), reading::caller);
    }
    template <class... Values>
    cursor open(const Values&... values) {
        const value given[] = {values..., value{}};
        return open_at(given, static_cast<int>(sizeof...(values)));
    }
    enum class reading { now, latest, caller };
    result execute(const value* values, int count, reading snapshot = reading::now);

private:
    cursor open_at(const value* values, int count);
    void prepare(int count);
    const char* sql_;
    Oid types_[most_parameters] = {};
    int count_ = 0;
    SPIPlanPtr plan_ = nullptr;
};

// Runs f(caller's memory context) inside an SPI connection. What f returns must live in the caller's context.
template <guarded F>
auto with_spi(F&& f) {
    const MemoryContext caller = CurrentMemoryContext;
    if (SPI_connect() != SPI_OK_CONNECT)
        elog(ERROR, "SPI_connect failed");
    if constexpr (std::is_void_v<std::invoke_result_t<F, MemoryContext>>) {
        f(caller);
        SPI_finish();
    } else {
        auto out = f(caller);
        SPI_finish();
        return out;
    }
}

// Executes one-off SQL text (DDL of operator functions).
result execute_text(const char* sql);

// Grows whenever this backend learns that some relation changed.
uint64 relation_changes();

// The kept plan of a relation for a purpose. `build` returns the SQL text and fills types; it runs only when no valid
// plan is kept. `seen` is relation_changes() from before anything was read that the text is made of: a plan whose
// relation may have changed since, for instance while it waited for a lock, is built anew the next time. Purposes are
// small integers of the module, unique in the extension.
struct relation_plan_text {
    const char* sql;
    const Oid* types;
    int count;
};
result execute_plan(SPIPlanPtr plan, const value* values, int count);

namespace detail {
SPIPlanPtr find_plan(Oid relid, uint32 purpose);
SPIPlanPtr keep_plan(Oid relid, uint32 purpose, uint64 seen, const relation_plan_text& text);
} // namespace detail

template <guarded F>
SPIPlanPtr relation_plan(Oid relid, uint32 purpose, uint64 seen, F&& build) {
    if (SPIPlanPtr kept = detail::find_plan(relid, purpose))
        return kept;
    return detail::keep_plan(relid, purpose, seen, build());
}

} // namespace sor::bridge
