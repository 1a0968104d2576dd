#include "report/timeline.hpp"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <tuple>
#include "report/rows.hpp"
#include "text.hpp"

namespace sor::report {
namespace {

constexpr double width = 1000, label_width = 168, right_margin = 16, gap_width = 44, lane_height = 30, top = 54,
                 bar_height = 14;
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
    // what is wrong is drawn last, over the rest
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
        return (a.first->colour == tone::bad) < (b.first->colour == tone::bad);
    });
    return out;
}

} // namespace

time_axis::time_axis(std::vector<std::int64_t> moments, double left, double axis_width) : left_(left) {
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

std::string svg(const timeline& picture, const std::function<std::string(std::int64_t)>& clock) {
    std::vector<std::int64_t> moments;
    for (const lane& l : picture.lanes)
        for (const mark& m : l.marks) {
            moments.push_back(m.from);
            moments.push_back(m.to);
        }
    for (const auto& line : picture.lines)
        moments.push_back(line.at);
    const time_axis axis(moments, label_width, width - label_width - right_margin);
    const double bottom = top + lane_height * static_cast<double>(picture.lanes.size());
    const double height = bottom + 34;
    std::string out =
        "<svg class=\"timeline\" viewBox=\"0 0 " + number(width) + ' ' + number(height) +
        "\" role=\"img\" aria-labelledby=\"timeline-title timeline-desc\">\n<title id=\"timeline-title\">" +
        html(picture.title) + "</title>\n<desc id=\"timeline-desc\">" + html(picture.description) + "</desc>\n";
    // lanes
    for (std::size_t i = 0; i < picture.lanes.size(); ++i) {
        const double y = top + lane_height * (static_cast<double>(i) + 0.5);
        out += "<line class=\"rule\" x1=\"" + number(label_width) + "\" x2=\"" + number(width - right_margin) +
               "\" y1=\"" + number(y) + "\" y2=\"" + number(y) + "\"/><text class=\"label\" x=\"" +
               number(label_width - 14) + "\" y=\"" + number(y + 4) + "\" text-anchor=\"end\">" +
               html(excerpt(picture.lanes[i].label, 22)) + "</text>\n";
    }
    // what was cut out of the axis
    for (const auto& gap : axis.gaps()) {
        out += "<g class=\"gap\" data-from=\"" + std::to_string(gap.from) + "\" data-to=\"" + std::to_string(gap.to) +
               "\"><title>nothing happened for " + duration_text(gap.to - gap.from) + "</title><rect x=\"" +
               number(gap.x + 6) + "\" y=\"" + number(top - 6) + "\" width=\"" + number(gap.width - 12) +
               "\" height=\"" + number(bottom - top + 12) + "\"/><text class=\"tick\" x=\"" +
               number(gap.x + gap.width / 2) + "\" y=\"" + number(top - 12) + "\" text-anchor=\"middle\">" +
               duration_text(gap.to - gap.from) + "</text></g>\n";
    }
    // the clock, where a stretch begins and at the end
    double free_from = 0;
    auto ticks = axis.stretches();
    ticks.push_back(axis.end());
    for (const auto tick : ticks) {
        const double x = axis.x(tick);
        const auto text = html(clock(tick));
        const double text_width = 7.2 * static_cast<double>(characters(text));
        const bool leftwards = x + text_width > width - 2;
        const double begins = leftwards ? x - text_width : x;
        if (begins < free_from)
            continue;
        free_from = begins + text_width + 10;
        out += "<line class=\"tickmark\" x1=\"" + number(x) + "\" x2=\"" + number(x) + "\" y1=\"" + number(bottom) +
               "\" y2=\"" + number(bottom + 6) + "\"/><text class=\"tick\" x=\"" + number(x) + "\" y=\"" +
               number(bottom + 22) + "\" text-anchor=\"" + (leftwards ? "end" : "start") + "\">" + text + "</text>\n";
    }
    for (std::size_t i = 0; i < picture.lanes.size(); ++i) {
        const double y = top + lane_height * (static_cast<double>(i) + 0.5);
        out += "<g class=\"lane\" data-lane=\"" + html(picture.lanes[i].label, 60) + "\">\n";
        for (const auto& d : merged(picture.lanes[i], axis)) {
            const mark& m = *d.first;
            out += std::string("<g class=\"mark ") + name_of(m.colour) + "\" data-from=\"" + std::to_string(m.from) +
                   "\" data-to=\"" + std::to_string(m.to) + "\" data-count=\"" + std::to_string(d.count) +
                   "\"><title>" + html(m.title, 300) +
                   (d.count > 1 ? " and " + std::to_string(d.count - 1) + " more like it" : std::string()) +
                   "</title>" + drawn(m.form, d.x, y, d.to) + "</g>\n";
        }
        out += "</g>\n";
    }
    for (const auto& line : picture.lines) {
        const double x = axis.x(line.at);
        const bool right = x > width * 0.7;
        out += "<g class=\"failure\" data-at=\"" + std::to_string(line.at) + "\"><line x1=\"" + number(x) + "\" x2=\"" +
               number(x) + "\" y1=\"" + number(top - 30) + "\" y2=\"" + number(bottom + 6) + "\"/><text x=\"" +
               number(right ? x - 6 : x + 6) + "\" y=\"" + number(top - 34) + "\" text-anchor=\"" +
               (right ? "end" : "start") + "\">" + html(line.label, 60) + "</text></g>\n";
    }
    return out + "</svg>\n";
}

} // namespace sor::report
