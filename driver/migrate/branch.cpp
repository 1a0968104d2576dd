#include "migrate/branch.hpp"
#include <algorithm>
#include <cctype>
#include <random>
#include <set>
#include "fault.hpp"
#include "stop.hpp"

namespace sor::migrate {
namespace {

// The drop guard is off there, and the session may be idle as long as the check command runs.
constexpr const char* of_session = "-c sor.drop_guard=off -c idle_session_timeout=0";

std::string branch_name(const std::string& version) {
    std::string name = "sor_rehearsal_";
    for (const char c : version.substr(0, 30))
        name += std::isdigit(static_cast<unsigned char>(c)) ? c : '_';
    name += '_';
    std::random_device random;
    for (int i = 0; i < 8; ++i)
        name += "0123456789abcdef"[random() % 16];
    return name;
}

bool is_word(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return std::isalnum(byte) || c == '_' || c == '$' || byte >= 0x80;
}

// As a start-up option has it.
std::string escaped_option(const std::string& value) {
    std::string result;
    for (const char c : value) {
        if (c == ' ' || c == '\\')
            result += '\\';
        result += c;
    }
    return result;
}

// A pattern of pg_dump that matches this table alone.
std::string pattern(const db::table_size& table) {
    std::string result;
    for (const auto* name : {&table.schema, &table.name}) {
        result += result.empty() ? "\"" : ".\"";
        for (const char c : *name)
            result += c == '"' ? "\"\"" : std::string(1, c);
        result += '"';
    }
    return result;
}

void end_if_stopped() {
    if (stop::requested())
        throw db::stopped();
}

} // namespace

bool names_table(const std::string& text, const std::string& table) {
    const auto same = [](char left, char right) {
        return std::tolower(static_cast<unsigned char>(left)) == std::tolower(static_cast<unsigned char>(right));
    };
    for (auto at = text.begin();; ++at) {
        at = std::search(at, text.end(), table.begin(), table.end(), same);
        if (at == text.end())
            return false;
        const auto end = at + static_cast<std::ptrdiff_t>(table.size());
        if ((at == text.begin() || !is_word(at[-1])) && (end == text.end() || !is_word(*end)))
            return true;
    }
}

branch::branch(db::connection& live, const std::vector<const migration*>& migrations, command_context& context)
    : context_(context), name_(branch_name(migrations.back()->version)) {
    const auto& settings = context.settings.migrate;
    try {
        if (!settings.clone_command.empty()) {
            clone();
            tables_ = db::table_sizes(*session_);
            choose_tables(migrations);
        } else {
            control_ = std::make_unique<db::connection>(settings.rehearsal_dbname.empty() ? context.options.conninfo
                                                                                          : settings.rehearsal_dbname,
                                                        "sor " + context.command, live.database());
            if (!db::login_check(*control_).superuser)
                throw failure(exit_status::refused, "a branch is made by a superuser",
                              "It copies every schema, whoever owns it, past row security, and makes extensions.",
                              "In the settings, under [migrate.rehearsal], dbname is a superuser's connection to the "
                              "live database, or clone_command what makes a branch elsewhere.");
            tables_ = db::table_sizes(*control_);
            choose_tables(migrations);
            restore_dump(live);
        }
        fault::point("after-branch");
        session_->end_statements_on_stop();
    } catch (...) {
        drop();
        throw;
    }
}

branch::~branch() {
    drop();
}

std::vector<std::pair<std::string, std::string>> branch::environment() const {
    return db::environment_of(session_->parameters());
}

void branch::choose_tables(const std::vector<const migration*>& migrations) {
    std::set<std::string> wanted;
    std::vector<std::string> unvisited;
    const auto want = [&](const std::string& table) {
        if (wanted.insert(table).second)
            unvisited.push_back(table);
    };
    for (const auto& table : tables_)
        for (const auto* one : migrations)
            if (names_table(one->up, table.name) || (one->down && names_table(*one->down, table.name)))
                want(table.table);
    while (!unvisited.empty()) {
        const auto next = unvisited.back();
        unvisited.pop_back();
        for (const auto& table : tables_)
            if (table.table == next)
                for (const auto& needed : table.needs)
                    want(needed);
    }
    std::vector<db::table_size> chosen;
    for (const auto& table : tables_)
        if (table.schema != "sor" && wanted.count(table.table))
            chosen.push_back(table);
    std::stable_sort(chosen.begin(), chosen.end(),
                     [](const auto& left, const auto& right) { return left.bytes < right.bytes; });
    auto room = context_.settings.migrate.copy_megabytes << 20;
    for (auto& table : chosen) {
        const bool fits = table.bytes <= room;
        room -= fits ? table.bytes : room;
        (fits ? copied_ : not_copied_).push_back(std::move(table));
    }
    // No row without those that it needs: a foreign key could not be restored.
    for (bool moved = true; moved;) {
        moved = false;
        for (auto table = copied_.begin(); table != copied_.end() && !moved; ++table)
            for (const auto& needed : table->needs)
                if (std::any_of(not_copied_.begin(), not_copied_.end(),
                                [&](const auto& left_out) { return left_out.table == needed; })) {
                    not_copied_.push_back(*table);
                    copied_.erase(table);
                    moved = true;
                    break;
                }
    }
}

void branch::restore_dump(db::connection& live) {
    const auto search_path = "-c search_path=" + escaped_option(db::search_path(live)); // before `live` idles
    const auto is_in = [](const std::vector<db::table_size>& tables, const db::table_size& wanted) {
        return std::any_of(tables.begin(), tables.end(),
                           [&](const auto& table) { return table.table == wanted.table; });
    };
    // sor's registers are needed for its triggers to work; the tenants' history is not
    bool needs_tenants = false;
    for (const auto& table : copied_)
        for (const auto& needed : table.needs)
            needs_tenants |= needed.starts_with("sor.");
    program dump{
        {"pg_dump", "--format=custom", "--compress=0", "--no-subscriptions", "--no-blobs", "--lock-wait-timeout=30000"},
        db::environment_of(control_->parameters())};
    for (const auto& table : tables_)
        if (table.schema == "sor"
                ? table.is_history && !(needs_tenants && (table.name == "tenants" || table.name == "users"))
                : !is_in(copied_, table))
            dump.arguments.push_back("--exclude-table-data=" + pattern(table));
    db::create_branch(*control_, name_);
    fault::point("after-create-branch");
    const auto there = db::with(db::with(control_->parameters(), "dbname", name_), "options", of_session, true);
    const program restore{{"pg_restore", "--exit-on-error", "--dbname=" + name_}, db::environment_of(there)};
    const auto outcome = run_programs({dump, restore});
    end_if_stopped();
    if (!outcome.succeeded)
        throw failure(exit_status::unavailable, "the branch could not be made by pg_dump and pg_restore",
                      outcome.errors,
                      "Where a dump of this database cannot be restored beside it, clone_command under "
                      "[migrate.rehearsal] makes a branch in another way.");
    session_ = std::make_unique<db::connection>(*control_, db::with(there, "options", search_path, true));
}

void branch::clone() {
    const auto& settings = context_.settings.migrate;
    auto environment = std::vector<std::pair<std::string, std::string>>{{"SOR_BRANCH", name_}};
    const auto outcome = run_programs({shell_command(settings.clone_command, environment)});
    end_if_stopped();
    if (!outcome.succeeded)
        throw failure(exit_status::unavailable, "the clone command of the settings failed", outcome.errors,
                      "clone_command under [migrate.rehearsal] prints the CONNINFO of the branch as its last line.");
    auto conninfo = outcome.output;
    while (!conninfo.empty() && std::isspace(static_cast<unsigned char>(conninfo.back())))
        conninfo.pop_back();
    conninfo.erase(0, conninfo.find_last_of('\n') + 1);
    if (conninfo.empty())
        throw failure(exit_status::unavailable, "the clone command of the settings printed no CONNINFO", {},
                      "clone_command under [migrate.rehearsal] prints the CONNINFO of the branch as its last line.");
    const db::connection first(conninfo, "sor " + context_.command);
    session_ = std::make_unique<db::connection>(first, db::with(first.parameters(), "options", of_session, true));
}

void branch::drop() noexcept {
    try {
        session_.reset();
        const auto& settings = context_.settings.migrate;
        if (!settings.drop_command.empty()) {
            const auto outcome = run_programs({shell_command(settings.drop_command, {{"SOR_BRANCH", name_}})}, true);
            if (!outcome.succeeded)
                context_.log.warning("branch \"" + name_ + "\" may be left behind: the drop command failed",
                                     outcome.errors);
        } else if (control_) {
            db::on_this_or_another(*control_, [&](auto& connection) { db::drop_branch(connection, name_); });
        }
    } catch (const std::exception& error) {
        context_.log.warning("branch \"" + name_ + "\" may be left behind", error.what(),
                             "DROP DATABASE " + name_ + ";");
    }
    control_.reset();
}

} // namespace sor::migrate
