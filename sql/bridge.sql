-- bridge: C++ and PostgreSQL's errors cross each other without harm; ids; jsonb and interval helpers.
set client_min_messages = warning;
create extension if not exists sor;
create schema bridge_test;
set search_path = bridge_test, sor, public;
create function throws(kind text) returns bigint language c strict as '$libdir/sor', 'sor_selftest_throw';
create function call(divisor int) returns int language c strict as '$libdir/sor', 'sor_selftest_call';
create function rethrow(divisor int) returns int language c strict as '$libdir/sor', 'sor_selftest_rethrow';
create function nested(depth int, kind text) returns bigint language c strict as '$libdir/sor', 'sor_selftest_nested';
create function throw_in_call() returns void language c strict as '$libdir/sor', 'sor_selftest_throw_in_call';
create function allocated() returns bigint language c strict as '$libdir/sor', 'sor_selftest_allocated';
create function uuid_faults(count int) returns int language c strict as '$libdir/sor', 'sor_selftest_uuid_faults';
create function uuid_after(after uuid) returns uuid language c strict as '$libdir/sor', 'sor_selftest_uuid_after';
create function uuid_floor(moment timestamptz) returns uuid language c strict as '$libdir/sor', 'sor_selftest_uuid_floor';
create function parse_uuid(t text) returns uuid language c strict as '$libdir/sor', 'sor_selftest_parse_uuid';
create function find_integer(object jsonb) returns bigint language c strict as '$libdir/sor', 'sor_selftest_find_integer';
create function find_string(object jsonb) returns text language c strict as '$libdir/sor', 'sor_selftest_find_string';
create function only_keys(object jsonb) returns void language c strict as '$libdir/sor', 'sor_selftest_only_keys';
create function write_json(a jsonb, moment timestamptz) returns jsonb language c strict as '$libdir/sor', 'sor_selftest_write_json';
create function lease(i interval) returns bigint language c strict as '$libdir/sor', 'sor_selftest_lease';
\set VERBOSITY verbose
\set SHOW_CONTEXT never

-- the extension itself offers none of these
select count(*) from pg_proc where prosrc like 'sor_selftest%' and pronamespace = 'sor'::regnamespace;

-- each kind of exception becomes an error, the backend lives on
select pg_backend_pid() as pid \gset
\set VERBOSITY default
select throws('nothing');
create function report(command text) returns text language plpgsql as $$
declare m text; d text; h text;
begin
    execute command;
    return 'no error';
exception when others then
    get stacked diagnostics m = message_text, d = pg_exception_detail, h = pg_exception_hint;
    return format('%s: %s / %s / %s', sqlstate, m, d, h);
end $$;
select report('select throws(''error'')');
select report('select throws(''bad_alloc'')');
select report('select throws(''runtime_error'')');
select report('select throws(''int'')');
select throws('error');
select call(1);
select call(0);
select rethrow(0);
select throw_in_call();
select report('select throw_in_call()');
select report('select nested(20, ''error'')');
select report('select nested(20, ''int'')');
select report('select nested(20, '''')');
select nested(5, 'error');
-- an error's text that does not fit is cut between characters
do $$
declare m text; d text; h text;
begin
    perform throws('long');
exception when others then
    get stacked diagnostics m = message_text, d = pg_exception_detail, h = pg_exception_hint;
    raise warning '% % %, whole characters: % % %', octet_length(m), octet_length(d), octet_length(h),
        m = repeat('é', octet_length(m) / 2), d = repeat('é', octet_length(d) / 2), h = repeat('é', octet_length(h) / 2);
end $$;
select pg_backend_pid() = :pid as same_backend;

-- 100,000 caught errors: neither malloc's nor PostgreSQL's memory grows
create function catch(times int) returns int language plpgsql as $$
declare caught int := 0;
begin
    for i in 1 .. times loop
        begin
            case i % 5
                when 0 then perform throws('error');
                when 1 then perform call(0);
                when 2 then perform rethrow(0);
                when 3 then perform nested(3, 'runtime_error');
                when 4 then perform nested(3, '');
            end case;
        exception when others then
            caught := caught + 1;
        end;
    end loop;
    return caught;
end $$;
select catch(1000);
select allocated() as malloc_before, sum(total_bytes) as palloc_before from pg_backend_memory_contexts \gset
select catch(100000);
select allocated() - :malloc_before < 1000000 as malloc_steady, sum(total_bytes) - :palloc_before < 1000000 as palloc_steady
  from pg_backend_memory_contexts;
select pg_backend_pid() = :pid as same_backend;

-- uuid v7: version, variant, order within the session, the clock's time
select uuid_faults(100000);
select count(*), count(distinct id), bool_and(id > last) as ascending
  from (select id, lag(id) over (order by n) as last
          from (select n, sor.uuid_v7() as id from generate_series(1, 10000) n offset 0) made) s where last is not null;
select abs(('x' || substr(replace(sor.uuid_v7()::text, '-', ''), 1, 12))::bit(48)::bigint
           - extract(epoch from clock_timestamp()) * 1000) < 2000 as of_now;
-- greater than one of the future (of another machine's clock), and so are all that follow
select substr(uuid_after('0fffffff-ffff-7fff-bfff-ffffffffffff')::text, 1, 18);
select sor.uuid_v7() > '0fffffff-ffff-7fff-bfff-ffffffffffff' as greater;
\c -
set client_min_messages = warning;
set search_path = bridge_test, sor, public;
select uuid_floor('1970-01-01 00:00:00.001+00'), uuid_floor('2026-07-01 12:00:00.5+00'), uuid_floor('1969-12-31 00:00+00');
select uuid_floor('2555-01-01 00:00+00'), uuid_floor('20000-01-01 00:00+00'), uuid_floor('infinity'), uuid_floor('-infinity');
select sor.uuid_v7() between uuid_floor(clock_timestamp() - interval '1 minute') and uuid_floor(clock_timestamp() + interval '1 minute') as within;
select t, parse_uuid(t) from unnest(array['01234567-89ab-cdef-0123-456789ABCDEF', '0123456789abcdef0123456789abcdef', '', '0',
    '0123456789abcdef0123456789abcdef0', '01234567-89ab-cdef-0123-456789abcde', '012345678-9ab-cdef-0123-456789abcdef',
    '{01234567-89ab-cdef-0123-456789abcdef}', '0123456z-89ab-cdef-0123-456789abcdef', '01234567-89ab-cdef-0123-456789abcdef ']) t;

-- jsonb: whole numbers of 64 bits and nothing else
select j, report(format('select find_integer(%L)', j)), case when report(format('select find_integer(%L)', j)) = 'no error' then find_integer(j) end
  from unnest(array['{}', '{"n": null}', '{"n": 0}', '{"n": -5}', '{"n": 7.0}', '{"n": 9223372036854775807}', '{"n": -9223372036854775808}',
      '{"n": 7.5}', '{"n": 9223372036854775808}', '{"n": -9223372036854775809}', '{"n": 1e30}', '{"n": 1e100000}', '{"n": 1e-9}',
      '{"n": "7"}', '{"n": true}', '{"n": [7]}', '{"n": {"n": 7}}', '{"n": 1, "n": 2}']::jsonb[]) with ordinality u(j, o) where length(j::text) < 100 order by o;
select report('select find_integer(''{"n": 1e100000}'')');
select find_string('{"s": "x"}'), find_string('{"s": ""}'), find_string('{"s": null}'), find_string('{}');
select report('select find_string(''{"s": 5}'')');
-- only known keys, at the first level alone
select report('select only_keys(''{"a": 1, "b": {"c": [{"d": 1}]}}'')'), report('select only_keys(''{}'')');
select report('select only_keys(''{"a": 1, "b2": 2, "c": 3}'')');
select report('select only_keys(''{"ab": 1}'')'), report('select only_keys(''{"": 1}'')');
select report('select only_keys(''[{"a": 1}]'')'), report('select only_keys(''"a"'')');
-- jsonb takes the last of two equal keys: what is checked is what is stored
select report('select only_keys(''{"a": 1, "z": 1, "a": 2}'')'), find_integer('{"n": "x", "n": 3}');
set timezone = 'Australia/Sydney'; set datestyle = 'German';
select write_json('[1, "two", null, [3], {"four": 4}]', '2026-02-03 04:05:06.000007+00');
select write_json('[]', '0044-03-15 00:00:00+00 BC');
reset timezone; reset datestyle;

-- a lease lasts from a second to an hour, however it is written; what overflows is no short lease
select i, report(format('select lease(%L)', i))
  from unnest(array['1 second', '1 hour', '1 day -23 hours', '0.999999 seconds', '1 hour 0.000001 seconds', '0', '-1 minute', '1 month -30 days',
      '1 year', '106751992 days', '213503983 days -57000 seconds', '-213503982 days', '2147483647 days', '-2147483648 days']::interval[]) i;
select lease('1 day -23 hours');
drop schema bridge_test cascade;
