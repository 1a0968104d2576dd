// switches: what operators paused. Callers run inside a context frame.
#pragma once

#include "access/access.hpp"

namespace sor::switches {

// Whether nothing of that queue may be handed out now, because it or the open tenant is paused.
bool stops_queue(const char* queue);

// Why that tool is paused; null: it is not.
const char* pause_of_tool(const char* name);

// SR016 when the open tenant is paused.
void require_unpaused_tenant();

// Whether the caller sees every tenant: a superuser, or a member of sor_operator.
bool sees_every_tenant(Oid caller);

} // namespace sor::switches
