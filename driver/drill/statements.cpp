#include "drill/statements.hpp"

namespace sor::drill {

// Each verdict: what must hold, in the order in which a reader would ask; the first that does not is the reason.
const std::array<drill_text, drill_count> drills{{
    {"migration_review", "a migration that is read, small and reversible, under the drop guard", R"(
with o as (
    select drill.seen('migration_review', 'before') as b, drill.seen('migration_review', 'applied') as a,
           drill.seen('migration_review', 'rolled_back') as r, drill.seen('migration_review', 'outcome') as x
), f as (
    select o.*, m.*, h.report, h.branch,
           array(select jsonb_object_keys(a -> 'objects') except select jsonb_object_keys(b -> 'objects')) as added,
           array(select format('%s (%s)', t.object, case when n.object is null then 'gone' else 'changed' end)
               from jsonb_each_text(b -> 'objects') t(object, definition) left join jsonb_each_text(a -> 'objects') n(object, definition) using (object)
               where n.definition is distinct from t.definition
               and (t.object, replace(n.definition, ', notes)', ')')) is distinct from ('table reconciler.expenses', t.definition)) as others
    from o left join sor.migrations m on m.version = x ->> 'version'
    left join lateral (select * from sor.rehearsals h where (h.version, h.checksum) = (m.version, m.checksum) order by h.rehearsed_at desc limit 1) h on true
)
select coalesce(reason, '') = '' as ok,
       format('Migration %s adds %s, downgrade drops it cleanly, applied and rolled back on branch %s. Approved by another login than its author''s, it was then applied and rolled back on the copy itself. '
              'DROP TABLE was refused with %s. No scope creep.', version, array_to_string(added, ', '), branch, x ->> 'drop_table') as evidence,
       reason
from f, lateral (select case
    when version is null then 'the migration was not proposed: ' || coalesce(x ->> 'error', 'no row says why')
    when report is null then 'no rehearsal of these texts is recorded: ' || coalesce(x ->> 'error', 'no row says why')
    when down is null then format('the migration has no downgrade: what is applied stays, the rehearsal on branch %s says', branch)
    when report ->> 'succeeded' is distinct from 'true' or report #>> '{schema_reversible,answer}' is distinct from 'yes'
            or report #>> '{data_reversible,answer}' is distinct from 'yes' then
        format('the rehearsal on branch %s failed: %s', branch, coalesce(report #>> '{upgrade,error,message}', report #>> '{downgrade,error,message}',
               (report #> '{schema_reversible,why}')::text || ', ' || (report #> '{data_reversible,why}')::text))
    when approved_by is null or approved_by = proposed_by then 'nobody but its author approved it: ' || coalesce(x ->> 'error', approved_by, 'no row says why')
    when applied_at is null or a is null then 'the upgrade was not applied: ' || coalesce(x ->> 'error', 'no row says why')
    when rolled_back_at is null or r is null then 'the downgrade was not applied: ' || coalesce(x ->> 'error', 'no row says why')
    when added <> '{column reconciler.expenses.notes}' or a #>> '{objects,column reconciler.expenses.notes}' is distinct from 'text' or others <> '{}' then
        format('scope creep: it adds %s; others: %s', array_to_string(added, ', '), coalesce(nullif(array_to_string(others, ', '), ''), 'none'))
    when r is distinct from b then 'the downgrade does not restore the schema'
    when x ->> 'drop_table' is distinct from 'SR009' then format('the drop guard let DROP TABLE pass (SQLSTATE %s)', x ->> 'drop_table')
end) why(reason))"},
    {"run_journal_resume_drill", "a journal of runs and turns that a successor resumes from", R"(
with o as (
    select drill.seen('run_journal_resume_drill', 'crash') as c, drill.seen('run_journal_resume_drill', 'items') as items,
           drill.seen('run_journal_resume_drill', 'worker') as w
), f as (
    select o.*, r.status, r.id as run_id,
           (select count(*) from jsonb_array_elements(c -> 'turns') t where t ->> 'status' = 'succeeded') as done_before,
           (select max((t ->> 'turn_no')::int) from jsonb_array_elements(c -> 'turns') t where t ->> 'status' = 'running') as n,
           (select max(turn_no) from sor.turns t where (t.tenant_id, t.run_id) = (r.tenant_id, r.id)) as m,
           (select count(*) from sor.tool_calls t where (t.tenant_id, t.run_id) = (r.tenant_id, r.id)
               and t.started_at > (c ->> 'at')::timestamptz and t.turn_no <
                   (select max((x ->> 'turn_no')::int) from jsonb_array_elements(c -> 'turns') x)) as repeated,
           (select count(*) from jsonb_array_elements(c -> 'turns') x join sor.turns t on (t.tenant_id, t.run_id, t.turn_no)
                   = (r.tenant_id, r.id, (x ->> 'turn_no')::int)
               where x ->> 'status' = 'succeeded' and (t.started_at, t.finished_at) is distinct from
                   ((x ->> 'started_at')::timestamptz, (x ->> 'finished_at')::timestamptz)) as changed,
           (select count(*) from sor.agent_events e where (e.tenant_id, e.run_id) = (r.tenant_id, r.id) and e.event_type = 'run.resumed') as gaps,
           (select max(seq) - count(*) from sor.agent_events e where (e.tenant_id, e.stream_id) = (r.tenant_id, r.id)) as holes,
           (select count(*) from reconciler.expenses x where x.tenant_id = r.tenant_id and items ? x.transaction_id::text) as expenses
    from o left join sor.runs r on r.id = (c ->> 'run_id')::uuid
)
select coalesce(reason, '') = '' as ok,
       format('Run %s resumed from turn %s of %s after its worker was killed by signal %s. Turns 1 to %s were not re-executed. '
              'Journal shows a continuous timeline with one gap closed. %s items, %s expenses.',
              run_id, n, m, w ->> 'signal', n - 1, jsonb_array_length(items), expenses) as evidence,
       reason
from f, lateral (select case
    when run_id is null then 'no run was journaled'
    when w ->> 'signal' is distinct from '9' then 'the worker was not killed in mid-turn'
    when c ->> 'status' is distinct from 'running' or c ->> 'finished_at' is not null then 'the crash left no run that is running'
    when n is null or n < 2 or done_before <> n - 1 then
        format('at the crash the journal showed %s finished turns before the open one (%s): there is nothing to resume from', done_before, coalesce(n::text, 'none'))
    when gaps <> 1 then format('%s gaps were recorded by run.resumed instead of 1', gaps)
    when repeated > 0 or changed > 0 then format('%s calls of finished turns were made again, %s finished turns changed', repeated, changed)
    when holes is distinct from 0 then format('%s events are missing in the timeline', holes)
    when status is distinct from 'succeeded' then 'the resumed run is ' || status
    when expenses is distinct from jsonb_array_length(items) then format('%s of %s items have their expense', expenses, jsonb_array_length(items))
end) why(reason))"},
    {"idempotency_retry_test", "idempotency keys, and a unique key under them", R"(
with o as (
    select drill.seen('idempotency_retry_test', 'input') as i, drill.seen('idempotency_retry_test', 'answers') as a,
           drill.seen_at('idempotency_retry_test', 'answers') as at
), f as (
    select o.*,
           (select count(*) from reconciler.expenses e where (e.tenant_id, e.transaction_id) = ((i ->> 'tenant_id')::uuid, (i ->> 'transaction_id')::uuid)) as n,
           (select count(*) from reconciler.expenses e where e.tenant_id = (i ->> 'tenant_id')::uuid and e.recorded_at <= at) - (i ->> 'before')::int as delta,
           (select count(*) from sor.idempotency_keys k where (k.tenant_id, k.key) = ((i ->> 'tenant_id')::uuid, (i ->> 'request_id')::uuid)) as keys,
           (select count(*) from sor.tool_calls t where (t.tenant_id, t.run_id) = ((i ->> 'tenant_id')::uuid, (i ->> 'run_id')::uuid) and t.status = 'succeeded') as calls
    from o
)
select coalesce(reason, '') = '' as ok,
       format('Two invocations with the idempotency key %s produced one expenses row. The second was a no-op: the stored response, no second call in the journal. '
              'The purchase written again under a new key, spelled otherwise, was a no-op too. Row count delta: +%s.', i ->> 'request_id', delta) as evidence,
       reason
from f, lateral (select case
    when i is null or a is null then 'nothing was written'
    when a #>> '{first,status}' is distinct from 'succeeded' then 'the first write ' || coalesce(a #>> '{first,status}', 'gave no answer') || ': ' || coalesce(a #>> '{first,error,message}', '')
    when n <> 1 or delta is distinct from 1 then format('%s rows for one purchase, row count delta: +%s', n, delta)
    when keys <> 1 then 'no response is stored under the key of the first invocation'
    when a #>> '{second,replayed}' is distinct from 'true' then format('the retry was executed again: %s calls in the journal, none of them replayed', calls)
    when a #> '{second,result}' is distinct from a #> '{first,result}' then 'the retry was not answered with the stored response: ' || (a ->> 'second')
    when calls <> 2 then format('%s calls in the journal instead of 2', calls)
    when a #>> '{third,result,inserted}' is distinct from 'false' then 'the purchase under a new key was not recognized: ' || (a ->> 'third')
end) why(reason))"},
    {"concurrency_claim_test", "claims that skip what is locked, and tokens that fence stale holders", R"(
with o as (
    select drill.seen('concurrency_claim_test', 'input') as i, drill.seen('concurrency_claim_test', 'race') as r,
           drill.seen('concurrency_claim_test', 'stale') as s
), f as (
    select o.*,
           (select count(*) from sor.agent_events e where e.tenant_id = (i ->> 'tenant_id')::uuid and e.event_type = 'item.completed' and i -> 'items' ? (e.payload ->> 'item_id')) as completed,
           (select count(distinct e.payload ->> 'item_id') from sor.agent_events e where e.tenant_id = (i ->> 'tenant_id')::uuid and e.event_type = 'item.completed' and i -> 'items' ? (e.payload ->> 'item_id')) as items
    from o
)
select coalesce(reason, '') = '' as ok,
       format('Worker A claimed pending transaction %s. Worker B skipped it and claimed %s. No duplicate processing: %s items completed once each, '
              'a completion under A''s lapsed claim refused with %s. No lock errors raised.', r ->> 'a', r ->> 'b', items, s ->> 'a') as evidence,
       reason
from f, lateral (select case
    when i is null or r is null then 'nobody claimed'
    when r ->> 'a' is null then 'worker A got no item'
    when r ->> 'error' is not null then format('worker B, waiting for A''s lock, failed with SQLSTATE %s', r ->> 'error')
    when r ->> 'b' is null then 'worker B got no item'
    when r ->> 'a' = r ->> 'b' then 'both workers claimed ' || (r ->> 'a')
    when s ->> 'a' is distinct from 'SR007' then format('worker A, whose claim had lapsed and was B''s, could still complete %s (SQLSTATE %s)', r ->> 'a', coalesce(s ->> 'a', 'none'))
    when s ->> 'b' is distinct from '00000' then format('worker B could not complete what it holds (SQLSTATE %s)', s ->> 'b')
    when completed <> 2 or items <> 2 then format('%s completions of %s items instead of one for each of 2', completed, items)
end) why(reason))"},
    {"outbox_relay_retry_test", "an outbox row in the transaction of its domain row, with a dedup key", R"(
with o as (
    select drill.seen('outbox_relay_retry_test', 'input') as i, drill.seen('outbox_relay_retry_test', 'failed_once') as x,
           drill.seen('outbox_relay_retry_test', 'relays') as p
), f as (
    select o.*, m.id, m.status, m.attempts,
           (select count(*) from sor.outbox b where b.tenant_id = (i ->> 'tenant_id')::uuid and b.aggregate_id = i ->> 'aggregate_id') as messages,
           (select count(*) from sor.agent_events e where e.message_id = m.id and e.event_type = 'outbox.failed') as failures,
           (select min(e.created_at) from sor.agent_events e where e.message_id = m.id and e.event_type = 'outbox.failed') as failed_at,
           (select count(*) from sor.agent_events e where e.message_id = m.id and e.event_type = 'outbox.dispatched') as dispatches,
           (select count(*) from drill.logs l where l.name = 'mails' and l.line::jsonb ->> 'subject' = i ->> 'subject') as deliveries,
           (select count(*) from sor.outbox b where b.tenant_id = (i ->> 'tenant_id')::uuid and b.aggregate_id = i ->> 'rolled_back'
               and not exists (select from reconciler.expenses e where e.tenant_id = b.tenant_id and e.transaction_id::text = b.aggregate_id)) as orphans
    from o left join sor.outbox m on m.tenant_id = (i ->> 'tenant_id')::uuid and m.id = (i ->> 'message_id')::uuid
)
select coalesce(reason, '') = '' as ok,
       format('Relay failed once, retried once, dispatched once. Outbox row %s was pending with attempt %s and its error, and ended in %s. '
              'The SMTP server received exactly %s delivery for its dedup_key, and none more when the relay ran again. What was rolled back was not sent.',
              id, x ->> 'attempts', status, deliveries) as evidence,
       reason
from f, lateral (select case
    when i is null or id is null then 'no message was queued'
    when orphans > 0 then format('a message was queued whose domain row was rolled back (%s)', i ->> 'rolled_back')
    when messages <> 1 then format('the retry queued the effect again: %s messages, %s deliveries for one event', messages, deliveries)
    when x ->> 'status' is distinct from 'pending' or x ->> 'attempts' is distinct from '1' or x ->> 'last_error' is null then
        'after the failure the message was not pending with its retry metadata: ' || coalesce(x::text, 'none')
    when failures <> 1 then format('%s failures were recorded instead of 1', failures)
    when (x ->> 'next_attempt_at')::timestamptz > failed_at is not true then format('the failure at %s was to be tried again at %s: there is no backoff', failed_at, x ->> 'next_attempt_at')
    when p ->> 'sent' is distinct from '0' or p ->> 'idle' is distinct from '0' then 'the relay failed once more than it was made to: exit codes ' || coalesce(p::text, 'none')
    when status <> 'dispatched' or dispatches <> 1 then format('the message ended as %s with %s dispatches', status, dispatches)
    when deliveries <> 1 then format('the SMTP server received %s deliveries instead of 1', deliveries)
end) why(reason))"},
    {"append_only_event_test", "an append-only history that a run can be replayed from", R"(
with o as (
    select drill.seen('append_only_event_test', 'input') as i, drill.seen('append_only_event_test', 'refusals') as u,
           drill.seen('append_only_event_test', 'replay') as p, drill.seen('append_only_event_test', 'rebuilt') as b,
           drill.seen('append_only_event_test', 'verified') as v
), f as (
    select o.*, r.id as run_id, r.status,
           (select count(*) from sor.agent_events e where (e.tenant_id, e.run_id) = (r.tenant_id, r.id)) as events,
           (select count(*) from sor.tool_calls t where (t.tenant_id, t.run_id) = (r.tenant_id, r.id)) as calls,
           (select count(*) from sor.tool_calls t join jsonb_array_elements(b -> 'tool_calls') x on x ->> 'id' = t.id::text and x ->> 'status' = t.status
               where (t.tenant_id, t.run_id) = (r.tenant_id, r.id)) as same,
           (select count(*) from jsonb_array_elements(p) l where coalesce(l ->> 'narrative', '') <> '') as told,
           (select count(*) from (select (l ->> 'created_at')::timestamptz < lag((l ->> 'created_at')::timestamptz) over (order by n) as back
               from jsonb_array_elements(p) with ordinality x(l, n)) y where back) as disorder
    from o left join sor.runs r on (r.tenant_id, r.id) = ((i ->> 'tenant_id')::uuid, (i ->> 'run_id')::uuid)
)
select coalesce(reason, '') = '' as ok,
       format('UPDATE on agent_events raised %s for the worker and %s for a superuser. Replayed run %s from %s event rows, ordered by id. '
              'Narrative reconstructed without consulting the journal, which it agrees with: %s, %s tool calls.',
              u ->> 'worker', u ->> 'superuser', run_id, events, b #>> '{run,status}', calls) as evidence,
       reason
from f, lateral (select case
    when run_id is null or u is null then 'there is no finished run to replay'
    when coalesce(u ->> 'worker', '') not in ('42501', 'SR004') then format('the worker could UPDATE an event (SQLSTATE %s)', u ->> 'worker')
    when u ->> 'superuser' is distinct from 'SR004' then format('UPDATE of an event passed for a superuser (SQLSTATE %s): nothing but roles keeps history as it was', u ->> 'superuser')
    when u ->> 'superuser_delete' is distinct from 'SR004' then format('DELETE of an event passed for a superuser (SQLSTATE %s)', u ->> 'superuser_delete')
    when events = 0 or told < events then format('%s of %s events of the run are told', coalesce(told, 0), events)
    when disorder > 0 then 'the replay is out of order'
    when b #>> '{run,status}' is distinct from status or same <> calls or jsonb_array_length(b -> 'tool_calls') is distinct from calls then 'what events say of the run is not what the journal says'
    when v is null then 'the history was not verified'
    when v ->> 'first_bad' is not null then 'the chain of the history is broken: ' || (v ->> 'first_bad')
end) why(reason))"},
    {"rls_identity_flip_test", "row security that is forced, in every state of the context", R"(
with o as (
    select drill.seen('rls_identity_flip_test', 'input') as i, drill.seen('rls_identity_flip_test', 'a') as a, drill.seen('rls_identity_flip_test', 'b') as b,
           drill.seen('rls_identity_flip_test', 'unset') as u, drill.seen('rls_identity_flip_test', 'owner') as w, drill.seen_at('rls_identity_flip_test', 'unset') as at
), f as (
    select o.*,
           (select count(*) from reconciler.expenses e where e.tenant_id = (i #>> '{a,tenant_id}')::uuid and e.recorded_at <= at) as of_a,
           (select count(*) from reconciler.expenses e where e.tenant_id = (i #>> '{b,tenant_id}')::uuid and e.recorded_at <= at) as of_b
    from o
)
select coalesce(reason, '') = '' as ok,
       format('%s''s context returned %s rows (all %s''s). %s''s context returned %s rows (all %s''s). Unset context returned %s rows (to the owner of the table: %s). No cross-tenant leakage in any flip.',
              i #>> '{a,name}', a ->> 'all', i #>> '{a,name}', i #>> '{b,name}', b ->> 'all', i #>> '{b,name}', u ->> 'all', w ->> 'all') as evidence,
       reason
from f, lateral (select case
    when i is null or a is null or b is null or u is null then 'no context was tried'
    when of_a = 0 or of_b = 0 then 'a tenant has no rows: nothing is shown by not seeing them'
    when (a ->> 'all')::int <> (a ->> 'own')::int then format('in %s''s context %s of %s rows were somebody else''s', i #>> '{a,name}', (a ->> 'all')::int - (a ->> 'own')::int, a ->> 'all')
    when (b ->> 'all')::int <> (b ->> 'own')::int then format('in %s''s context %s of %s rows were somebody else''s', i #>> '{b,name}', (b ->> 'all')::int - (b ->> 'own')::int, b ->> 'all')
    when (u ->> 'all')::int is distinct from 0 then format('without a context %s rows were visible', u ->> 'all')
    when (w ->> 'all')::int is distinct from 0 then format('without a context the owner of the table sees %s rows: row security is not forced', coalesce(w ->> 'all', 'unknown'))
    when (a ->> 'all')::int is distinct from of_a or (b ->> 'all')::int is distinct from of_b then format('%s and %s rows were seen of %s and %s', a ->> 'all', b ->> 'all', of_a, of_b)
end) why(reason))"},
    {"mcp_boundary_test", "a Worker without credentials, behind a short allow-list", R"(
with o as (
    select drill.seen('mcp_boundary_test', 'input') as i
), f as (
    select o.*,
           (select count(*) from drill.logs l where (l.drill, l.name) = ('mcp_boundary_test', 'environment') and l.line <> '') as variables,
           (select string_agg(split_part(l.line, '=', 1), ', ') from drill.logs l where (l.drill, l.name) = ('mcp_boundary_test', 'environment')
               and l.line ~ '^(DATABASE_URL|PG[A-Z0-9_]*|SOR_\w*)=|postgres(ql)?://|\mpassword\s*=|<password>') as credentials,
           (select string_agg(t ->> 'name', ', ' order by t ->> 'name') from drill.logs l, jsonb_array_elements(l.line::jsonb #> '{result,tools}') t
               where (l.drill, l.name) = ('mcp_boundary_test', 'answers') and l.line <> '' and l.line::jsonb ->> 'id' = '1') as tools,
           (select l.line::jsonb -> 'result' from drill.logs l where (l.drill, l.name) = ('mcp_boundary_test', 'answers') and l.line <> '' and l.line::jsonb ->> 'id' = '2') as read,
           (select l.line::jsonb from drill.logs l where (l.drill, l.name) = ('mcp_boundary_test', 'answers') and l.line <> '' and l.line::jsonb ->> 'id' = '3') as refused,
           (select count(*) from drill.logs l where (l.drill, l.name) = ('mcp_boundary_test', 'server') and strpos(l.line, i ->> 'marker') > 0) as logged,
           (select count(*) from drill.logs l where (l.drill, l.name) = ('mcp_boundary_test', 'server') and l.line ~ 'drop_table') as rogue
    from o
)
select coalesce(reason, '') = '' as ok,
       format('Worker environment has %s variables and no DATABASE_URL. Tool surface lists four allowed operations: %s. Disallowed drop_table call refused at the MCP layer as an unknown tool (%s). '
              'The server''s log, which shows the allowed call, shows no statement for it.', variables, tools, refused #>> '{error,code}') as evidence,
       reason
from f, lateral (select case
    when i is null then 'no Worker was started'
    when variables = 0 then 'the Worker''s environment was not seen'
    when credentials is not null then 'the Worker''s environment holds ' || credentials
    when tools is null then 'no tools were listed'
    when tools <> 'claim, queue, read, write' then 'the tool surface is not the allow-list of four: ' || tools
    when read is null or read ->> 'isError' = 'true' then 'the allowed call failed: ' || coalesce(read::text, 'no answer')
    when refused #>> '{error,code}' is distinct from '-32602' then 'drop_table was not refused as an unknown tool: ' || coalesce(refused::text, 'no answer')
    when logged = 0 then 'the server''s log does not show the allowed call: its silence about the other says nothing (log_statement, --server-log)'
    when rogue > 0 then format('the server''s log shows %s lines for drop_table', rogue)
end) why(reason))"},
    {"forensics_drill", "a journal of failures that a report can be read out of", R"(
with o as (
    select drill.seen('forensics_drill', 'input') as i, drill.seen('forensics_drill', 'report') as p
), f as (
    select o.*, r.id as run_id, r.status, p -> 'summary' as s,
           (select count(*) from jsonb_each_text(p -> 'summary') l where l.key in ('run', 'scope', 'timeline', 'failure_point', 'side_effects', 'cause_and_next_action') and l.value <> '') as lines,
           (select count(*) from sor.tool_calls t where (t.tenant_id, t.run_id, t.status) = (r.tenant_id, r.id, 'failed')) as failed,
           (select count(*) from jsonb_array_elements(p -> 'tool_calls') t where t ->> 'status' = 'failed') as reported,
           (select count(*) from sor.agent_events e where (e.tenant_id, e.run_id) = (r.tenant_id, r.id)) as events
    from o left join sor.runs r on (r.tenant_id, r.id) = ((i ->> 'tenant_id')::uuid, (i ->> 'run_id')::uuid)
)
select coalesce(reason, '') = '' as ok,
       format('Forensic report assembled for run_id %s out of %s event rows. Six lines populated. Root cause and next action: %s', run_id, events, s ->> 'cause_and_next_action') as evidence,
       reason
from f, lateral (select case
    when run_id is null or p is null then 'there is no report'
    when status is distinct from 'failed' then 'the run that was made to fail is ' || status
    when lines <> 6 then format('%s of six lines are populated', lines)
    when failed = 0 or reported is distinct from failed then format('the call that failed left %s rows in the journal and %s in the report', failed, reported)
    when s ->> 'failure_point' !~ 'write' then 'the failure point does not name the call that failed: ' || (s ->> 'failure_point')
    when s ->> 'cause_and_next_action' !~ '23514|expenses_amount_check' then 'the cause is not named: ' || (s ->> 'cause_and_next_action')
    when s ->> 'cause_and_next_action' !~* 'same request ids' then 'no retry with the same request ids is recommended: ' || (s ->> 'cause_and_next_action')
end) why(reason))"},
}};

namespace {

constexpr const char* no_unique_key[] = {
    "alter table reconciler.expenses drop constraint expenses_pkey",
    "alter table reconciler.expenses add primary key (tenant_id, transaction_id, merchant)",
    "select sor.register_table('reconciler.expenses', key => '{transaction_id,merchant}', "
    "writable => '{transaction_id,trans_date,merchant,card,amount,currency,category}')"};
constexpr const char* no_guard_trigger[] = {
    "do $$ declare t name; begin for t in select tgname from pg_trigger where tgrelid = 'sor.agent_events'::regclass "
    "and not tgisinternal and tgfoid = 'sor.refuse_change()'::regprocedure loop "
    "execute format('drop trigger %I on sor.agent_events', t); end loop; end $$"};
constexpr const char* no_policy[] = {
    "do $$ declare p name; begin for p in select polname from pg_policy where polrelid = "
    "'reconciler.expenses'::regclass "
    "loop execute format('drop policy %I on reconciler.expenses', p); end loop; end $$",
    "create policy everybody on reconciler.expenses using (true) with check (true)"};
constexpr const char* no_drop_guard[] = {
    "do $$ declare t name; begin for t in select evtname from pg_event_trigger loop "
    "execute format('alter event trigger %I disable', t); end loop; end $$"};
constexpr const char* no_force[] = {"alter table reconciler.expenses no force row level security"};
// A function that takes the place of one of the extension's becomes part of it, and that one no longer is: so a dump
// leaves out the former, has the latter, and can be restored.
constexpr const char* no_fencing[] = {
    "alter function sor.complete(uuid, text, text, bigint, jsonb) rename to complete_that_compares",
    "alter extension sor drop function sor.complete_that_compares(uuid, text, text, bigint, jsonb)",
    "create function drill.token_of(tenant uuid, name text, item text) returns bigint language sql security definer as "
    "'select r.claim_token from sor.ready r where (r.tenant_id, r.queue, r.item_id) = ($1, $2, $3)'",
    "create function sor.complete(tenant_id uuid, queue text, item_id text, claim_token bigint, result jsonb default "
    "null) "
    "returns void language plpgsql as 'begin perform sor.complete_that_compares($1, $2, $3, "
    "coalesce(drill.token_of($1, $2, $3), $4), $5); end'",
    "alter extension sor add function sor.complete(uuid, text, text, bigint, jsonb)",
    "grant usage on schema drill to sor_app"};
constexpr const char* no_skip_locked[] = {
    "alter function sor.claim(uuid, text, text, int, interval) rename to claim_that_skips",
    "alter extension sor drop function sor.claim_that_skips(uuid, text, text, int, interval)",
    "create function drill.wait_for_first(tenant uuid, name text) returns void language sql security definer as "
    "'select from sor.ready r where r.tenant_id = tenant and r.queue = name order by r.available_at, r.item_id "
    "limit 1 for update'",
    "create function sor.claim(tenant_id uuid, queue text, worker text, max int, lease interval) returns table "
    "(item_id text, claim_token bigint, attempt int, item jsonb) language plpgsql as 'begin "
    "perform drill.wait_for_first($1, $2); return query select * from sor.claim_that_skips($1, $2, $3, $4, $5); end'",
    "alter extension sor add function sor.claim(uuid, text, text, int, interval)",
    "grant usage on schema drill to sor_app"};
constexpr const char* no_allow_list[] = {
    "create function reconciler.drop_table(arguments jsonb) returns jsonb language sql set search_path = pg_catalog, "
    "pg_temp as 'select arguments'",
    "alter function reconciler.drop_table(jsonb) owner to reconciler",
    "select sor.register_tool('drop_table', 'reconciler.drop_table(jsonb)', 'member', 'Drops a table.', "
    "'{\"type\": \"object\", \"properties\": {\"table\": {\"type\": \"string\"}}}')"};
constexpr const char* no_journal_write[] = {
    "create function drill.forget_end() returns trigger language plpgsql as "
    "'begin new.status := ''running''; new.finished_at := null; return new; end'",
    "grant usage on schema drill to sor_engine",
    "create trigger forget_end before update on sor.turns for each row when (new.status = 'succeeded') execute "
    "function drill.forget_end()"};
constexpr const char* no_failure_record[] = {
    "create function drill.call_it_success() returns trigger language plpgsql as "
    "'begin new.status := ''succeeded''; new.error := null; return new; end'",
    "grant usage on schema drill to sor_engine",
    "create trigger call_it_success before insert or update on sor.tool_calls for each row when (new.status = "
    "'failed') "
    "execute function drill.call_it_success()"};

constexpr sabotage_text all_sabotages[] = {
    {"drop-guard", 0, "the drop guard's event triggers are disabled",
     "alter event trigger … enable always, as CREATE EXTENSION sor makes them; sor doctor names them", no_drop_guard},
    {"downgrade", 0, "the migration has no downgrade", "write the downgrade, and rehearse it on a branch", {}},
    {"journal-write", 1, "the end of a turn is not written into the journal",
     "let finish_turn write status and finished_at: drop trigger forget_end on sor.turns", no_journal_write},
    {"unique-key", 2, "the key of expenses holds the merchant's spelling, not the purchase alone",
     "alter table reconciler.expenses add primary key (tenant_id, transaction_id), and register it with that key",
     no_unique_key},
    {"idempotency-key",
     2,
     "the retry mints a new request id",
     "mint request_id once per logical call and reuse it in each retry",
     {}},
    {"fencing-check", 3, "sor.complete does not compare the claim's token",
     "compare claim_token under the item's lock, as the extension's sor.complete does", no_fencing},
    {"skip-locked", 3, "the claim waits for the lock of another worker",
     "select … for update skip locked, as the extension's sor.claim does", no_skip_locked},
    {"outbox-transaction",
     4,
     "the message is queued in a transaction of its own",
     "call sor.enqueue in the transaction that writes the domain row",
     {}},
    {"dedup-key",
     4,
     "each attempt to queue a message makes a dedup key of its own",
     "derive dedup_key from the event, not from the attempt",
     {}},
    {"guard-trigger", 5, "agent_events has no append-only trigger",
     "select sor.protect_append_only('sor.agent_events')", no_guard_trigger},
    {"policy", 6, "the policy of expenses lets everybody see everything",
     "select sor.protect_tenant('reconciler.expenses')", no_policy},
    {"forced-policy", 6, "row security of expenses does not bind the table's owner",
     "alter table reconciler.expenses force row level security", no_force},
    {"credentials",
     7,
     "the Worker's environment says how to reach the database",
     "start the Worker by sor work, or behind sor mcp, and export nothing to it",
     {}},
    {"allow-list", 7, "drop_table is on the allow-list", "select sor.unregister_tool('drop_table')", no_allow_list},
    {"failure-record", 8, "calls that failed are journaled as succeeded",
     "let the journal keep status and error: drop trigger call_it_success on sor.tool_calls", no_failure_record},
};

constexpr const char* schema_of_evidence[] = {
    "create schema drill",
    "create table drill.observations (id bigint generated always as identity primary key, drill text not null, name "
    "text not null, "
    "value jsonb, at timestamptz not null default clock_timestamp())",
    "create table drill.logs (drill text not null, name text not null, line_no bigint not null, line text not null)",
    "create function drill.seen(drill text, name text) returns jsonb stable language sql as "
    "'select o.value from drill.observations o where (o.drill, o.name) = ($1, $2) order by o.id desc limit 1'",
    "create function drill.seen_at(drill text, name text) returns timestamptz stable language sql as "
    "'select o.at from drill.observations o where (o.drill, o.name) = ($1, $2) order by o.id desc limit 1'"};

constexpr const char* no_backlog[] = {"update sor.ready set available_at = 'infinity'", "delete from sor.pauses"};

} // namespace

const std::span<const sabotage_text> sabotages(all_sabotages);

namespace sql {
const std::span<const char* const> evidence_schema(schema_of_evidence);
const std::span<const char* const> nothing_waits(no_backlog);
const char* const observe = "insert into drill.observations (drill, name, value) values ($1, $2, $3::jsonb)";
const char* const keep_log = "insert into drill.logs select $1, $2, n, line from regexp_split_to_table($3, E'\\n') "
                             "with ordinality x(line, n) where line <> ''";
const char* const tenants =
    "select distinct on (t.name) t.tenant_id, t.name, u.id, u.email from sor.tenants t join sor.users u using "
    "(tenant_id) "
    "join sor.user_roles r on (r.tenant_id, r.user_id) = (u.tenant_id, u.id) where r.role = 'member' "
    "and exists (select from reconciler.expenses e where e.tenant_id = t.tenant_id) order by t.name, u.email limit 2";
const char* const owner = "select relowner::regrole::text from pg_class where oid = 'reconciler.expenses'::regclass";
// sor_drill_ and eight hexadecimal digits name a drill, which holds that prefix while it lives
const char* const hold = "select pg_advisory_lock(hashtextextended($1::text, 0)), "
                         "set_config('idle_session_timeout', '0', false)"; // it is idle while others work
const char* const left_behind =
    "select name, format(statement, name) from (select datname, 'drop database if exists %I with (force)' from "
    "pg_database union all select rolname, 'drop role if exists %I' from pg_roles) x(name, statement), "
    "hashtextextended(substr(name, 1, 19), 0) h(hash) where name ~ '^sor_drill_[0-9a-f]{8}_' and not exists "
    "(select from pg_locks l where l.locktype = 'advisory' and l.objsubid = 1 and (l.classid::bigint << 32 | "
    "l.objid::bigint) = hash) order by statement, name"; // databases first: they hold what the logins were granted
const char* const no_notes = "alter table reconciler.expenses drop column if exists notes";
const char* const next_version = "select lpad(n, greatest(4, length(n)), '0') from (select "
                                 "(coalesce(max(substring(version from '^[0-9]+')::numeric), 0) "
                                 "+ 1)::text from sor.migration_status()) x(n)";
const char* const objects = "select jsonb_object_agg(object, definition) from sor.schema_objects()";
const char* const drop_expenses = "drop table reconciler.expenses";
const char* const expenses_of = "select count(*) from reconciler.expenses where tenant_id = $1::uuid";
const char* const crash =
    "select jsonb_build_object('at', clock_timestamp(), 'run_id', r.id, 'status', r.status, 'finished_at', "
    "r.finished_at, 'turns', "
    "(select jsonb_agg(jsonb_build_object('turn_no', t.turn_no, 'status', t.status, 'started_at', t.started_at, "
    "'finished_at', t.finished_at) "
    "order by t.turn_no) from sor.turns t where (t.tenant_id, t.run_id) = (r.tenant_id, r.id))), r.id "
    "from sor.runs r where r.tenant_id = $1::uuid and r.worker = $2 order by r.started_at desc limit 1";
const char* const is_gone = "select not exists (select from pg_stat_activity where usename = $1)";
const char* const lapse =
    "with run as (update sor.runs set lease_until = clock_timestamp() where (tenant_id, id) = ($1::uuid, $2::uuid)) "
    "update sor.ready set available_at = clock_timestamp() where tenant_id = $1::uuid and claimed_by is not null";
const char* const new_items = "select jsonb_agg(id order by id) from reconciler.pending_transactions where tenant_id = "
                              "$1::uuid and statement = $2";
const char* const due_now =
    "update sor.ready set available_at = clock_timestamp() where queue = 'outbox' and item_id = $1";
const char* const finished_run =
    "select id from sor.runs where tenant_id = $1::uuid and status = 'succeeded' "
    "order by run_key is distinct from 'drill-2', started_at, id limit 1"; // that of drill 2, which has a gap
const char* const delete_event =
    "delete from sor.agent_events where tenant_id = $1::uuid and run_id = $2::uuid and seq = 1";
const char* const change_event =
    "update sor.agent_events set payload = '{}' where tenant_id = $1::uuid and run_id = $2::uuid and seq = 1";
const char* const visible = "select jsonb_build_object('all', count(*), 'own', count(*) filter (where tenant_id = "
                            "$1::uuid)) from reconciler.expenses";
const char* const error_of = "select $1::jsonb -> 'error'";
const char* const say = "select $1::text";
const char* const current_log = "select coalesce(pg_current_logfile(), '')";
const char* const log_position = "select (pg_stat_file($1)).size";
// whatever encodings other databases log in
const char* const log_since = "select encode(pg_read_binary_file($1, $2::bigint, 1 << 26), 'escape')";
} // namespace sql

} // namespace sor::drill
