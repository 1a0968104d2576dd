#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#include "db/connection.hpp"

namespace sor::mcp {

// The database as the server has it: a few connections, each with a thread, on which the tasks of many Workers take
// turns. A task runs on one connection in that thread; what follows from it runs in the thread that calls run_finished.
class database {
public:
    using connector = std::function<std::unique_ptr<db::connection>()>;

    class job {
        friend class database;
        std::function<void(db::connection&)> work;
        std::function<void(std::exception_ptr)> done;
        enum class state { queued, running, over } is = state::queued;
        bool stopped = false;  // somebody wants it to end
        bool too_long = false; // because its time was over
    };

    // No connection is opened before the first task. `longest` bounds a task: then its statement is stopped.
    database(connector connect, int connections, std::chrono::milliseconds longest);
    // Waits for what runs; what is queued is dropped.
    ~database();
    database(const database&) = delete;
    database& operator=(const database&) = delete;

    // Queues `work`. `done` gets null, or what work threw, or what connecting threw. When the connection turns out to
    // be lost, work is run once more on a new one: it must go on where it was.
    // Where `urgent` is set it goes before what waits.
    std::shared_ptr<job> submit(std::function<void(db::connection&)> work, std::function<void(std::exception_ptr)> done,
                                bool urgent = false);

    // Takes a task out of the queue, or stops its statement, which then fails with 57014. `done` is called in any case.
    void stop(const std::shared_ptr<job>& task);

    // Takes a task out of the queue, if it is still there; false: it has begun, and goes on.
    bool withdraw(const std::shared_ptr<job>& task);

    // Whether the task was stopped for being too long. For `done`.
    static bool too_long(const job& task) { return task.too_long; }

    // The server is about to end: a database that turns out to be out of reach is not waited for again.
    void leave();

    // Readable while tasks wait for run_finished.
    int descriptor() const { return wake_; }
    void run_finished();

private:
    struct lane {
        std::thread thread;
        std::unique_ptr<db::connection> connection;
        std::shared_ptr<PGcancel> stopper; // of the connection
        std::shared_ptr<job> current;
        std::chrono::steady_clock::time_point deadline; // of the current task; after a stop: for the next one
        std::chrono::steady_clock::time_point given_up; // after a stop: when the server is taken for lost
        bool stop_sent = false;
        std::future<void> stop; // on its way until ready: nothing else may run on the connection
    };

    void serve(lane& self);
    std::exception_ptr perform(lane& self, job& task);
    std::unique_ptr<db::connection> reach();
    static std::future<void> send_stop(std::shared_ptr<PGcancel> to);
    void watch();
    bool take_out(const std::shared_ptr<job>& task);
    void finish(std::shared_ptr<job> task, std::exception_ptr error);

    const connector connect_;
    const std::chrono::milliseconds longest_;
    std::mutex mutex_;
    std::condition_variable work_, watched_;
    std::deque<std::shared_ptr<job>> queue_;
    std::vector<std::pair<std::shared_ptr<job>, std::exception_ptr>> finished_;
    std::vector<std::unique_ptr<lane>> lanes_;
    std::thread watcher_;
    int wake_ = -1;
    bool closing_ = false, leaving_ = false;
    std::exception_ptr out_of_reach_; // what connecting threw, once leaving
};

} // namespace sor::mcp
