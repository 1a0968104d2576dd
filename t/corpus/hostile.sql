-- What destroys, and is written so that it looks as if it added, or as if it were not there.

-- == cte_in_an_insert | destructive delete-rows
INSERT INTO tags (id, label) WITH gone AS (DELETE FROM expenses WHERE id > 0 RETURNING id) SELECT id, 'kept' FROM gone;

-- == cte_in_a_view_of_nothing | destructive update-rows
CREATE TABLE report AS WITH x AS (UPDATE users SET name = 'x' WHERE id > 0 RETURNING id) SELECT * FROM x;

-- == explain_analyze | destructive delete-without-where
EXPLAIN (ANALYZE, COSTS off, SUMMARY off) DELETE FROM expenses;

-- == prepared_and_executed | destructive delete-without-where, execute-prepared
PREPARE look AS WITH d AS (DELETE FROM tags RETURNING *) SELECT * FROM d;
EXECUTE look;

-- == copy_of_a_delete | destructive copy-data, delete-without-where
COPY (WITH d AS (DELETE FROM tags RETURNING *) SELECT * FROM d) TO STDOUT;

-- == unicode_names | destructive drop-table
DROP TABLE U&"t\0061gs";

-- == unicode_with_another_escape | destructive replication-role
SET session_replication_role = U&'!0072eplica' UESCAPE '!';

-- == nested_comments | destructive drop-table
/* SELECT 1; /* nested */ still a comment; */ DROP /* -- */ TABLE -- ;
    tags;

-- == quotes_that_do_not_end_where_they_seem_to | destructive drop-table
SELECT E'it\'s; -- ', $a$ $b$ ; ' $a$; DROP TABLE tags; -- '

-- == continued_string | destructive drop-table
SELECT 'a'
  '; SELECT ';
DROP TABLE tags; SELECT '';

-- == backslash_at_the_end | destructive drop-table
SELECT 'C:\'; DROP TABLE tags; --';

-- == default_that_deletes | opaque function-call
CREATE FUNCTION next_code() RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN 'x'; END $$;
CREATE TABLE codes (id int PRIMARY KEY, code text DEFAULT next_code());
INSERT INTO codes (id) VALUES (1);

-- == column_default_that_deletes | opaque add-column-volatile-default, function-call
CREATE FUNCTION next_code() RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN 'x'; END $$;
ALTER TABLE tags ADD COLUMN code text DEFAULT next_code();

-- == check_that_deletes | opaque function-call
CREATE FUNCTION fits(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN TRUNCATE expenses; RETURN true; END $$;
ALTER TABLE tags ADD CONSTRAINT fits CHECK (fits(id)) NOT VALID;

-- == index_that_deletes | opaque function-call
CREATE FUNCTION norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM archive_expenses(); RETURN lower($1); END $$;
CREATE INDEX CONCURRENTLY tags_norm ON tags (norm(label));

-- == operator_that_deletes | opaque function-call
CREATE FUNCTION eq3(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN true; END $$;
CREATE OPERATOR ==== (LEFTARG = int, RIGHTARG = int, FUNCTION = eq3);
SELECT 1 ==== 2;

-- == function_as_a_column | opaque function-call
CREATE FUNCTION full_name(users) RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN $1.name; END $$;
SELECT u.full_name FROM users u LIMIT 1;

-- == domain_that_deletes | opaque function-call
CREATE FUNCTION valid(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN true; END $$;
CREATE DOMAIN name_text AS text CHECK (valid(value));
SELECT 'x'::name_text;

-- == view_that_deletes | opaque function-call
CREATE FUNCTION peek() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN 1; END $$;
CREATE VIEW peeked AS SELECT peek();
SELECT * FROM peeked;

-- == matview_that_deletes | opaque function-call
CREATE FUNCTION peek() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN 1; END $$;
CREATE MATERIALIZED VIEW peeked AS SELECT peek() WITH NO DATA;
REFRESH MATERIALIZED VIEW peeked;

-- == trigger_that_deletes_at_once | opaque function-call
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN new; END $$;
CREATE TABLE bait (id int);
CREATE TRIGGER bait_stamp AFTER INSERT ON bait FOR EACH ROW EXECUTE FUNCTION stamp();
INSERT INTO bait VALUES (1);

-- == trigger_that_deletes_later | opaque destroying-trigger
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expense_lines; RETURN new; END $$;
CREATE TRIGGER users_stamp AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION stamp();

-- == aggregate_that_deletes | opaque function-call
CREATE FUNCTION step(int, int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM expenses; RETURN 1; END $$;
CREATE AGGREGATE total(int) (SFUNC = step, STYPE = int);
SELECT total(id) FROM tags;

-- == overloads_a_builtin | opaque function-call, shadow-builtin
CREATE FUNCTION archive.lower(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.expenses; RETURN 1; END $$;
SET search_path = archive, public;
SELECT lower(1);

-- == sql_that_is_an_argument | opaque function-call
SELECT query_to_xml('select archive_expenses()', true, true, '');

-- == large_objects | opaque function-call
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;

-- == cascade_from_an_own_table | destructive delete-without-where
CREATE TABLE doomed (id bigint PRIMARY KEY);
INSERT INTO doomed SELECT id FROM expenses;
ALTER TABLE expenses ADD CONSTRAINT expenses_doomed FOREIGN KEY (id) REFERENCES doomed ON DELETE CASCADE NOT VALID;
DELETE FROM doomed;

-- == name_of_a_temporary_table | destructive drop-table
CREATE TEMP TABLE tags (id int);
DROP TABLE tags;
DROP TABLE tags;

-- == temporary_table_that_is_gone | destructive drop-table
BEGIN;
CREATE TEMP TABLE tags (id int) ON COMMIT DROP;
COMMIT;
DROP TABLE tags;

-- == temporary_table_of_another_session | safe | destructive drop-table
CREATE TEMP TABLE tags (id int);
-- down
DROP TABLE tags;

-- == name_of_what_was_rolled_back | destructive drop-table
BEGIN;
CREATE TABLE archive.tags (id int);
SET search_path = archive, public;
ROLLBACK;
DROP TABLE tags;

-- == schema_that_is_not_there | destructive drop-table
SET search_path = nowhere, public;
CREATE TABLE IF NOT EXISTS tags (id int);
DROP TABLE tags;

-- == block_that_makes_nothing | destructive drop-table
SET search_path = archive, public;
DO $$ BEGIN IF false THEN CREATE TABLE archive.tags (id int); END IF; END $$;
DROP TABLE tags;

-- == block_that_only_seems_to_set_the_path | destructive drop-table
CREATE TABLE archive.tags (id int);
DO $$ BEGIN IF false THEN SET search_path = archive; END IF; END $$;
DROP TABLE tags;

-- == swapped_by_renaming | destructive drop-table, rename-table
CREATE TABLE tags_new (LIKE tags INCLUDING ALL);
ALTER TABLE tags RENAME TO tags_old;
ALTER TABLE tags_new RENAME TO tags;
DROP TABLE tags_old;

-- == schema_renamed_under_it | destructive drop-table, rename-object
CREATE SCHEMA fresh;
CREATE TABLE fresh.invoices (id int);
ALTER SCHEMA fresh RENAME TO stale;
ALTER SCHEMA billing RENAME TO fresh;
DROP TABLE fresh.invoices;

-- == inherited_then_dropped | destructive drop-cascade, drop-table, inheritance
CREATE TABLE parent (id int, label text);
ALTER TABLE tags INHERIT parent;
DROP TABLE parent CASCADE;

-- == partition_taken_in | destructive attach-partition, drop-table
CREATE TABLE all_readings (LIKE readings_2025) PARTITION BY RANGE (at);
ALTER TABLE all_readings ATTACH PARTITION readings_2025 FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
DROP TABLE all_readings;

-- == set_config | destructive replication-role
SELECT set_config('session_replication_role', 'replica', true);

-- == guard_switched_off | destructive guard-setting
SELECT pg_catalog.set_config('sor.drop_guard', 'off', false);

-- == created_in_a_schema_element | destructive grant-public
CREATE SCHEMA s1 CREATE TABLE t (id int) GRANT SELECT ON t TO PUBLIC;

-- == merge_with_a_delete_at_the_end | destructive merge-rows
MERGE INTO tags t USING (SELECT 1 AS id) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'x') WHEN MATCHED THEN DELETE;

-- == alter_table_with_many_parts | destructive drop-constraint
ALTER TABLE expenses ADD COLUMN a int, ADD COLUMN b int DEFAULT 0, ALTER COLUMN note SET DEFAULT '', DROP CONSTRAINT amount_positive, ADD COLUMN c text;

-- == carriage_returns | destructive drop-table
SELECT 1; -- a comment that ends at a carriage return
DROP TABLE tags;

-- == variable_named_like_a_table | destructive drop-table
DO $$ DECLARE tags text; BEGIN SELECT 'x' INTO tags; END $$;
DROP TABLE tags;

-- == variable_named_like_a_column | destructive update-rows
SET plpgsql.variable_conflict = use_variable;
DO $$ DECLARE note text; BEGIN UPDATE expenses SET note = '' WHERE note IS NULL; END $$;

-- == variable_that_is_a_command | opaque do-block
DO $$ DECLARE c text := 'DROP TABLE tags'; BEGIN EXECUTE c; END $$;

-- == default_of_a_variable | opaque function-call
DO $$ DECLARE x int := lo_unlink(1); BEGIN NULL; END $$;

-- == assignment_of_a_delete | opaque function-call
DO $$ DECLARE x int; BEGIN x := (SELECT archive_expenses() IS NULL)::int; END $$;

-- == own_type_with_columns_of_others | destructive change-column-type, drop-cascade
CREATE TYPE mood AS ENUM ('x');
ALTER TABLE expenses ALTER COLUMN note TYPE mood USING note::mood;
DROP TYPE mood CASCADE;

-- == own_schema_with_a_type | rewriting change-column-type | destructive drop-cascade
CREATE SCHEMA kinds;
CREATE TYPE kinds.mood AS ENUM ('x');
ALTER TABLE expenses ALTER COLUMN note TYPE kinds.mood USING note::kinds.mood;
-- down
DROP SCHEMA kinds CASCADE;

-- == extension_with_columns_of_others | rewriting change-column-type | destructive drop-cascade
CREATE EXTENSION citext;
ALTER TABLE users ALTER COLUMN email TYPE citext;
-- down
DROP EXTENSION citext CASCADE;

-- == sql_function_that_deletes | opaque function-call
CREATE FUNCTION tidy() RETURNS void LANGUAGE sql AS 'SELECT 1; DELETE FROM expenses';
SELECT tidy();

-- == sql_function_with_a_body_that_deletes | opaque function-call
CREATE FUNCTION tidy() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; DELETE FROM expenses; END;
SELECT tidy();

-- == sql_function_that_deletes_in_a_with | opaque function-call
CREATE FUNCTION tidy() RETURNS bigint LANGUAGE sql AS 'WITH d AS (DELETE FROM expenses RETURNING 1) SELECT count(*) FROM d';
CREATE VIEW tidied AS SELECT tidy();
SELECT * FROM tidied;

-- == sql_function_that_calls_another | opaque function-call
CREATE FUNCTION tidy() RETURNS void LANGUAGE sql RETURN archive_expenses();
SELECT tidy();

-- == sql_function_that_is_not_to_be_read | opaque function-call
CREATE FUNCTION tidy() RETURNS void LANGUAGE sql AS 'SELECT 1 FROM; DELETE FROM expenses';
SELECT tidy();

-- == one_harmless_of_two | opaque function-call
CREATE FUNCTION tidy(int) RETURNS void LANGUAGE sql AS 'TRUNCATE expenses';
CREATE FUNCTION tidy(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT tidy(1);

-- == own_table_under_a_view_of_others | destructive drop-cascade, replace-view
CREATE TABLE shadow (id bigint, note text);
CREATE OR REPLACE VIEW expense_list AS SELECT id, note FROM shadow;
DROP TABLE shadow CASCADE;

-- == rows_of_a_table_through_a_new_view | destructive delete-without-where, update-without-where
CREATE VIEW looks_new AS SELECT * FROM tags;
DELETE FROM looks_new;
UPDATE looks_new SET label = 'x';

-- == a_conflict_through_a_new_view | destructive upsert-rows
CREATE VIEW looks_new AS SELECT * FROM tags;
INSERT INTO looks_new (id, label) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET label = 'x';

-- == a_sequence_that_a_new_table_takes_with_it | destructive drop-table
CREATE TABLE takes (id int);
ALTER SEQUENCE tags_id_seq OWNED BY takes.id;
DROP TABLE takes;

-- == a_column_through_a_new_type | destructive drop-attribute, inheritance
CREATE TYPE shape_of_tags AS (id int, label text);
ALTER TABLE tags OF shape_of_tags;
ALTER TYPE shape_of_tags DROP ATTRIBUTE label CASCADE;
