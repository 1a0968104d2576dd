#pragma once
#include <string>
#include <string_view>
#include <vector>
#include "db/calls.hpp"

// The report as one HTML file: no network, nothing that needs script, whatever the rows hold shown as text.
namespace sor::report {

// `report` is sor.forensic_report's answer, `tenant` the tenant's name. Of more than `most_events` events the first and
// the last are shown, and between them those that went wrong.
std::string page_of_run(std::string_view report, const std::string& tenant, std::size_t most_events = 4000);

// What happened in a time: its runs, newest first, and its events. `cut` says that there are more events.
struct period {
    std::string tenant, since, until;
    std::vector<db::found_run> runs;
    std::vector<db::happening> events;
    bool cut = false;
};
std::string page_of_period(const period& what);

// Of an event's type: something went wrong, or its outcome is not known.
bool is_bad(std::string_view event_type);

} // namespace sor::report
