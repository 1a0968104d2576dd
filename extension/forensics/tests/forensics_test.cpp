#include "forensics/forensics_core.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace sor::forensics {
namespace {

std::string tell(std::string_view type, std::initializer_list<field> payload, int turn_no = 0,
                 std::string_view kind = "agent", std::string_view actor = "rec") {
    happening event;
    event.type = type;
    event.actor_kind = kind;
    event.actor = actor;
    event.turn_no = turn_no;
    event.payload = {payload.begin(), payload.size()};
    return narrative(event);
}

TEST(narrative, of_a_run) {
    EXPECT_EQ(tell("run.started", {{"run_key", "night"}, {"on_behalf_of", "U"}}),
              "Worker \"rec\" started the run of key \"night\" on behalf of user U.");
    EXPECT_EQ(tell("run.started", {}), "Worker \"rec\" started the run.");
    EXPECT_EQ(tell("run.resumed",
                   {{"gap.from", "A"}, {"gap.to", "B"}, {"gap.unended_turn", "3"}, {"gap.unknown_calls#", "2"}}),
              "Worker \"rec\" resumed the run after a gap from A to B. Turn 3 had begun and not finished. "
              "The outcome of 2 outside calls cannot be known.");
    EXPECT_EQ(tell("run.resumed", {{"gap.from", "A"}, {"gap.to", "B"}, {"gap.unknown_calls#", "0"}}),
              "Worker \"rec\" resumed the run after a gap from A to B.");
    EXPECT_EQ(tell("run.succeeded", {}), "The run succeeded.");
    EXPECT_EQ(tell("run.failed", {{"error.message", "no such file."}}), "The run failed: no such file.");
    EXPECT_EQ(tell("run.cancelled", {{"error.reason", "enough"}}, 0, "user", "olga"),
              "olga cancelled the run: enough.");
}

TEST(narrative, of_turns) {
    EXPECT_EQ(tell("turn.started", {}, 2), "Turn 2 began.");
    EXPECT_EQ(tell("turn.started", {{"reopened", "true"}}, 2), "Turn 2 began again, because it had not finished.");
    EXPECT_EQ(tell("turn.finished", {{"status", "succeeded"}}, 2), "Turn 2 finished.");
    EXPECT_EQ(tell("turn.finished", {{"status", "failed"}}, 2), "Turn 2 ended as failed.");
}

TEST(narrative, of_tool_calls) {
    EXPECT_EQ(tell("tool_call.started", {{"tool", "model"}}, 1),
              "Worker \"rec\" was about to call \"model\" outside the database in turn 1.");
    EXPECT_EQ(tell("tool_call.succeeded", {{"tool", "model"}}, 1), "Tool \"model\" succeeded in turn 1.");
    EXPECT_EQ(tell("tool_call.succeeded", {{"tool", "claim"}, {"arguments.queue", "q"}, {"response.items#", "1"}}, 1),
              "Claimed 1 item of queue \"q\".");
    EXPECT_EQ(tell("tool_call.succeeded",
                   {{"tool", "claim"},
                    {"arguments.queue", "q"},
                    {"response.items#", "0"},
                    {"arguments.fail#", "2"},
                    {"arguments.release#", "0"}},
                   1),
              "Claimed 0 items of queue \"q\", failed 2.");
    EXPECT_EQ(tell("tool_call.succeeded",
                   {{"tool", "write"},
                    {"arguments.table", "t"},
                    {"response.inserted", "true"},
                    {"arguments.completes.item_id", "7"}},
                   1),
              "Wrote a row of \"t\", completing item 7.");
    EXPECT_EQ(
        tell("tool_call.succeeded", {{"tool", "write"}, {"arguments.table", "t"}, {"response.inserted", "false"}}, 1),
        "Found a row of \"t\" already written.");
    EXPECT_EQ(tell("tool_call.succeeded",
                   {{"tool", "queue"},
                    {"arguments.destination", "mail"},
                    {"arguments.event_type", "x.y"},
                    {"arguments.dedup_key", "k"},
                    {"response.enqueued", "true"}},
                   1),
              "Queued the message \"x.y\" to mail (dedup key k).");
    EXPECT_EQ(tell("tool_call.succeeded", {{"tool", "read"}, {"arguments.from", "t"}, {"response.rows#", "3"}}, 1),
              "Read 3 rows of \"t\".");
    EXPECT_EQ(
        tell("tool_call.failed", {{"tool", "write"}, {"error.message", "bad date"}, {"error.sqlstate", "22007"}}, 4),
        "Tool \"write\" failed in turn 4: bad date (SQLSTATE 22007).");
    EXPECT_EQ(
        tell(
            "tool_call.refused",
            {{"tool", "drop_table"}, {"error.message", "there is no tool \"drop_table\""}, {"error.sqlstate", "SR008"}},
            4),
        "Tool \"drop_table\" was refused in turn 4: there is no tool \"drop_table\" (SQLSTATE SR008).");
    EXPECT_EQ(tell("tool_call.unknown", {{"tool", "model"}, {"error.message", "lost"}}, 4, "system", "lease expiry"),
              "The outcome of the call of \"model\" in turn 4 cannot be known: lost.");
}

TEST(narrative, of_items_and_messages) {
    EXPECT_EQ(tell("item.claimed", {{"queue", "q"}, {"item_id", "7"}, {"attempt", "2"}}),
              "Item 7 of queue \"q\" was claimed by rec (attempt 2).");
    EXPECT_EQ(tell("item.failed", {{"queue", "q"}, {"item_id", "7"}, {"error", "no category"}}),
              "Item 7 of queue \"q\" failed: no category.");
    EXPECT_EQ(tell("outbox.enqueued", {{"event_type", "x.y"}, {"destination", "mail"}, {"dedup_key", "k"}}),
              "The intent was recorded: message \"x.y\" to mail (dedup key k).");
    EXPECT_EQ(tell("outbox.dispatched", {}, 0, "system", "relay"), "Message was sent by relay.");
    EXPECT_EQ(
        tell("outbox.failed", {{"destination", "mail"}, {"error", "timeout"}, {"attempt", "1"}}, 0, "system", "relay"),
        "Message to mail could not be sent: timeout (attempt 1); it will be tried again.");
}

TEST(narrative, of_administration_and_applications) {
    EXPECT_EQ(tell("grant.changed", {{"login", "w"}, {"granted", "true"}}, 0, "user", "op"),
              "op granted the tenant to login \"w\".");
    EXPECT_EQ(tell("grant.changed", {{"login", "w"}, {"granted", "false"}}, 0, "user", "op"),
              "op took the tenant's grant from login \"w\".");
    EXPECT_EQ(tell("role.assigned", {{"user_id", "U"}, {"role", "admin"}, {"former", "viewer"}}, 0, "user", "op"),
              "op gave user U the role admin instead of viewer.");
    EXPECT_EQ(tell("expense.approved", {}), "Worker \"rec\" recorded expense.approved.");
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
    EXPECT_EQ(tell("migration.guard_bypassed", {}), "Worker \"rec\" recorded migration.guard_bypassed.");
}

TEST(narrative, cuts_a_long_reason_between_characters) {
    std::string reason;
    for (int i = 0; i < 300; ++i)
        reason += "é";
    const std::string told = tell("run.failed", {{"error", reason}});
    EXPECT_EQ(told, "The run failed: " + reason.substr(0, 400) + " ….");
    const std::string odd = "x" + reason;
    EXPECT_EQ(tell("run.failed", {{"error", odd}}), "The run failed: " + odd.substr(0, 399) + " ….");
}

run_facts of_status(std::string_view status) {
    run_facts f;
    f.run_id = "R";
    f.worker = "rec";
    f.run_key = "night";
    f.tenant = "Alice";
    f.user = "a@x";
    f.status = status;
    f.started_at = "T0";
    f.last_event = "turn.finished";
    f.last_event_at = "T1";
    f.turns = f.finished_turns = 2;
    return f;
}

TEST(summary, of_a_good_run) {
    run_facts f = of_status("succeeded");
    const counted tools[] = {{"claim", 2}, {"write", 5}};
    f.calls = tools;
    f.finished_at = "T9";
    f.duration = "00:00:02";
    f.dispatched = 5;
    const summary s = summarize(f);
    EXPECT_EQ(s.run, "Run R of worker \"rec\", run key \"night\", succeeded.");
    EXPECT_EQ(s.scope, "Tenant Alice, on behalf of a@x: 2 turns, 7 tool calls (claim 2, write 5), 5 messages.");
    EXPECT_EQ(s.timeline, "Started T0, finished T9, after 00:00:02; never resumed.");
    EXPECT_EQ(s.failure_point, "None: every turn finished and no call went wrong.");
    EXPECT_EQ(s.side_effects, "5 messages: 5 dispatched, 0 pending, 0 dead.");
    EXPECT_EQ(s.cause_and_next_action, "Nothing went wrong. No action is needed.");
}

TEST(summary, of_a_run_whose_holder_was_lost) {
    run_facts f = of_status("running");
    f.lapsed = true;
    f.lease_until = "T5";
    f.open_turn = 3;
    f.turns = 3;
    const summary s = summarize(f);
    EXPECT_EQ(s.run, "Run R of worker \"rec\", run key \"night\", has lost its holder.");
    EXPECT_EQ(s.timeline, "Started T0, not finished; its last event is of T1; never resumed.");
    EXPECT_EQ(s.failure_point,
              "Its holder was lost in turn 3: the last event, turn.finished, is of T1, and the lease was over at T5.");
    EXPECT_EQ(s.cause_and_next_action, "The process that held the run stopped, or could not reach the database. Run "
                                       "again with the same run key, \"night\": "
                                       "finished turns and stored responses are not repeated.");
}

TEST(summary, of_a_failed_run_names_the_cause) {
    run_facts f = of_status("failed");
    f.error = "the handler died.";
    f.open_turn = 2;
    f.finished_turns = 1;
    f.failed = 1;
    f.bad_tool = "write";
    f.bad_status = "failed";
    f.bad_request = "Q";
    f.bad_turn = 2;
    f.bad_message = "bad date";
    f.bad_sqlstate = "22007";
    f.resumptions = 2;
    f.gap_from = "A";
    f.gap_to = "B";
    f.pending = 1;
    f.failed_sends = 1;
    f.pending_error = "timeout";
    f.dead = 1;
    f.dead_destination = "mail";
    f.dead_error = "unknown user";
    const summary s = summarize(f);
    EXPECT_EQ(s.failure_point, "It failed in turn 2: the handler died. The last call that went wrong: tool \"write\" "
                               "in turn 2 failed: bad date "
                               "(SQLSTATE 22007), request Q.");
    EXPECT_NE(s.timeline.find("resumed 2 times, the last time after a gap from A to B."), std::string::npos);
    EXPECT_EQ(s.cause_and_next_action, "The cause is the handler died. Correct it and start a new run under another "
                                       "run key: what was completed is not repeated. "
                                       "1 message was given up by destination mail: unknown user. Correct the cause, "
                                       "then put it back with sor.requeue. "
                                       "1 message waits for the next relay; the last attempt failed: timeout.");
}

TEST(summary, of_a_cancelled_run) {
    run_facts f = of_status("cancelled");
    f.error = "wrong month";
    f.cancelled_by = "olga";
    const summary s = summarize(f);
    EXPECT_EQ(s.run, "Run R of worker \"rec\", run key \"night\", was cancelled.");
    EXPECT_EQ(s.failure_point, "It was cancelled after 2 finished turns by olga.");
    EXPECT_EQ(s.cause_and_next_action, "It was cancelled: wrong month. When the reason is gone, start a new run under "
                                       "another run key: what was completed is not repeated.");
}

TEST(summary, of_a_run_that_succeeded_in_spite_of_refused_calls) {
    run_facts f = of_status("succeeded");
    f.refused = 1;
    f.unknown = 1;
    f.bad_tool = "drop_table";
    f.bad_status = "refused";
    f.bad_request = "Q";
    f.bad_turn = 1;
    f.bad_message = "there is no such tool";
    const summary s = summarize(f);
    EXPECT_EQ(s.failure_point, "None that stopped the run. The last call that went wrong: tool \"drop_table\" in turn "
                               "1 was refused: there is no such tool, request Q.");
    EXPECT_EQ(s.side_effects, "No message was queued. The outcome of 1 outside call cannot be known.");
    EXPECT_EQ(
        s.cause_and_next_action,
        "The run succeeded; 1 call failed or was refused, the last one: tool \"drop_table\" in turn 1 was refused: "
        "there is no such tool, request Q. Look at the items they were made for. "
        "Ask the service that was called whether the request took effect; it has the request_id.");
}

TEST(summary, of_a_run_with_failed_items) {
    run_facts f = of_status("succeeded");
    f.items_completed = 4;
    f.items_failed = 2;
    f.items_dead = 1;
    f.bad_item = "7";
    f.bad_queue = "q";
    f.bad_item_error = "no category";
    const summary s = summarize(f);
    EXPECT_EQ(s.scope, "Tenant Alice, on behalf of a@x: 2 turns, 0 tool calls, 4 items completed, 0 messages.");
    EXPECT_EQ(s.failure_point,
              "None that stopped the run. The last item that failed: item 7 of queue \"q\": no category.");
    EXPECT_EQ(s.cause_and_next_action,
              "The run itself succeeded. 2 attempts at an item failed, the last one at item 7 of queue \"q\": no "
              "category. The queue hands such an item out "
              "again after its backoff. 1 item was given up. Correct the cause, then put it back with sor.requeue.");
}

} // namespace
} // namespace sor::forensics
