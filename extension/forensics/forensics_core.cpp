#include "forensics/forensics_core.hpp"

namespace sor::forensics {

namespace {

class teller {
public:
    explicit teller(const happening& event) : e_(event) {}

    std::string_view value(std::string_view name) const {
        for (const field& f : e_.payload)
            if (f.name == name)
                return f.value;
        return {};
    }
    bool has(std::string_view name) const { return !value(name).empty(); }

    std::string who() const { return e_.actor_kind == "agent" ? "Worker " + quoted(e_.actor) : std::string(e_.actor); }

    static std::string quoted(std::string_view s) { return '"' + std::string(s) + '"'; }

    // " before value after", or nothing when there is no value.
    std::string maybe(std::string_view before, std::string_view name, std::string_view after = {}) const {
        return has(name) ? std::string(before) + std::string(value(name)) + std::string(after) : std::string();
    }

    std::string cause() const {
        std::string out;
        for (const char* name : {"error.message", "error.reason", "error", "reason", "message", "last_error"})
            if (out.empty())
                out = value(name);
        return out;
    }
    std::string because(std::string_view before = ": ") const {
        std::string reason = cause();
        return reason.empty() ? reason : std::string(before) + ending_cut(reason);
    }
    // Short enough for a sentence that has a full stop of its own.
    static std::string ending_cut(std::string s) {
        constexpr std::size_t longest = 400;
        const bool cut = s.size() > longest;
        if (cut) {
            std::size_t end = longest;
            while (end > 0 && (static_cast<unsigned char>(s[end]) & 0xc0) == 0x80) // not within a character
                --end;
            s.resize(end);
        }
        while (!s.empty() && (s.back() == '.' || s.back() == '\n' || s.back() == ' '))
            s.pop_back();
        return cut ? s + " …" : s;
    }

    const happening& event() const { return e_; }

private:
    const happening& e_;
};

std::string plural(std::int64_t n, std::string_view one) {
    return std::to_string(n) + ' ' + std::string(one) + (n == 1 ? "" : "s");
}

std::string counted_text(std::string_view number, std::string_view one) {
    return std::string(number) + ' ' + std::string(one) + (number == "1" ? "" : "s");
}

std::string in_turn(int turn_no) {
    return turn_no == 0 ? std::string() : " in turn " + std::to_string(turn_no);
}

std::string tell_run(const teller& t, std::string_view verb) {
    if (verb == "started")
        return t.who() + " started the run" + t.maybe(" of key \"", "run_key", "\"") +
               t.maybe(" on behalf of user ", "on_behalf_of") + '.';
    if (verb == "resumed") {
        std::string out = t.who() + " resumed the run after a gap from " + std::string(t.value("gap.from")) + " to " +
                          std::string(t.value("gap.to")) + '.';
        if (t.has("gap.unended_turn"))
            out += " Turn " + std::string(t.value("gap.unended_turn")) + " had begun and not finished.";
        if (t.has("gap.unknown_calls#") && t.value("gap.unknown_calls#") != "0")
            out +=
                " The outcome of " + counted_text(t.value("gap.unknown_calls#"), "outside call") + " cannot be known.";
        return out;
    }
    if (verb == "succeeded")
        return "The run succeeded.";
    if (verb == "failed")
        return "The run failed" + t.because() + '.';
    return t.who() + " cancelled the run" + t.because() + '.';
}

std::string tell_turn(const teller& t, std::string_view verb) {
    const std::string turn = "Turn " + std::to_string(t.event().turn_no);
    if (verb == "started")
        return turn + (t.value("reopened") == "true" ? " began again, because it had not finished." : " began.");
    const std::string_view status = t.value("status");
    return status.empty() || status == "succeeded" ? turn + " finished."
                                                   : turn + " ended as " + std::string(status) + '.';
}

// One claim may settle items of the batch before, and need not ask for new ones.
std::string tell_claim(const teller& t) {
    std::string out = "Claimed " + counted_text(t.has("response.items#") ? t.value("response.items#") : "0", "item") +
                      " of queue \"" + std::string(t.value("arguments.queue")) + '"';
    constexpr std::string_view settled[][2] = {
        {"arguments.complete#", "completed"}, {"arguments.fail#", "failed"}, {"arguments.release#", "gave back"}};
    for (const auto& [count, verb] : settled)
        if (t.has(count) && t.value(count) != "0")
            out += ", " + std::string(verb) + ' ' + std::string(t.value(count));
    return out + '.';
}

std::string tell_success(const teller& t, const std::string& tool) {
    const std::string_view name = t.value("tool");
    if (name == "claim" && t.has("arguments.queue"))
        return tell_claim(t);
    if (name == "write" && t.has("arguments.table"))
        return (t.value("response.inserted") == "false" ? "Found a row of \"" : "Wrote a row of \"") +
               std::string(t.value("arguments.table")) + '"' +
               (t.value("response.inserted") == "false" ? " already written" : "") +
               t.maybe(", completing item ", "arguments.completes.item_id") + '.';
    if (name == "queue" && t.has("arguments.destination"))
        return (t.value("response.enqueued") == "false" ? "Found the message \"" : "Queued the message \"") +
               std::string(t.value("arguments.event_type")) + "\" to " + std::string(t.value("arguments.destination")) +
               (t.value("response.enqueued") == "false" ? ", already queued" : "") +
               t.maybe(" (dedup key ", "arguments.dedup_key", ")") + '.';
    if (name == "read" && t.has("arguments.from"))
        return "Read " + counted_text(t.has("response.rows#") ? t.value("response.rows#") : "0", "row") + " of \"" +
               std::string(t.value("arguments.from")) + "\".";
    return tool + " succeeded" + in_turn(t.event().turn_no) + '.';
}

std::string tell_call(const teller& t, std::string_view verb) {
    const std::string tool = "Tool " + teller::quoted(t.value("tool"));
    const std::string turn = in_turn(t.event().turn_no);
    if (verb == "started")
        return t.who() + " was about to call " + teller::quoted(t.value("tool")) + " outside the database" + turn + '.';
    if (verb == "succeeded")
        return tell_success(t, tool);
    if (verb == "unknown")
        return "The outcome of the call of " + teller::quoted(t.value("tool")) + turn + " cannot be known" +
               t.because() + '.';
    return tool + (verb == "refused" ? " was refused" : " failed") + turn + t.because() +
           t.maybe(" (SQLSTATE ", "error.sqlstate", ")") + '.';
}

std::string tell_item(const teller& t, std::string_view verb) {
    const std::string item = "Item" + t.maybe(" ", "item_id") + t.maybe(" of queue \"", "queue", "\"");
    const std::string attempt = t.maybe(" (attempt ", "attempt", ")");
    if (verb == "claimed")
        return item + " was claimed by " + std::string(t.event().actor) + attempt + '.';
    if (verb == "completed")
        return item + " was completed.";
    if (verb == "failed")
        return item + " failed" + t.because() + attempt + '.';
    if (verb == "released")
        return item + " was given back" + t.because() + '.';
    if (verb == "dead")
        return item + " was given up after its last attempt" + t.because() + '.';
    return item + " was put back in its queue by " + std::string(t.event().actor) + '.';
}

std::string tell_message(const teller& t, std::string_view verb) {
    const std::string message = "Message" + t.maybe(" \"", "event_type", "\"") + t.maybe(" to ", "destination");
    const std::string key = t.maybe(" (dedup key ", "dedup_key", ")");
    const std::string attempt = t.maybe(" (attempt ", "attempt", ")");
    if (verb == "enqueued")
        return "The intent was recorded: m" + message.substr(1) + key + '.';
    if (verb == "dispatched")
        return message + key + " was sent by " + std::string(t.event().actor) + attempt + '.';
    if (verb == "dead")
        return message + key + " was given up" + t.because() + '.';
    return message + key + " could not be sent" + t.because() + attempt + "; it will be tried again.";
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
        return t.who() + " gave user " + std::string(t.value("user_id")) + " the role " + std::string(t.value("role")) +
               t.maybe(" instead of ", "former") + '.';
    if (type == "switch.paused" || type == "switch.resumed")
        return t.who() + (type == "switch.paused" ? " paused" : " let go on") + t.maybe(" the ", "kind") +
               t.maybe(" \"", "name", "\"") + t.because() + '.';
    if (type == "registered")
        return t.who() + " registered" + t.maybe(" the ", "kind") + t.maybe(" \"", "name", "\"") + '.';
    return t.who() + " recorded " + std::string(type) + in_turn(t.event().turn_no) + t.because() + '.';
}

} // namespace

std::string narrative(const happening& event) {
    const teller t(event);
    const std::size_t dot = event.type.find('.');
    const std::string_view noun = event.type.substr(0, dot);
    const std::string_view verb = dot == std::string_view::npos ? std::string_view() : event.type.substr(dot + 1);
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

namespace {

std::string text(std::string_view s) {
    return std::string(s);
}

std::string bad_call(const run_facts& f) {
    return "tool \"" + text(f.bad_tool) + "\"" + in_turn(f.bad_turn) +
           (f.bad_status == "refused"   ? " was refused"
            : f.bad_status == "unknown" ? " has no known outcome"
            : f.bad_status == "started" ? " was begun and has not ended"
                                        : " failed") +
           (f.bad_message.empty() ? std::string() : ": " + teller::ending_cut(text(f.bad_message))) +
           (f.bad_sqlstate.empty() ? std::string() : " (SQLSTATE " + text(f.bad_sqlstate) + ")") + ", request " +
           text(f.bad_request);
}

std::string bad_item(const run_facts& f) {
    return "item " + text(f.bad_item) + " of queue \"" + text(f.bad_queue) +
           "\": " + teller::ending_cut(text(f.bad_item_error));
}

std::string where(const run_facts& f) {
    return f.open_turn != 0 ? "in turn " + std::to_string(f.open_turn)
                            : "after " + plural(f.finished_turns, "finished turn");
}

std::string failure_point(const run_facts& f) {
    const std::int64_t bad = f.failed + f.refused + f.unknown;
    const std::int64_t bad_items = f.items_failed + f.items_dead;
    const std::string last = (bad == 0 ? std::string() : " The last call that went wrong: " + bad_call(f) + '.') +
                             (bad_items == 0 ? std::string() : " The last item that failed: " + bad_item(f) + '.');
    if (f.status == "running" && f.lapsed)
        return "Its holder was lost " + where(f) + ": the last event, " + text(f.last_event) + ", is of " +
               text(f.last_event_at) + ", and the lease was over at " + text(f.lease_until) + '.' + last;
    if (f.status == "running")
        return "None so far; the run is " + (f.open_turn != 0 ? where(f) : std::string("between turns")) + '.' + last;
    if (f.status == "cancelled")
        return "It was cancelled " + where(f) +
               (f.cancelled_by.empty() ? std::string() : " by " + text(f.cancelled_by)) + '.' + last;
    if (f.status == "failed")
        return "It failed " + where(f) + (f.error.empty() ? std::string() : ": " + teller::ending_cut(text(f.error))) +
               '.' + last;
    return last.empty() ? "None: every turn finished and no call went wrong." : "None that stopped the run." + last;
}

std::string side_effects(const run_facts& f) {
    const std::int64_t messages = f.pending + f.dispatched + f.dead;
    std::string out = messages == 0
                          ? "No message was queued."
                          : plural(messages, "message") + ": " + std::to_string(f.dispatched) + " dispatched, " +
                                std::to_string(f.pending) + " pending, " + std::to_string(f.dead) + " dead.";
    if (f.unknown + f.open > 0)
        out += " The outcome of " + plural(f.unknown + f.open, "outside call") +
               (f.open > 0 ? " is not known yet." : " cannot be known.");
    return out;
}

// The run itself first, then what is left of its side effects.
std::string cause_and_next_action(const run_facts& f) {
    std::string out;
    const std::string again =
        f.run_key.empty() ? "Run the worker again" : "Run again with the same run key, \"" + text(f.run_key) + '"';
    if (f.status == "running" && f.lapsed)
        out = "The process that held the run stopped, or could not reach the database. " + again +
              ": finished turns and stored responses are not repeated.";
    else if (f.status == "running")
        out = "The run is in progress. Wait for it, or stop it with sor.cancel_run.";
    else if (f.status == "cancelled")
        out = "It was cancelled" + (f.error.empty() ? std::string() : ": " + teller::ending_cut(text(f.error))) +
              ". When the reason is gone, start a new run" + (f.run_key.empty() ? "" : " under another run key") +
              ": what was completed is not repeated.";
    else if (f.status == "failed")
        out = "The cause is " +
              (f.error.empty() ? (f.bad_tool.empty() ? std::string("not recorded") : bad_call(f))
                               : teller::ending_cut(text(f.error))) +
              ". Correct it and start a new run" + (f.run_key.empty() ? "" : " under another run key") +
              ": what was completed is not repeated.";
    else if (f.failed + f.refused > 0)
        out = "The run succeeded; " + plural(f.failed + f.refused, "call") + " failed or " +
              (f.failed + f.refused == 1 ? "was" : "were") + " refused, the last one: " + bad_call(f) +
              ". Look at the items they were made for.";
    else if (f.unknown == 0 && f.dead == 0 && f.pending == 0 && f.items_failed + f.items_dead == 0)
        out = "Nothing went wrong. No action is needed.";
    else
        out = "The run itself succeeded.";
    if (f.items_failed > 0)
        out += ' ' + plural(f.items_failed, "attempt") + " at an item failed, the last one at " + bad_item(f) +
               ". The queue hands such an item out again after its backoff.";
    if (f.items_dead > 0)
        out += ' ' + plural(f.items_dead, "item") + (f.items_dead == 1 ? " was" : " were") + " given up" +
               (f.items_failed > 0 ? std::string() : ", the last one " + bad_item(f)) +
               ". Correct the cause, then put " + (f.items_dead == 1 ? "it" : "them") + " back with sor.requeue.";
    if (f.unknown > 0)
        out += " Ask the service that was called whether the request took effect; it has the request_id.";
    if (f.dead > 0)
        out += ' ' + plural(f.dead, "message") + (f.dead == 1 ? " was" : " were") + " given up" +
               (f.dead_destination.empty() ? std::string() : " by destination " + text(f.dead_destination)) +
               (f.dead_error.empty() ? std::string() : ": " + teller::ending_cut(text(f.dead_error))) +
               ". Correct the cause, then put " + (f.dead == 1 ? "it" : "them") + " back with sor.requeue.";
    if (f.pending > 0)
        out += ' ' + plural(f.pending, "message") + (f.pending == 1 ? " waits" : " wait") + " for the next relay" +
               (f.failed_sends == 0 ? std::string()
                                    : "; the last attempt failed: " + teller::ending_cut(text(f.pending_error))) +
               '.';
    return out;
}

} // namespace

summary summarize(const run_facts& f) {
    summary s;
    const std::string state = f.status == "running"     ? (f.lapsed ? "has lost its holder" : "is running")
                              : f.status == "cancelled" ? "was cancelled"
                                                        : text(f.status);
    s.run = "Run " + text(f.run_id) + " of worker \"" + text(f.worker) + '"' +
            (f.run_key.empty() ? std::string() : ", run key \"" + text(f.run_key) + "\",") + ' ' + state + '.';

    std::int64_t calls = 0;
    std::string tools;
    for (const counted& c : f.calls) {
        calls += c.count;
        tools += (tools.empty() ? "" : ", ") + text(c.name) + ' ' + std::to_string(c.count);
    }
    s.scope = "Tenant " + text(f.tenant) +
              (f.user.empty() ? std::string(", for no user: ") : ", on behalf of " + text(f.user) + ": ") +
              plural(f.turns, "turn") + ", " + plural(calls, "tool call") + (tools.empty() ? "" : " (" + tools + ")") +
              ", " + (f.items_completed == 0 ? std::string() : plural(f.items_completed, "item") + " completed, ") +
              plural(f.pending + f.dispatched + f.dead, "message") + '.';

    s.timeline = "Started " + text(f.started_at) + ", " +
                 (f.finished_at.empty() ? "not finished; its last event is of " + text(f.last_event_at)
                                        : "finished " + text(f.finished_at) + ", after " + text(f.duration)) +
                 (f.resumptions == 0 ? std::string("; never resumed.")
                  : f.resumptions == 1
                      ? "; resumed once, after a gap from "
                      : "; resumed " + std::to_string(f.resumptions) + " times, the last time after a gap from ") +
                 (f.resumptions == 0 ? std::string() : text(f.gap_from) + " to " + text(f.gap_to) + '.');
    s.failure_point = failure_point(f);
    s.side_effects = side_effects(f);
    s.cause_and_next_action = cause_and_next_action(f);
    return s;
}

} // namespace sor::forensics
