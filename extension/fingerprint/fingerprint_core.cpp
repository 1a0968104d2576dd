#include "fingerprint/fingerprint_core.hpp"

#include <cstring>

namespace sor::fingerprint {

namespace {

constexpr size_t none = std::string_view::npos;
constexpr std::string_view constructor = "ARRAY[";
constexpr int most_nested = 100; // deeper ones stay as they are

struct sink {
    char* at;
    size_t size = 0;
    void put(std::string_view s) {
        if (at != nullptr)
            std::memcpy(at + size, s.data(), s.size());
        size += s.size();
    }
};

// Behind the string or quoted name that begins at i.
size_t behind_quoted(std::string_view text, size_t i) {
    const char quote = text[i];
    for (++i; i < text.size(); ++i) {
        if (text[i] != quote)
            continue;
        if (i + 1 < text.size() && text[i + 1] == quote)
            ++i;
        else
            return i + 1;
    }
    return text.size();
}

// Where the bracket that opens at i closes.
size_t closing(std::string_view text, size_t i) {
    int depth = 0;
    while (i < text.size()) {
        const char c = text[i];
        if (c == '\'' || c == '"') {
            i = behind_quoted(text, i);
            continue;
        }
        if (c == '(' || c == '[')
            ++depth;
        else if ((c == ')' || c == ']') && --depth == 0)
            return i;
        ++i;
    }
    return none;
}

bool of_a_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == ' ' || c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

// Where the name of a type that begins at i ends, if [] follows; none otherwise.
size_t end_of_element_type(std::string_view text, size_t i) {
    const size_t begin = i;
    while (i < text.size()) {
        if (text[i] == '"')
            i = behind_quoted(text, i);
        else if (text[i] == '(') // numeric(10,2)
            for (++i; i < text.size() && text[i - 1] != ')'; ++i) {
                if (!of_a_name(text[i]) && text[i] != ',' && text[i] != ')')
                    return none;
            }
        else if (of_a_name(text[i]))
            ++i;
        else
            break;
    }
    return i > begin && text.substr(i).starts_with("[]") ? i : none;
}

void write(std::string_view text, sink& out, int depth);

// The elements of a constructor, the brackets not included, each with the cast.
void write_elements(std::string_view elements, std::string_view type, sink& out, int depth) {
    size_t begin = 0;
    for (size_t i = 0; i <= elements.size();) {
        if (i < elements.size() && elements[i] != ',') {
            const char c = elements[i];
            if (c == '\'' || c == '"')
                i = behind_quoted(elements, i);
            else if (c == '(' || c == '[') {
                i = closing(elements, i);
                i = i == none ? elements.size() : i + 1;
            } else
                ++i;
            continue;
        }
        std::string_view element = elements.substr(begin, i - begin);
        while (element.starts_with(' '))
            element.remove_prefix(1);
        if (begin > 0)
            out.put(", ");
        if (element.starts_with(constructor) && closing(element, constructor.size() - 1) == element.size() - 1) {
            out.put(constructor);
            write_elements(element.substr(constructor.size(), element.size() - constructor.size() - 1), type, out,
                           depth + 1);
            out.put("]");
        } else {
            out.put("(");
            write(element, out, depth + 1);
            out.put(")::");
            out.put(type);
        }
        begin = ++i;
    }
}

void write(std::string_view text, sink& out, int depth) {
    size_t copied = 0;
    for (size_t i = 0; i < text.size();) {
        if (text[i] == '\'' || text[i] == '"') {
            i = behind_quoted(text, i);
            continue;
        }
        if (text[i] != '(' || depth > most_nested || !text.substr(i + 1).starts_with(constructor)) {
            ++i;
            continue;
        }
        const size_t open = i + constructor.size();
        const size_t close = closing(text, open);
        const size_t type = close == none ? none : close + 4;
        const size_t end =
            close != none && text.substr(close).starts_with("])::") ? end_of_element_type(text, type) : none;
        if (end == none) {
            ++i;
            continue;
        }
        out.put(text.substr(copied, i - copied));
        out.put(constructor);
        write_elements(text.substr(open + 1, close - open - 1), text.substr(type, end - type), out, depth + 1);
        out.put("]");
        i = copied = end + 2;
    }
    out.put(text.substr(copied));
}

} // namespace

size_t with_inner_casts(std::string_view text, char* into) {
    sink out{into};
    write(text, out, 0);
    return out.size;
}

} // namespace sor::fingerprint
