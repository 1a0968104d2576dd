// What the migration that this backend now runs lets through: the guard asks.
#pragma once

namespace sor::migrations {

// What the migration that this backend now runs allows the utility statement being executed.
enum class permission {
    none,       // no migration, or a statement hidden in another (DO, function, EXECUTE)
    reviewed,   // a statement of an approved migration's own text that its review calls other than destructive
    overridden, // any statement, hidden ones too, of a migration approved with an override for this direction
};
permission current_permission();
const char* current_version(); // null: none runs

} // namespace sor::migrations
