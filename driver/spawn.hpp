#pragma once
#include <string>
#include <sys/types.h>
#include <vector>

namespace sor {

// Starts a program, looked up in PATH, with this environment ("NAME=value") and these descriptors as its standard
// input, output and error; no other descriptor of ours reaches it. It has a process group of its own, so that it can be
// ended with what it started and ^C reaches the driver alone, and gets SIGTERM when we end. Exit code 127 and a line on
// its standard error where it cannot be executed. Throws failure (unavailable) where no process can be made.
pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment, int in, int out,
            int errors);

} // namespace sor
