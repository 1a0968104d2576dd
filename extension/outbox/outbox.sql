-- outbox: side effects as rows that commit with what they belong to, sent by a relay afterwards.

create table sor.outbox (
    tenant_id uuid not null,
    id uuid not null default sor.uuid_v7(),
    aggregate_id text not null,
    event_type text not null,
    destination text not null,
    payload jsonb not null,
    dedup_key text collate "C" not null,
    status text not null default 'pending', -- dispatched, dead; no CHECK: it would be parsed again at every enqueue
    attempts int not null default 0,
    next_attempt_at timestamptz not null,
    last_error text,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    processed_at timestamptz,
    run_id uuid,
    tool_call_id uuid,
    claim_token bigint,
    primary key (tenant_id, id),
    unique (tenant_id, dedup_key)
);
create index outbox_unprocessed on sor.outbox (tenant_id, created_at) where processed_at is null;
create index outbox_dead on sor.outbox (tenant_id, id) where status = 'dead';
-- for the report of a run, which must not cost more as history grows
create index outbox_run on sor.outbox (tenant_id, run_id) where run_id is not null;
comment on table sor.outbox is
    'Messages to the outside. The row is the intent, committed with the rows it belongs to; who sends it when stands in sor.ready, queue outbox. '
    'attempts counts sends whose outcome was marked; claim_token is of the last of them; processed_at is when it was dispatched.';

select sor.protect_tenant('sor.outbox');
grant select, insert, update on sor.outbox to sor_engine;
grant select on sor.outbox to sor_auditor;

create function sor.enqueue(tenant_id uuid, destination text, event_type text, aggregate_id text, payload jsonb, dedup_key text,
                            available_at timestamptz default null, out message_id uuid, out enqueued boolean)
    language c volatile as 'MODULE_PATHNAME', 'sor_enqueue'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.enqueue(uuid, text, text, text, jsonb, text, timestamptz) is
    'Puts a message into the outbox: it is sent, at least once, if and only if this transaction commits, not before available_at (null: at once), and in order within its aggregate_id. '
    'The same dedup_key again returns the first message with enqueued false. payload is a JSON object. '
    'Errors: SR005 the dedup_key was used with another destination, event_type, aggregate_id or payload; SR002 not granted; 22023 no object, or an empty name.';

create function sor.claim_outbox(tenant_id uuid, relay text, max int, lease interval)
    returns table (message_id uuid, claim_token bigint, attempt int, destination text, event_type text, aggregate_id text, payload jsonb,
                   dedup_key text, created_at timestamptz)
    language c volatile as 'MODULE_PATHNAME', 'sor_claim_outbox'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.claim_outbox(uuid, text, int, interval) is
    'Hands out up to max (1 to 1,000) messages that are due to the relay for the time of the lease (1 s to 1 h), oldest first; of one aggregate_id at most one at a time. '
    'Send each, then mark it under its claim_token; one not marked before the lease ends is handed out again. Errors: SR002 not granted, 22023 max or lease out of bounds, or an empty relay.';

create function sor.mark_dispatched(tenant_id uuid, message_id uuid, claim_token bigint, receipt jsonb) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_mark_dispatched'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.mark_dispatched(uuid, uuid, bigint, jsonb) is
    'The message was sent; the receiver''s receipt is recorded with outbox.dispatched. Marking it again under the same claim_token changes nothing. '
    'Errors: SR007 the claim is lost, and nothing was changed.';

create function sor.mark_failed(tenant_id uuid, message_id uuid, claim_token bigint, error text, permanent boolean default false) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_mark_failed'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.mark_failed(uuid, uuid, bigint, text, boolean) is
    'Sending the message failed: it is handed out again after 30 s, doubled each time up to 6 hours and spread; after 12 attempts, or when permanent, it is dead. '
    'Errors: SR007 the claim is lost, and nothing was changed.';

create function sor.find_messages(tenant_id uuid, status text default null, max int default 20)
    returns table (message_id uuid, status text, destination text, event_type text, aggregate_id text, dedup_key text, attempts int,
                   last_error text, created_at timestamptz, next_attempt_at timestamptz, processed_at timestamptz, run_id uuid)
    language c volatile as 'MODULE_PATHNAME', 'sor_find_messages'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.find_messages(uuid, text, int) is
    'The tenant''s messages, newest first, without what they say; of one status (pending, dispatched, dead) where given. Errors: SR002 not granted, 22023 max is less than 1, or no such status.';

create function sor.requeue(tenant_id uuid, queue text, item_id text) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_requeue'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.requeue(uuid, text, text) is
    'Brings a dead item, or with the queue outbox a dead message, back: due at once, its attempts counted from 0 again, with a claim_token that no former holder has. '
    'Recorded as item.requeued. Errors: SR010 it is not dead, SR013 no such queue.';

create function sor.redrive(tenant_id uuid, message_id uuid default null, destination text default null, max int default 1000) returns int
    language c volatile as 'MODULE_PATHNAME', 'sor_redrive'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.redrive(uuid, uuid, text, int) is
    'Brings dead messages back as sor.requeue does: the one given, or the oldest max (1 to 10,000) of the destination. Returns how many came back; call again while that is max. '
    'Errors: SR010 the message is not dead, 22023 neither or both are given, or max is out of bounds.';

grant execute on function sor.enqueue(uuid, text, text, text, jsonb, text, timestamptz) to sor_app;
grant execute on function sor.find_messages(uuid, text, int) to sor_auditor;
grant execute on function sor.claim_outbox(uuid, text, int, interval), sor.mark_dispatched(uuid, uuid, bigint, jsonb),
    sor.mark_failed(uuid, uuid, bigint, text, boolean) to sor_relay;

select pg_catalog.pg_extension_config_dump('sor.outbox', '');
