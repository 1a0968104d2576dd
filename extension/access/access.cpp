#include "access/access.hpp"

#include "bridge/uuid_v7.hpp"

namespace sor::access {

using bridge::in;

const char* role_of(const pg_uuid_t& user) {
    static bridge::statement find("select role from sor.user_roles where tenant_id = $1 and user_id = $2",
                                  {UUIDOID, UUIDOID});
    // The latest, as with grants: a role taken away is gone, under REPEATABLE READ too.
    const auto found = find.run_latest(in(context::required_tenant()), in(user));
    return found.empty() ? nullptr : found.string(0, 1);
}

} // namespace sor::access

using namespace sor;
using bridge::in;

SOR_FUNCTION(create_tenant) {
    const bridge::arguments a(fcinfo);
    const text* name = a.string(0, "name");
    const pg_uuid_t id = bridge::uuid_v7();
    context::administration(id, "user", [&](MemoryContext) {
        static bridge::statement insert("insert into sor.tenants (tenant_id, name) values ($1, pg_catalog.btrim($2))",
                                        {UUIDOID, TEXTOID});
        insert.run(in(id), in(name));
    });
    return UUIDPGetDatum(bridge::copy(id));
}

SOR_FUNCTION(find_tenant) {
    const bridge::arguments a(fcinfo);
    const text* name = a.string(0, "name");
    const pg_uuid_t id = context::as_engine([name](MemoryContext) -> pg_uuid_t {
        static bridge::statement find("select tenant_id from sor.tenants where name = $1", {TEXTOID});
        const auto found = find.run(in(name));
        if (found.empty())
            bridge::raise(code::tenant_not_granted,
                          psprintf("there is no tenant \"%s\"", bridge::to_cstring(bridge::view(name))), nullptr,
                          "Give a name of sor.tenants.");
        return found.uuid(0, 1);
    });
    return UUIDPGetDatum(bridge::copy(id));
}

SOR_FUNCTION(create_user) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const text* email = a.string(1, "email");
    const text* display_name = a.string(2, "display_name");
    const pg_uuid_t id = bridge::uuid_v7();
    context::administration(tenant, "user", [&](MemoryContext) {
        static bridge::statement insert("insert into sor.users (tenant_id, id, email, display_name)"
                                        " values ($1, $2, pg_catalog.btrim($3), $4)",
                                        {UUIDOID, UUIDOID, TEXTOID, TEXTOID});
        insert.run(in(tenant), in(id), in(email), in(display_name));
    });
    return UUIDPGetDatum(bridge::copy(id));
}

SOR_FUNCTION(assign_role) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const pg_uuid_t& user = a.uuid(1, "user_id");
    char* role = bridge::to_cstring(bridge::view(a.string(2, "role")));
    if (access::rank(role) == 0)
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no role", role), nullptr,
                      "Give admin, member or viewer.");
    context::administration(tenant, "user", [&](MemoryContext) {
        const char* former = access::role_of(user);
        static bridge::statement assign("insert into sor.user_roles (tenant_id, user_id, role) values ($1, $2, $3)"
                                        " on conflict (tenant_id, user_id) do update set role = excluded.role",
                                        {UUIDOID, UUIDOID, TEXTOID});
        assign.run(in(tenant), in(user), in(role));
        bridge::json_writer payload;
        events::append_administrative(
            "role.assigned",
            payload.object().field("user_id", user).field("role", role).field("former", former).end().done());
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(grant_tenant) {
    const bridge::arguments a(fcinfo);
    const char* login = a.name(0, "login");
    const pg_uuid_t& tenant = a.uuid(1, "tenant_id");
    ArrayType* users = a.array_or_null(2);
    ArrayType* kinds = a.array(3, "actor_kinds");
    get_role_oid(login, false);
    context::administration(tenant, "user", [&](MemoryContext) {
        static bridge::statement check(
            "select (select pg_catalog.string_agg(coalesce(k, 'null'), ', ') from pg_catalog.unnest($3) k"
            "         where k is null or k not in ('user', 'agent')),"
            " (select pg_catalog.string_agg(coalesce(u::text, 'null'), ', ') from pg_catalog.unnest($2) u"
            "   where not exists (select from sor.users s where s.tenant_id = $1 and s.id = u)),"
            " pg_catalog.cardinality($3) = 0 or pg_catalog.cardinality($2) = 0",
            {UUIDOID, UUIDARRAYOID, TEXTARRAYOID});
        const auto found = check.run(in(tenant), in(users), in(kinds));
        if (!found.null(0, 1))
            bridge::raise(code::invalid_parameter,
                          psprintf("no login can be granted the actor kind %s", found.string(0, 1)), nullptr,
                          "Give user, agent or both.");
        if (!found.null(0, 2))
            ereport(ERROR,
                    (errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("the tenant has no user %s", found.string(0, 2)),
                     errhint("Make the user with sor.create_user first.")));
        if (!found.null(0, 3) && found.boolean(0, 3))
            bridge::raise(code::invalid_parameter, "a grant of nothing", "user_ids or actor_kinds is an empty array.",
                          "To take a grant away, call sor.revoke_tenant.");
        static bridge::statement grant(
            "insert into sor.tenant_grants (login, tenant_id, user_ids, actor_kinds) values ($1, $2, $3, $4)"
            " on conflict (login, tenant_id) do update set user_ids = excluded.user_ids, actor_kinds = "
            "excluded.actor_kinds",
            {NAMEOID, UUIDOID, UUIDARRAYOID, TEXTARRAYOID});
        grant.run(bridge::in_name(login), in(tenant), in(users), in(kinds));
        static bridge::statement describe("select pg_catalog.jsonb_build_object('login', $1::text, 'granted', true,"
                                          " 'user_ids', $2, 'actor_kinds', $3)",
                                          {TEXTOID, UUIDARRAYOID, TEXTARRAYOID});
        events::append_administrative("grant.changed", describe.run(in(login), in(users), in(kinds)).json(0, 1));
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(revoke_tenant) {
    const bridge::arguments a(fcinfo);
    const char* login = a.name(0, "login");
    const pg_uuid_t& tenant = a.uuid(1, "tenant_id");
    context::administration(tenant, "user", [&](MemoryContext) {
        static bridge::statement revoke("delete from sor.tenant_grants where login = $1 and tenant_id = $2",
                                        {NAMEOID, UUIDOID});
        if (revoke.run(bridge::in_name(login), in(tenant)).count == 0)
            bridge::raise(code::tenant_not_granted,
                          psprintf("role \"%s\" holds no grant in tenant %s", login, bridge::to_cstring(tenant)),
                          nullptr, "See sor.tenant_grants.");
        bridge::json_writer payload;
        events::append_administrative("grant.changed",
                                      payload.object().field("login", login).field("granted", false).end().done());
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(granted_users) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    bridge::rowset rows(fcinfo);
    context::data_plane(tenant, {}, [&](MemoryContext) {
        static bridge::statement list(
            "select u.id, u.email, r.role from sor.users u"
            "  left join sor.user_roles r on r.tenant_id = u.tenant_id and r.user_id = u.id"
            " where u.tenant_id = $1"
            "   and ($3 or exists (select from sor.tenant_grants g where g.login = $2 and g.tenant_id = $1"
            "                         and (g.user_ids is null or u.id = any (g.user_ids))))"
            " order by u.email",
            {UUIDOID, NAMEOID, BOOLOID});
        const auto found =
            list.run(in(tenant), bridge::in_name(context::caller_name()), in(context::caller_is_superuser()));
        for (uint64 i = 0; i < found.count; ++i)
            rows.add({found.column(i, 1), found.column(i, 2), found.column(i, 3)});
    });
    return 0;
}

SOR_FUNCTION(has_role) {
    const bridge::arguments a(fcinfo);
    char* minimum = bridge::to_cstring(bridge::view(a.string(0, "minimum")));
    if (access::rank(minimum) == 0)
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no role", minimum), nullptr,
                      "Give admin, member or viewer.");
    const pg_uuid_t* user = context::current_user_id();
    if (context::current_tenant() == nullptr || user == nullptr)
        return BoolGetDatum(false);
    return BoolGetDatum(context::as_engine([&](MemoryContext) -> bool {
        const char* role = access::role_of(*user);
        return access::permits(role ? role : "", minimum);
    }));
}
