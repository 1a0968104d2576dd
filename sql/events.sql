-- events: chained, append-only, durable. The chain is checked here by SQL alone, from docs/events.md.
set client_min_messages = warning;
create extension if not exists sor;
set sor.drop_guard = off; -- tampers with what is guarded, and drops it at the end
create schema events_test;
grant usage on schema events_test to public;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-00000000eea1', 'events A'), ('00000000-0000-7000-8000-00000000eeb2', 'events B');
\set a '''00000000-0000-7000-8000-00000000eea1'''
\set b '''00000000-0000-7000-8000-00000000eeb2'''
insert into sor.users (tenant_id, id, email, display_name) values (:a, '00000000-0000-7000-8000-0000000000e1', 'eve@a.example', 'Eve');
\set eve '''00000000-0000-7000-8000-0000000000e1'''
create role events_app in role sor_app;
create role events_auditor in role sor_auditor;
create role events_operator in role sor_operator;
create role events_owner;
create role events_relay in role sor_app, sor_relay;
select sor.grant_tenant('events_app', :a, null, '{user,agent}'), sor.grant_tenant('events_app', :b), sor.grant_tenant('events_auditor', :a), sor.grant_tenant('events_relay', :b) \g /dev/null

-- the bytes that a hash covers
create function events_test.maybe(value bytea) returns bytea language sql immutable as $$ select coalesce('\x01'::bytea || value, '\x00') $$;
create function events_test.string(value text) returns bytea language sql immutable as
$$ select int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8') $$;
create function events_test.expected(e sor.agent_events) returns bytea language sql stable as $$
    select sha256('\x01'::bytea || e.prev_hash || uuid_send(e.tenant_id) || uuid_send(e.stream_id) || int8send(e.seq) || uuid_send(e.id)
        || events_test.maybe(uuid_send(e.run_id)) || events_test.maybe(int4send(e.turn_no)) || events_test.maybe(uuid_send(e.tool_call_id))
        || events_test.maybe(uuid_send(e.message_id)) || events_test.string(e.event_type) || events_test.string(e.actor_kind)
        || events_test.string(e.actor) || events_test.maybe(uuid_send(e.on_behalf_of)) || events_test.string(e.payload::text)
        || int8send((extract(epoch from e.created_at) * 1000000)::bigint)) $$;
create view events_test.faults as
select s.tenant_id, stream_id, seq, event_type, concat_ws(', ',
    case when seq <> n then 'gap' end, case when prev_hash <> before then 'chain' end, case when hash <> expected then 'hash' end,
    case when id <= last_id then 'id' end) as fault
from (select e.*, row_number() over w as n, coalesce(lag(hash) over w, decode(repeat('00', 32), 'hex')) as before, lag(id) over w as last_id,
             events_test.expected(e) as expected
        from sor.agent_events e where tenant_id in ('00000000-0000-7000-8000-00000000eea1', '00000000-0000-7000-8000-00000000eeb2')
      window w as (partition by tenant_id, stream_id order by seq)) s
where seq <> n or prev_hash <> before or hash <> expected or id <= last_id;
create view events_test.tenants_stream as
select e.* from sor.agent_events e join sor.event_streams s using (tenant_id, stream_id) where s.kind = 'tenant';

-- ---------------------------------------------------------------- a chain over transactions and savepoints
set role events_app;
select sor.append_event(:b, 'test.first', '{"n": 1}');
select sor.append_event(:b, 'test.second', '{"n": 2}');
begin;
select sor.append_event(:b, 'test.third', '{}'), sor.append_event(:b, 'test.fourth', '{}');
select sor.append_event(:b, 'test.fifth', '{}');
savepoint s;
select sor.append_event(:b, 'test.gone', '{}');
select sor.append_event(:b, 'test.gone', '{}');
rollback to s;
select sor.append_event(:b, 'test.sixth', '{}');
savepoint t;
savepoint u;
select sor.append_event(:b, 'test.seventh', '{}');
release u;
savepoint u;
select sor.append_event(:b, 'test.gone', '{}');
rollback to u;
release t;
select sor.append_event(:b, 'test.eighth', '{}');
rollback to s;
-- sixth, seventh and eighth are gone with s
select sor.append_event(:b, 'test.sixth', '{}');
commit;
begin;
select sor.append_event(:b, 'test.gone', '{}');
rollback;
do $$
begin
    for i in 1 .. 20 loop
        begin
            perform sor.append_event('00000000-0000-7000-8000-00000000eeb2', 'test.looped', jsonb_build_object('i', i));
            perform sor.append_event('00000000-0000-7000-8000-00000000eeb2', 'test.looped', jsonb_build_object('i', -i));
            if i % 3 = 0 then
                perform 1 / 0;
            end if;
        exception when division_by_zero then null;
        end;
    end loop;
end $$;
select sor.append_event(:b, 'test.last', '{}');
reset role;
select count(*), max(seq), count(distinct stream_id), count(*) filter (where event_type = 'test.gone') as gone from events_test.tenants_stream where tenant_id = :b;
select * from events_test.faults;

-- ---------------------------------------------------------------- under the stricter isolation levels
set role events_app;
begin isolation level repeatable read;
select sor.set_context(:a, null, 'agent');
select sor.append_event(:a, 'test.repeatable', '{}') > 0 as appended, sor.append_event(:a, 'test.repeatable', '{}') > 0 as again;
savepoint s;
select sor.append_event(:a, 'test.gone', '{}') > 0 as appended;
rollback to s;
select sor.append_event(:a, 'test.repeatable', '{}') > 0 as appended;
commit;
begin isolation level serializable;
select sor.set_context(:a, null, 'agent');
select sor.append_event(:a, 'test.serializable', '{}') > 0 as appended, sor.append_event(:a, 'test.serializable', '{}') > 0 as again;
commit;
reset role;
select event_type, count(*) from events_test.tenants_stream where tenant_id = :a and event_type like 'test.%' group by 1 order by 1;
select * from events_test.faults;

-- ---------------------------------------------------------------- what is in an event
set role events_app;
begin;
select sor.set_context(:a, :eve, 'user') \g /dev/null
select sor.append_event(:a, 'test.by_user', '{"é": "\u00e9 \\ \"", "n": 1.50, "big": 123456789012345678901234567890, "null": null, "deep": [[{"x": []}]]}') > 0 as appended;
select sor.set_context(:a, null, 'agent') \g /dev/null
select sor.append_event(:a, 'test.by_agent', 'null') > 0 as appended;
select sor.append_event(:a, 'test.large', (select jsonb_agg(md5(n::text)) from generate_series(1, 50000) n)) > 0 as appended;
commit;
-- what a relay did as the system does not make its caller one
set role events_relay;
begin;
select count(*) from sor.claim_outbox(:b, 'relay', 1, '1 minute');
select sor.append_event(:b, 'test.by_relay', '{}') > 0 as appended, sor.current_actor_kind();
commit;
reset role;
select actor_kind, actor from events_test.tenants_stream where tenant_id = :b and event_type = 'test.by_relay';
set role events_app;
-- of a run: stream, turn and call
begin;
select sor.set_context(:a, :eve, 'agent') \g /dev/null
select run_id as run, run_token as token from sor.start_run(:a, 'events worker', 'events', :eve) \gset
select sor.begin_turn(:a, :'run', :token);
select sor.begin_tool_call(:a, :'run', :token, 1, '00000000-0000-4000-8000-000000000001', 'model', '{}') as call \gset
select sor.finish_tool_call(:a, :'run', :token, :'call', 'succeeded', '{}');
select sor.finish_turn(:a, :'run', :token, 1);
select sor.append_event(:a, 'test.of_run', '{}', :'run');
select sor.finish_run(:a, :'run', :token);
commit;
reset role;
select seq, event_type, actor_kind, actor, on_behalf_of = :eve as for_eve, run_id = :'run' as of_run, stream_id = :'run' as in_its_stream, turn_no, tool_call_id = :'call' as of_call,
    message_id from sor.agent_events where tenant_id = :a and run_id = :'run' order by seq;
select event_type, actor_kind, actor, on_behalf_of = :eve as for_eve, run_id, jsonb_typeof(payload), length(payload::text) from events_test.tenants_stream
 where tenant_id = :a and event_type in ('test.by_user', 'test.by_agent', 'test.large') order by seq;
-- whatever the reader's settings
set timezone = 'Asia/Kathmandu'; set datestyle = 'SQL, DMY'; set bytea_output = 'escape'; set extra_float_digits = 0;
select * from events_test.faults;
reset timezone; reset datestyle; reset bytea_output; reset extra_float_digits;
-- who is not granted, and types that are sor's own
set role events_app;
\set VERBOSITY sqlstate
select sor.append_event('00000000-0000-7000-8000-0000000000ff', 'test.x', '{}');
select sor.append_event(:b, 'run.succeeded', '{}');
select sor.append_event(:b, 'test.x', '{}', :'run'); -- of another tenant
\set VERBOSITY default
reset role;

-- ---------------------------------------------------------------- nobody edits it
set role events_app;
update sor.agent_events set actor = 'x';
insert into sor.agent_events select * from sor.agent_events;
set role events_auditor;
delete from sor.agent_events;
select count(*) from sor.agent_events;
begin; select sor.set_context(:a) \g /dev/null
select count(distinct tenant_id), count(*) > 10 as some from sor.agent_events; rollback;
set role sor_engine;
update sor.agent_events set actor = 'x';
delete from sor.agent_events;
truncate sor.agent_events;
reset role;
update sor.agent_events set actor = 'x' where tenant_id = :a;
\echo :LAST_ERROR_SQLSTATE
delete from sor.agent_events where tenant_id = :a;
truncate sor.agent_events;
truncate sor.event_streams, sor.agent_events cascade;
insert into sor.agent_events select * from sor.agent_events where tenant_id = :a and seq = 1 on conflict (tenant_id, stream_id, seq) do update set actor = 'x';
merge into sor.agent_events e using (values (:a::uuid)) v (t) on e.tenant_id = v.t when matched then delete;
set session_replication_role = replica;
update sor.agent_events set actor = 'x' where tenant_id = :a;
delete from sor.agent_events where tenant_id = :a;
truncate sor.agent_events;
reset session_replication_role;
set row_security = off;
delete from sor.agent_events where tenant_id = :a;
reset row_security;
select tgname, tgenabled from pg_trigger where tgrelid = 'sor.agent_events'::regclass and not tgisinternal order by 1;
select * from events_test.faults;

-- what a superuser edits with the guard off is found
create function events_test.tampered(what text) returns setof text language plpgsql as $$
begin
    alter table sor.agent_events disable trigger user;
    begin
        execute what;
        return query select seq || ': ' || fault from events_test.faults order by seq limit 3;
        raise exception 'undo' using errcode = 'ZZ001';
    exception when sqlstate 'ZZ001' then null;
    end;
    alter table sor.agent_events enable always trigger append_only_rows, enable always trigger append_only_truncate, enable always trigger sor_refuse_truncate;
end $$;
create view events_test.target as select * from events_test.tenants_stream where tenant_id = '00000000-0000-7000-8000-00000000eeb2' and seq between 3 and 5;
select column_name, array(select events_test.tampered(format('update sor.agent_events e set %1$I = %2$s where (tenant_id, stream_id, seq) in (select tenant_id, stream_id, seq from events_test.target where seq = 4)', column_name, changed)))
  from (values ('id', 'sor.uuid_v7()'), ('run_id', 'stream_id'), ('turn_no', '1'), ('tool_call_id', 'stream_id'), ('message_id', 'stream_id'), ('event_type', '''test.fourtH'''),
      ('actor_kind', '''user'''), ('actor', '''events_apq'''), ('on_behalf_of', 'stream_id'), ('payload', '''[]'''), ('created_at', 'created_at + interval ''1 us'''),
      ('prev_hash', 'hash'), ('hash', 'prev_hash'), ('stream_id', 'id')) v (column_name, changed);
-- a letter moved from one field to the next
select events_test.tampered($$update sor.agent_events set event_type = 'test.fourthagen', actor_kind = 'agent' where (tenant_id, stream_id, seq) in (select tenant_id, stream_id, seq from events_test.target where seq = 4)$$);
select events_test.tampered('delete from sor.agent_events where (tenant_id, stream_id, seq) in (select tenant_id, stream_id, seq from events_test.target where seq = 4)');
select events_test.tampered($$insert into sor.agent_events select tenant_id, stream_id, 99, sor.uuid_v7(), run_id, turn_no, tool_call_id, message_id, 'test.forged', actor_kind, actor, on_behalf_of, payload,
    clock_timestamp(), hash, hash from events_test.target where seq = 5$$);
select events_test.tampered($$update sor.agent_events e set seq = e.seq + 1000 from events_test.target t where (e.tenant_id, e.stream_id, e.seq) = (t.tenant_id, t.stream_id, t.seq) and t.seq in (3, 4);
    update sor.agent_events e set seq = 1007 - e.seq where seq > 1000 and tenant_id = '00000000-0000-7000-8000-00000000eeb2'$$);
select events_test.tampered($$with two as (select * from events_test.target where seq in (3, 4)) update sor.agent_events e set id = t.id, event_type = t.event_type, payload = t.payload, created_at = t.created_at,
    hash = t.hash, prev_hash = t.prev_hash from two t where (e.tenant_id, e.stream_id) = (t.tenant_id, t.stream_id) and e.seq = 7 - t.seq$$);
-- but the end of a stream is missed only by one who has kept its head
select events_test.tampered('delete from sor.agent_events e using (select tenant_id, stream_id, max(seq) as last from events_test.tenants_stream group by 1, 2) t where e.tenant_id = t.tenant_id and e.stream_id = t.stream_id and e.seq = t.last');
select * from events_test.faults;

-- ---------------------------------------------------------------- protect_append_only
create table events_test."Log ' ""1" (id int primary key, line text);
insert into events_test."Log ' ""1" values (1, 'one');
select sor.protect_append_only('events_test."Log '' ""1"');
select sor.protect_append_only('events_test."Log '' ""1"');
insert into events_test."Log ' ""1" values (2, 'two');
update events_test."Log ' ""1" set line = 'x';
insert into events_test."Log ' ""1" values (2, 'x') on conflict do nothing;
insert into events_test."Log ' ""1" values (2, 'x') on conflict (id) do update set line = 'x';
delete from events_test."Log ' ""1" where id = 1;
truncate events_test."Log ' ""1";
update events_test."Log ' ""1" set line = 'x' where id = 3; -- no row
table events_test."Log ' ""1";
-- a guard that was taken away, weakened or impersonated is put back
alter table events_test."Log ' ""1" disable trigger all;
select sor.protect_append_only('events_test."Log '' ""1"');
delete from events_test."Log ' ""1";
drop trigger append_only_rows on events_test."Log ' ""1";
create function events_test.let() returns trigger language plpgsql as 'begin return coalesce(new, old); end';
create trigger append_only_rows before update or delete on events_test."Log ' ""1" for each row execute function events_test.let();
select sor.protect_append_only('events_test."Log '' ""1"');
delete from events_test."Log ' ""1";
drop trigger append_only_rows on events_test."Log ' ""1";
create trigger append_only_rows before update or delete on events_test."Log ' ""1" for each row when (old.id = 1) execute function sor.refuse_change();
select sor.protect_append_only('events_test."Log '' ""1"');
delete from events_test."Log ' ""1" where id = 2;
drop trigger append_only_rows on events_test."Log ' ""1";
create trigger append_only_rows before update of id or delete on events_test."Log ' ""1" for each row execute function sor.refuse_change();
select sor.protect_append_only('events_test."Log '' ""1"');
update events_test."Log ' ""1" set line = 'x' where id = 2;
-- partitions, those made later included for rows; a cascade from elsewhere
create table events_test.parted (id int, at int) partition by range (at);
create table events_test.parted_1 partition of events_test.parted for values from (0) to (10);
select sor.protect_append_only('events_test.parted');
create table events_test.parted_2 partition of events_test.parted for values from (10) to (20);
insert into events_test.parted values (1, 1), (2, 11);
update events_test.parted set id = 3;
delete from events_test.parted_1;
delete from events_test.parted_2;
truncate events_test.parted;
truncate events_test.parted_1;
select sor.protect_append_only('events_test.parted_1'), sor.protect_append_only('events_test.parted');
set session_replication_role = replica;
delete from events_test.parted_1;
delete from events_test.parted_2;
reset session_replication_role;
create table events_test.child (id int references events_test."Log ' ""1" on delete cascade);
create table events_test.cascading (id int primary key);
create table events_test.history (id int references events_test.cascading on delete cascade);
insert into events_test.cascading values (1);
insert into events_test.history values (1);
select sor.protect_append_only('events_test.history');
delete from events_test.cascading;
truncate events_test.cascading cascade;
-- only the owner's to protect
grant sor_operator to events_owner;
alter table events_test.history owner to events_operator;
set role events_owner;
select sor.protect_append_only('events_test.history');
reset role;
revoke sor_operator from events_owner;
set role events_app;
select sor.protect_append_only('events_test.history');
select sor.refuse_change();
reset role;
select sor.protect_append_only(null);

-- ---------------------------------------------------------------- the extension stays while it holds history
set sor.drop_guard = on;
drop extension sor;
drop extension if exists plpgsql_not_there, sor cascade;
drop schema sor cascade;
drop schema sor;
begin; drop schema if exists sor_not_there; rollback;
begin; select rolname as owner from pg_extension join pg_roles r on r.oid = extowner where extname = 'sor' \gset
drop owned by :"owner" cascade; rollback;
drop owned by events_app; -- of somebody else
set session_replication_role = replica;
drop extension sor;
reset session_replication_role;
drop table sor.agent_events;
drop event trigger sor_drop_guard;
select count(*) from pg_extension where extname = 'sor';
set sor.drop_guard = off;

-- ---------------------------------------------------------------- an acknowledged event is on disk, whatever the session says
create table events_test.control (i int);
create procedure events_test.commits(what text, times int, inout flushed int default 0) language plpgsql as $$
declare before pg_lsn;
begin
    for i in 1 .. times loop
        execute what;
        before := pg_current_wal_insert_lsn();
        commit;
        if pg_current_wal_flush_lsn() > before then
            flushed := flushed + 1;
        end if;
    end loop;
end $$;
set synchronous_commit = off;
call events_test.commits($$select sor.append_event('00000000-0000-7000-8000-00000000eeb2', 'test.durable', '{}')$$, 50);
-- in a subtransaction that ended well
call events_test.commits($$do 'begin perform sor.append_event(''00000000-0000-7000-8000-00000000eeb2'', ''test.durable'', ''{}''); exception when others then raise; end'$$, 20);
-- the control: the check sees commits that were not waited for, also in this backend
create procedure events_test.some_unflushed() language plpgsql as $$
declare flushed int;
begin
    for i in 1 .. 100 loop
        flushed := 0;
        call events_test.commits('insert into events_test.control values (1)', 20, flushed);
        exit when flushed < 20;
    end loop;
    raise warning 'control: %', case when flushed < 20 then 'unflushed commits seen' else 'all flushed' end;
end $$;
call events_test.some_unflushed();
show synchronous_commit;
reset synchronous_commit;
select * from events_test.faults;

select sor.revoke_tenant('events_app', :a), sor.revoke_tenant('events_app', :b), sor.revoke_tenant('events_auditor', :a), sor.revoke_tenant('events_relay', :b) \g /dev/null
set client_min_messages = error;
drop schema events_test cascade;
drop role events_relay, events_app, events_auditor, events_operator, events_owner;
