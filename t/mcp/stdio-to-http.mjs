// Serves a stdio MCP server over Streamable HTTP on 127.0.0.1, for test suites that speak HTTP alone:
//   stdio-to-http.mjs COMMAND...        prints its URL; ends when its standard input does
// A session is a process: `initialize` starts COMMAND and gets an Mcp-Session-Id, DELETE closes its standard input. A
// request is answered as JSON, or as an event stream with the notifications before its answer if it asks for progress.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import readline from 'node:readline';

const [command, ...args] = process.argv.slice(2);
const sessions = new Map();

function start() {
    const session = { id: randomUUID(), waiting: new Map(), child: spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] }) };
    readline.createInterface({ input: session.child.stdout }).on('line', (line) => {
        const message = JSON.parse(line);
        if ('id' in message) {
            session.waiting.get(message.id)?.answer(line);
            session.waiting.delete(message.id);
        } else {
            const token = message.params?.progressToken;
            [...session.waiting.values()].find((w) => w.token === token)?.notify(line);
        }
    });
    session.child.on('exit', () => {
        for (const w of session.waiting.values()) w.fail();
        sessions.delete(session.id);
    });
    sessions.set(session.id, session);
    return session;
}

function post(request, response, body) {
    const message = JSON.parse(body);
    const session = message.method === 'initialize' ? start() : sessions.get(request.headers['mcp-session-id']);
    if (!session) return response.writeHead(request.headers['mcp-session-id'] ? 404 : 400).end();
    if (!('id' in message)) { // a notification, or the answer to a request of the server's
        session.child.stdin.write(body + '\n');
        return response.writeHead(202).end();
    }
    const token = message.params?._meta?.progressToken;
    const headers = { 'mcp-session-id': session.id, 'content-type': token === undefined ? 'application/json' : 'text/event-stream' };
    if (token !== undefined) response.writeHead(200, headers).flushHeaders();
    session.waiting.set(message.id, {
        token,
        notify: (line) => response.write(`data: ${line}\n\n`),
        answer: (line) => (token === undefined ? response.writeHead(200, headers).end(line) : response.end(`data: ${line}\n\n`)),
        fail: () => (response.headersSent ? response.end() : response.writeHead(502).end()),
    });
    session.child.stdin.write(body.replaceAll('\n', ' ') + '\n'); // a line end within a string would be \n already
}

const server = http.createServer((request, response) => {
    if (request.method === 'DELETE') {
        sessions.get(request.headers['mcp-session-id'])?.child.stdin.end();
        return response.writeHead(200).end();
    }
    if (request.method !== 'POST') return response.writeHead(405).end(); // no stream beside those of the answers
    let body = '';
    request.setEncoding('utf8').on('data', (chunk) => { body += chunk; }).on('end', () => post(request, response, body));
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/mcp`));
process.stdin.resume().on('end', () => {
    for (const session of sessions.values()) session.child.stdin.end();
    server.close();
    server.closeAllConnections();
});
