#include "mcp/message.hpp"
#include <gtest/gtest.h>

namespace {

using namespace sor::mcp;
using nlohmann::json;
using kind = message::kind;

constexpr std::size_t deepest = 64;

message parsed(const std::string& line) {
    return parse_message(line, deepest);
}

// `CODE ID` of an invalid line, else `valid`.
std::string refusal(const std::string& line) {
    const auto message = parsed(line);
    if (message.is != kind::invalid)
        return "valid";
    EXPECT_FALSE(message.problem.empty()) << line;
    return std::to_string(message.code) + " " + message.id;
}

std::string nested(int levels) {
    return std::string(static_cast<std::size_t>(levels), '[') + std::string(static_cast<std::size_t>(levels), ']');
}

TEST(mcp_message_test, ReadsARequest) {
    const auto message =
        parsed(R"( {"id":7, "params":{"name":"write","arguments":{"amount":12.50,"n":[1e2,10000000000000000000001]},)"
               R"("_meta":{"a":1}}, "method":"tools/call","jsonrpc":"2.0", "extra": true} )");
    EXPECT_EQ(message.is, kind::request);
    EXPECT_EQ(message.id, "7");
    EXPECT_EQ(message.method, "tools/call");
    EXPECT_EQ(message.params, json::parse(R"({"name":"write","_meta":{"a":1}})"));
    EXPECT_EQ(message.arguments, R"({"amount":12.50,"n":[1e2,10000000000000000000001]})");
    EXPECT_EQ(message.argument_values["amount"], 12.5);
    EXPECT_EQ(message.nul_at, "");
}

TEST(mcp_message_test, TellsTheKinds) {
    EXPECT_EQ(parsed(R"({"jsonrpc":"2.0","method":"notifications/cancelled"})").is, kind::notification);
    EXPECT_EQ(parsed(R"({"jsonrpc":"2.0","method":"x","params":[1]})").is, kind::notification);
    EXPECT_EQ(parsed(R"({"jsonrpc":"2.0","method":"x","params":{"arguments":7}})").is, kind::notification);
    EXPECT_EQ(parsed(R"({"jsonrpc":"2.0","id":1,"result":{}})").is, kind::response);
    EXPECT_EQ(parsed(R"({"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}})").is, kind::response);
    const auto plain = parsed(R"({"jsonrpc":"2.0","id":"a","method":"ping"})");
    EXPECT_EQ(plain.is, kind::request);
    EXPECT_EQ(plain.params, json::object());
    EXPECT_EQ(plain.arguments, "");
}

TEST(mcp_message_test, EchoesIds) {
    for (const auto* id : {"0", "-1", "123456789012345678901234567890", "18446744073709551615", "\"\"", "\"a b\"",
                           "\"é\"", R"("\"\\\n")", R"("\u0000")"})
        EXPECT_EQ(parsed(std::string(R"({"jsonrpc":"2.0","method":"ping","id":)") + id + "}").id, id);
    EXPECT_EQ(parsed(R"({"jsonrpc":"2.0","method":"ping","id":"\u0041"})").id, "\"A\"");
    for (const auto* id : {"null", "true", "1.5", "1.0", "1e3", "{}", "[1]"})
        EXPECT_EQ(refusal(std::string(R"({"jsonrpc":"2.0","method":"ping","id":)") + id + "}"), "-32600 ") << id;
}

TEST(mcp_message_test, WhatIsNoJsonHasNoId) {
    for (const std::string line : {
             R"({"jsonrpc":"2.0","id":1,"method":"ping")",
             R"({"jsonrpc":"2.0","id":1,"method":"ping"} x)",
             R"({"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"})",
             R"({"jsonrpc":"2.0","id":1,"method":"ping",})",
             R"({'jsonrpc':'2.0'})",
             R"({"jsonrpc":"2.0","id":01,"method":"ping"})",
             R"({"jsonrpc":"2.0","id":1,"method":"\ud800"})",
             R"({"jsonrpc":"2.0","id":1,"method":"\udc00\ud800"})",
             R"({"jsonrpc":"2.0","id":1,"method":NaN})",
             R"({"jsonrpc":"2.0","id":1e999,"method":"ping"})",
             R"({"jsonrpc":"2.0","id":1,"method":"ping"} // so)",
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}",
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xed\xa0\x80\"}",
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\tb\"}",
             "ping",
             "{",
         })
        EXPECT_EQ(refusal(line), "-32700 ") << line;
    EXPECT_EQ(refusal(std::string(R"({"jsonrpc":"2.0","id":1,"method":"ping"})") + '\0' + "{}"), "-32700 ");
    EXPECT_EQ(refusal(std::string(1, '\0')), "-32700 ");
}

TEST(mcp_message_test, SaysBrieflyWhatIsNoJson) {
    EXPECT_EQ(parsed("{\"a\":1e999}").problem,
              "the line is not valid JSON: at byte 10: number overflow parsing '1e999'");
    EXPECT_EQ(parsed("[1,]").problem,
              "the line is not valid JSON: at byte 4: syntax error while parsing value - unexpected "
              "']'; expected '[', '{', or a literal");
    const auto long_one = parsed("\"" + std::string(100000, 'x') + "\xff\"").problem;
    EXPECT_EQ(long_one,
              "the line is not valid JSON: at byte 100002: syntax error while parsing value - invalid string: "
              "ill-formed UTF-8 byte");
}

TEST(mcp_message_test, WhatIsNoMessageKeepsAGoodId) {
    EXPECT_EQ(refusal("[]"), "-32600 ");
    EXPECT_EQ(refusal(R"([{"jsonrpc":"2.0","id":1,"method":"ping"}])"), "-32600 ");
    EXPECT_EQ(refusal("7"), "-32600 ");
    EXPECT_EQ(refusal("null"), "-32600 ");
    EXPECT_EQ(refusal("{}"), "-32600 ");
    EXPECT_EQ(refusal(R"({"id":1,"method":"ping"})"), "-32600 1");
    EXPECT_EQ(refusal(R"({"jsonrpc":"1.0","id":"a","method":"ping"})"), "-32600 \"a\"");
    EXPECT_EQ(refusal(R"({"jsonrpc":2.0,"id":1,"method":"ping"})"), "-32600 1");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","id":1})"), "-32600 1");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","id":1,"method":7})"), "-32600 1");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0"})"), "-32600 ");
}

TEST(mcp_message_test, NoKeyTwice) {
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","id":1,"method":"ping","method":"pong"})"), "-32600 1");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","id":1,"method":"ping","id":1})"), "-32600 ");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","id":1,"method":"ping","\u0069d":2})"), "-32600 ");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","method":"x","params":{"arguments":{"a":[{"b":1,"b":2}]}},"id":3})"),
              "-32600 3");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","method":"x","params":{"a":{"k":1},"b":{"k":2}},"id":3})"), "valid");
    const std::string common(200, 'k'); // keys are told apart whole, though paths cut them
    EXPECT_EQ(
        refusal(R"({"jsonrpc":"2.0","method":"x","id":3,"params":{")" + common + R"(1":1,")" + common + R"(2":2}})"),
        "valid");
}

TEST(mcp_message_test, RefusesNestingWithoutRecursion) {
    const auto line = [](int levels) {
        return R"({"jsonrpc":"2.0","method":"x","params":{"a":)" + nested(levels) + R"(},"id":4})";
    };
    EXPECT_EQ(refusal(line(62)), "valid");
    EXPECT_EQ(refusal(line(63)), "-32600 4");
    EXPECT_EQ(refusal(line(100000)), "-32600 4");
    EXPECT_EQ(refusal(nested(100000)), "-32600 ");
    EXPECT_EQ(refusal(std::string(1000000, '[')), "-32700 ");
    std::string objects;
    for (int i = 0; i < 100000; ++i)
        objects += "{\"a\":";
    EXPECT_EQ(
        refusal(R"({"jsonrpc":"2.0","id":4,"method":"x","params":)" + objects + "1" + std::string(100000, '}') + "}"),
        "-32600 4");
    EXPECT_EQ(parse_message("{}", 0).code, error_code::invalid_request);
}

TEST(mcp_message_test, ALongKeyCostsNothingAtEachValueBelow) {
    std::string numbers = "0";
    for (int i = 0; i < 200000; ++i)
        numbers += ",0";
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","id":4,"method":"x",")" + std::string(500000, 'k') + "\":[" + numbers + "]}"),
              "valid");
}

TEST(mcp_message_test, ParamsAndArgumentsAreObjects) {
    for (const auto* params : {"[]", "null", "7", "\"x\""}) {
        const std::string line = std::string(R"({"jsonrpc":"2.0","id":1,"method":"x","params":)") + params + "}";
        EXPECT_EQ(refusal(line), "-32602 1") << line;
    }
    for (const auto* arguments : {"[]", "null", "7", "\"{}\""}) {
        const std::string line =
            std::string(R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":)") + arguments + "}}";
        EXPECT_EQ(refusal(line), "-32602 1") << line;
    }
}

TEST(mcp_message_test, FindsWhatTheDatabaseCannotStore) {
    const auto at = [](const std::string& params) {
        return parsed(R"({"jsonrpc":"2.0","id":1,"method":"x","params":)" + params + "}").nul_at;
    };
    EXPECT_EQ(at(R"({"x":"\u0000","arguments":{"a":"b"}})"), "");
    EXPECT_EQ(at(R"({"x":"\u0000","arguments":{"a":{"b":["c","d\u0000"]},"e":"\u0000"}})"), "/a/b/1");
    EXPECT_EQ(at(R"({"arguments":{"a\u0000/":1}})"), "/a\\u0000~1");
}

TEST(mcp_message_test, WritesOneLine) {
    EXPECT_EQ(result_line("\"a\"", "{\"x\":\n1}"), R"({"jsonrpc":"2.0","id":"a","result":{"x": 1}})");
    EXPECT_EQ(error_line("1", -32601, "say \"what\"\n"),
              R"({"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"say \"what\"\n"}})");
    EXPECT_EQ(error_line("", -32700, "x", "{\"a\":1}"),
              R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"x","data":{"a":1}}})");
    EXPECT_EQ(notification_line("notifications/message", "{}"),
              R"({"jsonrpc":"2.0","method":"notifications/message","params":{}})");
    EXPECT_EQ(json::parse(error_line("1", 0, "\xff\xe2\x82"))["error"]["message"], "\xef\xbf\xbd\xef\xbf\xbd");
}

} // namespace
