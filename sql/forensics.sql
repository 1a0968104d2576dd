-- forensics: what happened, answered from rows alone; changed history is found.
set client_min_messages = warning;
set datestyle = iso;
set timezone = utc;
create extension if not exists sor;
set sor.drop_guard = off; -- tampers with what is guarded, and drops it at the end
create schema forensics_test;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-00000000f0a1', 'forensics A'), ('00000000-0000-7000-8000-00000000f0b2', 'forensics B');
\set a '''00000000-0000-7000-8000-00000000f0a1'''
\set b '''00000000-0000-7000-8000-00000000f0b2'''
select sor.create_user(:a, 'ann@f.example', 'Ann') as ann \gset
select sor.assign_role(:a, :'ann', 'member') \g /dev/null
create role forensics_worker in role sor_worker;
create role forensics_relay in role sor_relay;
create role forensics_auditor in role sor_auditor;
create role forensics_owner;
select sor.grant_tenant('forensics_worker', :a, array[:'ann']::uuid[]), sor.grant_tenant('forensics_relay', :a),
    sor.grant_tenant('forensics_auditor', :a, null, '{user}') \g /dev/null
-- what differs from run to run, taken out
create function forensics_test.mask(t text) returns text language sql immutable as $$
    -- a gap may lie within one second
    select regexp_replace(regexp_replace(regexp_replace(regexp_replace(t, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>', 'g'),
        '\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[0-9.]*(\+00:00| UTC([+-]\d\d(:\d\d)?)?)?', '<time>', 'g'), 'after \d\d:\d\d:\d\d[0-9.]*', 'after <a while>', 'g'),
        '(from|between) <time> (to|and) <time>', 'at <time>', 'g')
$$;
create function forensics_test.attempt(command text) returns text language plpgsql as $$
declare hint text;
begin
    execute command;
    return 'done';
exception when others then
    get stacked diagnostics hint = pg_exception_hint;
    return forensics_test.mask(concat_ws(' | ', sqlstate, sqlerrm, nullif(hint, '')));
end $$;
grant usage on schema forensics_test to public;
grant create on schema forensics_test to forensics_owner;
create table forensics_test.pending (tenant_id uuid, id int, amount numeric, primary key (tenant_id, id));
create table forensics_test.expenses (tenant_id uuid, transaction_id int, amount numeric check (amount < 1000), primary key (tenant_id, transaction_id));
alter table forensics_test.pending owner to forensics_owner;
alter table forensics_test.expenses owner to forensics_owner;
select sor.protect_tenant('forensics_test.pending'), sor.protect_tenant('forensics_test.expenses') \g /dev/null
select sor.register_queue('forensics_test.pending', name => 'forensics_pending'), sor.register_table('forensics_test.expenses', '{transaction_id}', name => 'forensics_expenses') \g /dev/null
insert into forensics_test.pending select :a, n, n * 100 from generate_series(9, 10) n;

-- a night: one item is worked, one fails, a model is called, the holder dies, its successor ends the run
set role forensics_worker;
select run_id as run, run_token as token from sor.start_run(:a, 'rec', 'night', :'ann', '{"month": "2014-06"}') \gset
select sor.begin_turn(:a, :'run', :token, '{"batch": 1}') \g /dev/null
select sor.call_tool(:a, null, :'run', :token, 1, sor.uuid_v7(), 'claim', '{"queue": "forensics_pending", "limit": 5, "lease_seconds": 60}') as claimed \gset
select x ->> 'item_id' as item1, x ->> 'claim_token' as token1 from jsonb_array_elements(:'claimed'::jsonb #> '{result,items}') x where x ->> 'item_id' = '9' \gset
select x ->> 'claim_token' as token2 from jsonb_array_elements(:'claimed'::jsonb #> '{result,items}') x where x ->> 'item_id' = '10' \gset
select x ->> 'status' as status, x #>> '{error,sqlstate}' as sqlstate
  from jsonb_array_elements(sor.call_tools(:a, null, :'run', :token, 1, jsonb_build_array(
    jsonb_build_object('request_id', sor.uuid_v7(), 'group', '9', 'tool', 'write', 'arguments', jsonb_build_object('table', 'forensics_expenses',
        'record', '{"transaction_id": 9, "amount": 900}'::jsonb, 'completes', jsonb_build_object('queue', 'forensics_pending', 'item_id', '9', 'claim_token', :token1))),
    jsonb_build_object('request_id', sor.uuid_v7(), 'group', '9', 'tool', 'queue', 'arguments', '{"destination": "mail", "event_type": "expense.recorded", "aggregate_id": "9",
        "dedup_key": "expense 9", "payload": {"to": "ann@f.example", "subject": "Expense", "text": "900"}}'::jsonb),
    jsonb_build_object('request_id', sor.uuid_v7(), 'tool', 'write', 'arguments', '{"table": "forensics_expenses", "record": {"transaction_id": 10, "amount": 1000}}'::jsonb),
    jsonb_build_object('request_id', sor.uuid_v7(), 'tool', 'drop_table', 'arguments', '{}'::jsonb)))) x;
select sor.call_tool(:a, null, :'run', :token, 1, sor.uuid_v7(), 'claim', jsonb_build_object('queue', 'forensics_pending', 'limit', 0, 'lease_seconds', 60,
    'fail', jsonb_build_array(jsonb_build_object('item_id', '10', 'claim_token', :token2, 'error', 'amount too large')))) ->> 'status' as status;
select sor.finish_turn(:a, :'run', :token, 1) \g /dev/null
select sor.begin_turn(:a, :'run', :token, '{"batch": 2}') \g /dev/null
select sor.begin_tool_call(:a, :'run', :token, 2, sor.uuid_v7(), 'model', '{"prompt": "categorise"}') \g /dev/null
reset role;
update sor.runs set lease_until = clock_timestamp() - interval '1 ms' where id = :'run';

-- as an auditor finds it then
set role forensics_auditor;
select key, forensics_test.mask(value) as sentence from jsonb_each_text(sor.forensic_report(:a, :'run') -> 'summary');
select forensics_test.mask(jsonb_pretty(sor.forensic_report(:a, :'run') -> 'finding')) as finding;
set role forensics_worker;
select run_token as token from sor.start_run(:a, 'rec', 'night', :'ann') \gset
select sor.begin_turn(:a, :'run', :token, '{"batch": 2}') \g /dev/null
select sor.finish_turn(:a, :'run', :token, 2) \g /dev/null
select sor.finish_run(:a, :'run', :token) \g /dev/null
set role forensics_relay;
select message_id as message, claim_token as sent from sor.claim_outbox(:a, 'relay', 1, '1 min') \gset
select sor.mark_dispatched(:a, :'message', :sent, '{"id": "m1"}') \g /dev/null

-- and in the end
set role forensics_auditor;
select row_number() over () as n, event_type, actor_kind, actor, on_behalf_of = :'ann' as for_ann, forensics_test.mask(narrative) as narrative from sor.replay(:a, :'run');
select key, forensics_test.mask(value) as sentence from jsonb_each_text(sor.forensic_report(:a, :'run') -> 'summary');
select forensics_test.mask(jsonb_pretty(sor.forensic_report(:a, :'run') -> 'finding')) as finding;
-- each row of evidence is there under its name
select sor.forensic_report(:a, :'run') #> '{finding,evidence}' as evidence \gset
reset role;
select e ->> 'table' as of_table, case e ->> 'table' when 'runs' then exists (select from sor.runs where id = (e ->> 'id')::uuid)
        when 'tool_calls' then exists (select from sor.tool_calls where id = (e ->> 'id')::uuid)
        when 'agent_events' then exists (select from sor.agent_events where id = (e ->> 'id')::uuid and seq = (e ->> 'seq')::bigint) end as there
  from jsonb_array_elements(:'evidence'::jsonb) e;
set role forensics_auditor;
select key, jsonb_typeof(value) from jsonb_each(sor.forensic_report(:a, :'run')) order by key;
select sor.forensic_report(:a, :'run') -> 'verification' = (select to_jsonb(v) from sor.verify_events(:a, :'run') v) as verified,
       (select jsonb_agg(e ->> 'narrative') from jsonb_array_elements(sor.forensic_report(:a, :'run') -> 'events') e)
       = (select jsonb_agg(narrative) from sor.replay(:a, :'run')) as told_alike, jsonb_array_length(sor.forensic_report(:a, :'run') -> 'turns') as turns;
-- who, for whom and when stand in each sentence, in the session's time zone
select bool_and(narrative like to_char(created_at, 'YYYY-MM-DD HH24:MI:SS "UTC: %"')) as timed, bool_and(narrative like '%ann@f.example%') as for_whom,
       bool_and(strpos(narrative, actor) > 0) as who from sor.replay(:a, :'run');
set timezone = 'Asia/Kolkata';
select bool_and(narrative like to_char(created_at, 'YYYY-MM-DD HH24:MI:SS "UTC+05:30: %"')) as timed from sor.replay(:a, :'run');
select sor.forensic_report(:a, :'run') #>> '{summary,timeline}' like 'Started %UTC+05:30, finished %' as timed;
set timezone = utc;
select x ->> 'tool' as tool, x ->> 'status' as status, x ->> 'turn_no' as turn_no, x ->> 'turn_status' as turn_status, x #>> '{error,sqlstate}' as sqlstate
  from jsonb_array_elements(sor.forensic_report(:a, :'run') -> 'tool_calls') x;
select x ->> 'destination' as destination, x ->> 'status' as status, x ->> 'attempts' as attempts from jsonb_array_elements(sor.forensic_report(:a, :'run') -> 'outbox') x;
select jsonb_array_length(sor.forensic_report(:a, :'run') -> 'events') = (select count(*) from sor.replay(:a, :'run')) as every_event;
select count(*) > 20 as some, bool_and(narrative <> '') as told from sor.what_happened(:a, '-infinity', 'infinity');
select count(*) from sor.what_happened(:a, '-infinity', 'infinity', 3);
select count(*) from sor.what_happened(:a, clock_timestamp(), 'infinity');
select count(*) from sor.what_happened(:a, '-infinity', clock_timestamp() - interval '1 day');
-- it looks without leaving a trace: no context stays open
select sor.current_tenant();
select streams, events > 20 as events, first_bad from sor.verify_events(:a);
select streams, events > 20 as events, first_bad from sor.verify_events(:a, :'run');
-- one statement sees one state: a run that began after it did is neither found nor missed
reset role;
select count(*) from sor.start_run(:a, 'rec', 'meanwhile', :'ann') r, sor.find_runs(:a, run_key => case when r.run_id is not null then 'meanwhile' end) f, sor.verify_events(:a, f.run_id) v;
select sor.cancel_run(:a, run_id, 'enough') from sor.find_runs(:a, run_key => 'meanwhile') \g /dev/null

-- the run is rebuilt from its events, column by column, whatever the session's time zone
set timezone = 'Asia/Kolkata';
select b -> 'run' = to_jsonb(r) as run, b -> 'turns' = (select jsonb_agg(to_jsonb(t) order by turn_no) from sor.turns t where t.run_id = r.id) as turns,
       b -> 'tool_calls' = (select jsonb_agg(to_jsonb(c) order by id) from sor.tool_calls c where c.run_id = r.id) as tool_calls,
       jsonb_array_length(b -> 'tool_calls') as calls
  from sor.runs r, sor.rebuild_run(r.tenant_id, r.id) b where r.id = :'run';
set timezone = utc;
-- of a live run all but the lease
select run_id as live, run_token as token from sor.start_run(:a, 'rec', 'live', :'ann') \gset
select sor.heartbeat(:a, :'live', :token, '1 h') \g /dev/null
select (b -> 'run') - 'lease_until' = to_jsonb(r) - 'lease_until' as run, b -> 'turns' as turns, b -> 'tool_calls' as tool_calls
  from sor.runs r, sor.rebuild_run(r.tenant_id, r.id) b where r.id = :'live';
select key, forensics_test.mask(value) as sentence from jsonb_each_text(sor.forensic_report(:a, :'live') -> 'summary');
select sor.cancel_run(:a, :'live', 'enough') \g /dev/null
-- a long report is put together as jsonb itself would
select count(sor.append_event(:a, 'expense.seen', jsonb_build_object('n', n, 'text', repeat('x', n % 7), 'nested', jsonb_build_array(n, null, true)), :'live')) from generate_series(1, 150) n;
select r = r::text::jsonb as well_formed, jsonb_array_length(r -> 'events') as events,
       r -> 'events' = (select jsonb_agg(to_jsonb(e) - '{tenant_id,run_id,prev_hash,hash}'::text[] || jsonb_build_object('narrative', n.narrative) order by id) from sor.agent_events e join sor.replay(:a, :'live') n using (seq) where run_id = :'live') as same,
       r #>> '{events,99,payload,n}' as n, r #>> '{events,-1,payload,nested,0}' as last, r -> 'outbox' as outbox
  from sor.forensic_report(:a, :'live') r;
-- whoever asks from an event's own moment on is told of it
select count(*) > 150 as events, count(*) filter (where not exists (select from sor.what_happened(:a, e.created_at, '9999-12-31', 9) w where w.created_at = e.created_at)) as missed
  from sor.agent_events e where tenant_id = :a;
select count(*) > 150 as until_2555 from sor.what_happened(:a, '-infinity', '2555-01-01');

-- what went wrong and was put right since is no complaint: a call that succeeded when tried again, an outcome that a retry
-- has settled, an item that was completed later, or put back by an operator
delete from forensics_test.pending;
insert into forensics_test.pending values (:a, 11, 1), (:a, 12, 2);
select run_id as again, run_token as token from sor.start_run(:a, 'rec', 'again', :'ann', '{"queue": "forensics_pending"}') \gset
select sor.begin_turn(:a, :'again', :token), sor.uuid_v7() as failing, sor.uuid_v7() as asking \gset
select sor.call_tool(:a, null, :'again', :token, 1, :'failing', 'write', '{"table": "forensics_expenses", "record": {"transaction_id": 11, "amount": 1000}}') ->> 'status' as status;
select sor.begin_tool_call(:a, :'again', :token, 1, :'asking', 'model', '{}') as unanswered \gset
select sor.finish_tool_call(:a, :'again', :token, :'unanswered', 'unknown', '{"message": "time out"}') \g /dev/null
select sor.call_tool(:a, null, :'again', :token, 1, sor.uuid_v7(), 'claim', '{"queue": "forensics_pending", "limit": 2, "lease_seconds": 60}') as claimed \gset
create function forensics_test.failing(claimed jsonb, item text, error text) returns jsonb language sql as $$
    select jsonb_build_object('queue', 'forensics_pending', 'limit', 0, 'lease_seconds', 60, 'fail', jsonb_agg(jsonb_build_object('item_id', item, 'claim_token', x -> 'claim_token', 'error', error)))
      from jsonb_array_elements(claimed #> '{result,items}') x where x ->> 'item_id' = item
$$;
select sor.call_tool(:a, null, :'again', :token, 1, sor.uuid_v7(), 'claim', forensics_test.failing(:'claimed', '11', 'no category')) ->> 'status' as status;
update sor.queues set max_attempts = 1 where name = 'forensics_pending';
select sor.call_tool(:a, null, :'again', :token, 1, sor.uuid_v7(), 'claim', forensics_test.failing(:'claimed', '12', 'no amount')) ->> 'status' as status;
update sor.queues set max_attempts = 5 where name = 'forensics_pending';
select sor.finish_turn(:a, :'again', :token, 1) \g /dev/null
select sor.finish_run(:a, :'again', :token) \g /dev/null
create function forensics_test.told(run uuid) returns table (kind text, next text, failure_point text) language sql as $$
    select r #>> '{finding,kind}', forensics_test.mask(r #>> '{finding,command}'), forensics_test.mask(r #>> '{summary,failure_point}')
      from sor.forensic_report('00000000-0000-7000-8000-00000000f0a1', run) r
$$;
select * from forensics_test.told(:'again') \gx
select sor.requeue(:a, 'forensics_pending', '12') \g /dev/null
select * from forensics_test.told(:'again') \gx
select run_id as retry, run_token as token from sor.start_run(:a, 'rec', 'again.again', :'ann') \gset
select sor.begin_turn(:a, :'retry', :token) \g /dev/null
select sor.begin_tool_call(:a, :'retry', :token, 1, :'asking', 'model', '{}') as answered \gset
select sor.finish_tool_call(:a, :'retry', :token, :'answered', 'succeeded') \g /dev/null
select * from forensics_test.told(:'again') \gx
select sor.call_tool(:a, null, :'retry', :token, 1, :'failing', 'write', '{"table": "forensics_expenses", "record": {"transaction_id": 11, "amount": 999}}') ->> 'status' as status;
select * from forensics_test.told(:'again') \gx
update sor.ready set available_at = clock_timestamp() where queue = 'forensics_pending';
select count(sor.complete(:a, 'forensics_pending', item_id, claim_token)) from sor.claim(:a, 'forensics_pending', 'rec', 2, '1 min');
select * from forensics_test.told(:'again') \gx
-- what an operator has paused comes first
select sor.pause('tenant', 'forensics A', 'an audit') \g /dev/null
update sor.runs set lease_until = clock_timestamp() - interval '1 ms' where id = :'retry';
select split_part(sor.forensic_report(:a, :'retry') #>> '{finding,next_action}', ' by ', 1) as first_of_all;
select sor.resume('tenant', 'forensics A') \g /dev/null
-- the gap is told in the session's time zone too, and a run may last for days
set timezone = 'Asia/Kolkata';
select narrative ~ ' after a gap (at|from) [0-9-]{10} [0-9:]{8} UTC\+05:30( to [0-9-]{10} [0-9:]{8} UTC\+05:30)?\.' as told from sor.replay(:a, :'run') where event_type = 'run.resumed';
set timezone = utc;
begin;
update sor.runs set finished_at = started_at + interval '3 days 2 h' where id = :'again';
select substring(sor.forensic_report(:a, :'again') #>> '{summary,timeline}', 'after .*') as duration;
rollback;

-- several tenants in one statement
select count(*), count(v.first_bad) as bad from (values (:a::uuid), (:b::uuid)) t (id), sor.verify_events(t.id) v;

-- whom it answers
set role forensics_auditor;
select forensics_test.attempt(format('select sor.%s', x)) from (values (format('replay(%L, %L)', :a, :b)), (format('rebuild_run(%L, %L)', :a, :b)),
    (format('forensic_report(%L, %L)', :a, :b)), (format('forensic_report(%L, %L)', :a, :'message')), (format('verify_events(%L, %L)', :a, :'message')), (format('verify_events(%L, %L)', :a, :b)), (format('verify_events(%L)', :b)),
    (format('what_happened(%L, now(), now(), 0)', :a)), (format('what_happened(%L, now(), now() - interval ''1 s'')', :a)), ('doctor()')) v (x);
set role forensics_worker;
select forensics_test.attempt(format('select sor.%s', x)) from (values (format('replay(%L, %L)', :a, :'run')), (format('forensic_report(%L, %L)', :a, :'run')),
    (format('verify_events(%L)', :a))) v (x);
reset role;

-- history that a superuser has changed, with the guard off, is found; each change is undone
create function forensics_test.tampered(command text, of_run uuid) returns text language plpgsql as $$
declare whole jsonb; of_it jsonb;
begin
    alter table sor.agent_events disable trigger all;
    execute command;
    select first_bad into whole from sor.verify_events('00000000-0000-7000-8000-00000000f0a1');
    select first_bad into of_it from sor.verify_events('00000000-0000-7000-8000-00000000f0a1', of_run);
    raise exception using errcode = 'P9999', message = coalesce(forensics_test.mask(whole ->> 'problem'), 'nothing found') ||
        case when of_it = whole then '' when of_it is null then ' | not of this run' else ' | of the run: ' || (of_it ->> 'problem') end;
exception when sqlstate 'P9999' then
    return sqlerrm;
end $$;
-- gives a stream the chain that its events would have, as whoever knows docs/events.md can
create function forensics_test.rechain(stream uuid) returns void language plpgsql as $$
declare e record; last bytea := decode(repeat('00', 32), 'hex');
begin
    for e in select * from sor.agent_events where stream_id = stream order by seq loop
        update sor.agent_events set prev_hash = last, hash = sha256('\x01'::bytea || last || uuid_send(e.tenant_id) || uuid_send(stream) || int8send(e.seq) || uuid_send(e.id)
            || coalesce('\x01'::bytea || uuid_send(e.run_id), '\x00') || coalesce('\x01'::bytea || int4send(e.turn_no), '\x00')
            || coalesce('\x01'::bytea || uuid_send(e.tool_call_id), '\x00') || coalesce('\x01'::bytea || uuid_send(e.message_id), '\x00')
            || (select string_agg(int4send(octet_length(t)) || convert_to(t, 'utf8'), '' order by n) from unnest(array[e.event_type, e.actor_kind, e.actor]) with ordinality f (t, n))
            || coalesce('\x01'::bytea || uuid_send(e.on_behalf_of), '\x00') || int4send(octet_length(e.payload::text)) || convert_to(e.payload::text, 'utf8')
            || int8send((extract(epoch from e.created_at) * 1000000)::bigint)) where stream_id = stream and seq = e.seq returning hash into last;
    end loop;
end $$;
select what, forensics_test.tampered(format(command, :'run', :'message'), :'run') from (values
    ('nothing', 'select'),
    ('an edited payload', 'update sor.agent_events set payload = payload || ''{"x": 1}'' where stream_id = %1$L and seq = 3'),
    ('an edited actor', 'update sor.agent_events set actor = ''nobody'' where stream_id = %1$L and seq = 3'),
    ('an edited time', 'update sor.agent_events set created_at = created_at + interval ''1 us'' where stream_id = %1$L and seq = 3'),
    ('an edited event with its hash', 'update sor.agent_events set actor = ''nobody'', hash = sha256(''x'') where stream_id = %1$L and seq = 3'),
    ('an event moved to another run', 'update sor.agent_events set run_id = %2$L where stream_id = %1$L and seq = 3'),
    ('a deleted event', 'delete from sor.agent_events where stream_id = %1$L and seq = 3'),
    ('a deleted first event', 'delete from sor.agent_events where stream_id = %1$L and seq = 1'),
    ('a deletion with the rest renumbered', 'delete from sor.agent_events where stream_id = %1$L and seq = 3; update sor.agent_events set seq = seq + 1000000 where stream_id = %1$L and seq > 3;'
        ' update sor.agent_events set seq = seq - 1000001 where seq > 1000000'),
    ('two events swapped', 'update sor.agent_events set seq = 1000007 - seq where stream_id = %1$L and seq in (3, 4); update sor.agent_events set seq = seq - 1000000 where seq > 1000000'),
    ('an inserted event', 'insert into sor.agent_events select tenant_id, stream_id, seq + 1, sor.uuid_v7(), run_id, turn_no, tool_call_id, message_id, ''expense.approved'', actor_kind,'
        ' actor, on_behalf_of, payload, created_at, hash, hash from sor.agent_events where stream_id = %1$L order by seq desc limit 1'),
    ('the run''s end', 'delete from sor.agent_events where stream_id = %1$L and event_type = ''run.succeeded'''),
    ('the run''s end, and its row set back', 'delete from sor.agent_events where stream_id = %1$L and seq >= (select max(seq) - 1 from sor.agent_events where stream_id = %1$L);'
        ' update sor.runs set status = ''running'', finished_at = null, lease_until = now() where id = %1$L'),
    ('the run''s history from its first call on', 'delete from sor.agent_events where stream_id = %1$L and seq > 2;'
        ' update sor.runs set status = ''running'', finished_at = null, lease_until = now() where id = %1$L'),
    ('the run''s whole history', 'delete from sor.agent_events where stream_id = %1$L'),
    ('the run''s row', 'delete from sor.tool_calls where run_id = %1$L; delete from sor.turns where run_id = %1$L; update sor.runs set id = sor.uuid_v7() where id = %1$L'),
    ('a tool call''s row', 'delete from sor.tool_calls where run_id = %1$L and tool = ''drop_table'''),
    ('the dispatch of a message', 'delete from sor.agent_events where stream_id = %2$L and seq = 2'),
    ('the whole history of a message', 'delete from sor.agent_events where stream_id = %2$L'),
    ('the tenant''s own stream', 'delete from sor.agent_events where event_type in (''role.assigned'', ''grant.changed'', ''switch.paused'', ''switch.resumed'') and tenant_id = ''00000000-0000-7000-8000-00000000f0a1'''),
    ('a stream of nothing', 'insert into sor.agent_events select tenant_id, new, 1, id, run_id, null, null, null, ''expense.approved'', ''user'', ''boss'', null, ''{}'', to_timestamp(0), zero, sha256(''\x01''::bytea || zero ||'
        ' uuid_send(tenant_id) || uuid_send(new) || int8send(1) || uuid_send(id) || ''\x01''::bytea || uuid_send(run_id) || ''\x000000''::bytea || int4send(16) || ''expense.approved''::bytea || int4send(4) ||'
        ' ''user''::bytea || int4send(4) || ''boss''::bytea || ''\x00''::bytea || int4send(2) || ''{}''::bytea || int8send(0)) from (select tenant_id, id as run_id, sor.uuid_v7() as id, sor.uuid_v7() as new,'
        ' decode(repeat(''00'', 32), ''hex'') as zero from sor.runs where id = %1$L offset 0) x'),
    ('a run that runs again', 'update sor.runs set status = ''running'', finished_at = null, lease_until = now() where id = %1$L'),
    ('a run of somebody else', 'update sor.runs set worker = ''nobody'', on_behalf_of = null where id = %1$L'),
    ('a call that succeeded after all', 'update sor.tool_calls set status = ''succeeded'', error = null where run_id = %1$L and tool = ''drop_table'''),
    ('a call that got another answer', 'update sor.tool_calls set error = ''{}'' where run_id = %1$L and tool = ''drop_table'''),
    ('a turn that said something else', 'update sor.turns set output = ''{"x": 1}'' where run_id = %1$L and turn_no = 2'),
    ('a message to be sent again', 'update sor.outbox set status = ''pending'', processed_at = null where id = %2$L'),
    ('a message to somebody else', 'update sor.outbox set payload = payload || ''{"to": "thief@x.example"}'' where id = %2$L'),
    ('a message of no run', 'update sor.outbox set run_id = null where id = %2$L'),
    ('a message tried more often', 'update sor.outbox set attempts = 7 where id = %2$L'),
    ('a message sent at another time', 'update sor.outbox set processed_at = processed_at - interval ''1 day'' where id = %2$L'),
    ('a message of a status that is none', 'update sor.outbox set status = repeat(''é'', 200) where id = %2$L'),
    ('an open call of no run', 'insert into sor.tool_calls select tenant_id, sor.uuid_v7(), sor.uuid_v7(), 1, sor.uuid_v7(), ''model'', ''{}'', ''started'', null, null, null, now() from sor.runs where id = %1$L'),
    ('nothing, chained anew', 'select forensics_test.rechain(%1$L), forensics_test.rechain(%2$L)'),
    ('a forged start', 'update sor.agent_events set payload = payload || ''{"worker": "nobody"}'' where stream_id = %1$L and seq = 1; select forensics_test.rechain(%1$L)'),
    ('a forged start at no time', 'update sor.agent_events set payload = payload || ''{"started_at": "x"}'' where stream_id = %1$L and seq = 1; select forensics_test.rechain(%1$L)'),
    ('a forged end that is no object', 'update sor.agent_events set payload = ''[1]'' where stream_id = %1$L and event_type = ''run.succeeded''; select forensics_test.rechain(%1$L)'),
    ('a forged intent', 'update sor.agent_events set payload = payload || ''{"destination": "x"}'' where stream_id = %2$L and seq = 1; select forensics_test.rechain(%2$L)'),
    ('a forged intent that is no object', 'update sor.agent_events set payload = ''"é"'' where stream_id = %2$L and seq = 1; select forensics_test.rechain(%2$L)')
) v (what, command);
-- and the report of such a run says so before anything else
create function forensics_test.report_of_tampered(run uuid, command text) returns text language plpgsql as $$
declare found jsonb;
begin
    alter table sor.agent_events disable trigger all;
    execute format(command, run);
    perform sor.replay('00000000-0000-7000-8000-00000000f0a1', run), sor.what_happened('00000000-0000-7000-8000-00000000f0a1', '-infinity', 'infinity');
    found := sor.forensic_report('00000000-0000-7000-8000-00000000f0a1', run);
    raise exception using errcode = 'P9999', message = forensics_test.mask(concat_ws(E'\n', found #>> '{finding,kind}', found #>> '{finding,root_cause}',
        found #>> '{finding,command}', found #>> '{verification,first_bad,problem}', found #>> '{summary,cause_and_next_action}'));
exception when sqlstate 'P9999' or data_corrupted then
    return forensics_test.mask(sqlerrm);
end $$;
select forensics_test.report_of_tampered(:'run', 'update sor.agent_events set actor = ''nobody'' where stream_id = %L and seq = 3');
-- a row that was changed is its evidence; what makes no sense any more is told as it stands; a run without its row is not passed over
select forensics_test.report_of_tampered(:'run', 'update sor.tool_calls set error = ''{}'' where run_id = %L and tool = ''drop_table''');
select split_part(forensics_test.report_of_tampered(:'run', command), E'\n', 1) as kind from (values
    ('update sor.agent_events set payload = jsonb_set(payload, ''{gap,from}'', ''"x"'') where stream_id = %L and event_type = ''run.resumed'''),
    ('update sor.agent_events set payload = jsonb_set(payload, ''{gap,from}'', ''"9999-99-99T99:99:99+00:00"'') where stream_id = %L and event_type = ''run.resumed'''),
    ('update sor.agent_events set payload = ''{"user_id": "x"}'' where event_type = ''role.assigned''; update sor.agent_events set payload = ''[1]'' where stream_id = %L'),
    ('update sor.agent_events set payload = ''null'', created_at = ''infinity'', hash = ''x'', prev_hash = '''', actor = '''', event_type = '''' where stream_id = %L'),
    ('update sor.runs set id = sor.uuid_v7() where id = %L')) v (command);
select tgname, tgenabled from pg_trigger where tgrelid = 'sor.agent_events'::regclass and not tgisinternal order by 1;

-- the doctor finds what is broken
create function forensics_test.complaints() returns setof text language sql as $$
    -- of this test's tenant alone, where tenants are told apart
    select name || ': ' || coalesce(substring(evidence from 'forensics A: \d+[^;]*'), evidence) || ' -> ' || fix from sor.doctor() where not ok
$$;
create function forensics_test.broken(command text) returns text language plpgsql as $$
declare former text[] := array(select forensics_test.complaints()); found text;
begin
    execute command;
    select string_agg(c, '; ' order by c) into found from forensics_test.complaints() c where c <> all (former);
    raise exception using errcode = 'P9999', message = coalesce(found, 'nothing found');
exception when sqlstate 'P9999' then
    return sqlerrm;
end $$;
select name, ok = (fix is null) as fits, evidence <> '' as told from sor.doctor();
select what, forensics_test.broken(format(command, :'run', :'message')) from (values
    ('nothing', 'select'),
    ('row security not forced', 'alter table sor.turns no force row level security'),
    ('a policy dropped', 'drop policy tenant_isolation on sor.turns'),
    ('a registered table without row security', 'alter table forensics_test.expenses disable row level security'),
    ('the guard off', 'alter table sor.agent_events disable trigger append_only_rows'),
    ('the guard as plain trigger', 'alter table sor.agent_events enable trigger append_only_truncate'),
    ('the drop guard off', 'alter event trigger sor_drop_guard_done disable; alter event trigger sor_drop_guard enable replica'),
    ('the guard at TRUNCATE off', 'alter table forensics_test.expenses enable trigger sor_refuse_truncate'),
    ('the engine unfit', 'alter role sor_engine login bypassrls; grant sor_engine to forensics_owner'),
    ('a function open to all', 'grant execute on function sor.doctor() to public'),
    ('a function of another owner', 'alter function sor.doctor() owner to forensics_owner'),
    ('a table open for writing', 'grant insert on sor.agent_events to forensics_worker'),
    ('an unfit login', 'alter role forensics_worker login bypassrls'),
    ('a registered table that is gone', 'drop table forensics_test.expenses'),
    ('an unfit owner', 'alter role forensics_owner bypassrls'),
    ('a queue''s trigger off', 'alter table forensics_test.pending disable trigger all'),
    ('a run without a holder', 'update sor.runs set status = ''running'', finished_at = null, lease_until = now() - interval ''2 h'' where id = %1$L'),
    ('a dead message', 'update sor.outbox set status = ''dead'' where id = %2$L'),
    ('responses long expired', 'update sor.idempotency_keys set expires_at = now() - interval ''8 days'' where tenant_id = ''00000000-0000-7000-8000-00000000f0a1''')
) v (what, command);
set role sor_operator;
set quote_all_identifiers = on;
select count(*) > 10 as answers, count(*) filter (where not ok) from sor.doctor() where name in ('registrations', 'owners', 'queue_triggers') or ok;
reset quote_all_identifiers;
reset role;
drop schema forensics_test cascade;
drop owned by forensics_worker, forensics_relay, forensics_auditor, forensics_owner cascade;
drop role forensics_worker, forensics_relay, forensics_auditor, forensics_owner;
