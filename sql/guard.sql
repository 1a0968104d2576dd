-- guard: what it says, what a migration that was approved lets through, and what not even that. What is refused in which way of
-- running SQL, and what stays possible, is in t/28_guard.t.
set client_min_messages = warning;
-- in a database of its own: its migrations stay, and it changes what is guarded
select current_database() as here, current_user as superuser \gset
drop database if exists sor_guard;
create database sor_guard;
\c sor_guard
set client_min_messages = warning;
create extension sor;
\pset format unaligned
create role guard_author login in role sor_operator;
create role guard_approver login in role sor_operator;
create role guard_owner login in role sor_operator;
create schema guarded authorization guard_owner;
grant usage, create on schema guarded to public;
create function guarded.outcome(statement text) returns text language plpgsql as $$
declare m text; d text; h text;
begin
    execute statement;
    return 'done';
exception when others then
    get stacked diagnostics m = message_text, d = pg_exception_detail, h = pg_exception_hint;
    return sqlstate || ': ' || m || coalesce(' [' || nullif(d, '') || ']', '') || coalesce(' {' || nullif(h, '') || '}', '');
end $$;

-- What it says ----------------------------------------------------------------------------------------------------------
set session authorization guard_owner;
set search_path = guarded;
create type mood as enum ('good', 'poor');
create domain code as text constraint short check (length(value) < 9);
create table suppliers (id int primary key);
create table orders (tenant_id uuid, id int, note varchar(20), m mood, c code, supplier int references suppliers, primary key (tenant_id, id));
create index orders_note on orders (note);
create table log (tenant_id uuid, id int);
create table parent (tenant_id uuid, id int) partition by list (id);
create table part partition of parent for values in (1);
create table jobs (tenant_id uuid, id int, primary key (tenant_id, id));
create table loose (tenant_id uuid not null, id int, primary key (tenant_id, id));
create view shown as select id from loose;
alter table loose enable row level security, force row level security;
select sor.protect_tenant('orders'), sor.protect_append_only('log'), sor.protect_tenant('part') \g /dev/null
drop table orders;
drop type mood cascade;
drop domain code;
drop table suppliers cascade;
drop table log;
drop table parent;
alter table orders alter note type varchar(5);
alter table orders rename note to remark;
alter table orders no force row level security;
create policy everything on orders using (true);
alter table log disable trigger user;
truncate orders;
drop schema guarded cascade;
drop owned by guard_owner;
drop table sor.runs;
reset session authorization;
drop table guarded.orders;
drop extension sor cascade;
alter event trigger sor_drop_guard disable;

-- What is registered ----------------------------------------------------------------------------------------------------
-- by name alone, where nothing else of sor's is on the table
revoke sor_operator from guard_owner;
select guarded.outcome('drop table guarded.jobs');
create table guarded.jobs (tenant_id uuid, id int, primary key (tenant_id, id));
alter table guarded.jobs owner to guard_owner;
set sor.drop_guard = off;
select sor.register_table('guarded.loose', '{id}');
drop trigger if exists sor_refuse_truncate on guarded.loose;
reset sor.drop_guard;
set session authorization guard_owner;
drop table guarded.loose;
drop view guarded.shown;
reset session authorization;
grant sor_operator to guard_owner;

-- A type that a composite, an array and a domain carry into a table -------------------------------------------------------
set session authorization guard_owner;
create type guarded.inner_one as (a int, b int);
create domain guarded.outer_one as guarded.inner_one[];
create type guarded.outer_two as (o guarded.outer_one);
alter table guarded.orders add deep guarded.outer_two;
alter type guarded.inner_one drop attribute b;
create type guarded.nowhere as (a int, b int);
alter type guarded.nowhere drop attribute b;
drop type guarded.nowhere;

-- Migrations ------------------------------------------------------------------------------------------------------------
create function guarded.propose(version text, up text, down text) returns text language sql as
$$ select guarded.outcome(format('select sor.propose_migration(%L, %L, %L, %L)', version, 'migration ' || version, up, down)) $$;
-- what the review calls safe: an addition, and its downgrade, which drops what the upgrade made
set session authorization guard_author;
select guarded.propose('0001', 'alter table guarded.orders add column notes text', 'alter table guarded.orders drop column notes');
set session authorization guard_approver;
select guarded.outcome($$select sor.approve_migration('0001')$$);
set session authorization guard_owner;
select statement_no, command from sor.apply_migration('0001');
select guarded.outcome('alter table guarded.orders drop column notes');
select statement_no, command from sor.rollback_migration('0001');
select count(*) from pg_attribute where attrelid = 'guarded.orders'::regclass and attname = 'notes';
select statement_no, command from sor.apply_migration('0001');

-- what it calls destructive needs an override, for which the guard then makes way, hidden statements included
set session authorization guard_author;
select guarded.propose('0002', 'alter table guarded.orders drop column note', 'alter table guarded.orders add column note varchar(20)');
select guarded.propose('0003', 'do $do$ begin execute ''alter table guarded.orders dr'' || ''op column notes''; end $do$', 'alter table guarded.orders add column notes text');
select guarded.propose('0004', 'select guarded.outcome(''truncate guarded.orders''); truncate guarded.orders', '');
set session authorization guard_approver;
select guarded.outcome($$select sor.approve_migration('0002')$$);
select guarded.outcome($$select sor.approve_migration('0002', '{"branch": "copy", "backup": "2026-11-20", "reason": "moved"}')$$);
select guarded.outcome($$select sor.approve_migration('0003')$$);
set session authorization guard_owner;
select statement_no, command from sor.apply_migration('0002');
-- what is put together as it runs is opaque: approved as it reads, it may not hide this
select guarded.outcome($$select sor.apply_migration('0003')$$);
set session authorization guard_approver;
select guarded.outcome($$select sor.approve_migration('0003', '{"branch": "copy", "backup": "2026-11-20", "reason": "moved"}')$$), guarded.outcome($$select sor.approve_migration('0004', '{"branch": "copy", "backup": "2026-11-20", "reason": "emptied"}')$$);
set session authorization guard_owner;
select statement_no, command from sor.apply_migration('0003');
select statement_no, command from sor.apply_migration('0004');
-- and nothing is left open behind it
select guarded.outcome('truncate guarded.orders'), guarded.outcome('alter table guarded.orders drop column id');

-- a step outside of a transaction: its own text, once, and nothing else
set session authorization guard_owner;
create unique index orders_once on guarded.orders (tenant_id, supplier);
set session authorization guard_author;
select guarded.propose('0004.1', 'drop index concurrently guarded.orders_once', 'create unique index concurrently orders_once on guarded.orders (tenant_id, supplier)');
set session authorization guard_approver;
select guarded.outcome($$select sor.approve_migration('0004.1', '{"branch": "copy", "backup": "2026-11-20", "reason": "no longer once"}')$$);
set session authorization guard_owner;
select sor.lock_migrations();
select * from sor.begin_migration_step('0004.1', 'up', 1);
select guarded.outcome('drop index guarded.orders_once');
drop index concurrently guarded.orders_once\g
select sor.finish_migration_step('0004.1', 'up', 1);
create unique index orders_once on guarded.orders (tenant_id, supplier);
drop index concurrently guarded.orders_once\g
drop index concurrently guarded.orders_once;
select sor.unlock_migrations();

-- A name without a schema means in a downgrade, and in a later step, what it meant in the upgrade -------------------------
reset session authorization;
create schema elsewhere authorization guard_owner;
grant create on schema public to guard_owner;
set session authorization guard_owner;
create table elsewhere.gadgets (tenant_id uuid, id int);
create table elsewhere.staged (tenant_id uuid, id int, note text);
select sor.protect_tenant('elsewhere.gadgets'), sor.protect_tenant('elsewhere.staged') \g /dev/null
set session authorization guard_author;
select guarded.propose('0004.2', 'create table gadgets (id int)', 'drop table gadgets');
select guarded.propose('0004.3', 'create table staged (id int, note text); create index concurrently staged_id on staged (id); alter table staged drop column note', '');
set session authorization guard_approver;
select guarded.outcome($$select sor.approve_migration('0004.2')$$), guarded.outcome($$select sor.approve_migration('0004.3')$$);
reset session authorization;
\connect - guard_owner
select command from sor.apply_migration('0004.2');
select sor.lock_migrations();
select command from sor.run_migration_step('0004.3', 'up', 1);
select statement from sor.begin_migration_step('0004.3', 'up', 2) \g /dev/null
create index concurrently staged_id on staged (id)\g
select sor.finish_migration_step('0004.3', 'up', 2);
select sor.unlock_migrations();
alter role guard_owner set search_path = elsewhere, public;
\connect - guard_owner
select sor.lock_migrations();
select guarded.outcome($$select sor.run_migration_step('0004.3', 'up', 3)$$);
select sor.unlock_migrations();
alter role guard_owner reset search_path;
\connect - guard_owner
select sor.lock_migrations();
select command from sor.run_migration_step('0004.3', 'up', 3);
select sor.unlock_migrations();
-- whatever kind of thing it names
\connect - guard_author
select guarded.propose('0004.3.1', 'create type gadget as enum (); create domain gadget_no as int; create function gadgets() returns int language sql as ''select 1''; create view gadget_view as select 1 as one; create sequence gadget_seq',
    'drop view gadget_view; drop type gadget; drop domain gadget_no; drop function gadgets(); drop sequence if exists gadget_seq');
\connect - guard_approver
select guarded.outcome($$select sor.approve_migration('0004.3.1')$$);
\connect - guard_owner
select count(*) from sor.apply_migration('0004.3.1');
select count(*) from sor.rollback_migration('0004.3.1');
-- one that is gone gives way to none behind it
alter table public.gadgets rename to no_more;
alter role guard_owner set search_path = public, elsewhere;
\connect - guard_owner
select guarded.outcome($$select sor.rollback_migration('0004.2', true)$$);
alter table public.no_more rename to gadgets;
select command from sor.rollback_migration('0004.2', true);
select to_regclass('elsewhere.gadgets') is not null as kept, to_regclass('public.gadgets') as dropped;
alter role guard_owner reset search_path;

-- What CASCADE would take from tables that were there before ---------------------------------------------------------------
\connect - guard_author
select guarded.propose('0004.4', 'create domain guarded.word as text; create schema made; create type made.kind as enum (); create table made.things (tenant_id uuid, kind made.kind); select sor.protect_tenant(''made.things'')', 'drop domain guarded.word cascade; drop schema made cascade');
\connect - guard_approver
select guarded.outcome($$select sor.approve_migration('0004.4')$$);
\connect - :superuser
grant create on database sor_guard to guard_owner;
\connect - guard_owner
set client_min_messages = warning;
select command from sor.apply_migration('0004.4');
begin;
alter table elsewhere.staged alter note type guarded.word;
select guarded.outcome($$select sor.rollback_migration('0004.4')$$);
rollback;
select command from sor.rollback_migration('0004.4');

-- What is no command: isolation by another column, and another place behind a partition -----------------------------------
create table elsewhere.two (tenant_id uuid, other uuid);
create table elsewhere.spread (tenant_id uuid, id int) partition by list (id);
select sor.protect_tenant('elsewhere.two'), sor.protect_tenant('elsewhere.two'), sor.protect_tenant('elsewhere.spread') \g /dev/null
select guarded.outcome($$select sor.protect_tenant('elsewhere.two', 'other')$$);
create table elsewhere.spread_2 partition of elsewhere.spread for values in (2);
\connect - :superuser
set client_min_messages = warning;
create foreign data wrapper guard_wrapper;
create server guard_server foreign data wrapper guard_wrapper;
grant usage on foreign server guard_server to guard_owner;
\connect - guard_owner
create foreign table elsewhere.far partition of elsewhere.spread for values in (1) server guard_server options (place 'here');
alter foreign table elsewhere.far options (set place 'nowhere');

-- a text that is let through is the migration's where its names are
\connect - guard_author
select guarded.propose('0004.5', 'create table spread (id int) partition by list (id); create table spread_2 partition of spread for values in (2); alter table spread detach partition spread_2 concurrently', '');
\connect - guard_approver
select guarded.outcome($$select sor.approve_migration('0004.5', '{"branch": "copy", "backup": "2026-11-20", "reason": "apart"}')$$);
\connect - guard_owner
select sor.lock_migrations();
select command from sor.run_migration_step('0004.5', 'up', 1);
select statement from sor.begin_migration_step('0004.5', 'up', 2) \g /dev/null
set search_path = elsewhere;
alter table spread detach partition spread_2 concurrently\g
reset search_path;
alter table spread detach partition spread_2 concurrently\g
select sor.finish_migration_step('0004.5', 'up', 2);
select sor.unlock_migrations();

-- an override is for the table that was approved, and a header's role changes no name
create table public.lists (id int, note text);
create table elsewhere.lists (tenant_id uuid, note text);
create table public.words (note varchar(10));
select sor.protect_tenant('elsewhere.lists') \g /dev/null
\connect - :superuser
create role guard_maker;
create schema guard_maker authorization guard_maker;
set role guard_maker;
create table guard_maker.words (note text);
reset role;
alter table public.words owner to guard_maker;
grant guard_maker to guard_owner;
alter role guard_author set search_path = public, elsewhere;
alter role guard_approver set search_path = public, elsewhere;
\connect - guard_author
select guarded.propose('0004.6', 'alter table lists drop column note', 'alter table lists add column note text');
select guarded.propose('0004.7', e'-- sor: role guard_maker\nalter table words alter note type varchar(20)', '');
\connect - guard_approver
select guarded.outcome($$select sor.approve_migration('0004.6', '{"branch": "copy", "backup": "2026-11-20", "reason": "apart"}')$$), guarded.outcome($$select sor.approve_migration('0004.7')$$);
\connect - guard_owner
alter role guard_owner set search_path = elsewhere, public;
\connect - guard_owner
select guarded.outcome($$select sor.apply_migration('0004.6', true)$$);
alter role guard_owner set search_path = public, elsewhere;
\connect - guard_owner
begin;
alter table public.lists rename to no_lists;
select guarded.outcome($$select sor.apply_migration('0004.6', true)$$);
rollback;
select command from sor.apply_migration('0004.6', true);
alter role guard_owner reset search_path;
select command from sor.apply_migration('0004.7', true);
select attrelid::regclass, format_type(atttypid, atttypmod) from pg_attribute where attrelid in ('public.words'::regclass, 'guard_maker.words'::regclass) and attname = 'note' order by 1::text;

-- who comes upon an approval in what others made has given none
\connect - guard_author
select guarded.propose('0004.8', 'alter table guarded.orders add column more int', 'alter table guarded.orders drop column more');
create view guarded.approve_migration as select guarded.outcome('select sor.approve_migration(''0004.8'')');
grant select on guarded.approve_migration to guard_approver;
\connect - guard_approver
select * from guarded.approve_migration;
select SOR . "approve_migration" ('0004.8') \g /dev/null
\connect - guard_owner
select command from sor.apply_migration('0004.8');
\connect - :superuser
set client_min_messages = warning;
drop view guarded.approve_migration;

-- sor's own tables are beyond any migration
\connect - :superuser
set client_min_messages = warning;
\pset format unaligned
set session authorization guard_author;
select guarded.propose('0005', 'alter table sor.tenants disable row level security', '');
set session authorization guard_approver;
select guarded.outcome($$select sor.approve_migration('0005', '{"branch": "copy", "backup": "2026-11-20", "reason": "no"}')$$);
reset session authorization;
select guarded.outcome($$select sor.apply_migration('0005')$$);

-- Coverage --------------------------------------------------------------------------------------------------------------
select guarded.outcome($$select sor.set_drop_guard('everything')$$), guarded.outcome($$select sor.set_drop_guard(null)$$);
select coverage from sor.drop_guard();
set session authorization guard_owner;
create table guarded.free (id int primary key, note text);
insert into guarded.free values (1, 'kept');
select guarded.outcome($$select sor.set_drop_guard('database')$$);
select coverage, preloaded from sor.drop_guard();
select guarded.outcome('drop table guarded.free'), guarded.outcome('truncate guarded.free'), guarded.outcome('drop view guarded.shown');
create index free_note on guarded.free (note);
drop index guarded.free_note;
select guarded.outcome($$select sor.set_drop_guard('protected')$$);
drop table guarded.free;
reset session authorization;
select payload from sor.agent_events where event_type = 'migration.guard_set' order by id;

-- Force -----------------------------------------------------------------------------------------------------------------
set sor.drop_guard = off;
set session authorization guard_owner;
show sor.drop_guard;
select guarded.outcome('drop table guarded.log'), guarded.outcome('set sor.drop_guard = off');
reset session authorization;
begin;
savepoint s;
drop table guarded.log;
rollback to s;
drop table guarded.jobs, guarded.orders;
commit;
select payload - 'login' from sor.agent_events where event_type = 'migration.guard_bypassed' order by id desc limit 1;
drop foreign data wrapper guard_wrapper cascade;
drop schema guarded, elsewhere, guard_maker cascade;
drop owned by guard_author, guard_approver, guard_owner, guard_maker;
\c :here
drop database sor_guard;
drop role guard_author, guard_approver, guard_owner, guard_maker;
