// journal: runs, their turns and their tool calls. Callers run inside a context frame.
#pragma once

#include "events/events.hpp"

namespace sor::journal {

struct run {
    pg_uuid_t id;
    int64 token;
    char* worker;
    const pg_uuid_t* on_behalf_of;     // null: none
    const ArrayType* delegating_users; // null: none
    TimestampTz lease_until;
};

// Locks the run's row until the transaction ends and checks the fence, so that the caller may append to its stream.
// Errors: SR007 the token is not the current one, or the lease is over and another holder may come; SR010 there is no
// such run, or it has ended.
run lock_run(const pg_uuid_t& run_id, int64 run_token);

// SR010 unless the turn has begun and has not ended. turn_no 0 is no turn and is refused as well.
void require_open_turn(const pg_uuid_t& run_id, int turn_no);

// Moves the locked run's lease_until to `until` when that is later.
void extend_lease(const run& locked, TimestampTz until);
// From now on whoever starts the run again resumes it.
void give_up_lease(const run& locked);

// Attempts of tool calls, each as a row of tool_calls and as the event tool_call.<status> in the run's stream; the
// event carries every column, so that the journal can be rebuilt from it. The run is locked.
struct call {
    pg_uuid_t id;
    const run* of;
    int turn_no;
    pg_uuid_t request_id;
    const char* tool;
    const Jsonb* arguments;
    const char* status;    // succeeded, failed, refused
    const Jsonb* response; // null unless succeeded
    const Jsonb* error;    // null when succeeded
    const pg_uuid_t* user; // null: none
    TimestampTz started_at;
};
void record_calls(const call* made, int count); // of one run

} // namespace sor::journal
