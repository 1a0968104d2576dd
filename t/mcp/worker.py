#!/usr/bin/python3
"""A Worker without a model, over MCP alone: worker.py HANDLER -- COMMAND...

It claims items, has HANDLER (a command line: examples/reconciler/reconcile.py RULES DOMAIN) say the calls for each, and
makes them through `sor mcp`, which COMMAND starts. DIE=POINT:N in the environment kills it and its server with SIGKILL
when it passes the point for the N-th time: before-NAME and after-NAME of a call, or sent-NAME: the request is on its way
and the answer is not awaited. DIE=POINT:N:alone leaves the server alive.

The calls of an item: `write`, then `queue`, then its claim is completed with the next `claim`. Calls over MCP take effect one
by one, so the order is what a crash between them leaves: a mail is queued only for an expense that is stored, and the claim is
the last to go, so an item that is not done comes back when its lease is over. Then the same request ids are made again (they
are made of queue, item and step), and what was done before the crash is answered, not repeated.
"""
import json
import os
import shlex
import signal
import subprocess
import sys
import uuid

QUEUE, LIMIT, LEASE = "pending_transactions", 10, 2
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "worker.py", "version": "1"}}
split = sys.argv.index("--")
handler = subprocess.Popen(shlex.split(sys.argv[1]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
server = subprocess.Popen(sys.argv[split + 1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
die_at, die_count, die_alone = (os.environ.get("DIE", "") + "::").split(":")[:3]
passed = requests = 0


def point(name):
    global passed
    passed += name == die_at
    if name == die_at and passed == int(die_count):
        if not die_alone:
            os.kill(server.pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def ask(process, message):
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()
    if message.get("method"):
        point("sent-" + message["params"]["name"])
    line = process.stdout.readline()
    if not line:
        sys.exit(f"worker.py: {process.args[0]} has ended")
    return json.loads(line)


def call(tool, request_id, arguments):
    global requests
    requests += 1
    point("before-" + tool)
    answer = ask(server, {"jsonrpc": "2.0", "id": requests, "method": "tools/call", "params": {
        "name": tool, "arguments": {"request_id": str(request_id), **arguments}, "_meta": META}})
    if "error" in answer or answer["result"]["isError"]:
        sys.exit(f"worker.py: {tool}: {json.dumps(answer)}")
    point("after-" + tool)
    return answer["result"]["structuredContent"]


done = []
while True:
    # A claim is a new request each time: one that was granted to a Worker that died comes back with its items' leases.
    items = call("claim", uuid.uuid4(), {"queue": QUEUE, "limit": LIMIT, "lease_seconds": LEASE, "complete": done})["items"]
    if not items:
        break
    done = []
    for item in items:
        answer = ask(handler, {"item": {"id": item["item_id"], "attempt": item["attempt"], "row": item["item"]}})
        for step in answer["calls"]:
            call(step["tool"], uuid.uuid5(uuid.NAMESPACE_OID, f"{QUEUE}/{item['item_id']}/{step['tool']}"), step["arguments"])
        done.append({"item_id": item["item_id"], "claim_token": item["claim_token"]})
server.stdin.close()
handler.stdin.close()
sys.exit(server.wait() or handler.wait())
