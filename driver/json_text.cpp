#include "json_text.hpp"
#include <vector>
#include <nlohmann/json.hpp>
#include "failure.hpp"
#include "text.hpp"

namespace sor {
namespace {

using nlohmann::json;

constexpr std::size_t max_nesting = 200;

// Writes what it is told again, compactly, and remembers where each value began.
class splitter : public nlohmann::json_sax<json> {
public:
    splitter(int depth, const std::function<void(const std::string&, std::string_view)>& found)
        : depth_(static_cast<std::size_t>(depth)), found_(found) {}

    bool null() override { return scalar("null"); }
    bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
    bool number_integer(number_integer_t value) override { return scalar(std::to_string(value)); }
    bool number_unsigned(number_unsigned_t value) override { return scalar(std::to_string(value)); }
    bool number_float(number_float_t, const string_t& spelling) override { return scalar(spelling); }
    bool string(string_t& value) override {
        if (!storable(value))
            return false;
        return scalar(json_quote(value));
    }
    bool binary(binary_t&) override { return false; }

    bool start_object(std::size_t) override { return start('{', false); }
    bool end_object() override { return end('}'); }
    bool start_array(std::size_t) override { return start('[', true); }
    bool end_array() override { return end(']'); }
    bool key(string_t& value) override {
        if (!storable(value))
            return false;
        auto& level = levels_.back();
        if (level.members++ > 0)
            out_ += ',';
        out_ += json_quote(value);
        out_ += ':';
        level.key = value;
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
        problem = "at byte " + std::to_string(position);
        // `[json.exception.parse_error.101] parse error at line 1, column 2: syntax error …`: keep the last part.
        const std::string what = error.what();
        if (const auto colon = what.find(": "); colon != std::string::npos)
            problem += ": " + what.substr(colon + 2);
        return false;
    }

    std::string problem;

private:
    struct open_value {
        bool array;
        std::size_t begin;
        std::size_t members = 0;
        std::string key;
    };

    bool storable(const std::string& value) {
        if (value.find('\0') == std::string::npos)
            return true;
        problem = "a string holds the character U+0000, which PostgreSQL cannot store";
        return false;
    }

    void separate() {
        if (!levels_.empty() && levels_.back().array && levels_.back().members++ > 0)
            out_ += ',';
    }

    bool scalar(std::string_view text) {
        separate();
        const auto begin = out_.size();
        out_ += text;
        report(begin);
        return true;
    }

    bool start(char bracket, bool array) {
        if (levels_.size() == max_nesting) {
            problem = "it nests deeper than " + std::to_string(max_nesting) + " levels";
            return false;
        }
        separate();
        levels_.push_back({array, out_.size(), 0, {}});
        out_ += bracket;
        return true;
    }

    bool end(char bracket) {
        out_ += bracket;
        const auto begin = levels_.back().begin;
        levels_.pop_back();
        report(begin);
        return true;
    }

    void report(std::size_t begin) {
        if (levels_.size() > depth_)
            return;
        std::string path;
        for (const auto& level : levels_)
            path += "/" + (level.array ? std::to_string(level.members - 1) : escaped(level.key));
        found_(path, std::string_view(out_).substr(begin));
    }

    // As in a JSON pointer, so that a key cannot pass for a path.
    static std::string escaped(const std::string& key) {
        if (key.find_first_of("~/") == std::string::npos)
            return key;
        std::string result;
        for (const char c : key)
            result += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
        return result;
    }

    std::size_t depth_;
    const std::function<void(const std::string&, std::string_view)>& found_;
    std::string out_;
    std::vector<open_value> levels_;
};

} // namespace

void split_json(std::string_view text, int depth,
                const std::function<void(const std::string&, std::string_view)>& found) {
    splitter splitter(depth, found);
    if (!json::sax_parse(text.begin(), text.end(), &splitter))
        throw failure(exit_status::handler_fault, "not valid JSON", splitter.problem);
}

std::string json_unquote(std::string_view text) {
    return json::parse(text).get<std::string>();
}

} // namespace sor
