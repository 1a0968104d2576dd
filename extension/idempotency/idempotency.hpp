// idempotency: stored responses by request id, and registered tables with their natural-key upsert.
#pragma once

#include "access/access.hpp"

namespace sor::idempotency {

// A table that an operator registered: the only ones that workers write, read and claim from.
struct table {
    char* name;
    Oid relid;
    Oid owner;
    char* qualified;      // schema and name, quoted
    int key_count;        // without tenant_id
    char** key;           // column names
    int readable_count;   // 0: every column
    char** readable;
    int writable_count;   // 0: every column but tenant_id
    char** writable;
    char* owner_column;   // null: none
};

// SR013 naming the table when no operator registered it, or when its relation is gone. palloc'd.
const table* find_table(const char* name);
const table* find_table_of(Oid relid); // null when that relation is not registered

// An SQL expression of type jsonb: the row `alias` of the relation as a Worker may see it (its readable columns, or all
// of them when the relation is not registered or names none).
char* row_expression(Oid relid, const char* alias);

// Writes one record as the table's owner; the caller has set the context. update: ON CONFLICT DO UPDATE.
struct written {
    bool inserted;
    Jsonb* stored; // the row as a Worker may see it
};
written upsert(const table& target, const Jsonb* record, bool update);

} // namespace sor::idempotency
