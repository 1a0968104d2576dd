// tools: the gateway, for those who are past its door.
#pragma once

#include "tools/builtins.hpp"

namespace sor::tools {

// One call as sor.call_tool makes it, with the same answer and the same errors, within a frame whose user is `user`.
struct request_to_call {
    const pg_uuid_t& user;
    const pg_uuid_t& run;
    int64 run_token;
    int turn_no;
    const pg_uuid_t& request_id;
    const char* tool;
    const Jsonb* arguments;
};
Jsonb* call_within(const request_to_call& r);

} // namespace sor::tools
