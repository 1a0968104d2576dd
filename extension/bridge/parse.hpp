// The server's own reader of SQL. Raw parse trees: names are not looked up, nothing is executed.
#pragma once

#include "bridge/values.hpp"

extern "C" {
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
}

namespace sor::bridge {

// A list of RawStmt, in the current memory context. Strings are read by the standard, whatever the session has set:
// with standard_conforming_strings off, the same text could be other statements. Raises what the reader raises (42601,
// with the position as a number of characters).
List* parse_sql(const char* text);

// A plan of SPI for one statement, read in the same way. Raises what reading and analysis raise.
SPIPlanPtr prepare_sql(const char* text);

// Calls visit for each node below this one, until it returns true; visit calls walk again to go deeper. Raises 54001
// when the tree is too deep, and an internal error at a node that is no part of a query.
bool walk(Node* node, bool (*visit)(Node*, void*), void* context);

// ALTER COLUMN SET EXPRESSION, which is new in 17.
bool sets_expression(AlterTableType command);

// A generated column that is computed when it is read, which is new in 18.
bool is_virtual(const Constraint* generated);

// The name in ALTER CONSTRAINT, which is another node from 18 on.
const char* altered_constraint(const AlterTableCmd* command);

// Whether an ALTER CONSTRAINT makes it NOT ENFORCED, which is new in 18.
bool lifts_constraint(const AlterTableCmd* command);

} // namespace sor::bridge
