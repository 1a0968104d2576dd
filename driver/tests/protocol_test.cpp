#include "protocol.hpp"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "failure.hpp"
#include "json_text.hpp"
#include "uuid.hpp"

namespace {

using namespace sor;
using namespace sor::protocol;
using nlohmann::json;

std::string refusal(const std::string& line) {
    try {
        parse_answer(line);
    } catch (const bad_answer& bad) {
        return bad.message;
    }
    return "accepted";
}

json calls_of(const item& item, const std::vector<call>& calls) {
    return json::parse("[" + group_calls("tenant", "queue", item, calls) + "]");
}

TEST(json_text_test, KeepsTheSpellingOfNumbers) {
    std::string amount, whole;
    split_json(R"({"a": {"amount": 12345678901234567890.1200, "n": [1.0, -0, 1e2]}})", 2,
               [&](const std::string& path, std::string_view text) {
                   if (path == "/a/amount")
                       amount = text;
                   if (path.empty())
                       whole = text;
               });
    EXPECT_EQ(amount, "12345678901234567890.1200");
    EXPECT_EQ(whole, R"({"a":{"amount":12345678901234567890.1200,"n":[1.0,0,1e2]}})");
}

TEST(json_text_test, RefusesWhatTheDatabaseCannotTake) {
    const auto ignore = [](const std::string&, std::string_view) {};
    EXPECT_THROW(split_json("{\"a\": \"x\\u0000\"}", 1, ignore), failure);
    EXPECT_THROW(split_json("{\"a\\u0000\": 1}", 1, ignore), failure);
    EXPECT_THROW(split_json("{\"a\": \"\xff\"}", 1, ignore), failure);
    EXPECT_THROW(split_json("{} {}", 1, ignore), failure);
    EXPECT_THROW(split_json(std::string(201, '[') + std::string(201, ']'), 1, ignore), failure);
    EXPECT_NO_THROW(split_json(std::string(200, '[') + std::string(200, ']'), 1, ignore));
}

TEST(json_text_test, AKeyCannotPassForAPath) {
    bool seen = false;
    split_json(R"({"a/b": 1})", 2, [&](const std::string& path, std::string_view) { seen |= path == "/a/b"; });
    EXPECT_FALSE(seen);
}

TEST(protocol_test, ReadsClaimedItemsAndWritesThemToTheHandler) {
    const auto items = parse_claimed(
        R"({"items": [{"item_id": "a\"1", "claim_token": 9007199254740993, "attempt": 2, "item": {"amount": 41.00, "name": "é"}}]})");
    ASSERT_EQ(items.size(), 1U);
    EXPECT_EQ(items[0].claim_token, 9007199254740993);
    EXPECT_EQ(item_line(items[0]),
              "{\"item\":{\"id\":\"a\\\"1\",\"attempt\":2,\"row\":{\"amount\":41.00,\"name\":\"é\"}}}\n");
    EXPECT_TRUE(parse_claimed(R"({"items": []})").empty());
}

TEST(protocol_test, ReadsAnswers) {
    const auto answer =
        parse_answer(R"({"calls": [{"tool": "write", "arguments": {"record": {"x": 1.10}}}], "item_id": "a"})");
    EXPECT_EQ(answer.item_id, "a");
    ASSERT_EQ(answer.calls.size(), 1U);
    EXPECT_EQ(answer.calls[0].arguments, R"({"record":{"x":1.10}})");
    EXPECT_FALSE(answer.declared_error);
    EXPECT_TRUE(parse_answer(R"({"item_id": "a", "error": ""})").declared_error);
    EXPECT_TRUE(parse_answer(R"({"item_id": "a", "calls": []})").calls.empty());
}

TEST(protocol_test, RefusesMalformedAnswers) {
    EXPECT_EQ(refusal("{nonsense"), "the handler wrote a line that is not valid JSON");
    const std::string malformed = "the handler's answer is malformed: ";
    EXPECT_EQ(refusal("[1]"), malformed + "it is no object");
    EXPECT_EQ(refusal(R"({"calls": []})"), malformed + "\"item_id\" is missing");
    EXPECT_EQ(refusal(R"({"item_id": 7, "calls": []})"), malformed + "\"item_id\" is no string");
    EXPECT_EQ(refusal(R"({"item_id": "a"})"), malformed + "it has neither \"calls\" nor \"error\"");
    EXPECT_EQ(refusal(R"({"item_id": "a", "calls": [], "error": "x"})"),
              malformed + "it has both \"calls\" and \"error\"");
    EXPECT_EQ(refusal(R"({"item_id": "a", "calls": 7})"), malformed + "\"calls\" is no array");
    EXPECT_EQ(refusal(R"({"item_id": "a", "calls": [7]})"), malformed + "an entry of \"calls\" is no object");
    EXPECT_EQ(refusal(R"({"item_id": "a", "calls": [{"tool": "x"}]})"),
              malformed + "a call lacks \"tool\" or \"arguments\"");
    EXPECT_EQ(refusal(R"({"item_id": "a", "calls": [{"tool": "x", "arguments": []}]})"),
              malformed + "\"arguments\" is no object");
    EXPECT_EQ(refusal(R"({"item_id": "a", "calls": [{"tool": "x", "arguments": {}, "group": "g"}]})"),
              malformed + "a call has the unknown member \"group\"");
    EXPECT_EQ(refusal(R"({"item_id": "a", "calls": [], "x": 1})"), malformed + "it has the unknown member \"x\"");
    EXPECT_EQ(refusal(R"({"item_id": "a", "item_id": "b", "calls": []})"), malformed + "it has \"item_id\" twice");
}

TEST(protocol_test, TheLastWriteCompletesTheClaim) {
    const item item{"a", 17, 1, "{}"};
    const std::vector<call> calls{{"write", "{\"table\":\"t\"}"}, {"write", "{}"}, {"queue", "{\"x\":1}"}};
    const auto made = calls_of(item, calls);
    ASSERT_EQ(made.size(), 3U);
    EXPECT_EQ(group_size(calls), 3U);
    EXPECT_FALSE(made[0]["arguments"].contains("completes"));
    EXPECT_EQ(made[1]["arguments"]["completes"], (json{{"queue", "queue"}, {"item_id", "a"}, {"claim_token", 17}}));
    EXPECT_EQ(made[2]["arguments"], (json{{"x", 1}}));
    for (std::size_t step = 0; step < 3; ++step) {
        EXPECT_EQ(made[step]["group"], "a");
        EXPECT_EQ(made[step]["request_id"], uuid_v5({"tenant", "queue", "a", std::to_string(step)}));
    }
}

TEST(protocol_test, WithoutAWriteAClaimCallCompletes) {
    const item item{"a", 17, 1, "{}"};
    const auto made = calls_of(item, {{"queue", "{}"}});
    ASSERT_EQ(made.size(), 2U);
    EXPECT_EQ(group_size({{"queue", "{}"}}), 2U);
    EXPECT_EQ(made[1]["tool"], "claim");
    EXPECT_EQ(made[1]["arguments"]["limit"], 0);
    EXPECT_EQ(made[1]["arguments"]["complete"], (json::array({{{"item_id", "a"}, {"claim_token", 17}}})));
    EXPECT_EQ(calls_of(item, {}).size(), 1U);
}

TEST(protocol_test, RequestIdsDoNotDependOnAttemptOrToken) {
    const std::vector<call> calls{{"write", "{}"}};
    EXPECT_EQ(calls_of({"a", 17, 1, "{}"}, calls)[0]["request_id"],
              calls_of({"a", 99, 4, "{}"}, calls)[0]["request_id"]);
    EXPECT_NE(calls_of({"a", 17, 1, "{}"}, calls)[0]["request_id"],
              calls_of({"b", 17, 1, "{}"}, calls)[0]["request_id"]);
}

TEST(protocol_test, ClaimsAreTheDriversAlone) {
    const item item{"a", 17, 1, "{}"};
    EXPECT_THROW(group_calls("t", "q", item, {{"claim", "{}"}}), bad_answer);
    EXPECT_THROW(group_calls("t", "q", item, {{"write", "{\"completes\":{}}"}}), bad_answer);
}

} // namespace
