#include "mcp/catalogue.hpp"

namespace sor::mcp {
namespace {

using nlohmann::json;
using ordered = nlohmann::ordered_json;

constexpr std::size_t page_size = 50;

constexpr const char* request_id_of_a_write =
    "A UUID that you make up for this call, another one for each new intention. If you do not learn how a call ended "
    "(a "
    "lost connection, a timeout, a cancelled call), repeat it with the same request_id and the same arguments: it then "
    "takes effect once, and you get the stored answer.";
constexpr const char* request_id_of_a_read = "A UUID, to get the same answer again if the call is repeated. Optional.";

ordered with_request_id(const std::string& schema, bool read_only) {
    auto result = ordered::parse(schema);
    // The first of the properties: models fill them in that order.
    ordered properties = {{"request_id",
                           {{"type", "string"},
                            {"format", "uuid"},
                            {"description", read_only ? request_id_of_a_read : request_id_of_a_write}}}};
    if (const auto own = result.find("properties"); own != result.end() && own->is_object())
        properties.update(*own);
    if (!result.contains("type"))
        result["type"] = "object";
    result["properties"] = std::move(properties);
    if (!read_only) {
        ordered required = {"request_id"};
        if (const auto own = result.find("required"); own != result.end() && own->is_array())
            for (const auto& name : *own)
                required.push_back(name);
        result["required"] = std::move(required);
    }
    return result;
}

tool make_tool(const db::listed_tool& listed) {
    auto schema = with_request_id(listed.input_schema, listed.read_only);
    ordered definition = {{"name", listed.name}, {"description", listed.description}, {"inputSchema", schema}};
    if (listed.output_schema)
        definition["outputSchema"] = ordered::parse(*listed.output_schema);
    definition["annotations"] = {{"readOnlyHint", listed.read_only},
                                 {"destructiveHint", !listed.read_only && listed.destructive},
                                 // A repeated request_id repeats the answer, not the effect.
                                 {"idempotentHint", true},
                                 {"openWorldHint", listed.name == "queue"}};
    return {listed.name, listed.read_only, listed.permitted, json(schema), definition.dump()};
}

} // namespace

catalogue::catalogue(const std::vector<db::listed_tool>& listed) {
    for (const auto& entry : listed) {
        index_.emplace(entry.name, tools_.size());
        tools_.push_back(make_tool(entry));
    }
}

const tool* catalogue::find(std::string_view name) const {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &tools_[found->second];
}

std::unique_ptr<catalogue::page> catalogue::list(std::string_view cursor) const {
    std::size_t next = 0;
    if (!cursor.empty()) {
        const auto last = index_.find(cursor); // the cursor is the name of the page's last tool
        if (last == index_.end())
            return nullptr;
        next = last->second + 1;
    }
    auto result = std::make_unique<page>();
    std::size_t listed = 0;
    std::string_view last;
    for (; next < tools_.size(); ++next) {
        if (!tools_[next].permitted)
            continue;
        if (listed == page_size) {
            result->next_cursor = last;
            break;
        }
        result->tools += listed++ > 0 ? "," : "[";
        result->tools += tools_[next].definition;
        last = tools_[next].name;
    }
    result->tools += listed > 0 ? "]" : "[]";
    return result;
}

} // namespace sor::mcp
