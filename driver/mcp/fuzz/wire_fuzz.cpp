// libFuzzer target: what a client may send, through framing, parsing and checking of arguments. `make campaign` runs
// it.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>
#include <nlohmann/json.hpp>
#include "mcp/framing.hpp"
#include "mcp/message.hpp"
#include "mcp/schema.hpp"
#include "text.hpp"

namespace {

using namespace sor::mcp;
using nlohmann::json;
using kind = message::kind;

constexpr std::size_t deepest = 64;

// What must hold, in builds without asserts too.
void demand(bool holds, const char* what, std::string_view about = {}) {
    if (holds)
        return;
    std::fprintf(stderr, "broken: %s\n%.*s\n", what, static_cast<int>(about.size()), about.data());
    std::abort();
}

// In the manner of the built-in tools' schemas.
const json& tool_schema() {
    static const json schema = json::parse(R"({
        "type": "object", "additionalProperties": false, "required": ["table"],
        "properties": {
            "table": {"type": "string", "minLength": 1, "maxLength": 63}, "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
            "request_id": {"type": "string", "format": "uuid"}, "at": {"type": "string", "format": "date-time"},
            "on_conflict": {"enum": ["nothing", "update"]}, "record": {"type": "object", "minProperties": 1},
            "order_by": {"type": "array", "items": {"type": "string"}, "uniqueItems": true, "maxItems": 8},
            "where": {"type": "object", "additionalProperties": {"anyOf": [{"type": ["string", "number", "boolean", "null"]},
                {"type": "object", "additionalProperties": false, "properties": {"in": {"type": "array"}, "lt": {}, "gt": {}}}]}},
            "complete": {"type": "array", "items": {"type": "object", "required": ["item_id", "claim_token"]}}}})");
    return schema;
}

bool is_one_line(std::string_view text) {
    return text.find_first_of(std::string_view("\n\r\0", 3)) == text.npos;
}

void check_output(const std::string& line, const std::string& id) {
    demand(is_one_line(line), "an answer is one line", line);
    const auto read = json::parse(line, nullptr, false);
    demand(read.is_object() && read.value("jsonrpc", "") == "2.0", "an answer is a JSON-RPC object", line);
    demand(id.empty() ? !read.contains("id") : read.contains("id") && read["id"] == json::parse(id),
           "an answer has the id of its request", line);
    const auto again = parse_message(line, deepest + 1); // `data` is a level further in
    demand(again.is == kind::response, "an answer reads as one", line);
}

void check_arguments(const json& schema, const json& arguments) {
    constexpr std::size_t most = 5;
    const auto found = check(schema, arguments, most);
    demand(found.size() <= most, "no more violations than asked");
    bool bounded = true;
    for (const auto& [path, problem] : found) {
        demand(sor::characters(path) <= 201 && problem.size() <= 20000, "messages are short", problem);
        demand(!problem.empty() && is_one_line(problem) && is_one_line(path), "a message is one line", problem);
        const auto written = json::array({path, problem}).dump(); // throws on what is no UTF-8
        bounded = bounded && problem != "takes too long to check against the schema";
    }
    if (!bounded)
        return;
    const auto negated = check({{"not", schema}}, arguments, most);
    const auto twice = check({{"allOf", {schema, schema}}}, arguments, most);
    const auto refers = schema.is_object() && schema.dump().find("$ref") != std::string::npos;
    if (refers) // `#` means another schema there
        return;
    const auto beyond = [](const std::vector<violation>& violations) {
        return !violations.empty() && violations.back().problem == "takes too long to check against the schema";
    };
    demand(beyond(negated) || negated.empty() != found.empty(), "not is the opposite");
    demand(beyond(twice) || twice.empty() == found.empty(), "allOf twice the same is that");
}

void check_line(std::string_view line) {
    const auto message = parse_message(line, deepest);
    const bool is_json = line.find('\0') == line.npos && json::accept(line);
    demand(is_json == (message.code != error_code::parse_error), "a parse error is for what is no JSON", line);
    if (message.is == kind::invalid) {
        demand(message.code == error_code::parse_error || message.code == error_code::invalid_request ||
                   message.code == error_code::invalid_params,
               "an invalid line has a code", line);
        demand(message.code != error_code::parse_error || message.id.empty(), "a parse error has no id", line);
        const auto answer = error_line(message.id, message.code, message.problem);
        check_output(answer, message.id);
        demand(json::parse(answer)["error"]["message"] == message.problem && message.problem.size() < 2000,
               "the problem is short and UTF-8", message.problem);
        return;
    }
    demand(message.code == 0 && message.problem.empty(), "a valid line has no problem", line);
    if (message.is != kind::request) {
        demand(message.is == kind::response || message.id.empty(), "a notification has no id", line);
        return;
    }
    demand(!message.id.empty(), "a request has an id", line);
    check_output(result_line(message.id, message.params.dump()), message.id);
    check_output(error_line(message.id, error_code::method_not_found, message.method, message.params.dump()),
                 message.id);

    demand(message.arguments.empty() == message.argument_values.is_null(), "arguments come as text and parsed", line);
    if (message.arguments.empty())
        return;
    demand(json::parse(message.arguments) == message.argument_values, "both are the same", message.arguments);
    demand(message.nul_at.empty() == (message.arguments.find("\\u0000") == std::string::npos) ||
               message.arguments.find("\\\\u0000") != std::string::npos,
           "U+0000 is found", message.arguments);
    const auto again =
        parse_message("{\"jsonrpc\":\"2.0\",\"id\":" + message.id + ",\"method\":" + sor::json_quote(message.method) +
                          ",\"params\":{\"arguments\":" + message.arguments + "}}",
                      deepest);
    demand(again.is == kind::request && again.id == message.id && again.method == message.method &&
               again.arguments == message.arguments && again.nul_at == message.nul_at,
           "a request written again reads the same", message.arguments);

    check_arguments(tool_schema(), message.argument_values);
    if (const auto schema = message.params.find("schema"); schema != message.params.end())
        check_arguments(*schema, message.argument_values);
}

std::vector<std::string> lines(std::string_view bytes, std::size_t longest, std::size_t at_once) {
    std::vector<std::string> result;
    const auto line = [&](std::string_view text) { result.emplace_back(text); };
    const auto overlong = [&] { result.emplace_back("\n"); };
    line_reader reader(longest);
    for (std::size_t at = 0; at < bytes.size(); at += at_once)
        reader.feed(bytes.substr(at, at_once), line, overlong);
    reader.finish(line, overlong);
    return result;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto whole = lines(bytes, 1 << 20, size + 1);
    for (const std::size_t at_once : {1, 2, 7})
        demand(lines(bytes, 1 << 20, at_once) == whole, "lines do not depend on how the bytes are cut");
    for (const std::size_t longest : {0, 1, 30}) {
        const auto cut = lines(bytes, longest, size + 1);
        for (const std::size_t at_once : {1, 3})
            demand(lines(bytes, longest, at_once) == cut, "nor do those that are too long");
        for (const auto& line : cut)
            demand(line.size() <= longest || line == "\n", "no line is longer than the longest", line);
    }
    for (const auto& line : whole) {
        demand(line.find('\n') == line.npos && !line.empty(), "a line has no line end", line);
        check_line(line);
    }
    return 0;
}
