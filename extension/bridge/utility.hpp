// The library's one hook of utility statements: whoever must see them registers here, and all know how deep they run.
#pragma once

#include "bridge/plan_cache.hpp"

namespace sor::bridge {

// Called before each utility statement, in the order of registration; what it raises keeps the statement from running.
// What runs inside another utility statement (in a DO block, a subcommand, a function that a COPY calls) is seen, too.
using utility_observer = void (*)(PlannedStmt* statement, const char* query, ProcessUtilityContext context);
void observe_utility(utility_observer observer); // while the library is loaded

// How many utility statements run inside one another now, 1 being the outermost. Errors leave it right.
int utility_depth();

// Executes DDL that is sor's own: the caller was let in by the right to execute the function that does so.
result execute_own(const char* sql);
// Whether the utility statement now running is such a one, and not one that it runs in turn.
bool own_statement_runs();

// Called once, when the library is loaded.
void install_utility_hook();

} // namespace sor::bridge
