// Compiled once for `sor`, and once with SOR_FAULT_POINTS for `sor-faults`, which shares all other objects.
#include "fault.hpp"

#ifdef SOR_FAULT_POINTS
#include <csignal>
#include <cstdlib>
#include <string_view>

void sor::fault::point(const char* name) {
    static const char* wanted = std::getenv("SOR_FAULT");
    static long passings = 0;
    if (!wanted)
        return;
    const std::string_view spec = wanted;
    const auto colon = spec.find(':');
    const long at = colon == spec.npos ? 1 : std::strtol(wanted + colon + 1, nullptr, 10);
    if (spec.substr(0, colon) == name && ++passings == at)
        std::raise(SIGKILL);
}
#else
void sor::fault::point(const char*) {}
#endif
