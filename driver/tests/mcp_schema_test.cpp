#include "mcp/schema.hpp"
#include <gtest/gtest.h>

namespace {

using namespace sor::mcp;
using nlohmann::json;

// The violations as text: `path problem; path problem`.
std::string problems(const std::string& schema, const std::string& value, std::size_t most = 10) {
    std::string result;
    for (const auto& [path, problem] : check(json::parse(schema), json::parse(value), most))
        result += (result.empty() ? "" : "; ") + path + (path.empty() ? "" : " ") + problem;
    return result;
}

void fits(const std::string& schema, const std::vector<std::string>& good, const std::vector<std::string>& bad) {
    for (const auto& value : good)
        EXPECT_EQ(problems(schema, value), "") << schema << " " << value;
    for (const auto& value : bad)
        EXPECT_NE(problems(schema, value), "") << schema << " " << value;
}

TEST(mcp_schema_test, SpeaksToAModel) {
    const auto* schema =
        R"({"type": "object", "required": ["table", "record"], "additionalProperties": false, "properties": {
        "table": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}, "on_conflict": {"enum": ["nothing", "update"]},
        "record": {"type": "object", "properties": {"amount": {"type": ["number", "null"]}}, "additionalProperties": false},
        "calls": {"type": "array", "items": {"type": "object", "required": ["id"]}}}})";
    EXPECT_EQ(problems(schema, R"({"table": 7, "record": {}})"), "table must be a string, not the number 7");
    EXPECT_EQ(problems(schema, R"({"record": {}})"), "table is missing");
    EXPECT_EQ(problems(schema, R"({"table": "x", "record": {}, "limit": "ten"})"),
              "limit must be an integer, not the string \"ten\"");
    EXPECT_EQ(problems(schema, R"({"table": "x", "record": {}, "limit": 0})"), "limit must be at least 1, not 0");
    EXPECT_EQ(problems(schema, R"({"table": "x", "record": {}, "on_conflict": "replace"})"),
              "on_conflict must be one of \"nothing\", \"update\", not \"replace\"");
    EXPECT_EQ(problems(schema, R"({"table": "x", "record": {"amount": true, "amuont": 1}})"),
              "record.amount must be a number or null, not true; record.amuont is not a known member; known: amount");
    EXPECT_EQ(problems(schema, R"({"table": "x", "record": {}, "calls": [{"id": 1}, 7, {}]})"),
              "calls[1] must be an object, not the number 7; calls[2].id is missing");
    EXPECT_EQ(problems(schema, R"({"table": "x", "record": {}, "tabel": 1})"),
              "tabel is not a known argument; known: calls, limit, on_conflict, record, table");
    EXPECT_EQ(problems(schema, "[]"), "must be an object, not an array");
    EXPECT_EQ(problems(schema, R"({"record": 1, "limit": 0, "on_conflict": 1})", 2),
              "table is missing; limit must be at least 1, not 0");
}

TEST(mcp_schema_test, Types) {
    fits(R"({"type": "integer"})", {"1", "-1", "1.0", "1e3", "18446744073709551615", "99999999999999999999"},
         {"1.5", "\"1\"", "null"});
    fits(R"({"type": "number"})", {"1", "1.5"}, {"\"1\"", "true"});
    fits(R"({"type": ["string", "null"]})", {"\"\"", "null"}, {"0", "[]"});
    fits(R"({"type": "boolean"})", {"true"}, {"1", "\"true\""});
    fits("true", {"1"}, {});
    fits("false", {}, {"1"});
    fits(R"({"type": "no such type"})", {"1"}, {});
}

TEST(mcp_schema_test, Values) {
    fits(R"({"enum": [1, "a", null, {"b": [1]}]})", {"1", "1.0", "\"a\"", "null", "{\"b\": [1.0]}"},
         {"2", "\"A\"", "{}"});
    fits(R"({"const": 0})", {"0", "0.0"}, {"false", "null"});
}

TEST(mcp_schema_test, Objects) {
    fits(R"({"minProperties": 1, "maxProperties": 2})", {"{\"a\": 1}", "[]"}, {"{}", "{\"a\": 1, \"b\": 1, \"c\": 1}"});
    fits(R"({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}})",
         {"{}", R"({"a": "x", "b": 1})"}, {R"({"b": "x"})", R"({"a": 1})"});
    fits(R"({"properties": {"a": false}})", {"{}"}, {R"({"a": 1})"});
    fits(R"({"patternProperties": {"^x": {}}, "additionalProperties": false})", {R"({"x1": 1})"}, {});
}

TEST(mcp_schema_test, Arrays) {
    fits(R"({"items": {"type": "integer"}, "minItems": 1, "maxItems": 2})", {"[1]", "[1, 2]", "{}"},
         {"[]", "[1, 2, 3]", "[\"a\"]"});
    fits(R"({"prefixItems": [{"type": "string"}, true], "items": false})", {"[]", "[\"a\"]", "[\"a\", 1]"},
         {"[1]", "[\"a\", 1, 2]"});
    fits(R"({"uniqueItems": true})", {"[]", "[1, \"1\", [1], true]"},
         {"[1, 1.0]", R"([{"a": 1, "b": 2}, {"b": 2, "a": 1}])"});
    fits(R"({"uniqueItems": false})", {"[1, 1]"}, {});
    EXPECT_EQ(problems(R"({"uniqueItems": true})", "[1, 2, 1]"), "[2] is there twice");
}

TEST(mcp_schema_test, Numbers) {
    fits(R"({"minimum": 0})", {"0", "18446744073709551615", "0.1"}, {"-1", "-9223372036854775808"});
    fits(R"({"maximum": -1})", {"-1"}, {"18446744073709551615", "-0.5"});
    fits(R"({"exclusiveMinimum": 0, "exclusiveMaximum": 1})", {"0.5"}, {"0", "1"});
    fits(R"({"maximum": 9223372036854775806})", {"9223372036854775806"}, {"9223372036854775807"});
    fits(R"({"multipleOf": 0.01})", {"12.34", "0.07", "1000000.01", "5"}, {"12.345", "0.001"});
    fits(R"({"multipleOf": 3})", {"9", "9.0", "0", "-3"}, {"10", "9.5"});
    fits(R"({"multipleOf": 0})", {"1"}, {});
}

TEST(mcp_schema_test, Strings) {
    fits(R"({"minLength": 2, "maxLength": 3})", {"\"éé\"", "\"€€€\"", "1"}, {"\"é\"", "\"abcd\""});
    fits(R"({"format": "uuid"})",
         {"\"123e4567-e89b-12d3-a456-426614174000\"", "\"123E4567-E89B-12D3-A456-426614174000\"", "7"},
         {"\"\"", "\"123e4567e89b12d3a456426614174000\"", "\"{123e4567-e89b-12d3-a456-426614174000}\"",
          "\"123e4567-e89b-12d3-a456-42661417400g\""});
    fits(R"({"format": "date"})", {"\"2024-02-29\""},
         {"\"2023-02-29\"", "\"2023-13-01\"", "\"2023-1-1\"", "\"yesterday\""});
    fits(R"({"format": "date-time"})",
         {"\"2024-02-29T12:00:00Z\"", "\"2024-02-29 12:00:00.5+01:00\"", "\"2024-02-29T12:00\""},
         {"\"2024-02-29\"", "\"2024-02-30T12:00:00Z\"", "\"2024-02-29T12:61:00Z\"", "\"2024-02-29T12:00:00 o'clock\""});
    fits(R"({"format": "email"})", {"\"a@b\""}, {"\"a\"", "\"@b\"", "\"a@\"", "\"a b@c\""});
    fits(R"({"format": "no such format"})", {"\"x\""}, {});
}

TEST(mcp_schema_test, Composition) {
    fits(R"({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 5}]})", {"\"a\"", "5"}, {"4", "null"});
    fits(R"({"oneOf": [{"minimum": 0}, {"maximum": 10}]})", {"-1", "11"}, {"5"});
    fits(R"({"allOf": [{"minimum": 0}, {"maximum": 10}]})", {"5"}, {"-1", "11"});
    fits(R"({"not": {"type": "string"}})", {"1"}, {"\"a\""});
    fits(R"({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}})",
         {R"({"a": 1, "b": 1})", R"({"c": 1})"}, {R"({"a": 1, "c": 1})", "{}"});
    EXPECT_EQ(
        problems(R"({"properties": {"x": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["id"]}]}}})",
                 R"({"x": {}})"),
        "x fits none of the allowed forms: must be a string, not an object; or x.id is missing");
}

TEST(mcp_schema_test, References) {
    const auto* tree = R"({"$ref": "#/$defs/tree~1node", "$defs": {"tree/node": {"type": "object", "properties": {
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree~1node"}}, "value": {"$ref": "#/$defs/values/0"}}},
        "values": [{"type": "integer"}]}})";
    fits(tree, {"{}", R"({"children": [{"children": [], "value": 1}]})"}, {"[]"});
    EXPECT_EQ(problems(tree, R"({"children": [{"children": [{"value": "x"}]}]})"),
              "children[0].children[0].value must be an integer, not the string \"x\"");
    fits(R"({"properties": {"a": {"$ref": "#"}}, "additionalProperties": false})", {R"({"a": {"a": {}}})"},
         {R"({"a": {"b": 1}})"});
    for (const auto* reference : {"https://example.org/x", "#/$defs/none", "#anchor", "#/allOf/9", "other.json", ""})
        fits(std::string(R"({"allOf": [true], "$ref": ")") + reference + "\"}", {}, {"1"});
}

TEST(mcp_schema_test, IsBounded) {
    fits(R"({"$ref": "#"})", {}, {"1"});
    fits(R"({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"})", {},
         {"1"});
    std::string numbers = "[0";
    for (int i = 0; i < 400000; ++i)
        numbers += ",0";
    numbers += "]";
    fits(R"({"items": {"type": "integer"}})", {numbers}, {});
    fits(R"({"items": {"anyOf": [{"type": "null"}, {"type": "string"}, {"type": "integer"}]}})", {}, {numbers});
    EXPECT_EQ(check(json::parse(R"({"items": {"type": "string"}})"), json::parse(numbers)).size(), 10U);
}

TEST(mcp_schema_test, CutsWhatItShows) {
    std::string text;
    for (int i = 0; i < 1000; ++i)
        text += "€";
    std::string eighty;
    for (int i = 0; i < 80; ++i)
        eighty += "€";
    EXPECT_EQ(problems(R"({"type": "integer"})", "\"" + text + "\""),
              "must be an integer, not the string \"" + eighty + "…\"");
    EXPECT_EQ(problems(R"({"additionalProperties": false})", "{\"" + text + "\": 1}"),
              eighty + "… is not a known argument; known: none");
    EXPECT_EQ(
        problems(R"({"additionalProperties": false})", R"({"a b\u0000\n": 1, "c.d": 1})"),
        "[\"a b\\u0000\\n\"] is not a known argument; known: none; [\"c.d\"] is not a known argument; known: none");
}

TEST(mcp_schema_test, AKeywordOfAWrongTypeIsIgnored) {
    for (const auto* schema :
         {R"({"type": 7, "enum": {}, "properties": [], "required": "a", "items": 7, "minimum": "0"})",
          R"({"anyOf": [], "oneOf": {}, "allOf": 1, "$ref": 1, "format": [], "minLength": null, "if": 1})", "7", "[]",
          "null", "\"x\""})
        fits(schema, {"1", "\"a\"", "{\"a\": 1}", "[1]", "null"}, {});
}

} // namespace
