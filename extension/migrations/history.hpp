// The rows of sor.migrations, the events about them, and what must hold before one of them runs.
//
// Everything here runs as the engine in the system's tenant: within in_history().
#pragma once

#include "events/events.hpp"
#include "migrations/migrations_core.hpp"
#include "migrations/running.hpp"

namespace sor::migrations {

// f(caller's memory context) as the engine, with SPI connected. Errors: SR010 within a migration that runs.
void refuse_within_migration();
template <bridge::guarded F>
auto in_history(F&& f) {
    return context::administration(context::system_tenant, "user", f);
}

struct migration {
    const char* version;
    const char* name;
    const char* checksum;
    const text* up;
    const text* down; // null: it cannot be rolled back
    const char* proposed_by;
    const char* review_hash; // null: not approved
    const char* approved_by; // null: not approved
    int64 approval_seq;
    const Jsonb* findings;
    const Jsonb* override; // null: approved without
    bool override_left[2]; // for the upgrade, for the downgrade
    bool was_applied;
    bool rolled_back;        // applied once, and not any more
    const Jsonb* progress;   // null: not half applied
    const char* search_path; // that the names of what was applied were read in; null: nothing was

    bool applied() const { return was_applied && !rolled_back; }
    const text* text_of(bool down_too) const { return down_too ? down : up; }
    // Which way it is half applied; only with progress.
    bool going_down() const;
};

const sort_key& key_of(const text* version); // 22023 no version
bool direction_of(const text* direction);    // true: down; 22023 neither

// In that memory context, its row locked until the transaction ends. find: null when there is none.
migration* find(MemoryContext into, const sort_key& key, bool locked = true);
const migration& load(MemoryContext into, const text* version); // SR013
const migration& look(MemoryContext into, const text* version); // the same without the lock

// "name": …, "checksum": …, and from where the client comes: what each event about a migration begins with. The object
// is left open.
bridge::json_writer& describe(bridge::json_writer& payload, const migration& m);
const char* login();          // whoever has logged in
const char* client_address(); // null: a local socket

// Whether the session is a superuser's that has the guard off.
bool is_forced();

// What stands between a migration and its running. Errors: as sor.apply_migration. `half`: it goes on where it stopped.
// What it says is permitted to its statements.
permission require_fit(const migration& m, bool down, bool out_of_order, bool half);

const char* fingerprint(MemoryContext into); // of the schema now

// The one runner. Errors: SR012 another session has it.
void lock_for_transaction();
bool lock_for_session();
bool unlock_for_session();
void require_session_lock(); // SR010

} // namespace sor::migrations
