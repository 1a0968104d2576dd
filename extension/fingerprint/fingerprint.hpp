// The schema as a digest that says whether anything differs, and as rows that say what.
#pragma once

#include "bridge/values.hpp"

namespace sor::fingerprint {

// SHA-256 of sor.schema_objects(schemas), in hexadecimal, in the memory context current at the call. Sees what the
// transaction has done so far, whatever its isolation level. Null schemas: all of the user's. 3F000: there is no such
// schema.
char* schema_fingerprint(ArrayType* schemas);

} // namespace sor::fingerprint
