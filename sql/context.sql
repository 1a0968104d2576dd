-- context: who acts, in which tenant. It cannot be forged, does not outlive its transaction, and hides other tenants.
set client_min_messages = warning;
create extension if not exists sor;
set sor.drop_guard = off; -- tampers with what is guarded, and drops it at the end
create schema context_test;
grant usage on schema context_test to public;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-00000000c0a1', 'context A'), ('00000000-0000-7000-8000-00000000c0b2', 'context B');
insert into sor.users (tenant_id, id, email, display_name) values
    ('00000000-0000-7000-8000-00000000c0a1', '00000000-0000-7000-8000-000000000001', 'one@a.example', 'One'),
    ('00000000-0000-7000-8000-00000000c0a1', '00000000-0000-7000-8000-000000000002', 'two@a.example', 'Two'),
    ('00000000-0000-7000-8000-00000000c0b2', '00000000-0000-7000-8000-000000000003', 'three@b.example', 'Three');
\set a '''00000000-0000-7000-8000-00000000c0a1'''
\set b '''00000000-0000-7000-8000-00000000c0b2'''
\set one '''00000000-0000-7000-8000-000000000001'''
\set two '''00000000-0000-7000-8000-000000000002'''
\set three '''00000000-0000-7000-8000-000000000003'''
create role context_app in role sor_app;        -- granted A
create role context_both in role sor_app;       -- granted A and B
create role context_narrow in role sor_app;     -- granted A as users one and two
create role context_single in role sor_app;     -- granted A as user one
create role context_kinds in role sor_app;      -- granted A as user and agent
create role context_stranger in role sor_app;   -- granted nothing
create role context_operator in role sor_operator;
create role context_owner;
select sor.grant_tenant('context_app', :a), sor.grant_tenant('context_both', :a), sor.grant_tenant('context_both', :b),
    sor.grant_tenant('context_narrow', :a, array[:one, :two]::uuid[]), sor.grant_tenant('context_single', :a, array[:one]::uuid[]),
    sor.grant_tenant('context_kinds', :a, null, '{user,agent}') \g /dev/null
create table context_test.notes (tenant_id uuid, id int, body text, primary key (tenant_id, id));
select sor.protect_tenant('context_test.notes');
insert into context_test.notes select :a, n, 'of a' from generate_series(1, 3) n;
insert into context_test.notes select :b, n, 'of b' from generate_series(1, 5) n;
grant select, insert, update, delete on context_test.notes to public;
-- what a policy sees
create view context_test.sees with (security_invoker = true) as
    select count(*) as rows, coalesce(string_agg(distinct body, ','), 'nothing') as of,
        sor.current_tenant() is not null as tenant, sor.current_user_id() is not null as "user", sor.current_actor_kind() as kind
    from context_test.notes;
grant select on context_test.sees to public;
-- the answer of a command in a subtransaction of its own
create function context_test.attempt(command text) returns text language plpgsql as $$
declare hint text;
begin
    execute command;
    return 'done';
exception when others then
    get stacked diagnostics hint = pg_exception_hint;
    return sqlstate || ': ' || sqlerrm || case when hint = '' then ' (no hint)' else '' end;
end $$;

-- without a context: nothing
set role context_app;
table context_test.sees;
insert into context_test.notes values (:a, 9, 'forged');

-- with one: that tenant's rows, for every verb, until the end
begin;
select sor.set_context(:a);
table context_test.sees;
select body, count(*) from context_test.notes where tenant_id = :b or id > 3 group by 1;
select count(*) from context_test.notes x, context_test.notes y where x.tenant_id <> y.tenant_id;
update context_test.notes set body = 'of a, changed';
delete from context_test.notes where id = 3;
insert into context_test.notes (id, body) values (4, 'of a, new') returning tenant_id = :a as by_default;
savepoint s;
insert into context_test.notes values (:b, 9, 'forged');
rollback to s;
update context_test.notes set tenant_id = :b where id = 1;
rollback to s;
insert into context_test.notes values (:b, 1, 'forged') on conflict (tenant_id, id) do update set body = 'forged';
rollback to s;
table context_test.sees;
rollback;
table context_test.sees;
begin; select sor.set_context(:a); commit;
table context_test.sees;

-- ---------------------------------------------------------------- one transaction, one tenant
set role context_both;
begin;
select sor.set_context(:a);
savepoint s;
select sor.set_context(:b);
rollback to s;
table context_test.sees;
select sor.set_context(:a);
select * from sor.granted_users(:b);
rollback;
-- the first tenant rolled back with its savepoint: then the second may come
begin;
savepoint s;
select sor.set_context(:a);
savepoint t;
release t;
rollback to s;
table context_test.sees;
select sor.set_context(:b);
table context_test.sees;
rollback;
-- released, it stays
begin;
savepoint s;
savepoint t;
select sor.set_context(:a);
release t;
release s;
savepoint u;
select context_test.attempt('select sor.set_context(''00000000-0000-7000-8000-00000000c0b2'')');
rollback to u;
table context_test.sees;
rollback;
-- a failed attempt at the second leaves the first
begin;
select sor.set_context(:b);
select context_test.attempt('select sor.set_context(''00000000-0000-7000-8000-00000000c0a1'')');
table context_test.sees;
commit;
-- outside a transaction block
select sor.set_context(:a);
table context_test.sees;
-- a statement of several tenants: refused, whichever comes first
select sor.granted_users(t) from unnest(array[:a, :b]::uuid[]) t;
-- null and nil are no tenants
select sor.set_context(null);
select sor.set_context('00000000-0000-0000-0000-000000000000');
reset role;
select sor.set_context('00000000-0000-0000-0000-000000000000');

-- ---------------------------------------------------------------- it cannot be forged, by superusers neither
set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2';
set local sor.tenant_id = '';
set session sor.user_id = '00000000-0000-7000-8000-000000000001';
set sor.actor_kind = 'system';
set sor.tenant_name = 'x';
select set_config('sor.tenant_id', :b, false);
select set_config('sor.tenant_id', :b, true);
update pg_settings set setting = '00000000-0000-7000-8000-00000000c0b2' where name = 'sor.tenant_id';
alter role context_app set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2';
alter database :"DBNAME" set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2';
alter system set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2';
create function context_test.forge() returns uuid language sql set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2' as 'select sor.current_tenant()';
begin;
select sor.set_context(:b);
create function context_test.forge() returns uuid language sql set sor.tenant_id from current as 'select sor.current_tenant()';
rollback;
begin;
select sor.set_context(:b);
alter role context_app set sor.tenant_id from current;
rollback;
set role context_app;
set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2';
select set_config('sor.tenant_id', :b, true);
reset role;
-- nor by one who was given the parameter
grant set on parameter sor.tenant_id, sor.user_id, sor.actor_kind to context_both;
set role context_both;
set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2';
select set_config('sor.tenant_id', :b, true);
alter role context_both set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2';
-- who resets it (which PostgreSQL 15 allows) gains no second tenant, and no one's rows
begin;
select sor.set_context(:a);
select context_test.attempt('reset sor.tenant_id') <> '' as tried, context_test.attempt('set local sor.tenant_id to default') <> '' as tried_again,
    context_test.attempt('select set_config(''sor.tenant_id'', null, true)') <> '' as and_again;
select coalesce(min(body), 'of a') as at_most from context_test.notes;
select context_test.attempt('select sor.set_context(''00000000-0000-7000-8000-00000000c0b2'')') like 'SR014%' as refused;
select context_test.attempt('select from sor.granted_users(''00000000-0000-7000-8000-00000000c0b2'')') like 'SR014%' as refused;
select sor.set_context(:a);
select of from context_test.sees;
rollback;
reset role;
revoke set on parameter sor.tenant_id, sor.user_id, sor.actor_kind from context_both;
set role context_app;
begin;
select sor.set_context(:a, :one);
reset all;
table context_test.sees;
end;
begin; select sor.set_context(:a); commit;
discard all;
select sor.current_tenant();
-- set before the library is there: dropped when it comes
\c -
alter role current_user in database :"DBNAME" set sor.tenant_id = '00000000-0000-7000-8000-00000000c0b2';
set sor.user_id = '00000000-0000-7000-8000-000000000003';
select sor.current_user_id();
\set VERBOSITY terse
\c -
select current_setting('sor.tenant_id') = '00000000-0000-7000-8000-00000000c0b2' as placeholder;
set role context_app;
select rows, of, tenant from context_test.sees;
select current_setting('sor.tenant_id') = '' as dropped;
reset role;
alter role current_user in database :"DBNAME" reset sor.tenant_id;
\c -reuse-previous=on "options='-c sor.tenant_id=00000000-0000-7000-8000-00000000c0b2 -c sor.actor_kind=system'"
select current_setting('sor.tenant_id') = '00000000-0000-7000-8000-00000000c0b2' as placeholder, current_setting('sor.actor_kind');
set role context_app;
select rows, of, tenant, kind from context_test.sees;
\c -reuse-previous=on "options=''"
set sor.drop_guard = off;
set client_min_messages = warning;
\set VERBOSITY default

-- ---------------------------------------------------------------- what would outlive the tenant
set role context_both;
begin;
select sor.set_context(:b);
savepoint s;
declare c cursor with hold for table context_test.notes;
rollback to s;
create temp table stolen as table context_test.notes;
rollback to s;
create temp table stolen (like context_test.notes);
rollback to s;
select * into temp stolen from context_test.notes;
rollback to s;
create table pg_temp.stolen as table context_test.notes;
rollback to s;
set local search_path = pg_temp;
create table stolen as table context_test.notes;
rollback to s;
explain (analyze, costs off, timing off, summary off) create temp table stolen as table context_test.notes;
rollback to s;
do $$ begin create temp table stolen as table context_test.notes; end $$;
rollback to s;
prepare p as table context_test.notes;
create temp table stolen as execute p;
rollback to s;
-- these do not
declare c cursor for select body from context_test.notes order by id;
fetch c;
create temp table gone on commit drop as table context_test.notes;
create temp table emptied on commit delete rows as table context_test.notes;
create temp view looking as table context_test.notes;
explain (costs off) create temp table stolen as select 1 as one;
select count(*) from gone, emptied;
commit;
select count(*) from emptied;
drop table emptied cascade;
drop view looking;
-- declared before the tenant is opened, it would be filled at commit
begin;
declare c cursor with hold for table context_test.notes;
select sor.set_context(:b);
rollback;
begin;
declare c cursor with hold for table context_test.notes;
close c;
select sor.set_context(:b);
rollback;
\c -
set sor.drop_guard = off;
set client_min_messages = warning;
set role context_both;
begin;
declare c cursor with hold for select 1; -- the library is not there yet
select sor.set_context(:b);
rollback;
-- a held cursor of an earlier transaction is harmless, and does not stand in the way
begin;
declare c cursor with hold for select count(*) from context_test.notes;
commit;
begin;
select sor.set_context(:b);
fetch c;
commit;
close c;
-- without a tenant: as ever
create temp table mine as select 1 as one;
drop table mine;

-- ---------------------------------------------------------------- parallel workers
reset role;
create table context_test.many (tenant_id uuid, id int, primary key (tenant_id, id));
select sor.protect_tenant('context_test.many');
insert into context_test.many select case when n % 3 = 0 then :a else :b end::uuid, n from generate_series(1, 30000) n;
analyze context_test.many;
grant select on context_test.many to public;
create function context_test.plan_of(query text) returns setof text language plpgsql as $$
declare line text;
begin
    for line in execute 'explain (analyze, costs off, timing off, summary off) ' || query loop
        if line ~ 'Workers Launched' then return next trim(line); end if;
    end loop;
end $$;
set role context_both;
set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0; set max_parallel_workers_per_gather = 2;
set enable_indexscan = off; set enable_bitmapscan = off; set enable_indexonlyscan = off;
select count(*) from context_test.many;
begin;
select sor.set_context(:a, :one);
select context_test.plan_of('select count(*) from context_test.many');
select count(*), min(tenant_id::text) = :a as of_a, bool_and(sor.current_tenant() = tenant_id) as tenant, bool_and(sor.current_user_id() = :one) as "user",
    min(sor.current_actor_kind()) as kind from context_test.many;
commit;
select count(*) from context_test.many;
do $$
begin
    perform set_config(name, 'regress', false)
      from pg_settings where name in ('debug_parallel_query', 'force_parallel_mode');
end $$;
begin;
select sor.set_context(:b);
select count(*) from context_test.many;
select count(*) from context_test.notes;
select sor.current_tenant() = :b as in_worker;
select context_test.attempt('select sor.set_context(''00000000-0000-7000-8000-00000000c0b2'')');
rollback;
select count(*) from context_test.notes;
\c -
set sor.drop_guard = off;
set client_min_messages = warning;

-- ---------------------------------------------------------------- grants: tenant, users, kinds
set role context_app;
select name from sor.granted_tenants();
begin; select sor.set_context(:b); rollback;
begin; select sor.set_context(:a, null, 'user'); rollback;
begin; select sor.set_context(:a, null, 'system'); rollback;
begin; select sor.set_context(:a, null, 'robot'); rollback;
begin; select sor.set_context(:a); select kind, "user" from context_test.sees; rollback;
select context_test.attempt(format('select from sor.granted_users(%L)', :b));
set role context_stranger;
select count(*) from sor.granted_tenants();
begin; select sor.set_context(:a); rollback;
select context_test.attempt(format('select from sor.granted_users(%L)', :a));
set role context_narrow;
begin; select sor.set_context(:a, :one); select kind, "user" from context_test.sees;
-- one of its users may be left for the other, and the user stays for the calls that name none
select sor.set_context(:a, :two); select sor.set_context(:a); select sor.current_user_id() = :two as two; rollback;
begin; select sor.set_context(:a, :three); rollback;
begin; select sor.set_context(:a); select kind, "user" from context_test.sees; rollback;
select email from sor.granted_users(:a);
set role context_single;
begin; select sor.set_context(:a); select sor.current_user_id() = :one as one; select sor.set_context(:a, :two); rollback;
select email from sor.granted_users(:a);
set role context_kinds;
begin; select sor.set_context(:a); rollback;
begin; select sor.set_context(:a, null, 'user'); select kind from context_test.sees;
select sor.set_context(:a); select kind from context_test.sees; select sor.set_context(:a, null, 'agent'); select kind from context_test.sees; rollback;
-- a user is one of the tenant's, also where any will do
set role context_app;
begin; select sor.set_context(:a, :three); rollback;
begin; select sor.set_context(:a, 'ffffffff-ffff-7fff-bfff-ffffffffffff'); rollback;
begin; select sor.set_context(:a, :two); rollback;
reset role;
begin; select sor.set_context(:a, :three); rollback;
-- superusers hold every tenant; operators need a grant like everyone
begin; select sor.set_context(:a, :one, 'user'); select sor.set_context(:a, null, 'system'); rollback;
set role context_operator;
begin; select sor.set_context(:a); rollback;
select count(*) from sor.granted_tenants();
-- the grants of others are nobody's business
select count(*) from sor.tenant_grants;
set role context_app;
select count(*) from sor.tenants;
-- a revocation holds from the next statement of an open transaction, whatever its isolation
reset role;
begin isolation level repeatable read;
set local role context_both;
select count(*) from sor.granted_users(:a);
reset role;
select sor.revoke_tenant('context_both', :a);
set local role context_both;
select * from sor.granted_users(:a);
rollback;

-- ---------------------------------------------------------------- who calls
reset role;
create function context_test.as_app() returns setof text language sql security definer as 'select name from sor.granted_tenants()';
alter function context_test.as_app owner to context_app;
set role context_stranger;
select context_test.as_app();
select count(*) from sor.granted_tenants();
reset role;
set session authorization context_stranger;
select context_test.as_app();
reset session authorization;

-- ---------------------------------------------------------------- authority ends with the call, also with one that failed
set role context_operator;
do $$
begin
    for i in 1 .. 200 loop -- more than may be nested
        begin
            perform sor.create_user('00000000-0000-7000-8000-00000000c0b2', 'three@b.example', 'Twin');
        exception when unique_violation then null;
        end;
    end loop;
end $$;
begin;
select context_test.attempt(format('select sor.create_user(%L, %L, %L)', :b, 'three@b.example', 'Twin'));
select context_test.attempt(format('select from sor.granted_users(%L)', :b));
select current_user = 'context_operator' as still_me, sor.current_tenant();
savepoint s;
select sor.create_user(:b, 'three@b.example', 'Twin');
rollback to s;
select context_test.attempt(format('select from sor.granted_users(%L)', :b));
select current_user = 'context_operator' as still_me, sor.current_tenant();
rollback;
-- an administrative call leaves the transaction's context as it was
reset role;
begin;
select sor.set_context(:a, :one, 'user');
select sor.assign_role(:b, :three, 'viewer');
select sor.current_tenant() = :a as tenant, sor.current_user_id() = :one as "user", sor.current_actor_kind();
select context_test.attempt(format('select sor.create_user(%L, %L, %L)', :b, 'three@b.example', 'Twin'));
select sor.current_tenant() = :a as tenant, sor.current_user_id() = :one as "user", sor.current_actor_kind();
rollback;

-- ---------------------------------------------------------------- protect_tenant
set client_min_messages = notice;
create schema "context ""odd""";
create table "context ""odd"""."Notes ' 1" ("Customer ""x""" uuid, id int);
select sor.protect_tenant('"context ""odd"""."Notes '' 1"', 'Customer "x"');
alter table "context ""odd"""."Notes ' 1" add primary key ("Customer ""x""", id);
create table context_test.before as select oid, relrowsecurity, relforcerowsecurity, xmin::text as version from pg_class where relname = 'Notes '' 1';
select sor.protect_tenant('"context ""odd"""."Notes '' 1"', 'Customer "x"');
select count(*) as touched from context_test.before b join pg_class c using (oid) where c.xmin::text <> b.version;
select polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), relrowsecurity, relforcerowsecurity
  from pg_policy join pg_class c on c.oid = polrelid where relname = 'Notes '' 1';
-- the owner is bound, too
alter schema "context ""odd""" owner to context_owner;
alter table "context ""odd"""."Notes ' 1" owner to context_owner;
insert into "context ""odd"""."Notes ' 1" values (:a, 1), (:b, 1);
set role context_owner;
select count(*) from "context ""odd"""."Notes ' 1";
-- what others do to a table that is not theirs, and what is no tenant's table
select sor.protect_tenant('"context ""odd"""."Notes '' 1"', 'Customer "x"');
reset role;
grant sor_operator to context_owner;
create table context_test.of_another (tenant_id uuid primary key);
alter table context_test.of_another owner to context_operator;
set role context_owner;
select sor.protect_tenant('"context ""odd"""."Notes '' 1"', 'Customer "x"');
select sor.protect_tenant('context_test.of_another');
reset role;
revoke sor_operator from context_owner;
select sor.protect_tenant('context_test.notes', 'id');
select sor.protect_tenant('context_test.notes', 'nothing');
select sor.protect_tenant(null);
select context_test.attempt('select sor.protect_tenant(1)') like '42P01%' as no_table;
select sor.protect_tenant('context_test.sees');
-- a policy of that name that says something else is replaced; another that lets rows through is named
drop policy tenant_isolation on context_test.notes;
create policy tenant_isolation on context_test.notes using (true);
create policy everything on context_test.notes for select using (true);
alter table context_test.notes no force row level security;
select sor.protect_tenant('context_test.notes');
drop policy everything on context_test.notes;
select sor.protect_tenant('context_test.notes');
set role context_both;
begin; select sor.set_context(:b); table context_test.sees; rollback;
reset role;
-- partitions can be read past their parent: they are protected with it
create table context_test.parted (tenant_id uuid not null, id int, body text, primary key (tenant_id, id)) partition by hash (tenant_id);
create table context_test.parted_0 partition of context_test.parted for values with (modulus 2, remainder 0);
create table context_test.parted_1 partition of context_test.parted for values with (modulus 2, remainder 1) partition by hash (tenant_id);
create table context_test.parted_1_0 partition of context_test.parted_1 for values with (modulus 1, remainder 0);
select sor.protect_tenant('context_test.parted');
insert into context_test.parted select tenant_id, id, body from context_test.notes;
grant select on context_test.parted, context_test.parted_0, context_test.parted_1, context_test.parted_1_0 to context_both;
set role context_both;
select count(*) from context_test.parted_0 union all select count(*) from context_test.parted_1_0 union all select count(*) from context_test.parted;
begin; select sor.set_context(:b); select count(*), min(body) from context_test.parted;
select count(*), min(body) from (table context_test.parted_0 union all table context_test.parted_1_0) x; rollback;
reset role;

set client_min_messages = error;
select sor.revoke_tenant('context_app', :a), sor.revoke_tenant('context_both', :a), sor.revoke_tenant('context_both', :b),
    sor.revoke_tenant('context_narrow', :a), sor.revoke_tenant('context_single', :a), sor.revoke_tenant('context_kinds', :a) \g /dev/null
drop schema context_test, "context ""odd""" cascade;
drop role context_app, context_both, context_narrow, context_single, context_kinds, context_stranger, context_operator, context_owner;

-- ---------------------------------------------------------------- login_check: what a login could do beyond calling functions
set client_min_messages = warning;
create schema context_test;
create table context_test.plain (id int, note text);
create sequence context_test.counter;
create view context_test.looking as select 1 as one;
create function context_test.idle() returns int language sql as 'select 1';
create role context_worker in role sor_worker;
create role context_app in role sor_app;
create role context_relay in role sor_relay;
create role context_group;
-- what it says after a command, which is undone
create function context_test.excess_after(command text, login name default 'context_worker') returns table (line text) language plpgsql as $$
begin
    execute command;
    execute format('set local session authorization %I', login);
    raise exception using errcode = 'UC001', message = (select concat_ws(E'\n', nullif(concat_ws(' ', case when superuser then 'superuser' end,
        case when bypass_rls then 'bypass_rls' end, case when owns_tables then 'owns_tables' end), ''), array_to_string(excess, E'\n')) from sor.login_check());
exception when sqlstate 'UC001' then
    return query select regexp_split_to_table(replace(sqlerrm, quote_ident(current_database()), '<database>'), E'\n');
end $$;
set session authorization context_worker; select * from sor.login_check(); reset session authorization;
set session authorization context_app; select * from sor.login_check(); reset session authorization;
set session authorization context_relay; select * from sor.login_check(); reset session authorization;
select n, line from unnest(array[
    'alter role context_worker superuser', 'alter role context_worker bypassrls createrole createdb replication',
    'alter role context_group createdb; grant context_group to context_worker',
    'grant pg_read_all_data to context_group; grant context_group to context_worker', 'grant sor_operator to context_worker',
    'alter table context_test.plain owner to context_worker',
    'create role "context %s ""odd"""; alter table context_test.plain owner to "context %s ""odd"""; grant "context %s ""odd""" to context_worker',
    'alter view context_test.looking owner to context_worker', 'alter function context_test.idle owner to context_group; grant context_group to context_worker',
    'alter schema context_test owner to context_worker',
    'grant truncate on context_test.plain to context_worker', 'grant select on context_test.plain to context_group; grant context_group to context_worker',
    'grant update (note) on context_test.plain to context_worker', 'grant references (note) on context_test.plain to public',
    'grant trigger on context_test.looking to public', 'grant usage on sequence context_test.counter to public',
    'grant select on pg_authid to context_worker',
    'grant create on schema context_test to public', 'do $do$ begin execute format(''grant create on database %I to context_worker'', current_database()); end $do$',
    -- not an excess: nothing more than everybody needs, an extension''s table for everybody, what another holds
    'grant context_group to context_worker; grant usage on schema context_test to public; grant select on pg_class to public',
    'alter extension sor add table context_test.plain; grant select on context_test.plain to public',
    'grant all on context_test.plain, context_test.looking to context_group; grant pg_read_all_data to context_app']) with ordinality c(command, n),
    lateral context_test.excess_after(command);
-- an extension's table that is not for everybody
select line from context_test.excess_after('alter extension sor add table context_test.plain; grant select on context_test.plain to context_worker');
-- roles that are not inherited can be taken on
select line from context_test.excess_after('alter role context_worker noinherit; grant execute on function sor.login_check() to context_worker; grant usage on schema sor to context_worker;
    grant insert on context_test.plain to context_group; grant context_group to context_worker');
-- so can the login's own, behind SET ROLE
set role context_worker; select excess = array[format('RESET ROLE makes it %I.', session_user)] as reset_role from sor.login_check(); reset role;
-- auditors and operators may do more than call functions
select line from context_test.excess_after('grant sor_auditor to context_group', 'context_group');
select line from context_test.excess_after('grant sor_operator to context_group', 'context_group');
-- a temporary table of its own is none
begin;
grant temporary on database :"DBNAME" to context_worker;
set local session authorization context_worker;
create temp table mine (id int);
select excess from sor.login_check();
rollback;
drop schema context_test cascade;
drop role context_worker, context_app, context_relay, context_group;
