-- preflight: whether the controls of this database work, tried out on the database itself.

create function sor.preflight(tenant_id uuid default null)
    returns table (check_no int, name text, ok boolean, evidence text)
    language c volatile as 'MODULE_PATHNAME', 'sor_preflight'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.preflight(uuid) is
    'The eight checks before a release, in one tenant (null: in each that is granted to the calling role): what was tried, and the rows that were seen. '
    'ok is null for the three that need more than one session: `sor preflight` does all eight. What is tried is undone; drill.preflight in the tenant''s stream is all that stays. '
    'Errors: SR002 not granted, or no tenant is; 25006 in a read-only transaction.';

create function sor.preflight_request(tenant_id uuid, request_id uuid, out inserted boolean, out response jsonb)
    language c volatile as 'MODULE_PATHNAME', 'sor_preflight_request'
    set search_path = pg_catalog, pg_temp set row_security = on set lock_timeout = '10s';
comment on function sor.preflight_request(uuid, uuid) is
    'A request as the gateway makes it, whose effect is the event drill.request: the key is claimed (a twin in flight is waited for, 10 s at most), the effect made, the response stored. '
    'inserted is false for a twin, which gets the stored response. Of two sessions that make one request at once exactly one inserts. The key expires after a minute. '
    'Errors: SR002 not granted, SR005 the id is that of another request, 55P03 the twin is still in flight.';

create function sor.preflight_awaited() returns boolean
    language c volatile as 'MODULE_PATHNAME', 'sor_preflight_awaited'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.preflight_awaited() is
    'Whether another session waits for this transaction to end, as the second one does that makes the same sor.preflight_request.';

create function sor.preflight_forget(tenant_id uuid, request_id uuid, out keys bigint, out events bigint)
    language c volatile as 'MODULE_PATHNAME', 'sor_preflight_forget'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.preflight_forget(uuid, uuid) is
    'Removes the key of sor.preflight_request, and says how many there were and how many drill.request events: 1 and 1. Errors: SR002 not granted.';

create function sor.preflight_context(out backend_pid int, out tenant_id uuid, out user_id uuid, out actor_kind text, out visible_rows bigint)
    language c volatile as 'MODULE_PATHNAME', 'sor_preflight_context'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.preflight_context() is
    'The context of this transaction and how many of sor''s tables that hold tenants'' rows show any of them under it, 0 without a tenant. visible_rows other than 0 without a tenant: a policy is off.';

create function sor.record_drill(report jsonb) returns bigint
    language c volatile as 'MODULE_PATHNAME', 'sor_record_drill'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.record_drill(jsonb) is
    'Records the release decision of `sor drill` with its bundle, as drill.decided in the system''s stream, and returns its seq there. Errors: 22023 the report is no object.';

grant execute on function sor.preflight(uuid), sor.preflight_context() to sor_auditor;
