#include "context/context.hpp"

#include "bridge/catalog.hpp"
#include "bridge/utility.hpp"

namespace sor::context {

using bridge::in;

namespace {

// ---------------------------------------------------------------- settings

char* tenant_setting;
char* user_setting;
char* actor_kind_setting;

// What the assign hooks parsed, so that policies compare sixteen bytes and nothing else.
struct parsed_uuid {
    pg_uuid_t id;
    bool set;
};
parsed_uuid tenant_now;
parsed_uuid user_now;

bool setting_now = false; // true only while set_local runs

bool only_we_set(char** value, void**, GucSource source) {
    if (setting_now || InitializingParallelWorker || (source == PGC_S_DEFAULT && **value == '\0'))
        return true;
    GUC_check_errcode(bridge::sqlstate(code::context_already_set));
    GUC_check_errmsg("the tenant context cannot be set by hand");
    GUC_check_errhint("Call sor.set_context(tenant_id) inside a transaction.");
    return false;
}

void assign_tenant(const char* value, void*) {
    tenant_now.set = bridge::parse_uuid(value, tenant_now.id);
}
void assign_user(const char* value, void*) {
    user_now.set = bridge::parse_uuid(value, user_now.id);
}

// The tenant this transaction was opened for. Kept beside the setting, which who may set it may also RESET (before
// PostgreSQL 16): that must not let a second tenant in.
struct {
    pg_uuid_t tenant;
    bool set;
    int nest_level;
} opened;
// A cursor WITH HOLD may have been declared in this transaction before its tenant was opened.
bool hold_cursor_possible = false;

void set_local(const char* name, const char* value, GucAction action) {
    setting_now = true;
    PG_TRY();
    { set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, action, true, 0, false); }
    PG_FINALLY();
    { setting_now = false; }
    PG_END_TRY();
}

void set_uuid(const char* name, const parsed_uuid& now, const pg_uuid_t* id, GucAction action) {
    if (id == nullptr ? !now.set : now.set && bridge::equal(now.id, *id))
        return;
    set_local(name, id ? bridge::to_cstring(*id) : "", action);
}

void set_all(const pg_uuid_t& tenant, const pg_uuid_t* user, const char* kind, GucAction action) {
    set_uuid("sor.tenant_id", tenant_now, &tenant, action);
    set_uuid("sor.user_id", user_now, user, action);
    if (strcmp(actor_kind_setting, kind) != 0)
        set_local("sor.actor_kind", kind, action);
}

// ---------------------------------------------------------------- frames

// Entry points now running, outermost first. An array, not a list on the C stack: an error jumps over those frames,
// and the abort of their (sub)transaction drops them here.
struct frame {
    pg_uuid_t tenant;
    bool has_tenant;
    bool has_origin;
    origin from;
    Oid caller;
    int nest_level;
};
constexpr int deepest = 64;
frame frames[deepest];
int depth = 0;

void push(const pg_uuid_t* tenant) {
    if (depth == deepest)
        ereport(ERROR,
                (errcode(ERRCODE_STATEMENT_TOO_COMPLEX), errmsg("calls of sor functions are nested too deeply")));
    frames[depth].has_tenant = tenant != nullptr;
    frames[depth].has_origin = false;
    if (tenant != nullptr)
        frames[depth].tenant = *tenant;
    frames[depth].caller = GetUserId();
    frames[depth].nest_level = GetCurrentTransactionNestLevel();
    ++depth;
}

void at_transaction_end(XactEvent event, void*) {
    if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE ||
        event == XACT_EVENT_PARALLEL_ABORT || event == XACT_EVENT_PARALLEL_COMMIT) {
        depth = 0;
        opened.set = false;
        hold_cursor_possible = false;
    }
}

void at_subtransaction_end(SubXactEvent event, SubTransactionId, SubTransactionId, void*) {
    const int level = GetCurrentTransactionNestLevel();
    if (event == SUBXACT_EVENT_COMMIT_SUB && opened.nest_level == level)
        --opened.nest_level;
    if (event != SUBXACT_EVENT_ABORT_SUB)
        return;
    if (opened.nest_level >= level)
        opened.set = false;
    while (depth > 0 && frames[depth - 1].nest_level >= level)
        --depth;
}

void become_engine() {
    Oid user;
    int security;
    GetUserIdAndSecContext(&user, &security);
    SetUserIdAndSecContext(get_role_oid("sor_engine", false), security | SECURITY_LOCAL_USERID_CHANGE);
}

detail::switched remember() {
    detail::switched saved;
    GetUserIdAndSecContext(&saved.user, &saved.security);
    saved.depth = depth;
    return saved;
}

// ---------------------------------------------------------------- what would outlive the tenant

[[noreturn]] void would_outlive(const char* what, const char* hint) {
    bridge::raise(code::context_already_set, psprintf("%s would outlive this transaction's tenant", what),
                  "The session's next transaction may belong to another tenant.", hint);
}

constexpr const char* hold_hint = "Declare the cursor without hold, and read it before the transaction ends.";

bool is_temporary(const RangeVar* name, OnCommitAction at_commit) {
    return at_commit != ONCOMMIT_DROP && at_commit != ONCOMMIT_DELETE_ROWS &&
           (name->relpersistence == RELPERSISTENCE_TEMP || isTempNamespace(RangeVarGetCreationNamespace(name)));
}
bool is_temporary(const IntoClause* into) {
    return is_temporary(into->rel, into->onCommit);
}

bool is_analyze(const ExplainStmt* explain) {
    bool analyze = false;
    ListCell* cell;
    foreach (cell, explain->options) {
        auto* option = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(option->defname, "analyze") == 0)
            analyze = defGetBoolean(option);
    }
    return analyze;
}

// While a tenant is open: no cursor WITH HOLD and no temporary table that keeps its rows.
void refuse_outliving(const Node* statement) {
    const bool open = opened.set || tenant_now.set;
    bool temporary = false;
    if (IsA(statement, DeclareCursorStmt)) {
        if (!(reinterpret_cast<const DeclareCursorStmt*>(statement)->options & CURSOR_OPT_HOLD))
            return;
        if (open)
            would_outlive("a cursor WITH HOLD", hold_hint);
        hold_cursor_possible = true;
    } else if (!open) {
        return;
    } else if (IsA(statement, CreateStmt)) {
        const auto* create = reinterpret_cast<const CreateStmt*>(statement);
        temporary = is_temporary(create->relation, create->oncommit);
    } else if (IsA(statement, CreateTableAsStmt)) {
        temporary = is_temporary(reinterpret_cast<const CreateTableAsStmt*>(statement)->into);
    } else if (IsA(statement, ExplainStmt)) { // ANALYZE makes the table
        const auto* explain = reinterpret_cast<const ExplainStmt*>(statement);
        const auto* query = reinterpret_cast<const Query*>(explain->query);
        if (is_analyze(explain) && IsA(query, Query) && query->commandType == CMD_UTILITY)
            refuse_outliving(query->utilityStmt);
    }
    if (temporary)
        would_outlive("a temporary table", "Create it ON COMMIT DROP.");
}

// A cursor declared before its transaction's tenant was opened would be filled at commit, with that tenant's rows.
void refuse_hold_cursors() {
    static bridge::statement holds("select exists (select from pg_catalog.pg_cursors"
                                   "  where is_holdable and creation_time >= pg_catalog.transaction_timestamp())",
                                   {});
    if (holds.run().boolean(0, 1))
        would_outlive("a cursor WITH HOLD", hold_hint);
}

bool firing_deferred = false; // true only while fire_deferred_triggers runs

void refuse_deferring(const Node* statement) {
    if (firing_deferred && IsA(statement, ConstraintsSetStmt) &&
        reinterpret_cast<const ConstraintsSetStmt*>(statement)->deferred)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("constraints cannot be deferred by a deferred trigger now"),
                        errdetail("It would fire again after the role that queued it is gone."),
                        errhint("Leave SET CONSTRAINTS out of deferred triggers.")));
}

void refuse_statement(PlannedStmt* statement, const char*, ProcessUtilityContext) {
    refuse_deferring(statement->utilityStmt);
    refuse_outliving(statement->utilityStmt);
}

// ---------------------------------------------------------------- grants

[[noreturn]] void not_granted(const char* what, Oid caller) {
    bridge::raise(code::tenant_not_granted,
                  psprintf("role \"%s\" was not granted %s", GetUserNameFromId(caller, false), what), nullptr,
                  "An operator grants it with sor.grant_tenant(login, tenant_id, user_ids, actor_kinds).");
}

struct authority {
    const pg_uuid_t* user;
    const char* actor_kind;
    bool user_is_granted; // by name; else any user of the tenant will do
};

void require_user_of_tenant(const pg_uuid_t& tenant, const pg_uuid_t& user) {
    static bridge::statement find("select exists (select from sor.users where tenant_id = $1 and id = $2)",
                                  {UUIDOID, UUIDOID});
    if (!find.run_latest(in(tenant), in(user)).boolean(0, 1))
        bridge::raise(code::tenant_not_granted,
                      psprintf("tenant %s has no user %s", bridge::to_cstring(tenant), bridge::to_cstring(user)),
                      nullptr, "See sor.granted_users(tenant_id).");
}

bool is_known_kind(const char* kind) {
    return strcmp(kind, "user") == 0 || strcmp(kind, "agent") == 0 || strcmp(kind, "system") == 0;
}

// Which user and kind the caller acts as, from what it says and what it was granted. Runs as the engine.
authority check_grant(Oid caller, const pg_uuid_t& tenant, const identity& who) {
    authority out = {who.user, who.actor_kind, false};
    if (out.user == nullptr && user_now.set && tenant_now.set && bridge::equal(tenant_now.id, tenant))
        out.user = bridge::copy(user_now.id);
    // What a relay did as the system before, in this transaction, makes its caller no system.
    if (out.actor_kind == nullptr && *actor_kind_setting != '\0' && strcmp(actor_kind_setting, "system") != 0)
        out.actor_kind = pstrdup(actor_kind_setting);
    if (out.actor_kind != nullptr && !is_known_kind(out.actor_kind))
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no actor kind", out.actor_kind), nullptr,
                      "Give user or agent.");
    if (superuser_arg(caller)) {
        if (out.actor_kind == nullptr)
            out.actor_kind = "agent";
        return out;
    }
    static bridge::statement probe("select user_ids is null,"
                                   "       $3 is null or user_ids is null or $3 = any (user_ids),"
                                   "       case when pg_catalog.cardinality(user_ids) = 1 then user_ids[1] end,"
                                   "       $4 is null or $4 = any (actor_kinds),"
                                   "       case when pg_catalog.cardinality(actor_kinds) = 1 then actor_kinds[1] end"
                                   "  from sor.tenant_grants where login = $1 and tenant_id = $2",
                                   {NAMEOID, UUIDOID, UUIDOID, TEXTOID});
    const bool system = out.actor_kind != nullptr && strcmp(out.actor_kind, "system") == 0;
    // The latest, so that a revocation holds at once, under REPEATABLE READ too.
    const auto grant = probe.run_latest(bridge::in_name(GetUserNameFromId(caller, false)), in(tenant), in(out.user),
                                        in(system ? nullptr : out.actor_kind));
    if (grant.empty())
        not_granted(psprintf("tenant %s", bridge::to_cstring(tenant)), caller);
    if (!grant.boolean(0, 2))
        not_granted(psprintf("user %s of tenant %s", bridge::to_cstring(*out.user), bridge::to_cstring(tenant)),
                    caller);
    if (!grant.boolean(0, 4))
        not_granted(psprintf("actor kind %s in tenant %s", out.actor_kind, bridge::to_cstring(tenant)), caller);
    out.user_is_granted = !grant.boolean(0, 1);
    if (out.user == nullptr && out.user_is_granted) {
        if (const pg_uuid_t* only = grant.uuid_or_null(0, 3))
            out.user = bridge::copy(*only);
        else if (who.acts)
            bridge::raise(code::tenant_not_granted,
                          psprintf("role \"%s\" must say which user it acts for", GetUserNameFromId(caller, false)),
                          psprintf("Its grant in tenant %s names several users.", bridge::to_cstring(tenant)),
                          "Name the user where the call takes one, or call sor.set_context(tenant_id, user_id) first.");
    }
    if (out.actor_kind == nullptr) {
        char* only = grant.string_or_null(0, 5);
        if (only == nullptr)
            bridge::raise(
                code::tenant_not_granted,
                psprintf("role \"%s\" must say which kind of actor it is", GetUserNameFromId(caller, false)),
                psprintf("Its grant in tenant %s names several kinds.", bridge::to_cstring(tenant)),
                "Call sor.set_context(tenant_id, user_id, actor_kind) first, or have an operator grant a single kind.");
        out.actor_kind = only;
    }
    return out;
}

} // namespace

// ---------------------------------------------------------------- interface

const pg_uuid_t* current_tenant() {
    return tenant_now.set ? &tenant_now.id : nullptr;
}
const pg_uuid_t* current_user_id() {
    return user_now.set ? &user_now.id : nullptr;
}
const char* current_actor_kind() {
    return *actor_kind_setting != '\0' ? actor_kind_setting : nullptr;
}
bool inside_entry() {
    return depth > 0;
}
const char* caller_name() {
    return GetUserNameFromId(depth > 0 ? frames[0].caller : GetUserId(), false);
}
bool caller_is_superuser() {
    return superuser_arg(depth > 0 ? frames[0].caller : GetUserId());
}

const pg_uuid_t& required_tenant() {
    if (!tenant_now.set)
        bridge::raise(code::no_tenant_context, "no tenant is open in this transaction", nullptr,
                      "Call sor.set_context(tenant_id) first, in the same transaction.");
    return tenant_now.id;
}

void set_origin(const origin& from) {
    frames[depth - 1].from = from;
    frames[depth - 1].has_origin = true;
}

const origin* current_origin() {
    for (int i = depth; i-- > 0;)
        if (frames[i].has_origin)
            return &frames[i].from;
    return nullptr;
}

void act_for(const pg_uuid_t& user) {
    if (user_now.set && bridge::equal(user_now.id, user))
        return;
    identity who;
    who.user = &user;
    check_grant(frames[depth - 1].caller, required_tenant(), who);
    set_uuid("sor.user_id", user_now, &user, GUC_ACTION_LOCAL);
}

void fire_deferred_triggers() {
    const int level = detail::save_settings();
    const bool outer = firing_deferred;
    PG_TRY();
    {
        firing_deferred = true;
        ConstraintsSetStmt all = {};
        all.type = T_ConstraintsSetStmt;
        AfterTriggerSetState(&all);
    }
    PG_FINALLY();
    { firing_deferred = outer; }
    PG_END_TRY();
    detail::undo_settings(level);
}

void fire_deferred_triggers_of_caller() {
    Oid user;
    int security;
    GetUserIdAndSecContext(&user, &security);
    // Within a restricted operation none can have been put off.
    if ((security & SECURITY_RESTRICTED_OPERATION) == 0 && (security & SECURITY_LOCAL_USERID_CHANGE) != 0)
        SetUserIdAndSecContext(GetOuterUserId(), security);
    fire_deferred_triggers();
    SetUserIdAndSecContext(user, security);
}

void require_fit_owner(Oid owner, const char* what) {
    static bridge::statement check(
        "select r.rolsuper or r.rolbypassrls or exists (select from pg_catalog.pg_roles s"
        "   where s.rolname in ('sor_engine', 'sor_worker', 'sor_app', 'sor_relay', 'sor_auditor', 'sor_operator')"
        "     and pg_catalog.pg_has_role(r.oid, s.oid, 'member'))"
        "  from pg_catalog.pg_roles r where r.oid = $1",
        {OIDOID});
    if (check.run(bridge::value::of(ObjectIdGetDatum(owner))).boolean(0, 1))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("role \"%s\" is not fit to own %s", GetUserNameFromId(owner, false), what),
                        errdetail("It is superuser, bypasses row security, or is a member of a sor role."),
                        errhint("Give it to an ordinary NOLOGIN role.")));
}

void require_harmless_owner(Oid owner, const char* what) {
    bool fit = !superuser_arg(owner) && !has_bypassrls_privilege(owner);
    for (const char* role : {"sor_engine", "sor_worker", "sor_app", "sor_relay", "sor_auditor", "sor_operator"}) {
        const Oid of_sor = get_role_oid(role, true);
        fit = fit && !(OidIsValid(of_sor) && is_member_of_role_nosuper(owner, of_sor));
    }
    if (!fit)
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("%s has an owner that is not fit", what),
                        errdetail("Role \"%s\" is superuser, bypasses row security, or is a member of a sor role.",
                                  GetUserNameFromId(owner, false)),
                        errhint("Give it to an ordinary NOLOGIN role.")));
}

void require_member_of(Oid role, const char* why) {
    const Oid caller = depth > 0 ? frames[depth - 1].caller : GetUserId();
    if (!has_privs_of_role(caller, role))
        ereport(ERROR,
                (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                 errmsg("role \"%s\" is no member of role \"%s\"", GetUserNameFromId(caller, false),
                        GetUserNameFromId(role, false)),
                 errdetail("%s", why),
                 errhint("GRANT %s TO %s, or let a member do it.", quote_identifier(GetUserNameFromId(role, false)),
                         quote_identifier(GetUserNameFromId(caller, false)))));
}

detail::switched detail::open_tenant(const pg_uuid_t& tenant, const identity& who) {
    const switched saved = remember();
    const pg_uuid_t* belongs = tenant_now.set ? &tenant_now.id : opened.set ? &opened.tenant : nullptr;
    if (belongs != nullptr && !bridge::equal(*belongs, tenant))
        bridge::raise(
            code::context_already_set, psprintf("this transaction belongs to tenant %s", bridge::to_cstring(*belongs)),
            psprintf("Tenant %s was asked for.", bridge::to_cstring(tenant)), "Use one transaction for each tenant.");
    if (bridge::is_nil(tenant))
        bridge::raise(code::invalid_parameter, "the nil uuid is no tenant", nullptr,
                      "Give the tenant_id of a row in sor.tenants.");

    // Inside an entry point the outer call's authority counts: a tool may enqueue for the user it was called for.
    const bool inherited =
        depth > 0 && frames[depth - 1].has_tenant && bridge::equal(frames[depth - 1].tenant, tenant) && tenant_now.set;
    const Oid caller = GetUserId();
    push(&tenant);
    become_engine();
    if (inherited) {
        if (who.user != nullptr && (!user_now.set || !bridge::equal(user_now.id, *who.user)))
            bridge::raise(code::context_already_set, "a call made by a tool cannot act for another user", nullptr,
                          "Give null for the user: the tool's own user is meant.");
        return saved;
    }
    const MemoryContext here = CurrentMemoryContext;
    bridge::with_spi([&](MemoryContext) {
        if (hold_cursor_possible && !opened.set)
            refuse_hold_cursors();
        const authority granted = check_grant(caller, tenant, who);
        const bool same_user = granted.user == nullptr || (user_now.set && bridge::equal(user_now.id, *granted.user));
        set_all(tenant, granted.user, granted.actor_kind, GUC_ACTION_LOCAL);
        if (!same_user && !granted.user_is_granted)
            require_user_of_tenant(tenant, *granted.user);
        if (!opened.set) {
            opened.tenant = tenant;
            opened.set = true;
            opened.nest_level = GetCurrentTransactionNestLevel();
        }
    });
    MemoryContextSwitchTo(here);
    return saved;
}

detail::switched detail::open_as(const pg_uuid_t& tenant, const char* actor_kind, const pg_uuid_t* user) {
    const switched saved = remember();
    if (user == nullptr && user_now.set && tenant_now.set && bridge::equal(tenant_now.id, tenant))
        user = bridge::copy(user_now.id);
    set_all(tenant, user, actor_kind, GUC_ACTION_SAVE);
    push(&tenant);
    become_engine();
    return saved;
}

detail::switched detail::open_engine() {
    const switched saved = remember();
    push(nullptr);
    become_engine();
    return saved;
}

void detail::close(const switched& saved) {
    depth = saved.depth;
    SetUserIdAndSecContext(saved.user, saved.security);
}

int detail::save_settings() {
    return NewGUCNestLevel();
}

// Called when nothing failed; an error drops the level with its (sub)transaction.
void detail::restore_settings(int level) {
    AtEOXact_GUC(true, level);
}
// Undoes what was set for the rest of the transaction, too.
void detail::undo_settings(int level) {
    AtEOXact_GUC(false, level);
}
void detail::drop_settings(int level, bool was_open) {
    undo_settings(level);
    opened.set = opened.set && was_open;
}

bool detail::is_open() {
    return opened.set;
}

namespace {

void define(const char* name, const char* what, char** variable, GucStringAssignHook assign) {
    // Not GUC_NO_RESET, which 16 has: it would forbid setting for the length of a function, as administration() does.
    constexpr int flags = GUC_NO_RESET_ALL | GUC_DISALLOW_IN_FILE | GUC_NOT_IN_SAMPLE;
    DefineCustomStringVariable(name, what, nullptr, variable, "", PGC_SUSET, flags, only_we_set, assign, nullptr);
}

} // namespace

void load() {
    define("sor.tenant_id", "Tenant of this transaction.", &tenant_setting, assign_tenant);
    define("sor.user_id", "User this transaction acts for.", &user_setting, assign_user);
    define("sor.actor_kind", "Kind of actor: user, agent or system.", &actor_kind_setting, nullptr);
    RegisterXactCallback(at_transaction_end, nullptr);
    RegisterSubXactCallback(at_subtransaction_end, nullptr);
    hold_cursor_possible = IsTransactionState();
    bridge::observe_utility(refuse_statement);
}

} // namespace sor::context

using namespace sor;

SOR_FUNCTION(current_tenant) {
    const pg_uuid_t* id = context::current_tenant();
    if (id == nullptr)
        PG_RETURN_NULL();
    return UUIDPGetDatum(bridge::copy(*id));
}

SOR_FUNCTION(current_user_id) {
    const pg_uuid_t* id = context::current_user_id();
    if (id == nullptr)
        PG_RETURN_NULL();
    return UUIDPGetDatum(bridge::copy(*id));
}

SOR_FUNCTION(current_actor_kind) {
    const char* kind = context::current_actor_kind();
    if (kind == nullptr)
        PG_RETURN_NULL();
    return CStringGetTextDatum(kind);
}

SOR_FUNCTION(set_context) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const text* kind = a.string_or_null(2);
    char* actor_kind = kind ? bridge::to_cstring(bridge::view(kind)) : nullptr;
    if (actor_kind != nullptr && strcmp(actor_kind, "system") == 0)
        bridge::raise(code::tenant_not_granted, "nobody acts as the system", nullptr, "Give user or agent.");
    if (!IsTransactionBlock() && !context::inside_entry())
        ereport(WARNING, (errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
                          errmsg("sor.set_context has no effect outside a transaction block"),
                          errhint("BEGIN first, or call a function that takes the tenant itself.")));
    context::data_plane(tenant, {a.uuid_or_null(1), actor_kind}, [](MemoryContext) {});
    PG_RETURN_VOID();
}

SOR_FUNCTION(granted_tenants) {
    bridge::rowset rows(fcinfo);
    const Oid caller = GetUserId();
    const char* login = GetUserNameFromId(caller, false);
    const bool all = superuser_arg(caller);
    context::as_engine([&](MemoryContext) {
        static bridge::statement list(
            "select t.tenant_id, t.name from sor.tenants t"
            " where $2 or t.tenant_id in (select g.tenant_id from sor.tenant_grants g where g.login = $1)"
            " order by t.name",
            {NAMEOID, BOOLOID});
        const auto found = list.run(bridge::in_name(login), bridge::in(all));
        for (uint64 i = 0; i < found.count; ++i)
            rows.add({found.column(i, 1), found.column(i, 2)});
    });
    return 0;
}

namespace {

// What `current_user` could do. Roles count with everything it is a member of, inherited or not: SET ROLE reaches them.
// Access lists are read as they are, since has_table_privilege follows inheritance alone; PUBLIC is grantee 0.
constexpr const char* login_check_text = R"(
with me as (select r.oid, r.rolsuper, r.rolbypassrls from pg_catalog.pg_roles r where r.rolname = current_user),
role as materialized (
    select r.*, case when r.oid = me.oid then 'It' else pg_catalog.format('It is a member of role %I, which', r.rolname) end as who
      from pg_catalog.pg_roles r, me
     where r.oid = me.oid or not me.rolsuper and pg_catalog.pg_has_role(me.oid, r.oid, 'member')),
grantee as materialized (
    select oid, who from role union all select 0, 'PUBLIC'),
-- OFFSET 0: by the index of the owner, not by reading all of pg_class
owned as materialized (
    select role.who, d.classid, d.objid, c.relkind, c.relpersistence
      from role, lateral (select s.* from pg_catalog.pg_shdepend s
                           where s.refclassid = 'pg_catalog.pg_authid'::regclass and s.refobjid = role.oid and s.deptype = 'o'
                             and s.dbid in (0, (select b.oid from pg_catalog.pg_database b where b.datname = current_database())) offset 0) d
      left join lateral (select n.relkind, n.relpersistence from pg_catalog.pg_class n where n.oid = d.objid offset 0) c
             on d.classid = 'pg_catalog.pg_class'::regclass
     where d.classid = any (array['pg_catalog.pg_class', 'pg_catalog.pg_proc', 'pg_catalog.pg_namespace', 'pg_catalog.pg_database']::regclass[])),
-- an extension's table that its script opened to everybody is its own affair
usable as (
    select u.who, u.privilege_type, u.classid, u.oid, u.attnum
      from (select g.who, a.privilege_type, a.grantee, c.tableoid as classid, c.oid, 0 as attnum, c.relnamespace
              from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a, grantee g
             where c.relacl is not null and a.grantee = g.oid and a.grantee <> c.relowner
            union all
            select g.who, x.privilege_type, x.grantee, c.tableoid, c.oid, a.attnum, c.relnamespace
              from pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) x, grantee g,
                   lateral (select n.tableoid, n.oid, n.relnamespace, n.relowner from pg_catalog.pg_class n where n.oid = a.attrelid offset 0) c
             where a.attacl is not null and not a.attisdropped and x.grantee = g.oid and x.grantee <> c.relowner) u
     where u.grantee <> 0
        or u.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)
           and not exists (select from pg_catalog.pg_depend d where d.classid = u.classid and d.objid = u.oid and d.deptype = 'e')
     order by u.oid, u.attnum, u.privilege_type limit 1),
created_in as (
    (select g.who, b.tableoid as classid, b.oid
       from pg_catalog.pg_database b, pg_catalog.aclexplode(b.datacl) a, grantee g
      where b.datname = current_database() and a.privilege_type = 'CREATE' and a.grantee = g.oid and a.grantee <> b.datdba limit 1)
    union all
    (select g.who, n.tableoid, n.oid
       from pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a, grantee g
      where a.privilege_type = 'CREATE' and a.grantee = g.oid and a.grantee <> n.nspowner order by n.oid limit 1)),
excess(rank, sentence) as (
    select 0, pg_catalog.format('RESET ROLE makes it %I.', session_user) where session_user <> current_user
    union all
    select a.rank, role.who || a.what
      from role, lateral (values (1, role.rolsuper, ' is a superuser.'), (2, role.rolbypassrls, ' has BYPASSRLS.'), (3, role.rolcreaterole, ' has CREATEROLE.'),
                                 (4, role.rolcreatedb, ' has CREATEDB.'), (5, role.rolreplication, ' has REPLICATION.')) a(rank, so, what) where a.so
    union all
    select 6, pg_catalog.format('It is a member of role %I.', role.rolname)
      from role where role.who <> 'It' and (role.rolname ^@ 'pg_' or role.rolname in ('sor_engine', 'sor_operator', 'sor_auditor'))
    union all
    select 7, pg_catalog.format('%s owns %s %s.', owned.who, i.type, i.identity)
      from (select o.* from owned o where o.relpersistence is distinct from 't' -- what a session makes for itself ends with it
             order by o.classid <> 'pg_catalog.pg_class'::regclass, o.classid, o.objid limit 1) owned,
           pg_catalog.pg_identify_object(owned.classid, owned.objid, 0) i
    union all
    select 8, pg_catalog.format('%s has %s on %s %s.', usable.who, usable.privilege_type, i.type, i.identity)
      from usable, pg_catalog.pg_identify_object(usable.classid, usable.oid, usable.attnum) i
    union all
    select 9, pg_catalog.format('%s has CREATE on %s %s.', created_in.who, i.type, i.identity)
      from created_in, pg_catalog.pg_identify_object(created_in.classid, created_in.oid, 0) i)
select me.rolsuper, me.rolbypassrls,
       not me.rolsuper and (exists (select from role where role.rolsuper) or exists (select from owned where owned.relkind in ('r', 'p'))),
       array(select sentence from excess order by rank, sentence)
  from me)";

} // namespace

SOR_FUNCTION(login_check) {
    bridge::rowset rows(fcinfo);
    bridge::with_spi([&](MemoryContext) {
        // Not a kept plan: a login asks once, and whole catalogs are read.
        const auto found = bridge::execute_text(login_check_text);
        rows.add({found.column(0, 1), found.column(0, 2), found.column(0, 3), found.column(0, 4)});
    });
    return 0;
}

namespace sor::context {

static protector protect_further = nullptr;

void also_protect(protector with) {
    protect_further = with;
}

} // namespace sor::context

namespace {

void protect(Oid relid, const char* column_name) {
    const char* column = quote_identifier(column_name);
    const AttrNumber number = get_attnum(relid, column_name);
    if (number == InvalidAttrNumber || get_atttype(relid, number) != UUIDOID)
        bridge::raise(code::invalid_parameter, psprintf("table %s has no uuid column %s", get_rel_name(relid), column),
                      nullptr, "Give the table a column tenant_id uuid.");
    const char* table = bridge::qualified_name(relid);
    static bridge::statement state(
        "select c.relrowsecurity and c.relforcerowsecurity, a.attnotnull, a.atthasdef, p.oid is not null,"
        "       p.polcmd = '*' and p.polpermissive and p.polroles = '{0}'"
        "         and pg_catalog.pg_get_expr(p.polqual, c.oid) = $3 and pg_catalog.pg_get_expr(p.polwithcheck, c.oid) "
        "= $3,"
        "       exists (select from pg_catalog.pg_index i"
        "                where i.indrelid = c.oid and i.indkey[0] = a.attnum and i.indpred is null),"
        "       (select pg_catalog.string_agg(o.polname, ', ' order by o.polname) from pg_catalog.pg_policy o"
        "         where o.polrelid = c.oid and o.polpermissive and o.polname <> 'tenant_isolation')"
        "  from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = $2"
        "  left join pg_catalog.pg_policy p on p.polrelid = c.oid and p.polname = 'tenant_isolation'"
        " where c.oid = $1",
        {OIDOID, INT2OID, TEXTOID});
    const char* isolation = psprintf("(%s = sor.current_tenant())", column);
    const auto now = state.run(bridge::value::of(ObjectIdGetDatum(relid)), bridge::value::of(Int16GetDatum(number)),
                               bridge::in(isolation));
    const bool has_policy = now.boolean(0, 4);
    const bool is_right = has_policy && now.boolean(0, 5);
    if (!now.boolean(0, 1))
        bridge::execute_own(psprintf("alter table %s enable row level security, force row level security", table));
    if (!now.boolean(0, 2))
        bridge::execute_own(psprintf("alter table %s alter column %s set not null", table, column));
    if (!now.boolean(0, 3))
        bridge::execute_own(psprintf("alter table %s alter column %s set default sor.current_tenant()", table, column));
    if (has_policy && !is_right) // for the drop guard to judge
        bridge::execute_text(psprintf("drop policy tenant_isolation on %s", table));
    if (!is_right)
        bridge::execute_own(psprintf("create policy tenant_isolation on %s for all using %s with check %s", table,
                                     isolation, isolation));
    if (!now.boolean(0, 6))
        ereport(WARNING, (errmsg("no index of table %s leads with column %s", table, column),
                          errhint("Let its primary key begin with %s.", column)));
    if (!now.null(0, 7))
        ereport(WARNING, (errmsg("table %s has other permissive policies", table),
                          errdetail("They admit rows whatever their tenant: %s.", now.string(0, 7)),
                          errhint("Make them restrictive, or drop them.")));
    if (context::protect_further != nullptr)
        context::protect_further(relid);
}

} // namespace

SOR_FUNCTION(protect_tenant) {
    const bridge::arguments a(fcinfo);
    const Oid relid = a.oid(0, "target");
    const char* column = a.name(1, "tenant_column");
    context::require_member_of(bridge::owner_of_relation(relid), "The owner of a table protects it.");
    bridge::with_spi([&](MemoryContext) {
        protect(relid, column);
        // A partition can be addressed directly, past its parent's policy.
        static bridge::statement partitions("select relid::pg_catalog.oid from pg_catalog.pg_partition_tree($1)"
                                            " where relid <> $1 order by level, relid",
                                            {REGCLASSOID});
        const auto found = partitions.run(bridge::value::of(ObjectIdGetDatum(relid)));
        for (uint64 i = 0; i < found.count; ++i)
            protect(DatumGetObjectId(found.datum(i, 1)), column);
    });
    PG_RETURN_VOID();
}
