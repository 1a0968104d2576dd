#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include "db/connection.hpp"

// Every statement that the driver sends: calls of functions of the schema sor, each its own transaction. JSON passes
// as text, so that no number loses digits on its way. All throw db::Error.
namespace sor::db {

struct LoginCheck {
    bool superuser, bypass_rls, owns_tables;
};
LoginCheck login_check(Connection&);

struct Tenant {
    std::string id, name;
};
std::vector<Tenant> granted_tenants(Connection&);

struct User {
    std::string id, email, role;
};
std::vector<User> granted_users(Connection&, const std::string& tenant_id);

// Ids of the granted tenants with something due in the queue; `outbox` is the outbox. With a worker, also those that
// hold an unfinished run of it whose lease is over.
std::vector<std::string> tenants_with_work(Connection&, const std::string& queue,
                                           const std::optional<std::string>& worker = std::nullopt);

struct Column {
    std::string name, type;
    bool is_key, is_readable, is_writable, is_required;
};
std::vector<Column> describe_table(Connection&, const std::string& target);

struct RefusedRecord {
    std::size_t index; // of the record in the batch, from 0
    std::string sqlstate, message;
};
struct Upserted {
    std::int64_t inserted = 0, existing = 0;
    std::vector<RefusedRecord> refused;
};
void send_upsert_many(Connection&, const std::string& tenant_id, const std::string& target, const std::string& records,
                      bool dry_run);
Upserted receive_upsert_many(Connection&);

std::int64_t purge_idempotency_keys(Connection&, const std::string& tenant_id, std::int64_t max);

// A run and the token that fences it.
struct Run {
    std::string tenant_id, id;
    std::int64_t token = 0;
    bool resumed = false;
    std::string status;
};
Run start_run(Connection&, const std::string& tenant_id, const std::string& worker,
              const std::optional<std::string>& run_key, const std::string& on_behalf_of, const std::string& input,
              std::chrono::seconds lease);
int begin_turn(Connection&, const Run&, const std::string& input);
void finish_turn(Connection&, const Run&, int turn, const std::string& output);
void heartbeat(Connection&, const Run&, std::chrono::seconds lease);
void finish_run(Connection&, const Run&, const std::string& status, const std::optional<std::string>& error);

// The gateway, for the run's on_behalf_of. Both answer JSON: a result, an array of results.
std::string call_tool(Connection&, const Run&, int turn, const std::string& request_id, const std::string& tool,
                      const std::string& arguments);
std::string call_tools(Connection&, const Run&, int turn, const std::string& calls);

struct Message {
    std::string id;
    std::int64_t claim_token;
    int attempt;
    std::string destination, event_type, aggregate_id, payload, dedup_key;
    std::int64_t created_at; // seconds since 1970
};
std::vector<Message> claim_outbox(Connection&, const std::string& tenant_id, const std::string& relay, int max,
                                  std::chrono::seconds lease);
void send_mark_dispatched(Connection&, const std::string& tenant_id, const Message&, const std::string& receipt);
void send_mark_failed(Connection&, const std::string& tenant_id, const Message&, const std::string& error,
                      bool permanent);
void receive_mark(Connection&);

struct FoundRun {
    std::string id, worker, run_key, status, started_at, finished_at;
};
// Newest first.
std::vector<FoundRun> find_runs(Connection&, const std::string& tenant_id, const std::optional<std::string>& worker,
                                const std::optional<std::string>& run_key, int max);
std::string forensic_report(Connection&, const std::string& tenant_id, const std::string& run_id);

struct Happening {
    std::string created_at, run_id, event_type, actor, narrative;
};
std::vector<Happening> what_happened(Connection&, const std::string& tenant_id, const std::string& since,
                                     const std::string& until, int max);

struct Check {
    std::string name;
    std::optional<bool> ok; // null: could not be told
    std::string evidence, fix;
};
std::vector<Check> doctor(Connection&);

} // namespace sor::db
