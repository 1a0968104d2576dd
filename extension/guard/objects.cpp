#include "guard/objects.hpp"

#include "bridge/catalog.hpp"
#include "context/context.hpp"
#include "review/lookup.hpp"

extern "C" {
#include "access/stratnum.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_shdepend.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "utils/fmgroids.h"
}

namespace sor::guard {

namespace {

// ---------------------------------------------------------------- what is covered

struct known_key {
    Oid catalog;
    Oid object;
};
struct known {
    known_key key;
    verdict v;
};

struct {
    MemoryContext memory;
    bool installed;
    bool whole_database;
    Oid schema;       // sor's
    Oid extension;    // sor's
    List* registered; // tables
    List* tools;      // functions
    HTAB* verdicts;   // of tables and types, so that what a drop has half done is judged as it was
    bool begun;
} now;

constexpr verdict by_coverage = {verdict::of::database, "It is a permanent object."};
constexpr verdict by_sor = {verdict::of::sor, "It belongs to the extension sor."};

verdict covered() {
    return now.whole_database ? by_coverage : free_to_go;
}

// Calls f with each row of a catalog whose columns equal these OIDs, until f returns true.
template <class F>
bool any_row(Oid catalog, Oid index, std::initializer_list<AttrNumber> columns, std::initializer_list<Oid> values,
             F&& f) {
    ScanKeyData keys[3];
    int count = 0;
    for (AttrNumber column : columns) {
        ScanKeyInit(&keys[count], column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(values.begin()[count]));
        ++count;
    }
    Relation rows = table_open(catalog, AccessShareLock);
    SysScanDesc scan = systable_beginscan(rows, index, OidIsValid(index), nullptr, count, keys);
    bool found = false;
    HeapTuple tuple;
    while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
        found = f(tuple);
    systable_endscan(scan);
    table_close(rows, AccessShareLock);
    return found;
}

template <class Form>
Form row(HeapTuple tuple) {
    return reinterpret_cast<Form>(GETSTRUCT(tuple));
}

// The value of one column of the row with this OID; Oid() when there is none.
template <class Form, class F>
Oid lookup(Oid catalog, Oid index, AttrNumber key, Oid object, F&& f) {
    Oid out = InvalidOid;
    any_row(catalog, index, {key}, {object}, [&](HeapTuple tuple) {
        out = f(row<Form>(tuple));
        return true;
    });
    return out;
}

bool is_member(Oid catalog, Oid object) {
    return OidIsValid(now.extension) && getExtensionOfObject(catalog, object) == now.extension;
}

// ---------------------------------------------------------------- tables

const char* shown(Oid relation) {
    return bridge::qualified_name(relation);
}

// What a table is by itself, its family aside.
verdict governed(Oid table) {
    if (list_member_oid(now.registered, table))
        return {verdict::of::governed, psprintf("Table %s is registered with sor.", shown(table))};
    const Oid reader = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("current_tenant"),
                                       PointerGetDatum(buildoidvector(nullptr, 0)), ObjectIdGetDatum(now.schema));
    const bool isolated =
        any_row(PolicyRelationId, PolicyPolrelidPolnameIndexId, {Anum_pg_policy_polrelid}, {table}, [&](HeapTuple p) {
            const auto* policy = row<Form_pg_policy>(p);
            return strcmp(NameStr(policy->polname), "tenant_isolation") == 0 ||
                   any_row(DependRelationId, DependDependerIndexId, {Anum_pg_depend_classid, Anum_pg_depend_objid},
                           {PolicyRelationId, policy->oid}, [&](HeapTuple d) {
                               const auto* on = row<Form_pg_depend>(d);
                               return on->refclassid == ProcedureRelationId && on->refobjid == reader;
                           });
        });
    if (isolated)
        return {verdict::of::governed, psprintf("Table %s is under tenant isolation.", shown(table))};
    if (review::has_sor_trigger(table, nullptr))
        return {verdict::of::governed, psprintf("Table %s is guarded by a trigger of sor.", shown(table))};
    return free_to_go;
}

verdict governed_ancestor(Oid table) {
    verdict out = free_to_go;
    any_row(InheritsRelationId, InheritsRelidSeqnoIndexId, {Anum_pg_inherits_inhrelid}, {table}, [&](HeapTuple i) {
        const Oid parent = row<Form_pg_inherits>(i)->inhparent;
        out = governed(parent);
        if (!out)
            out = governed_ancestor(parent);
        return static_cast<bool>(out);
    });
    return out;
}

verdict governed_descendant(Oid table) {
    if (!has_subclass(table))
        return free_to_go;
    ListCell* cell;
    foreach (cell, find_all_inheritors(table, NoLock, nullptr))
        if (const verdict v = lfirst_oid(cell) != table ? governed(lfirst_oid(cell)) : free_to_go)
            return v;
    return free_to_go;
}

verdict of_table(Oid table) {
    if (const verdict v = governed(table))
        return v;
    if (const verdict v = governed_ancestor(table))
        return v;
    if (const verdict v = governed_descendant(table))
        return v;
    return covered();
}

verdict of_index(Oid index) {
    HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
    if (!HeapTupleIsValid(tuple))
        return free_to_go;
    const Form_pg_index i = row<Form_pg_index>(tuple);
    const bool keeps_unique = i->indisunique || i->indisexclusion;
    const bool usable = i->indisvalid; // what a failed CREATE INDEX CONCURRENTLY left behind keeps nothing
    const Oid table = i->indrelid;
    ReleaseSysCache(tuple);
    return keeps_unique && usable ? of_relation(table) : free_to_go;
}

verdict of_sequence(Oid sequence) {
    Oid table;
    int32 column;
    if (sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &column) ||
        sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &column))
        return of_relation(table);
    return covered();
}

verdict judge_relation(Oid relation) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        return free_to_go;
    const FormData_pg_class c = *row<Form_pg_class>(tuple);
    ReleaseSysCache(tuple);
    if (c.relpersistence == RELPERSISTENCE_TEMP || relation < FirstNormalObjectId || c.relkind == RELKIND_TOASTVALUE)
        return free_to_go;
    if (c.relnamespace == now.schema)
        return by_sor;
    switch (c.relkind) {
    case RELKIND_RELATION:
    case RELKIND_PARTITIONED_TABLE:
    case RELKIND_FOREIGN_TABLE:
        return of_table(relation);
    case RELKIND_INDEX:
    case RELKIND_PARTITIONED_INDEX:
        return of_index(relation);
    case RELKIND_SEQUENCE:
        return of_sequence(relation);
    case RELKIND_COMPOSITE_TYPE:
        return of_type(c.reltype);
    default:
        return covered();
    }
}

// Once for each command.
template <class F>
verdict remembered(Oid catalog, Oid object, F&& f) {
    const known_key key = {catalog, object};
    if (const auto* k = static_cast<known*>(hash_search(now.verdicts, &key, HASH_FIND, nullptr)))
        return k->v;
    const MemoryContext outer = MemoryContextSwitchTo(now.memory);
    const verdict v = f();
    MemoryContextSwitchTo(outer);
    static_cast<known*>(hash_search(now.verdicts, &key, HASH_ENTER, nullptr))->v = v;
    return v;
}

// ---------------------------------------------------------------- types

// Whether a governed table is of it or has a column of it, of an array or domain of it, or of a type made of it.
verdict used_by_table(Oid type, int depth) {
    verdict out = free_to_go;
    if (depth > 20)
        return out;
    any_row(DependRelationId, DependReferenceIndexId, {Anum_pg_depend_refclassid, Anum_pg_depend_refobjid},
            {TypeRelationId, type}, [&](HeapTuple tuple) {
                const auto* user = row<Form_pg_depend>(tuple);
                if (user->classid == TypeRelationId) {
                    out = used_by_table(user->objid, depth + 1);
                } else if (user->classid == RelationRelationId) {
                    const char kind = get_rel_relkind(user->objid);
                    if (kind == RELKIND_COMPOSITE_TYPE && user->objsubid != 0)
                        out = used_by_table(get_rel_type_id(user->objid), depth + 1);
                    else if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE)
                        out = of_relation(user->objid);
                }
                if (!out.is_protected())
                    out = free_to_go;
                return static_cast<bool>(out);
            });
    return out;
}

verdict judge_type(Oid type) {
    HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
    if (!HeapTupleIsValid(tuple))
        return free_to_go;
    const Oid schema = row<Form_pg_type>(tuple)->typnamespace;
    const Oid relation = row<Form_pg_type>(tuple)->typrelid;
    ReleaseSysCache(tuple);
    if (type < FirstNormalObjectId || isAnyTempNamespace(schema))
        return free_to_go;
    if (schema == now.schema)
        return by_sor;
    if (OidIsValid(relation) && get_rel_relkind(relation) != RELKIND_COMPOSITE_TYPE)
        return of_relation(relation);
    if (const verdict v = used_by_table(type, 0))
        return {v.kind, psprintf("A table has a column of it. %s", v.why)};
    return covered();
}

// ---------------------------------------------------------------- the rest

verdict of_constraint(Oid constraint) {
    HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
    if (!HeapTupleIsValid(tuple))
        return free_to_go;
    const FormData_pg_constraint c = *row<Form_pg_constraint>(tuple);
    AttrNumber column = InvalidAttrNumber;
    if (c.contype == 'n') { // from 18 on
        bool null;
        const Datum key = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_conkey, &null);
        if (!null)
            column = *reinterpret_cast<int16*>(ARR_DATA_PTR(DatumGetArrayTypeP(key)));
    }
    ReleaseSysCache(tuple);
    if (OidIsValid(c.contypid))
        return of_type(c.contypid);
    // What isolates tenants needs its NOT NULL; other columns may give it up.
    if (!OidIsValid(c.conrelid) || (column != InvalidAttrNumber && !is_policy_column(c.conrelid, column)))
        return free_to_go;
    return of_relation(c.conrelid);
}

verdict of_trigger(Oid trigger) {
    verdict out = free_to_go;
    any_row(TriggerRelationId, TriggerOidIndexId, {Anum_pg_trigger_oid}, {trigger}, [&](HeapTuple tuple) {
        const auto* t = row<Form_pg_trigger>(tuple);
        if (!t->tgisinternal) // those go with their constraint
            out = of_relation(t->tgrelid);
        return true;
    });
    return out;
}

verdict of_schema(Oid schema) {
    if (schema == now.schema)
        return by_sor;
    return schema < FirstNormalObjectId || isAnyTempNamespace(schema) ? free_to_go : covered();
}

} // namespace

// ---------------------------------------------------------------- interface

bool begin_command() {
    if (now.memory == nullptr)
        now.memory = AllocSetContextCreate(CacheMemoryContext, "sor guard", ALLOCSET_SMALL_SIZES);
    MemoryContextReset(now.memory);
    now.registered = now.tools = NIL;
    now.verdicts = nullptr;
    now.begun = now.installed = now.whole_database = false;
    now.schema = get_namespace_oid("sor", true);
    now.extension = get_extension_oid("sor", true);
    if (!OidIsValid(now.extension) || !OidIsValid(now.schema) ||
        !OidIsValid(get_relname_relid("guard_coverage", now.schema)))
        return false;
    HASHCTL control = {};
    control.keysize = sizeof(known_key);
    control.entrysize = sizeof(known);
    control.hcxt = now.memory;
    now.verdicts = hash_create("sor guard", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    context::as_engine([](MemoryContext) {
        static bridge::statement covers("select kind, name from ("
                                        "select 1, coverage from sor.guard_coverage"
                                        " union all select 2, target from sor.registered_tables"
                                        " union all select 2, target from sor.queues"
                                        " union all select 3, function from sor.tools where function is not null"
                                        ") as of(kind, name)",
                                        {});
        const auto found = covers.run_latest();
        const MemoryContext outer = MemoryContextSwitchTo(now.memory);
        for (uint64 i = 0; i < found.count; ++i) {
            const char* name = found.string(i, 2);
            switch (found.integer(i, 1)) {
            case 1:
                now.whole_database = strcmp(name, "database") == 0;
                break;
            case 2:
                now.registered = lappend_oid(now.registered, bridge::find_relation(name));
                break;
            default:
                now.tools = lappend_oid(now.tools, bridge::find_function(name));
            }
        }
        MemoryContextSwitchTo(outer);
    });
    now.begun = now.installed = true;
    return true;
}

bool within_command() {
    return now.begun ? now.installed : begin_command();
}

void end_command() {
    now.begun = false;
}

verdict of_relation(Oid relation) {
    return remembered(RelationRelationId, relation, [&] { return judge_relation(relation); });
}

verdict of_type(Oid type) {
    return remembered(TypeRelationId, type, [&] { return judge_type(type); });
}

verdict of_routine(Oid routine) {
    const Oid schema = get_func_namespace(routine);
    if (schema == now.schema)
        return by_sor;
    if (list_member_oid(now.tools, routine))
        return {verdict::of::governed, "It is registered as a tool."};
    return routine < FirstNormalObjectId || isAnyTempNamespace(schema) ? free_to_go : covered();
}

verdict of_object(const ObjectAddress& object) {
    switch (object.classId) {
    case RelationRelationId:
        return of_relation(object.objectId);
    case AttrDefaultRelationId:
        return of_relation(lookup<Form_pg_attrdef>(AttrDefaultRelationId, AttrDefaultOidIndexId, Anum_pg_attrdef_oid,
                                                   object.objectId, [](auto* d) { return d->adrelid; }));
    case ConstraintRelationId:
        return of_constraint(object.objectId);
    case TriggerRelationId:
        return of_trigger(object.objectId);
    case PolicyRelationId:
        return of_relation(lookup<Form_pg_policy>(PolicyRelationId, PolicyOidIndexId, Anum_pg_policy_oid,
                                                  object.objectId, [](auto* p) { return p->polrelid; }));
    case RewriteRelationId:
        return of_relation(lookup<Form_pg_rewrite>(RewriteRelationId, RewriteOidIndexId, Anum_pg_rewrite_oid,
                                                   object.objectId, [](auto* r) { return r->ev_class; }));
    case TypeRelationId:
        return of_type(object.objectId);
    case ProcedureRelationId:
        return of_routine(object.objectId);
    case NamespaceRelationId:
        return of_schema(object.objectId);
    case ExtensionRelationId:
        return object.objectId == now.extension ? by_sor : covered();
    case EventTriggerRelationId:
        return is_member(EventTriggerRelationId, object.objectId) ? by_sor : free_to_go;
    default:
        return free_to_go;
    }
}

namespace {

// The first that judge(object, type of the dependency, whether it was seen before) finds guarded among all that depends
// on an object, nearest first; which: that one.
template <bridge::guarded F>
verdict first_dependent(const ObjectAddress& object, ObjectAddress& which, F&& judge) {
    HASHCTL control = {};
    control.keysize = control.entrysize = sizeof(ObjectAddress);
    control.hcxt = CurrentMemoryContext;
    HTAB* seen = hash_create("sor dependents", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    auto* first = static_cast<ObjectAddress*>(palloc(sizeof(ObjectAddress)));
    *first = object;
    List* waiting = list_make1(first);
    verdict out = free_to_go;
    for (int i = 0; i < list_length(waiting) && !out; ++i) {
        CHECK_FOR_INTERRUPTS();
        const ObjectAddress& of = *static_cast<ObjectAddress*>(list_nth(waiting, i));
        any_row(DependRelationId, DependReferenceIndexId, {Anum_pg_depend_refclassid, Anum_pg_depend_refobjid},
                {of.classId, of.objectId}, [&](HeapTuple tuple) {
                    const auto* d = row<Form_pg_depend>(tuple);
                    if (of.objectSubId != 0 && d->refobjsubid != of.objectSubId)
                        return false;
                    ObjectAddress one;
                    ObjectAddressSubSet(one, d->classid, d->objid, d->objsubid);
                    bool known_already;
                    hash_search(seen, &one, HASH_ENTER, &known_already);
                    if ((out = judge(one, d->deptype, known_already))) {
                        which = one;
                        return true;
                    }
                    if (known_already)
                        return false;
                    auto* next = static_cast<ObjectAddress*>(palloc(sizeof(ObjectAddress)));
                    *next = one;
                    waiting = lappend(waiting, next);
                    return false;
                });
    }
    hash_destroy(seen);
    return out;
}

} // namespace

verdict of_dependents(const ObjectAddress& object, ObjectAddress& which) {
    return first_dependent(object, which, [](const ObjectAddress& one, char, bool known_already) {
        return known_already ? free_to_go : of_object(one);
    });
}

verdict of_rows_taken_along(const ObjectAddress& object, ObjectAddress& which) {
    const Oid schema = object.classId == NamespaceRelationId ? object.objectId : InvalidOid;
    return first_dependent(object, which, [&](const ObjectAddress& one, char dependency, bool) {
        if (one.classId != RelationRelationId || dependency != DEPENDENCY_NORMAL)
            return free_to_go;
        const char kind = get_rel_relkind(one.objectId);
        const bool has_rows = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
        const bool goes_anyway = (object.classId == RelationRelationId && one.objectId == object.objectId) ||
                                 (OidIsValid(schema) && get_rel_namespace(one.objectId) == schema);
        return has_rows && !goes_anyway ? of_object(one) : free_to_go;
    });
}

verdict of_property(Oid role, ObjectAddress& which) {
    verdict out = free_to_go;
    any_row(SharedDependRelationId, SharedDependReferenceIndexId,
            {Anum_pg_shdepend_refclassid, Anum_pg_shdepend_refobjid}, {AuthIdRelationId, role}, [&](HeapTuple tuple) {
                const auto* d = row<Form_pg_shdepend>(tuple);
                if (d->deptype != SHARED_DEPENDENCY_OWNER || d->dbid != MyDatabaseId)
                    return false;
                ObjectAddressSubSet(which, d->classid, d->objid, d->objsubid);
                out = of_object(which);
                if (out)
                    return true;
                const ObjectAddress owned = which;
                out = of_dependents(owned, which);
                return static_cast<bool>(out);
            });
    return out;
}

Oid owner_of_sor() {
    return lookup<Form_pg_extension>(ExtensionRelationId, ExtensionOidIndexId, Anum_pg_extension_oid, now.extension,
                                     [](auto* e) { return e->extowner; });
}

Oid owner_of(const ObjectAddress& object) {
    const Oid oid = object.objectId;
    switch (object.classId) {
    case RelationRelationId:
        return bridge::owner_of_relation(oid);
    case ProcedureRelationId:
        return bridge::owner_of_function(oid);
    case NamespaceRelationId:
        return lookup<Form_pg_namespace>(NamespaceRelationId, NamespaceOidIndexId, Anum_pg_namespace_oid, oid,
                                         [](auto* n) { return n->nspowner; });
    case TypeRelationId:
        return lookup<Form_pg_type>(TypeRelationId, TypeOidIndexId, Anum_pg_type_oid, oid,
                                    [](auto* t) { return t->typowner; });
    default:
        return InvalidOid;
    }
}

namespace {

bool a_policy_reads(Oid relation, AttrNumber column) {
    return column != InvalidAttrNumber &&
           any_row(DependRelationId, DependReferenceIndexId, {Anum_pg_depend_refclassid, Anum_pg_depend_refobjid},
                   {RelationRelationId, relation}, [&](HeapTuple tuple) {
                       const auto* d = row<Form_pg_depend>(tuple);
                       return d->classid == PolicyRelationId && d->refobjsubid == column;
                   });
}

} // namespace

bool is_policy_column(Oid relation, AttrNumber column) {
    if (has_subclass(relation)) { // what changes a parent's column changes its children's
        const char* name = get_attname(relation, column, true);
        ListCell* cell;
        foreach (cell, name ? find_all_inheritors(relation, NoLock, nullptr) : NIL)
            if (const Oid child = lfirst_oid(cell); child != relation && a_policy_reads(child, get_attnum(child, name)))
                return true;
    }
    return a_policy_reads(relation, column);
}

bool guards_truncate(Oid relation) {
    const Oid sor = get_namespace_oid("sor", true);
    return OidIsValid(sor) && any_row(TriggerRelationId, TriggerRelidNameIndexId, {Anum_pg_trigger_tgrelid}, {relation},
                                      [&](HeapTuple tuple) {
                                          const auto* t = row<Form_pg_trigger>(tuple);
                                          return TRIGGER_FOR_TRUNCATE(t->tgtype) &&
                                                 t->tgenabled == TRIGGER_FIRES_ALWAYS &&
                                                 get_func_namespace(t->tgfoid) == sor;
                                      });
}

bool is_guard_trigger(Oid relation, const char* trigger) {
    return review::has_sor_trigger(relation, trigger);
}

const char* describe(const ObjectAddress& object) {
    const char* identity = getObjectIdentity(&object, true);
    return identity ? psprintf("%s %s", getObjectTypeDescription(&object, true), identity) : "an object";
}

} // namespace sor::guard
