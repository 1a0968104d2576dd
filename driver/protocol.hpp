#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// What driver and handler say to each other, one JSON text a line, and what the driver makes of it for the gateway.
namespace sor::protocol {

struct item {
    std::string id;
    std::int64_t claim_token = 0;
    int attempt = 0;
    std::string row; // JSON
};

struct call {
    std::string tool;
    std::string arguments; // a JSON object
};

// The handler's answer for one item: calls, or the error it declares.
struct answer {
    std::string item_id;
    std::vector<call> calls;
    std::string error;
    bool declared_error = false;
};

// The items of a `claim` result: {"items": [{item_id, claim_token, attempt, item}]}.
std::vector<item> parse_claimed(std::string_view result);

// {"item": {"id", "attempt", "row"}} and a line end.
std::string item_line(const item& item);

// Throws BadAnswer for anything but {"item_id", "calls": [{"tool", "arguments"}…]} or {"item_id", "error"}.
answer parse_answer(std::string_view line);

// A line that is no answer. item_id is set when the line names one.
struct bad_answer {
    std::string item_id;
    std::string message, detail;
};

// The calls of one item as members of call_tools' array, one group: request ids are uuid v5 of tenant, queue, item and
// step. The last `write` completes the claim; without one a `claim` call of limit 0 does. Throws BadAnswer when the
// handler completes a claim itself.
std::string group_calls(const std::string& tenant_id, const std::string& queue, const item& item,
                        const std::vector<call>& calls);
// How many calls group_calls makes of them.
std::size_t group_size(const std::vector<call>& calls);

} // namespace sor::protocol
