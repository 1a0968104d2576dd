// The library's one hook of utility statements: whoever must see them registers here, and all know how deep they run.
#pragma once

#include "bridge/entry.hpp"

namespace sor::bridge {

// Called before each utility statement, in the order of registration; what it raises keeps the statement from running.
// What runs inside another utility statement (in a DO block, a subcommand, a function that a COPY calls) is seen, too.
using utility_observer = void (*)(PlannedStmt* statement, const char* query, ProcessUtilityContext context);
void observe_utility(utility_observer observer); // while the library is loaded

// How many utility statements run inside one another now, 1 being the outermost. Errors leave it right.
int utility_depth();

// Called once, when the library is loaded.
void install_utility_hook();

} // namespace sor::bridge
