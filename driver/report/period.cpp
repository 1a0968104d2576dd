#include <algorithm>
#include <map>
#include <optional>
#include "report/page.hpp"
#include "report/parts.hpp"
#include "text.hpp"

namespace sor::report {
namespace {

class period_page {
public:
    explicit period_page(const period& what)
        : what_(what),
          clock_(moment_of(what.time.since) || what.events.empty() ? what.time.since : what.events.front().created_at) {
        for (const auto& run : what.runs) {
            const auto story = what.stories.find(run.id);
            told_.push_back({run, story == what.stories.end() ? nullptr : &story->second,
                             story == what.stories.end() ? headline{} : headline_of(story->second.kind),
                             excerpt((run.worker.empty() ? "run" : run.worker) + " " +
                                         (run.run_key.empty() ? "…" + run.id.substr(24) : run.run_key),
                                     60)});
        }
        std::stable_sort(told_.begin(), told_.end(), [](const told& a, const told& b) { return rank(a) < rank(b); });
        for (const told& t : told_)
            by_id_[t.run.id] = &t;
        wrong_ = static_cast<std::size_t>(std::count_if(told_.begin(), told_.end(), is_wrong));
        for (const auto& e : what.events) {
            clock_.remember(e.created_at);
            told_event event{{}, {}, e.created_at, e.event_type, e.narrative, e.run_id, {}, {}};
            if (const auto found = by_id_.find(e.run_id); found != by_id_.end()) {
                event.run_label = found->second->label;
                flag(event, *found->second);
            }
            events_.push_back(std::move(event));
        }
    }

    std::string text() const {
        const auto heading = told_.empty() ? std::string("No run was in progress")
                             : wrong_ > 0  ? std::to_string(wrong_) + " of " + plural(told_.size(), "run") +
                                                (wrong_ == 1 ? " needs attention" : " need attention")
                                          : "Nothing went wrong in " +
                                                (what_.stories.size() < told_.size() ? "the newest " : std::string()) +
                                                plural(what_.stories.size(), "run");
        tone gravest = told_.empty() ? tone::neutral : tone::ok;
        for (const told& t : told_)
            if (is_wrong(t))
                gravest = std::max(gravest, colour_of(t));
        std::string out =
            page_begin(heading + " · " + what_.tenant.name, heading, gravest, "forensic report of a period");
        out += fact("Tenant", html(what_.tenant.name, 200)) + fact("From", clock_.element(what_.time.since)) +
               fact("Until", clock_.element(what_.time.until) +
                                 (what_.time.ends_later ? ", later than this page was made" : "")) +
               fact("Times are", html(clock_.zone())) +
               fact("Runs", (told_.size() >= what_.most ? "the newest " : "") + std::to_string(told_.size())) +
               fact("Events", (is_cut(events_.size()) ? "the first " : "") + std::to_string(events_.size())) +
               "</dl>\n</header>\n<main id=\"main\" tabindex=\"-1\">\n" + answers() + attention() + rest() + picture() +
               events_section(events_, clock_, events_.size(),
                              is_cut(events_.size())
                                  ? "The first " + plural(events_.size(), "event") + ", of which --max shows more"
                                  : "Oldest first");
        out += integrity();
        return out + page_end(out);
    }

private:
    struct told {
        db::found_run run;
        const run_story* story; // null: not looked into
        headline head;
        std::string label;
    };

    static tone colour_of(const told& t) { return t.story ? t.head.colour : tone_of_status(t.run.status); }
    static bool is_wrong(const told& t) {
        return t.story ? needs_attention(t.head) : t.run.status == "failed" || t.run.status == "cancelled";
    }
    static int rank(const told& t) { return t.story ? t.head.rank : headline_of(t.run.status).rank; }
    bool is_cut(std::size_t count) const { return count == what_.most; }

    static void flag(told_event& event, const told& t) {
        if (!t.story || !needs_attention(t.head))
            return;
        for (const auto& e : t.story->evidence)
            if (e.created_at == event.created_at && e.type == event.type) {
                event.flag = t.head.colour;
                event.note = e.says;
            }
    }

    static std::string link(const told& t) {
        return "<a href=\"#run-" + html(t.run.id) + "\">" + html(t.label) + "</a>";
    }

    std::string answers() const {
        std::string wrong;
        for (auto t = told_.begin(); t != told_.end();) { // sorted: those of one kind stand together
            const auto end = std::find_if(t, told_.end(), [&](const told& o) { return rank(o) != rank(*t); });
            if (is_wrong(*t)) {
                const std::string text(t->story ? t->head.text : headline_of(t->run.status).text);
                wrong += "<li><span class=\"status " + std::string(class_of(colour_of(*t))) + "\">" +
                         sign_of(colour_of(*t)) + html(text) +
                         "</span>: " + (end - t > 1 ? std::to_string(end - t) + " runs, " : std::string());
                constexpr std::ptrdiff_t most = 5;
                for (auto o = t; o != end && o - t < most; ++o)
                    wrong += (o == t ? "" : ", ") + link(*o);
                wrong += (end - t > most ? " …" : "") + std::string("</li>");
            }
            t = end;
        }
        const told* first = wrong_ > 0 ? &told_.front() : nullptr;
        return "<div class=\"answers\">\n<section class=\"wide cause\" aria-labelledby=\"a-cause\"><h2 "
               "id=\"a-cause\">What "
               "went wrong</h2>" +
               (wrong.empty()
                    ? "<p>" +
                          std::string(what_.stories.size() < told_.size() ? "Nothing in the runs that were looked into."
                                                                          : "Nothing.") +
                          "</p>"
                    : "<ul class=\"wrong\">" + wrong + "</ul>") +
               "</section>\n<section class=\"wide do\" aria-labelledby=\"a-next\"><h2 id=\"a-next\">What to do "
               "next</h2><p "
               "id=\"next-action\">" +
               (!first          ? std::string("No action is needed.")
                : !first->story ? "See what became of " + link(*first) + "."
                                : "Begin with " + link(*first) + ". " + html(first->story->next_action)) +
               (wrong_ > 1 ? " Then go on down the list: each run says what to do about it." : "") +
               "</p></section>\n<section class=\"wide\" aria-labelledby=\"a-outside\"><h2 id=\"a-outside\">What "
               "reached the "
               "outside world in that time?</h2>" +
               outside() + "</section>\n</div>\n";
    }

    std::string outside() const {
        std::size_t sent = 0, given_up = 0, calls = 0, unknown = 0;
        std::map<std::string, std::vector<const told_event*>> by_run;
        for (const auto& e : events_) {
            given_up += e.type == "outbox.dead";
            calls += e.type == "tool_call.started";
            unknown += e.type == "tool_call.unknown";
            if (e.type == "outbox.dispatched") {
                ++sent;
                by_run[by_id_.contains(e.run_id) ? e.run_id : std::string()].push_back(&e);
            }
        }
        std::string list;
        const auto add = [&](const std::string& of_whom, const std::vector<const told_event*>& messages) {
            const bool alone = messages.size() == 1;
            list += "<li>" + plural(messages.size(), "message") + " of " + of_whom + ", " +
                    (alone ? clock_.element(messages.front()->created_at) + ": " +
                                 html(sentence_of(messages.front()->narrative), 500)
                           : clock_.between(messages.front()->created_at, messages.back()->created_at)) +
                    "</li>";
        };
        constexpr std::size_t most = 12;
        std::size_t shown = 0;
        for (const told& t : told_)
            if (const auto found = by_run.find(t.run.id); found != by_run.end() && shown++ < most)
                add(link(t), found->second);
        if (shown > most)
            list += "<li>and of " + plural(shown - most, "other run") + "</li>";
        if (by_run.contains({}))
            add("runs of another time, or of no run", by_run.at({}));
        return "<p id=\"side-effects\">" + (sent == 0 ? "No message" : plural(sent, "message")) +
               (sent > 1 ? " were accepted by their destinations" : " was accepted by its destination") +
               (given_up == 0 ? std::string() : ", " + std::to_string(given_up) + " given up") + ". " +
               (calls == 0 ? "No call" : plural(calls, "call")) + " outside the database " +
               (calls > 1 ? "were begun" : "was begun") +
               (unknown == 0 ? std::string() : "; the outcome of " + std::to_string(unknown) + " cannot be known") +
               '.' + unsettled() +
               (is_cut(events_.size())
                    ? " So far the first " + plural(events_.size(), "event") + " of that time; --max shows more."
                    : "") +
               "</p>" + (list.empty() ? list : "<ul class=\"small\">" + list + "</ul>");
    }

    // What of the outside may be settled later, whenever it was begun.
    std::string unsettled() const {
        std::size_t waiting = 0, open = 0;
        for (const told& t : told_)
            if (t.story) {
                waiting += t.story->waiting_messages;
                open += t.story->open_calls;
            }
        if (waiting + open == 0)
            return {};
        return " Of the runs that were looked into, " +
               (waiting == 0 ? std::string()
                             : plural(waiting, "message") + (waiting == 1 ? " waits" : " wait") + " to be sent") +
               (waiting > 0 && open > 0 ? " and " : "") +
               (open == 0 ? std::string()
                          : plural(open, "call") + " outside the database " + (open == 1 ? "has" : "have") +
                                " no recorded answer yet") +
               '.';
    }

    std::string integrity() const {
        if (what_.stories.empty())
            return {};
        const auto changed = std::count_if(told_.begin(), told_.end(),
                                           [](const told& t) { return t.story && t.head.kind == "tampered"; });
        return "<h2 id=\"h-history\">Is this history whole?</h2>\n<p>" +
               (changed == 0 ? "<span class=\"status ok\">Yes</span>, that of "
                             : "<span class=\"status bad\">✕ No</span>, " + std::to_string(changed) + " of ") +
               plural(what_.stories.size(), "run") +
               (changed == 0   ? ""
                : changed == 1 ? " has a history that was changed"
                               : " have a history that was changed") +
               ": the hashes of their events, and of their messages', were computed again. <code>sor verify</code> "
               "does so "
               "for all history.</p>\n";
    }

    std::string attention() const {
        if (wrong_ == 0)
            return {};
        std::string out = "<h2 id=\"h-wrong\">Runs that need attention, the gravest first</h2>\n";
        for (const told& t : told_)
            if (is_wrong(t) && t.story)
                out += card(t);
        return out;
    }

    std::string events_of(const told& t) const {
        const auto count =
            std::count_if(events_.begin(), events_.end(), [&](const told_event& e) { return e.run_id == t.run.id; });
        return count == 0 ? "no event in that time"
                          : "<a href=\"#events-" + html(t.run.id) + "\" data-search=\"" + html(t.run.id) + "\">" +
                                plural(static_cast<std::size_t>(count), "event") + "</a>";
    }

    std::string card(const told& t) const {
        return "<article class=\"run " + std::string(class_of(t.head.colour)) + "\" id=\"run-" + html(t.run.id) +
               "\"><h3>" + sign_of(t.head.colour) + html(t.head.text) +
               "</h3>\n<p class=\"small\"><span class=\"id\">" + html(t.run.id) + "</span>" +
               (t.run.worker.empty() ? "" : ", worker ") + html(t.run.worker, 200) +
               (t.run.run_key.empty() ? std::string() : ", run key " + html(t.run.run_key, 200)) + ", " +
               (t.run.started_at.empty() ? "its row is gone" : clock_.between(t.run.started_at, t.run.finished_at)) +
               ", " + events_of(t) + "</p>\n<dl class=\"told\"><dt>Root cause</dt><dd>" + html(t.story->root_cause) +
               "</dd><dt>Failure point</dt><dd>" + html(t.story->failure_point) +
               "</dd><dt>What reached the outside?</dt><dd>" + html(t.story->side_effects) +
               "</dd><dt>What to do next</dt><dd>" + html(t.story->next_action) +
               (t.story->command.empty() ? std::string()
                                         : command_block("command-" + t.run.id, t.story->command, t.story->ids)) +
               "</dd></dl>\n<p class=\"small\">All of it: <code>sor report <span class=\"nowrap\">" + html(t.run.id) +
               "</span> <span class=\"nowrap\">--format</span> html</code></p></article>\n";
    }

    std::string rest() const {
        std::string rows;
        std::size_t count = 0, unknown = 0;
        for (const told& t : told_) {
            if (is_wrong(t) && t.story)
                continue;
            ++count;
            unknown += t.story == nullptr;
            const tone colour = colour_of(t);
            rows +=
                classed("tr", colour == tone::ok ? "" : class_of(colour)) + " id=\"run-" + html(t.run.id) + "\"><td>" +
                html(t.run.worker, 200) + (t.run.run_key.empty() ? std::string() : ' ' + html(t.run.run_key, 200)) +
                "<br><span class=\"id small\">" + html(t.run.id) + "</span></td><td>" +
                clock_.between(t.run.started_at, t.run.finished_at) + "</td><td>" +
                (t.story
                     ? "<span class=\"status " + std::string(class_of(colour)) + "\">" + html(t.head.text) + "</span>"
                     : status_element(t.run.status)) +
                "<br>" + events_of(t) + "</td><td class=\"text\">" +
                (t.story ? html(t.story->side_effects) +
                               (t.story->command.empty() ? std::string() : "<br>" + html(t.story->next_action))
                         : std::string("not looked into")) +
                "</td></tr>\n";
        }
        if (count == 0)
            return {};
        return "<h2 id=\"h-runs\">" + std::string(wrong_ > 0 ? "The other runs" : "Runs in that time") + "</h2>\n" +
               table_in_frame("Runs",
                              table_begin("runs",
                                          "Newest first. The whole report of one: <code>sor report RUN <span "
                                          "class=\"nowrap\">--format</span> html</code>" +
                                              (unknown == 0 ? std::string()
                                                            : ". " + plural(unknown, "run") +
                                                                  " not looked into: a shorter period shows them"),
                                          {"Run", "Time", "What became of it", "What reached the outside"}) +
                                  rows);
    }

    // When the run was in progress, within the period; until its last event there where it has not ended.
    std::optional<std::pair<std::int64_t, std::int64_t>> span_of(const told& t) const {
        auto from = moment_of(t.run.started_at), to = moment_of(t.run.finished_at);
        if (!from)
            return std::nullopt;
        if (!to)
            for (const auto& e : events_)
                if (e.run_id == t.run.id && !e.type.starts_with("outbox."))
                    to = moment_of(e.created_at);
        const auto within = [&](std::int64_t at) {
            return std::min(std::max(at, moment_of(what_.time.since).value_or(at)),
                            moment_of(what_.time.until).value_or(at));
        };
        return std::pair(within(*from), within(std::max(*from, to.value_or(*from))));
    }

    // Bars of the runs, where they went wrong, and what they sent: all else is in the table of events.
    std::string picture() const {
        timeline t;
        t.title = "Timeline of " + what_.tenant.name;
        clock_face clock = clock_;
        constexpr std::size_t most_lanes = 16;
        std::map<std::string, std::size_t> lane_of;
        const std::size_t rest = told_.size() - std::min(told_.size(), most_lanes);
        lane others{rest == 0 ? "no run" : plural(rest, "other run"), {}};
        for (const told& one : told_) {
            const bool apart = t.lanes.size() < most_lanes;
            if (apart) {
                lane_of[one.run.id] = t.lanes.size();
                t.lanes.push_back({one.label, {}});
            }
            for (const auto& iso : {one.run.started_at, one.run.finished_at, what_.time.since, what_.time.until})
                clock.remember(iso);
            if (const auto span = span_of(one))
                (apart ? t.lanes.back() : others)
                    .marks.push_back({shape::bar, tone_of_status(one.run.status), span->first, span->second,
                                      one.label + ", " + one.run.status});
        }
        for (const auto& e : events_) {
            const auto at = moment_of(e.created_at);
            const bool flagged = tone_of_event(e.type) == tone::neutral && e.flag != tone::neutral;
            if (!at || (tone_of_event(e.type) == tone::neutral && !flagged && e.type != "outbox.dispatched"))
                continue;
            auto drawn = mark_of_event(e.type, *at, sentence_of(e.narrative));
            if (flagged)
                drawn = {shape_of(e.flag), e.flag, *at, *at, e.note + ": " + drawn.title};
            const auto found = lane_of.find(e.run_id);
            (found == lane_of.end() ? others : t.lanes[found->second]).marks.push_back(drawn);
        }
        // what went wrong at another time stands at the run's end
        for (const told& one : told_)
            if (const auto found = lane_of.find(one.run.id); found != lane_of.end() && is_wrong(one)) {
                auto& marks = t.lanes[found->second].marks;
                const auto span = span_of(one);
                if (span && std::none_of(marks.begin(), marks.end(),
                                         [](const mark& m) { return m.form != shape::bar && m.colour > tone::ok; }))
                    marks.push_back({shape_of(colour_of(one)), colour_of(one), span->second, span->second,
                                     std::string(one.head.text) + ", not in that time"});
            }
        if (!others.marks.empty())
            t.lanes.push_back(others);
        if (t.lanes.empty())
            return {};
        t.description = "A lane for each run, the gravest first: when it ran, where it went wrong or was interrupted, "
                        "and when its messages were accepted. The lists above and the table below say the same in "
                        "words.";
        return "<h2 id=\"h-timeline\">Timeline</h2>\n" +
               figure(t, [&clock](std::int64_t at) { return clock.tick(at); });
    }

    const period& what_;
    std::vector<told> told_;
    std::map<std::string, const told*> by_id_;
    std::vector<told_event> events_;
    std::size_t wrong_ = 0;
    clock_face clock_;
};

} // namespace

run_story story_of(std::string_view report) {
    const row whole(report), finding = whole.object("finding"), summary = whole.object("summary");
    run_story story{finding.text("kind"),          finding.text("root_cause"),
                    finding.text("next_action"),   finding.text("command"),
                    summary.text("failure_point"), summary.text("side_effects"),
                    ids_in_command(whole),         {}};
    for (const row& message : whole.objects("outbox"))
        story.waiting_messages += message.text("status") == "pending";
    for (const row& call : whole.objects("tool_calls"))
        story.open_calls += call.text("status") == "started";
    const auto events = whole.objects("events");
    for (const row& evidence : finding.objects("evidence"))
        for (const row& e : events)
            if (e.text("id") == evidence.text("id"))
                story.evidence.push_back({e.text("created_at"), e.text("event_type"), evidence.text("says")});
    return story;
}

db::found_run run_of(std::string_view report) {
    const row run = row(report).object("run");
    return {run.text("id"),     run.text("worker"),     run.text("run_key"),
            run.text("status"), run.text("started_at"), run.text("finished_at")};
}

std::string page_of_period(const period& what) {
    return period_page(what).text();
}

} // namespace sor::report
