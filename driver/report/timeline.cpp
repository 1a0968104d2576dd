#include "report/timeline.hpp"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <tuple>
#include "report/rows.hpp"
#include "text.hpp"

namespace sor::report {
namespace {

constexpr double bar_height = 14;

struct layout {
    double width, left, right_margin, gap_width, lane_height;
    double axis_y; // of a lane's line, below the lane's upper edge
    std::size_t longest_label;
    const char* name;
};
constexpr layout layouts[] = {{1000, 168, 16, 44, 30, 15, 22, "wide"}, {360, 10, 10, 26, 40, 28, 46, "narrow"}};

constexpr std::size_t most_gaps = 5;
constexpr std::int64_t shortest_gap = 500000; // microseconds: less is no pause to a person

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    return text;
}

const char* name_of(tone colour) {
    switch (colour) {
    case tone::ok:
        return "ok";
    case tone::bad:
        return "bad";
    case tone::warning:
        return "warning";
    case tone::open:
        return "open";
    case tone::neutral:
        break;
    }
    return "neutral";
}

constexpr const char* meanings[] = {"▬ from begin to end",
                                    "○ begun, claimed or queued",
                                    "● done; of a message: accepted by its destination",
                                    "✕ failed, refused, given up, lost or altered",
                                    "◆ interrupted: resumed, cancelled, given back or paused",
                                    "? outcome unknown"};

// Each kind has a form of its own, so that nothing is told by colour alone.
std::string drawn(shape form, double x, double y, double to) {
    const auto cx = number(x), cy = number(y);
    switch (form) {
    case shape::bar:
        return "<rect x=\"" + cx + "\" y=\"" + number(y - bar_height / 2) + "\" width=\"" +
               number(std::max(to - x, 2.5)) + "\" height=\"" + number(bar_height) + "\" rx=\"2\"/>";
    case shape::dot:
        return "<circle cx=\"" + cx + "\" cy=\"" + cy + "\" r=\"4.5\"/>";
    case shape::ring:
        return "<circle class=\"ring\" cx=\"" + cx + "\" cy=\"" + cy + "\" r=\"4.5\"/>";
    case shape::cross:
        return "<path class=\"stroke\" d=\"M" + number(x - 5) + ' ' + number(y - 5) + "l10 10m0 -10l-10 10\"/>";
    case shape::diamond:
        return "<path d=\"M" + cx + ' ' + number(y - 7) + "l7 7l-7 7l-7 -7z\"/>";
    case shape::question:
        return "<text class=\"sign\" x=\"" + cx + "\" y=\"" + number(y + 6) + "\" text-anchor=\"middle\">?</text>";
    }
    return {};
}

struct drawn_mark {
    const mark* first;
    double x, to;
    std::size_t count = 1;
};

// Those of one look at one place become one.
std::vector<drawn_mark> merged(const lane& l, const time_axis& axis) {
    std::vector<drawn_mark> out;
    std::map<std::tuple<int, int, long, long>, std::size_t> seen;
    for (const mark& m : l.marks) {
        const double x = axis.x(m.from), to = axis.x(m.to);
        const auto key = std::make_tuple(static_cast<int>(m.form), static_cast<int>(m.colour), std::lround(x * 2 / 3),
                                         std::lround(to * 2 / 3));
        const auto [at, is_new] = seen.emplace(key, out.size());
        if (is_new)
            out.push_back({&m, x, to});
        else
            ++out[at->second].count;
    }
    // marks over bars, and the gravest over the rest
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
        const auto depth = [](const drawn_mark& d) { return std::pair(d.first->form != shape::bar, d.first->colour); };
        return depth(a) < depth(b);
    });
    return out;
}

} // namespace

time_axis::time_axis(std::vector<std::int64_t> moments, double left, double axis_width, double gap_width)
    : left_(left) {
    std::sort(moments.begin(), moments.end());
    if (moments.empty())
        return;
    begin_ = moments.front();
    end_ = moments.back();
    // The longest pauses, which squeeze all the rest together.
    std::vector<std::pair<std::int64_t, std::int64_t>> pauses;
    for (std::size_t i = 1; i < moments.size(); ++i)
        if (moments[i] > moments[i - 1])
            pauses.emplace_back(moments[i - 1], moments[i]);
    std::sort(pauses.begin(), pauses.end(),
              [](const auto& a, const auto& b) { return a.second - a.first > b.second - b.first; });
    // As many of them as leave less than a third of the shortest cut one.
    auto rest = static_cast<double>(end_ - begin_), after = rest;
    std::size_t cut = 0;
    for (std::size_t i = 0; i < std::min(pauses.size(), most_gaps); ++i) {
        const auto length = static_cast<double>(pauses[i].second - pauses[i].first);
        if (pauses[i].second - pauses[i].first < shortest_gap)
            break;
        after -= length;
        if (after > 0 && length >= 3 * after) {
            cut = i + 1;
            rest = after;
        }
    }
    for (std::size_t i = 0; i < cut; ++i)
        gaps_.push_back({pauses[i].first, pauses[i].second, 0, gap_width});
    std::sort(gaps_.begin(), gaps_.end(), [](const gap& a, const gap& b) { return a.from < b.from; });
    scale_ = rest > 0 ? (axis_width - gap_width * static_cast<double>(gaps_.size())) / rest : 0;
    for (gap& g : gaps_)
        g.x = x(g.from);
}

double time_axis::x(std::int64_t moment) const {
    double at = left_;
    std::int64_t from = begin_;
    for (const gap& g : gaps_) {
        if (moment <= g.from)
            break;
        at += static_cast<double>(g.from - from) * scale_;
        from = g.from;
        if (moment < g.to)
            return at + g.width * static_cast<double>(moment - g.from) / static_cast<double>(g.to - g.from);
        at += g.width;
        from = g.to;
    }
    return at + static_cast<double>(moment - from) * scale_;
}

std::vector<std::int64_t> time_axis::stretches() const {
    std::vector<std::int64_t> out{begin_};
    for (const gap& g : gaps_)
        out.push_back(g.to);
    return out;
}

std::string svg(const timeline& picture, const clock_of& clock, extent size) {
    const layout& l = layouts[static_cast<int>(size)];
    std::vector<std::int64_t> moments;
    for (const lane& lane : picture.lanes)
        for (const mark& m : lane.marks) {
            moments.push_back(m.from);
            moments.push_back(m.to);
        }
    for (const auto& line : picture.lines)
        moments.push_back(line.at);
    const time_axis axis(moments, l.left, l.width - l.left - l.right_margin, l.gap_width);
    const double gaps_y = picture.lines.empty() ? 16 : 40; // below the labels of the lines
    const double top = axis.gaps().empty() ? gaps_y - 4 : gaps_y + 12;
    const double bottom = top + l.lane_height * static_cast<double>(picture.lanes.size());
    const auto lane_y = [&](std::size_t i) { return top + l.lane_height * static_cast<double>(i) + l.axis_y; };
    const std::string id = std::string("timeline-") + l.name;
    std::string out = std::string("<svg class=\"timeline ") + l.name + "\" viewBox=\"0 0 " + number(l.width) + ' ' +
                      number(bottom + 34) + "\" role=\"img\" aria-labelledby=\"" + id + "-title " + id +
                      "-desc\">\n<title id=\"" + id + "-title\">" + html(picture.title) + "</title>\n<desc id=\"" + id +
                      "-desc\">" + html(picture.description) + "</desc>\n";
    // below the labels of the lanes, which a narrow picture has in the way
    for (const auto& line : picture.lines) {
        const double x = axis.x(line.at);
        const bool right = x > l.width * 0.7;
        out += std::string("<g class=\"failure ") + name_of(line.colour) + "\" data-at=\"" + std::to_string(line.at) +
               "\"><line x1=\"" + number(x) + "\" x2=\"" + number(x) + "\" y1=\"22\" y2=\"" + number(bottom + 6) +
               "\"/><text x=\"" + number(right ? x + 4 : x - 4) + "\" y=\"16\" text-anchor=\"" +
               (right ? "end" : "start") + "\">" + html(line.label, 60) + "</text></g>\n";
    }
    for (std::size_t i = 0; i < picture.lanes.size(); ++i) {
        const double y = lane_y(i);
        const bool beside = size == extent::wide;
        out += "<line class=\"rule\" x1=\"" + number(l.left) + "\" x2=\"" + number(l.width - l.right_margin) +
               "\" y1=\"" + number(y) + "\" y2=\"" + number(y) + "\"/><text class=\"label\" x=\"" +
               number(beside ? l.left - 14 : l.left) + "\" y=\"" + number(beside ? y + 4 : y - 13) +
               "\" text-anchor=\"" + (beside ? "end" : "start") + "\">" +
               html(excerpt(picture.lanes[i].label, l.longest_label)) + "</text>\n";
    }
    // what was cut out of the axis
    double free_from = 0;
    for (const auto& gap : axis.gaps()) {
        const auto text = duration_text(gap.to - gap.from);
        const double text_width = 6.1 * static_cast<double>(characters(text));
        const double middle = gap.x + gap.width / 2;
        out += "<g class=\"gap\" data-from=\"" + std::to_string(gap.from) + "\" data-to=\"" + std::to_string(gap.to) +
               "\"><title>nothing happened for " + text + "</title><rect x=\"" + number(gap.x + gap.width / 8) +
               "\" y=\"" + number(top - 6) + "\" width=\"" + number(gap.width * 3 / 4) + "\" height=\"" +
               number(bottom - top + 12) + "\"/>";
        if (middle - text_width / 2 >= free_from && middle + text_width / 2 <= l.width) {
            free_from = middle + text_width / 2 + 4;
            out += "<text class=\"tick\" x=\"" + number(middle) + "\" y=\"" + number(gaps_y - 2) +
                   "\" text-anchor=\"middle\">" + text + "</text>";
        }
        out += "</g>\n";
    }
    // the clock, where a stretch begins and at the end
    free_from = 0;
    auto ticks = axis.stretches();
    ticks.push_back(axis.end());
    for (const auto tick : ticks) {
        const double x = axis.x(tick);
        const auto text = html(clock(tick));
        const double text_width = 7.2 * static_cast<double>(characters(text));
        const bool leftwards = x + text_width > l.width - 2;
        const double begins = leftwards ? x - text_width : x;
        if (begins < free_from)
            continue;
        free_from = begins + text_width + 10;
        out += "<line class=\"tickmark\" x1=\"" + number(x) + "\" x2=\"" + number(x) + "\" y1=\"" + number(bottom) +
               "\" y2=\"" + number(bottom + 6) + "\"/><text class=\"tick\" x=\"" + number(x) + "\" y=\"" +
               number(bottom + 22) + "\" text-anchor=\"" + (leftwards ? "end" : "start") + "\">" + text + "</text>\n";
    }
    for (std::size_t i = 0; i < picture.lanes.size(); ++i) {
        out += "<g class=\"lane\" data-lane=\"" + html(picture.lanes[i].label, 60) + "\">\n";
        for (const auto& d : merged(picture.lanes[i], axis)) {
            const mark& m = *d.first;
            out += std::string("<g class=\"mark ") + name_of(m.colour) + "\" data-from=\"" + std::to_string(m.from) +
                   "\" data-to=\"" + std::to_string(m.to) + "\" data-count=\"" + std::to_string(d.count) +
                   "\"><title>" + html(m.title, 300) +
                   (d.count > 1 ? " and " + std::to_string(d.count - 1) + " more like it" : std::string()) +
                   "</title>" + drawn(m.form, d.x, lane_y(i), d.to) + "</g>\n";
        }
        out += "</g>\n";
    }
    return out + "</svg>\n";
}

std::string figure(const timeline& picture, const clock_of& clock) {
    std::set<shape> used;
    for (const lane& lane : picture.lanes)
        for (const mark& m : lane.marks)
            used.insert(m.form);
    const auto wide = svg(picture, clock);
    std::string out =
        "<figure class=\"picture\">" + wide + svg(picture, clock, extent::narrow) + "</figure>\n<ul class=\"key\">";
    for (const shape form : used)
        out += std::string("<li>") + meanings[static_cast<int>(form)] + "</li>";
    if (wide.find("class=\"gap\"") != wide.npos)
        out += "<li>shaded: a pause, cut out</li>";
    return out + "</ul>\n";
}

} // namespace sor::report
