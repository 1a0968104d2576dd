#include "claim/claim_core.hpp"

#include <algorithm>

namespace sor::claim {

std::int64_t next_token(std::int64_t last, std::int64_t now) {
    return std::max(last + 1, now);
}

std::int64_t backoff(std::int64_t base, int attempt, double random) {
    const std::int64_t most = std::max(base, longest_backoff);
    std::int64_t delay = base;
    for (int i = 1; i < attempt && delay < most; ++i)
        delay = std::min(most, delay * 2);
    return delay / 2 + static_cast<std::int64_t>(static_cast<double>(delay - delay / 2) * random);
}

} // namespace sor::claim
