#include "spawn.hpp"
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "failure.hpp"

namespace sor {

pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment, int in, int out,
            int errors) {
    // Everything that allocates happens before the fork.
    auto words = arguments, variables = environment;
    std::vector<char*> argv, envp;
    for (auto& word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    for (auto& variable : variables)
        envp.push_back(variable.data());
    envp.push_back(nullptr);
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child < 0)
        throw failure(exit_status::unavailable, "could not start \"" + arguments.front() + "\"", std::strerror(errno));
    if (child == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(127);
        for (const int signal : {SIGPIPE, SIGXFSZ, SIGTERM, SIGINT})
            std::signal(signal, SIG_DFL);
        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(errors, STDERR_FILENO);
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        execvpe(argv[0], argv.data(), envp.data());
        dprintf(STDERR_FILENO, "could not execute \"%s\": %s\n", argv[0], std::strerror(errno));
        _exit(127);
    }
    setpgid(child, child); // in both processes: neither may come too late
    return child;
}

} // namespace sor
