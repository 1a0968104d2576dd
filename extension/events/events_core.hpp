// The bytes an event's hash covers. Pure: no PostgreSQL header, no allocation.
//
// The layout is a promise (docs/events.md): a verifier in another language reads the same bytes out of the table.
// Integers are big-endian. An optional field is one byte 0, or one byte 1 and the value. A string is its length in
// four bytes, then its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sor::events {

constexpr std::size_t uuid_size = 16;
constexpr std::size_t hash_size = 32;

// Null pointers mean null. Text is in the database's encoding; payload is the jsonb's canonical text.
struct record {
    const unsigned char* tenant_id;
    const unsigned char* stream_id;
    std::int64_t seq;
    const unsigned char* id;
    const unsigned char* run_id;
    std::optional<std::int32_t> turn_no;
    const unsigned char* tool_call_id;
    const unsigned char* message_id;
    std::string_view event_type;
    std::string_view actor_kind;
    std::string_view actor;
    const unsigned char* on_behalf_of;
    std::string_view payload;
    std::int64_t created_at; // microseconds since 1970-01-01 00:00 UTC
};

std::size_t encoded_size(const record& event);

// Writes prev_hash (32 bytes, zeros for the first event of a stream) and the event; `out` has room for encoded_size().
void encode(const record& event, const unsigned char* prev_hash, unsigned char* out);

} // namespace sor::events
