-- switches: what operators paused. Asked where work is handed out and where tools are called.

-- No row security: it says nothing of a tenant but that it is paused, and only the engine reads it.
create table sor.pauses (
    kind text not null check (kind in ('tool', 'queue', 'tenant')),
    subject text collate "C" not null,
    reason text not null,
    paused_by name not null,
    paused_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (kind, subject)
);
comment on table sor.pauses is 'What is paused: a tool or a queue (outbox: all messages) by its name, a tenant by its id.';
grant select, insert, update, delete on sor.pauses to sor_engine;

create function sor.pause(kind text, name text, reason text) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_pause'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.pause(text, text, text) is
    'Stops a tool, a queue or a tenant until sor.resume. A tool: calls of it are refused with SR016. A queue (outbox: all messages): nothing is handed out, and who holds an item may still '
    'settle it. A tenant: nothing of it is handed out, its messages neither, and tool calls in it raise SR016. Holds from the next statement of every session on. Paused again, the reason is replaced. '
    'Recorded as switch.paused. Errors: SR008 no such tool, SR013 no such queue, SR002 no such tenant, 22023 another kind, or an empty reason.';

create function sor.resume(kind text, name text) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_resume'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.resume(text, text) is
    'Lets what sor.pause stopped go on. Recorded as switch.resumed. Errors: SR010 it is not paused, SR002 no such tenant, 22023 another kind.';

create function sor.list_pauses() returns table (kind text, name text, reason text, paused_by name, paused_at timestamptz)
    language c volatile as 'MODULE_PATHNAME', 'sor_list_pauses'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.list_pauses() is
    'What is paused, oldest first: tools, queues, and of tenants those granted to the calling role; all of them for operators.';
grant execute on function sor.list_pauses() to sor_auditor;

select pg_catalog.pg_extension_config_dump('sor.pauses', '');
