#pragma once
#include <string>
#include "drill/stage.hpp"

namespace sor::drill {

struct drill_options {
    std::string handler;     // of the queue pending_transactions
    std::string mail_server; // command; appended: the file it writes what it accepts to
    std::string server_log;  // path on the server; empty: what the server says
};

// Does what drill `index` asks for, and leaves on the stage what was seen; the verdict is not its business.
// `without` is the sabotage that is tried, for those which the drill itself has to commit; empty: none.
void act(int index, stage& on, const drill_options& options, const std::string& without);

} // namespace sor::drill
