#include "guard/guard.hpp"

#include "bridge/catalog.hpp"
#include "bridge/plan_cache.hpp"
#include "migrations/running.hpp"
#include "review/lookup.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/policy.h"
#include "commands/tablecmds.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "rewrite/rewriteSupport.h"
#include "storage/lmgr.h"
}

namespace sor::guard {

namespace {

// ---------------------------------------------------------------- names, as the command will read them

Oid find(const RangeVar* name) {
    return name ? RangeVarGetRelidExtended(name, NoLock, RVR_MISSING_OK, nullptr, nullptr) : InvalidOid;
}

Oid find_type(Node* name) {
    const TypeName* type = IsA(name, TypeName) ? reinterpret_cast<TypeName*>(name)
                                               : makeTypeNameFromNameList(reinterpret_cast<List*>(name));
    return LookupTypeNameOid(nullptr, type, true);
}

ObjectAddress address(Oid catalog, Oid object, int32 part = 0) {
    ObjectAddress out;
    ObjectAddressSubSet(out, catalog, object, part);
    return out;
}

const char* describe_relation(Oid relation) {
    return describe(address(RelationRelationId, relation));
}

// A trigger, policy, rule or constraint of a table.
ObjectAddress find_part(ObjectType type, Oid relation, const char* name) {
    switch (type) {
    case OBJECT_TRIGGER:
        return address(TriggerRelationId, get_trigger_oid(relation, name, true));
    case OBJECT_POLICY:
        return address(PolicyRelationId, get_relation_policy_oid(relation, name, true));
    case OBJECT_RULE:
        return address(RewriteRelationId, get_rewrite_oid(relation, name, true));
    case OBJECT_TABCONSTRAINT:
        return address(ConstraintRelationId, get_relation_constraint_oid(relation, name, true));
    case OBJECT_COLUMN:
    case OBJECT_ATTRIBUTE: {
        const AttrNumber column = get_attnum(relation, name);
        return address(RelationRelationId, column > 0 ? relation : InvalidOid, column);
    }
    default:
        return address(RelationRelationId, InvalidOid);
    }
}

// What a DROP, a RENAME or an ALTER … OWNER names; objectId InvalidOid: nothing that is guarded by itself.
ObjectAddress find_object(ObjectType type, Node* object) {
    switch (type) {
    case OBJECT_TABLE:
    case OBJECT_SEQUENCE:
    case OBJECT_VIEW:
    case OBJECT_MATVIEW:
    case OBJECT_INDEX:
    case OBJECT_FOREIGN_TABLE:
        return address(RelationRelationId, find(makeRangeVarFromNameList(reinterpret_cast<List*>(object))));
    case OBJECT_TRIGGER:
    case OBJECT_POLICY:
    case OBJECT_RULE: {
        const List* names = reinterpret_cast<List*>(object);
        const Oid relation = find(makeRangeVarFromNameList(list_copy_head(names, list_length(names) - 1)));
        return OidIsValid(relation) ? find_part(type, relation, strVal(llast(names)))
                                    : address(RelationRelationId, InvalidOid);
    }
    case OBJECT_TYPE:
    case OBJECT_DOMAIN:
        return address(TypeRelationId, find_type(object));
    case OBJECT_SCHEMA:
        return address(NamespaceRelationId, get_namespace_oid(strVal(object), true));
    case OBJECT_EXTENSION:
        return address(ExtensionRelationId, get_extension_oid(strVal(object), true));
    case OBJECT_FUNCTION:
    case OBJECT_PROCEDURE:
    case OBJECT_ROUTINE:
    case OBJECT_AGGREGATE:
        return address(ProcedureRelationId, LookupFuncWithArgs(type, reinterpret_cast<ObjectWithArgs*>(object), true));
    default: { // with a lock that no other session waits for: the command takes a stronger one at once
        Relation relation = nullptr;
        const ObjectAddress found = get_object_address(type, object, &relation, AccessShareLock, true);
        if (relation != nullptr)
            relation_close(relation, NoLock);
        return found;
    }
    }
}

// ---------------------------------------------------------------- drops

void would_drop(const ObjectAddress& object, bool cascades = false) {
    if (!OidIsValid(object.objectId))
        return;
    ObjectAddress rows;
    // What a migration made may have got dependents since that were there before.
    if (cascades && migrations::current_permission() == migrations::permission::reviewed)
        if (const verdict v = of_rows_taken_along(object, rows))
            refuse(v, psprintf("dropping %s", describe(object)), psprintf("It would take %s with it.", describe(rows)),
                   true);
    if (const verdict v = of_object(object)) {
        refuse(v, psprintf("dropping %s", describe(object)));
        return;
    }
    ObjectAddress with;
    if (const verdict v = of_dependents(object, with))
        refuse(v, psprintf("dropping %s", describe(object)), psprintf("It would take %s with it.", describe(with)));
}

// Dropping the extension by name, with its schema, or with everything its owner has.
void keep_history() {
    if (forced() || !superuser()) // others cannot drop it anyway
        return;
    bridge::with_spi([](MemoryContext) {
        // Every run and every message has events; a superuser sees all of them.
        static bridge::statement any("select exists (select from sor.agent_events)", {});
        if (any.run().boolean(0, 1))
            bridge::raise(code::append_only_violation, "extension sor holds history",
                          "Dropping it would drop all runs, events and messages.",
                          "Dump the database first; then a superuser may drop it with sor.drop_guard = off.");
    });
}

void drop(const DropStmt* s) {
    ListCell* cell;
    foreach (cell, s->objects) {
        auto* object = static_cast<Node*>(lfirst(cell));
        if ((s->removeType == OBJECT_EXTENSION || s->removeType == OBJECT_SCHEMA) && strcmp(strVal(object), "sor") == 0)
            keep_history();
        would_drop(find_object(s->removeType, object), s->behavior == DROP_CASCADE);
    }
}

void drop_owned(const DropOwnedStmt* s) {
    ListCell* cell;
    foreach (cell, s->roles) {
        const Oid role = get_rolespec_oid(static_cast<RoleSpec*>(lfirst(cell)), true);
        if (!OidIsValid(role))
            continue;
        if (role == owner_of_sor())
            keep_history();
        ObjectAddress which;
        if (const verdict v = of_property(role, which))
            refuse(v, psprintf("dropping what role %s owns", quote_identifier(GetUserNameFromId(role, false))),
                   psprintf("It owns %s, or what that depends on.", describe(which)));
    }
}

void reassign_owned(const ReassignOwnedStmt* s) {
    ListCell* cell;
    foreach (cell, s->roles) {
        const Oid role = get_rolespec_oid(static_cast<RoleSpec*>(lfirst(cell)), true);
        ObjectAddress which;
        if (const verdict v = OidIsValid(role) ? of_property(role, which) : free_to_go)
            refuse(v, psprintf("reassigning what role %s owns", quote_identifier(GetUserNameFromId(role, false))),
                   psprintf("It owns %s.", describe(which)));
    }
}

// What a superuser made, in a setup or a restore, it may still hand to whom it is for.
bool hands_over(Oid owner) {
    return session_is_superuser() && superuser_arg(owner);
}

// ---------------------------------------------------------------- ALTER TABLE

// Whether a USING expression is more than the column itself, cast once at most.
bool computes(Node* expression, const char* column) {
    if (expression != nullptr && IsA(expression, TypeCast))
        expression = reinterpret_cast<TypeCast*>(expression)->arg;
    if (expression == nullptr)
        return false;
    if (!IsA(expression, ColumnRef))
        return true;
    auto* name = static_cast<Node*>(llast(reinterpret_cast<ColumnRef*>(expression)->fields));
    return !IsA(name, String) || strcmp(strVal(name), column) != 0;
}

// Whether values of the column may be lost: the new type holds less, or they are computed anew, or turned into what
// PostgreSQL would not store there unasked.
bool may_lose(Oid relation, const AlterTableCmd* cmd) {
    const auto* def = reinterpret_cast<const ColumnDef*>(cmd->def);
    const AttrNumber column = get_attnum(relation, cmd->name);
    if (column == InvalidAttrNumber)
        return false; // the command will say so
    const review::type_change change = review::change_of_type(relation, cmd->name, def->typeName, nullptr);
    if (change == review::type_change::narrows)
        return true;
    if (def->raw_default == nullptr)
        return false;
    const Oid from = get_atttype(relation, column);
    const Oid to = LookupTypeNameOid(nullptr, def->typeName, true);
    return computes(def->raw_default, cmd->name) || !OidIsValid(to) ||
           (change != review::type_change::widens && !can_coerce_type(1, &from, &to, COERCION_ASSIGNMENT));
}

// What tuning and replication do to any table, sor's own too.
bool is_tuning(AlterTableType type) {
    switch (type) {
    case AT_SetRelOptions:
    case AT_ResetRelOptions:
    case AT_SetStatistics:
    case AT_SetOptions:
    case AT_ResetOptions:
    case AT_SetTableSpace:
    case AT_ClusterOn:
    case AT_DropCluster:
    case AT_ReplicaIdentity:
        return true;
    default:
        return false;
    }
}

void switch_trigger(const verdict& v, Oid relation, const AlterTableCmd* cmd, bool disables) {
    const bool guard = is_guard_trigger(relation, cmd->name);
    // Off: of any; back on for ordinary sessions alone: of guards, which fire ALWAYS. A restore switches off what was
    // off.
    if (!guard && (!disables || (session_is_superuser() && cmd->name != nullptr)))
        return;
    refuse(v,
           cmd->name ? psprintf("switching trigger %s of %s", quote_identifier(cmd->name), describe_relation(relation))
                     : psprintf("switching the triggers of %s", describe_relation(relation)),
           guard ? "It would no longer fire in every session." : "It would no longer fire.");
}

void join_family(Oid child, const verdict& of_child, Oid parent, const verdict& of_parent) {
    if (of_child.is_protected() && !of_parent.is_protected())
        refuse(of_child, psprintf("putting %s under %s", describe_relation(child), describe_relation(parent)),
               "Its rows could be read past its own policies.");
}

// A foreign key's actions are done past row security: whoever writes the table that it points at would delete or change
// rows of any tenant.
void reference(const verdict& v, Oid relation, const Constraint* c) {
    const auto acts = [](char action) { return action != '\0' && strchr("cnd", action) != nullptr; };
    if (c->contype != CONSTR_FOREIGN || !(acts(c->fk_del_action) || acts(c->fk_upd_action)) || !v.is_protected() ||
        session_is_superuser())
        return;
    const Oid other = find(c->pktable);
    if (OidIsValid(other) && !of_relation(other).is_protected())
        refuse(v, psprintf("letting %s act on %s", describe_relation(other), describe_relation(relation)),
               "The foreign key would delete or change rows past its policies.");
}

void references(const verdict& v, Oid relation, const AlterTableCmd* cmd) {
    if (cmd->def == nullptr)
        return;
    if (IsA(cmd->def, Constraint))
        reference(v, relation, reinterpret_cast<const Constraint*>(cmd->def));
    if (!IsA(cmd->def, ColumnDef))
        return;
    ListCell* cell;
    foreach (cell, reinterpret_cast<const ColumnDef*>(cmd->def)->constraints)
        reference(v, relation, static_cast<const Constraint*>(lfirst(cell)));
}

void alter_table_command(const verdict& v, Oid relation, const AlterTableCmd* cmd) {
    const char* table = describe_relation(relation);
    const char* part = cmd->name ? quote_identifier(cmd->name) : "";
    switch (cmd->subtype) {
    case AT_AddInherit: {
        const Oid parent = find(reinterpret_cast<RangeVar*>(cmd->def));
        if (OidIsValid(parent))
            join_family(relation, v, parent, of_relation(parent));
        break;
    }
    case AT_AttachPartition: {
        const Oid child = find(reinterpret_cast<PartitionCmd*>(cmd->def)->name);
        if (OidIsValid(child))
            join_family(child, of_relation(child), relation, v);
        break;
    }
    case AT_DropColumn:
        would_drop(find_part(OBJECT_COLUMN, relation, cmd->name));
        return;
    case AT_DropConstraint:
        would_drop(find_part(OBJECT_TABCONSTRAINT, relation, cmd->name));
        return;
    default:
        break;
    }
    if (!v)
        return;
    if (v.kind == verdict::of::sor) {
        if (!is_tuning(cmd->subtype))
            refuse(v, psprintf("altering %s", table));
        return;
    }
    switch (cmd->subtype) {
    case AT_AddConstraint:
    case AT_AddColumn:
        references(v, relation, cmd);
        break;
    case AT_GenericOptions:
    case AT_AlterColumnGenericOptions:
        refuse(v, psprintf("changing the options of %s", table), "Its rows could be others'.");
        break;
    case AT_DisableTrig:
    case AT_DisableTrigAll:
    case AT_DisableTrigUser:
    case AT_EnableReplicaTrig:
        switch_trigger(v, relation, cmd, true);
        break;
    case AT_EnableTrig:
    case AT_EnableTrigAll:
    case AT_EnableTrigUser:
        switch_trigger(v, relation, cmd, false);
        break;
    case AT_DisableRule:
    case AT_EnableReplicaRule:
        if (!session_is_superuser())
            refuse(v, psprintf("disabling rule %s of %s", part, table));
        break;
    case AT_DisableRowSecurity:
        refuse(v, psprintf("disabling row security of %s", table));
        break;
    case AT_NoForceRowSecurity:
        refuse(v, psprintf("no longer forcing row security of %s", table));
        break;
    case AT_DetachPartition:
    case AT_DetachPartitionFinalize:
        refuse(v, psprintf("detaching a partition of %s", table));
        break;
    case AT_DropInherit:
        refuse(v, psprintf("taking %s from its parent", table));
        break;
    case AT_ChangeOwner: {
        const Oid owner = bridge::owner_of_relation(relation);
        if (!hands_over(owner) && get_rolespec_oid(cmd->newowner, true) != owner)
            refuse(v, psprintf("changing the owner of %s", table));
        break;
    }
    case AT_SetUnLogged:
        refuse(v, psprintf("making %s unlogged", table), "A crash would empty it.");
        break;
    case AT_AlterColumnType: {
        const AttrNumber column = get_attnum(relation, cmd->name);
        if (may_lose(relation, cmd) || is_policy_column(relation, column))
            refuse(v, psprintf("changing the type of column %s of %s", part, table), "Values could be lost.");
        break;
    }
    case AT_DropNotNull:
        if (is_policy_column(relation, get_attnum(relation, cmd->name)))
            refuse(v, psprintf("dropping NOT NULL of column %s of %s", part, table), "A policy reads it.");
        break;
    case AT_ColumnDefault:
        if (is_policy_column(relation, get_attnum(relation, cmd->name)))
            refuse(v, psprintf("changing the default of column %s of %s", part, table), "A policy reads it.");
        break;
    case AT_DropIdentity:
        refuse(v, psprintf("dropping the identity of column %s of %s", part, table));
        break;
    case AT_AlterConstraint:
        if (bridge::lifts_constraint(cmd))
            refuse(v, psprintf("no longer enforcing constraint %s of %s",
                               quote_identifier(bridge::altered_constraint(cmd)), table));
        break;
    default:
        break;
    }
}

void alter_table(const AlterTableStmt* s) {
    const Oid relation = find(s->relation);
    if (!OidIsValid(relation))
        return;
    const verdict v = of_relation(relation);
    ListCell* cell;
    foreach (cell, s->cmds)
        alter_table_command(v, relation, static_cast<AlterTableCmd*>(lfirst(cell)));
}

// ---------------------------------------------------------------- names, schemas, owners

void alter_object(const ObjectAddress& object, const char* what) {
    if (!OidIsValid(object.objectId))
        return;
    if (const verdict v = of_object(object)) {
        refuse(v, psprintf("%s %s", what, describe(object)));
    } else if (object.classId == NamespaceRelationId) {
        ObjectAddress within;
        if (const verdict inner = of_dependents(object, within))
            refuse(inner, psprintf("%s %s", what, describe(object)), psprintf("It holds %s.", describe(within)));
    }
}

void rename(const RenameStmt* s) {
    constexpr const char* what = "renaming";
    switch (s->renameType) {
    case OBJECT_COLUMN:
    case OBJECT_ATTRIBUTE:
    case OBJECT_TABCONSTRAINT:
    case OBJECT_TRIGGER:
    case OBJECT_POLICY:
    case OBJECT_RULE: {
        const Oid relation = find(s->relation);
        if (OidIsValid(relation))
            alter_object(find_part(s->renameType, relation, s->subname), what);
        break;
    }
    case OBJECT_DOMCONSTRAINT:
        alter_object(address(TypeRelationId, find_type(s->object)), what);
        break;
    case OBJECT_SCHEMA:
        alter_object(address(NamespaceRelationId, get_namespace_oid(s->subname, true)), what);
        break;
    case OBJECT_ROLE:
    case OBJECT_DATABASE:
    case OBJECT_TABLESPACE:
        break;
    default:
        if (s->relation != nullptr)
            alter_object(address(RelationRelationId, find(s->relation)), what);
        else if (s->object != nullptr)
            alter_object(find_object(s->renameType, s->object), what);
    }
}

void set_schema(const AlterObjectSchemaStmt* s) {
    alter_object(s->relation ? address(RelationRelationId, find(s->relation)) : find_object(s->objectType, s->object),
                 "moving");
}

void change_owner(const AlterOwnerStmt* s) {
    if (s->objectType == OBJECT_DATABASE || s->objectType == OBJECT_TABLESPACE || s->objectType == OBJECT_LARGEOBJECT)
        return;
    const ObjectAddress object =
        s->relation ? address(RelationRelationId, find(s->relation)) : find_object(s->objectType, s->object);
    if (!OidIsValid(object.objectId) || !hands_over(owner_of(object)))
        alter_object(object, "changing the owner of");
}

// ---------------------------------------------------------------- what lets rows through or keeps them back

void create_policy(const CreatePolicyStmt* s) {
    const Oid table = find(s->table);
    const verdict v = s->permissive && OidIsValid(table) ? of_relation(table) : free_to_go;
    // A superuser is past every policy; and a restore makes them anew.
    if (v.is_protected() && !session_is_superuser())
        refuse(v, psprintf("adding policy %s to %s", quote_identifier(s->policy_name), describe_relation(table)),
               "It would let rows through that the others do not.");
}

void alter_policy(const AlterPolicyStmt* s) {
    const Oid table = find(s->table);
    if (OidIsValid(table))
        alter_object(find_part(OBJECT_POLICY, table, s->policy_name), "altering");
}

void create_rule(const RuleStmt* s) {
    const Oid relation = find(s->relation);
    const verdict v = s->instead && OidIsValid(relation) ? of_relation(relation) : free_to_go;
    if (v.is_protected() && !session_is_superuser())
        refuse(v, psprintf("adding rule %s to %s", quote_identifier(s->rulename), describe_relation(relation)),
               "Statements on it would do something else.");
}

void create_trigger(const CreateTrigStmt* s) {
    const Oid relation = find(s->relation);
    if (!OidIsValid(relation))
        return;
    const verdict v = of_relation(relation);
    if (v.kind == verdict::of::sor)
        refuse(v, psprintf("adding a trigger to %s", describe_relation(relation)));
    else if (v && s->replace && is_guard_trigger(relation, s->trigname))
        refuse(v, psprintf("replacing trigger %s of %s", quote_identifier(s->trigname), describe_relation(relation)));
}

void alter_domain(const AlterDomainStmt* s) {
    const Oid domain = find_type(reinterpret_cast<Node*>(s->typeName));
    if (OidIsValid(domain) && (s->subtype == 'X' || s->subtype == 'N')) // DROP CONSTRAINT, DROP NOT NULL
        alter_object(address(TypeRelationId, domain), "weakening");
}

void alter_enum(const AlterEnumStmt* s) {
    if (s->oldVal != nullptr)
        alter_object(address(TypeRelationId, find_type(reinterpret_cast<Node*>(s->typeName))), "renaming a value of");
}

void alter_extension_contents(const AlterExtensionContentsStmt* s) {
    if (strcmp(s->extname, "sor") == 0)
        alter_object(address(ExtensionRelationId, get_extension_oid("sor", true)), "altering");
}

void alter_event_trigger(const AlterEventTrigStmt* s) {
    alter_object(address(EventTriggerRelationId, get_event_trigger_oid(s->trigname, true)), "altering");
}

void judge_once(const Node* s) {
    switch (nodeTag(s)) {
    case T_DropStmt:
        return drop(reinterpret_cast<const DropStmt*>(s));
    case T_DropOwnedStmt:
        return drop_owned(reinterpret_cast<const DropOwnedStmt*>(s));
    case T_ReassignOwnedStmt:
        return reassign_owned(reinterpret_cast<const ReassignOwnedStmt*>(s));
    case T_AlterTableStmt:
        return alter_table(reinterpret_cast<const AlterTableStmt*>(s));
    case T_RenameStmt:
        return rename(reinterpret_cast<const RenameStmt*>(s));
    case T_AlterObjectSchemaStmt:
        return set_schema(reinterpret_cast<const AlterObjectSchemaStmt*>(s));
    case T_AlterOwnerStmt:
        return change_owner(reinterpret_cast<const AlterOwnerStmt*>(s));
    case T_CreatePolicyStmt:
        return create_policy(reinterpret_cast<const CreatePolicyStmt*>(s));
    case T_AlterPolicyStmt:
        return alter_policy(reinterpret_cast<const AlterPolicyStmt*>(s));
    case T_RuleStmt:
        return create_rule(reinterpret_cast<const RuleStmt*>(s));
    case T_CreateTrigStmt:
        return create_trigger(reinterpret_cast<const CreateTrigStmt*>(s));
    case T_AlterDomainStmt:
        return alter_domain(reinterpret_cast<const AlterDomainStmt*>(s));
    case T_AlterEnumStmt:
        return alter_enum(reinterpret_cast<const AlterEnumStmt*>(s));
    case T_AlterExtensionContentsStmt:
        return alter_extension_contents(reinterpret_cast<const AlterExtensionContentsStmt*>(s));
    case T_AlterEventTrigStmt:
        return alter_event_trigger(reinterpret_cast<const AlterEventTrigStmt*>(s));
    default:
        return;
    }
}

// ---------------------------------------------------------------- names that change their meaning

// Others' tables are not locked by who may not alter them; the command would say 42501, which sor's own answer
// precedes.
void before_lock(const RangeVar* name, Oid relation, Oid former, void* unused) {
    if (OidIsValid(relation) && !has_privs_of_role(GetUserId(), bridge::owner_of_relation(relation)))
        if (const verdict v = of_relation(relation))
            refuse(v, psprintf("altering %s", describe_relation(relation)));
    RangeVarCallbackOwnsRelation(name, relation, former, unused);
}

void lock(const RangeVar* name, LOCKMODE mode, RangeVarGetRelidCallback callback = before_lock) {
    if (name != nullptr)
        RangeVarGetRelidExtended(name, mode, RVR_MISSING_OK, callback, nullptr);
}

void lock_object(ObjectType type, Node* object) {
    if (type == OBJECT_TYPE || type == OBJECT_DOMAIN) { // for which the command takes none
        if (const Oid found = find_type(object); OidIsValid(found))
            LockDatabaseObject(TypeRelationId, found, 0, AccessExclusiveLock);
        return;
    }
    Relation relation = nullptr;
    get_object_address(type, object, &relation, AccessExclusiveLock, true);
    if (relation != nullptr)
        relation_close(relation, NoLock);
}

// Takes the locks on what the command names that it will take itself. While it waited for them, a name without a schema
// could come to mean another thing. False: it takes none by which a name could be held up; what it drops is seen later.
bool lock_targets(const Node* node) {
    switch (nodeTag(node)) {
    case T_AlterTableStmt: {
        const auto* s = reinterpret_cast<const AlterTableStmt*>(node);
        lock(s->relation, AlterTableGetLockLevel(s->cmds));
        ListCell* cell;
        foreach (cell, s->cmds) {
            const auto* cmd = static_cast<AlterTableCmd*>(lfirst(cell));
            if (cmd->subtype == AT_AttachPartition)
                lock(reinterpret_cast<PartitionCmd*>(cmd->def)->name, AccessExclusiveLock);
            else if (cmd->subtype == AT_AddInherit)
                lock(reinterpret_cast<RangeVar*>(cmd->def), ShareUpdateExclusiveLock);
        }
        return true;
    }
    case T_RenameStmt: {
        const auto* s = reinterpret_cast<const RenameStmt*>(node);
        if (s->relation != nullptr)
            lock(s->relation, s->renameType == OBJECT_INDEX ? ShareUpdateExclusiveLock : AccessExclusiveLock);
        else if (s->renameType == OBJECT_FUNCTION || s->renameType == OBJECT_PROCEDURE ||
                 s->renameType == OBJECT_ROUTINE || s->renameType == OBJECT_TYPE || s->renameType == OBJECT_DOMAIN)
            lock_object(s->renameType, s->object);
        else
            return false;
        return true;
    }
    case T_AlterObjectSchemaStmt: {
        const auto* s = reinterpret_cast<const AlterObjectSchemaStmt*>(node);
        if (s->relation != nullptr)
            lock(s->relation, AccessExclusiveLock);
        else
            lock_object(s->objectType, s->object);
        return true;
    }
    case T_AlterOwnerStmt: {
        const auto* s = reinterpret_cast<const AlterOwnerStmt*>(node);
        if (s->objectType != OBJECT_FUNCTION && s->objectType != OBJECT_PROCEDURE && s->objectType != OBJECT_ROUTINE &&
            s->objectType != OBJECT_TYPE && s->objectType != OBJECT_DOMAIN)
            return false;
        lock_object(s->objectType, s->object);
        return true;
    }
    case T_CreatePolicyStmt:
        lock(reinterpret_cast<const CreatePolicyStmt*>(node)->table, AccessExclusiveLock);
        return true;
    case T_AlterPolicyStmt:
        lock(reinterpret_cast<const AlterPolicyStmt*>(node)->table, AccessExclusiveLock);
        return true;
    case T_RuleStmt:
        lock(reinterpret_cast<const RuleStmt*>(node)->relation, AccessExclusiveLock);
        return true;
    case T_CreateTrigStmt: // for which a privilege will do; the command takes its lock before it asks
        lock(reinterpret_cast<const CreateTrigStmt*>(node)->relation, ShareRowExclusiveLock, nullptr);
        return true;
    default:
        return false;
    }
}

} // namespace

void judge(const Node* s) {
    judge_once(s);
    if (!lock_targets(s))
        return;
    begin_command();
    judge_once(s);
}

} // namespace sor::guard
