// claim: who works on what, with leases and fencing tokens. One mechanism (ready.hpp) for domain queues and the outbox.
// Callers run inside a context frame; every function acts in the open tenant.
#pragma once

#include "claim/ready.hpp"
#include "idempotency/idempotency.hpp"
#include "journal/journal.hpp"

namespace sor::claim {

constexpr int most_items = 1000;  // of one claim
void require_item_count(int max); // 22023 unless 1 to most_items

// The tool's answer: [{item_id, claim_token, attempt, item}]. Within a run (context::current_origin) the claims carry
// the run's id. *until is the end of their lease, so that the caller can let the run's lease cover it.
// Errors: SR013 no such queue, 22023 max is not 1 to 1000.
Jsonb* claim_items(const char* queue, const char* worker, int max, int64 lease_microseconds, TimestampTz* until);

// Errors of the following: SR007 the token is not the item's current one, or its lease is over; SR013 no such queue.
void complete(const char* queue, const char* item_id, int64 token, const Jsonb* result);
void fail(const char* queue, const char* item_id, int64 token, const char* error);
void release(const char* queue, const char* item_id, int64 token, int64 delay_microseconds);

// Gives back what the run holds, due at once. The attempts count: whoever leaves does not say why, and an item that kills
// its worker must not be tried for ever. Returns how many items that were.
int give_back(const journal::run& locked);

// Brings a dead item back, for an operator. SR010 the item is not dead.
void requeue(const char* queue, const char* item_id);

// A time to wait after that attempt failed, in microseconds.
int64 random_backoff(int64 base, int attempt);

// What is recorded of an item that came back unanswered as often as it may be tried, and by whom.
extern const char* const unanswered;
extern const char* const lease_expiry;

} // namespace sor::claim
