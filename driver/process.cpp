#include "process.hpp"
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include "failure.hpp"
#include "stop.hpp"

namespace sor {
namespace {

constexpr std::size_t longest_output = 1 << 20, longest_errors = 8 << 10; // bytes

class descriptor {
public:
    explicit descriptor(int number = -1) : number_(number) {}
    descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        reset();
        number_ = std::exchange(other.number_, -1);
        return *this;
    }
    ~descriptor() { reset(); }
    void reset() {
        if (number_ >= 0)
            close(number_);
        number_ = -1;
    }
    int get() const { return number_; }

private:
    int number_;
};

struct pipe_ends {
    descriptor read, write;
};

pipe_ends make_pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        throw failure(exit_status::unavailable, "could not make a pipe", std::strerror(errno));
    return {descriptor(ends[0]), descriptor(ends[1])};
}

std::vector<std::string> whole_environment(const program& program) {
    std::vector<std::string> all;
    for (char** entry = environ; *entry; ++entry)
        if (std::strncmp(*entry, "PG", 2) != 0)
            all.emplace_back(*entry);
    for (const auto& [name, value] : program.environment)
        all.push_back(name + "=" + value);
    return all;
}

// Adds what there is to read; closes at the end of it.
void drain(descriptor& from, std::string& text, std::size_t longest, bool keep_end) {
    char buffer[16384];
    const auto got = read(from.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR)
        return;
    if (got <= 0)
        return from.reset();
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > longest)
        keep_end ? text.erase(0, text.size() - longest) : text.erase(longest);
}

std::string how_it_ended(const std::string& name, int status) {
    if (WIFSIGNALED(status))
        return name + " was ended by signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) +
               ")";
    return name + " ended with exit status " + std::to_string(WEXITSTATUS(status));
}

// The children, which are gone with it.
class children {
public:
    ~children() {
        signal_all(SIGKILL);
        for (auto& [pid, name] : running_)
            while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
            }
    }
    void add(pid_t pid, std::string name) { running_.emplace_back(pid, std::move(name)); }
    void signal_all(int number) {
        for (const auto& [pid, name] : running_)
            kill(-pid, number);
    }
    // How each of those ended that did not succeed.
    std::string wait() {
        std::string faults;
        for (; !running_.empty(); running_.erase(running_.begin())) {
            int status = 0;
            while (waitpid(running_.front().first, &status, 0) < 0 && errno == EINTR) {
            }
            if (status != 0)
                faults += (faults.empty() ? "" : "; ") + how_it_ended(running_.front().second, status);
        }
        return faults;
    }

private:
    std::vector<std::pair<pid_t, std::string>> running_;
};

} // namespace

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
    // A signal that comes before the child has our handlers off would be lost in them.
    sigset_t every, before;
    sigfillset(&every);
    sigprocmask(SIG_SETMASK, &every, &before);
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child != 0)
        sigprocmask(SIG_SETMASK, &before, nullptr);
    if (child < 0)
        throw failure(exit_status::unavailable, "could not start \"" + arguments.front() + "\"", std::strerror(errno));
    if (child == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(127);
        for (const int signal : {SIGPIPE, SIGXFSZ, SIGTERM, SIGINT})
            std::signal(signal, SIG_DFL);
        if (std::signal(SIGHUP, SIG_DFL) == SIG_IGN) // nohup's wish is the program's too
            std::signal(SIGHUP, SIG_IGN);
        sigprocmask(SIG_SETMASK, &before, nullptr);
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

program_outcome run_programs(const std::vector<program>& programs, bool even_when_stopped) {
    children running;
    auto errors = make_pipe();
    descriptor input(open("/dev/null", O_RDONLY | O_CLOEXEC));
    for (const auto& program : programs) {
        auto next = make_pipe();
        running.add(
            spawn(program.arguments, whole_environment(program), input.get(), next.write.get(), errors.write.get()),
            program.arguments.front());
        input = std::move(next.read);
    }
    errors.write.reset();
    program_outcome outcome;
    bool asked = even_when_stopped;
    while (input.get() >= 0 || errors.read.get() >= 0) {
        pollfd entries[] = {
            {input.get(), POLLIN, 0}, {errors.read.get(), POLLIN, 0}, {asked ? -1 : stop::descriptor(), POLLIN, 0}};
        if (poll(entries, 3, -1) < 0)
            continue;
        if (entries[2].revents != 0) {
            asked = true;
            running.signal_all(SIGTERM);
        }
        if (entries[0].revents != 0)
            drain(input, outcome.output, longest_output, false);
        if (entries[1].revents != 0)
            drain(errors.read, outcome.errors, longest_errors, true);
    }
    const auto faults = running.wait();
    outcome.succeeded = faults.empty();
    while (!outcome.errors.empty() && outcome.errors.back() == '\n')
        outcome.errors.pop_back();
    if (outcome.errors.empty())
        outcome.errors = faults;
    return outcome;
}

program shell_command(const std::string& command, std::vector<std::pair<std::string, std::string>> environment) {
    return {{"/bin/sh", "-c", command}, std::move(environment)};
}

} // namespace sor
