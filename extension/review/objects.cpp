#include "review/statements.hpp"

#include "bridge/subtransaction.hpp"

extern "C" {
#include "catalog/index.h"
#include "catalog/pg_trigger.h"
#include "nodes/makefuncs.h"
}

namespace sor::review {

namespace {

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
        if (s->concurrent)
            leaves_transaction(r);
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
    return c != nullptr && !function_exists(n.schema ? n.schema : creation_schema(r), n.own) ? c : nullptr;
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

} // namespace

void drop_named(review& r, rule which, kind k, const char* schema, const char* own, const char* what) {
    if (creation* c = find(r, k, schema, own))
        dropped_own(r, c, what);
    else
        add(r, which, what);
}

namespace {

const char* dependants(const review& r, ObjectType type, Node* object) {
    switch (type) {
    case OBJECT_TABLE:
    case OBJECT_FOREIGN_TABLE:
    case OBJECT_SEQUENCE:
    case OBJECT_VIEW:
    case OBJECT_MATVIEW:
    case OBJECT_INDEX: {
        const RangeVar* v = makeRangeVarFromNameList(reinterpret_cast<List*>(object));
        return dependants_of_relation(find_relation_of(r, v->schemaname, v->relname), nullptr);
    }
    case OBJECT_TYPE:
    case OBJECT_DOMAIN: {
        const name n = named(reinterpret_cast<TypeName*>(object)->names);
        return dependants_of_type(n.schema ? n.schema : creation_schema(r), n.own);
    }
    case OBJECT_FUNCTION:
    case OBJECT_PROCEDURE:
    case OBJECT_ROUTINE:
    case OBJECT_AGGREGATE: {
        const name n = named(reinterpret_cast<ObjectWithArgs*>(object)->objname);
        return dependants_of_function(n.schema, n.own);
    }
    case OBJECT_SCHEMA:
        return dependants_of_schema(strVal(object));
    case OBJECT_EXTENSION:
        return dependants_of_extension(strVal(object));
    default:
        return nullptr;
    }
}

} // namespace

namespace {

// Whether something that exists may go with the migration's own: columns with their type, or with the schema or
// extension that has it; views that were given another query with whatever that names.
bool takes_others(const review& r, ObjectType type, Node* object) {
    if (r.views_replaced)
        return true;
    const creation* c = nullptr;
    if (type == OBJECT_TYPE || type == OBJECT_DOMAIN) {
        const name n = named(reinterpret_cast<TypeName*>(object)->names);
        c = find(r, kind::type, n.schema, n.own);
    } else if (type == OBJECT_SCHEMA) {
        c = find(r, kind::schema, nullptr, strVal(object));
    } else if (type == OBJECT_EXTENSION) {
        return r.columns_of_unknown_type;
    }
    return c != nullptr && c->cascades;
}

} // namespace

void drop(review& r, const DropStmt* s) {
    ListCell* cell;
    foreach (cell, s->objects) {
        auto* object = static_cast<Node*>(lfirst(cell));
        const int before = list_length(r.findings);
        const bool takes = s->behavior == DROP_CASCADE && takes_others(r, s->removeType, object);
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
        if (s->behavior == DROP_CASCADE && (takes || !ours))
            add(r, rule::drop_cascade, shown(object), "", dependants(r, s->removeType, object));
    }
}

void truncate(review& r, const TruncateStmt* s) {
    ListCell* cell;
    foreach (cell, s->relations) {
        const target t = look(r, static_cast<RangeVar*>(lfirst(cell)));
        add(r, t.own && !t.own->cascades ? rule::new_object : rule::truncate_table, t.n.shown, "", size_of(t));
        if (s->behavior == DROP_CASCADE)
            add(r, rule::drop_cascade, t.n.shown, "",
                psprintf(" Tables that refer to it are emptied too.%s",
                         t.own || !truncated_with(t.oid) ? "" : truncated_with(t.oid)));
    }
}

namespace {

void rename_relation(review& r, const RenameStmt* s) {
    const target t = look(r, s->relation);
    if (t.own != nullptr) {
        const_cast<creation*>(t.own)->gone = true;
        RangeVar* renamed = makeRangeVar(s->relation->schemaname, s->newname, -1);
        if (is_temporary(t.own)) {
            renamed->relpersistence = RELPERSISTENCE_TEMP;
            creation* made = relation_created(r, renamed);
            if (list_member_ptr(r.on_commit_drop, t.own))
                goes_at_commit(r, made);
        } else {
            relation_created(r, renamed);
        }
        add(r, rule::new_object, t.n.shown);
        return;
    }
    forget(r, kind::relation, s->relation->schemaname, s->newname);
    const bool is_index = s->renameType == OBJECT_INDEX || is_unique_index(t.oid) || is_plain_index(t.oid);
    add(r, is_index ? rule::rename_index : rule::rename_table, t.n.shown, quote_identifier(s->newname));
}

} // namespace

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
        forget_all(r);
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
            add(r, is_default && to_public ? rule::default_privileges : rule::revoke_privilege,
                is_default && to_public ? whom : what, whom);
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

// A function, under whatever schema and arguments: its name may be called from here on.
void code_made(review& r, const char* function, bool harmless) {
    creation* known = find(r, kind::routine_name, "*", function);
    creation* c = known ? known : create(r, kind::routine_name, "*", function, "", function, nullptr, false);
    if (c == nullptr)
        return;
    c->harmless = harmless && (known == nullptr || known->harmless);
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
    const char* function = strVal(llast(s->funcname));
    const creation* code = find(r, kind::routine_name, "*", function);
    if (t.own == nullptr && !replaces && (code ? code->destroys : function_destroys(function)))
        add(r, rule::destroying_trigger, t.n.shown, part);
    add(r, t.own ? rule::new_object : replaces ? rule::replace_trigger : rule::create_trigger, t.n.shown, part);
}

namespace {

void routine_created(review& r, const name& n, const char* arguments, bool harmless) {
    const creation* by_name = create(r, kind::routine_name, n.schema, n.own, "", n.shown, nullptr, false);
    create(r, kind::routine, n.schema, n.own, arguments, psprintf("%s(%s)", n.shown, arguments), by_name, true);
    code_made(r, n.own, harmless);
}

bool only_reads(review& r, List* statements) {
    ListCell* cell;
    foreach (cell, statements) {
        auto* one = static_cast<Node*>(lfirst(cell));
        if (one == nullptr) // BEGIN ATOMIC END
            continue;
        if (IsA(one, RawStmt))
            one = reinterpret_cast<RawStmt*>(one)->stmt;
        if (IsA(one, List)) {
            if (!only_reads(r, reinterpret_cast<List*>(one)))
                return false;
        } else if (IsA(one, ReturnStmt)) { // the walker does not know it
            if (calls_functions(reinterpret_cast<ReturnStmt*>(one)->returnval, &r))
                return false;
        } else if (!IsA(one, SelectStmt) || reinterpret_cast<SelectStmt*>(one)->intoClause != nullptr ||
                   calls_functions(one, &r)) {
            return false;
        }
    }
    return true;
}

// Whether a function's body is SQL that computes and reads, and nothing else.
bool is_harmless(review& r, const CreateFunctionStmt* s) {
    if (s->sql_body != nullptr)
        return only_reads(r, IsA(s->sql_body, List) ? reinterpret_cast<List*>(s->sql_body) : list_make1(s->sql_body));
    bool sql = false;
    const char* body = nullptr;
    ListCell* cell;
    foreach (cell, s->options) {
        const auto* o = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(o->defname, "language") == 0)
            sql = is_one_of(strVal(o->arg), {"sql"});
        else if (strcmp(o->defname, "as") == 0 && list_length(reinterpret_cast<List*>(o->arg)) == 1)
            body = strVal(linitial(reinterpret_cast<List*>(o->arg)));
    }
    if (!sql || body == nullptr)
        return false;
    bool harmless = false;
    bridge::attempt([&] { harmless = only_reads(r, bridge::parse_sql(body)); }); // one that cannot be read is not
    return harmless;
}

} // namespace

namespace {
// Nothing that exists looks for names in a schema that the migration makes.
bool own_schema(const review& r, const name& n) {
    const char* schema = n.schema ? n.schema : creation_schema(r);
    return schema != nullptr && find(r, kind::schema, nullptr, schema) != nullptr;
}
} // namespace

void create_routine(review& r, const CreateFunctionStmt* s) {
    const name n = named(s->funcname);
    touch(r, n);
    creation* known = find(r, kind::routine, n.schema, n.own, signature(s->parameters));
    const bool replaces =
        s->replace && known == nullptr && function_exists(n.schema ? n.schema : creation_schema(r), n.own);
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
    const bool harmless = is_harmless(r, s);
    const bool unconditional = !r.conditional;
    if (!replaces)
        routine_created(r, n, signature(s->parameters), harmless);
    if (replaces || !unconditional)
        code_made(r, n.own, harmless);
    if (creation* code = find(r, kind::routine_name, "*", n.own))
        foreach (cell, s->options) {
            const auto* o = static_cast<DefElem*>(lfirst(cell));
            ListCell* text;
            if (strcmp(o->defname, "as") == 0)
                foreach (text, reinterpret_cast<List*>(o->arg))
                    code->destroys = code->destroys || destroys(strVal(lfirst(text)));
        }
    if (!own_schema(r, n) && is_server_function(n.own, false))
        add(r, rule::shadow_builtin, n.shown);
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

void create_aggregate(review& r, const DefineStmt* s) {
    if (s->args != NIL && !s->replace)
        routine_created(r, named(s->defnames), signature(reinterpret_cast<List*>(linitial(s->args))), false);
    code_made(r, named(s->defnames).own, false);
}

} // namespace sor::review
