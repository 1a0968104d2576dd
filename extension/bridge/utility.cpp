#include "bridge/utility.hpp"

namespace sor::bridge {

namespace {

constexpr int most_observers = 4;
utility_observer observers[most_observers];
int observer_count = 0;
int depth = 0;
int own_depth = 0; // of the statement that execute_own runs
ProcessUtility_hook_type previous = nullptr;

void tell(PlannedStmt* statement, const char* query, ProcessUtilityContext context) {
    for (int i = 0; i < observer_count; ++i)
        observers[i](statement, query, context);
}

void hook(PlannedStmt* statement, const char* query, bool read_only_tree, ProcessUtilityContext context,
          ParamListInfo parameters, QueryEnvironment* environment, DestReceiver* destination,
          QueryCompletion* completion) {
    const int outer = depth;
    PG_TRY();
    {
        depth = outer + 1;
        enter<&tell>(statement, query, context);
        (previous ? previous : standard_ProcessUtility)(statement, query, read_only_tree, context, parameters,
                                                        environment, destination, completion);
    }
    PG_FINALLY();
    { depth = outer; }
    PG_END_TRY();
}

} // namespace

void observe_utility(utility_observer observer) {
    if (observer_count == most_observers)
        elog(ERROR, "too many observers of utility statements");
    observers[observer_count++] = observer;
}

int utility_depth() {
    return depth;
}

result execute_own(const char* sql) {
    const int outer = own_depth;
    result out;
    PG_TRY();
    {
        own_depth = depth + 1;
        out = execute_text(sql);
    }
    PG_FINALLY();
    { own_depth = outer; }
    PG_END_TRY();
    return out;
}

bool own_statement_runs() {
    return own_depth != 0 && depth == own_depth;
}

void install_utility_hook() {
    previous = ProcessUtility_hook;
    ProcessUtility_hook = hook;
}

} // namespace sor::bridge
