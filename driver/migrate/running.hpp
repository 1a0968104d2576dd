#pragma once
#include <chrono>
#include <string>
#include <vector>
#include "db/calls.hpp"
#include "log.hpp"
#include "migrate/files.hpp"

namespace sor::migrate {

// How often and how long to try where another runner is at it (SR012) or a lock was not to be had (55P03).
struct patience {
    std::chrono::seconds wait{60};
    int retries = 10;
};

// Runs a migration's upgrade or downgrade on this connection: in one transaction, or step by step where it has
// statements that no transaction can hold, from the first step that is not done. Each try is a transaction of its own.
// Throws sql_error; failure (try_again) when a stop was requested. A failed attempt is recorded as such.
std::vector<db::ran_statement> run(db::connection& connection, const std::string& version, db::direction direction,
                                   const db::run_options& options, const patience& patience, logger& log);

// The same error with `FILE:LINE: ` of the statement before its message, where its context names one.
db::sql_error located(const db::sql_error& error, const migration& migration);
// What a statement of a migration raised is bad data (65), whatever it is of others.
exit_status exit_code_of(const db::sql_error& error);

} // namespace sor::migrate
