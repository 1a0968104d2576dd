-- guard: what would destroy data or weaken governance is refused until a person approved it. Any tool, any session.

create table sor.guard_coverage (
    only_one boolean primary key default true check (only_one),
    coverage text not null check (coverage in ('protected', 'database')),
    changed_at timestamptz not null default pg_catalog.clock_timestamp()
);
comment on table sor.guard_coverage is 'What the drop guard covers, one row; without it, what is protected. Changed by set_drop_guard.';
grant select, insert, update on sor.guard_coverage to sor_engine;
grant select on sor.guard_coverage to sor_auditor;

create function sor.set_drop_guard(coverage text) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_set_drop_guard'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.set_drop_guard(text) is
    'Sets what the drop guard covers in this database. protected (the default): sor''s own objects, tables under protect_tenant or protect_append_only, registered tables, queues and tools. '
    'database: every permanent object of users as well; then the database also loads the library into each new session (session_preload_libraries), so that TRUNCATE of any table is seen. '
    'Recorded as migration.guard_set. Errors: 22023 no such coverage.';

create function sor.drop_guard() returns table (coverage text, preloaded boolean, databases_guarded boolean)
    language c stable as 'MODULE_PATHNAME', 'sor_drop_guard'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.drop_guard() is
    'What the drop guard covers; whether new sessions of this database load the library at their start (session_preload_libraries or shared_preload_libraries); '
    'and whether every session of the server does (shared_preload_libraries), which dropping a database that loads sor needs to be refused.';
grant execute on function sor.drop_guard() to sor_auditor;

-- Not pinned to a search_path: it reads the names of a command as the command will.
create function sor.guard_command() returns event_trigger language c as 'MODULE_PATHNAME', 'sor_guard_command';
comment on function sor.guard_command() is 'The drop guard at the start of a command: raises SR009.';
create function sor.guard_command_done() returns event_trigger
    language c as 'MODULE_PATHNAME', 'sor_guard_command_done'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.guard_command_done() is 'The drop guard at the end of a command: records what a superuser forced.';
create function sor.guard_child() returns event_trigger language c as 'MODULE_PATHNAME', 'sor_guard_child';
comment on function sor.guard_child() is 'The drop guard at the end of a CREATE TABLE: a partition or child of a guarded table refuses TRUNCATE as that does.';
create function sor.refuse_truncate() returns trigger
    language c as 'MODULE_PATHNAME', 'sor_refuse_truncate'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.refuse_truncate() is 'The drop guard at TRUNCATE: raises SR009. Attached by sor.protect_tenant.';

do $install$
declare
    t record;
begin
    for t in select c.oid::pg_catalog.regclass as name from pg_catalog.pg_class c
              where c.relnamespace = 'sor'::pg_catalog.regnamespace and c.relkind in ('r', 'p') loop
        execute pg_catalog.format('create trigger sor_refuse_truncate before truncate on %s for each statement execute function sor.refuse_truncate()', t.name);
        execute pg_catalog.format('alter table %s enable always trigger sor_refuse_truncate', t.name);
    end loop;
end
$install$;

do $install$
declare
    -- what drops, and what changes a thing that is there
    tags text := $tags$
        'DROP AGGREGATE', 'DROP CAST', 'DROP COLLATION', 'DROP CONVERSION', 'DROP DOMAIN', 'DROP EXTENSION', 'DROP FOREIGN DATA WRAPPER',
        'DROP FOREIGN TABLE', 'DROP FUNCTION', 'DROP INDEX', 'DROP LANGUAGE', 'DROP MATERIALIZED VIEW', 'DROP OPERATOR', 'DROP OPERATOR CLASS',
        'DROP OPERATOR FAMILY', 'DROP OWNED', 'DROP POLICY', 'DROP PROCEDURE', 'DROP ROUTINE', 'DROP RULE', 'DROP SCHEMA', 'DROP SEQUENCE', 'DROP SERVER',
        'DROP TABLE', 'DROP TEXT SEARCH CONFIGURATION', 'DROP TEXT SEARCH DICTIONARY', 'DROP TEXT SEARCH PARSER', 'DROP TEXT SEARCH TEMPLATE',
        'DROP TRANSFORM', 'DROP TRIGGER', 'DROP TYPE', 'DROP VIEW', 'DROP ACCESS METHOD',
        'ALTER AGGREGATE', 'ALTER DOMAIN', 'ALTER EXTENSION', 'ALTER FOREIGN TABLE', 'ALTER FUNCTION', 'ALTER INDEX', 'ALTER MATERIALIZED VIEW',
        'ALTER POLICY', 'ALTER PROCEDURE', 'ALTER ROUTINE', 'ALTER RULE', 'ALTER SCHEMA', 'ALTER SEQUENCE', 'ALTER TABLE', 'ALTER TRIGGER', 'ALTER TYPE',
        'ALTER VIEW', 'CREATE POLICY', 'CREATE RULE', 'CREATE TRIGGER' $tags$;
begin
    execute 'create event trigger sor_drop_guard on ddl_command_start when tag in (' || tags || ') execute function sor.guard_command()';
    execute 'create event trigger sor_drop_guard_done on ddl_command_end when tag in (' || tags || ') execute function sor.guard_command_done()';
end
$install$;
create event trigger sor_drop_guard_child on ddl_command_end when tag in ('CREATE TABLE') execute function sor.guard_child();
alter event trigger sor_drop_guard enable always;
alter event trigger sor_drop_guard_child enable always;
alter event trigger sor_drop_guard_done enable always;

select pg_catalog.pg_extension_config_dump('sor.guard_coverage', '');
