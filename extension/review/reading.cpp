#include "review/reading.hpp"

extern "C" {
#include "nodes/makefuncs.h"
#include "utils/hsearch.h"
}

namespace sor::review {

char* keep(const review& r, const char* s) {
    return MemoryContextStrdup(r.memory, s);
}

namespace {

// False when the name cannot be known.
bool make_key(const review& r, char (&key)[key_size], kind k, const char* schema, const char* name, const char* part) {
    const bool global = k == kind::role || k == kind::schema || k == kind::other;
    if (schema == nullptr && !global)
        schema = r.schema;
    if (schema == nullptr && !global)
        return false;
    memset(key, 0, sizeof(key));
    const int length =
        snprintf(key, sizeof(key), "%c:%s.%s.%s", static_cast<char>(k), global ? "" : schema, name, part);
    return length < key_size;
}

} // namespace

creation* find(const review& r, kind k, const char* schema, const char* name, const char* part) {
    char key[key_size];
    if (!make_key(r, key, k, schema, name, part))
        return nullptr;
    auto* c = static_cast<creation*>(hash_search(r.creations, key, HASH_FIND, nullptr));
    if (c == nullptr || c->gone)
        return nullptr;
    // Once with the schema and once without, it is the same only if the session's search_path is the one assumed here:
    // where there is one already, that is not so.
    if (c->qualified != (schema != nullptr) && (k == kind::relation || k == kind::column)) {
        const Oid relation = find_relation(schema ? schema : r.schema, name);
        if (OidIsValid(relation) && (k == kind::relation || column_exists(relation, part)))
            return nullptr;
    }
    return c;
}

creation* create(review& r, kind k, const char* schema, const char* name, const char* part, const char* shown,
                 const creation* of, bool counts) {
    char key[key_size];
    if (!make_key(r, key, k, schema, name, part))
        return nullptr;
    bool found;
    auto* c = static_cast<creation*>(hash_search(r.creations, key, HASH_ENTER, &found));
    const MemoryContext outer = MemoryContextSwitchTo(r.memory);
    if (!found)
        r.created = lappend(r.created, c);
    c->name = pstrdup(shown);
    c->of = of;
    c->in_down = r.down;
    c->gone = c->not_valid = c->calls = false;
    c->counts = counts;
    c->qualified = schema != nullptr;
    c->transaction = r.transaction;
    MemoryContextSwitchTo(outer);
    return c;
}

void forget(const review& r, kind k, const char* schema, const char* name, const char* part) {
    if (creation* c = find(r, k, schema, name, part))
        c->gone = true;
}

namespace {

bool loses_data(rule which) {
    switch (which) {
    case rule::drop_table:
    case rule::drop_column:
    case rule::drop_schema:
    case rule::drop_sequence:
    case rule::drop_attribute:
    case rule::drop_cascade:
    case rule::drop_owned:
    case rule::drop_extension:
    case rule::truncate_table:
    case rule::delete_rows:
    case rule::delete_without_where:
    case rule::update_rows:
    case rule::update_without_where:
    case rule::upsert_rows:
    case rule::merge_rows:
    case rule::narrow_column_type:
    case rule::restart_sequence:
        return true;
    default:
        return false;
    }
}

} // namespace

void add(review& r, rule which, const char* object, const char* part, const char* extra, const char* definition) {
    CHECK_FOR_INTERRUPTS();
    // said once is enough; a statement may name any number of objects, so only the last few are compared
    for (int i = list_length(r.findings); i-- > 0 && i + 16 >= list_length(r.findings);) {
        const auto* f = static_cast<const finding*>(list_nth(r.findings, i));
        if (f->which == which && strcmp(f->object, object) == 0 && strcmp(f->part, part) == 0)
            return;
    }
    auto* f = static_cast<finding*>(palloc(sizeof(finding)));
    *f = {which, object, part, extra, definition};
    r.findings = lappend(r.findings, f);
    if (!r.down && r.lost == nullptr && loses_data(which))
        r.lost = keep(r, object);
}

const char* quoted(const char* schema, const char* name) {
    return schema ? psprintf("%s.%s", quote_identifier(schema), quote_identifier(name)) : quote_identifier(name);
}

name named(const RangeVar* v) {
    return {v->schemaname, v->relname, quoted(v->schemaname, v->relname)};
}

name named(const List* names) { // of String
    const char* own = strVal(llast(names));
    const char* schema = list_length(names) > 1 ? strVal(list_nth(names, list_length(names) - 2)) : nullptr;
    return {schema, own, quoted(schema, own)};
}

const char* role_name(const RoleSpec* role) {
    switch (role->roletype) {
    case ROLESPEC_PUBLIC:
        return "public";
    case ROLESPEC_CSTRING:
        return quote_identifier(role->rolename);
    default:
        return "the current role";
    }
}

const char* shown(Node* object) {
    if (object == nullptr)
        return "";
    if (IsA(object, String))
        return quote_identifier(strVal(object));
    if (IsA(object, RangeVar))
        return named(reinterpret_cast<RangeVar*>(object)).shown;
    if (IsA(object, TypeName))
        return named(reinterpret_cast<TypeName*>(object)->names).shown;
    if (IsA(object, ObjectWithArgs))
        return named(reinterpret_cast<ObjectWithArgs*>(object)->objname).shown;
    if (IsA(object, RoleSpec))
        return role_name(reinterpret_cast<RoleSpec*>(object));
    if (IsA(object, List)) {
        StringInfoData text;
        initStringInfo(&text);
        ListCell* cell;
        foreach (cell, reinterpret_cast<List*>(object))
            if (const char* one = shown(static_cast<Node*>(lfirst(cell))); *one != '\0')
                appendStringInfo(&text, "%s%s", text.len ? "." : "", one);
        return text.data;
    }
    return "";
}

const char* type_text(const TypeName* type) {
    StringInfoData text;
    initStringInfo(&text);
    ListCell* cell;
    foreach (cell, type->names)
        if (const char* one = strVal(lfirst(cell)); strcmp(one, "pg_catalog") != 0)
            appendStringInfo(&text, "%s%s", text.len ? "." : "", one);
    for (int i = list_length(type->arrayBounds); i > 0; --i)
        appendStringInfoString(&text, "[]");
    return text.data;
}

namespace {

// Is the name one that the header declares? Names without a schema are taken to be in the same one.
bool declared(const review& r, const char* schema, const char* own) {
    if (schema == nullptr)
        schema = r.schema ? r.schema : "public";
    ListCell* cell;
    foreach (cell, r.scope) {
        const char* one = static_cast<const char*>(lfirst(cell));
        const char* dot = strrchr(one, '.');
        const bool same_schema = dot ? pg_strncasecmp(one, schema, static_cast<size_t>(dot - one)) == 0 &&
                                           strlen(schema) == static_cast<size_t>(dot - one)
                                     : strcmp(schema, "public") == 0;
        const char* rest = dot ? dot + 1 : one;
        if (same_schema && (strcmp(rest, "*") == 0 || pg_strcasecmp(rest, own) == 0))
            return true;
    }
    return false;
}

} // namespace

void touch(review& r, const name& n) {
    const char* schema = n.schema ? n.schema : r.schema;
    if (r.scope != NIL && !declared(r, n.schema, n.own))
        add(r, rule::scope_creep, n.shown);
    if (schema == nullptr)
        return;
    if (strcmp(schema, "sor") == 0)
        add(r, rule::sor_schema, n.shown);
    else if (strcmp(schema, "pg_catalog") == 0 || strcmp(schema, "information_schema") == 0 ||
             strcmp(schema, "pg_toast") == 0)
        add(r, rule::system_catalog, n.shown);
    else if (n.schema == nullptr && strncmp(n.own, "pg_", 3) == 0 && OidIsValid(find_relation("pg_catalog", n.own)))
        add(r, rule::system_catalog, n.shown);
}

target look(review& r, const RangeVar* v, bool touches) {
    target t = {named(v), InvalidOid, nullptr};
    if (v->schemaname == nullptr)
        t.own = find(r, kind::relation, "pg_temp", v->relname);
    if (t.own == nullptr)
        t.own = find(r, kind::relation, v->schemaname, v->relname);
    if (t.own == nullptr)
        t.oid = find_relation(v->schemaname ? v->schemaname : r.schema, v->relname);
    if (touches)
        touch(r, t.n);
    return t;
}

bool own_part(review& r, const target& t, kind k, const char* part) {
    return t.own != nullptr || find(r, k, t.n.schema, t.n.own, part) != nullptr;
}

void part_created(review& r, const target& t, kind k, const char* part, bool counts) {
    create(r, k, t.n.schema, t.n.own, part, psprintf("%s of %s", quote_identifier(part), t.n.shown), t.own, counts);
}

const char* size_of(const target& t) {
    const double rows = estimated_rows(t.oid);
    return rows >= 1 ? psprintf(" It has about %.0f rows.", rows) : nullptr;
}

void dropped_own(review& r, creation* c, const char* what) {
    add(r, r.down && !c->in_down ? rule::undo_created : rule::new_object, what);
    c->gone = true;
}

creation* relation_created(review& r, const RangeVar* v, bool counts) {
    const char* schema =
        v->relpersistence == RELPERSISTENCE_TEMP && v->schemaname == nullptr ? "pg_temp" : v->schemaname;
    return create(r, kind::relation, schema, v->relname, "", named(v).shown,
                  find(r, kind::schema, nullptr,
                       v->schemaname ? v->schemaname
                       : r.schema    ? r.schema
                                     : ""),
                  counts && v->relpersistence != RELPERSISTENCE_TEMP);
}

bool exists_already(review& r, const RangeVar* v) {
    return OidIsValid(find_relation(v->schemaname ? v->schemaname : r.schema, v->relname)) &&
           find(r, kind::relation, v->schemaname, v->relname) == nullptr;
}

const char* column_name(const char* column) {
    return quote_identifier(column);
}

bool is_one_of(const char* s, std::initializer_list<const char*> list) {
    for (const char* one : list)
        if (pg_strcasecmp(s, one) == 0)
            return true;
    return false;
}

} // namespace sor::review
