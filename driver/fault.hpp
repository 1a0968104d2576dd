#pragma once

namespace sor::fault {

// Named points at which a kill test ends the process. SOR_FAULT=NAME[:N] in the environment makes it kill itself
// (SIGKILL) at the N-th passing of NAME. Does so in the binary `sor-faults` alone; in `sor` it does nothing.
void point(const char* name);

} // namespace sor::fault
