-- preflight: the checks that one session can make, by whom, and what is left of them. t/36_preflight.t takes each control away.
set client_min_messages = warning;
create extension if not exists sor;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-00000000fea1', 'preflight A'), ('00000000-0000-7000-8000-00000000feb2', 'preflight B');
\set a '''00000000-0000-7000-8000-00000000fea1'''
\set b '''00000000-0000-7000-8000-00000000feb2'''
create role preflight_auditor in role sor_auditor;
create role preflight_operator in role sor_operator;
create role preflight_worker in role sor_worker;
select sor.grant_tenant('preflight_auditor', :a, null, '{user}') \g /dev/null
select sor.create_user(:a, 'ann@p.example', 'Ann') as ann \gset
set role preflight_auditor;
select check_no, name, ok, regexp_replace(evidence, 'preflight\.[0-9a-f-]+', '<tool>') as evidence from sor.preflight(:a);
reset role;
select sor.assign_role(:a, :'ann', 'member') \g /dev/null
set role preflight_auditor;
-- null: what is granted
select check_no, ok, regexp_replace(evidence, 'preflight\.[0-9a-f-]+', '<tool>') as evidence from sor.preflight();
select sor.current_tenant();
\set VERBOSITY sqlstate
select * from sor.preflight(:b);
set role preflight_operator;
select * from sor.preflight();
select * from sor.preflight(:a);
set role preflight_worker;
select * from sor.preflight(:a);
set role preflight_auditor;
select * from sor.preflight_request(:a, '00000000-0000-4000-8000-00000000fe01');
begin read only;
select * from sor.preflight(:a);
rollback;
\set VERBOSITY default
reset role;
-- what is left
select event_type, actor, payload ->> 'ok' as ok from sor.agent_events where tenant_id = :a order by id;
select (select count(*) from sor.users where tenant_id = :a) as users, (select count(*) from sor.runs where tenant_id = :a) as runs,
    (select count(*) from sor.outbox where tenant_id = :a) as messages, (select count(*) from sor.idempotency_keys where tenant_id = :a) as keys,
    (select count(*) from sor.tools where name ^@ 'preflight') as tools;
-- a request by hand
select sor.grant_tenant('preflight_operator', :a) \g /dev/null
set role preflight_operator;
select inserted from sor.preflight_request(:a, '00000000-0000-4000-8000-00000000fe01');
select inserted from sor.preflight_request(:a, '00000000-0000-4000-8000-00000000fe01');
select sor.preflight_awaited();
select keys, events from sor.preflight_forget(:a, '00000000-0000-4000-8000-00000000fe01');
select keys, events from sor.preflight_forget(:a, '00000000-0000-4000-8000-00000000fe01');
begin;
select sor.set_context(:a) \g /dev/null
select tenant_id, user_id, actor_kind, visible_rows > 0 as sees_rows from sor.preflight_context();
commit;
select tenant_id, user_id, actor_kind, visible_rows from sor.preflight_context();
-- messages, newest first
reset role;
select sor.enqueue(:a, 'mail', 'm', n::text, '{}', n::text) from generate_series(1, 3) n \g /dev/null
select message_id as m, claim_token as t from sor.claim_outbox(:a, 'relay', 1, '1 min') \gset
select sor.mark_failed(:a, :'m', :t, 'no such address', true) \g /dev/null
select message_id as m, claim_token as t from sor.claim_outbox(:a, 'relay', 1, '1 min') \gset
select sor.mark_dispatched(:a, :'m', :t, '{}') \g /dev/null
set role preflight_auditor;
select status, destination, dedup_key, attempts, last_error, processed_at is not null as processed from sor.find_messages(:a);
select dedup_key from sor.find_messages(:a, max => 1);
select status, dedup_key from sor.find_messages(:a, 'dead') union all select status, dedup_key from sor.find_messages(:a, 'pending')
    union all select status, dedup_key from sor.find_messages(:a, 'dispatched');
\set VERBOSITY sqlstate
select * from sor.find_messages(:a, 'lost');
select * from sor.find_messages(:a, max => 0);
select * from sor.find_messages(:b);
-- the decision of a drill is an operator's, and an event of the system's stream
select sor.record_drill('{}');
set role preflight_operator;
select sor.record_drill('[]');
\set VERBOSITY default
begin;
select sor.record_drill('{"bundle": {}}') > 0 as recorded;
reset role;
select tenant_id, event_type, actor_kind, actor, payload from sor.agent_events where event_type = 'drill.decided';
rollback;
reset role;
drop owned by preflight_auditor, preflight_operator, preflight_worker;
drop role preflight_auditor, preflight_operator, preflight_worker;
