#include "guard/guard.hpp"

#include "bridge/catalog.hpp"
#include "bridge/utility.hpp"
#include "events/events.hpp"
#include "migrations/running.hpp"

extern "C" {
#include "access/stratnum.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_database.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_event_trigger.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/varlena.h"
}

namespace sor::guard {

using bridge::in;

namespace {

// ---------------------------------------------------------------- force

bool drop_guard = true;
bool shared = false; // the library was preloaded by the server, so that every database's sessions have it

// Only who is in the session says so: a database's or role's settings would switch the guard off for whoever comes.
bool only_in_session(bool* value, void**, GucSource source) {
    if (*value || source == PGC_S_CLIENT || source == PGC_S_SESSION || source == PGC_S_DEFAULT ||
        InitializingParallelWorker)
        return true;
    GUC_check_errmsg("the drop guard can be switched off for a session only");
    GUC_check_errhint("SET sor.drop_guard = off as superuser, or connect with PGOPTIONS='-c sor.drop_guard=off'.");
    return false;
}

// ---------------------------------------------------------------- what was forced

// Written when the command ends: a row written at its start would break DROP INDEX CONCURRENTLY, which commits in
// between.
List* bypasses = NIL; // of char*
MemoryContext bypasses_memory = nullptr;

void note(const char* action) {
    ListCell* cell;
    foreach (cell, bypasses)
        if (strcmp(static_cast<const char*>(lfirst(cell)), action) == 0)
            return;
    if (bypasses_memory == nullptr)
        bypasses_memory = AllocSetContextCreate(TopMemoryContext, "sor bypasses", ALLOCSET_SMALL_SIZES);
    const MemoryContext outer = MemoryContextSwitchTo(bypasses_memory);
    bypasses = lappend(bypasses, pstrdup(action));
    MemoryContextSwitchTo(outer);
}

void forget_bypasses() {
    bypasses = NIL;
    if (bypasses_memory != nullptr)
        MemoryContextReset(bypasses_memory);
}

void record(const char* command) {
    if (bypasses == NIL)
        return;
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        bridge::array_builder actions(bridge::array_of_text, list_length(bypasses));
        ListCell* cell;
        foreach (cell, bypasses)
            actions.add(in(static_cast<const char*>(lfirst(cell))));
        static bridge::statement describe("select pg_catalog.jsonb_build_object('command', $1, 'forced', "
                                          "pg_catalog.to_jsonb($2), 'login', session_user)",
                                          {TEXTOID, TEXTARRAYOID});
        events::append_system("migration.guard_bypassed", describe.run(in(command), in(actions.done())).json(0, 1));
    });
    forget_bypasses();
}

// What cannot be recorded, because the history itself goes, at least stands in the log.
void at_transaction_event(XactEvent event, void*) {
    if (event == XACT_EVENT_PRE_COMMIT && bypasses != NIL && !OidIsValid(get_extension_oid("sor", true))) {
        ListCell* cell;
        foreach (cell, bypasses)
            ereport(WARNING, (errmsg("the drop guard was bypassed: %s", static_cast<const char*>(lfirst(cell))),
                              errdetail("It could not be recorded as an event.")));
        forget_bypasses();
    } else if (event == XACT_EVENT_ABORT) {
        forget_bypasses();
    }
    end_command();
}

void at_subtransaction_event(SubXactEvent event, SubTransactionId, SubTransactionId, void*) {
    if (event != SUBXACT_EVENT_ABORT_SUB)
        return;
    forget_bypasses();
    end_command();
}

// ---------------------------------------------------------------- what fires no event trigger

bool exempt() {
    return creating_extension || IsBinaryUpgrade || bridge::own_statement_runs();
}

void judge_eventless(PlannedStmt* statement, const char*, ProcessUtilityContext) {
    const Node* s = statement->utilityStmt;
    const bool eventless =
        IsA(s, ReassignOwnedStmt) || IsA(s, AlterEventTrigStmt) ||
        (IsA(s, DropStmt) && reinterpret_cast<const DropStmt*>(s)->removeType == OBJECT_EVENT_TRIGGER) ||
        (IsA(s, RenameStmt) && reinterpret_cast<const RenameStmt*>(s)->renameType == OBJECT_EVENT_TRIGGER) ||
        (IsA(s, AlterOwnerStmt) && reinterpret_cast<const AlterOwnerStmt*>(s)->objectType == OBJECT_EVENT_TRIGGER);
    if (!eventless || exempt() || !begin_command())
        return;
    judge(s);
    end_command();
    record(CreateCommandName(const_cast<Node*>(s)));
}

// ---------------------------------------------------------------- what a command does in the end

bool names_sor(const char* list) {
    List* names = NIL;
    if (!SplitDirectoriesString(pstrdup(list), ',', &names))
        return false;
    ListCell* cell;
    foreach (cell, names) {
        const char* name = static_cast<const char*>(lfirst(cell));
        const char* slash = strrchr(name, '/');
        if (strcmp(slash ? slash + 1 : name, "sor") == 0)
            return true;
    }
    return false;
}

constexpr const char* preload = "session_preload_libraries";

// What the database's own settings load into each session, or null.
char* preloaded_by_database(Oid database) {
    Relation rows = table_open(DbRoleSettingRelationId, AccessShareLock);
    ScanKeyData keys[2];
    ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(database));
    ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(InvalidOid));
    SysScanDesc scan = systable_beginscan(rows, DbRoleSettingDatidRolidIndexId, true, nullptr, 2, keys);
    char* out = nullptr;
    if (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple)) {
        bool null;
        const Datum config = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig, RelationGetDescr(rows), &null);
        Datum* settings = nullptr;
        int count = 0;
        if (!null)
            deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT, &settings, nullptr, &count);
        const size_t length = strlen(preload);
        for (int i = 0; i < count; ++i) {
            char* setting = TextDatumGetCString(settings[i]);
            if (strncmp(setting, preload, length) == 0 && setting[length] == '=')
                out = setting + length + 1;
        }
    }
    systable_endscan(scan);
    table_close(rows, AccessShareLock);
    return out;
}

// A database is guarded when it loads sor into its sessions: its own tables cannot be read from another one.
void drop_database(Oid database) {
    const char* libraries = preloaded_by_database(database);
    if (libraries == nullptr || !names_sor(libraries))
        return;
    const char* action = psprintf("dropping database %s", quote_identifier(get_database_name(database)));
    if (forced())
        ereport(WARNING, (errmsg("the drop guard was bypassed: %s", action),
                          errdetail("It could not be recorded as an event.")));
    else
        refuse({verdict::of::sor, "It loads sor into each session, so it holds what sor guards."}, action);
}

// The depth of the ALTER TABLE that runs now; -1: none.
int alter_table_depth = -1;

// Whether the command that runs now has dropped anything.
bool drops_seen = false;

void see_command(const Node* command) {
    drops_seen = false;
    const int depth = bridge::utility_depth();
    if (IsA(command, AlterTableStmt))
        alter_table_depth = depth;
    else if (alter_table_depth >= depth)
        alter_table_depth = -1;
}

void drop_object(Oid catalog, Oid object, int part, int flags) {
    if ((flags & PERFORM_DELETION_INTERNAL) != 0 || exempt())
        return;
    if (catalog == DatabaseRelationId) {
        drop_database(object);
        return;
    }
    // ALTER TABLE … DROP DEFAULT was judged as what it is; else a default goes because what it uses goes.
    if (catalog == AttrDefaultRelationId && alter_table_depth == bridge::utility_depth())
        return;
    if (!within_command())
        return;
    // Now the command has its locks: what was protected while it waited for them is so.
    if (!drops_seen)
        begin_command();
    drops_seen = true;
    ObjectAddress address;
    ObjectAddressSubSet(address, catalog, object, part);
    const verdict v = of_object(address);
    // What is forced was noted by name at the start; what goes with it, only where it holds rows.
    if (v && forced() &&
        (v.kind == verdict::of::sor || catalog != RelationRelationId || part != 0 ||
         get_rel_relkind(object) != RELKIND_RELATION))
        return;
    if (v)
        refuse(v, psprintf("dropping %s", describe(address)));
}

// A parallel pg_restore truncates each table that it has just made before it fills it. Never waits: the command has
// looked a name up without a lock, and a wait would let that name come to mean another table unnoticed.
bool is_empty(Oid relation) {
    if (get_rel_relkind(relation) != RELKIND_RELATION || !ConditionalLockRelationOid(relation, AccessShareLock))
        return false;
    const Relation opened = try_relation_open(relation, NoLock);
    const bool empty = opened != nullptr && RelationGetNumberOfBlocks(opened) == 0;
    if (opened != nullptr)
        relation_close(opened, NoLock);
    UnlockRelationOid(relation, AccessShareLock);
    return empty;
}

void truncate_table(Oid relation) {
    if (exempt() || guards_truncate(relation) || is_empty(relation) || !begin_command())
        return;
    ObjectAddress address;
    ObjectAddressSet(address, RelationRelationId, relation);
    if (const verdict v = of_relation(relation))
        refuse(v, psprintf("truncating %s", describe(address)));
    end_command();
    record("TRUNCATE TABLE");
}

object_access_hook_type previous_object_access_hook = nullptr;

void see_access(ObjectAccessType access, Oid catalog, Oid object, int part, void* argument) {
    if (access == OAT_DROP)
        drop_object(catalog, object, part, static_cast<ObjectAccessDrop*>(argument)->dropflags);
    else if (access == OAT_TRUNCATE)
        truncate_table(object);
}

void object_access(ObjectAccessType access, Oid catalog, Oid object, int part, void* argument) {
    if (previous_object_access_hook != nullptr)
        previous_object_access_hook(access, catalog, object, part, argument);
    if (access == OAT_DROP || access == OAT_TRUNCATE)
        bridge::enter<&see_access>(access, catalog, object, part, argument);
}

// Adds sor to what each new session of this database loads. As the superuser: the setting is his, and its value ours.
void preload_in_database() {
    const char* by_database = preloaded_by_database(MyDatabaseId);
    if (by_database != nullptr && names_sor(by_database))
        return;
    Oid user;
    int security;
    GetUserIdAndSecContext(&user, &security);
    SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
    const char* former = by_database ? by_database : GetConfigOptionResetString(preload);
    List* names = NIL;
    if (!SplitDirectoriesString(pstrdup(former ? former : ""), ',', &names))
        names = NIL;
    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfo(&sql, "alter database %s set %s = ", quote_identifier(get_database_name(MyDatabaseId)), preload);
    ListCell* cell;
    foreach (cell, names)
        if (const char* name = static_cast<const char*>(lfirst(cell)); !names_sor(name))
            appendStringInfo(&sql, "%s, ", quote_literal_cstr(name));
    appendStringInfoString(&sql, "'sor'");
    bridge::with_spi([&](MemoryContext) { bridge::execute_own(sql.data); });
    SetUserIdAndSecContext(user, security);
}

// ---------------------------------------------------------------- TRUNCATE in sessions that never load the library

constexpr const char* truncate_guard = "sor_refuse_truncate";

void guard_truncate(Oid relation) {
    const Oid schema = get_namespace_oid("sor", false);
    const Oid function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("refuse_truncate"),
                                         PointerGetDatum(buildoidvector(nullptr, 0)), ObjectIdGetDatum(schema));
    // Missing while sor itself is being created; its own tables get theirs at the end.
    if (!OidIsValid(function) || guards_truncate(relation))
        return;
    const char* table = bridge::qualified_name(relation);
    bridge::execute_own(psprintf("create or replace trigger %s before truncate on %s for each statement"
                                 " execute function sor.refuse_truncate()",
                                 truncate_guard, table));
    // ALWAYS: a session in replica mode must not slip past.
    bridge::execute_own(psprintf("alter table %s enable always trigger %s", table, truncate_guard));
}

// A table that is made under a guarded one: its owner need not be an operator, so the trigger is made as the superuser.
void guard_child(const CreateStmt* made) {
    const Oid relation = RangeVarGetRelid(made->relation, NoLock, true);
    if (!OidIsValid(relation) || get_rel_persistence(relation) == RELPERSISTENCE_TEMP || !begin_command() ||
        !of_relation(relation).is_protected() || guards_truncate(relation))
        return;
    Oid user;
    int security;
    GetUserIdAndSecContext(&user, &security);
    SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
    bridge::with_spi([&](MemoryContext) { guard_truncate(relation); });
    SetUserIdAndSecContext(user, security);
}

} // namespace

// ---------------------------------------------------------------- interface

bool session_is_superuser() {
    return superuser_arg(GetSessionUserId());
}

bool forced() {
    return !drop_guard && session_is_superuser();
}

void refuse(const verdict& v, const char* action, const char* because, bool beyond_review) {
    if (forced()) {
        note(action);
        return;
    }
    const bool own = v.kind == verdict::of::sor;
    const auto permission = migrations::current_permission();
    if (!own && (permission == migrations::permission::overridden ||
                 (permission == migrations::permission::reviewed && !beyond_review)))
        return;
    const char* version = migrations::current_version();
    const char* hint =
        own ? "A superuser can force it in a session with sor.drop_guard = off; that is recorded."
        : version != nullptr
            ? psprintf(
                  "Migration %s does not say so itself: it is hidden in another statement, goes along by CASCADE, or "
                  "lacks its schema. Write it out, or have the migration approved with an override that names the "
                  "branch and the backup.",
                  version)
            : "Propose it as a migration, rehearse it on a branch, and have it approved with an override that names "
              "the branch and the backup (sor migrate).";
    bridge::raise(code::destructive_change_refused, psprintf("%s was refused", action),
                  psprintf("%s%s%s%s", because ? because : "", because ? " " : "", v.why,
                           v.kind == verdict::of::governed   ? " The drop guard covers what is protected."
                           : v.kind == verdict::of::database ? " The drop guard covers the database."
                                                             : ""),
                  hint);
}

void load() {
    // Not in a file, nor with ALTER SYSTEM: whoever forces something says so where it is done.
    DefineCustomBoolVariable("sor.drop_guard", "Whether the drop guard holds; off counts for superusers alone.",
                             nullptr, &drop_guard, true, PGC_SUSET, GUC_DISALLOW_IN_FILE | GUC_NOT_IN_SAMPLE,
                             only_in_session, nullptr, nullptr);
    shared = process_shared_preload_libraries_in_progress;
    RegisterXactCallback(at_transaction_event, nullptr);
    RegisterSubXactCallback(at_subtransaction_event, nullptr);
    bridge::observe_utility(judge_eventless);
    context::also_protect(guard_truncate);
    previous_object_access_hook = object_access_hook;
    object_access_hook = object_access;
}

} // namespace sor::guard

using namespace sor;
using bridge::in;

namespace {

const EventTriggerData* event_of(FunctionCallInfo fcinfo, const char* function) {
    if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
        elog(ERROR, "%s: not called as an event trigger", function);
    return reinterpret_cast<EventTriggerData*>(fcinfo->context);
}

} // namespace

SOR_FUNCTION(guard_command) {
    const EventTriggerData* event = event_of(fcinfo, "guard_command");
    if (event->parsetree != nullptr && !guard::exempt() && guard::begin_command()) {
        guard::see_command(event->parsetree);
        guard::judge(event->parsetree);
    }
    return PointerGetDatum(nullptr);
}

SOR_FUNCTION(guard_command_done) {
    const EventTriggerData* event = event_of(fcinfo, "guard_command_done");
    guard::end_command();
    guard::record(GetCommandTagName(event->tag));
    return PointerGetDatum(nullptr);
}

// Called for each CREATE TABLE, so what has no parent returns at once.
SOR_FUNCTION(guard_child) {
    const EventTriggerData* event = event_of(fcinfo, "guard_child");
    const auto* made = reinterpret_cast<const CreateStmt*>(event->parsetree);
    if (made != nullptr && IsA(made, CreateStmt) && made->inhRelations != NIL && !guard::exempt()) {
        guard::guard_child(made);
        guard::end_command();
    }
    return PointerGetDatum(nullptr);
}

SOR_FUNCTION(refuse_truncate) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        elog(ERROR, "refuse_truncate: not called as a trigger");
    const Oid relation = RelationGetRelid(reinterpret_cast<TriggerData*>(fcinfo->context)->tg_relation);
    if (guard::begin_command()) {
        ObjectAddress address;
        ObjectAddressSet(address, RelationRelationId, relation);
        if (const guard::verdict v = guard::of_relation(relation))
            guard::refuse(v, psprintf("truncating %s", guard::describe(address)));
        guard::end_command();
        guard::record("TRUNCATE TABLE");
    }
    return PointerGetDatum(nullptr);
}

SOR_FUNCTION(set_drop_guard) {
    const bridge::arguments a(fcinfo);
    const char* coverage = bridge::to_cstring(bridge::view(a.string(0, "coverage")));
    if (strcmp(coverage, "protected") != 0 && strcmp(coverage, "database") != 0)
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no coverage of the drop guard", coverage), nullptr,
                      "Give protected or database.");
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        static bridge::statement save(
            "insert into sor.guard_coverage as g (coverage) values ($1) on conflict (only_one) do update"
            " set coverage = excluded.coverage, changed_at = pg_catalog.clock_timestamp()"
            " where g.coverage <> excluded.coverage returning true",
            {TEXTOID});
        if (save.run(in(coverage)).empty())
            return;
        static bridge::statement describe("select pg_catalog.jsonb_build_object('coverage', $1)", {TEXTOID});
        events::append_system("migration.guard_set", describe.run(in(coverage)).json(0, 1));
    });
    if (strcmp(coverage, "database") == 0)
        guard::preload_in_database();
    PG_RETURN_VOID();
}

SOR_FUNCTION(drop_guard) {
    bridge::rowset rows(fcinfo);
    const char* by_database = guard::preloaded_by_database(MyDatabaseId);
    const char* by_session = GetConfigOption(guard::preload, true, false);
    const bool preloaded = guard::shared || (by_database != nullptr && guard::names_sor(by_database)) ||
                           (by_database == nullptr && by_session != nullptr && guard::names_sor(by_session));
    context::as_engine([&](MemoryContext) {
        static bridge::statement read("select coalesce((select coverage from sor.guard_coverage), 'protected')", {});
        const auto found = read.run();
        rows.add({found.column(0, 1), in(preloaded), in(guard::shared)});
    });
    return 0;
}
