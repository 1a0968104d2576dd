// The project's own SQLSTATEs, and the exception that pure C++ throws. No PostgreSQL header here: cores include it.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace sor {

// One line per SQLSTATE of class SR.
enum class code {
    no_tenant_context = 1,
    tenant_not_granted = 2,
    role_not_permitted = 3,
    append_only_violation = 4,
    request_mismatch = 5,
    request_in_progress = 6,
    lease_lost = 7,
    tool_not_found = 8,
    destructive_change_refused = 9,
    invalid_state_transition = 10,
    migration_mismatch = 11,
    run_already_running = 12,
    not_registered = 13,
    context_already_set = 14,
    group_failed = 15,
    paused = 16,
    // Not of class SR: the argument itself is wrong (22023).
    invalid_parameter = 100,
};

// What a core throws; the bridge turns it into an ereport with the same message, detail and hint.
class error : public std::runtime_error {
public:
    error(code which, const std::string& message, std::string detail = {}, std::string hint = {})
        : std::runtime_error(message), which_(which), detail_(std::move(detail)), hint_(std::move(hint)) {}
    code which() const noexcept { return which_; }
    const std::string& detail() const noexcept { return detail_; }
    const std::string& hint() const noexcept { return hint_; }

private:
    code which_;
    std::string detail_;
    std::string hint_;
};

} // namespace sor
