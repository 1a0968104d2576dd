-- claim: rows of a registered table are items, handed out with leases, fencing tokens and order.
set client_min_messages = warning;
create extension if not exists sor;
set sor.drop_guard = off; -- tampers with what is guarded, and drops it at the end
create schema claim_test;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-0000000c1aa1', 'claim A'), ('00000000-0000-7000-8000-0000000c1ab2', 'claim B');
\set a '''00000000-0000-7000-8000-0000000c1aa1'''
\set b '''00000000-0000-7000-8000-0000000c1ab2'''
create role claim_app in role sor_app;
create role claim_worker in role sor_worker;
create role claim_auditor in role sor_auditor;
create role claim_operator in role sor_operator;
create role claim_owner;
create role claim_unfit in role sor_app;
grant all on schema claim_test to claim_owner;
grant usage on schema claim_test to public;
select sor.grant_tenant('claim_app', :a), sor.grant_tenant('claim_app', :b), sor.grant_tenant('claim_worker', :a),
    sor.grant_tenant('claim_auditor', :a, null, '{user}') \g /dev/null
create function claim_test.attempt(command text) returns text language plpgsql as $$
declare detail text; hint text;
begin
    execute command;
    return 'done';
exception when others then
    get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
    return regexp_replace(concat_ws(' | ', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, '')), 'ended at [^|]*\.', 'ended at <time>.');
end $$;
-- the time that a lease, a retry or a delay takes, as if it had passed
create function claim_test.lapse(q text, i text default null) returns void language sql as
    $$ update sor.ready set available_at = clock_timestamp() - interval '1 ms' where queue = q and (i is null or item_id = i) and available_at < 'infinity' $$;
create view claim_test.waiting as
    select queue, item_id, attempt, claimed_by, case when available_at = 'infinity' then 'behind another'
        when available_at > clock_timestamp() then 'later' else 'due' end as available from sor.ready;
create view claim_test.events as
    select seq, event_type, actor_kind, actor, payload - 'claim_token' - 'lease_until' - 'available_at' as payload, id from sor.agent_events where event_type like 'item.%';

-- what is not fit is not registered, and the reason is said
create table claim_test.jobs (tenant_id uuid, id int, name text not null, secret text default 'hidden', primary key (tenant_id, id));
alter table claim_test.jobs owner to claim_owner;
select claim_test.attempt($$select sor.register_queue('claim_test.jobs')$$);
select sor.protect_tenant('claim_test.jobs') \g /dev/null
select claim_test.attempt($$select sor.register_queue('claim_test.jobs', name => 'outbox')$$);
select claim_test.attempt($$select sor.register_queue('claim_test.jobs', name => repeat('x', 41))$$);
select claim_test.attempt($$select sor.register_queue('claim_test.jobs', max_attempts => 0)$$);
select claim_test.attempt($$select sor.register_queue('claim_test.jobs', backoff_base => '25 h')$$);
select claim_test.attempt($$select sor.register_queue('claim_test.jobs', backoff_base => '-1 s')$$);
select claim_test.attempt($$select sor.register_queue('claim_test.jobs', order_key => 'nope')$$);
set role claim_operator;
select claim_test.attempt($$select sor.register_queue('claim_test.jobs')$$);
reset role;
create table claim_test.unfit (tenant_id uuid, id int, primary key (tenant_id, id));
select sor.protect_tenant('claim_test.unfit') \g /dev/null
alter table claim_test.unfit owner to claim_unfit;
select claim_test.attempt($$select sor.register_queue('claim_test.unfit')$$);
create table claim_test.keyless (tenant_id uuid, id int, part int, primary key (tenant_id, id, part));
select sor.protect_tenant('claim_test.keyless') \g /dev/null
alter table claim_test.keyless owner to claim_owner;
select claim_test.attempt($$select sor.register_queue('claim_test.keyless')$$);

-- the rows there are and the rows to come are items, each in its own tenant
insert into claim_test.jobs values (:a, 1, 'one'), (:a, 2, 'two'), (:b, 1, 'of b');
grant claim_owner to claim_operator;
set role claim_operator;
select sor.register_queue('claim_test.jobs', max_attempts => 5, backoff_base => '10 s');
reset role;
revoke claim_owner from claim_operator;
insert into claim_test.jobs values (:a, 3, 'three');
select t.name, r.item_id, r.attempt, r.claim_token from sor.ready r join sor.tenants t using (tenant_id) where queue = 'jobs' order by 1, 2;
select tgname, tgenabled, tgtype & 1 as by_row from pg_trigger where tgrelid = 'claim_test.jobs'::regclass order by 1;
select event_type, actor, payload from sor.agent_events where event_type = 'registered' and payload ->> 'name' = 'jobs';
-- the owner inserts under its context, ON CONFLICT, COPY, replica mode: an item for each row that is really new
begin;
select sor.set_context(:a, null, 'user') \g /dev/null
set local role claim_owner;
insert into claim_test.jobs values (:a, 3, 'again'), (:a, 4, 'four') on conflict do nothing;
insert into claim_test.jobs values (:a, 3, 'again'), (:a, 5, 'five') on conflict (tenant_id, id) do update set name = excluded.name;
select claim_test.attempt($$insert into claim_test.jobs values ('00000000-0000-7000-8000-0000000c1ab2', 7, 'of another tenant')$$);
savepoint s;
insert into claim_test.jobs values (:a, 8, 'rolled back');
rollback to s;
commit;
copy claim_test.jobs (tenant_id, id, name) from stdin;
00000000-0000-7000-8000-0000000c1aa1	6	six
\.
set session_replication_role = replica;
insert into claim_test.jobs values (:a, 9, 'replica');
reset session_replication_role;
select string_agg(item_id, ' ' order by item_id) from sor.ready where queue = 'jobs' and tenant_id = :a;
-- a row that goes takes its item along; key and tenant stay, and the table is not emptied past its items
delete from claim_test.jobs where id > 3;
select string_agg(item_id, ' ' order by item_id) from sor.ready where queue = 'jobs' and tenant_id = :a;
select claim_test.attempt($$update claim_test.jobs set id = 30 where id = 3$$);
select claim_test.attempt($$update claim_test.jobs set tenant_id = '00000000-0000-7000-8000-0000000c1ab2' where id = 3$$);
select claim_test.attempt($$truncate claim_test.jobs$$);
update claim_test.jobs set name = 'drei' where id = 3;
-- registered again: settings change, nothing else
select sor.register_queue('claim_test.jobs', max_attempts => 4, backoff_base => '20 s');
select max_attempts, backoff_base from sor.queues where name = 'jobs';
select claim_test.attempt($$select sor.register_queue('claim_test.jobs', order_key => 'name')$$);
select claim_test.attempt($$select sor.register_queue('claim_test.unfit', name => 'jobs')$$);
select count(*) from sor.ready where queue = 'jobs';

-- claims: oldest first, the row as a Worker may see it, this tenant's only
alter table claim_test.unfit owner to claim_owner;
select sor.register_table('claim_test.jobs', '{id}', readable => '{id,name}');
set role claim_app;
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'none', 'w', 1, '1 min')$$);
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'outbox', 'w', 1, '1 min')$$);
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'jobs', 'w', 0, '1 min')$$);
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'jobs', 'w', 1001, '1 min')$$);
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'jobs', 'w', 1, '2 h')$$);
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'jobs', null, 1, '1 min')$$);
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'jobs', '', 1, '1 min')$$);
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1ac3', 'jobs', 'w', 1, '1 min')$$);
select claim_test.attempt($$select * from sor.ready$$);
select claim_test.attempt($$select * from sor.item_failures$$);
select item_id, attempt, item from sor.claim(:a, 'jobs', 'w', 2, '1 min') order by item_id;
select item_id, attempt, item from sor.claim(:b, 'jobs', 'w', 9, '1 min');
select item_id, attempt, item, claim_token as token from sor.claim(:a, 'jobs', 'w', 9, '1 min') \gset third_
select :'third_item_id' as item_id, :'third_item' as item;
select count(*) from sor.claim(:a, 'jobs', 'w', 9, '1 min');
reset role;
select claim_token from sor.ready where queue = 'jobs' and item_id = '1' and tenant_id = :a \gset first_
select claim_token from sor.ready where queue = 'jobs' and item_id = '2' and tenant_id = :a \gset second_
select claim_token > extract(epoch from now() - interval '1 hour') * 1e6 as above_the_clock from sor.ready where queue = 'jobs' and item_id = '1' and tenant_id = :a;

-- who holds the item settles it, once, and in its tenant
set role claim_app;
select sor.complete(:a, 'jobs', '1', :first_claim_token, '{"sum": 3}');
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :a, 'jobs', '1', :first_claim_token));
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :a, 'jobs', '2', :second_claim_token + 1));
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :b, 'jobs', '2', :second_claim_token));
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :a, 'no_queue', '2', :second_claim_token));
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :a, 'outbox', '2', :second_claim_token));
-- extend reaches further and never back
select sor.extend(:a, 'jobs', '2', :second_claim_token, '10 min');
select sor.extend(:a, 'jobs', '2', :second_claim_token, '1 s');
reset role;
select available_at > clock_timestamp() + interval '9 min' as kept from sor.ready where queue = 'jobs' and item_id = '2';
-- a lease that is over is lost, before anybody else has come and after
select claim_test.lapse('jobs', '2');
set role claim_app;
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :a, 'jobs', '2', :second_claim_token));
select claim_test.attempt(format('select sor.extend(%L, %L, %L, %s, %L)', :a, 'jobs', '2', :second_claim_token, '1 min'));
select attempt, claim_token > :second_claim_token as greater, claim_token as token from sor.claim(:a, 'jobs', 'successor', 9, '1 min') \gset
select :'attempt' as attempt, :'greater' as greater_token;
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :a, 'jobs', '2', :second_claim_token));
select claim_test.attempt(format('select sor.fail(%L, %L, %L, %s, %L)', :a, 'jobs', '2', :second_claim_token, 'x'));
select claim_test.attempt(format('select sor.release(%L, %L, %L, %s)', :a, 'jobs', '2', :second_claim_token));
select claim_test.attempt(format('select sor.extend(%L, %L, %L, %s, %L)', :a, 'jobs', '2', :second_claim_token, '1 min'));
-- given back: at once or later, and the attempt does not count
select sor.release(:a, 'jobs', '2', :token);
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :a, 'jobs', '2', :token));
select attempt, claim_token > :token as greater, claim_token as token from sor.claim(:a, 'jobs', 'w', 9, '1 min') \gset
select :'attempt' as attempt, :'greater' as greater_token;
select sor.release(:a, 'jobs', '2', :token, '1 h');
select count(*) from sor.claim(:a, 'jobs', 'w', 9, '1 min');
reset role;
select * from claim_test.waiting where queue = 'jobs' order by 2;
select claim_test.lapse('jobs', '2');
select claim_test.lapse('jobs', '3');

-- failures: again after a while, then dead with the last error; an auditor of the tenant sees both
set role claim_app;
select sor.fail(:a, 'jobs', item_id, claim_token, 'broken: ' || item_id) from sor.claim(:a, 'jobs', 'w', 9, '1 min') order by item_id;
set role claim_auditor;
select count(*) from sor.item_failures;
begin;
select sor.set_context(:a) \g /dev/null
select queue, item_id, attempt, error, dead from sor.item_failures order by 2;
commit;
reset role;
select item_id, attempt, claimed_by, available_at - clock_timestamp() between '18 s' and '40 s' as backed_off from sor.ready where queue = 'jobs' and tenant_id = :a order by 1;
select sor.register_queue('claim_test.jobs', max_attempts => 3);
select claim_test.lapse('jobs', '2');
set role claim_app;
select item_id, attempt, claim_token as token from sor.claim(:a, 'jobs', 'w', 9, '1 min') \gset
select sor.fail(:a, 'jobs', :'item_id', :token, 'broken again');
reset role;
select :'item_id' as item_id, :'attempt' as attempt;
select item_id, attempt, error, dead from sor.item_failures where tenant_id = :a order by 1;
select * from claim_test.waiting where queue = 'jobs' and item_id = '2';
set role claim_app;
select claim_test.attempt($$select sor.requeue('00000000-0000-7000-8000-0000000c1aa1', 'jobs', '2')$$);
set role claim_operator;
select sor.requeue(:a, 'jobs', '2');
select claim_test.attempt($$select sor.requeue('00000000-0000-7000-8000-0000000c1aa1', 'jobs', '2')$$);
select claim_test.attempt($$select sor.requeue('00000000-0000-7000-8000-0000000c1aa1', 'none', '2')$$);
reset role;
select attempt, claim_token > :token as greater from sor.ready where tenant_id = :a and queue = 'jobs' and item_id = '2';
set role claim_app;
select claim_test.attempt(format('select sor.complete(%L, %L, %L, %s)', :a, 'jobs', '2', :token));
select sor.complete(:a, 'jobs', item_id, claim_token) from sor.claim(:a, 'jobs', 'w', 9, '1 min');
reset role;
select count(*) as failures_left from sor.item_failures where tenant_id = :a;
-- an item that comes back unanswered as often as it may be tried dies too
insert into claim_test.jobs values (:a, 10, 'kills its worker');
set role claim_app; select attempt from sor.claim(:a, 'jobs', 'w1', 9, '1 min'); reset role;
select claim_test.lapse('jobs', '10');
set role claim_app; select attempt from sor.claim(:a, 'jobs', 'w2', 9, '1 min'); reset role;
select claim_test.lapse('jobs', '10');
set role claim_app; select attempt from sor.claim(:a, 'jobs', 'w3', 9, '1 min'); reset role;
select claim_test.lapse('jobs', '10');
set role claim_app; select attempt from sor.claim(:a, 'jobs', 'w4', 9, '1 min'); reset role;
select item_id, attempt, error, dead from sor.item_failures where tenant_id = :a;
-- the row takes the dead item along
delete from claim_test.jobs where id = 10;
select count(*) from sor.item_failures where tenant_id = :a;
-- every transition is an event of the item's own stream
select seq, event_type, actor_kind, actor, payload from claim_test.events where payload ->> 'item_id' in ('2', '10') and payload ->> 'queue' = 'jobs' order by payload ->> 'item_id', seq;

select streams > 0 as streams, first_bad from sor.verify_events(:a);

-- an item whose row went past the trigger is dropped, and does not hide the next one
insert into claim_test.jobs values (:a, 11, 'gone'), (:a, 12, 'there');
update sor.ready set available_at = available_at - interval '1 s' where item_id = '11';
alter table claim_test.jobs disable trigger user;
delete from claim_test.jobs where id = 11;
alter table claim_test.jobs enable trigger user;
select sor.register_queue('claim_test.jobs');
select tgname, tgenabled from pg_trigger where tgrelid = 'claim_test.jobs'::regclass order by 1;
set role claim_app; select item_id from sor.claim(:a, 'jobs', 'w', 1, '1 min'); reset role;
select count(*) from sor.ready where item_id = '11';

-- order: items of one value one at a time, oldest first, each value by itself
create table claim_test.steps (tenant_id uuid, id int, card text, primary key (tenant_id, id));
select sor.protect_tenant('claim_test.steps') \g /dev/null
alter table claim_test.steps owner to claim_owner;
insert into claim_test.steps values (:a, 1, 'x'), (:a, 2, 'x'), (:a, 3, 'y'), (:a, 4, null), (:a, 5, null);
select sor.register_queue('claim_test.steps', max_attempts => 1, order_key => 'card');
insert into claim_test.steps select :a, g, 'x' from generate_series(6, 8) g;
insert into claim_test.steps values (:a, 9, 'x');
create function claim_test.claim_steps() returns text language sql as
    $$ select string_agg(item_id, ' ' order by item_id) from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'steps', 'w', 100, '1 min') $$;
create function claim_test.token(i text) returns bigint language sql as $$ select claim_token from sor.ready where queue = 'steps' and item_id = i $$;
select claim_test.claim_steps();
select claim_test.claim_steps();
select sor.complete(:a, 'steps', '1', claim_test.token('1'));
select claim_test.claim_steps();
-- given back or waiting for its retry it stays the first of its value
select sor.release(:a, 'steps', '2', claim_test.token('2'), '1 h');
select claim_test.claim_steps();
select claim_test.lapse('steps', '2');
select claim_test.claim_steps();
-- dead, it lets the next one pass; so does a row that is deleted, waiting or held
select sor.fail(:a, 'steps', '2', claim_test.token('2'), 'x');
select claim_test.claim_steps();
delete from claim_test.steps where id in (6, 7);
select claim_test.claim_steps();
-- brought back, it queues behind those that wait
select sor.requeue(:a, 'steps', '2');
select claim_test.claim_steps();
select sor.complete(:a, 'steps', '8', claim_test.token('8'));
select claim_test.claim_steps();
select sor.complete(:a, 'steps', '9', claim_test.token('9'));
select claim_test.claim_steps();
-- the place of a waiting item is kept; of one that is done the column is free
select claim_test.attempt($$update claim_test.steps set card = 'z' where id = 2$$);
update claim_test.steps set card = 'z' where id = 9;
-- many of one value do not hide another one, and each is passed over once
insert into claim_test.steps select :a, g, 'many' from generate_series(1000, 1999) g;
insert into claim_test.steps values (:a, 2000, 'other');
update sor.ready set available_at = order_at where order_value = 'many';
select claim_test.claim_steps();
select available, count(*) from claim_test.waiting where queue = 'steps' and item_id::int between 1000 and 1999 group by 1 order by 1;
delete from claim_test.steps where id between 1000 and 1998;
select claim_test.claim_steps();

-- a partitioned table, by row: through the parent, into a leaf, and in a partition made later
create table claim_test.parts (tenant_id uuid, id int, primary key (tenant_id, id)) partition by list (tenant_id);
create table claim_test.parts_a partition of claim_test.parts for values in ('00000000-0000-7000-8000-0000000c1aa1');
select sor.protect_tenant('claim_test.parts') \g /dev/null
alter table claim_test.parts owner to claim_owner;
alter table claim_test.parts_a owner to claim_owner;
select sor.register_queue('claim_test.parts');
create table claim_test.parts_b partition of claim_test.parts for values in ('00000000-0000-7000-8000-0000000c1ab2');
insert into claim_test.parts values (:a, 1), (:b, 2);
insert into claim_test.parts_a values (:a, 3);
set session_replication_role = replica;
insert into claim_test.parts_b values (:b, 4);
reset session_replication_role;
delete from claim_test.parts_a where id = 1;
select item_id from sor.ready where queue = 'parts' order by 1;
set role claim_app; select item_id, item from sor.claim(:b, 'parts', 'w', 9, '1 min') order by 1; reset role;

-- the item_id is the key's own text, whatever its type
create table claim_test.odd (tenant_id uuid, "The Key" char(4), primary key (tenant_id, "The Key"));
select sor.protect_tenant('claim_test.odd') \g /dev/null
alter table claim_test.odd owner to claim_owner;
select sor.register_queue('claim_test.odd', name => 'Odd "name"');
insert into claim_test.odd values (:a, 'ab'), (:a, 'c''"');
set role claim_app; select item_id, item from sor.claim(:a, 'Odd "name"', 'w', 9, '1 min') order by 1; reset role;

-- triggers run our code alone: operators of whoever inserts are not ours
create function claim_test.stolen(uuid, uuid) returns boolean language plpgsql as $$ begin raise exception 'ran as %', current_user; end $$;
create operator claim_test.= (leftarg = uuid, rightarg = uuid, function = claim_test.stolen);
set search_path = claim_test, pg_catalog;
insert into claim_test.jobs values ('00000000-0000-7000-8000-0000000c1aa1', 20, 'own operators');
delete from claim_test.jobs where id = 20;
reset search_path;

-- tenants with work: granted and due; with a worker also where a run of it lapsed
update sor.ready set available_at = 'infinity' where queue = 'jobs';
set role claim_app; select count(*) from sor.tenants_with_work('jobs'); reset role;
select claim_test.lapse('jobs');
update sor.ready set available_at = clock_timestamp() where queue = 'jobs' and tenant_id = :b;
set role claim_app; select t = :b as b from sor.tenants_with_work('jobs') t; reset role;
set role claim_app; select claim_test.attempt($$select * from sor.tenants_with_work('no queue')$$); reset role;
set role claim_worker;
select count(*) from sor.tenants_with_work('jobs');
select run_id from sor.start_run(:a, 'night') \gset
select count(*) from sor.tenants_with_work('jobs', 'night');
reset role;
update sor.runs set lease_until = clock_timestamp() - interval '1 s' where id = :'run_id';
set role claim_worker;
select t = :a as a from sor.tenants_with_work('jobs', 'night') t;
select count(*) from sor.tenants_with_work('jobs', 'another'), sor.granted_tenants();
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'jobs', 'w', 1, '1 min')$$);
reset role;
set role claim_operator;
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'jobs', 'w', 1, '1 min')$$);
reset role;

-- a table whose owner altered the columns of its key
create table claim_test.altered (tenant_id uuid, id int, primary key (tenant_id, id));
alter table claim_test.altered owner to claim_owner;
select sor.protect_tenant('claim_test.altered'), sor.register_queue('claim_test.altered') \g /dev/null
set role claim_owner;
alter table claim_test.altered drop constraint altered_pkey, no force row level security, alter column id drop not null,
    alter column tenant_id drop not null;
select claim_test.attempt(format('insert into claim_test.altered values (%L, null)', :a)), claim_test.attempt('insert into claim_test.altered values (null, 1)');
insert into claim_test.altered values (:a, 1);
select claim_test.attempt('update claim_test.altered set id = null'), claim_test.attempt('update claim_test.altered set tenant_id = null');
drop trigger sor_queue_altered_update on claim_test.altered;
alter table claim_test.altered drop column tenant_id cascade, add column tenant_id int;
select claim_test.attempt('insert into claim_test.altered values (2, 5)');
reset role;

-- a key's text is the same whatever the session's formats: nobody is handed another row, and none stays when its row goes
create table claim_test.dated (tenant_id uuid, id date, primary key (tenant_id, id));
create table claim_test.timed (tenant_id uuid, id timestamptz, primary key (tenant_id, id));
alter table claim_test.dated owner to claim_owner;
alter table claim_test.timed owner to claim_owner;
select sor.protect_tenant('claim_test.dated'), sor.register_queue('claim_test.dated'), sor.protect_tenant('claim_test.timed'), sor.register_queue('claim_test.timed') \g /dev/null
begin;
set local datestyle = 'SQL, DMY';
insert into claim_test.dated values (:a, '2026-01-02'), (:a, '2026-02-01');
insert into claim_test.timed values (:a, '2026-01-02 03:04:05+00'), (:a, '2026-01-02 03:04:06+00');
set local datestyle = 'SQL, MDY';
set local timezone = 'Asia/Tokyo';
select item_id, item ->> 'id' as id from sor.claim(:a, 'dated', 'w', 5, '1 min') order by 1;
delete from claim_test.timed where id = '2026-01-02 03:04:05+00';
select item_id from claim_test.waiting where queue = 'timed';
rollback;

-- an order value cannot be kept from the others by an advisory lock that anybody can take
create table claim_test.kept (tenant_id uuid, id int, who text, primary key (tenant_id, id));
alter table claim_test.kept owner to claim_owner;
select sor.protect_tenant('claim_test.kept'), sor.register_queue('claim_test.kept', order_key => 'who') \g /dev/null
begin;
insert into claim_test.kept values (:a, 1, 'x');
select count(*) from sor.claim(:a, 'kept', 'w', 1, '1 min');
select locktype, objsubid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid();
rollback;

alter table claim_test.kept owner to current_user;
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'kept', 'w', 1, '1 min')$$) ~ '^42501 ' as refused;

-- a run that is left gives back what it holds, each attempt counted, and is resumed at once; what was finished stays so
create table claim_test.left_items (tenant_id uuid, id int, primary key (tenant_id, id));
alter table claim_test.left_items owner to claim_owner;
select sor.protect_tenant('claim_test.left_items'), sor.register_queue('claim_test.left_items', name => 'left') \g /dev/null
insert into claim_test.left_items select :a, n from generate_series(1, 3) n;
select sor.create_user(:a, 'claim@a.example', 'Claim') as member \gset
select sor.assign_role(:a, :'member', 'member') \g /dev/null
set role claim_worker;
select run_id, run_token from sor.start_run(:a, 'left', 'night', :'member') \gset
select sor.begin_turn(:a, :'run_id', :run_token) as turn \gset
select sor.call_tool(:a, null, :'run_id', :run_token, :turn, '00000000-0000-4000-8000-0000000c1a01', 'claim',
    '{"queue": "left", "limit": 3, "lease_seconds": 3600}') #>> '{result,items,0,claim_token}' as token \gset
select sor.call_tool(:a, null, :'run_id', :run_token, :turn, '00000000-0000-4000-8000-0000000c1a02', 'claim',
    jsonb_build_object('queue', 'left', 'limit', 0, 'complete', jsonb_build_array(jsonb_build_object('item_id', '1', 'claim_token', :token)))) ->> 'status';
select claim_test.attempt(format('select sor.leave_run(%L, %L, %s)', :a, :'run_id', :run_token + 1)) ~ '^SR007 ' as refused;
select sor.leave_run(:a, :'run_id', :run_token) as given_back;
select claim_test.attempt(format('select sor.heartbeat(%L, %L, %s)', :a, :'run_id', :run_token)) ~ '^SR007 ' as refused;
reset role;
select * from claim_test.waiting where queue = 'left' order by item_id;
select count(*), bool_and(run_id = :'run_id') as of_the_run from sor.agent_events where tenant_id = :a and event_type = 'item.released' and payload ->> 'queue' = 'left';
set role claim_worker;
select resumed, next_turn, run_token as new_token from sor.start_run(:a, 'left', 'night', :'member') \gset
select :'resumed' as resumed, :next_turn as next_turn, i ->> 'item_id' as item_id, i ->> 'attempt' as attempt
  from jsonb_array_elements(sor.call_tool(:a, null, :'run_id', :new_token, :turn, '00000000-0000-4000-8000-0000000c1a03', 'claim',
    '{"queue": "left", "limit": 3, "lease_seconds": 60}') #> '{result,items}') i order by 3;
-- and a claim of nothing is no reason to hold the run any longer
select sor.call_tool(:a, null, :'run_id', :new_token, :turn, '00000000-0000-4000-8000-0000000c1a04', 'claim',
    '{"queue": "left", "lease_seconds": 3600}') -> 'result' as result;
reset role;
select lease_until < clock_timestamp() + interval '6 min' as soon_over from sor.runs where id = :'run_id';

-- a table that is gone
drop table claim_test.odd;
select claim_test.attempt($$select * from sor.claim('00000000-0000-7000-8000-0000000c1aa1', 'Odd "name"', 'w', 1, '1 min')$$);

drop schema claim_test cascade;
drop owned by claim_owner, claim_unfit;
delete from sor.tenant_grants where login like 'claim\_%';
delete from sor.ready where tenant_id in (:a, :b);
delete from sor.queues where target like 'claim_test.%';
delete from sor.registered_tables where target like 'claim_test.%';
drop role claim_app, claim_worker, claim_auditor, claim_operator, claim_owner, claim_unfit;
