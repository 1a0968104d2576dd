#include "fingerprint/fingerprint_core.hpp"

#include <gtest/gtest.h>

#include <string>

namespace sor::fingerprint {
namespace {

std::string written(std::string_view text) {
    std::string out(with_inner_casts(text, nullptr), '\0');
    EXPECT_EQ(with_inner_casts(text, out.data()), out.size());
    return out;
}

TEST(inner_casts, moves_the_cast_of_a_constructor_to_its_elements) {
    EXPECT_EQ(written("CHECK (((s)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))"),
              "CHECK (((s)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))");
    EXPECT_EQ(written("(ARRAY[1])::bigint[] = x AND (ARRAY[2, f(3, 4)])::numeric(10,2)[] = y"),
              "ARRAY[(1)::bigint] = x AND ARRAY[(2)::numeric(10,2), (f(3, 4))::numeric(10,2)] = y");
    EXPECT_EQ(written("(ARRAY['x])::text[]', '''', \"a]b\"])::\"S\".\"T y\"[]"),
              "ARRAY[('x])::text[]')::\"S\".\"T y\", ('''')::\"S\".\"T y\", (\"a]b\")::\"S\".\"T y\"]");
}

TEST(inner_casts, reaches_nested_constructors) {
    EXPECT_EQ(written("(ARRAY[ARRAY['a'::x], ARRAY['b'::x]])::text[]"),
              "ARRAY[ARRAY[('a'::x)::text], ARRAY[('b'::x)::text]]");
    EXPECT_EQ(written("(ARRAY[f((ARRAY[1])::bigint[])])::text[]"), "ARRAY[(f(ARRAY[(1)::bigint]))::text]");
}

TEST(inner_casts, leaves_everything_else) {
    for (const char* text :
         {"", "ARRAY[1, 2]", "ARRAY[]::text[]", "(ARRAY[1, 2])::int4range", "'(ARRAY[1])::bigint[]'", "(ARRAY[1, 2",
          "(ARRAY['a])::text[]", "(ARRAY[1])::", "(ARRAY[1])::text[", "(ARRAY[1])::f(x'[]", "\"(ARRAY[1])::bigint[]\""})
        EXPECT_EQ(written(text), text);
    const std::string deep = std::string(100000, '(') + "ARRAY[1" + std::string(100000, ')');
    EXPECT_EQ(written(deep), deep);
}

TEST(inner_casts, its_own_answer_stays) {
    const std::string once = written("((ARRAY[ARRAY['a'::x], (ARRAY[1])::bigint[]])::text[])");
    EXPECT_EQ(written(once), once);
}

} // namespace
} // namespace sor::fingerprint
