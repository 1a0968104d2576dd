-- access: tenants, users, roles and grants; who changed them is on record.
set client_min_messages = warning;
create extension if not exists sor;
create role access_operator in role sor_operator;
create role access_app in role sor_app;
create role access_worker in role sor_worker;
create role "Access ""odd"" é" in role sor_worker;
set role access_operator;
select sor.create_tenant('  access A ') as a \gset
select sor.create_tenant('access B') as b \gset
select sor.create_tenant('access A');
select sor.create_tenant('access A  ');
select sor.create_tenant('   ');
select sor.create_tenant(null);
select sor.create_user(:'a', ' ann@a.example ', 'Ann') as ann \gset
select sor.create_user(:'a', 'mel@a.example', 'Mel') as mel \gset
select sor.create_user(:'a', 'vic@a.example', 'Vic') as vic \gset
select sor.create_user(:'a', 'nil@a.example', 'No role') as nil \gset
select sor.create_user(:'b', 'ann@a.example', 'The same address in another tenant') as bea \gset
select sor.create_user(:'a', 'ann@a.example', 'Twin');
select sor.create_user('00000000-0000-0000-0000-0000000000ff', 'x@x.example', 'Nobody');
select sor.create_user('00000000-0000-0000-0000-000000000000', 'x@x.example', 'Nobody');
select sor.create_user(:'a', '', 'Empty');
select sor.create_user(:'a', null, 'Null');
select sor.create_user(:'a', 'x@x.example', null);
select sor.assign_role(:'a', :'ann', 'admin'), sor.assign_role(:'a', :'mel', 'admin'), sor.assign_role(:'a', :'vic', 'viewer');
select sor.assign_role(:'a', :'mel', 'member');
select sor.assign_role(:'a', :'ann', 'owner');
select sor.assign_role(:'a', :'ann', 'Admin');
select sor.assign_role(:'a', :'ann', null);
\set VERBOSITY sqlstate
select sor.assign_role(:'a', :'bea', 'viewer'); -- of another tenant
select sor.assign_role(:'b', :'ann', 'viewer');
select sor.assign_role('00000000-0000-0000-0000-0000000000ff', :'ann', 'viewer');
\set VERBOSITY default

-- grants
select sor.grant_tenant('access_app', :'a'), sor.grant_tenant('access_worker', :'a', array[:'ann', :'vic']::uuid[], '{agent,user}');
select sor.grant_tenant('access_nobody', :'a');
select sor.grant_tenant('public', :'a');
select sor.grant_tenant('access_app', :'a', null, '{system}');
select sor.grant_tenant('access_app', :'a', null, '{agent,robot,NULL}');
select sor.grant_tenant('access_app', :'a', null, '{NULL}');
select sor.grant_tenant('access_app', :'a', null, '{}');
select sor.grant_tenant('access_app', :'a', '{}');
select sor.grant_tenant('access_app', :'a', null, null);
select sor.grant_tenant(null, :'a');
\set VERBOSITY sqlstate
select sor.grant_tenant('access_app', :'a', array[:'ann', :'bea']::uuid[]);
select sor.grant_tenant('access_app', :'a', array[null]::uuid[]);
select sor.grant_tenant('access_app', '00000000-0000-0000-0000-0000000000ff');
\set VERBOSITY default
-- none of which changed the grants that there are
reset role;
select login, user_ids = array[:'ann', :'vic']::uuid[] as ann_vic, actor_kinds from sor.tenant_grants where tenant_id = :'a' order by login;
-- a grant replaces the former one
set role access_operator;
select sor.grant_tenant('access_worker', :'a', array[:'mel']::uuid[]);
select sor.grant_tenant('Access "odd" é', :'a');
set role "Access ""odd"" é";
select name from sor.granted_tenants();
select email, role from sor.granted_users(:'a');
set role access_worker;
select email, role from sor.granted_users(:'a');
reset role;
select email, role from sor.granted_users(:'a');
set role access_operator;
select sor.revoke_tenant('access_worker', :'a');
\set VERBOSITY sqlstate
select sor.revoke_tenant('access_worker', :'a');
select sor.revoke_tenant('access_nobody', :'b');
set role access_worker;
select email, role from sor.granted_users(:'a');
\set VERBOSITY default
select count(*) from sor.granted_tenants();

-- only operators change any of it
select sor.create_tenant('x');
select sor.create_user(:'a', 'x@x.example', 'x');
select sor.assign_role(:'a', :'ann', 'viewer');
select sor.grant_tenant('access_worker', :'a');
select sor.revoke_tenant('access_app', :'a');
select sor.has_role('viewer');
set role access_app;
select sor.grant_tenant('access_app', :'b');
insert into sor.tenant_grants values ('access_app', :'b');
update sor.user_roles set role = 'admin';

-- has_role: each role against each minimum
begin;
select sor.set_context(:'a') \g /dev/null
create temp table ranks (person text, minimum text, has boolean) on commit drop;
do $$ begin
    for i in 0 .. 4 loop
        perform sor.set_context(sor.current_tenant(), (select user_id from sor.granted_users(sor.current_tenant()) where email = (array['ann', 'mel', 'vic', 'nil'])[i] || '@a.example'));
        insert into ranks select coalesce((array['ann, admin', 'mel, member', 'vic, viewer', 'nil, none'])[i], 'no user'), m, sor.has_role(m) from unnest(array['viewer', 'member', 'admin']) m;
    end loop;
end $$;
select person, bool_or(has) filter (where minimum = 'viewer') as viewer, bool_or(has) filter (where minimum = 'member') as member,
       bool_or(has) filter (where minimum = 'admin') as admin from ranks group by 1 order by 1;
rollback;
select sor.has_role('viewer') as without_context;
begin;
select sor.set_context(:'a', :'ann') \g /dev/null
select sor.has_role('admin');
savepoint s;
select sor.has_role('Admin');
rollback to s;
select sor.has_role('');
rollback to s;
select sor.has_role(null);
rollback to s;
-- a role that is taken away is gone at once
reset role;
select sor.assign_role(:'a', :'ann', 'viewer');
set local role access_app;
select sor.has_role('admin'), sor.has_role('viewer');
rollback;
reset role;

-- on record, in order, as who did it; what was rolled back or refused is not there
select e.seq, event_type, actor_kind, actor, on_behalf_of,
       (select string_agg(format('%s=%s', k, case when v ~ '[0-9a-f]{8}-' then coalesce((select display_name from sor.users where v = id::text), '[...]') else v end), ', ' order by k) from jsonb_each_text(payload) p(k, v)) as payload
  from sor.agent_events e join sor.event_streams s using (tenant_id, stream_id) where tenant_id = :'a' and kind = 'tenant' order by seq;
select count(*), count(distinct stream_id), max(seq) from sor.agent_events where tenant_id = :'a';
select sor.revoke_tenant('access_app', :'a'), sor.revoke_tenant('Access "odd" é', :'a');
drop role access_operator, access_app, access_worker, "Access ""odd"" é";
