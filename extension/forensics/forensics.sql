-- forensics: what happened, answered from rows alone.

create function sor.replay(tenant_id uuid, run_id uuid)
    returns table (seq bigint, created_at timestamptz, event_type text, actor_kind text, actor text, on_behalf_of uuid, narrative text)
    language c volatile as 'MODULE_PATHNAME', 'sor_replay'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.replay(uuid, uuid) is
    'The events of a run and of its messages, in the order in which they happened, each told in plain English from the events alone (users by their names): when, who, '
    'for whom, what, and with which outcome. Times are in the session''s time zone. Errors: SR002 not granted, SR010 no such run.';

create function sor.rebuild_run(tenant_id uuid, run_id uuid) returns jsonb
    language c volatile as 'MODULE_PATHNAME', 'sor_rebuild_run'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.rebuild_run(uuid, uuid) is
    '{run, turns, tool_calls} rebuilt from the run''s events alone, without a look at the journal, in the journal''s columns as to_jsonb(row) shows them. '
    'Equal to the journal but for lease_until of a running run: extending a lease is no event, so it is the lease given at the last start or resumption. '
    'Errors: SR002 not granted, SR010 no such run.';

create function sor.forensic_report(tenant_id uuid, run_id uuid) returns jsonb
    language c volatile as 'MODULE_PATHNAME', 'sor_forensic_report'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.forensic_report(uuid, uuid) is
    '{run, names: {tenant, on_behalf_of}, turns, tool_calls, outbox, events, verification, finding, summary}: the rows of a run as of one moment, each event with its narrative; what verify_events says of them; '
    'finding {kind, root_cause, evidence: [{table, id, seq, says}], next_action, command}, the gravest thing that is wrong; and six sentences: run, scope, timeline, '
    'failure_point, side_effects, cause_and_next_action. kind is tampered, crashed, failed, cancelled, running, dead_letter, unknown_outcome, failed_tool, refused_tool, failed_item, '
    'undelivered, resumed or succeeded. What was put right since is no finding. Nothing is run again. Times are in the session''s time zone. '
    'Errors: SR002 not granted, SR010 no such run, XX001 the run has events and its row is gone.';

create function sor.what_happened(tenant_id uuid, since timestamptz, until timestamptz, max int default 1000)
    returns table (created_at timestamptz, run_id uuid, event_type text, actor text, narrative text)
    language c volatile as 'MODULE_PATHNAME', 'sor_what_happened'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.what_happened(uuid, timestamptz, timestamptz, int) is
    'The first max events of the tenant from since until before until, oldest first, each told as sor.replay tells it. The nil uuid stands for the system: migrations, registrations, the drop guard. '
    'Errors: SR002 not granted, 22023 max is less than 1, or until is before since.';

create function sor.verify_events(tenant_id uuid, run_id uuid default null, out streams bigint, out events bigint, out first_bad jsonb)
    language c volatile as 'MODULE_PATHNAME', 'sor_verify_events'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.verify_events(uuid, uuid) is
    'Recomputes the hash chain of every stream of the tenant, or of one run and its messages, as of one moment. first_bad is null, or {stream_id, seq, id, problem} of the first '
    'event that does not fit: changed, missing, inserted or out of order. What a chain cannot show, events missing at the end of a stream, is looked for in the journal and the outbox. '
    'Then each row of both is compared with what the events tell; id is that of the first row that differs, and seq null. '
    'The nil uuid stands for the system, whose stream has migrations and registrations. Errors: SR002 not granted, SR010 no such run.';

create table sor.verifications (
    tenant_id uuid primary key,
    verified_at timestamptz not null,
    whole boolean not null
);
comment on table sor.verifications is 'When the history of each tenant was last verified as a whole, and whether it was sound.';
select sor.protect_tenant('sor.verifications');
grant select, insert, update on sor.verifications to sor_engine;
grant select on sor.verifications to sor_auditor;
select pg_catalog.pg_extension_config_dump('sor.verifications', '');

create function sor.doctor() returns table (name text, ok boolean, evidence text, fix text)
    language c volatile as 'MODULE_PATHNAME', 'sor_doctor'
    set search_path = pg_catalog, pg_temp set row_security = on set quote_all_identifiers = off;
comment on function sor.doctor() is
    'Checks that the installation keeps its guarantees, across all tenants; changes nothing. fix says what to do and is null where ok. For operators.';

grant execute on function sor.replay(uuid, uuid), sor.rebuild_run(uuid, uuid), sor.forensic_report(uuid, uuid),
    sor.what_happened(uuid, timestamptz, timestamptz, int), sor.verify_events(uuid, uuid) to sor_auditor;
