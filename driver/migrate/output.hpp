#pragma once
#include <cstddef>
#include <string>
#include <vector>
#include <nlohmann/json.hpp>
#include "db/calls.hpp"
#include "migrate/files.hpp"

// What the commands of `sor migrate` print on standard output.
namespace sor::migrate {

using nlohmann::ordered_json;

void print(const std::string& text);
void print_json(const ordered_json& document);

// Rows in columns as wide as their longest value; the first is the heading.
class table {
public:
    explicit table(std::vector<std::string> heading) : rows_{std::move(heading)} {}
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    bool empty() const { return rows_.size() == 1; }
    std::string text(std::size_t indent) const;

private:
    std::vector<std::vector<std::string>> rows_;
};

// `0.4 ms`, `12 ms`, `3.4 s`, `2 min 5 s`.
std::string duration_text(double milliseconds);

// Files of a migration: {"up": path, "down": path or null}.
ordered_json files_of(const migration& migration);
// `FILE:LINE` of a line of its upgrade or downgrade; line 0 is the file as a whole.
std::string place_text(const migration& migration, const std::string& direction, int line);

ordered_json statements_json(const std::vector<db::ran_statement>& statements);
// One row a statement: number, line, duration, command, and each lock with how long it was held.
std::string statements_text(const std::vector<db::ran_statement>& statements, std::size_t indent);

} // namespace sor::migrate
