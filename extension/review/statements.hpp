// What each kind of statement does, as findings.
#pragma once

#include "review/reading.hpp"

namespace sor::review {

// queries.cpp: what reads and writes rows, and settings
void query(review& r, Node* node);
bool calls_functions(Node* node, void* reading); // whether a query writes, or runs functions that may
bool calls_own(Node* node, void* reading);       // whether it runs functions of the migration that may
void run_expression(review& r, Node* node);      // that a statement computes for rows that are there
bool is_bookkeeping(const target& t);            // of a tool that writes migrations
bool always_true(Node* where);                   // lets every row through: none, TRUE, 1 = 1, x = x
bool guards(const char* variable);               // whether a setting decides if guards run
void set_variable(review& r, const VariableSetStmt* s);

// tables.cpp
void create_table(review& r, const CreateStmt* s);
void alter_table(review& r, const AlterTableStmt* s);
void create_index(review& r, const IndexStmt* s);
bool is_guard(const target& t, const char* trigger); // sor's own; null: one of all

// objects.cpp: everything else that has a name
void drop(review& r, const DropStmt* s);
void drop_named(review& r, rule which, kind k, const char* schema, const char* own, const char* what);
void truncate(review& r, const TruncateStmt* s);
void rename(review& r, const RenameStmt* s);
// Whether the thing of an ALTER … OWNER TO and the like is one that the migration made.
bool is_own(review& r, ObjectType type, const RangeVar* relation, Node* object);
void move_to_schema(review& r, const AlterObjectSchemaStmt* s);
void grant(review& r, const GrantStmt* s, bool is_default);
void grant_role(review& r, const GrantRoleStmt* s);
void role_options(review& r, const char* role, const List* options, rule otherwise);
void create_policy(review& r, const CreatePolicyStmt* s);
void create_trigger(review& r, const CreateTrigStmt* s);
void code_made(review& r, const char* function, bool harmless);
void create_routine(review& r, const CreateFunctionStmt* s);
void create_aggregate(review& r, const DefineStmt* s);
void create_type(review& r, const List* names);
void create_other(review& r, const char* object, const char* what);
void alter_enum(review& r, const AlterEnumStmt* s);
void used_enum_values(review& r);
void alter_domain(review& r, const AlterDomainStmt* s);

} // namespace sor::review
