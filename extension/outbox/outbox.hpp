// outbox: the intent of a side effect, committed with the rows it belongs to. Callers run inside a context frame.
#pragma once

#include "claim/claim.hpp"

namespace sor::outbox {

struct enqueued {
    pg_uuid_t message_id;
    bool inserted; // false: a message with that dedup_key exists, message_id is its id
};
// available_at null: now. Errors: SR005 the dedup_key was used with another destination, type, aggregate or payload.
enqueued enqueue(const char* destination, const char* event_type, const char* aggregate_id, const Jsonb* payload,
                 const char* dedup_key, const TimestampTz* available_at);

} // namespace sor::outbox
