-- migrations: the history of the schema, kept in the database it is the history of. What each change is, who proposed
-- and approved it, when it was applied and rolled back; and the one runner that applies it.

create table sor.migrations (
    version text primary key,
    sort_key text collate "C" not null unique,
    name text not null,
    checksum text not null,
    up text not null,
    down text,
    proposed_by text not null,
    proposed_at timestamptz not null,
    review_hash text,
    findings jsonb,
    approved_by text,
    approved_at timestamptz,
    approval_seq bigint, -- of the event in the system's stream: the row alone approves nothing
    override jsonb,
    override_up boolean not null default false, -- still good for an upgrade
    override_down boolean not null default false,
    applied_by text,
    applied_from text,
    applied_at timestamptz,
    duration interval,
    rolled_back_by text,
    rolled_back_at timestamptz,
    fingerprint_before text,
    fingerprint_after text,
    fingerprint text, -- when it was last applied or rolled back
    search_path text, -- in which the upgrade's names were read; null: not applied yet
    progress jsonb -- of one that is being applied or rolled back in steps
);
comment on table sor.migrations is
    'Every migration that was proposed, with its texts. checksum is SHA-256, in hex, over the length of the upgrade in bytes as eight bytes, most significant first, and its bytes, '
    'and then the same of the downgrade; a migration without a downgrade has eight bytes ff in its place. Versions are ordered number by number (sort_key). Written by sor''s functions alone.';

create table sor.rehearsals (
    id uuid primary key,
    version text not null,
    checksum text not null,
    branch text not null,
    rehearsed_by text not null,
    rehearsed_at timestamptz not null,
    report jsonb not null
);
create index rehearsals_of_migration on sor.rehearsals (version, checksum);
comment on table sor.rehearsals is 'What came of trying a migration on a branch of the database, for each time it was tried.';

grant select, insert, update on sor.migrations to sor_engine;
grant select, insert on sor.rehearsals to sor_engine;
grant select on sor.migrations, sor.rehearsals to sor_operator, sor_auditor;

create function sor.propose_migration(version text, name text, up text, down text) returns text
    language c volatile as 'MODULE_PATHNAME', 'sor_propose_migration'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.propose_migration(text, text, text, text) is
    'Records a migration and returns its checksum. The same again changes nothing; other texts replace those of a migration that is not applied, and its approval is void. down null: it cannot be rolled back. '
    'A version is numbers between dots, hyphens or underscores. The texts are read, not run: the error''s context names statement and line. Recorded as migration.proposed. '
    'Errors: 42601 not SQL of the server (psql commands and COPY data neither), 0A000 a statement that no migration may have (BEGIN, COMMIT, CREATE DATABASE, …), 54001 too complex to be read, '
    '22023 no version, no name, no statement, or a second migration of this number; SR011 it is applied with other texts, SR010 it is half applied.';

create function sor.approve_migration(version text, override jsonb default null, review text default null) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_approve_migration'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.approve_migration(text, jsonb, text) is
    'Approves a migration''s texts as they are now, in the name of the login, which is not the one that proposed it. Holds until the texts change. What the review calls destructive, in either direction, needs an '
    'override {branch, backup, reason}, which is good for one upgrade and one downgrade. review: the hash of the review that was read (sor.review_hash). Warns when no rehearsal of these texts is recorded. Recorded as migration.approved. '
    'Errors: 42501 the proposer, not with one''s own login, or not by a statement of the client''s that names the function; SR009 destructive, and no override; SR011 the review reads otherwise now; SR013 no such migration; SR010 it is half applied; 22023 an override without branch, backup or reason.';

create function sor.apply_migration(version text, out_of_order boolean default false, lock_timeout interval default '3 s')
    returns table (statement_no int, line int, command text, duration interval, locks jsonb)
    language c volatile as 'MODULE_PATHNAME', 'sor_apply_migration'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.apply_migration(text, boolean, interval) is
    'Runs the upgrade in this transaction, with the caller''s own rights (or, with a first line "-- sor: role NAME", those of that role, of which the caller is a member), under the settings that the session began with. '
    'Settings, temporary tables and cursors that it leaves are undone. One row for each statement; locks is [{relation, mode, held_ms}] of what was there before, taken by that statement and held until the end, '
    'null where a thousand locks are held already. lock_timeout: how long it waits for each lock, zero for ever. A superuser whose session has sor.drop_guard off needs no approval. Recorded as migration.applied. '
    'Errors: whatever a statement raises, with statement and line in its context; SR013 no such migration, SR010 not approved, applied already, out of order, half applied, SR009 its override was used, SR011 text or review are not what was approved, '
    'SR012 another session runs migrations, 55P03 a lock was not to be had, 25001 it has statements that no transaction can hold (see sor.migration_steps).';

create function sor.rollback_migration(version text, out_of_order boolean default false, lock_timeout interval default '3 s')
    returns table (statement_no int, line int, command text, duration interval, locks jsonb)
    language c volatile as 'MODULE_PATHNAME', 'sor_rollback_migration'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.rollback_migration(text, boolean, interval) is
    'Runs the downgrade, as sor.apply_migration runs the upgrade: of the newest migration that is applied, or of one that is half applied. Recorded as migration.rolled_back. '
    'Errors: as there; SR010 also when it is not applied or has no downgrade.';

create function sor.lock_migrations() returns boolean
    language c volatile as 'MODULE_PATHNAME', 'sor_lock_migrations'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.lock_migrations() is
    'Makes this session the one that runs migrations, until sor.unlock_migrations or its end; false, at once, when another is. Called twice, it is to be unlocked twice.';

create function sor.unlock_migrations() returns boolean
    language c volatile as 'MODULE_PATHNAME', 'sor_unlock_migrations'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.unlock_migrations() is 'Gives back what sor.lock_migrations took; false when the session had not taken it.';

create function sor.migration_steps(version text, direction text default 'up')
    returns table (step int, transactional boolean, first_statement int, last_statement int, line int, statement text, done boolean)
    language c volatile as 'MODULE_PATHNAME', 'sor_migration_steps'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.migration_steps(text, text) is
    'How a migration is run that has statements which no transaction can hold: each of these is a step (its text in statement), and what stands between them is a transactional one. done: while it is half applied, what is behind it. '
    'direction: up or down. Errors: SR013 no such migration, SR010 no downgrade, 22023 no such direction.';

create function sor.run_migration_step(version text, direction text, step int, out_of_order boolean default false, lock_timeout interval default '3 s')
    returns table (statement_no int, line int, command text, duration interval, locks jsonb)
    language c volatile as 'MODULE_PATHNAME', 'sor_run_migration_step'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.run_migration_step(text, text, int, boolean, interval) is
    'Runs a transactional step in this transaction, as sor.apply_migration runs a whole migration, and records it; the last step makes the migration applied (or rolled back). '
    'The session has called sor.lock_migrations. Errors: as sor.apply_migration; SR010 also when it is not the next step, or not transactional, or without the lock.';

create function sor.begin_migration_step(version text, direction text, step int, out_of_order boolean default false)
    returns table (cleanup text[], statement text)
    language c volatile as 'MODULE_PATHNAME', 'sor_begin_migration_step'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.begin_migration_step(text, text, int, boolean) is
    'Records that a step begins which no transaction can hold. After the commit the same session executes each text of cleanup, which removes what an interrupted attempt left, and then statement, each as it is and alone; '
    'then it calls sor.finish_migration_step. cleanup is empty the first time; statement is null when an earlier attempt had done it all. To be called again after a failure. '
    'Errors: as sor.run_migration_step; SR010 also when the step is a transactional one.';

create function sor.finish_migration_step(version text, direction text, step int, duration interval default null) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_finish_migration_step'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.finish_migration_step(text, text, int, interval) is
    'Looks whether the step that was begun has had its effect (an index is there and valid, or gone; a partition is detached) and records it; the last step makes the migration applied (or rolled back). '
    'Errors: SR010 it has not had it, or was not begun, or the session has not called sor.lock_migrations; SR013 no such migration.';

create function sor.migration_failed(version text, direction text, error jsonb) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_migration_failed'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.migration_failed(text, text, jsonb) is
    'Records an attempt that failed, and was rolled back together with its own record, as migration.failed. error: what is known of it. Errors: SR013 no such migration, 22023 no such direction, or no object.';

create function sor.record_rehearsal(version text, checksum text, branch text, report jsonb) returns uuid
    language c volatile as 'MODULE_PATHNAME', 'sor_record_rehearsal'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.record_rehearsal(text, text, text, jsonb) is
    'Records what came of trying a migration on a branch of this database, and returns its id. Recorded as migration.rehearsed. '
    'Errors: SR013 no such migration, SR011 its texts have changed since, 22023 no branch, or the report is no object.';

create function sor.migration_status()
    returns table (version text, name text, state text, checksum text, proposed_by text, approved_by text, applied_at timestamptz, rolled_back_at timestamptz, rehearsed boolean, detail text,
                   fingerprint text, changed_at timestamptz)
    language c volatile as 'MODULE_PATHNAME', 'sor_migration_status'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.migration_status() is
    'Every migration in order of its version. state is proposed, approved, applying, applied, rolling_back or rolled_back; rehearsed: there is a rehearsal of its present texts that did not fail (its report has no "succeeded": false). '
    'detail says of one that is half applied at which step it stands and what is left of an interrupted statement, by name; and whether a text is not what was approved. fingerprint: of the schema, when it was last applied or rolled back; changed_at: when that was.';

grant execute on function sor.migration_status(), sor.migration_steps(text, text) to sor_auditor;

select pg_catalog.pg_extension_config_dump('sor.migrations', '');
select pg_catalog.pg_extension_config_dump('sor.rehearsals', '');
