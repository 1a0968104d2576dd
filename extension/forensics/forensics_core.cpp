#include "forensics/forensics_core.hpp"

#include <algorithm>

namespace sor::forensics {

namespace {

// No more bytes than that, not within a character.
std::string cut(std::string_view s, std::size_t longest) {
    if (s.size() <= longest)
        return std::string(s);
    std::size_t end = longest;
    while (end > 0 && (static_cast<unsigned char>(s[end]) & 0xc0) == 0x80)
        --end;
    return std::string(s.substr(0, end)) + " …";
}

constexpr std::size_t longest_name = 200, longest_reason = 400;

// Short enough for a sentence that has a full stop of its own.
std::string ending_cut(std::string_view s) {
    const bool short_enough = s.size() <= longest_reason;
    std::string out = cut(s, longest_reason);
    while (short_enough && !out.empty() && (out.back() == '.' || out.back() == '\n' || out.back() == ' '))
        out.pop_back();
    return out;
}

class teller {
public:
    explicit teller(const happening& event) : e_(event) {}

    std::string_view whole(std::string_view name) const {
        for (const field& f : e_.payload)
            if (f.name == name)
                return f.value;
        return {};
    }
    bool has(std::string_view name) const { return !whole(name).empty(); }
    std::string value(std::string_view name) const { return cut(whole(name), longest_name); }

    // The actor, and for whom it acted.
    std::string who() const {
        const std::string actor = cut(e_.actor, longest_name);
        std::string out = e_.actor_kind == "agent"    ? "Worker \"" + actor + '"'
                          : e_.actor_kind != "system" ? actor
                          : is_relay()                ? "Relay \"" + actor + '"'
                                                      : "The system (" + actor + ')';
        if (!e_.on_behalf_of.empty() && e_.on_behalf_of != e_.actor)
            out += " for " + cut(e_.on_behalf_of, longest_name);
        return out;
    }

    // " before value after", or nothing when there is no value.
    std::string maybe(std::string_view before, std::string_view name, std::string_view after = {}) const {
        return has(name) ? std::string(before) + value(name) + std::string(after) : std::string();
    }

    std::string_view cause() const {
        for (const char* name : {"error.message", "error.reason", "error", "reason", "message", "last_error"})
            if (has(name))
                return whole(name);
        return {};
    }
    std::string because() const { return cause().empty() ? std::string() : ": " + ending_cut(cause()); }

    const happening& event() const { return e_; }

private:
    bool is_relay() const { return e_.type.starts_with("outbox.") && e_.type != "outbox.enqueued"; }
    const happening& e_;
};

std::string plural(std::int64_t n, std::string_view one) {
    return std::to_string(n) + ' ' + std::string(one) + (n == 1 ? "" : "s");
}

std::string counted_text(std::string_view number, std::string_view one) {
    return std::string(number) + ' ' + std::string(one) + (number == "1" ? "" : "s");
}

// What stands before the one that is named: it is the only one, or the last of several.
std::string the_last(std::int64_t n) {
    return n == 1 ? "" : "the last one ";
}

std::string in_turn(int turn_no) {
    return turn_no == 0 ? std::string() : " in turn " + std::to_string(turn_no);
}

// Moments are told to the second, and a gap may be shorter.
std::string when(std::string_view before, std::string_view from, std::string_view between, std::string_view to) {
    return from == to
               ? "at " + std::string(from)
               : std::string(before) + ' ' + std::string(from) + ' ' + std::string(between) + ' ' + std::string(to);
}

std::string tell_run(const teller& t, std::string_view verb) {
    if (verb == "started")
        return t.who() + " started the run" + t.maybe(" of key \"", "run_key", "\"") + '.';
    if (verb == "resumed") {
        std::string out = t.who() + " resumed the run, whose holder was lost, after a gap " +
                          when("from", t.value("gap.from"), "to", t.value("gap.to")) + '.';
        if (t.has("gap.unended_turn"))
            out += " Turn " + t.value("gap.unended_turn") + " had begun and not finished.";
        if (t.has("gap.unknown_calls#") && t.value("gap.unknown_calls#") != "0")
            out +=
                " The outcome of " + counted_text(t.value("gap.unknown_calls#"), "outside call") + " cannot be known.";
        return out;
    }
    if (verb == "succeeded")
        return t.who() + " ended the run: it succeeded.";
    if (verb == "failed")
        return t.who() + " ended the run: it failed" + t.because() + '.';
    // by a login, which need not be that of the run's Worker
    const std::string by = t.has("error.cancelled_by") ? "Login \"" + t.value("error.cancelled_by") + '"' : t.who();
    return by + " cancelled the run" + t.because() + '.';
}

std::string tell_turn(const teller& t, std::string_view verb) {
    const std::string turn = "turn " + std::to_string(t.event().turn_no);
    if (verb == "started")
        return t.who() + " began " + turn +
               (t.value("reopened") == "true" ? " again, because it had not finished." : ".");
    const std::string status = t.value("status");
    return status.empty() || status == "succeeded" ? t.who() + " finished " + turn + '.'
                                                   : t.who() + " ended " + turn + " as " + status + '.';
}

// One claim may settle items of the batch before, and need not ask for new ones.
std::string tell_claim(const teller& t) {
    std::string out = t.who() + " claimed " +
                      counted_text(t.has("response.items#") ? t.value("response.items#") : "0", "item") +
                      " of queue \"" + t.value("arguments.queue") + '"' + in_turn(t.event().turn_no);
    constexpr std::string_view settled[][2] = {
        {"arguments.complete#", "completed"}, {"arguments.fail#", "failed"}, {"arguments.release#", "gave back"}};
    for (const auto& [count, verb] : settled)
        if (t.has(count) && t.value(count) != "0")
            out += ", " + std::string(verb) + ' ' + t.value(count);
    return out + '.';
}

// "message "type" about X to DESTINATION, addressed to WHOM (dedup key K)", as far as it is known; `under` names where
// the message's own payload stands.
std::string the_message(const teller& t, std::string_view prefix, std::string_view to) {
    const auto named = [&](std::string_view name) { return std::string(prefix) + std::string(name); };
    const std::string recipients = std::string(to) + "#";
    return "message" + t.maybe(" \"", named("event_type"), "\"") + t.maybe(" about ", named("aggregate_id")) +
           t.maybe(" to ", named("destination")) +
           (t.has(recipients) ? ", addressed to " + counted_text(t.value(recipients), "recipient")
                              : t.maybe(", addressed to ", to)) +
           t.maybe(" (dedup key ", named("dedup_key"), ")");
}

std::string tell_success(const teller& t) {
    const std::string name = t.value("tool");
    const std::string turn = in_turn(t.event().turn_no);
    if (name == "claim" && t.has("arguments.queue"))
        return tell_claim(t);
    if (name == "write" && t.has("arguments.table")) {
        const bool there = t.value("response.inserted") == "false";
        return t.who() + (there ? " found a row of \"" : " wrote a row of \"") + t.value("arguments.table") + '"' +
               (there ? " already written" : "") + turn + t.maybe(", completing item ", "arguments.completes.item_id") +
               '.';
    }
    if (name == "queue" && t.has("arguments.destination"))
        return t.who() + (t.value("response.enqueued") == "false" ? " found queued already" : " queued") + turn +
               " the " + the_message(t, "arguments.", "arguments.payload.to") + '.';
    if (name == "read" && t.has("arguments.from"))
        return t.who() + " read " + counted_text(t.has("response.rows#") ? t.value("response.rows#") : "0", "row") +
               " of \"" + t.value("arguments.from") + '"' + turn + '.';
    return t.who() + " called tool \"" + name + '"' + turn + ": it succeeded.";
}

std::string tell_call(const teller& t, std::string_view verb) {
    const std::string tool = '"' + t.value("tool") + '"';
    const std::string turn = in_turn(t.event().turn_no);
    if (verb == "started")
        return t.who() + " was about to call " + tool + " outside the database" + turn + '.';
    if (verb == "succeeded")
        return tell_success(t);
    if (verb == "unknown")
        return t.who() + " recorded that the outcome of the call of " + tool + turn + " cannot be known" + t.because() +
               '.';
    const std::string object = t.maybe(" on \"", "arguments.table", "\"") + t.maybe(" on \"", "arguments.from", "\"") +
                               t.maybe(" on queue \"", "arguments.queue", "\"") +
                               t.maybe(" to ", "arguments.destination") +
                               t.maybe(" for item ", "arguments.completes.item_id");
    return t.who() + " called tool " + tool + object + turn + (verb == "refused" ? ": it was refused" : ": it failed") +
           t.because() + t.maybe(" (SQLSTATE ", "error.sqlstate", ")") + '.';
}

std::string tell_item(const teller& t, std::string_view verb) {
    const std::string item = " item" + t.maybe(" ", "item_id") + t.maybe(" of queue \"", "queue", "\"");
    const std::string attempt = t.maybe(" (attempt ", "attempt", ")");
    if (verb == "claimed")
        return t.who() + " claimed" + item + attempt + '.';
    if (verb == "completed")
        return t.who() + " completed" + item + '.';
    if (verb == "failed")
        return t.who() + " failed at" + item + t.because() + attempt + '.';
    if (verb == "released")
        return t.who() + " gave back" + item + t.because() + '.';
    if (verb == "dead")
        return t.who() + " gave up" + item + " after its last attempt" + t.because() + '.';
    if (t.has("destination")) // a message's: its intent is among the fields
        return t.who() + " put the " + the_message(t, "", "payload.to") + " back into the outbox.";
    return t.who() + " put" + item + " back into its queue.";
}

std::string tell_message(const teller& t, std::string_view verb) {
    const std::string message = the_message(t, "", "payload.to");
    const std::string attempt = t.maybe(" at attempt ", "attempt");
    if (verb == "enqueued")
        return t.who() + " recorded the intent to send the " + message + '.';
    if (verb == "dispatched")
        return t.who() + " sent the " + message + attempt + ": " + t.value("destination") + " accepted it.";
    if (verb == "dead")
        return t.who() + " gave up the " + message + t.because() + '.';
    return t.who() + " could not send the " + message + attempt + t.because() + "; it will be tried again.";
}

std::string tell_migration(const teller& t, std::string_view verb) {
    const std::string what = "migration" + t.maybe(" ", "version") + t.maybe(" \"", "name", "\"");
    const std::string override = t.maybe(", with an override (branch ", "override.branch") +
                                 t.maybe(", backup ", "override.backup") +
                                 t.maybe(", because: ", "override.reason", ")");
    if (verb == "approved")
        return t.who() + " approved " + what + override +
               (t.value("rehearsed") == "false" ? ", which nobody had rehearsed." : ".");
    if (verb == "rehearsed")
        return t.who() + " rehearsed " + what + t.maybe(" on branch ", "branch") + '.';
    if (verb == "applied" || verb == "rolled_back")
        return t.who() + (verb == "applied" ? " applied " : " rolled back ") + what + override +
               (t.value("forced") == "true" ? ", by force." : ".");
    if (verb == "failed")
        return t.who() + " failed to " + (t.value("direction") == "down" ? "roll back " : "apply ") + what +
               t.because() + '.';
    if (verb == "step_started" || verb == "step_finished")
        return t.who() + (verb == "step_started" ? " began" : " finished") + " step" + t.maybe(" ", "step") +
               t.maybe(" of ", "steps") + " of " + (t.value("direction") == "down" ? "rolling back " : "applying ") +
               what + '.';
    return t.who() + ' ' + std::string(verb) + ' ' + what + '.';
}

std::string tell_other(const teller& t) {
    const std::string_view type = t.event().type;
    if (type == "grant.changed")
        return t.value("granted") == "false"
                   ? t.who() + " took the tenant's grant from login" + t.maybe(" \"", "login", "\"") + '.'
                   : t.who() + " granted the tenant to login" + t.maybe(" \"", "login", "\"") + '.';
    if (type == "role.assigned")
        return t.who() + " gave user " + t.value("user_id") + " the role " + t.value("role") +
               t.maybe(" instead of ", "former") + '.';
    if (type == "switch.paused" || type == "switch.resumed")
        return t.who() + (type == "switch.paused" ? " paused" : " let go on") + t.maybe(" the ", "kind") +
               t.maybe(" \"", "name", "\"") + t.because() + '.';
    if (type == "registered")
        return t.who() + " registered" + t.maybe(" the ", "kind") + t.maybe(" \"", "name", "\"") + '.';
    return t.who() + " recorded " + std::string(type) + in_turn(t.event().turn_no) + t.because() + '.';
}

std::string tell(const teller& t) {
    const std::string_view type = t.event().type;
    const std::size_t dot = type.find('.');
    const std::string_view noun = type.substr(0, dot);
    const std::string_view verb = dot == std::string_view::npos ? std::string_view() : type.substr(dot + 1);
    if (noun == "run")
        return tell_run(t, verb);
    if (noun == "turn")
        return tell_turn(t, verb);
    if (noun == "tool_call")
        return tell_call(t, verb);
    if (noun == "item")
        return tell_item(t, verb);
    if (noun == "outbox")
        return tell_message(t, verb);
    if (noun == "migration" && t.has("version"))
        return tell_migration(t, verb);
    return tell_other(t);
}

} // namespace

std::string narrative(const happening& event) {
    const std::string when = event.at.empty() ? std::string() : std::string(event.at) + ": ";
    return when + tell(teller(event));
}

namespace {

std::string text(std::string_view s) {
    return cut(s, longest_name);
}

std::string quoted(std::string_view s) {
    return '"' + text(s) + '"';
}

// ---------------------------------------------------------------- commands

// For the shell: as it is where that is safe, else in single quotes.
std::string sh(std::string_view s) {
    constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:@/+";
    if (!s.empty() && s.front() != '-' && s.find_first_not_of(plain) == std::string_view::npos)
        return std::string(s);
    std::string out = "'";
    for (const char c : s)
        out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + '\'';
}

// A literal of SQL, whatever standard_conforming_strings says.
std::string sql(std::string_view s) {
    std::string out = s.find('\\') == std::string_view::npos ? "'" : "E'";
    for (const char c : s)
        out += c == '\'' || c == '\\' ? std::string(2, c) : std::string(1, c);
    return out + '\'';
}

constexpr std::string_view handler = " --handler HANDLER";

// What starts the Worker again: to resume its run, or under another key for a new one.
std::string start_worker(const run_facts& f, bool resume) {
    const std::string key = f.run_key.empty() ? std::string() : std::string(f.run_key) + (resume ? "" : ".again");
    const std::string common = " --tenant " + sh(f.tenant) + " --worker " + sh(f.worker) +
                               (f.user.empty() ? "" : " --on-behalf-of " + sh(f.user)) +
                               (key.empty() ? "" : " --run-key " + sh(key));
    if (f.is_client)
        return "sor mcp" + common;
    if (!f.queue.empty())
        return "sor work " + sh(f.queue) + common + std::string(handler);
    return "select * from sor.start_run(" + sql(f.tenant_id) + ", " + sql(f.worker) +
           (key.empty() ? ", run_key => null" : ", " + sql(key)) +
           (f.user_id.empty() ? "" : ", on_behalf_of => " + sql(f.user_id)) + ");";
}

// Of an outside call the service behind it has to know the id.
std::string same_ids(const run_facts& f) {
    return std::string(f.is_client || f.queue.empty() ? "retry" : "the command retries") +
           " with the same request ids, so that nothing that took effect in the database is repeated";
}

// What a run that did not succeed queued is committed all the same.
std::string will_be_sent(const run_facts& f) {
    return f.pending == 0 ? std::string()
                          : plural(f.pending, "message") + " of it " + (f.pending == 1 ? "waits" : "wait") +
                                " and will be sent all the same. ";
}

// A call that failed within the database was rolled back.
std::string nothing_of_it(const run_facts& f) {
    const bool outside = std::any_of(f.outside_calls.begin(), f.outside_calls.end(),
                                     [&](const counted& c) { return c.name == f.bad_tool; });
    return outside || f.bad_tool.empty() ? "" : "Nothing of the call took effect. ";
}

// A call as it was made: what the service behind it is to be asked about.
std::string show_call(const run_facts& f, std::string_view request) {
    return "select pg_catalog.jsonb_pretty(c) from pg_catalog.jsonb_array_elements(sor.forensic_report(" +
           sql(f.tenant_id) + ", " + sql(f.run_id) + ") -> 'tool_calls') c where c ->> 'request_id' = " + sql(request) +
           ';';
}

// ---------------------------------------------------------------- sentences

std::string bad_call(const run_facts& f) {
    return "tool " + quoted(f.bad_tool) + in_turn(f.bad_turn) +
           (f.bad_status == "refused"   ? " was refused"
            : f.bad_status == "unknown" ? " has no known outcome"
            : f.bad_status == "started" ? " was begun and has not ended"
                                        : " failed") +
           (f.bad_message.empty() ? std::string() : ": " + ending_cut(f.bad_message)) +
           (f.bad_sqlstate.empty() ? std::string() : " (SQLSTATE " + text(f.bad_sqlstate) + ")") + ", request " +
           text(f.bad_request);
}

std::string bad_item(const run_facts& f) {
    return "item " + text(f.bad_item) + " of queue " + quoted(f.bad_queue) + ": " + ending_cut(f.bad_item_error);
}

std::string dead_item(const run_facts& f) {
    return "item " + text(f.dead_item) + " of queue " + quoted(f.dead_queue) + ": " + ending_cut(f.dead_item_error);
}

// Of a run's error: the item or the call that it came from, with words of its own only where the error has others.
std::string behind_the_error(const run_facts& f) {
    if (f.items_failed > 0)
        return "; before that, " + std::string(f.items_failed == 1 ? "the item" : "the last item") +
               " that failed: " + bad_item(f);
    if (f.bad_tool.empty())
        return {};
    return f.bad_message.empty() || f.error.find(f.bad_message) == std::string_view::npos
               ? "; before that, " + bad_call(f)
               : " (tool " + quoted(f.bad_tool) + in_turn(f.bad_turn) + ", request " + text(f.bad_request) + ')';
}

std::string where(const run_facts& f) {
    return f.open_turn != 0 ? "in turn " + std::to_string(f.open_turn)
                            : "after " + plural(f.finished_turns, "finished turn");
}

std::string lost_between(const run_facts& f) {
    return when("between", text(f.gap_from), "and", text(f.gap_to)) +
           (f.gap_turn.empty() ? std::string() : ", in turn " + text(f.gap_turn));
}

std::string mended(const run_facts& f) {
    return (f.mended_calls == 0
                ? std::string()
                : ' ' + plural(f.mended_calls, "call") + " went wrong and succeeded when tried again.") +
           (f.items_settled == 0 ? std::string()
                                 : ' ' + plural(f.items_settled, "item") + " failed and " +
                                       (f.items_settled == 1 ? "was" : "were") + " completed or put back since.");
}

std::string failure_point(const run_facts& f) {
    const std::int64_t bad = f.failed + f.refused + f.unknown;
    const std::int64_t bad_items = f.items_failed + f.items_dead;
    const std::string last =
        mended(f) + (bad == 0 ? std::string() : " The last call that went wrong: " + bad_call(f) + '.') +
        (bad_items == 0 ? std::string()
                        : " The last item that failed: " + (f.bad_item.empty() ? dead_item(f) : bad_item(f)) + '.') +
        (f.dead == 0 ? std::string() : " " + plural(f.dead, "message") + " could not be delivered.");
    if (f.status == "running" && f.lapsed)
        return "Its holder was lost " + where(f) + ": the last event, " + text(f.last_event) + ", is of " +
               text(f.last_event_at) + ", and the lease was over at " + text(f.lease_until) + '.' + last;
    const std::string gap =
        f.resumptions == 0 ? std::string() : " Its holder was lost " + lost_between(f) + "; it was resumed." + last;
    if (f.status == "running")
        return "None so far; the run is " + (f.open_turn != 0 ? where(f) : std::string("between turns")) + '.' +
               (gap.empty() ? last : gap);
    if (f.status == "cancelled")
        return "It was cancelled " + where(f) +
               (f.cancelled_by.empty() ? std::string() : " by login " + quoted(f.cancelled_by)) + '.' + last;
    if (f.status == "failed")
        return "It failed " + where(f) + (f.error.empty() ? std::string() : ": " + ending_cut(f.error)) + '.' + last;
    if (!gap.empty())
        return "The run did not fail." + gap;
    return last.empty() ? "None: every turn finished and no call went wrong." : "The run did not fail." + last;
}

// The names are whatever was called: of many a few, and how many more there are.
std::string list(std::span<const counted> counts) {
    constexpr std::size_t most = 20;
    std::string out;
    for (const counted& c : counts.first(std::min(most, counts.size())))
        out += (out.empty() ? "" : ", ") + std::to_string(c.count) + " of " + text(c.name);
    return counts.size() <= most ? out : out + " and " + std::to_string(counts.size() - most) + " more kinds";
}

std::string side_effects(const run_facts& f) {
    const std::int64_t messages = f.pending + f.dispatched + f.dead;
    if (messages == 0 && f.outside_calls.empty())
        return "None: no message was queued and nothing outside the database was called.";
    std::string out = messages == 0
                          ? "No message was queued."
                          : plural(messages, "message") + ": " + std::to_string(f.dispatched) + " dispatched, " +
                                std::to_string(f.pending) + " pending, " + std::to_string(f.dead) + " dead.";
    if (!f.delivered.empty())
        out += " Reached the outside: " + list(f.delivered) + ", " + (f.dispatched == 1 ? "at " : "the last at ") +
               text(f.delivered_at) + '.';
    if (!f.outside_calls.empty())
        out += " Calls begun outside the database: " + list(f.outside_calls) + '.';
    if (f.unknown + f.open > 0)
        out += " The outcome of " + plural(f.unknown + f.open, "outside call") +
               (f.open > 0 ? " is not known yet." : " cannot be known.");
    return out;
}

run_kind kind_of(const run_facts& f) {
    if (f.tampered)
        return run_kind::tampered;
    if (f.status == "running")
        return f.lapsed ? run_kind::crashed : run_kind::running;
    if (f.status == "failed")
        return run_kind::failed;
    if (f.status == "cancelled")
        return run_kind::cancelled;
    if (f.dead + f.items_dead > 0)
        return run_kind::dead_letter;
    if (f.unknown > 0)
        return run_kind::unknown_outcome;
    if (f.failed + f.refused > 0)
        return f.bad_status == "refused" ? run_kind::refused_tool : run_kind::failed_tool;
    if (f.items_failed > 0)
        return run_kind::failed_item;
    if (f.failed_sends > 0)
        return run_kind::undelivered;
    return f.resumptions > 0 ? run_kind::resumed : run_kind::succeeded;
}

// Fills in one kind's cause, its rows and what to do about it.
void explain(const run_facts& f, finding& out) {
    const auto shows = [&](const row_name& row, std::string_view says) {
        if (!row.id.empty())
            out.evidence.push_back({row, says});
    };
    const row_name run{"runs", f.run_id};
    const auto last_call = [&] {
        shows(f.bad_call, "the last call that went wrong");
        shows(f.bad_call_event, "the event of the last call that went wrong");
    };
    switch (out.kind) {
    case run_kind::tampered:
        out.root_cause = "History was changed: " +
                         (f.bad_row.seq > 0 ? "event " + std::to_string(f.bad_row.seq) + " of " : std::string()) +
                         (f.bad_stream == f.run_id ? std::string("the run") : "stream " + text(f.bad_stream)) +
                         " does not fit, " + ending_cut(f.problem) + '.';
        shows(f.bad_row, f.bad_row.seq > 0 ? "the first event that does not fit" : "the first row that does not fit");
        out.command = "sor verify --tenant " + sh(f.tenant);
        if (f.pending > 0) {
            out.next_action =
                "First decide whether " + plural(f.pending, "message") +
                " that nobody has sent yet may go out; if they must not, or in doubt, run the command, which "
                "stops the tenant's claims, tool calls and messages until sor resume tenant " +
                sh(f.tenant) + ". Then look at all of its history, which only reads: " + out.command + ". ";
            out.command = "sor pause tenant " + sh(f.tenant) + " --reason 'changed history'";
        }
        out.next_action += "Trust nothing that is said here of this run: compare it with an export or a backup kept "
                           "elsewhere, and find out who had superuser rights.";
        return;
    case run_kind::crashed:
        out.root_cause = "The process that held the run stopped, or could not reach the database, " + where(f) +
                         ": the run recorded nothing after " + text(f.last_event_at) + " and its lease ran out.";
        shows(run, "running, its lease over");
        shows(f.last_row, "the last event of the run itself");
        out.next_action =
            (f.open == 0
                 ? std::string()
                 : "First ask the service behind " + quoted(f.open_tool) + " whether request " + text(f.open_request) +
                       " took effect, for nobody recorded an answer: if it did, or nobody can say, decide whether it "
                       "may be made a second time, which the resumed run may do, before you go on. ") +
            "Start the worker again" +
            (f.run_key.empty() ? std::string() : " with the same run key, " + quoted(f.run_key)) +
            ": it resumes the run. Turns that finished are not repeated; in the unfinished one " + same_ids(f) +
            ". Should the old process live on, whatever it writes is refused.";
        out.command = start_worker(f, true);
        return;
    case run_kind::failed:
        out.root_cause = "The run failed " + where(f) + ": " +
                         (!f.error.empty()      ? ending_cut(f.error) + behind_the_error(f)
                          : !f.bad_tool.empty() ? bad_call(f)
                                                : std::string("no cause is recorded")) +
                         '.';
        shows(run, "failed");
        shows(f.last_row, "the last event of the run itself");
        last_call();
        shows(f.bad_item_event, "the last item that failed");
        out.next_action = nothing_of_it(f) + will_be_sent(f) + "Correct the cause; then " + same_ids(f) +
                          ": a new run takes up what is left" +
                          (f.queue.empty() ? std::string() : " in queue " + quoted(f.queue)) + '.';
        out.command = start_worker(f, false);
        return;
    case run_kind::cancelled:
        out.root_cause = (f.cancelled_by.empty() ? std::string("Somebody") : "Login " + quoted(f.cancelled_by)) +
                         " cancelled the run " + where(f) +
                         (f.error.empty() ? std::string() : ": " + ending_cut(f.error)) + '.';
        shows(run, "cancelled");
        shows(f.last_row, "the last event of the run itself");
        out.next_action =
            will_be_sent(f) + "Ask who cancelled it whether the reason still holds; if it does not, start a new run" +
            std::string(f.run_key.empty() ? "" : " under another run key") + ": what was completed is not repeated.";
        out.command = start_worker(f, false);
        return;
    case run_kind::running:
        out.root_cause = "The run is in progress.";
        shows(run, "running");
        out.next_action = "Wait for it, or stop it.";
        out.command = "select sor.cancel_run(" + sql(f.tenant_id) + ", " + sql(f.run_id) + ", 'REASON');";
        return;
    case run_kind::dead_letter:
        if (f.dead > 0) {
            out.root_cause =
                plural(f.dead, "message") + (f.dead == 1 ? " was given up" : " were given up, the last one") +
                (f.dead_destination.empty() ? std::string() : " by destination " + quoted(f.dead_destination)) +
                (f.dead_error.empty() ? std::string() : ": " + ending_cut(f.dead_error)) + '.';
            shows(f.dead_message, f.dead == 1 ? "the message that was given up" : "the last message that was given up");
            out.next_action =
                "Correct the cause, then put " + std::string(f.dead == 1 ? "it" : "each such message") +
                " back into the outbox. It is sent as it stands: where the message itself is at fault, an "
                "address for instance, it would only fail again; queue a corrected one under another dedup key "
                "instead, with sor.enqueue.";
            out.command = "sor redrive --tenant " + sh(f.tenant) + " --message " + text(f.dead_message.id);
        } else {
            out.root_cause = plural(f.items_dead, "item") + (f.items_dead == 1 ? " was" : " were") +
                             " given up after the last attempt, " + the_last(f.items_dead) + dead_item(f) + '.';
            shows(f.dead_item_event,
                  f.items_dead == 1 ? "the item that was given up" : "the last item that was given up");
            out.next_action = "Correct the cause, then put " +
                              std::string(f.items_dead == 1 ? "it" : "each such item") + " back into its queue.";
            out.command =
                "select sor.requeue(" + sql(f.tenant_id) + ", " + sql(f.dead_queue) + ", " + sql(f.dead_item) + ");";
        }
        last_call();
        return;
    case run_kind::unknown_outcome:
        out.root_cause = "The outcome of " +
                         (f.unknown == 1 ? std::string("the outside call")
                                         : plural(f.unknown, "outside call") + " cannot be known, the last one that") +
                         " of " + quoted(f.unknown_tool) + ", request " + text(f.unknown_request) +
                         (f.unknown == 1 ? ", cannot be known" : "") + ": it was begun, and no answer was recorded.";
        shows(f.unknown_call, "the call whose outcome is not known");
        shows(f.resumed, "the run was resumed: the holder that made the call was lost");
        out.next_action =
            "Ask the service behind " + quoted(f.unknown_tool) + " whether request " + text(f.unknown_request) +
            " took effect; the command only shows the call. If it did, see whether the run, which went on without the "
            "answer, did all that it should; if it did not and is still wanted, call again in a new run with the same "
            "request id.";
        out.command = show_call(f, f.unknown_request);
        return;
    case run_kind::failed_tool:
    case run_kind::refused_tool:
        out.root_cause = "The run succeeded, but " +
                         (f.failed + f.refused == 1
                              ? std::string()
                              : plural(f.failed + f.refused, "call") + " failed or were refused, the last one: ") +
                         bad_call(f) + '.';
        last_call();
        if (f.bad_sqlstate == "SR016") {
            out.next_action = nothing_of_it(f) +
                              "An operator had paused the tool: see whether it still is; once it goes on, "
                              "retry with the same request id.";
            out.command = "select * from sor.list_pauses();";
        } else if (out.kind == run_kind::refused_tool) {
            out.next_action = nothing_of_it(f) +
                              (f.bad_sqlstate == "SR003" ? "Have a user with that role ask for it"
                                                         : "Find out what made the Worker ask for it, its instructions "
                                                           "or something that it read") +
                              "; the command shows what this user may call.";
            out.command = "select name, minimum_role, permitted from sor.list_tools(" + sql(f.tenant_id) + ", " +
                          (f.user_id.empty() ? std::string("null") : sql(f.user_id)) + ", true);";
        } else {
            out.next_action = nothing_of_it(f) + "Correct the cause; then " + same_ids(f) + '.';
            out.command = start_worker(f, false);
        }
        return;
    case run_kind::failed_item:
        out.root_cause = "The run succeeded, but " + plural(f.items_failed, "item") + " failed, " +
                         the_last(f.items_failed) + bad_item(f) + '.';
        shows(f.bad_item_event, "the last item that failed");
        out.next_action = "The queue hands such an item out again after its backoff: correct the cause, then start the "
                          "worker.";
        out.command = start_worker(f, false);
        return;
    case run_kind::undelivered:
        out.root_cause = "The run succeeded, but " + plural(f.failed_sends, "message") + " could not be sent yet" +
                         (f.failed_sends == 1 ? "" : ", the last one") + ": " + ending_cut(f.pending_error) + '.';
        shows(f.pending_message, "the last message that could not be sent");
        out.next_action = "Correct the cause; the relay tries again by itself when the message is due.";
        out.command = "sor relay --verbose";
        return;
    case run_kind::resumed:
        out.root_cause = "The holder of the run was lost " + lost_between(f) +
                         ", and the run was resumed under a new token: whatever the stale holder sent afterwards was "
                         "refused and left nothing.";
        shows(f.resumed, "the resumption and its gap");
        out.next_action = f.pending > 0 ? "No action is needed but for " + plural(f.pending, "message") + " that " +
                                              (f.pending == 1 ? "waits" : "wait") + " for the next relay."
                                        : "No action is needed: the run has ended well.";
        out.command = f.pending > 0 ? "sor relay --verbose" : "";
        return;
    case run_kind::succeeded:
        out.root_cause = "Nothing went wrong.";
        shows(run, "succeeded");
        out.next_action = f.pending > 0 ? plural(f.pending, "message") + (f.pending == 1 ? " waits" : " wait") +
                                              " for the next relay."
                                        : "No action is needed.";
        out.command = f.pending > 0 ? "sor relay --verbose" : "";
        return;
    }
}

// What is wrong beside what the finding is about.
std::string besides(const run_facts& f, run_kind kind) {
    std::string out;
    const bool of_calls = kind == run_kind::failed_tool || kind == run_kind::refused_tool || kind == run_kind::failed;
    if (f.failed + f.refused > 0 && !of_calls)
        out += ' ' + plural(f.failed + f.refused, "call") + " failed or " +
               (f.failed + f.refused == 1 ? "was" : "were") + " refused.";
    if (f.items_failed > 0 && kind != run_kind::failed_item)
        out += ' ' + plural(f.items_failed, "item") + " failed, " + the_last(f.items_failed) + bad_item(f) +
               "; the queue hands such an item out again after its backoff.";
    if (f.items_dead > 0 && !(kind == run_kind::dead_letter && f.dead == 0))
        out += ' ' + plural(f.items_dead, "item") + (f.items_dead == 1 ? " was" : " were") +
               " given up: sor.requeue puts " + (f.items_dead == 1 ? "it" : "them") + " back.";
    if (f.unknown > 0 && kind != run_kind::unknown_outcome)
        out += " Ask the service that was called whether request " + text(f.unknown_request) + " took effect.";
    if (f.dead > 0 && kind != run_kind::dead_letter)
        out += ' ' + plural(f.dead, "message") + (f.dead == 1 ? " was" : " were") + " given up" +
               (f.dead_destination.empty() ? std::string() : " by destination " + quoted(f.dead_destination)) +
               (f.dead_error.empty() ? std::string() : ": " + ending_cut(f.dead_error)) + "; sor redrive puts " +
               (f.dead == 1 ? "it" : "them") + " back.";
    const bool said = kind == run_kind::succeeded || kind == run_kind::resumed ||
                      ((kind == run_kind::failed || kind == run_kind::cancelled) && f.failed_sends == 0);
    if (f.pending > 0 && !said)
        out += ' ' + plural(f.pending, "message") + (f.pending == 1 ? " waits" : " wait") + " for the next relay" +
               (f.failed_sends == 0 || kind == run_kind::undelivered
                    ? std::string()
                    : "; the last attempt failed: " + ending_cut(f.pending_error)) +
               '.';
    return out;
}

} // namespace

std::string_view name_of(run_kind kind) {
    switch (kind) {
    case run_kind::tampered:
        return "tampered";
    case run_kind::crashed:
        return "crashed";
    case run_kind::failed:
        return "failed";
    case run_kind::cancelled:
        return "cancelled";
    case run_kind::running:
        return "running";
    case run_kind::dead_letter:
        return "dead_letter";
    case run_kind::unknown_outcome:
        return "unknown_outcome";
    case run_kind::failed_tool:
        return "failed_tool";
    case run_kind::refused_tool:
        return "refused_tool";
    case run_kind::failed_item:
        return "failed_item";
    case run_kind::undelivered:
        return "undelivered";
    case run_kind::resumed:
        return "resumed";
    case run_kind::succeeded:
        break;
    }
    return "succeeded";
}

finding find_cause(const run_facts& f) {
    finding out{kind_of(f), {}, {}, {}, {}};
    explain(f, out);
    if (out.command.ends_with(handler))
        out.next_action += " HANDLER stands for the program that the worker's crontab line names.";
    if (!f.paused.empty() && out.kind != run_kind::tampered && !out.command.empty())
        out.next_action = "First let go on what is paused, " + ending_cut(f.paused) + ". " + out.next_action;
    return out;
}

summary summarize(const run_facts& f, const finding& found) {
    summary s;
    const std::string state = f.status == "running"     ? (f.lapsed ? "has lost its holder" : "is running")
                              : f.status == "cancelled" ? "was cancelled"
                                                        : text(f.status);
    s.run = "Run " + text(f.run_id) + " of worker " + quoted(f.worker) +
            (f.run_key.empty() ? std::string() : ", run key " + quoted(f.run_key) + ",") + ' ' + state + '.';

    std::int64_t calls = 0;
    for (const counted& c : f.calls)
        calls += c.count;
    s.scope = "Tenant " + text(f.tenant) +
              (f.user.empty() ? std::string(", for no user: ") : ", on behalf of " + text(f.user) + ": ") +
              plural(f.turns, "turn") + ", " + plural(calls, "tool call") +
              (f.calls.empty() ? "" : " (" + list(f.calls) + ")") + ", " +
              (f.items_completed == 0 ? std::string() : plural(f.items_completed, "item") + " completed, ") +
              plural(f.pending + f.dispatched + f.dead, "message") + '.';

    s.timeline =
        "Started " + text(f.started_at) + ", " +
        (f.finished_at.empty() ? "not finished; its last event is of " + text(f.last_event_at)
                               : "finished " + text(f.finished_at) + ", after " + text(f.duration)) +
        (f.resumptions == 0   ? std::string("; never resumed.")
         : f.resumptions == 1 ? "; resumed once, after a gap "
                              : "; resumed " + std::to_string(f.resumptions) + " times, the last time after a gap ") +
        (f.resumptions == 0 ? std::string() : when("from", text(f.gap_from), "to", text(f.gap_to)) + '.');
    const char* by_whom = f.tampered ? " That is what the changed rows tell." : "";
    s.failure_point = failure_point(f) + by_whom;
    s.side_effects = side_effects(f) + by_whom;
    std::string evidence;
    for (const piece_of_evidence& e : found.evidence)
        evidence += (evidence.empty() ? "" : ", ") + text(e.row.table) + ' ' + text(e.row.id) +
                    (e.row.seq > 0 ? " (seq " + std::to_string(e.row.seq) + ")" : std::string());
    s.cause_and_next_action =
        found.root_cause +
        (found.kind == run_kind::succeeded || evidence.empty() ? std::string() : " Evidence: " + evidence + '.') +
        besides(f, found.kind) + ' ' + found.next_action +
        (found.command.empty() ? std::string() : " Next: " + found.command);
    return s;
}

} // namespace sor::forensics
