-- Migrations that write every row again, with every value still there.

-- == id_to_bigint | rewriting change-column-type
ALTER TABLE tags ALTER COLUMN id TYPE bigint;

-- == rails_change_column | rewriting change-column-type
ALTER TABLE "billing"."plans" ALTER COLUMN "price" TYPE bigint, ALTER COLUMN "price" SET DEFAULT 0;

-- == json_to_jsonb | rewriting change-column-type
ALTER TABLE merchants ALTER COLUMN settings TYPE jsonb USING settings::jsonb;

-- == timestamp_to_timestamptz | rewriting change-column-type
ALTER TABLE users ALTER COLUMN last_seen TYPE timestamptz USING last_seen AT TIME ZONE 'UTC';

-- == text_to_enum | rewriting change-column-type
CREATE TYPE country_code AS ENUM ('DE', 'CH');
ALTER TABLE merchants ALTER COLUMN country TYPE country_code USING country::country_code;

-- == text_to_array | rewriting change-column-type
ALTER TABLE expenses ALTER COLUMN note TYPE text[] USING ARRAY[note];

-- == char_to_text | rewriting change-column-type
ALTER TABLE users ALTER COLUMN locale TYPE text;

-- == numeric_scale | rewriting change-column-type
ALTER TABLE expenses ALTER COLUMN amount TYPE numeric(16,4);

-- == column_not_known_to_text | rewriting change-column-type
ALTER TABLE somewhere.else ALTER COLUMN body TYPE text;

-- == uuid_for_every_row | rewriting add-column-volatile-default | safe
ALTER TABLE expenses ADD COLUMN public_id uuid NOT NULL DEFAULT gen_random_uuid();
-- down
ALTER TABLE expenses DROP COLUMN public_id;

-- == clock_timestamp | rewriting add-column-volatile-default
ALTER TABLE users ADD COLUMN seen_at timestamptz DEFAULT clock_timestamp();

-- == serial_column | rewriting add-serial-column
ALTER TABLE expense_lines ADD COLUMN id bigserial;

-- == identity_column | rewriting add-identity-column
ALTER TABLE expense_lines ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;

-- == generated_column | rewriting add-generated-column
ALTER TABLE expenses ADD COLUMN gross numeric GENERATED ALWAYS AS (amount * 1.19) STORED;

-- == search_vector | rewriting add-generated-column
ALTER TABLE merchants ADD COLUMN search tsvector GENERATED ALWAYS AS (to_tsvector('simple', name)) STORED;
CREATE INDEX CONCURRENTLY merchants_search_idx ON merchants USING gin (search);

-- == expression_dropped | rewriting change-generated-column
ALTER TABLE expenses ALTER COLUMN total DROP EXPRESSION;

-- == column_of_a_domain | rewriting add-constrained-domain-column
ALTER TABLE merchants ADD COLUMN contact email;

-- == backfill_in_the_same_migration | rewriting backfill | safe
ALTER TABLE expenses ADD COLUMN cents bigint;
UPDATE expenses SET cents = (amount * 100)::bigint;
-- down
ALTER TABLE expenses DROP COLUMN cents;

-- == django_three_steps | rewriting backfill, set-not-null
BEGIN;
ALTER TABLE "users" ADD COLUMN "display" varchar(80) NULL;
UPDATE "users" SET "display" = "name";
ALTER TABLE "users" ALTER COLUMN "display" SET NOT NULL;
COMMIT;

-- == set_logged | rewriting set-logged
ALTER TABLE tags SET LOGGED;

-- == vacuum_full | rewriting vacuum-full
VACUUM FULL expenses;

-- == cluster | rewriting cluster
CLUSTER expenses USING expenses_user_idx;

-- == tablespace | rewriting set-tablespace
ALTER TABLE expenses SET TABLESPACE pg_default;

-- == access_method | rewriting set-access-method
ALTER TABLE expenses SET ACCESS METHOD heap;

-- == other_collation | rewriting change-column-type
ALTER TABLE merchants ALTER COLUMN name TYPE text COLLATE "C";
