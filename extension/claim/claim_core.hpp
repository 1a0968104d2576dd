// The arithmetic of claims: fencing tokens and the delay before a retry. Pure.
#pragma once

#include <cstdint>

namespace sor::claim {

constexpr std::int64_t longest_backoff = INT64_C(6) * 3600 * 1000000; // microseconds

// A token greater than the last one, and greater than every token given out before `now` (microseconds since 1970) even
// when the last one is not known any more.
std::int64_t next_token(std::int64_t last, std::int64_t now);

// How long to wait after the given attempt (1, 2, …) failed, in microseconds: base doubles with each attempt up to
// longest_backoff (or base, when that is longer), and `random` from [0, 1) spreads it over the upper half of that, so
// that what failed together is not tried together.
std::int64_t backoff(std::int64_t base, int attempt, double random);

} // namespace sor::claim
