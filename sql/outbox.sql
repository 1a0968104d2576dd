-- outbox: a message is sent if and only if its transaction commits, at least once, in the order of its aggregate.
set client_min_messages = warning;
create extension if not exists sor;
create schema outbox_test;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-000000b0caa1', 'outbox A'), ('00000000-0000-7000-8000-000000b0cab2', 'outbox B');
\set a '''00000000-0000-7000-8000-000000b0caa1'''
\set b '''00000000-0000-7000-8000-000000b0cab2'''
create role outbox_app in role sor_app;
create role outbox_relay in role sor_relay;
create role outbox_worker in role sor_worker;
create role outbox_auditor in role sor_auditor;
create role outbox_operator in role sor_operator;
grant usage on schema outbox_test to public;
select sor.create_user(:a, 'ann@o.example', 'Ann') as ann \gset
select sor.grant_tenant('outbox_app', :a, array[:'ann']::uuid[]), sor.grant_tenant('outbox_app', :b), sor.grant_tenant('outbox_relay', :a),
    sor.grant_tenant('outbox_relay', :b), sor.grant_tenant('outbox_auditor', :a, null, '{user}') \g /dev/null
create function outbox_test.attempt(command text) returns text language plpgsql as $$
declare detail text; hint text;
begin
    execute command;
    return 'done';
exception when others then
    get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
    return regexp_replace(concat_ws(' | ', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, '')), '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>', 'g');
end $$;
-- the time that a lease, a retry or a schedule takes, as if it had passed
create function outbox_test.lapse(key text) returns void language sql as
    $$ update sor.ready r set available_at = clock_timestamp() - interval '1 ms' from sor.outbox o where r.queue = 'outbox' and r.tenant_id = o.tenant_id and r.item_id = o.id::text and o.dedup_key = key $$;
create function outbox_test.token(key text) returns bigint language sql as
    $$ select r.claim_token from sor.ready r join sor.outbox o on r.tenant_id = o.tenant_id and r.item_id = o.id::text where r.queue = 'outbox' and o.dedup_key = key $$;
create function outbox_test.id(key text) returns uuid language sql as $$ select id from sor.outbox where dedup_key = key $$;

-- what cannot be a message
set role outbox_app;
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', '', 'e', 'a', '{}', 'k')$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'd', 'e', 'a', '{}', '')$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'd', 'e', 'a', '{}', null)$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'd', 'e', null, '{}', 'k')$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'd', 'e', 'a', '[]', 'k')$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'd', 'e', 'a', '{}', 'k', 'infinity')$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0cac3', 'd', 'e', 'a', '{}', 'k')$$);

-- a row with its intent; the same again is the same; another content under its key is refused; keys are the tenant's
select message_id as first, enqueued from sor.enqueue(:a, 'mail', 'expense.recorded', 'x1', '{"to": "a@b", "n": 1}', 'k1') \gset
select :'enqueued' as enqueued;
select message_id = :'first' as same, enqueued from sor.enqueue(:a, 'mail', 'expense.recorded', 'x1', '{"n": 1.0, "to": "a@b"}', 'k1');
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'mail', 'expense.recorded', 'x1', '{"to": "a@b", "n": 2}', 'k1')$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'post', 'expense.recorded', 'x1', '{"to": "a@b", "n": 1}', 'k1')$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'mail', 'expense.deleted', 'x1', '{"to": "a@b", "n": 1}', 'k1')$$);
select outbox_test.attempt($$select sor.enqueue('00000000-0000-7000-8000-000000b0caa1', 'mail', 'expense.recorded', 'x2', '{"to": "a@b", "n": 1}', 'k1')$$);
select message_id <> :'first' as another, enqueued from sor.enqueue(:b, 'mail', 'expense.recorded', 'x1', '{"of": "b"}', 'k1');
reset role;
select status, attempts, last_error, processed_at, destination, event_type, aggregate_id, payload, dedup_key, next_attempt_at = created_at as at_once
  from sor.outbox where tenant_id = :a;
select stream_id = message_id as own_stream, message_id = :'first' as of_message, seq, event_type, actor_kind, actor, on_behalf_of = :'ann' as for_ann, payload - 'available_at' as payload
  from sor.agent_events where tenant_id = :a and event_type like 'outbox.%';

-- with the transaction or not at all
set role outbox_app;
begin;
select enqueued from sor.enqueue(:a, 'mail', 'e', 'rolled back', '{}', 'gone');
rollback;
begin;
savepoint s;
select enqueued from sor.enqueue(:a, 'mail', 'e', 'rolled back', '{}', 'gone');
rollback to s;
commit;
reset role;
select (select count(*) from sor.outbox where dedup_key = 'gone') as messages, (select count(*) from sor.ready where order_value = 'rolled back') as ready,
    (select count(*) from sor.agent_events where payload ->> 'dedup_key' = 'gone') as events;
set role outbox_app;
select enqueued from sor.enqueue(:a, 'mail', 'e', 'rolled back', '{}', 'gone', clock_timestamp() + interval '1 h');

-- a relay gets what is due, in the order of each aggregate, and each message once
select (sor.enqueue(:a, 'mail', 'e', v.aggregate, v.payload::jsonb, v.key, clock_timestamp() + v.due)).enqueued
  from (values (2, 'x1', '{"n": 2}', 'k2', null::interval), (3, 'x1', '{"n": 3}', 'k3', null), (4, 'y', '{"n": 4}', 'k4', '-1 y'),
               (5, 'y', '{"n": 5}', 'k5', '1 h'), (6, 'y', '{"n": 6}', 'k6', null)) v(n, aggregate, payload, key, due) order by n;
set role outbox_worker;
select outbox_test.attempt($$select * from sor.claim_outbox('00000000-0000-7000-8000-000000b0caa1', 'r', 9, '1 min')$$);
set role outbox_relay;
select outbox_test.attempt($$select * from sor.claim_outbox('00000000-0000-7000-8000-000000b0caa1', '', 9, '1 min')$$);
select outbox_test.attempt($$select * from sor.claim_outbox('00000000-0000-7000-8000-000000b0caa1', 'r', 0, '1 min')$$);
select outbox_test.attempt($$select * from sor.claim_outbox('00000000-0000-7000-8000-000000b0caa1', 'r', 9, '0.5 s')$$);
select outbox_test.attempt($$select * from sor.claim_outbox('00000000-0000-7000-8000-000000b0cac3', 'r', 9, '1 min')$$);
select outbox_test.attempt($$select * from sor.outbox$$);
select t in (:a, :b) as granted from sor.tenants_with_work('outbox') t;
select attempt, destination, event_type, aggregate_id, payload, dedup_key, created_at <= clock_timestamp() as created from sor.claim_outbox(:a, 'r', 9, '1 min');
select count(*) from sor.claim_outbox(:a, 'r', 9, '1 min');
select t = :b as b from sor.tenants_with_work('outbox') t;
reset role;
select outbox_test.token('k2') = 0 as k2_waits, outbox_test.id('k4') as id4, outbox_test.token('k4') as token4, outbox_test.token('k1') as ignored \gset
select claim_token as token1 from sor.ready where queue = 'outbox' and item_id = :'first' \gset

-- dispatched: once, and the mark may be repeated when its answer was lost; the next of the aggregate follows
set role outbox_relay;
select outbox_test.attempt(format('select sor.mark_dispatched(%L, %L, %s, null)', :a, :'first', :token1 - 1));
select outbox_test.attempt(format('select sor.mark_dispatched(%L, %L, %s, null)', :b, :'first', :token1));
select sor.mark_dispatched(:a, :'first', :token1, '{"smtp": 250}');
select sor.mark_dispatched(:a, :'first', :token1, '{"smtp": 250}');
select outbox_test.attempt(format('select sor.mark_dispatched(%L, %L, %s, null)', :a, :'first', :token1 + 1));
select outbox_test.attempt(format('select sor.mark_failed(%L, %L, %s, %L)', :a, :'first', :token1, 'late'));
select dedup_key from sor.claim_outbox(:a, 'r', 9, '1 min');
reset role;
select status, attempts, processed_at is not null as processed, claim_token = :token1 as token from sor.outbox where id = :'first';
select seq, event_type, actor_kind, actor, on_behalf_of, message_id = :'first' as of_message,
       payload - 'processed_at' as payload, (payload ->> 'processed_at')::timestamptz = (select processed_at from sor.outbox where id = :'first') as sent_then from sor.agent_events where stream_id = :'first' and seq > 1;

-- failed for now: again after a while, before the others of its aggregate; a stale relay marks nothing
set role outbox_relay;
select sor.mark_failed(:a, :'id4', :token4, 'connection refused');
select outbox_test.attempt(format('select sor.mark_failed(%L, %L, %s, %L)', :a, :'id4', :token4, 'again'));
select outbox_test.attempt(format('select sor.mark_dispatched(%L, %L, %s, null)', :a, :'id4', :token4));
select dedup_key from sor.claim_outbox(:a, 'r', 9, '1 min');
reset role;
select status, attempts, last_error, processed_at, next_attempt_at - clock_timestamp() between '14 s' and '30 s' as backed_off from sor.outbox where dedup_key = 'k4';
select outbox_test.lapse('k4');
set role outbox_relay;
select dedup_key, attempt, claim_token > :token4 as greater from sor.claim_outbox(:a, 'r2', 9, '1 min');
reset role;
select outbox_test.lapse('k4');
select outbox_test.token('k4') as token4 \gset
set role outbox_relay;
select outbox_test.attempt(format('select sor.mark_dispatched(%L, %L, %s, null)', :a, :'id4', :token4)) ~ 'SR007 .* The lease ended' as lost;
select dedup_key, attempt, claim_token as token4 from sor.claim_outbox(:a, 'r3', 9, '1 min') \gset
select :'dedup_key' as dedup_key, :'attempt' as attempt;
-- failed for good: dead, and the aggregate goes on
select sor.mark_failed(:a, :'id4', :token4, 'no such mailbox', true);
select dedup_key from sor.claim_outbox(:a, 'r', 9, '1 min');
reset role;
select status, attempts, last_error, processed_at from sor.outbox where dedup_key = 'k4';
set role outbox_relay;
select outbox_test.attempt(format('select sor.requeue(%L, %L, %L)', :a, 'outbox', :'id4'));
set role outbox_operator;
select sor.requeue(:a, 'outbox', :'id4');
select outbox_test.attempt(format('select sor.requeue(%L, %L, %L)', :a, 'outbox', :'id4'));
select outbox_test.attempt(format('select sor.requeue(%L, %L, %L)', :a, 'outbox', 'x'));
reset role;
select status, attempts, outbox_test.token('k4') > :token4 as greater from sor.outbox where dedup_key = 'k4';
select seq, event_type, actor_kind, actor, payload - 'next_attempt_at' - 'claim_token' - 'item_id' as payload from sor.agent_events where stream_id = :'id4' and seq > 1 order by seq;
-- after twelve attempts it is dead, whether they failed or were never answered
update sor.ready set attempt = 11, available_at = clock_timestamp() where item_id = :'id4';
update sor.ready set attempt = 12, available_at = clock_timestamp() where item_id = outbox_test.id('k6')::text;
set role outbox_relay;
select sor.mark_failed(:a, message_id, claim_token, 'the last time') from sor.claim_outbox(:a, 'r', 9, '1 min');
select count(*) from sor.claim_outbox(:a, 'r', 9, '1 min');
reset role;
select dedup_key, status, attempts, last_error from sor.outbox where tenant_id = :a order by 1;
select actor_kind, actor, payload ->> 'dedup_key' as key from sor.agent_events where event_type = 'outbox.dead' and tenant_id = :a order by id;
-- a message scheduled for later does not hold up what is due
update sor.ready set available_at = clock_timestamp() where item_id in (outbox_test.id('k5')::text, outbox_test.id('gone')::text);
set role outbox_relay;
select dedup_key from sor.claim_outbox(:a, 'r', 9, '1 min');
select dedup_key from sor.claim_outbox(:b, 'r', 9, '1 min');

-- an auditor sees its tenant's messages, and history and messages agree
set role outbox_auditor;
select count(*) from sor.outbox;
begin;
select sor.set_context(:a) \g /dev/null
select count(*) from sor.outbox;
commit;
reset role;
select first_bad from sor.verify_events(:a);
select o.status, array_agg(e.event_type order by e.seq) from sor.outbox o join sor.agent_events e on e.tenant_id = o.tenant_id and e.stream_id = o.id where o.tenant_id = :a and o.dedup_key in ('k1', 'k2', 'k6') group by o.id, o.status order by o.id;
select count(*) as left_over from sor.ready r where queue = 'outbox' and tenant_id in (:a, :b) and not exists (select from sor.outbox o where o.id::text = r.item_id and o.status = 'pending');

drop schema outbox_test cascade;
delete from sor.ready where tenant_id in (:a, :b);
drop owned by outbox_app, outbox_relay, outbox_worker, outbox_auditor, outbox_operator;
delete from sor.tenant_grants where login like 'outbox\_%';
drop role outbox_app, outbox_relay, outbox_worker, outbox_auditor, outbox_operator;
