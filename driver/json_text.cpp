#include "json_text.hpp"
#include <algorithm>
#include <set>
#include <utility>
#include <vector>
#include <nlohmann/json.hpp>
#include "failure.hpp"
#include "text.hpp"

namespace sor {
namespace {

using nlohmann::json;

constexpr std::size_t max_nesting = 200;
constexpr std::size_t longest_key_in_path = 100;
constexpr std::size_t longest_problem = 200;

// As in a JSON pointer, so that a key cannot pass for a path.
std::string pointer_token(const std::string& key) {
    if (key.find_first_of(std::string_view("~/\0", 3)) == std::string::npos)
        return key;
    std::string result;
    for (const char c : key)
        result += c == '~' ? "~0" : c == '/' ? "~1" : c == '\0' ? "\\u0000" : std::string(1, c);
    return result;
}

// Writes what it is told again, compactly, and remembers where each value began.
class splitter : public nlohmann::json_sax<json> {
public:
    splitter(int depth, std::size_t deepest, bool unique_keys,
             const std::function<void(const std::string&, std::string_view)>& found)
        : depth_(depth), deepest_(deepest), unique_keys_(unique_keys), found_(found) {}

    bool null() override { return scalar("null"); }
    bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
    bool number_integer(number_integer_t value) override { return scalar(std::to_string(value)); }
    bool number_unsigned(number_unsigned_t value) override { return scalar(std::to_string(value)); }
    bool number_float(number_float_t, const string_t& spelling) override { return scalar(spelling); }
    bool string(string_t& value) override {
        if (beyond_ > 0)
            return true;
        separate();
        const auto begin = out_.size();
        out_ += json_quote(value);
        note_nul(value);
        report(begin);
        return true;
    }
    bool binary(binary_t&) override { return false; }

    bool start_object(std::size_t) override { return start('{', false); }
    bool end_object() override { return end('}'); }
    bool start_array(std::size_t) override { return start('[', true); }
    bool end_array() override { return end(']'); }
    bool key(string_t& value) override {
        if (beyond_ > 0)
            return true;
        auto& level = levels_.back();
        if (level.members++ > 0)
            out_ += ',';
        out_ += json_quote(value);
        out_ += ':';
        level.key = excerpt(value, longest_key_in_path);
        note_nul(value);
        if (unique_keys_ && !level.keys.insert(value).second && !faults.double_key)
            faults.double_key = path();
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
        problem = "at byte " + std::to_string(position);
        // `[json.exception.parse_error.101] parse error at line 1, column 2: syntax error …; last read: '…'; …`: the
        // middle part. What was read last may be long, and no UTF-8.
        std::string_view what = error.what();
        what.remove_prefix(std::min(what.find("] ") + 2, what.size()));
        if (what.starts_with("parse error at "))
            what.remove_prefix(std::min(what.find(": ") + 2, what.size()));
        problem += ": " + excerpt(what.substr(0, what.find("; last read: ")), longest_problem);
        return false;
    }

    std::string problem;
    json_faults faults;

private:
    struct open_value {
        bool array;
        std::size_t begin;
        std::size_t members = 0;
        std::string key;
        std::set<std::string> keys; // no hash: a sender could make up keys that collide
    };

    void note_nul(const std::string& value) {
        if (!faults.nul && value.find('\0') != std::string::npos)
            faults.nul = path();
    }

    void separate() {
        if (!levels_.empty() && levels_.back().array && levels_.back().members++ > 0)
            out_ += ',';
    }

    bool scalar(std::string_view text) {
        if (beyond_ > 0)
            return true;
        separate();
        const auto begin = out_.size();
        out_ += text;
        report(begin);
        return true;
    }

    bool start(char bracket, bool array) {
        if (levels_.size() == deepest_) {
            faults.too_deep = true;
            if (beyond_ == 0)
                scalar("null");
            ++beyond_;
            return true;
        }
        separate();
        levels_.push_back({array, out_.size(), 0, {}, {}});
        out_ += bracket;
        return true;
    }

    bool end(char bracket) {
        if (beyond_ > 0) {
            --beyond_;
            return true;
        }
        out_ += bracket;
        const auto begin = levels_.back().begin;
        levels_.pop_back();
        report(begin);
        return true;
    }

    void report(std::size_t begin) {
        if (static_cast<int>(levels_.size()) <= depth_)
            found_(path(), std::string_view(out_).substr(begin));
    }

    std::string path() const {
        std::string result;
        for (const auto& level : levels_)
            result += "/" + (level.array ? std::to_string(level.members - 1) : pointer_token(level.key));
        return result;
    }

    int depth_;
    std::size_t deepest_;
    bool unique_keys_;
    const std::function<void(const std::string&, std::string_view)>& found_;
    std::string out_;
    std::vector<open_value> levels_;
    std::size_t beyond_ = 0; // levels open below the deepest that is kept
};

} // namespace

json_faults scan_json(std::string_view text, int depth, std::size_t deepest, bool unique_keys,
                      const std::function<void(const std::string&, std::string_view)>& found) {
    // A zero byte would pass for the end of the text.
    if (const auto zero = text.find('\0'); zero != text.npos)
        throw failure(exit_status::bad_data, "not valid JSON", "at byte " + std::to_string(zero + 1) + ": a zero byte");
    splitter splitter(depth, deepest, unique_keys, found);
    if (!json::sax_parse(text.begin(), text.end(), &splitter))
        throw failure(exit_status::bad_data, "not valid JSON", splitter.problem);
    return std::move(splitter.faults);
}

void split_json(std::string_view text, int depth,
                const std::function<void(const std::string&, std::string_view)>& found) {
    const auto refuse = [](const std::string& problem) {
        throw failure(exit_status::handler_fault, "not valid JSON", problem);
    };
    json_faults faults;
    try {
        faults = scan_json(text, depth, max_nesting, false, found);
    } catch (const failure& error) {
        refuse(error.detail());
    }
    if (faults.too_deep)
        refuse("it nests deeper than " + std::to_string(max_nesting) + " levels");
    if (faults.nul)
        refuse("a string holds the character U+0000, which PostgreSQL cannot store");
}

void each_member(std::string_view text, const std::function<void(std::string_view, std::string_view)>& found) {
    constexpr std::string_view spaces = " \t\r\n";
    std::size_t at = 1; // behind the bracket
    const auto skip_spaces = [&] { at = std::min(text.find_first_not_of(spaces, at), text.size()); };
    const auto skip_string = [&] {
        while (text[++at] != '"')
            at += text[at] == '\\';
        ++at;
    };
    const bool is_object = text.starts_with('{');
    for (skip_spaces(); at < text.size() && text[at] != '}' && text[at] != ']'; skip_spaces()) {
        std::string_view key;
        if (is_object) {
            const auto begin = at;
            skip_string();
            key = text.substr(begin, at - begin);
            at = text.find(':', at) + 1;
            skip_spaces();
        }
        const auto begin = at;
        for (int depth = 0; depth > 0 || (text[at] != ',' && text[at] != '}' && text[at] != ']');) {
            if (text[at] == '"') {
                skip_string();
                continue;
            }
            depth += text[at] == '{' || text[at] == '[';
            depth -= text[at] == '}' || text[at] == ']';
            ++at;
        }
        const auto value = text.substr(begin, at - begin);
        found(key, value.substr(0, value.find_last_not_of(spaces) + 1));
        at += text[at] == ',';
    }
}

std::string without_member(std::string_view object, std::string_view member) {
    const auto name = json_quote(member);
    std::string result;
    each_member(object, [&](std::string_view key, std::string_view value) {
        if (key != name)
            result.append(result.empty() ? "{" : ",").append(key).append(":").append(value);
    });
    return result.empty() ? "{}" : result + "}";
}

std::string string_member(const nlohmann::json& object, const char* member) {
    const auto found = object.find(member);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string json_unquote(std::string_view text) {
    return json::parse(text).get<std::string>();
}

} // namespace sor
