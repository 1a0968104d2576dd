#pragma once
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>
#include "db/calls.hpp"
#include "log.hpp"
#include "mcp/catalogue.hpp"
#include "mcp/database.hpp"
#include "mcp/message.hpp"
#include "mcp/result.hpp"
#include "settings.hpp"

namespace sor::mcp {

// For whom a Worker acts, by the names that the settings or the command line give. An empty tenant or user stands for
// the only one that the login was granted.
struct identity {
    std::string tenant, on_behalf_of, worker, run_key;
};

// The same as the database knows them.
struct resolved_identity {
    std::string tenant_id, user_id;
};

// What the sessions of one server share. Only the thread of the loop touches it, but for `log` and `settings`.
class services {
public:
    services(database& connections, const mcp_settings& limits, std::chrono::seconds lease_of_runs, logger& messages)
        : data(connections), settings(limits), lease(lease_of_runs), log(messages) {}

    database& data;
    const mcp_settings& settings;
    const std::chrono::seconds lease;
    logger& log;

    // A user's ids, and the tools as they were last read for that user.
    struct known_user {
        resolved_identity ids;
        std::shared_ptr<const catalogue> tools;
    };
    const known_user* find(const identity& who) const;
    void keep(const identity& who, known_user user);

    // Takes one call from the user's allowance. Else false: it is used up.
    bool allow_call(const resolved_identity& who);
    std::string too_many_calls() const {
        return "more than " + std::to_string(settings.calls_per_minute) + " calls in a minute";
    }

    std::uint64_t unknown_tools = 0; // calls of tools that do not exist

    // Whether what a client brought about may be logged. Clients must not fill the disk: past some hundred a minute it
    // is counted alone.
    bool may_log();

private:
    struct call_budget {
        double calls;
        std::chrono::steady_clock::time_point at;

        bool take(double a_minute);
    };
    std::map<std::pair<std::string, std::string>, known_user> users_; // by the names of tenant and user
    std::map<std::string, call_budget> budgets_;                      // by the user's id
    std::optional<call_budget> lines_;
    std::uint64_t unsaid_ = 0;
};

// Looks the names up, and the tools. Throws failure (refused) when the login was not granted them, or several fit.
services::known_user read_user(db::connection& connection, const identity& who);

// One client: both eras of the protocol, the calls in flight, and the run that they belong to. It takes messages and
// gives messages, whatever carries them.
class session : public std::enable_shared_from_this<session> {
public:
    // `allowed` are the identities that the client may act as. With `chooses` it may pick one of them, and a run key,
    // by notifications/sor/session {tenant, onBehalfOf, worker, runKey}. `send` takes a message without its line end.
    session(services& shared, std::vector<identity> allowed, bool chooses, std::function<void(std::string)> send);

    // One message as it came.
    void receive(std::string_view line);
    // A message that was longer than the limit and is gone.
    void overlong();
    // To be called when due() has come: heartbeats, turns that have ended, progress; and after hold(false).
    void tick();
    std::chrono::steady_clock::time_point due() const;

    // No more messages come. `finished`: the client has ended its work, so its run has succeeded; else the run is left
    // for whoever resumes it, at once. What has begun is carried through; over() tells when. Left after finished: so it
    // is if calls were still to be begun.
    enum class ending { finished, left };
    void end(ending how);
    bool over() const { return ended_; }
    // Whether the run could be ended as it should.
    bool ended_well() const { return ended_well_; }

    // While it is held no request is begun: its client does not take the answers that it has.
    void hold(bool held) { held_ = held; }

    std::size_t requests_in_flight() const { return in_flight_.size(); }
    std::size_t bytes_waiting() const { return bytes_waiting_; }

private:
    // A request that goes to the database.
    struct pending {
        std::string id;
        bool modern = false;
        bool cancelled = false;
        std::string progress_token; // JSON text; empty: none wanted
        int progress = 0;           // notifications sent
        bool is_list = false;
        std::string cursor; // of tools/list; empty: the first page
        // tools/call
        std::string tool, request_id, turn_id;
        std::string arguments; // for the gateway, JSON text
        nlohmann::json values; // the same and request_id, to be checked
        std::string nul_at;    // where a string has U+0000
        std::string answer;    // of the gateway
        bool checked = false;  // against the tools, which have to be read first

        // What it holds while it waits, about.
        std::size_t size() const {
            return 2 * id.size() + progress_token.size() + cursor.size() + tool.size() + turn_id.size() +
                   arguments.size() * (values.is_null() ? 1 : 10);
        }
    };
    struct open_run {
        db::run run;
        int turn = 0; // 0: none is open
        std::string turn_id;
        int calls = 0; // of the turn
    };

    enum class revision { none, legacy, modern };
    // none: the request was answered with what is wrong with it.
    revision revision_of(const message& incoming);
    void handle_request(const message& incoming);
    void handle_notification(const message& incoming);
    void initialize(const message& incoming);
    void discover(const message& incoming);
    void list_tools(const message& incoming, bool modern);
    void call_tool(const message& incoming, bool modern);
    void listen(const message& incoming);
    void end_subscriptions();
    void cancel(const nlohmann::json& params);
    void choose_identity(const nlohmann::json& params);
    const identity& who() const { return allowed_.front(); }

    bool check_call(pending& call); // false: answered
    void enqueue(std::shared_ptr<pending> request);
    void go_on();
    bool begin_next();
    // `done` gets the error, if any, and whether it is that the task took too long.
    void run_task(std::function<void(db::connection&)> work, std::function<void(std::exception_ptr, bool)> done,
                  bool urgent = false);
    std::shared_ptr<pending> take_waiting(std::deque<std::shared_ptr<pending>>::iterator which);
    void read_the_tools(std::shared_ptr<pending> asking);
    void perform(db::connection& connection, pending& call, const resolved_identity& ids, const identity& who,
                 const std::string& input);
    void call_within_run(db::connection& connection, pending& call, const resolved_identity& ids, const identity& who,
                         const std::string& input);
    bool holds_run(db::connection& connection);
    void make_turn(db::connection& connection, const std::string& turn_id);
    void close_turn(db::connection& connection);
    void answer_list(const pending& request);
    void answer_call(pending& request, std::exception_ptr error, bool too_long);
    void finish();

    void answer(const pending& request, std::string members);
    void answer_error(const std::string& id, int code, std::string_view text, std::string_view data = {});
    void refuse_call(pending& call, std::string_view what, const call_error& error);
    std::pair<std::string, call_error> explain(std::exception_ptr error, bool too_long);
    void log_error(std::exception_ptr error);
    void report_progress(pending& request);
    std::string meta(bool modern) const;
    void note_client(const nlohmann::json& info);

    services& shared_;
    std::vector<identity> allowed_;
    const std::function<void(std::string)> send_;
    bool chooses_;
    bool initialized_ = false;
    std::string client_ = "{}"; // clientInfo as given

    std::set<std::string> in_flight_;     // ids of requests without an answer
    std::set<std::string> subscriptions_; // ids of subscriptions/listen, each in flight until it is cancelled
    std::deque<std::shared_ptr<pending>> waiting_;
    std::size_t bytes_waiting_ = 0; // of these
    std::shared_ptr<pending> current_;
    std::shared_ptr<database::job> task_; // one at a time: the calls of a run would wait for its row anyway

    std::optional<open_run> run_; // while a task runs, only the task touches it

    std::chrono::steady_clock::time_point last_call_, renewed_, progress_due_;
    std::optional<ending> ending_;
    bool going_on_ = false, held_ = false, ended_ = false, ended_well_ = true;
};

} // namespace sor::mcp
