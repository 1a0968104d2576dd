-- tools: the allow-list and the one gateway. A call takes effect once, in one transaction with its journal, or not at all.
set client_min_messages = warning;
create extension if not exists sor;
set sor.drop_guard = off; -- tampers with what is guarded, and drops it at the end
create schema tools_test;
insert into sor.tenants (tenant_id, name) values
    ('00000000-0000-7000-8000-00000000e0a1', 'tools A'), ('00000000-0000-7000-8000-00000000e0b2', 'tools B');
\set a '''00000000-0000-7000-8000-00000000e0a1'''
\set b '''00000000-0000-7000-8000-00000000e0b2'''
select sor.create_user(:a, 'admin@t.example', 'Admin') as admin, sor.create_user(:a, 'member@t.example', 'Member') as member,
    sor.create_user(:a, 'viewer@t.example', 'Viewer') as viewer, sor.create_user(:a, 'nobody@t.example', 'Nobody') as nobody,
    sor.create_user(:b, 'other@t.example', 'Other') as other \gset
select sor.assign_role(:a, :'admin', 'admin'), sor.assign_role(:a, :'member', 'member'), sor.assign_role(:a, :'viewer', 'viewer') \g /dev/null
create role tools_worker in role sor_worker;
create role tools_operator in role sor_operator;
create role tools_owner;
create role tools_unfit in role sor_app;
grant all on schema tools_test to tools_owner;
grant usage on schema tools_test to public;
select sor.grant_tenant('tools_worker', :a), sor.grant_tenant('tools_worker', :b) \g /dev/null
-- ids differ from run to run
create function tools_test.mask(t text) returns text language sql as $$
    select regexp_replace(t, '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}', '<id>', 'g') $$;
create function tools_test.attempt(command text) returns text language plpgsql as $$
declare detail text; hint text; answer text;
begin
    execute command into answer;
    return tools_test.mask(answer);
exception when others then
    get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
    return tools_test.mask(concat_ws(' | ', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, '')));
end $$;
create table tools_test.effects (tenant_id uuid, id int, who text default current_user, note text, primary key (tenant_id, id));
create table tools_test.inbox (tenant_id uuid, id int, body text, secret text, primary key (tenant_id, id));
alter table tools_test.effects owner to tools_owner;
alter table tools_test.inbox owner to tools_owner;
select sor.protect_tenant('tools_test.effects'), sor.protect_tenant('tools_test.inbox') \g /dev/null
create sequence tools_test.invocations;
grant usage on sequence tools_test.invocations to tools_owner;

-- only fit functions become tools
create function tools_test.effect(arguments jsonb) returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform nextval('tools_test.invocations');
    insert into tools_test.effects (id, note) values ((arguments ->> 'id')::int, arguments ->> 'note');
    if arguments ? 'raise' then
        raise exception 'told to fail' using errcode = arguments ->> 'raise', hint = 'Ask for something else.';
    end if;
    return jsonb_build_object('as', current_user, 'tenant', sor.current_tenant(), 'for', sor.current_user_id(), 'kind', sor.current_actor_kind());
end $$;
create function tools_test.nothing(arguments jsonb) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as 'select null::jsonb';
create function tools_test.unpinned(arguments jsonb) returns jsonb language sql as 'select arguments';
create function tools_test.half_pinned(arguments jsonb) returns jsonb language sql set search_path = pg_catalog as 'select arguments';
create function tools_test.two(a jsonb, b jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as 'select a';
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.nothing(jsonb)', 'member', '', '{}')$$);
alter function tools_test.nothing owner to tools_unfit;
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.nothing(jsonb)', 'member', '', '{}')$$);
alter function tools_test.nothing owner to tools_owner;
alter function tools_test.effect owner to tools_owner;
alter function tools_test.unpinned owner to tools_owner;
alter function tools_test.half_pinned owner to tools_owner;
alter function tools_test.two owner to tools_owner;
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.unpinned(jsonb)', 'member', '', '{}')$$);
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.half_pinned(jsonb)', 'member', '', '{}')$$);
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.two(jsonb, jsonb)', 'member', '', '{}')$$);
select tools_test.attempt($$select sor.register_tool('write', 'tools_test.effect(jsonb)', 'member', '', '{}')$$);
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.effect(jsonb)', 'owner', '', '{}')$$);
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.effect(jsonb)', 'member', '', '[]')$$);
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.effect(jsonb)', 'member', '', '{}', output_schema => '[]')$$);
select tools_test.attempt($$select sor.register_tool('x', 'tools_test.effect(jsonb)', 'member', '', '{"properties": {"id": {"type": "integer"}, "request_id": {"type": "string"}}}')$$);
select name, tools_test.attempt(format($$select sor.register_tool(%L, 'tools_test.effect(jsonb)', 'member', '', '{}')$$, name))
  from unnest(array['', 'a b', 'a/b', E'line\n', repeat('x', 65)]) name;
-- what only looks like it is not the reserved argument
begin;
select sor.register_tool(repeat('x', 64), 'tools_test.effect(jsonb)', 'member', '', '{"properties": {"of": {"properties": {"request_id": {}}}}, "required": ["request_id"]}');
select count(*) from sor.tools where name = repeat('x', 64);
rollback;
set role tools_operator;
select tools_test.attempt($$select sor.register_tool('effect', 'tools_test.effect(jsonb)', 'member', '', '{}')$$);
reset role;
grant tools_owner to tools_operator;
set role tools_operator;
select sor.register_tool('effect', 'tools_test.effect(jsonb)', 'member', 'Has an effect.', '{"type": "object"}'),
    sor.register_tool('look', 'tools_test.effect(jsonb)', 'viewer', 'Says it only reads.', '{}', read_only => true),
    sor.register_tool('Append', 'tools_test.effect(jsonb)', 'member', 'Adds.', '{}', output_schema => '{"type": "object"}', destructive => false),
    sor.register_tool('nothing', 'tools_test.nothing(jsonb)', 'viewer', 'Answers null.', '{}', read_only => true),
    sor.register_tool('administer', 'tools_test.effect(jsonb)', 'admin', 'For admins.', '{}'),
    sor.register_table('tools_test.effects', '{id}'), sor.register_table('tools_test.inbox', '{id}', readable => '{id,body}'),
    sor.register_queue('tools_test.inbox') \g /dev/null
reset role;

-- who sees which tool
set role tools_worker;
select 'admin' as role, string_agg(name, ' ') from sor.list_tools(:a, :'admin')
union all select 'member', string_agg(name, ' ') from sor.list_tools(:a, :'member')
union all select 'viewer', string_agg(name, ' ') from sor.list_tools(:a, :'viewer')
union all select 'nobody', string_agg(name, ' ') from sor.list_tools(:a, :'nobody');
select name, read_only, input_schema ->> 'type' as type, description <> '' as described from sor.list_tools(:a, :'member');
-- what may be called, and what needs a higher role
select name, minimum_role, permitted, read_only, destructive, output_schema ->> 'type' as answers from sor.list_tools(:a, :'viewer', include_forbidden => true);
select 'admin' as role, count(*), count(*) filter (where permitted) as permitted from sor.list_tools(:a, :'admin', true)
union all select 'nobody', count(*), count(*) filter (where permitted) from sor.list_tools(:a, :'nobody', true)
union all select null, count(*), count(*) filter (where permitted) from sor.list_tools(:a, null, true);
select tools_test.attempt(format('select name from sor.list_tools(%L, %L, null)', :a, :'member'));
reset role;
-- the built-in schemas are plain: each property has one type and a description, each array says of what, request_id is not theirs
create temp table built_in as select * from sor.list_tools(:a, :'admin') where name in ('claim', 'write', 'queue', 'read');
select b.name, p as untold from built_in b, unnest(array[input_schema, output_schema]) s, jsonb_path_query(s, '$.**.properties.*') p
 where jsonb_typeof(p -> 'type') is distinct from 'string' or not p ? 'description' or (p ->> 'type' = 'array' and jsonb_typeof(p #> '{items,type}') is distinct from 'string')
    or jsonb_typeof(p -> 'additionalProperties') not in ('boolean');
select count(*) as schemas, count(*) filter (where jsonb_path_exists(s, '$.**.required[*]')) as requiring from built_in b, unnest(array[input_schema, output_schema]) s;
select b.name, r as required_of_nothing from built_in b, unnest(array[input_schema, output_schema]) s, jsonb_path_query(s, '$.** ? (exists(@.required))') o, jsonb_array_elements_text(o -> 'required') r
 where not o -> 'properties' ? r;
select name from built_in where description ~ 'request_id' or input_schema::text ~ 'request_id';
set role tools_worker;

-- one call: the effect as the tool's owner, in the tenant and for the user of the call, journaled
select run_id as run, run_token as token from sor.start_run(:a, 'tools', 'one', :'member', delegating_users => array[:'viewer', :'admin', :'nobody']::uuid[]) \gset
select sor.begin_turn(:a, :'run', :token);
\set r1 '''10000000-0000-4000-8000-000000000001'''
select tools_test.mask(sor.call_tool(:a, null, :'run', :token, 1, :r1, 'effect', '{"id": 1, "note": "first"}')::text);
-- the same request again: the stored response, nothing invoked
reset role;
create temp table before as select (select last_value from tools_test.invocations) as invocations,
    (select count(*) from sor.agent_events where tenant_id = :a) as events, (select count(*) from sor.tool_calls where tenant_id = :a) as calls;
set role tools_worker;
select sor.call_tool(:a, null, :'run', :token, 1, :r1, 'effect', '{"note": "first", "id": 1}') -> 'replayed' as replayed;
select sor.call_tool(:a, :'member', :'run', :token, 1, :r1, 'effect', '{"note": "first", "id": 1}') -> 'replayed' as replayed;
reset role;
select invocations = (select last_value from tools_test.invocations) as not_invoked,
    events = (select count(*) from sor.agent_events where tenant_id = :a) as no_event,
    calls = (select count(*) from sor.tool_calls where tenant_id = :a) as no_row from before;
set role tools_worker;
-- with other arguments, another tool or user it is refused, and the refusal journaled
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, %L, ''effect'', ''{"id": 2}'')', :a, :'run', :token, :r1));
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, %L, ''administer'', ''{"id": 1, "note": "first"}'')', :a, :'run', :token, :r1));
select tools_test.attempt(format('select sor.call_tool(%L, %L, %L, %s, 1, %L, ''effect'', ''{"id": 1, "note": "first"}'')', :a, :'admin', :'run', :token, :r1));
-- refusals name what is needed
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''administer'', ''{"id": 3}'')', :a, :'run', :token));
select tools_test.attempt(format('select sor.call_tool(%L, %L, %L, %s, 1, gen_random_uuid(), ''effect'', ''{"id": 3}'')', :a, :'viewer', :'run', :token));
select tools_test.attempt(format('select sor.call_tool(%L, %L, %L, %s, 1, gen_random_uuid(), ''read'', ''{"from": "effects"}'')', :a, :'nobody', :'run', :token));
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''drop_table'', ''{}'')', :a, :'run', :token));
-- an admin may, and the run says for whom
select sor.call_tool(:a, :'admin', :'run', :token, 1, gen_random_uuid(), 'administer', '{"id": 3}') #>> '{result,for}' = :'admin' as for_the_admin;
-- a failure undoes the effect; the id may run again
\set r2 '''10000000-0000-4000-8000-000000000002'''
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, %L, ''effect'', ''{"id": 4, "raise": "P0001"}'')', :a, :'run', :token, :r2));
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, %L, ''effect'', ''{"id": 1}'')', :a, :'run', :token, :r2));
select sor.call_tool(:a, null, :'run', :token, 1, :r2, 'effect', '{"id": 4}') ->> 'status' as third_time;
-- a tool that is read-only cannot write, and null is an answer
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''look'', ''{"id": 5}'')', :a, :'run', :token));
select sor.call_tool(:a, null, :'run', :token, 1, gen_random_uuid(), 'nothing', '{}');
-- what is not the tool's answer fails the whole call and leaves nothing
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''effect'', ''{"id": 6, "raise": "40001"}'')', :a, :'run', :token));
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''effect'', ''{"id": 6, "raise": "53100"}'')', :a, :'run', :token));
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''effect'', ''{"id": 6}'')', :a, :'run', :token + 1));
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 2, gen_random_uuid(), ''effect'', ''{"id": 6}'')', :a, :'run', :token));
select tools_test.attempt(format('select sor.call_tool(%L, %L, %L, %s, 1, gen_random_uuid(), ''effect'', ''{"id": 6}'')', :a, :'other', :'run', :token));
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''effect'', ''{"id": 6}'')', :b, :'run', :token));
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''effect'', ''[]'')', :a, :'run', :token));
reset role;
select id, who, note from tools_test.effects order by id;
select tool, status, error ->> 'sqlstate' as sqlstate, user_id = :'member' as for_member from sor.tool_calls where tenant_id = :a order by id;
select event_type, count(*) from sor.agent_events where tenant_id = :a and event_type like 'tool_call.%' group by 1 order by 1;
select count(*) from sor.tool_calls c where tenant_id = :a and not exists (select from sor.agent_events e
    where e.tenant_id = c.tenant_id and e.tool_call_id = c.id and e.event_type = 'tool_call.' || c.status);

-- settings that a tool changes are undone, and it cannot call another tool or become somebody else
create function tools_test.mischief(arguments jsonb) returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('work_mem', '77MB', false);
    return jsonb_build_object('nested', tools_test.attempt(format('select sor.call_tool(%L, null, %L, 1, 1, gen_random_uuid(), ''effect'', ''{}'')',
            sor.current_tenant(), arguments ->> 'run')),
        'other tenant', tools_test.attempt(format('select sor.enqueue(%L, ''d'', ''e'', ''a'', ''{}'', ''k'')', arguments ->> 'other')),
        'role', tools_test.attempt('set role tools_worker'), 'history', tools_test.attempt('delete from sor.agent_events'),
        'context', tools_test.attempt('set sor.tenant_id = ''''')); end $$;
alter function tools_test.mischief owner to tools_owner;
select sor.register_tool('mischief', 'tools_test.mischief(jsonb)', 'member', '', '{}') \g /dev/null
set role tools_worker;
select jsonb_pretty(sor.call_tool(:a, null, :'run', :token, 1, gen_random_uuid(), 'mischief', jsonb_build_object('run', :'run', 'other', :b)) -> 'result');
select current_setting('work_mem') <> '77MB' as undone, sor.current_tenant() as tenant_after;

-- groups take effect together or not at all
select jsonb_path_query_array(c, '$[*].status') as statuses, jsonb_path_query_array(c, '$[*].error.sqlstate') as sqlstates
from sor.call_tools(:a, null, :'run', :token, 1, '[
    {"request_id": "20000000-0000-4000-8000-000000000001", "tool": "effect", "arguments": {"id": 20}, "group": "a"},
    {"request_id": "20000000-0000-4000-8000-000000000002", "tool": "effect", "arguments": {"id": 21}},
    {"request_id": "20000000-0000-4000-8000-000000000003", "tool": "effect", "arguments": {"id": 1}, "group": "a"},
    {"request_id": "20000000-0000-4000-8000-000000000004", "tool": "effect", "arguments": {"id": 23}, "group": "a"},
    {"request_id": "20000000-0000-4000-8000-000000000005", "tool": "effect", "arguments": {"id": 24}, "group": "b"},
    {"request_id": "20000000-0000-4000-8000-000000000006", "tool": "administer", "arguments": {"id": 25}, "group": "b"},
    {"request_id": "20000000-0000-4000-8000-000000000007", "tool": "effect", "arguments": {"id": 26}, "group": "c"},
    {"request_id": "20000000-0000-4000-8000-000000000008", "tool": "effect", "arguments": {"id": 27}, "group": "c"}]') c;
-- again: what succeeded replays, what failed runs
select jsonb_path_query_array(c, '$[*].status') as statuses, jsonb_path_query_array(c, '$[*].replayed') as replayed
from sor.call_tools(:a, null, :'run', :token, 1, '[
    {"request_id": "20000000-0000-4000-8000-000000000002", "tool": "effect", "arguments": {"id": 21}},
    {"request_id": "20000000-0000-4000-8000-000000000001", "tool": "effect", "arguments": {"id": 20}, "group": "a"},
    {"request_id": "20000000-0000-4000-8000-000000000004", "tool": "effect", "arguments": {"id": 23}, "group": "a"}]') c;
select tools_test.attempt(format('select sor.call_tools(%L, null, %L, %s, 1, %L)', :a, :'run', :token, c)) from (values ('{}'), ('[1]'),
    ('[{"request_id": "x", "tool": "effect", "arguments": {}}]'), ('[{"request_id": "20000000-0000-4000-8000-00000000000a", "arguments": {}}]'),
    ('[{"request_id": "20000000-0000-4000-8000-00000000000a", "tool": "effect", "arguments": 1}]'),
    ('[{"request_id": "20000000-0000-4000-8000-00000000000a", "tool": "effect", "arguments": {}, "tenant": 1}]'),
    ('[{"request_id": "20000000-0000-4000-8000-00000000000a", "tool": "effect", "arguments": {}}, {"request_id": "20000000-0000-4000-8000-00000000000a", "tool": "effect", "arguments": {}}]'),
    ('[]')) v(c);
reset role;
select id from tools_test.effects where id between 20 and 29 order by id;

-- claim, write, queue, read: an item from claim to completion in one group
insert into tools_test.inbox (tenant_id, id, body, secret) select :a, n, 'body ' || n, 'secret' from generate_series(1, 4) n;
insert into tools_test.inbox (tenant_id, id, body, secret) select :b, n, 'of b', 'secret' from generate_series(1, 4) n;
set role tools_worker;
\set r3 '''30000000-0000-4000-8000-000000000001'''
select sor.call_tool(:a, null, :'run', :token, 1, :r3, 'claim', '{"queue": "inbox", "limit": 3, "lease_seconds": 60}') as claimed \gset
select jsonb_path_query_array(:'claimed', '$.result.items[*].item') as items, jsonb_path_query_array(:'claimed', '$.result.items[*].attempt') as attempts;
select :'claimed'::jsonb #>> '{result,items,0,item_id}' as item, :'claimed'::jsonb #>> '{result,items,0,claim_token}' as claim,
    :'claimed'::jsonb #>> '{result,items,1,claim_token}' as claim2, :'claimed'::jsonb #>> '{result,items,2,claim_token}' as claim3 \gset
select sor.call_tool(:a, null, :'run', :token, 1, :r3, 'claim', '{"queue": "inbox", "limit": 3, "lease_seconds": 60}') = jsonb_set(:'claimed', '{replayed}', 'true') as replayed_claim;
select jsonb_build_array(
    jsonb_build_object('request_id', '40000000-0000-4000-8000-000000000001', 'group', 'item', 'tool', 'write', 'arguments', jsonb_build_object(
        'table', 'effects', 'record', jsonb_build_object('id', 100, 'note', 'from inbox'), 'completes',
        jsonb_build_object('queue', 'inbox', 'item_id', :'item', 'claim_token', :claim))),
    jsonb_build_object('request_id', '40000000-0000-4000-8000-000000000002', 'group', 'item', 'tool', 'queue', 'arguments', jsonb_build_object(
        'destination', 'mail', 'event_type', 'effect.made', 'aggregate_id', '100', 'payload', jsonb_build_object('to', 'x'), 'dedup_key', 'effect 100'))) as calls \gset
select jsonb_path_query_array(c, '$[*].status') as statuses, jsonb_path_query_array(c, '$[*].result.enqueued') as enqueued
from sor.call_tools(:a, null, :'run', :token, 1, :'calls') c;
select jsonb_path_query_array(c, '$[*].replayed') as replayed from sor.call_tools(:a, null, :'run', :token, 1, :'calls') c;
-- the second item fails, the third is put back, and nothing can be done with their tokens any more
select sor.call_tool(:a, null, :'run', :token, 1, gen_random_uuid(), 'claim', jsonb_build_object('queue', 'inbox', 'limit', 0,
    'fail', jsonb_build_array(jsonb_build_object('item_id', '2', 'claim_token', :claim2, 'error', 'no category')),
    'release', jsonb_build_array(jsonb_build_object('item_id', '3', 'claim_token', :claim3)))) ->> 'status' as settled;
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''write'', %L)', :a, :'run', :token, jsonb_build_object('table', 'effects',
    'record', jsonb_build_object('id', 101), 'completes', jsonb_build_object('queue', 'inbox', 'item_id', '2', 'claim_token', :claim2)))) ~ '^SR007 ' as stale;
select sor.call_tool(:a, null, :'run', :token, 1, gen_random_uuid(), 'claim', '{"queue": "inbox", "limit": 10}') #> '{result,items}' @> '[{"item_id": "3"}]' as put_back;
-- a batch of built-in calls is tried whole first; when one fails, each group stands for itself, and nothing is there twice
select jsonb_path_query_array(c, '$[*].status') as statuses, jsonb_path_query_array(c, '$[*].error.sqlstate') as sqlstates
from sor.call_tools(:a, null, :'run', :token, 1, '[
    {"request_id": "70000000-0000-4000-8000-000000000001", "group": "1", "tool": "write", "arguments": {"table": "effects", "record": {"id": 401}}},
    {"request_id": "70000000-0000-4000-8000-000000000002", "group": "1", "tool": "queue", "arguments": {"destination": "mail", "event_type": "e", "aggregate_id": "401", "payload": {}, "dedup_key": "401"}},
    {"request_id": "70000000-0000-4000-8000-000000000003", "group": "2", "tool": "queue", "arguments": {"destination": "mail", "event_type": "e", "aggregate_id": "402", "payload": {}, "dedup_key": "402"}},
    {"request_id": "70000000-0000-4000-8000-000000000004", "group": "2", "tool": "write", "arguments": {"table": "effects", "record": {"id": "four hundred"}}},
    {"request_id": "70000000-0000-4000-8000-000000000005", "group": "3", "tool": "write", "arguments": {"table": "effects", "record": {"id": 403}}}]') c;
reset role;
select (select array_agg(id order by id) from tools_test.effects where id between 401 and 409) as effects,
    (select array_agg(aggregate_id) from sor.outbox where tenant_id = :a and aggregate_id between '401' and '409') as messages,
    (select count(*) from sor.ready where tenant_id = :a and order_value between '401' and '409') as ready,
    (select count(*) from sor.tool_calls where tenant_id = :a and request_id::text like '70000000%') as calls,
    (select count(*) from sor.agent_events where tenant_id = :a and event_type = 'outbox.enqueued' and payload ->> 'aggregate_id' between '401' and '409') as intents,
    (select count(*) from sor.idempotency_keys where tenant_id = :a and key::text like '70000000%') as stored;
set role tools_worker;
-- reading shows readable columns of the tenant's rows alone
select sor.call_tool(:a, null, :'run', :token, 1, gen_random_uuid(), 'read', a) -> 'result' as result from (values
    ('{"from": "inbox", "where": {"id": {"gte": 2, "lt": 4}}, "order_by": ["id desc"]}'::jsonb),
    ('{"from": "inbox", "where": {"id": {"in": [1, 4]}, "body": "body 4"}}'), ('{"from": "inbox", "order_by": ["id"], "limit": 1}'),
    ('{"from": "inbox", "where": {"body": null}}')) v(a);
-- no setting of the caller shows it more
set quote_all_identifiers = on;
select sor.call_tool(:a, null, :'run', :token, 1, gen_random_uuid(), 'read', '{"from": "inbox", "limit": 1}') #> '{result,rows,0}' ? 'secret' as secret;
reset quote_all_identifiers;
-- a read sees what its batch wrote before it
select jsonb_path_query_array(c, '$[*].result.rows[*].note') as notes from sor.call_tools(:a, null, :'run', :token, 1, '[
    {"request_id": "60000000-0000-4000-8000-000000000010", "tool": "write", "arguments": {"table": "effects", "record": {"id": 110, "note": "just written"}}},
    {"request_id": "60000000-0000-4000-8000-000000000011", "tool": "read", "arguments": {"from": "effects", "where": {"id": 110}}}]') c;
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), %L, %L) -> ''error''', :a, :'run', :token, tool, a)) from (values
    ('read', '{"from": "nope"}'), ('read', '{"from": "inbox", "where": {"secret": "x"}}'), ('read', '{"from": "inbox", "order_by": ["secret"]}'),
    ('read', '{"from": "inbox", "where": {"id": "one; drop table x"}}'), ('read', '{"from": "inbox", "where": {"id": {"like": 1}}}'),
    ('read', '{"from": "inbox", "limit": 0}'), ('read', '{"from": "inbox", "limit": 1.5}'), ('read', '{"from": 1}'), ('read', '{"from": "inbox", "sql": "x"}'),
    ('write', '{"table": "effects"}'), ('write', '{"table": "effects", "record": {"id": 1, "nope": 1}}'), ('claim', '{"queue": "nope"}'),
    ('claim', '{"queue": "inbox", "lease_seconds": 4000}'), ('claim', '{}'), ('queue', '{"destination": "mail"}'),
    ('queue', '{"destination": "mail", "event_type": "e", "aggregate_id": "1", "payload": [], "dedup_key": "k"}'),
    ('queue', '{"destination": "mail", "event_type": "effect.made", "aggregate_id": "100", "payload": {"to": "y"}, "dedup_key": "effect 100"}')) v(tool, a);

-- how long a response is kept
reset role;
select tools_test.attempt($$select sor.set_response_ttl('nope', '1 h')$$), tools_test.attempt($$select sor.set_response_ttl('read', '-1 h')$$);
set role tools_operator;
select sor.set_response_ttl('effect', '1 hour'), sor.set_response_ttl('read', '10 minutes') \g /dev/null
set role tools_worker;
select sor.call_tool(:a, null, :'run', :token, 1, '50000000-0000-4000-8000-000000000001', 'effect', '{"id": 200}') ->> 'status' as status;
select sor.call_tool(:a, null, :'run', :token, 1, '50000000-0000-4000-8000-000000000002', 'read', '{"from": "effects", "limit": 1}') ->> 'status' as status;
reset role;
select operation, expires_at - created_at as kept from sor.idempotency_keys where key::text like '50000000%' order by 1;
-- past it, the id runs again
update sor.idempotency_keys set expires_at = now() - interval '1 s' where key = '50000000-0000-4000-8000-000000000001';
delete from tools_test.effects where id = 200;
set role tools_worker;
select sor.call_tool(:a, null, :'run', :token, 1, '50000000-0000-4000-8000-000000000001', 'effect', '{"id": 200}') ->> 'replayed' as replayed;

-- a run that has ended takes no call, but still answers the old ones
select sor.finish_turn(:a, :'run', :token, 1), sor.finish_run(:a, :'run', :token) \g /dev/null
select tools_test.attempt(format('select sor.call_tool(%L, null, %L, %s, 1, gen_random_uuid(), ''effect'', ''{"id": 300}'')', :a, :'run', :token));
select sor.call_tool(:a, null, :'run', :token, 1, :r1, 'effect', '{"id": 1, "note": "first"}') -> 'replayed' as replayed;
-- a tool whose function is gone, and one that is taken off the list
reset role;
drop function tools_test.nothing;
select sor.unregister_tool('administer') \g /dev/null
select tools_test.attempt($$select sor.unregister_tool('administer')$$), tools_test.attempt($$select sor.unregister_tool('read')$$);
set role tools_worker;
select run_id as run, run_token as token from sor.start_run(:a, 'tools', 'two', :'admin') \gset
select sor.begin_turn(:a, :'run', :token) \g /dev/null
select jsonb_path_query_array(c, '$[*].error.sqlstate') as sqlstates from sor.call_tools(:a, null, :'run', :token, 1, '[
    {"request_id": "60000000-0000-4000-8000-000000000001", "tool": "nothing", "arguments": {}},
    {"request_id": "60000000-0000-4000-8000-000000000002", "tool": "administer", "arguments": {}}]') c;
-- a function that another took the place of, of another result
reset role;
drop function tools_test.effect;
create function tools_test.effect(arguments jsonb) returns int language sql set search_path = pg_catalog, pg_temp as 'select 5';
alter function tools_test.effect owner to tools_owner;
set role tools_worker;
select sor.call_tool(:a, null, :'run', :token, 1, '60000000-0000-4000-8000-000000000003', 'effect', '{}') #>> '{error,sqlstate}' as sqlstate;
reset role;
select streams > 0 as streams, events > 0 as events, first_bad from sor.verify_events(:a);
-- what the built-in tools answered is what their output schemas say
create function tools_test.conforms(schema jsonb, value jsonb) returns boolean language sql as $$
    select jsonb_typeof(value) = replace(schema ->> 'type', 'integer', 'number')
       and case schema ->> 'type'
           when 'array' then (select coalesce(bool_and(tools_test.conforms(schema -> 'items', v)), true) from jsonb_array_elements(value) v)
           when 'object' then not schema ? 'properties' or value ?& array(select jsonb_array_elements_text(schema -> 'required'))
               and (select bool_and(schema -> 'properties' ? key and tools_test.conforms(schema #> array['properties', key], v)) from jsonb_each(value) e(key, v))
           else true end $$;
select b.name, count(*) > 0 as called, bool_and(coalesce(tools_test.conforms(b.output_schema, c.response), false)) as conforms
  from built_in b join sor.tool_calls c on c.tool = b.name and c.tenant_id = :a and c.status = 'succeeded' group by b.name order by b.name;

drop schema tools_test cascade;
delete from sor.registered_tables where target like 'tools_test.%';
delete from sor.tools where function like 'tools_test.%' or name = 'read';
drop owned by tools_worker, tools_operator, tools_owner, tools_unfit;
drop role tools_worker, tools_operator, tools_owner, tools_unfit;
