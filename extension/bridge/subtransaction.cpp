#include "bridge/subtransaction.hpp"

namespace sor::bridge {

bool is_not_the_answer(const ErrorData* error) {
    switch (ERRCODE_TO_CATEGORY(error->sqlerrcode)) {
    case MAKE_SQLSTATE('4', '0', '0', '0', '0'): // serialization failure, deadlock
    case MAKE_SQLSTATE('5', '3', '0', '0', '0'): // insufficient resources
    case MAKE_SQLSTATE('5', '7', '0', '0', '0'): // operator intervention, cancel
    case MAKE_SQLSTATE('5', '8', '0', '0', '0'): // system error
    case MAKE_SQLSTATE('X', 'X', '0', '0', '0'): // internal error
        return true;
    default:
        break;
    }
    if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE || error->sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION)
        return true;
    for (code which : {code::no_tenant_context, code::tenant_not_granted, code::lease_lost,
                       code::invalid_state_transition, code::context_already_set})
        if (error->sqlerrcode == sqlstate(which))
            return true;
    return false;
}

} // namespace sor::bridge
