#pragma once
#include <exception>
#include <string>
#include <utility>

namespace sor {

// Exit codes of the command, those of sysexits.h where it has one.
enum class exit_status {
    done = 0,         // also: nothing to do
    check_failed = 1, // a check of `doctor` failed
    usage = 64,
    bad_data = 65,
    unavailable = 69, // database or destination
    handler_fault = 70,
    try_again = 75,
    refused = 77,
};

// What ends a command or a part of it. The message says what in lowercase, the detail which, the hint what to do.
class failure : public std::exception {
public:
    failure(exit_status code, std::string message, std::string detail = {}, std::string hint = {})
        : code_(code), message_(std::move(message)), detail_(std::move(detail)), hint_(std::move(hint)) {}

    const char* what() const noexcept override { return message_.c_str(); }
    exit_status code() const { return code_; }
    const std::string& message() const { return message_; }
    const std::string& detail() const { return detail_; }
    const std::string& hint() const { return hint_; }

private:
    exit_status code_;
    std::string message_, detail_, hint_;
};

// The exit code of a command whose parts may end differently: the gravest is kept.
class exit_outcome {
public:
    void add(exit_status code) {
        if (gravity(code) > gravity(code_))
            code_ = code;
    }
    exit_status code() const { return code_; }

private:
    static int gravity(exit_status code) {
        switch (code) {
        case exit_status::done:
            return 0;
        case exit_status::check_failed:
            return 1;
        case exit_status::bad_data:
            return 2;
        case exit_status::try_again:
            return 3;
        case exit_status::handler_fault:
            return 4;
        case exit_status::refused:
            return 5;
        case exit_status::usage:
            return 6;
        case exit_status::unavailable:
            return 7;
        }
        return 7;
    }
    exit_status code_ = exit_status::done;
};

} // namespace sor
