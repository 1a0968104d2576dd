#include "mcp/schema.hpp"
#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>
#include "text.hpp"

namespace sor::mcp {
namespace {

using nlohmann::json;

constexpr std::size_t longest_value = 80;  // characters of a value or name in a message
constexpr std::size_t longest_path = 200;  // characters
constexpr std::size_t longest_list = 20;   // values or names
constexpr std::size_t most_steps = 500000; // schemas applied, values compared
constexpr std::size_t most_frames = 300;   // schemas within schemas

// Wide enough for every integer that the library holds, signed or not.
long double number(const json& value) {
    switch (value.type()) {
    case json::value_t::number_integer:
        return static_cast<long double>(value.get<std::int64_t>());
    case json::value_t::number_unsigned:
        return static_cast<long double>(value.get<std::uint64_t>());
    default:
        return static_cast<long double>(value.get<double>());
    }
}

bool is_integer(const json& value) {
    return value.is_number_integer() || (value.is_number_float() && std::trunc(number(value)) == number(value));
}

bool is_type(const json& value, std::string_view type) {
    return type == "integer"   ? is_integer(value)
           : type == "number"  ? value.is_number()
           : type == "string"  ? value.is_string()
           : type == "boolean" ? value.is_boolean()
           : type == "object"  ? value.is_object()
           : type == "array"   ? value.is_array()
           : type == "null"    ? value.is_null()
                               : true; // no type of JSON Schema: not for us to judge
}

// A scalar as JSON, cut; of an object or array the word.
std::string shown(const json& value) {
    if (value.is_structured())
        return value.is_object() ? "an object" : "an array";
    return value.is_string() ? json_quote(excerpt(value.get_ref<const std::string&>(), longest_value)) : value.dump();
}

std::string described(const json& value) {
    return value.is_string()   ? "the string " + shown(value)
           : value.is_number() ? "the number " + shown(value)
                               : shown(value);
}

// A name as it is where it is a word, else as a JSON string; cut.
std::string shown_name(const std::string& name) {
    const auto shown = excerpt(name, longest_value);
    const bool word = !shown.empty() && std::none_of(shown.begin(), shown.end(), [](char c) {
        return static_cast<unsigned char>(c) <= ' ' || c == '.' || c == ',' || c == '[' || c == '"' || c == '\\' ||
               c == 0x7F;
    });
    return word ? shown : json_quote(shown);
}

std::string with_article(std::string_view type) {
    const bool vowel = type == "integer" || type == "object" || type == "array";
    return type == "null" ? "null" : (vowel ? "an " : "a ") + shown_name(std::string(type));
}

std::string joined(const std::vector<std::string>& parts, std::string_view last_separator = ", ") {
    std::string result;
    for (std::size_t i = 0; i < parts.size() && i < longest_list; ++i) {
        if (i > 0)
            result += i + 1 == parts.size() ? last_separator : ", ";
        result += parts[i];
    }
    return parts.size() > longest_list ? result + ", …" : result;
}

std::string counted(const json& count, const std::string& noun) {
    return shown(count) + " " + noun + (number(count) == 1 ? "" : "s");
}

bool all_digits(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_uuid(std::string_view text) {
    if (text.size() != 36)
        return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        const char c = text[i];
        const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (dash ? c != '-' : !hex)
            return false;
    }
    return true;
}

bool is_date(std::string_view text) {
    if (text.size() != 10 || text[4] != '-' || text[7] != '-' || !all_digits(text.substr(0, 4)) ||
        !all_digits(text.substr(5, 2)) || !all_digits(text.substr(8)))
        return false;
    const auto two = [&](std::size_t at) { return (text[at] - '0') * 10 + (text[at + 1] - '0'); };
    const int year = two(0) * 100 + two(2), month = two(5), day = two(8);
    if (month < 1 || month > 12 || day < 1)
        return false;
    constexpr std::array<int, 12> days{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day <= days[static_cast<std::size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

// Looser than RFC 3339: the zone may be missing, as PostgreSQL allows.
bool is_date_time(std::string_view text) {
    if (text.size() < 16 || !is_date(text.substr(0, 10)) || (text[10] != 'T' && text[10] != 't' && text[10] != ' '))
        return false;
    return all_digits(text.substr(11, 2)) && text[13] == ':' && all_digits(text.substr(14, 2)) &&
           text.substr(11, 2) < "25" && text.substr(14, 2) < "60" &&
           text.find_first_not_of("0123456789:.+-Zz ", 16) == text.npos;
}

bool is_email(std::string_view text) {
    const auto at = text.rfind('@');
    return at != text.npos && at > 0 && at + 1 < text.size() &&
           std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= ' '; });
}

struct known_format {
    std::string_view name, looks;
    bool (*fits)(std::string_view);
};
constexpr std::array<known_format, 4> known_formats{{
    {"uuid", "a uuid such as \"123e4567-e89b-12d3-a456-426614174000\"", is_uuid},
    {"date", "a date such as \"2026-01-31\"", is_date},
    {"date-time", "a date and time such as \"2026-01-31T12:00:00Z\"", is_date_time},
    {"email", "an e-mail address", is_email},
}};

// What a `$ref` within the schema names: `#`, or a JSON pointer behind `#`. Null: nothing there.
const json* referred(const json& root, std::string_view reference) {
    if (!reference.starts_with('#'))
        return nullptr;
    reference.remove_prefix(1);
    const json* at = &root;
    while (!reference.empty()) {
        if (!reference.starts_with('/'))
            return nullptr;
        reference.remove_prefix(1);
        std::string key;
        for (; !reference.empty() && !reference.starts_with('/'); reference.remove_prefix(1)) {
            if (reference.starts_with("~0") || reference.starts_with("~1")) {
                key += reference[1] == '0' ? '~' : '/';
                reference.remove_prefix(1);
            } else {
                key += reference.front();
            }
        }
        if (at->is_object()) {
            const auto found = at->find(key);
            at = found == at->end() ? nullptr : &*found;
        } else if (at->is_array() && !key.empty() && key.size() < 9 && all_digits(key)) {
            const auto index = std::stoul(key);
            at = index < at->size() ? &(*at)[index] : nullptr;
        } else {
            return nullptr;
        }
        if (!at)
            return nullptr;
    }
    return at;
}

// The keyword's value, or null.
const json* keyword(const json& schema, const char* name) {
    const auto found = schema.find(name);
    return found == schema.end() ? nullptr : &*found;
}
const json* number_keyword(const json& schema, const char* name) {
    const auto* value = keyword(schema, name);
    return value && value->is_number() ? value : nullptr;
}
const json* array_keyword(const json& schema, const char* name) {
    const auto* value = keyword(schema, name);
    return value && value->is_array() ? value : nullptr;
}
const json* object_keyword(const json& schema, const char* name) {
    const auto* value = keyword(schema, name);
    return value && value->is_object() ? value : nullptr;
}

class checker {
public:
    explicit checker(const json& root) : root_(root) {}

    void apply(const json& schema, const json& value) {
        if (full())
            return;
        if (schema.is_boolean()) {
            if (!schema.get<bool>())
                report("is not allowed");
            return;
        }
        if (!schema.is_object())
            return;
        if (steps_ >= most_steps || frames_ >= most_frames) {
            out_of_bounds_ = true;
            return;
        }
        ++steps_;
        ++frames_;
        apply_type(schema, value);
        apply_values(schema, value);
        if (value.is_object())
            apply_object(schema, value);
        else if (value.is_array())
            apply_array(schema, value);
        else if (value.is_number())
            apply_number(schema, value);
        else if (value.is_string())
            apply_string(schema, value);
        apply_composition(schema, value);
        --frames_;
    }

    std::vector<violation> violations(std::size_t most, const json& schema, const json& value) {
        most_ = most;
        apply(schema, value);
        if (out_of_bounds_) {
            found_.resize(std::min(found_.size(), most > 0 ? most - 1 : 0));
            if (most > 0)
                found_.push_back({"", "takes too long to check against the schema"});
        }
        return std::move(found_);
    }

private:
    // A step from a value into it: a member or, without a key, an element.
    struct step {
        const std::string* key;
        std::size_t index;
    };

    bool full() const { return found_.size() >= most_ || out_of_bounds_; }

    void report(std::string problem) {
        if (!full())
            found_.push_back({path(), std::move(problem)});
    }

    std::string path() const {
        std::string result;
        for (const auto& [key, index] : path_) {
            if (!key) {
                result += "[" + std::to_string(index) + "]";
                continue;
            }
            const auto name = shown_name(*key);
            result += name.starts_with('"') ? "[" + name + "]" : (result.empty() ? "" : ".") + name;
        }
        return excerpt(result, longest_path);
    }

    void report_at(step where, std::string problem) {
        path_.push_back(where);
        report(std::move(problem));
        path_.pop_back();
    }

    void apply_at(step where, const json& schema, const json& value) {
        path_.push_back(where);
        apply(schema, value);
        path_.pop_back();
    }

    // The violations, at most one unless more are asked, of a schema that need not be kept. Bounds are shared.
    std::vector<violation> tried(const json& schema, const json& value) {
        std::vector<violation> outer;
        std::swap(outer, found_);
        const auto most = most_;
        most_ = 1;
        apply(schema, value);
        most_ = most;
        std::swap(outer, found_);
        return outer;
    }

    void apply_type(const json& schema, const json& value) {
        const auto* type = keyword(schema, "type");
        if (!type)
            return;
        std::vector<std::string> allowed;
        for (const auto& one : type->is_array() ? *type : json::array({*type})) {
            if (!one.is_string() || is_type(value, one.get_ref<const std::string&>()))
                return;
            allowed.push_back(with_article(one.get_ref<const std::string&>()));
        }
        if (!allowed.empty())
            report("must be " + joined(allowed, " or ") + ", not " + described(value));
    }

    void apply_values(const json& schema, const json& value) {
        if (const auto* constant = keyword(schema, "const"); constant && *constant != value)
            report("must be " + shown(*constant) + ", not " + shown(value));
        const auto* values = array_keyword(schema, "enum");
        if (!values)
            return;
        steps_ += values->size();
        if (std::find(values->begin(), values->end(), value) != values->end())
            return;
        std::vector<std::string> allowed;
        for (std::size_t i = 0; i < values->size() && i <= longest_list; ++i)
            allowed.push_back(shown((*values)[i]));
        report((allowed.size() == 1 ? "must be " : "must be one of ") + joined(allowed) + ", not " + shown(value));
    }

    void apply_object(const json& schema, const json& value) {
        if (const auto* required = array_keyword(schema, "required"))
            for (const auto& name : *required)
                if (name.is_string() && !value.contains(name.get_ref<const std::string&>()))
                    report_at({&name.get_ref<const std::string&>(), 0}, "is missing");
        const json count = value.size();
        if (const auto* least = number_keyword(schema, "minProperties"); least && number(count) < number(*least))
            report("must have at least " + counted(*least, "member") + ", has " + shown(count));
        if (const auto* greatest = number_keyword(schema, "maxProperties");
            greatest && number(count) > number(*greatest))
            report("must have at most " + counted(*greatest, "member") + ", has " + shown(count));

        const auto* properties = object_keyword(schema, "properties");
        const auto* others = keyword(schema, "patternProperties") ? nullptr : keyword(schema, "additionalProperties");
        if (!properties && !others)
            return;
        for (const auto& [name, inner] : value.items()) {
            if (full())
                return;
            const json* known = nullptr;
            if (properties)
                if (const auto found = properties->find(name); found != properties->end())
                    known = &*found;
            if (known)
                apply_at({&name, 0}, *known, inner);
            else if (others && others->is_boolean() && !others->get<bool>())
                report_at({&name, 0}, not_known(properties));
            else if (others)
                apply_at({&name, 0}, *others, inner);
        }
    }

    std::string not_known(const json* properties) const {
        std::vector<std::string> known;
        if (properties)
            for (auto one = properties->begin(); one != properties->end() && known.size() <= longest_list; ++one)
                known.push_back(shown_name(one.key()));
        const std::string noun = path_.empty() ? "argument" : "member";
        return "is not a known " + noun + "; known: " + (known.empty() ? "none" : joined(known));
    }

    void apply_array(const json& schema, const json& value) {
        const json count = value.size();
        if (const auto* least = number_keyword(schema, "minItems"); least && number(count) < number(*least))
            report("must have at least " + counted(*least, "item") + ", has " + shown(count));
        if (const auto* greatest = number_keyword(schema, "maxItems"); greatest && number(count) > number(*greatest))
            report("must have at most " + counted(*greatest, "item") + ", has " + shown(count));
        if (const auto* unique = keyword(schema, "uniqueItems"); unique && unique->is_boolean() && unique->get<bool>())
            apply_unique(value);
        std::size_t at = 0;
        if (const auto* first = array_keyword(schema, "prefixItems"))
            for (; at < value.size() && at < first->size() && !full(); ++at)
                apply_at({nullptr, at}, (*first)[at], value[at]);
        if (const auto* items = keyword(schema, "items"))
            for (; at < value.size() && !full(); ++at)
                apply_at({nullptr, at}, *items, value[at]);
    }

    // A tree and not a sort: the order of the library's numbers is none where a double cannot hold an integer.
    void apply_unique(const json& value) {
        const auto before = [](const json* a, const json* b) { return *a < *b; };
        std::set<const json*, decltype(before)> seen(before);
        steps_ += value.size();
        for (std::size_t i = 0; i < value.size() && !full(); ++i)
            if (!seen.insert(&value[i]).second)
                report_at({nullptr, i}, "is there twice");
    }

    void apply_number(const json& schema, const json& value) {
        const auto refuse = [&](const json* limit, bool breaks, const char* words) {
            if (limit && breaks)
                report(std::string("must be ") + words + " " + shown(*limit) + ", not " + shown(value));
        };
        const auto* least = number_keyword(schema, "minimum");
        refuse(least, least && number(value) < number(*least), "at least");
        const auto* greatest = number_keyword(schema, "maximum");
        refuse(greatest, greatest && number(value) > number(*greatest), "at most");
        const auto* above = number_keyword(schema, "exclusiveMinimum");
        refuse(above, above && number(value) <= number(*above), "more than");
        const auto* below = number_keyword(schema, "exclusiveMaximum");
        refuse(below, below && number(value) >= number(*below), "less than");
        const auto* unit = number_keyword(schema, "multipleOf");
        refuse(unit, unit && number(*unit) > 0 && !is_multiple(value, *unit), "a multiple of");
    }

    // Exact for integers; else as near as the decimals (12.34 of 0.01) come in doubles.
    static bool is_multiple(const json& value, const json& unit) {
        if (is_integer(value) && is_integer(unit))
            return std::fmod(number(value), number(unit)) == 0;
        const auto times = number(value) / number(unit);
        return std::fabs(times - std::round(times)) <= 1e-15L * std::fmax(1, std::fabs(times));
    }

    void apply_string(const json& schema, const json& value) {
        const auto& text = value.get_ref<const std::string&>();
        if (const auto* least = number_keyword(schema, "minLength"), *greatest = number_keyword(schema, "maxLength");
            least || greatest) {
            const json count = characters(text);
            if (least && number(count) < number(*least))
                report("must be at least " + counted(*least, "character") + " long, is " + shown(count));
            if (greatest && number(count) > number(*greatest))
                report("must be at most " + counted(*greatest, "character") + " long, is " + shown(count));
        }
        if (const auto* format = keyword(schema, "format"); format && format->is_string())
            for (const auto& known : known_formats)
                if (*format == known.name && !known.fits(text))
                    report("must be " + std::string(known.looks) + ", not " + shown(value));
    }

    void apply_composition(const json& schema, const json& value) {
        if (const auto* reference = keyword(schema, "$ref"); reference && reference->is_string()) {
            const auto& name = reference->get_ref<const std::string&>();
            if (const auto* there = referred(root_, name))
                apply(*there, value);
            else
                report("cannot be checked: its schema refers to " + shown(*reference) + ", which is not there");
        }
        if (const auto* all = array_keyword(schema, "allOf"))
            for (const auto& one : *all)
                apply(one, value);
        if (const auto* any = array_keyword(schema, "anyOf"); any && !any->empty())
            apply_choice(*any, value, false);
        if (const auto* one = array_keyword(schema, "oneOf"); one && !one->empty())
            apply_choice(*one, value, true);
        if (const auto* no = keyword(schema, "not"); no && !full() && tried(*no, value).empty())
            report("is what the schema forbids: " + described(value));
        if (const auto* condition = keyword(schema, "if"); condition && !full()) {
            const auto* next = keyword(schema, tried(*condition, value).empty() ? "then" : "else");
            if (next)
                apply(*next, value);
        }
    }

    void apply_choice(const json& choices, const json& value, bool only_one) {
        std::size_t fitting = 0;
        std::vector<std::string> problems;
        for (const auto& one : choices) {
            if (full())
                return;
            const auto violations = tried(one, value);
            if (violations.empty()) {
                if (++fitting > (only_one ? 1 : 0))
                    break;
            } else if (problems.size() <= 3) {
                const auto& [where, problem] = violations.front();
                problems.push_back((where == path() ? "" : where + " ") + problem);
            }
        }
        if (fitting > 1)
            report("fits more than one of the forms of which it may be one");
        if (fitting > 0)
            return;
        std::string problem = "fits none of the allowed forms: ";
        for (std::size_t i = 0; i < problems.size(); ++i)
            problem += (i > 0 ? "; or " : "") + (i < 3 ? problems[i] : "…");
        report(problems.size() == 1 ? problems.front() : problem);
    }

    const json& root_;
    std::size_t most_ = 0, steps_ = 0, frames_ = 0;
    bool out_of_bounds_ = false;
    std::vector<violation> found_;
    std::vector<step> path_;
};

} // namespace

std::vector<violation> check(const json& schema, const json& value, std::size_t most) {
    return checker(schema).violations(most, schema, value);
}

} // namespace sor::mcp
