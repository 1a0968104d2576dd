#include "migrate/output.hpp"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include "text.hpp"

namespace sor::migrate {
namespace {

ordered_json locks_of(const db::ran_statement& statement) {
    return ordered_json::parse(statement.locks);
}

std::string dump(const ordered_json& value, int indent) {
    return value.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

} // namespace

void print(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

void print_json(const ordered_json& document) {
    print(dump(document, 2) + "\n");
}

std::string table::text(std::size_t indent) const {
    std::vector<std::size_t> widths(rows_.front().size());
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], characters(row[i]));
    std::string all;
    for (const auto& row : rows_) {
        std::string line(indent, ' ');
        for (std::size_t i = 0; i < row.size(); ++i)
            line += row[i] + std::string(widths[i] - characters(row[i]) + 2, ' ');
        line.erase(line.find_last_not_of(' ') + 1);
        all += line + "\n";
    }
    return all;
}

std::string duration_text(double milliseconds) {
    char text[40];
    if (milliseconds < 10)
        std::snprintf(text, sizeof text, "%.1f ms", milliseconds);
    else if (milliseconds < 1000)
        std::snprintf(text, sizeof text, "%.0f ms", milliseconds);
    else if (milliseconds < 60000)
        std::snprintf(text, sizeof text, "%.1f s", milliseconds / 1000);
    else
        std::snprintf(text, sizeof text, "%.0f min %.0f s", std::floor(milliseconds / 60000),
                      std::floor(std::fmod(milliseconds, 60000) / 1000));
    return text;
}

ordered_json files_of(const migration& migration) {
    return {{"up", migration.up_at.path},
            {"down", migration.down ? ordered_json(migration.down_at.path) : ordered_json()}};
}

std::string place_text(const migration& migration, const std::string& direction, int line) {
    const auto& at = direction == "down" ? migration.down_at : migration.up_at;
    if (line <= 0)
        return at.path;
    return at.path + ":" + std::to_string(at.line + static_cast<std::uint64_t>(line) - 1);
}

ordered_json statements_json(const std::vector<db::ran_statement>& statements) {
    auto rows = ordered_json::array();
    for (const auto& statement : statements)
        rows.push_back({{"statement_no", statement.statement_no},
                        {"line", statement.line},
                        {"command", statement.command},
                        {"milliseconds", statement.milliseconds},
                        {"locks", locks_of(statement)}});
    return rows;
}

std::string statements_text(const std::vector<db::ran_statement>& statements, std::size_t indent) {
    table rows({"statement", "line", "duration", "command", "lock, and how long it was held"});
    for (const auto& statement : statements) {
        std::vector<std::string> row{std::to_string(statement.statement_no), std::to_string(statement.line),
                                     duration_text(statement.milliseconds), statement.command};
        const auto locks = locks_of(statement);
        bool first = true;
        if (locks.is_array())
            for (const auto& lock : locks) {
                if (!first)
                    row = {"", "", "", ""};
                first = false;
                row.push_back(lock.value("mode", "") + " on " + lock.value("relation", "") +
                              (lock.contains("held_ms") && lock["held_ms"].is_number()
                                   ? ", " + duration_text(lock["held_ms"].get<double>())
                                   : ""));
                rows.add(row);
            }
        if (first)
            rows.add(std::move(row));
    }
    return rows.text(indent);
}

} // namespace sor::migrate
