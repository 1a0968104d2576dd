#include "events/events_core.hpp"

#include <cstring>

namespace sor::events {

namespace {

constexpr unsigned char layout_version = 1;

struct cursor {
    unsigned char* at;

    void byte(unsigned char b) { *at++ = b; }
    void bytes(const void* from, std::size_t count) {
        std::memcpy(at, from, count);
        at += count;
    }
    template <class Integer>
    void integer(Integer n) {
        for (int shift = 8 * (static_cast<int>(sizeof(Integer)) - 1); shift >= 0; shift -= 8)
            byte(static_cast<unsigned char>(n >> shift));
    }
    void uuid(const unsigned char* id) { bytes(id, uuid_size); }
    void optional_uuid(const unsigned char* id) {
        byte(id != nullptr);
        if (id != nullptr)
            uuid(id);
    }
    void string(std::string_view s) {
        integer(static_cast<std::uint32_t>(s.size()));
        bytes(s.data(), s.size());
    }
};

constexpr std::size_t optional_size(const unsigned char* id) {
    return 1 + (id ? uuid_size : 0);
}
constexpr std::size_t string_size(std::string_view s) {
    return 4 + s.size();
}

} // namespace

std::size_t encoded_size(const record& e) {
    return 1 + hash_size + 3 * uuid_size + 8 + optional_size(e.run_id) + 1 + (e.turn_no ? 4 : 0) +
           optional_size(e.tool_call_id) + optional_size(e.message_id) + string_size(e.event_type) +
           string_size(e.actor_kind) + string_size(e.actor) + optional_size(e.on_behalf_of) + string_size(e.payload) +
           8;
}

void encode(const record& e, const unsigned char* prev_hash, unsigned char* out) {
    cursor c{out};
    c.byte(layout_version);
    c.bytes(prev_hash, hash_size);
    c.uuid(e.tenant_id);
    c.uuid(e.stream_id);
    c.integer(e.seq);
    c.uuid(e.id);
    c.optional_uuid(e.run_id);
    c.byte(e.turn_no.has_value());
    if (e.turn_no)
        c.integer(*e.turn_no);
    c.optional_uuid(e.tool_call_id);
    c.optional_uuid(e.message_id);
    c.string(e.event_type);
    c.string(e.actor_kind);
    c.string(e.actor);
    c.optional_uuid(e.on_behalf_of);
    c.string(e.payload);
    c.integer(e.created_at);
}

} // namespace sor::events
