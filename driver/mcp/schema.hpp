#pragma once
#include <cstddef>
#include <string>
#include <vector>
#include <nlohmann/json.hpp>

namespace sor::mcp {

struct violation {
    std::string path;    // `record.amount`, `calls[2]`; empty for the whole value
    std::string problem; // for a language model: `must be an integer, not the string "ten"`, `is missing`
};

// What of `value` breaks `schema` (JSON Schema 2020-12), at most `most` violations, missing members first.
// Checked are type, enum, const, properties, required, additionalProperties, minProperties, maxProperties, items,
// prefixItems, minItems, maxItems, uniqueItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf,
// minLength, maxLength, format (uuid, date, date-time, email), anyOf, oneOf, allOf, not, if/then/else, $ref within the
// schema, and schemas that are true or false. Other keywords are ignored, as is a keyword of a wrong type; beside
// patternProperties, which would need regular expressions, additionalProperties is ignored too.
// Never throws but for want of memory. Work and stack are bounded, also for schemas that refer to themselves: what
// cannot be checked within the bounds, or refers to a schema that is not there, is a violation.
std::vector<violation> check(const nlohmann::json& schema, const nlohmann::json& value, std::size_t most = 10);

} // namespace sor::mcp
