#include "review/statements.hpp"

namespace sor::review {

namespace {

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

} // namespace

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

namespace {

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

} // namespace

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

namespace {

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

} // namespace

void query(review& r, Node* node) {
    visit(node, &r);
}

namespace {

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

} // namespace

bool guards(const char* variable) {
    return is_one_of(variable, {"event_triggers", "allow_system_table_mods", "ignore_system_indexes",
                                "session_preload_libraries", "local_preload_libraries", "shared_preload_libraries",
                                "zero_damaged_pages", "fsync", "full_page_writes"}) ||
           pg_strncasecmp(variable, "sor.", 4) == 0;
}

namespace {

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

} // namespace

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

} // namespace sor::review
