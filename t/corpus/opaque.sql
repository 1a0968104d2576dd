-- Migrations whose effect cannot be read off them.

-- == do_loop | opaque do-block
DO $$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'archive' LOOP
        EXECUTE format('DROP TABLE archive.%I', t);
    END LOOP;
END $$;

-- == do_with_a_built_command | opaque do-block
DO $$ BEGIN EXECUTE 'DROP TA' || 'BLE tags'; END $$;

-- == do_in_another_language | opaque do-block
DO LANGUAGE plpython3u $$ plpy.execute("drop table tags") $$;

-- == call | opaque call-procedure
CALL close_month('2026-01-01');

-- == select_function | opaque function-call
SELECT archive_expenses();

-- == select_unknown_function | opaque function-call
SELECT create_hypertable('readings', 'at');

-- == insert_through_a_function | opaque function-call
INSERT INTO tags SELECT id, migrate_label(note) FROM expenses;

-- == replace_function | opaque replace-function
CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;

-- == replace_trigger | opaque replace-trigger
CREATE OR REPLACE TRIGGER expenses_touch BEFORE UPDATE ON expenses FOR EACH ROW WHEN (false) EXECUTE FUNCTION touch_updated_at();

-- == replace_filtering_view | opaque replace-filter, replace-view
CREATE OR REPLACE VIEW open_expenses AS SELECT id, user_id, amount FROM expenses;

-- == security_definer | opaque security-definer-function
CREATE FUNCTION is_admin(bigint) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS 'SELECT is_admin FROM public.users WHERE id = $1';

-- == alter_function | opaque alter-function
ALTER FUNCTION archive_expenses() SECURITY DEFINER;

-- == rule | opaque create-rule
CREATE RULE keep AS ON DELETE TO expenses DO INSTEAD NOTHING;

-- == cast | opaque create-cast
CREATE CAST (text AS int) WITH INOUT AS IMPLICIT;

-- == event_trigger | opaque create-event-trigger
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION touch_updated_at();

-- == copy_program | opaque copy-file
COPY tags FROM PROGRAM 'curl -s https://example.org/tags.csv' WITH (FORMAT csv);

-- == pg_dump_data | opaque copy-data
COPY public.tags (id, label) FROM stdin;
1	travel
2	DROP TABLE users;
\.

SELECT 1;

-- == psql_include | opaque psql-command
\i shared/functions.sql

-- == pg_dump_restrict | opaque psql-command
\restrict h8Kd
CREATE TABLE t1 (id int);
\unrestrict h8Kd

-- == psql_variable | opaque syntax-error
ALTER TABLE :schema.expenses ADD COLUMN x int;

-- == misspelt | opaque syntax-error
ALTER TABLE expenses AD COLUMN x int;

-- == template_left_in | opaque syntax-error
CREATE TABLE {{ schema }}.x (id int);

-- == strings_by_the_old_rule | destructive drop-table, string-escapes
SET standard_conforming_strings = off;
SELECT '\'; DROP TABLE tags; --';

-- == change_role | opaque change-role
SET ROLE corpus_app;

-- == alter_system | opaque server-setting
ALTER SYSTEM SET archive_command = 'true';

-- == server | opaque foreign-server
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'far');

-- == import_schema | opaque foreign-server
IMPORT FOREIGN SCHEMA public FROM SERVER far INTO archive;

-- == subscription | opaque subscription
CREATE SUBSCRIPTION feed CONNECTION 'host=far' PUBLICATION changes;

-- == extension_update | opaque update-extension
ALTER EXTENSION plpgsql UPDATE;

-- == notify | opaque unknown-statement
NOTIFY deploys, 'done';

-- == scope_of_the_header | opaque scope-creep
-- sor: touches expenses
ALTER TABLE expenses ADD COLUMN x int;
ALTER TABLE users ADD COLUMN x int;

-- == 0099_add_colour_to_tags | opaque scope-creep
ALTER TABLE tags ADD COLUMN colour text;
ALTER TABLE merchants ADD COLUMN colour text;

-- == downgrade_left_empty | safe | opaque empty-downgrade
CREATE TABLE vouchers (id int PRIMARY KEY);
-- down
-- nothing

-- == downgrade_left_incomplete | safe | opaque incomplete-downgrade
CREATE TABLE vouchers (id int PRIMARY KEY);
CREATE TABLE voucher_uses (id int PRIMARY KEY);
-- down
DROP TABLE vouchers;
