#pragma once
#include <chrono>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>
#include <sys/types.h>
#include "log.hpp"
#include "protocol.hpp"

namespace sor {

// What became of one item in the handler.
struct handled {
    enum class fate {
        unworked, // not given to it, or given back: time or the handler ran out
        answered, // calls to make
        declined, // the handler declared `error`
        fault,    // the handler is at fault: `error` says how
    };
    fate state = fate::unworked;
    std::vector<protocol::call> calls;
    std::string error;
};

// The process that works items: started once, with an environment that holds no way to the database, and again when it
// broke. Items are written ahead of the answers.
class handler {
public:
    struct start_options {
        std::string command;                         // run by /bin/sh -c
        std::chrono::milliseconds time_limit{30000}; // for one item
        std::vector<std::string> pass;               // further variables of the environment that it gets
    };

    handler(start_options options, logger& log);
    // Ends the process group.
    ~handler();
    handler(const handler&) = delete;
    handler& operator=(const handler&) = delete;

    // Works the items; one result each, in their order. Past `deadline` those without an answer come back unworked, and
    // after a stop those not yet handed out. `tick` is called at least once a second.
    std::vector<handled> work(std::span<const protocol::item> items, std::chrono::steady_clock::time_point deadline,
                              const std::function<void()>& tick);

    // Closes its input and waits for its end, at most the time limit.
    void finish();

    // It broke a rule at least once; each time was logged.
    bool at_fault() const { return at_fault_; }
    // It ended three times running without one good answer: no more items for it.
    bool given_up() const { return fruitless_starts_ >= max_fruitless_starts; }

private:
    static constexpr int max_fruitless_starts = 3;
    struct batch_state;

    void start();
    void kill();
    std::string end_of_process(std::chrono::milliseconds patience);
    void report(const std::string& message, const std::string& detail, const std::string& hint);
    // Ends the process for breaking a rule; the item that it was working on fails with the reason.
    void broke(batch_state& batch, const std::string& message, const std::string& detail, const std::string& hint);
    void ended(batch_state& batch);
    void take_line(batch_state& batch, const std::string& line);
    void write_some();
    // False at the end of its output.
    bool read_some();
    bool next_line(std::string& line);

    start_options options_;
    logger& log_;
    pid_t pid_ = -1;
    int in_ = -1, out_ = -1; // our ends of its standard input and output
    std::string to_write_, read_;
    std::size_t written_ = 0, scanned_ = 0;
    bool at_fault_ = false, fruitful_ = false;
    int fruitless_starts_ = 0;
};

} // namespace sor
