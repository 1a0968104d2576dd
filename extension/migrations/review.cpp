#include "migrations/review.hpp"

#include "bridge/subtransaction.hpp"
#include "migrations/lookup.hpp"
#include "migrations/migrations_core.hpp"

extern "C" {
#include "catalog/index.h"
#include "catalog/pg_trigger.h"
#include "nodes/makefuncs.h"
#include "utils/hsearch.h"
}

namespace sor::migrations {

using bridge::in;

namespace {

// ---------------------------------------------------------------- what is known while reading

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
    bool counts;        // the downgrade should drop it by name
    bool not_valid;     // a constraint that is not validated
    bool calls;         // a view that runs functions
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

struct review {
    bridge::rowset* rows;
    MemoryContext memory;  // of what is known
    MemoryContext scratch; // of one statement
    HTAB* creations;
    List* created;     // the same, in order
    List* scope;       // names that the header declares; null: no header
    List* enum_values; // added in this migration to types that it does not create
    const char* lost;  // what the upgrade loses data of first; null: nothing
    bool down;
    const char* schema;         // where names without a schema are; null: not known
    const char* session_schema; // the same after this transaction
    bool in_block;              // between BEGIN and COMMIT
    int transaction;            // counts up at each end of one
    bool opaque;                // a statement of the downgrade may do anything
    int statement_no;
    int line;
    std::string_view text; // of the statement
    List* findings;        // of the statement
};

char* keep(const review& r, const char* s) {
    return MemoryContextStrdup(r.memory, s);
}

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

creation* find(const review& r, kind k, const char* schema, const char* name, const char* part = "") {
    char key[key_size];
    if (!make_key(r, key, k, schema, name, part))
        return nullptr;
    auto* c = static_cast<creation*>(hash_search(r.creations, key, HASH_FIND, nullptr));
    return c != nullptr && !c->gone ? c : nullptr;
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
    c->transaction = r.transaction;
    MemoryContextSwitchTo(outer);
    return c;
}

void forget(const review& r, kind k, const char* schema, const char* name, const char* part = "") {
    if (creation* c = find(r, k, schema, name, part))
        c->gone = true;
}

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

void add(review& r, rule which, const char* object = "", const char* part = "", const char* extra = nullptr,
         const char* definition = nullptr) {
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

// ---------------------------------------------------------------- names

const char* quoted(const char* schema, const char* name) {
    return schema ? psprintf("%s.%s", quote_identifier(schema), quote_identifier(name)) : quote_identifier(name);
}

struct name {
    const char* schema; // null: as it stands
    const char* own;
    const char* shown;
};

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

// Whatever a parse tree calls a thing by.
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

// To be called with each object that a statement changes.
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

struct target {
    name n;
    Oid oid; // InvalidOid: not found, or the migration's own
    const creation* own;
};

target look(review& r, const RangeVar* v, bool touches = true) {
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

// The part of a table that the migration created, alone or with the table.
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

creation* relation_created(review& r, const RangeVar* v, bool counts = true) {
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

// ---------------------------------------------------------------- statements that read and write rows

bool constant_boolean(Node* node, bool& value) {
    if (node == nullptr)
        return false;
    if (IsA(node, TypeCast)) {
        const auto* cast = reinterpret_cast<TypeCast*>(node);
        const auto* inner = reinterpret_cast<A_Const*>(cast->arg);
        return IsA(cast->arg, A_Const) && !inner->isnull && IsA(&inner->val, String) &&
               parse_bool(strVal(&inner->val), &value);
    }
    if (!IsA(node, A_Const))
        return false;
    auto* c = reinterpret_cast<A_Const*>(node);
    if (c->isnull || !IsA(&c->val, Boolean))
        return false;
    value = boolVal(&c->val);
    return true;
}

// A WHERE that lets every row through: none, TRUE, 1 = 1, x = x.
bool always_true(Node* where) {
    check_stack_depth();
    bool value;
    if (where == nullptr)
        return true;
    if (constant_boolean(where, value))
        return value;
    if (IsA(where, A_Expr)) {
        const auto* e = reinterpret_cast<A_Expr*>(where);
        if (e->kind != AEXPR_OP || e->lexpr == nullptr || e->rexpr == nullptr)
            return false;
        if (IsA(e->lexpr, A_Const) && IsA(e->rexpr, A_Const))
            return true;
        return IsA(e->lexpr, ColumnRef) && strcmp(strVal(llast(e->name)), "=") == 0 && equal(e->lexpr, e->rexpr);
    }
    if (IsA(where, BoolExpr)) {
        const auto* e = reinterpret_cast<BoolExpr*>(where);
        ListCell* cell;
        if (e->boolop == NOT_EXPR)
            return false;
        foreach (cell, e->args)
            if (always_true(static_cast<Node*>(lfirst(cell))) == (e->boolop == OR_EXPR))
                return e->boolop == OR_EXPR;
        return e->boolop == AND_EXPR;
    }
    return false;
}

void setting(review& r, const char* variable, const char* value, bool local);

const char* constant_text(Node* node) { // null: no constant
    if (node != nullptr && IsA(node, TypeCast))
        node = reinterpret_cast<TypeCast*>(node)->arg;
    if (node == nullptr || !IsA(node, A_Const))
        return nullptr;
    auto* c = reinterpret_cast<A_Const*>(node);
    if (c->isnull)
        return nullptr;
    switch (nodeTag(&c->val)) {
    case T_String:
        return strVal(&c->val);
    case T_Float:
        return c->val.fval.fval;
    case T_Integer:
        return psprintf("%d", intVal(&c->val));
    case T_Boolean:
        return boolVal(&c->val) ? "on" : "off";
    default:
        return nullptr;
    }
}

void function_called(review& r, FuncCall* call) {
    const name n = named(call->funcname);
    if (n.schema != nullptr && strcmp(n.schema, "sor") == 0) {
        if (strcmp(n.own, "protect_tenant") == 0 || strcmp(n.own, "protect_append_only") == 0)
            add(r, rule::protect_table, n.own);
        else if (strcmp(n.own, "uuid_v7") != 0 && strncmp(n.own, "current_", 8) != 0)
            add(r, rule::sor_function, n.shown);
        return;
    }
    const bool builtin = n.schema == nullptr || strcmp(n.schema, "pg_catalog") == 0;
    if (builtin && strcmp(n.own, "set_config") == 0 && list_length(call->args) == 3) {
        const char* variable = constant_text(static_cast<Node*>(linitial(call->args)));
        const char* value = constant_text(static_cast<Node*>(lsecond(call->args)));
        if (variable != nullptr && value != nullptr) {
            setting(r, variable, value, false);
            return;
        }
    }
    if (builtin && strcmp(n.own, "setval") == 0 && call->args != NIL) {
        const char* sequence = constant_text(static_cast<Node*>(linitial(call->args)));
        if (sequence != nullptr) {
            const char* dot = strrchr(sequence, '.');
            const char* schema = dot ? pnstrdup(sequence, static_cast<Size>(dot - sequence)) : nullptr;
            if (find(r, kind::relation, schema, dot ? dot + 1 : sequence) != nullptr)
                add(r, rule::new_object, sequence);
            else
                add(r, rule::restart_sequence, sequence);
            return;
        }
    }
    if (may_write(call->funcname) || (n.schema == nullptr && find(r, kind::routine_name, nullptr, n.own) != nullptr))
        add(r, rule::function_call, n.shown);
}

// A trigger that the migration made runs at its own statements too.
void fires(review& r, const target& t, const char* event) {
    if (find(r, kind::trigger, t.n.schema, t.n.own, event) != nullptr)
        add(r, rule::function_call, psprintf("a trigger of %s", t.n.shown));
}

// Whether a query runs functions that may write.
bool calls_functions(Node* node, void* context) {
    if (node == nullptr)
        return false;
    auto& r = *static_cast<review*>(context);
    if (IsA(node, FuncCall)) {
        const List* function = reinterpret_cast<FuncCall*>(node)->funcname;
        if (may_write(function) || find(r, kind::routine_name, nullptr, strVal(llast(function))) != nullptr)
            return true;
    }
    return bridge::walk(node, calls_functions, context);
}

bool all_new(review& r, const target& t, const List* assignments) {
    ListCell* cell;
    foreach (cell, assignments) {
        const auto* a = static_cast<ResTarget*>(lfirst(cell));
        if (a->name == nullptr || !own_part(r, t, kind::column, a->name))
            return false;
    }
    return true;
}

bool visit(Node* node, void* context);

void query(review& r, Node* node) {
    visit(node, &r);
}

bool visit(Node* node, void* context) {
    if (node == nullptr)
        return false;
    auto& r = *static_cast<review*>(context);
    switch (nodeTag(node)) {
    case T_FuncCall:
        function_called(r, reinterpret_cast<FuncCall*>(node));
        break;
    case T_SelectStmt: {
        const auto* s = reinterpret_cast<SelectStmt*>(node);
        if (s->lockingClause != NIL)
            add(r, rule::lock_rows);
        if (s->intoClause != nullptr) {
            touch(r, named(s->intoClause->rel));
            add(r, rule::create_table, named(s->intoClause->rel).shown);
            relation_created(r, s->intoClause->rel);
        }
        break;
    }
    case T_RangeVar: {
        const auto* v = reinterpret_cast<RangeVar*>(node);
        const creation* c = find(r, kind::relation, v->schemaname, v->relname);
        if (c != nullptr && c->calls)
            add(r, rule::function_call, psprintf("a function of the view %s", c->name));
        break;
    }
    case T_InsertStmt: {
        const auto* s = reinterpret_cast<InsertStmt*>(node);
        const target t = look(r, s->relation);
        fires(r, t, "(insert)");
        if (t.own != nullptr)
            add(r, rule::new_object, t.n.shown);
        else if (s->onConflictClause != nullptr && s->onConflictClause->action == ONCONFLICT_UPDATE)
            add(r, rule::upsert_rows, t.n.shown);
        else
            add(r, rule::insert_rows, t.n.shown);
        break;
    }
    case T_UpdateStmt: {
        const auto* s = reinterpret_cast<UpdateStmt*>(node);
        const target t = look(r, s->relation);
        fires(r, t, "(update)");
        if (t.own != nullptr)
            add(r, rule::new_object, t.n.shown);
        else if (all_new(r, t, s->targetList))
            add(r, rule::backfill, t.n.shown, "", size_of(t));
        else
            add(r, always_true(s->whereClause) ? rule::update_without_where : rule::update_rows, t.n.shown, "",
                size_of(t));
        break;
    }
    case T_DeleteStmt: {
        const auto* s = reinterpret_cast<DeleteStmt*>(node);
        const target t = look(r, s->relation);
        fires(r, t, "(delete)");
        if (t.own != nullptr)
            add(r, rule::new_object, t.n.shown);
        else
            add(r, always_true(s->whereClause) ? rule::delete_without_where : rule::delete_rows, t.n.shown, "",
                size_of(t));
        break;
    }
    case T_MergeStmt: {
        const target t = look(r, reinterpret_cast<MergeStmt*>(node)->relation);
        add(r, t.own ? rule::new_object : rule::merge_rows, t.n.shown);
        break;
    }
    default:
        break;
    }
    return bridge::walk(node, visit, context);
}

// ---------------------------------------------------------------- settings

bool is_one_of(const char* s, std::initializer_list<const char*> list) {
    for (const char* one : list)
        if (pg_strcasecmp(s, one) == 0)
            return true;
    return false;
}

bool guards(const char* variable) {
    return is_one_of(variable, {"event_triggers", "allow_system_table_mods", "ignore_system_indexes",
                                "session_preload_libraries", "local_preload_libraries", "shared_preload_libraries",
                                "zero_damaged_pages", "fsync", "full_page_writes"}) ||
           pg_strncasecmp(variable, "sor.", 4) == 0;
}

// The first of a search_path, which is where names without a schema are made; null: nothing to rely on.
const char* first_schema(const review& r, const char* path) {
    path += strspn(path, " \t\"");
    const size_t length = strcspn(path, " \t\",");
    return length == 0 || *path == '$' ? nullptr : keep(r, pnstrdup(path, length));
}

// value null: to its default.
void setting(review& r, const char* variable, const char* value, bool local) {
    bool on = false;
    const bool boolean = value != nullptr && parse_bool(value, &on);
    if (is_one_of(variable, {"search_path"})) {
        r.schema = value == nullptr ? "public" : first_schema(r, value);
        if (!local)
            r.session_schema = r.schema;
        add(r, rule::session_setting, "search_path");
    } else if (is_one_of(variable, {"session_replication_role"})) {
        add(r,
            value == nullptr || is_one_of(value, {"origin", "default"}) ? rule::session_setting
                                                                        : rule::replication_role,
            variable);
    } else if (is_one_of(variable, {"row_security"})) {
        add(r, value == nullptr || (boolean && on) ? rule::session_setting : rule::row_security_off, variable);
    } else if (guards(variable)) {
        const bool harmless = value == nullptr || (is_one_of(variable, {"event_triggers"}) && boolean && on);
        add(r, harmless ? rule::session_setting : rule::guard_setting, variable);
    } else if (is_one_of(variable, {"role", "session_authorization"})) {
        add(r, rule::change_role, variable); // back to another one as well
    } else if (is_one_of(variable, {"standard_conforming_strings"})) {
        add(r, value == nullptr || (boolean && on) ? rule::session_setting : rule::string_escapes, variable);
    } else if (is_one_of(variable, {"backslash_quote"})) {
        add(r, value == nullptr ? rule::session_setting : rule::string_escapes, variable);
    } else if (is_one_of(variable, {"lock_timeout"})) {
        add(r, value == nullptr || strtol(value, nullptr, 10) > 0 ? rule::session_setting : rule::no_lock_timeout,
            variable);
    } else {
        add(r, rule::session_setting, variable);
    }
}

void set_variable(review& r, const VariableSetStmt* s) {
    switch (s->kind) {
    case VAR_SET_MULTI: // the transaction's isolation and the like
        add(r, rule::session_setting, "the transaction's characteristics");
        return;
    case VAR_RESET_ALL:
        r.schema = r.session_schema = "public";
        add(r, rule::session_setting, "all settings");
        return;
    case VAR_SET_VALUE: {
        const char* first = s->args ? constant_text(static_cast<Node*>(linitial(s->args))) : nullptr;
        if (is_one_of(s->name, {"search_path"}) && list_length(s->args) > 1 && first != nullptr && *first == '$' &&
            lsecond(s->args) != nullptr)
            first = constant_text(static_cast<Node*>(lsecond(s->args)));
        setting(r, s->name, first ? first : "", s->is_local);
        return;
    }
    default:
        setting(r, s->name, nullptr, s->is_local);
    }
}

// ---------------------------------------------------------------- tables

bool is_serial(const TypeName* type) {
    return list_length(type->names) == 1 &&
           is_one_of(strVal(linitial(type->names)),
                     {"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"});
}

void own_sequences(review& r, const target& t, const ColumnDef* c) {
    bool has = c->typeName != nullptr && is_serial(c->typeName); // columns of a typed table have none
    ListCell* cell;
    foreach (cell, c->constraints)
        has = has || static_cast<Constraint*>(lfirst(cell))->contype == CONSTR_IDENTITY;
    if (has) {
        const char* sequence = psprintf("%s_%s_seq", t.n.own, c->colname);
        create(r, kind::relation, t.n.schema, sequence, "", sequence, t.own, false);
    }
}

void create_table(review& r, const CreateStmt* s) {
    if (s->if_not_exists && exists_already(r, s->relation)) {
        touch(r, named(s->relation));
        add(r, rule::create_table, named(s->relation).shown, "", " It exists already, so nothing is done.");
        return;
    }
    const name n = named(s->relation);
    touch(r, n);
    creation* made = relation_created(r, s->relation);
    if (s->relation->relpersistence == RELPERSISTENCE_UNLOGGED)
        add(r, rule::unlogged_table, n.shown);
    ListCell* cell;
    if (s->partbound != nullptr && s->inhRelations != NIL) {
        const auto* v = static_cast<RangeVar*>(linitial(s->inhRelations));
        const creation* own_parent = find(r, kind::relation, v->schemaname, v->relname);
        if (made != nullptr && own_parent != nullptr)
            made->of = own_parent;
        const Oid parent = find_relation(v->schemaname ? v->schemaname : r.schema, v->relname);
        add(r,
            own_parent != nullptr           ? rule::create_table
            : has_default_partition(parent) ? rule::scan_default_partition
                                            : rule::create_partition,
            n.shown, named(v).shown);
    } else {
        add(r, rule::create_table, n.shown);
    }
    const target t = {n, InvalidOid, made};
    foreach (cell, s->tableElts)
        if (IsA(lfirst(cell), ColumnDef))
            own_sequences(r, t, static_cast<ColumnDef*>(lfirst(cell)));
}

void add_column(review& r, const target& t, const AlterTableCmd* cmd) {
    auto* c = reinterpret_cast<ColumnDef*>(cmd->def);
    const char* part = column_name(c->colname);
    if (cmd->missing_ok && column_exists(t.oid, c->colname)) {
        add(r, rule::add_column, t.n.shown, part, " It exists already, so nothing is done.");
        return;
    }
    part_created(r, t, kind::column, c->colname, t.own == nullptr);
    own_sequences(r, t, c);
    if (t.own != nullptr) {
        add(r, rule::new_object, t.n.shown);
        return;
    }
    Node* default_value = nullptr;
    bool required = false, unique = false, check = false, reference = false, identity = false, generated = false;
    ListCell* cell;
    foreach (cell, c->constraints) {
        const auto* one = static_cast<Constraint*>(lfirst(cell));
        switch (one->contype) {
        case CONSTR_DEFAULT:
            default_value = one->raw_expr;
            break;
        case CONSTR_NOTNULL:
            required = true;
            break;
        case CONSTR_PRIMARY:
        case CONSTR_UNIQUE:
        case CONSTR_EXCLUSION:
            required = required || one->contype == CONSTR_PRIMARY;
            unique = true;
            break;
        case CONSTR_CHECK:
            check = true;
            break;
        case CONSTR_FOREIGN:
            reference = true;
            break;
        case CONSTR_IDENTITY:
            identity = true;
            break;
        case CONSTR_GENERATED:
            generated = true;
            break;
        default:
            break;
        }
    }
    const bool null_default =
        default_value != nullptr && IsA(default_value, A_Const) && reinterpret_cast<A_Const*>(default_value)->isnull;
    if (null_default)
        default_value = nullptr;
    const size_t before = static_cast<size_t>(list_length(r.findings));
    const char* size = size_of(t);
    if (is_serial(c->typeName))
        add(r, rule::add_serial_column, t.n.shown, part, size);
    else if (identity)
        add(r, rule::add_identity_column, t.n.shown, part, size);
    else if (generated)
        add(r, rule::add_generated_column, t.n.shown, part, size);
    else if (default_value != nullptr && is_volatile(default_value))
        add(r, rule::add_column_volatile_default, t.n.shown, part, size);
    else if (is_constrained_domain(c->typeName, r.schema))
        add(r, rule::add_constrained_domain_column, t.n.shown, part, size);
    else if (required && default_value == nullptr)
        add(r, rule::add_required_column, t.n.shown, part);
    if (unique)
        add(r, rule::add_column_unique, t.n.shown, part, size);
    if (check)
        add(r, rule::add_column_check, t.n.shown, part, size);
    if (reference && (default_value != nullptr || generated))
        add(r, rule::add_column_reference, t.n.shown, part, size);
    if (static_cast<size_t>(list_length(r.findings)) == before)
        add(r, default_value ? rule::add_column_default : rule::add_column, t.n.shown, part,
            reference ? " The referenced table is locked against writes for an instant." : nullptr);
}

// What the server would call it, near enough.
const char* default_name(const target& t, const Constraint* c) {
    const List* columns = c->contype == CONSTR_FOREIGN ? c->fk_attrs : c->contype == CONSTR_UNIQUE ? c->keys : NIL;
    const char* column = columns ? psprintf("_%s", strVal(linitial(columns))) : "";
    return psprintf("%s%s_%s", t.n.own, column,
                    c->contype == CONSTR_FOREIGN     ? "fkey"
                    : c->contype == CONSTR_UNIQUE    ? "key"
                    : c->contype == CONSTR_PRIMARY   ? "pkey"
                    : c->contype == CONSTR_EXCLUSION ? "excl"
                                                     : "check");
}

const char* columns_of(const List* list);

void add_constraint(review& r, const target& t, const Constraint* c) {
    const char* part = quote_identifier(c->conname ? c->conname : default_name(t, c));
    creation* made = create(r, kind::constraint, t.n.schema, t.n.own, c->conname ? c->conname : "",
                            psprintf("%s of %s", part, t.n.shown), t.own, c->conname != nullptr && t.own == nullptr);
    if (made != nullptr)
        made->not_valid = c->skip_validation;
    if (t.own != nullptr) {
        add(r, rule::new_object, t.n.shown);
        return;
    }
    rule which = rule::unknown_statement;
    switch (c->contype) {
    case CONSTR_CHECK:
        which = rule::add_check;
        break;
    case CONSTR_FOREIGN:
        which = rule::add_foreign_key;
        break;
    case CONSTR_NOTNULL:
        which = rule::set_not_null;
        part = c->keys ? column_name(strVal(linitial(c->keys))) : part;
        break;
    case CONSTR_UNIQUE:
        which = c->indexname ? rule::constraint_using_index : rule::add_unique;
        break;
    case CONSTR_PRIMARY:
        which = c->indexname ? rule::constraint_using_index : rule::add_primary_key;
        break;
    case CONSTR_EXCLUSION:
        which = rule::add_exclusion;
        break;
    default:
        break;
    }
    if (c->skip_validation)
        which = rule::add_constraint_not_valid;
    const char* definition = nullptr;
    if (c->contype == CONSTR_FOREIGN && c->fk_attrs != NIL)
        definition = psprintf("%s references %s%s", columns_of(c->fk_attrs), named(c->pktable).shown,
                              c->pk_attrs ? psprintf(" %s", columns_of(c->pk_attrs)) : "");
    else if (c->keys != NIL)
        definition = columns_of(c->keys);
    add(r, which, t.n.shown, part, size_of(t), definition);
}

void alter_column_type(review& r, const target& t, const AlterTableCmd* cmd) {
    const auto* def = reinterpret_cast<ColumnDef*>(cmd->def);
    type_change change = change_of_type(t.oid, cmd->name, def->typeName, r.schema);
    Node* expression = def->raw_default; // USING
    while (expression != nullptr && IsA(expression, TypeCast))
        expression = reinterpret_cast<TypeCast*>(expression)->arg;
    const bool computed = expression != nullptr && !IsA(expression, ColumnRef);
    if (computed && change == type_change::widens)
        change = type_change::rewrites;
    static constexpr rule rule_of[] = {rule::widen_column_type, rule::change_column_type, rule::narrow_column_type};
    add(r, rule_of[static_cast<int>(change)], t.n.shown, column_name(cmd->name),
        change == type_change::widens ? nullptr : size_of(t));
}

// Is the trigger (null: one of all) sor's own?
bool is_guard(const target& t, const char* trigger) {
    return (trigger != nullptr && strncmp(trigger, "sor_", 4) == 0) || has_sor_trigger(t.oid, trigger);
}

void alter_trigger_state(review& r, const target& t, const AlterTableCmd* cmd, bool on) {
    const char* part = cmd->name ? quote_identifier(cmd->name) : "all triggers";
    const bool guard = is_guard(t, cmd->name);
    if (on && !guard && cmd->name != nullptr && trigger_state(t.oid, cmd->name) != TRIGGER_FIRES_ALWAYS)
        add(r, rule::enable_trigger, t.n.shown, part);
    else
        add(r, guard ? rule::sor_guard : rule::disable_trigger, t.n.shown, part);
}

void set_options(review& r, const target& t, const AlterTableCmd* cmd) {
    ListCell* cell;
    foreach (cell, reinterpret_cast<List*>(cmd->def))
        if (is_one_of(static_cast<DefElem*>(lfirst(cell))->defname,
                      {"security_invoker", "security_barrier", "check_option"})) {
            add(r, rule::view_security, t.n.shown);
            return;
        }
    add(r, rule::change_option, t.n.shown);
}

void alter_table_command(review& r, const target& t, const AlterTableCmd* cmd) {
    const char* part = cmd->name ? quote_identifier(cmd->name) : "";
    const bool own = t.own != nullptr;
    // These bring others' rows in or take them out, whoever made the table.
    switch (cmd->subtype) {
    case AT_AttachPartition:
    case AT_AddInherit: {
        const RangeVar* v = cmd->subtype == AT_AddInherit ? reinterpret_cast<RangeVar*>(cmd->def)
                                                          : reinterpret_cast<PartitionCmd*>(cmd->def)->name;
        const target other = look(r, v);
        if (own && other.own != nullptr) {
            if (cmd->subtype == AT_AttachPartition)
                const_cast<creation*>(other.own)->of = t.own;
            add(r, rule::new_object, t.n.shown);
        } else if (cmd->subtype == AT_AddInherit) {
            add(r, rule::inheritance, t.n.shown);
            if (other.own != nullptr)
                const_cast<creation*>(other.own)->gone = true; // dropping it would drop what exists
        } else {
            if (own)
                const_cast<creation*>(t.own)->gone = true;
            add(r, other.own ? rule::create_partition : rule::attach_partition, other.own ? other.n.shown : t.n.shown,
                other.own ? t.n.shown : other.n.shown, size_of(other));
        }
        return;
    }
    case AT_DetachPartition:
    case AT_DetachPartitionFinalize: {
        const target other = look(r, reinterpret_cast<PartitionCmd*>(cmd->def)->name);
        if (other.own != nullptr)
            add(r, rule::new_object, other.n.shown);
        else
            add(r, rule::detach_partition, t.n.shown, other.n.shown, size_of(other));
        return;
    }
    case AT_AddColumn:
        add_column(r, t, cmd);
        return;
    case AT_AddConstraint:
        add_constraint(r, t, reinterpret_cast<Constraint*>(cmd->def));
        return;
    case AT_SetUnLogged:
        add(r, rule::unlogged_table, t.n.shown);
        return;
    default:
        break;
    }
    if (own) {
        add(r, rule::new_object, t.n.shown);
        if (cmd->subtype == AT_DropColumn)
            forget(r, kind::column, t.n.schema, t.n.own, cmd->name);
        return;
    }
    switch (cmd->subtype) {
    case AT_DropColumn:
        if (creation* c = find(r, kind::column, t.n.schema, t.n.own, cmd->name)) {
            dropped_own(r, c, psprintf("%s of %s", part, t.n.shown));
        } else {
            add(r, rule::drop_column, t.n.shown, part, size_of(t));
            if (cmd->behavior == DROP_CASCADE)
                add(r, rule::drop_cascade, psprintf("%s of %s", part, t.n.shown));
        }
        break;
    case AT_DropConstraint:
        if (creation* c = find(r, kind::constraint, t.n.schema, t.n.own, cmd->name)) {
            dropped_own(r, c, psprintf("%s of %s", part, t.n.shown));
        } else {
            add(r, rule::drop_constraint, t.n.shown, part);
            if (cmd->behavior == DROP_CASCADE)
                add(r, rule::drop_cascade, psprintf("%s of %s", part, t.n.shown));
        }
        break;
    case AT_ValidateConstraint: {
        const creation* c = find(r, kind::constraint, t.n.schema, t.n.own, cmd->name);
        if (c == nullptr)
            c = find(r, kind::constraint, t.n.schema, t.n.own, "");
        const bool same = c != nullptr && c->not_valid && c->transaction == r.transaction && c->in_down == r.down;
        add(r, same ? rule::validate_in_same_transaction : rule::validate_constraint, t.n.shown, part,
            same ? size_of(t) : nullptr);
        break;
    }
    case AT_AlterColumnType:
        alter_column_type(r, t, cmd);
        break;
    case AT_SetNotNull:
        if (find(r, kind::column, t.n.schema, t.n.own, cmd->name) == nullptr && proves_not_null(t.oid, cmd->name))
            add(r, rule::set_not_null_proven, t.n.shown, part);
        else
            add(r, rule::set_not_null, t.n.shown, part, size_of(t));
        break;
    case AT_DropNotNull:
        add(r, own_part(r, t, kind::column, cmd->name) ? rule::new_object : rule::drop_not_null, t.n.shown, part);
        break;
    case AT_ColumnDefault:
        add(r,
            cmd->def != nullptr                       ? rule::change_default
            : own_part(r, t, kind::column, cmd->name) ? rule::new_object
                                                      : rule::drop_default,
            t.n.shown, part);
        break;
    case AT_DropExpression:
        add(r, rule::change_generated_column, t.n.shown, part);
        break;
    case AT_SetStatistics:
    case AT_SetOptions:
    case AT_ResetOptions:
    case AT_SetStorage:
    case AT_SetCompression:
    case AT_ClusterOn:
    case AT_DropCluster:
        add(r, rule::change_option, t.n.shown);
        break;
    case AT_SetRelOptions:
    case AT_ResetRelOptions:
        set_options(r, t, cmd);
        break;
    case AT_AlterConstraint:
        add(r, rule::alter_constraint, t.n.shown, quote_identifier(bridge::altered_constraint(cmd)));
        break;
    case AT_ChangeOwner:
        add(r, rule::change_owner, t.n.shown, role_name(cmd->newowner));
        break;
    case AT_SetLogged:
        add(r, rule::set_logged, t.n.shown, "", size_of(t));
        break;
    case AT_SetAccessMethod:
        add(r, rule::set_access_method, t.n.shown, "", size_of(t));
        break;
    case AT_SetTableSpace:
        add(r, rule::set_tablespace, t.n.shown, "", size_of(t));
        break;
    case AT_EnableTrig:
    case AT_EnableTrigAll:
    case AT_EnableTrigUser:
        alter_trigger_state(r, t, cmd, true);
        break;
    case AT_EnableAlwaysTrig:
        add(r, rule::enable_trigger, t.n.shown, part);
        break;
    case AT_EnableReplicaTrig:
    case AT_DisableTrig:
    case AT_DisableTrigAll:
    case AT_DisableTrigUser:
        alter_trigger_state(r, t, cmd, false);
        break;
    case AT_EnableRule:
    case AT_EnableAlwaysRule:
    case AT_EnableReplicaRule:
    case AT_DisableRule:
        add(r, rule::disable_rule, t.n.shown, part);
        break;
    case AT_DropInherit:
        add(r, rule::detach_partition, named(reinterpret_cast<RangeVar*>(cmd->def)).shown, t.n.shown, size_of(t));
        break;
    case AT_AddOf:
    case AT_DropOf:
        add(r, rule::inheritance, t.n.shown);
        break;
    case AT_ReplicaIdentity:
        add(r, rule::replica_identity, t.n.shown);
        break;
    case AT_EnableRowSecurity:
    case AT_ForceRowSecurity:
        add(r, rule::enable_row_security, t.n.shown);
        break;
    case AT_DisableRowSecurity:
    case AT_NoForceRowSecurity:
        add(r, rule::disable_row_security, t.n.shown);
        break;
    case AT_GenericOptions:
    case AT_AlterColumnGenericOptions:
        add(r, rule::foreign_option, t.n.shown);
        break;
    case AT_AddIdentity:
    case AT_SetIdentity:
    case AT_DropIdentity:
        add(r, rule::change_identity, t.n.shown, part);
        break;
    default:
        add(r, bridge::sets_expression(cmd->subtype) ? rule::change_generated_column : rule::unknown_statement,
            t.n.shown, part);
    }
}

void alter_composite(review& r, const AlterTableStmt* s) {
    const name n = named(s->relation);
    touch(r, n);
    if (find(r, kind::type, n.schema, n.own) != nullptr) {
        add(r, rule::new_object, n.shown);
        return;
    }
    ListCell* cell;
    foreach (cell, s->cmds) {
        const auto* cmd = static_cast<AlterTableCmd*>(lfirst(cell));
        if (cmd->subtype == AT_DropColumn)
            add(r, rule::drop_attribute, n.shown, quote_identifier(cmd->name));
        else if (cmd->subtype == AT_AlterColumnType)
            add(r, rule::change_column_type, n.shown, quote_identifier(cmd->name));
        else
            add(r, rule::alter_composite_type, n.shown);
    }
}

void alter_table(review& r, const AlterTableStmt* s) {
    if (s->objtype == OBJECT_TYPE) {
        alter_composite(r, s);
        return;
    }
    const target t = look(r, s->relation);
    ListCell* cell;
    foreach (cell, s->cmds) {
        const auto* cmd = static_cast<AlterTableCmd*>(lfirst(cell));
        if (s->objtype == OBJECT_INDEX && cmd->subtype == AT_AttachPartition)
            add(r, rule::change_option, t.n.shown);
        else
            alter_table_command(r, t, cmd);
    }
}

// (a, b) of the names in a list; null when one of them is no name.
const char* columns_of(const List* list) {
    StringInfoData text;
    initStringInfo(&text);
    ListCell* cell;
    foreach (cell, list) {
        auto* one = static_cast<Node*>(lfirst(cell));
        const char* column = IsA(one, IndexElem) ? reinterpret_cast<IndexElem*>(one)->name : strVal(one);
        if (column == nullptr)
            return nullptr;
        appendStringInfo(&text, "%s%s", text.len ? ", " : "(", quote_identifier(column));
    }
    appendStringInfoChar(&text, ')');
    return list ? text.data : nullptr;
}

void create_index(review& r, const IndexStmt* s) {
    const target t = look(r, s->relation);
    RangeVar* v = s->idxname ? makeRangeVar(s->relation->schemaname, s->idxname, -1) : nullptr;
    const char* column = s->indexParams ? static_cast<IndexElem*>(linitial(s->indexParams))->name : nullptr;
    const char* part =
        quote_identifier(s->idxname ? s->idxname : psprintf("%s_%s_idx", t.n.own, column ? column : "expr"));
    if (v != nullptr && s->if_not_exists && exists_already(r, v)) {
        add(r, rule::create_index_concurrently, t.n.shown, part,
            " One of this name exists already, so nothing is done.");
        return;
    }
    if (v != nullptr)
        create(r, kind::relation, s->relation->schemaname, s->idxname, "", named(v).shown, t.own, t.own == nullptr);
    if (s->concurrent && r.in_block) {
        add(r, rule::concurrently_in_transaction, t.n.shown);
        return;
    }
    if (t.own != nullptr) {
        add(r, rule::new_object, t.n.shown);
    } else if (s->concurrent) {
        add(r, is_partitioned(t.oid) ? rule::concurrently_on_partitioned : rule::create_index_concurrently, t.n.shown,
            part);
    } else {
        add(r, rule::create_index, t.n.shown, part, size_of(t), s->whereClause ? nullptr : columns_of(s->indexParams));
    }
}

// ---------------------------------------------------------------- drops

void drop_relation(review& r, const DropStmt* s, const List* names) {
    const RangeVar* v = makeRangeVarFromNameList(const_cast<List*>(names));
    const bool is_index = s->removeType == OBJECT_INDEX;
    const target t = look(r, v, !is_index);
    if (is_index && t.own == nullptr) { // it is its table that is changed
        const Oid table = OidIsValid(t.oid) ? IndexGetRelation(t.oid, true) : InvalidOid;
        char* own = OidIsValid(table) ? get_rel_name(table) : nullptr;
        touch(r, own ? named(makeRangeVar(get_namespace_name(get_rel_namespace(table)), own, -1)) : t.n);
    }
    if (t.own != nullptr) {
        dropped_own(r, const_cast<creation*>(t.own), t.n.shown);
        return;
    }
    const char* size = size_of(t);
    switch (s->removeType) {
    case OBJECT_TABLE:
    case OBJECT_FOREIGN_TABLE:
        add(r, rule::drop_table, t.n.shown, "", size);
        break;
    case OBJECT_SEQUENCE:
        add(r, rule::drop_sequence, t.n.shown);
        break;
    case OBJECT_VIEW:
        add(r, rule::drop_view, t.n.shown);
        break;
    case OBJECT_MATVIEW:
        add(r, rule::drop_materialized_view, t.n.shown, "", size);
        break;
    default: // an index
        if (s->concurrent && r.in_block)
            add(r, rule::concurrently_in_transaction, t.n.shown);
        if (is_unique_index(t.oid))
            add(r, rule::drop_unique_index, t.n.shown);
        else
            add(r, s->concurrent ? rule::drop_index_concurrently : rule::drop_index, t.n.shown);
    }
}

// The types of the arguments that go in.
const char* signature(const ObjectWithArgs* o) {
    StringInfoData text;
    initStringInfo(&text);
    ListCell* cell;
    foreach (cell, o->objargs)
        if (lfirst(cell) != nullptr)
            appendStringInfo(&text, "%s%s", text.len ? "," : "", type_text(static_cast<TypeName*>(lfirst(cell))));
    return text.data;
}

const char* signature(const List* parameters) {
    StringInfoData text;
    initStringInfo(&text);
    ListCell* cell;
    foreach (cell, parameters) {
        const auto* p = static_cast<FunctionParameter*>(lfirst(cell));
        if (p->mode != FUNC_PARAM_OUT && p->mode != FUNC_PARAM_TABLE)
            appendStringInfo(&text, "%s%s", text.len ? "," : "", type_text(p->argType));
    }
    return text.data;
}

creation* find_routine(review& r, const ObjectWithArgs* o) {
    const name n = named(o->objname);
    if (!o->args_unspecified)
        return find(r, kind::routine, n.schema, n.own, signature(o));
    creation* c = find(r, kind::routine_name, n.schema, n.own);
    return c != nullptr && !function_exists(n.schema ? n.schema : r.schema, n.own) ? c : nullptr;
}

void drop_routine(review& r, const ObjectWithArgs* o) {
    const name n = named(o->objname);
    touch(r, n);
    if (creation* c = find_routine(r, o)) {
        dropped_own(r, c, n.shown);
        // the other of the two entries
        forget(r, kind::routine_name, n.schema, n.own);
        ListCell* cell;
        if (o->args_unspecified)
            foreach (cell, r.created) {
                auto* one = static_cast<creation*>(lfirst(cell));
                if (one->of == c)
                    one->gone = true;
            }
    } else {
        add(r, rule::drop_function, n.shown);
    }
}

void drop_part(review& r, const DropStmt* s, List* names) {
    const char* part = strVal(llast(names));
    const RangeVar* v = makeRangeVarFromNameList(list_truncate(list_copy(names), list_length(names) - 1));
    const target t = look(r, v);
    const kind k = s->removeType == OBJECT_TRIGGER  ? kind::trigger
                   : s->removeType == OBJECT_POLICY ? kind::policy
                                                    : kind::rewrite_rule;
    if (creation* c = find(r, k, t.n.schema, t.n.own, part))
        dropped_own(r, c, psprintf("%s of %s", quote_identifier(part), t.n.shown));
    else if (t.own != nullptr)
        add(r, rule::new_object, t.n.shown);
    else if (s->missing_ok && OidIsValid(t.oid) &&
             ((k == kind::trigger && trigger_state(t.oid, part) == '\0') ||
              (k == kind::policy && !policy_exists(t.oid, part))))
        add(r, rule::nothing_to_drop, t.n.shown, quote_identifier(part));
    else if (k == kind::trigger)
        add(r, is_guard(t, part) ? rule::sor_guard : rule::drop_trigger, t.n.shown, quote_identifier(part));
    else
        add(r, k == kind::policy ? rule::drop_policy : rule::drop_rule, t.n.shown, quote_identifier(part));
}

void drop_named(review& r, rule which, kind k, const char* schema, const char* own, const char* what) {
    if (creation* c = find(r, k, schema, own))
        dropped_own(r, c, what);
    else
        add(r, which, what);
}

void drop(review& r, const DropStmt* s) {
    ListCell* cell;
    foreach (cell, s->objects) {
        auto* object = static_cast<Node*>(lfirst(cell));
        const int before = list_length(r.findings);
        switch (s->removeType) {
        case OBJECT_TABLE:
        case OBJECT_FOREIGN_TABLE:
        case OBJECT_SEQUENCE:
        case OBJECT_VIEW:
        case OBJECT_MATVIEW:
        case OBJECT_INDEX:
            drop_relation(r, s, reinterpret_cast<List*>(object));
            break;
        case OBJECT_FUNCTION:
        case OBJECT_PROCEDURE:
        case OBJECT_ROUTINE:
        case OBJECT_AGGREGATE:
            drop_routine(r, reinterpret_cast<ObjectWithArgs*>(object));
            break;
        case OBJECT_TYPE:
        case OBJECT_DOMAIN: {
            const name n = named(reinterpret_cast<TypeName*>(object)->names);
            touch(r, n);
            drop_named(r, rule::drop_type, kind::type, n.schema, n.own, n.shown);
            break;
        }
        case OBJECT_TRIGGER:
        case OBJECT_POLICY:
        case OBJECT_RULE:
            drop_part(r, s, reinterpret_cast<List*>(object));
            break;
        case OBJECT_SCHEMA:
            touch(r, {strVal(object), "*", shown(object)});
            drop_named(r, rule::drop_schema, kind::schema, nullptr, strVal(object), shown(object));
            break;
        case OBJECT_EXTENSION:
            if (strcmp(strVal(object), "sor") == 0)
                add(r, rule::sor_guard, "this database", "the extension sor");
            drop_named(r, rule::drop_extension, kind::other, nullptr, psprintf("extension %s", strVal(object)),
                       shown(object));
            break;
        case OBJECT_EVENT_TRIGGER:
            add(r, strncmp(strVal(object), "sor_", 4) == 0 ? rule::sor_guard : rule::drop_event_trigger, shown(object),
                shown(object));
            break;
        case OBJECT_FDW:
        case OBJECT_FOREIGN_SERVER:
            add(r, rule::drop_foreign_object, shown(object));
            break;
        default:
            drop_named(r, rule::drop_object, kind::other, nullptr, psprintf("object %s", shown(object)), shown(object));
        }
        bool ours = list_length(r.findings) > before;
        for (int i = before; i < list_length(r.findings); ++i) {
            const rule which = static_cast<finding*>(list_nth(r.findings, i))->which;
            ours = ours && (which == rule::new_object || which == rule::undo_created);
        }
        if (s->behavior == DROP_CASCADE && !ours)
            add(r, rule::drop_cascade, shown(object));
    }
}

void truncate(review& r, const TruncateStmt* s) {
    ListCell* cell;
    foreach (cell, s->relations) {
        const target t = look(r, static_cast<RangeVar*>(lfirst(cell)));
        add(r, t.own ? rule::new_object : rule::truncate_table, t.n.shown, "", size_of(t));
        if (s->behavior == DROP_CASCADE)
            add(r, rule::drop_cascade, t.n.shown, "", " Tables that refer to it are emptied too.");
    }
}

// ---------------------------------------------------------------- names, owners, privileges

void rename_relation(review& r, const RenameStmt* s) {
    const target t = look(r, s->relation);
    if (t.own != nullptr) {
        const_cast<creation*>(t.own)->gone = true;
        relation_created(r, makeRangeVar(s->relation->schemaname, s->newname, -1));
        add(r, rule::new_object, t.n.shown);
        return;
    }
    forget(r, kind::relation, s->relation->schemaname, s->newname);
    const bool is_index = s->renameType == OBJECT_INDEX || is_unique_index(t.oid) || is_plain_index(t.oid);
    add(r, is_index ? rule::rename_index : rule::rename_table, t.n.shown, quote_identifier(s->newname));
}

void rename(review& r, const RenameStmt* s) {
    switch (s->renameType) {
    case OBJECT_TABLE:
    case OBJECT_FOREIGN_TABLE:
    case OBJECT_VIEW:
    case OBJECT_MATVIEW:
    case OBJECT_SEQUENCE:
    case OBJECT_INDEX:
        rename_relation(r, s);
        return;
    case OBJECT_COLUMN:
    case OBJECT_ATTRIBUTE:
    case OBJECT_TABCONSTRAINT:
    case OBJECT_TRIGGER:
    case OBJECT_POLICY:
    case OBJECT_RULE: {
        const target t = look(r, s->relation);
        const kind k = s->renameType == OBJECT_COLUMN          ? kind::column
                       : s->renameType == OBJECT_TABCONSTRAINT ? kind::constraint
                       : s->renameType == OBJECT_TRIGGER       ? kind::trigger
                       : s->renameType == OBJECT_POLICY        ? kind::policy
                                                               : kind::rewrite_rule;
        if (t.own != nullptr) {
            add(r, rule::new_object, t.n.shown);
        } else if (creation* c = find(r, k, t.n.schema, t.n.own, s->subname)) {
            c->gone = true;
            part_created(r, t, k, s->newname, true);
            add(r, rule::new_object, c->name);
        } else {
            forget(r, k, t.n.schema, t.n.own, s->newname);
            const char* part = quote_identifier(s->subname);
            if (s->renameType == OBJECT_COLUMN || s->renameType == OBJECT_ATTRIBUTE)
                add(r, rule::rename_column, t.n.shown, part);
            else if (s->renameType == OBJECT_TRIGGER && is_guard(t, s->subname))
                add(r, rule::sor_guard, t.n.shown, part);
            else
                add(r, s->renameType == OBJECT_TABCONSTRAINT ? rule::rename_index : rule::rename_object,
                    psprintf("%s of %s", part, t.n.shown), quote_identifier(s->newname));
        }
        return;
    }
    case OBJECT_SCHEMA:
        touch(r, {s->subname, "*", s->subname});
        forget(r, kind::schema, nullptr, s->subname);
        add(r, rule::rename_object, s->subname, quote_identifier(s->newname));
        return;
    case OBJECT_EVENT_TRIGGER:
        add(r, rule::drop_event_trigger, shown(s->object));
        return;
    default:
        add(r, rule::rename_object,
            s->object    ? shown(s->object)
            : s->subname ? s->subname
                         : "it",
            quote_identifier(s->newname));
    }
}

// The thing of an ALTER … OWNER TO, SET SCHEMA, COMMENT and the like, when the migration made it.
bool is_own(review& r, ObjectType type, const RangeVar* relation, Node* object) {
    if (relation != nullptr)
        return look(r, relation).own != nullptr;
    if (object == nullptr)
        return false;
    switch (type) {
    case OBJECT_FUNCTION:
    case OBJECT_PROCEDURE:
    case OBJECT_ROUTINE:
    case OBJECT_AGGREGATE: {
        const auto* o = reinterpret_cast<ObjectWithArgs*>(object);
        touch(r, named(o->objname));
        return find_routine(r, o) != nullptr;
    }
    case OBJECT_TYPE:
    case OBJECT_DOMAIN: {
        const name n =
            named(IsA(object, TypeName) ? reinterpret_cast<TypeName*>(object)->names : reinterpret_cast<List*>(object));
        touch(r, n);
        return find(r, kind::type, n.schema, n.own) != nullptr;
    }
    case OBJECT_SCHEMA:
        touch(r, {strVal(object), "*", shown(object)});
        return find(r, kind::schema, nullptr, strVal(object)) != nullptr;
    case OBJECT_EXTENSION:
        return find(r, kind::other, nullptr, psprintf("extension %s", strVal(object))) != nullptr;
    default:
        return find(r, kind::other, nullptr, psprintf("object %s", shown(object))) != nullptr;
    }
}

void move_to_schema(review& r, const AlterObjectSchemaStmt* s) {
    const char* what = s->relation ? named(s->relation).shown : shown(s->object);
    const bool own = is_own(r, s->objectType, s->relation, s->object);
    if (s->relation != nullptr) {
        if (creation* c = find(r, kind::relation, s->relation->schemaname, s->relation->relname))
            c->gone = true;
        forget(r, kind::relation, s->newschema, s->relation->relname);
        if (own)
            relation_created(r, makeRangeVar(s->newschema, s->relation->relname, -1));
    }
    if (!own)
        forget(r, kind::schema, nullptr, s->newschema); // it now holds what exists
    touch(r, {s->newschema, s->relation ? s->relation->relname : "*", what});
    add(r, own ? rule::new_object : rule::move_to_schema, what, quote_identifier(s->newschema));
}

void grant(review& r, const GrantStmt* s, bool is_default) {
    const char* whom = "";
    bool to_public = false;
    ListCell* cell;
    foreach (cell, s->grantees) {
        const auto* role = static_cast<RoleSpec*>(lfirst(cell));
        whom = *whom ? psprintf("%s, %s", whom, role_name(role)) : role_name(role);
        to_public = to_public || role->roletype == ROLESPEC_PUBLIC;
    }
    const bool relations = s->objtype == OBJECT_TABLE;
    bool broad = s->grant_option ||
                 (s->privileges == NIL && (relations || s->objtype == OBJECT_SCHEMA || s->objtype == OBJECT_DATABASE));
    foreach (cell, s->privileges) {
        const char* privilege = static_cast<AccessPriv*>(lfirst(cell))->priv_name;
        broad = broad || (privilege && is_one_of(privilege, {"truncate", "trigger", "create", "maintain", "temporary",
                                                             "alter system", "set"}));
    }
    const auto one = [&](const char* what, bool own) {
        if (own && !(to_public && relations && s->is_grant))
            add(r, rule::new_object, what);
        else if (!s->is_grant)
            add(r, is_default ? rule::default_privileges : rule::revoke_privilege, is_default ? whom : what, whom);
        else if (to_public)
            add(r, rule::grant_public, what, whom);
        else if (broad)
            add(r, rule::grant_broad, what, whom);
        else
            add(r, is_default ? rule::default_privileges : rule::grant_privilege, is_default ? whom : what, whom);
    };
    if (is_default) {
        one("new objects", false);
        return;
    }
    foreach (cell, s->objects) {
        auto* object = static_cast<Node*>(lfirst(cell));
        if (IsA(object, RangeVar))
            one(shown(object), is_own(r, s->objtype, reinterpret_cast<RangeVar*>(object), nullptr));
        else if (s->targtype == ACL_TARGET_ALL_IN_SCHEMA)
            one(psprintf("all in %s", shown(object)), is_own(r, OBJECT_SCHEMA, nullptr, object));
        else
            one(shown(object), is_own(r, s->objtype, nullptr, object));
    }
}

void grant_role(review& r, const GrantRoleStmt* s) {
    const char* role = "";
    const char* member = "";
    ListCell* cell;
    foreach (cell, s->granted_roles)
        role = static_cast<AccessPriv*>(lfirst(cell))->priv_name;
    foreach (cell, s->grantee_roles)
        member = role_name(static_cast<RoleSpec*>(lfirst(cell)));
    add(r, s->is_grant ? rule::grant_role : rule::revoke_privilege, role ? quote_identifier(role) : "", member);
}

void role_options(review& r, const char* role, const List* options, rule otherwise) {
    bool power = false;
    ListCell* cell;
    foreach (cell, options) {
        const auto* o = static_cast<DefElem*>(lfirst(cell));
        if (is_one_of(o->defname, {"superuser", "bypassrls", "createrole", "createdb", "isreplication"}))
            power = power || (o->arg != nullptr && boolVal(o->arg));
        else if (is_one_of(o->defname, {"addroleto", "rolemembers", "adminmembers"}))
            add(r, rule::grant_role, role, role);
    }
    add(r, power ? rule::powerful_role : otherwise, role);
}

void create_policy(review& r, const CreatePolicyStmt* s) {
    const target t = look(r, s->table);
    const char* part = quote_identifier(s->policy_name);
    part_created(r, t, kind::policy, s->policy_name, t.own == nullptr);
    if (t.own != nullptr)
        add(r, rule::new_object, t.n.shown);
    else if (s->permissive && (s->qual || s->with_check) && always_true(s->qual) &&
             (s->with_check == nullptr || always_true(s->with_check)))
        add(r, rule::open_policy, t.n.shown, part);
    else
        add(r, rule::create_policy, t.n.shown, part);
}

void create_trigger(review& r, const CreateTrigStmt* s) {
    const target t = look(r, s->relation);
    const char* part = quote_identifier(s->trigname);
    const bool replaces = s->replace && trigger_state(t.oid, s->trigname) != '\0' &&
                          find(r, kind::trigger, t.n.schema, t.n.own, s->trigname) == nullptr;
    if (is_guard(t, s->trigname)) {
        add(r, rule::sor_guard, t.n.shown, part);
        return;
    }
    if (!replaces)
        part_created(r, t, kind::trigger, s->trigname, t.own == nullptr);
    if ((s->events & TRIGGER_TYPE_INSERT) != 0)
        part_created(r, t, kind::trigger, "(insert)", false);
    if ((s->events & TRIGGER_TYPE_UPDATE) != 0)
        part_created(r, t, kind::trigger, "(update)", false);
    if ((s->events & TRIGGER_TYPE_DELETE) != 0)
        part_created(r, t, kind::trigger, "(delete)", false);
    add(r, t.own ? rule::new_object : replaces ? rule::replace_trigger : rule::create_trigger, t.n.shown, part);
}

void routine_created(review& r, const name& n, const char* arguments) {
    const creation* by_name = create(r, kind::routine_name, n.schema, n.own, "", n.shown, nullptr, false);
    create(r, kind::routine, n.schema, n.own, arguments, psprintf("%s(%s)", n.shown, arguments), by_name, true);
}

void create_routine(review& r, const CreateFunctionStmt* s) {
    const name n = named(s->funcname);
    touch(r, n);
    creation* known = find(r, kind::routine, n.schema, n.own, signature(s->parameters));
    const bool replaces = s->replace && known == nullptr && function_exists(n.schema ? n.schema : r.schema, n.own);
    bool definer = false, path = false;
    ListCell* cell;
    foreach (cell, s->options) {
        const auto* o = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(o->defname, "security") == 0)
            definer = boolVal(o->arg);
        else if (strcmp(o->defname, "set") == 0)
            path = path || is_one_of(reinterpret_cast<VariableSetStmt*>(o->arg)->name
                                         ? reinterpret_cast<VariableSetStmt*>(o->arg)->name
                                         : "",
                                     {"search_path"});
    }
    if (!replaces)
        routine_created(r, n, signature(s->parameters));
    if (definer)
        add(r, rule::security_definer_function, n.shown, "",
            path ? nullptr : " It sets none: its caller chooses what the names in it mean.");
    if (replaces)
        add(r, rule::replace_function, n.shown);
    else if (!definer)
        add(r, rule::create_function, n.shown);
}

void create_type(review& r, const List* names) {
    const name n = named(names);
    touch(r, n);
    create(r, kind::type, n.schema, n.own, "", n.shown, nullptr, true);
    add(r, rule::create_object, n.shown);
}

void create_other(review& r, const char* object, const char* what) {
    create(r, kind::other, nullptr, object, "", what, nullptr, true);
}

void alter_enum(review& r, const AlterEnumStmt* s) {
    const name n = named(s->typeName);
    touch(r, n);
    if (find(r, kind::type, n.schema, n.own) != nullptr) {
        add(r, rule::new_object, n.shown);
    } else if (s->oldVal != nullptr) {
        add(r, rule::rename_enum_value, n.shown, quote_literal_cstr(s->oldVal));
    } else {
        add(r, rule::add_enum_value, n.shown, quote_literal_cstr(s->newVal));
        const MemoryContext outer = MemoryContextSwitchTo(r.memory);
        auto* v = static_cast<enum_value*>(palloc(sizeof(enum_value)));
        *v = {pstrdup(n.shown), pstrdup(quote_literal_cstr(s->newVal)), r.transaction};
        r.enum_values = lappend(r.enum_values, v);
        MemoryContextSwitchTo(outer);
    }
}

void used_enum_values(review& r) {
    ListCell* cell;
    foreach (cell, r.enum_values) {
        const auto* v = static_cast<enum_value*>(lfirst(cell));
        if (v->transaction == r.transaction && r.text.find(v->value) != r.text.npos)
            add(r, rule::enum_value_in_same_transaction, v->type, v->value);
    }
}

void alter_domain(review& r, const AlterDomainStmt* s) {
    const name n = named(s->typeName);
    touch(r, n);
    if (find(r, kind::type, n.schema, n.own) != nullptr) {
        add(r, rule::new_object, n.shown);
        return;
    }
    switch (s->subtype) {
    case 'T': // SET or DROP DEFAULT
        add(r, rule::change_default, n.shown, "columns");
        break;
    case 'N': // DROP NOT NULL
    case 'X': // DROP CONSTRAINT
        add(r, rule::drop_constraint, n.shown, s->name ? quote_identifier(s->name) : "NOT NULL");
        break;
    case 'C': // ADD CONSTRAINT
        if (reinterpret_cast<Constraint*>(s->def)->skip_validation) {
            add(r, rule::add_constraint_not_valid, n.shown, "a constraint");
            break;
        }
        [[fallthrough]];
    default:
        add(r, rule::domain_constraint, n.shown);
    }
}

void transaction(review& r, const TransactionStmt* s) {
    ListCell* cell;
    switch (s->kind) {
    case TRANS_STMT_BEGIN:
    case TRANS_STMT_START:
        r.in_block = true;
        break;
    case TRANS_STMT_COMMIT:
        r.in_block = false;
        r.schema = r.session_schema;
        ++r.transaction;
        break;
    case TRANS_STMT_PREPARE:
        r.in_block = false;
        ++r.transaction;
        add(r, rule::prepared_transaction);
        return;
    case TRANS_STMT_COMMIT_PREPARED:
    case TRANS_STMT_ROLLBACK_PREPARED:
        add(r, rule::unknown_statement, "", "", " What was prepared is not known here.");
        return;
    case TRANS_STMT_ROLLBACK:
    case TRANS_STMT_ROLLBACK_TO:
        // what was created may be gone; where it is not, later statements are taken to mean what existed
        foreach (cell, r.created)
            hash_search(r.creations, static_cast<creation*>(lfirst(cell))->key, HASH_REMOVE, nullptr);
        list_free(r.created);
        r.created = NIL;
        r.in_block = r.in_block && s->kind == TRANS_STMT_ROLLBACK_TO;
        ++r.transaction;
        r.schema = r.session_schema = nullptr;
        break;
    default:
        break;
    }
    add(r, rule::transaction_control);
}

bool has_option(const List* options, const char* option) {
    ListCell* cell;
    foreach (cell, options) {
        auto* o = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(o->defname, option) == 0)
            return defGetBoolean(o);
    }
    return false;
}

void vacuum(review& r, const VacuumStmt* s) {
    const bool full = s->is_vacuumcmd && has_option(s->options, "full");
    const char* what = "every table";
    ListCell* cell;
    foreach (cell, s->rels)
        if (const auto* v = static_cast<VacuumRelation*>(lfirst(cell)); v->relation != nullptr) {
            const target t = look(r, v->relation);
            what = t.n.shown;
            if (full)
                add(r, rule::vacuum_full, what, "", size_of(t));
        }
    if (full)
        add(r, rule::vacuum_full, what);
    else
        add(r, s->is_vacuumcmd ? rule::outside_transaction : rule::maintenance, s->is_vacuumcmd ? "vacuum" : what);
}

// ---------------------------------------------------------------- one statement

void statement(review& r, Node* node);

void create_schema(review& r, const CreateSchemaStmt* s) {
    const char* own = s->schemaname ? s->schemaname : s->authrole ? s->authrole->rolename : nullptr;
    if (own != nullptr) {
        touch(r, {own, "*", quote_identifier(own)});
        if (!s->if_not_exists || !schema_exists(own))
            create(r, kind::schema, nullptr, own, "", quote_identifier(own), nullptr, true);
    }
    add(r, rule::create_object, own ? quote_identifier(own) : "a schema");
    const char* outer = r.schema;
    r.schema = own ? keep(r, own) : nullptr;
    ListCell* cell;
    foreach (cell, s->schemaElts)
        statement(r, static_cast<Node*>(lfirst(cell)));
    r.schema = outer;
}

void statement(review& r, Node* node) {
    check_stack_depth();
    ListCell* cell;
    switch (nodeTag(node)) {
    case T_SelectStmt:
    case T_InsertStmt:
    case T_UpdateStmt:
    case T_DeleteStmt:
    case T_MergeStmt:
        query(r, node);
        if (r.findings == NIL)
            add(r, rule::read_only);
        break;
    case T_CreateStmt:
        create_table(r, reinterpret_cast<CreateStmt*>(node));
        break;
    case T_CreateForeignTableStmt:
        create_table(r, &reinterpret_cast<CreateForeignTableStmt*>(node)->base);
        break;
    case T_CreateTableAsStmt: {
        const auto* s = reinterpret_cast<CreateTableAsStmt*>(node);
        touch(r, named(s->into->rel));
        if (IsA(s->query, ExecuteStmt))
            statement(r, s->query);
        else
            query(r, s->query);
        if (!s->if_not_exists || !exists_already(r, s->into->rel))
            relation_created(r, s->into->rel);
        if (s->into->rel->relpersistence == RELPERSISTENCE_UNLOGGED)
            add(r, rule::unlogged_table, named(s->into->rel).shown);
        add(r, rule::create_table, named(s->into->rel).shown);
        break;
    }
    case T_AlterTableStmt:
        alter_table(r, reinterpret_cast<AlterTableStmt*>(node));
        break;
    case T_AlterTableMoveAllStmt:
        add(r, rule::set_tablespace, "everything there");
        break;
    case T_IndexStmt:
        create_index(r, reinterpret_cast<IndexStmt*>(node));
        break;
    case T_DropStmt:
        drop(r, reinterpret_cast<DropStmt*>(node));
        break;
    case T_TruncateStmt:
        truncate(r, reinterpret_cast<TruncateStmt*>(node));
        break;
    case T_RenameStmt:
        rename(r, reinterpret_cast<RenameStmt*>(node));
        break;
    case T_AlterObjectSchemaStmt:
        move_to_schema(r, reinterpret_cast<AlterObjectSchemaStmt*>(node));
        break;
    case T_AlterOwnerStmt: {
        const auto* s = reinterpret_cast<AlterOwnerStmt*>(node);
        const bool own = is_own(r, s->objectType, s->relation, s->object);
        add(r, own ? rule::new_object : rule::change_owner, s->relation ? named(s->relation).shown : shown(s->object),
            role_name(s->newowner));
        break;
    }
    case T_ReassignOwnedStmt:
        add(r, rule::change_owner, "everything that it owns",
            role_name(reinterpret_cast<ReassignOwnedStmt*>(node)->newrole));
        break;
    case T_DropOwnedStmt:
        foreach (cell, reinterpret_cast<DropOwnedStmt*>(node)->roles)
            add(r, rule::drop_owned, role_name(static_cast<RoleSpec*>(lfirst(cell))));
        break;
    case T_ViewStmt: {
        const auto* s = reinterpret_cast<ViewStmt*>(node);
        const name n = named(s->view);
        const bool own = find(r, kind::relation, n.schema, n.own) != nullptr;
        touch(r, n);
        if (s->replace && exists_already(r, s->view)) {
            add(r, rule::replace_view, n.shown);
        } else {
            creation* made = relation_created(r, s->view);
            if (made != nullptr)
                made->calls = calls_functions(s->query, &r);
            add(r, own ? rule::new_object : rule::create_view, n.shown);
        }
        break;
    }
    case T_CreateSeqStmt: {
        const auto* s = reinterpret_cast<CreateSeqStmt*>(node);
        touch(r, named(s->sequence));
        if (!s->if_not_exists || !exists_already(r, s->sequence))
            relation_created(r, s->sequence);
        add(r, rule::create_object, named(s->sequence).shown);
        break;
    }
    case T_AlterSeqStmt: {
        const auto* s = reinterpret_cast<AlterSeqStmt*>(node);
        const target t = look(r, s->sequence);
        bool only_owner = true, restarts = false;
        foreach (cell, s->options) {
            const char* option = static_cast<DefElem*>(lfirst(cell))->defname;
            only_owner = only_owner && strcmp(option, "owned_by") == 0;
            restarts = restarts || strcmp(option, "restart") == 0;
        }
        add(r,
            t.own        ? rule::new_object
            : restarts   ? rule::restart_sequence
            : only_owner ? rule::change_option
                         : rule::alter_sequence,
            t.n.shown);
        break;
    }
    case T_CreateFunctionStmt:
        create_routine(r, reinterpret_cast<CreateFunctionStmt*>(node));
        break;
    case T_AlterFunctionStmt: {
        const auto* s = reinterpret_cast<AlterFunctionStmt*>(node);
        const bool own = is_own(r, OBJECT_FUNCTION, nullptr, reinterpret_cast<Node*>(s->func));
        const char* what = named(s->func->objname).shown;
        bool definer = false;
        foreach (cell, s->actions) {
            auto* o = static_cast<DefElem*>(lfirst(cell));
            definer = definer || (strcmp(o->defname, "security") == 0 && boolVal(o->arg));
        }
        add(r, !own ? rule::alter_function : definer ? rule::security_definer_function : rule::new_object, what);
        break;
    }
    case T_CreateTrigStmt:
        create_trigger(r, reinterpret_cast<CreateTrigStmt*>(node));
        break;
    case T_CreatePolicyStmt:
        create_policy(r, reinterpret_cast<CreatePolicyStmt*>(node));
        break;
    case T_AlterPolicyStmt: {
        const auto* s = reinterpret_cast<AlterPolicyStmt*>(node);
        const target t = look(r, s->table);
        add(r, own_part(r, t, kind::policy, s->policy_name) ? rule::new_object : rule::alter_policy, t.n.shown,
            quote_identifier(s->policy_name));
        break;
    }
    case T_RuleStmt: {
        const auto* s = reinterpret_cast<RuleStmt*>(node);
        const target t = look(r, s->relation);
        part_created(r, t, kind::rewrite_rule, s->rulename, t.own == nullptr);
        add(r, rule::create_rule, t.n.shown, quote_identifier(s->rulename));
        break;
    }
    case T_CreateEnumStmt:
        create_type(r, reinterpret_cast<CreateEnumStmt*>(node)->typeName);
        break;
    case T_CreateRangeStmt:
        create_type(r, reinterpret_cast<CreateRangeStmt*>(node)->typeName);
        break;
    case T_CreateDomainStmt:
        create_type(r, reinterpret_cast<CreateDomainStmt*>(node)->domainname);
        break;
    case T_CompositeTypeStmt: {
        const RangeVar* v = reinterpret_cast<CompositeTypeStmt*>(node)->typevar;
        touch(r, named(v));
        create(r, kind::type, v->schemaname, v->relname, "", named(v).shown, nullptr, true);
        add(r, rule::create_object, named(v).shown);
        break;
    }
    case T_DefineStmt: {
        const auto* s = reinterpret_cast<DefineStmt*>(node);
        const name n = named(s->defnames);
        touch(r, n);
        if (s->kind == OBJECT_TYPE)
            create(r, kind::type, n.schema, n.own, "", n.shown, nullptr, true);
        else if (s->kind == OBJECT_AGGREGATE && s->args != NIL && !s->replace)
            routine_created(r, n, signature(reinterpret_cast<List*>(linitial(s->args))));
        else if (s->kind == OBJECT_COLLATION)
            create_other(r, psprintf("object %s", n.shown), n.shown);
        add(r, s->replace ? rule::replace_function : rule::create_object, n.shown);
        break;
    }
    case T_CreateStatsStmt: {
        const auto* s = reinterpret_cast<CreateStatsStmt*>(node);
        const name n = s->defnames ? named(s->defnames) : name{nullptr, "statistics", "statistics"};
        if (s->defnames != NIL)
            create_other(r, psprintf("object %s", n.shown), n.shown);
        add(r, rule::create_object, n.shown);
        break;
    }
    case T_CreateOpClassStmt:
    case T_CreateOpFamilyStmt:
    case T_CreateConversionStmt:
    case T_CreateTransformStmt:
        add(r, rule::create_object, "an object");
        break;
    case T_AlterStatsStmt:
    case T_AlterObjectDependsStmt:
        add(r, rule::change_option, "it");
        break;
    case T_AlterEnumStmt:
        alter_enum(r, reinterpret_cast<AlterEnumStmt*>(node));
        break;
    case T_AlterDomainStmt:
        alter_domain(r, reinterpret_cast<AlterDomainStmt*>(node));
        break;
    case T_CreateSchemaStmt:
        create_schema(r, reinterpret_cast<CreateSchemaStmt*>(node));
        break;
    case T_CreateExtensionStmt: {
        const auto* s = reinterpret_cast<CreateExtensionStmt*>(node);
        if (!s->if_not_exists || !extension_exists(s->extname))
            create(r, kind::other, nullptr, psprintf("extension %s", s->extname), "", quote_identifier(s->extname),
                   nullptr, !s->if_not_exists);
        add(r, rule::create_extension, quote_identifier(s->extname));
        break;
    }
    case T_AlterExtensionStmt:
        add(r, rule::update_extension, quote_identifier(reinterpret_cast<AlterExtensionStmt*>(node)->extname));
        break;
    case T_AlterExtensionContentsStmt: {
        const char* extension = reinterpret_cast<AlterExtensionContentsStmt*>(node)->extname;
        if (strcmp(extension, "sor") == 0)
            add(r, rule::sor_guard, "this database", "what belongs to the extension sor");
        add(r, rule::update_extension, quote_identifier(extension));
        break;
    }
    case T_GrantStmt:
        grant(r, reinterpret_cast<GrantStmt*>(node), false);
        break;
    case T_AlterDefaultPrivilegesStmt:
        grant(r, reinterpret_cast<AlterDefaultPrivilegesStmt*>(node)->action, true);
        break;
    case T_GrantRoleStmt:
        grant_role(r, reinterpret_cast<GrantRoleStmt*>(node));
        break;
    case T_CreateRoleStmt: {
        const auto* s = reinterpret_cast<CreateRoleStmt*>(node);
        create(r, kind::role, nullptr, s->role, "", quote_identifier(s->role), nullptr, true);
        role_options(r, quote_identifier(s->role), s->options, rule::create_role);
        break;
    }
    case T_AlterRoleStmt: {
        const auto* s = reinterpret_cast<AlterRoleStmt*>(node);
        const bool own = s->role->rolename && find(r, kind::role, nullptr, s->role->rolename) != nullptr;
        role_options(r, role_name(s->role), s->options, own ? rule::new_object : rule::alter_role);
        break;
    }
    case T_DropRoleStmt:
        foreach (cell, reinterpret_cast<DropRoleStmt*>(node)->roles) {
            const auto* role = static_cast<RoleSpec*>(lfirst(cell));
            drop_named(r, rule::drop_role, kind::role, nullptr, role->rolename ? role->rolename : "", role_name(role));
        }
        break;
    case T_VariableSetStmt:
        set_variable(r, reinterpret_cast<VariableSetStmt*>(node));
        break;
    case T_VariableShowStmt:
    case T_FetchStmt:
    case T_ClosePortalStmt:
        add(r, rule::read_only);
        break;
    case T_ListenStmt:
    case T_UnlistenStmt:
    case T_ConstraintsSetStmt:
    case T_DeallocateStmt:
        add(r, rule::session_setting, "it");
        break;
    case T_DiscardStmt:
        r.schema = r.session_schema = "public";
        add(r, rule::session_setting, "everything back");
        break;
    case T_AlterSystemStmt:
    case T_AlterDatabaseSetStmt:
    case T_AlterRoleSetStmt: {
        const VariableSetStmt* s = IsA(node, AlterSystemStmt) ? reinterpret_cast<AlterSystemStmt*>(node)->setstmt
                                   : IsA(node, AlterDatabaseSetStmt)
                                       ? reinterpret_cast<AlterDatabaseSetStmt*>(node)->setstmt
                                       : reinterpret_cast<AlterRoleSetStmt*>(node)->setstmt;
        const char* variable = s->name ? s->name : "every setting";
        const bool guard =
            s->name == nullptr || guards(variable) || is_one_of(variable, {"session_replication_role", "row_security"});
        add(r, guard ? rule::guard_setting : rule::server_setting, variable);
        break;
    }
    case T_AlterDatabaseStmt:
        add(r, rule::server_setting, "options of the database");
        break;
    case T_TransactionStmt:
        transaction(r, reinterpret_cast<TransactionStmt*>(node));
        break;
    case T_LockStmt:
        foreach (cell, reinterpret_cast<LockStmt*>(node)->relations) {
            const target t = look(r, static_cast<RangeVar*>(lfirst(cell)));
            add(r, t.own ? rule::new_object : rule::lock_table, t.n.shown);
        }
        break;
    case T_CommentStmt:
        add(r, rule::comment);
        break;
    case T_SecLabelStmt:
        add(r, rule::security_label, shown(reinterpret_cast<SecLabelStmt*>(node)->object));
        break;
    case T_DoStmt:
        add(r, rule::do_block);
        break;
    case T_CallStmt:
        add(r, rule::call_procedure, named(reinterpret_cast<CallStmt*>(node)->funccall->funcname).shown);
        break;
    case T_PrepareStmt:
        statement(r, reinterpret_cast<PrepareStmt*>(node)->query);
        break;
    case T_ExecuteStmt:
        add(r, rule::execute_prepared, quote_identifier(reinterpret_cast<ExecuteStmt*>(node)->name));
        break;
    case T_ExplainStmt: {
        const auto* s = reinterpret_cast<ExplainStmt*>(node);
        if (has_option(s->options, "analyze"))
            statement(r, s->query);
        else
            add(r, rule::read_only);
        break;
    }
    case T_DeclareCursorStmt:
        statement(r, reinterpret_cast<DeclareCursorStmt*>(node)->query);
        break;
    case T_CopyStmt: {
        const auto* s = reinterpret_cast<CopyStmt*>(node);
        const char* what = s->relation ? named(s->relation).shown : "a query's rows";
        if (s->relation != nullptr && s->is_from)
            touch(r, named(s->relation));
        if (s->query != nullptr)
            query(r, s->query);
        add(r, s->filename == nullptr && !s->is_program ? rule::copy_data : rule::copy_file, what);
        break;
    }
    case T_VacuumStmt:
        vacuum(r, reinterpret_cast<VacuumStmt*>(node));
        break;
    case T_ClusterStmt: {
        const RangeVar* v = reinterpret_cast<ClusterStmt*>(node)->relation;
        add(r, rule::cluster, v ? look(r, v).n.shown : "every clustered table");
        break;
    }
    case T_ReindexStmt: {
        const auto* s = reinterpret_cast<ReindexStmt*>(node);
        const char* what = s->relation ? look(r, s->relation).n.shown
                           : s->name   ? quote_identifier(s->name)
                                       : "the database";
        const bool concurrently = has_option(s->params, "concurrently");
        add(r,
            !concurrently ? rule::reindex
            : r.in_block  ? rule::concurrently_in_transaction
                          : rule::maintenance,
            what);
        break;
    }
    case T_RefreshMatViewStmt: {
        const auto* s = reinterpret_cast<RefreshMatViewStmt*>(node);
        const target t = look(r, s->relation);
        add(r,
            t.own           ? rule::new_object
            : s->concurrent ? rule::maintenance
                            : rule::refresh_materialized_view,
            t.n.shown);
        break;
    }
    case T_CreatedbStmt:
        add(r, rule::outside_transaction, "create database");
        break;
    case T_CreateTableSpaceStmt:
        add(r, rule::outside_transaction, "create tablespace");
        break;
    case T_DropdbStmt:
        add(r, rule::drop_database, quote_identifier(reinterpret_cast<DropdbStmt*>(node)->dbname));
        break;
    case T_DropTableSpaceStmt:
        add(r, rule::drop_object, quote_identifier(reinterpret_cast<DropTableSpaceStmt*>(node)->tablespacename));
        break;
    case T_CreateCastStmt:
        add(r, rule::create_cast);
        break;
    case T_CreatePLangStmt:
        add(r, rule::create_language, quote_identifier(reinterpret_cast<CreatePLangStmt*>(node)->plname));
        break;
    case T_CreateAmStmt:
        add(r, rule::create_language, quote_identifier(reinterpret_cast<CreateAmStmt*>(node)->amname));
        break;
    case T_CreateEventTrigStmt:
        add(r, rule::create_event_trigger, quote_identifier(reinterpret_cast<CreateEventTrigStmt*>(node)->trigname));
        break;
    case T_AlterEventTrigStmt: {
        const auto* s = reinterpret_cast<AlterEventTrigStmt*>(node);
        const char* what = quote_identifier(s->trigname);
        add(r, strncmp(s->trigname, "sor_", 4) == 0 ? rule::sor_guard : rule::drop_event_trigger, what, what);
        break;
    }
    case T_CreateFdwStmt:
        add(r, rule::foreign_server, quote_identifier(reinterpret_cast<CreateFdwStmt*>(node)->fdwname));
        break;
    case T_CreateForeignServerStmt:
        add(r, rule::foreign_server, quote_identifier(reinterpret_cast<CreateForeignServerStmt*>(node)->servername));
        break;
    case T_CreateUserMappingStmt:
        add(r, rule::foreign_server, quote_identifier(reinterpret_cast<CreateUserMappingStmt*>(node)->servername));
        break;
    case T_ImportForeignSchemaStmt:
        add(r, rule::foreign_server, quote_identifier(reinterpret_cast<ImportForeignSchemaStmt*>(node)->server_name));
        break;
    case T_AlterFdwStmt:
        add(r, rule::foreign_option, quote_identifier(reinterpret_cast<AlterFdwStmt*>(node)->fdwname));
        break;
    case T_AlterForeignServerStmt:
        add(r, rule::foreign_option, quote_identifier(reinterpret_cast<AlterForeignServerStmt*>(node)->servername));
        break;
    case T_AlterUserMappingStmt:
        add(r, rule::foreign_option, quote_identifier(reinterpret_cast<AlterUserMappingStmt*>(node)->servername));
        break;
    case T_DropUserMappingStmt:
        add(r, rule::drop_foreign_object, quote_identifier(reinterpret_cast<DropUserMappingStmt*>(node)->servername));
        break;
    case T_CreatePublicationStmt: {
        const char* own = reinterpret_cast<CreatePublicationStmt*>(node)->pubname;
        create_other(r, psprintf("object %s", quote_identifier(own)), quote_identifier(own));
        add(r, rule::alter_publication, quote_identifier(own), "",
            " UPDATE and DELETE fail on tables of it without a replica identity.");
        break;
    }
    case T_AlterPublicationStmt:
        add(r, rule::alter_publication, quote_identifier(reinterpret_cast<AlterPublicationStmt*>(node)->pubname));
        break;
    case T_CreateSubscriptionStmt:
        add(r, rule::subscription, quote_identifier(reinterpret_cast<CreateSubscriptionStmt*>(node)->subname));
        break;
    case T_AlterSubscriptionStmt:
        add(r, rule::subscription, quote_identifier(reinterpret_cast<AlterSubscriptionStmt*>(node)->subname));
        break;
    case T_DropSubscriptionStmt:
        add(r, rule::drop_object, quote_identifier(reinterpret_cast<DropSubscriptionStmt*>(node)->subname));
        break;
    default:
        add(r, rule::unknown_statement);
    }
    if (r.enum_values != NIL && !IsA(node, AlterEnumStmt) && !IsA(node, CommentStmt))
        used_enum_values(r);
    if (r.findings == NIL)
        add(r, rule::unknown_statement);
}

// ---------------------------------------------------------------- rows

void row(review& r, int number, int line, const finding& f) {
    const rule_text& t = text_of(f.which);
    if (r.down && t.level == severity::opaque && f.which != rule::scope_creep)
        r.opaque = true;
    r.rows->add({in(number), in(name_of(t.level)), in(t.id), in(fill_in(t.hazard, f.object, f.part, "…", f.extra)),
                 *t.safer ? in(fill_in(t.safer, f.object, f.part, f.definition ? f.definition : "…", nullptr))
                          : bridge::value::none(),
                 line ? in(line) : bridge::value::none(), in(r.down ? "down" : "up")});
}

void rows_of_statement(review& r) {
    ListCell* cell;
    foreach (cell, r.findings)
        row(r, r.statement_no, r.line, *static_cast<finding*>(lfirst(cell)));
    r.findings = NIL;
}

// The server's reader takes time with the square of these, and cannot be cancelled; an operator has at most 63.
constexpr size_t longest_operator = 1000;
constexpr int longest_message = 200; // an unterminated string would be quoted to the end of the file

// What the reader or the analysis raised, as a finding: the text is at fault, unless the error says otherwise.
void failed(review& r, ErrorData* error, const char* text, bool parsed) {
    switch (ERRCODE_TO_CATEGORY(error->sqlerrcode)) {
    case MAKE_SQLSTATE('4', '0', '0', '0', '0'):
    case MAKE_SQLSTATE('5', '3', '0', '0', '0'):
    case MAKE_SQLSTATE('5', '7', '0', '0', '0'):
    case MAKE_SQLSTATE('5', '8', '0', '0', '0'):
        ReThrowError(error);
    default:
        break;
    }
    r.findings = NIL;
    char* message = error->message ? error->message : pstrdup("");
    if (const size_t length = strcspn(message, "\r\n");
        length > static_cast<size_t>(longest_message) || message[length] != '\0')
        message = psprintf("%.*s…", pg_mbcliplen(message, static_cast<int>(length), longest_message), message);
    const bool complex = ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
                         strncmp(message, "memory exhausted", 16) == 0;
    if (error->cursorpos > 0 &&
        !parsed) { // from the start of the piece, in characters; the piece's line is its first word's
        const char* c = text;
        int line = 1;
        for (int i = 1; i < error->cursorpos && *c != '\0'; ++i) {
            line += *c == '\n';
            c += pg_mblen(c);
        }
        r.line = r.line - 1 + line;
    }
    const char* variables =
        strstr(message, "at or near \":\"") ? " Variables of psql are not known to the server." : "";
    add(r,
        complex  ? rule::too_complex
        : parsed ? rule::unknown_statement
                 : rule::syntax_error,
        "", "", psprintf(" Statement %d, line %d: %s.%s", r.statement_no, r.line, message, variables));
}

void review_piece(review& r, std::string_view all, const piece& p) {
    const char* text = bridge::to_cstring(all.substr(p.start, p.end - p.start));
    r.text = {text, p.end - p.start};
    r.line = p.line;
    if (p.kind == piece::of::psql_command) {
        ++r.statement_no;
        char* command = pnstrdup(text, strcspn(text, " \t\r\n"));
        add(r, rule::psql_command, command);
        rows_of_statement(r);
        return;
    }
    if (p.kind == piece::of::copy_data) {
        int lines = 0;
        for (const char* c = text; (c = strchr(c, '\n')) != nullptr; ++c)
            ++lines;
        add(r, rule::copy_data, "the table", "", psprintf(" %d lines of data follow.", lines - 1));
        rows_of_statement(r);
        return;
    }
    if (p.operators > longest_operator) {
        ++r.statement_no;
        add(r, rule::too_complex, "", "",
            psprintf(" Statement %d, line %d: %zu operator characters in a row.", r.statement_no, r.line, p.operators));
        rows_of_statement(r);
        return;
    }
    List* statements = NIL;
    bool parsed = false;
    ErrorData* error = bridge::attempt([&] {
        statements = bridge::parse_sql(text);
        parsed = true;
        ListCell* cell;
        foreach (cell, statements) {
            ++r.statement_no;
            statement(r, static_cast<RawStmt*>(lfirst(cell))->stmt);
            rows_of_statement(r);
        }
    });
    if (error != nullptr) {
        if (!parsed)
            ++r.statement_no;
        failed(r, error, text, parsed);
        rows_of_statement(r);
    }
}

// Reads one direction; the number of its statements.
int read(review& r, std::string_view text) {
    r.statement_no = 0;
    r.in_block = false;
    r.schema = r.session_schema = "public";
    ++r.transaction;
    splitter pieces(text);
    piece p;
    const MemoryContext outer = MemoryContextSwitchTo(r.scratch);
    while (pieces.next(p)) {
        CHECK_FOR_INTERRUPTS();
        review_piece(r, text, p);
        MemoryContextReset(r.scratch);
    }
    MemoryContextSwitchTo(outer);
    return r.statement_no;
}

bool goes_with_another(const creation* c) {
    for (const creation* of = c->of; of != nullptr; of = of->of)
        if (of->gone || of->counts)
            return true;
    return false;
}

} // namespace

text* fill_in(const char* pattern, const char* object, const char* part, const char* definition, const char* extra) {
    StringInfoData out;
    initStringInfo(&out);
    for (const char* c = pattern; *c != '\0'; ++c) {
        const char* close = *c == '{' ? strchr(c, '}') : nullptr;
        if (close == nullptr) {
            appendStringInfoChar(&out, *c);
            continue;
        }
        if (c[1] == '2' && definition == nullptr)
            appendBinaryStringInfo(&out, c + 3, static_cast<int>(close - c - 3));
        else
            appendStringInfoString(&out, c[1] == '0' ? object : c[1] == '1' ? part : definition);
        c = close;
    }
    if (extra != nullptr)
        appendStringInfoString(&out, extra);
    return bridge::to_text({out.data, static_cast<size_t>(out.len)});
}

void review_migration(bridge::rowset& rows, std::string_view up, const std::string_view* down) {
    review r = {};
    r.rows = &rows;
    r.memory = AllocSetContextCreate(CurrentMemoryContext, "sor review", ALLOCSET_DEFAULT_SIZES);
    r.scratch = AllocSetContextCreate(r.memory, "sor statement", ALLOCSET_DEFAULT_SIZES);
    HASHCTL control = {};
    control.keysize = key_size;
    control.entrysize = sizeof(creation);
    control.hcxt = r.memory;
    r.creations = hash_create("sor creations", 256, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
    const MemoryContext outer = MemoryContextSwitchTo(r.memory);
    scope_reader header(up);
    std::string_view declared_name;
    while (header.next(declared_name))
        r.scope = lappend(r.scope, bridge::to_cstring(declared_name));
    if (read(r, up) == 0)
        row(r, 0, 0, {rule::empty_migration, "", "", nullptr, nullptr});
    r.down = true;
    if (down == nullptr) {
        row(r, 0, 0, {rule::missing_downgrade, "", "", nullptr, nullptr});
    } else if (read(r, *down) == 0) {
        row(r, 0, 0, {rule::empty_downgrade, "", "", nullptr, nullptr});
    } else {
        ListCell* cell;
        if (!r.opaque)
            foreach (cell, r.created) {
                const auto* c = static_cast<creation*>(lfirst(cell));
                if (!c->gone && !c->in_down && c->counts && !goes_with_another(c))
                    row(r, 0, 0, {rule::incomplete_downgrade, c->name, "", nullptr, nullptr});
            }
        if (r.lost != nullptr)
            row(r, 0, 0, {rule::irreversible_data, r.lost, "", nullptr, nullptr});
    }
    MemoryContextSwitchTo(outer);
    MemoryContextDelete(r.memory);
}

} // namespace sor::migrations
