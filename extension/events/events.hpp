// events: append-only, hash-chained history. A stream is the life of one thing; seq counts 1, 2, … within it.
//
// Callers run inside a context frame and hold the stream's lock: the row of the run or message it belongs to, or
// lock_stream() for streams that have no row of their own.
#pragma once

#include "bridge/json.hpp"
#include "context/context.hpp"

namespace sor::events {

struct event {
    pg_uuid_t stream;
    const char* type;
    const char* actor_kind; // user, agent, system
    const char* actor;      // worker, login or mechanism
    const pg_uuid_t* on_behalf_of = nullptr;
    const Jsonb* payload = nullptr; // null: {}
    const pg_uuid_t* run = nullptr;
    int turn_no = 0; // 0: none
    const pg_uuid_t* tool_call = nullptr;
    const pg_uuid_t* message = nullptr;
};

// An event of that type with the actor, user, run, turn and tool call of the call now running.
event from_here(const pg_uuid_t& stream, const char* type, const Jsonb* payload = nullptr);

// Appends to the stream in the open tenant; returns seq. The transaction is durable once its commit is acknowledged,
// whatever synchronous_commit says.
int64 append(const event& e);
// Same for the first event of a stream minted in this very call: nothing is read.
void append_first(const event& e);

// Between the two, events are chained at once and written together by close_batch, within the same frame. Nothing in
// between reads what it appended from the table.
void open_batch();
void close_batch();

enum class stream_kind { tenant, item, system, switches };
// The stream of a thing that has no row to lock, made at first use and locked until the transaction ends.
pg_uuid_t lock_stream(stream_kind kind, const char* subject);

// Appends to the open tenant's own stream (grants, users, roles), as the calling login.
void append_administrative(const char* type, const Jsonb* payload);
// Appends to the system's stream (registrations, migrations); returns seq. Opens no tenant itself: call it within
// administration(system_tenant).
int64 append_system(const char* type, const Jsonb* payload);
// Appends to the stream of switches, the open tenant's or the system's: a pause must not wait for a transaction that
// holds one of the others.
void append_switch(const char* type, const Jsonb* payload);

// Types of events that sor writes itself and applications may not, as an SQL regular expression.
#define SOR_RESERVED_EVENT_TYPES                                                                                       \
    "'^(registered$|(run|turn|tool_call|item|outbox|grant|role|switch|migration|drill)\\.)'"

// The hash of an event as stored, for verification. prev_hash and hash are bytea of 32 bytes.
void hash_of(const bridge::result& rows, uint64 row, const unsigned char* prev_hash, unsigned char* into);
// The columns hash_of expects, in this order, from 1.
#define SOR_HASHED_COLUMNS                                                                                             \
    "tenant_id, stream_id, seq, id, run_id, turn_no, tool_call_id, message_id, event_type, actor_kind, actor,"         \
    " on_behalf_of, payload, created_at"
constexpr int hashed_column_count = 14;

// From now on this transaction's commit waits for its WAL to be flushed.
void require_durable_commit();

} // namespace sor::events
