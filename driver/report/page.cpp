#include "report/page.hpp"
#include <algorithm>
#include <ctime>
#include <functional>
#include <map>
#include <span>
#include "report/digest.hpp"
#include "report/rows.hpp"
#include "report/style.hpp"
#include "report/timeline.hpp"
#include "text.hpp"

namespace sor::report {
namespace {

struct headline {
    std::string_view kind, text, tone, line; // `line` marks the moment in the picture
};
constexpr headline headlines[] = {
    {"tampered", "History was changed", "bad", "does not fit"},
    {"crashed", "Crashed: the holder of the run was lost", "bad", "last sign of life"},
    {"failed", "Failed", "bad", "failed"},
    {"cancelled", "Cancelled", "warning", "cancelled"},
    {"running", "In progress", "open", ""},
    {"dead_letter", "Succeeded, but something was given up", "bad", "given up"},
    {"unknown_outcome", "Succeeded, but an outcome is unknown", "open", "outcome unknown"},
    {"failed_tool", "Succeeded, but a call failed", "warning", "call failed"},
    {"refused_tool", "Succeeded, but a call was refused", "warning", "call refused"},
    {"failed_item", "Succeeded, but an item failed", "warning", "item failed"},
    {"undelivered", "Succeeded, but a message could not be sent yet", "warning", "not sent"},
    {"resumed", "Succeeded, after its holder was lost", "ok", "resumed"},
    {"succeeded", "Succeeded", "ok", ""},
};

headline headline_of(std::string_view kind) {
    for (const auto& h : headlines)
        if (h.kind == kind)
            return h;
    return {kind, kind, "warning", ""};
}

bool ends_with_any(std::string_view type, std::initializer_list<std::string_view> endings) {
    return std::any_of(endings.begin(), endings.end(), [&](std::string_view e) { return type.ends_with(e); });
}

std::string_view tone_of_event(std::string_view type) {
    return ends_with_any(type, {".failed", ".refused", ".dead"})          ? "bad"
           : type.ends_with(".unknown")                                   ? "open"
           : ends_with_any(type, {".resumed", ".cancelled", ".released"}) ? "warning"
                                                                          : "";
}

std::string_view tone_of_status(std::string_view status) {
    return status == "succeeded" || status == "dispatched"                     ? "ok"
           : status == "failed" || status == "refused" || status == "dead"     ? "bad"
           : status == "cancelled"                                             ? "warning"
           : status == "unknown" || status == "started" || status == "running" ? "open"
                                                                               : "";
}

tone tone_named(std::string_view name) {
    return name == "ok"        ? tone::ok
           : name == "bad"     ? tone::bad
           : name == "warning" ? tone::warning
           : name == "open"    ? tone::open
                               : tone::neutral;
}

std::string_view kind_of_event(std::string_view type) {
    const auto noun = type.substr(0, type.find('.'));
    return noun == "run" || noun == "turn" ? "run"
           : noun == "tool_call"           ? "call"
           : noun == "item"                ? "item"
           : noun == "outbox"              ? "message"
                                           : "other";
}

// 2026-11-20T11:51:32.125+00:00 as 2026-11-20 11:51:32.125; the zone is said once for all.
std::string moment_text(const std::string& iso) {
    const auto zone = iso.find_first_of("+-Z", std::min<std::size_t>(iso.size(), 19));
    auto text = iso.substr(0, zone);
    if (text.size() > 10 && text[10] == 'T')
        text[10] = ' ';
    const auto point = text.find('.');
    return point == text.npos ? text : text.substr(0, std::min(text.size(), point + 4));
}

std::string zone_text(const std::string& iso) {
    const auto at = iso.find_first_of("+-Z", std::min<std::size_t>(iso.size(), 19));
    const auto zone = at == iso.npos ? std::string() : iso.substr(at);
    return zone.empty() || zone == "Z" || zone == "+00:00" ? "UTC" : "UTC" + zone;
}

std::string time_element(const std::string& iso) {
    return iso.empty() ? "<span class=\"small\">not yet</span>"
                       : "<time datetime=\"" + html(iso) + "\">" + html(moment_text(iso)) + "</time>";
}

// "TIME: what happened": the sentence alone, where the time has a column of its own.
std::string sentence_of(const std::string& narrative) {
    const auto colon = narrative.find(": ");
    return colon == narrative.npos || narrative.size() < 20 || narrative[4] != '-' ? narrative
                                                                                   : narrative.substr(colon + 2);
}

std::string status_element(std::string_view status) {
    const std::string sign = tone_of_status(status) == "bad" ? "✕ " : status == "unknown" ? "? " : "";
    return "<span class=\"status " + std::string(tone_of_status(status)) + "\">" + sign + html(status) + "</span>";
}

std::string folded(const std::string& what, std::string_view json, std::size_t longest = 4000) {
    if (json.empty() || json == "null" || json == "{}")
        return {};
    const bool is_long = json.size() > 4 * longest;
    return "<details><summary>" + what + "</summary><pre>" +
           html(is_long ? std::string(json) : indented(json), longest) + "</pre></details>";
}

std::string plural(std::size_t n, std::string_view one) {
    return std::to_string(n) + ' ' + std::string(one) + (n == 1 ? "" : "s");
}

std::string classed(std::string_view tag, std::string_view tone) {
    return "<" + std::string(tag) + (tone.empty() ? std::string() : " class=\"" + std::string(tone) + "\"");
}

std::string head(const std::string& title, std::string_view tone) {
    return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-" +
           sha256_base64(page_style) + "'; script-src 'sha256-" + sha256_base64(page_script) +
           "'; base-uri 'none'; form-action 'none'\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
           "<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
           "<title>" +
           html(title, 200) + "</title>\n<style>" + std::string(page_style) + "</style>\n</head>\n" +
           classed("body", tone) + ">\n<a class=\"skip\" href=\"#main\">Skip to the answers</a>\n";
}

std::string tail() {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    char text[40];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &utc);
    return "<footer><p>Made by sor " SOR_VERSION " on " + std::string(text) +
           " out of the database's rows alone; nothing was run again. The same rows as JSON: add "
           "<code>--format json</code>.</p></footer>\n<script>" +
           std::string(page_script) + "</script>\n</body>\n</html>\n";
}

std::string fact(std::string_view name, const std::string& value) {
    return "<div><dt>" + std::string(name) + "</dt><dd>" + value + "</dd></div>\n";
}

constexpr std::string_view theme_button =
    "<span class=\"controls\" hidden><button type=\"button\" id=\"theme\">Dark colours</button></span>";

std::string banner(std::string_view what) {
    return "<header>\n<div class=\"top\"><p>" + std::string(what) + "</p>" + std::string(theme_button) + "</div>\n";
}

std::string key_of_picture() {
    return "<ul class=\"key\"><li>▬ from begin to end</li><li>○ began, claimed or queued</li><li>● done or "
           "dispatched</li><li>✕ failed</li><li>◆ refused, given up or resumed</li><li>? outcome unknown</li>"
           "<li>shaded: a pause, cut out</li></ul>\n";
}

std::string filters() {
    std::string out = "<div class=\"controls\" hidden><fieldset id=\"filters\"><legend>Show</legend>\n";
    constexpr std::string_view kinds[][2] = {{"run", "runs and turns"},
                                             {"call", "tool calls"},
                                             {"item", "items"},
                                             {"message", "messages"},
                                             {"other", "other"}};
    for (const auto& [kind, label] : kinds)
        out += "<label><input type=\"checkbox\" data-kind=\"" + std::string(kind) + "\" checked> " +
               std::string(label) + "</label>\n";
    return out + "<label><input type=\"checkbox\" id=\"only-bad\"> only what went wrong</label>\n"
                 "<label>Search <input type=\"search\" id=\"search\"></label>\n"
                 "<span class=\"small\" id=\"count\" role=\"status\"></span></fieldset></div>\n";
}

std::string scroll(std::string_view name, const std::string& table) {
    return "<div class=\"scroll\" role=\"region\" aria-label=\"" + std::string(name) + "\" tabindex=\"0\">" + table +
           "</div>\n";
}

std::string columns(std::initializer_list<std::string_view> names) {
    std::string out = "<thead><tr>";
    for (const auto name : names)
        out += "<th scope=\"col\">" + std::string(name) + "</th>";
    return out + "</tr></thead>\n<tbody>\n";
}

// One event as both kinds of page know it.
struct told {
    std::string id, seq, created_at, type, narrative, run_id;
    std::string_view payload;
};

std::string row_of(const told& e) {
    return "<details><summary>row</summary><p class=\"small\">agent_events <span class=\"id\">" + html(e.id) +
           "</span></p><pre>" + html(e.payload.size() > 8000 ? std::string(e.payload) : indented(e.payload), 2000) +
           "</pre></details>";
}

// All, or of many the first, the last, and what went wrong.
std::string events_table(const std::vector<told>& events, std::size_t most, const std::string& caption) {
    const auto begin = events.empty() ? std::nullopt : moment_of(events.front().created_at);
    std::string out = "<table id=\"events\"><caption>" + caption + "</caption>\n" +
                      columns({"Time", "Since begin", "Event", "What happened"});
    std::size_t left_out = 0;
    const auto gap = [&] {
        if (left_out > 0)
            out += "<tr class=\"left-out\"><td colspan=\"4\">" + std::to_string(left_out) +
                   " events are left out here; --max shows more</td></tr>\n";
        left_out = 0;
    };
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < events.size(); ++i) {
        const told& e = events[i];
        const auto tone = tone_of_event(e.type);
        const bool within = i < most / 2 || i >= events.size() - most / 2 || (!tone.empty() && wrong++ < most);
        if (events.size() > most && !within) {
            ++left_out;
            continue;
        }
        gap();
        const auto at = moment_of(e.created_at);
        out += classed("tr", tone) + (e.id.empty() ? std::string() : " id=\"event-" + html(e.id) + "\"") +
               " data-kind=\"" + std::string(kind_of_event(e.type)) + "\" data-bad=\"" + (tone.empty() ? "no" : "yes") +
               "\"><td>" + time_element(e.created_at) + "</td><td class=\"number\">" +
               (at && begin ? "+" + duration_text(std::max<std::int64_t>(0, *at - *begin)) : std::string()) +
               "</td><td>" + classed("span", e.type.size() < 40 ? "nowrap" : "") + ">" + (tone == "bad" ? "✕ " : "") +
               html(e.type, 200) + "</span>" +
               (e.seq.empty() ? std::string() : "<br><span class=\"small\">seq " + html(e.seq) + "</span>") +
               (e.run_id.empty() ? std::string() : "<br><span class=\"id small\">" + html(e.run_id) + "</span>") +
               "</td><td class=\"text\">" + html(sentence_of(e.narrative)) +
               (e.id.empty() ? std::string() : row_of(e)) + "</td></tr>\n";
    }
    gap();
    return out + "</tbody></table>";
}

std::string recipients(const row& payload) {
    const auto to = payload.json("to");
    if (!to.starts_with('['))
        return payload.text("to");
    std::string out;
    for (const char c : to) // an array of strings, as a list
        if (c != '[' && c != ']' && c != '"')
            out += c;
    return out;
}

// ---------------------------------------------------------------- a run

class run_page {
public:
    run_page(std::string_view report, const std::string& tenant, std::size_t most_events)
        : tenant_(tenant), most_events_(most_events) {
        const row whole = whole_ = row(report);
        run_ = whole.object("run");
        finding_ = whole.object("finding");
        summary_ = whole.object("summary");
        verification_ = whole.object("verification");
        turns_ = whole.objects("turns");
        calls_ = whole.objects("tool_calls");
        messages_ = whole.objects("outbox");
        events_ = whole.objects("events");
        for (const row& e : events_) {
            events_told_.push_back({e.text("id"),
                                    e.text("seq"),
                                    e.text("created_at"),
                                    e.text("event_type"),
                                    e.text("narrative"),
                                    {},
                                    e.json("payload")});
            remember(e.text("created_at"));
            if (e.has("message_id"))
                of_message_[e.text("message_id")].push_back(&e);
        }
        headline_ = headline_of(finding_.text("kind"));
    }

    std::string text() {
        const auto id = run_.text("id");
        const auto key = run_.text("run_key");
        std::string out = head(std::string(headline_.text) + " · run " + id + " · " + tenant_, headline_.tone);
        out += banner("sor · forensic report of a run");
        out += "<h1>" + html(headline_.text) + "</h1>\n<dl class=\"facts\">\n";
        out += fact("Run", "<span class=\"id\" id=\"run-id\">" + html(id) + "</span>");
        out += fact("Tenant", html(tenant_, 200)) + fact("Worker", html(run_.text("worker"), 200));
        const auto user = whole_.object("names").text("on_behalf_of");
        out += fact("On behalf of", user.empty() ? "nobody" : html(user, 200));
        if (!key.empty())
            out += fact("Run key", html(key, 200));
        out += fact("Status", status_element(run_.text("status")));
        out += fact("Started", time_element(run_.text("started_at"))) +
               fact("Ended", time_element(run_.text("finished_at")));
        out += fact("Times are", html(zone_text(run_.text("started_at")))) + "</dl>\n";
        out += alarm() + "</header>\n<main id=\"main\">\n" + answers() + picture();
        out += "<h2 id=\"h-events\">What happened, event by event</h2>\n" + filters() +
               scroll("Events", events_table(events_told_, most_events_,
                                             plural(events_.size(), "event") + " of the run and of its messages, "
                                                                               "oldest first"));
        out += calls_table() + messages_table() + six_lines() + integrity();
        return out + "</main>\n" + tail();
    }

private:
    void remember(const std::string& iso) {
        if (const auto at = moment_of(iso))
            clock_.emplace(*at, moment_text(iso));
    }

    std::int64_t moment(const row& of, const char* name) {
        const auto iso = of.text(name);
        remember(iso);
        return moment_of(iso).value_or(last_moment());
    }

    std::int64_t last_moment() const { return clock_.empty() ? 0 : clock_.rbegin()->first; }

    std::string alarm() const {
        if (!verification_.has("first_bad"))
            return {};
        const row bad = verification_.object("first_bad");
        return "<div class=\"alarm\" role=\"alert\"><h2>✕ The history of this run was changed</h2><p>" +
               (bad.has("seq") ? "The first event that does not fit is number " + html(bad.text("seq")) + " of stream "
                               : std::string("What does not fit is stream ")) +
               "<span class=\"id\">" + html(bad.text("stream_id")) + "</span>" +
               (bad.has("id") ? ", event " + link("agent_events", bad.text("id")) : std::string()) + ": " +
               html(bad.text("problem")) + ".</p><p>What this page says of that stream is not evidence.</p></div>\n";
    }

    // A row's id, as a link where this page has the row.
    std::string link(const std::string& table, const std::string& id) const {
        const auto anchor = (table == "agent_events" ? "event-" : table == "tool_calls" ? "call-" : "message-") + id;
        const auto has = [&](const std::vector<row>& rows) {
            return std::any_of(rows.begin(), rows.end(), [&](const row& r) { return r.text("id") == id; });
        };
        const bool here = (table == "agent_events" && has(events_)) || (table == "tool_calls" && has(calls_)) ||
                          (table == "outbox" && has(messages_));
        return here ? "<a class=\"id\" href=\"#" + html(anchor) + "\">" + html(id) + "</a>"
                    : "<span class=\"id\">" + html(id) + "</span>";
    }

    std::string answers() const {
        std::string out = "<div class=\"answers\">\n<section class=\"wide cause\" aria-labelledby=\"a-cause\"><h2 "
                          "id=\"a-cause\">Root cause</h2><p id=\"root-cause\">" +
                          html(finding_.text("root_cause")) + "</p>";
        const auto evidence = finding_.objects("evidence");
        if (!evidence.empty()) {
            out += "<ul class=\"evidence small\">";
            for (const row& e : evidence)
                out += "<li>" + html(e.text("table")) + ' ' + link(e.text("table"), e.text("id")) +
                       (e.has("seq") ? " (seq " + html(e.text("seq")) + ")" : std::string()) + ": " +
                       html(e.text("says")) + "</li>";
            out += "</ul>";
        }
        out += "</section>\n<section class=\"wide do\" aria-labelledby=\"a-next\"><h2 id=\"a-next\">What to do "
               "next</h2><p id=\"next-action\">" +
               html(finding_.text("next_action")) + "</p>";
        if (finding_.has("command"))
            out += "<div class=\"command\"><pre id=\"command\">" + html(finding_.text("command"), 100000) +
                   "</pre><span class=\"controls\" hidden><button type=\"button\" class=\"copy\" "
                   "data-of=\"command\">Copy</button></span></div>";
        return out +
               "</section>\n<section aria-labelledby=\"a-point\"><h2 id=\"a-point\">Where did it fail?</h2><p "
               "id=\"failure-point\">" +
               html(summary_.text("failure_point")) +
               "</p></section>\n<section aria-labelledby=\"a-outside\"><h2 id=\"a-outside\">What reached the outside "
               "world?</h2><p id=\"side-effects\">" +
               html(summary_.text("side_effects")) + "</p>" + outside() + "</section>\n</div>\n";
    }

    std::string six_lines() const {
        std::string out = "<h2 id=\"h-six\">In six lines</h2>\n<dl class=\"six\">";
        for (const char* name :
             {"run", "scope", "timeline", "failure_point", "side_effects", "cause_and_next_action"}) {
            std::string label = name;
            std::replace(label.begin(), label.end(), '_', ' ');
            out += "<dt>" + label + "</dt><dd>" + html(summary_.text(name)) + "</dd>";
        }
        return out + "</dl>\n";
    }

    // The first few messages, by name.
    std::string outside() const {
        constexpr std::size_t most = 3;
        std::string out;
        for (std::size_t i = 0; i < std::min(most, messages_.size()); ++i) {
            const row& m = messages_[i];
            const auto to = recipients(m.object("payload"));
            out += "<li>" + status_element(m.text("status")) + ": “" + html(m.text("event_type"), 100) + "” about " +
                   html(m.text("aggregate_id"), 100) + " to " + html(m.text("destination"), 100) +
                   (to.empty() ? std::string() : ", addressed to " + html(to, 200)) + ", " +
                   link("outbox", m.text("id")) + "</li>";
        }
        if (messages_.size() > most)
            out +=
                "<li>and " + std::to_string(messages_.size() - most) + " more, <a href=\"#h-messages\">below</a></li>";
        return out.empty() ? out : "<ul class=\"small\">" + out + "</ul>";
    }

    // The event that a row of evidence is about.
    const row* event_of(const std::string& id) const {
        const row* found = nullptr;
        for (const row& e : events_)
            if (e.text("id") == id || e.text("message_id") == id || e.text("tool_call_id") == id)
                found = &e;
        return found;
    }

    std::string picture() {
        timeline t;
        t.title = "Timeline of run " + run_.text("id");
        lane run{"run", {}}, turns{"turns", {}}, calls{"tool calls", {}}, claims{"claims and items", {}};
        for (const row& turn : turns_) // every moment first: what has not ended lasts until the last of them
            for (const char* name : {"started_at", "finished_at"})
                remember(turn.text(name));
        remember(run_.text("started_at"));
        remember(run_.text("finished_at"));
        const auto begin = moment(run_, "started_at");
        const auto end = moment_of(run_.text("finished_at")).value_or(last_of_run());
        run.marks.push_back(
            {shape::bar, tone_named(tone_of_status(run_.text("status"))), begin, std::max(begin, end),
             "run, " + run_.text("status") + ", " + duration_text(std::max<std::int64_t>(0, end - begin))});
        for (const row& turn : turns_) {
            const auto from = moment(turn, "started_at");
            const auto to = std::max(from, moment_of(turn.text("finished_at")).value_or(end));
            turns.marks.push_back(
                {shape::bar, tone_named(tone_of_status(turn.text("status"))), from, to,
                 "turn " + turn.text("turn_no") + ", " + turn.text("status") + ", " + duration_text(to - from)});
        }
        for (const row& call : calls_) {
            const auto status = call.text("status");
            const auto from = moment(call, "started_at");
            const auto to = std::max(from, moment_of(call.text("finished_at")).value_or(from));
            remember(call.text("finished_at"));
            const auto form = status == "succeeded" ? shape::bar
                              : status == "failed"  ? shape::cross
                              : status == "refused" ? shape::diamond
                              : status == "unknown" ? shape::question
                                                    : shape::ring;
            const bool is_mark = form != shape::bar;
            (call.text("tool") == "claim" ? claims : calls)
                .marks.push_back({form, tone_named(tone_of_status(status)), is_mark ? to : from, to,
                                  call.text("tool") + ", " + status + ", turn " + call.text("turn_no")});
        }
        for (const row& e : events_) {
            const auto type = e.text("event_type");
            const auto at = moment(e, "created_at");
            const auto says = sentence_of(e.text("narrative"));
            if (type == "run.resumed")
                run.marks.push_back({shape::diamond, tone::warning, at, at, says});
            else if (type == "item.claimed" || type == "item.requeued")
                claims.marks.push_back({shape::ring, tone::neutral, at, at, says});
            else if (type == "item.completed")
                claims.marks.push_back({shape::dot, tone::ok, at, at, says});
            else if (type == "item.failed")
                claims.marks.push_back({shape::cross, tone::bad, at, at, says});
            else if (type == "item.dead")
                claims.marks.push_back({shape::diamond, tone::bad, at, at, says});
            else if (type == "item.released")
                claims.marks.push_back({shape::ring, tone::warning, at, at, says});
        }
        t.lanes = {run, turns, calls, claims};
        message_lanes(t);
        if (!headline_.line.empty())
            for (const row& e : finding_.objects("evidence"))
                if (const row* event = event_of(e.text("id"))) {
                    t.lines.push_back({moment(*event, "created_at"), std::string(headline_.line)});
                    break;
                }
        t.description = "Lanes for the run, its turns, tool calls, claims and messages over time. The run began " +
                        moment_text(run_.text("started_at")) + " and " +
                        (run_.has("finished_at") ? "ended " + moment_text(run_.text("finished_at")) : "has not ended") +
                        ". " + summary_.text("failure_point") + " The table of events below says the same in words.";
        return "<h2 id=\"h-timeline\">Timeline</h2>\n<div class=\"picture\" role=\"region\" aria-label=\"Timeline\" "
               "tabindex=\"0\">" +
               svg(t, [this](std::int64_t at) { return clock_text(at); }) + "</div>\n" + key_of_picture();
    }

    // A lane for each of a few messages, one for all of many.
    void message_lanes(timeline& t) {
        constexpr std::size_t most = 8;
        const bool apart = messages_.size() <= most;
        if (!apart)
            t.lanes.push_back({std::to_string(messages_.size()) + " messages", {}});
        for (const row& m : messages_) {
            if (apart)
                t.lanes.push_back({m.text("destination") + " " + m.text("aggregate_id"), {}});
            auto& marks = t.lanes.back().marks;
            for (const row* e : of_message_[m.text("id")]) {
                const auto type = e->text("event_type");
                const auto at = moment(*e, "created_at");
                const auto [form, colour] = type == "outbox.enqueued"     ? std::pair(shape::ring, tone::neutral)
                                            : type == "outbox.dispatched" ? std::pair(shape::dot, tone::ok)
                                            : type == "outbox.failed"     ? std::pair(shape::cross, tone::bad)
                                            : type == "outbox.dead"       ? std::pair(shape::diamond, tone::bad)
                                                                          : std::pair(shape::ring, tone::warning);
                marks.push_back({form, colour, at, at, sentence_of(e->text("narrative"))});
            }
        }
    }

    // The last event of the run itself: its messages may be sent long after.
    std::int64_t last_of_run() const {
        std::int64_t last = 0;
        for (const row& e : events_)
            if (e.text("stream_id") == run_.text("id"))
                last = std::max(last, moment_of(e.text("created_at")).value_or(0));
        return last;
    }

    std::string clock_text(std::int64_t at) const {
        const auto found = clock_.find(at);
        return found == clock_.end() ? std::string()
                                     : found->second.substr(std::min<std::size_t>(11, found->second.size()));
    }

    std::string calls_table() const {
        std::string out = "<h2 id=\"h-calls\">Tool calls</h2>\n";
        if (calls_.empty())
            return out + "<p>The run called no tool.</p>\n";
        std::string table = "<table><caption>" + plural(calls_.size(), "attempt") +
                            "; a retry that got the stored response is none</caption>\n" +
                            columns({"Turn", "Tool", "Status", "Started", "Took", "What was asked and answered"});
        for (const row& c : limited(calls_)) {
            const auto status = c.text("status");
            const auto from = moment_of(c.text("started_at")), to = moment_of(c.text("finished_at"));
            const row error = c.object("error");
            auto message = error.text("message");
            if (message.empty() && c.has("error"))
                message = c.text("error");
            table += classed("tr", tone_of_status(status) == "ok" ? "" : tone_of_status(status)) + " id=\"call-" +
                     html(c.text("id")) + "\"><td class=\"number\">" + html(c.text("turn_no")) + "</td><td>" +
                     html(c.text("tool"), 200) + "</td><td>" + status_element(status) + "</td><td>" +
                     time_element(c.text("started_at")) + "</td><td class=\"number\">" +
                     (from && to ? duration_text(std::max<std::int64_t>(0, *to - *from)) : std::string("not ended")) +
                     "</td><td class=\"text\">" +
                     (message.empty()
                          ? std::string()
                          : html(message) +
                                (error.has("sqlstate") ? " (" + html(error.text("sqlstate")) + ")" : std::string())) +
                     folded("arguments", c.json("arguments")) + folded("response", c.json("response")) +
                     folded("error", c.json("error")) + "<span class=\"small\">request <span class=\"id\">" +
                     html(c.text("request_id")) + "</span></span></td></tr>\n";
        }
        return out + scroll("Tool calls", table + "</tbody></table>") + left_out(calls_.size());
    }

    std::string messages_table() const {
        std::string out = "<h2 id=\"h-messages\">Messages to the outside</h2>\n";
        if (messages_.empty())
            return out + "<p>The run queued no message.</p>\n";
        std::string table = "<table><caption>" + plural(messages_.size(), "message") +
                            ", each with what was tried</caption>\n" +
                            columns({"Destination", "Message", "Status", "What was tried"});
        for (const row& m : limited(messages_)) {
            const auto status = m.text("status");
            const auto to = recipients(m.object("payload"));
            table += classed("tr", status == "dead"                             ? "bad"
                                   : status == "pending" && m.has("last_error") ? "warning"
                                                                                : "") +
                     " id=\"message-" + html(m.text("id")) + "\"><td>" + html(m.text("destination"), 200) +
                     "</td><td class=\"text\">“" + html(m.text("event_type"), 200) + "” about " +
                     html(m.text("aggregate_id"), 200) +
                     (to.empty() ? std::string() : ", addressed to " + html(to, 400)) +
                     "<br><span class=\"small\">dedup key <span class=\"id\">" + html(m.text("dedup_key"), 400) +
                     "</span></span>" + folded("payload", m.json("payload")) + "</td><td>" + status_element(status) +
                     "</td><td><ol class=\"attempts\">";
            if (const auto found = of_message_.find(m.text("id")); found != of_message_.end())
                for (const row* e : found->second) {
                    const auto type = e->text("event_type");
                    const row payload = e->object("payload");
                    table += "<li>" + time_element(e->text("created_at")) + ' ' +
                             (tone_of_event(type) == "bad" ? "✕ " : "") +
                             html(type.substr(std::min(type.size(), type.find('.') + 1))) +
                             (payload.has("attempt") ? ", attempt " + html(payload.text("attempt")) : std::string()) +
                             (payload.has("error") ? ": " + html(payload.text("error"), 400) : std::string()) + "</li>";
                }
            table += "</ol></td></tr>\n";
        }
        return out + scroll("Messages", table + "</tbody></table>") + left_out(messages_.size());
    }

    std::string integrity() const {
        const bool whole = !verification_.has("first_bad");
        return "<h2 id=\"h-history\">Is this history whole?</h2>\n<p>" +
               std::string(whole ? "<span class=\"status ok\">Yes.</span> The hash of each of "
                                 : "<span class=\"status bad\">✕ No.</span> Of ") +
               html(verification_.text("events")) + " events in " + html(verification_.text("streams")) +
               (whole ? " streams was computed again and fits the one before it, and the journal and the outbox agree "
                        "with them.</p>\n"
                      : " streams, at least one does not fit; see above.</p>\n");
    }

    std::span<const row> limited(const std::vector<row>& rows) const {
        return {rows.data(), std::min(rows.size(), most_events_)};
    }
    std::string left_out(std::size_t count) const {
        return count <= most_events_ ? std::string()
                                     : "<p class=\"small\">" + std::to_string(count - most_events_) +
                                           " more are left out; --max shows more.</p>\n";
    }

    const std::string& tenant_;
    const std::size_t most_events_;
    row whole_, run_, finding_, summary_, verification_;
    std::vector<row> turns_, calls_, messages_, events_;
    std::vector<told> events_told_;
    std::map<std::string, std::vector<const row*>> of_message_;
    std::map<std::int64_t, std::string> clock_; // each moment as the database spells it
    headline headline_{};
};

} // namespace

bool is_bad(std::string_view event_type) {
    return !tone_of_event(event_type).empty();
}

std::string page_of_run(std::string_view report, const std::string& tenant, std::size_t most_events) {
    return run_page(report, tenant, most_events).text();
}

std::string page_of_period(const period& what) {
    const auto wrong = static_cast<std::size_t>(std::count_if(
        what.events.begin(), what.events.end(), [](const db::happening& e) { return is_bad(e.event_type); }));
    const std::string tone = wrong > 0 ? "warning" : "ok";
    std::string out = head("What happened · " + what.tenant, tone) + banner("sor · forensic report of a time");
    out += "<h1>What happened in " + html(what.tenant, 200) + "</h1>\n<dl class=\"facts\">" +
           fact("From", html(what.since, 100)) + fact("Until", html(what.until, 100)) +
           fact("Times are", what.events.empty() ? "the server's" : html(zone_text(what.events.front().created_at))) +
           fact("Runs", std::to_string(what.runs.size())) +
           fact("Events", (what.cut ? "the first " : "") + std::to_string(what.events.size())) +
           fact("Went wrong", std::to_string(wrong)) + "</dl>\n</header>\n<main id=\"main\">\n";
    out += "<h2 id=\"h-runs\">Runs in that time</h2>\n";
    if (what.runs.empty())
        out += "<p>No run was in progress.</p>\n";
    else {
        std::string table = "<table><caption>Newest first. A run's own report: <code>sor report RUN --format "
                            "html</code></caption>\n" +
                            columns({"Run", "Worker", "Run key", "Status", "Started", "Ended"});
        for (const auto& run : what.runs)
            table += classed("tr", tone_of_status(run.status) == "ok" ? "" : tone_of_status(run.status)) +
                     "><td class=\"id\">" + html(run.id) + "</td><td>" + html(run.worker, 200) + "</td><td>" +
                     html(run.run_key, 200) + "</td><td>" + status_element(run.status) + "</td><td>" +
                     time_element(run.started_at) + "</td><td>" + time_element(run.finished_at) + "</td></tr>\n";
        out += scroll("Runs", table + "</tbody></table>");
    }
    if (!what.events.empty()) {
        timeline t;
        t.title = "Timeline of " + what.tenant;
        std::map<std::string, std::size_t> lane_of;
        std::map<std::int64_t, std::string> clock;
        constexpr std::size_t most_lanes = 24;
        lane others{"no run", {}};
        for (const auto& e : what.events) {
            const auto at = moment_of(e.created_at);
            if (!at)
                continue;
            clock.emplace(*at, moment_text(e.created_at));
            const auto tone_name = tone_of_event(e.event_type);
            const mark m{tone_name == "bad"       ? shape::cross
                         : tone_name == "open"    ? shape::question
                         : tone_name == "warning" ? shape::diamond
                         : ends_with_any(e.event_type, {".succeeded", ".finished", ".completed", ".dispatched"})
                             ? shape::dot
                             : shape::ring,
                         tone_name.empty() ? (e.event_type.ends_with("dispatched") ? tone::ok : tone::neutral)
                                           : tone_named(tone_name),
                         *at, *at, sentence_of(e.narrative)};
            if (!e.run_id.empty() && !lane_of.contains(e.run_id) && t.lanes.size() < most_lanes) {
                lane_of[e.run_id] = t.lanes.size();
                const auto run =
                    std::find_if(what.runs.begin(), what.runs.end(), [&](const auto& r) { return r.id == e.run_id; });
                t.lanes.push_back(
                    {run == what.runs.end()
                         ? "…" + e.run_id.substr(24)
                         : run->worker + " " + (run->run_key.empty() ? "…" + e.run_id.substr(24) : run->run_key),
                     {}});
            }
            const auto found = lane_of.find(e.run_id);
            (found == lane_of.end() ? others : t.lanes[found->second]).marks.push_back(m);
        }
        if (!others.marks.empty()) {
            others.label = lane_of.size() == most_lanes ? "other runs, no run" : "no run";
            t.lanes.push_back(others);
        }
        t.description = "A lane for each run over time, with a mark for each event. " + std::to_string(wrong) + " of " +
                        std::to_string(what.events.size()) +
                        " events went wrong. The table of events below says the same in words.";
        out += "<h2 id=\"h-timeline\">Timeline</h2>\n<div class=\"picture\" role=\"region\" aria-label=\"Timeline\" "
               "tabindex=\"0\">" +
               svg(t,
                   [&clock](std::int64_t at) {
                       const auto found = clock.find(at);
                       return found == clock.end() ? std::string() : found->second.substr(11);
                   }) +
               "</div>\n" + key_of_picture();
    }
    std::vector<told> events;
    for (const auto& e : what.events)
        events.push_back({{}, {}, e.created_at, e.event_type, e.narrative, e.run_id, {}});
    out += "<h2 id=\"h-events\">What happened, event by event</h2>\n";
    out += events.empty()
               ? "<p>Nothing happened.</p>\n"
               : filters() +
                     scroll("Events", events_table(events, events.size(),
                                                   what.cut ? "There are more; --max shows them." : "Oldest first"));
    return out + "</main>\n" + tail();
}

} // namespace sor::report
