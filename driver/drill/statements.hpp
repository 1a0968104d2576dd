#pragma once
#include <array>
#include <span>
#include <string_view>

// The SQL of the drills that is no call of a function of sor: what judges the rows, what takes a discipline away, and
// what a superuser looks at. All of it runs on scratch databases alone. That these and the logins of the drills are
// made, granted what they need and dropped is in stage.cpp.
namespace sor::drill {

constexpr int drill_count = 9;

struct drill_text {
    const char* key;   // in the bundle
    const char* habit; // the discipline that it shows
    // Read-only: (ok boolean, evidence text, reason text) out of rows, and of what was seen and logged.
    const char* verdict;
};
extern const std::array<drill_text, drill_count> drills;

struct sabotage_text {
    const char* name;
    int drill;            // index of the one that must say no
    const char* removes;  // which discipline
    const char* unblocks; // the smallest change
    // On the scratch database, one statement each; where there is none the drill itself does without the discipline.
    std::span<const char* const> statements;
};
extern const std::span<const sabotage_text> sabotages;

namespace sql {
extern const std::span<const char* const> evidence_schema;
extern const std::span<const char* const>
    nothing_waits;                      // nor is paused: drills meet their own items and messages alone
extern const char* const observe;       // $1 drill, $2 name, $3 jsonb
extern const char* const keep_log;      // $1 drill, $2 name, $3 text
extern const char* const tenants;       // two tenants with a member each
extern const char* const owner;         // of the reconciler's tables
extern const char* const left_behind;   // by drills that were killed: names, and what drops each
extern const char* const hold;          // $1 prefix of names: until the session ends
extern const char* const no_notes;      // the demo may have made the change of drill 1
extern const char* const next_version;  // of a migration
extern const char* const objects;       // of the schema, as one object
extern const char* const drop_expenses; // what the guard must refuse
extern const char* const expenses_of;   // $1 tenant
extern const char* const crash;         // $1 tenant, $2 worker
extern const char* const is_gone;       // $1 login
extern const char* const lapse;         // $1 tenant, $2 run
extern const char* const new_items;     // $1 tenant, $2 statement: ids as a JSON array
extern const char* const due_now;       // $1 message
extern const char* const finished_run;  // $1 tenant
extern const char* const change_event;  // $1 tenant, $2 run
extern const char* const delete_event;  // the same
extern const char* const visible;       // $1 tenant
extern const char* const error_of;      // $1 answer of the gateway
extern const char* const say;           // $1 text, for the log
extern const char* const current_log;   // empty: the server does not name it
extern const char* const log_position;  // $1 path
extern const char* const log_since;     // $1 path, $2 position
} // namespace sql

} // namespace sor::drill
