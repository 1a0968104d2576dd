// Compiled once for `sor`, and once with SOR_FAULT_POINTS for `sor-faults`, which shares all other objects.
#include "fault.hpp"

#ifdef SOR_FAULT_POINTS
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace {

// What one variable of the environment asks for.
class order {
public:
    order(const char* variable, int signal) : wanted_(std::getenv(variable)), signal_(signal) {}
    void pass(const char* name) {
        if (!wanted_)
            return;
        const std::string_view spec = wanted_;
        const auto colon = spec.find(':');
        const long at = colon == spec.npos ? 1 : std::strtol(wanted_ + colon + 1, nullptr, 10);
        if (spec.substr(0, colon) == name && ++passings_ == at)
            std::raise(signal_);
    }

private:
    const char* const wanted_;
    const int signal_;
    long passings_ = 0;
};

} // namespace

void sor::fault::point(const char* name) {
    static order kill("SOR_FAULT", SIGKILL), stop("SOR_STOP", SIGTERM);
    kill.pass(name);
    stop.pass(name);
}
#else
void sor::fault::point(const char*) {}
#endif
