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
    time_axis(std::vector<std::int64_t> moments, double left, double width, double gap_width = 44);

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

// One meaning each, in the picture, its key and the tables: bar from begin to end, ring begun, claimed or queued, dot
// done, cross gone wrong, diamond interrupted, question of unknown outcome.
enum class shape { bar, ring, dot, cross, diamond, question };
enum class tone { neutral, ok, warning, open, bad }; // gravest last

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
        tone colour;
    };
    std::vector<line> lines; // across all lanes: where it failed
};

using clock_of = std::function<std::string(std::int64_t)>; // a moment of the axis as text

enum class extent { wide, narrow }; // narrow: for a telephone, a lane's label above it
// Marks of one look that would cover each other are drawn once, and say how many they are: the picture's size is
// bounded by its width, not by the number of events.
std::string svg(const timeline& picture, const clock_of& clock, extent size = extent::wide);

// Both extents, of which the style shows one, and the key of the signs that are in it.
std::string figure(const timeline& picture, const clock_of& clock);

} // namespace sor::report
