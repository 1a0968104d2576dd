#include "report/parts.hpp"
#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <set>
#include "report/digest.hpp"
#include "report/page.hpp"
#include "report/style.hpp"

namespace sor::report {
namespace {

struct named_headline {
    std::string_view kind, text;
    tone colour;
    std::string_view line;
};
constexpr named_headline headlines[] = {
    {"tampered", "History was changed", tone::bad, "does not fit"},
    {"crashed", "Crashed: the holder of the run was lost", tone::bad, "last sign of life"},
    {"failed", "Failed", tone::bad, "failed"},
    {"dead_letter", "Succeeded, but something was given up", tone::bad, "given up"},
    {"unknown_outcome", "Succeeded, but an outcome is unknown", tone::open, "outcome unknown"},
    {"cancelled", "Cancelled", tone::warning, "cancelled"},
    {"failed_tool", "Succeeded, but a call failed", tone::warning, "call failed"},
    {"refused_tool", "Succeeded, but a call was refused", tone::warning, "call refused"},
    {"failed_item", "Succeeded, but an item failed", tone::warning, "item failed"},
    {"undelivered", "Succeeded, but a message could not be sent yet", tone::warning, "not sent"},
    {"running", "In progress", tone::open, ""},
    {"resumed", "Succeeded, after its holder was lost", tone::ok, "resumed"},
    {"succeeded", "Succeeded", tone::ok, ""},
};

bool ends_with_any(std::string_view type, std::initializer_list<std::string_view> endings) {
    return std::any_of(endings.begin(), endings.end(), [&](std::string_view e) { return type.ends_with(e); });
}

constexpr std::string_view kinds_of_event[][2] = {
    {"run", "runs and turns"}, {"call", "tool calls"}, {"item", "items"}, {"message", "messages"}, {"other", "other"}};

std::string_view kind_of_event(std::string_view type) {
    const auto noun = type.substr(0, type.find('.'));
    return noun == "run" || noun == "turn" ? "run"
           : noun == "tool_call"           ? "call"
           : noun == "item"                ? "item"
           : noun == "outbox"              ? "message"
                                           : "other";
}

std::size_t zone_at(const std::string& iso) {
    return iso.find_first_of("+-Z", std::min<std::size_t>(iso.size(), 19));
}

std::string zone_of(const std::string& iso) {
    const auto at = zone_at(iso);
    const auto zone = at == iso.npos ? std::string() : iso.substr(at);
    return zone.empty() || zone == "Z" || zone == "+00:00" ? "UTC" : "UTC" + zone;
}

std::string day_of(const std::string& moment) {
    return moment.substr(0, std::min<std::size_t>(10, moment.size()));
}

std::string filters(const std::set<std::string_view>& kinds) {
    std::string out = "<div class=\"controls\" hidden><fieldset id=\"filters\"><legend>Show</legend>\n";
    for (const auto& [kind, label] : kinds_of_event)
        if (kinds.contains(kind))
            out += "<label><input type=\"checkbox\" data-kind=\"" + std::string(kind) + "\" checked> " +
                   std::string(label) + "</label>\n";
    return out + "<label><input type=\"checkbox\" id=\"only-bad\"> only what went wrong</label>\n"
                 "<label>Search <input type=\"search\" id=\"search\"></label>\n"
                 "<span class=\"small\" id=\"count\" role=\"status\"></span></fieldset></div>\n";
}

struct term {
    std::string_view word, meaning;
};
constexpr term terms[] = {
    {"dead", "Of a message or an item: given up. Nothing tries it again until an operator puts it back."},
    {"dedup key", "Names a side effect: queued twice under one key, a message is sent once."},
    {"dispatched",
     "Of a message: its destination accepted it, a mail server for instance. What became of it afterwards "
     "is not known here."},
    {"given up", "Tried for the last time: its status is dead."},
    {"handler", "The program that says what is to be done with an item of a queue."},
    {"holder", "The process that is working at a run. It is lost when its lease runs out."},
    {"item", "A piece of work in a queue."},
    {"journal", "The tables of runs, turns and tool calls."},
    {"lease", "How long a holder may be silent before another one may take over what it holds."},
    {"outbox",
     "The table of messages to the outside. They are committed with the work they belong to, and sent later."},
    {"pending", "Of a message: it waits for the relay."},
    {"redrive", "To put what was given up back, to be tried again as it stands."},
    {"relay", "The process that sends what is in the outbox."},
    {"run key", "The name of a run: started again under the same one, an unfinished run is resumed."},
    {"seq", "The number of an event within its stream."},
    {"stream", "The events of one run, or of one message, each with a hash over the one before."},
    {"tenant", "The customer whose rows these are; no other's are shown."},
    {"token", "A number that grows with every holder: what an earlier holder sends is refused."},
    {"turn", "A step of a run: one that has finished is not repeated when the run is resumed."},
};

// The text alone, in lower case.
std::string without_tags(std::string_view page) {
    std::string out;
    bool within = false;
    for (const char c : page) {
        within = c == '<' || (within && c != '>');
        if (!within)
            out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return out;
}

bool has_word(std::string_view text, std::string_view word) {
    const auto is_letter = [&](std::size_t at) {
        return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) || text[at] == '_');
    };
    for (auto at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
        const auto end = at + word.size();
        if ((at == 0 || !is_letter(at - 1)) && !is_letter(end + (end < text.size() && text[end] == 's')))
            return true;
    }
    return false;
}

std::string glossary(std::string_view page) {
    const auto text = without_tags(page.substr(std::min(page.size(), page.find("<body"))));
    std::string out;
    for (const auto& [word, meaning] : terms)
        if (has_word(text, word))
            out += "<dt>" + std::string(word) + "</dt><dd>" + std::string(meaning) + "</dd>";
    return "<details class=\"words\"><summary>What the words mean</summary><dl class=\"told\">" + out +
           "</dl></details>\n";
}

} // namespace

headline headline_of(std::string_view kind) {
    int rank = 0;
    for (const auto& h : headlines) {
        if (h.kind == kind)
            return {h.kind, h.text, h.colour, h.line, rank};
        ++rank;
    }
    return {kind, kind, tone::warning, "", 0};
}

bool needs_attention(const headline& h) {
    return h.colour != tone::ok && h.kind != "running";
}

bool is_bad(std::string_view event_type) {
    return tone_of_event(event_type) != tone::neutral;
}

const char* class_of(tone colour) {
    constexpr const char* names[] = {"", "ok", "warning", "open", "bad"};
    return names[static_cast<int>(colour)];
}

tone tone_of_event(std::string_view type) {
    return ends_with_any(type, {".failed", ".refused", ".dead"})                        ? tone::bad
           : type.ends_with(".unknown")                                                 ? tone::open
           : ends_with_any(type, {"run.resumed", ".cancelled", ".released", ".paused"}) ? tone::warning
                                                                                        : tone::neutral;
}

tone tone_of_status(std::string_view status) {
    return status == "succeeded" || status == "dispatched"                     ? tone::ok
           : status == "failed" || status == "refused" || status == "dead"     ? tone::bad
           : status == "cancelled"                                             ? tone::warning
           : status == "unknown" || status == "started" || status == "running" ? tone::open
                                                                               : tone::neutral;
}

std::string sign_of(tone colour) {
    return colour == tone::bad ? "✕ " : colour == tone::warning ? "◆ " : colour == tone::open ? "? " : "";
}

shape shape_of(tone colour) {
    return colour == tone::bad       ? shape::cross
           : colour == tone::open    ? shape::question
           : colour == tone::warning ? shape::diamond
                                     : shape::dot;
}

mark mark_of_event(std::string_view type, std::int64_t at, std::string title) {
    const tone colour = tone_of_event(type);
    const bool done = ends_with_any(type, {".succeeded", ".finished", ".completed", ".dispatched"});
    const shape form = colour == tone::neutral && !done ? shape::ring : shape_of(colour);
    return {form, done ? tone::ok : colour, at, at, std::move(title)};
}

std::string sentence_of(const std::string& narrative) {
    const auto colon = narrative.find(": ");
    return colon == narrative.npos || narrative.size() < 20 || narrative[4] != '-' ? narrative
                                                                                   : narrative.substr(colon + 2);
}

std::string status_element(std::string_view status) {
    const tone colour = tone_of_status(status);
    const bool ended = status != "running" && status != "started";
    return "<span class=\"status " + std::string(class_of(colour)) + "\">" + (ended ? sign_of(colour) : std::string()) +
           html(status == "dead" ? "given up" : status) + "</span>";
}

std::string plural(std::size_t n, std::string_view one) {
    return std::to_string(n) + ' ' + std::string(one) + (n == 1 ? "" : "s");
}

std::string classed(std::string_view tag, std::string_view name) {
    return "<" + std::string(tag) + (name.empty() ? std::string() : " class=\"" + std::string(name) + "\"");
}

std::string folded(const std::string& what, std::string_view json, std::size_t longest) {
    if (json.empty() || json == "null" || json == "{}")
        return {};
    const bool is_long = json.size() > 4 * longest;
    return "<details><summary>" + what + "</summary><pre>" +
           html(is_long ? std::string(json) : indented(json), longest) + "</pre></details>";
}

std::string fact(std::string_view name, const std::string& value) {
    return "<div><dt>" + std::string(name) + "</dt><dd>" + value + "</dd></div>\n";
}

clock_face::clock_face(const std::string& iso) : zone_(zone_of(iso)) {}

std::string clock_face::text(const std::string& iso) const {
    auto text = iso.substr(0, zone_at(iso));
    if (text.size() > 10 && text[10] == 'T')
        text[10] = ' ';
    if (const auto point = text.find('.'); point != text.npos)
        text.resize(std::min(text.size(), point + 4));
    const auto zone = zone_of(iso);
    return zone == zone_ || !moment_of(iso) ? text : text + ' ' + zone;
}

std::string clock_face::element(const std::string& iso, bool with_day) const {
    const auto shown = text(iso);
    return "<time datetime=\"" + html(iso) + "\">" + html(with_day || shown.size() < 12 ? shown : shown.substr(11)) +
           "</time>";
}

std::string clock_face::between(const std::string& from, const std::string& to) const {
    return element(from) + (to.empty() ? std::string(", not ended") : " – " + element(to, day_of(from) != day_of(to)));
}

void clock_face::remember(const std::string& iso) {
    if (const auto at = moment_of(iso))
        texts_.emplace(*at, text(iso));
}

std::string clock_face::tick(std::int64_t at) const {
    const auto found = texts_.find(at);
    if (found == texts_.end())
        return {};
    const bool one_day = day_of(texts_.begin()->second) == day_of(texts_.rbegin()->second);
    return found->second.substr(one_day ? std::min<std::size_t>(11, found->second.size()) : 0);
}

std::string events_section(const std::vector<told_event>& events, const clock_face& clock, std::size_t most,
                           const std::string& caption) {
    std::string out = "<h2 id=\"h-events\">What happened, event by event</h2>\n";
    if (events.empty())
        return out + "<p>Nothing happened.</p>\n";
    std::set<std::string_view> kinds;
    for (const auto& e : events)
        kinds.insert(kind_of_event(e.type));
    const auto begin = moment_of(events.front().created_at);
    const auto day = day_of(events.front().created_at);
    const bool one_day = day == day_of(events.back().created_at);
    std::string table =
        table_begin("events", caption + (one_day ? ", on " + html(day) : std::string()) + ", when each was recorded",
                    {"Time", "Since first", "Event", "What happened"});
    std::size_t left_out = 0;
    const auto gap = [&] {
        if (left_out > 0)
            table += "<tr class=\"left-out\"><td colspan=\"4\">" + std::to_string(left_out) +
                     " events are left out here; --max shows more</td></tr>\n";
        left_out = 0;
    };
    std::size_t wrong = 0;
    std::set<std::string_view> runs;
    for (std::size_t i = 0; i < events.size(); ++i) {
        const told_event& e = events[i];
        const auto own = tone_of_event(e.type), colour = own == tone::neutral ? e.flag : own;
        const bool marked = colour != tone::neutral;
        const bool within = i < most / 2 || i >= events.size() - most / 2 || (marked && wrong++ < most);
        if (events.size() > most && !within) {
            ++left_out;
            continue;
        }
        gap();
        const auto at = moment_of(e.created_at);
        const bool first_of_run = !e.run_id.empty() && runs.insert(e.run_id).second;
        table +=
            classed("tr", class_of(colour)) +
            (!e.id.empty()  ? " id=\"event-" + html(e.id) + "\""
             : first_of_run ? " id=\"events-" + html(e.run_id) + "\""
                            : std::string()) +
            (e.run_id.empty() ? std::string() : " data-run=\"" + html(e.run_id) + "\"") + " data-kind=\"" +
            std::string(kind_of_event(e.type)) + "\" data-bad=\"" + (marked ? "yes" : "no") + "\"><td>" +
            clock.element(e.created_at, !one_day) + "</td><td class=\"number\">" +
            (at && begin ? *at <= *begin ? "0" : "+" + duration_text(*at - *begin) : std::string()) + "</td><td>" +
            classed("span", e.type.size() < 40 ? "nowrap" : "") + ">" + sign_of(colour) + html(e.type, 200) +
            "</span>" +
            (e.seq.empty() ? std::string() : "<br><span class=\"small nowrap\">seq " + html(e.seq) + "</span>") +
            (!e.run_label.empty()
                 ? "<br><a class=\"small\" href=\"#run-" + html(e.run_id) + "\">" + html(e.run_label) + "</a>"
             : e.run_id.empty() ? std::string()
                                : "<br><span class=\"id small\">" + html(e.run_id) + "</span>") +
            "</td><td class=\"text\">" + html(sentence_of(e.narrative)) +
            (e.note.empty() ? std::string() : "<br><strong class=\"note\">" + html(e.note) + "</strong>") +
            (e.id.empty() ? std::string()
                          : "<details><summary>row</summary><p class=\"small\">agent_events <span class=\"id\">" +
                                html(e.id) + "</span></p><pre>" +
                                html(e.payload.size() > 8000 ? std::string(e.payload) : indented(e.payload), 2000) +
                                "</pre></details>") +
            "</td></tr>\n";
    }
    gap();
    return out + filters(kinds) + table_in_frame("Events", table);
}

std::string table_begin(std::string_view id, const std::string& caption,
                        std::initializer_list<std::string_view> names) {
    std::string out = "<table id=\"" + std::string(id) + "\"><caption>" + caption + "</caption>\n<thead><tr>";
    for (const auto name : names)
        out += "<th scope=\"col\">" + std::string(name) + "</th>";
    return out + "</tr></thead>\n<tbody>\n";
}

std::string table_in_frame(std::string_view name, const std::string& table) {
    return "<div class=\"scroll\" role=\"region\" aria-label=\"" + std::string(name) + "\" tabindex=\"0\">" + table +
           "</tbody></table></div>\n";
}

std::string about(const row& message) {
    return "“" + html(message.text("event_type"), 100) + "” about " + html(message.text("aggregate_id"), 100);
}

named_ids ids_in_command(const row& report) {
    const row run = report.object("run"), names = report.object("names");
    const auto command = report.object("finding").text("command");
    named_ids ids{{run.text("tenant_id"), "tenant " + html(names.text("tenant"), 200)},
                  {run.text("id"), "this run"},
                  {run.text("on_behalf_of"), "user " + html(names.text("on_behalf_of"), 200)}};
    for (const row& m : report.objects("outbox"))
        ids.emplace_back(m.text("id"), "the message " + about(m));
    std::erase_if(ids, [&](const auto& id) { return id.first.empty() || command.find(id.first) == command.npos; });
    return ids;
}

std::string command_block(const std::string& id, const std::string& command, const named_ids& ids) {
    std::string text;
    for (std::size_t at = 0; at < command.size();) { // an option stays on one line
        const auto end = std::min(command.size(), command.find_first_of(" \n", at));
        const auto word = command.substr(at, end - at);
        const bool whole = word.starts_with("--") && word.size() < 30;
        text += (whole ? "<span class=\"nowrap\">" : "") + html(word, 100000) + (whole ? "</span>" : "");
        if (end < command.size())
            text += command[end];
        at = end + 1;
    }
    std::string notes;
    for (const auto& [named, what] : ids)
        notes += (notes.empty() ? "" : "; ") + ("<span class=\"id\">" + html(named) + "</span> is ") + what;
    if (!notes.empty())
        notes += '.';
    const bool can_be_copied = visible(command, true) == command; // else a copy would hold names of characters
    if (!can_be_copied)
        notes += std::string(notes.empty() ? "" : " ") +
                 "Characters that nobody would see are named here: take the command from --format json.";
    return "<div class=\"command\"><pre id=\"" + html(id) + "\">" + text + "</pre>" +
           (can_be_copied ? "<span class=\"controls\" hidden><button type=\"button\" class=\"copy\" data-of=\"" +
                                html(id) + "\">Copy</button></span>"
                          : std::string()) +
           "</div>" + (notes.empty() ? notes : "<p class=\"small\">" + notes + "</p>");
}

std::string page_begin(const std::string& title, const std::string& heading, tone colour, std::string_view what) {
    return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-" +
           sha256_base64(page_style) + "'; script-src 'sha256-" + sha256_base64(page_script) +
           "'; base-uri 'none'; form-action 'none'\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
           "<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
           "<title>" +
           html(title, 200) + "</title>\n<style>" + std::string(page_style) + "</style>\n</head>\n" +
           classed("body", class_of(colour)) +
           ">\n<a class=\"skip\" href=\"#main\">Skip to the answers</a>\n<header>\n<div class=\"top\"><p>sor · " +
           std::string(what) +
           "</p><span class=\"controls\" hidden><button type=\"button\" id=\"theme\">Dark "
           "colours</button></span></div>\n"
           "<h1>" +
           html(heading) + "</h1>\n<dl class=\"facts\">\n";
}

std::string page_end(const std::string& page) {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    std::array<char, 40> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &utc);
    return glossary(page) + "</main>\n<footer><p>Made by sor " SOR_VERSION " on " + text.data() +
           " out of the database's rows alone; nothing was run again. The same rows as JSON: add "
           "<code><span class=\"nowrap\">--format</span> json</code>.</p></footer>\n<script>" +
           std::string(page_script) + "</script>\n</body>\n</html>\n";
}

} // namespace sor::report
