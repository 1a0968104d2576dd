// idempotency: stored responses by request id, and registered tables with their natural-key upsert.
// Callers run inside a context frame.
#pragma once

#include "access/access.hpp"
#include "bridge/digest.hpp"

namespace sor::idempotency {

// A table that an operator registered: the only ones that workers write, read and claim from.
struct column_list {
    char** names = nullptr;
    int count = 0;

    bool has(std::string_view name) const;
};
struct table {
    char* name;
    Oid relid;
    Oid owner;
    char* qualified;      // schema and name, quoted
    column_list key;      // without tenant_id
    column_list readable; // empty: every column
    column_list writable; // empty: every column
    char* owner_column;   // null: none
    uint64 seen;          // bridge::relation_changes() before the registration was read

    bool may_read(std::string_view column) const { return readable.count == 0 || readable.has(column); }
    bool may_write(std::string_view column) const { return writable.count == 0 || writable.has(column); }
};

// SR013 naming the table when no operator registered it, or when its relation is gone. palloc'd.
const table* find_table(const char* name);
const table* find_table_of(Oid relid); // null when that relation is not registered

// Raises 22023 unless the relation can be written for Workers: an ordinary or partitioned table with tenant_id uuid,
// row security forced, and no cascade onto it that would fire its row triggers as somebody else.
void require_fit_table(Oid relid);

// An SQL expression of type jsonb: the row `alias` of the relation as a Worker may see it (its readable columns, or all
// of them when the relation is not registered or names none).
char* row_expression(Oid relid, const char* alias);

// Writes one record as the table's owner; the caller has set the context. update: ON CONFLICT DO UPDATE.
// Errors: SR003 the user may not write that row, 22023 an unknown or unwritable column, and the table's own.
struct written {
    bool inserted;
    Jsonb* stored; // the row as a Worker may see it
};
written upsert(const table& target, const Jsonb* record, bool update);
bool parse_on_conflict(const char* text); // true: update; null is nothing

// ---------------------------------------------------------------- stored responses

struct fingerprint {
    unsigned char bytes[bridge::digest_size];
};
// Of everything that makes a retry the same request: tool, user (null: none), arguments.
fingerprint fingerprint_of(const char* operation, const pg_uuid_t* user, const Jsonb* arguments);

// One request of a batch; `state` says what became of it.
struct request {
    enum state_t { unknown, replay, mismatch, mine };
    pg_uuid_t key;
    const char* operation;
    fingerprint print;
    const Interval* ttl;
    state_t state;
    Jsonb* response; // of a replay; of one that is mine, set by the caller when it succeeded
};
// Marks the requests that have a stored response (replay) or one of other content (mismatch). Takes no lock.
void look_up(request* requests, int count);
// Claims the keys still unknown, in key order, waiting for twins in flight: mine, replay or mismatch afterwards.
// Errors: 55P03 when lock_timeout passes.
void reserve(request* requests, int count);
// Of the requests that are mine: stores the responses; keys without one are given back, so that they may run again.
void settle(const request* requests, int count);

} // namespace sor::idempotency
