-- Migrations at which somebody waits, or programs meet something else, and nothing is lost.

-- == 20240601_add_index_to_expenses.rb | locking create-index | safe
CREATE INDEX "index_expenses_on_spent_on" ON "expenses" ("spent_on");
-- down
DROP INDEX "index_expenses_on_spent_on";

-- == 20240602_add_unique_index | locking create-index
CREATE UNIQUE INDEX index_users_on_lower_email ON users (lower(email));

-- == add_check_at_once | locking add-check | safe
ALTER TABLE expenses ADD CONSTRAINT currency_known CHECK (currency IN ('EUR', 'CHF', 'USD'));
-- down
ALTER TABLE expenses DROP CONSTRAINT currency_known;

-- == django_0010_fk | locking add-foreign-key
ALTER TABLE "expense_lines" ADD COLUMN "tag_id" integer NULL;
ALTER TABLE "expense_lines" ADD CONSTRAINT "lines_tag_fk" FOREIGN KEY ("tag_id") REFERENCES "tags" ("id") DEFERRABLE INITIALLY DEFERRED;

-- == prisma_add_unique | locking create-index
-- CreateIndex
CREATE UNIQUE INDEX "merchants_country_key" ON "merchants"("country");

-- == prisma_required_column | locking add-required-column
/*
  Warnings:

  - Added the required column `region` to the `merchants` table without a default value. This is not possible if the table is not empty.

*/
-- AlterTable
ALTER TABLE "merchants" ADD COLUMN     "region" TEXT NOT NULL;

-- == add_unique_constraint | locking add-unique
ALTER TABLE users ADD CONSTRAINT users_name_key UNIQUE (name);

-- == add_primary_key | locking add-primary-key
ALTER TABLE readings_2025 ADD PRIMARY KEY (at, sensor);

-- == add_exclusion | locking add-exclusion
ALTER TABLE billing.plans ADD CONSTRAINT one_price EXCLUDE USING btree (price WITH =);

-- == set_not_null | locking set-not-null
ALTER TABLE expenses ALTER COLUMN note SET NOT NULL;

-- == set_not_null_not_proven | locking set-not-null
ALTER TABLE expenses ALTER COLUMN priority SET NOT NULL;

-- == drop_not_null | locking drop-not-null
ALTER TABLE merchants ALTER COLUMN name DROP NOT NULL;

-- == drop_default | locking drop-default
ALTER TABLE expenses ALTER COLUMN currency DROP DEFAULT;

-- == not_valid_and_validate_together | locking validate-in-same-transaction
ALTER TABLE expenses ADD CONSTRAINT note_present CHECK (note IS NOT NULL) NOT VALID;
ALTER TABLE expenses VALIDATE CONSTRAINT note_present;

-- == column_with_unique | locking add-column-unique
ALTER TABLE users ADD COLUMN handle text UNIQUE;

-- == column_with_check | locking add-column-check
ALTER TABLE users ADD COLUMN age int CHECK (age > 0);

-- == column_with_reference_and_default | locking add-column-reference
ALTER TABLE users ADD COLUMN tag_id int DEFAULT 1 REFERENCES tags;

-- == concurrently_in_a_transaction | locking concurrently-in-transaction
BEGIN;
CREATE INDEX CONCURRENTLY users_seen ON users (last_seen);
COMMIT;

-- == concurrently_on_partitioned | locking concurrently-on-partitioned
CREATE INDEX CONCURRENTLY readings_sensor ON readings (sensor);

-- == partition_beside_default | locking scan-default-partition
CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');

-- == attach_partition | locking attach-partition
ALTER TABLE readings ATTACH PARTITION archive.readings_2020 FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');

-- == drop_index_concurrently | locking drop-index-concurrently
DROP INDEX CONCURRENTLY IF EXISTS expenses_note_idx;

-- == drop_index | locking drop-index
DROP INDEX expenses_note_idx;

-- == reindex | locking reindex
REINDEX TABLE expenses;

-- == refresh | locking refresh-materialized-view
REFRESH MATERIALIZED VIEW monthly_totals;

-- == lock_table | locking lock-table
LOCK TABLE expenses IN SHARE ROW EXCLUSIVE MODE;

-- == lock_rows | locking lock-rows
SELECT id FROM expenses WHERE status = 'draft' FOR UPDATE;

-- == fill_nulls | locking fill-nulls
UPDATE expenses SET note = '' WHERE note IS NULL;

-- == fill_nulls_in_two_columns | locking fill-nulls
UPDATE expenses AS e SET merchant_id = m.id, code = m.country FROM merchants m WHERE e.merchant_id IS NULL AND e.code IS NULL AND m.name = e.note;

-- == vacuum_in_migration | locking outside-transaction
VACUUM (ANALYZE) expenses;

-- == enum_value_used_at_once | locking enum-value-in-same-transaction
ALTER TYPE expense_status ADD VALUE 'disputed';
INSERT INTO expenses (id, user_id, amount, spent_on, status) VALUES (1, 1, 1, now(), 'disputed');

-- == domain_constraint | locking domain-constraint
ALTER DOMAIN email ADD CONSTRAINT lower_only CHECK (value = lower(value));

-- == deferrable | locking alter-constraint
ALTER TABLE expenses ALTER CONSTRAINT expenses_merchant_id_fkey DEFERRABLE;

-- == replica_identity | locking replica-identity
ALTER TABLE tags REPLICA IDENTITY FULL;

-- == rename_index | locking rename-index
ALTER INDEX expenses_user_idx RENAME TO expenses_by_user;

-- == row_security_on | locking create-policy, enable-row-security
ALTER TABLE merchants ENABLE ROW LEVEL SECURITY;
CREATE POLICY merchants_of_country ON merchants USING (country = current_setting('app.country', true));

-- == policy_for_one_role | locking create-policy
CREATE POLICY report_reads ON expenses FOR SELECT TO corpus_report USING (status = 'paid');

-- == view_with_one_more_column | locking replace-view
CREATE OR REPLACE VIEW expense_list AS SELECT id, note, amount FROM expenses;

-- == identity_added | locking change-identity
ALTER TABLE tags ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY;

-- == sequence_steps | locking alter-sequence
ALTER SEQUENCE invoice_number INCREMENT BY 10 CACHE 20;

-- == composite_attribute | locking alter-composite-type
ALTER TYPE postal_address ADD ATTRIBUTE country text;

-- == publication | locking alter-publication
ALTER PUBLICATION changes ADD TABLE tags;

-- == prepared | locking prepared-transaction
BEGIN;
ALTER TABLE users ADD COLUMN nick text;
PREPARE TRANSACTION 'later';

-- == no_timeout | locking no-lock-timeout
SET lock_timeout = 0;
ALTER TABLE users ADD COLUMN nick text;

-- == typed_table | locking inheritance
ALTER TABLE archive.rows INHERIT tags;

-- == guarded_index_in_do | locking create-index
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_indexes WHERE indexname = 'users_locale_idx') THEN
        CREATE INDEX users_locale_idx ON users (locale);
    END IF;
END $$;
