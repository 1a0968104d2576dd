#include "db/connection.hpp"
#include <charconv>
#include <cstdlib>
#include <poll.h>
#include <sys/socket.h>
#include "stop.hpp"

namespace sor::db {
namespace {

std::string trimmed(const char* text) {
    std::string result = text ? text : "";
    while (!result.empty() && (result.back() == '\n' || result.back() == ' '))
        result.pop_back();
    return result;
}

std::string field(const PGresult* result, int code) {
    return trimmed(PQresultErrorField(result, code));
}

std::string hint_of(std::string_view sqlstate, std::string hint) {
    if (!hint.empty())
        return hint;
    const auto kind = sqlstate.substr(0, 2);
    if (kind == "08" || sqlstate == "57P01" || sqlstate == "57P02" || sqlstate == "57P03")
        return "Check that the server runs and that PGHOST, PGPORT, PGDATABASE or --dbname name it, then run the "
               "command again: it goes on where the last commit left it.";
    if (kind == "28" || sqlstate == "42501")
        return "Use a login that is a member of the sor_ role for this command and has a grant for the tenant.";
    if (sqlstate == "3F000" || sqlstate == "42883")
        return "Is this the right database, and does it hold the extension in this version? CREATE EXTENSION sor; or "
               "ALTER EXTENSION sor UPDATE;";
    if (kind == "53")
        return "The server is out of a resource; its log says which.";
    return {};
}

} // namespace

sql_error::sql_error(std::string sqlstate, std::string message, std::string detail, std::string hint,
                     std::string context, std::source_location where)
    : failure(exit_code(sqlstate), std::move(message), std::move(detail), hint_of(sqlstate, std::move(hint))),
      sqlstate_(std::move(sqlstate)), context_(std::move(context)), where_(where) {}

bool is_of_stop(const failure& error) {
    const auto* of_server = dynamic_cast<const sql_error*>(&error);
    return of_server ? of_server->sqlstate() == "57014" && stop::requested()
                     : dynamic_cast<const stopped*>(&error) != nullptr;
}

exit_status exit_code(std::string_view sqlstate) {
    if (sqlstate == "SR006" || sqlstate == "SR007" || sqlstate == "SR012" || sqlstate == "SR016" || sqlstate == "55P03")
        return exit_status::try_again;
    if (sqlstate == "SR008" || sqlstate == "SR013")
        return exit_status::usage;
    if (sqlstate == "SR005" || sqlstate == "SR015")
        return exit_status::bad_data;
    const auto kind = sqlstate.substr(0, 2);
    if (kind == "SR" || kind == "28" || sqlstate == "42501" || sqlstate == "25006")
        return exit_status::refused;
    if (kind == "22" || kind == "23")
        return exit_status::bad_data;
    if (kind == "40")
        return exit_status::try_again;
    return exit_status::unavailable;
}

std::int64_t query_result::integer(int row, int column) const {
    const auto text_value = view(row, column);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text_value.data(), text_value.data() + text_value.size(), value);
    if (error != std::errc{} || end != text_value.data() + text_value.size())
        throw failure(exit_status::unavailable, "the server answered with something that is no whole number",
                      "Column \"" + std::string(PQfname(result_.get(), column)) + "\" is \"" + std::string(text_value) +
                          "\".",
                      "Driver and extension are of different versions?");
    return value;
}

sql_parameter query_result::optional(int row, int column) const {
    if (is_null(row, column))
        return std::nullopt;
    return text(row, column);
}

connection::connection(const std::string& conninfo, const std::string& application_name, const std::string& database)
    : connection_(nullptr, &PQfinish) {
    // Later entries win, and a connection string in dbname counts as standing where dbname stands.
    std::vector<const char*> keys{"application_name"}, values{application_name.c_str()};
    if (!std::getenv("PGCONNECT_TIMEOUT")) {
        keys.push_back("connect_timeout");
        values.push_back("10");
    }
    if (!conninfo.empty()) {
        keys.push_back("dbname");
        values.push_back(conninfo.c_str());
    }
    if (!database.empty()) {
        keys.push_back("dbname");
        values.push_back(database.c_str());
    }
    keys.push_back("client_encoding");
    values.push_back("UTF8");
    open(keys, values);
}

parameter_list with(parameter_list parameters, const std::string& key, const std::string& value, bool add) {
    for (auto& [name, present] : parameters)
        if (name == key) {
            present = add ? present + " " + value : value;
            return parameters;
        }
    parameters.emplace_back(key, value);
    return parameters;
}

connection::connection(const connection& like, const parameter_list& different) : connection_(nullptr, &PQfinish) {
    const auto made_with = like.parameters();
    std::vector<const char*> keys, values;
    for (const auto* parameters : {&made_with, &different}) // later entries win
        for (const auto& [key, value] : *parameters) {
            keys.push_back(key.c_str());
            values.push_back(value.c_str());
        }
    open(keys, values);
}

void connection::open(const std::vector<const char*>& keys, const std::vector<const char*>& values) {
    auto ended_keys = keys, ended_values = values;
    ended_keys.push_back(nullptr);
    ended_values.push_back(nullptr);
    connection_.reset(PQconnectdbParams(ended_keys.data(), ended_values.data(), 1));
    if (PQstatus(connection_.get()) != CONNECTION_OK) {
        const auto message = trimmed(PQerrorMessage(connection_.get()));
        throw sql_error("08001", "could not connect to the database", message, {}, {}, std::source_location::current());
    }
    // Notices of the server are for its log; standard error is for what the caller must act on.
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
}

void connection::on_warning(warning_handler handler) {
    on_warning_ = std::make_unique<warning_handler>(std::move(handler));
    PQsetNoticeReceiver(
        connection_.get(),
        [](void* handed, const PGresult* notice) {
            if (const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
                severity && std::string_view(severity) == "WARNING")
                (*static_cast<warning_handler*>(handed))(field(notice, PG_DIAG_MESSAGE_PRIMARY),
                                                         field(notice, PG_DIAG_MESSAGE_DETAIL),
                                                         field(notice, PG_DIAG_MESSAGE_HINT));
        },
        on_warning_.get());
}

std::vector<std::pair<std::string, std::string>> environment_of(const parameter_list& parameters) {
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> known(PQconndefaults(), &PQconninfoFree);
    std::vector<std::pair<std::string, std::string>> variables;
    for (const auto& [key, value] : parameters)
        for (const auto* option = known.get(); option && option->keyword; ++option)
            if (key == option->keyword && option->envvar)
                variables.emplace_back(option->envvar, value);
    return variables;
}

parameter_list connection::parameters() const {
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconninfo(connection_.get()),
                                                                               &PQconninfoFree);
    parameter_list set;
    for (const auto* option = options.get(); option && option->keyword; ++option)
        if (option->val && *option->val)
            if (const std::string_view key = option->keyword;
                key != "password" && key != "service" && key != "servicefile")
                set.emplace_back(option->keyword, option->val);
    // wherever it came from: a password file has it for this database alone
    if (const char* password = PQpass(connection_.get()); password && *password)
        set.emplace_back("password", password);
    return set;
}

std::string connection::verifier(const std::string& login, const std::string& password) const {
    const std::unique_ptr<char, decltype(&PQfreemem)> made(
        PQencryptPasswordConn(connection_.get(), password.c_str(), login.c_str(), "scram-sha-256"), &PQfreemem);
    if (!made)
        throw failure(exit_status::unavailable, "could not make a password for the login \"" + login + "\"",
                      trimmed(PQerrorMessage(connection_.get())));
    return made.get();
}

query_result connection::query(const char* sql, const sql_parameters& parameters, std::source_location where) {
    send(sql, parameters, where);
    return receive(where);
}

void connection::send(const char* sql, const sql_parameters& parameters, std::source_location where) {
    if (ends_on_stop_ && stop::requested())
        throw stopped();
    std::vector<const char*> values;
    values.reserve(parameters.size());
    for (const auto& parameter : parameters)
        values.push_back(parameter ? parameter->c_str() : nullptr);
    if (!PQsendQueryParams(connection_.get(), sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                           nullptr, 0))
        broken(where);
    in_flight_ = true;
}

query_result connection::receive(std::source_location where) {
    in_flight_ = false;
    if (ends_on_stop_)
        wait_or_stop();
    PGresult* first = PQgetResult(connection_.get());
    if (!first)
        broken(where);
    query_result result(first), failed(nullptr);
    // The protocol ends a statement with a null result; nothing may be sent before that was read. Before it comes the
    // error of a commit that failed after the rows.
    while (PGresult* extra = PQgetResult(connection_.get())) {
        const bool is_error = PQresultStatus(extra) == PGRES_FATAL_ERROR;
        query_result read(extra);
        if (is_error) {
            failed = std::move(read);
            first = extra;
        }
    }
    const auto status = PQresultStatus(first);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return result;
    auto sqlstate = field(first, PG_DIAG_SQLSTATE);
    if (sqlstate.empty())
        broken(where);
    throw sql_error(std::move(sqlstate), field(first, PG_DIAG_MESSAGE_PRIMARY), field(first, PG_DIAG_MESSAGE_DETAIL),
                    field(first, PG_DIAG_MESSAGE_HINT), field(first, PG_DIAG_CONTEXT), where);
}

void connection::wait_or_stop() {
    bool asked = false;
    while (PQisBusy(connection_.get())) {
        pollfd entries[] = {{PQsocket(connection_.get()), POLLIN, 0}, {asked ? -1 : stop::descriptor(), POLLIN, 0}};
        if (poll(entries, 2, -1) < 0)
            continue;
        if (!asked && entries[1].revents != 0) {
            asked = true;
            char refusal[256];
            PQcancel(stopper().get(), refusal, sizeof refusal); // where it fails the statement goes on to its end
        }
        if (entries[0].revents != 0 && !PQconsumeInput(connection_.get()))
            return;
    }
}

bool connection::answered_within(std::chrono::milliseconds duration) {
    const auto end = std::chrono::steady_clock::now() + duration;
    while (PQisBusy(connection_.get())) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
        pollfd socket{PQsocket(connection_.get()), POLLIN, 0};
        if (left.count() <= 0 || poll(&socket, 1, static_cast<int>(left.count())) == 0)
            return false;
        if (!PQconsumeInput(connection_.get()))
            return true; // receive() says how it broke
    }
    return true;
}

void connection::abandon() {
    shutdown(PQsocket(connection_.get()), SHUT_RDWR);
}

void connection::broken(std::source_location where) {
    throw sql_error("08006", "the connection to the database broke", trimmed(PQerrorMessage(connection_.get())), {}, {},
                    where);
}

} // namespace sor::db
