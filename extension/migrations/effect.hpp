// What a statement that no transaction can hold brings about, what an interrupted one leaves behind, and how to see it.
//
// An effect is an object: kind (create_index, drop_index, reindex, detach_partition, none), and by qualified name the
// table it is about and the index or partition.
#pragma once

#include "bridge/json.hpp"
#include "migrations/reading.hpp"

namespace sor::migrations {

// As the caller's login finds the names; in the current memory context. Errors: 42501 no right to look a name up.
Jsonb* effect_of(const char* version, bool down, const step& s);

// As the engine, with SPI connected:
// the statements that clean up, in that memory context, and whether the migration's own is still to be executed.
List* remains_of(MemoryContext into, const Jsonb* effect, bool& statement_too);
// A sentence on what is not as it should be after the step; null: nothing.
const char* missing_of(const Jsonb* effect);
// A sentence on where a half applied migration stands.
const char* standing_of(const Jsonb* progress);

} // namespace sor::migrations
