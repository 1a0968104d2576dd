-- A tenant's history as CSV, for a verifier outside the database: psql -v tenant=UUID -v file=EVENTS.csv
\pset format csv
\pset tuples_only off
SELECT tenant_id, stream_id, seq, id, run_id, turn_no, tool_call_id, message_id, event_type, actor_kind, actor, on_behalf_of,
       payload, (extract(epoch FROM created_at) * 1000000)::bigint AS created_at, encode(prev_hash, 'hex') AS prev_hash,
       encode(hash, 'hex') AS hash
FROM sor.agent_events WHERE tenant_id = :'tenant' ORDER BY stream_id, seq
\g :file
