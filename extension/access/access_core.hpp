// The order of roles. Pure.
#pragma once

#include <string_view>

namespace sor::access {

// viewer 1 < member 2 < admin 3; 0 for anything else.
constexpr int rank(std::string_view role) {
    return role == "admin" ? 3 : role == "member" ? 2 : role == "viewer" ? 1 : 0;
}

// Whether a user of that role (empty: none) may do what needs at least `minimum`.
constexpr bool permits(std::string_view role, std::string_view minimum) {
    return rank(minimum) > 0 && rank(role) >= rank(minimum);
}

} // namespace sor::access
