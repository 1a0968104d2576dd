#include "review/review_core.hpp"

#include <algorithm>
#include <iterator>

namespace sor::review {

namespace {

// A rule's id is its name with hyphens, made when the library is compiled.
template <size_t N>
struct hyphened {
    char text[N];
    constexpr hyphened(const char (&name)[N]) : text() {
        for (size_t i = 0; i < N; ++i)
            text[i] = name[i] == '_' ? '-' : name[i];
    }
};
#define RULE(name, severity, object, part, hazard, example, safer) constexpr hyphened id_of_##name(#name);
#include "review/rules.def"
#undef RULE

constexpr rule_text all_rules[] = {
#define RULE(name, level, object, part, hazard, example, safer)                                                        \
    {id_of_##name.text, severity::level, object, part, hazard, example, safer},
#include "review/rules.def"
#undef RULE
};

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool is_word_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (static_cast<unsigned char>(c) & 0x80) != 0;
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_word(char c) {
    return is_word_start(c) || is_digit(c) || c == '$';
}
bool is_operator(char c) {
    return c != '\0' && std::string_view("~!@#^&|`?+-*/%<>=").find(c) != std::string_view::npos;
}
size_t longest_run(std::string_view text) {
    size_t longest = 0;
    size_t run = 0;
    for (const char c : text)
        longest = std::max(longest, run = is_operator(c) ? run + 1 : 0);
    return longest;
}
bool same(std::string_view word, std::string_view lower) {
    return word.size() == lower.size() && std::equal(word.begin(), word.end(), lower.begin(), [](char a, char b) {
               return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
           });
}

// Whether a statement is a CREATE FUNCTION or PROCEDURE, whose body may hold semicolons between BEGIN and END.
class routine_words {
public:
    void hear(std::string_view word) {
        if (heard_ >= 4 || known_)
            return;
        const bool body = same(word, "function") || same(word, "procedure");
        const bool fits = heard_ == 0   ? same(word, "create")
                          : heard_ == 1 ? body || same(word, "or")
                          : heard_ == 2 ? same(word, "replace")
                                        : body;
        known_ = fits && body;
        heard_ = fits ? heard_ + 1 : 4;
    }
    bool known() const { return known_; }

private:
    int heard_ = 0;
    bool known_ = false;
};

} // namespace

const char* name_of(severity s) {
    static constexpr const char* names[] = {"safe", "locking", "rewriting", "destructive", "opaque"};
    return names[static_cast<size_t>(s)];
}

std::span<const rule_text> rules() {
    return all_rules;
}

const rule_text& text_of(rule which) {
    return all_rules[static_cast<size_t>(which)];
}

bool lexer::skip_blank(size_t& i) const {
    if (is_space(at(i))) {
        ++i;
        return true;
    }
    if (at(i) == '-' && at(i + 1) == '-') {
        while (i < text_.size() && text_[i] != '\n' && text_[i] != '\r')
            ++i;
        return true;
    }
    if (at(i) == '/' && at(i + 1) == '*') {
        int depth = 0;
        for (size_t j = i; j < text_.size();) {
            if (at(j) == '/' && at(j + 1) == '*') {
                ++depth;
                j += 2;
            } else if (at(j) == '*' && at(j + 1) == '/') {
                j += 2;
                if (--depth == 0) {
                    i = j;
                    return true;
                }
            } else {
                ++j;
            }
        }
    }
    return false; // also for a comment that is not closed: the server shall complain of it
}

size_t lexer::after_quotes(size_t i) const {
    const char quote = text_[i];
    const bool escapes =
        quote == '\'' && i > 0 && (text_[i - 1] == 'e' || text_[i - 1] == 'E') && (i == 1 || !is_word(text_[i - 2]));
    for (++i; i < text_.size(); ++i) {
        if (escapes && text_[i] == '\\') {
            ++i;
        } else if (text_[i] == quote) {
            if (at(i + 1) == quote) {
                ++i;
                continue;
            }
            // 'a' and 'b' on two lines are one string, and what holds for the first holds for the second
            size_t after = i + 1;
            bool newline = false;
            while (escapes && (is_space(at(after)) || (newline && at(after) == '-' && at(after + 1) == '-'))) {
                newline = newline || at(after) == '\n' || at(after) == '\r';
                skip_blank(after);
            }
            if (!newline || at(after) != quote)
                return i + 1;
            i = after;
        }
    }
    return text_.size();
}

size_t lexer::after_dollar_quotes(size_t i) const {
    size_t end = i + 1;
    if (is_word_start(at(end)))
        while (is_word(at(end)) && at(end) != '$')
            ++end;
    if (at(end) != '$')
        return i + 1;
    const std::string_view tag = text_.substr(i, end + 1 - i);
    const size_t close = text_.find(tag, end + 1);
    return close == text_.npos ? text_.size() : close + tag.size();
}

std::string_view lexer::word_at(size_t i) const {
    size_t end = i;
    if (is_word_start(at(i)))
        while (is_word(at(end)))
            ++end;
    return text_.substr(std::min(i, text_.size()), end - i);
}

size_t splitter::after_copy_data(size_t i) const {
    size_t line = text_.find('\n', i);
    while (line != text_.npos) {
        const size_t end = std::min(text_.find('\n', line + 1), text_.size());
        const std::string_view data = text_.substr(line + 1, end - line - 1);
        if (data == "\\." || data == "\\.\r")
            return end;
        line = end == text_.size() ? text_.npos : end;
    }
    return i;
}

int splitter::line_of(size_t i) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(counted_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(i), '\n'));
    counted_ = i;
    return line_;
}

bool splitter::next(piece& into) {
    if (copy_follows_) {
        copy_follows_ = false;
        const size_t end = no_more_data_ ? next_ : after_copy_data(next_);
        no_more_data_ = end == next_; // then no later one has data either
        if (end != next_) {
            into = {piece::of::copy_data, next_, end, next_, line_of(next_), 0};
            next_ = end;
            return true;
        }
    }
    size_t i = next_;
    while (at(i) == ';' || skip_blank(i))
        if (at(i) == ';')
            ++i;
    if (i >= text_.size())
        return false;
    into = {piece::of::statement, next_, text_.size(), i, line_of(i), 0};
    if (text_[i] == '\\') {
        into.kind = piece::of::psql_command;
        into.begin = i;
        into.end = next_ = std::min(text_.find('\n', i), text_.size());
        return true;
    }
    int parentheses = 0;
    int bodies = 0;
    routine_words routine;
    enum { other, copy, copy_from, copy_from_stdin } seen = other;
    bool first = true;
    size_t run = 0; // of operator characters that ends at run_end
    size_t run_end = 0;
    while (i < text_.size()) {
        const char c = text_[i];
        if (c == ';' && parentheses == 0 && bodies == 0) {
            into.end = i + 1;
            copy_follows_ = seen == copy_from_stdin;
            break;
        }
        if (c == '\\') {
            into.end = i;
            break;
        }
        if (c == '\'' || c == '"') {
            i = after_quotes(i);
        } else if (c == '$') {
            i = after_dollar_quotes(i);
        } else if (is_word(c)) {
            const size_t begin = i;
            while (is_word(at(i)))
                ++i;
            const std::string_view word = text_.substr(begin, i - begin);
            routine.hear(word);
            if (routine.known() && parentheses == 0) {
                if (same(word, "begin") || (bodies > 0 && same(word, "case")))
                    ++bodies;
                else if (bodies > 0 && same(word, "end"))
                    --bodies;
            }
            if (first && same(word, "copy"))
                seen = copy;
            else if (seen == copy && parentheses == 0 && same(word, "from"))
                seen = copy_from;
            else if (seen == copy_from)
                seen = same(word, "stdin") ? copy_from_stdin : other;
            first = false;
        } else {
            const size_t begin = i;
            if (!skip_blank(i)) {
                parentheses += c == '(' ? 1 : c == ')' && parentheses > 0 ? -1 : 0;
                i = c == '/' && at(i + 1) == '*' ? text_.size() : i + 1;
            }
            if (c == '/' && i > begin + 1) // a comment
                into.operators = std::max(into.operators, longest_run(text_.substr(begin, i - begin)));
            else if (is_operator(c) && i == begin + 1) {
                run = begin == run_end ? run + 1 : 1;
                run_end = i;
                into.operators = std::max(into.operators, run);
            }
        }
    }
    next_ = into.end;
    return true;
}

size_t block_reader::after_assignment(size_t i) const {
    while (skip_blank(i)) {
    }
    if (at(i) == ':' && at(i + 1) == '=')
        return i + 2;
    return at(i) == '=' && !is_operator(at(i + 1)) ? i + 1 : 0;
}

bool block_reader::ends(size_t& i) const {
    while (skip_blank(i)) {
    }
    if (at(i) != ';')
        return false;
    ++i;
    return true;
}

// Passes the word, or the semicolon when it is "", outside of quotes and parentheses; end is before it.
bool block_reader::find(std::string_view word, size_t& i, size_t& end, bool& parenthesis) const {
    int parentheses = 0;
    while (i < text_.size()) {
        const char c = text_[i];
        if (const std::string_view w = word_at(i); !w.empty()) {
            if (same(w, "atomic")) // has semicolons of its own
                return false;
            if (!word.empty() && parentheses == 0 && same(w, word)) {
                end = i;
                i += w.size();
                return true;
            }
            i += w.size();
        } else if (c == '\'' || c == '"') {
            i = after_quotes(i);
        } else if (c == '$') {
            i = after_dollar_quotes(i);
        } else if (c == ';') {
            if (!word.empty() || parentheses != 0)
                return false;
            end = i++;
            return true;
        } else if (!skip_blank(i)) {
            parentheses += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
            parenthesis = parenthesis || c == '(';
            if (is_digit(c)) // a word may not begin within a number
                while (is_word(at(i + 1)))
                    ++i;
            ++i;
        }
    }
    return false;
}

bool block_reader::find_then(size_t& i, size_t& end) const {
    bool parenthesis = false;
    return find("then", i, end, parenthesis);
}

bool block_reader::find_semicolon(size_t& i, size_t& end, bool& parenthesis) const {
    return find("", i, end, parenthesis);
}

block_reader::outcome block_reader::next(block_part& into) {
    static constexpr std::string_view statements[] = {"create",   "alter",    "drop",   "insert", "update",  "delete",
                                                      "truncate", "grant",    "revoke", "merge",  "comment", "set",
                                                      "reset",    "analyze",  "with",   "lock",   "call",    "reindex",
                                                      "refresh",  "security", "do",     "select"};
    for (;;) {
        while (skip_blank(next_)) {
        }
        if (depth_ == 0 && begun_) // after the last END, with or without a semicolon
            return next_ >= text_.size() ? outcome::end : outcome::not_understood;
        const std::string_view word = word_at(next_);
        const size_t start = next_;
        size_t i = next_ + word.size();
        size_t end = 0;
        bool parenthesis = false;
        const inside top = depth_ > 0 ? open_[depth_ - 1] : inside::block;
        if (word.empty())
            return outcome::not_understood;
        if (same(word, "begin")) {
            if (depth_ == deepest)
                return outcome::not_understood;
            open_[depth_++] = inside::block;
            begun_ = true;
            declares_ = false;
            next_ = i;
        } else if (same(word, "declare") && !declares_) {
            declares_ = declared_ = true;
            next_ = i;
        } else if (declares_) { // name type := default;
            size_t value = 0;
            for (size_t k = i; k < text_.size() && at(k) != ';' && value == 0;) {
                const std::string_view of_type = word_at(k);
                for (const std::string_view other : {"cursor", "alias", "for", "begin"})
                    if (same(of_type, other))
                        return outcome::not_understood;
                if (same(of_type, "default"))
                    value = k + of_type.size();
                else if (at(k) == ':' || at(k) == '=')
                    value = after_assignment(k);
                else if (at(k) == '\'' || at(k) == '"' || at(k) == '$')
                    return outcome::not_understood;
                k += std::max<size_t>(of_type.size(), 1);
            }
            if (!find_semicolon(i, end, parenthesis))
                return outcome::not_understood;
            next_ = i;
            if (value == 0)
                continue;
            into = {block_part::of::query, value, end};
            return outcome::part;
        } else if (!begun_) { // DECLARE, a label
            return outcome::not_understood;
        } else if (same(word, "end")) {
            if (top == inside::branch) {
                while (skip_blank(i)) {
                }
                if (!same(word_at(i), "if"))
                    return outcome::not_understood;
                i += 2;
            }
            if (!ends(i) && !(depth_ == 1 && i >= text_.size()))
                return outcome::not_understood;
            --depth_;
            next_ = i;
        } else if (same(word, "exception") && top == inside::block) {
            open_[depth_ - 1] = inside::handlers;
            next_ = i;
        } else if (same(word, "when") && top == inside::handlers) {
            if (!find_then(i, end))
                return outcome::not_understood;
            next_ = i; // conditions are names
        } else if (same(word, "else") && top == inside::branch) {
            next_ = i;
        } else if (same(word, "if") || ((same(word, "elsif") || same(word, "elseif")) && top == inside::branch)) {
            const size_t begin = i;
            if (!find_then(i, end) || (same(word, "if") && depth_ == deepest))
                return outcome::not_understood;
            if (same(word, "if"))
                open_[depth_++] = inside::branch;
            next_ = i;
            into = {block_part::of::condition, begin, end};
            return outcome::part;
        } else if (same(word, "null") || same(word, "return")) {
            if (!ends(i))
                return outcome::not_understood;
            next_ = i;
        } else {
            const size_t begin = i;
            const bool statement = std::any_of(std::begin(statements), std::end(statements),
                                               [&](std::string_view s) { return same(word, s); });
            const bool performs = same(word, "perform");
            const bool executes = same(word, "execute");
            const bool raises = same(word, "raise") || same(word, "get"); // DIAGNOSTICS
            const size_t assigned = statement ? 0 : after_assignment(i);
            if (assigned != 0) {
                i = assigned;
                if (!find_semicolon(i, end, parenthesis))
                    return outcome::not_understood;
                next_ = i;
                into = {block_part::of::query, assigned, end};
                return outcome::part;
            }
            if (!(statement || performs || executes || raises) || !find_semicolon(i, end, parenthesis) ||
                (raises && parenthesis))
                return outcome::not_understood;
            next_ = i;
            if (raises)
                continue;
            into = {performs   ? block_part::of::query
                    : executes ? block_part::of::command
                               : block_part::of::statement,
                    statement ? start : begin, end};
            return outcome::part;
        }
    }
}

bool scope_reader::next(std::string_view& name) {
    for (;;) {
        const size_t begin = names_.find_first_not_of(", \t\r");
        if (begin != names_.npos) {
            const size_t end = std::min(names_.find_first_of(", \t\r", begin), names_.size());
            name = names_.substr(begin, end - begin);
            names_.remove_prefix(end);
            return true;
        }
        const size_t start = text_.find_first_not_of(" \t\r\n");
        if (start == text_.npos || !text_.substr(start).starts_with("--"))
            return false;
        const size_t end = std::min(text_.find('\n', start), text_.size());
        std::string_view line = text_.substr(start + 2, end - start - 2);
        text_.remove_prefix(end);
        for (const std::string_view word : {std::string_view("sor:"), std::string_view("touches")}) {
            const size_t at = line.find_first_not_of(" \t");
            if (at == line.npos || !line.substr(at).starts_with(word)) {
                line = {};
                break;
            }
            line.remove_prefix(at + word.size());
        }
        names_ = line;
    }
}

namespace {

class body_reader : lexer {
public:
    using lexer::lexer;
    bool destroys() const {
        static constexpr std::string_view words[] = {"truncate", "drop", "alter", "execute", "dblink", "dblink_exec"};
        for (size_t i = 0; i < text_.size();) {
            const std::string_view word = word_at(i);
            if (std::any_of(std::begin(words), std::end(words),
                            [&](std::string_view one) { return same(word, one); }) ||
                (same(word, "delete") && !deletes_with_its_row(i)))
                return true;
            pass(i);
        }
        return false;
    }

private:
    void pass(size_t& i) const { // a word, a quotation, a blank or a character
        if (const size_t length = word_at(i).size(); length > 0)
            i += length;
        else if (at(i) == '\'' || at(i) == '"')
            i = after_quotes(i);
        else if (at(i) == '$')
            i = after_dollar_quotes(i);
        else if (!skip_blank(i))
            ++i;
    }
    // DELETE … WHERE … = OLD.x: what belongs to the row that is written, and nothing else by an OR.
    bool deletes_with_its_row(size_t i) const {
        bool equals = false, found = false;
        for (; i < text_.size() && at(i) != ';'; pass(i)) {
            const std::string_view word = word_at(i);
            if (same(word, "or"))
                return false;
            found = found || (equals && same(word, "old") && at(i + word.size()) == '.');
            size_t blank = i;
            if (at(i) == '=')
                equals = true;
            else if (!skip_blank(blank))
                equals = false;
        }
        return found;
    }
};

} // namespace

bool destroys(std::string_view body) {
    return body_reader(body).destroys();
}

name_reader::name_reader(std::string_view name) : rest_(name) {
    if (const size_t slash = rest_.find_last_of('/'); slash != rest_.npos)
        rest_.remove_prefix(slash + 1);
    for (const std::string_view ending : {".sql", ".up", ".down"})
        if (rest_.ends_with(ending))
            rest_.remove_suffix(ending.size());
}

bool name_reader::next(std::string_view& word) {
    const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
    const auto upper = [](char c) { return c >= 'A' && c <= 'Z'; };
    size_t begin = 0;
    while (begin < rest_.size() && !lower(rest_[begin]) && !upper(rest_[begin]))
        ++begin;
    size_t end = begin;
    for (; end < rest_.size(); ++end) {
        const char c = rest_[end];
        if (!lower(c) && !upper(c) && !is_digit(c))
            break;
        // aName: before N; AName as well, which is an A and a Name
        if (end > begin && upper(c) && (lower(rest_[end - 1]) || (end + 1 < rest_.size() && lower(rest_[end + 1]))))
            break;
    }
    word = rest_.substr(begin, end - begin);
    rest_.remove_prefix(end);
    return !word.empty();
}

bool is_preposition(std::string_view word) {
    for (const std::string_view one : {"to", "from", "on", "in", "into", "of", "for"})
        if (same(word, one))
            return true;
    return false;
}

std::string_view stem(std::string_view word) {
    for (const std::string_view ending : {"ies", "es", "s", "y"})
        if (word.size() > ending.size() + 2 && same(word.substr(word.size() - ending.size()), ending))
            return word.substr(0, word.size() - ending.size());
    return word;
}

bool same_word(std::string_view a, std::string_view b) {
    a = stem(a);
    b = stem(b);
    const size_t shorter = std::min(a.size(), b.size()); // expense, expenses: expens and expense
    return shorter > 0 && std::max(a.size(), b.size()) - shorter <= 1 &&
           std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(shorter), b.begin(), [](char x, char y) {
               return (x >= 'A' && x <= 'Z' ? x - 'A' + 'a' : x) == (y >= 'A' && y <= 'Z' ? y - 'A' + 'a' : y);
           });
}

} // namespace sor::review
