#include <gtest/gtest.h>
#include "report/digest.hpp"
#include "report/page.hpp"
#include "report/rows.hpp"
#include "report/timeline.hpp"

namespace {

using namespace sor::report;

TEST(report_test, ReadsRowsAsTheyStand) {
    const row r(
        R"({"id": "a\"b", "n": 12345678901234567890.10, "x": 1e400, "none": null, "list": [{"a": 1}, {"a": 2}]})");
    EXPECT_EQ(r.text("id"), "a\"b");
    EXPECT_EQ(r.text("n"), "12345678901234567890.10");
    EXPECT_EQ(r.text("x"), "1e400");
    EXPECT_EQ(r.text("none"), "");
    EXPECT_FALSE(r.has("none"));
    EXPECT_FALSE(r.has("absent"));
    ASSERT_EQ(r.objects("list").size(), 2u);
    EXPECT_EQ(r.objects("list")[1].text("a"), "2");
    EXPECT_TRUE(row("[]").text("a").empty());
}

TEST(report_test, IndentsWithoutChangingAValue) {
    EXPECT_EQ(
        indented(R"({"a": 1e400, "b": [], "c": {"d": "x, {\"y\": [1]}"}, "e": [1, 2]})"),
        "{\n  \"a\": 1e400,\n  \"b\": [],\n  \"c\": {\n    \"d\": \"x, {\\\"y\\\": [1]}\"\n  },\n  \"e\": [\n    1,\n"
        "    2\n  ]\n}");
    EXPECT_EQ(indented("{}"), "{}");
}

TEST(report_test, ReadsMoments) {
    EXPECT_EQ(moment_of("1970-01-01T00:00:01.5+00:00"), 1500000);
    EXPECT_EQ(moment_of("1970-01-01T05:30:00+05:30"), 0);
    EXPECT_EQ(moment_of("1969-12-31T19:00:00.000001-05:00"), 1);
    EXPECT_EQ(moment_of("infinity"), std::nullopt);
    EXPECT_EQ(moment_of(""), std::nullopt);
}

TEST(report_test, SaysHowLong) {
    EXPECT_EQ(duration_text(12), "12 µs");
    EXPECT_EQ(duration_text(2500), "2.5 ms");
    EXPECT_EQ(duration_text(2500000), "2.5 s");
    EXPECT_EQ(duration_text(200LL * 1000000), "3 min 20 s");
    EXPECT_EQ(duration_text(7260LL * 1000000), "2 h 1 min");
    EXPECT_EQ(duration_text(90000LL * 1000000), "1 d 1 h");
}

TEST(report_test, ShowsWhatIsHiddenAndEscapesTheRest) {
    EXPECT_EQ(visible("a\x1b[31m\xE2\x80\xAEz\n"), "a⟨U+001B⟩[31m⟨U+202E⟩z⟨U+000A⟩");
    EXPECT_EQ(visible("a\tb\n", true), "a\tb\n");
    // a filler of Hangul, variation selectors, which can carry hidden text, and a joiner of graphemes
    EXPECT_EQ(visible("x\xE3\x85\xA4\xEF\xB8\x8F\xF3\xA0\x84\x80\xCD\x8F"), "x⟨U+3164⟩⟨U+FE0F⟩⟨U+E0100⟩⟨U+034F⟩");
    EXPECT_EQ(visible("\xC2\x9Bx \xF3\xA0\x81\x81 é 漢 \xF0\x9F\x98\x80"), "⟨U+009B⟩x ⟨U+E0041⟩ é 漢 \xF0\x9F\x98\x80");
    EXPECT_EQ(html("<a href='x'>&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;");
    EXPECT_EQ(html(std::string(5000, 'x'), 10), "xxxxxxxxxx… (5000 characters in all)");
}

TEST(report_test, DigestsAsThePolicyNamesIt) {
    EXPECT_EQ(sha256_base64(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    EXPECT_EQ(sha256_base64("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    EXPECT_EQ(sha256_base64(std::string(1000000, 'a')), "zcduXJkU+5KBocfihNc+Z/GAmkiklyAOBG05zMcRLNA=");
}

constexpr std::int64_t second = 1000000;

bool has(const std::string& page, std::string_view text) {
    return page.find(text) != page.npos;
}

TEST(report_test, PageSaysTheZoneOfAMomentThatHasAnother) {
    const auto page = page_of_run(
        R"({"run": {"id": "R", "status": "succeeded", "started_at": "2026-10-25T02:50:00+02:00",
        "finished_at": "2026-10-25T02:10:00+01:00"}, "events": [{"id": "D", "seq": 1, "event_type": "run.started",
        "created_at": "2026-10-25T02:50:00+02:00"}, {"id": "E", "seq": 2, "event_type": "run.succeeded",
        "created_at": "2026-10-25T02:10:00+01:00", "narrative": "it ended"}], "finding": {"kind": "succeeded"}})",
        "Alice", 10);
    EXPECT_TRUE(has(page, "<dt>Time, UTC+02:00</dt>"));
    EXPECT_TRUE(has(page, ">2026-10-25 02:50:00</time> – "));
    EXPECT_TRUE(has(page, "<time datetime=\"2026-10-25T02:10:00+01:00\">02:10:00 UTC+01:00</time>"));
    EXPECT_TRUE(has(page, ">+20 min 0 s<"));
    EXPECT_TRUE(has(page, ">02:50:00</text>")); // of one day
    EXPECT_TRUE(has(page, ">02:10:00 UTC+01:00</text>"));
}

TEST(report_test, AxisOfSeveralDaysSaysThem) {
    const auto page = page_of_run(
        R"({"run": {"id": "R", "status": "succeeded", "started_at": "2026-11-17T17:42:55+00:00",
        "finished_at": "2026-11-20T19:42:55+00:00"}, "finding": {"kind": "succeeded"}})",
        "Alice", 10);
    EXPECT_TRUE(has(page, ">2026-11-17 17:42:55</text>"));
    EXPECT_TRUE(has(page, ">2026-11-20 19:42:55</text>"));
}

TEST(report_test, AxisIsToScaleAndCutsOutPauses) {
    const time_axis even({0, 100, 200}, 100, 200);
    EXPECT_TRUE(even.gaps().empty());
    EXPECT_DOUBLE_EQ(even.x(0), 100);
    EXPECT_DOUBLE_EQ(even.x(50), 150);
    EXPECT_DOUBLE_EQ(even.x(200), 300);

    // two seconds of work, a night, one more second
    const time_axis night({0, 1 * second, 2 * second, 30000 * second, 30001 * second}, 100, 344);
    ASSERT_EQ(night.gaps().size(), 1u);
    EXPECT_EQ(night.gaps()[0].from, 2 * second);
    EXPECT_EQ(night.gaps()[0].to, 30000 * second);
    EXPECT_DOUBLE_EQ(night.x(1 * second) - night.x(0), 100);
    EXPECT_DOUBLE_EQ(night.x(30001 * second) - night.x(30000 * second), 100);
    EXPECT_DOUBLE_EQ(night.x(30000 * second) - night.x(2 * second), 44);
    EXPECT_DOUBLE_EQ(night.x(30001 * second), 444);
    EXPECT_EQ(night.stretches(), (std::vector<std::int64_t>{0, 30000 * second}));

    const time_axis moment({7, 7}, 100, 200);
    EXPECT_DOUBLE_EQ(moment.x(7), 100);
    const time_axis nothing({}, 100, 200);
    EXPECT_DOUBLE_EQ(nothing.x(7), 100);
}

TEST(report_test, PictureIsBoundedAndEscaped) {
    timeline t{"<t>", "d", {{"lane & more", {}}}, {}};
    for (int i = 0; i < 100000; ++i)
        t.lanes[0].marks.push_back({shape::dot, tone::ok, i, i, "mark <" + std::to_string(i)});
    const auto picture = svg(t, [](std::int64_t at) { return std::to_string(at); });
    EXPECT_LT(picture.size(), 200000u);
    EXPECT_NE(picture.find("more like it"), std::string::npos);
    EXPECT_NE(picture.find("lane &amp; more"), std::string::npos);
    EXPECT_EQ(picture.find("<t>"), std::string::npos);
    EXPECT_EQ(picture.find("mark <"), std::string::npos);
}

} // namespace
