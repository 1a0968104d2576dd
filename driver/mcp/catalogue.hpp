#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>
#include <nlohmann/json.hpp>
#include "db/calls.hpp"

namespace sor::mcp {

// A tool as MCP shows it. What is allowed is the gateway's to say; this is for teaching and for checking arguments.
struct tool {
    std::string name;
    bool read_only, permitted;
    nlohmann::json input_schema; // with request_id
    std::string definition;      // the member of tools/list, JSON text
};

// The tools that exist, in the order of sor.list_tools.
class catalogue {
public:
    explicit catalogue(const std::vector<db::listed_tool>& listed);

    // Null: there is no such tool, whatever the role.
    const tool* find(std::string_view name) const;

    struct page {
        std::string tools;       // a JSON array
        std::string next_cursor; // empty: that was the last page
    };
    // The permitted tools after the cursor. Null for a cursor that no page gave.
    std::unique_ptr<page> list(std::string_view cursor) const;

private:
    std::vector<tool> tools_;
    std::map<std::string, std::size_t, std::less<>> index_;
};

} // namespace sor::mcp
