#pragma once

namespace sor::fault {

// Named points at which a test ends the process. SOR_FAULT=NAME[:N] in the environment makes it kill itself (SIGKILL)
// at the N-th passing of NAME, SOR_STOP=NAME[:N] stop itself (SIGTERM). In the binary `sor-faults` alone; in `sor` it
// does nothing.
void point(const char* name);

} // namespace sor::fault
