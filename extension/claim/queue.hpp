// Domain queues: tables whose rows are items. An operator registers one; triggers keep the ready table in step with it.
#pragma once

#include "claim/ready.hpp"

namespace sor::claim {

constexpr const char* outbox_queue = "outbox"; // reserved: its items are messages, not rows of a domain table

struct queue {
    char* name;
    Oid relid;
    Oid owner;
    char* key_column; // beside tenant_id
    char* order_key;  // null: none
    int max_attempts;
    int64 backoff_base; // microseconds
    uint64 seen;        // bridge::relation_changes() before the registration was read
};

// SR013 naming the queue when no operator registered it, or when its relation is gone. palloc'd.
const queue* find_queue(const char* name);

// The rows of those items as a Worker may see them, read as the table's owner under row security; null for one that is
// gone. In the order given.
Jsonb** read_items(const queue& q, const ready::row* items, int count);

} // namespace sor::claim
