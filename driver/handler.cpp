#include "handler.hpp"
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unordered_map>
#include "fault.hpp"
#include "process.hpp"
#include "stop.hpp"

namespace sor {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t window = 64;             // items written ahead of their answers
constexpr std::size_t longest_line = 16 << 20; // bytes

// All that the handler gets of our environment. What reaches the database (PG*, DATABASE_URL, SOR_*) is not among it.
constexpr std::array kept_variables = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"};

std::vector<std::string> environment_of_handler(const std::vector<std::string>& pass) {
    std::vector<std::string> environment;
    const auto keep = [&](const std::string& name) {
        if (const char* value = std::getenv(name.c_str()))
            environment.push_back(name + "=" + value);
    };
    for (const auto* name : kept_variables)
        keep(name);
    for (char** entry = environ; *entry; ++entry)
        if (std::strncmp(*entry, "LC_", 3) == 0)
            environment.emplace_back(*entry);
    for (const auto& name : pass)
        keep(name);
    return environment;
}

std::string describe_status(int status) {
    if (WIFSIGNALED(status))
        return std::string("it was ended by signal ") + std::to_string(WTERMSIG(status)) + " (" +
               strsignal(WTERMSIG(status)) + ")";
    return "it ended with exit status " + std::to_string(WEXITSTATUS(status));
}

void close_end(int& descriptor) {
    if (descriptor >= 0)
        close(descriptor);
    descriptor = -1;
}

} // namespace

struct handler::batch_state {
    std::span<const protocol::item> items;
    std::vector<handled>& results;
    std::unordered_map<std::string, std::size_t> by_id;
    std::deque<std::size_t> waiting;     // not yet handed out
    std::deque<std::size_t> outstanding; // handed out, in this order
    steady_clock::time_point item_since; // since when the first outstanding one is in work
};

handler::handler(start_options options, logger& log) : options_(std::move(options)), log_(log) {}

handler::~handler() {
    kill();
}

void handler::start() {
    int to_child[2], from_child[2];
    if (pipe2(to_child, O_CLOEXEC) != 0)
        throw failure(exit_status::unavailable, "could not make a pipe for the handler", std::strerror(errno));
    if (pipe2(from_child, O_CLOEXEC) != 0) {
        const int error = errno;
        close(to_child[0]);
        close(to_child[1]);
        throw failure(exit_status::unavailable, "could not make a pipe for the handler", std::strerror(error));
    }
    in_ = to_child[1];
    out_ = from_child[0];
    const auto close_childs_ends = [&] {
        close(to_child[0]);
        close(from_child[1]);
    };
    try {
        // A time limit ends what the shell started too.
        pid_ = spawn({"/bin/sh", "-c", options_.command}, environment_of_handler(options_.pass), to_child[0],
                     from_child[1], STDERR_FILENO);
    } catch (...) {
        close_childs_ends();
        close_end(in_);
        close_end(out_);
        throw;
    }
    close_childs_ends();
    fcntl(in_, F_SETFL, O_NONBLOCK);
    fcntl(out_, F_SETFL, O_NONBLOCK);
    to_write_.clear();
    read_.clear();
    written_ = scanned_ = 0;
    fruitful_ = false;
}

void handler::kill() {
    close_end(in_);
    close_end(out_);
    if (pid_ <= 0)
        return;
    ::kill(-pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
}

// Its output has ended. Waits for its exit status, then makes sure that nothing of it is left.
std::string handler::end_of_process(milliseconds patience) {
    std::string how = "it closed its output";
    for (const auto until = steady_clock::now() + patience; steady_clock::now() < until;) {
        int status = 0;
        if (waitpid(pid_, &status, WNOHANG) == pid_) {
            how = describe_status(status);
            ::kill(-pid_, SIGKILL);
            pid_ = -1;
            break;
        }
        poll(nullptr, 0, 1);
    }
    kill();
    return how;
}

void handler::report(const std::string& message, const std::string& detail, const std::string& hint) {
    at_fault_ = true;
    log_.error(message, detail, hint);
}

void handler::broke(batch_state& batch, const std::string& message, const std::string& detail,
                    const std::string& hint) {
    kill();
    fruitless_starts_ = fruitful_ ? 0 : fruitless_starts_ + 1;
    std::string whole = detail;
    if (!batch.outstanding.empty()) {
        const auto index = batch.outstanding.front();
        batch.outstanding.pop_front();
        batch.results[index] = {handled::fate::fault, {}, message + (detail.empty() ? "" : ": " + detail)};
        whole = "Item \"" + batch.items[index].id + "\" goes back to the queue. " + whole;
    }
    // The others go to the next process.
    batch.waiting.insert(batch.waiting.begin(), batch.outstanding.begin(), batch.outstanding.end());
    batch.outstanding.clear();
    report(message, whole, hint);
    if (given_up())
        log_.error("the handler is given up",
                   "It ended " + std::to_string(max_fruitless_starts) + " times without an answer.",
                   "Run its command by hand: it reads items as JSON lines on standard input.");
}

void handler::ended(batch_state& batch) {
    const auto how = end_of_process(milliseconds(500));
    // The shell's own words for a command that it did not find or could not run: no item is to blame.
    const bool not_started = !fruitful_ && (how.ends_with(" 126") || how.ends_with(" 127"));
    if (!not_started)
        return broke(
            batch, "the handler ended before it answered", how,
            "A handler reads items until the end of its standard input; it is started again for the next item.");
    fruitless_starts_ = max_fruitless_starts;
    kill();
    report("the handler could not be started", "\"" + options_.command + "\": " + how + ".",
           "The shell's message is above. --handler takes a command for /bin/sh -c; give a path, or set PATH.");
}

void handler::take_line(batch_state& batch, const std::string& line) {
    protocol::answer answer;
    try {
        answer = protocol::parse_answer(line);
    } catch (const protocol::bad_answer& bad) {
        const auto found = batch.by_id.find(bad.item_id);
        const auto position = found == batch.by_id.end()
                                  ? batch.outstanding.end()
                                  : std::find(batch.outstanding.begin(), batch.outstanding.end(), found->second);
        if (position == batch.outstanding.end())
            return broke(batch, bad.message, bad.detail, "See `sor work --help` for what a handler answers.");
        // The line names its item: that one alone is spoilt.
        batch.results[found->second] = {handled::fate::fault, {}, bad.message};
        batch.outstanding.erase(position);
        batch.item_since = steady_clock::now();
        return report(bad.message, "Item \"" + bad.item_id + "\" goes back to the queue. " + bad.detail,
                      "See `sor work --help` for what a handler answers.");
    }
    const auto found = batch.by_id.find(answer.item_id);
    if (found == batch.by_id.end())
        return broke(batch, "the handler answered for an unknown item", "It named \"" + answer.item_id + "\".",
                     "The item_id of an answer is the id of an item that the handler was given and has not answered.");
    const auto position = std::find(batch.outstanding.begin(), batch.outstanding.end(), found->second);
    auto& result = batch.results[found->second];
    if (position == batch.outstanding.end()) {
        if (result.state == handled::fate::unworked)
            return broke(batch, "the handler answered for an item that it was not given",
                         "It named \"" + answer.item_id + "\".", {});
        result = {handled::fate::fault, {}, "the handler answered twice"};
        return report("the handler answered twice", "Item \"" + answer.item_id + "\" goes back to the queue.",
                      "A handler answers each item with one line.");
    }
    batch.outstanding.erase(position);
    batch.item_since = steady_clock::now();
    fruitful_ = true;
    fruitless_starts_ = 0;
    if (answer.declared_error)
        result = {handled::fate::declined, {}, answer.error};
    else
        result = {handled::fate::answered, std::move(answer.calls), {}};
}

void handler::write_some() {
    while (written_ < to_write_.size()) {
        const auto n = write(in_, to_write_.data() + written_, to_write_.size() - written_);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EPIPE) // it reads no more; its output will tell why
                close_end(in_);
            return;
        }
        written_ += static_cast<std::size_t>(n);
    }
    to_write_.clear();
    written_ = 0;
}

bool handler::read_some() {
    char block[65536];
    while (true) {
        const auto n = read(out_, block, sizeof block);
        if (n > 0) {
            read_.append(block, static_cast<std::size_t>(n));
            if (static_cast<std::size_t>(n) < sizeof block)
                return true;
        } else if (n == 0) {
            return false;
        } else if (errno != EINTR) {
            return true;
        }
    }
}

bool handler::next_line(std::string& line) {
    const auto end = read_.find('\n', scanned_);
    if (end == std::string::npos) {
        read_.erase(0, scanned_);
        scanned_ = 0;
        return false;
    }
    line.assign(read_, scanned_, end - scanned_);
    scanned_ = end + 1;
    return true;
}

std::vector<handled> handler::work(std::span<const protocol::item> items, steady_clock::time_point deadline,
                                   const std::function<void()>& tick) {
    std::vector<handled> results(items.size());
    batch_state batch{items, results, {}, {}, {}, steady_clock::now()};
    for (std::size_t i = 0; i < items.size(); ++i) {
        batch.by_id.emplace(items[i].id, i);
        batch.waiting.push_back(i);
    }
    std::string line;
    if (pid_ > 0 && (read_some(), next_line(line)))
        broke(batch, "the handler wrote a line that no item asked for", line.substr(0, 200),
              "A handler answers each item with one line and writes nothing else to standard output.");

    while (!given_up() && !(batch.waiting.empty() && batch.outstanding.empty())) {
        if (stop::requested() && batch.outstanding.empty())
            break;
        if (pid_ <= 0)
            start();
        while (!stop::requested() && !batch.waiting.empty() && batch.outstanding.size() < window) {
            const auto index = batch.waiting.front();
            batch.waiting.pop_front();
            if (batch.outstanding.empty())
                batch.item_since = steady_clock::now();
            batch.outstanding.push_back(index);
            to_write_ += protocol::item_line(items[index]);
        }
        write_some();
        fault::point("in-handler");

        const auto now = steady_clock::now();
        const auto item_limit = batch.item_since + options_.time_limit;
        if (now >= deadline) {
            // Its answers to what it has in hand would come too late: it starts anew with the next batch.
            kill();
            break;
        }
        if (now >= item_limit) {
            broke(batch, "the handler did not answer in time",
                  "There was no answer for " + std::to_string(options_.time_limit.count()) + " ms.",
                  "--handler-timeout sets the time limit for one item.");
            continue;
        }
        const auto wake = std::min({deadline, item_limit, now + milliseconds(1000)});
        const auto left = std::chrono::ceil<milliseconds>(wake - now).count();
        std::array<pollfd, 3> entries{{{out_, POLLIN, 0},
                                       {to_write_.empty() ? -1 : in_, POLLOUT, 0},
                                       {stop::requested() ? -1 : stop::descriptor(), POLLIN, 0}}};
        poll(entries.data(), entries.size(), static_cast<int>(left));
        tick();
        if (entries[0].revents == 0)
            continue;
        const bool open = read_some();
        while (pid_ > 0 && next_line(line))
            if (!line.empty())
                take_line(batch, line);
        if (pid_ <= 0)
            continue;
        if (read_.size() > longest_line)
            broke(batch, "the handler wrote a line longer than " + std::to_string(longest_line) + " bytes", {}, {});
        else if (!open && !(batch.waiting.empty() && batch.outstanding.empty()))
            ended(batch);
    }
    // An answer too many tends to follow at once. Where the batch is small, a short look keeps its last item too from
    // being done on the word of a handler that answers twice.
    constexpr std::size_t small_batch = 10;
    pollfd entry{out_, POLLIN, 0};
    if (pid_ > 0 && batch.outstanding.empty() && items.size() < small_batch && poll(&entry, 1, 20) > 0) {
        read_some();
        while (pid_ > 0 && next_line(line))
            if (!line.empty())
                take_line(batch, line);
    }
    return results;
}

void handler::finish() {
    if (pid_ <= 0)
        return;
    close_end(in_);
    const auto until = steady_clock::now() + options_.time_limit;
    bool open = true;
    while (open && steady_clock::now() < until) {
        pollfd entry{out_, POLLIN, 0};
        poll(&entry, 1, static_cast<int>(std::chrono::ceil<milliseconds>(until - steady_clock::now()).count()));
        open = read_some();
    }
    if (open) {
        report("the handler did not end when its input did",
               "It was ended after " + std::to_string(options_.time_limit.count()) + " ms.", {});
        return kill();
    }
    std::string line;
    const bool unasked = next_line(line) || !read_.empty();
    const auto how = end_of_process(options_.time_limit);
    if (unasked)
        report("the handler wrote a line that no item asked for", (line.empty() ? read_ : line).substr(0, 200),
               "A handler answers each item with one line and writes nothing else to standard output.");
    else if (how != "it ended with exit status 0")
        report("the handler failed at its end", how, {});
}

} // namespace sor
