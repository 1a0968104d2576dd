-- Migrations by which data, a guarantee, a permission or a name that programs use is lost.

-- == 20240701_drop_legacy_table.rb | destructive drop-table | destructive irreversible-data
DROP TABLE "expense_lines";
-- down
CREATE TABLE "expense_lines" ("expense_id" bigint NOT NULL, "line_no" integer NOT NULL, "amount" numeric(12,2) NOT NULL, PRIMARY KEY ("expense_id", "line_no"));

-- == drop_if_exists_cascade | destructive drop-cascade, drop-table
DROP TABLE IF EXISTS users CASCADE;

-- == drop_two_of_which_one_is_new | destructive drop-table
CREATE TABLE scratch (id int);
DROP TABLE scratch, tags;

-- == django_remove_field | destructive drop-cascade, drop-column
BEGIN;
--
-- Remove field note from expense
--
ALTER TABLE "expenses" DROP COLUMN "note" CASCADE;
COMMIT;

-- == django_alter_field_swap | destructive backfill, drop-column
ALTER TABLE "expenses" ADD COLUMN "code_new" integer NULL;
UPDATE "expenses" SET "code_new" = 1;
ALTER TABLE "expenses" DROP COLUMN "code";
ALTER TABLE "expenses" RENAME COLUMN "code_new" TO "code";

-- == prisma_drop_and_add | destructive add-required-column, drop-column
-- AlterTable
ALTER TABLE "merchants" DROP COLUMN "country",
ADD COLUMN     "country" INTEGER NOT NULL;

-- == alembic_drop_constraint | destructive drop-constraint
ALTER TABLE merchants DROP CONSTRAINT merchants_name_country;

-- == drop_foreign_key | destructive drop-constraint
ALTER TABLE "expenses" DROP CONSTRAINT IF EXISTS "expenses_merchant_id_fkey";

-- == hidden_in_the_middle | destructive drop-column
ALTER TABLE users ADD COLUMN nick text, DROP COLUMN name, ADD COLUMN full_name text;

-- == rename_table_rails | destructive rename-index, rename-table
ALTER TABLE "tags" RENAME TO "labels";
ALTER INDEX "tags_pkey" RENAME TO "labels_pkey";

-- == rename_column | destructive rename-column
ALTER TABLE "expenses" RENAME "note" TO "remark";

-- == rename_schema | destructive rename-object
ALTER SCHEMA billing RENAME TO accounting;

-- == move_to_schema | destructive move-to-schema
ALTER TABLE tags SET SCHEMA archive;

-- == truncate | destructive truncate-table
TRUNCATE TABLE ONLY tags RESTART IDENTITY;

-- == truncate_cascade | destructive drop-cascade, truncate-table
TRUNCATE expenses CASCADE;

-- == delete_all | destructive delete-without-where
DELETE FROM "active_storage_blobs";

-- == delete_some | destructive delete-rows
DELETE FROM expenses WHERE status = 'draft' AND spent_on < '2020-01-01';

-- == delete_using | destructive delete-rows
DELETE FROM expense_lines l USING expenses e WHERE e.id = l.expense_id AND e.amount = 0;

-- == delete_duplicates_before_unique | destructive create-index, delete-rows
DELETE FROM merchants a USING merchants b WHERE a.id > b.id AND a.name = b.name;
CREATE UNIQUE INDEX merchants_name_once ON merchants (name);

-- == down_of_a_seed | safe | destructive delete-rows
INSERT INTO tags (id, label) VALUES (9, 'misc');
-- down
DELETE FROM tags WHERE id = 9;

-- == update_all | destructive update-without-where
UPDATE users SET locale = 'de_CH';

-- == update_some | destructive update-rows
UPDATE users SET is_admin = true WHERE email = 'root@example.org';

-- == update_constant_condition | destructive update-without-where
UPDATE users SET name = '' WHERE 1 < 2;

-- == update_nulls_of_another | destructive update-rows
UPDATE expenses SET note = '' WHERE code IS NULL;

-- == update_nulls_or_more | destructive update-rows
UPDATE expenses SET note = '' WHERE note IS NULL OR code = 'x';

-- == normalise_before_check | destructive update-rows
UPDATE users SET email = lower(email) WHERE email <> lower(email);
ALTER TABLE users ADD CONSTRAINT email_lower CHECK (email = lower(email)) NOT VALID;

-- == upsert | destructive upsert-rows
INSERT INTO billing.plans (code, name, price) VALUES ('free', 'Free', 0) ON CONFLICT (code) DO UPDATE SET name = excluded.name, price = excluded.price;

-- == merge_update | destructive merge-rows
MERGE INTO billing.plans p USING (VALUES ('free', 1)) n (code, price) ON p.code = n.code WHEN MATCHED THEN UPDATE SET price = n.price;

-- == merge_delete | destructive merge-rows
MERGE INTO tags t USING expenses e ON t.id = e.id WHEN MATCHED AND e.note IS NULL THEN DELETE WHEN NOT MATCHED THEN DO NOTHING;

-- == move_rows | destructive delete-without-where
WITH moved AS (DELETE FROM expense_lines RETURNING *) INSERT INTO archive.lines SELECT * FROM moved;

-- == narrow_to_int | destructive narrow-column-type
ALTER TABLE expenses ALTER COLUMN id TYPE integer;

-- == narrow_varchar | destructive narrow-column-type
ALTER TABLE merchants ALTER COLUMN name TYPE varchar(50);

-- == narrow_numeric | destructive narrow-column-type
ALTER TABLE expenses ALTER COLUMN amount TYPE numeric(12,0);

-- == narrow_timestamp | destructive narrow-column-type
ALTER TABLE users ALTER COLUMN created_at TYPE date USING created_at::date;

-- == float_from_numeric | destructive narrow-column-type
ALTER TABLE billing.invoices ALTER COLUMN amount TYPE double precision;

-- == int_to_boolean | destructive narrow-column-type
ALTER TABLE expenses ALTER COLUMN priority TYPE boolean USING priority > 0;

-- == using_that_forgets | destructive narrow-column-type
ALTER TABLE expenses ALTER COLUMN note TYPE text USING NULL;

-- == using_that_cuts | destructive narrow-column-type
ALTER TABLE expenses ALTER COLUMN note TYPE text USING substr(note, 1, 10);

-- == using_through_a_shorter_type | destructive narrow-column-type
ALTER TABLE expenses ALTER COLUMN note TYPE text USING note::varchar(4)::text;

-- == using_another_column | destructive narrow-column-type
ALTER TABLE expenses ALTER COLUMN note TYPE text USING code;

-- == narrow_of_what_is_not_known | destructive narrow-column-type
ALTER TABLE somewhere.else ALTER COLUMN amount TYPE integer;

-- == text_to_date | destructive narrow-column-type
ALTER TABLE expenses ALTER COLUMN note TYPE date USING note::date;

-- == enum_rebuilt | destructive change-column-type, drop-default, drop-type, rename-object
ALTER TYPE "expense_status" RENAME TO "expense_status_old";
CREATE TYPE "expense_status" AS ENUM ('draft', 'submitted', 'approved');
ALTER TABLE "expenses" ALTER COLUMN "status" DROP DEFAULT;
ALTER TABLE "expenses" ALTER COLUMN "status" TYPE "expense_status" USING ("status"::text::"expense_status");
ALTER TABLE "expenses" ALTER COLUMN "status" SET DEFAULT 'draft';
DROP TYPE "expense_status_old";

-- == enum_label_renamed | destructive rename-enum-value
ALTER TYPE expense_status RENAME VALUE 'paid' TO 'settled';

-- == drop_view | destructive drop-view
DROP VIEW open_expenses;

-- == drop_matview | destructive drop-materialized-view
DROP MATERIALIZED VIEW monthly_totals;

-- == drop_sequence | destructive drop-sequence
DROP SEQUENCE IF EXISTS invoice_number;

-- == restart_sequence | destructive restart-sequence
ALTER SEQUENCE invoice_number RESTART WITH 1;

-- == setval | destructive restart-sequence
SELECT setval('invoice_number', 1, false);

-- == setval_of_serial | destructive restart-sequence
SELECT setval(pg_get_serial_sequence('merchants', 'id'), coalesce(max(id), 1)) FROM merchants;

-- == drop_function | destructive drop-function
DROP FUNCTION total_of(bigint);

-- == drop_type | destructive drop-cascade, drop-type
DROP TYPE postal_address CASCADE;

-- == drop_attribute | destructive drop-attribute
ALTER TYPE postal_address DROP ATTRIBUTE zip;

-- == drop_trigger | destructive drop-trigger
DROP TRIGGER IF EXISTS expenses_touch ON expenses;

-- == disable_trigger | destructive disable-trigger
ALTER TABLE expenses DISABLE TRIGGER ALL;

-- == drop_policy | destructive drop-policy
DROP POLICY own_expenses ON expenses;

-- == drop_rule | destructive drop-rule
DROP RULE no_delete ON tags;

-- == row_security_off | destructive disable-row-security
ALTER TABLE expenses DISABLE ROW LEVEL SECURITY;

-- == open_policy | destructive open-policy
CREATE POLICY everything ON expenses USING (current_user = current_user);

-- == altered_policy | destructive alter-policy
ALTER POLICY own_expenses ON expenses USING (true);

-- == view_loses_its_invoker | destructive replace-view, view-security
CREATE OR REPLACE VIEW my_expenses AS SELECT id, amount FROM expenses;

-- == drop_unique_index | destructive drop-unique-index
DROP INDEX CONCURRENTLY expenses_code_key;

-- == drop_schema | destructive drop-cascade, drop-schema
DROP SCHEMA billing CASCADE;

-- == drop_extension | destructive drop-extension
DROP EXTENSION IF EXISTS plpgsql;

-- == drop_statistics | destructive drop-object
DROP STATISTICS expenses_stats;

-- == drop_publication | destructive drop-object
DROP PUBLICATION changes;

-- == drop_owned | destructive drop-owned
DROP OWNED BY corpus_app;

-- == drop_role | destructive drop-role
DROP ROLE corpus_report;

-- == drop_database | destructive drop-database
DROP DATABASE IF EXISTS shop WITH (FORCE);

-- == detach | destructive detach-partition
ALTER TABLE readings DETACH PARTITION readings_2025 CONCURRENTLY;

-- == unlogged | destructive unlogged-table
ALTER TABLE readings_2025 SET UNLOGGED;

-- == change_owner | destructive change-owner
ALTER TABLE expenses OWNER TO corpus_app;

-- == grant_to_public | destructive grant-public
GRANT SELECT ON expenses TO PUBLIC;

-- == grant_all | destructive grant-broad
GRANT ALL ON ALL TABLES IN SCHEMA billing TO corpus_app;

-- == revoke | destructive revoke-privilege
REVOKE INSERT ON expenses FROM corpus_app;

-- == revoke_default | destructive revoke-privilege
ALTER DEFAULT PRIVILEGES IN SCHEMA billing REVOKE SELECT ON TABLES FROM corpus_report;

-- == grant_membership | destructive grant-role
GRANT pg_write_all_data TO corpus_app;

-- == superuser | destructive powerful-role
ALTER ROLE corpus_app WITH SUPERUSER;

-- == replica_role | destructive delete-rows, replication-role
SET session_replication_role = replica;
DELETE FROM expenses WHERE id = 7;
SET session_replication_role = DEFAULT;

-- == sor_schema | destructive delete-without-where, sor-schema
DELETE FROM sor.agent_events;

-- == sor_guard | destructive sor-guard
ALTER TABLE ledger DISABLE TRIGGER ALL;

-- == system_catalog | destructive system-catalog, update-rows
UPDATE pg_attribute SET attnotnull = false WHERE attname = 'note';

-- == downgrade_of_another | safe | destructive drop-table
CREATE TABLE coupons (id int PRIMARY KEY);
-- down
DROP TABLE coupons;
DROP TABLE tags;

-- == downgrade_of_what_was_there | safe | destructive drop-table
CREATE TABLE IF NOT EXISTS tags (id int PRIMARY KEY, label text);
-- down
DROP TABLE IF EXISTS tags;

-- == guarded_but_there_already | safe | destructive drop-type
DO $$ BEGIN
    CREATE TYPE expense_status AS ENUM ('draft');
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
-- down
DROP TYPE expense_status;

-- == do_that_drops | destructive drop-column
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM information_schema.columns WHERE table_name = 'expenses' AND column_name = 'note') THEN
        ALTER TABLE expenses DROP COLUMN note;
    END IF;
END $$;

-- == do_that_executes_a_constant | destructive drop-table
DO 'BEGIN EXECUTE ''DROP TABLE tags''; END';

-- == irreversible | destructive drop-column | destructive irreversible-data
ALTER TABLE expenses DROP COLUMN priority;
-- down
ALTER TABLE expenses ADD COLUMN priority int;

-- == identity_dropped | destructive drop-identity
ALTER TABLE users ALTER COLUMN id DROP IDENTITY;

-- == identity_restarted | destructive change-identity, restart-sequence
ALTER TABLE users ALTER COLUMN id RESTART WITH 1;

-- == matview_emptied | destructive empty-materialized-view
REFRESH MATERIALIZED VIEW monthly_totals WITH NO DATA;

-- == attribute_narrowed | destructive narrow-column-type
ALTER TYPE postal_address ALTER ATTRIBUTE zip TYPE varchar(5) CASCADE;

-- == to_a_domain_that_cuts | destructive narrow-column-type
CREATE DOMAIN short AS varchar(3);
ALTER TABLE expenses ALTER COLUMN note TYPE short USING note::short;
