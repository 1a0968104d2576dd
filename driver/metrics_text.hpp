#pragma once
#include <string>
#include <vector>
#include "db/calls.hpp"

namespace sor {

// The text exposition format of Prometheus, version 0.0.4. The samples of one family stand together.
std::string metrics_text(const std::vector<db::metric>& samples);

} // namespace sor
