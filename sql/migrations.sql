-- migrations: the history of the schema, and its one runner. What a review says is in sql/review.sql, what is refused without an
-- approval in sql/guard.sql; two runners and kills are in specs/migrations.spec and t/29_migrations.t.
set client_min_messages = warning;
create extension if not exists sor;
\pset format unaligned
create role migrations_author login in role sor_operator;
create role migrations_approver login in role sor_operator;
create role migrations_runner login in role sor_operator;
create role migrations_owner nologin;
grant migrations_owner to migrations_runner;
create schema shop authorization migrations_runner;
grant all on schema shop to migrations_owner;

-- what a statement came to: 'done', or the error with its last line of context
create function outcome(statement text) returns text language plpgsql as $$
declare m text; d text; h text; c text;
begin
    execute statement;
    return 'done';
exception when others then
    get stacked diagnostics m = message_text, d = pg_exception_detail, h = pg_exception_hint, c = pg_exception_context;
    c := substring(c from 'migration [^\n]*(?:up|down)grade[^\n]*');
    return sqlstate || ': ' || m || coalesce(' [' || nullif(d, '') || ']', '') || coalesce(' {' || nullif(h, '') || '}', '') || coalesce(' @ ' || c, '');
end $$;
create function context_length(statement text) returns int language plpgsql as $$
declare c text;
begin
    execute statement;
    return 0;
exception when others then
    get stacked diagnostics c = pg_exception_context;
    return length(c);
end $$;
create function propose(version text, up text, down text default null) returns text language sql as $$
    select outcome(format('select sor.propose_migration(%L, %L, %L, %L)', version, 'migration ' || version, up, down)) $$;
create function state(v text) returns text language sql as $$ select state || coalesce(': ' || detail, '') from sor.migration_status() where version = v $$;

-- Versions --------------------------------------------------------------------------------------------------------------
set session authorization migrations_author;
select v, outcome(format('select sor.propose_migration(%L, ''n'', ''select 1'', null)', v)) from unnest('{"",x,1.,.1,1..2,1a,v1,1/2,"1 "}'::text[]) v;
select outcome(format('select sor.propose_migration(%L, ''n'', ''select 1'', null)', repeat('1', 101)));
select outcome($$select sor.propose_migration('1', ' ', 'select 1', null)$$), outcome($$select sor.propose_migration('1', null, 'select 1', null)$$), outcome($$select sor.propose_migration('1', 'n', null, null)$$);

-- Texts that cannot be run: which statement, which line -----------------------------------------------------------------
select propose('1', E'create table t (id int);\n\n-- a comment\nselect 1; select 2;\n  select from\n    where frob(;\n');
select propose('1', E'select ''\n'), propose('1', E'select 1;\nselect $a$ body'), propose('1', E'select 1;\n\n/* open'), propose('1', E'select (1;\nselect 2;');
select propose('1', 'select 1', E'select 1;\n\nselec 2');
select propose('1', E'select 1;\n\\d shop.orders\nselect 2;'), propose('1', E'copy t from stdin;\n1\ttwo\n\\.\n'), propose('1', E'copy t to stdout');
select t, propose('1', E'select 1;\n' || t) from unnest('{begin,"start transaction",commit,end,rollback,"savepoint a","rollback to a","prepare transaction ''a''","commit prepared ''a''",
    "set standard_conforming_strings = off","reset standard_conforming_strings","create database d","drop database d","alter system set work_mem = 1","create tablespace s location ''/x''",
    "discard all","cluster","reindex database d","reindex schema s","create index concurrently on t (a)","drop subscription s"}'::text[]) t;
select propose('1', 'select 1 ' || repeat('+', 1001) || ' 2');
select left(propose('1', 'select ' || repeat('(', 100000)), 40);
select propose('1', ''), propose('1', E'  -- nothing\n;;');
-- two statements, which were one where standard_conforming_strings is off
set standard_conforming_strings = off;
set escape_string_warning = off;
select propose('0.1', E'comment on schema shop is ''\\''; drop table orders; --''', '');
reset standard_conforming_strings;
reset escape_string_warning;
select step, statement, first_statement, last_statement from sor.migration_steps('0.1');

-- Proposing -------------------------------------------------------------------------------------------------------------
select propose('0001', 'create table shop.orders (id int primary key, note text)', 'drop table shop.orders');
select propose('1', 'select 1'), propose('01', 'select 1');
-- the checksum is what the documentation says it is
select checksum = encode(sha256(int8send(octet_length(up)) || convert_to(up, 'utf8') || int8send(octet_length(down)) || convert_to(down, 'utf8')), 'hex') from sor.migrations where version = '0001';
select propose('0002', 'alter table shop.orders add column amount int', null);
select checksum = encode(sha256(int8send(octet_length(up)) || convert_to(up, 'utf8') || '\xffffffffffffffff'), 'hex') from sor.migrations where version = '0002';
select checksum <> encode(sha256(convert_to(up, 'utf8')), 'hex') from sor.migrations where version = '0002';
-- other texts replace those of one that is not applied; the same change nothing
select propose('0002', 'alter table shop.orders add column amount bigint', 'alter table shop.orders drop column amount; truncate shop.orders'), propose('0002', 'alter table shop.orders add column amount bigint', 'alter table shop.orders drop column amount; truncate shop.orders');
reset session authorization;
select payload ->> 'version' as version, payload ->> 'login' as login, payload ->> 'replaces' is not null as replaces from sor.agent_events where event_type = 'migration.proposed' order by seq;
delete from sor.migrations where version = '0.1';

-- Approving -------------------------------------------------------------------------------------------------------------
set session authorization migrations_author;
select outcome($$select sor.approve_migration('1')$$), outcome($$select sor.approve_migration('9')$$), outcome($$select sor.approve_migration('x')$$);
set session authorization migrations_approver;
set role sor_operator;
select outcome($$select sor.approve_migration('1')$$);
reset role;
select outcome($$select sor.apply_migration('1')$$);
select outcome($$select sor.approve_migration('1', null, 'deadbeef')$$) ~ '^SR011: the review of migration 0001 reads otherwise now \[Its hash is [0-9a-f]{64}\.\]';
select sor.approve_migration('1', null, sor.review_hash(up, down)) from sor.migrations where version = '0001';
set client_min_messages = error; -- it warns each time
select state('0001'), review_hash = sor.review_hash(up, down) as reviewed, findings, override_up from sor.migrations where version = '0001';
-- a downgrade that loses what was there before is destructive; the upgrade is not
select outcome($$select sor.approve_migration('2')$$);
select outcome(format('select sor.approve_migration(''2'', %L)', o)) from unnest(array['[]', '{}', '{"branch": "b", "backup": "b"}', '{"branch": "b", "backup": " ", "reason": "r"}', '{"branch": "b", "backup": "b", "reason": "r", "x": 1}', '{"branch": "b", "backup": "b", "reason": 1}']) o;
-- a rehearsal of these texts keeps it from warning; of other texts, it is not recorded
select outcome($$select sor.record_rehearsal('2', 'deadbeef', 'b', '{}')$$) ~ '^SR011', outcome($$select sor.record_rehearsal('2', 'x', '', '{}')$$), outcome($$select sor.record_rehearsal('2', 'x', 'b', '[]')$$);
select sor.record_rehearsal('2', checksum, 'sor_rehearsal_7', '{"schema_reversible": true}') is not null from sor.migrations where version = '0002';

select sor.record_rehearsal('1', checksum, 'sor_rehearsal_8', '{"succeeded": false}') is not null from sor.migrations where version = '0001'; -- rehearsed it is not

-- Applying --------------------------------------------------------------------------------------------------------------
set session authorization migrations_runner;
select outcome($$select sor.apply_migration('2')$$), outcome($$select sor.rollback_migration('1')$$), outcome($$select sor.apply_migration('7')$$), outcome($$select sor.apply_migration('1', lock_timeout => '-1 s')$$);
select statement_no, line, command, duration > '0', locks from sor.apply_migration('1');
select outcome($$select sor.apply_migration('1')$$), state('0001');
select applied_by, applied_from, rolled_back_at, fingerprint_before <> fingerprint_after as differs, fingerprint_after = sor.schema_fingerprint() as is_now from sor.migrations where version = '0001';
set session authorization migrations_author;
select propose('0001', 'select 1'), propose('0001', 'create table shop.orders (id int primary key, note text)', 'drop table shop.orders');
-- out of order
select propose('0003', 'insert into shop.orders values (3)', 'select 1'), propose('0000.5', 'comment on schema shop is ''a shop''', '');
set session authorization migrations_approver;
select sor.approve_migration('3') \g /dev/null
set session authorization migrations_runner;
begin;
select outcome($$select sor.apply_migration('3')$$); -- what nobody has approved holds up nothing
rollback;
set session authorization migrations_approver;
select sor.approve_migration('0.5') \g /dev/null
set session authorization migrations_runner;
select outcome($$select sor.apply_migration('3')$$), outcome($$select sor.apply_migration('0.5')$$);
select command from sor.apply_migration('0.5', out_of_order => true);
select command from sor.apply_migration('3', out_of_order => true);
select outcome($$select sor.rollback_migration('0.5')$$), outcome($$select sor.rollback_migration('1')$$);
select count(*) from sor.rollback_migration('0.5', true);
select state('0000.5'), obj_description('shop'::regnamespace);

-- An override is good for one upgrade and one downgrade -----------------------------------------------------------------
set session authorization migrations_approver;
select sor.approve_migration('2', '{"branch": "b7", "backup": "monday", "reason": "asked for"}');
set session authorization migrations_runner;
select command from sor.rollback_migration('3');
select command, locks #- '{0,held_ms}' as locks from sor.apply_migration('2', true);
select command from sor.rollback_migration('2');
select override_up, override_down, override from sor.migrations where version = '0002';
select command from sor.apply_migration('2', true); -- nothing in it is destructive
select outcome($$select sor.rollback_migration('2')$$);
set session authorization migrations_approver;
select outcome($$select sor.approve_migration('2')$$);
select sor.approve_migration('2', '{"branch": "b8", "backup": "tuesday", "reason": "again"}');
set session authorization migrations_runner;
select command from sor.rollback_migration('2');
-- approved while it was applied: the upgrade is still what was reviewed
select command from sor.apply_migration('2', true);

-- so too where the upgrade reads otherwise once it is there
set session authorization migrations_author;
select propose('0005', 'alter table shop.orders alter note type varchar(50)', 'alter table shop.orders alter note type text');
set session authorization migrations_approver;
select sor.approve_migration('5', '{"branch": "b", "backup": "b", "reason": "r"}');
set session authorization migrations_runner;
select command from sor.apply_migration('5', true);
select sor.review_hash(up, down) <> review_hash as reads_otherwise from sor.migrations where version = '0005';
set session authorization migrations_approver;
select sor.approve_migration('5', '{"branch": "b", "backup": "b", "reason": "r"}');
set session authorization migrations_runner;
select command from sor.rollback_migration('5');
select command from sor.apply_migration('5', true);

-- What does something else by now is to be approved again ---------------------------------------------------------------
set session authorization migrations_author;
select propose('0004', 'drop index if exists shop.orders_amount; create index orders_amount on shop.orders (amount)', 'drop index shop.orders_amount');
set session authorization migrations_approver;
select sor.approve_migration('4');
set session authorization migrations_runner;
create unique index orders_amount on shop.orders (amount);
select outcome($$select sor.apply_migration('4', true)$$);
drop index shop.orders_amount;
select count(*) from sor.apply_migration('4', true);

-- Failures leave nothing ------------------------------------------------------------------------------------------------
reset session authorization;
create procedure sneak_in() language plpgsql as 'begin commit; end';
set session authorization migrations_author;
select string_agg(propose(v, t, ''), ' ') from (values
    ('10', E'create table shop.a (i int);\ninsert into shop.a values (1);\ninsert into shop.a\n  values (1 / 0);'),
    ('11', E'create table shop.a ();\nselect 1;\ndo $$ begin create table shop.b (); commit; end $$;'),
    ('12', E'create table shop.a ();\ncall sneak_in();'),
    ('13', E'create table shop.a ();\nselect sor.apply_migration(''14'')'),
    ('14', E'create table shop.a ();\ndo $$ begin perform sor.propose_migration(''15'', ''n'', ''select 1'', null); end $$'),
    ('15', E'create table shop.a ();\nselect * from nowhere;'),
    ('16', E'create table shop.a ();\nalter table sor.runs add column a int;'),
    ('17', E'create table shop.a (i int primary key deferrable initially deferred);\ninsert into shop.a values (1);\ninsert into shop.a values (1);'),
    ('17.1', E'-- sor: role migrations_owner\ncreate table shop.a (i int primary key deferrable initially deferred);\ninsert into shop.a values (1);\ninsert into shop.a values (1);'),
    ('18', E'-- sor: role nobody_of_this_name\nselect 1'),
    ('19', E'-- sor: role migrations_approver\nselect 1'),
    ('20', E'-- sor: role migrations_owner\ncreate table shop.a ();\nset role migrations_runner;')) t(v, t);
set session authorization migrations_approver;
select sor.approve_migration(version, '{"branch": "b", "backup": "b", "reason": "r"}') from sor.migration_status() where version::numeric between 10 and 20 \g /dev/null
set session authorization migrations_runner;
select version, outcome(format('select sor.apply_migration(%L, true)', version)), state(version) from sor.migration_status() where version::numeric between 10 and 20 and version <> '17';
-- a constraint that is deferred is looked at when the caller's transaction commits
begin;
select count(*) from sor.apply_migration('17', true);
commit;
-- where a role was named, at its end, as that role
select count(*) from sor.apply_migration('17.1', true);
select state('17'), to_regclass('shop.a'), to_regclass('shop.b');
-- within a migration constraints may be deferred, whoever it runs as
set session authorization migrations_author;
select propose('22', s, '') from (values (E'create table shop.put_off (i int primary key deferrable initially deferred);\ninsert into shop.put_off values (1);\ninsert into shop.put_off values (1);\nupdate shop.put_off set i = 2 where ctid = ''(0,1)'';')) t(s);
select propose('22.1', E'-- sor: role migrations_owner\n' || replace(up, 'put_off', 'put_off_too'), '') from sor.migrations where version = '22';
select propose('23', E'select 1;\nselect 1 / length(' || quote_literal(repeat('long ', 10000)) || ') - 1 / 0', '');
set session authorization migrations_approver;
select sor.approve_migration('22'), sor.approve_migration('22.1'), sor.approve_migration('23') \g /dev/null
set session authorization migrations_runner;
select command from sor.apply_migration('22', true);
select command from sor.apply_migration('22.1', true);
-- an error's context quotes the statement, but not all of a long one, and still says where it was
select outcome($$select sor.apply_migration('23', true)$$), context_length($$select sor.apply_migration('23', true)$$) between 100 and 5000 as is_short;
select sor.migration_failed('10', 'up', '{"sqlstate": "22012"}'), outcome($$select sor.migration_failed('10', 'sideways', '{}')$$), outcome($$select sor.migration_failed('10', 'up', '1')$$);
-- a right that was lost between approval and application
set session authorization migrations_author;
select propose('21', 'insert into shop.orders values (21)', '');
set session authorization migrations_approver;
select sor.approve_migration('21');
reset session authorization;
alter table shop.orders owner to migrations_owner;
revoke migrations_owner from migrations_runner;
set session authorization migrations_runner;
select outcome($$select sor.apply_migration('21', true)$$), state('21');
reset session authorization;
grant migrations_owner to migrations_runner;
alter table shop.orders owner to migrations_runner;

-- What a migration leaves in its session is undone ----------------------------------------------------------------------
set session authorization migrations_author;
select propose('30', E'set search_path = shop;\ncreate table found_there (i int);\nset lock_timeout = ''1min'';\nset local statement_timeout = ''1min'';\nset time zone ''Asia/Tokyo'';\n'
    'create temp table left_over (i int);\ncreate temp view left_view as select * from left_over;\ncreate temp table gone (i int) on commit drop;\ncreate temp sequence left_sequence;\n'
    'declare c cursor with hold for select 1;\nset role migrations_owner;\ncreate table by_another (i int);\nreset role;\ncreate table by_caller (i int);', '');
select propose('31', E'-- sor: role migrations_owner\ncreate table shop.by_owner (who name default current_user);\ninsert into shop.by_owner default values;\ncreate temp table left_over as select 1;', 'drop table shop.by_owner');
set session authorization migrations_approver;
select sor.approve_migration('30'), sor.approve_migration('31', '{"branch": "b", "backup": "b", "reason": "r"}') \g /dev/null
set session authorization migrations_runner;
create temp table mine (i int);
set lock_timeout = '7s';
select count(*) from sor.apply_migration('30', true);
select current_setting('search_path'), current_setting('lock_timeout'), current_setting('statement_timeout'), current_setting('timezone') = 'Asia/Tokyo' as tokyo, current_user;
select relname from pg_class where relnamespace = pg_my_temp_schema();
select name from pg_cursors where is_holdable;
select relname, pg_get_userbyid(relowner) from pg_class where relnamespace = 'shop'::regnamespace and relname in ('found_there', 'by_another', 'by_caller') order by 1;
select count(*) from sor.apply_migration('31', true);
select who, pg_get_userbyid(relowner) from shop.by_owner, pg_class where oid = 'shop.by_owner'::regclass;
select current_user, relname from pg_class where relnamespace = pg_my_temp_schema();
reset lock_timeout;
-- names are found as in a session that has just begun, whatever this one has set since
set session authorization migrations_author;
select propose('32', 'create table where_is_it (i int)', 'drop table where_is_it');
set session authorization migrations_approver;
select sor.approve_migration('32', '{"branch": "b", "backup": "b", "reason": "r"}');
reset session authorization;
create schema elsewhere authorization migrations_runner;
grant create on schema public to migrations_runner;
set session authorization migrations_runner;
set search_path = elsewhere;
select count(*) from sor.apply_migration('32', true);
reset search_path;
select oid::regclass from pg_class where relname = 'where_is_it';

-- Somebody who can change any row ---------------------------------------------------------------------------------------
set session authorization migrations_author;
select propose('40', 'create table shop.good ()', '');
set session authorization migrations_approver;
select sor.approve_migration('40');
reset session authorization;
begin;
update sor.migrations set up = 'create table shop.evil ()' where version = '40';
set session authorization migrations_runner;
select outcome($$select sor.apply_migration('40', true)$$), state('40');
rollback;
begin;
update sor.migrations m set up = 'create table shop.evil ()', checksum = encode(sha256(int8send(25) || 'create table shop.evil ()'::bytea || int8send(0)), 'hex'),
    review_hash = sor.review_hash('create table shop.evil ()', '') where version = '40';
set session authorization migrations_runner;
select outcome($$select sor.apply_migration('40', true)$$);
rollback;
begin;
update sor.migrations set proposed_by = 'postgres', approved_by = 'somebody' where version = '40';
set session authorization migrations_runner;
select outcome($$select sor.apply_migration('40', true)$$);
rollback;
begin;
update sor.migrations set approved_by = 'migrations_approver', review_hash = sor.review_hash(up, down), findings = '{}', approval_seq = 1 where version = '10';
set session authorization migrations_runner;
select outcome($$select sor.apply_migration('10', true)$$);
rollback;
-- nobody else can
set session authorization migrations_runner;
select outcome('update sor.migrations set up = up'), outcome('insert into sor.rehearsals select * from sor.rehearsals'), outcome('delete from sor.migrations');
select count(*) from sor.apply_migration('40', true);

-- By force: a superuser whose session has the guard off -----------------------------------------------------------------
reset session authorization;
select sor.propose_migration('41', 'by force', 'drop table shop.good', 'create table shop.good ()') is not null;
select outcome($$select sor.apply_migration('41', true)$$);
set sor.drop_guard = off;
select command from sor.apply_migration('41', true);
select command from sor.rollback_migration('41', true);
reset sor.drop_guard;
select event_type, payload -> 'forced' as forced, payload ->> 'approved_by' as approved_by from sor.agent_events where payload ->> 'version' = '41' order by seq;

-- Step by step ----------------------------------------------------------------------------------------------------------
set session authorization migrations_author;
select propose('50', E'create table shop.stock (i int);\ncreate index concurrently stock_i on shop.stock (i);\n\ninsert into shop.stock values (1);\nvacuum shop.stock;', 'drop index concurrently shop.stock_i; drop table shop.stock;');
select * from sor.migration_steps('50');
select * from sor.migration_steps('50', 'down');
select outcome($$select sor.migration_steps('2', 'x')$$), outcome($$select sor.migration_steps('99')$$);
set session authorization migrations_approver;
select sor.approve_migration('50');
set session authorization migrations_runner;
select outcome($$select sor.apply_migration('50', true)$$);
select outcome($$select sor.run_migration_step('50', 'up', 1, true)$$), outcome($$select sor.finish_migration_step('50', 'up', 2)$$);
select sor.begin_migration_step('50', 'up', 2, true);
select sor.lock_migrations();
select outcome($$select sor.run_migration_step('50', 'up', 2, true)$$), outcome($$select sor.run_migration_step('50', 'up', 5, true)$$), outcome($$select sor.run_migration_step('50', 'up', 0, true)$$), outcome($$select sor.run_migration_step('50', 'down', 2)$$);
select sor.begin_migration_step('50', 'up', 1, true);
select outcome($$select sor.finish_migration_step('50', 'up', 1)$$);
select command from sor.run_migration_step('50', 'up', 1, true);
select outcome($$select sor.begin_migration_step('50', 'up', 2, true)$$);
select state('50'), outcome($$select sor.apply_migration('50', true)$$), outcome($$select sor.apply_migration('15', true)$$), outcome($$select sor.approve_migration('50')$$);
select outcome($$select sor.run_migration_step('50', 'up', 1, true)$$), outcome($$select sor.run_migration_step('50', 'up', 2, true)$$), outcome($$select sor.finish_migration_step('50', 'up', 2)$$);
set session authorization migrations_author;
select propose('50', 'select 1'), propose('50', E'create table shop.stock (i int);\ncreate index concurrently stock_i on shop.stock (i);\n\ninsert into shop.stock values (1);\nvacuum shop.stock;', 'drop index concurrently shop.stock_i; drop table shop.stock;');
set session authorization migrations_runner;
select * from sor.begin_migration_step('50', 'up', 2, true);
select regexp_replace(state('50'), 'began at \S+', 'began at …'), outcome($$select sor.finish_migration_step('50', 'up', 2)$$);
create index concurrently stock_i on shop.stock (i);
-- interrupted just here, it would not be made again
select * from sor.begin_migration_step('50', 'up', 2, true);
select sor.finish_migration_step('50', 'up', 2, '2 s');
select command from sor.run_migration_step('50', 'up', 3);
select * from sor.begin_migration_step('50', 'up', 4);
vacuum shop.stock;
select sor.finish_migration_step('50', 'up', 4);
select state('50'), duration > '2 s' as of_all_steps, fingerprint_before <> fingerprint_after as differs, fingerprint_after = sor.schema_fingerprint() as is_now, progress from sor.migrations where version = '50';
select * from sor.begin_migration_step('50', 'down', 1);
drop index concurrently shop.stock_i;
select cleanup, statement from sor.begin_migration_step('50', 'down', 1);
select sor.finish_migration_step('50', 'down', 1);
select state('50'), done from sor.migration_steps('50', 'down');
select command from sor.run_migration_step('50', 'down', 2);
select state('50'), sor.unlock_migrations();
select sor.unlock_migrations();
-- half applied, it can be rolled back in one transaction too
set session authorization migrations_author;
select propose('51', E'create table shop.half (i int);\ncreate index concurrently half_i on shop.half (i);', 'drop table if exists shop.half;');
set session authorization migrations_approver;
select sor.approve_migration('51');
set session authorization migrations_runner;
select sor.lock_migrations();
select command from sor.run_migration_step('51', 'up', 1, true);
select command from sor.rollback_migration('51');
select state('51'), to_regclass('shop.half'), sor.unlock_migrations();

-- What the statements of a migration are allowed ------------------------------------------------------------------------
reset session authorization;
create table shop.ledger (tenant_id uuid primary key, note text);
alter table shop.ledger owner to migrations_runner;
select sor.protect_tenant('shop.ledger');
set session authorization migrations_author;
select propose('60', 'alter table shop.ledger add column memo text', 'alter table shop.ledger drop column memo'),
       propose('61', 'do $$ declare part text := ''note''; begin execute format(''alter table shop.ledger drop column %I'', part); end $$', ''),
       propose('62', 'alter table shop.ledger drop column note', '');
set session authorization migrations_approver;
select sor.approve_migration('60'), sor.approve_migration('61') \g /dev/null
select outcome($$select sor.approve_migration('60')$$), outcome($$select sor.approve_migration('62')$$);
set session authorization migrations_runner;
select outcome('alter table shop.ledger drop column note');
select command from sor.apply_migration('60', true);
select command from sor.rollback_migration('60', true);
select outcome($$select sor.apply_migration('61', true)$$);
set session authorization migrations_approver;
select sor.approve_migration('61', '{"branch": "b", "backup": "b", "reason": "r"}');
set session authorization migrations_runner;
select command from sor.apply_migration('61', true);
select outcome('alter table shop.ledger drop column tenant_id');

-- The record ------------------------------------------------------------------------------------------------------------
reset session authorization;
select version, state, rehearsed, detail from sor.migration_status();
select string_agg(replace(event_type, 'migration.', ''), ' ' order by seq) from sor.agent_events where event_type like 'migration.%' and payload ->> 'version' = '50';
select payload - '{checksum,client_address,application_name,fingerprint_before,fingerprint_after,us,report,review}'::text[] as applied, jsonb_array_length(payload -> 'report')
  from sor.agent_events where event_type = 'migration.applied' and payload ->> 'version' = '0002' order by seq limit 1;
select substring(narrative from 'UTC\S*: (.*)') as narrative from sor.what_happened('00000000-0000-0000-0000-000000000000', '-infinity', 'infinity') where narrative ~ 'migration (0002|10|41|50) ' limit 12;
select first_bad from sor.verify_events('00000000-0000-0000-0000-000000000000');
-- a session that was refused, or failed, is as it was
select current_user = session_user as oneself, sor.lock_migrations(), sor.unlock_migrations();

set sor.drop_guard = off;
drop schema shop, elsewhere cascade;
drop owned by migrations_author, migrations_approver, migrations_runner, migrations_owner;
drop role migrations_author, migrations_approver, migrations_runner, migrations_owner;
