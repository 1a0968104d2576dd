// What the review asks of the catalogs. Nothing is locked and no privilege is needed; what is not found is assumed to
// be the worse.
#pragma once

#include "bridge/parse.hpp"

namespace sor::review {

Oid find_relation(const char* schema, const char* name); // InvalidOid when there is none
bool users_table_exists(const char* name);               // whatever its schema, but for sor's and the server's
bool schema_exists(const char* name);
bool type_exists(const char* schema, const char* name);
bool role_exists(const char* name);
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
struct view_facts {
    bool has_options; // security_invoker and the like, which CREATE OR REPLACE takes off
    bool filters;     // shows not every row of what it reads
};
view_facts facts_of_view(Oid view);
bool policy_exists(Oid relation, const char* policy);
bool has_sor_trigger(Oid relation, const char* trigger); // one of sor's functions is behind it; null: any trigger

bool constraint_exists(Oid relation, const char* constraint);

// What CASCADE would drop along with an object, as a sentence with a leading blank; null: nothing.
const char* dependants_of_relation(Oid relation, const char* column); // column null: the relation itself
const char* dependants_of_constraint(Oid relation, const char* constraint);
const char* dependants_of_type(const char* schema, const char* name);
const char* dependants_of_schema(const char* name);
const char* dependants_of_extension(const char* name);
const char* dependants_of_function(const char* schema, const char* name); // when there is one of this name alone
const char* truncated_with(Oid relation);                                 // the same for TRUNCATE … CASCADE

// A type that is named without a schema is looked for in pg_catalog and in these (char*).
bool is_constrained_domain(const TypeName* type, const List* schemas);

enum class type_change { widens, rewrites, narrows };
// What is not known of the column is assumed to be the widest that the new type is for.
type_change change_of_type(Oid relation, const char* column, const TypeName* to, const List* schemas);

bool type_is_known(const TypeName* type, const List* schemas);
bool same_type(const TypeName* a, const TypeName* b, const List* schemas); // with its length and the like

// Whether a default differs from row to row: a function in it is volatile, or not known.
bool is_volatile(Node* expression);

// What running a function may do, as far as the catalog says: the worst of all of that name. Of those that only a
// superuser can have made, the volatile ones write, except a few; of the others the volatile ones.
enum class effect { none, reads, writes, unknown };
effect effect_of(const List* name);
bool function_destroys(const char* name);                    // see destroys
bool runs_volatile_function(const char* operator_name);      // one that is not the server's own or a superuser's
bool is_volatile_function_of_rows(const char* function);     // written like a column: of one argument, a row
bool is_server_function(const char* name, bool is_operator); // in pg_catalog

} // namespace sor::review
