// Catalog look-ups that need no privilege: registries keep names as text and resolve them at each use.
#pragma once

#include "bridge/values.hpp"

#include <string_view>

namespace sor::bridge {

char* qualified_name(Oid relid);          // schema and name, quoted where needed, whatever quote_all_identifiers says
Oid find_relation(const char* qualified); // InvalidOid when there is none
Oid owner_of_relation(Oid relid);
char* qualified_signature(Oid function);  // schema, name and (jsonb)
Oid find_function(const char* signature); // of one jsonb argument that returns one jsonb; InvalidOid when there is none
Oid owner_of_function(Oid function);
bool may_become(Oid member, Oid role); // by SET ROLE

} // namespace sor::bridge
