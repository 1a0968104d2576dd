// The four tools every Worker has: claim, write, queue, read.
#pragma once

#include "outbox/outbox.hpp"

namespace sor::tools {

// What the calls of one batch share.
struct call_frame {
    const journal::run* run;
    const idempotency::table* written; // the table of the last write, for the next one
};

struct builtin {
    const char* name;
    const char* minimum_role;
    bool read_only;
    bool destructive; // may change what was there before
    const char* description;
    const char* input_schema;
    const char* output_schema;
    Jsonb* (*run)(const Jsonb* arguments, call_frame& frame);
};

const builtin* find_builtin(std::string_view name); // null: none
const builtin* all_builtins(int* count);

} // namespace sor::tools
