// The four tools every Worker has: claim, write, queue, read.
#pragma once

#include "outbox/outbox.hpp"

namespace sor::tools {

struct call_frame {
    const journal::run* run;
};

struct builtin {
    const char* name;
    const char* minimum_role;
    bool read_only;
    const char* description;
    const char* input_schema;
    Jsonb* (*run)(const Jsonb* arguments, const call_frame& frame);
};

const builtin* find_builtin(std::string_view name); // null: none
const builtin* all_builtins(int* count);

} // namespace sor::tools
