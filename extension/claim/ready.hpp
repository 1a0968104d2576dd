// The ready table: who may work on what, when. One row for each item or message that waits or is being worked on, none
// for a finished or dead one. Shared by domain queues and the outbox; every function acts in the open tenant, as the
// engine.
//
// Rules of a row:
// - available_at is when it may be handed out: its schedule, its retry, or the end of the lease of who holds it.
// - claim_token is who holds it: a holder proves itself by it, and each hand-out makes it greater.
// - Of the rows with one order_value only the first (by order_at, item_id) is handed out, and one once handed out
//   stays first (order_at -infinity) until it is removed. The others are parked (available_at infinity) when a claim
//   comes across them, so that it does so once, and the removal of the first makes the next one available.
#pragma once

#include "events/events.hpp"

namespace sor::claim::ready {

struct row {
    char* item_id;
    int64 token;
    int attempt;
    char* order_value; // null: none
    char* claimed_by;  // null: nobody has held it
};

struct taken {
    row* items; // in the order in which they became due
    int count;
    List* exhausted;   // row*: removed, because as many attempts as allowed ended without an answer
    TimestampTz until; // end of the lease of each
};
// Hands out up to max items that are due, each with a new token and its attempt counted; never waits for a lock.
taken take(const char* queue, const char* worker, int max, int64 lease, int max_attempts);

// Errors of the following: SR007 the token is not the item's current one, or its lease is over.
row remove_held(const char* queue, const char* item_id, int64 token);
bool try_remove_held(const char* queue, const char* item_id, int64 token, row& removed); // false instead of SR007
row lock_held(const char* queue, const char* item_id, int64 token);
void extend_held(const char* queue, const char* item_id, int64 token, int64 lease);
[[noreturn]] void raise_lost(const char* queue, const char* item_id, int64 token);

// Of an item locked by this transaction: nobody holds it any more, and it may be handed out from then on.
void put_back(const char* queue, const char* item_id, TimestampTz available_at, int attempt);
// Whoever holds it; false when there is no such row.
bool remove(const char* queue, const char* item_id);

// Of an item that is not there. available_at null: now.
void add(const char* queue, const char* item_id, const TimestampTz* available_at, const char* order_value, int64 token);

// Many at once, of any tenants, except those there already; order_values null: no item has one.
void add_many(const char* queue, ArrayType* tenants, ArrayType* item_ids, ArrayType* order_values, int count);
// Of the open tenant.
void remove_many(const char* queue, ArrayType* item_ids);

ArrayType* text_array(Datum* texts, bool* nulls, int count);
int64 unix_microseconds(TimestampTz t);

} // namespace sor::claim::ready
