-- context: who acts, in which tenant. Roles, tenants, grants, and row-level security that SQL cannot forge.

do $install$
declare
    role_name text;
begin
    foreach role_name in array array['sor_engine', 'sor_worker', 'sor_app', 'sor_relay', 'sor_auditor', 'sor_operator'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = role_name) then
            execute pg_catalog.format('create role %I nologin', role_name);
        end if;
    end loop;
    if exists (select from pg_catalog.pg_roles
                where rolname = 'sor_engine' and (rolcanlogin or rolbypassrls or rolsuper or rolcreaterole or rolreplication))
       or exists (select from pg_catalog.pg_auth_members where 'sor_engine'::regrole in (roleid, member)) then
        raise exception 'role sor_engine is not fit to be the engine'
            using errcode = '42501',
                  detail = 'It can log in, has a privilege beyond its tables, has members, or is one.',
                  hint = 'Drop or rename that role, then run CREATE EXTENSION again.';
    end if;
end
$install$;

grant usage on schema sor to public;

create function sor.uuid_v7() returns uuid
    language c volatile parallel safe as 'MODULE_PATHNAME', 'sor_uuid_v7';
comment on function sor.uuid_v7() is
    'A version 7 uuid (RFC 9562), greater than every one that the same backend made before.';

create function sor.current_tenant() returns uuid
    language c stable parallel safe leakproof as 'MODULE_PATHNAME', 'sor_current_tenant';
comment on function sor.current_tenant() is
    'The tenant of this transaction, or null. Only sor''s own functions set it; policies compare tenant_id with it.';

create function sor.current_user_id() returns uuid
    language c stable parallel safe leakproof as 'MODULE_PATHNAME', 'sor_current_user_id';
comment on function sor.current_user_id() is 'The user this transaction acts as or on behalf of, or null.';

create function sor.current_actor_kind() returns text
    language c stable parallel safe leakproof as 'MODULE_PATHNAME', 'sor_current_actor_kind';
comment on function sor.current_actor_kind() is 'user, agent or system, or null without a context.';

create table sor.tenants (
    tenant_id uuid primary key default sor.uuid_v7(),
    name text not null unique check (name = btrim(name) and name <> ''),
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
comment on table sor.tenants is 'The customers. Every row of tenant data leads with one of these ids.';

create table sor.users (
    tenant_id uuid not null references sor.tenants,
    id uuid not null default sor.uuid_v7(),
    email text not null check (email = btrim(email) and email <> ''),
    display_name text not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (tenant_id, id),
    unique (tenant_id, email)
);
comment on table sor.users is 'The people of a tenant.';

create table sor.tenant_grants (
    login name not null,
    tenant_id uuid not null references sor.tenants,
    user_ids uuid[],
    actor_kinds text[] not null check (actor_kinds <> '{}' and actor_kinds <@ array['user', 'agent']),
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (login, tenant_id)
);
create index tenant_grants_tenant on sor.tenant_grants (tenant_id);
comment on table sor.tenant_grants is
    'Which login may act in which tenant, as which users (null: any of the tenant) and actor kinds. Changed by grant_tenant and revoke_tenant.';

create function sor.protect_tenant(target regclass, tenant_column name default 'tenant_id') returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_protect_tenant'
    set search_path = pg_catalog, pg_temp;
comment on function sor.protect_tenant(regclass, name) is
    'Puts a table under tenant isolation, with the caller''s rights: row security enabled and forced, one policy for reading and writing every verb, '
    'the column NOT NULL and by default the current tenant; the partitions it has now as well. Warns when no index leads with the column, or another policy lets rows through. '
    'Run again, it changes nothing. Errors: 42501 the caller does not own the table, 22023 it has no such uuid column.';

select sor.protect_tenant('sor.tenants');
select sor.protect_tenant('sor.users');
select sor.protect_tenant('sor.tenant_grants');
-- The engine resolves names and grants before there is a tenant.
create policy engine_resolves on sor.tenants for all to sor_engine using (true) with check (true);
create policy engine_resolves on sor.tenant_grants for all to sor_engine using (true) with check (true);

grant select, insert on sor.tenants, sor.users to sor_engine;
grant select, insert, update, delete on sor.tenant_grants to sor_engine;
grant select on sor.tenants, sor.users, sor.tenant_grants to sor_auditor;

create function sor.set_context(tenant_id uuid, user_id uuid default null, actor_kind text default null) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_set_context'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.set_context(uuid, uuid, text) is
    'Opens a tenant for the rest of the transaction, as a user and an actor kind that the calling role was granted (actor_kind null: the only kind granted). '
    'Errors: SR002 not granted, no such user, or several kinds are granted and none is given; SR014 another tenant is open; 22023 no such kind. Outside a transaction block it warns and has no effect. '
    'Until the transaction ends it refuses what would outlive the tenant: cursors WITH HOLD and temporary tables that keep their rows (SR014). '
    'What a session made before stays its own: a temporary table or setting that a client fills with rows is read by the next user of a pooled connection.';

create function sor.granted_tenants() returns table (tenant_id uuid, name text)
    language c volatile as 'MODULE_PATHNAME', 'sor_granted_tenants'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.granted_tenants() is 'The tenants that the calling role holds a grant for, in order of their names; a superuser holds all.';

create function sor.login_check() returns table (superuser boolean, bypass_rls boolean, owns_tables boolean, excess text[])
    language c stable as 'MODULE_PATHNAME', 'sor_login_check'
    set search_path = pg_catalog, pg_temp set jit = off set max_parallel_workers_per_gather = 0;
comment on function sor.login_check() is
    'What the calling role could do beyond calling functions: each true column makes it unfit for a Worker, a relay or a loader. owns_tables: it owns a table, or is a member of a role that does. '
    'excess: a sentence for each such thing, through its roles and PUBLIC as well: attributes (superuser, BYPASSRLS, CREATEROLE, CREATEDB, REPLICATION), membership of a pg_ role, sor_operator or sor_auditor, '
    'owning, a privilege on a table, view or sequence, CREATE on the database or a schema, and that RESET ROLE leads to another role. Empty for a login that is only a member of sor_worker, sor_app or sor_relay.';

grant execute on function sor.set_context(uuid, uuid, text) to sor_app, sor_auditor;
grant execute on function sor.granted_tenants() to sor_worker, sor_app, sor_relay, sor_auditor;
grant execute on function sor.login_check() to sor_worker, sor_app, sor_relay, sor_auditor;

select pg_catalog.pg_extension_config_dump('sor.tenants', '');
select pg_catalog.pg_extension_config_dump('sor.users', '');
select pg_catalog.pg_extension_config_dump('sor.tenant_grants', '');
