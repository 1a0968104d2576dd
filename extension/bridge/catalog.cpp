#include "bridge/catalog.hpp"

extern "C" {
#include "utils/regproc.h"
#include "utils/varlena.h"
}

namespace sor::bridge {

namespace {

// A quoted schema.name into its parts; false when there is no such schema. Unlike to_regclass it needs no USAGE.
bool split(const char* qualified, Oid* schema, char** name) {
#if PG_VERSION_NUM >= 160000
    List* names = stringToQualifiedNameList(qualified, nullptr);
#else
    List* names = stringToQualifiedNameList(qualified);
#endif
    if (list_length(names) != 2)
        return false;
    *schema = get_namespace_oid(strVal(linitial(names)), true);
    *name = strVal(lsecond(names));
    return OidIsValid(*schema);
}

// Registries compare what this returns, so it must not depend on the session: a registration would go unnoticed.
char* quoted(const char* schema, const char* name) {
    const bool all = quote_all_identifiers;
    char* volatile text = nullptr;
    PG_TRY();
    {
        quote_all_identifiers = false;
        text = quote_qualified_identifier(schema, name);
    }
    PG_FINALLY();
    { quote_all_identifiers = all; }
    PG_END_TRY();
    return text;
}

} // namespace

char* qualified_name(Oid relid) {
    const char* name = get_rel_name(relid);
    if (name == nullptr)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relid)));
    return quoted(get_namespace_name(get_rel_namespace(relid)), name);
}

Oid find_relation(const char* qualified) {
    Oid schema;
    char* name;
    return split(qualified, &schema, &name) ? get_relname_relid(name, schema) : InvalidOid;
}

Oid owner_of_relation(Oid relid) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
    if (!HeapTupleIsValid(tuple))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relid)));
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return owner;
}

char* qualified_signature(Oid function) {
    return psprintf("%s(jsonb)", quoted(get_namespace_name(get_func_namespace(function)), get_func_name(function)));
}

Oid find_function(const char* signature) {
    const std::string_view whole = signature;
    constexpr std::string_view arguments = "(jsonb)";
    if (!whole.ends_with(arguments))
        return InvalidOid;
    Oid schema;
    char* name;
    if (!split(pnstrdup(signature, whole.size() - arguments.size()), &schema, &name))
        return InvalidOid;
    const Oid jsonb = JSONBOID;
    HeapTuple tuple = SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(name),
                                      PointerGetDatum(buildoidvector(&jsonb, 1)), ObjectIdGetDatum(schema));
    if (!HeapTupleIsValid(tuple))
        return InvalidOid;
    // It may have been replaced since it was registered; another type's value read as a jsonb crashes.
    const auto* row = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
    const Oid function =
        row->prorettype == JSONBOID && row->prokind == PROKIND_FUNCTION && !row->proretset ? row->oid : InvalidOid;
    ReleaseSysCache(tuple);
    return function;
}

Oid owner_of_function(Oid function) {
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(tuple))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION), errmsg("function with OID %u does not exist", function)));
    const Oid owner = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->proowner;
    ReleaseSysCache(tuple);
    return owner;
}

bool may_become(Oid member, Oid role) {
#if PG_VERSION_NUM >= 160000
    return member_can_set_role(member, role);
#else
    return is_member_of_role(member, role);
#endif
}

} // namespace sor::bridge
