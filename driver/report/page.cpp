#include "report/page.hpp"
#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include "report/parts.hpp"

namespace sor::report {
namespace {

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

std::string counted(const std::string& n, std::string_view one) {
    return n + ' ' + std::string(one) + (n == "1" ? "" : "s");
}

class run_page {
public:
    run_page(std::string_view report, const std::string& tenant, std::size_t most) : tenant_(tenant), most_(most) {
        const row whole = whole_ = row(report);
        run_ = whole.object("run");
        clock_ = clock_face(run_.text("started_at"));
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
                                    {},
                                    e.json("payload")});
            clock_.remember(e.text("created_at"));
            if (e.has("message_id"))
                of_message_[e.text("message_id")].push_back(&e);
        }
        headline_ = headline_of(finding_.text("kind"));
        for (const row& evidence : finding_.objects("evidence"))
            for (told_event& e : events_told_)
                if (needs_attention(headline_) && e.id == evidence.text("id")) {
                    e.flag = headline_.colour;
                    e.note = evidence.text("says");
                }
    }

    std::string text() {
        const auto id = run_.text("id");
        const auto key = run_.text("run_key");
        const auto user = whole_.object("names").text("on_behalf_of");
        std::string out = page_begin(std::string(headline_.text) + " · run " + id + " · " + tenant_,
                                     std::string(headline_.text), headline_.colour, "forensic report of a run");
        out += fact("Run", "<span class=\"id\" id=\"run-id\">" + html(id) + "</span>");
        out += fact("Tenant", html(tenant_, 200)) + fact("Worker", html(run_.text("worker"), 200));
        out += fact("On behalf of", user.empty() ? "nobody" : html(user, 200));
        if (!key.empty())
            out += fact("Run key", html(key, 200));
        out += fact("Status", is_doubtful() ? html(run_.text("status")) + " (no evidence)"
                                            : status_element(run_.text("status")) +
                                                  (headline_.kind == "crashed" ? ", its holder lost" : ""));
        out += fact("Time, " + html(clock_.zone()), clock_.between(run_.text("started_at"), run_.text("finished_at"))) +
               "</dl>\n";
        out += alarm() + "</header>\n<main id=\"main\" tabindex=\"-1\">\n" + answers() + picture();
        out += events_section(events_told_, clock_, most_,
                              plural(events_.size(), "event") + " of the run and of its messages, oldest first");
        out += calls_table() + messages_table() + integrity() + six_lines();
        return out + page_end(out);
    }

private:
    std::int64_t moment(const row& of, const char* name) {
        const auto iso = of.text(name);
        clock_.remember(iso);
        return moment_of(iso).value_or(clock_.last());
    }

    // When a call began and when it ended, in so far as it did.
    std::pair<std::int64_t, std::int64_t> span_of(const row& call) {
        const auto from = moment(call, "started_at");
        return {from, call.has("finished_at") ? std::max(from, moment(call, "finished_at")) : from};
    }

    bool is_doubtful() const { return headline_.kind == "tampered"; }

    std::string alarm() const {
        if (!verification_.has("first_bad"))
            return {};
        const row bad = verification_.object("first_bad");
        return "<div class=\"alarm\" role=\"alert\"><h2>✕ The history of this run was changed</h2><p>" +
               (bad.has("seq") ? "The first event that does not fit is number " + html(bad.text("seq")) + " of stream "
                               : std::string("What does not fit is ") + (bad.has("id") ? "in stream " : "stream ")) +
               "<span class=\"id\">" + html(bad.text("stream_id")) + "</span>" +
               (bad.has("id") ? (bad.has("seq") ? ", event " : ", row ") + link(bad.text("id")) : std::string()) +
               ": " + html(bad.text("problem")) +
               ".</p><p>What this page says of that stream is not evidence: the status, where it failed, what reached "
               "the outside, the timeline and the tables.</p></div>\n";
    }

    // Text as a link to a row, where this page has the row.
    std::string link(const std::string& id, const std::string& text) const {
        const std::pair<const char*, std::span<const row>> tables[] = {
            {"event-", events_}, {"call-", limited(calls_)}, {"message-", limited(messages_)}};
        for (const auto& [anchor, rows] : tables)
            if (std::any_of(rows.begin(), rows.end(), [&](const row& r) { return r.text("id") == id; }))
                return "<a href=\"#" + std::string(anchor) + html(id) + "\">" + text + "</a>";
        return text;
    }
    std::string link(const std::string& id) const { return link(id, "<span class=\"id\">" + html(id) + "</span>"); }

    // Of a row that does not fit: what the finding says of it.
    std::string misfit(const row& r) const {
        if (is_doubtful())
            for (const row& evidence : finding_.objects("evidence"))
                if (evidence.text("id") == r.text("id"))
                    return evidence.text("says");
        return {};
    }
    static std::string note(const std::string& says) {
        return says.empty() ? says : "<br><strong class=\"note\">" + html(says) + "</strong>";
    }

    std::string answers() const {
        std::string out = "<div class=\"answers\">\n<section class=\"wide cause\" aria-labelledby=\"a-cause\"><h2 "
                          "id=\"a-cause\">Root cause</h2><p id=\"root-cause\">" +
                          html(finding_.text("root_cause")) + "</p>";
        const auto evidence = finding_.objects("evidence");
        if (!evidence.empty()) {
            out += "<ul class=\"evidence small\">";
            for (const row& e : evidence)
                out += "<li>" + html(e.text("table")) + ' ' + link(e.text("id")) +
                       (e.has("seq") ? " (seq " + html(e.text("seq")) + ")" : std::string()) + ": " +
                       html(e.text("says")) + "</li>";
            out += "</ul>";
        }
        out += "</section>\n<section class=\"wide do\" aria-labelledby=\"a-next\"><h2 id=\"a-next\">What to do "
               "next</h2><p id=\"next-action\">" +
               html(finding_.text("next_action")) + "</p>";
        if (finding_.has("command"))
            out += command_block("command", finding_.text("command"), ids_in_command(whole_));
        return out +
               "</section>\n<section aria-labelledby=\"a-point\"><h2 id=\"a-point\">Failure point</h2><p "
               "id=\"failure-point\">" +
               html(summary_.text("failure_point")) + "</p>" +
               "</section>\n<section aria-labelledby=\"a-outside\"><h2 id=\"a-outside\">What reached the outside "
               "world?</h2><p id=\"side-effects\">" +
               html(summary_.text("side_effects")) + "</p>" + outside() + "</section>\n</div>\n";
    }

    std::string six_lines() const {
        std::string out = "<details class=\"words\"><summary>The report in six lines</summary><dl class=\"told\">";
        for (const char* name :
             {"run", "scope", "timeline", "failure_point", "side_effects", "cause_and_next_action"}) {
            std::string label = name;
            std::replace(label.begin(), label.end(), '_', ' ');
            out += "<dt>" + label + "</dt><dd>" + html(summary_.text(name)) + "</dd>";
        }
        return out + "</dl></details>\n";
    }

    // A few messages by name, those first that went out or never will.
    std::string outside() const {
        constexpr std::size_t most = 3;
        std::vector<const row*> shown;
        for (const std::string_view status : {"dispatched", "dead", "pending"})
            for (const row& m : messages_)
                if (m.text("status") == status && shown.size() < most)
                    shown.push_back(&m);
        std::string out;
        for (const row* m : shown) {
            const auto to = recipients(m->object("payload"));
            auto ended = m->text("processed_at");
            if (const auto found = of_message_.find(m->text("id"));
                ended.empty() && m->text("status") == "dead" && found != of_message_.end())
                ended = found->second.back()->text("created_at");
            out += "<li>" + status_element(m->text("status")) + (ended.empty() ? ended : ' ' + clock_.element(ended)) +
                   ": " + link(m->text("id"), about(*m)) + " to " + html(m->text("destination"), 100) +
                   (to.empty() ? std::string() : ", addressed to " + html(to, 200)) + "</li>";
        }
        if (messages_.size() > shown.size())
            out += "<li>and " + std::to_string(messages_.size() - shown.size()) +
                   " more, <a href=\"#h-messages\">below</a></li>";
        return out.empty() ? out : "<ul class=\"small\">" + out + "</ul>";
    }

    // When that was which a row of evidence is about, as it stands in the picture.
    std::optional<std::int64_t> moment_of_evidence(const row& evidence) {
        const auto table = evidence.text("table"), id = evidence.text("id");
        if (table == "runs")
            return run_.has("finished_at") ? moment(run_, "finished_at") : last_of_run();
        for (const row& call : calls_)
            if (call.text("id") == id)
                return span_of(call).second;
        if (const auto found = of_message_.find(id); found != of_message_.end())
            return moment(*found->second.back(), "created_at");
        for (const row& e : events_)
            if (e.text("id") == id)
                return moment(e, "created_at");
        return std::nullopt;
    }

    std::string picture() {
        timeline t;
        t.title = "Timeline of run " + run_.text("id");
        lane run{"run", {}}, turns{"turns", {}}, calls{"tool calls", {}}, claims{"claims and items", {}};
        const auto begin = moment(run_, "started_at");
        const auto end = run_.has("finished_at") ? moment(run_, "finished_at") : last_of_run();
        auto held_from = begin;
        const auto held_to = [&](std::int64_t to) {
            run.marks.push_back(
                {shape::bar, tone_of_status(run_.text("status")), held_from, std::max(held_from, to),
                 "run, " + run_.text("status") + ", " + duration_text(std::max<std::int64_t>(0, end - begin))});
        };
        for (const row& e : events_)
            if (e.text("event_type") == "run.resumed") {
                const row gap = e.object("payload").object("gap");
                if (const auto from = moment_of(gap.text("from")), to = moment_of(gap.text("to")); from && to) {
                    held_to(*from);
                    held_from = std::max(held_from, *to);
                }
            }
        held_to(end);
        for (const row& turn : turns_) {
            const auto from = moment(turn, "started_at");
            const auto to = std::max(from, turn.has("finished_at") ? moment(turn, "finished_at") : end);
            turns.marks.push_back(
                {shape::bar, tone_of_status(turn.text("status")), from, to,
                 "turn " + turn.text("turn_no") + ", " + turn.text("status") + ", " + duration_text(to - from)});
        }
        for (const row& call : calls_) {
            const auto status = call.text("status");
            const auto [from, to] = span_of(call);
            auto drawn = mark_of_event("tool_call." + status, to,
                                       call.text("tool") + ", " + status + ", turn " + call.text("turn_no"));
            if (status == "succeeded") {
                drawn.form = shape::bar;
                drawn.from = from;
            } else if (status == "started") {
                drawn.colour = tone::open;
            }
            (call.text("tool") == "claim" ? claims : calls).marks.push_back(drawn);
        }
        for (const row& e : events_) {
            const auto type = e.text("event_type");
            const auto drawn = mark_of_event(type, moment(e, "created_at"), sentence_of(e.text("narrative")));
            if (type == "run.resumed")
                run.marks.push_back(drawn);
            else if (type.starts_with("item."))
                claims.marks.push_back(drawn);
        }
        if (!headline_.line.empty())
            for (const row& e : finding_.objects("evidence"))
                if (const auto at = moment_of_evidence(e)) {
                    t.lines.push_back({*at, std::string(headline_.line), headline_.colour});
                    if (e.text("table") == "runs" || is_doubtful()) // no other lane has a mark of it
                        run.marks.push_back(
                            {shape_of(headline_.colour), headline_.colour, *at, *at, std::string(headline_.line)});
                    break;
                }
        for (auto* lane : {&run, &turns, &calls, &claims})
            if (!lane->marks.empty())
                t.lanes.push_back(*lane);
        message_lanes(t);
        t.description = "A lane for the run and for each of its turns, tool calls, claims and messages over time. The "
                        "run began " +
                        clock_.text(run_.text("started_at")) + " and " +
                        (run_.has("finished_at") ? "ended " + clock_.text(run_.text("finished_at")) : "has not ended") +
                        ". " + summary_.text("failure_point") + " The table of events below says the same in words.";
        return "<h2 id=\"h-timeline\">Timeline</h2>\n" + figure(t, [this](std::int64_t at) { return clock_.tick(at); });
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
            for (const row* e : of_message_[m.text("id")])
                t.lanes.back().marks.push_back(
                    mark_of_event(e->text("event_type"), moment(*e, "created_at"), sentence_of(e->text("narrative"))));
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

    std::string calls_table() const {
        std::string out = "<h2 id=\"h-calls\">Tool calls</h2>\n";
        if (calls_.empty())
            return out + "<p>The run called no tool.</p>\n";
        std::string table = table_begin(
            "calls", plural(calls_.size(), "attempt") + ", not counting retries that got the stored response",
            {"Turn", "Tool", "Status", "Started", "Took", "What was asked and answered"});
        for (const row& c : limited(calls_)) {
            const auto status = c.text("status");
            const auto from = moment_of(c.text("started_at")), to = moment_of(c.text("finished_at"));
            const row error = c.object("error");
            auto message = error.text("message");
            if (message.empty() && c.has("error"))
                message = c.text("error");
            const auto colour = misfit(c).empty() ? tone_of_status(status) : tone::bad;
            table +=
                classed("tr", colour == tone::ok ? "" : class_of(colour)) + " id=\"call-" + html(c.text("id")) +
                "\"><td class=\"number\">" + html(c.text("turn_no")) + "</td><td>" + html(c.text("tool"), 200) +
                "</td><td>" + status_element(status) + "</td><td>" + clock_.element(c.text("started_at")) +
                "</td><td class=\"number\">" +
                (status == "unknown" ? std::string("no answer")
                 : from && to        ? duration_text(std::max<std::int64_t>(0, *to - *from))
                                     : std::string("not ended")) +
                "</td><td class=\"text\">" +
                (message.empty() ? std::string()
                                 : html(message) + (error.has("sqlstate") ? " (" + html(error.text("sqlstate")) + ")"
                                                                          : std::string())) +
                note(misfit(c)) + folded("arguments", c.json("arguments")) + folded("response", c.json("response")) +
                folded("error", c.json("error")) + "<span class=\"small\">request <span class=\"id\">" +
                html(c.text("request_id")) + "</span></span></td></tr>\n";
        }
        return out + table_in_frame("Tool calls", table) + left_out(calls_.size());
    }

    std::string messages_table() const {
        std::string out = "<h2 id=\"h-messages\">Messages to the outside</h2>\n";
        if (messages_.empty())
            return out + "<p>The run queued no message.</p>\n";
        std::string table = table_begin("messages", plural(messages_.size(), "message") + ", each with what was tried",
                                        {"Destination", "Message", "Status", "What was tried"});
        for (const row& m : limited(messages_)) {
            const auto status = m.text("status");
            const auto to = recipients(m.object("payload"));
            table += classed("tr", status == "dead" || !misfit(m).empty()       ? "bad"
                                   : status == "pending" && m.has("last_error") ? "warning"
                                                                                : "") +
                     " id=\"message-" + html(m.text("id")) + "\"><td>" + html(m.text("destination"), 200) +
                     "</td><td class=\"text\">" + about(m) +
                     (to.empty() ? std::string() : ", addressed to " + html(to, 400)) +
                     "<br><span class=\"small\">dedup key <span class=\"id\">" + html(m.text("dedup_key"), 400) +
                     "</span></span>" + note(misfit(m)) + folded("payload", m.json("payload")) + "</td><td>" +
                     status_element(status) + "</td><td><ol class=\"attempts\">";
            if (const auto found = of_message_.find(m.text("id")); found != of_message_.end())
                for (const row* e : found->second) {
                    const auto type = e->text("event_type");
                    const row payload = e->object("payload");
                    table += "<li>" + clock_.element(e->text("created_at")) + ' ' + sign_of(tone_of_event(type)) +
                             html(type.substr(std::min(type.size(), type.find('.') + 1))) +
                             (payload.has("attempt") ? ", attempt " + html(payload.text("attempt")) : std::string()) +
                             (payload.has("error") ? ": " + html(payload.text("error"), 400) : std::string()) + "</li>";
                }
            table += "</ol></td></tr>\n";
        }
        return out + table_in_frame("Messages", table) + left_out(messages_.size());
    }

    std::string integrity() const {
        const bool whole = !verification_.has("first_bad");
        return "<h2 id=\"h-history\">Is this history whole?</h2>\n<p>" +
               std::string(whole ? "<span class=\"status ok\">Yes.</span> The hash of each of "
                                 : "<span class=\"status bad\">✕ No.</span> Of ") +
               counted(verification_.text("events"), "event") + " in " +
               counted(verification_.text("streams"), "stream") +
               (whole ? " was computed again and fits the one before it, and the journal and the outbox agree with "
                        "them.</p>\n"
                      : ", or of the rows that they tell of, at least one does not fit; see above.</p>\n");
    }

    std::span<const row> limited(const std::vector<row>& rows) const {
        return {rows.data(), std::min(rows.size(), most_)};
    }
    std::string left_out(std::size_t count) const {
        return count <= most_ ? std::string()
                              : "<p class=\"small\">" + std::to_string(count - most_) +
                                    " more are left out; --max shows more.</p>\n";
    }

    const std::string& tenant_;
    const std::size_t most_;
    row whole_, run_, finding_, summary_, verification_;
    std::vector<row> turns_, calls_, messages_, events_;
    std::vector<told_event> events_told_;
    std::map<std::string, std::vector<const row*>> of_message_;
    clock_face clock_;
    headline headline_{};
};

} // namespace

std::string page_of_run(std::string_view report, const std::string& tenant, std::size_t most) {
    return run_page(report, tenant, most).text();
}

} // namespace sor::report
