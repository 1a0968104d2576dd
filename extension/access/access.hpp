// access: the role of a user in the open tenant. Callers run inside a context frame.
#pragma once

#include "access/access_core.hpp"
#include "events/events.hpp"

namespace sor::access {

// The role of a user of the open tenant, or null when it has none; palloc'd.
const char* role_of(const pg_uuid_t& user);

} // namespace sor::access
