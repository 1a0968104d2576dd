#pragma once
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

// Other programs: pg_dump, pg_restore, the commands of the settings, handlers.
namespace sor {

// Starts a program, looked up in PATH, with this environment ("NAME=value") and these descriptors as its standard
// input, output and error; no other descriptor of ours reaches it. It has a process group of its own, so that it can be
// ended with what it started and ^C reaches the driver alone, and gets SIGTERM when we end. Exit code 127 and a line on
// its standard error where it cannot be executed. Throws failure (unavailable) where no process can be made.
pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment, int in, int out,
            int errors);

struct program {
    std::vector<std::string> arguments; // the first is looked up in PATH
    // Added to our environment, from which all of PG* is taken away: passwords are seen here by this account alone.
    std::vector<std::pair<std::string, std::string>> environment;
};

struct program_outcome {
    bool succeeded = false; // all of them
    std::string output;     // what the last wrote on standard output
    std::string errors;     // the end of what they wrote on standard error; without it, how one of them ended
};

// Runs them together, the output of each going into the next, until all have ended. A stop that is requested ends
// them unless `even_when_stopped`. Throws failure (unavailable) when one cannot be started.
program_outcome run_programs(const std::vector<program>& programs, bool even_when_stopped = false);

// A command of the settings, run by the shell.
program shell_command(const std::string& command, std::vector<std::pair<std::string, std::string>> environment);

} // namespace sor
