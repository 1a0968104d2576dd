// What happens when a server process loads the library: each module that needs to registers what it needs.
#include "bridge/utility.hpp"
#include "context/context.hpp"
#include "guard/guard.hpp"

extern "C" {
// PGDLLEXPORT is empty before 16, and everything else is hidden.
__attribute__((visibility("default"))) const Pg_magic_struct* Pg_magic_func(void);
PG_MODULE_MAGIC;
__attribute__((visibility("default"))) void _PG_init(void);
}

void _PG_init(void) {
    sor::bridge::install_utility_hook();
    sor::context::load();
    sor::guard::load();
    MarkGUCPrefixReserved("sor"); // after every module defined its own
}
