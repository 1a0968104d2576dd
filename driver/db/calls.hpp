#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include "db/connection.hpp"

// Every statement that the driver sends: calls of functions of the schema sor, each its own transaction but for those
// of class transaction. JSON passes
// as text, so that no number loses digits on its way. All throw db::Error.
namespace sor::db {

struct login_privileges {
    bool superuser, bypass_rls, owns_tables;
    std::vector<std::string> excess; // a sentence for each thing that the login could do beyond calling functions
};
login_privileges login_check(connection&);

struct tenant {
    std::string id, name;
};
std::vector<tenant> granted_tenants(connection&);

struct user {
    std::string id, email, role;
};
std::vector<user> granted_users(connection&, const std::string& tenant_id);

// Ids of the granted tenants with something due in the queue; `outbox` is the outbox. With a worker, also those that
// hold an unfinished run of it whose lease is over.
std::vector<std::string> tenants_with_work(connection&, const std::string& queue,
                                           const std::optional<std::string>& worker = std::nullopt);

struct column {
    std::string name, type;
    bool is_key, is_readable, is_writable, is_required;
};
std::vector<column> describe_table(connection&, const std::string& target);

struct refused_record {
    std::size_t index; // of the record in the batch, from 0
    std::string sqlstate, message;
};
struct upsert_counts {
    std::int64_t inserted = 0, existing = 0;
    std::vector<refused_record> refused;
};
void send_upsert_many(connection&, const std::string& tenant_id, const std::string& target, const std::string& records,
                      bool dry_run);
upsert_counts receive_upsert_many(connection&);

std::int64_t purge_idempotency_keys(connection&, const std::string& tenant_id, std::int64_t max);

// A run and the token that fences it.
struct run {
    std::string tenant_id, id;
    std::int64_t token = 0;
    bool resumed = false;
    std::string status;
};
run start_run(connection&, const std::string& tenant_id, const std::string& worker,
              const std::optional<std::string>& run_key, const std::string& on_behalf_of, const std::string& input,
              std::chrono::seconds lease);
int begin_turn(connection&, const run&, const std::string& input);
void finish_turn(connection&, const run&, int turn, const std::string& output);
void heartbeat(connection&, const run&, std::chrono::seconds lease);
// Gives the run up for whoever resumes it, at once.
void leave_run(connection&, const run&);
void finish_run(connection&, const run&, const std::string& status, const std::optional<std::string>& error);

struct listed_tool {
    std::string name, description, input_schema;
    std::optional<std::string> output_schema;
    std::string minimum_role;
    bool read_only, destructive;
    bool permitted; // to that user
};
// Those above the user's role too. Built-in tools first, then registered ones by name.
std::vector<listed_tool> list_tools(connection&, const std::string& tenant_id, const std::string& user_id);

// The gateway, for the run's on_behalf_of. Both answer JSON: a result, an array of results.
std::string call_tool(connection&, const run&, int turn, const std::string& request_id, const std::string& tool,
                      const std::string& arguments);
std::string call_tools(connection&, const run&, int turn, const std::string& calls);
// The same in two halves.
void send_call_tools(connection&, const run&, int turn, const std::string& calls);
std::string receive_call_tools(connection&);

struct message {
    std::string id;
    std::int64_t claim_token;
    int attempt;
    std::string destination, event_type, aggregate_id, payload, dedup_key;
    std::int64_t created_at; // seconds since 1970
};
std::vector<message> claim_outbox(connection&, const std::string& tenant_id, const std::string& relay, int max,
                                  std::chrono::seconds lease);
void send_mark_dispatched(connection&, const std::string& tenant_id, const message&, const std::string& receipt);
void send_mark_failed(connection&, const std::string& tenant_id, const message&, const std::string& error,
                      bool permanent);
void receive_mark(connection&);

struct found_run {
    std::string id, worker, run_key, status, started_at, finished_at;
};
// A time as PostgreSQL reads it, each bound moved by an interval: "yesterday" and "-30 min".
struct time_range {
    std::string since, until;
    std::string since_moved_by = "0", until_moved_by = "0";
};
// Its bounds as moments, spelled as in JSON: what is asked by them is of one period, however often `now` passes.
struct resolved_time {
    std::string since, until;
    bool ends_later; // than now
};
resolved_time resolve(connection&, const std::string& tenant_id, const time_range& time);
// Newest first; with a time, those in progress at some moment of it.
std::vector<found_run> find_runs(connection&, const std::string& tenant_id, const std::optional<std::string>& worker,
                                 const std::optional<std::string>& run_key, int max,
                                 const std::optional<time_range>& time = std::nullopt);
std::string forensic_report(connection&, const std::string& tenant_id, const std::string& run_id);

struct happening {
    std::string created_at, run_id, event_type, actor, narrative;
};
std::vector<happening> what_happened(connection&, const std::string& tenant_id, const time_range& time, int max);

struct check {
    std::string name;
    std::optional<bool> ok; // null: could not be told
    std::string evidence, fix;
};
std::vector<check> doctor(connection&);

// A transaction of several calls, for `preflight` alone; rolled back where it is left open. Not to be used when the
// connection breaks within: its server rolls back by itself.
class transaction {
public:
    explicit transaction(connection& c, const char* begin = "begin") : connection_(c) { c.query(begin, {}); }
    ~transaction();
    transaction(const transaction&) = delete;
    transaction& operator=(const transaction&) = delete;
    void commit();

private:
    connection& connection_;
    bool open_ = true;
};

struct preflight_check {
    int number;
    std::string name;
    std::optional<bool> ok; // null: for the driver to do
    std::string evidence;
};
std::vector<preflight_check> preflight(connection&, const std::string& tenant_id);

void send_preflight_request(connection&, const std::string& tenant_id, const std::string& request_id);
struct preflight_response {
    bool inserted;
    std::string response;
};
preflight_response receive_preflight_request(connection&);
// Does another session wait for the end of this one's transaction?
bool preflight_awaited(connection&);
struct preflight_remains {
    std::int64_t keys, events;
};
preflight_remains preflight_forget(connection&, const std::string& tenant_id, const std::string& request_id);

struct session_context {
    std::int64_t backend_pid;
    std::string tenant_id; // empty: none
    bool empty;            // neither tenant, user nor actor kind
    std::int64_t visible;  // of sor's tables, how many show rows
};
session_context preflight_context(connection&);

void set_context(connection&, const std::string& tenant_id);
std::string create_user(connection&, const std::string& tenant_id, const std::string& email, const std::string& name);
bool upsert(connection&, const std::string& tenant_id, const std::string& table, const std::string& record);

struct queued {
    std::string id;
    bool enqueued; // false: it was there
};
queued enqueue(connection&, const std::string& tenant_id, const std::string& destination, const std::string& event_type,
               const std::string& key, const std::string& payload);

struct found_message {
    std::string id, status, destination, event_type, aggregate_id, last_error, created_at, processed_at;
    std::int64_t attempts;
};
// Newest first.
std::vector<found_message> find_messages(connection&, const std::string& tenant_id,
                                         const std::optional<std::string>& status, int max);

// Migrations. Versions, texts and hashes are the database's; a text that is none is null there.
struct finding {
    int statement_no = 0; // 0: the migration as a whole
    int line = 0;
    std::string direction, severity, rule, detail;
    std::optional<std::string> safer;
};
// The name may say which tables it is about.
std::vector<finding> review_migration(connection&, const std::string& up, const std::optional<std::string>& down,
                                      const std::string& name);
std::string review_hash(connection&, const std::string& up, const std::optional<std::string>& down);
std::string migration_checksum(connection&, const std::string& up, const std::optional<std::string>& down);
// The checksum.
std::string propose_migration(connection&, const std::string& version, const std::string& name, const std::string& up,
                              const std::optional<std::string>& down);
// The override is a JSON object; none approves what is not destructive.
void approve_migration(connection&, const std::string& version, const std::optional<std::string>& override_,
                       const std::optional<std::string>& review);

struct migration_state {
    std::string version, name, state, checksum, proposed_by, approved_by, applied_at, rolled_back_at;
    bool rehearsed = false;
    std::string detail;
    std::optional<std::string> fingerprint; // of the schema, when it was last applied or rolled back
    std::string changed_at;                 // when that was; as text that sorts
};
std::vector<migration_state> migration_status(connection&);

enum class direction { up, down };
const char* name_of(direction);
// How a migration is run: all of it in one transaction unless out of order was asked for, or a lock is not to be had.
struct run_options {
    bool out_of_order = false;
    std::chrono::milliseconds lock_timeout{3000};
};
struct ran_statement {
    int statement_no = 0, line = 0;
    std::string command;
    double milliseconds = 0;
    std::string locks; // JSON: [{relation, mode, held_ms}], or null
};
std::vector<ran_statement> run_migration(connection&, const std::string& version, direction, const run_options&);

// One that has statements which no transaction can hold, step by step, under the session's lock.
struct migration_step {
    int step = 0;
    bool transactional = true;
    int first_statement = 0, last_statement = 0, line = 0;
    bool done = false;
};
std::vector<migration_step> migration_steps(connection&, const std::string& version, direction);
bool lock_migrations(connection&);
void unlock_migrations(connection&);
std::vector<ran_statement> run_migration_step(connection&, const std::string& version, direction, int step,
                                              const run_options&);
// What is to be executed at top level, one after the other; the last is the migration's own statement.
struct statements_to_run {
    std::vector<std::string> cleanup;
    std::optional<std::string> statement;
};
statements_to_run begin_migration_step(connection&, const std::string& version, direction, int step, bool out_of_order);
void finish_migration_step(connection&, const std::string& version, direction, int step,
                           const std::optional<double>& milliseconds);
void migration_failed(connection&, const std::string& version, direction, const std::string& error);
void record_rehearsal(connection&, const std::string& version, const std::string& checksum, const std::string& branch,
                      const std::string& report);

std::string schema_fingerprint(connection&);
struct schema_object {
    std::string object, definition;
};
std::vector<schema_object> schema_objects(connection&); // ordered by object
struct digest {
    std::int64_t rows = 0;
    std::string value;
};
digest table_digest(connection&, const std::string& table);

// What runs in no function: the only statements of the driver that are not calls of sor's functions. A step's statement
// goes out as the database returned it.
void execute_verbatim(connection&, const std::string& statement);

// A rehearsal's branch, on a superuser's connection to the live database.
std::string search_path(connection&);
struct table_size {
    std::string table; // as SQL writes it, with its schema
    std::string schema, name;
    std::int64_t bytes = 0;
    std::vector<std::string> needs; // those whose rows its rows cannot do without: referenced ones, partitions
    bool is_history = false;        // of sor's own, and a tenant's: no branch needs it
};
std::vector<table_size> table_sizes(connection&);
// What a session of that database begins with, without the libraries, which a copy is not about.
void copy_database_settings(connection&, const std::string& from, const std::string& to);
// Named so that a later one can tell that it was left behind: until `connection` ends the name is held.
void create_branch(connection&, const std::string& branch);
void drop_branch(connection&, const std::string& branch);
// Branches that no session holds: what made them was killed.
std::vector<std::string> branches_left_behind(connection&);
// Indexes that are invalid and constraints that are not validated, one name each.
struct unfinished_object {
    bool is_index = false;
    std::string name;
};
std::vector<unfinished_object> unfinished_objects(connection&);

struct verification {
    std::int64_t streams, events;
    std::string first_bad; // jsonb, empty where history is sound
};
verification verify_events(connection&, const std::string& tenant_id);

struct metric {
    std::string name, labels, value, family, type, help; // labels: a JSON object
};
// Those of one family together.
std::vector<metric> metrics(connection&);

struct problem {
    std::string severity, what, tenant, subject, since, count, detail, action;
};
// Worst first.
std::vector<problem> status(connection&);

// Whoever it is granted to: for operators.
std::string find_tenant(connection&, const std::string& name);
void pause(connection&, const std::string& kind, const std::string& name, const std::string& reason);
void resume(connection&, const std::string& kind, const std::string& name);
std::int64_t redrive_message(connection&, const std::string& tenant_id, const std::string& message_id);
std::int64_t redrive_destination(connection&, const std::string& tenant_id, const std::string& destination, int max);

} // namespace sor::db
