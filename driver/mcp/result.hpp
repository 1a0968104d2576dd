#pragma once
#include <string>
#include <string_view>

// What tools/call answers.
namespace sor::mcp {

// An answer of the gateway, cut out of its JSON.
struct gateway_answer {
    std::string status;    // succeeded, failed or refused
    std::string result;    // JSON text
    std::string error;     // JSON text: {sqlstate, message, detail, hint}
    bool replayed = false; // the stored response of an earlier call with the same request_id
};
gateway_answer read_answer(std::string_view json);

// The members of a CallToolResult that both eras share, without the braces: content, structuredContent, isError, _meta.
// `meta` is members of _meta to go along, JSON text without braces.
//
// A result of more than `most` bytes loses the last of its `rows` and says so by `truncated`; one without rows is
// reported by its size. Whatever comes out of the database stands in the text between two lines with a mark that is
// made up for this text, so that nothing in a row can pass for the server's own words.
std::string call_result(const std::string& tool, const gateway_answer& answer, std::size_t most, std::string_view meta);

// isError with an error that the database raised, or that never got there. `what` is the server's own sentence.
struct call_error {
    std::string sqlstate, message, detail, hint;
};
std::string error_result(std::string_view what, const call_error& error, std::string_view meta);
// isError with what this server found by itself, so that nothing of it is out of the database.
std::string refusal_result(std::string_view what, const call_error& error, std::string_view meta);

} // namespace sor::mcp
