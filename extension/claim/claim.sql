-- claim: items of domain tables, handed out with leases and fencing tokens.

-- Without row security, and readable by the engine alone: it holds no tenant's content, and a claim must cost the same
-- whatever waits. Only what waits or is being worked on has a row; dead and finished items have none. No CHECK: each
-- would be parsed again at every statement, and only our own functions write here. Keys compare as bytes, everywhere alike.
create table sor.ready (
    tenant_id uuid not null,
    queue text collate "C" not null,
    item_id text collate "C" not null,
    available_at timestamptz not null,
    claim_token bigint not null default 0,
    attempt int not null default 0,
    claimed_by text,
    run_id uuid,
    order_value text collate "C",
    order_at timestamptz,
    primary key (tenant_id, queue, item_id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.2);
create index ready_due on sor.ready (tenant_id, queue, available_at);
create index ready_order on sor.ready (tenant_id, queue, order_value, order_at, item_id) where order_value is not null;
comment on table sor.ready is
    'What waits or is being worked on, in every queue. available_at is its schedule, its retry or the end of its lease; infinity: it waits behind an older one of its order_value.';

create table sor.queues (
    name text primary key,
    target text not null,
    key_column text not null,
    order_key text,
    max_attempts int not null check (max_attempts > 0),
    backoff_base interval not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
comment on table sor.queues is 'The tables whose rows are items of a queue, by registered name. Kept as text, so that pg_upgrade passes.';

create table sor.item_failures (
    tenant_id uuid not null,
    queue text collate "C" not null,
    item_id text collate "C" not null,
    attempt int not null,
    error text not null,
    failed_at timestamptz not null,
    dead boolean not null,
    claim_token bigint not null,
    order_value text collate "C",
    primary key (tenant_id, queue, item_id)
);
create index item_failures_dead on sor.item_failures (tenant_id, queue) where dead;
comment on table sor.item_failures is
    'The last error of each item that failed and was not completed since. dead: it was tried as often as its queue allows, and waits for sor.requeue.';

select sor.protect_tenant('sor.item_failures');
grant select, insert, update, delete on sor.ready, sor.item_failures to sor_engine;
grant select, insert, update on sor.queues to sor_engine;
grant select on sor.item_failures, sor.queues to sor_auditor;

create function sor.queue_insert() returns trigger
    language c as 'MODULE_PATHNAME', 'sor_queue_insert'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.queue_insert() is 'Of a queue''s table: makes an item of each new row, in the row''s own tenant. Attached by sor.register_queue.';

create function sor.queue_delete() returns trigger
    language c as 'MODULE_PATHNAME', 'sor_queue_delete'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.queue_delete() is 'Of a queue''s table: the item goes with its row. Attached by sor.register_queue.';

create function sor.queue_update() returns trigger
    language c as 'MODULE_PATHNAME', 'sor_queue_update'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.queue_update() is
    'Of a queue''s table: raises SR010 when tenant or key of a row changes, or the order key of one that is still an item. Attached by sor.register_queue.';

create function sor.queue_truncate() returns trigger
    language c as 'MODULE_PATHNAME', 'sor_queue_truncate'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.queue_truncate() is 'Of a queue''s table: raises SR010. Attached by sor.register_queue.';

create function sor.register_queue(target regclass, max_attempts int default 5, backoff_base interval default '30 s',
                                   order_key text default null, name text default null) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_register_queue'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.register_queue(regclass, int, interval, text, text) is
    'Makes every row of the table, those there are and those to come, an item of the queue (the table''s name unless given). The table has a key of tenant_id and one other column, '
    'whose text is the item_id. An item that failed is tried again after backoff_base (0 to 1 day), doubled each time up to 6 hours and spread; after max_attempts it is dead. '
    'Items with one value of the column order_key are handed out one at a time, oldest first. Registered again, max_attempts and backoff_base are replaced. '
    'The caller must be a member of the owner. Errors: 22023 the table or an argument is not fit, 42501 not a member, or the owner has power over other tenants, SR010 registered otherwise.';

create function sor.claim(tenant_id uuid, queue text, worker text, max int, lease interval)
    returns table (item_id text, claim_token bigint, attempt int, item jsonb)
    language c volatile as 'MODULE_PATHNAME', 'sor_claim'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.claim(uuid, text, text, int, interval) is
    'Hands out up to max (1 to 1,000) items that are due to the worker, oldest first, for the time of the lease (1 s to 1 h): until then nobody else gets them. Waits for nobody. '
    'claim_token proves the claim to complete, fail, release and extend. item is the row as a Worker may see it. '
    'Errors: SR013 no such queue, SR002 not granted, 22023 max or lease out of bounds, or an empty worker.';

create function sor.complete(tenant_id uuid, queue text, item_id text, claim_token bigint, result jsonb default null) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_complete'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.complete(uuid, text, text, bigint, jsonb) is
    'The item is done: it leaves the queue for good; result is recorded with item.completed. Errors: SR007 the claim is lost, or there is no such queue, and nothing was changed.';

create function sor.fail(tenant_id uuid, queue text, item_id text, claim_token bigint, error text) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_fail'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.fail(uuid, text, text, bigint, text) is
    'The item failed: it is handed out again after the queue''s backoff, or is dead when that was its last attempt; sor.item_failures keeps the error. '
    'Errors: SR007 the claim is lost, and nothing was changed; SR013 no such queue.';

create function sor.release(tenant_id uuid, queue text, item_id text, claim_token bigint, delay interval default '0') returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_release'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.release(uuid, text, text, bigint, interval) is
    'Gives the item back unworked: it is handed out again after the delay (0 to 366 days), and the attempt does not count. Errors: SR007 the claim is lost, 22023 the delay is out of bounds.';

create function sor.extend(tenant_id uuid, queue text, item_id text, claim_token bigint, lease interval) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_extend'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.extend(uuid, text, text, bigint, interval) is
    'Extends the claim''s lease to that long from now (1 s to 1 h); never shortens it. Errors: SR007 the claim is lost, 22023 the lease is out of bounds.';

create function sor.leave_run(tenant_id uuid, run_id uuid, run_token bigint) returns int
    language c volatile as 'MODULE_PATHNAME', 'sor_leave_run'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.leave_run(uuid, uuid, bigint) is
    'Gives up an unfinished run without ending it: what it has claimed is due again at once, each attempt counted, and the next sor.start_run resumes it. '
    'Returns how many items went back. Reads the tenant''s waiting items once. Errors: SR007 the lease is lost, SR010 the run has ended.';

create function sor.tenants_with_work(queue text, worker text default null) returns setof uuid
    language c volatile as 'MODULE_PATHNAME', 'sor_tenants_with_work'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.tenants_with_work(text, text) is
    'The tenants granted to the calling role that have something due in the queue (outbox: a message); with a worker given also those where a run of that worker has lapsed. '
    'Costs one index probe for each tenant. Errors: SR013 no such queue.';

grant execute on function sor.claim(uuid, text, text, int, interval), sor.complete(uuid, text, text, bigint, jsonb),
    sor.fail(uuid, text, text, bigint, text), sor.release(uuid, text, text, bigint, interval),
    sor.extend(uuid, text, text, bigint, interval) to sor_app;
grant execute on function sor.leave_run(uuid, uuid, bigint) to sor_worker, sor_app;
grant execute on function sor.tenants_with_work(text, text) to sor_worker, sor_app, sor_relay;

select pg_catalog.pg_extension_config_dump('sor.ready', '');
select pg_catalog.pg_extension_config_dump('sor.queues', '');
select pg_catalog.pg_extension_config_dump('sor.item_failures', '');
