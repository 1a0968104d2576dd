-- review: what a change of the schema does to a database in use, said before it is made.

create function sor.review_migration(up text, down text default null, name text default null)
    returns table (statement_no int, severity text, rule text, detail text, safer text, line int, direction text)
    language c stable as 'MODULE_PATHNAME', 'sor_review_migration'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.review_migration(text, text, text) is
    'Reads an upgrade and its downgrade with the server''s own reader, executes nothing, and says of each statement what it does: at least one row each, in order, first the '
    'upgrade''s (direction up), then the downgrade''s (down). statement_no and line count from 1 in either; statement_no 0 is about all of it. severity is safe, locking, rewriting, '
    'destructive or opaque; rule is one of sor.migration_rules(); safer is null where nothing is. What is not known is opaque, never safe; a syntax error is a row. '
    'name is the migration''s: where no header declares what it touches, one like add_notes_to_expenses does. '
    'Needs no tenant. Errors: 22004 up is null.';

create function sor.migration_rules() returns table (rule text, severity text, hazard text, example text, safer text)
    language c stable as 'MODULE_PATHNAME', 'sor_migration_rules'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.migration_rules() is
    'The rules of sor.review_migration, each with what it warns of, an example (a downgrade after "-- downgrade:"), and what to do instead: SQL where it ends in a semicolon.';

create function sor.review_hash(up text, down text default null) returns text
    language c stable as 'MODULE_PATHNAME', 'sor_review_hash'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.review_hash(text, text) is
    'What stands for a review that was read: SHA-256, in hex, of the texts'' checksum and of each finding''s direction, statement, severity and rule, in order, but for scope-creep. '
    'Details are not in it, for they tell of rows that come and go. Errors: 22004 up is null.';

create function sor.migration_checksum(up text, down text default null) returns text
    language c immutable parallel safe as 'MODULE_PATHNAME', 'sor_migration_checksum'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.migration_checksum(text, text) is
    'What tells two migrations apart: SHA-256, in hex, over the length of the upgrade in bytes as eight bytes, most significant first, and its bytes, and then the same of the downgrade, '
    'which has eight bytes ff in its place where there is none. So files can be compared with sor.migrations. Errors: 22004 up is null.';
