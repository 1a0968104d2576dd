#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>
#include "db/connection.hpp"
#include "drill/statements.hpp"

// Where drills take place: a scratch database, logins of its own, programs as they run in production, and a folder that
// keeps what they say.
namespace sor::drill {

// Throws failure (try_again) when a stop was requested.
void end_if_stopped();
// Polls until it answers true. Throws failure (unavailable) when that takes longer than a minute, and as
// end_if_stopped.
void wait_until(const std::string& what, const std::function<bool()>& reached);

// One login for each part, with a random password; gone with this object. They expire, should that never come. Their
// names and those of the scratch databases begin with a prefix that `control` holds until it ends.
class logins {
public:
    explicit logins(db::connection& control);
    logins(const logins&) = delete;
    logins& operator=(const logins&) = delete;
    ~logins();
    std::string name(const std::string& part) const { return prefix_ + part; }
    const std::string& password() const { return password_; }
    // Takes back what they were granted in that database.
    void leave(db::connection& database) const;

private:
    db::connection& control_;
    std::string prefix_, password_;
};

// Drops the databases and logins of drills that were killed, and names them.
std::vector<std::string> drop_left_behind(db::connection& control);

// A copy of a database that nobody else uses; dropped with this object.
class scratch {
public:
    // By CREATE DATABASE … TEMPLATE where nobody is connected to the source, else by pg_dump and pg_restore.
    scratch(db::connection& control, const std::string& source, std::string name);
    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;
    ~scratch();
    const std::string& name() const { return name_; }

private:
    db::connection& control_;
    std::string name_;
};

struct tenant {
    std::string id, name, user_id, email;
};

struct program_end {
    int status = -1; // exit status
    int signal = 0;  // what killed it
};

// A program of ours, in a process group of its own that is gone with this object: stopped, and killed after half
// a minute.
class program {
public:
    // Standard input from a file (empty: nothing), output and errors into files.
    program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
            const std::string& in, const std::string& out, const std::string& errors);
    program(const program&) = delete;
    program& operator=(const program&) = delete;
    ~program();
    void signal(int number, bool group = false);
    bool ended();
    program_end wait();

private:
    int pid_;
    program_end end_;
};

constexpr const char* superuser = "superuser"; // a part of `stage::start`

class stage {
public:
    stage(db::connection& control, const logins& who, const std::string& database, std::string folder);
    // A superuser's session on the scratch database, with the drop guard off.
    db::connection& admin();
    void close_admin() { admin_.reset(); }
    std::unique_ptr<db::connection> session(const std::string& part);
    std::string login(const std::string& part) const { return who_.name(part); }
    const std::string& database() const { return database_; }
    const tenant& first() const { return tenants_[0]; }
    const tenant& second() const { return tenants_[1]; }

    void observe(const char* drill, const std::string& name, const std::string& json);
    void keep_log(const char* drill, const std::string& name, const std::string& text);
    std::string file(const std::string& name) const { return folder_ + "/logs/" + name; }

    // Starts this same program on the scratch database, as the login of that part or as `superuser`; its output goes to
    // logs/NAME.out and .err.
    std::unique_ptr<program> start(const std::string& name, const std::string& part, std::vector<std::string> arguments,
                                   const std::string& in = {}, const std::vector<std::string>& environment = {});
    std::vector<std::string> environment() const;
    // The text as it may be kept: the logins' password is "<password>" there.
    std::string without_password(std::string text) const;

private:
    db::connection& control_;
    const logins& who_;
    std::string database_, folder_;
    std::vector<tenant> tenants_;
    std::unique_ptr<db::connection> admin_;
};

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);
// SQLSTATE of the statement: 00000 when it succeeded.
std::string sqlstate_of(db::connection& connection, const char* sql, const db::sql_parameters& values);

} // namespace sor::drill
