#!/usr/bin/python3
"""Verifies an exported history (t/export_events.sql) from the byte layout of docs/events.md: verify_events.py EVENTS.csv"""
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


csv.field_size_limit(2**31 - 1)
heads = {}
with open(sys.argv[1], newline="", encoding="utf-8") as file:
    for e in csv.DictReader(file):
        seq, head = heads.get(e["stream_id"], (0, bytes(32)))
        if (int(e["seq"]), e["prev_hash"], e["hash"]) != (seq + 1, head.hex(), digest(e, head).hex()):
            sys.exit(f"stream {e['stream_id']}: event {e['seq']} is not what followed event {seq}")
        heads[e["stream_id"]] = (seq + 1, bytes.fromhex(e["hash"]))
print(f"{len(heads)} streams, {sum(seq for seq, _ in heads.values())} events")
