#include "migrations/runner.hpp"

#include "bridge/catalog.hpp"
#include "bridge/utility.hpp"
#include "context/context.hpp"
#include "migrations/migrations_core.hpp"
#include "migrations/reading.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "nodes/makefuncs.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/hsearch.h"
#include "utils/varlena.h"
}

namespace sor::migrations {

using bridge::in;

namespace {

// What runs now in this backend.
struct {
    const char* version; // null: nothing
    permission permitted;
    bool utility; // the statement that runs is one
    int depth;    // of utility statements around the migration
} running;

// What the session may run by itself.
struct {
    MemoryContext memory;
    const char* version; // null: nothing
    permission permitted;
    List* texts;
    char* search_path; // in which they were read; null: they name every schema
    bool pending;      // until the transaction that armed it commits
} armed;

bool is_armed_statement() {
    if (armed.version == nullptr || armed.pending || debug_query_string == nullptr)
        return false;
    ListCell* cell;
    foreach (cell, armed.texts)
        if (strcmp(static_cast<const char*>(lfirst(cell)), debug_query_string) == 0)
            return armed.search_path == nullptr || strcmp(search_path_now(), armed.search_path) == 0;
    return false;
}

void at_transaction_end(XactEvent event, void*) {
    if (!armed.pending)
        return;
    if (event == XACT_EVENT_COMMIT)
        armed.pending = false;
    else if (event == XACT_EVENT_ABORT)
        disarm();
}

} // namespace

char* search_path_now() {
    StringInfoData out;
    initStringInfo(&out);
    ListCell* cell;
    foreach (cell, fetch_search_path(false))
        if (const char* schema = get_namespace_name(lfirst_oid(cell)); schema != nullptr)
            appendStringInfo(&out, "%s%s", out.len > 0 ? ", " : "", quote_identifier(schema));
    return out.data;
}

namespace {

// A name without a schema holds where names are looked for in the same schemas as then, and it is of the first of
// these: what was made then is there, and nothing behind it can take its place when it goes.
struct name_check {
    bool same_path;
    bool may_differ = false;
    bool lack_schema = false;

    void in_schema(Oid schema) {
        const List* path = fetch_search_path(false);
        if (OidIsValid(schema) && (!same_path || path == NIL || linitial_oid(path) != schema))
            may_differ = true;
    }
    void relation(const RangeVar* name) {
        if (name == nullptr || name->schemaname != nullptr)
            return;
        lack_schema = true;
        const Oid found = RangeVarGetRelid(name, NoLock, true);
        if (OidIsValid(found) && get_rel_persistence(found) != RELPERSISTENCE_TEMP)
            in_schema(get_rel_namespace(found));
    }
    void object(ObjectType type, Node* name) {
        if (name == nullptr)
            return;
        switch (type) {
        case OBJECT_TABLE:
        case OBJECT_SEQUENCE:
        case OBJECT_VIEW:
        case OBJECT_MATVIEW:
        case OBJECT_INDEX:
        case OBJECT_FOREIGN_TABLE:
            return relation(makeRangeVarFromNameList(reinterpret_cast<List*>(name)));
        case OBJECT_TRIGGER:
        case OBJECT_POLICY:
        case OBJECT_RULE: {
            const List* names = reinterpret_cast<List*>(name);
            return relation(makeRangeVarFromNameList(list_copy_head(names, list_length(names) - 1)));
        }
        default: {
            const List* names = IsA(name, List)             ? reinterpret_cast<List*>(name)
                                : IsA(name, TypeName)       ? reinterpret_cast<TypeName*>(name)->names
                                : IsA(name, ObjectWithArgs) ? reinterpret_cast<ObjectWithArgs*>(name)->objname
                                                            : NIL;
            if (list_length(names) != 1)
                return; // what has no schema, or one that is named
            lack_schema = true;
            Relation held = nullptr;
            const ObjectAddress found = get_object_address(type, name, &held, AccessShareLock, true);
            if (held != nullptr)
                relation_close(held, NoLock);
            if (OidIsValid(found.objectId))
                in_schema(get_object_namespace(&found));
        }
        }
    }
};

name_check check_names(const Node* node, bool same_path) {
    name_check check = {same_path};
    ListCell* cell;
    switch (nodeTag(node)) {
    case T_DropStmt: {
        const auto* s = reinterpret_cast<const DropStmt*>(node);
        foreach (cell, s->objects)
            check.object(s->removeType, static_cast<Node*>(lfirst(cell)));
        break;
    }
    case T_AlterTableStmt: {
        const auto* s = reinterpret_cast<const AlterTableStmt*>(node);
        check.relation(s->relation);
        foreach (cell, s->cmds)
            if (const auto* cmd = static_cast<const AlterTableCmd*>(lfirst(cell)); cmd->def == nullptr)
                continue;
            else if (IsA(cmd->def, PartitionCmd))
                check.relation(reinterpret_cast<const PartitionCmd*>(cmd->def)->name);
            else if (IsA(cmd->def, RangeVar))
                check.relation(reinterpret_cast<const RangeVar*>(cmd->def));
        break;
    }
    case T_RenameStmt: {
        const auto* s = reinterpret_cast<const RenameStmt*>(node);
        check.relation(s->relation);
        if (s->relation == nullptr && s->object != nullptr)
            check.object(s->renameType == OBJECT_DOMCONSTRAINT ? OBJECT_TYPE : s->renameType, s->object);
        break;
    }
    case T_AlterObjectSchemaStmt: {
        const auto* s = reinterpret_cast<const AlterObjectSchemaStmt*>(node);
        check.relation(s->relation);
        if (s->relation == nullptr)
            check.object(s->objectType, s->object);
        break;
    }
    case T_AlterOwnerStmt: {
        const auto* s = reinterpret_cast<const AlterOwnerStmt*>(node);
        check.relation(s->relation);
        if (s->relation == nullptr)
            check.object(s->objectType, s->object);
        break;
    }
    case T_TruncateStmt:
        foreach (cell, reinterpret_cast<const TruncateStmt*>(node)->relations)
            check.relation(static_cast<const RangeVar*>(lfirst(cell)));
        break;
    case T_CreatePolicyStmt:
        check.relation(reinterpret_cast<const CreatePolicyStmt*>(node)->table);
        break;
    case T_AlterPolicyStmt:
        check.relation(reinterpret_cast<const AlterPolicyStmt*>(node)->table);
        break;
    case T_RuleStmt:
        check.relation(reinterpret_cast<const RuleStmt*>(node)->relation);
        break;
    case T_CreateTrigStmt:
        check.relation(reinterpret_cast<const CreateTrigStmt*>(node)->relation);
        break;
    case T_AlterDomainStmt:
        check.object(OBJECT_TYPE, reinterpret_cast<Node*>(makeTypeNameFromNameList(
                                      reinterpret_cast<const AlterDomainStmt*>(node)->typeName)));
        break;
    case T_AlterEnumStmt:
        check.object(OBJECT_TYPE, reinterpret_cast<Node*>(makeTypeNameFromNameList(
                                      reinterpret_cast<const AlterEnumStmt*>(node)->typeName)));
        break;
    default:
        break;
    }
    return check;
}

} // namespace

bool names_may_differ(const Node* node, const char* search_path) {
    return check_names(node, strcmp(search_path, search_path_now()) == 0).may_differ;
}

namespace {

// Whether any of them names something without its schema.
bool lack_schemas(const List* texts) {
    ListCell* cell;
    foreach (cell, texts)
        if (const List* parsed = bridge::parse_sql(static_cast<const char*>(lfirst(cell)));
            check_names(linitial_node(RawStmt, parsed)->stmt, true).lack_schema)
            return true;
    return false;
}

} // namespace

const char* current_version() {
    return running.version != nullptr ? running.version : is_armed_statement() ? armed.version : nullptr;
}

permission current_permission() {
    const bool is_running = running.version != nullptr;
    if (!is_running && !is_armed_statement())
        return permission::none;
    const permission permitted = is_running ? running.permitted : armed.permitted;
    if (permitted != permission::reviewed)
        return permitted;
    // The review has read the migration's own statements, and not what they run.
    const bool own =
        is_running ? running.utility && bridge::utility_depth() == running.depth + 1 : bridge::utility_depth() == 1;
    return own ? permission::reviewed : permission::none;
}

void arm(const char* version, permission permitted, List* texts) {
    static bool watching = false;
    if (!watching)
        RegisterXactCallback(at_transaction_end, nullptr);
    watching = true;
    if (armed.memory == nullptr)
        armed.memory = AllocSetContextCreate(TopMemoryContext, "sor migration step", ALLOCSET_SMALL_SIZES);
    disarm();
    const MemoryContext outer = MemoryContextSwitchTo(armed.memory);
    ListCell* cell;
    foreach (cell, texts)
        armed.texts = lappend(armed.texts, pstrdup(static_cast<const char*>(lfirst(cell))));
    armed.permitted = permitted;
    MemoryContextSwitchTo(outer);
    as_at_login([&] {
        if (lack_schemas(texts))
            armed.search_path = MemoryContextStrdup(armed.memory, search_path_now());
    });
    MemoryContextSwitchTo(armed.memory);
    armed.pending = true;
    armed.version = pstrdup(version);
    MemoryContextSwitchTo(outer);
}

void disarm() {
    armed.version = nullptr;
    armed.search_path = nullptr;
    armed.texts = NIL;
    armed.pending = false;
    if (armed.memory != nullptr)
        MemoryContextReset(armed.memory);
}

namespace {

// ---------------------------------------------------------------- locks

constexpr int most_locks = 1000; // beyond, looking at them would take longer than the statements

struct lock_key {
    Oid relation;
    LOCKMODE mode;
};

class lock_watch {
public:
    lock_watch() {
        HASHCTL control = {};
        control.keysize = sizeof(lock_key);
        control.entrysize = sizeof(lock_key);
        control.hcxt = CurrentMemoryContext;
        known_ = hash_create("sor locks", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    }
    // Those on relations that were there before the call, taken since the last look: others can wait for these. In
    // `memory`; false when too many are held.
    bool look(MemoryContext memory, List*& taken) {
        if (too_many_)
            return false;
        LockData* all = GetLockStatusData();
        int held = 0;
        for (int i = 0; i < all->nelements; ++i) {
            const LockInstanceData& one = all->locks[i];
            if (one.pid != MyProcPid || one.locktag.locktag_type != LOCKTAG_RELATION || one.holdMask == 0)
                continue;
            too_many_ = ++held > most_locks;
            for (LOCKMODE mode = 1; mode < MAX_LOCKMODES && !too_many_; ++mode)
                if ((one.holdMask & LOCKBIT_ON(mode)) != 0)
                    add({one.locktag.locktag_field2, mode}, memory, taken);
        }
        pfree(all->locks);
        pfree(all);
        return !too_many_;
    }

private:
    void add(const lock_key& key, MemoryContext memory, List*& taken) {
        bool known;
        hash_search(known_, &key, HASH_ENTER, &known);
        if (known)
            return;
        // With the snapshot of the calling statement: of what it does not see nobody else knows, and what has been
        // dropped since still has its name.
        static bridge::statement name("select pg_catalog.format('%I.%I', n.nspname, c.relname)"
                                      "  from pg_catalog.pg_class c"
                                      "  join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
                                      " where c.oid = $1 and n.nspname not in"
                                      "   ('pg_catalog', 'pg_toast', 'information_schema', 'sor')",
                                      {OIDOID});
        const auto found = name.look(bridge::value::of(ObjectIdGetDatum(key.relation)));
        if (!found.empty()) {
            const MemoryContext outer = MemoryContextSwitchTo(memory);
            auto* one = static_cast<lock_taken*>(palloc(sizeof(lock_taken)));
            *one = {found.string(0, 1), GetLockmodeName(DEFAULT_LOCKMETHOD, key.mode)};
            taken = lappend(taken, one);
            MemoryContextSwitchTo(outer);
        }
        found.free();
    }

    HTAB* known_;
    bool too_many_ = false;
};

// ---------------------------------------------------------------- what a migration leaves in its session

constexpr const char* temporary_relations =
    "select pg_catalog.array_agg(c.oid) from pg_catalog.pg_class c"
    " where c.relnamespace = pg_catalog.pg_my_temp_schema() and c.relkind in ('r', 'p', 'v', 'm', 'S')";

bridge::value temporary_now(MemoryContext memory) {
    const auto found = bridge::execute_text(temporary_relations);
    bridge::value out = found.column(0, 1);
    if (!out.null) {
        const MemoryContext outer = MemoryContextSwitchTo(memory);
        out.datum = datumCopy(out.datum, false, -1);
        MemoryContextSwitchTo(outer);
    }
    found.free();
    return out;
}

// Temporary tables and cursors that outlive the transaction.
void drop_leavings(const bridge::value& before) {
    static bridge::statement made(
        "select pg_catalog.format('drop %s if exists pg_temp.%I cascade',"
        "         case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'"
        "           else 'table' end, c.relname)"
        "  from pg_catalog.pg_class c"
        " where c.relnamespace = pg_catalog.pg_my_temp_schema() and c.relkind in ('r', 'p', 'v', 'm', 'S')"
        "   and c.oid <> all (coalesce($1, '{}'::pg_catalog.oid[]))",
        {OIDARRAYOID});
    static bridge::statement cursors("select name from pg_catalog.pg_cursors"
                                     " where is_holdable and creation_time >= pg_catalog.statement_timestamp()",
                                     {});
    const auto leavings = made.run(before);
    if (leavings.count > 0) { // another may go by its cascade: nobody needs to hear of that
        const int level = NewGUCNestLevel();
        set_config_option("client_min_messages", "warning", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                          false);
        for (uint64 i = 0; i < leavings.count; ++i)
            bridge::execute_text(leavings.string(i, 1));
        AtEOXact_GUC(false, level);
    }
    const auto open = cursors.run();
    for (uint64 i = 0; i < open.count; ++i)
        if (Portal portal = SPI_cursor_find(open.string(i, 1)); portal != nullptr)
            SPI_cursor_close(portal);
}

// ---------------------------------------------------------------- statements

void set_for_a_while(const char* name, const char* value) {
    set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

} // namespace

// "$user" is who has logged in, as in the review, and not the role that a header names.
static char* search_path_at_login() {
    const char* setting = GetConfigOptionResetString("search_path");
    List* names = NIL;
    if (!SplitIdentifierString(pstrdup(setting), ',', &names))
        return pstrdup(setting);
    StringInfoData out;
    initStringInfo(&out);
    ListCell* cell;
    foreach (cell, names) {
        const char* one = static_cast<const char*>(lfirst(cell));
        if (strcmp(one, "$user") == 0)
            one = GetUserNameFromId(GetSessionUserId(), true);
        if (one != nullptr)
            appendStringInfo(&out, "%s%s", out.len > 0 ? ", " : "", *one ? quote_identifier(one) : "\"\"");
    }
    return out.data;
}

void set_as_at_login() {
    set_for_a_while("search_path", search_path_at_login());
    set_for_a_while("row_security", pstrdup(GetConfigOptionResetString("row_security")));
    set_for_a_while("standard_conforming_strings", "on");
}

namespace {

void execute_plan_of(const char* text) {
    SPIPlanPtr plan = bridge::prepare_sql(text);
    SPIExecuteOptions options = {};
    options.dest = None_Receiver; // of what it returns, nothing is kept
    const int code = SPI_execute_plan_extended(plan, &options);
    if (code < 0)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("a migration cannot have this statement: %s", SPI_result_code_string(code))));
    SPI_freeplan(plan);
}

constexpr int longest_quoted = 4000; // an error's context quotes the statement, which may have megabytes

// The beginning and the end, which says where it was.
char* shortened(char* context) {
    if (context == nullptr || strlen(context) <= longest_quoted)
        return context;
    const int length = static_cast<int>(strlen(context));
    const int head = pg_mbcliplen(context, length, longest_quoted / 2);
    const int rest = pg_mbcliplen(context, length, length - longest_quoted / 2);
    return psprintf("%.*s…%s", head, context, context + rest);
}

void execute(const char* text) {
    const MemoryContext memory = CurrentMemoryContext;
    PG_TRY();
    { execute_plan_of(text); }
    PG_CATCH();
    {
        MemoryContextSwitchTo(memory);
        ErrorData* error = CopyErrorData();
        FlushErrorState();
        error->context = shortened(error->context);
        if (error->internalquery != nullptr && strlen(error->internalquery) > longest_quoted) {
            error->internalquery = nullptr;
            error->internalpos = 0;
        }
        ReThrowError(error);
    }
    PG_END_TRY();
}

List* run_statements(const job& j, place& at, MemoryContext memory) {
    List* out = NIL;
    lock_watch locks;
    List* before = NIL;
    locks.look(memory, before);
    reader statements(at, bridge::view(j.text_));
    statement s;
    while (statements.next(s)) {
        if (s.number < j.first)
            continue;
        if (j.last != 0 && s.number > j.last)
            break;
        const TimestampTz began = GetCurrentTimestamp();
        instr_time start, end;
        INSTR_TIME_SET_CURRENT(start);
        running.utility = is_utility(s.node) && (j.search_path == nullptr || j.permitted != permission::reviewed ||
                                                 !names_may_differ(s.node, j.search_path));
        execute(s.text);
        running.utility = false;
        INSTR_TIME_SET_CURRENT(end);
        INSTR_TIME_SUBTRACT(end, start);
        const MemoryContext outer = MemoryContextSwitchTo(memory);
        auto* one = static_cast<executed*>(palloc0(sizeof(executed)));
        out = lappend(out, one);
        MemoryContextSwitchTo(outer);
        one->statement_no = s.number;
        one->line = s.line;
        one->command = CreateCommandName(const_cast<Node*>(s.node));
        one->microseconds = static_cast<int64>(INSTR_TIME_GET_MICROSEC(end));
        one->began = began;
        one->looked = locks.look(memory, one->locks);
    }
    at.statement_no = 0;
    at.text = nullptr;
    return out;
}

Oid role_of(const job& j) {
    const std::string_view name = header_role(bridge::view(j.text_));
    if (name.empty())
        return InvalidOid;
    const Oid role = get_role_oid(bridge::to_cstring(name), false);
    if (!bridge::may_become(GetUserId(), role))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("role \"%s\" cannot become role \"%s\"", GetUserNameFromId(GetUserId(), false),
                               GetUserNameFromId(role, false)),
                        errdetail("The migration's header names it."),
                        errhint("GRANT %s TO %s.", quote_identifier(GetUserNameFromId(role, false)),
                                quote_identifier(GetUserNameFromId(GetUserId(), false)))));
    return role;
}

} // namespace

List* run(const job& j, const char** ran_in) {
    const MemoryContext memory = CurrentMemoryContext;
    List* volatile out = NIL;
    place at = {j.version, j.down, 0, 0, nullptr, {}};
    enter(at);
    const Oid role = role_of(j);
    // What the transaction has put off until now is not for that role to do. Where there can be nothing, constraints
    // stay as they are declared: making triggers fire now makes later ones immediate.
    if (OidIsValid(role) && !j.first_writes)
        context::fire_deferred_triggers_of_caller();
    Oid user;
    int security;
    GetUserIdAndSecContext(&user, &security);
    const int level = NewGUCNestLevel();
    PG_TRY();
    {
        running.version = j.version;
        running.permitted = j.permitted;
        running.utility = false;
        running.depth = bridge::utility_depth();
        if (OidIsValid(role))
            SetUserIdAndSecContext(role, security | SECURITY_LOCAL_USERID_CHANGE);
        set_as_at_login();
        *ran_in = MemoryContextStrdup(memory, search_path_now());
        bridge::with_spi([&](MemoryContext) {
            const bridge::value before = temporary_now(memory);
            out = run_statements(j, at, memory);
            if (OidIsValid(role)) // at the commit, they would fire as the caller
                context::fire_deferred_triggers();
            AtEOXact_GUC(false, level); // what they SET, a role too
            drop_leavings(before);
        });
    }
    PG_FINALLY();
    { running.version = nullptr; }
    PG_END_TRY();
    SetUserIdAndSecContext(user, security);
    leave(at);
    return out;
}

Jsonb* locks_of(const executed& e, TimestampTz end) {
    if (!e.looked)
        return nullptr;
    bridge::json_writer out;
    out.array();
    ListCell* cell;
    foreach (cell, e.locks) {
        const auto* l = static_cast<const lock_taken*>(lfirst(cell));
        out.object()
            .field("relation", l->relation)
            .field("mode", l->mode)
            .field("held_ms", (end - e.began) / 1000)
            .end();
    }
    return out.end().done();
}

} // namespace sor::migrations
