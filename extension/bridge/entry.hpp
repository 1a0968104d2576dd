// Crossing between PostgreSQL (longjmp) and C++ (exceptions), in both directions.
//
// Rules that keep both sides whole:
// - every function PostgreSQL calls is defined with SOR_FUNCTION, so no exception leaves it;
// - between a PostgreSQL call and its return only trivially destructible objects live, except inside bridge::call,
//   which turns the longjmp into pg_error for the few places where C++ objects must live across one.
#pragma once

#include "bridge/pg.hpp"
#include "bridge/error.hpp"

#include <type_traits>

namespace sor::bridge {

int sqlstate(code which);

// Raises through ereport; only where no C++ object with a destructor is live. detail and hint may be null.
// printf-style text is built by the caller with psprintf.
[[noreturn]] void raise(code which, const char* message, const char* detail, const char* hint);

// A PostgreSQL error on its way up through C++ frames; enter() hands it back to PostgreSQL unchanged.
struct pg_error {
    ErrorData* data;
};

// What is left of an exception once its catch block is over: plain memory, so that ereport may jump from here.
struct caught {
    ErrorData* pg;
    int sqlstate;
    char message[1024];
    char detail[1024];
    char hint[512];
};

void capture(caught& into) noexcept; // call inside catch (...)
[[noreturn]] void rethrow(const caught& error);

// Runs the body of an entry point; an exception becomes an ordinary PostgreSQL error with its SQLSTATE.
template <auto body, class... Args>
auto enter(Args... args) -> decltype(body(args...)) {
    caught error;
    try {
        return body(args...);
    } catch (...) {
        capture(error);
    }
    rethrow(error);
}

template <class F>
concept guarded = std::is_trivially_destructible_v<std::remove_reference_t<F>>;

// Calls one PostgreSQL function while C++ objects are live; its error arrives as pg_error. The error is never
// swallowed: it must travel on to enter(), or be caught outside a subtransaction that is then rolled back.
template <guarded F>
auto call(F&& f) {
    using result = std::invoke_result_t<F>;
    // Restores both stacks on every way out, a C++ exception of f included.
    struct stacks {
        sigjmp_buf* const exception = PG_exception_stack;
        ErrorContextCallback* const context = error_context_stack;
        ~stacks() {
            PG_exception_stack = exception;
            error_context_stack = context;
        }
    } const outer;
    const MemoryContext memory = CurrentMemoryContext;
    sigjmp_buf here;
    if (sigsetjmp(here, 0) == 0) {
        PG_exception_stack = &here;
        static_assert(std::is_void_v<result> || std::is_trivially_destructible_v<result>);
        return f();
    }
    PG_exception_stack = outer.exception;
    error_context_stack = outer.context;
    MemoryContextSwitchTo(memory);
    ErrorData* data = CopyErrorData();
    FlushErrorState();
    throw pg_error{data};
}

} // namespace sor::bridge

// Defines the SQL-callable function sor_NAME; its body follows in braces and sees `fcinfo`.
#define SOR_FUNCTION(name)                                                                                             \
    static Datum name##_body(FunctionCallInfo fcinfo);                                                                 \
    extern "C" {                                                                                                       \
    __attribute__((visibility("default"))) Datum sor_##name(PG_FUNCTION_ARGS);                                         \
    __attribute__((visibility("default"))) const Pg_finfo_record* pg_finfo_sor_##name(void);                           \
    const Pg_finfo_record* pg_finfo_sor_##name(void) {                                                                 \
        static const Pg_finfo_record my_finfo = {1};                                                                   \
        return &my_finfo;                                                                                              \
    }                                                                                                                  \
    Datum sor_##name(PG_FUNCTION_ARGS) {                                                                               \
        return ::sor::bridge::enter<&name##_body>(fcinfo);                                                             \
    }                                                                                                                  \
    }                                                                                                                  \
    static Datum name##_body([[maybe_unused]] FunctionCallInfo fcinfo)
