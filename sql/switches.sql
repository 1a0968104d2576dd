-- switches: what operators pause is not handed out and not called, and says so; who holds something may settle it.
set client_min_messages = warning;
create extension if not exists sor;
create schema switches_test;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-0000000005a1', 'switches A'), ('00000000-0000-7000-8000-0000000005b2', 'switches B');
\set a '''00000000-0000-7000-8000-0000000005a1'''
\set b '''00000000-0000-7000-8000-0000000005b2'''
select sor.create_user(:a, 'ann@s.example', 'Ann') as ann \gset
select sor.assign_role(:a, :'ann', 'member') \g /dev/null
create role switches_app in role sor_app;
create role switches_relay in role sor_relay;
create role switches_auditor in role sor_auditor;
create role switches_operator in role sor_operator;
create role switches_owner;
select sor.grant_tenant('switches_app', :a, array[:'ann']::uuid[]), sor.grant_tenant('switches_app', :b), sor.grant_tenant('switches_relay', :a), sor.grant_tenant('switches_relay', :b),
    sor.grant_tenant('switches_auditor', :a, null, '{user}') \g /dev/null
create function switches_test.attempt(command text) returns text language plpgsql as $$
declare detail text; hint text;
begin
    execute command;
    return 'done';
exception when others then
    get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
    return concat_ws(' | ', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, ''));
end $$;
grant usage on schema switches_test to public;
grant create on schema switches_test to switches_owner;
create table switches_test.jobs (tenant_id uuid, id int, primary key (tenant_id, id));
alter table switches_test.jobs owner to switches_owner;
select sor.protect_tenant('switches_test.jobs') \g /dev/null
select sor.register_queue('switches_test.jobs', name => 'switches_jobs') \g /dev/null
insert into switches_test.jobs select t, n from unnest(array[:a, :b]::uuid[]) t, generate_series(1, 3) n;

-- who may, and what
set role switches_app;
select switches_test.attempt($$select sor.pause('queue', 'switches_jobs', 'x')$$);
set role switches_auditor;
select switches_test.attempt($$select sor.resume('queue', 'switches_jobs')$$);
set role switches_operator;
select switches_test.attempt($$select sor.pause('table', 'switches_jobs', 'x')$$);
select switches_test.attempt($$select sor.pause('queue', 'nope', 'x')$$);
select switches_test.attempt($$select sor.pause('tool', 'nope', 'x')$$);
select switches_test.attempt($$select sor.pause('tenant', 'nope', 'x')$$);
select switches_test.attempt($$select sor.pause('queue', 'switches_jobs', '')$$);
select switches_test.attempt($$select sor.resume('queue', 'switches_jobs')$$);
select sor.find_tenant('switches A') = :a as found;
select switches_test.attempt($$select sor.find_tenant('nope')$$);

-- a queue: nothing is handed out, the holder completes
set role switches_app;
select item_id as held, claim_token as token from sor.claim(:a, 'switches_jobs', 'w', 1, '1 min') \gset
set role switches_operator;
select sor.pause('queue', 'switches_jobs', 'the bank is closed') \g /dev/null
select sor.pause('queue', 'switches_jobs', 'the bank is closed on Sundays') \g /dev/null
set role switches_app;
select count(*) as claimed from sor.claim(:a, 'switches_jobs', 'w', 9, '1 min');
select count(*) as with_work from sor.tenants_with_work('switches_jobs');
select switches_test.attempt(format($$select sor.complete(%L, 'switches_jobs', %L, %s)$$, :a, :'held', :token));
set role switches_auditor;
select kind, name, reason, paused_by from sor.list_pauses();
select severity, problem, tenant, subject, detail, action from sor.status();
set role switches_operator;
select sor.resume('queue', 'switches_jobs') \g /dev/null
set role switches_app;
select count(*) as with_work from sor.tenants_with_work('switches_jobs');
select count(*) as claimed from sor.claim(:a, 'switches_jobs', 'w', 1, '1 min');

-- a tool: refused, journaled, and the same request_id runs afterwards
select run_id as run, run_token as token from sor.start_run(:a, 'w', null, :'ann') \gset
select sor.begin_turn(:a, :'run', :token) \g /dev/null
set role switches_operator;
select sor.pause('tool', 'queue', 'the mail server is moved') \g /dev/null
set role switches_app;
\set message '''{"destination": "mail", "event_type": "m", "aggregate_id": "1", "payload": {}, "dedup_key": "switches 1"}'''
select sor.call_tool(:a, null, :'run', :token, 1, '00000000-0000-4000-8000-000000000501', 'queue', :message) as refused;
select sor.call_tool(:a, null, :'run', :token, 1, '00000000-0000-4000-8000-000000000502', 'claim', '{"queue": "switches_jobs", "limit": 0, "lease_seconds": 60}') ->> 'status' as another_tool;
set role switches_operator;
select sor.resume('tool', 'queue') \g /dev/null
set role switches_app;
select sor.call_tool(:a, null, :'run', :token, 1, '00000000-0000-4000-8000-000000000501', 'queue', :message) ->> 'status' as afterwards;

-- a tenant: neither items nor messages nor calls; the others go on
set role switches_operator;
select sor.pause('tenant', 'switches A', 'an audit') \g /dev/null
set role switches_app;
select switches_test.attempt(format($$select sor.call_tool(%L, null, %L, %s, 1, sor.uuid_v7(), 'queue', %L)$$, :a, :'run', :token, :message));
select count(*) as claimed from sor.claim(:a, 'switches_jobs', 'w', 9, '1 min');
select t.name as with_work from sor.tenants_with_work('switches_jobs') w join (values (:a::uuid, 'switches A'), (:b, 'switches B')) t(id, name) on t.id = w;
select count(*) as claimed_of_another from sor.claim(:b, 'switches_jobs', 'w', 9, '1 min');
set role switches_relay;
select count(*) as messages from sor.claim_outbox(:a, 'r', 9, '1 min');
set role switches_auditor;
select kind, name, reason from sor.list_pauses();
-- a run of it that nobody may resume is no news beside the pause
reset role;
update sor.runs set lease_until = clock_timestamp() - interval '2 hours' where id = :'run';
select problem from sor.status() where tenant = 'switches A';
set role switches_operator;
select sor.resume('tenant', 'switches A') \g /dev/null
select problem from sor.status() where tenant = 'switches A';
reset role;
update sor.runs set lease_until = clock_timestamp() + interval '5 min' where id = :'run';
set role switches_operator;
select sor.pause('queue', 'outbox', 'no mails tonight') \g /dev/null
set role switches_relay;
select count(*) as messages from sor.claim_outbox(:a, 'r', 9, '1 min');
set role switches_operator;
select sor.resume('queue', 'outbox') \g /dev/null
select count(*) as paused from sor.list_pauses();
-- all of it is history; an application cannot say so
reset role;
select event_type, actor, payload from sor.agent_events where event_type ^@ 'switch.' and (payload ->> 'name' ^@ 'switches' or payload ->> 'name' in ('queue', 'outbox')) order by id;
select substring(narrative from 'UTC\S*: (.*)') as narrative from sor.what_happened(:a, now() - interval '1 hour', clock_timestamp() + interval '1 s') where event_type ^@ 'switch.';
select status, error ->> 'sqlstate' as sqlstate from sor.tool_calls where tenant_id = :a and tool = 'queue' order by id;
select switches_test.attempt(format($$select sor.append_event(%L, 'switch.paused', '{}')$$, :a));

-- dead messages: one, or all of a destination
select sor.enqueue(:a, case when n < 4 then 'mail' else 'fax' end, 'm', 'r' || n, '{}', 'redrive ' || n) from generate_series(1, 5) n \g /dev/null
select sor.mark_failed(:a, message_id, claim_token, 'no such address', true) from sor.claim_outbox(:a, 'r', 10, '1 min') \g /dev/null
select status, count(*) from sor.outbox where tenant_id = :a group by status;
select severity, problem, tenant, subject, count, regexp_replace(detail, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>') as detail, action from sor.status() where tenant = 'switches A';
set role switches_operator;
select switches_test.attempt(format($$select sor.redrive(%L)$$, :a));
select switches_test.attempt(format($$select sor.redrive(%L, sor.uuid_v7(), 'mail')$$, :a));
select switches_test.attempt(format($$select sor.redrive(%L, destination => 'mail', max => 0)$$, :a));
select split_part(switches_test.attempt(format($$select sor.redrive(%L, sor.uuid_v7())$$, :a)), ' ', 1) as of_none;
select sor.redrive(:a, destination => 'mail', max => 2) as first, sor.redrive(:a, destination => 'mail') as rest;
reset role;
select id as fax from sor.outbox where tenant_id = :a and status = 'dead' order by id limit 1 \gset
set role switches_operator;
select sor.redrive(:a, :'fax') as one;
reset role;
select destination, status, count(*) from sor.outbox where tenant_id = :a group by 1, 2 order by 1, 2;
select first_bad from sor.verify_events(:a);
select count(*) from sor.claim_outbox(:a, 'r', 10, '1 min');
drop owned by switches_app, switches_relay, switches_auditor, switches_operator;
