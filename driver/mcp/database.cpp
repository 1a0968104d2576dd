#include "mcp/database.hpp"
#include <algorithm>
#include <csignal>
#include <sys/eventfd.h>
#include <unistd.h>

namespace sor::mcp {
namespace {

using std::chrono::steady_clock;

// What a stopped statement gets to end. A server that does not stop it is taken for lost.
constexpr std::chrono::seconds patience{5};
constexpr std::chrono::milliseconds between_stops{200};

// Signals are for the thread of the loop.
template <class F>
std::thread start_thread(F&& body) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread(std::forward<F>(body));
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
}

bool is_ready(const std::future<void>& future) {
    return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

} // namespace

database::database(connector connect, int connections, std::chrono::milliseconds longest)
    : connect_(std::move(connect)), longest_(longest), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_ < 0)
        throw failure(exit_status::unavailable, "could not make a descriptor for events");
    for (int i = 0; i < connections; ++i)
        lanes_.push_back(std::make_unique<lane>());
    for (auto& worker : lanes_)
        worker->thread = start_thread([this, &self = *worker] { serve(self); });
    watcher_ = start_thread([this] { watch(); });
}

database::~database() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
        queue_.clear();
    }
    work_.notify_all();
    watched_.notify_all();
    for (auto& worker : lanes_)
        worker->thread.join();
    watcher_.join();
    close(wake_);
}

std::shared_ptr<database::job> database::submit(std::function<void(db::connection&)> work,
                                                std::function<void(std::exception_ptr)> done, bool urgent) {
    auto queued = std::make_shared<job>();
    queued->work = std::move(work);
    queued->done = std::move(done);
    {
        const std::lock_guard lock(mutex_);
        queue_.insert(urgent ? queue_.begin() : queue_.end(), queued);
    }
    work_.notify_one();
    return queued;
}

void database::stop(const std::shared_ptr<job>& task) {
    {
        const std::lock_guard lock(mutex_);
        if (task->is == job::state::over)
            return;
        task->stopped = true;
        if (take_out(task))
            return;
    }
    watched_.notify_one();
}

bool database::withdraw(const std::shared_ptr<job>& task) {
    const std::lock_guard lock(mutex_);
    return take_out(task);
}

// Called with the lock. False: it is not in the queue.
bool database::take_out(const std::shared_ptr<job>& task) {
    if (task->is != job::state::queued)
        return false;
    std::erase(queue_, task);
    finish(task, std::make_exception_ptr(failure(exit_status::try_again, "stopped before it began")));
    return true;
}

void database::leave() {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
}

// Called with the lock.
void database::finish(std::shared_ptr<job> task, std::exception_ptr error) {
    task->is = job::state::over;
    finished_.emplace_back(std::move(task), std::move(error));
    eventfd_write(wake_, 1);
}

void database::run_finished() {
    eventfd_t count;
    eventfd_read(wake_, &count);
    std::vector<std::pair<std::shared_ptr<job>, std::exception_ptr>> finished;
    {
        const std::lock_guard lock(mutex_);
        finished.swap(finished_);
    }
    for (auto& [task, error] : finished) {
        const auto done = std::move(task->done); // it may hold what holds the task
        task->work = nullptr;
        done(error);
    }
}

void database::serve(lane& self) {
    std::unique_lock lock(mutex_);
    for (;;) {
        work_.wait(lock, [&] { return closing_ || !queue_.empty(); });
        if (queue_.empty())
            return;
        auto task = std::move(queue_.front());
        queue_.pop_front();
        task->is = job::state::running;
        self.current = task;
        self.deadline = steady_clock::now() + longest_;
        self.stop_sent = false;
        lock.unlock();
        watched_.notify_one();
        auto error = perform(self, *task);
        lock.lock();
        self.current = nullptr;
        finish(std::move(task), std::move(error));
        if (!self.stop.valid())
            continue;
        // A stop that is under way would hit the next statement.
        const auto stop = std::move(self.stop);
        lock.unlock();
        const bool arrived = stop.wait_for(patience) == std::future_status::ready;
        lock.lock();
        if (!arrived)
            self.connection.reset();
    }
}

std::exception_ptr database::perform(lane& self, job& task) {
    for (bool again = false;; again = true) {
        bool connected = false;
        try {
            if (!self.connection) {
                auto fresh = reach();
                const std::lock_guard lock(mutex_);
                self.stopper = fresh->stopper();
                self.connection = std::move(fresh);
                connected = true;
                if (task.stopped)
                    throw failure(exit_status::try_again, "stopped before it began");
            }
            task.work(*self.connection);
            return nullptr;
        } catch (...) {
            auto error = std::current_exception();
            const bool lost = self.connection && !self.connection->alive();
            const std::lock_guard lock(mutex_);
            if (lost) {
                self.connection.reset();
                self.stop = {}; // to a session of the server that is over
            }
            if (!lost || again || connected || task.stopped)
                return error;
        }
    }
}

std::unique_ptr<db::connection> database::reach() {
    {
        const std::lock_guard lock(mutex_);
        if (out_of_reach_)
            std::rethrow_exception(out_of_reach_);
    }
    try {
        return connect_();
    } catch (...) {
        const std::lock_guard lock(mutex_);
        if (leaving_)
            out_of_reach_ = std::current_exception();
        throw;
    }
}

// PQcancel waits for the server without a bound. So it has a thread that nobody waits for.
std::future<void> database::send_stop(std::shared_ptr<PGcancel> to) {
    std::promise<void> arrived;
    auto result = arrived.get_future();
    try {
        start_thread([to = std::move(to), arrived = std::move(arrived)]() mutable {
            char problem[256];
            PQcancel(to.get(), problem, sizeof problem); // where it fails, patience ends
            arrived.set_value();
        }).detach();
    } catch (const std::system_error&) { // no thread now: the next try is soon
    }
    return result;
}

// Stops what was asked to stop, and what runs for too long.
void database::watch() {
    std::unique_lock lock(mutex_);
    while (!closing_) {
        auto next = steady_clock::time_point::max();
        for (auto& worker : lanes_) {
            if (!worker->current)
                continue;
            const auto now = steady_clock::now();
            if (!worker->current->stopped && now >= worker->deadline)
                worker->current->stopped = worker->current->too_long = true;
            if (worker->current->stopped) {
                if (!worker->connection)
                    continue; // serve() tells when there is one
                if (!worker->stop_sent) {
                    worker->stop_sent = true;
                    worker->given_up = now + patience;
                    worker->deadline = now;
                }
                if (now >= worker->given_up)
                    worker->connection->abandon();
                else if (now >= worker->deadline && (!worker->stop.valid() || is_ready(worker->stop)))
                    // Sent again until it hits: the first may arrive between two statements.
                    worker->stop = send_stop(worker->stopper);
                if (now >= worker->deadline)
                    worker->deadline = now + between_stops;
            }
            next = std::min(next, worker->deadline);
        }
        if (next == steady_clock::time_point::max()) {
            watched_.wait(lock);
        } else {
            watched_.wait_until(lock, next);
        }
    }
}

} // namespace sor::mcp
