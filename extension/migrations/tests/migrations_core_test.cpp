#include "migrations/migrations_core.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace sor::migrations {
namespace {

std::string key(std::string_view version) {
    sort_key out;
    return make_sort_key(version, out) ? out.text : "none";
}

TEST(sort_key, orders_versions_number_by_number) {
    const std::vector<std::string> in_order = {"0",
                                               "1",
                                               "1.0",
                                               "1.2",
                                               "1.10",
                                               "002",
                                               "9",
                                               "9.9.9",
                                               "0010",
                                               "10_1",
                                               "99",
                                               "100",
                                               "100-1",
                                               "20240101",
                                               "20240101120000",
                                               std::string(100, '9')};
    for (size_t i = 0; i < in_order.size(); ++i)
        for (size_t j = 0; j < in_order.size(); ++j)
            EXPECT_EQ(key(in_order[i]) < key(in_order[j]), i < j) << in_order[i] << " and " << in_order[j];
}

TEST(sort_key, is_one_for_one_number) {
    EXPECT_EQ(key("7"), key("0007"));
    EXPECT_EQ(key("1.2"), key("01_02"));
    EXPECT_EQ(key("1-0"), key("1.000"));
    EXPECT_NE(key("1"), key("1.0"));
    EXPECT_NE(key("1.10"), key("11.0"));
    EXPECT_NE(key("11"), key("1.1"));
}

TEST(sort_key, refuses_what_is_no_version) {
    for (const char* bad : {"", "a", "1a", "v1", "1.", ".1", "1..2", "1 ", "-1", "1.a", "1/2", "１"})
        EXPECT_EQ(key(bad), "none") << bad;
    EXPECT_EQ(key(std::string(101, '1')), "none");
    EXPECT_EQ(key(std::string_view("1\0", 2)), "none");
}

TEST(sort_key, fits_for_the_most_numbers) {
    std::string most = "1";
    while (most.size() + 2 <= longest_version)
        most += ".1";
    EXPECT_NE(key(most), "none");
    EXPECT_LT(key(most).size(), sizeof(sort_key));
}

TEST(header_role, is_what_the_first_comments_say) {
    EXPECT_EQ(header_role("-- sor: role shop_owner\ncreate table t ();"), "shop_owner");
    EXPECT_EQ(header_role("\n\n--  orders\n--sor:  role\tShop owner \r\nselect 1"), "Shop owner");
    EXPECT_EQ(header_role("-- sor: touches a\n-- sor: role b\n-- sor: role c"), "b");
    EXPECT_EQ(header_role("-- sor: role a"), "a");
}

TEST(header_role, is_not_in_other_lines) {
    for (const char* none :
         {"", "--", "-- sor: role", "-- sor: role \n", "-- sor: roles a", "-- sor:rolea", "-- role a",
          "select 1; -- sor: role a", "select 1;\n-- sor: role a", "/* -- sor: role a */"})
        EXPECT_EQ(header_role(none), "") << none;
}

} // namespace
} // namespace sor::migrations
