#include "review/checksum_core.hpp"

#include <gtest/gtest.h>

namespace sor::review {
namespace {

TEST(length_frame, is_eight_bytes_most_significant_first) {
    EXPECT_EQ(length_frame(0), (frame{0, 0, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(length_frame(1), (frame{0, 0, 0, 0, 0, 0, 0, 1}));
    EXPECT_EQ(length_frame(0x0102030405060708), (frame{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(length_frame, of_no_text_can_have) {
    EXPECT_NE(length_frame(0xffffffff), no_text_frame);
    EXPECT_EQ(length_frame(~std::uint64_t{0}), no_text_frame); // more than a text can hold
}

} // namespace
} // namespace sor::review
