-- review: the review of schema changes. What each rule warns of is in its own example.
set client_min_messages = warning;
create extension if not exists sor;
set sor.drop_guard = off; -- tampers with what is guarded, and drops it at the end
\pset format unaligned

-- what exists before the migrations that are reviewed
create type order_status as enum ('new', 'sent');
create type address as (street text, city text);
create domain email as text constraint not_empty check (value <> '');
create table customers (id bigint primary key, name text not null);
create table orders (id bigint primary key, customer_id bigint not null references customers, amount int constraint amount_present check (amount is not null),
    note text, code varchar(20), rate numeric(8,2), at timestamptz(3), status order_status, total int generated always as (1) stored);
create index orders_note_idx on orders (note);
create unique index orders_code_idx on orders (code);
create table events (at timestamptz not null, kind text) partition by range (at);
create table visits (at timestamptz not null) partition by range (at);
create table visits_rest partition of visits default;
create view open_orders as select id from orders;
create view sent_orders as select id from orders where status = 'sent';
create materialized view order_totals as select sum(amount) from orders;
create sequence order_number;
create function stamp() returns trigger language plpgsql as 'begin return new; end';
create trigger stamp before update on orders for each row execute function stamp();
create trigger always before insert on orders for each row execute function stamp();
alter table orders enable always trigger always;
create policy own_orders on orders using (note = current_user);
create table accounts (tenant_id uuid, id int, primary key (tenant_id, id));
select sor.protect_append_only('accounts');

-- one line for each finding
create function findings(up text, down text default null) returns setof text language sql as $$
    select format('%s%s:%s %s %s', left(direction, 1), statement_no, coalesce(line::text, '-'), severity, rule)
      from sor.review_migration(up, down) where rule <> 'missing-downgrade'
$$;

-- Rules -----------------------------------------------------------------------------------------------------------------
select count(*) >= 60 as enough, count(*) = count(distinct rule) as distinct_ids, bool_and(rule ~ '^[a-z]+(-[a-z]+)*$') as are_nouns,
       bool_and(hazard <> '' and hazard !~ '[{}]'), bool_and((safer is null) = (severity = 'safe')) as safer_is_said from sor.migration_rules();
select severity, count(*) from sor.migration_rules() group by severity order by severity;
select rule from sor.migration_rules() where example is null;
create temp view examples as
select rule, severity, split_part(example, ' -- downgrade: ', 1) as up, nullif(split_part(example, ' -- downgrade: ', 2), '') as down, safer
  from sor.migration_rules() where example is not null;
-- an example that does not yield its rule, or not with its severity
select rule, up, array(select findings(up, down)) from examples e
 where not exists (select from sor.review_migration(up, down) r where r.rule = e.rule and r.severity = e.severity);
-- a hazard that its example does not print
select e.rule, m.hazard from examples e join sor.migration_rules() m using (rule)
 where not exists (select from sor.review_migration(up, down) r where r.rule = e.rule and r.detail like replace(m.hazard, '\', '\\') || '%')
   and e.rule not in ('unknown-statement', 'copy-data');
-- something safer that is no SQL, or not safer
select rule, safer, array(select findings(safer)) from examples e where safer ~ ';$'
   and exists (select from sor.review_migration(safer) r where r.rule in (e.rule, 'syntax-error', 'unknown-statement'));

-- Objects of the migration itself ---------------------------------------------------------------------------------------
select findings('create table t (id serial primary key, a int); create index on t (a); alter table t add column b int not null, alter a type bigint, add check (a > 0), drop column b;
    alter table t add foreign key (a) references orders; update t set a = 1; delete from t; truncate t; alter table t rename to u; drop table u;');
-- not its own: another schema, taken back, dropped and made anew by somebody else, what exists already
select findings('create table t (id int); drop table other.t; set search_path = other; drop table t;');
select findings('begin; create table t (id int); rollback; drop table t;');
select findings('create table t (id int); drop table t; alter table orders rename to t; drop table t;');
select findings('create table if not exists orders (id int); drop table orders;');
select findings('create schema s; alter table orders set schema s; drop schema s cascade;');
select findings('create table t (at timestamptz) partition by range (at); alter table t attach partition events for values from (minvalue) to (maxvalue); drop table t;');
select findings('create table orders (id int); alter table orders add column note text; drop table public.orders; alter table customers add column name text; alter table public.customers drop column name;');
select findings('create table t (id int); create index on public.t (id); drop table public.t; alter table orders add column b int; alter table public.orders drop column b;');
select findings('create temp table orders (id int); delete from orders; drop table pg_temp.orders; drop table orders;');
select findings('create function f(int) returns int language sql as ''select 1''; drop function f(text); drop function f(int); drop function f;');
select findings('alter table orders add column b int; alter table orders drop column b; alter table orders drop column b;');
select findings('select set_config(''search_path'', '''', false); create table public.t (id int); create index on public.t (id); drop table t;');

-- What the catalog knows ------------------------------------------------------------------------------------------------
select type, r.severity, r.rule from unnest('{varchar(30),varchar(10),varchar,text,int,"char(20)"}'::text[]) type, sor.review_migration(format('alter table orders alter code type %s', type)) r where direction = 'up';
select type, r.severity, r.rule from unnest('{"numeric(10,2)","numeric(10,4)","numeric(8,4)","numeric(8,0)",numeric,int}'::text[]) type, sor.review_migration(format('alter table orders alter rate type %s', type)) r where direction = 'up';
select type, r.severity, r.rule from unnest('{timestamptz,timestamptz(6),timestamptz(0),timestamp,date,text}'::text[]) type, sor.review_migration(format('alter table orders alter at type %s', type)) r where direction = 'up';
select type, r.severity, r.rule from unnest('{int,smallint,numeric,real,double precision,text}'::text[]) type, sor.review_migration(format('alter table orders alter id type %s', type)) r where direction = 'up';
select findings('alter table orders alter code type text using upper(code); alter table nowhere alter code type text; alter table orders alter code type text using code::text;');
select findings('alter table orders add column b timestamptz default now(); alter table orders add column c timestamptz default clock_timestamp();
    alter table orders add column d uuid default unknown_function(); alter table orders add column e text default lower(''X'') || current_user; alter table orders add column f text default null not null;');
select findings('alter table orders alter amount set not null; alter table orders alter note set not null;');
select findings('drop index orders_code_idx; drop index concurrently orders_note_idx; alter table orders enable trigger stamp; alter table orders enable trigger always;');
select findings('create index concurrently on events (at); create view open_orders as select 1; create or replace view new_view as select 1; create or replace function new_function() returns int language sql as ''select 1'';');
analyze orders;
insert into customers select n, 'c' from generate_series(1, 1000) n;
analyze customers;
select detail from sor.review_migration('drop table customers') where direction = 'up';

-- Statements within statements --------------------------------------------------------------------------------------------
select findings('with gone as (delete from orders returning id) select * from gone;');
select findings('insert into customers select id, fix(note) from orders; select (select setval(''order_number'', 1)); explain analyze delete from orders; explain delete from orders;');
select findings('prepare p as delete from orders where id = $1; execute p(1); create table t as execute p; declare c cursor for select fix();');
select findings('create schema s create table t (id int) create index on t (id); copy (select fix()) to stdout;');
select findings('delete from orders where true; delete from orders where 1 = 1 or id = 2; delete from orders where id = id; update orders set note = '''' where not false; delete from orders where id = 1;');
select findings('select ''; drop table orders; --''; select $x$ drop table orders; $x$; select 1 /* ; drop table orders */;');

-- Transactions ------------------------------------------------------------------------------------------------------------
select findings('begin; alter table orders add constraint c check (id > 0) not valid; commit; alter table orders validate constraint c;');
select findings('alter table orders add check (id > 0) not valid; alter table orders validate constraint orders_id_check;');
select findings('begin; create index concurrently i on orders (id); drop index concurrently orders_note_idx; reindex table concurrently orders; commit;');
select findings('alter type order_status add value ''lost''; commit; insert into orders (status) values (''lost'');');

-- sor's own, and its guards -------------------------------------------------------------------------------------------------
select findings('drop table sor.tenants; delete from sor.agent_events; create function sor.current_tenant() returns uuid language sql as ''select null::uuid'';
    grant sor_operator to public; drop extension sor cascade; drop schema sor cascade; alter schema sor rename to x; set search_path = sor; drop table users;');
select findings(format('drop trigger %1$I on accounts; alter table accounts disable trigger %1$I; alter table accounts enable trigger %1$I; alter trigger %1$I on accounts rename to x', min(tgname::text)))
  from pg_trigger where tgrelid = 'accounts'::regclass;
select findings('alter table accounts disable trigger all; alter table accounts enable trigger all; alter event trigger sor_keep_history disable; set sor.tenant_id = ''x''; alter role postgres set session_replication_role = replica;');

-- Code that runs in other statements, and bodies of every kind ---------------------------------------------------------------------
select findings('create procedure p(x text) begin atomic end; create function one() returns int begin atomic select 1; end; select one();');
select findings('create function f(int) returns boolean language plpgsql as ''begin delete from orders; return true; end''; create table t (a int default f(1)); insert into t default values;
    create index on orders (f(amount)); alter table orders add check (f(amount)) not valid; create operator === (leftarg = int, rightarg = int, function = f); select 1 === 2;');
select findings('create function gone(orders) returns int language plpgsql as ''begin delete from customers; return 1; end''; select o.gone from orders o; select (o).gone from orders o;');
select findings('create table t (id bigint primary key); alter table orders add foreign key (id) references t on delete cascade not valid; delete from t; drop table t cascade;');
-- names: the search_path of a new session; what is temporary; what a block may not have made
create schema first; create schema second; create table second.orders (id int);
alter role current_user set search_path = first, second;
\c -
set client_min_messages = warning;
set sor.drop_guard = off; -- tampers with what is guarded, and drops it at the end
\pset format unaligned
select public.findings('create table if not exists first.t (id int); drop table t; drop table orders; drop table customers;');
select detail from sor.review_migration('drop table orders cascade; drop table public.customers cascade; truncate public.customers cascade') where rule = 'drop-cascade';
alter role current_user reset search_path;
\c -
set client_min_messages = warning;
set sor.drop_guard = off; -- tampers with what is guarded, and drops it at the end
\pset format unaligned
select findings('set search_path = nowhere, second; create table if not exists orders (id int); drop table orders;');
select findings('create temp table orders (id int); discard temp; drop table orders;', 'drop table orders');
select findings('begin; create temp table t (id int) on commit drop; alter table t rename to orders; commit; drop table orders;');
select findings('set search_path = first, public; do $$ begin if false then create table first.orders (id int); end if; end $$; drop table orders;');
select findings('do $$ begin if false then set search_path = first; end if; end $$; create table first.orders (id int); drop table orders;');
-- blocks
select findings('do $$ begin create type order_status as enum (); exception when duplicate_object then null; end $$; drop type order_status;');
select findings('do $$ << a >> begin null; end $$; do $$ begin loop exit; end loop; end $$; do $$ begin x[1] := 1; end $$; do $$ begin execute ''a'' || ''b''; end $$; do $$ begin commit; end $$; do $$ begin return; end; select 1 $$;');
select findings('do $$ begin if 1 = 2 then begin perform 1; end; elsif lower(''THEN'') = ''then'' then insert into orders (id) values (1); else drop table orders; end if; end $$;');
-- a name, where no header says what is touched
select statement_no, rule from sor.review_migration('alter table orders add column x int; alter table customers add column x int; create table t (id int)', null, '0007_AddXToOrders.up.sql') where direction = 'up';
select rule from sor.review_migration('alter table customers add column x int', null, '7_add_x_to_nothing') where direction = 'up';
drop schema first, second cascade;

-- Scope -----------------------------------------------------------------------------------------------------------------------
select findings(E'-- sor: touches orders, shop.*\nalter table orders add column x int; create index concurrently on public.orders (x); insert into shop.anything values (1); update customers set name = ''x'' where id = 1; drop index orders_note_idx;');
select findings(E'-- sor: touches customers\ndrop index concurrently orders_note_idx; with x as (delete from orders) insert into customers values (1, ''x'');');

-- The downgrade -----------------------------------------------------------------------------------------------------------------
select findings('alter table orders add column remark text; create table t (id int); create index on t (id); create function f(a int) returns int language sql as ''select 1''',
                'drop function f(int); drop table t; alter table orders drop column remark;');
select findings('create table t (id int)', '');
select findings('create table t (id int)', '-- nothing to do');
select findings('create table t (id int)', 'drop table orders');
select findings('create table t (id int); create index i on orders (note); create type y as enum ()', 'drop table t');
select findings('create table t (id int)', 'do $$ begin drop table t; end $$');
select findings('alter table orders drop column note', 'alter table orders add column note text');
select findings('', 'select 1');
select detail from sor.review_migration('drop table customers; create table t (id int)', 'create table customers (id bigint)') where statement_no = 0;

-- Bad input ---------------------------------------------------------------------------------------------------------------------
select rule, line, detail from sor.review_migration(E'select 1;\n\nselect\n  2 fro orders;\nselect ''open;\n drop table orders;') where direction = 'up';
select rule, line, detail from sor.review_migration(E'\\set x 1\nselect :x;\nselect 1 \\gexec\n') where direction = 'up';
select rule, line, detail from sor.review_migration(E'select 1;\ncopy orders (id) from stdin;\n1\n2;drop table orders;\n\\.\ndrop view open_orders;') where direction = 'up';
select rule, line, detail from sor.review_migration(E'select $a$ open; drop table orders;') where direction = 'up';
select rule, line, detail from sor.review_migration(E'select 1; /* open; drop table orders;') where direction = 'up';
select rule, line, detail from sor.review_migration(E'select 1;\nselect ' || repeat('(', 20000) || '1' || repeat(')', 20000) || '; drop table orders;') where direction = 'up';
select rule, line, left(detail, 100) as detail from sor.review_migration('select 1' || repeat('+1', 100000) || '; drop table orders;') where direction = 'up';
select rule, line, detail from sor.review_migration('alter table orders add column x varchar(0);') where direction = 'up';
set standard_conforming_strings = off;
select findings(E'select ''\\''; drop table orders; --''');
show standard_conforming_strings;
reset standard_conforming_strings;
select sor.review_migration(null);
select findings(' ;; -- nothing');
select findings('create table typed of address (primary key (street)); create table typed2 of address (street with options not null);');
select count(*), max(line), bool_and(rule = 'insert-rows') from sor.review_migration(repeat(E'insert into orders (id) values (1);\n', 20000)) where direction = 'up';

-- Who may
create role migrations_worker in role sor_worker;
create role migrations_operator in role sor_operator;
set role migrations_worker;
select count(*) from sor.review_migration('select 1');
set role migrations_operator;
select severity, rule from sor.review_migration('drop table orders', null);
select count(*) > 0 from sor.migration_rules();
reset role;

-- A corpus of what is written every day ---------------------------------------------------------------------------------------
create temp table corpus (kind text, up text, down text);
copy corpus (kind, up, down) from stdin with (delimiter '|');
additive|create table invoices (id bigint generated always as identity primary key, order_id bigint not null references orders (id) on delete cascade, amount numeric(12,2) not null check (amount >= 0), created_at timestamptz not null default now(), unique (order_id));|drop table invoices;
additive|begin; create table tags (id uuid primary key default gen_random_uuid(), name text not null unique); create table order_tags (order_id bigint references orders, tag_id uuid references tags, primary key (order_id, tag_id)); create index on order_tags (tag_id); commit;|begin; drop table order_tags; drop table tags; commit;
additive|alter table orders add column notes text;|alter table orders drop column notes;
additive|alter table public.orders add column if not exists shipped_at timestamp with time zone;|alter table public.orders drop column if exists shipped_at;
additive|alter table only orders add column is_gift boolean default false not null;|alter table only orders drop column is_gift;
additive|alter table orders add column priority smallint default 0, add column labels text[] default '{}'::text[] not null, add column extra jsonb default '{}';|alter table orders drop column priority, drop column labels, drop column extra;
additive|alter table orders add column created_at timestamptz not null default current_timestamp;|alter table orders drop column created_at;
additive|alter table orders add column warehouse_id bigint references customers (id);|alter table orders drop column warehouse_id;
additive|create index concurrently if not exists orders_customer_idx on orders (customer_id);|drop index concurrently if exists orders_customer_idx;
additive|create unique index concurrently customers_name_key on customers using btree (lower(name)) where name is not null;|drop index concurrently customers_name_key;
additive|alter table orders add constraint orders_amount_check check (amount > 0) not valid;|alter table orders drop constraint orders_amount_check;
additive|alter table orders validate constraint amount_present;|select 1;
additive|alter table customers add constraint customers_ref foreign key (id) references orders (id) not valid;|alter table customers drop constraint customers_ref;
additive|create type mood as enum ('sad', 'ok', 'happy'); create table moods (id int primary key, current mood not null default 'ok');|drop table moods; drop type mood;
additive|alter type order_status add value if not exists 'returned' after 'sent';|select 1;
additive|create view recent_orders as select id, amount from orders where at > now() - interval '30 days';|drop view recent_orders;
additive|create or replace view orders_by_customer as select customer_id, count(*) from orders group by 1;|drop view orders_by_customer;
additive|create materialized view monthly as select date_trunc('month', at) as month, sum(amount) from orders group by 1 with no data; create unique index on monthly (month);|drop materialized view monthly;
additive|create function touch_updated_at() returns trigger language plpgsql as $$ begin new.at = now(); return new; end $$; create trigger touch before update on orders for each row execute function touch_updated_at();|drop trigger touch on orders; drop function touch_updated_at();
additive|create or replace function order_total(order_id bigint) returns numeric language sql stable as $$ select amount from orders where id = order_id $$;|drop function order_total(bigint);
additive|create extension if not exists pgcrypto;|select 1;
additive|create schema if not exists reporting_area; create table reporting_area.daily (day date primary key, total numeric); comment on table reporting_area.daily is 'totals';|drop table reporting_area.daily; drop schema reporting_area;
additive|insert into customers (id, name) values (1, 'house'), (2, 'web') on conflict (id) do nothing;|select 1;
additive|create table currencies (code char(3) primary key, name text); insert into currencies values ('EUR', 'Euro'), ('CHF', 'Franc'); grant select on currencies to reporting;|drop table currencies;
additive|create sequence invoice_number start 1000; create table bills (number bigint default nextval('invoice_number') primary key); select setval('invoice_number', 2000);|drop table bills; drop sequence invoice_number;
additive|create table metrics (at timestamptz not null, value double precision) partition by range (at); create table metrics_2026 partition of metrics for values from ('2026-01-01') to ('2027-01-01'); create index on metrics (at);|drop table metrics;
additive|create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');|drop table events_2026;
additive|alter table orders alter column note set default ''; comment on column orders.note is 'what the customer wrote';|select 1;
additive|alter table orders alter column code type varchar(64);|select 1;
additive|alter table orders alter column code type text;|select 1;
additive|alter table orders alter column note set statistics 1000; analyze orders; create statistics orders_stats on customer_id, status from orders;|drop statistics orders_stats;
additive|set lock_timeout = '3s'; set statement_timeout = '1min'; alter table orders add column a1 int; reset lock_timeout;|alter table orders drop column a1;
additive|select pg_catalog.set_config('search_path', '', false); set check_function_bodies = false; create table public.t1 (id integer not null, name character varying(255)); alter table only public.t1 add constraint t1_pkey primary key (id); create index t1_name on public.t1 using btree (name);|drop table public.t1;
additive|create domain positive as int check (value > 0); create table counts (n positive);|drop table counts; drop domain positive;
additive|create table notes (id bigint primary key, order_id bigint); alter table notes enable row level security; create policy all_notes on notes using (true); grant select, insert on notes to reporting; revoke all on notes from public;|drop table notes;
additive|create table a (id serial primary key); create table b (id bigserial primary key, a_id int); alter table b add constraint b_a_fk foreign key (a_id) references a (id); alter table a add column x int not null;|drop table b; drop table a;
additive|grant select on orders to reporting; grant usage on schema public to reporting;|select 1;
additive|create table if not exists settings (key text primary key, value jsonb not null default '{}'::jsonb, updated_at timestamptz default now()); create index if not exists settings_updated on settings (updated_at);|drop table if exists settings;
additive|create table accounts_history (like accounts including all); alter table accounts_history add column changed_at timestamptz not null default now();|drop table accounts_history;
additive|-- sor: touches orders\nalter table orders add column gift_note text;|alter table orders drop column gift_note;
additive|with seed as (select generate_series(1, 3) as n) insert into customers (id, name) select n + 10000, 'seed ' \|\| n from seed;|select 1;
additive|alter table orders add constraint orders_code_key unique using index orders_code_idx;|alter table orders drop constraint orders_code_key;
additive|create type money_amount as (currency char(3), amount numeric); create aggregate total(int) (sfunc = int4pl, stype = int);|drop aggregate total(int); drop type money_amount;
additive|create collation german (provider = icu, locale = 'de'); create table names (n text collate german);|drop table names; drop collation german;
additive|alter default privileges in schema public grant select on tables to reporting;|select 1;
additive|create role migrations_reader nologin; create table r1 (id int); grant select on r1 to migrations_reader;|drop table r1; drop role migrations_reader;
additive|create table c1 as select id, note from orders where false; alter table c1 add primary key (id);|drop table c1;
additive|create table p (like orders including defaults) partition by hash (id); create table p0 partition of p for values with (modulus 2, remainder 0); create table p1 (like orders); alter table p attach partition p1 for values with (modulus 2, remainder 1);|drop table p;
additive|create or replace function new_trigger_function() returns trigger as $$ begin return new; end $$ language plpgsql; drop trigger if exists new_trigger on orders; create trigger new_trigger before insert on orders for each row execute function new_trigger_function();|drop trigger new_trigger on orders; drop function new_trigger_function;
additive|create type kind as enum ('a'); alter type kind owner to reporting; create function f1() returns int language sql as $$ select 1 $$; revoke all on function f1() from public; grant execute on function f1() to reporting;|drop function f1(); drop type kind;
additive|create schema audit authorization current_user; create table audit.log (id bigserial, at timestamptz default clock_timestamp()); grant usage on schema audit to reporting; grant insert on audit.log to reporting; grant usage on sequence audit.log_id_seq to reporting;|drop table audit.log; drop schema audit;
additive|select pg_advisory_xact_lock(1); create table if not exists schema_migrations (version bigint primary key, dirty boolean not null); lock table schema_migrations; truncate schema_migrations; insert into schema_migrations values (1, false);|drop table schema_migrations;
additive|do not|
destructive|drop table if exists orders cascade;|
destructive|drop table customers, orders;|
destructive|alter table orders drop note;|
destructive|alter table if exists only public.orders drop column if exists note cascade;|
destructive|alter table orders add column x int, drop column note;|
destructive|truncate table only orders restart identity;|
destructive|delete from orders;|
destructive|delete from only orders using customers where true;|
destructive|update orders set note = null;|
destructive|with d as (delete from orders where id > 1 returning *) insert into customers select id, note from d;|
destructive|with a as (with b as (delete from orders returning id) select * from b) select * from a;|
destructive|create table copy_of as with d as (delete from orders returning *) select * from d;|
destructive|explain (analyze) delete from orders where id = 1;|
destructive|prepare gone as delete from orders;|
destructive|merge into orders o using customers c on true when matched then delete;|
destructive|drop schema public cascade;|
destructive|drop view open_orders;|
destructive|drop materialized view order_totals;|
destructive|drop sequence order_number;|
destructive|drop type order_status cascade;|
destructive|drop domain email;|
destructive|drop function stamp cascade;|
destructive|drop trigger stamp on orders;|
destructive|drop policy own_orders on orders;|
destructive|drop index orders_code_idx;|
destructive|drop extension plpgsql cascade;|
destructive|drop database shop;|
destructive|drop owned by reporting cascade;|
destructive|drop role reporting;|
destructive|alter table orders drop constraint orders_pkey cascade;|
destructive|alter table orders rename to orders_old; create table orders (id bigint);|
destructive|alter table orders rename note to remark;|
destructive|alter table orders set schema archive;|
destructive|alter table orders owner to reporting;|
destructive|alter table orders disable row level security;|
destructive|alter table orders no force row level security;|
destructive|alter table orders disable trigger user;|
destructive|alter table orders enable replica trigger stamp;|
destructive|alter table orders detach partition p;|
destructive|alter table orders no inherit p;|
destructive|alter table orders add column x int; alter table orders rename column note to y; alter table orders drop column y;|
destructive|create table o2 (like orders); alter table orders rename to o3; alter table o2 rename to orders; drop table o3;|
destructive|alter table orders alter column id type integer;|
destructive|alter table orders alter column code type varchar(5);|
destructive|alter table orders alter column code type varchar(5) using left(code, 5);|
destructive|alter table orders set unlogged;|
destructive|set session_replication_role to 'replica'; delete from orders where id = 1;|
destructive|set local session_replication_role = replica;|
destructive|select set_config('session_replication_role', 'replica', true);|
destructive|update pg_class set relrowsecurity = false;|
destructive|alter type address drop attribute street cascade;|
destructive|alter type order_status rename value 'new' to 'fresh';|
destructive|create policy open on orders for select using (1 = 1);|
destructive|grant all privileges on orders to public;|
destructive|alter role reporting bypassrls;|
destructive|create or replace view sor.tenants as select 1;|
destructive|alter sequence order_number restart;|
destructive|create schema fresh; drop schema fresh; drop schema public cascade;|
destructive|insert into customers select id, note from orders; drop table orders;|
destructive|create table t (id int); alter table orders inherit t; drop table t cascade;|
opaque|do $$ begin execute 'drop table ' \|\| 'orders'; end $$;|
opaque|call cleanup();|
opaque|select cleanup();|
opaque|select * from orders, cleanup() c;|
opaque|insert into customers (id, name) values (1, cleanup());|
opaque|select dblink_exec('dbname=shop', 'drop table orders');|
opaque|select query_to_xml('select cleanup()', true, true, '');|
opaque|select lo_unlink(1);|
opaque|create function f() returns int language sql security definer as 'delete from orders returning 1';|
opaque|create function lower(int) returns int language sql as 'delete from orders returning 1'; select lower(1);|
opaque|create view v as select cleanup(); select * from v;|
opaque|create function g() returns trigger language plpgsql as $$ begin delete from orders; return null; end $$; create trigger g after insert on customers execute function g(); insert into customers values (7, 'x');|
opaque|notify x;|
opaque|commit prepared 'x';|
opaque|reset role;|
opaque|select set_config('session_' \|\| 'replication_role', 'replica', false);|
opaque|execute gone;|
opaque|create rule r as on update to orders do also delete from orders;|
opaque|copy orders from program 'curl http://example.org';|
opaque|load 'x';|
opaque|set role reporting;|
opaque|import foreign schema far from server s into public;|
opaque|alter extension hstore update to '9';|
\.
delete from corpus where up = 'do not';
update corpus set up = replace(up, '\n', E'\n');
create temp view corpus_findings as
select c.kind, c.up, bool_or(r.severity <> 'safe') as alarm, bool_or(r.severity = 'destructive') as destructive, bool_or(r.severity = 'opaque') as opaque,
       array_agg(format('%s %s', r.severity, r.rule)) filter (where r.severity <> 'safe') as alarms
  from corpus c, sor.review_migration(c.up, c.down) r group by c.kind, c.up;
select kind, count(*) from corpus_findings group by kind order by kind;
-- false alarms, and whether they are few enough
select up, alarms from corpus_findings where kind = 'additive' and alarm order by up collate "C";
select count(*) filter (where alarm) <= 0.02 * count(*) as few_enough from corpus_findings where kind = 'additive';
-- what should not have passed
select up, alarms from corpus_findings where kind = 'destructive' and not destructive order by up collate "C";
select up, alarms from corpus_findings where kind = 'opaque' and not opaque order by up collate "C";

drop role migrations_worker, migrations_operator;
drop table accounts, visits, events, orders, customers cascade;
drop function findings, stamp cascade;
drop sequence order_number;
drop type order_status, address, email;
