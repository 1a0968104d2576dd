// What the review asks of the catalogs. Nothing is locked and no privilege is needed; what is not found is assumed to
// be the worse.
#pragma once

#include "bridge/parse.hpp"

namespace sor::review {

Oid find_relation(const char* schema, const char* name); // InvalidOid when there is none
bool schema_exists(const char* name);
bool extension_exists(const char* name);
bool function_exists(const char* schema, const char* name); // with any arguments
bool column_exists(Oid relation, const char* column);
bool is_partitioned(Oid relation);
bool has_default_partition(Oid relation);
bool is_unique_index(Oid index);
bool is_plain_index(Oid index);      // found, and keeps nothing unique
double estimated_rows(Oid relation); // less than 1: unknown

// Whether a valid CHECK constraint says that the column is not null.
bool proves_not_null(Oid relation, const char* column);

// A trigger's firing: 'A' always, 'O', 'D', 'R'; '\0' when there is none of this name.
char trigger_state(Oid relation, const char* trigger);
bool policy_exists(Oid relation, const char* policy);
bool has_sor_trigger(Oid relation, const char* trigger); // one of sor's functions is behind it; null: any trigger

// A type that is named without a schema is looked for in pg_catalog and in this one.
bool is_constrained_domain(const TypeName* type, const char* schema);

enum class type_change { widens, rewrites, narrows };
type_change change_of_type(Oid relation, const char* column, const TypeName* to, const char* schema);

// Whether a default differs from row to row: a function in it is volatile, or not known.
bool is_volatile(Node* expression);

// Whether running the function may do anything but compute and read. Of those that only a superuser can have made, the
// volatile ones may, except a few; of the others all.
bool may_write(const List* name);

} // namespace sor::review
