// A call whose PostgreSQL error is an answer, not the end: it runs in a subtransaction that is rolled back with it.
#pragma once

#include "bridge/entry.hpp"

namespace sor::bridge {

// Null when f returned; else its error, in the memory context current at the call, its effects undone.
// f must be called with SPI connected and must leave it so.
template <guarded F>
ErrorData* attempt(F&& f) {
    const MemoryContext memory = CurrentMemoryContext;
    const ResourceOwner owner = CurrentResourceOwner;
    ErrorData* volatile failure = nullptr;
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(memory);
    PG_TRY();
    {
        f();
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(memory);
        CurrentResourceOwner = owner;
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(memory);
        failure = CopyErrorData();
        FlushErrorState();
        RollbackAndReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(memory);
        CurrentResourceOwner = owner;
    }
    PG_END_TRY();
    return failure;
}

// Runs f and undoes everything it did, its error included when it raised none of its own.
template <guarded F>
void rehearse(F&& f) {
    const MemoryContext memory = CurrentMemoryContext;
    const ResourceOwner owner = CurrentResourceOwner;
    ErrorData* volatile failure = nullptr;
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(memory);
    PG_TRY();
    { f(); }
    PG_CATCH();
    {
        MemoryContextSwitchTo(memory);
        failure = CopyErrorData();
        FlushErrorState();
    }
    PG_END_TRY();
    // In any case: whoever catches the error further out ends the subtransaction it finds, which must be its own.
    RollbackAndReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(memory);
    CurrentResourceOwner = owner;
    if (failure != nullptr)
        ReThrowError(failure);
}

// Whether the error says nothing about the request itself (a lost lease, another tenant's context, a serialization
// failure, a full disk, a shutdown): then the whole call fails with it instead of answering it.
bool is_not_the_answer(const ErrorData* error);

} // namespace sor::bridge
