#include "review/judge.hpp"
#include "review/review_core.hpp"

namespace sor::review {

using bridge::in;

SOR_FUNCTION(review_migration) {
    const bridge::arguments a(fcinfo);
    const std::string_view up = bridge::view(a.string(0, "up"));
    const text* given = a.string_or_null(1);
    const std::string_view down = given ? bridge::view(given) : std::string_view();
    const text* name = a.string_or_null(2);
    bridge::rowset rows(fcinfo);
    review_migration(rows, up, given ? &down : nullptr, name ? bridge::view(name) : std::string_view());
    return 0;
}

SOR_FUNCTION(migration_rules) {
    bridge::rowset rows(fcinfo);
    for (const rule_text& r : rules()) {
        const text* safer = *r.safer ? fill_in(r.safer, r.object, r.part, nullptr, nullptr) : nullptr;
        rows.add({in(r.id), in(name_of(r.level)), in(fill_in(r.hazard, r.object, r.part, nullptr, nullptr)),
                  *r.example ? in(r.example) : bridge::value::none(), in(safer)});
    }
    return 0;
}

} // namespace sor::review
