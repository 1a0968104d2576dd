#include "review/statements.hpp"

namespace sor::review {

namespace {

bool depends_on_something(Node* node, void* unused) {
    if (node == nullptr)
        return false;
    switch (nodeTag(node)) {
    case T_ColumnRef:
    case T_FuncCall:
    case T_SubLink:
    case T_ParamRef:
    case T_SQLValueFunction:
    case T_CurrentOfExpr:
        return true;
    default:
        return bridge::walk(node, depends_on_something, unused);
    }
}

} // namespace

// A WHERE that lets every row through: none, a constant (whatever its value), x = x.
bool always_true(Node* where) {
    check_stack_depth();
    if (where == nullptr || !depends_on_something(where, nullptr))
        return true;
    if (IsA(where, A_Expr)) {
        const auto* e = reinterpret_cast<A_Expr*>(where);
        return e->kind == AEXPR_OP && e->lexpr != nullptr && e->rexpr != nullptr &&
               is_one_of(strVal(llast(e->name)), {"=", ">=", "<="}) && equal(e->lexpr, e->rexpr);
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

// Whether the migration made a function of this name, in whatever schema, that may write.
bool is_own_code(const review& r, const char* function) {
    const creation* c = find(r, kind::routine_name, "*", function);
    return c != nullptr && !c->harmless;
}

// The function, or what else the node names, that may write when it is computed; null: none. only_own: of the
// migration's alone.
const char* may_run(const review& r, Node* node, bool only_own) {
    const List* names = NIL;
    switch (nodeTag(node)) {
    case T_FuncCall: {
        names = reinterpret_cast<FuncCall*>(node)->funcname;
        const char* own = strVal(llast(names));
        if (is_own_code(r, own))
            return own;
        if (only_own)
            return nullptr;
        const effect e = effect_of(names);
        return e == effect::none || (e == effect::unknown && find(r, kind::routine_name, "*", own) != nullptr) ? nullptr
                                                                                                               : own;
    }
    case T_A_Expr:
        names = reinterpret_cast<A_Expr*>(node)->name;
        break;
    case T_SortBy:
        names = reinterpret_cast<SortBy*>(node)->useOp;
        break;
    case T_ColumnRef:
        names = reinterpret_cast<ColumnRef*>(node)->fields;
        names = list_length(names) > 1 ? names : NIL;
        break;
    case T_A_Indirection:
        names = reinterpret_cast<A_Indirection*>(node)->indirection;
        break;
    default:
        return nullptr;
    }
    const bool is_operator = IsA(node, A_Expr) || IsA(node, SortBy);
    ListCell* cell;
    foreach (cell, names) {
        if (!IsA(lfirst(cell), String))
            continue;
        const char* one = strVal(lfirst(cell));
        if (is_operator) {
            if (find(r, kind::other, nullptr, psprintf("operator %s", one)) != nullptr ||
                (!only_own && runs_volatile_function(one)))
                return one;
        } else if (is_own_code(r, one) || (!only_own && is_volatile_function_of_rows(one))) {
            return one; // (row).function
        }
    }
    return nullptr;
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
        auto* first = static_cast<Node*>(linitial(call->args));
        const char* sequence = constant_text(first);
        if (IsA(first, FuncCall)) {
            const auto* inner = reinterpret_cast<FuncCall*>(first);
            if (strcmp(strVal(llast(inner->funcname)), "pg_get_serial_sequence") == 0 && inner->args != NIL)
                sequence = constant_text(static_cast<Node*>(linitial(inner->args))); // its table
        }
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
    if (may_run(r, reinterpret_cast<Node*>(call), false) != nullptr)
        add(r, rule::function_call, n.shown);
}

// A trigger that the migration made runs at its own statements too.
void fires(review& r, const target& t, const char* event) {
    if (find(r, kind::trigger, t.n.schema, t.n.own, event) != nullptr)
        add(r, rule::function_call, psprintf("a trigger of %s", t.n.shown));
}

} // namespace

// Whether a query writes, or runs functions that may.
bool calls_functions(Node* node, void* context) {
    if (node == nullptr)
        return false;
    switch (nodeTag(node)) {
    case T_InsertStmt:
    case T_UpdateStmt:
    case T_DeleteStmt:
    case T_MergeStmt:
        return true;
    default:
        return may_run(*static_cast<review*>(context), node, false) != nullptr ||
               bridge::walk(node, calls_functions, context);
    }
}

bool calls_own(Node* node, void* context) {
    return node != nullptr &&
           (may_run(*static_cast<review*>(context), node, true) != nullptr || bridge::walk(node, calls_own, context));
}

namespace {
// Functions that are not known here are left out: what is said of the statement anyway has to do.
bool runs(Node* node, void* context) {
    if (node == nullptr)
        return false;
    auto& r = *static_cast<review*>(context);
    const char* what = may_run(r, node, true);
    if (what == nullptr && IsA(node, FuncCall) &&
        effect_of(reinterpret_cast<FuncCall*>(node)->funcname) == effect::writes)
        what = strVal(llast(reinterpret_cast<FuncCall*>(node)->funcname));
    if (what != nullptr)
        add(r, rule::function_call, quote_identifier(what));
    return bridge::walk(node, runs, context);
}
} // namespace

void run_expression(review& r, Node* node) {
    runs(node, &r);
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

// Is the column null wherever the WHERE lets a row through?
bool only_where_null(Node* where, const char* column, const RangeVar* relation, bool alone) {
    check_stack_depth();
    if (where == nullptr)
        return false;
    if (IsA(where, BoolExpr) && reinterpret_cast<BoolExpr*>(where)->boolop == AND_EXPR) {
        ListCell* cell;
        foreach (cell, reinterpret_cast<BoolExpr*>(where)->args)
            if (only_where_null(static_cast<Node*>(lfirst(cell)), column, relation, alone))
                return true;
        return false;
    }
    if (!IsA(where, NullTest))
        return false;
    const auto* test = reinterpret_cast<NullTest*>(where);
    if (test->nulltesttype != IS_NULL || !IsA(test->arg, ColumnRef))
        return false;
    const List* fields = reinterpret_cast<ColumnRef*>(test->arg)->fields;
    const char* of = relation->alias ? relation->alias->aliasname : relation->relname;
    if (!IsA(llast(fields), String) || strcmp(strVal(llast(fields)), column) != 0)
        return false;
    return list_length(fields) == 1 ? alone : list_length(fields) == 2 && strcmp(strVal(linitial(fields)), of) == 0;
}

bool fills_nulls(review& r, const target& t, const List* assignments, Node* where, const RangeVar* relation,
                 bool alone) {
    if (r.variables)
        return false;
    ListCell* cell;
    foreach (cell, assignments) {
        const auto* a = static_cast<ResTarget*>(lfirst(cell));
        if (a->name == nullptr || a->indirection != NIL ||
            (!own_part(r, t, kind::column, a->name) && !only_where_null(where, a->name, relation, alone)))
            return false;
    }
    return true;
}

// Whether rows of the migration's table are its own alone.
bool own_rows(const target& t) {
    return t.own != nullptr && !t.own->cascades;
}

// A statement by which a tool that writes migrations records that it made this one.
bool keeps_books(const target& t, Node* where) {
    return t.own == nullptr && is_bookkeeping(t) && !always_true(where);
}

bool visit(Node* node, void* context);

} // namespace

// A table in which a tool keeps which migrations were made.
bool is_bookkeeping(const target& t) {
    return (t.n.schema == nullptr || strcmp(t.n.schema, "sor") != 0) &&
           is_one_of(t.n.own,
                     {"alembic_version", "schema_migrations", "django_migrations", "flyway_schema_history",
                      "goose_db_version", "__diesel_schema_migrations", "_prisma_migrations", "_sqlx_migrations",
                      "knex_migrations", "__EFMigrationsHistory", "SequelizeMeta", "databasechangelog",
                      "databasechangeloglock", "refinery_schema_history", "gorp_migrations", "pgmigrations",
                      "atlas_schema_revisions", "__drizzle_migrations", "ar_internal_metadata"});
}

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
    case T_A_Expr:
    case T_SortBy:
    case T_ColumnRef:
    case T_A_Indirection:
        if (const char* what = may_run(r, node, false))
            add(r, rule::function_call, what);
        break;
    case T_RangeVar: {
        const auto* v = reinterpret_cast<RangeVar*>(node);
        const creation* c = find(r, kind::relation, v->schemaname, v->relname);
        if (c == nullptr)
            c = find(r, kind::relation, "*", v->relname); // a view that was given another query
        if (c != nullptr && c->calls)
            add(r, rule::function_call, psprintf("a function of the view %s", c->name));
        break;
    }
    case T_InsertStmt: {
        const auto* s = reinterpret_cast<InsertStmt*>(node);
        const target t = look(r, s->relation);
        fires(r, t, "(insert)");
        if (t.own != nullptr &&
            (own_rows(t) || s->onConflictClause == nullptr || s->onConflictClause->action != ONCONFLICT_UPDATE))
            add(r, rule::new_object, t.n.shown);
        else if (s->onConflictClause != nullptr && s->onConflictClause->action == ONCONFLICT_UPDATE &&
                 (t.own != nullptr || !fills_nulls(r, t, s->onConflictClause->targetList,
                                                   s->onConflictClause->whereClause, s->relation, false)))
            add(r, rule::upsert_rows, t.n.shown);
        else
            add(r, rule::insert_rows, t.n.shown);
        break;
    }
    case T_UpdateStmt: {
        const auto* s = reinterpret_cast<UpdateStmt*>(node);
        const target t = look(r, s->relation);
        fires(r, t, "(update)");
        if (own_rows(t))
            add(r, rule::new_object, t.n.shown);
        else if (t.own == nullptr && all_new(r, t, s->targetList))
            add(r, rule::backfill, t.n.shown, "", size_of(t));
        else if (keeps_books(t, s->whereClause))
            add(r, rule::bookkeeping, t.n.shown);
        else if (t.own == nullptr &&
                 fills_nulls(r, t, s->targetList, s->whereClause, s->relation, s->fromClause == NIL))
            add(r, rule::fill_nulls, t.n.shown, "", size_of(t));
        else
            add(r, always_true(s->whereClause) ? rule::update_without_where : rule::update_rows, t.n.shown, "",
                size_of(t));
        break;
    }
    case T_DeleteStmt: {
        const auto* s = reinterpret_cast<DeleteStmt*>(node);
        const target t = look(r, s->relation);
        fires(r, t, "(delete)");
        if (own_rows(t))
            add(r, rule::new_object, t.n.shown);
        else if (keeps_books(t, s->whereClause))
            add(r, rule::bookkeeping, t.n.shown);
        else
            add(r, always_true(s->whereClause) ? rule::delete_without_where : rule::delete_rows, t.n.shown, "",
                size_of(t));
        break;
    }
    case T_MergeStmt: {
        const auto* s = reinterpret_cast<MergeStmt*>(node);
        const target t = look(r, s->relation);
        bool adds = true;
        ListCell* cell;
        foreach (cell, s->mergeWhenClauses) {
            const CmdType does = static_cast<MergeWhenClause*>(lfirst(cell))->commandType;
            fires(r, t, does == CMD_INSERT ? "(insert)" : does == CMD_UPDATE ? "(update)" : "(delete)");
            adds = adds && (does == CMD_INSERT || does == CMD_NOTHING);
        }
        add(r, own_rows(t) ? rule::new_object : adds ? rule::insert_rows : rule::merge_rows, t.n.shown);
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

// value null: to its default.
void setting(review& r, const char* variable, const char* value, bool local) {
    bool on = false;
    const bool boolean = value != nullptr && parse_bool(value, &on);
    if (is_one_of(variable, {"search_path"})) {
        r.path = value == nullptr ? login_path(r) : path_of(r, value);
        if (r.conditional)
            r.path = {NIL, false};
        if (!local)
            r.session_path = r.path;
        add(r, rule::session_setting, "search_path");
    } else if (is_one_of(variable, {"session_replication_role"})) {
        add(r,
            value == nullptr || is_one_of(value, {"origin", "default"}) ? rule::session_setting
                                                                        : rule::replication_role,
            variable);
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
        r.no_lock_timeout = value != nullptr && strtol(value, nullptr, 10) <= 0;
        add(r, rule::session_setting, variable);
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
        r.path = r.session_path = login_path(r);
        add(r, rule::session_setting, "all settings");
        return;
    case VAR_SET_VALUE: {
        // as it would stand in the settings: a list of names, or one value
        StringInfoData value;
        initStringInfo(&value);
        ListCell* cell;
        foreach (cell, s->args) {
            const char* one = constant_text(static_cast<Node*>(lfirst(cell)));
            const char* shown_one = one == nullptr ? ""
                                    : list_length(s->args) > 1 || is_one_of(s->name, {"search_path"})
                                        ? quote_identifier(one)
                                        : one;
            appendStringInfo(&value, "%s%s", value.len ? ", " : "", shown_one);
        }
        setting(r, s->name, value.data, s->is_local);
        return;
    }
    default:
        setting(r, s->name, nullptr, s->is_local);
    }
}

} // namespace sor::review
