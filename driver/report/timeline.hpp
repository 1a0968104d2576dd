#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

// The picture of a run, or of a time: lanes of bars and marks over an axis of time, as SVG without script.
namespace sor::report {

// Where a moment stands on the axis: to scale within what is busy, while a long time in which nothing happened is cut
// out and drawn as a gap of fixed width, so that neither a night's wait nor a burst hides the other.
class time_axis {
public:
    struct gap {
        std::int64_t from, to; // microseconds
        double x, width;
    };
    time_axis(std::vector<std::int64_t> moments, double left, double width);

    double x(std::int64_t moment) const;
    const std::vector<gap>& gaps() const { return gaps_; }
    std::int64_t begin() const { return begin_; }
    std::int64_t end() const { return end_; }
    // The first moment of each stretch between gaps.
    std::vector<std::int64_t> stretches() const;

private:
    std::int64_t begin_ = 0, end_ = 0;
    double left_, scale_ = 0;
    std::vector<gap> gaps_;
};

enum class shape { bar, dot, ring, cross, diamond, question };
enum class tone { ok, bad, warning, neutral, open };

struct mark {
    shape form;
    tone colour;
    std::int64_t from, to; // the same for a mark
    std::string title;     // what it is, in words; not yet escaped
};

struct lane {
    std::string label;
    std::vector<mark> marks;
};

struct timeline {
    std::string title, description;
    std::vector<lane> lanes;
    struct line {
        std::int64_t at;
        std::string label;
    };
    std::vector<line> lines; // across all lanes: where it failed
};

// `clock` gives a moment of the axis as text. Marks of one look that would cover each other are drawn once, and say how
// many they are: the picture's size is bounded by its width, not by the number of events.
std::string svg(const timeline& picture, const std::function<std::string(std::int64_t)>& clock);

} // namespace sor::report
