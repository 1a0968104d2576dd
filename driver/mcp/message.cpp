#include "mcp/message.hpp"
#include <algorithm>
#include "failure.hpp"
#include "json_text.hpp"
#include "text.hpp"

namespace sor::mcp {
namespace {

using nlohmann::json;

constexpr std::size_t longest_place = 200;

// The text of a member of the message, and how often it is there.
struct member {
    std::string text;
    int times = 0;

    void set(std::string_view value) {
        text = value;
        ++times;
    }
    bool is_string() const { return text.starts_with('"'); }
    bool is_object() const { return text.starts_with('{'); }
};

// A string, or an integer of any length: `-?(0|[1-9][0-9]*)`, which of JSON's numbers are those without `.` and `e`.
bool is_id(const member& id) {
    return id.is_string() || (!id.text.empty() && id.text.find_first_not_of("-0123456789") == id.text.npos);
}

// A JSON text may have line ends between its tokens (not inside its strings); a line may not.
std::string on_one_line(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
    return text;
}

std::string line_of(std::string_view id, const std::string& rest) {
    return on_one_line("{\"jsonrpc\":\"2.0\"" + (id.empty() ? "" : ",\"id\":" + std::string(id)) + rest + "}");
}

} // namespace

message parse_message(std::string_view line, std::size_t deepest) {
    message message;
    const auto invalid = [&](int code, std::string problem) {
        message.is = message::kind::invalid;
        message.code = code;
        message.problem = std::move(problem);
        return std::move(message);
    };

    member root, version, id, method, params, arguments;
    bool answers = false;
    json_faults faults;
    try {
        faults = scan_json(line, 2, deepest, true, [&](const std::string& path, std::string_view text) {
            if (path.empty())
                root.set(text.substr(0, 1));
            else if (path == "/jsonrpc")
                version.set(text);
            else if (path == "/id")
                id.set(text);
            else if (path == "/method")
                method.set(text);
            else if (path == "/params")
                params.set(text);
            else if (path == "/params/arguments")
                arguments.set(text);
            else if (path == "/result" || path == "/error")
                answers = true;
        });
    } catch (const failure& error) {
        return invalid(error_code::parse_error, "the line is not valid JSON: " + error.detail());
    }
    if (root.text == "[")
        return invalid(error_code::invalid_request, "a batch is not supported: send one message a line");
    if (!root.is_object())
        return invalid(error_code::invalid_request, "a message must be a JSON object");
    if (id.times == 1 && is_id(id))
        message.id = id.text;
    if (faults.too_deep)
        return invalid(error_code::invalid_request,
                       "the message nests deeper than " + std::to_string(deepest) + " levels");
    if (faults.double_key)
        return invalid(error_code::invalid_request,
                       "the message has a key twice: " + json_quote(excerpt(*faults.double_key, longest_place)));
    if (version.text != "\"2.0\"")
        return invalid(error_code::invalid_request, "\"jsonrpc\" must be \"2.0\"");
    if (method.times == 0 && answers) {
        message.is = message::kind::response;
        return message;
    }
    if (id.times > 0 && message.id.empty())
        return invalid(error_code::invalid_request, "\"id\" must be a string or an integer");
    if (!method.is_string())
        return invalid(error_code::invalid_request,
                       method.times == 0 ? "\"method\" is missing" : "\"method\" must be a string");

    message.method = json_unquote(method.text);
    message.is = id.times > 0 ? message::kind::request : message::kind::notification;
    if (params.times > 0 && !params.is_object()) {
        if (message.is == message::kind::notification)
            return message;
        return invalid(error_code::invalid_params, "\"params\" must be an object");
    }
    if (params.times > 0)
        message.params = json::parse(params.text);
    if (arguments.times == 0)
        return message;
    message.argument_values = std::move(message.params["arguments"]);
    message.params.erase("arguments");
    if (!arguments.is_object()) {
        if (message.is == message::kind::notification)
            return message;
        return invalid(error_code::invalid_params, "\"arguments\" must be an object");
    }
    message.arguments = std::move(arguments.text);
    if (faults.nul) // perhaps outside the arguments
        message.nul_at = scan_json(message.arguments, -1, deepest, false, {}).nul.value_or("");
    return message;
}

std::string result_line(std::string_view id, std::string_view result) {
    return line_of(id, ",\"result\":" + std::string(result));
}

std::string error_line(std::string_view id, int code, std::string_view message, std::string_view data) {
    return line_of(id, ",\"error\":{\"code\":" + std::to_string(code) + ",\"message\":" + json_quote(message) +
                           (data.empty() ? "" : ",\"data\":" + std::string(data)) + "}");
}

std::string notification_line(std::string_view method, std::string_view params) {
    return line_of({}, ",\"method\":" + json_quote(method) + ",\"params\":" + std::string(params));
}

} // namespace sor::mcp
