// The rules of the review, and the cutting of a migration's text into statements. No PostgreSQL header; nothing here
// allocates, so that the shell may hold these objects across calls of the server.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace sor::review {

enum class severity { safe, locking, rewriting, destructive, opaque };
const char* name_of(severity s);

enum class rule {
#define RULE(name, severity, object, part, hazard, example, safer) name,
#include "review/rules.def"
#undef RULE
};

struct rule_text {
    const char* id;
    severity level;
    const char* object; // of the example, for {0} and {1}
    const char* part;
    const char* hazard;
    const char* example; // "" where none fits on a page
    const char* safer;   // "" where nothing is safer
};
std::span<const rule_text> rules();
const rule_text& text_of(rule which);

// A part of a migration's text. Every byte outside of COPY data and psql commands is in some statement, so a server
// that reads the statements one by one has read all of it.
struct piece {
    enum class of { statement, psql_command, copy_data } kind;
    size_t begin, end; // of the text
    size_t start;      // where the first word is
    int line;          // of the first word; the first line is 1
    size_t operators;  // the longest run of operator characters outside of quotes
};

// The server's reader takes time with the square of such a run, and cannot be cancelled; an operator has at most 63.
constexpr size_t longest_operator = 1000;

// The server's lexical rules, standard_conforming_strings on.
class lexer {
public:
    explicit lexer(std::string_view sql) : text_(sql) {}

protected:
    char at(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
    bool skip_blank(size_t& i) const; // blanks and comments; false when there is none at i
    size_t after_quotes(size_t i) const;
    size_t after_dollar_quotes(size_t i) const;
    std::string_view word_at(size_t i) const; // "" when there is none at i

    std::string_view text_;
};

// Cuts as the server's own reader does: at semicolons outside of quotes, comments, parentheses and BEGIN ATOMIC bodies;
// and as psql does at a backslash outside of these.
class splitter : lexer {
public:
    explicit splitter(std::string_view sql) : lexer(sql) {}
    bool next(piece& into); // false at the end; blanks and comments alone are no piece

private:
    size_t after_copy_data(size_t i) const; // i itself when no line of it is \.
    int line_of(size_t i);

    size_t next_ = 0;
    bool copy_follows_ = false;
    bool no_more_data_ = false;
    size_t counted_ = 0; // newlines before this
    int line_ = 1;
};

// What a block of PL/pgSQL executes, or computes to decide whether it does.
struct block_part {
    // query: what follows a SELECT, of PERFORM, an assignment, a default; command: after EXECUTE
    enum class of { statement, query, condition, command } kind;
    size_t begin, end;
};

// Reads a block without loops: variables and assignments, blocks, IF, EXCEPTION, RAISE, PERFORM, EXECUTE and statements
// of SQL. Whatever else it meets it does not understand.
class block_reader : lexer {
public:
    explicit block_reader(std::string_view body) : lexer(body) {}
    enum class outcome { part, end, not_understood };
    outcome next(block_part& into);
    bool has_variables() const { return declared_; } // as far as it was read

private:
    static constexpr int deepest = 32;
    enum class inside : char { block, handlers, branch };
    size_t after_assignment(size_t i) const; // where what is assigned begins; 0: no := or = is at i, after blanks
    bool ends(size_t& i) const;              // after blanks, at a semicolon, which it passes
    bool find_then(size_t& i, size_t& end) const;
    bool find_semicolon(size_t& i, size_t& end, bool& parenthesis) const;
    bool find(std::string_view word, size_t& i, size_t& end, bool& parenthesis) const;

    size_t next_ = 0;
    inside open_[deepest] = {};
    int depth_ = 0;
    bool begun_ = false;
    bool declared_ = false;
    bool declares_ = false; // between DECLARE and BEGIN
};

// The names that the comments before the first statement declare: lines of the form
//   -- sor: touches schema.table, other_schema.*
class scope_reader {
public:
    explicit scope_reader(std::string_view sql) : text_(sql) {}
    bool next(std::string_view& name);

private:
    std::string_view text_;
    std::string_view names_; // what is left of the line
};

// Whether the body of a trigger's function has, outside of quotes and comments, a word of those that drop, or execute
// what is put together when it runs, or deletes more than what belongs to the row that is written.
bool destroys(std::string_view body);

// The words of a migration's name, in small letters, without its version: add_notes_to_expenses, AddNotesToExpenses,
// 0007_add-notes.sql.
class name_reader {
public:
    explicit name_reader(std::string_view name);
    bool next(std::string_view& word); // as it stands there

private:
    std::string_view rest_;
};
bool is_preposition(std::string_view word);             // after it comes what is changed
std::string_view stem(std::string_view word);           // without the ending of a plural
bool same_word(std::string_view a, std::string_view b); // whatever the case and the number

} // namespace sor::review
