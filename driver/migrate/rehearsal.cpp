#include "migrate/rehearsal.hpp"
#include <algorithm>
#include <map>
#include <set>
#include "fault.hpp"
#include "migrate/running.hpp"
#include "stop.hpp"
#include "text.hpp"

namespace sor::migrate {
namespace {

// All that is compared between two moments.
struct moment {
    std::string fingerprint;
    std::vector<db::schema_object> objects;
    std::map<std::string, db::digest> digests; // of the copied tables that are there
};

moment look(branch& branch) {
    auto& session = branch.session();
    moment seen{db::schema_fingerprint(session), db::schema_objects(session), {}};
    std::set<std::string> present;
    for (const auto& table : db::table_sizes(session))
        present.insert(table.table);
    for (const auto& table : branch.copied())
        if (present.count(table.table))
            seen.digests[table.table] = db::table_digest(session, table.table);
    return seen;
}

struct difference {
    std::string object;
    const std::string *before = nullptr, *after = nullptr; // null: it is not there
};

// Both are ordered by object.
std::vector<difference> compare(const std::vector<db::schema_object>& before,
                                const std::vector<db::schema_object>& after) {
    std::vector<difference> found;
    auto one = before.begin();
    auto other = after.begin();
    while (one != before.end() || other != after.end()) {
        const int order = one == before.end() ? 1 : other == after.end() ? -1 : one->object.compare(other->object);
        if (order < 0) {
            found.push_back({one->object, &one->definition, nullptr});
            ++one;
        } else if (order > 0) {
            found.push_back({other->object, nullptr, &other->definition});
            ++other;
        } else {
            if (one->definition != other->definition)
                found.push_back({one->object, &one->definition, &other->definition});
            ++one;
            ++other;
        }
    }
    return found;
}

ordered_json sentences(const std::vector<difference>& differences, const std::string& since) {
    auto list = ordered_json::array();
    for (const auto& one : differences)
        if (!one.after)
            list.push_back(one.object + " is missing " + since);
        else if (!one.before)
            list.push_back(one.object + " is left over " + since);
        else
            list.push_back(one.object + " differs " + since + ": it was " + excerpt(*one.before, 300) + ", it is " +
                           excerpt(*one.after, 300));
    return list;
}

// One direction; the error of the migration itself is a part of the answer.
ordered_json attempt(branch& branch, const migration& migration, db::direction direction, command_context& context,
                     std::vector<db::ran_statement>& ran) {
    try {
        ran = run(branch.session(), migration.version, direction, {true, std::chrono::seconds(3)}, {}, context.log);
        return {{"succeeded", true}, {"statements", statements_json(ran)}, {"error", nullptr}};
    } catch (const db::sql_error& error) {
        if (!branch.session().alive())
            throw;
        const auto where = located(error, migration);
        return {{"succeeded", false},
                {"statements", ordered_json::array()},
                {"error",
                 {{"sqlstate", where.sqlstate()},
                  {"message", where.message()},
                  {"detail", where.detail()},
                  {"hint", where.hint()},
                  {"context", where.context()}}}};
    }
}

void add_checks(ordered_json& checks, branch& branch, const std::vector<db::unfinished_object>& before,
                command_context& context) {
    std::string invalid, not_validated;
    for (const auto& object : db::unfinished_objects(branch.session())) {
        if (std::any_of(before.begin(), before.end(),
                        [&](const auto& old) { return old.name == object.name && old.is_index == object.is_index; }))
            continue;
        auto& names = object.is_index ? invalid : not_validated;
        names += (names.empty() ? "" : ", ") + object.name;
    }
    checks.push_back({{"check", "no index is invalid"}, {"ok", invalid.empty()}, {"detail", invalid}});
    // not a fault: a migration of its own validates them
    checks.push_back({{"check", "constraints are validated"},
                      {"ok", true},
                      {"detail", not_validated.empty() ? "" : "not yet: " + not_validated}});
    if (const auto& command = context.settings.migrate.check_command; !command.empty()) {
        auto environment = branch.environment();
        environment.emplace_back("SOR_BRANCH", branch.name());
        const auto outcome = run_programs({shell_command(command, std::move(environment))});
        if (stop::requested()) // it may have been ended
            throw db::stopped();
        checks.push_back(
            {{"check", command}, {"ok", outcome.succeeded}, {"detail", outcome.succeeded ? "" : outcome.errors}});
    }
}

bool writes(const std::string& lock_mode) {
    return lock_mode != "AccessShareLock" && lock_mode != "RowShareLock";
}

// The tables that were there before and that these statements have locked to change them.
std::set<std::string> changed_tables(const std::vector<db::ran_statement>& ran, const branch& branch) {
    std::set<std::string> known, changed;
    for (const auto& table : branch.tables())
        if (table.schema != "sor")
            known.insert(table.table);
    for (const auto& statement : ran)
        for (const auto locks = ordered_json::parse(statement.locks); const auto& lock : locks)
            if (const auto relation = lock.value("relation", "");
                writes(lock.value("mode", "")) && known.count(relation))
                changed.insert(relation);
    return changed;
}

std::string rows_text(std::int64_t rows) {
    return std::to_string(rows) + (rows == 1 ? " row" : " rows");
}

ordered_json data_answer(const moment& before, const moment& upgraded, const moment& after,
                         const std::set<std::string>& changed, const branch& branch) {
    std::string answer = "yes";
    auto why = ordered_json::array();
    bool proven = false;
    for (const auto& [table, was] : before.digests) {
        const auto now = after.digests.find(table);
        if (now == after.digests.end()) {
            answer = "no";
            why.push_back("table " + table + ", which had " + rows_text(was.rows) + ", is gone");
        } else if (now->second.rows != was.rows || now->second.value != was.value) {
            answer = "no";
            why.push_back("rows of " + table + " are not what they were: " + rows_text(was.rows) + " before, " +
                          rows_text(now->second.rows) + " after");
        } else if (changed.count(table) && was.rows > 0) {
            proven = true;
            why.push_back("rows of " + table + ": " + rows_text(was.rows) + ", the same before and after");
        }
    }
    if (answer == "yes") {
        for (const auto& table : changed)
            if (const auto copied = before.digests.find(table); copied == before.digests.end()) {
                answer = "unknown";
                why.push_back("rows of " + table + " were not copied");
            }
        if (answer == "yes" && !proven && !changed.empty()) {
            answer = "unknown";
            why.push_back("the tables that it changes have no rows");
        }
        if (changed.empty())
            why.push_back("no table that was there is changed");
    }
    for (const auto& table : branch.not_copied())
        if (!changed.count(table.table))
            why.push_back("rows of " + table.table + ", which the texts name, were not copied");
    for (const auto& added : compare(before.objects, upgraded.objects))
        if (!added.before && (added.object.starts_with("column ") || added.object.starts_with("table ")))
            why.push_back("what is written into " + added.object + " after the upgrade is lost by the downgrade");
    return {{"answer", answer}, {"why", std::move(why)}};
}

std::string answer_text(const ordered_json& report, const char* name, const char* title) {
    const auto& answer = report.at(name);
    std::string text = std::string(title) + ": " + answer.at("answer").get<std::string>() + "\n";
    for (const auto& sentence : answer.at("why"))
        text += "  " + sentence.get<std::string>() + "\n";
    return text;
}

std::string part_text(const ordered_json& part, const char* title) {
    if (part.is_null())
        return std::string(title) + ": not tried\n";
    if (!part.at("succeeded").get<bool>()) {
        const auto& error = part.at("error");
        std::string text = std::string(title) + ": failed\n  " + error.at("message").get<std::string>() + " (" +
                           error.at("sqlstate").get<std::string>() + ")\n";
        for (const auto& [label, member] : {std::pair{"DETAIL", "detail"}, {"HINT", "hint"}, {"CONTEXT", "context"}})
            if (const auto said = error.at(member).get<std::string>(); !said.empty())
                text += std::string("  ") + label + ": " + said + "\n";
        return text;
    }
    std::vector<db::ran_statement> statements;
    for (const auto& row : part.at("statements"))
        statements.push_back({row.at("statement_no"), row.at("line"), row.at("command"), row.at("milliseconds"),
                              row.at("locks").dump()});
    return std::string(title) + ": succeeded\n" + statements_text(statements, 2);
}

} // namespace

ordered_json rehearse_on(branch& branch, const std::vector<const migration*>& migrations, command_context& context) {
    auto& session = branch.session();
    const auto& migration = *migrations.back();
    ordered_json report{{"version", migration.version},
                        {"name", migration.name},
                        {"checksum", db::migration_checksum(session, migration.up, migration.down)},
                        {"branch", branch.name()},
                        {"succeeded", false},
                        {"after", ordered_json::array()},
                        {"copied", ordered_json::array()},
                        {"not_copied", ordered_json::array()},
                        {"upgrade", nullptr},
                        {"checks", ordered_json::array()},
                        {"downgrade", nullptr},
                        {"upgrade_again", nullptr},
                        {"schema_reversible", {{"answer", "unknown"}, {"why", {"the upgrade did not succeed"}}}},
                        {"data_reversible", {{"answer", "unknown"}, {"why", {"the upgrade did not succeed"}}}}};
    std::vector<db::ran_statement> up, down, again, ignored;
    for (const auto* one : migrations) {
        db::propose_migration(session, one->version, one->name, one->up, one->down);
        if (one == &migration)
            break;
        report["after"].push_back(one->version);
        if (auto part = attempt(branch, *one, db::direction::up, context, ignored); !part["succeeded"]) {
            report["upgrade"] = std::move(part);
            return report;
        }
    }
    const auto unfinished = db::unfinished_objects(session);
    const auto before = look(branch);
    for (const auto& [table, digest] : before.digests)
        report["copied"].push_back({{"table", table}, {"rows", digest.rows}});
    for (const auto& table : branch.not_copied())
        report["not_copied"].push_back({{"table", table.table}, {"bytes", table.bytes}});

    report["upgrade"] = attempt(branch, migration, db::direction::up, context, up);
    fault::point("after-upgrade");
    if (!report["upgrade"]["succeeded"])
        return report;
    const auto upgraded = look(branch);
    add_checks(report["checks"], branch, unfinished, context);
    bool sound = std::all_of(report["checks"].begin(), report["checks"].end(),
                             [](const auto& check) { return check.at("ok").template get<bool>(); });
    const auto answer = [&](const char* name, const char* value, const std::string& why) {
        report[name] = {{"answer", value}, {"why", {why}}};
    };
    if (!migration.down) {
        for (const auto* name : {"schema_reversible", "data_reversible"})
            answer(name, "no", "there is no downgrade");
        return report;
    }
    report["downgrade"] = attempt(branch, migration, db::direction::down, context, down);
    if (!report["downgrade"]["succeeded"]) {
        for (const auto* name : {"schema_reversible", "data_reversible"})
            answer(name, "no", "the downgrade fails");
        return report;
    }
    const auto after = look(branch);
    const bool restored = after.fingerprint == before.fingerprint;
    report["schema_reversible"] = {{"answer", restored ? "yes" : "no"},
                                   {"why", sentences(compare(before.objects, after.objects), "after the downgrade")}};
    auto changed = changed_tables(up, branch);
    changed.merge(changed_tables(down, branch));
    report["data_reversible"] = data_answer(before, upgraded, after, changed, branch);

    report["upgrade_again"] = attempt(branch, migration, db::direction::up, context, again);
    sound &= report["upgrade_again"]["succeeded"].get<bool>();
    if (sound) {
        const auto second = look(branch);
        const bool same = second.fingerprint == upgraded.fingerprint;
        report["checks"].push_back(
            {{"check", "the second upgrade makes the same schema"}, {"ok", same}, {"detail", ""}});
        for (const auto& sentence : sentences(compare(upgraded.objects, second.objects), "after the second upgrade"))
            report["checks"].back()["detail"] =
                report["checks"].back()["detail"].get<std::string>() + sentence.get<std::string>() + ". ";
        sound &= same;
    }
    report["succeeded"] =
        sound && report["schema_reversible"]["answer"] != "no" && report["data_reversible"]["answer"] != "no";
    return report;
}

std::string rehearsal_text(const ordered_json& report) {
    std::string text = "rehearsal of " + report.at("version").get<std::string>() + " " +
                       report.at("name").get<std::string>() + " on branch " + report.at("branch").get<std::string>() +
                       "\n";
    const auto list = [&](const char* member, const char* title, const auto& item) {
        std::string names;
        for (const auto& entry : report.at(member))
            names += (names.empty() ? "" : ", ") + item(entry);
        if (!names.empty())
            text += std::string(title) + ": " + names + "\n";
    };
    list("after", "after", [](const auto& version) { return version.template get<std::string>(); });
    list("copied", "copied", [](const auto& entry) {
        return entry.at("table").template get<std::string>() + " (" +
               rows_text(entry.at("rows").template get<std::int64_t>()) + ")";
    });
    list("not_copied", "too large to be copied", [](const auto& entry) {
        return entry.at("table").template get<std::string>() + " (" +
               std::to_string(entry.at("bytes").template get<std::int64_t>() >> 20) + " MB)";
    });
    text += "\n" + part_text(report.at("upgrade"), "upgrade");
    text += "\n" + part_text(report.at("downgrade"), "downgrade");
    text += "\n" + part_text(report.at("upgrade_again"), "upgrade again") + "\n";
    for (const auto& check : report.at("checks"))
        text += std::string(check.at("ok").get<bool>() ? "ok    " : "FAIL  ") + check.at("check").get<std::string>() +
                (check.at("detail").get<std::string>().empty() ? "" : ": " + check.at("detail").get<std::string>()) +
                "\n";
    text += "\n" + answer_text(report, "schema_reversible", "schema reversible");
    text += answer_text(report, "data_reversible", "data reversible");
    text += std::string("\nrehearsal: ") + (report.at("succeeded").get<bool>() ? "succeeded" : "FAILED") + "\n";
    return text;
}

} // namespace sor::migrate
