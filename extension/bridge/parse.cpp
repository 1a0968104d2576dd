#include "bridge/parse.hpp"

#include "bridge/plan_cache.hpp"

extern "C" {
#include "catalog/pg_attribute.h"
#include "parser/parser.h"
}

namespace sor::bridge {

List* parse_sql(const char* text) {
    List* statements = NIL;
    by_the_standard([&] { statements = raw_parser(text, RAW_PARSE_DEFAULT); });
    return statements;
}

SPIPlanPtr prepare_sql(const char* text) {
    SPIPlanPtr plan = nullptr;
    by_the_standard([&] { plan = SPI_prepare(text, 0, nullptr); });
    if (plan == nullptr)
        elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
    return plan;
}

bool walk(Node* node, bool (*visit)(Node*, void*), void* context) {
#if PG_VERSION_NUM >= 160000
    return raw_expression_tree_walker(node, visit, context);
#else
    // declared there without its parameters; by way of void (*)(), which g++ lets any function be
    return raw_expression_tree_walker(node, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(visit)), context);
#endif
}

bool sets_expression([[maybe_unused]] AlterTableType command) {
#if PG_VERSION_NUM >= 170000
    return command == AT_SetExpression;
#else
    return false;
#endif
}

bool is_virtual([[maybe_unused]] const Constraint* generated) {
#if PG_VERSION_NUM >= 180000
    return generated->generated_kind == ATTRIBUTE_GENERATED_VIRTUAL;
#else
    return false;
#endif
}

const char* altered_constraint(const AlterTableCmd* command) {
#if PG_VERSION_NUM >= 180000
    return castNode(ATAlterConstraint, command->def)->conname;
#else
    return castNode(Constraint, command->def)->conname;
#endif
}

bool lifts_constraint([[maybe_unused]] const AlterTableCmd* command) {
#if PG_VERSION_NUM >= 180000
    const auto* alter = castNode(ATAlterConstraint, command->def);
    return alter->alterEnforceability && !alter->is_enforced;
#else
    return false;
#endif
}

} // namespace sor::bridge
