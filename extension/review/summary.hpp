// A review in short: what a person approves, and what is compared before the migration runs.
#pragma once

#include "bridge/json.hpp"

namespace sor::review {

struct summary {
    const char* hash;      // of the checksum and of each finding's direction, statement, severity and rule, and of what
                           // names without a schema mean in destructive statements, in hex
    int destructive[2];    // findings of the upgrade and of the downgrade
    const char* worst;     // the first destructive one: direction, statement, line and what it is; null: none
    const Jsonb* findings; // {"up": {severity: count…}, "down": {…}, "listed": [the first ones that are not safe]}
};

// SHA-256 over both texts with their lengths, in hex. down null: there is none.
char* checksum(const text* up, const text* down);

// Reviews a migration as the catalogs are now, name null or what it is called, which the hash does not depend on. SPI
// is connected; the result lives in the current memory context, which holds one finding at a time. Errors: what
// sor.review_migration raises.
summary summarize(const text* up, const text* down, const char* name = nullptr);

} // namespace sor::review
