// The drop guard: what would destroy data or weaken governance is refused (SR009) until a person approved it.
//
// Event triggers judge each command by its parse tree before it begins; the server's own hooks see what it then drops
// and truncates, whatever named it. So a fresh session is guarded without being preloaded: its first such command
// loads the library. The hooks alone see what fires no event trigger.
#pragma once

#include "guard/objects.hpp"

namespace sor::guard {

void load(); // called once, when the library is loaded

// Raises SR009, unless the migration now running was approved for it or a superuser's session forces it; what is forced
// is recorded. action: what is refused, as "dropping table shop.expenses"; because: a further sentence, or null.
// beyond_review: what no review of the statement can have seen takes an override.
void refuse(const verdict& v, const char* action, const char* because = nullptr, bool beyond_review = false);

// Whether the session's login is superuser, whoever it acts as now; and whether it asked to pass.
bool session_is_superuser();
bool forced();

// Judges a statement that is about to run. Raises SR009, and SR004 for dropping an extension that holds history.
void judge(const Node* statement);

} // namespace sor::guard
