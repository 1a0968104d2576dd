#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace sor::mcp {

// Makes lines of bytes, however these are cut. A line ends with \n or \r\n, which do not count. One longer than
// `longest` bytes is dropped as it comes, and reported once, as soon as it is too long. Lines of spaces and tabs alone
// are skipped. Holds at most about twice `longest` bytes.
class line_reader {
public:
    explicit line_reader(std::size_t longest) : longest_(longest) {}

    // Calls line(std::string_view) for each whole line and overlong() for each that is too long, in their order. The
    // view is good for the length of the call.
    template <class L, class O>
    void feed(std::string_view bytes, L&& line, O&& overlong) {
        while (!bytes.empty()) {
            const auto end = bytes.find('\n');
            take(bytes.substr(0, end), end != bytes.npos, line, overlong);
            if (end == bytes.npos)
                break;
            bytes.remove_prefix(end + 1);
        }
    }

    // At the end of the input: what stands there without a line end is a line.
    template <class L, class O>
    void finish(L&& line, O&& overlong) {
        take({}, true, line, overlong);
    }

private:
    template <class L, class O>
    void take(std::string_view part, bool ended, L&& line, O&& overlong) {
        if (!dropping_ && too_long(part)) {
            dropping_ = true;
            held_.clear();
            overlong();
        }
        if (!dropping_ && ended) {
            const auto whole = stripped(held_.empty() ? part : std::string_view(held_.append(part)));
            if (whole.find_first_not_of(" \t") != whole.npos)
                line(whole);
            held_.clear();
        } else if (!dropping_) {
            held_.append(part);
        }
        if (ended)
            dropping_ = false;
    }

    // Whether the line is so whatever comes next: a \r that stands last may belong to its end.
    bool too_long(std::string_view part) const {
        const auto size = held_.size() + part.size();
        return size > longest_ &&
               !(size == longest_ + 1 && (part.empty() ? std::string_view(held_) : part).ends_with('\r'));
    }
    static std::string_view stripped(std::string_view line) {
        if (line.ends_with('\r'))
            line.remove_suffix(1);
        return line;
    }

    std::size_t longest_;
    std::string held_;
    bool dropping_ = false;
};

} // namespace sor::mcp
