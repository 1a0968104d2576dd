#include "review/lookup.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/partition.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/policy.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parse_type.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/typcache.h"
}

#include <string_view>

namespace sor::review {

namespace {

// Calls f with each row of a catalog whose column equals an OID, until f returns true.
template <class F>
bool any_row(Oid catalog, Oid index, AttrNumber column, Oid equals, F&& f) {
    Relation rows = table_open(catalog, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(equals));
    SysScanDesc scan = systable_beginscan(rows, index, true, nullptr, 1, &key);
    bool found = false;
    HeapTuple tuple;
    while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
        found = f(tuple, RelationGetDescr(rows));
    systable_endscan(scan);
    table_close(rows, AccessShareLock);
    return found;
}

// Calls f with each function of a name, whatever its schema and arguments, until f returns true.
template <class F>
bool any_function(const char* name, F&& f) {
    CatCList* list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
    bool found = false;
    for (int i = 0; i < list->n_members && !found; ++i)
        found = f(reinterpret_cast<Form_pg_proc>(GETSTRUCT(&list->members[i]->tuple)));
    ReleaseSysCacheList(list);
    return found;
}

Oid find_type(const TypeName* name, const char* schema, int32* typmod) {
    Type type = LookupTypeName(nullptr, name, typmod, true);
    if (type == nullptr && schema != nullptr && list_length(name->names) == 1) {
        TypeName* qualified = static_cast<TypeName*>(copyObjectImpl(name));
        qualified->names = list_make2(makeString(pstrdup(schema)), linitial(name->names));
        type = LookupTypeName(nullptr, qualified, typmod, true);
    }
    if (type == nullptr)
        return InvalidOid;
    const Oid oid = typeTypeId(type);
    ReleaseSysCache(type);
    return oid;
}

// Of types that hold numbers or moments, how much: a conversion to a smaller one loses something or fails.
int capacity(Oid type) {
    switch (type) {
    case INT2OID:
        return 1;
    case INT4OID:
        return 2;
    case FLOAT4OID:
        return 3;
    case INT8OID:
        return 4;
    case FLOAT8OID:
        return 5;
    case NUMERICOID:
        return 6;
    case TIMEOID:
    case DATEOID:
        return 11;
    case TIMETZOID:
    case TIMESTAMPOID:
        return 12;
    case TIMESTAMPTZOID:
        return 13;
    default:
        return 0;
    }
}

type_change change_of_modifier(Oid type, int32 from, int32 to) {
    if (from == to || to < 0)
        return type == BPCHAROID && from != to ? type_change::rewrites : type_change::widens;
    switch (type) {
    case VARCHAROID:
    case VARBITOID:
        return from >= 0 && to >= from ? type_change::widens : type_change::narrows;
    case NUMERICOID: {
        if (from < 0)
            return type_change::narrows;
        const int32 precision = ((to - static_cast<int32>(VARHDRSZ)) >> 16) & 0xffff;
        const int32 had_precision = ((from - static_cast<int32>(VARHDRSZ)) >> 16) & 0xffff;
        // 11 bits, signed
        const int32 scale = (((to - static_cast<int32>(VARHDRSZ)) & 0x7ff) ^ 1024) - 1024;
        const int32 had_scale = (((from - static_cast<int32>(VARHDRSZ)) & 0x7ff) ^ 1024) - 1024;
        if (scale < had_scale || precision - scale < had_precision - had_scale)
            return type_change::narrows;
        return scale == had_scale ? type_change::widens : type_change::rewrites;
    }
    case TIMEOID:
    case TIMETZOID:
    case TIMESTAMPOID:
    case TIMESTAMPTZOID:
        return to >= (from < 0 ? MAX_TIMESTAMP_PRECISION : from) ? type_change::widens : type_change::narrows;
    case BPCHAROID:
    case BITOID:
        return from >= 0 && to >= from ? type_change::rewrites : type_change::narrows;
    default:
        return type_change::rewrites;
    }
}

bool has_volatile_function(Node* node, void* unused) {
    if (node == nullptr)
        return false;
    if (IsA(node, FuncCall)) {
        const List* name = reinterpret_cast<FuncCall*>(node)->funcname;
        const char* schema = list_length(name) > 1 ? strVal(linitial(name)) : nullptr;
        bool known = false;
        const bool is_volatile_one = any_function(strVal(llast(name)), [&](Form_pg_proc f) {
            if (schema != nullptr && get_namespace_oid(schema, true) != f->pronamespace)
                return false;
            known = true;
            return f->provolatile == PROVOLATILE_VOLATILE;
        });
        if (is_volatile_one || !known)
            return true;
    }
    return bridge::walk(node, has_volatile_function, unused);
}

} // namespace

Oid find_relation(const char* schema, const char* name) {
    if (schema == nullptr)
        return InvalidOid;
    const Oid space = get_namespace_oid(schema, true);
    return OidIsValid(space) ? get_relname_relid(name, space) : InvalidOid;
}

bool schema_exists(const char* name) {
    return OidIsValid(get_namespace_oid(name, true));
}

bool extension_exists(const char* name) {
    return OidIsValid(get_extension_oid(name, true));
}

bool function_exists(const char* schema, const char* name) {
    const Oid space = schema ? get_namespace_oid(schema, true) : InvalidOid;
    return any_function(name, [&](Form_pg_proc f) { return schema == nullptr || f->pronamespace == space; });
}

bool column_exists(Oid relation, const char* column) {
    return OidIsValid(relation) && get_attnum(relation, column) != InvalidAttrNumber;
}

bool is_partitioned(Oid relation) {
    return OidIsValid(relation) && get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE;
}

bool has_default_partition(Oid relation) {
    return is_partitioned(relation) && OidIsValid(get_default_partition_oid(relation));
}

namespace {
char unique_index(Oid index) {
    HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
    if (!HeapTupleIsValid(tuple))
        return '?';
    const auto* row = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
    const bool guards = row->indisunique || row->indisexclusion;
    ReleaseSysCache(tuple);
    return guards ? 'y' : 'n';
}
} // namespace

bool is_unique_index(Oid index) {
    return OidIsValid(index) && unique_index(index) == 'y';
}

bool is_plain_index(Oid index) {
    return OidIsValid(index) && unique_index(index) == 'n';
}

double estimated_rows(Oid relation) {
    if (!OidIsValid(relation))
        return -1;
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple))
        return -1;
    const double rows = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->reltuples;
    ReleaseSysCache(tuple);
    return rows;
}

bool proves_not_null(Oid relation, const char* column) {
    if (!OidIsValid(relation))
        return false;
    const AttrNumber number = get_attnum(relation, column);
    return any_row(ConstraintRelationId, ConstraintRelidTypidNameIndexId, Anum_pg_constraint_conrelid, relation,
                   [&](HeapTuple tuple, TupleDesc row) {
                       const auto* c = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));
                       if (c->contype != CONSTRAINT_CHECK || !c->convalidated)
                           return false;
                       bool null;
                       const Datum bin = heap_getattr(tuple, Anum_pg_constraint_conbin, row, &null);
                       if (null)
                           return false;
                       const Node* check = static_cast<Node*>(stringToNode(TextDatumGetCString(bin)));
                       if (!IsA(check, NullTest))
                           return false;
                       const auto* test = reinterpret_cast<const NullTest*>(check);
                       return test->nulltesttype == IS_NOT_NULL && IsA(test->arg, Var) &&
                              reinterpret_cast<const Var*>(test->arg)->varattno == number;
                   });
}

char trigger_state(Oid relation, const char* trigger) {
    char state = '\0';
    if (OidIsValid(relation))
        any_row(TriggerRelationId, TriggerRelidNameIndexId, Anum_pg_trigger_tgrelid, relation,
                [&](HeapTuple tuple, TupleDesc) {
                    const auto* t = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
                    if (strcmp(NameStr(t->tgname), trigger) != 0)
                        return false;
                    state = t->tgenabled;
                    return true;
                });
    return state;
}

bool has_sor_trigger(Oid relation, const char* trigger) {
    const Oid sor = get_namespace_oid("sor", true);
    return OidIsValid(relation) &&
           any_row(TriggerRelationId, TriggerRelidNameIndexId, Anum_pg_trigger_tgrelid, relation,
                   [&](HeapTuple tuple, TupleDesc) {
                       const auto* t = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
                       return (trigger == nullptr || strcmp(NameStr(t->tgname), trigger) == 0) &&
                              get_func_namespace(t->tgfoid) == sor;
                   });
}

bool policy_exists(Oid relation, const char* policy) {
    return OidIsValid(relation) && OidIsValid(get_relation_policy_oid(relation, policy, true));
}

bool is_constrained_domain(const TypeName* type, const char* schema) {
    int32 typmod;
    const Oid oid = find_type(type, schema, &typmod);
    return OidIsValid(oid) && get_typtype(oid) == TYPTYPE_DOMAIN && DomainHasConstraints(oid);
}

type_change change_of_type(Oid relation, const char* column, const TypeName* to_name, const char* schema) {
    if (!OidIsValid(relation))
        return type_change::rewrites;
    const AttrNumber number = get_attnum(relation, column);
    if (number == InvalidAttrNumber)
        return type_change::rewrites;
    Oid from, collation;
    int32 had;
    get_atttypetypmodcoll(relation, number, &from, &had, &collation);
    int32 modifier = -1;
    const Oid to = find_type(to_name, schema, &modifier);
    if (!OidIsValid(to))
        return type_change::rewrites;
    if (from == to)
        return change_of_modifier(to, had, modifier);
    if ((from == TEXTOID || from == VARCHAROID) && to == BPCHAROID)
        return type_change::narrows;
    if (from == TEXTOID && to == VARCHAROID)
        return modifier < 0 ? type_change::widens : type_change::narrows;
    if (capacity(from) != 0 && capacity(to) != 0) {
        if (capacity(from) / 10 == capacity(to) / 10 && capacity(to) > capacity(from))
            return modifier < 0 && to != FLOAT4OID && !(from == INT8OID && to == FLOAT8OID) ? type_change::rewrites
                                                                                            : type_change::narrows;
        return type_change::narrows;
    }
    if (get_typtype(to) == TYPTYPE_DOMAIN && DomainHasConstraints(to))
        return type_change::rewrites;
    return IsBinaryCoercible(from, to) ? type_change::widens : type_change::rewrites;
}

bool is_volatile(Node* expression) {
    return has_volatile_function(expression, nullptr);
}

bool may_write(const List* name) {
    static constexpr std::string_view harmless[] = {
        "random",
        "clock_timestamp",
        "timeofday",
        "gen_random_uuid",
        "gen_random_bytes",
        "gen_salt",
        "uuidv4",
        "uuidv7",
        "uuid_generate_v1",
        "uuid_generate_v4",
        "nextval",
        "currval",
        "lastval",
        "pg_sleep",
        "txid_current",
        "pg_current_xact_id",
        "pg_advisory_xact_lock",
        "pg_try_advisory_xact_lock",
    };
    const std::string_view function = strVal(llast(name));
    if (function.starts_with("query_to_xml") ||
        function.starts_with("cursor_to_xml")) // run the SQL that they are given
        return true;
    const bool qualified = list_length(name) > 1;
    const Oid schema = qualified ? get_namespace_oid(strVal(linitial(name)), true) : InvalidOid;
    bool trusted = false; // there is one that only a superuser can have made
    const bool writes = any_function(strVal(llast(name)), [&](Form_pg_proc f) {
        if (qualified && f->pronamespace != schema)
            return false;
        const bool by_superuser = f->pronamespace == PG_CATALOG_NAMESPACE || f->prolang == ClanguageId;
        trusted = trusted || by_superuser;
        if (f->provolatile != PROVOLATILE_VOLATILE)
            return false;
        for (const std::string_view one : harmless)
            if (by_superuser && one == function)
                return false;
        return true; // the one that fits may be this one
    });
    return writes || !trusted;
}

} // namespace sor::review
