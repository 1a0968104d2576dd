#pragma once
#include <chrono>

// SIGTERM, SIGINT, and SIGHUP unless it is ignored: the first asks the command to finish or give back the batch in hand, the second kills.
namespace sor::stop {

void install();
bool requested();
// Readable once a stop was requested; for poll().
int descriptor();
// Sleeps; returns early, and true, when a stop is requested.
bool wait(std::chrono::milliseconds duration);

} // namespace sor::stop
