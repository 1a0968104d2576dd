-- What the database has before any migration of this folder is made: each is reviewed here, none is applied.
create extension if not exists sor;
create role corpus_app nologin;
create role corpus_report nologin;
create schema billing;
create schema archive;
create type expense_status as enum ('draft', 'submitted', 'approved', 'paid');
create type postal_address as (street text, city text, zip varchar(10));
create domain email as varchar(254) check (value like '%@%');
create table users (id bigint generated always as identity primary key, email text not null unique, name varchar(80) not null,
    locale char(5), is_admin boolean not null default false, last_seen timestamp, score real, created_at timestamptz not null default now());
create table merchants (id bigserial primary key, name text not null, country varchar(2), settings json, constraint merchants_name_country unique (name, country));
create table expenses (id bigint primary key, user_id bigint not null references users on delete cascade, merchant_id bigint references merchants,
    amount numeric(12,2) not null, currency char(3) not null default 'EUR', status expense_status not null default 'draft', note text,
    code varchar(20), spent_on date not null, paid_at timestamptz(3), priority int, total numeric generated always as (amount) stored,
    constraint amount_positive check (amount > 0),
    constraint spent_given check (spent_on is not null));
alter table expenses add constraint priority_given check (priority is not null) not valid;
create index expenses_user_idx on expenses (user_id);
create index expenses_note_idx on expenses (lower(note));
create unique index expenses_code_key on expenses (code) where code is not null;
create table expense_lines (expense_id bigint not null references expenses on delete cascade, line_no int not null, amount numeric(12,2) not null,
    primary key (expense_id, line_no));
create table tags (id int primary key, label text);
create table billing.invoices (id uuid primary key default gen_random_uuid(), number text not null unique, issued timestamptz not null, amount numeric(10,2));
create table billing.plans (code text primary key, name text not null, price int not null);
create table readings (at timestamptz not null, sensor int not null, value double precision) partition by range (at);
create table readings_2025 partition of readings for values from ('2025-01-01') to ('2026-01-01');
create table visits (at timestamptz not null, page text) partition by range (at);
create table visits_other partition of visits default;
create view open_expenses as select id, user_id, amount from expenses where status <> 'paid';
create view expense_list as select id, note from expenses;
create view my_expenses with (security_invoker = true) as select id, amount from expenses;
create materialized view monthly_totals as select date_trunc('month', spent_on) as month, sum(amount) as total from expenses group by 1;
create unique index on monthly_totals (month);
create sequence invoice_number;
create function touch_updated_at() returns trigger language plpgsql as $$ begin return new; end $$;
create function total_of(bigint) returns numeric language sql stable as 'select sum(amount) from expense_lines where expense_id = $1';
create function archive_expenses() returns void language plpgsql as $$ begin null; end $$;
create procedure close_month(date) language plpgsql as $$ begin null; end $$;
create trigger expenses_touch before update on expenses for each row execute function touch_updated_at();
alter table expenses enable row level security;
create policy own_expenses on expenses using (user_id = current_setting('app.user_id', true)::bigint);
create rule no_delete as on delete to tags do instead nothing;
create statistics expenses_stats on user_id, status from expenses;
create publication changes for table expenses;
grant select, insert on expenses to corpus_app;
create table ledger (tenant_id uuid, id int, primary key (tenant_id, id));
select sor.protect_append_only('ledger');
create table active_storage_blobs (id bigint primary key, key varchar not null, filename varchar not null, checksum varchar);
create table django_content_type (id int primary key, app_label varchar(100) not null, model varchar(100) not null);
create table auth_permission (id int primary key, name varchar(255) not null, content_type_id int not null references django_content_type deferrable initially deferred, codename varchar(100) not null);
create table alembic_version (version_num varchar(32) primary key);
create table schema_migrations (version varchar primary key);
