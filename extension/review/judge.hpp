// The review: what each statement of a migration does to a database in use.
#pragma once

#include "bridge/values.hpp"

#include <string_view>

namespace sor::review {

// Adds a row for each finding, at least one for each statement. down null: none was given. name: the migration's, for
// what it says of the scope. Raises only what is not the migration's fault: a cancel, no memory.
void review_migration(bridge::rowset& rows, std::string_view up, const std::string_view* down,
                      std::string_view name = {});

// A digest of which relations that exist the names without a schema meant in destructive statements, of the review that
// was made last in this backend; empty where there were none.
const char* meanings_of_last_review();

// A rule's text with {0}, {1} and {2:…} filled in, and extra (or null) after it. definition null: what stands there.
text* fill_in(const char* pattern, const char* object, const char* part, const char* definition, const char* extra);

} // namespace sor::review
