// What is protected. Read from the catalogs without a lock or a privilege; a command sees one state, that of its start.
#pragma once

#include "bridge/parse.hpp"

extern "C" {
#include "catalog/objectaddress.h"
}

namespace sor::guard {

struct verdict {
    enum class of : char {
        nobody,   // free
        database, // guarded because the guard covers the whole database
        governed, // guarded by what it is: under tenant isolation, registered, …
        sor,      // sor's own
    } kind;
    const char* why; // a sentence, null for nobody

    explicit operator bool() const { return kind != of::nobody; }
    bool is_protected() const { return kind >= of::governed; }
};
constexpr verdict free_to_go = {verdict::of::nobody, nullptr};

// To be called when a command begins: looks up anew what is covered and registered. False when sor is not installed in
// this database, and nothing is guarded.
bool begin_command();
// The same, for what may be part of a command that has begun.
bool within_command();
void end_command();

verdict of_relation(Oid relation); // of any kind
verdict of_type(Oid type);         // guarded when a guarded table has a column of it
verdict of_routine(Oid routine);

// Whether dropping an object would take something away that is guarded.
verdict of_object(const ObjectAddress& object);
// The same for what would go with it; which: the one found.
verdict of_dependents(const ObjectAddress& object, ObjectAddress& which);
// The table or column, of another table than the object, or outside of the schema that it is, that CASCADE takes with
// it.
verdict of_rows_taken_along(const ObjectAddress& object, ObjectAddress& which);
// The same for what a role owns in this database.
verdict of_property(Oid role, ObjectAddress& which);

Oid owner_of_sor();
Oid owner_of(const ObjectAddress& object);                // of a relation, schema, type or routine; else InvalidOid
bool is_policy_column(Oid relation, AttrNumber column);   // one that a policy of the table reads
bool guards_truncate(Oid relation);                       // a trigger of sor's speaks up at TRUNCATE, in every session
bool is_guard_trigger(Oid relation, const char* trigger); // null: any
const char* describe(const ObjectAddress& object);        // kind and qualified name

} // namespace sor::guard
