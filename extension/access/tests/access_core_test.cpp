#include "access/access_core.hpp"

#include <gtest/gtest.h>

namespace sor::access {
namespace {

TEST(Permits, EachRoleAgainstEachMinimum) {
    struct {
        std::string_view role;
        bool viewer, member, admin;
    } const table[] = {{"admin", true, true, true},
                       {"member", true, true, false},
                       {"viewer", true, false, false},
                       {"", false, false, false}};
    for (const auto& row : table) {
        EXPECT_EQ(permits(row.role, "viewer"), row.viewer) << row.role;
        EXPECT_EQ(permits(row.role, "member"), row.member) << row.role;
        EXPECT_EQ(permits(row.role, "admin"), row.admin) << row.role;
    }
}

// What is no role gives nothing and, as a minimum, admits nobody.
TEST(Permits, UnknownNamesAreNoRoles) {
    for (std::string_view name : {"", "owner", "Admin", "admin ", "adm", "agent", "system"}) {
        EXPECT_EQ(rank(name), 0) << name;
        EXPECT_FALSE(permits(name, "viewer")) << name;
        EXPECT_FALSE(permits("admin", name)) << name;
        EXPECT_FALSE(permits(name, name)) << name;
    }
}

} // namespace
} // namespace sor::access
