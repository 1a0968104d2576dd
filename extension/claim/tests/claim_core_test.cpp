#include "claim/claim_core.hpp"

#include <gtest/gtest.h>

namespace sor::claim {
namespace {

constexpr std::int64_t second = 1000000;

TEST(next_token, follows_the_clock) {
    EXPECT_EQ(next_token(0, 1700000000000000), 1700000000000000);
    EXPECT_EQ(next_token(1600000000000000, 1700000000000000), 1700000000000000);
}

TEST(next_token, never_falls_back_when_the_clock_does) {
    EXPECT_EQ(next_token(1700000000000000, 1700000000000000), 1700000000000001);
    EXPECT_EQ(next_token(1700000000000000, 1600000000000000), 1700000000000001);
}

TEST(backoff, doubles_with_each_attempt) {
    EXPECT_EQ(backoff(30 * second, 1, 0), 15 * second);
    EXPECT_EQ(backoff(30 * second, 2, 0), 30 * second);
    EXPECT_EQ(backoff(30 * second, 5, 0), 240 * second);
}

TEST(backoff, is_spread_over_the_upper_half) {
    EXPECT_EQ(backoff(30 * second, 1, 0.5), 22500000);
    EXPECT_LT(backoff(30 * second, 1, 0.999999999), 30 * second);
    EXPECT_GT(backoff(30 * second, 1, 0.999999), 29 * second);
}

TEST(backoff, is_bounded_however_many_attempts) {
    EXPECT_EQ(backoff(30 * second, 100, 0), longest_backoff / 2);
    EXPECT_EQ(backoff(30 * second, 2000000000, 0), longest_backoff / 2);
    EXPECT_LT(backoff(30 * second, 100, 0.999999999), longest_backoff);
}

TEST(backoff, of_a_base_longer_than_the_bound_stays_that_base) {
    EXPECT_EQ(backoff(2 * longest_backoff, 1, 0), longest_backoff);
    EXPECT_EQ(backoff(2 * longest_backoff, 7, 0), longest_backoff);
}

TEST(backoff, of_nothing_is_nothing) {
    EXPECT_EQ(backoff(0, 50, 0.9), 0);
}

} // namespace
} // namespace sor::claim
