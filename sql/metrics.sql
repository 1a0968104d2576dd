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
select distinct labels ->> 'tenant' as tenant from sor.metrics() where labels ? 'tenant';
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
-- tables have one name in every session
select array_agg(labels ->> 'table') as tables from sor.metrics() where name = 'sor_table_bytes' \gset
set quote_all_identifiers = on;
select array_agg(labels ->> 'table') = :'tables' as same_tables from sor.metrics() where name = 'sor_table_bytes';
reset quote_all_identifiers;
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
-- a message that was to wait is measured from when it was due
select sor.enqueue(:a, 'mail', 'm', 'later', '{}', 'metrics later', clock_timestamp() + interval '1200 ms') \g /dev/null
do $$ begin perform pg_sleep(1.2); end $$;
select sor.mark_dispatched(:a, message_id, claim_token, '{}') from sor.claim_outbox(:a, 'r', 1, '1 min') \g /dev/null
-- types that an application makes up without end are no time series without end; sor's own keep their names
select sor.append_event(:a, 'made_up.type_' || n, '{}') from generate_series(1, 103) n \g /dev/null
do $$ begin perform pg_sleep(1.1); end $$;
select count(*) from sor.metrics() \g /dev/null
select sor.append_event(:a, 'later.type', '{}'), sor.append_event(:a, 'made_up.type_1', '{}') \g /dev/null
select sor.cancel_run(:a, run_id, 'no more') from sor.start_run(:a, 'w', 'two') \g /dev/null
do $$ begin perform pg_sleep(1.1); end $$;
select value as dispatched_within_a_second from sor.metrics() where name = 'sor_outbox_dispatch_seconds_bucket' and labels @> '{"tenant": "metrics A", "le": "1"}';
select count(*) filter (where labels ->> 'event_type' ^@ 'made_up.') as own_types, sum(value) filter (where labels ->> 'event_type' = 'other') as others,
    sum(value) filter (where labels ->> 'event_type' = 'made_up.type_1') as the_known, sum(value) filter (where labels ->> 'event_type' = 'run.cancelled') as of_sor
  from sor.metrics() where name = 'sor_events_total' and labels ->> 'tenant' = 'metrics A';
-- gauges
select name, labels - 'tenant' as labels, value from sor.metrics() where labels ->> 'tenant' = 'metrics A' and type = 'gauge' and value <> 0 and name not like '%seconds' order by 1, 2::text;
select whole from sor.verifications where tenant_id = :a;
select first_bad from sor.verify_events(:a);
select value as whole from sor.metrics() where name = 'sor_chain_verification_whole' and labels ->> 'tenant' = 'metrics A';
select value < 60 as fresh from sor.metrics() where name = 'sor_chain_verification_age_seconds' and labels ->> 'tenant' = 'metrics A';
-- a partitioned table is all its partitions
create role metrics_owner;
create schema metrics_test authorization metrics_owner;
create table metrics_test.parts (tenant_id uuid, id int, primary key (tenant_id, id)) partition by list (tenant_id);
create table metrics_test.part_a partition of metrics_test.parts for values in (:a);
create table metrics_test.part_b partition of metrics_test.parts for values in (:b);
alter table metrics_test.parts owner to metrics_owner;
alter table metrics_test.part_a owner to metrics_owner;
alter table metrics_test.part_b owner to metrics_owner;
select sor.protect_tenant('metrics_test.parts') \g /dev/null
select sor.register_table('metrics_test.parts', '{id}') \g /dev/null
select inserted from sor.upsert_many(:a, 'parts', (select jsonb_agg(jsonb_build_object('id', n)) from generate_series(1, 9) n));
analyze metrics_test.part_a;
select name, value = case name when 'sor_table_bytes' then pg_total_relation_size('metrics_test.part_a') + pg_total_relation_size('metrics_test.part_b') else 9 end as of_all
  from sor.metrics() where labels ->> 'table' = 'metrics_test.parts' and name <> 'sor_table_dead_rows_estimated';
-- in a read-only transaction the counters stand still
begin read only;
select count(*) > 0 as answered from sor.metrics();
rollback;
-- status: a run that lost its holder
update sor.runs set lease_until = clock_timestamp() - interval '2 hours' where id = :'run';
set role metrics_auditor;
select severity, problem, tenant, subject = :'run' as the_run, count, replace(detail, :'run', '<run>') as detail, replace(action, :'run', '<run>') as action from sor.status() where problem = 'lapsed_run';
reset role;
set sor.drop_guard = off;
drop schema metrics_test cascade;
delete from sor.registered_tables where target like 'metrics_test.%';
drop owned by metrics_auditor, metrics_operator, metrics_worker;
