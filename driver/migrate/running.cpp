#include "migrate/running.hpp"
#include <algorithm>
#include <random>
#include <regex>
#include <nlohmann/json.hpp>
#include "fault.hpp"
#include "migrate/output.hpp"
#include "stop.hpp"

namespace sor::migrate {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

[[noreturn]] void stopped(const std::string& version) {
    throw db::stopped("Migration " + version + " was not brought to its end.",
                      "sor migrate status says where it stands; the same command goes on from there.");
}

bool is_worth_another_try(const db::sql_error& error) {
    return error.sqlstate() == "SR012" || error.sqlstate() == "55P03";
}

// Waits between tries, longer each time, with jitter so that two do not keep meeting.
class tries {
public:
    tries(const patience& patience, const std::string& version, logger& log)
        : patience_(patience), version_(version), log_(log), until_(steady_clock::now() + patience.wait) {}

    // Returns when it is time for another try; false when patience is at its end.
    bool next(const std::string& why) {
        if (done_++ >= patience_.retries || steady_clock::now() >= until_)
            return false;
        log_.info("migration " + version_ + ": " + why + "; trying again");
        std::uniform_int_distribution<long> jitter(pause_.count() / 2, pause_.count());
        const auto left = std::chrono::duration_cast<milliseconds>(until_ - steady_clock::now());
        if (stop::wait(std::max(milliseconds(1), std::min(milliseconds(jitter(random_)), left))))
            stopped(version_);
        pause_ = std::min(pause_ * 2, milliseconds(5000));
        return true;
    }

private:
    const patience& patience_;
    const std::string& version_;
    logger& log_;
    steady_clock::time_point until_;
    milliseconds pause_{100};
    int done_ = 0;
    std::mt19937 random_{std::random_device{}()};
};

void record_failure(db::connection& connection, const std::string& version, db::direction direction,
                    const db::sql_error& error, logger& log) {
    // What sor itself refuses was no attempt.
    if (!connection.alive() || error.sqlstate().starts_with("SR"))
        return;
    const db::connection::spared recording(connection);
    try {
        db::migration_failed(connection, version, direction,
                             nlohmann::ordered_json{{"sqlstate", error.sqlstate()},
                                                    {"message", error.message()},
                                                    {"detail", error.detail()},
                                                    {"context", error.context()}}
                                 .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    } catch (const db::sql_error& unrecorded) {
        log.warning("the failure could not be recorded", unrecorded.message());
    }
}

// Makes attempts as long as patience has it. The failure of the last is recorded.
template <typename attempt>
auto until_it_works(db::connection& connection, const std::string& version, db::direction direction,
                    const patience& patience, logger& log, attempt&& try_once) {
    tries left(patience, version, log);
    while (true) {
        try {
            return try_once();
        } catch (const db::sql_error& error) {
            if (is_worth_another_try(error) && left.next(error.message()))
                continue;
            record_failure(connection, version, direction, error, log);
            if (db::is_of_stop(error))
                stopped(version);
            throw;
        }
    }
}

// Holds the session's lock of the runner.
class runner_lock {
public:
    runner_lock(db::connection& connection, const patience& patience, const std::string& version, logger& log)
        : connection_(connection) {
        tries left(patience, version, log);
        while (!db::lock_migrations(connection_))
            if (!left.next("another session runs migrations"))
                throw failure(exit_status::try_again, "another session runs migrations (SR012)", {},
                              "Wait for it, or look for its session in pg_stat_activity; --wait bounds the waiting.");
    }
    runner_lock(const runner_lock&) = delete;
    runner_lock& operator=(const runner_lock&) = delete;
    ~runner_lock() {
        const db::connection::spared unlocking(connection_);
        try {
            db::unlock_migrations(connection_);
        } catch (const failure&) {
            // the connection broke, and the lock with it
        }
    }

private:
    db::connection& connection_;
};

double milliseconds_since(steady_clock::time_point begin) {
    return std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count();
}

std::vector<db::ran_statement> run_verbatim(db::connection& connection, const std::string& version,
                                            db::direction direction, const db::migration_step& step,
                                            bool out_of_order) {
    const auto begun = db::begin_migration_step(connection, version, direction, step.step, out_of_order);
    fault::point("after-begin-step");
    for (const auto& cleanup : begun.cleanup) {
        db::execute_verbatim(connection, cleanup);
        fault::point("after-cleanup");
    }
    std::optional<double> duration;
    std::vector<db::ran_statement> ran;
    if (begun.statement) {
        const auto begin = steady_clock::now();
        db::execute_verbatim(connection, *begun.statement);
        duration = milliseconds_since(begin);
        fault::point("after-statement");
        ran.push_back({step.first_statement, step.line, "outside a transaction", *duration, "null"});
    }
    const db::connection::spared recording(connection); // it has had its effect
    db::finish_migration_step(connection, version, direction, step.step, duration);
    fault::point("after-finish-step");
    return ran;
}

std::vector<db::ran_statement> run_steps(db::connection& connection, const std::string& version,
                                         db::direction direction, const db::run_options& options,
                                         const patience& patience, logger& log) {
    const runner_lock lock(connection, patience, version, log);
    std::vector<db::ran_statement> all;
    // read under the lock: another runner may have done some
    for (const auto& step : db::migration_steps(connection, version, direction)) {
        if (step.done)
            continue;
        const auto ran = until_it_works(connection, version, direction, patience, log, [&] {
            return step.transactional ? db::run_migration_step(connection, version, direction, step.step, options)
                                      : run_verbatim(connection, version, direction, step, options.out_of_order);
        });
        fault::point("after-step");
        all.insert(all.end(), ran.begin(), ran.end());
    }
    return all;
}

} // namespace

std::vector<db::ran_statement> run(db::connection& connection, const std::string& version, db::direction direction,
                                   const db::run_options& options, const patience& patience, logger& log) {
    const auto steps = db::migration_steps(connection, version, direction);
    const bool whole = std::all_of(steps.begin(), steps.end(), [](const auto& step) { return step.transactional; });
    if (!whole)
        return run_steps(connection, version, direction, options, patience, log);
    fault::point("before-migration");
    auto ran = until_it_works(connection, version, direction, patience, log,
                              [&] { return db::run_migration(connection, version, direction, options); });
    fault::point("after-migration");
    return ran;
}

db::sql_error located(const db::sql_error& error, const migration& migration) {
    static const std::regex place("migration [^,]+, (upgrade|downgrade), statement [0-9]+, line ([0-9]+)");
    std::smatch found;
    auto message = error.message();
    if (std::regex_search(error.context(), found, place)) {
        const auto at = place_text(migration, found[1] == "upgrade" ? "up" : "down", std::stoi(found[2])) + ": ";
        if (!message.starts_with(at))
            message.insert(0, at);
    }
    return {error.sqlstate(), message, error.detail(), error.hint(), error.context(), error.where()};
}

exit_status exit_code_of(const db::sql_error& error) {
    if (error.code() != exit_status::unavailable || error.context().find("migration ") == std::string::npos)
        return error.code();
    const auto kind = error.sqlstate().substr(0, 2);
    for (const auto* of_the_server : {"08", "53", "57", "58", "XX"})
        if (kind == of_the_server)
            return error.code();
    return exit_status::bad_data;
}

} // namespace sor::migrate
