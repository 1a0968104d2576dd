-- metrics and status: for whom, of what, and that no event is counted twice or never. t/37_metrics.t holds them to their readers.
set client_min_messages = warning;
create extension if not exists sor;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-0000000003a1', 'metrics A'), ('00000000-0000-7000-8000-0000000003b2', 'metrics B');
\set a '''00000000-0000-7000-8000-0000000003a1'''
\set b '''00000000-0000-7000-8000-0000000003b2'''
create role metrics_auditor in role sor_auditor;
create role metrics_operator in role sor_operator;
create role metrics_worker in role sor_worker;
select sor.grant_tenant('metrics_auditor', :a, null, '{user}') \g /dev/null
-- an auditor's own tenants and no tables; an operator's all; nobody else's
set role metrics_auditor;
select distinct labels ->> 'tenant' as tenant from sor.metrics();
select count(*) as of_tables from sor.metrics() where labels ? 'table';
set role metrics_operator;
select count(distinct labels ->> 'tenant') = (select count(*) from sor.metrics() where name = 'sor_runs_unended') as all_tenants,
    bool_or(labels ->> 'table' = 'sor.agent_events') as tables from sor.metrics();
set role metrics_worker;
\set VERBOSITY sqlstate
select * from sor.metrics();
select * from sor.status();
\set VERBOSITY default
reset role;
-- families stand together, each name is of its family, each sample there once
select bool_and(name ^@ family), count(*) = count(distinct (name, labels)) as once from sor.metrics();
select family from (select family, lag(family) over (order by n) as former, n from sor.metrics() with ordinality m(name, labels, value, family, type, help, n)) x
 where family is distinct from former group by family having count(*) > 1;
-- what happens from the first call on is counted, once: a second after its transaction ended
select sor.create_user(:a, 'ann@m.example', 'Ann') as ann \gset
select sor.assign_role(:a, :'ann', 'member') \g /dev/null
select run_id as run, run_token as token from sor.start_run(:a, 'w', 'one', :'ann') \gset
select sor.begin_turn(:a, :'run', :token) \g /dev/null
select sor.call_tool(:a, null, :'run', :token, 1, sor.uuid_v7(), 'no_such_tool', '{}') \g /dev/null
select sor.enqueue(:a, 'mail', 'm', n::text, '{}', 'metrics ' || n) from generate_series(1, 2) n \g /dev/null
select sor.mark_dispatched(:a, message_id, claim_token, '{}') from sor.claim_outbox(:a, 'r', 1, '1 min') \g /dev/null
select sor.mark_failed(:a, message_id, claim_token, 'refused', true) from sor.claim_outbox(:a, 'r', 1, '1 min') \g /dev/null
-- the clock of ids moves on without us: as if the second had passed
update sor.event_count_progress set counted_to = '00000000-0000-7000-8000-000000000000' where tenant_id = :a;
delete from sor.event_counts where tenant_id = :a;
do $$ begin perform pg_sleep(1.1); end $$;
create temp view counted as select name, labels - 'tenant' as labels, value from sor.metrics()
 where labels ->> 'tenant' = 'metrics A' and value <> 0 and (name like '%\_total' or name like '%\_count' or labels ->> 'le' = '0.5') order by name collate "C", labels::text collate "C";
select * from counted;
select * from counted;
select (select sum(value) from sor.metrics() where name = 'sor_events_total' and labels ->> 'tenant' = 'metrics A') = (select count(*) from sor.agent_events where tenant_id = :a) as all_events;
-- gauges
select name, labels - 'tenant' as labels, value from sor.metrics() where labels ->> 'tenant' = 'metrics A' and type = 'gauge' and value <> 0 and name not like '%seconds' order by 1, 2::text;
select whole from sor.verifications where tenant_id = :a;
select first_bad from sor.verify_events(:a);
select value as whole from sor.metrics() where name = 'sor_chain_verification_whole' and labels ->> 'tenant' = 'metrics A';
select value < 60 as fresh from sor.metrics() where name = 'sor_chain_verification_age_seconds' and labels ->> 'tenant' = 'metrics A';
-- in a read-only transaction the counters stand still
begin read only;
select count(*) > 0 as answered from sor.metrics();
rollback;
-- status: a run that lost its holder
update sor.runs set lease_until = clock_timestamp() - interval '2 hours' where id = :'run';
set role metrics_auditor;
select severity, problem, tenant, subject = :'run' as the_run, count, detail, replace(action, :'run', '<run>') as action from sor.status() where problem = 'lapsed_run';
reset role;
drop owned by metrics_auditor, metrics_operator, metrics_worker;
