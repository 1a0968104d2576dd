#include "process.hpp"
#include <csignal>
#include <ctime>
#include <gtest/gtest.h>
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

} // namespace
