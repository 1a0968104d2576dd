#pragma once
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include "db/calls.hpp"

// The report as one HTML file: no network, nothing that needs script, whatever the rows hold shown as text.
namespace sor::report {

// `report` is sor.forensic_report's answer, `tenant` the tenant's name. Of more than `most` events the first and the
// last are shown, and between them those that went wrong; of calls and messages the first.
std::string page_of_run(std::string_view report, const std::string& tenant, std::size_t most);

// What the page of a period says of one of its runs.
struct run_story {
    std::string kind, root_cause, next_action, command, failure_point, side_effects;
    std::vector<std::pair<std::string, std::string>> ids; // in the command, and what they are, as HTML
    struct event {
        std::string created_at, type, says;
    };
    std::vector<event> evidence;
    std::size_t waiting_messages = 0, open_calls = 0; // that may reach the outside yet, or may have
};
run_story story_of(std::string_view report);
db::found_run run_of(std::string_view report);

// What happened in a time: the runs that were in progress, newest first, and others that something is to be said of;
// what became of them, by their ids; the events.
struct period {
    db::tenant tenant;
    db::resolved_time time;
    std::vector<db::found_run> runs;
    std::map<std::string, run_story> stories; // not of every run when there are many
    std::vector<db::happening> events;
    std::size_t most = 0; // of events and of runs in progress; with so many there may be more
};
std::string page_of_period(const period& what);

// Of an event's type: something went wrong, or its outcome is not known.
bool is_bad(std::string_view event_type);

} // namespace sor::report
