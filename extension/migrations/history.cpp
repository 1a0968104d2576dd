#include "migrations/history.hpp"

#include "review/summary.hpp"

extern "C" {
#include "storage/lock.h"
}

namespace sor::migrations {

using bridge::in;

void refuse_within_migration() {
    if (current_version() != nullptr)
        bridge::raise(code::invalid_state_transition, "a migration cannot run or change migrations",
                      psprintf("Migration %s is running.", current_version()), "Leave the call out of its text.");
}

bool migration::going_down() const {
    const char* direction = bridge::find_string(progress, "direction");
    return direction != nullptr && strcmp(direction, "down") == 0;
}

const sort_key& key_of(const text* version) {
    auto* key = static_cast<sort_key*>(palloc(sizeof(sort_key)));
    if (!make_sort_key(bridge::view(version), *key))
        bridge::raise(code::invalid_parameter,
                      psprintf("\"%s\" is no version", bridge::to_cstring(bridge::view(version).substr(0, 200))),
                      nullptr,
                      "Give numbers between single dots, hyphens or underscores, at most 100 characters: 0007, 1.2, "
                      "20260131_1200.");
    return *key;
}

bool direction_of(const text* direction) {
    const std::string_view d = bridge::view(direction);
    if (d != "up" && d != "down")
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no direction", bridge::to_cstring(d.substr(0, 200))),
                      nullptr, "Give up or down.");
    return d == "down";
}

migration* find(MemoryContext into, const sort_key& key, bool locked) {
#define ROW                                                                                                            \
    "select version, name, checksum, up, down, proposed_by, review_hash, approved_by, approval_seq, findings,"         \
    "       override, override_up, override_down, applied_at is not null, rolled_back_at is not null, progress,"       \
    "       coalesce(progress ->> 'search_path', search_path)"                                                         \
    "  from sor.migrations where sort_key = $1"
    static bridge::statement row(ROW, {TEXTOID});
    static bridge::statement row_locked(ROW " for update", {TEXTOID});
#undef ROW
    const auto found = locked ? row_locked.run_latest(in(key.text)) : row.run_latest(in(key.text));
    if (found.empty())
        return nullptr;
    const MemoryContext outer = MemoryContextSwitchTo(into);
    const auto text_at = [&](int column) {
        return found.null(0, column) ? nullptr : DatumGetTextPCopy(found.datum(0, column));
    };
    const auto json_at = [&](int column) {
        return found.null(0, column) ? nullptr : DatumGetJsonbPCopy(found.datum(0, column));
    };
    auto* m = static_cast<migration*>(palloc0(sizeof(migration)));
    m->version = found.string(0, 1);
    m->name = found.string(0, 2);
    m->checksum = found.string(0, 3);
    m->up = text_at(4);
    m->down = text_at(5);
    m->proposed_by = found.string(0, 6);
    m->review_hash = found.string_or_null(0, 7);
    m->approved_by = found.string_or_null(0, 8);
    m->approval_seq = found.null(0, 9) ? 0 : found.bigint(0, 9);
    m->findings = json_at(10);
    m->override = json_at(11);
    m->override_left[0] = found.boolean(0, 12);
    m->override_left[1] = found.boolean(0, 13);
    m->was_applied = found.boolean(0, 14);
    m->rolled_back = found.boolean(0, 15);
    m->progress = json_at(16);
    m->search_path = found.string_or_null(0, 17);
    MemoryContextSwitchTo(outer);
    found.free();
    return m;
}

namespace {

const migration& required(MemoryContext into, const text* version, bool locked) {
    const migration* m = find(into, key_of(version), locked);
    if (m == nullptr)
        bridge::raise(code::not_registered,
                      psprintf("there is no migration %s", bridge::to_cstring(bridge::view(version))), nullptr,
                      "Propose it with sor.propose_migration; sor.migration_status() lists those there are.");
    return *m;
}

} // namespace

const migration& load(MemoryContext into, const text* version) {
    return required(into, version, true);
}

const migration& look(MemoryContext into, const text* version) {
    return required(into, version, false);
}

const char* login() {
    return GetUserNameFromId(GetSessionUserId(), false);
}

const char* client_address() {
    static bridge::statement address("select pg_catalog.host(pg_catalog.inet_client_addr())", {});
    return address.run().string_or_null(0, 1);
}

bridge::json_writer& describe(bridge::json_writer& payload, const migration& m) {
    return payload.object()
        .field("version", m.version)
        .field("name", m.name)
        .field("checksum", m.checksum)
        .field("login", login())
        .field("client_address", client_address())
        .field("application_name", GetConfigOption("application_name", false, false));
}

bool is_forced() {
    const char* guard = GetConfigOption("sor.drop_guard", true, false);
    return guard != nullptr && strcmp(guard, "off") == 0 && superuser_arg(GetSessionUserId());
}

namespace {

[[noreturn]] void wrong_state(const migration& m, const char* is, const char* detail, const char* hint) {
    bridge::raise(code::invalid_state_transition, psprintf("migration %s %s", m.version, is), detail, hint);
}
[[noreturn]] void mismatch(const migration& m, const char* is, const char* detail, const char* hint) {
    bridge::raise(code::migration_mismatch, psprintf("migration %s %s", m.version, is), detail, hint);
}

void require_no_other_half_applied(const migration& m) {
    static bridge::statement other("select version from sor.migrations where progress is not null and version <> $1"
                                   " order by sort_key limit 1",
                                   {TEXTOID});
    const auto found = other.run_latest(in(m.version));
    if (!found.empty())
        bridge::raise(code::invalid_state_transition, psprintf("migration %s is half applied", found.string(0, 1)),
                      psprintf("Migration %s has to wait.", m.version),
                      "Let sor migrate apply finish it, or roll it back; sor.migration_status() says where it stands.");
}

void require_state(const migration& m, bool down, bool half) {
    if (m.progress != nullptr && !half && (m.going_down() || !down))
        wrong_state(m, m.going_down() ? "is half rolled back" : "is half applied", nullptr,
                    "Let sor migrate finish it, step by step; sor.migration_status() says where it stands.");
    if (m.progress != nullptr && m.going_down() && !down)
        wrong_state(m, "is half rolled back", nullptr, "Finish rolling it back first.");
    if (down && m.down == nullptr)
        wrong_state(m, "cannot be rolled back", "It was proposed without a downgrade.",
                    "Propose another migration that undoes what is to be undone.");
    if (!down && m.applied())
        wrong_state(m, "is applied already", nullptr, "sor.migration_status() says when.");
    if (down && !m.applied() && m.progress == nullptr)
        wrong_state(m, "is not applied", nullptr, "There is nothing to roll back.");
    require_no_other_half_applied(m);
}

void require_order(const migration& m, bool down) {
    static bridge::statement higher("select version from sor.migrations"
                                    " where sort_key > $1 and applied_at is not null and rolled_back_at is null"
                                    " order by sort_key desc limit 1",
                                    {TEXTOID});
    // What nobody has approved, or somebody has rolled back, may have been given up: it holds up none of the others.
    static bridge::statement lower("select version from sor.migrations"
                                   " where sort_key < $1 and approved_at is not null and applied_at is null"
                                   " order by sort_key limit 1",
                                   {TEXTOID});
    const char* key = key_of(bridge::to_text(m.version)).text;
    if (const auto later = higher.run_latest(in(key)); !later.empty())
        wrong_state(m, "is out of order", psprintf("Migration %s is applied, and is later.", later.string(0, 1)),
                    down ? "Roll back the later one first, or give out_of_order => true."
                         : "Give it a later version, or give out_of_order => true.");
    if (down)
        return;
    if (const auto earlier = lower.run_latest(in(key)); !earlier.empty())
        wrong_state(m, "is out of order",
                    psprintf("Migration %s is approved and not applied, and is earlier.", earlier.string(0, 1)),
                    "Apply the earlier one first, or give out_of_order => true.");
}

// The row may have been changed by whoever can change any row; the approval is the event in the system's stream.
void require_approval(const migration& m) {
    if (m.approved_by == nullptr)
        wrong_state(m, "is not approved", nullptr,
                    "A person other than its proposer reads the review and calls sor.approve_migration.");
    static bridge::statement approval("select e.payload from sor.event_streams s join sor.agent_events e"
                                      "    on e.tenant_id = s.tenant_id and e.stream_id = s.stream_id and e.seq = $2"
                                      " where s.tenant_id = $1 and s.kind = 'system' and s.subject = ''"
                                      "   and e.event_type = 'migration.approved'",
                                      {UUIDOID, INT8OID});
    const auto found = approval.run_latest(in(context::system_tenant), in(m.approval_seq));
    const auto says = [&](const char* key, const char* value) {
        const char* said = bridge::find_string(found.json(0, 1), key);
        return said != nullptr && strcmp(said, value) == 0;
    };
    if (found.empty() || !says("version", m.version) || !says("checksum", m.checksum) ||
        !says("review", m.review_hash) || !says("login", m.approved_by))
        mismatch(
            m, "is not what was approved", "The event migration.approved says something else than its row.",
            "Somebody has changed sor.migrations by hand: compare it with the files, and propose and approve them.");
}

int destructive_in(const Jsonb* findings, bool down) {
    const Jsonb* counts = findings ? bridge::find_json(findings, down ? "down" : "up") : nullptr;
    int64 count = 0;
    if (counts != nullptr)
        bridge::find_integer(counts, "destructive", count);
    return static_cast<int>(count);
}

} // namespace

permission require_fit(const migration& m, bool down, bool out_of_order, bool half) {
    require_state(m, down, half);
    if (strcmp(m.checksum, review::checksum(m.up, m.down)) != 0)
        mismatch(
            m, "is not what was proposed", "The texts in sor.migrations do not have its checksum.",
            "Somebody has changed sor.migrations by hand: compare it with the files, and propose and approve them.");
    if (!out_of_order && m.progress == nullptr)
        require_order(m, down);
    if (is_forced())
        return permission::overridden;
    require_approval(m);
    int destructive = destructive_in(m.findings, down);
    if (!down && m.progress == nullptr) {
        const review::summary now = review::summarize(m.up, m.down, m.name);
        if (strcmp(now.hash, m.review_hash) != 0)
            mismatch(m, "does something else than was approved",
                     "The review reads otherwise now: what it changes is not what it was, or its names are others' for "
                     "this login.",
                     "Read sor.review_migration again, and approve it again.");
        destructive = now.destructive[0];
    }
    if (m.override_left[down])
        return permission::overridden;
    if (destructive > 0)
        bridge::raise(code::destructive_change_refused,
                      psprintf("the %s of migration %s is destructive, and its override was used",
                               down ? "downgrade" : "upgrade", m.version),
                      "An override is good for one upgrade and one downgrade.",
                      "Approve it again, with an override that names the branch and the backup of today.");
    return permission::reviewed;
}

const char* fingerprint(MemoryContext into) {
    static bridge::statement now("select sor.schema_fingerprint()", {});
    return MemoryContextStrdup(into, now.run().string(0, 1));
}

namespace {

// One that no call of pg_advisory_lock can make: those have 1 and 2 in the fourth field.
LOCKTAG runner() {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, 3);
    return tag;
}

} // namespace

bool lock_for_session() {
    const LOCKTAG tag = runner();
    return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

bool unlock_for_session() {
    const LOCKTAG tag = runner();
    return LockRelease(&tag, ExclusiveLock, true);
}

namespace {

LockAcquireResult lock_in_transaction() {
    const LOCKTAG tag = runner();
    const LockAcquireResult result = LockAcquire(&tag, ExclusiveLock, false, true);
    if (result == LOCKACQUIRE_NOT_AVAIL)
        bridge::raise(code::run_already_running, "another session runs migrations", nullptr,
                      "Try again when it is done: one runner at a time.");
    return result;
}

} // namespace

void lock_for_transaction() {
    lock_in_transaction();
}

void require_session_lock() {
    if (lock_in_transaction() == LOCKACQUIRE_OK)
        bridge::raise(code::invalid_state_transition, "this session does not run migrations", nullptr,
                      "Call sor.lock_migrations() first, and again when the connection was lost.");
}

} // namespace sor::migrations
