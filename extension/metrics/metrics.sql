-- metrics: what to watch, at a cost that does not grow with what waits or has happened.

-- Counters are derived: sor.metrics counts the events since it was last called, so that no transaction pays for them.
-- event_counts has what was counted so far; event_count_progress how far that is. counted_to is exclusive of nothing
-- older: every event with an id up to it is counted. candidate_* is the moment that the next call may count up to, once
-- every transaction of that time has ended.
create table sor.event_counts (
    tenant_id uuid not null,
    name text collate "C" not null,
    value double precision not null,
    primary key (tenant_id, name)
) with (fillfactor = 50);
comment on table sor.event_counts is 'How many events of each kind sor.metrics has counted since it was first called, and the histogram of dispatch latencies.';

create table sor.event_count_progress (
    tenant_id uuid primary key,
    counted_to uuid not null,
    counted_at timestamptz not null,
    candidate_to uuid not null,
    candidate_at timestamptz not null,
    candidate_xmax text not null
) with (fillfactor = 50);
comment on table sor.event_count_progress is 'How far sor.metrics has counted the events of each tenant.';

select sor.protect_tenant('sor.event_counts');
select sor.protect_tenant('sor.event_count_progress');
grant select, insert, update on sor.event_counts, sor.event_count_progress to sor_engine;
grant select on sor.event_counts, sor.event_count_progress to sor_auditor;

create function sor.metrics() returns table (name text, labels jsonb, value double precision, family text, type text, help text)
    language c volatile as 'MODULE_PATHNAME', 'sor_metrics'
    set search_path = pg_catalog, pg_temp set row_security = on set quote_all_identifiers = off;
comment on function sor.metrics() is
    'What to watch, for Prometheus: of the tenants granted to the calling role, of all for operators. Gauges count at most 10,000 rows each: that value means at least so many. *_estimated are the planner''s. '
    'Counters (*_total, *_bucket) begin at 0 when a tenant is first looked at, and lag behind by a call while transactions are in flight (sor_counters_age_seconds). '
    'Costs the same whatever waits or has happened: some probes for each tenant and queue, and the events since the last call, a million of a tenant at most. In a transaction that is read-only or REPEATABLE READ counters stand still.';

create function sor.status() returns table (severity text, problem text, tenant text, subject text, since timestamptz, count bigint, detail text, action text)
    language c volatile as 'MODULE_PATHNAME', 'sor_status'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.status() is
    'What a person on call has to know, worst first: lapsed runs, leases that ran out, dead items and messages, work that nobody takes, a relay that does not run, what is paused; none when all is well. '
    'action is a command. Of the tenants granted to the calling role, of all for operators. count is 10,000 where it is more. Changes nothing.';

grant execute on function sor.metrics(), sor.status() to sor_auditor;

select pg_catalog.pg_extension_config_dump('sor.event_counts', '');
select pg_catalog.pg_extension_config_dump('sor.event_count_progress', '');
