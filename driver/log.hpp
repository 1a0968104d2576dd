#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include "failure.hpp"

namespace sor {

// Everything a command says beside its result, on standard error: text (message, DETAIL, HINT) or JSON lines. Threads
// may share one: a message is a single write.
class logger {
public:
    logger(std::string command, bool verbose, bool json);

    void error(const failure& failure);
    void error(std::string_view message, std::string_view detail = {}, std::string_view hint = {});
    void warning(std::string_view message, std::string_view detail = {}, std::string_view hint = {});
    // Said only with --verbose.
    void info(std::string_view message);
    // A finding about one line of an input file: `FILE:LINE: reason`.
    void line(std::string_view file, std::uint64_t number, std::string_view reason);

    // Overwrites the progress line; nothing unless standard error is a terminal. An empty text removes it.
    void progress(std::string_view text);
    bool terminal() const { return terminal_; }
    bool verbose() const { return verbose_; }

private:
    void write(std::string_view level, std::string_view message, std::string_view detail, std::string_view hint,
               std::string_view sqlstate = {}, std::string_view context = {});

    std::string command_;
    bool verbose_, json_, terminal_;
    bool progress_shown_ = false;
};

} // namespace sor
