// metrics: which tenants a caller may watch.
#pragma once

#include "outbox/outbox.hpp"
#include "claim/queue.hpp"
#include "switches/switches.hpp"

namespace sor::metrics {

constexpr int most_counted = 10000; // rows of one gauge

struct watched_tenant {
    pg_uuid_t id;
    char* name;
};
struct watched_tenants {
    watched_tenant* list;
    int count;
};
// Those granted to the caller, all for operators; by name. palloc'd where the call was made.
watched_tenants tenants_of(Oid caller);

} // namespace sor::metrics
