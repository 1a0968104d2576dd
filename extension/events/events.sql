-- events: append-only, hash-chained history. docs/events.md has the byte layout that each hash covers.

create function sor.refuse_change() returns trigger
    language c as 'MODULE_PATHNAME', 'sor_refuse_change';
comment on function sor.refuse_change() is 'The append-only guard: raises SR004. Attached by sor.protect_append_only.';

create function sor.protect_append_only(target regclass) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_protect_append_only'
    set search_path = pg_catalog, pg_temp;
comment on function sor.protect_append_only(regclass) is
    'Makes a table append-only, with the caller''s rights: UPDATE, DELETE and TRUNCATE raise SR004 for every role, superusers and replica sessions included. '
    'The partitions it has now are guarded as well; one made later has to be, against a TRUNCATE of its own. Run again, it changes nothing. Errors: 42501 the caller does not own the table.';

-- No CHECK on tables written thousands of times a second: each is parsed and prepared anew for every statement, and only
-- sor's own functions write here.
create table sor.agent_events (
    tenant_id uuid not null,
    stream_id uuid not null,
    seq bigint not null,
    id uuid not null,
    run_id uuid,
    turn_no int,
    tool_call_id uuid,
    message_id uuid,
    event_type text not null,
    actor_kind text not null,
    actor text not null,
    on_behalf_of uuid,
    payload jsonb not null,
    created_at timestamptz not null,
    prev_hash bytea not null,
    hash bytea not null,
    primary key (tenant_id, stream_id, seq)
);
-- id is a version 7 uuid: by time for what_happened, by run for replay.
create index agent_events_time on sor.agent_events (tenant_id, id);
create index agent_events_run on sor.agent_events (tenant_id, run_id, id) where run_id is not null;
comment on table sor.agent_events is
    'What happened. One stream for the life of one thing, seq without gaps, each hash covering the row and the hash before it.';

-- Locks for the streams whose thing has no row of its own. Never updated: the head of a stream is its last event.
create table sor.event_streams (
    tenant_id uuid not null,
    kind text not null check (kind in ('tenant', 'item', 'system', 'switches')),
    subject text not null,
    stream_id uuid not null,
    primary key (tenant_id, kind, subject)
);
comment on table sor.event_streams is 'The streams of administration, of items worked outside a run, of the system, and of switches.';

select sor.protect_tenant('sor.agent_events');
select sor.protect_tenant('sor.event_streams');
select sor.protect_append_only('sor.agent_events');
grant select, insert on sor.agent_events to sor_engine;
grant select, insert, update on sor.event_streams to sor_engine;
grant select on sor.agent_events, sor.event_streams to sor_auditor;

select pg_catalog.pg_extension_config_dump('sor.agent_events', '');
select pg_catalog.pg_extension_config_dump('sor.event_streams', '');
