// What is known while a migration is read, and the names in it.
#pragma once

#include "review/lookup.hpp"
#include "review/review_core.hpp"

namespace sor::review {

constexpr int key_size = 4 * NAMEDATALEN + 8;

// Something that the migration creates. Nobody uses it yet, so what follows may do anything to it.
enum class kind : char {
    relation = 'r',
    column = 'c',
    constraint = 'k',
    trigger = 'g',
    policy = 'p',
    rewrite_rule = 'u',
    type = 'y',
    routine = 'f',      // with its argument types
    routine_name = 'n', // whatever its arguments
    schema = 's',
    role = 'o',
    other = 'x', // extensions, publications, …
};

struct creation {
    char key[key_size];
    const char* name;   // as a person would write it
    const creation* of; // goes away together with this one
    bool in_down, gone; // gone: dropped again
    bool qualified;     // named with its schema
    bool counts;        // the downgrade should drop it by name
    bool not_valid;     // a constraint that is not validated
    bool calls;         // a view or a materialized view that runs functions
    bool destroys;      // a function in whose body such words stand
    bool is_domain;     // a type
    bool conditional;   // may not have been made
    bool harmless;      // a function whose body only computes and reads
    bool cascades;      // a table: what is deleted or updated in it is also in tables that exist
    int transaction;
};

struct finding {
    rule which;
    const char* object;
    const char* part;
    const char* extra;      // a sentence with a leading blank, or null
    const char* definition; // for {2}, or null
};

struct enum_value {
    const char* type;
    const char* value;
    int transaction;
};

// The schemas in which a name without one is looked for, pg_catalog aside.
struct search_path {
    List* schemas; // of char*
    bool known;
};

struct review {
    bridge::rowset* rows;
    MemoryContext memory;  // of what is known
    MemoryContext scratch; // of one statement
    HTAB* creations;
    List* created;        // the same, in order
    List* scope;          // names that the header declares; null: no header
    List* temporary;      // tables that go with the session
    List* on_commit_drop; // and those that go with the transaction
    List* name_words;     // of the migration's name, as char*, when it names a table that is there
    List* enum_values;    // added in this migration to types that it does not create
    const char* lost;     // what the upgrade loses data of first; null: nothing
    bool down;
    search_path path;             // where names without a schema are
    search_path session_path;     // the same after this transaction
    bool in_block;                // between BEGIN and COMMIT
    bool no_lock_timeout;         // it was switched off, and no statement that waits was met since
    bool columns_of_unknown_type; // of tables that exist: an extension's, perhaps one that the migration makes
    bool views_replaced;          // of those that exist, by queries that may name what the migration makes
    bool variables;               // what reads like a column may be a variable
    bool conditional;             // in a block that may skip it, or that an error undoes
    int transaction;              // counts up at each end of one
    bool opaque;                  // a statement of the downgrade may do anything
    int statement_no;
    int line;
    StringInfo meanings;   // which relations that exist its names without a schema mean
    StringInfo destroyed;  // the same of all statements that destroy
    std::string_view text; // of the statement
    List* findings;        // of the statement
};

struct name {
    const char* schema; // null: as it stands
    const char* own;
    const char* shown;
};

struct target {
    name n;
    Oid oid; // InvalidOid: not found, or the migration's own
    const creation* own;
};

// The search_path that a new session of the caller's login has.
search_path login_path(const review& r);
search_path path_of(const review& r, const char* setting); // as it stands in SET
// Where a name without a schema is made; null: not known.
const char* creation_schema(const review& r);
// The schema of the relation that the name means; null: not known.
const char* schema_of(const review& r, const char* schema, const char* relation);
Oid find_relation_of(const review& r, const char* schema, const char* relation); // that exists already

// From here on names may mean what existed before: nothing is taken to be the migration's own any more.
void forget_all(review& r);
// The session or the transaction of temporary tables ends: all, or those ON COMMIT DROP.
void forget_temporary(review& r, bool all);
void leaves_transaction(review& r);          // at a statement that runs in none
void goes_at_commit(review& r, creation* c); // null: nothing
bool is_temporary(const creation* c);

char* keep(const review& r, const char* s); // a copy that lasts as long as the review

// What the migration created and did not drop again; null: nothing of this name. schema null: wherever search_path
// finds it first.
creation* find(const review& r, kind k, const char* schema, const char* name, const char* part = "");
// Null when the name cannot be known.
creation* create(review& r, kind k, const char* schema, const char* name, const char* part, const char* shown,
                 const creation* of, bool counts);
void forget(const review& r, kind k, const char* schema, const char* name, const char* part = "");

void read_name(review& r, std::string_view name);

// A finding of the statement that is being read.
void add(review& r, rule which, const char* object = "", const char* part = "", const char* extra = nullptr,
         const char* definition = nullptr);

const char* quoted(const char* schema, const char* name);
name named(const RangeVar* v);
name named(const List* names); // of String
const char* role_name(const RoleSpec* role);
const char* shown(Node* object); // whatever a parse tree calls a thing by
const char* type_text(const TypeName* type);
const char* column_name(const char* column);
bool is_one_of(const char* s, std::initializer_list<const char*> list); // whatever the case

// To be called with each object that a statement changes.
void touch(review& r, const name& n);
target look(review& r, const RangeVar* v, bool touches = true);

// Whether a part of a table is the migration's, alone or with the table.
bool own_part(review& r, const target& t, kind k, const char* part);
void part_created(review& r, const target& t, kind k, const char* part, bool counts);
void dropped_own(review& r, creation* c, const char* what);
creation* relation_created(review& r, const RangeVar* v, bool counts = true);
bool exists_already(review& r, const RangeVar* v);
const char* size_of(const target& t); // a sentence for add, or null

} // namespace sor::review
