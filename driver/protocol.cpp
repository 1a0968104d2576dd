#include "protocol.hpp"
#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include "failure.hpp"
#include "json_text.hpp"
#include "text.hpp"
#include "uuid.hpp"

namespace sor::protocol {
namespace {

constexpr const char* shape =
    "Expected {\"item_id\", \"calls\": [{\"tool\", \"arguments\": {…}}…]} or {\"item_id\", \"error\"}.";

constexpr std::size_t longest_excerpt = 200;

std::int64_t integer(std::string_view json) {
    std::int64_t value = 0;
    std::from_chars(json.data(), json.data() + json.size(), value);
    return value;
}

// `/calls/12/tool` → 12 and `tool`; false for another path.
bool parts_of(const std::string& path, std::string_view array, std::size_t& index, std::string_view& member) {
    std::string_view rest = path;
    if (!rest.starts_with(array))
        return false;
    rest.remove_prefix(array.size());
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), index);
    if (error != std::errc{})
        return false;
    member = rest.substr(static_cast<std::size_t>(end - rest.data()));
    return true;
}

std::string with_member(const std::string& object, const std::string& member) {
    std::string result = object;
    result.pop_back();
    if (result.size() > 1)
        result += ',';
    return result + member + "}";
}

std::size_t last_write(const std::vector<call>& calls) {
    for (std::size_t i = calls.size(); i > 0; --i)
        if (calls[i - 1].tool == "write")
            return i - 1;
    return calls.size();
}

} // namespace

std::vector<item> parse_claimed(std::string_view result) {
    std::vector<item> items;
    split_json(result, 3, [&](const std::string& path, std::string_view json) {
        std::size_t index = 0;
        std::string_view member;
        if (!parts_of(path, "/items/", index, member))
            return;
        if (items.size() <= index)
            items.resize(index + 1);
        auto& item = items[index];
        if (member == "/item_id")
            item.id = json.starts_with('"') ? json_unquote(json) : std::string(json);
        else if (member == "/claim_token")
            item.claim_token = integer(json);
        else if (member == "/attempt")
            item.attempt = static_cast<int>(integer(json));
        else if (member == "/item")
            item.row = json;
    });
    return items;
}

std::string item_line(const item& item) {
    return "{\"item\":{\"id\":" + json_quote(item.id) + ",\"attempt\":" + std::to_string(item.attempt) +
           ",\"row\":" + item.row + "}}\n";
}

answer parse_answer(std::string_view line) {
    answer answer;
    bool is_object = false, has_calls = false, has_error = false, has_id = false;
    std::string wrong;
    const auto refuse_if = [&](bool condition, const std::string& reason) {
        if (condition && wrong.empty())
            wrong = reason;
    };
    struct call_parts {
        bool tool = false, arguments = false;
    };
    std::vector<call_parts> parts;
    try {
        split_json(line, 3, [&](const std::string& path, std::string_view json) {
            std::size_t index = 0;
            std::string_view member;
            if (path.empty()) {
                is_object = json.starts_with('{');
            } else if (path == "/item_id") {
                refuse_if(has_id, "it has \"item_id\" twice");
                refuse_if(!json.starts_with('"'), "\"item_id\" is no string");
                if (json.starts_with('"'))
                    answer.item_id = json_unquote(json);
                has_id = true;
            } else if (path == "/error") {
                refuse_if(!json.starts_with('"'), "\"error\" is no string");
                answer.error = json.starts_with('"') ? json_unquote(json) : std::string(json);
                has_error = true;
            } else if (path == "/calls") {
                refuse_if(has_calls, "it has \"calls\" twice");
                refuse_if(!json.starts_with('['), "\"calls\" is no array");
                has_calls = true;
            } else if (parts_of(path, "/calls/", index, member)) {
                if (answer.calls.size() <= index) {
                    answer.calls.resize(index + 1);
                    parts.resize(index + 1);
                }
                if (member.empty()) {
                    refuse_if(!json.starts_with('{'), "an entry of \"calls\" is no object");
                } else if (member == "/tool") {
                    refuse_if(!json.starts_with('"'), "\"tool\" is no string");
                    if (json.starts_with('"'))
                        answer.calls[index].tool = json_unquote(json);
                    parts[index].tool = true;
                } else if (member == "/arguments") {
                    refuse_if(!json.starts_with('{'), "\"arguments\" is no object");
                    answer.calls[index].arguments = json;
                    parts[index].arguments = true;
                } else if (std::count(member.begin(), member.end(), '/') == 1) {
                    refuse_if(true, "a call has the unknown member \"" + std::string(member.substr(1)) + "\"");
                }
            } else if (std::count(path.begin(), path.end(), '/') == 1) {
                refuse_if(true, "it has the unknown member \"" + path.substr(1) + "\"");
            }
        });
    } catch (const failure& error) {
        throw bad_answer{{},
                         "the handler wrote a line that is not valid JSON",
                         error.detail() + "; the line: " + excerpt(line, longest_excerpt)};
    }
    if (!is_object)
        wrong = "it is no object";
    refuse_if(!has_id, "\"item_id\" is missing");
    refuse_if(has_calls && has_error, "it has both \"calls\" and \"error\"");
    refuse_if(!has_calls && !has_error, "it has neither \"calls\" nor \"error\"");
    for (const auto& part : parts)
        refuse_if(!part.tool || !part.arguments, "a call lacks \"tool\" or \"arguments\"");
    if (!wrong.empty())
        throw bad_answer{answer.item_id, "the handler's answer is malformed: " + wrong,
                         std::string(shape) + " The line: " + excerpt(line, longest_excerpt)};
    answer.declared_error = has_error;
    return answer;
}

std::size_t group_size(const std::vector<call>& calls) {
    return calls.size() + (last_write(calls) == calls.size() ? 1 : 0);
}

std::string group_calls(const std::string& tenant_id, const std::string& queue, const item& item,
                        const std::vector<call>& calls) {
    const auto group = json_quote(item.id);
    const std::string claim = "\"item_id\":" + group + ",\"claim_token\":" + std::to_string(item.claim_token);
    const auto completing = last_write(calls);
    std::string json;
    const auto append = [&](std::size_t step, const std::string& tool, const std::string& arguments) {
        json += json.empty() ? "" : ",";
        json += "{\"request_id\":\"" + uuid_v5({tenant_id, queue, item.id, std::to_string(step)}) +
                "\",\"tool\":" + json_quote(tool) + ",\"group\":" + group + ",\"arguments\":" + arguments + "}";
    };
    for (std::size_t step = 0; step < calls.size(); ++step) {
        const auto& call = calls[step];
        if (call.tool == "claim")
            throw bad_answer{item.id, "the handler called the tool \"claim\"",
                             "Claims are the driver's: it completes an item with its last write."};
        bool completes = false;
        if (call.tool == "write")
            split_json(call.arguments, 1,
                       [&](const std::string& path, std::string_view) { completes |= path == "/completes"; });
        if (completes)
            throw bad_answer{item.id, "the handler gave \"completes\" itself",
                             "The driver adds it to the last write of an item."};
        append(step, call.tool,
               step == completing
                   ? with_member(call.arguments, "\"completes\":{\"queue\":" + json_quote(queue) + "," + claim + "}")
                   : call.arguments);
    }
    if (completing == calls.size())
        append(calls.size(), "claim",
               "{\"queue\":" + json_quote(queue) + ",\"limit\":0,\"complete\":[{" + claim + "}]}");
    return json;
}

} // namespace sor::protocol
