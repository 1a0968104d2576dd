#include "stop.hpp"
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include "failure.hpp"

namespace sor::stop {
namespace {

volatile std::sig_atomic_t flag = 0;
int ends[2] = {-1, -1};

extern "C" void on_signal(int) {
    const int saved = errno;
    flag = 1;
    [[maybe_unused]] const auto written = write(ends[1], "", 1);
    errno = saved;
}

} // namespace

void install() {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        throw failure(exit_status::unavailable, "could not make a pipe for signals");
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    if (struct sigaction present{}; sigaction(SIGHUP, nullptr, &present) == 0 && present.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, nullptr); // a terminal that hung up; nohup's wish is kept
    std::signal(SIGPIPE, SIG_IGN);           // a handler or mail server that went away is an error to report
    std::signal(SIGXFSZ, SIG_IGN);           // a file at its size limit is an error to report, as a full disk is
}

bool requested() {
    return flag != 0;
}

int descriptor() {
    return ends[0];
}

bool wait(std::chrono::milliseconds duration) {
    const auto until = std::chrono::steady_clock::now() + duration;
    while (!requested()) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (left.count() <= 0)
            return false;
        pollfd entry{ends[0], POLLIN, 0};
        poll(&entry, 1, static_cast<int>(left.count()));
    }
    return true;
}

} // namespace sor::stop
