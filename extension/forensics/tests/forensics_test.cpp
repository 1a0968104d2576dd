#include "forensics/forensics_core.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace sor::forensics {
namespace {

std::string tell(std::string_view type, std::initializer_list<field> payload, int turn_no = 0,
                 std::string_view kind = "agent", std::string_view actor = "rec", std::string_view user = "ann@x") {
    happening event;
    event.type = type;
    event.actor_kind = kind;
    event.actor = actor;
    event.on_behalf_of = user;
    event.turn_no = turn_no;
    event.payload = {payload.begin(), payload.size()};
    return narrative(event);
}

TEST(narrative, of_a_run) {
    EXPECT_EQ(tell("run.started", {{"run_key", "night"}}),
              "Worker \"rec\" for ann@x started the run of key \"night\".");
    EXPECT_EQ(tell("run.started", {}), "Worker \"rec\" for ann@x started the run.");
    EXPECT_EQ(tell("run.resumed",
                   {{"gap.from", "A"}, {"gap.to", "B"}, {"gap.unended_turn", "3"}, {"gap.unknown_calls#", "2"}}),
              "Worker \"rec\" for ann@x resumed the run, whose holder was lost, after a gap from A to B. Turn 3 had "
              "begun and not finished. The outcome of 2 outside calls cannot be known.");
    EXPECT_EQ(tell("run.resumed", {{"gap.from", "A"}, {"gap.to", "B"}, {"gap.unknown_calls#", "0"}}),
              "Worker \"rec\" for ann@x resumed the run, whose holder was lost, after a gap from A to B.");
    EXPECT_EQ(tell("run.resumed", {{"gap.from", "A"}, {"gap.to", "A"}}),
              "Worker \"rec\" for ann@x resumed the run, whose holder was lost, after a gap at A.");
    EXPECT_EQ(tell("run.succeeded", {}), "Worker \"rec\" for ann@x ended the run: it succeeded.");
    EXPECT_EQ(tell("run.failed", {{"error.message", "no such file."}}),
              "Worker \"rec\" for ann@x ended the run: it failed: no such file.");
    EXPECT_EQ(tell("run.cancelled", {{"error.reason", "enough"}}, 0, "user", "olga"),
              "olga for ann@x cancelled the run: enough.");
    EXPECT_EQ(tell("run.cancelled", {{"error.reason", "enough"}, {"error.cancelled_by", "night"}}),
              "Login \"night\" cancelled the run: enough.");
}

TEST(narrative, says_when_and_for_nobody_where_there_is_none) {
    happening event;
    event.type = "turn.started";
    event.actor_kind = "user";
    event.actor = "olga";
    event.turn_no = 1;
    event.at = "2026-11-20 23:00:00 UTC";
    EXPECT_EQ(narrative(event), "2026-11-20 23:00:00 UTC: olga began turn 1.");
    event.on_behalf_of = "olga";
    EXPECT_EQ(narrative(event), "2026-11-20 23:00:00 UTC: olga began turn 1.");
}

TEST(narrative, of_turns) {
    EXPECT_EQ(tell("turn.started", {}, 2), "Worker \"rec\" for ann@x began turn 2.");
    EXPECT_EQ(tell("turn.started", {{"reopened", "true"}}, 2),
              "Worker \"rec\" for ann@x began turn 2 again, because it had not finished.");
    EXPECT_EQ(tell("turn.finished", {{"status", "succeeded"}}, 2), "Worker \"rec\" for ann@x finished turn 2.");
    EXPECT_EQ(tell("turn.finished", {{"status", "failed"}}, 2), "Worker \"rec\" for ann@x ended turn 2 as failed.");
}

TEST(narrative, of_tool_calls) {
    EXPECT_EQ(tell("tool_call.started", {{"tool", "model"}}, 1),
              "Worker \"rec\" for ann@x was about to call \"model\" outside the database in turn 1.");
    EXPECT_EQ(tell("tool_call.succeeded", {{"tool", "model"}}, 1),
              "Worker \"rec\" for ann@x called tool \"model\" in turn 1: it succeeded.");
    EXPECT_EQ(tell("tool_call.succeeded", {{"tool", "claim"}, {"arguments.queue", "q"}, {"response.items#", "1"}}, 1),
              "Worker \"rec\" for ann@x claimed 1 item of queue \"q\" in turn 1.");
    EXPECT_EQ(tell("tool_call.succeeded",
                   {{"tool", "claim"},
                    {"arguments.queue", "q"},
                    {"response.items#", "0"},
                    {"arguments.fail#", "2"},
                    {"arguments.release#", "0"}},
                   1),
              "Worker \"rec\" for ann@x claimed 0 items of queue \"q\" in turn 1, failed 2.");
    EXPECT_EQ(tell("tool_call.succeeded",
                   {{"tool", "write"},
                    {"arguments.table", "t"},
                    {"response.inserted", "true"},
                    {"arguments.completes.item_id", "7"}},
                   1),
              "Worker \"rec\" for ann@x wrote a row of \"t\" in turn 1, completing item 7.");
    EXPECT_EQ(
        tell("tool_call.succeeded", {{"tool", "write"}, {"arguments.table", "t"}, {"response.inserted", "false"}}, 1),
        "Worker \"rec\" for ann@x found a row of \"t\" already written in turn 1.");
    EXPECT_EQ(
        tell("tool_call.succeeded",
             {{"tool", "queue"},
              {"arguments.destination", "mail"},
              {"arguments.event_type", "x.y"},
              {"arguments.aggregate_id", "9"},
              {"arguments.payload.to", "bob@y"},
              {"arguments.dedup_key", "k"},
              {"response.enqueued", "true"}},
             1),
        "Worker \"rec\" for ann@x queued in turn 1 the message \"x.y\" about 9 to mail, addressed to bob@y (dedup "
        "key k).");
    EXPECT_EQ(tell("tool_call.succeeded", {{"tool", "read"}, {"arguments.from", "t"}, {"response.rows#", "3"}}, 1),
              "Worker \"rec\" for ann@x read 3 rows of \"t\" in turn 1.");
    EXPECT_EQ(
        tell("tool_call.failed",
             {{"tool", "write"}, {"arguments.table", "t"}, {"error.message", "bad date"}, {"error.sqlstate", "22007"}},
             4),
        "Worker \"rec\" for ann@x called tool \"write\" on \"t\" in turn 4: it failed: bad date (SQLSTATE 22007).");
    EXPECT_EQ(
        tell(
            "tool_call.refused",
            {{"tool", "drop_table"}, {"error.message", "there is no tool \"drop_table\""}, {"error.sqlstate", "SR008"}},
            4),
        "Worker \"rec\" for ann@x called tool \"drop_table\" in turn 4: it was refused: there is no tool "
        "\"drop_table\" (SQLSTATE SR008).");
    EXPECT_EQ(tell("tool_call.unknown", {{"tool", "model"}, {"error.message", "lost"}}, 4, "system", "lease expiry"),
              "The system (lease expiry) for ann@x recorded that the outcome of the call of \"model\" in turn 4 cannot "
              "be known: lost.");
}

TEST(narrative, of_items_and_messages) {
    EXPECT_EQ(tell("item.claimed", {{"queue", "q"}, {"item_id", "7"}, {"attempt", "2"}}),
              "Worker \"rec\" for ann@x claimed item 7 of queue \"q\" (attempt 2).");
    EXPECT_EQ(tell("item.failed", {{"queue", "q"}, {"item_id", "7"}, {"error", "no category"}}),
              "Worker \"rec\" for ann@x failed at item 7 of queue \"q\": no category.");
    EXPECT_EQ(tell("outbox.enqueued", {{"event_type", "x.y"}, {"destination", "mail"}, {"dedup_key", "k"}}),
              "Worker \"rec\" for ann@x recorded the intent to send the message \"x.y\" to mail (dedup key k).");
    EXPECT_EQ(
        tell("outbox.dispatched",
             {{"event_type", "x.y"},
              {"destination", "mail"},
              {"aggregate_id", "9"},
              {"payload.to#", "3"},
              {"attempt", "2"}},
             0, "system", "r1"),
        "Relay \"r1\" for ann@x sent the message \"x.y\" about 9 to mail, addressed to 3 recipients at attempt 2: "
        "mail accepted it.");
    EXPECT_EQ(
        tell("outbox.failed", {{"destination", "mail"}, {"error", "timeout"}, {"attempt", "1"}}, 0, "system", "r1"),
        "Relay \"r1\" for ann@x could not send the message to mail at attempt 1: timeout; it will be tried again.");
    EXPECT_EQ(tell("outbox.dead", {{"destination", "mail"}, {"error", "no such user"}}, 0, "system", "r1"),
              "Relay \"r1\" for ann@x gave up the message to mail: no such user.");
    EXPECT_EQ(tell("item.requeued",
                   {{"queue", "outbox"}, {"item_id", "M"}, {"destination", "mail"}, {"dedup_key", "k"}}, 0, "user",
                   "olga"),
              "olga for ann@x put the message to mail (dedup key k) back into the outbox.");
}

TEST(narrative, of_administration_and_applications) {
    EXPECT_EQ(tell("grant.changed", {{"login", "w"}, {"granted", "true"}}, 0, "user", "op", ""),
              "op granted the tenant to login \"w\".");
    EXPECT_EQ(tell("grant.changed", {{"login", "w"}, {"granted", "false"}}, 0, "user", "op", ""),
              "op took the tenant's grant from login \"w\".");
    EXPECT_EQ(tell("role.assigned", {{"user_id", "U"}, {"role", "admin"}, {"former", "viewer"}}, 0, "user", "op", ""),
              "op gave user U the role admin instead of viewer.");
    EXPECT_EQ(tell("expense.approved", {}), "Worker \"rec\" for ann@x recorded expense.approved.");
}

TEST(narrative, of_migrations) {
    const auto told = [](std::string_view verb, std::vector<field> more = {}) {
        std::vector<field> payload = {{"version", "0007"}, {"name", "notes"}};
        payload.insert(payload.end(), more.begin(), more.end());
        happening e;
        const std::string type = "migration." + std::string(verb);
        e.type = type;
        e.actor_kind = "user";
        e.actor = "op";
        e.payload = payload;
        return narrative(e);
    };
    EXPECT_EQ(told("proposed"), "op proposed migration 0007 \"notes\".");
    EXPECT_EQ(told("approved", {{"rehearsed", "true"}}), "op approved migration 0007 \"notes\".");
    EXPECT_EQ(told("approved", {{"rehearsed", "false"}}),
              "op approved migration 0007 \"notes\", which nobody had rehearsed.");
    const std::vector<field> override = {{"override.branch", "b7"},
                                         {"override.backup", "monday"},
                                         {"override.reason", "asked for"},
                                         {"forced", "false"}};
    EXPECT_EQ(told("applied", override), "op applied migration 0007 \"notes\", with an override (branch b7, backup "
                                         "monday, because: asked for).");
    EXPECT_EQ(told("rolled_back", {{"forced", "true"}}), "op rolled back migration 0007 \"notes\", by force.");
    EXPECT_EQ(told("rehearsed", {{"branch", "b7"}}), "op rehearsed migration 0007 \"notes\" on branch b7.");
    EXPECT_EQ(told("failed", {{"direction", "down"}, {"error.message", "no lock"}}),
              "op failed to roll back migration 0007 \"notes\": no lock.");
    EXPECT_EQ(told("step_started", {{"direction", "up"}, {"step", "2"}, {"steps", "3"}}),
              "op began step 2 of 3 of applying migration 0007 \"notes\".");
    EXPECT_EQ(told("step_finished", {{"direction", "down"}, {"step", "1"}, {"steps", "3"}}),
              "op finished step 1 of 3 of rolling back migration 0007 \"notes\".");
    EXPECT_EQ(tell("migration.guard_bypassed", {}, 0, "agent", "rec", ""),
              "Worker \"rec\" recorded migration.guard_bypassed.");
}

TEST(narrative, cuts_what_is_long_between_characters) {
    std::string reason;
    for (int i = 0; i < 300; ++i)
        reason += "é";
    const std::string told = tell("run.failed", {{"error", reason}});
    EXPECT_EQ(told, "Worker \"rec\" for ann@x ended the run: it failed: " + reason.substr(0, 400) + " ….");
    const std::string odd = "x" + reason;
    EXPECT_EQ(tell("run.failed", {{"error", odd}}),
              "Worker \"rec\" for ann@x ended the run: it failed: " + odd.substr(0, 399) + " ….");
    const std::string megabyte(1 << 20, 'x');
    for (const char* type : {"run.started", "tool_call.failed", "outbox.dispatched", "item.dead", "role.assigned"}) {
        const std::string all = tell(type,
                                     {{"run_key", megabyte},
                                      {"tool", megabyte},
                                      {"arguments.table", megabyte},
                                      {"item_id", megabyte},
                                      {"queue", megabyte},
                                      {"destination", megabyte},
                                      {"dedup_key", megabyte},
                                      {"payload.to", megabyte},
                                      {"role", megabyte},
                                      {"error", megabyte}},
                                     0, "agent", megabyte, megabyte);
        EXPECT_LT(all.size(), 3000u) << type;
    }
}

run_facts of_status(std::string_view status) {
    run_facts f;
    f.run_id = "R";
    f.tenant_id = "T";
    f.user_id = "U";
    f.worker = "rec";
    f.run_key = "night";
    f.queue = "q";
    f.tenant = "Alice";
    f.user = "a@x";
    f.status = status;
    f.started_at = "T0";
    f.last_event = "turn.finished";
    f.last_event_at = "T1";
    f.last_row = {"agent_events", "L", 9};
    f.turns = f.finished_turns = 2;
    return f;
}

void with_bad_call(run_facts& f, std::string_view status, std::string_view message, std::string_view sqlstate) {
    (status == "failed" ? f.failed : f.refused) = 1;
    f.bad_tool = "write";
    f.bad_status = status;
    f.bad_request = "Q";
    f.bad_turn = 2;
    f.bad_message = message;
    f.bad_sqlstate = sqlstate;
    f.bad_call = {"tool_calls", "C"};
    f.bad_call_event = {"agent_events", "E", 7};
}

std::string evidence_of(const finding& found) {
    std::string out;
    for (const piece_of_evidence& e : found.evidence)
        out += (out.empty() ? "" : ", ") + std::string(e.row.table) + ' ' + std::string(e.row.id) +
               (e.row.seq ? ' ' + std::to_string(e.row.seq) : "");
    return out;
}

constexpr const char* resume =
    "sor work q --tenant Alice --worker rec --on-behalf-of a@x --run-key night --handler HANDLER";
constexpr const char* anew =
    "sor work q --tenant Alice --worker rec --on-behalf-of a@x --run-key night.again --handler HANDLER";

TEST(report, of_a_good_run) {
    run_facts f = of_status("succeeded");
    const counted tools[] = {{"claim", 2}, {"write", 5}};
    const counted mails[] = {{"mail \"x.y\"", 5}};
    f.calls = tools;
    f.delivered = mails;
    f.finished_at = "T9";
    f.duration = "00:00:02";
    f.dispatched = 5;
    f.delivered_at = "T8";
    const finding found = find_cause(f);
    const summary s = summarize(f, found);
    EXPECT_EQ(name_of(found.kind), "succeeded");
    EXPECT_EQ(found.command, "");
    EXPECT_EQ(s.run, "Run R of worker \"rec\", run key \"night\", succeeded.");
    EXPECT_EQ(s.scope, "Tenant Alice, on behalf of a@x: 2 turns, 7 tool calls (2 of claim, 5 of write), 5 messages.");
    EXPECT_EQ(s.timeline, "Started T0, finished T9, after 00:00:02; never resumed.");
    EXPECT_EQ(s.failure_point, "None: every turn finished and no call went wrong.");
    EXPECT_EQ(s.side_effects, "5 messages: 5 dispatched, 0 pending, 0 dead. Reached the outside: 5 of mail \"x.y\", "
                              "the last at T8.");
    EXPECT_EQ(s.cause_and_next_action, "Nothing went wrong. No action is needed.");
}

TEST(report, of_messages_that_wait) {
    run_facts f = of_status("succeeded");
    f.pending = 2;
    EXPECT_EQ(summarize(f, find_cause(f)).cause_and_next_action,
              "Nothing went wrong. 2 messages wait for the next relay. Next: sor relay --verbose");
    f.failed_sends = 1;
    f.pending_error = "timeout";
    f.pending_message = {"outbox", "M"};
    const finding found = find_cause(f);
    EXPECT_EQ(name_of(found.kind), "undelivered");
    EXPECT_EQ(found.root_cause, "The run succeeded, but 1 message could not be sent yet: timeout.");
    EXPECT_EQ(evidence_of(found), "outbox M");
}

TEST(report, of_a_run_whose_holder_was_lost) {
    run_facts f = of_status("running");
    f.lapsed = true;
    f.lease_until = "T5";
    f.open_turn = 3;
    f.turns = 3;
    const finding found = find_cause(f);
    const summary s = summarize(f, found);
    EXPECT_EQ(name_of(found.kind), "crashed");
    EXPECT_EQ(s.run, "Run R of worker \"rec\", run key \"night\", has lost its holder.");
    EXPECT_EQ(s.timeline, "Started T0, not finished; its last event is of T1; never resumed.");
    EXPECT_EQ(s.failure_point,
              "Its holder was lost in turn 3: the last event, turn.finished, is of T1, and the lease was over at T5.");
    EXPECT_EQ(found.root_cause, "The process that held the run stopped, or could not reach the database, in turn 3: "
                                "the run recorded nothing after T1 and its lease ran out.");
    EXPECT_EQ(evidence_of(found), "runs R, agent_events L 9");
    EXPECT_EQ(found.next_action,
              "Start the worker again with the same run key, \"night\": it resumes the run. Turns that finished are "
              "not repeated; in the unfinished one the command retries with the same request ids, so that nothing that "
              "took effect in the database is repeated. Should the old process live on, whatever it writes is refused. "
              "HANDLER stands for the program that the worker's crontab line names.");
    EXPECT_EQ(found.command, resume);
    EXPECT_EQ(s.cause_and_next_action, found.root_cause + " Evidence: runs R, agent_events L (seq 9). " +
                                           found.next_action + " Next: " + found.command);
    f.open = 1;
    f.open_tool = "model";
    f.open_request = "Q";
    EXPECT_EQ(
        find_cause(f).next_action.find("First ask the service behind \"model\" whether request Q took effect, "
                                       "for nobody recorded an answer: if it did, or nobody can say, decide "
                                       "whether it may be made a second time, which the resumed run may do, before "
                                       "you go on. Start the worker again"),
        0u);
}

TEST(report, of_a_resumed_run_says_what_became_of_the_stale_holder) {
    run_facts f = of_status("succeeded");
    f.resumptions = 2;
    f.gap_from = "A";
    f.gap_to = "B";
    f.gap_turn = "2";
    f.resumed = {"agent_events", "G", 5};
    const finding found = find_cause(f);
    const summary s = summarize(f, found);
    EXPECT_EQ(name_of(found.kind), "resumed");
    EXPECT_EQ(found.root_cause, "The holder of the run was lost between A and B, in turn 2, and the run was resumed "
                                "under a new token: whatever the stale holder sent afterwards was refused and left "
                                "nothing.");
    EXPECT_EQ(evidence_of(found), "agent_events G 5");
    EXPECT_EQ(found.command, "");
    EXPECT_NE(s.timeline.find("resumed 2 times, the last time after a gap from A to B."), std::string::npos);
    EXPECT_EQ(s.failure_point, "The run did not fail. Its holder was lost between A and B, in turn 2; it "
                               "was resumed.");
    f.gap_to = "A"; // within one second
    EXPECT_EQ(summarize(f, found).failure_point,
              "The run did not fail. Its holder was lost at A, in turn 2; it was resumed.");
}

TEST(report, of_a_failed_run_names_the_cause) {
    run_facts f = of_status("failed");
    f.error = "the handler died.";
    f.open_turn = 2;
    f.finished_turns = 1;
    with_bad_call(f, "failed", "bad date", "22007");
    f.pending = 1;
    f.failed_sends = 1;
    f.pending_error = "timeout";
    f.dead = 1;
    f.dead_destination = "mail";
    f.dead_error = "unknown user";
    const finding found = find_cause(f);
    const summary s = summarize(f, found);
    EXPECT_EQ(name_of(found.kind), "failed");
    EXPECT_EQ(s.failure_point, "It failed in turn 2: the handler died. The last call that went wrong: tool \"write\" "
                               "in turn 2 failed: bad date (SQLSTATE 22007), request Q. 1 message could not be "
                               "delivered.");
    EXPECT_EQ(found.root_cause,
              "The run failed in turn 2: the handler died; before that, tool \"write\" in turn 2 failed: bad date "
              "(SQLSTATE 22007), request Q.");
    EXPECT_EQ(evidence_of(found), "runs R, agent_events L 9, tool_calls C, agent_events E 7");
    EXPECT_EQ(found.next_action,
              "Nothing of the call took effect. 1 message of it waits and will be sent all the same. Correct the "
              "cause; then the command retries with the same request ids, so that nothing that took effect in the "
              "database is repeated: a new run takes up what is left in queue \"q\". HANDLER stands for the program "
              "that the worker's crontab line names.");
    EXPECT_EQ(found.command, anew);
    EXPECT_NE(s.cause_and_next_action.find(" 1 message was given up by destination \"mail\": unknown user; sor redrive "
                                           "puts it back. 1 message waits for the next relay; the last attempt failed: "
                                           "timeout."),
              std::string::npos);
}

TEST(report, says_once_what_error_and_call_both_say) {
    run_facts f = of_status("failed");
    f.error = "no such row: bad date";
    with_bad_call(f, "failed", "bad date", "22007");
    EXPECT_EQ(find_cause(f).root_cause,
              "The run failed after 2 finished turns: no such row: bad date (tool \"write\" in "
              "turn 2, request Q).");
}

TEST(report, of_a_cancelled_run) {
    run_facts f = of_status("cancelled");
    f.error = "wrong month";
    f.cancelled_by = "olga";
    const finding found = find_cause(f);
    const summary s = summarize(f, found);
    EXPECT_EQ(s.run, "Run R of worker \"rec\", run key \"night\", was cancelled.");
    EXPECT_EQ(s.failure_point, "It was cancelled after 2 finished turns by login \"olga\".");
    EXPECT_EQ(found.root_cause, "Login \"olga\" cancelled the run after 2 finished turns: wrong month.");
    EXPECT_EQ(
        found.next_action,
        "Ask who cancelled it whether the reason still holds; if it does not, start a new run under another run key: "
        "what was completed is not repeated. HANDLER stands for the program that the worker's crontab line names.");
    EXPECT_EQ(found.command, anew);
}

TEST(report, of_a_run_in_progress) {
    run_facts f = of_status("running");
    f.open_turn = 2;
    const finding found = find_cause(f);
    EXPECT_EQ(name_of(found.kind), "running");
    EXPECT_EQ(found.command, "select sor.cancel_run('T', 'R', 'REASON');");
    EXPECT_EQ(summarize(f, found).failure_point, "None so far; the run is in turn 2.");
}

TEST(report, of_a_run_that_succeeded_in_spite_of_a_refused_call) {
    run_facts f = of_status("succeeded");
    with_bad_call(f, "refused", "there is no such tool", "SR008");
    finding found = find_cause(f);
    EXPECT_EQ(name_of(found.kind), "refused_tool");
    EXPECT_EQ(summarize(f, found).failure_point,
              "The run did not fail. The last call that went wrong: tool \"write\" in turn 2 was refused: there "
              "is no such tool (SQLSTATE SR008), request Q.");
    EXPECT_EQ(found.root_cause, "The run succeeded, but tool \"write\" in turn 2 was refused: there is no such tool "
                                "(SQLSTATE SR008), request Q.");
    EXPECT_EQ(evidence_of(found), "tool_calls C, agent_events E 7");
    EXPECT_EQ(found.next_action, "Nothing of the call took effect. Find out what made the Worker ask for it, its "
                                 "instructions or something that it read; the command shows what this user may call.");
    EXPECT_EQ(found.command, "select name, minimum_role, permitted from sor.list_tools('T', 'U', true);");
    with_bad_call(f, "refused", "needs an admin", "SR003");
    EXPECT_EQ(find_cause(f).next_action.find("Nothing of the call took effect. Have a user with that role"), 0u);
    f.refused = 0;
    with_bad_call(f, "failed", "bad date", "22007");
    found = find_cause(f);
    EXPECT_EQ(name_of(found.kind), "failed_tool");
    EXPECT_EQ(found.command, anew);
    EXPECT_EQ(found.next_action.find("Nothing of the call took effect."), 0u);
    const counted outside[] = {{"write", 1}};
    f.outside_calls = outside; // of what happened there only the service knows
    EXPECT_EQ(find_cause(f).next_action.find("Correct the cause"), 0u);
}

TEST(report, of_an_unknown_outcome) {
    run_facts f = of_status("succeeded");
    f.unknown = 1;
    f.unknown_tool = "model";
    f.unknown_request = "Q";
    f.unknown_call = {"tool_calls", "C"};
    const counted outside[] = {{"model", 3}};
    f.outside_calls = outside;
    const finding found = find_cause(f);
    EXPECT_EQ(name_of(found.kind), "unknown_outcome");
    EXPECT_EQ(found.root_cause,
              "The outcome of the outside call of \"model\", request Q, cannot be known: it was begun, and no answer "
              "was recorded.");
    EXPECT_EQ(evidence_of(found), "tool_calls C");
    EXPECT_EQ(found.next_action,
              "Ask the service behind \"model\" whether request Q took effect; the command only shows the call. If it "
              "did, see whether the run, which went on without the answer, did all that it should; if it did not and "
              "is still wanted, call again in a new run with the same request id.");
    EXPECT_EQ(found.command, "select pg_catalog.jsonb_pretty(c) from pg_catalog.jsonb_array_elements("
                             "sor.forensic_report('T', 'R') -> 'tool_calls') c where c ->> 'request_id' = 'Q';");
    EXPECT_EQ(summarize(f, found).side_effects, "No message was queued. Calls begun outside the database: 3 of model. "
                                                "The outcome of 1 outside call cannot be known.");
    f.unknown = 2;
    EXPECT_EQ(find_cause(f).root_cause.find(
                  "The outcome of 2 outside calls cannot be known, the last one that of \"model\", request Q: "),
              0u);
}

TEST(report, of_dead_letters) {
    run_facts f = of_status("succeeded");
    f.items_completed = 4;
    f.items_failed = 2;
    f.items_dead = 1;
    f.bad_item = "7";
    f.bad_queue = f.dead_queue = "q";
    f.bad_item_error = f.dead_item_error = "no category";
    f.dead_item = "it's";
    f.dead_item_event = {"agent_events", "D", 8};
    finding found = find_cause(f);
    summary s = summarize(f, found);
    EXPECT_EQ(name_of(found.kind), "dead_letter");
    EXPECT_EQ(s.scope, "Tenant Alice, on behalf of a@x: 2 turns, 0 tool calls, 4 items completed, 0 messages.");
    EXPECT_EQ(s.failure_point, "The run did not fail. The last item that failed: item 7 of queue \"q\": no category.");
    EXPECT_EQ(found.root_cause, "1 item was given up after the last attempt, item it's of queue \"q\": no category.");
    EXPECT_EQ(evidence_of(found), "agent_events D 8");
    EXPECT_EQ(found.command, "select sor.requeue('T', 'q', 'it''s');");
    f.dead = 2;
    f.dead_destination = "mail";
    f.dead_error = "550 no such user";
    f.dead_message = {"outbox", "M"};
    found = find_cause(f);
    s = summarize(f, found);
    EXPECT_EQ(found.root_cause, "2 messages were given up, the last one by destination \"mail\": 550 no such user.");
    EXPECT_EQ(found.command, "sor redrive --tenant Alice --message M");
    EXPECT_NE(s.cause_and_next_action.find("1 item was given up: sor.requeue puts it back."), std::string::npos);
}

TEST(report, of_what_was_put_right_since_is_no_complaint) {
    run_facts f = of_status("succeeded");
    f.mended_calls = 2;
    f.items_settled = 1;
    const finding found = find_cause(f);
    EXPECT_EQ(name_of(found.kind), "succeeded");
    EXPECT_EQ(summarize(f, found).failure_point,
              "The run did not fail. 2 calls went wrong and succeeded when tried again. 1 item failed and was "
              "completed or put back since.");
}

TEST(report, of_many_kinds_names_a_few) {
    run_facts f = of_status("succeeded");
    const std::vector<counted> kinds(22, counted{"x", 1});
    f.calls = f.delivered = kinds;
    f.dispatched = 22;
    const summary s = summarize(f, find_cause(f));
    EXPECT_NE(s.scope.find("22 tool calls (1 of x, 1 of x"), std::string::npos);
    EXPECT_NE(s.scope.find("1 of x, 1 of x and 2 more kinds), 22 messages."), std::string::npos);
    EXPECT_NE(s.side_effects.find("1 of x and 2 more kinds, "), std::string::npos);
}

TEST(report, names_what_is_paused) {
    run_facts f = of_status("succeeded");
    f.paused = "the tenant by olga: an audit";
    EXPECT_EQ(find_cause(f).next_action, "No action is needed.");
    with_bad_call(f, "refused", "tool \"write\" is paused", "SR016");
    finding found = find_cause(f);
    EXPECT_EQ(
        found.next_action,
        "First let go on what is paused, the tenant by olga: an audit. Nothing of the call took effect. An operator "
        "had paused the tool: see whether it still is; once it goes on, retry with the same request id.");
    EXPECT_EQ(found.command, "select * from sor.list_pauses();");
    f = of_status("running");
    f.lapsed = true;
    f.paused = "queue \"q\" by olga: an audit.";
    EXPECT_EQ(find_cause(f).next_action.find("First let go on what is paused, queue \"q\" by olga: an audit. Start "),
              0u);
}

TEST(report, of_changed_history_says_so_before_anything_else) {
    run_facts f = of_status("failed");
    f.tampered = true;
    f.problem = "its columns do not match its hash";
    f.bad_stream = "S";
    f.bad_row = {"agent_events", "B", 3};
    const finding found = find_cause(f);
    EXPECT_EQ(name_of(found.kind), "tampered");
    EXPECT_EQ(found.root_cause,
              "History was changed: event 3 of stream S does not fit, its columns do not match its hash.");
    EXPECT_EQ(evidence_of(found), "agent_events B 3");
    EXPECT_EQ(found.command, "sor verify --tenant Alice");
    const auto point = summarize(f, found).failure_point;
    EXPECT_EQ(point.substr(0, 9), "It failed");
    EXPECT_TRUE(point.ends_with(". That is what the changed rows tell."));
    f.bad_stream = f.run_id;
    f.pending = 2;
    EXPECT_EQ(find_cause(f).root_cause.find("History was changed: event 3 of the run does not fit"), 0u);
    EXPECT_EQ(
        find_cause(f).next_action.find(
            "First decide whether 2 messages that nobody has sent yet may go out; if they must not, or in doubt, "
            "run the command, which stops the tenant's claims, tool calls and messages until sor resume tenant Alice. "
            "Then look at all of its history, which only reads: sor verify --tenant Alice. Trust nothing that is "
            "said here of this run: compare"),
        0u);
    EXPECT_EQ(find_cause(f).command, "sor pause tenant Alice --reason 'changed history'");
}

TEST(report, quotes_what_a_command_holds) {
    run_facts f = of_status("failed");
    f.worker = "x'; rm -rf ~ #";
    f.run_key = "$(reboot)";
    f.tenant = "-v";
    EXPECT_EQ(find_cause(f).command, "sor work q --tenant '-v' --worker 'x'\\''; rm -rf ~ #' --on-behalf-of a@x "
                                     "--run-key '$(reboot).again' --handler HANDLER");
    f.queue = "";
    EXPECT_EQ(find_cause(f).command,
              "select * from sor.start_run('T', 'x''; rm -rf ~ #', '$(reboot).again', on_behalf_of => 'U');");
    f.worker = "x\\";
    EXPECT_EQ(find_cause(f).command,
              "select * from sor.start_run('T', E'x\\\\', '$(reboot).again', on_behalf_of => 'U');");
    f.worker = "x'; rm -rf ~ #";
    f.is_client = true;
    f.run_key = "";
    EXPECT_EQ(find_cause(f).command, "sor mcp --tenant '-v' --worker 'x'\\''; rm -rf ~ #' --on-behalf-of a@x");
}

} // namespace
} // namespace sor::forensics
