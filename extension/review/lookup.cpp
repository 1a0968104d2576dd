#include "review/lookup.hpp"

#include "review/review_core.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/partition.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_rewrite.h"
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

#include <algorithm>
#include <iterator>
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

Oid find_type(const TypeName* name, const List* schemas, int32* typmod) {
    Type type = LookupTypeName(nullptr, name, typmod, true);
    ListCell* cell;
    foreach (cell, list_length(name->names) == 1 ? schemas : NIL) {
        if (type != nullptr)
            break;
        TypeName* qualified = static_cast<TypeName*>(copyObjectImpl(name));
        qualified->names =
            list_make2(makeString(pstrdup(static_cast<const char*>(lfirst(cell)))), linitial(name->names));
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
        return type_change::narrows;
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

bool users_table_exists(const char* name) {
    CatCList* list = SearchSysCacheList1(RELNAMENSP, CStringGetDatum(name));
    const Oid sor = get_namespace_oid("sor", true);
    bool found = false;
    for (int i = 0; i < list->n_members && !found; ++i) {
        const auto* c = reinterpret_cast<Form_pg_class>(GETSTRUCT(&list->members[i]->tuple));
        found = (c->relkind == RELKIND_RELATION || c->relkind == RELKIND_PARTITIONED_TABLE) && c->relnamespace != sor &&
                !IsCatalogNamespace(c->relnamespace) && c->oid >= FirstNormalObjectId;
    }
    ReleaseSysCacheList(list);
    return found;
}

bool schema_exists(const char* name) {
    return OidIsValid(get_namespace_oid(name, true));
}

bool type_exists(const char* schema, const char* name) {
    const Oid space = get_namespace_oid(schema, true);
    return OidIsValid(space) && SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(name), ObjectIdGetDatum(space));
}

bool role_exists(const char* name) {
    return OidIsValid(get_role_oid(name, true));
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

view_facts facts_of_view(Oid view) {
    if (!OidIsValid(view) || get_rel_relkind(view) != RELKIND_VIEW)
        return {false, true};
    view_facts facts = {false, true};
    HeapTuple row = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
    if (HeapTupleIsValid(row)) {
        bool null;
        SysCacheGetAttr(RELOID, row, Anum_pg_class_reloptions, &null);
        facts.has_options = !null;
        ReleaseSysCache(row);
    }
    any_row(RewriteRelationId, RewriteRelRulenameIndexId, Anum_pg_rewrite_ev_class, view,
            [&](HeapTuple tuple, TupleDesc columns) {
                if (reinterpret_cast<Form_pg_rewrite>(GETSTRUCT(tuple))->ev_type != '1') // ON SELECT
                    return false;
                bool null;
                const Datum action = heap_getattr(tuple, Anum_pg_rewrite_ev_action, columns, &null);
                if (null)
                    return false;
                const auto* q = linitial_node(Query, static_cast<List*>(stringToNode(TextDatumGetCString(action))));
                facts.filters = q->jointree->quals != nullptr || q->havingQual != nullptr || q->limitCount != nullptr ||
                                q->setOperations != nullptr;
                return true;
            });
    return facts;
}

bool policy_exists(Oid relation, const char* policy) {
    return OidIsValid(relation) && OidIsValid(get_relation_policy_oid(relation, policy, true));
}

namespace {

constexpr int most_listed = 8;
constexpr int most_visited = 500;

class listing {
public:
    void add(const char* one) {
        if (++count_ > most_listed)
            return;
        if (text_.data == nullptr)
            initStringInfo(&text_);
        appendStringInfo(&text_, "%s%s", text_.len ? ", " : "", one);
    }
    const char* sentence(const char* verb, bool more) const {
        if (count_ == 0)
            return nullptr;
        const char* rest = count_ > most_listed ? psprintf(" and %d more", count_ - most_listed) : "";
        return psprintf(" %s: %s%s%s.", verb, text_.data, rest, more ? " at least" : "");
    }

private:
    StringInfoData text_ = {};
    int count_ = 0;
};

Oid relation_of_rule(Oid rewrite_rule) {
    Oid relation = InvalidOid;
    any_row(RewriteRelationId, RewriteOidIndexId, Anum_pg_rewrite_oid, rewrite_rule, [&](HeapTuple tuple, TupleDesc) {
        relation = reinterpret_cast<Form_pg_rewrite>(GETSTRUCT(tuple))->ev_class;
        return true;
    });
    return relation;
}

const char* dependants(Oid catalog, Oid object, int part) {
    if (!OidIsValid(object))
        return nullptr;
    listing found;
    auto* visited = static_cast<ObjectAddress*>(palloc(most_visited * sizeof(ObjectAddress)));
    int count = 1;
    visited[0] = {catalog, object, part};
    bool more = false;
    Relation depend = table_open(DependRelationId, AccessShareLock);
    for (int i = 0; i < count; ++i) {
        CHECK_FOR_INTERRUPTS();
        ScanKeyData keys[3];
        ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
                    ObjectIdGetDatum(visited[i].classId));
        ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
                    ObjectIdGetDatum(visited[i].objectId));
        ScanKeyInit(&keys[2], Anum_pg_depend_refobjsubid, BTEqualStrategyNumber, F_INT4EQ,
                    Int32GetDatum(visited[i].objectSubId));
        SysScanDesc scan = systable_beginscan(depend, DependReferenceIndexId, true, nullptr,
                                              visited[i].objectSubId != 0 ? 3 : 2, keys);
        HeapTuple tuple;
        while (HeapTupleIsValid(tuple = systable_getnext(scan))) {
            const auto* d = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));
            ObjectAddress one = {d->classid, d->objid, d->objsubid};
            if (one.classId == RewriteRelationId)
                one = {RelationRelationId, relation_of_rule(one.objectId), 0};
            bool known = !OidIsValid(one.objectId);
            for (int k = 0; k < count && !known; ++k)
                known = visited[k].classId == one.classId && visited[k].objectId == one.objectId &&
                        (visited[k].objectSubId == 0 || visited[k].objectSubId == one.objectSubId);
            if (known)
                continue;
            if (count == most_visited) {
                more = true;
                break;
            }
            visited[count++] = one;
            if (d->deptype == DEPENDENCY_NORMAL)
                if (const char* shown = getObjectDescription(&one, true))
                    found.add(shown);
        }
        systable_endscan(scan);
    }
    table_close(depend, AccessShareLock);
    return found.sentence("Now these are", more);
}

} // namespace

const char* dependants_of_relation(Oid relation, const char* column) {
    const AttrNumber number = column && OidIsValid(relation) ? get_attnum(relation, column) : InvalidAttrNumber;
    return column && number == InvalidAttrNumber ? nullptr : dependants(RelationRelationId, relation, number);
}

const char* dependants_of_constraint(Oid relation, const char* constraint) {
    return dependants(ConstraintRelationId,
                      OidIsValid(relation) ? get_relation_constraint_oid(relation, constraint, true) : InvalidOid, 0);
}

const char* dependants_of_type(const char* schema, const char* name) {
    const Oid space = schema ? get_namespace_oid(schema, true) : InvalidOid;
    return dependants(TypeRelationId,
                      GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name), ObjectIdGetDatum(space)),
                      0);
}

const char* dependants_of_schema(const char* name) {
    return dependants(NamespaceRelationId, get_namespace_oid(name, true), 0);
}

const char* dependants_of_extension(const char* name) {
    return dependants(ExtensionRelationId, get_extension_oid(name, true), 0);
}

const char* dependants_of_function(const char* schema, const char* name) {
    Oid function = InvalidOid;
    const Oid space = schema ? get_namespace_oid(schema, true) : InvalidOid;
    const bool several = any_function(name, [&](Form_pg_proc f) {
        if (OidIsValid(space) && f->pronamespace != space)
            return false;
        const bool second = OidIsValid(function);
        function = f->oid;
        return second;
    });
    return several ? nullptr : dependants(ProcedureRelationId, function, 0);
}

const char* truncated_with(Oid relation) {
    if (!OidIsValid(relation))
        return nullptr;
    listing found;
    List* all = list_make1_oid(relation);
    bool more = false;
    for (int seen = 0; seen < list_length(all) && !more;) {
        List* next = heap_truncate_find_FKs(all);
        seen = list_length(all);
        ListCell* cell;
        foreach (cell, next) {
            more = list_length(all) >= most_visited;
            if (more || list_member_oid(all, lfirst_oid(cell)))
                continue;
            all = lappend_oid(all, lfirst_oid(cell));
            const ObjectAddress one = {RelationRelationId, lfirst_oid(cell), 0};
            if (const char* shown = getObjectDescription(&one, true))
                found.add(shown);
        }
    }
    return found.sentence("Now these are", more);
}

bool constraint_exists(Oid relation, const char* constraint) {
    return OidIsValid(relation) && OidIsValid(get_relation_constraint_oid(relation, constraint, true));
}

bool is_constrained_domain(const TypeName* type, const List* schemas) {
    int32 typmod;
    const Oid oid = find_type(type, schemas, &typmod);
    return OidIsValid(oid) && get_typtype(oid) == TYPTYPE_DOMAIN && DomainHasConstraints(oid);
}

namespace {

bool is_string(Oid type) {
    return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

// Of a column that is not known: a type that holds less than another of its kind does is taken to cut.
type_change change_to(Oid to, int32 modifier) {
    switch (getBaseTypeAndTypmod(to, &modifier)) {
    case INT2OID:
    case INT4OID:
    case FLOAT4OID:
    case BPCHAROID:
    case NAMEOID:
    case CHAROID:
    case BOOLOID:
    case DATEOID:
    case TIMEOID:
    case TIMETZOID:
    case TIMESTAMPOID:
    case CIDROID:
        return type_change::narrows;
    default:
        return modifier < 0 ? type_change::rewrites : type_change::narrows;
    }
}

// Whether a cast runs a function that is not the server's own: it may return anything.
bool casts_by_function(Oid from, Oid to) {
    Oid function = InvalidOid;
    return find_coercion_pathway(getBaseType(to), getBaseType(from), COERCION_EXPLICIT, &function) ==
               COERCION_PATH_FUNC &&
           function >= FirstNormalObjectId;
}

type_change change_between(Oid from, int32 had, Oid to, int32 modifier) {
    if (from == to)
        return change_of_modifier(to, had, modifier);
    if (casts_by_function(from, to))
        return type_change::narrows;
    if (get_typtype(to) == TYPTYPE_DOMAIN) {
        int32 of_base = -1;
        const type_change change = change_between(from, had, getBaseTypeAndTypmod(to, &of_base), of_base);
        return change == type_change::widens && DomainHasConstraints(to) ? type_change::rewrites : change;
    }
    const Oid element = get_element_type(from);
    if (OidIsValid(element) && OidIsValid(get_element_type(to)))
        return change_between(element, had, get_element_type(to), modifier);
    if (is_string(from) && (to == BPCHAROID || to == NAMEOID || to == CHAROID))
        return type_change::narrows;
    if (is_string(from) && is_string(to)) // varchar and char to text, or back
        return from == BPCHAROID                                   ? type_change::rewrites
               : modifier < 0                                      ? type_change::widens
               : from == VARCHAROID && had >= 0 && modifier >= had ? type_change::widens
                                                                   : type_change::narrows;
    if (capacity(from) != 0 && capacity(to) != 0) {
        if (capacity(from) / 10 == capacity(to) / 10 && capacity(to) > capacity(from))
            return modifier < 0 && to != FLOAT4OID && !(from == INT8OID && to == FLOAT8OID) ? type_change::rewrites
                                                                                            : type_change::narrows;
        return type_change::narrows;
    }
    // a text that is read as a number, a moment, a truth may hold more than that keeps
    if (is_string(from) && (capacity(to) > 6 ? to != TIMESTAMPTZOID || modifier >= 0
                                             : modifier >= 0 || to == FLOAT4OID || to == FLOAT8OID))
        return type_change::narrows;
    if ((to == BOOLOID && capacity(from) != 0) || (from == INETOID && to == CIDROID))
        return type_change::narrows;
    char category, other_category;
    bool preferred;
    get_type_category_preferred(from, &category, &preferred);
    get_type_category_preferred(to, &other_category, &preferred);
    if (category == TYPCATEGORY_GEOMETRIC && other_category == TYPCATEGORY_GEOMETRIC)
        return type_change::narrows;
    return IsBinaryCoercible(from, to) ? type_change::widens : type_change::rewrites;
}

} // namespace

type_change change_of_type(Oid relation, const char* column, const TypeName* to_name, const List* schemas) {
    int32 modifier = -1;
    const Oid to = find_type(to_name, schemas, &modifier);
    if (!OidIsValid(to))
        return to_name->typmods ? type_change::narrows : type_change::rewrites;
    const AttrNumber number = OidIsValid(relation) ? get_attnum(relation, column) : InvalidAttrNumber;
    if (number == InvalidAttrNumber)
        return change_to(to, modifier);
    Oid from, collation;
    int32 had;
    get_atttypetypmodcoll(relation, number, &from, &had, &collation);
    return change_between(from, had, to, modifier);
}

bool type_is_known(const TypeName* type, const List* schemas) {
    int32 modifier;
    return OidIsValid(find_type(type, schemas, &modifier));
}

bool same_type(const TypeName* a, const TypeName* b, const List* schemas) {
    int32 modifier_a, modifier_b;
    const Oid type = find_type(a, schemas, &modifier_a);
    return equal(a->names, b->names) && !OidIsValid(type)
               ? equal(a->typmods, b->typmods)
               : OidIsValid(type) && type == find_type(b, schemas, &modifier_b) && modifier_a == modifier_b;
}

bool is_volatile(Node* expression) {
    return has_volatile_function(expression, nullptr);
}

effect effect_of(const List* name) {
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
        "uuid_generate_v1mc",
        "uuid_generate_v4",
        "nextval",
        "currval",
        "lastval",
        "pg_sleep",
        "txid_current",
        "pg_current_xact_id",
        "pg_advisory_lock",
        "pg_try_advisory_lock",
        "pg_advisory_unlock",
        "pg_advisory_xact_lock",
        "pg_try_advisory_xact_lock",
    };
    const std::string_view function = strVal(llast(name));
    for (const std::string_view one :
         {"query_to_xml", "cursor_to_xml", "crosstab", "connectby", "xpath_table", "ts_stat"})
        if (function.starts_with(one)) // run the SQL that they are given
            return effect::writes;
    const bool listed = std::find(std::begin(harmless), std::end(harmless), function) != std::end(harmless);
    const bool qualified = list_length(name) > 1;
    const Oid schema = qualified ? get_namespace_oid(strVal(linitial(name)), true) : InvalidOid;
    effect worst = effect::none;
    bool known = false;
    any_function(strVal(llast(name)), [&](Form_pg_proc f) {
        if (qualified && f->pronamespace != schema)
            return false;
        known = true;
        const bool by_superuser = f->pronamespace == PG_CATALOG_NAMESPACE || f->prolang == ClanguageId;
        const bool is_volatile_one = f->provolatile == PROVOLATILE_VOLATILE && !(by_superuser && listed);
        worst = std::max(worst, is_volatile_one ? effect::writes : by_superuser ? effect::none : effect::reads);
        return worst == effect::writes;
    });
    // an extension's that the migration has yet to install
    return known ? worst : listed ? effect::none : effect::unknown;
}

bool function_destroys(const char* name) {
    return any_function(name, [](Form_pg_proc f) {
        if (f->prolang == ClanguageId || f->prolang == INTERNALlanguageId)
            return false;
        HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(f->oid));
        if (!HeapTupleIsValid(tuple))
            return false;
        bool null;
        const Datum body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &null);
        const bool found = !null && destroys(TextDatumGetCString(body));
        ReleaseSysCache(tuple);
        return found;
    });
}

bool runs_volatile_function(const char* operator_name) {
    CatCList* list = SearchSysCacheList1(OPERNAMENSP, CStringGetDatum(operator_name));
    bool found = false;
    for (int i = 0; i < list->n_members && !found; ++i) {
        const auto* o = reinterpret_cast<Form_pg_operator>(GETSTRUCT(&list->members[i]->tuple));
        if (o->oprnamespace == PG_CATALOG_NAMESPACE || !OidIsValid(o->oprcode))
            continue;
        HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(o->oprcode));
        if (!HeapTupleIsValid(tuple))
            continue;
        const auto* f = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
        found = f->provolatile == PROVOLATILE_VOLATILE && f->prolang != ClanguageId && f->prolang != INTERNALlanguageId;
        ReleaseSysCache(tuple);
    }
    ReleaseSysCacheList(list);
    return found;
}

bool is_volatile_function_of_rows(const char* function) {
    return any_function(function, [](Form_pg_proc f) {
        return f->provolatile == PROVOLATILE_VOLATILE && f->pronargs == 1 && f->prolang != ClanguageId &&
               f->prolang != INTERNALlanguageId && get_typtype(f->proargtypes.values[0]) == TYPTYPE_COMPOSITE;
    });
}

bool is_server_function(const char* name, bool is_operator) {
    if (!is_operator)
        return any_function(name, [](Form_pg_proc f) { return f->pronamespace == PG_CATALOG_NAMESPACE; });
    CatCList* list = SearchSysCacheList1(OPERNAMENSP, CStringGetDatum(name));
    bool found = false;
    for (int i = 0; i < list->n_members && !found; ++i)
        found = reinterpret_cast<Form_pg_operator>(GETSTRUCT(&list->members[i]->tuple))->oprnamespace ==
                PG_CATALOG_NAMESPACE;
    ReleaseSysCacheList(list);
    return found;
}

} // namespace sor::review
