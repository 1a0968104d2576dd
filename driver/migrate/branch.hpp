#pragma once
#include <string>
#include <vector>
#include "command.hpp"
#include "db/calls.hpp"
#include "migrate/files.hpp"
#include "process.hpp"

namespace sor::migrate {

// A copy of the live database to rehearse on. By default a database of the same server, restored from pg_dump: the
// whole schema, and the rows of the tables that the texts name, smallest first, up to a size; or what the clone command
// of the settings makes. It is gone with this object, whatever ended the rehearsal; only a kill leaves it, under a
// name that db::branches_left_behind finds.
class branch {
public:
    // `live` is the command's connection. Throws failure: refused (77) where the login that makes branches is no
    // superuser, unavailable with what pg_dump, pg_restore or the command said.
    branch(db::connection& live, const std::vector<const migration*>& migrations, command_context& context);
    branch(const branch&) = delete;
    branch& operator=(const branch&) = delete;
    ~branch();

    const std::string& name() const { return name_; }
    // A superuser's session there, with the drop guard off and the search path of the live connection.
    db::connection& session() { return *session_; }
    // PG* for programs that are to connect to it.
    std::vector<std::pair<std::string, std::string>> environment() const;
    // Tables that the texts name: with their rows there, and without them for being too large.
    const std::vector<db::table_size>& copied() const { return copied_; }
    const std::vector<db::table_size>& not_copied() const { return not_copied_; }
    // All tables of the live database, or of the clone.
    const std::vector<db::table_size>& tables() const { return tables_; }

private:
    void restore_dump(db::connection& live);
    void clone();
    void choose_tables(const std::vector<const migration*>& migrations);
    void drop() noexcept;

    command_context& context_;
    std::string name_;
    std::unique_ptr<db::connection> control_; // to the live database; holds the branch's name
    std::unique_ptr<db::connection> session_;
    std::vector<db::table_size> tables_, copied_, not_copied_;
};

// Does the text name this table? Also where it only looks so: a copy too many costs time, one too few an answer.
bool names_table(const std::string& text, const std::string& table);

} // namespace sor::migrate
