// Runs the statements of a migration within a transaction, and lets through those that the client runs by itself.
#pragma once

#include "bridge/json.hpp"
#include "context/context.hpp"
#include "migrations/running.hpp"

namespace sor::migrations {

struct lock_taken {
    const char* relation;
    const char* mode;
};

struct executed {
    int statement_no;
    int line;
    const char* command; // the tag, as CREATE TABLE
    int64 microseconds;
    TimestampTz began;
    List* locks; // of lock_taken
    bool looked; // false: too many locks were held to look
};

struct job {
    const char* version;
    bool down;
    const text* text_;
    int first, last; // statements; last 0: all
    permission permitted;
    bool first_writes; // the transaction had written nothing before the call
    // In which the names were read that the review goes by, where that was earlier than now; null where it is now. A
    // name without a schema that may mean another thing since is not let through as reviewed.
    const char* search_path;
};

// The schemas in which names are looked for now, in order.
char* search_path_now();

// Whether a statement names something without a schema that it need not have named where `search_path` was in force.
bool names_may_differ(const Node* statement, const char* search_path);

// Runs them with the rights of the caller, or of the role that the text's header names, under the settings the session
// began with; then undoes what they set for the session. SPI is not connected. A list of executed, in the current
// memory context. Errors: whatever they raise, 42501 the caller is no member of the role, 42704 there is no such role.
// `ran_in`: its search_path when it began.
List* run(const job& j, const char** ran_in);

// From here on as in a session that has just begun, whatever the functions around us have set.
void set_as_at_login();
template <bridge::guarded F>
void as_at_login(F&& f) {
    const int level = NewGUCNestLevel();
    set_as_at_login();
    f();
    AtEOXact_GUC(false, level);
}

// held_ms counts until `end`.
Jsonb* locks_of(const executed& e, TimestampTz end);

// From the end of this transaction on, the session's own statements of exactly these texts are let through as a
// migration's, while names mean in the session what they mean at its login; until disarm(), or the next arm().
void arm(const char* version, permission permitted, List* texts);
void disarm();

} // namespace sor::migrations
