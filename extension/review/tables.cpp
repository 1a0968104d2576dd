#include "review/statements.hpp"

extern "C" {
#include "catalog/pg_trigger.h"
#include "nodes/makefuncs.h"
}

namespace sor::review {

namespace {

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

// Whether a column or a constraint has expressions that run functions which the migration makes.
bool runs_own(review& r, Node* element) {
    ListCell* cell;
    if (IsA(element, ColumnDef)) {
        const auto* c = reinterpret_cast<ColumnDef*>(element);
        foreach (cell, c->constraints)
            if (runs_own(r, static_cast<Node*>(lfirst(cell))))
                return true;
    } else if (IsA(element, Constraint)) {
        return calls_own(reinterpret_cast<Constraint*>(element)->raw_expr, &r);
    }
    return false;
}

// What follows is run by every row that the migration itself writes.
void runs_at_writes(review& r, const target& t) {
    part_created(r, t, kind::trigger, "(insert)", false);
    part_created(r, t, kind::trigger, "(update)", false);
}

// Rows of a table that exists go, or change, with those of the migration's table that they refer to.
void refers(review& r, const Constraint* c) {
    const auto changes = [](char action) {
        return action == FKCONSTR_ACTION_CASCADE || action == FKCONSTR_ACTION_SETNULL ||
               action == FKCONSTR_ACTION_SETDEFAULT;
    };
    if (c->contype == CONSTR_FOREIGN && (changes(c->fk_del_action) || changes(c->fk_upd_action)))
        if (creation* other = find(r, kind::relation, c->pktable->schemaname, c->pktable->relname))
            other->cascades = true;
}

} // namespace

void create_table(review& r, const CreateStmt* s) {
    if (s->if_not_exists && exists_already(r, s->relation)) {
        touch(r, named(s->relation));
        add(r, rule::create_table, named(s->relation).shown, "", " It exists already, so nothing is done.");
        return;
    }
    const name n = named(s->relation);
    touch(r, n);
    creation* made = relation_created(r, s->relation);
    if (s->oncommit == ONCOMMIT_DROP)
        goes_at_commit(r, made);
    if (s->relation->relpersistence == RELPERSISTENCE_UNLOGGED)
        add(r, rule::unlogged_table, n.shown);
    ListCell* cell;
    if (s->partbound != nullptr && s->inhRelations != NIL) {
        const auto* v = static_cast<RangeVar*>(linitial(s->inhRelations));
        const creation* own_parent = find(r, kind::relation, v->schemaname, v->relname);
        if (made != nullptr && own_parent != nullptr)
            made->of = own_parent;
        const Oid parent = find_relation_of(r, v->schemaname, v->relname);
        add(r,
            own_parent != nullptr           ? rule::create_table
            : has_default_partition(parent) ? rule::scan_default_partition
                                            : rule::create_partition,
            n.shown, named(v).shown);
    } else {
        add(r, rule::create_table, n.shown);
    }
    const target t = {n, InvalidOid, made};
    foreach (cell, s->tableElts) {
        auto* element = static_cast<Node*>(lfirst(cell));
        if (IsA(element, ColumnDef))
            own_sequences(r, t, reinterpret_cast<ColumnDef*>(element));
        if (runs_own(r, element))
            runs_at_writes(r, t);
    }
}

namespace {

void add_column(review& r, const target& t, const AlterTableCmd* cmd) {
    auto* c = reinterpret_cast<ColumnDef*>(cmd->def);
    const char* part = column_name(c->colname);
    if (cmd->missing_ok && column_exists(t.oid, c->colname)) {
        add(r, rule::add_column, t.n.shown, part, " It exists already, so nothing is done.");
        return;
    }
    part_created(r, t, kind::column, c->colname, t.own == nullptr);
    own_sequences(r, t, c);
    if (runs_own(r, cmd->def))
        runs_at_writes(r, t);
    if (t.own != nullptr) {
        add(r, rule::new_object, t.n.shown);
        return;
    }
    Node* default_value = nullptr;
    bool required = false, unique = false, check = false, reference = false, identity = false, generated = false;
    ListCell* cell;
    foreach (cell, c->constraints) {
        const auto* one = static_cast<Constraint*>(lfirst(cell));
        run_expression(r, one->raw_expr);
        refers(r, one);
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
            generated = !bridge::is_virtual(one);
            break;
        default:
            break;
        }
    }
    const bool null_default =
        default_value != nullptr && IsA(default_value, A_Const) && reinterpret_cast<A_Const*>(default_value)->isnull;
    if (null_default)
        default_value = nullptr;
    const int before = list_length(r.findings);
    const char* size = size_of(t);
    if (is_serial(c->typeName))
        add(r, rule::add_serial_column, t.n.shown, part, size);
    else if (identity)
        add(r, rule::add_identity_column, t.n.shown, part, size);
    else if (generated)
        add(r, rule::add_generated_column, t.n.shown, part, size);
    else if (default_value != nullptr && is_volatile(default_value))
        add(r, rule::add_column_volatile_default, t.n.shown, part, size);
    else if (is_constrained_domain(c->typeName, r.path.schemas))
        add(r, rule::add_constrained_domain_column, t.n.shown, part, size);
    else if (required && default_value == nullptr)
        add(r, rule::add_required_column, t.n.shown, part);
    if (unique)
        add(r, rule::add_column_unique, t.n.shown, part, size);
    if (check)
        add(r, rule::add_column_check, t.n.shown, part, size);
    if (reference && (default_value != nullptr || generated))
        add(r, rule::add_column_reference, t.n.shown, part, size);
    if (list_length(r.findings) == before)
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

// A column of the list that the migration makes: what is of such a column goes with it.
const creation* own_column(const review& r, const target& t, const List* columns) {
    ListCell* cell;
    foreach (cell, columns) {
        auto* one = static_cast<Node*>(lfirst(cell));
        const char* column = IsA(one, IndexElem) ? reinterpret_cast<IndexElem*>(one)->name : strVal(one);
        if (column != nullptr)
            if (const creation* c = find(r, kind::column, t.n.schema, t.n.own, column))
                return c;
    }
    return nullptr;
}

void add_constraint(review& r, const target& t, const Constraint* c) {
    const char* part = quote_identifier(c->conname ? c->conname : default_name(t, c));
    const List* columns = c->contype == CONSTR_FOREIGN ? c->fk_attrs : c->keys;
    creation* made = create(r, kind::constraint, t.n.schema, t.n.own, c->conname ? c->conname : "",
                            psprintf("%s of %s", part, t.n.shown), t.own ? t.own : own_column(r, t, columns),
                            c->conname != nullptr && t.own == nullptr);
    if (c->indexname != nullptr) // becomes the constraint's
        if (creation* index = find(r, kind::relation, t.n.schema, c->indexname))
            index->of = made ? made : t.own;
    if (made != nullptr)
        made->not_valid = c->skip_validation;
    if (calls_own(c->raw_expr, &r))
        runs_at_writes(r, t);
    if (t.own != nullptr) {
        add(r, rule::new_object, t.n.shown);
        return;
    }
    run_expression(r, c->raw_expr);
    run_expression(r, c->where_clause);
    ListCell* cell;
    foreach (cell, c->exclusions) {
        const auto* index = static_cast<IndexElem*>(linitial(static_cast<List*>(lfirst(cell))));
        run_expression(r, index->expr);
    }
    refers(r, c);
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

// Whether every value of the column is still in what USING makes of it.
bool keeps_all(const review& r, Node* expression, const char* column, const TypeName* to) {
    check_stack_depth();
    switch (nodeTag(expression)) {
    case T_ColumnRef: {
        Node* last = static_cast<Node*>(llast(reinterpret_cast<ColumnRef*>(expression)->fields));
        return IsA(last, String) && strcmp(strVal(last), column) == 0;
    }
    case T_TypeCast: {
        const auto* cast = reinterpret_cast<TypeCast*>(expression);
        const bool whole = same_type(cast->typeName, to, r.path.schemas) ||
                           (is_one_of(type_text(cast->typeName), {"text"}) && cast->typeName->typmods == NIL);
        return whole && keeps_all(r, cast->arg, column, to);
    }
    case T_FuncCall: {
        const auto* call = reinterpret_cast<FuncCall*>(expression);
        const char* function = strVal(llast(call->funcname));
        const bool whole =
            (is_one_of(function, {"timezone"}) && list_length(call->args) == 2 && IsA(linitial(call->args), A_Const)) ||
            (is_one_of(function, {"to_timestamp", "to_json", "to_jsonb"}) && list_length(call->args) == 1);
        return whole && keeps_all(r, static_cast<Node*>(llast(call->args)), column, to);
    }
    case T_A_ArrayExpr: {
        const auto* array = reinterpret_cast<A_ArrayExpr*>(expression);
        return list_length(array->elements) == 1 &&
               keeps_all(r, static_cast<Node*>(linitial(array->elements)), column, to);
    }
    default:
        return false;
    }
}

void alter_column_type(review& r, const target& t, const AlterTableCmd* cmd) {
    const auto* def = reinterpret_cast<ColumnDef*>(cmd->def);
    type_change change = change_of_type(t.oid, cmd->name, def->typeName, r.path.schemas);
    const name type = named(def->typeName->names);
    if (creation* c = find(r, kind::type, type.schema, type.own)) { // not the one that the catalog may have
        change = c->is_domain ? type_change::narrows : type_change::rewrites;
        c->cascades = true;
        const char* schema = type.schema ? type.schema : creation_schema(r);
        if (creation* of = schema ? find(r, kind::schema, nullptr, schema) : nullptr)
            of->cascades = true;
    } else if (!type_is_known(def->typeName, r.path.schemas)) {
        r.columns_of_unknown_type = true;
    }
    if (def->collClause != nullptr && change == type_change::widens)
        change = type_change::rewrites;  // its indexes
    Node* expression = def->raw_default; // USING
    if (expression != nullptr) {
        query(r, expression);
        Node* inner = expression;
        while (IsA(inner, TypeCast))
            inner = reinterpret_cast<TypeCast*>(inner)->arg;
        if (!keeps_all(r, expression, cmd->name, def->typeName))
            change = type_change::narrows;
        else if (!IsA(inner, ColumnRef) && change != type_change::narrows)
            change = type_change::rewrites;
        else if (!IsA(inner, ColumnRef) && is_one_of(type_text(def->typeName), {"timestamp", "timestamptz"}))
            change = type_change::rewrites; // a moment as it is seen in another zone
    }
    static constexpr rule rule_of[] = {rule::widen_column_type, rule::change_column_type, rule::narrow_column_type};
    add(r, rule_of[static_cast<int>(change)], t.n.shown, column_name(cmd->name),
        change == type_change::widens ? nullptr : size_of(t));
}

} // namespace

// Is the trigger (null: one of all) sor's own?
bool is_guard(const target& t, const char* trigger) {
    return (trigger != nullptr && strncmp(trigger, "sor_", 4) == 0) || has_sor_trigger(t.oid, trigger);
}

namespace {

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
        if (cmd->subtype == AT_ColumnDefault && calls_own(cmd->def, &r))
            runs_at_writes(r, t);
        if (cmd->subtype == AT_AlterColumnType)
            run_expression(r, reinterpret_cast<ColumnDef*>(cmd->def)->raw_default);
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
                add(r, rule::drop_cascade, psprintf("%s of %s", part, t.n.shown), "",
                    dependants_of_relation(t.oid, cmd->name));
        }
        break;
    case AT_DropConstraint:
        if (creation* c = find(r, kind::constraint, t.n.schema, t.n.own, cmd->name)) {
            dropped_own(r, c, psprintf("%s of %s", part, t.n.shown));
        } else if (cmd->missing_ok && OidIsValid(t.oid) && !constraint_exists(t.oid, cmd->name)) {
            add(r, rule::nothing_to_drop, t.n.shown, part);
        } else {
            add(r, rule::drop_constraint, t.n.shown, part);
            if (cmd->behavior == DROP_CASCADE)
                add(r, rule::drop_cascade, psprintf("%s of %s", part, t.n.shown), "",
                    dependants_of_constraint(t.oid, cmd->name));
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
        if (calls_own(cmd->def, &r))
            runs_at_writes(r, t);
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
    case AT_AddOf: { // what is done to the type is done to the table
        const name type = named(reinterpret_cast<TypeName*>(cmd->def)->names);
        if (creation* c = own ? nullptr : find(r, kind::type, type.schema, type.own))
            c->gone = true;
        add(r, rule::inheritance, t.n.shown);
        break;
    }
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
    case AT_SetIdentity: {
        ListCell* cell;
        foreach (cell, reinterpret_cast<List*>(cmd->def))
            if (strcmp(static_cast<DefElem*>(lfirst(cell))->defname, "restart") == 0)
                add(r, rule::restart_sequence, psprintf("the numbers of %s of %s", part, t.n.shown));
        add(r, rule::change_identity, t.n.shown, part);
        break;
    }
    case AT_DropIdentity:
        add(r, rule::drop_identity, t.n.shown, part);
        break;
    case AT_AddIdentity:
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
        else if (cmd->subtype == AT_AlterColumnType) {
            const type_change change = change_of_type(find_relation_of(r, n.schema, n.own), cmd->name,
                                                      reinterpret_cast<ColumnDef*>(cmd->def)->typeName, r.path.schemas);
            add(r, change == type_change::narrows ? rule::narrow_column_type : rule::change_column_type, n.shown,
                quote_identifier(cmd->name));
        } else
            add(r, rule::alter_composite_type, n.shown);
    }
}

} // namespace

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

namespace {

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

} // namespace

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
        create(r, kind::relation, s->relation->schemaname, s->idxname, "", named(v).shown,
               t.own ? t.own : own_column(r, t, s->indexParams), t.own == nullptr);
    ListCell* cell;
    foreach (cell, s->indexParams) // what an index computes cannot write, but for what the migration pretends to be so
        if (calls_own(static_cast<IndexElem*>(lfirst(cell))->expr, &r))
            add(r, rule::function_call, "in the index");
    if (calls_own(s->whereClause, &r))
        add(r, rule::function_call, "in the index");
    if (s->concurrent && r.in_block) {
        add(r, rule::concurrently_in_transaction, t.n.shown);
        return;
    }
    if (s->concurrent)
        leaves_transaction(r);
    if (t.own != nullptr) {
        add(r, rule::new_object, t.n.shown);
    } else if (s->concurrent) {
        add(r, is_partitioned(t.oid) ? rule::concurrently_on_partitioned : rule::create_index_concurrently, t.n.shown,
            part);
    } else {
        add(r, rule::create_index, t.n.shown, part, size_of(t), s->whereClause ? nullptr : columns_of(s->indexParams));
    }
}

} // namespace sor::review
