-- fingerprint: whether two schemas, or two tables' contents, are the same, and where not, what differs.

create function sor.schema_fingerprint(schemas text[] default null) returns text
    language c stable as 'MODULE_PATHNAME', 'sor_schema_fingerprint'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.schema_fingerprint(text[]) is
    'SHA-256, in hexadecimal, of sor.schema_objects(schemas): the same for the same schema, whatever OIDs, dropped columns, the order of its making, the session''s settings and its caller; '
    'so too in a database that pg_restore made of its dump. Reads the catalogs, set by set: about half a second for 1,000 tables. Errors: 3F000 there is no such schema.';

create function sor.schema_objects(schemas text[] default null) returns table (object text, definition text)
    language c stable as 'MODULE_PATHNAME', 'sor_schema_objects'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.schema_objects(text[]) is
    'What a schema fingerprint covers, one row for each object, sorted: its kind and name, and what it is, with owner, privileges, comment and security labels. Columns are objects of their own. '
    'schemas null: all that is not PostgreSQL''s, sor''s or another extension''s, and what belongs to no schema; else what is in those schemas. Not covered: values of sequences, rows, settings of '
    'the database, connections of subscriptions and options of user mappings. Errors: 3F000 there is no such schema.';

create function sor.table_digest(target regclass) returns table (row_count bigint, digest text)
    language c stable as 'MODULE_PATHNAME', 'sor_table_digest'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.table_digest(regclass) is
    'How many rows a table has, and SHA-256, in hexadecimal, of its columns'' names and types and of all their values: the same whatever the order of rows and columns and the session''s settings. '
    'Of a partitioned table, its partitions'' rows; of any other, its own alone. Reads the whole table with the caller''s own rights. '
    'Errors: 42501 the caller may not read it, or row security could hide rows; 42809 no table; 42P01 there is none.';

grant execute on function sor.schema_fingerprint(text[]), sor.schema_objects(text[]) to sor_auditor;
