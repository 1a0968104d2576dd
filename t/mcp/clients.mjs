// An official client does what a Worker's client does:
//   clients.mjs GENERATION NIGHT COMMAND...    GENERATION: sdk (@modelcontextprotocol/sdk: initialize and a session)
//                                                      or client (@modelcontextprotocol/client: a version in every request)
// COMMAND starts `sor mcp` for the tenant; the options of each connection are appended, NIGHT begins its run keys. It prints
// its checks.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as SdkClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as SdkTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { is, like, ok, rejected } from './check.mjs';

const [generation, night, command, ...prefix] = process.argv.slice(2);
const member = 'bookkeeper@expenses.example';
const clientInfo = { name: 'sor-test', version: '1' };

// A connection as a user: its calls, and what was negotiated.
async function connect(user, runKey) {
    const server = {
        command, args: [...prefix, '--on-behalf-of', user, '--run-key', `${night} ${runKey}`], stderr: 'inherit',
    };
    let client, transport, version;
    if (generation === 'sdk') {
        client = new SdkClient(clientInfo);
        transport = new SdkTransport(server);
        transport.setProtocolVersion = (v) => { version = v; };
        await client.connect(transport);
    } else {
        client = new Client(clientInfo, { versionNegotiation: { mode: 'auto' } });
        transport = new StdioClientTransport(server);
        await client.connect(transport);
        version = client.getNegotiatedProtocolVersion();
    }
    const errors = [];
    client.onerror = (error) => errors.push(String(error)); // e.g. a line that is no message, an answer to no request
    return {
        client, transport, version, errors,
        call: (name, args, { meta, ...options } = {}) => {
            const params = { name, arguments: args, ...(meta ? { _meta: meta } : {}) };
            return generation === 'sdk' ? client.callTool(params, undefined, options) : client.callTool(params, options);
        },
    };
}
async function allTools(client) {
    const tools = [];
    for (let page, cursor; !page || cursor; cursor = page.nextCursor) {
        page = await client.listTools(cursor ? { cursor } : undefined);
        tools.push(...page.tools);
    }
    return tools;
}
const write = (call, item, more = {}) => call('write', {
    request_id: more.request_id ?? randomUUID(), table: 'expenses',
    record: {
        transaction_id: item.item_id, category: more.category ?? 'Books',
        ...Object.fromEntries(['trans_date', 'merchant', 'card', 'amount', 'currency'].map((c) => [c, item.item[c]])),
    },
    ...(more.completes ? { completes: { queue: 'pending_transactions', item_id: item.item_id, claim_token: item.claim_token } } : {}),
});
const text = (result) => result.content.map((c) => c.text).join('\n');

// the connection, and what is offered ---------------------------------------------------------------------------------
const first = await connect(member, 'first');
is(first.version, generation === 'sdk' ? '2025-11-25' : '2026-07-28', 'the newest version that the client speaks is negotiated');
is(first.client.getServerVersion()?.name, 'sor', 'the server says its name');
ok(first.client.getServerCapabilities()?.tools, 'it has tools');
ok(first.client.getInstructions(), 'it has instructions for the model');
const listed = await allTools(first.client);
const tools = Object.fromEntries(listed.map((t) => [t.name, t]));
is([listed.length, listed.filter((t) => t.name.startsWith('report_')).length], [Object.keys(tools).length, 60], 'each tool once, over several pages');
is(['claim', 'queue', 'read', 'write', 'nap'].filter((name) => !tools[name]), [], 'the four operations and what was registered are offered');
ok(!tools.close_books, 'what an admin may do is not offered to a member');
is(Object.values(tools).filter((t) => t.inputSchema.type !== 'object' || !t.description).map((t) => t.name), [], 'each with a description and a schema');
is(Object.values(tools).filter((t) => !t.annotations?.readOnlyHint && !t.inputSchema.required?.includes('request_id')).map((t) => t.name), [],
    'every tool that is not read-only requires a request_id');
is(['claim', 'queue', 'read', 'write'].filter((name) => !tools[name]?.outputSchema), [], 'the four say the schema of their results');
is([tools.read.annotations.readOnlyHint, tools.write.annotations.readOnlyHint, tools.write.annotations.idempotentHint], [true, false, true],
    'hints: read only, and safe to repeat');

// one item from its claim to its completion ---------------------------------------------------------------------------
const { call } = first;
const claimed = await call('claim', { request_id: randomUUID(), queue: 'pending_transactions', limit: 2, lease_seconds: 60 });
is(claimed.isError ?? false, false, 'claim succeeds');
const [item, other] = claimed.structuredContent.items;
ok(item && other, 'and hands out two items');
const requestId = randomUUID();
const written = await write(call, item, { request_id: requestId, completes: true });
is([written.isError ?? false, written.structuredContent.inserted, written._meta?.['sor/replayed'] ?? false], [false, true, false],
    'write stores the expense and completes its claim');
const again = await write(call, item, { request_id: requestId, completes: true });
is([again._meta?.['sor/replayed'], again.structuredContent], [true, written.structuredContent], 'the same request again is replayed, and marked');
const differs = await write(call, item, { request_id: requestId, category: 'Travel', completes: true });
is([differs.isError, differs._meta?.['sor/error']?.sqlstate], [true, 'SR005'], 'the same request_id with other arguments is an error');
const mail = {
    request_id: randomUUID(), destination: 'mail', event_type: 'expense.confirmed', aggregate_id: item.item_id,
    payload: { to: 'a@b.example', subject: 'Confirmed', text: 'It is.' }, dedup_key: `confirmed:${item.item_id}`,
};
is((await call('queue', mail)).structuredContent.enqueued, true, 'queue stores a message');
is((await call('queue', { ...mail, request_id: randomUUID() })).structuredContent.enqueued, false, 'once for its dedup key');
const rows = await call('read', { from: 'expenses', where: { transaction_id: item.item_id }, limit: 5 });
is([rows.structuredContent.rows.map((r) => r.category), rows.structuredContent.truncated], [['Books'], false], 'read finds it');
like(text(rows), /Books/, 'and the text form has it too');
is((await call('read', { from: 'pending_transactions', limit: 1 })).structuredContent.truncated, true, 'more rows than the limit: truncated says so');

// what goes wrong -----------------------------------------------------------------------------------------------------
const unknown = await rejected(call('drop_table', { request_id: randomUUID() }), 'a tool that is not there');
is(unknown.code, -32602, 'an unknown tool is a protocol error');
like(unknown.message, /Unknown tool: drop_table/, 'that names it');
const malformed = await call('write', { request_id: randomUUID(), table: 'expenses', record: 'a book' });
is(malformed.isError, true, 'an argument of the wrong type is an error for the model');
like(text(malformed), /record/, 'that names the field');
const without = await call('write', { table: 'expenses', record: {} });
is(without.isError, true, 'a write without request_id is refused');
like(text(without), /request_id/, 'naming it');
const unregistered = await call('read', { from: 'pg_authid' });
is([unregistered.isError, unregistered._meta?.['sor/error']?.sqlstate], [true, 'SR013'], 'a table that is not registered');
await first.client.listTools(); // the older client knows the output schemas of the page that it read last
const broken = await call('break_promise', { request_id: randomUUID() }).then((r) => text(r), (error) => error.message);
like(broken, /schema|structured/i, 'the client checks results against outputSchema: a tool that breaks its own is found out');

// progress and cancellation -------------------------------------------------------------------------------------------
const seen = [];
const napped = await call('nap', { request_id: randomUUID(), seconds: 2.5 }, { onprogress: (p) => seen.push(p.progress) });
is(napped.structuredContent?.slept, 2.5, 'a slow tool answers');
ok(seen.length > 0, `with progress on the way (${seen.length})`);
is(seen.filter((p, i) => i > 0 && p <= seen[i - 1]), [], 'which only grows');
const abort = new AbortController();
const cancelled = rejected(call('nap', { request_id: randomUUID(), seconds: 60, writes: other.item_id }, { signal: abort.signal }), 'a cancelled call');
await sleep(500);
abort.abort('enough');
await cancelled;
const since = Date.now();
const after = await call('read', { from: 'expenses', where: { transaction_id: other.item_id } });
ok(Date.now() - since < 20_000, `the next call does not wait for the cancelled one (${Date.now() - since} ms)`);
is(after.structuredContent.rows, [], 'which has left nothing');

// turns ---------------------------------------------------------------------------------------------------------------
for (const turn of ['morning', 'morning', 'evening']) {
    const r = await call('read', { from: 'expenses', limit: 1 }, { meta: { 'sor/turn_id': turn } });
    is(r.isError ?? false, false, `a call of the turn "${turn}"`);
}
is(first.errors, [], 'the client has seen nothing that it does not understand');
await first.client.close();

// roles ---------------------------------------------------------------------------------------------------------------
const asMember = await connect(member, 'member');
const refused = await asMember.call('close_books', { request_id: randomUUID(), month: '2026-09' });
is([refused.isError, refused._meta?.['sor/error']?.sqlstate], [true, 'SR003'], 'a member is refused what an admin may do');
like(text(refused), /admin/, 'in words that name the role');
await asMember.client.close();
const asAdmin = await connect('admin@alice.example', 'admin');
ok((await allTools(asAdmin.client)).some((t) => t.name === 'close_books'), 'an admin is offered it');
const closed = await asAdmin.call('close_books', { request_id: randomUUID(), month: '2026-09' });
is([closed.isError ?? false, closed.structuredContent?.closed], [false, '2026-09'], 'and may do it');
await asAdmin.client.close();
const asViewer = await connect('viewer@alice.example', 'viewer');
is((await allTools(asViewer.client)).map((t) => t.name).filter((n) => ['claim', 'queue', 'read', 'write'].includes(n)), ['read'],
    'a viewer is offered read alone');
is((await asViewer.call('read', { from: 'expenses', limit: 1 })).isError ?? false, false, 'may read');
const viewerWrites = await write(asViewer.call, other);
is([viewerWrites.isError, viewerWrites._meta?.['sor/error']?.sqlstate], [true, 'SR003'], 'and may not write');
like(text(viewerWrites), /member/, 'in words that name the role');
await asViewer.client.close();

// a connection that only looks leaves no run --------------------------------------------------------------------------
const onlooker = await connect(member, 'onlooker');
await onlooker.client.listTools();
await onlooker.client.close();

// a killed server -----------------------------------------------------------------------------------------------------
const killed = await connect(member, 'killed');
is((await killed.call('read', { from: 'expenses', limit: 1 })).isError ?? false, false, 'a call before the kill');
process.kill(killed.transport.pid, 'SIGKILL');
await rejected(killed.call('read', { from: 'expenses', limit: 1 }), 'a call of a killed server');
let successor, answer;
for (const end = Date.now() + 30_000; Date.now() < end;) { // until the run's lease is over
    successor = await connect(member, 'killed');
    answer = await successor.call('read', { from: 'expenses', limit: 1 });
    if (!answer.isError) break;
    is(answer._meta?.['sor/error']?.sqlstate, 'SR012', 'until its lease is over the run is another\'s');
    await successor.client.close();
    await sleep(300);
}
is(answer.isError ?? false, false, 'the next server goes on with its run');
await successor.client.close();
