#pragma once
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>
#include "report/rows.hpp"
#include "report/timeline.hpp"

// What the page of a run and that of a period have in common.
namespace sor::report {

// What a finding's kind is called, and how grave it is.
struct headline {
    std::string_view kind, text;
    tone colour;
    std::string_view line; // marks the moment in the picture
    int rank;              // 0 is the gravest
};
headline headline_of(std::string_view kind);
// Somebody has to look at it.
bool needs_attention(const headline& h);

const char* class_of(tone colour); // "" for neutral
tone tone_of_event(std::string_view type);
tone tone_of_status(std::string_view status);
// "✕ ", "◆ ", "? ", or nothing: as in the picture.
std::string sign_of(tone colour);
shape shape_of(tone colour);
// How an event stands in the picture.
mark mark_of_event(std::string_view type, std::int64_t at, std::string title);

// "TIME: what happened": the sentence alone, where the time has a place of its own.
std::string sentence_of(const std::string& narrative);
std::string status_element(std::string_view status);
std::string plural(std::size_t n, std::string_view one);
// The tag's begin without its >, with a class unless that is empty.
std::string classed(std::string_view tag, std::string_view name);
std::string folded(const std::string& what, std::string_view json, std::size_t longest = 4000);
std::string fact(std::string_view name, const std::string& value);

// How a page writes moments: 2026-11-20T11:51:32.125+00:00 as 2026-11-20 11:51:32.125. The page says once in which zone
// they are, that of `iso`; a moment of another zone says its own, for when the clocks are set back an hour is there
// twice.
class clock_face {
public:
    clock_face() = default;
    explicit clock_face(const std::string& iso);

    const std::string& zone() const { return zone_; }
    std::string text(const std::string& iso) const;
    std::string element(const std::string& iso, bool with_day = true) const;
    // "from – to", the day once.
    std::string between(const std::string& from, const std::string& to) const;

    // For the axis of a picture: with the day when what was remembered is of several.
    void remember(const std::string& iso);
    std::int64_t last() const { return texts_.empty() ? 0 : texts_.rbegin()->first; }
    std::string tick(std::int64_t at) const;

private:
    std::string zone_;
    std::map<std::int64_t, std::string> texts_;
};

// One event as both kinds of page know it.
struct told_event {
    std::string id, seq, created_at, type, narrative, run_id, run_label;
    std::string_view payload;
    tone flag = tone::neutral; // of a finding that rests on it,
    std::string note = {};     // and what that says of it
};
// The section with filters; of more than `most` the first, the last, and what went wrong.
std::string events_section(const std::vector<told_event>& events, const clock_face& clock, std::size_t most,
                           const std::string& caption);

std::string table_begin(std::string_view id, const std::string& caption, std::initializer_list<std::string_view> names);
std::string table_in_frame(std::string_view name, const std::string& table);

std::string about(const row& message);
// The ids in the command of sor.forensic_report's answer that it has a name for, and that name.
using named_ids = std::vector<std::pair<std::string, std::string>>;
named_ids ids_in_command(const row& report);
// What to type, with a button that copies it; below it what its ids are.
std::string command_block(const std::string& id, const std::string& command, const named_ids& ids);

// From the document's begin to that of its facts. The title is not yet escaped.
std::string page_begin(const std::string& title, const std::string& heading, tone colour, std::string_view what);
// What the words of the page mean, and from there to the document's end.
std::string page_end(const std::string& page);

} // namespace sor::report
