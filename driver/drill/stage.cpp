#include "drill/stage.hpp"
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <poll.h>
#include <random>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "db/calls.hpp"
#include "process.hpp"
#include "stop.hpp"

namespace sor::drill {
namespace {

std::string hex(int characters) {
    std::random_device random;
    std::string result;
    for (int i = 0; i < characters; ++i)
        result += "0123456789abcdef"[random() % 16];
    return result;
}

std::string own_path() {
    std::string path(4096, '\0');
    const auto size = readlink("/proc/self/exe", path.data(), path.size());
    if (size <= 0)
        throw failure(exit_status::unavailable, "could not find this program's own file", std::strerror(errno));
    path.resize(static_cast<std::size_t>(size));
    return path;
}

constexpr const char* of_admin = "-c sor.drop_guard=off -c idle_session_timeout=0";

// The role of each part; grants of tenants come with the stage.
constexpr std::pair<const char*, const char*> role_of[] = {
    {"worker", "sor_worker"},   {"backend", "sor_app"},       {"rival", "sor_app"},        {"relay", "sor_relay"},
    {"auditor", "sor_auditor"}, {"proposer", "sor_operator"}, {"approver", "sor_operator"}};

} // namespace

void end_if_stopped() {
    if (stop::requested())
        throw failure(exit_status::try_again, "the drills were stopped by a signal");
}

void wait_until(const std::string& what, const std::function<bool()>& reached) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!reached()) {
        stop::wait(std::chrono::milliseconds(20));
        end_if_stopped();
        if (std::chrono::steady_clock::now() > end)
            throw failure(exit_status::unavailable, "waited in vain until " + what);
    }
}

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary);
    file << text;
    file.close();
    if (!file)
        throw failure(exit_status::unavailable, "could not write \"" + path + "\"", std::strerror(errno),
                      "--out names a folder that this account can write to.");
}

std::string sqlstate_of(db::connection& connection, const char* sql, const db::sql_parameters& values) {
    try {
        connection.query(sql, values);
    } catch (const db::sql_error& error) {
        if (!connection.alive())
            throw;
        return error.sqlstate();
    }
    return "00000";
}

// ------------------------------------------------------------------------------------------------------------- logins

logins::logins(db::connection& control) : control_(control), prefix_("sor_drill_" + hex(8) + "_"), password_(hex(32)) {
    control_.query(sql::hold, {prefix_});
    const auto expires = control_.query("select now() + interval '1 hour'", {}).text(0, 0);
    for (const auto& [part, role] : role_of)
        control_.query(("create role " + name(part) + " login password '" + control_.verifier(name(part), password_) +
                        "' valid until '" + expires + "' in role " + role)
                           .c_str(),
                       {});
}

void logins::leave(db::connection& database) const {
    for (const auto& [part, role] : role_of)
        database.query(("drop owned by " + name(part)).c_str(), {});
}

logins::~logins() {
    for (const auto& [part, role] : role_of)
        try {
            control_.query(("drop role if exists " + name(part)).c_str(), {});
        } catch (const failure&) { // it expires within the hour
        }
}

std::vector<std::string> drop_left_behind(db::connection& control) {
    const auto found = control.query(sql::left_behind, {});
    std::vector<std::string> names;
    for (int i = 0; i < found.rows(); ++i) {
        control.query(found.text(i, 1).c_str(), {});
        names.push_back(found.text(i, 0));
    }
    return names;
}

// ------------------------------------------------------------------------------------------------------------ scratch

scratch::scratch(db::connection& control, const std::string& source, std::string name)
    : control_(control), name_(std::move(name)) {
    const auto create =
        control_.query("select format('create database %I template %I', $1::text, $2::text)", {name_, source})
            .text(0, 0);
    try {
        control_.query(create.c_str(), {});
    } catch (const db::sql_error& error) {
        if (error.sqlstate() != "55006")
            throw;
        // somebody is connected to it
        db::connection from(control_, {{"dbname", source}, {"options", ""}});
        db::create_branch(from, name_);
        const auto to = db::with(from.parameters(), "options", of_admin);
        const auto outcome =
            run_programs({{{"pg_dump", "--format=custom", "--compress=0"}, db::environment_of(from.parameters())},
                          {{"pg_restore", "--exit-on-error", "--dbname=" + name_}, db::environment_of(to)}});
        if (!outcome.succeeded) {
            control_.query(("drop database if exists " + name_ + " with (force)").c_str(), {});
            end_if_stopped();
            throw failure(exit_status::unavailable, "the scratch database could not be made by pg_dump and pg_restore",
                          outcome.errors,
                          "Run the drills while nobody is connected to the demo: then it is copied whole.");
        }
        return;
    }
    db::copy_database_settings(control_, source, name_);
}

scratch::~scratch() {
    try {
        control_.query(("drop database if exists " + name_ + " with (force)").c_str(), {});
    } catch (const failure&) { // its name says what it is
    }
}

// ------------------------------------------------------------------------------------------------------------ program

program::program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                 const std::string& in, const std::string& out, const std::string& errors) {
    const auto open_file = [](const std::string& path, int flags) {
        const int opened = open(path.c_str(), flags | O_CLOEXEC, 0644);
        if (opened < 0)
            throw failure(exit_status::unavailable, "could not open " + path, std::strerror(errno));
        return opened;
    };
    struct file {
        int number;
        ~file() { close(number); }
    };
    const file input{open_file(in.empty() ? "/dev/null" : in, O_RDONLY)};
    const file output{open_file(out, O_WRONLY | O_CREAT | O_TRUNC)};
    const file error{open_file(errors, O_WRONLY | O_CREAT | O_TRUNC)};
    pid_ = spawn(arguments, environment, input.number, output.number, error.number);
}

program::~program() {
    if (pid_ > 0) {
        signal(SIGTERM); // a rehearsal drops its branch
        pollfd end{static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)), POLLIN, 0};
        poll(&end, 1, 30'000);
        close(end.fd);
        signal(SIGKILL, true);
        while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
        }
    }
}

void program::signal(int number, bool group) {
    if (pid_ > 0)
        kill(group ? -pid_ : pid_, number);
}

bool program::ended() {
    int status = 0;
    if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) {
        kill(-pid_, SIGKILL); // what it started
        pid_ = -1;
        end_ = WIFSIGNALED(status) ? program_end{-1, WTERMSIG(status)} : program_end{WEXITSTATUS(status), 0};
    }
    return pid_ <= 0;
}

program_end program::wait() {
    wait_until("a program has ended", [this] { return ended(); });
    return end_;
}

// -------------------------------------------------------------------------------------------------------------- stage

stage::stage(db::connection& control, const logins& who, const std::string& database, std::string folder)
    : control_(control), who_(who), database_(database), folder_(std::move(folder)) {
    control_.query(("alter database " + database_ + " set log_statement = 'all'").c_str(), {});
    for (const auto* statement : sql::evidence_schema)
        admin().query(statement, {});
    for (const auto* statement : sql::nothing_waits)
        admin().query(statement, {});
    const auto found = admin().query(sql::tenants, {});
    if (found.rows() < 2)
        throw failure(exit_status::refused, "the drills need two tenants with expenses and a member each",
                      "Found: " + std::to_string(found.rows()) + ".", "make demo sets up such a database.");
    for (int i = 0; i < 2; ++i) {
        tenants_.push_back({found.text(i, 0), found.text(i, 1), found.text(i, 2), found.text(i, 3)});
        for (const auto* part : {"worker", "backend", "rival", "relay", "auditor"})
            admin().query("select sor.grant_tenant($1::name, $2::uuid, array[$3::uuid])",
                          {who_.name(part), tenants_.back().id, tenants_.back().user_id});
    }
    const auto owner = admin().query(sql::owner, {}).text(0, 0);
    for (const auto* part : {"proposer", "approver"})
        control_.query(("grant " + owner + " to " + who_.name(part)).c_str(), {});
    admin().query(("grant usage on schema reconciler to " + who_.name("auditor")).c_str(), {});
    admin().query(("grant select on reconciler.expenses to " + who_.name("auditor")).c_str(), {});
}

db::connection& stage::admin() {
    if (!admin_)
        admin_ = std::make_unique<db::connection>(control_,
                                                  db::parameter_list{{"dbname", database_}, {"options", of_admin}});
    return *admin_;
}

std::unique_ptr<db::connection> stage::session(const std::string& part) {
    return std::make_unique<db::connection>(
        control_, db::parameter_list{{"dbname", database_},
                                     {"user", who_.name(part)},
                                     {"password", who_.password()},
                                     {"options", "-c lock_timeout=2s -c idle_session_timeout=0"},
                                     {"application_name", "sor drill " + part}});
}

void stage::observe(const char* drill, const std::string& name, const std::string& json) {
    admin().query(sql::observe, {drill, name, json});
}

void stage::keep_log(const char* drill, const std::string& name, const std::string& text) {
    admin().query(sql::keep_log, {drill, name, text});
}

std::vector<std::string> stage::environment() const {
    std::vector<std::string> result;
    for (const auto* name : {"PATH", "HOME", "LANG", "LC_ALL"})
        if (const auto* value = getenv(name))
            result.push_back(std::string(name) + "=" + value);
    return result;
}

std::string stage::without_password(std::string text) const {
    for (auto at = text.find(who_.password()); at != std::string::npos; at = text.find(who_.password()))
        text.replace(at, who_.password().size(), "<password>");
    return text;
}

std::unique_ptr<program> stage::start(const std::string& name, const std::string& part,
                                      std::vector<std::string> arguments, const std::string& in,
                                      const std::vector<std::string>& more) {
    arguments.insert(arguments.begin(), own_path());
    auto as = db::with(db::with(control_.parameters(), "dbname", database_), "options", "");
    if (part != superuser)
        as = db::with(db::with(as, "user", who_.name(part)), "password", who_.password());
    auto variables = environment();
    for (const auto& [variable, value] : db::environment_of(as))
        variables.push_back(variable + "=" + value);
    variables.insert(variables.end(), more.begin(), more.end());
    return std::make_unique<program>(arguments, variables, in, file(name + ".out"), file(name + ".err"));
}

} // namespace sor::drill
