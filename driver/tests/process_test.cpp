#include "process.hpp"
#include <csignal>
#include <ctime>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include "stop.hpp"

namespace {

using namespace sor;

void nap() {
    timespec left{0, 200'000'000};
    while (nanosleep(&left, &left) != 0) {
    }
}

bool was_woken() {
    pollfd stop{stop::descriptor(), POLLIN, 0};
    return poll(&stop, 1, 0) != 0;
}

// The child still has our handlers when the parent passes the signal on.
TEST(process_death_test, a_stop_right_after_the_fork_ends_the_program) {
    EXPECT_EXIT(
        {
            alarm(20);
            stop::install();
            pthread_atfork(
                nullptr, [] { std::raise(SIGTERM); }, nap);
            const auto outcome = run_programs({{{"sleep", "60"}, {}}});
            std::exit(stop::requested() && !outcome.succeeded ? 0 : 1);
        },
        ::testing::ExitedWithCode(0), "");
}

// Our handler in the child would swallow it, and wake us as if the stop were ours.
TEST(process_death_test, a_hangup_of_the_program_alone_ends_it_and_is_no_stop) {
    EXPECT_EXIT(
        {
            alarm(20);
            std::signal(SIGHUP, SIG_DFL);
            stop::install();
            pthread_atfork(nullptr, nullptr, [] { std::raise(SIGHUP); });
            const auto outcome = run_programs({{{"sleep", "60"}, {}}});
            std::exit(!outcome.succeeded && !was_woken() ? 0 : 1);
        },
        ::testing::ExitedWithCode(0), "");
}

} // namespace
