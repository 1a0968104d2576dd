-- idempotency: the stored response of each request, and tables that are written by natural key.

create table sor.idempotency_keys (
    tenant_id uuid not null,
    key uuid not null,
    operation text not null,
    fingerprint bytea not null,
    response jsonb not null,
    created_at timestamptz not null default pg_catalog.now(),
    expires_at timestamptz not null default (pg_catalog.now() + interval '24 hours'),
    primary key (tenant_id, key)
);
create index idempotency_keys_expiry on sor.idempotency_keys (expires_at);
comment on table sor.idempotency_keys is
    'The response of each request that succeeded, by the caller''s request_id, until it expires. The fingerprint covers tool, user and arguments.';

create table sor.registered_tables (
    name text primary key,
    target text not null unique,
    key text[] not null,
    readable text[],
    writable text[],
    owner_column text,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
comment on table sor.registered_tables is 'The tables that Workers may write and read, by registered name. Kept as text, so that pg_upgrade passes.';

select sor.protect_tenant('sor.idempotency_keys');
grant select, insert, update, delete on sor.idempotency_keys to sor_engine;
grant select, insert, update on sor.registered_tables to sor_engine;
grant select on sor.idempotency_keys, sor.registered_tables to sor_auditor;

create function sor.register_table(target regclass, key text[], readable text[] default null, writable text[] default null,
                                   owner_column text default null, name text default null) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_register_table'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.register_table(regclass, text[], text[], text[], text, text) is
    'Lets Workers write the table by its natural key (unique together with tenant_id) and read it, as its owner under row security. readable and writable name columns '
    '(null: all); with owner_column members write only their own rows. Registered again, it is replaced. The caller must be a member of the owner. '
    'Errors: 22023 the table is not fit (says why), 42501 not a member, or the owner has power over other tenants.';

create function sor.describe_table(target text)
    returns table (column_name text, data_type text, is_key boolean, is_readable boolean, is_writable boolean, is_required boolean)
    language c volatile as 'MODULE_PATHNAME', 'sor_describe_table'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.describe_table(text) is
    'The columns of a registered table, tenant_id aside, in their order. is_required: it has no default and may not be null. Errors: SR013 not registered.';

create function sor.upsert(tenant_id uuid, target text, record jsonb, on_conflict text default 'nothing',
                           out inserted boolean, out stored jsonb)
    language c volatile as 'MODULE_PATHNAME', 'sor_upsert'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.upsert(uuid, text, jsonb, text) is
    'Writes one record by its natural key: a second write of the key changes nothing (nothing) or the columns given (update). stored is the row as it now is, readable columns only. '
    'Also to update, a record carries what a new row would need. '
    'Errors: SR013 not registered, SR003 the user may not write it, 22023 an unknown or unwritable column or no object, SR002 not granted, and what the table itself refuses.';

create function sor.upsert_many(tenant_id uuid, target text, records jsonb, on_conflict text default 'nothing', dry_run boolean default false,
                                out inserted int, out existing int, out refused jsonb)
    language c volatile as 'MODULE_PATHNAME', 'sor_upsert_many'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.upsert_many(uuid, text, jsonb, text, boolean) is
    'upsert for an array of at most 10,000 records: each counts as inserted or existing, or stands in refused as {index, sqlstate, message} and costs the others nothing. '
    'dry_run: the same answer, nothing written. Errors: as upsert for what concerns the whole call.';

create function sor.purge_idempotency_keys(tenant_id uuid, max int) returns int
    language c volatile as 'MODULE_PATHNAME', 'sor_purge_idempotency_keys'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.purge_idempotency_keys(uuid, int) is
    'Deletes up to max stored responses that have expired, and returns how many it deleted; call again while that is max. Errors: SR002 not granted, 22023 max is less than 1.';

grant execute on function sor.upsert(uuid, text, jsonb, text), sor.upsert_many(uuid, text, jsonb, text, boolean),
    sor.describe_table(text) to sor_app;
grant execute on function sor.purge_idempotency_keys(uuid, int) to sor_relay;

select pg_catalog.pg_extension_config_dump('sor.idempotency_keys', '');
select pg_catalog.pg_extension_config_dump('sor.registered_tables', '');
