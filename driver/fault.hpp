#pragma once

// Named points at which a kill test ends the process. SOR_FAULT=NAME[:N] in the environment makes it kill itself
// (SIGKILL) at the N-th passing of NAME. Compiled only into the target `sor-faults`.
#ifdef SOR_FAULT_POINTS
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace sor::fault {

inline void point(std::string_view name) {
    static const char* wanted = std::getenv("SOR_FAULT");
    static long passings = 0;
    if (!wanted)
        return;
    std::string_view spec = wanted;
    const auto colon = spec.find(':');
    const long at = colon == spec.npos ? 1 : std::strtol(wanted + colon + 1, nullptr, 10);
    if (spec.substr(0, colon) == name && ++passings == at)
        std::raise(SIGKILL);
}

} // namespace sor::fault
#else
namespace sor::fault {

inline void point(const char*) {}

} // namespace sor::fault
#endif
