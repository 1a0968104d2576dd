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
    std::string_view on_behalf_of; // whom it was done for, by name; empty: none
    int turn_no = 0;               // 0: none
    std::span<const field> payload;
    std::string_view at = {}; // when, as text; empty: not told
};

// When, who, for whom, what and with which outcome, in one sentence or two that need no other column. Of a message the
// payload holds what its intent said of it too (event_type, aggregate_id, payload.to). A type it does not know is an
// application's: its name is told as it is. However long the values are, the text is short.
std::string narrative(const happening& event);

struct counted {
    std::string_view name;
    std::int64_t count;
};

// A row that is evidence, named so that it can be looked up.
struct row_name {
    std::string_view table; // of the schema sor
    std::string_view id;    // empty: there is no such row
    std::int64_t seq = 0;   // of an event; 0: no event
};

// What the rows of a run come to. Times are text; empty means none, as for every text.
struct run_facts {
    std::string_view run_id, worker, run_key, tenant, user, status;
    std::string_view tenant_id, user_id;
    std::string_view queue; // that the run works, where its input or a claim names one
    bool is_client = false; // its Worker speaks MCP
    std::string_view started_at, finished_at, duration;
    std::string_view lease_until;
    bool lapsed = false; // running, and its lease is over
    std::int64_t resumptions = 0;
    std::string_view gap_from, gap_to, gap_turn; // of the last resumption
    row_name resumed;
    std::int64_t turns = 0, finished_turns = 0;
    int open_turn = 0;                                                             // 0: none
    std::span<const counted> calls;                                                // by tool
    std::int64_t failed = 0, refused = 0, unknown = 0, open = 0;                   // calls that nothing has mended
    std::int64_t mended_calls = 0;                                                 // tried again, with success
    std::string_view bad_tool, bad_status, bad_request, bad_message, bad_sqlstate; // the last call that went wrong
    int bad_turn = 0;
    row_name bad_call, bad_call_event;
    std::string_view unknown_tool, unknown_request; // the last call of unknown outcome
    std::string_view open_tool, open_request;       // the last call that was begun and has not ended
    row_name unknown_call;
    std::span<const counted> outside_calls; // begun ones, by tool
    std::int64_t items_completed = 0;
    // Items that failed in this run: those that wait for another attempt, those that are given up, and the others,
    // which somebody has completed or put back since.
    std::int64_t items_failed = 0, items_dead = 0, items_settled = 0;
    std::string_view bad_item, bad_queue, bad_item_error; // the last one that waits
    row_name bad_item_event;
    std::string_view dead_item, dead_queue, dead_item_error; // the last one that is given up
    row_name dead_item_event;
    std::string_view last_event, last_event_at;
    row_name last_row;      // the last event
    std::string_view error; // the run's own: message or reason
    std::string_view cancelled_by;
    std::int64_t pending = 0, dispatched = 0, dead = 0; // messages
    std::span<const counted> delivered;                 // dispatched messages, by destination and type
    std::string_view delivered_at;                      // the last of them
    std::string_view dead_error, dead_destination;
    row_name dead_message;
    std::int64_t failed_sends = 0; // pending messages that have failed before
    std::string_view pending_error;
    row_name pending_message;
    std::string_view paused; // what of it is paused now: what, by whom and why
    bool tampered = false;   // verification found something: what, where
    std::string_view problem, bad_stream;
    row_name bad_row;
};

// What the run came to, in one word; the gravest where several are true.
enum class run_kind {
    tampered,
    crashed,
    failed,
    cancelled,
    running,
    dead_letter,
    unknown_outcome,
    failed_tool,
    refused_tool,
    failed_item,
    undelivered,
    resumed,
    succeeded
};
std::string_view name_of(run_kind kind);

struct piece_of_evidence {
    row_name row;
    std::string_view says;
};

struct finding {
    run_kind kind;
    std::string root_cause; // one sentence
    std::vector<piece_of_evidence> evidence;
    std::string next_action; // a sentence or two
    std::string command;     // what to type, quoted for the shell or as SQL; empty when nothing is to be done
};

finding find_cause(const run_facts& facts);

struct summary {
    std::string run, scope, timeline, failure_point, side_effects, cause_and_next_action;
};

summary summarize(const run_facts& facts, const finding& found);

} // namespace sor::forensics
