-- journal: runs, turns and tool calls; a crashed run resumes where it stopped, and its former holder can write nothing.
set client_min_messages = warning;
set datestyle = iso;
set timezone = utc;
create extension if not exists sor;
create schema journal_test;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-0000000010a1', 'journal A'), ('00000000-0000-7000-8000-0000000010b2', 'journal B');
\set a '''00000000-0000-7000-8000-0000000010a1'''
\set b '''00000000-0000-7000-8000-0000000010b2'''
select sor.create_user(:a, 'ann@j.example', 'Ann') as ann, sor.create_user(:a, 'ben@j.example', 'Ben') as ben,
    sor.create_user(:a, 'cat@j.example', 'Cat') as cat \gset
create role journal_worker in role sor_worker;
create role journal_other in role sor_worker;
create role journal_app in role sor_app;
create role journal_auditor in role sor_auditor;
select sor.grant_tenant('journal_worker', :a, array[:'ann', :'ben']::uuid[]), sor.grant_tenant('journal_other', :a, array[:'cat']::uuid[]),
    sor.grant_tenant('journal_app', :a, array[:'ann']::uuid[]), sor.grant_tenant('journal_auditor', :a, null, '{user}') \g /dev/null
-- the error a command raises, without what differs from run to run
create function journal_test.attempt(command text) returns text language plpgsql as $$
declare detail text; hint text;
begin
    execute command;
    return 'done';
exception when others then
    get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
    return regexp_replace(regexp_replace(concat_ws(' | ', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, '')),
        '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>', 'g'), '\d{4}-\d\d-\d\d [0-9:.+-]+', '<time>', 'g');
end $$;
grant usage on schema journal_test to public;
-- the holder of a run dies: only its lease ends
create function journal_test.lapse(run uuid) returns void language sql security definer set search_path = pg_catalog, pg_temp
    as $$ update sor.runs set lease_until = clock_timestamp() - interval '1 ms' where id = run and status = 'running' $$;

-- a run from its start to its end
set role journal_worker;
select run_id as run, run_token as token, resumed, next_turn, status from sor.start_run(:a, 'rec', 'night 1', :'ann', '{"month": "2014-06"}') \gset
select :'resumed' as resumed, :'next_turn' as next_turn, :'status' as status;
select sor.begin_turn(:a, :'run', :token, '{"batch": 1}') as turn \gset
select sor.uuid_v7() as request \gset
select sor.begin_tool_call(:a, :'run', :token, :turn, :'request', 'model', '{"prompt": "categorise"}') as call \gset
select sor.finish_tool_call(:a, :'run', :token, :'call', 'succeeded', '{"category": "travel", "cost": 0.010}');
select sor.finish_turn(:a, :'run', :token, :turn, '{"done": 5}');
select sor.begin_turn(:a, :'run', :token) as turn;
select sor.finish_turn(:a, :'run', :token, 2);
select sor.finish_run(:a, :'run', :token);
-- fired again, it is returned as it is, and nothing is done
select run_id = :'run' as same, run_token = :token as same_token, resumed, next_turn, status from sor.start_run(:a, 'rec', 'night 1', :'ann');
reset role;
select seq, event_type, actor_kind, actor, on_behalf_of = :'ann' as for_ann, turn_no from sor.agent_events where stream_id = :'run' order by seq;
select worker, run_key, status, input, error, lease_until, parent_run_id, resumptions, finished_at > started_at as in_order from sor.runs where id = :'run';
select turn_no, status, input, output from sor.turns where run_id = :'run' order by turn_no;
select turn_no, tool, arguments, status, response, error, user_id = :'ann' as for_ann, request_id = :'request' as as_requested from sor.tool_calls where run_id = :'run';
set role journal_worker;

-- what has ended stays so
select journal_test.attempt(format('select sor.%s', x)) from (values
    (format('heartbeat(%L, %L, %s)', :a, :'run', :token)),
    (format('begin_turn(%L, %L, %s)', :a, :'run', :token)),
    (format('finish_turn(%L, %L, %s, 2)', :a, :'run', :token)),
    (format('finish_run(%L, %L, %s)', :a, :'run', :token)),
    (format('cancel_run(%L, %L, %L)', :a, :'run', 'too late'))) v (x);

-- of a live run there is one holder, and its successor fences it off
select run_id as run, run_token as token from sor.start_run(:a, 'rec', 'night 2', :'ann', delegating_users => array[:'ben']::uuid[]) \gset
select journal_test.attempt(format('select sor.start_run(%L, ''rec'', ''night 2'', %L)', :a, :'ann'));
select journal_test.attempt(format('select sor.start_run(%L, ''rec'', ''night 2'', %L)', :a, :'ben'));
select sor.begin_turn(:a, :'run', :token, '{"batch": 1}');
select sor.finish_turn(:a, :'run', :token, 1);
select sor.begin_turn(:a, :'run', :token, '{"batch": 2}');
select sor.begin_tool_call(:a, :'run', :token, 2, sor.uuid_v7(), 'model', '{}') as call \gset
reset role;
select journal_test.lapse(:'run');
set role journal_worker;
-- the lease is over, so even the present token is worth nothing
select journal_test.attempt(format('select sor.heartbeat(%L, %L, %s)', :a, :'run', :token));
select journal_test.attempt(format('select sor.finish_turn(%L, %L, %s, 2)', :a, :'run', :token));
select :token as old_token \gset
select run_id = :'run' as same, run_token > :old_token as later, resumed, next_turn, status, run_token as token from sor.start_run(:a, 'rec', 'night 2', :'ann') \gset
select :'same' as same, :'later' as later_token, :'resumed' as resumed, :'next_turn' as next_turn, :'status' as status;
-- the former holder wakes up
select journal_test.attempt(format('select sor.%s', x)) from (values
    (format('heartbeat(%L, %L, %s)', :a, :'run', :old_token)),
    (format('begin_turn(%L, %L, %s)', :a, :'run', :old_token)),
    (format('finish_turn(%L, %L, %s, 2)', :a, :'run', :old_token)),
    (format('finish_tool_call(%L, %L, %s, %L, ''succeeded'', ''{}'')', :a, :'run', :old_token, :'call')),
    (format('finish_run(%L, %L, %s)', :a, :'run', :old_token))) v (x);
-- nor can its outside call be ended as if nothing had been
select journal_test.attempt(format('select sor.finish_tool_call(%L, %L, %s, %L, ''succeeded'', ''{}'')', :a, :'run', :token, :'call'));
-- the unended turn is opened again under its number, the finished one is not
select sor.begin_turn(:a, :'run', :token, '{"batch": 2, "again": true}');
reset role;
select seq, event_type, actor_kind, actor, turn_no, payload ->> 'reopened' as reopened,
       payload #>> '{gap,former_token}' = :'old_token' as former, payload #> '{gap,unended_turn}' as unended,
       payload #> '{gap,unknown_calls}' = jsonb_build_array(:'call') as unknown,
       (payload #>> '{gap,from}')::timestamptz < (payload #>> '{gap,to}')::timestamptz as a_gap
  from sor.agent_events where stream_id = :'run' order by seq;
select status, error, finished_at is not null as ended from sor.tool_calls where id = :'call';
select turn_no, status, input from sor.turns where run_id = :'run' order by turn_no;
select resumptions, delegating_users = array[:'ben']::uuid[] as for_ben, run_token = :token as token from sor.runs where id = :'run';
set role journal_worker;

-- outside calls: one at a time for each request, and each ends once
select sor.uuid_v7() as request \gset
select sor.begin_tool_call(:a, :'run', :token, 2, :'request', 'model', '{}') as call \gset
select journal_test.attempt(format('select sor.begin_tool_call(%L, %L, %s, 2, %L, ''model'', ''{}'')', :a, :'run', :token, :'request'));
select journal_test.attempt(format('select sor.finish_tool_call(%L, %L, %s, %L, ''refused'', ''{}'')', :a, :'run', :token, :'call'));
select sor.finish_tool_call(:a, :'run', :token, :'call', 'failed', '{"message": "503"}');
select journal_test.attempt(format('select sor.finish_tool_call(%L, %L, %s, %L, ''succeeded'', ''{}'')', :a, :'run', :token, :'call'));
-- after a failure the same request may be tried again, after a success not
select sor.begin_tool_call(:a, :'run', :token, 2, :'request', 'model', '{}') as call \gset
select sor.finish_tool_call(:a, :'run', :token, :'call', 'succeeded', null);
select journal_test.attempt(format('select sor.begin_tool_call(%L, %L, %s, 2, %L, ''model'', ''{}'')', :a, :'run', :token, :'request'));
select journal_test.attempt(format('select sor.begin_tool_call(%L, %L, %s, %s, sor.uuid_v7(), ''model'', ''{}'')', :a, :'run', :token, n)) from generate_series(0, 3) n where n <> 2;
select sor.begin_tool_call(:a, :'run', :token, 2, sor.uuid_v7(), 'model', '{}') as call \gset

-- nothing open in a run that succeeds; a failed one closes what it left open
select journal_test.attempt(format('select sor.finish_run(%L, %L, %s)', :a, :'run', :token));
select sor.finish_turn(:a, :'run', :token, 2);
select journal_test.attempt(format('select sor.finish_run(%L, %L, %s)', :a, :'run', :token));
select journal_test.attempt(format('select sor.finish_run(%L, %L, %s, ''done'')', :a, :'run', :token));
select sor.begin_turn(:a, :'run', :token);
select sor.finish_run(:a, :'run', :token, 'failed', '{"message": "the bank is closed"}');
reset role;
select status, error, lease_until from sor.runs where id = :'run';
select turn_no, status, output from sor.turns where run_id = :'run' order by turn_no;
select status, error from sor.tool_calls where id = :'call';
select event_type, actor_kind, actor, turn_no, payload ->> 'status' as status from sor.agent_events where stream_id = :'run' order by seq desc limit 3;
set role journal_worker;

-- without a key: this worker's run that lapsed, if it was for the same user, else a new one
select run_id as first, run_token as token from sor.start_run(:a, 'rec', null, :'ann') \gset
select run_id = :'first' as same, resumed from sor.start_run(:a, 'rec', null, :'ann');
reset role;
select journal_test.lapse(:'first');
set role journal_worker;
select run_id = :'first' as same, resumed from sor.start_run(:a, 'another worker', null, :'ann');
select run_id = :'first' as same, resumed from sor.start_run(:a, 'rec', null, :'ben');
select run_id = :'first' as same, resumed, run_token as token from sor.start_run(:a, 'rec', null, :'ann') \gset
select :'same' as same, :'resumed' as resumed;

-- a heartbeat extends the lease and never shortens it: what the run has claimed is to be due once the lease is over
select sor.heartbeat(:a, :'first', :token, '1 h');
select sor.heartbeat(:a, :'first', :token, '1 min');
reset role;
select lease_until > clock_timestamp() + interval '59 min' as kept from sor.runs where id = :'first';
select count(*) as events from sor.agent_events where stream_id = :'first';
set role journal_worker;
select journal_test.attempt(format('select sor.heartbeat(%L, %L, %s, %L)', :a, :'first', :token, lease)) from unnest(array['999 ms', '61 min', '1 month', null]) lease;
select journal_test.attempt(format('select sor.start_run(%L, ''rec'', null, %L, lease => ''0'')', :a, :'ann'));

-- cancelled at once, by somebody else
set role journal_app;
select sor.cancel_run(:a, :'first', 'wrong month');
set role journal_worker;
select journal_test.attempt(format('select sor.begin_turn(%L, %L, %s)', :a, :'first', :token));
reset role;
select status, error, finished_at is not null as ended from sor.runs where id = :'first';
select event_type, actor from sor.agent_events where stream_id = :'first' order by seq desc limit 1;

-- a user that was not granted, is of no tenant, or of another
set role journal_worker;
select journal_test.attempt(format('select sor.start_run(%L, ''rec'', null, %L)', :a, :'cat'));
select journal_test.attempt(format('select sor.start_run(%L, ''rec'')', :a));
select journal_test.attempt(format('select sor.start_run(%L, ''rec'', null, %L, delegating_users => %L)', :a, :'ann', array[:'ben', :'cat']::uuid[]));
select journal_test.attempt(format('select sor.start_run(%L, ''rec'', null, %L, delegating_users => %L)', :a, :'ann', array[sor.uuid_v7(), null]));
select journal_test.attempt(format('select sor.start_run(%L, ''rec'', null, %L)', :b, :'ann'));
select journal_test.attempt(format('select sor.start_run(%L, '''', null, %L)', :a, :'ann'));
-- a token is no secret: another login, with another user's grant, cannot use it
select run_id as run, run_token as token from sor.start_run(:a, 'rec', 'night 3', :'ann') \gset
set role journal_other;
select journal_test.attempt(format('select sor.begin_turn(%L, %L, %s)', :a, :'run', :token));
select journal_test.attempt(format('select sor.finish_run(%L, %L, %s)', :a, :'run', :token));
-- nor end, resume or add to the run of a user that it was not granted
set role journal_worker;
select run_id as of_ben from sor.start_run(:a, 'rec', 'night of ben', :'ben') \gset
set role journal_app;
select journal_test.attempt(format('select sor.append_event(%L, ''a.b'', ''{}'', %L)', :a, :'of_ben'));
set role journal_other;
select journal_test.attempt(format('select sor.cancel_run(%L, %L, ''x'')', :a, :'of_ben'));
select journal_test.lapse(:'of_ben');
select journal_test.attempt(format('select sor.start_run(%L, ''rec'', ''night of ben'')', :a));
set role journal_worker;
select resumed from sor.start_run(:a, 'rec', 'night of ben', :'ben');
-- no such run, and one of another tenant, look alike
reset role;
select run_id as foreign_run, run_token as foreign_token from sor.start_run(:b, 'rec') \gset
set role journal_worker;
select journal_test.attempt(format('select sor.begin_turn(%L, %L, %s)', :a, r, :token)) from unnest(array[:'foreign_run', '00000000-0000-7000-8000-00000000ffff']::uuid[]) r;
select journal_test.attempt(format('select sor.begin_turn(%L, %L, %s)', :a, :'run', :foreign_token));

-- an application's own events
set role journal_app;
select sor.append_event(:a, 'expense.approved', '{"expense": 7}', :'run');
select sor.append_event(:a, 'policy.read', '{}') > 0 as appended;
select journal_test.attempt(format('select sor.append_event(%L, %L, ''{}'')', :a, type)) from unnest(array['run.started', 'registered', 'drill.x', 'Bad', 'noun', 'a.b c']) type;
select journal_test.attempt(format('select sor.append_event(%L, ''a.b'', ''{}'', %L)', :a, :'foreign_run'));
set role journal_worker;
select journal_test.attempt(format('select sor.append_event(%L, ''a.b'', ''{}'')', :a));
reset role;
select event_type, actor_kind, actor, on_behalf_of = :'ann' as for_ann, payload -> 'expense' as expense from sor.agent_events where stream_id = :'run' order by seq;

-- what auditors see
set role journal_auditor;
select worker, run_key, status, started_at is not null as started, finished_at is not null as finished from sor.find_runs(:a);
select run_id = :'run' as same from sor.find_runs(:a, 'rec', 'night 3');
select count(*) from sor.find_runs(:a, max => 2);
-- in progress at some moment of a time
select count(*) = (select count(*) from sor.find_runs(:a)) as all_runs from sor.find_runs(:a, since => '-infinity', until => 'infinity');
select count(*) filter (where r.run_id = m.run_id) as at_its_start, count(*) filter (where r.started_at > m.started_at) as later
  from sor.find_runs(:a) m, sor.find_runs(:a, since => m.started_at, until => m.started_at + interval '1 us') r where m.run_id = :'run';
select count(distinct m.run_id) > 0 as some, count(*) filter (where r.run_id = m.run_id) as after_its_end
  from sor.find_runs(:a) m, sor.find_runs(:a, since => m.finished_at + interval '1 us') r where m.finished_at is not null;
select count(*) filter (where r.run_id = m.run_id) as before_its_start
  from sor.find_runs(:a) m, sor.find_runs(:a, until => m.started_at) r where m.run_id = :'run';
select journal_test.attempt(format('select sor.find_runs(%L, max => 0)', :a));
select journal_test.attempt(format('select sor.find_runs(%L)', :b));
begin;
select sor.set_context(:a);
select count(*) from sor.runs where tenant_id <> :a;
rollback;
select count(*) from sor.runs;
select journal_test.attempt(format('select sor.cancel_run(%L, %L, ''x'')', :a, :'run'));
-- strings of sor's own statements are read by the standard: the dot in a type is a dot
\c -
set client_min_messages = warning;
set standard_conforming_strings = off;
select sor.append_event(:a, 'a!b', '{}');
set standard_conforming_strings = on;
set sor.drop_guard = off;
drop schema journal_test cascade;
drop owned by journal_worker, journal_other, journal_app, journal_auditor;
drop role journal_worker, journal_other, journal_app, journal_auditor;
