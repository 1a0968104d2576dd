#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <nlohmann/json.hpp>

// JSON-RPC 2.0 as MCP has it: one message a line, no batches, ids are strings or integers.
namespace sor::mcp {

namespace error_code {
constexpr int parse_error = -32700;
constexpr int invalid_request = -32600;
constexpr int method_not_found = -32601;
constexpr int invalid_params = -32602;
constexpr int internal_error = -32603;
constexpr int unsupported_version = -32022;
} // namespace error_code

struct message {
    enum class kind { request, notification, response, invalid };
    kind is = kind::invalid;
    std::string id; // as JSON text, to be echoed; equal strings are spelled alike; empty: none, or none could be read
    std::string method;
    nlohmann::json params = nlohmann::json::object(); // without "arguments"
    std::string arguments;          // JSON text of params.arguments, numbers spelled as they came; empty when absent
    nlohmann::json argument_values; // the same, parsed; null when absent
    int code = 0;                   // of an invalid one
    std::string problem;            // of an invalid one: a sentence for error.message
    std::string nul_at; // JSON pointer into arguments of a string or key with U+0000, which PostgreSQL cannot store
};

// Never throws for what the line holds. Invalid are
// - with parse_error and no id: what is no JSON, is no UTF-8, has a lone surrogate, a number that no double holds or
//   anything behind the message;
// - with invalid_request, and the id when one can be told: what is no JSON-RPC request, notification or response, nests
//   deeper than `deepest` levels or has a key twice, anywhere;
// - with invalid_params and the id: a request whose params or params.arguments is no object.
// A notification is never invalid for its params: nobody would hear of it.
message parse_message(std::string_view line, std::size_t deepest);

// Each is one line, without its end. `id`, `result`, `data` and `params` are JSON texts; no id, no id member.
std::string result_line(std::string_view id, std::string_view result);
std::string error_line(std::string_view id, int code, std::string_view message, std::string_view data = {});
std::string notification_line(std::string_view method, std::string_view params);

} // namespace sor::mcp
