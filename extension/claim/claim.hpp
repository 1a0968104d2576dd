// claim: who works on what, with leases and fencing tokens. One mechanism for domain queues and for the outbox.
// Callers run inside a context frame; every function acts in the open tenant.
#pragma once

#include "idempotency/idempotency.hpp"
#include "journal/journal.hpp"

namespace sor::claim {

// The tool's answer: [{item_id, claim_token, attempt, item}]. Within a run (context::current_origin) the claims carry
// the run's id, and *until is the end of their lease so that the caller can let the run's lease cover it.
// Errors: SR013 no such queue.
Jsonb* claim_items(const char* queue, const char* worker, int max, int64 lease_microseconds, TimestampTz* until);

// Errors of the following: SR007 the token is not the item's current one, or its lease is over; SR013 no such queue.
void complete(const char* queue, const char* item_id, int64 token, const Jsonb* result);
void fail(const char* queue, const char* item_id, int64 token, const char* error);
void release(const char* queue, const char* item_id, int64 token, int64 delay_microseconds);

} // namespace sor::claim
