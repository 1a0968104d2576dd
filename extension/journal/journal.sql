-- journal: runs, their turns and their tool calls. State, which sor's functions update; the history is in agent_events,
-- and each of these rows can be rebuilt from it (sor.rebuild_run).

create table sor.runs (
    tenant_id uuid not null,
    id uuid not null,
    worker text not null,
    run_key text,
    on_behalf_of uuid,
    delegating_users uuid[],
    status text not null check (status in ('running', 'succeeded', 'failed', 'cancelled')),
    input jsonb not null,
    error jsonb,
    started_at timestamptz not null,
    finished_at timestamptz,
    lease_until timestamptz,
    parent_run_id uuid,
    run_token bigint not null,
    resumptions int not null default 0,
    primary key (tenant_id, id),
    unique (tenant_id, worker, run_key),
    check ((status = 'running') = (lease_until is not null) and (status = 'running') = (finished_at is null))
) with (fillfactor = 70);
-- Without lease_until, so that extending a lease leaves the index alone: a worker has few runs that have not ended.
create index runs_unended on sor.runs (tenant_id, worker) where status = 'running';
comment on table sor.runs is
    'A Worker''s runs. The row is the lock of the run''s event stream (stream_id = id); run_token fences off former holders. A run that has ended has no lease.';

create table sor.turns (
    tenant_id uuid not null,
    id uuid not null,
    run_id uuid not null,
    turn_no int not null check (turn_no > 0),
    status text not null check (status in ('running', 'succeeded', 'failed', 'cancelled')),
    input jsonb not null,
    output jsonb,
    started_at timestamptz not null,
    finished_at timestamptz,
    primary key (tenant_id, run_id, turn_no)
);
comment on table sor.turns is 'The turns of a run, 1, 2, … without gaps; at most the last one has not ended.';

-- No CHECK of the status (started, succeeded, failed, refused, unknown): PostgreSQL reads its expression anew for each
-- INSERT, which shows in the rate of calls, and only sor_engine writes here.
create table sor.tool_calls (
    tenant_id uuid not null,
    id uuid not null,
    run_id uuid not null,
    turn_no int not null,
    request_id uuid not null,
    tool text not null,
    arguments jsonb not null,
    status text not null,
    response jsonb,
    error jsonb,
    user_id uuid,
    started_at timestamptz not null,
    finished_at timestamptz,
    primary key (tenant_id, run_id, id)
);
create index tool_calls_request on sor.tool_calls (tenant_id, request_id);
comment on table sor.tool_calls is
    'One row for each attempt of a tool call. started: an outside call that was begun and has not ended; unknown: its outcome cannot be known.';

select sor.protect_tenant('sor.runs');
select sor.protect_tenant('sor.turns');
select sor.protect_tenant('sor.tool_calls');
grant select, insert, update on sor.runs, sor.turns, sor.tool_calls to sor_engine;
grant select on sor.runs, sor.turns, sor.tool_calls to sor_auditor;

create function sor.start_run(tenant_id uuid, worker text, run_key text default null, on_behalf_of uuid default null, input jsonb default '{}',
    lease interval default '5 min', delegating_users uuid[] default null,
    out run_id uuid, out run_token bigint, out resumed boolean, out next_turn int, out status text)
    language c volatile as 'MODULE_PATHNAME', 'sor_start_run'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.start_run(uuid, text, text, uuid, jsonb, interval, uuid[]) is
    'Starts a run of a worker for a user, or resumes one whose holder died (its lease is over) under a new token; next_turn is its first unfinished turn. '
    'run_key names a run once and for all: an ended run of that key is returned as it is. Without a key the worker''s oldest lapsed run for the same user is resumed, '
    'else a new run begins. A resumed run keeps its input and delegating users; its outside calls that were begun and not ended become unknown. lease: 1 s to 1 h. '
    'Errors: SR012 a run of that key is live, SR005 the key was used for another user, SR002 tenant or user not granted, 22023 a lease out of bounds, or an empty worker or run_key.';

create function sor.heartbeat(tenant_id uuid, run_id uuid, run_token bigint, lease interval default '5 min') returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_heartbeat'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.heartbeat(uuid, uuid, bigint, interval) is
    'Lets the run''s lease end that long from now (1 s to 1 h), or later if it does already: it never shortens it, for a claim counts on it. sor.leave_run gives it up. '
    'Errors: SR007 the lease is lost, SR010 the run has ended, 22023 a lease out of bounds.';

create function sor.finish_run(tenant_id uuid, run_id uuid, run_token bigint, status text default 'succeeded', error jsonb default null) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_finish_run'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.finish_run(uuid, uuid, bigint, text, jsonb) is
    'Ends the run as succeeded or failed. To succeed, every turn and outside call must have ended (SR010); a failed run fails its open turn and leaves its open outside calls unknown. '
    'Errors: SR007 the lease is lost, SR010 the run has ended, 22023 another status.';

create function sor.cancel_run(tenant_id uuid, run_id uuid, reason text) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_cancel_run'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.cancel_run(uuid, uuid, text) is
    'Ends a running run from outside, at once: it needs no token, and the holder''s next call raises SR010. What it has committed stays. '
    'Errors: SR010 there is no such run, or it has ended; SR002 tenant or the run''s user not granted.';

create function sor.begin_turn(tenant_id uuid, run_id uuid, run_token bigint, input jsonb default '{}') returns int
    language c volatile as 'MODULE_PATHNAME', 'sor_begin_turn'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.begin_turn(uuid, uuid, bigint, jsonb) is
    'Begins the next turn and returns its number. A turn that was begun and not finished is opened again under its own number, with the new input. '
    'Errors: SR007 the lease is lost, SR010 the run has ended.';

create function sor.finish_turn(tenant_id uuid, run_id uuid, run_token bigint, turn_no int, output jsonb default '{}') returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_finish_turn'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.finish_turn(uuid, uuid, bigint, int, jsonb) is
    'Ends an open turn; it is never run again. Errors: SR007 the lease is lost, SR010 the run has ended or has no such open turn.';

create function sor.begin_tool_call(tenant_id uuid, run_id uuid, run_token bigint, turn_no int, request_id uuid, tool text, arguments jsonb) returns uuid
    language c volatile as 'MODULE_PATHNAME', 'sor_begin_tool_call'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.begin_tool_call(uuid, uuid, bigint, int, uuid, text, jsonb) is
    'Records that an outside call (a model, an API) is about to be made, and returns its tool_call_id; commit before making the call. '
    'Errors: SR006 that request is begun and has not ended in this run, SR010 it has succeeded, or the turn is not open, or the run has ended; SR007 the lease is lost.';

create function sor.finish_tool_call(tenant_id uuid, run_id uuid, run_token bigint, tool_call_id uuid, outcome text, response jsonb default null) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_finish_tool_call'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.finish_tool_call(uuid, uuid, bigint, uuid, text, jsonb) is
    'Records how an outside call ended: succeeded (response is kept as its response), failed or unknown (kept as its error). '
    'Errors: SR010 the call is not open in this run, or the run has ended; SR007 the lease is lost; 22023 another outcome.';

create function sor.append_event(tenant_id uuid, event_type text, payload jsonb, run_id uuid default null) returns bigint
    language c volatile as 'MODULE_PATHNAME', 'sor_append_event'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.append_event(uuid, text, jsonb, uuid) is
    'Appends an application''s own event to a run, or to the tenant''s stream, and returns its seq. '
    'Errors: SR002 tenant or the run''s user not granted, SR010 no such run, 22023 a type that sor writes itself, or that is not noun.verb in lower case.';

create function sor.find_runs(tenant_id uuid, worker text default null, run_key text default null, max int default 20,
    since timestamptz default null, until timestamptz default null)
    returns table (run_id uuid, worker text, run_key text, status text, started_at timestamptz, finished_at timestamptz)
    language c volatile as 'MODULE_PATHNAME', 'sor_find_runs'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.find_runs(uuid, text, text, int, timestamptz, timestamptz) is
    'The tenant''s runs, newest first; of one worker or run_key where given, and only those in progress at some moment from since until before until. Errors: SR002 not granted, 22023 max is less than 1.';

grant execute on function sor.start_run(uuid, text, text, uuid, jsonb, interval, uuid[]), sor.heartbeat(uuid, uuid, bigint, interval),
    sor.finish_run(uuid, uuid, bigint, text, jsonb), sor.cancel_run(uuid, uuid, text), sor.begin_turn(uuid, uuid, bigint, jsonb),
    sor.finish_turn(uuid, uuid, bigint, int, jsonb), sor.begin_tool_call(uuid, uuid, bigint, int, uuid, text, jsonb),
    sor.finish_tool_call(uuid, uuid, bigint, uuid, text, jsonb) to sor_worker, sor_app;
grant execute on function sor.append_event(uuid, text, jsonb, uuid) to sor_app;
grant execute on function sor.find_runs(uuid, text, text, int, timestamptz, timestamptz) to sor_auditor;

select pg_catalog.pg_extension_config_dump('sor.runs', '');
select pg_catalog.pg_extension_config_dump('sor.turns', '');
select pg_catalog.pg_extension_config_dump('sor.tool_calls', '');
