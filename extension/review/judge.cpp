#include "review/judge.hpp"

#include "bridge/digest.hpp"
#include "bridge/subtransaction.hpp"
#include "review/statements.hpp"

extern "C" {
#include "utils/hsearch.h"
}

namespace sor::review {

using bridge::in;

namespace {

void transaction(review& r, const TransactionStmt* s) {
    switch (s->kind) {
    case TRANS_STMT_BEGIN:
    case TRANS_STMT_START:
        r.in_block = true;
        break;
    case TRANS_STMT_COMMIT:
        r.in_block = false;
        r.path = r.session_path;
        ++r.transaction;
        forget_temporary(r, false);
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
        forget_all(r);
        r.in_block = r.in_block && s->kind == TRANS_STMT_ROLLBACK_TO;
        ++r.transaction;
        r.path = r.session_path = {NIL, false};
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
    if (s->is_vacuumcmd)
        leaves_transaction(r);
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
    const search_path outer = r.path;
    if (own == nullptr)
        r.path = {NIL, false};
    else if (s->schemaElts != NIL) {
        const MemoryContext statement_memory = MemoryContextSwitchTo(r.memory);
        r.path.schemas = lcons(pstrdup(own), list_copy(outer.schemas));
        MemoryContextSwitchTo(statement_memory);
    }
    ListCell* cell;
    foreach (cell, s->schemaElts)
        statement(r, static_cast<Node*>(lfirst(cell)));
    r.path = outer;
}

// Whether the statement waits for a strong lock of something that others use.
bool waits(const review& r, Node* node) {
    switch (nodeTag(node)) {
    case T_AlterTableStmt:
    case T_IndexStmt:
    case T_DropStmt:
    case T_TruncateStmt:
    case T_RenameStmt:
    case T_AlterObjectSchemaStmt:
    case T_CreateTrigStmt:
    case T_CreatePolicyStmt:
    case T_AlterPolicyStmt:
    case T_RuleStmt:
    case T_LockStmt:
    case T_ClusterStmt:
    case T_ReindexStmt:
    case T_RefreshMatViewStmt:
        break;
    default:
        return false;
    }
    ListCell* cell;
    foreach (cell, r.findings)
        switch (static_cast<const finding*>(lfirst(cell))->which) {
        case rule::new_object:
        case rule::undo_created:
        case rule::nothing_to_drop:
        case rule::create_object:
            break;
        default:
            return true;
        }
    return false;
}

// The statements of a text that another statement executes; false when it is not to be told what they are.
bool statements_of(review& r, const char* text, bool in_block) {
    List* statements = NIL;
    if (bridge::attempt([&] { statements = bridge::parse_sql(text); }) != nullptr)
        return false;
    ListCell* cell;
    foreach (cell, statements) {
        Node* node = static_cast<RawStmt*>(lfirst(cell))->stmt;
        if (in_block && IsA(node, SelectStmt)) { // into a variable, even where it reads like a table
            auto* first = reinterpret_cast<SelectStmt*>(node);
            while (first->larg != nullptr)
                first = first->larg;
            first->intoClause = nullptr;
        }
        statement(r, node);
    }
    return true;
}

// The text of an EXECUTE of PL/pgSQL that is a constant; null: it is put together when it runs.
const char* constant_command(const char* expression) {
    List* statements = NIL;
    if (bridge::attempt([&] { statements = bridge::parse_sql(psprintf("select %s", expression)); }) != nullptr ||
        list_length(statements) != 1)
        return nullptr;
    auto* s = reinterpret_cast<SelectStmt*>(linitial_node(RawStmt, statements)->stmt);
    if (!IsA(s, SelectStmt) || list_length(s->targetList) != 1 || s->fromClause != NIL || s->intoClause != nullptr)
        return nullptr;
    Node* value = linitial_node(ResTarget, s->targetList)->val;
    return IsA(value, A_Const) && !reinterpret_cast<A_Const*>(value)->isnull &&
                   IsA(&reinterpret_cast<A_Const*>(value)->val, String)
               ? strVal(&reinterpret_cast<A_Const*>(value)->val)
               : nullptr;
}

bool read_block(review& r, std::string_view body) {
    block_part part;
    block_reader::outcome outcome;
    block_reader check(body);
    while ((outcome = check.next(part)) == block_reader::outcome::part)
        CHECK_FOR_INTERRUPTS();
    if (outcome != block_reader::outcome::end)
        return false;
    const std::string_view whole = r.text;
    const bool outer = r.variables;
    r.variables = outer || check.has_variables();
    bool readable = true;
    block_reader parts(body);
    while (readable && parts.next(part) == block_reader::outcome::part) {
        const char* text = bridge::to_cstring(body.substr(part.begin, part.end - part.begin));
        if (part.kind == block_part::of::command)
            text = constant_command(text);
        else if (part.kind != block_part::of::statement)
            text = psprintf("select %s", text);
        r.text = text ? std::string_view(text) : whole;
        readable = text != nullptr && statements_of(r, text, part.kind != block_part::of::command);
    }
    r.variables = outer;
    r.text = whole;
    return readable;
}

void do_block(review& r, const DoStmt* s) {
    const char* body = nullptr;
    bool readable = true;
    ListCell* cell;
    foreach (cell, s->args) {
        const auto* o = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(o->defname, "as") == 0)
            body = strVal(o->arg);
        else
            readable = strcmp(o->defname, "language") == 0 && strcmp(strVal(o->arg), "plpgsql") == 0;
    }
    const int before = list_length(r.findings);
    const bool outer = r.conditional;
    r.conditional = true;
    readable = readable && body != nullptr && read_block(r, body);
    r.conditional = outer;
    if (!readable)
        add(r, rule::do_block);
    else if (list_length(r.findings) == before)
        add(r, rule::read_only);
}

namespace {

// Dropping the migration's table would drop a sequence that was there before.
void owned_sequence(review& r, const List* column) {
    const int length = list_length(column);
    if (length < 2) // NONE
        return;
    const creation* c = length == 2 ? find(r, kind::relation, nullptr, strVal(linitial(column)))
                                    : find(r, kind::relation, strVal(list_nth(column, length - 3)),
                                           strVal(list_nth(column, length - 2)));
    if (c != nullptr)
        const_cast<creation*>(c)->gone = true;
}

} // namespace

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
        if (const target t = look(r, reinterpret_cast<CreateForeignTableStmt*>(node)->base.relation); t.own != nullptr)
            const_cast<creation*>(t.own)->cascades = true; // its rows are another database's
        break;
    case T_CreateTableAsStmt: {
        const auto* s = reinterpret_cast<CreateTableAsStmt*>(node);
        touch(r, named(s->into->rel));
        if (IsA(s->query, ExecuteStmt))
            statement(r, s->query);
        else
            query(r, s->query);
        if (!s->if_not_exists || !exists_already(r, s->into->rel)) {
            creation* made = relation_created(r, s->into->rel);
            if (made != nullptr && s->objtype == OBJECT_MATVIEW)
                made->calls = calls_functions(s->query, &r);
            if (s->into->onCommit == ONCOMMIT_DROP)
                goes_at_commit(r, made);
        }
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
            r.views_replaced = true;
            const char* schema = schema_of(r, n.schema, n.own);
            const view_facts v = facts_of_view(find_relation(schema, n.own));
            if (v.has_options && s->options == NIL && s->withCheckOption == NO_CHECK_OPTION)
                add(r, rule::view_security, n.shown);
            const auto* q = reinterpret_cast<const SelectStmt*>(s->query);
            if (v.filters || q->whereClause != nullptr || q->havingClause != nullptr || q->limitCount != nullptr ||
                q->op != SETOP_NONE)
                add(r, rule::replace_filter, n.shown);
            add(r, rule::replace_view, n.shown);
            if (creation* c = create(r, kind::relation, "*", n.own, "", n.shown, nullptr, false))
                c->calls = calls_functions(s->query, &r);
        } else {
            creation* made = relation_created(r, s->view);
            if (made != nullptr) {
                made->calls = calls_functions(s->query, &r);
                made->cascades = true; // its rows are those of what it reads
            }
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
            if (strcmp(option, "owned_by") == 0 && t.own == nullptr)
                owned_sequence(r, reinterpret_cast<List*>(static_cast<DefElem*>(lfirst(cell))->arg));
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
    case T_CreateDomainStmt: {
        const auto* s = reinterpret_cast<CreateDomainStmt*>(node);
        create_type(r, s->domainname);
        if (creation* c = find(r, kind::type, named(s->domainname).schema, named(s->domainname).own))
            c->is_domain = true;
        foreach (cell, s->constraints) // runs whenever a value is made, wherever that is
            if (calls_own(static_cast<Constraint*>(lfirst(cell))->raw_expr, &r))
                add(r, rule::function_call, named(s->domainname).shown);
        break;
    }
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
        else if (s->kind == OBJECT_AGGREGATE)
            create_aggregate(r, s);
        else if (s->kind == OBJECT_COLLATION)
            create_other(r, psprintf("object %s", n.shown), n.shown);
        else if (s->kind == OBJECT_OPERATOR)
            create(r, kind::other, nullptr, psprintf("operator %s", n.own), "", n.shown, nullptr, false);
        if (s->kind == OBJECT_OPERATOR && is_server_function(n.own, true))
            add(r, rule::shadow_builtin, n.shown);
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
    case T_CreateOpFamilyStmt:
        add(r, rule::create_object, "an operator family");
        break;
    case T_CreateOpClassStmt:
    case T_AlterOpFamilyStmt:
    case T_CreateConversionStmt:
    case T_CreateTransformStmt:
        add(r, rule::create_support);
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
        r.path = r.session_path = login_path(r);
        forget_temporary(r, true);
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
            add(r, t.own ? rule::new_object : is_bookkeeping(t) ? rule::bookkeeping : rule::lock_table, t.n.shown);
        }
        break;
    case T_CommentStmt:
        add(r, rule::comment);
        break;
    case T_SecLabelStmt:
        add(r, rule::security_label, shown(reinterpret_cast<SecLabelStmt*>(node)->object));
        break;
    case T_DoStmt:
        do_block(r, reinterpret_cast<DoStmt*>(node));
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
        if (concurrently)
            leaves_transaction(r);
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
            t.own && t.own->calls ? rule::function_call
            : t.own               ? rule::new_object
            : s->skipData         ? rule::empty_materialized_view
            : s->concurrent       ? rule::maintenance
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
    if (r.no_lock_timeout && waits(r, node)) {
        add(r, rule::no_lock_timeout, "lock_timeout");
        r.no_lock_timeout = false;
    }
    if (r.enum_values != NIL && !IsA(node, DoStmt) && !IsA(node, AlterEnumStmt) && !IsA(node, CommentStmt))
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
    bool destroys = false;
    foreach (cell, r.findings) {
        const auto& f = *static_cast<finding*>(lfirst(cell));
        row(r, r.statement_no, r.line, f);
        destroys = destroys || text_of(f.which).level == severity::destructive;
    }
    r.findings = NIL;
    if (destroys) // what else a name comes to mean is reviewed again before it runs
        appendBinaryStringInfo(r.destroyed, r.meanings->data, r.meanings->len);
    resetStringInfo(r.meanings);
}

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
    r.conditional = r.no_lock_timeout = false;
    r.path = r.session_path = login_path(r);
    forget_temporary(r, true); // another session runs the downgrade
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

namespace {

char meanings_read[2 * bridge::digest_size + 1]; // empty: nothing had to be looked for

} // namespace

const char* meanings_of_last_review() {
    return meanings_read;
}

void review_migration(bridge::rowset& rows, std::string_view up, const std::string_view* down, std::string_view name) {
    review r = {};
    meanings_read[0] = '\0';
    r.rows = &rows;
    r.memory = AllocSetContextCreate(CurrentMemoryContext, "sor review", ALLOCSET_DEFAULT_SIZES);
    r.scratch = AllocSetContextCreate(r.memory, "sor statement", ALLOCSET_DEFAULT_SIZES);
    HASHCTL control = {};
    control.keysize = key_size;
    control.entrysize = sizeof(creation);
    control.hcxt = r.memory;
    r.creations = hash_create("sor creations", 256, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
    const MemoryContext outer = MemoryContextSwitchTo(r.memory);
    r.meanings = makeStringInfo();
    r.destroyed = makeStringInfo();
    scope_reader header(up);
    std::string_view declared_name;
    while (header.next(declared_name))
        r.scope = lappend(r.scope, bridge::to_cstring(declared_name));
    if (r.scope == NIL)
        read_name(r, name);
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
    if (r.destroyed->len > 0) {
        unsigned char digest[bridge::digest_size];
        bridge::sha256(r.destroyed->data, static_cast<size_t>(r.destroyed->len), digest);
        strlcpy(meanings_read, bridge::to_hex(digest), sizeof meanings_read);
    }
    MemoryContextSwitchTo(outer);
    MemoryContextDelete(r.memory);
}

} // namespace sor::review
