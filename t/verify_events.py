#!/usr/bin/python3
"""Verifies an exported history (t/export_events.sql) from the byte layout of docs/events.md, and that it continues one
that was kept from an earlier export: verify_events.py EVENTS.csv [KEPT.csv]"""
import csv
import hashlib
import struct
import sys
import uuid


def identifier(value):
    return uuid.UUID(value).bytes


def optional(value, encode):
    return b"\1" + encode(value) if value else b"\0"


def string(value):
    return struct.pack(">I", len(value.encode())) + value.encode()


def digest(e, prev_hash):
    return hashlib.sha256(
        b"\1" + prev_hash + identifier(e["tenant_id"]) + identifier(e["stream_id"]) + struct.pack(">q", int(e["seq"]))
        + identifier(e["id"]) + optional(e["run_id"], identifier)
        + optional(e["turn_no"], lambda n: struct.pack(">i", int(n))) + optional(e["tool_call_id"], identifier)
        + optional(e["message_id"], identifier) + string(e["event_type"]) + string(e["actor_kind"]) + string(e["actor"])
        + optional(e["on_behalf_of"], identifier) + string(e["payload"]) + struct.pack(">q", int(e["created_at"]))).digest()


def chains(path):
    streams = {}
    with open(path, newline="", encoding="utf-8") as file:
        for e in csv.DictReader(file):
            hashes = streams.setdefault((e["tenant_id"], e["stream_id"]), [bytes(32)])
            if (int(e["seq"]), e["prev_hash"], e["hash"]) != (len(hashes), hashes[-1].hex(), digest(e, hashes[-1]).hex()):
                sys.exit(f"{path}: stream {e['stream_id']}: event {e['seq']} is not what followed event {len(hashes) - 1}")
            hashes.append(bytes.fromhex(e["hash"]))
    return streams


csv.field_size_limit(2**31 - 1)
found = chains(sys.argv[1])
for (tenant, stream), kept in chains(sys.argv[2]).items() if len(sys.argv) > 2 else ():
    if found.get((tenant, stream), [])[:len(kept)] != kept:
        sys.exit(f"stream {stream}: its first {len(kept) - 1} events are not those that were kept")
print(f"{len(found)} streams, {sum(len(hashes) - 1 for hashes in found.values())} events")
