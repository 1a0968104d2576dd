#pragma once
#include <string>
#include <vector>
#include "migrate/branch.hpp"
#include "migrate/files.hpp"
#include "migrate/output.hpp"

namespace sor::migrate {

// Tries the last of these migrations on the branch, the others being applied there first: upgrade, checks, downgrade,
// upgrade again, with fingerprints and digests between. The report, as it is recorded:
//   {"version", "name", "checksum", "branch", "succeeded", "after": [versions],
//    "copied": [{table, rows}], "not_copied": [{table, bytes}],
//    "upgrade" | "downgrade" | "upgrade_again": {"succeeded", "statements": [...], "error"} or null,
//    "checks": [{check, ok, detail}],
//    "schema_reversible" | "data_reversible": {"answer": yes | no | unknown, "why": [sentences]}}
// succeeded: each part did, and neither answer is no. Throws only what is not the migration's fault.
ordered_json rehearse_on(branch& branch, const std::vector<const migration*>& migrations, command_context& context);

// For a person.
std::string rehearsal_text(const ordered_json& report);

} // namespace sor::migrate
