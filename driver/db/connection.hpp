#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include <libpq-fe.h>
#include "failure.hpp"

namespace sor::db {

// An error of the server or of the connection to it.
class sql_error : public failure {
public:
    sql_error(std::string sqlstate, std::string message, std::string detail, std::string hint, std::string context,
              std::source_location where);

    // Five characters; 08006 when the connection itself broke.
    const std::string& sqlstate() const { return sqlstate_; }
    // Where the server was when it failed: outermost last.
    const std::string& context() const { return context_; }
    // The typed call that failed.
    const std::source_location& where() const { return where_; }

private:
    std::string sqlstate_, context_;
    std::source_location where_;
};

// A stop was requested (stop.hpp).
class stopped : public failure {
public:
    explicit stopped(std::string detail = {}, std::string hint = "The same command goes on from there.")
        : failure(exit_status::try_again, "stopped by a signal", std::move(detail), std::move(hint)) {}
};
// Is it `stopped`, or the error of a statement that a stop ended?
bool is_of_stop(const failure& error);

// The exit code that an SQLSTATE means for a command.
exit_status exit_code(std::string_view sqlstate);

// A parameter in text form; null when empty. Texts hold no NUL byte: libpq would cut them there.
using sql_parameter = std::optional<std::string>;
using sql_parameters = std::vector<sql_parameter>;

class query_result {
public:
    explicit query_result(PGresult* result) : result_(result, &PQclear) {}

    int rows() const { return PQntuples(result_.get()); }
    bool is_null(int row, int column) const { return PQgetisnull(result_.get(), row, column) == 1; }
    std::string_view view(int row, int column) const {
        return {PQgetvalue(result_.get(), row, column),
                static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
    }
    std::string text(int row, int column) const { return std::string(view(row, column)); }
    std::int64_t integer(int row, int column) const;
    bool boolean(int row, int column) const { return view(row, column) == "t"; }
    sql_parameter optional(int row, int column) const;

private:
    std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

// Parameters of libpq: key and value.
using parameter_list = std::vector<std::pair<std::string, std::string>>;
// The list with this value, which takes the place of the one that is there, or with `add` goes on after it.
parameter_list with(parameter_list parameters, const std::string& key, const std::string& value, bool add = false);

// A connection that keeps no state in the session, so it works through a transaction pooler: no prepared statements,
// no SET, every statement its own transaction.
class connection {
public:
    // `conninfo` adds to libpq's own sources (PG* variables, service and password files).
    // `database`, where given, counts more.
    connection(const std::string& conninfo, const std::string& application_name, const std::string& database = {});
    // The same server and login as `like`, but for these parameters of libpq.
    connection(const connection& like, const parameter_list& different);

    // Runs one statement and waits for its result. Throws Error.
    query_result query(const char* sql, const sql_parameters& parameters,
                       std::source_location where = std::source_location::current());

    // The same in two halves: between them the server works while the caller does.
    void send(const char* sql, const sql_parameters& parameters,
              std::source_location where = std::source_location::current());
    query_result receive(std::source_location where = std::source_location::current());
    bool in_flight() const { return in_flight_; }
    // Whether the statement in flight is answered, or is within that time.
    bool answered_within(std::chrono::milliseconds duration);

    // From now on a stop that was requested ends the statement that runs, which fails with 57014, and no
    // other is sent: `stopped` is thrown instead. Not while a `spared` is there.
    void end_statements_on_stop() { ends_on_stop_ = true; }
    // Statements in its scope run to their end all the same: those that record what became of others.
    class spared {
    public:
        explicit spared(connection& of) : of_(of), before_(of.ends_on_stop_) { of_.ends_on_stop_ = false; }
        spared(const spared&) = delete;
        spared& operator=(const spared&) = delete;
        ~spared() { of_.ends_on_stop_ = before_; }

    private:
        connection& of_;
        const bool before_;
    };
    // Called with each warning of the server: message, detail, hint. They are dropped unless this is set.
    using warning_handler = std::function<void(const std::string&, const std::string&, const std::string&)>;
    void on_warning(warning_handler handler);

    // What this connection was made with, password included but for the service file, and the database it is in.
    parameter_list parameters() const;
    std::string database() const { return PQdb(connection_.get()); }

    // The password as the server keeps it (SCRAM-SHA-256), for statements that its log or statistics may show.
    std::string verifier(const std::string& login, const std::string& password) const;

    // False once the connection broke; it stays broken.
    bool alive() const { return PQstatus(connection_.get()) == CONNECTION_OK; }

    // For other threads while a statement runs here. `stop_handle` is what asks the server to stop it, which then fails
    // with 57014; `abandon` hangs up, for a server that does not answer: the statement fails with 08006.
    using stop_handle = std::unique_ptr<PGcancel, decltype(&PQfreeCancel)>;
    stop_handle stopper() const { return {PQgetCancel(connection_.get()), &PQfreeCancel}; }
    void abandon();

private:
    [[noreturn]] void broken(std::source_location where);
    void open(const std::vector<const char*>& keys, const std::vector<const char*>& values);
    void wait_or_stop();

    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
    std::unique_ptr<warning_handler> on_warning_;
    bool in_flight_ = false, ends_on_stop_ = false;
};

// Does it on this connection; where that turns out to be lost, as one may be that was idle for long, on another like
// it.
template <typename work>
void on_this_or_another(connection& connection, work&& do_it) {
    try {
        do_it(connection);
    } catch (const sql_error&) {
        if (connection.alive())
            throw;
        db::connection another(connection, {});
        do_it(another);
    }
}

// The PG* variables that say the same as these parameters: for programs that we start.
std::vector<std::pair<std::string, std::string>> environment_of(const parameter_list& parameters);

} // namespace sor::db
