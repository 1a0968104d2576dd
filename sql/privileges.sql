-- privileges: who may execute what, and what each role holds on sor's tables. The two matrices are the expected output:
-- a new function or table is a new line there, reviewed as such. contract stands for the published table of roles.
set client_min_messages = warning;
create extension if not exists sor;
\pset format unaligned

select p.oid::regprocedure as function,
       has_function_privilege('public', p.oid, 'execute') as public, has_function_privilege('sor_worker', p.oid, 'execute') as worker,
       has_function_privilege('sor_app', p.oid, 'execute') as app, has_function_privilege('sor_relay', p.oid, 'execute') as relay,
       has_function_privilege('sor_auditor', p.oid, 'execute') as auditor, has_function_privilege('sor_operator', p.oid, 'execute') as operator
  from pg_proc p where p.pronamespace = 'sor'::regnamespace order by p.oid::regprocedure::text collate "C";

-- cell by cell against the published table: nothing but the functions beyond it differs
create temp view contract as
with published(role, functions) as (values
    ('public', 'current_tenant current_user_id current_actor_kind uuid_v7'),
    ('sor_worker', 'start_run begin_turn finish_turn heartbeat leave_run finish_run cancel_run begin_tool_call finish_tool_call list_tools call_tool call_tools
                    granted_tenants granted_users tenants_with_work'),
    ('sor_app', 'set_context has_role upsert upsert_many enqueue append_event claim complete fail release extend'),
    ('sor_relay', 'granted_tenants tenants_with_work claim_outbox mark_dispatched mark_failed purge_idempotency_keys'),
    ('sor_auditor', 'set_context forensic_report what_happened replay verify_events rebuild_run preflight'))
select role, function from published, regexp_split_to_table(functions, '\s+') function
union select 'sor_app', function from published, regexp_split_to_table(functions, '\s+') function where role = 'sor_worker';
-- what the published table gives and the catalog does not
select c.role, p.oid::regprocedure as refused from contract c join pg_proc p on p.proname = c.function and p.pronamespace = 'sor'::regnamespace
 where not has_function_privilege(c.role, p.oid, 'execute') order by 1, 2::text collate "C";
select p.oid::regprocedure as refused from pg_proc p where p.pronamespace = 'sor'::regnamespace and not has_function_privilege('sor_operator', p.oid, 'execute');
-- what the catalog gives beyond it
select r as role, string_agg(p.proname, ' ' order by p.proname collate "C") as beyond
  from unnest(array['public', 'sor_worker', 'sor_app', 'sor_relay', 'sor_auditor']) r, pg_proc p
 where p.pronamespace = 'sor'::regnamespace and has_function_privilege(r, p.oid, 'execute')
   and not exists (select from contract c where c.role in (r, 'public') and c.function = p.proname) group by r order by r collate "C";
select string_agg(p.proname, ' ' order by p.proname) as of_public from pg_proc p
 where p.pronamespace = 'sor'::regnamespace and has_function_privilege('public', p.oid, 'execute');

-- tables: what the engine and auditors hold, and that nobody else holds anything
select c.relname as table, coalesce(string_agg(a.privilege_type, ' ' order by a.privilege_type) filter (where a.grantee = 'sor_engine'::regrole), '') as engine,
       coalesce(string_agg(a.privilege_type, ' ' order by a.privilege_type) filter (where a.grantee = 'sor_auditor'::regrole), '') as auditor,
       coalesce(string_agg(distinct pg_get_userbyid(a.grantee), ' ') filter (where a.grantee not in ('sor_engine'::regrole, 'sor_auditor'::regrole, c.relowner)), '') as others,
       c.relrowsecurity and c.relforcerowsecurity as forced_rls,
       exists (select from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id' and t.attnotnull) as of_a_tenant
  from pg_class c left join lateral aclexplode(c.relacl) a on true
 where c.relnamespace = 'sor'::regnamespace and c.relkind in ('r', 'p', 'S', 'v', 'm', 'f') group by c.oid order by c.relname collate "C";
select c.oid::regclass as granted_by_column from pg_attribute a join pg_class c on c.oid = a.attrelid where c.relnamespace = 'sor'::regnamespace and a.attacl is not null;
-- policies: isolation on each, and the engine's own look-ups
select polrelid::regclass as table, polname, polcmd, (select string_agg(coalesce(rolname, 'public'), ' ') from unnest(polroles) r left join pg_roles on oid = r) as roles,
       pg_get_expr(polqual, polrelid) as "using", pg_get_expr(polwithcheck, polrelid) as "check"
  from pg_policy join pg_class c on c.oid = polrelid where c.relnamespace = 'sor'::regnamespace
   and (polname <> 'tenant_isolation' or polcmd <> '*' or not polpermissive or polroles <> '{0}'
        or pg_get_expr(polqual, polrelid) <> '(tenant_id = sor.current_tenant())' or pg_get_expr(polwithcheck, polrelid) <> pg_get_expr(polqual, polrelid))
 order by polrelid::regclass::text collate "C", polname;
-- keys of tenant data lead with the tenant
select i.indexrelid::regclass as key from pg_index i join pg_class c on c.oid = i.indrelid join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
 where c.relnamespace = 'sor'::regnamespace and i.indisunique and i.indkey[0] <> a.attnum order by 1;

-- functions: C, run as their caller, owned by the engine, with a pinned search_path unless they run no SQL; each is explained
select p.oid::regprocedure as function, p.prosecdef, pg_get_userbyid(p.proowner), l.lanname from pg_proc p join pg_language l on l.oid = p.prolang
 where p.pronamespace = 'sor'::regnamespace and (p.prosecdef or p.proowner <> 'sor_engine'::regrole or l.lanname <> 'c') order by p.oid::regprocedure::text collate "C";
select p.oid::regprocedure as unpinned from pg_proc p
 where p.pronamespace = 'sor'::regnamespace and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false) order by p.oid::regprocedure::text collate "C";
select p.oid::regprocedure as without_row_security from pg_proc p
 where p.pronamespace = 'sor'::regnamespace and p.proconfig is not null and not 'row_security=on' = any (p.proconfig) order by p.oid::regprocedure::text collate "C";
select p.oid::regprocedure as unexplained from pg_proc p where p.pronamespace = 'sor'::regnamespace and obj_description(p.oid, 'pg_proc') is null;
-- Worker-facing functions take no argument that runs the caller's code
select p.oid::regprocedure as function, t::regtype from pg_proc p, unnest(p.proargtypes) t
 where p.pronamespace = 'sor'::regnamespace and (has_function_privilege('sor_worker', p.oid, 'execute') or has_function_privilege('sor_app', p.oid, 'execute')
       or has_function_privilege('sor_relay', p.oid, 'execute'))
   and t::regtype::text not in ('uuid', 'uuid[]', 'text', 'text[]', 'name', 'jsonb', 'bigint', 'integer', 'boolean', 'interval', 'timestamp with time zone')
 order by p.oid::regprocedure::text collate "C";

-- the engine: no login, no power of its own, no members, member of nothing, owner of no table
select rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles where rolname = 'sor_engine';
select count(*) from pg_auth_members where 'sor_engine'::regrole in (roleid, member);
select count(*) from pg_class where relowner = 'sor_engine'::regrole;
select rolname from pg_roles where rolname in ('sor_worker', 'sor_app', 'sor_relay', 'sor_auditor', 'sor_operator') and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole);
select has_schema_privilege('public', 'sor', 'create') as public_creates, has_schema_privilege('sor_engine', 'sor', 'create') as engine_creates;

-- CREATE EXTENSION refuses an engine that could be somebody
\set here :DBNAME
drop database if exists sor_privileges_unfit;
create database sor_privileges_unfit;
\c sor_privileges_unfit
\set SHOW_CONTEXT never
begin; alter role sor_engine login; create extension sor; rollback;
begin; alter role sor_engine bypassrls; create extension sor; rollback;
begin; alter role sor_engine superuser; create extension sor; rollback;
begin; alter role sor_engine createrole; create extension sor; rollback;
begin; create role privileges_member in role sor_engine; create extension sor; rollback;
begin; grant pg_read_all_data to sor_engine; create extension sor; rollback;
create extension sor;
\c :here
drop database sor_privileges_unfit;
