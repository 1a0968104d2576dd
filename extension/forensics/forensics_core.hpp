// What rows say, in plain English. Pure: no PostgreSQL header.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sor::forensics {

// A scalar of an event's payload as text. Names of nested ones are joined by a dot (error.message); an array appears as
// its number of elements, under its name and "#" (response.items#).
struct field {
    std::string_view name;
    std::string_view value;
};

struct happening {
    std::string_view type;
    std::string_view actor_kind;
    std::string_view actor;
    std::string_view on_behalf_of; // empty: none
    int turn_no = 0;               // 0: none
    std::span<const field> payload;
};

// One sentence, or two. A type it does not know is an application's: its name is told as it is.
std::string narrative(const happening& event);

struct counted {
    std::string_view name;
    std::int64_t count;
};

// What the rows of a run come to. Times are text; empty means none, as for every text.
struct run_facts {
    std::string_view run_id, worker, run_key, tenant, user, status;
    std::string_view started_at, finished_at, duration;
    std::string_view lease_until;
    bool lapsed = false; // running, and its lease is over
    std::int64_t resumptions = 0;
    std::string_view gap_from, gap_to; // of the last resumption
    std::int64_t turns = 0, finished_turns = 0;
    int open_turn = 0;                                                             // 0: none
    std::span<const counted> calls;                                                // by tool
    std::int64_t failed = 0, refused = 0, unknown = 0, open = 0;                   // calls
    std::string_view bad_tool, bad_status, bad_request, bad_message, bad_sqlstate; // the last call that went wrong
    int bad_turn = 0;
    std::int64_t items_completed = 0, items_failed = 0, items_dead = 0;
    std::string_view bad_item, bad_queue, bad_item_error; // the last item that failed
    std::string_view last_event, last_event_at;
    std::string_view error; // the run's own: message or reason
    std::string_view cancelled_by;
    std::int64_t pending = 0, dispatched = 0, dead = 0; // messages
    std::string_view dead_error, dead_destination;
    std::int64_t failed_sends = 0; // pending messages that have failed before
    std::string_view pending_error;
};

struct summary {
    std::string run, scope, timeline, failure_point, side_effects, cause_and_next_action;
};

summary summarize(const run_facts& facts);

} // namespace sor::forensics
