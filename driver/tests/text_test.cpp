#include "text.hpp"
#include <gtest/gtest.h>
#include "occurrence.hpp"
#include "uuid.hpp"

namespace {

using namespace sor;

TEST(text_test, TrimsOuterSpacesOfEveryKind) {
    EXPECT_EQ(trim(" \t a b \r\n"), "a b");
    EXPECT_EQ(trim("\xC2\xA0"
                   "a\xC2\xA0 "),
              "a");
    EXPECT_EQ(trim("   "), "");
}

TEST(text_test, FoldsCaseBeyondAscii) {
    EXPECT_EQ(fold("  Adults & COMMS "), "adults & comms");
    EXPECT_EQ(fold("ÉCOLE"), fold("école"));
    EXPECT_EQ(fold("ДОМ"), "дом");
    EXPECT_EQ(fold("日本😀"), "日本😀");
    EXPECT_NE(fold("a"), fold("b"));
}

TEST(text_test, QuotesForJson) {
    EXPECT_EQ(json_quote("plain"), "\"plain\"");
    EXPECT_EQ(json_quote("a\"b\\c\n"), "\"a\\\"b\\\\c\\n\"");
    EXPECT_EQ(json_quote("é"), "\"é\"");
}

TEST(text_test, SpellsDecimalsInOneWay) {
    for (const auto* same : {"7.5", "7.50", "+07.5", "007.500"})
        EXPECT_EQ(canonical_decimal(same), "7.5") << same;
    EXPECT_EQ(canonical_decimal("-0.00"), "0");
    EXPECT_EQ(canonical_decimal("-.5"), "-0.5");
    EXPECT_EQ(canonical_decimal("100"), "100");
    EXPECT_EQ(canonical_decimal("1e3"), "1e3");
    EXPECT_EQ(canonical_decimal("12x"), "12x");
    EXPECT_EQ(canonical_decimal("."), ".");
    EXPECT_EQ(canonical_decimal("12345678901234567890.10"), "12345678901234567890.1");
}

TEST(occurrence_counter_test, CountEqualKeysInTheirOrder) {
    occurrence_counter occurrences;
    EXPECT_EQ(occurrences.next({"2014-04-01", "shop", "1.00"}), 1U);
    EXPECT_EQ(occurrences.next({"2014-04-01", "shop", "2.00"}), 1U);
    EXPECT_EQ(occurrences.next({"2014-04-01", "shop", "1.00"}), 2U);
    EXPECT_EQ(occurrences.next({"ab", "c"}), 1U);
    EXPECT_EQ(occurrences.next({"a", "bc"}), 1U) << "parts are told apart";
}

TEST(uuid_v5_test, IsTheSameForTheSameParts) {
    const auto id = uuid_v5({"tenant", "queue", "item", "0"});
    EXPECT_EQ(id, uuid_v5({"tenant", "queue", "item", "0"}));
    EXPECT_NE(id, uuid_v5({"tenant", "queue", "item", "1"}));
    EXPECT_NE(uuid_v5({"ab", "c"}), uuid_v5({"a", "bc"}));
    ASSERT_EQ(id.size(), 36U);
    EXPECT_EQ(id[14], '5');
    EXPECT_NE(std::string("89ab").find(id[19]), std::string::npos);
    // Fixed for ever: a change would make the retries of a running system new calls.
    EXPECT_EQ(id, "a49bba70-9dee-5aff-8322-843ecc898ccd");
}

} // namespace
