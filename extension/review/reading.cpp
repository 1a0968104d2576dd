#include "review/reading.hpp"

extern "C" {
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/varlena.h"
#include "utils/hsearch.h"
}

namespace sor::review {

char* keep(const review& r, const char* s) {
    return MemoryContextStrdup(r.memory, s);
}

namespace {

bool is_part(kind k) {
    return k == kind::column || k == kind::constraint || k == kind::trigger || k == kind::policy ||
           k == kind::rewrite_rule;
}

// False when the name cannot be known.
bool make_key(char (&key)[key_size], kind k, const char* schema, const char* name, const char* part) {
    const bool global = k == kind::role || k == kind::schema || k == kind::other;
    if (schema == nullptr && !global)
        return false;
    memset(key, 0, sizeof(key));
    const int length =
        snprintf(key, sizeof(key), "%c:%s.%s.%s", static_cast<char>(k), global ? "" : schema, name, part);
    return length < key_size;
}

creation* find_exactly(const review& r, kind k, const char* schema, const char* name, const char* part) {
    char key[key_size];
    if (!make_key(key, k, schema, name, part))
        return nullptr;
    auto* c = static_cast<creation*>(hash_search(r.creations, key, HASH_FIND, nullptr));
    return c == nullptr || c->gone ? nullptr : c;
}

// Whether the catalog has something of this name, of a kind that search_path finds.
bool in_catalog(kind k, const char* schema, const char* name) {
    switch (k) {
    case kind::relation:
        return OidIsValid(find_relation(schema, name));
    case kind::type:
        return type_exists(schema, name);
    case kind::routine:
    case kind::routine_name:
        return function_exists(schema, name);
    default:
        return false;
    }
}

bool part_exists(kind k, Oid relation, const char* part) {
    switch (k) {
    case kind::column:
        return column_exists(relation, part);
    case kind::constraint:
        return constraint_exists(relation, part);
    case kind::trigger:
        return trigger_state(relation, part) != '\0';
    case kind::policy:
        return policy_exists(relation, part);
    default:
        return true;
    }
}

// The schema that a name without one means: the first that has it, made by the migration or before. null: none.
const char* first_with(const review& r, kind k, const char* name, const char* part) {
    ListCell* cell;
    foreach (cell, r.path.schemas) {
        const char* schema = static_cast<const char*>(lfirst(cell));
        if (find_exactly(r, k, schema, name, part) != nullptr || in_catalog(k, schema, name))
            return schema;
    }
    return nullptr;
}

} // namespace

search_path path_of(const review& r, const char* setting) {
    search_path p = {NIL, true};
    List* names = NIL;
    if (!SplitIdentifierString(pstrdup(setting), ',', &names))
        return {NIL, false};
    const MemoryContext outer = MemoryContextSwitchTo(r.memory);
    ListCell* cell;
    foreach (cell, names) {
        const char* one = static_cast<const char*>(lfirst(cell));
        if (strcmp(one, "$user") == 0)
            one = GetUserNameFromId(GetSessionUserId(), true);
        if (one != nullptr && *one != '\0' && strcmp(one, "pg_catalog") != 0)
            p.schemas = lappend(p.schemas, pstrdup(one));
    }
    MemoryContextSwitchTo(outer);
    return p;
}

search_path login_path(const review& r) {
    return path_of(r, GetConfigOptionResetString("search_path"));
}

const char* creation_schema(const review& r) {
    ListCell* cell;
    foreach (cell, r.path.schemas) {
        const char* one = static_cast<const char*>(lfirst(cell));
        if (schema_exists(one) || find_exactly(r, kind::schema, nullptr, one, "") != nullptr)
            return one;
    }
    return r.path.schemas ? static_cast<const char*>(llast(r.path.schemas)) : nullptr;
}

const char* schema_of(const review& r, const char* schema, const char* relation) {
    if (schema != nullptr)
        return schema;
    const char* found = first_with(r, kind::relation, relation, "");
    if (found != nullptr && find_exactly(r, kind::relation, found, relation, "") == nullptr)
        appendStringInfo(r.meanings, "\n%s\t%d\t%s", r.down ? "down" : "up", r.statement_no, quoted(found, relation));
    return found ? found : creation_schema(r);
}

Oid find_relation_of(const review& r, const char* schema, const char* relation) {
    return find_relation(schema_of(r, schema, relation), relation);
}

void forget_all(review& r) {
    ListCell* cell;
    foreach (cell, r.created)
        hash_search(r.creations, static_cast<creation*>(lfirst(cell))->key, HASH_REMOVE, nullptr);
    list_free(r.created);
    list_free(r.temporary);
    list_free(r.on_commit_drop);
    r.created = r.temporary = r.on_commit_drop = NIL;
}

namespace {
void forget_list(List*& list) {
    ListCell* cell;
    foreach (cell, list)
        static_cast<creation*>(lfirst(cell))->gone = true;
    list_free(list);
    list = NIL;
}
} // namespace

void forget_temporary(review& r, bool all) {
    forget_list(r.on_commit_drop);
    if (all)
        forget_list(r.temporary);
}

void leaves_transaction(review& r) {
    ++r.transaction;
    forget_temporary(r, true);
}

void goes_at_commit(review& r, creation* c) {
    const MemoryContext outer = MemoryContextSwitchTo(r.memory);
    if (c != nullptr)
        r.on_commit_drop = lappend(r.on_commit_drop, c);
    MemoryContextSwitchTo(outer);
}

bool is_temporary(const creation* c) {
    return strncmp(c->key, "r:pg_temp.", 10) == 0;
}

creation* find(const review& r, kind k, const char* schema, const char* name, const char* part) {
    const bool qualified = schema != nullptr;
    if (schema == nullptr && is_part(k))
        schema = schema_of(r, nullptr, name);
    else if (schema == nullptr)
        schema = first_with(r, k, name, part);
    creation* c = find_exactly(r, k, schema, name, part);
    if (c == nullptr)
        return nullptr;
    // Where it was not made after all, a name means the next that has it.
    ListCell* cell;
    if (c->conditional && !qualified)
        foreach (cell, r.path.schemas)
            if (in_catalog(is_part(k) ? kind::relation : k, static_cast<const char*>(lfirst(cell)), name) &&
                !is_part(k))
                return nullptr;
    // Once with the schema and once without, it is the same only if the session's search_path is the one assumed here:
    // where there is one already, that is not so.
    if (c->qualified != qualified && (k == kind::relation || k == kind::column)) {
        const Oid relation = find_relation(schema, name);
        if (OidIsValid(relation) && (k == kind::relation || column_exists(relation, part)))
            return nullptr;
    }
    return c;
}

creation* create(review& r, kind k, const char* schema, const char* name, const char* part, const char* shown,
                 const creation* of, bool counts) {
    const bool qualified = schema != nullptr;
    if (schema == nullptr)
        schema = is_part(k) ? schema_of(r, nullptr, name) : creation_schema(r);
    char key[key_size];
    if (!make_key(key, k, schema, name, part))
        return nullptr;
    if (r.conditional && (is_part(k)          ? part_exists(k, find_relation(schema, name), part)
                          : k == kind::schema ? schema_exists(name)
                          : k == kind::role   ? role_exists(name)
                                              : k == kind::other || in_catalog(k, schema, name)))
        return nullptr; // what is there already is not made
    bool found;
    auto* c = static_cast<creation*>(hash_search(r.creations, key, HASH_ENTER, &found));
    const MemoryContext outer = MemoryContextSwitchTo(r.memory);
    if (!found)
        r.created = lappend(r.created, c);
    c->name = pstrdup(shown);
    c->of = of != nullptr || (k != kind::type && k != kind::routine_name)
                ? of
                : find_exactly(r, kind::schema, nullptr, schema, "");
    c->in_down = r.down;
    c->gone = c->not_valid = c->calls = c->harmless = c->cascades = c->is_domain = c->destroys = false;
    c->counts = counts;
    c->conditional = r.conditional;
    c->qualified = qualified;
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
    const char* schema = schema_of(r, n.schema, n.own);
    if (r.scope != NIL && !declared(r, schema ? schema : "public", n.own))
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

void read_name(review& r, std::string_view migration) {
    name_reader reader(migration);
    std::string_view word;
    List* words = NIL;
    StringInfoData table;
    initStringInfo(&table);
    bool after = false, names_table = false;
    while (reader.next(word)) {
        words = lappend(words, bridge::to_cstring(word));
        if (after && !names_table) {
            if (table.len > 0)
                appendStringInfoChar(&table, '_');
            for (const char c : word)
                appendStringInfoChar(&table, static_cast<char>(pg_ascii_tolower(static_cast<unsigned char>(c))));
            names_table = users_table_exists(table.data) || users_table_exists(psprintf("%ss", table.data)) ||
                          users_table_exists(pnstrdup(table.data, static_cast<Size>(table.len - 1)));
        }
        after = after || is_preposition(word);
    }
    r.name_words = names_table ? words : NIL;
}

namespace {

// Whether a word of the relation's name is in the migration's.
bool meant_by_name(const review& r, const char* relation) {
    name_reader reader(relation);
    std::string_view word;
    while (reader.next(word)) {
        ListCell* cell;
        foreach (cell, r.name_words)
            if (same_word(word, static_cast<const char*>(lfirst(cell))))
                return true;
    }
    return false;
}

} // namespace

target look(review& r, const RangeVar* v, bool touches) {
    target t = {named(v), InvalidOid, nullptr};
    if (v->schemaname == nullptr)
        t.own = find(r, kind::relation, "pg_temp", v->relname);
    if (t.own == nullptr)
        t.own = find(r, kind::relation, v->schemaname, v->relname);
    if (t.own == nullptr)
        t.oid = find_relation_of(r, v->schemaname, v->relname);
    if (touches) {
        touch(r, t.n);
        if (r.scope == NIL && r.name_words != NIL && OidIsValid(t.oid) && !meant_by_name(r, t.n.own))
            add(r, rule::scope_creep, t.n.shown);
    }
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
    const bool temporary =
        v->relpersistence == RELPERSISTENCE_TEMP || strcmp(v->schemaname ? v->schemaname : "", "pg_temp") == 0;
    const char* schema = temporary ? "pg_temp" : v->schemaname;
    const char* within = schema ? schema : creation_schema(r);
    creation* made = create(r, kind::relation, schema, v->relname, "", named(v).shown,
                            find(r, kind::schema, nullptr, within ? within : ""), counts && !temporary);
    if (made != nullptr && temporary) {
        const MemoryContext outer = MemoryContextSwitchTo(r.memory);
        r.temporary = lappend(r.temporary, made);
        MemoryContextSwitchTo(outer);
    }
    return made;
}

bool exists_already(review& r, const RangeVar* v) {
    const char* schema = v->schemaname ? v->schemaname : creation_schema(r);
    return OidIsValid(find_relation(schema, v->relname)) &&
           find_exactly(r, kind::relation, schema, v->relname, "") == nullptr;
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
