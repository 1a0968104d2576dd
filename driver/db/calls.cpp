#include "db/calls.hpp"
#include <nlohmann/json.hpp>

namespace sor::db {
namespace {

std::string interval(std::chrono::seconds duration) {
    return std::to_string(duration.count()) + " s";
}

} // namespace

login_privileges login_check(connection& connection) {
    const auto result =
        connection.query("select superuser, bypass_rls, owns_tables, to_json(excess) from sor.login_check()", {});
    return {result.boolean(0, 0), result.boolean(0, 1), result.boolean(0, 2),
            nlohmann::json::parse(result.view(0, 3)).get<std::vector<std::string>>()};
}

std::vector<tenant> granted_tenants(connection& connection) {
    const auto result = connection.query("select tenant_id, name from sor.granted_tenants()", {});
    std::vector<tenant> tenants;
    for (int row = 0; row < result.rows(); ++row)
        tenants.push_back({result.text(row, 0), result.text(row, 1)});
    return tenants;
}

std::vector<user> granted_users(connection& connection, const std::string& tenant_id) {
    const auto result = connection.query("select user_id, email, role from sor.granted_users($1::uuid)", {tenant_id});
    std::vector<user> users;
    for (int row = 0; row < result.rows(); ++row)
        users.push_back({result.text(row, 0), result.text(row, 1), result.text(row, 2)});
    return users;
}

std::vector<std::string> tenants_with_work(connection& connection, const std::string& queue,
                                           const std::optional<std::string>& worker) {
    const auto result = connection.query(
        "select tenant_id from sor.tenants_with_work($1::text, $2::text) as t(tenant_id)", {queue, worker});
    std::vector<std::string> tenants;
    for (int row = 0; row < result.rows(); ++row)
        tenants.push_back(result.text(row, 0));
    return tenants;
}

std::vector<column> describe_table(connection& connection, const std::string& target) {
    const auto result = connection.query("select column_name, data_type, is_key, is_readable, is_writable, is_required "
                                         "from sor.describe_table($1::text)",
                                         {target});
    std::vector<column> columns;
    for (int row = 0; row < result.rows(); ++row)
        columns.push_back({result.text(row, 0), result.text(row, 1), result.boolean(row, 2), result.boolean(row, 3),
                           result.boolean(row, 4), result.boolean(row, 5)});
    return columns;
}

void send_upsert_many(connection& connection, const std::string& tenant_id, const std::string& target,
                      const std::string& records, bool dry_run) {
    connection.send("select inserted, existing, refused from sor.upsert_many($1::uuid, $2::text, $3::jsonb, "
                    "on_conflict => 'nothing', dry_run => $4::boolean)",
                    {tenant_id, target, records, dry_run ? "true" : "false"});
}

upsert_counts receive_upsert_many(connection& connection) {
    const auto result = connection.receive();
    upsert_counts upserted{result.integer(0, 0), result.integer(0, 1), {}};
    if (!result.is_null(0, 2))
        for (const auto& refused : nlohmann::json::parse(result.view(0, 2)))
            upserted.refused.push_back({refused.at("index").get<std::size_t>(),
                                        refused.at("sqlstate").get<std::string>(),
                                        refused.at("message").get<std::string>()});
    return upserted;
}

std::int64_t purge_idempotency_keys(connection& connection, const std::string& tenant_id, std::int64_t max) {
    return connection.query("select sor.purge_idempotency_keys($1::uuid, $2::int)", {tenant_id, std::to_string(max)})
        .integer(0, 0);
}

run start_run(connection& connection, const std::string& tenant_id, const std::string& worker,
              const std::optional<std::string>& run_key, const std::string& on_behalf_of, const std::string& input,
              std::chrono::seconds lease) {
    const auto result = connection.query("select run_id, run_token, resumed, status from sor.start_run($1::uuid, "
                                         "$2::text, $3::text, $4::uuid, $5::jsonb, "
                                         "$6::interval)",
                                         {tenant_id, worker, run_key, on_behalf_of, input, interval(lease)});
    return {tenant_id, result.text(0, 0), result.is_null(0, 1) ? 0 : result.integer(0, 1), result.boolean(0, 2),
            result.text(0, 3)};
}

int begin_turn(connection& connection, const run& run, const std::string& input) {
    return static_cast<int>(connection
                                .query("select sor.begin_turn($1::uuid, $2::uuid, $3::bigint, $4::jsonb)",
                                       {run.tenant_id, run.id, std::to_string(run.token), input})
                                .integer(0, 0));
}

void finish_turn(connection& connection, const run& run, int turn, const std::string& output) {
    connection.query("select sor.finish_turn($1::uuid, $2::uuid, $3::bigint, $4::int, $5::jsonb)",
                     {run.tenant_id, run.id, std::to_string(run.token), std::to_string(turn), output});
}

void heartbeat(connection& connection, const run& run, std::chrono::seconds lease) {
    connection.query("select sor.heartbeat($1::uuid, $2::uuid, $3::bigint, $4::interval)",
                     {run.tenant_id, run.id, std::to_string(run.token), interval(lease)});
}

void leave_run(connection& connection, const run& run) {
    connection.query("select sor.leave_run($1::uuid, $2::uuid, $3::bigint)",
                     {run.tenant_id, run.id, std::to_string(run.token)});
}

void finish_run(connection& connection, const run& run, const std::string& status,
                const std::optional<std::string>& error) {
    connection.query("select sor.finish_run($1::uuid, $2::uuid, $3::bigint, $4::text, $5::jsonb)",
                     {run.tenant_id, run.id, std::to_string(run.token), status, error});
}

std::vector<listed_tool> list_tools(connection& connection, const std::string& tenant_id, const std::string& user_id) {
    const auto result =
        connection.query("select name, description, input_schema, output_schema, minimum_role, read_only, destructive, "
                         "permitted from sor.list_tools($1::uuid, $2::uuid, include_forbidden => true)",
                         {tenant_id, user_id});
    std::vector<listed_tool> tools;
    for (int row = 0; row < result.rows(); ++row)
        tools.push_back({result.text(row, 0), result.text(row, 1), result.text(row, 2), result.optional(row, 3),
                         result.text(row, 4), result.boolean(row, 5), result.boolean(row, 6), result.boolean(row, 7)});
    return tools;
}

std::string call_tool(connection& connection, const run& run, int turn, const std::string& request_id,
                      const std::string& tool, const std::string& arguments) {
    return connection
        .query(
            "select sor.call_tool($1::uuid, null::uuid, $2::uuid, $3::bigint, $4::int, $5::uuid, $6::text, $7::jsonb)",
            {run.tenant_id, run.id, std::to_string(run.token), std::to_string(turn), request_id, tool, arguments})
        .text(0, 0);
}

std::string call_tools(connection& connection, const run& run, int turn, const std::string& calls) {
    send_call_tools(connection, run, turn, calls);
    return receive_call_tools(connection);
}

void send_call_tools(connection& connection, const run& run, int turn, const std::string& calls) {
    connection.send("select sor.call_tools($1::uuid, null::uuid, $2::uuid, $3::bigint, $4::int, $5::jsonb)",
                    {run.tenant_id, run.id, std::to_string(run.token), std::to_string(turn), calls});
}

std::string receive_call_tools(connection& connection) {
    return connection.receive().text(0, 0);
}

std::vector<message> claim_outbox(connection& connection, const std::string& tenant_id, const std::string& relay,
                                  int max, std::chrono::seconds lease) {
    const auto result = connection.query(
        "select message_id, claim_token, attempt, destination, event_type, aggregate_id, payload, dedup_key, "
        "extract(epoch from created_at)::bigint from sor.claim_outbox($1::uuid, $2::text, $3::int, $4::interval)",
        {tenant_id, relay, std::to_string(max), interval(lease)});
    std::vector<message> messages;
    for (int row = 0; row < result.rows(); ++row)
        messages.push_back({result.text(row, 0), result.integer(row, 1), static_cast<int>(result.integer(row, 2)),
                            result.text(row, 3), result.text(row, 4), result.text(row, 5), result.text(row, 6),
                            result.text(row, 7), result.integer(row, 8)});
    return messages;
}

void send_mark_dispatched(connection& connection, const std::string& tenant_id, const message& message,
                          const std::string& receipt) {
    connection.send("select sor.mark_dispatched($1::uuid, $2::uuid, $3::bigint, $4::jsonb)",
                    {tenant_id, message.id, std::to_string(message.claim_token), receipt});
}

void send_mark_failed(connection& connection, const std::string& tenant_id, const message& message,
                      const std::string& error, bool permanent) {
    connection.send("select sor.mark_failed($1::uuid, $2::uuid, $3::bigint, $4::text, $5::boolean)",
                    {tenant_id, message.id, std::to_string(message.claim_token), error, permanent ? "true" : "false"});
}

void receive_mark(connection& connection) {
    connection.receive();
}

std::vector<found_run> find_runs(connection& connection, const std::string& tenant_id,
                                 const std::optional<std::string>& worker, const std::optional<std::string>& run_key,
                                 int max, const std::optional<time_range>& time) {
    const auto bound = [&](std::string time_range::*member) {
        return time ? sql_parameter((*time).*member) : sql_parameter();
    };
    const auto result = connection.query(
        "select run_id, worker, run_key, status, to_json(started_at) #>> '{}', to_json(finished_at) #>> '{}' "
        "from sor.find_runs($1::uuid, $2::text, $3::text, $4::int, $5::timestamptz + $6::interval, "
        "$7::timestamptz + $8::interval)",
        {tenant_id, worker, run_key, std::to_string(max), bound(&time_range::since), bound(&time_range::since_moved_by),
         bound(&time_range::until), bound(&time_range::until_moved_by)});
    std::vector<found_run> runs;
    for (int row = 0; row < result.rows(); ++row)
        runs.push_back({result.text(row, 0), result.text(row, 1), result.text(row, 2), result.text(row, 3),
                        result.text(row, 4), result.text(row, 5)});
    return runs;
}

resolved_time resolve(connection& connection, const std::string& tenant_id, const time_range& time) {
    const auto result = connection.query(
        "select to_json($2::timestamptz + $3::interval) #>> '{}', to_json($4::timestamptz + $5::interval) #>> '{}', "
        "$4::timestamptz + $5::interval > now() from sor.granted_tenants() where tenant_id = $1::uuid",
        {tenant_id, time.since, time.since_moved_by, time.until, time.until_moved_by});
    if (result.rows() == 0)
        throw failure(exit_status::refused, "the tenant is no longer granted to the login", {},
                      "An operator grants tenants with sor.grant_tenant.");
    return {result.text(0, 0), result.text(0, 1), result.boolean(0, 2)};
}

std::string forensic_report(connection& connection, const std::string& tenant_id, const std::string& run_id) {
    return connection.query("select sor.forensic_report($1::uuid, $2::uuid)", {tenant_id, run_id}).text(0, 0);
}

std::vector<happening> what_happened(connection& connection, const std::string& tenant_id, const time_range& time,
                                     int max) {
    const auto result = connection.query(
        "select to_json(created_at) #>> '{}', run_id, event_type, actor, narrative from "
        "sor.what_happened($1::uuid, $2::timestamptz + $3::interval, $4::timestamptz + $5::interval, $6::int)",
        {tenant_id, time.since, time.since_moved_by, time.until, time.until_moved_by, std::to_string(max)});
    std::vector<happening> happenings;
    for (int row = 0; row < result.rows(); ++row)
        happenings.push_back(
            {result.text(row, 0), result.text(row, 1), result.text(row, 2), result.text(row, 3), result.text(row, 4)});
    return happenings;
}

std::vector<check> doctor(connection& connection) {
    const auto result = connection.query("select name, ok, evidence, fix from sor.doctor()", {});
    std::vector<check> checks;
    for (int row = 0; row < result.rows(); ++row)
        checks.push_back({result.text(row, 0),
                          result.is_null(row, 1) ? std::nullopt : std::optional(result.boolean(row, 1)),
                          result.text(row, 2), result.text(row, 3)});
    return checks;
}

transaction::~transaction() {
    if (!open_)
        return;
    try {
        connection_.query("rollback", {});
    } catch (const failure&) {
        // The connection broke, and with it the transaction.
    }
}

void transaction::commit() {
    open_ = false;
    connection_.query("commit", {});
}

std::vector<preflight_check> preflight(connection& connection, const std::string& tenant_id) {
    const auto result =
        connection.query("select check_no, name, ok, evidence from sor.preflight($1::uuid)", {tenant_id});
    std::vector<preflight_check> checks;
    for (int row = 0; row < result.rows(); ++row)
        checks.push_back({static_cast<int>(result.integer(row, 0)), result.text(row, 1),
                          result.is_null(row, 2) ? std::nullopt : std::optional(result.boolean(row, 2)),
                          result.text(row, 3)});
    return checks;
}

void send_preflight_request(connection& connection, const std::string& tenant_id, const std::string& request_id) {
    connection.send("select inserted, response from sor.preflight_request($1::uuid, $2::uuid)",
                    {tenant_id, request_id});
}

preflight_response receive_preflight_request(connection& connection) {
    const auto result = connection.receive();
    return {result.boolean(0, 0), result.text(0, 1)};
}

bool preflight_awaited(connection& connection) {
    return connection.query("select awaited from sor.preflight_awaited() awaited", {}).boolean(0, 0);
}

preflight_remains preflight_forget(connection& connection, const std::string& tenant_id,
                                   const std::string& request_id) {
    const auto result =
        connection.query("select keys, events from sor.preflight_forget($1::uuid, $2::uuid)", {tenant_id, request_id});
    return {result.integer(0, 0), result.integer(0, 1)};
}

session_context preflight_context(connection& connection) {
    const auto result = connection.query(
        "select backend_pid, tenant_id, user_id, actor_kind, visible_rows from sor.preflight_context()", {});
    return {result.integer(0, 0), result.text(0, 1),
            result.is_null(0, 1) && result.is_null(0, 2) && result.is_null(0, 3), result.integer(0, 4)};
}

void set_context(connection& connection, const std::string& tenant_id) {
    connection.query("select sor.set_context($1::uuid)", {tenant_id});
}

std::string create_user(connection& connection, const std::string& tenant_id, const std::string& email,
                        const std::string& name) {
    return connection.query("select sor.create_user($1::uuid, $2::text, $3::text)", {tenant_id, email, name})
        .text(0, 0);
}

bool upsert(connection& connection, const std::string& tenant_id, const std::string& table, const std::string& record) {
    return connection
        .query("select inserted from sor.upsert($1::uuid, $2::text, $3::jsonb)", {tenant_id, table, record})
        .boolean(0, 0);
}

queued enqueue(connection& connection, const std::string& tenant_id, const std::string& destination,
               const std::string& event_type, const std::string& key, const std::string& payload) {
    const auto result = connection.query("select message_id, enqueued from sor.enqueue($1::uuid, $2::text, $3::text, "
                                         "$4::text, $5::jsonb, $4::text)",
                                         {tenant_id, destination, event_type, key, payload});
    return {result.text(0, 0), result.boolean(0, 1)};
}

std::vector<found_message> find_messages(connection& connection, const std::string& tenant_id,
                                         const std::optional<std::string>& status, int max) {
    const auto result = connection.query(
        "select message_id, status, destination, event_type, aggregate_id, last_error, to_json(created_at) #>> '{}', "
        "to_json(processed_at) #>> '{}', attempts from sor.find_messages($1::uuid, $2::text, $3::int)",
        {tenant_id, status, std::to_string(max)});
    std::vector<found_message> messages;
    for (int row = 0; row < result.rows(); ++row)
        messages.push_back({result.text(row, 0), result.text(row, 1), result.text(row, 2), result.text(row, 3),
                            result.text(row, 4), result.text(row, 5), result.text(row, 6), result.text(row, 7),
                            result.integer(row, 8)});
    return messages;
}

std::vector<finding> review_migration(connection& connection, const std::string& up,
                                      const std::optional<std::string>& down, const std::string& name) {
    const auto result = connection.query("select statement_no, line, direction, severity, rule, detail, safer "
                                         "from sor.review_migration($1::text, $2::text, $3::text)",
                                         {up, down, name});
    std::vector<finding> findings;
    for (int row = 0; row < result.rows(); ++row)
        findings.push_back({static_cast<int>(result.integer(row, 0)),
                            result.is_null(row, 1) ? 0 : static_cast<int>(result.integer(row, 1)), result.text(row, 2),
                            result.text(row, 3), result.text(row, 4), result.text(row, 5), result.optional(row, 6)});
    return findings;
}

std::string review_hash(connection& connection, const std::string& up, const std::optional<std::string>& down) {
    return connection.query("select sor.review_hash($1::text, $2::text)", {up, down}).text(0, 0);
}

std::string migration_checksum(connection& connection, const std::string& up, const std::optional<std::string>& down) {
    return connection.query("select sor.migration_checksum($1::text, $2::text)", {up, down}).text(0, 0);
}

std::string propose_migration(connection& connection, const std::string& version, const std::string& name,
                              const std::string& up, const std::optional<std::string>& down) {
    return connection
        .query("select sor.propose_migration($1::text, $2::text, $3::text, $4::text)", {version, name, up, down})
        .text(0, 0);
}

void approve_migration(connection& connection, const std::string& version, const std::optional<std::string>& override_,
                       const std::optional<std::string>& review) {
    connection.query("select sor.approve_migration($1::text, $2::jsonb, $3::text)", {version, override_, review});
}

std::vector<migration_state> migration_status(connection& connection) {
    const auto result = connection.query(
        "select version, name, state, checksum, proposed_by, approved_by, applied_at, "
        "rolled_back_at, rehearsed, detail, fingerprint, extract(epoch from changed_at)::numeric(20, 6) "
        "from sor.migration_status()",
        {});
    std::vector<migration_state> states;
    for (int row = 0; row < result.rows(); ++row)
        states.push_back({result.text(row, 0), result.text(row, 1), result.text(row, 2), result.text(row, 3),
                          result.text(row, 4), result.text(row, 5), result.text(row, 6), result.text(row, 7),
                          result.boolean(row, 8), result.text(row, 9), result.optional(row, 10), result.text(row, 11)});
    return states;
}

const char* name_of(direction direction) {
    return direction == direction::up ? "up" : "down";
}

namespace {

std::string interval(std::chrono::milliseconds duration) {
    return std::to_string(duration.count()) + " ms";
}

const char* boolean(bool value) {
    return value ? "true" : "false";
}

std::vector<ran_statement> ran_statements(const query_result& result) {
    std::vector<ran_statement> statements;
    for (int row = 0; row < result.rows(); ++row)
        statements.push_back({static_cast<int>(result.integer(row, 0)), static_cast<int>(result.integer(row, 1)),
                              result.text(row, 2), std::stod(result.text(row, 3)),
                              result.is_null(row, 4) ? "null" : result.text(row, 4)});
    return statements;
}

} // namespace

std::vector<ran_statement> run_migration(connection& connection, const std::string& version, direction direction,
                                         const run_options& options) {
    return ran_statements(connection.query(
        direction == direction::up ? "select statement_no, line, command, extract(epoch from duration) * 1000, locks "
                                     "from sor.apply_migration($1::text, $2::boolean, $3::interval)"
                                   : "select statement_no, line, command, extract(epoch from duration) * 1000, locks "
                                     "from sor.rollback_migration($1::text, $2::boolean, $3::interval)",
        {version, boolean(options.out_of_order), interval(options.lock_timeout)}));
}

std::vector<migration_step> migration_steps(connection& connection, const std::string& version, direction direction) {
    const auto result = connection.query("select step, transactional, first_statement, last_statement, line, done "
                                         "from sor.migration_steps($1::text, $2::text)",
                                         {version, name_of(direction)});
    std::vector<migration_step> steps;
    for (int row = 0; row < result.rows(); ++row)
        steps.push_back({static_cast<int>(result.integer(row, 0)), result.boolean(row, 1),
                         static_cast<int>(result.integer(row, 2)), static_cast<int>(result.integer(row, 3)),
                         static_cast<int>(result.integer(row, 4)), result.boolean(row, 5)});
    return steps;
}

bool lock_migrations(connection& connection) {
    return connection.query("select sor.lock_migrations()", {}).boolean(0, 0);
}

void unlock_migrations(connection& connection) {
    connection.query("select sor.unlock_migrations()", {});
}

std::vector<ran_statement> run_migration_step(connection& connection, const std::string& version, direction direction,
                                              int step, const run_options& options) {
    return ran_statements(
        connection.query("select statement_no, line, command, extract(epoch from duration) * 1000, locks "
                         "from sor.run_migration_step($1::text, $2::text, $3::int, $4::boolean, $5::interval)",
                         {version, name_of(direction), std::to_string(step), boolean(options.out_of_order),
                          interval(options.lock_timeout)}));
}

statements_to_run begin_migration_step(connection& connection, const std::string& version, direction direction,
                                       int step, bool out_of_order) {
    const auto result = connection.query("select to_json(cleanup), statement "
                                         "from sor.begin_migration_step($1::text, $2::text, $3::int, $4::boolean)",
                                         {version, name_of(direction), std::to_string(step), boolean(out_of_order)});
    return {result.is_null(0, 0) ? std::vector<std::string>()
                                 : nlohmann::json::parse(result.view(0, 0)).get<std::vector<std::string>>(),
            result.optional(0, 1)};
}

void finish_migration_step(connection& connection, const std::string& version, direction direction, int step,
                           const std::optional<double>& milliseconds) {
    connection.query("select sor.finish_migration_step($1::text, $2::text, $3::int, $4::interval)",
                     {version, name_of(direction), std::to_string(step),
                      milliseconds ? std::optional(std::to_string(*milliseconds) + " ms") : std::nullopt});
}

void migration_failed(connection& connection, const std::string& version, direction direction,
                      const std::string& error) {
    connection.query("select sor.migration_failed($1::text, $2::text, $3::jsonb)",
                     {version, name_of(direction), error});
}

void record_rehearsal(connection& connection, const std::string& version, const std::string& checksum,
                      const std::string& branch, const std::string& report) {
    connection.query("select sor.record_rehearsal($1::text, $2::text, $3::text, $4::jsonb)",
                     {version, checksum, branch, report});
}

std::string schema_fingerprint(connection& connection) {
    return connection.query("select sor.schema_fingerprint()", {}).text(0, 0);
}

std::vector<schema_object> schema_objects(connection& connection) {
    const auto result =
        connection.query("select object, definition from sor.schema_objects() order by object collate \"C\"", {});
    std::vector<schema_object> objects;
    for (int row = 0; row < result.rows(); ++row)
        objects.push_back({result.text(row, 0), result.text(row, 1)});
    return objects;
}

digest table_digest(connection& connection, const std::string& table) {
    const auto result = connection.query("select row_count, digest from sor.table_digest($1::regclass)", {table});
    return {result.integer(0, 0), result.text(0, 1)};
}

void execute_verbatim(connection& connection, const std::string& statement) {
    connection.query(statement.c_str(), {});
}

std::string search_path(connection& connection) {
    return connection.query("show search_path", {}).text(0, 0);
}

std::vector<table_size> table_sizes(connection& connection) {
    const auto result = connection.query(
        "select format('%I.%I', n.nspname, c.relname), n.nspname, c.relname, pg_table_size(c.oid), "
        "  to_json(array(select format('%I.%I', rn.nspname, r.relname) "
        "    from (select confrelid from pg_constraint where conrelid = c.oid and contype = 'f' "
        "          union select inhrelid from pg_inherits where inhparent = c.oid) needed (relid) "
        "    join pg_class r on r.oid = needed.relid join pg_namespace rn on rn.oid = r.relnamespace)), "
        "  n.nspname = 'sor' and exists (select from pg_attribute a where a.attrelid = c.oid "
        "    and a.attname = 'tenant_id' and not a.attisdropped) "
        "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where c.relkind in ('r', 'p') and c.relpersistence <> 't' "
        "and n.nspname <> all (array['pg_catalog', 'information_schema', 'pg_toast']) order by 1",
        {});
    std::vector<table_size> tables;
    for (int row = 0; row < result.rows(); ++row)
        tables.push_back({result.text(row, 0), result.text(row, 1), result.text(row, 2), result.integer(row, 3),
                          nlohmann::json::parse(result.view(row, 4)).get<std::vector<std::string>>(),
                          result.boolean(row, 5)});
    return tables;
}

void copy_database_settings(connection& connection, const std::string& from, const std::string& to) {
    const auto settings = connection.query(
        "select format('alter database %I set %I = %s', $2::text, name, "
        "  case when lower(name) in ('search_path', 'temp_tablespaces') then value else quote_literal(value) end) "
        "from pg_db_role_setting s, unnest(s.setconfig) setting, split_part(setting, '=', 1) name, "
        "  substr(setting, strpos(setting, '=') + 1) value "
        "where s.setrole = 0 and s.setdatabase = (select oid from pg_database where datname = $1) "
        "and name not like '%preload_libraries'",
        {from, to});
    for (int row = 0; row < settings.rows(); ++row)
        execute_verbatim(connection, settings.text(row, 0));
}

// The lock is an advisory one on the name, which is one for all databases of the server. The session holds it while
// others work.
void create_branch(connection& connection, const std::string& branch) {
    connection.query("select pg_advisory_lock(hashtextextended($1::text, 0)), "
                     "set_config('idle_session_timeout', '0', false)",
                     {branch});
    const auto statement =
        connection
            .query("select format('create database %I template template0 encoding %L lc_collate %L lc_ctype %L', "
                   "$1::text, pg_encoding_to_char(encoding), datcollate, datctype) || "
                   "case datlocprovider when 'i' then format(' locale_provider icu icu_locale %L', locale) "
                   "when 'b' then format(' locale_provider builtin builtin_locale %L', locale) else '' end "
                   "from pg_database d, coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') locale "
                   "where datname = current_database()",
                   {branch})
            .text(0, 0);
    execute_verbatim(connection, statement);
    copy_database_settings(connection, connection.database(), branch);
}

void drop_branch(connection& connection, const std::string& branch) {
    execute_verbatim(
        connection,
        connection.query("select format('drop database if exists %I with (force)', $1::text)", {branch}).text(0, 0));
    connection.query("select pg_advisory_unlock(hashtextextended($1::text, 0))", {branch});
}

std::vector<std::string> branches_left_behind(connection& connection) {
    const auto result =
        connection.query("select datname from pg_database where datname like 'sor\\_rehearsal\\_%' and not exists "
                         "(select from pg_locks l, hashtextextended(datname, 0) h (hash) where l.locktype = 'advisory' "
                         "and l.objsubid = 1 "
                         " and (l.classid::bigint << 32 | l.objid::bigint) = hash) order by datname",
                         {});
    std::vector<std::string> names;
    for (int row = 0; row < result.rows(); ++row)
        names.push_back(result.text(row, 0));
    return names;
}

std::vector<unfinished_object> unfinished_objects(connection& connection) {
    const auto result = connection.query(
        "select true, indexrelid::regclass::text from pg_index where not indisvalid union all "
        "select false, format('%I on %s', conname, conrelid::regclass) from pg_constraint where not convalidated "
        "order by 1, 2",
        {});
    std::vector<unfinished_object> objects;
    for (int row = 0; row < result.rows(); ++row)
        objects.push_back({result.boolean(row, 0), result.text(row, 1)});
    return objects;
}

verification verify_events(connection& connection, const std::string& tenant_id) {
    const auto result =
        connection.query("select streams, events, first_bad from sor.verify_events($1::uuid)", {tenant_id});
    return {result.integer(0, 0), result.integer(0, 1), result.text(0, 2)};
}

std::vector<metric> metrics(connection& connection) {
    // Counters stand still where the snapshot does, whatever the login's default is.
    transaction transaction(connection, "begin isolation level read committed");
    const auto result = connection.query(
        "select name, labels, case when value = 'Infinity' then '+Inf' else value::text end, family, type, help from "
        "sor.metrics()",
        {});
    std::vector<metric> samples;
    for (int row = 0; row < result.rows(); ++row)
        samples.push_back({result.text(row, 0), result.text(row, 1), result.text(row, 2), result.text(row, 3),
                           result.text(row, 4), result.text(row, 5)});
    transaction.commit();
    return samples;
}

std::vector<problem> status(connection& connection) {
    const auto result = connection.query("select severity, problem, tenant, subject, to_json(since) #>> '{}', count, "
                                         "detail, action from sor.status()",
                                         {});
    std::vector<problem> problems;
    for (int row = 0; row < result.rows(); ++row)
        problems.push_back({result.text(row, 0), result.text(row, 1), result.text(row, 2), result.text(row, 3),
                            result.text(row, 4), result.text(row, 5), result.text(row, 6), result.text(row, 7)});
    return problems;
}

std::string find_tenant(connection& connection, const std::string& name) {
    return connection.query("select sor.find_tenant($1::text)", {name}).text(0, 0);
}

void pause(connection& connection, const std::string& kind, const std::string& name, const std::string& reason) {
    connection.query("select sor.pause($1::text, $2::text, $3::text)", {kind, name, reason});
}

void resume(connection& connection, const std::string& kind, const std::string& name) {
    connection.query("select sor.resume($1::text, $2::text)", {kind, name});
}

std::int64_t redrive_message(connection& connection, const std::string& tenant_id, const std::string& message_id) {
    return connection.query("select sor.redrive($1::uuid, $2::uuid, null::text)", {tenant_id, message_id})
        .integer(0, 0);
}

std::int64_t redrive_destination(connection& connection, const std::string& tenant_id, const std::string& destination,
                                 int max) {
    return connection
        .query("select sor.redrive($1::uuid, null::uuid, $2::text, $3::int)",
               {tenant_id, destination, std::to_string(max)})
        .integer(0, 0);
}

} // namespace sor::db
