-- access: the people of a tenant, their roles, and which login may act for whom. The tables of tenants, users and grants
-- are context's, which checks them.

create table sor.user_roles (
    id uuid not null default sor.uuid_v7(),
    tenant_id uuid not null,
    user_id uuid not null,
    role text not null check (role in ('admin', 'member', 'viewer')),
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (tenant_id, id),
    unique (tenant_id, user_id),
    foreign key (tenant_id, user_id) references sor.users
);
comment on table sor.user_roles is 'One role for each user in a tenant. An agent has the role of the user it acts for.';

select sor.protect_tenant('sor.user_roles');
grant select, insert, update on sor.user_roles to sor_engine;
grant select on sor.user_roles to sor_auditor;

create function sor.create_tenant(name text) returns uuid
    language c volatile as 'MODULE_PATHNAME', 'sor_create_tenant'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.create_tenant(text) is 'Makes a tenant and returns its id; spaces around the name are dropped. Errors: 23505 the name is taken, 23514 it is blank.';

create function sor.find_tenant(name text) returns uuid
    language c volatile as 'MODULE_PATHNAME', 'sor_find_tenant'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.find_tenant(text) is 'The id of the tenant of that name, granted or not, for operators. Errors: SR002 there is no such tenant.';

create function sor.create_user(tenant_id uuid, email text, display_name text) returns uuid
    language c volatile as 'MODULE_PATHNAME', 'sor_create_user'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.create_user(uuid, text, text) is
    'Makes a user of the tenant, without a role, and returns its id. Errors: 23503 no such tenant, 23505 the e-mail is taken in it, 23514 it is blank.';

create function sor.assign_role(tenant_id uuid, user_id uuid, role text) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_assign_role'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.assign_role(uuid, uuid, text) is
    'Gives a user its role in the tenant: admin, member or viewer; the former one is replaced. Recorded as role.assigned. '
    'Errors: 23503 no such tenant, or no such user in it; 22023 no such role.';

create function sor.grant_tenant(login name, tenant_id uuid, user_ids uuid[] default null, actor_kinds text[] default '{agent}') returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_grant_tenant'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.grant_tenant(name, uuid, uuid[], text[]) is
    'Lets a login act in the tenant, as those users (null: any) and those actor kinds (user, agent); replaces its former grant. Recorded as grant.changed. '
    'A login with both kinds says which by sor.set_context before it acts, so give a Worker, which cannot, one. '
    'Errors: 42704 no such login, 23503 no such tenant or user, 22023 no such kind, or an empty array.';

create function sor.revoke_tenant(login name, tenant_id uuid) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_revoke_tenant'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.revoke_tenant(name, uuid) is
    'Takes a login''s grant in the tenant away, from the next statement on. Recorded as grant.changed. Errors: SR002 there is no such grant.';

create function sor.granted_users(tenant_id uuid) returns table (user_id uuid, email text, role text)
    language c volatile as 'MODULE_PATHNAME', 'sor_granted_users'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.granted_users(uuid) is
    'The users of the tenant that the calling role may act for, in order of their e-mails; role is null for one that has none. Errors: SR002 not granted.';

create function sor.has_role(minimum text) returns boolean
    language c stable as 'MODULE_PATHNAME', 'sor_has_role'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.has_role(text) is
    'Whether the context''s user has at least that role (viewer < member < admin) in the context''s tenant; false without either. Errors: 22023 no such role.';

grant execute on function sor.granted_users(uuid) to sor_worker, sor_app;
grant execute on function sor.has_role(text) to sor_app;

select pg_catalog.pg_extension_config_dump('sor.user_roles', '');
