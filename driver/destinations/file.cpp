#include "destinations/file.hpp"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include "mail.hpp"
#include "text.hpp"

namespace sor::destinations {

std::string file_line(const std::string& tenant_id, const db::message& message) {
    return "{\"message_id\":" + json_quote(message.id) + ",\"tenant_id\":" + json_quote(tenant_id) +
           ",\"destination\":" + json_quote(message.destination) + ",\"event_type\":" + json_quote(message.event_type) +
           ",\"aggregate_id\":" + json_quote(message.aggregate_id) + ",\"dedup_key\":" + json_quote(message.dedup_key) +
           ",\"created_at\":" + json_quote(mail::iso_date(message.created_at)) + ",\"payload\":" + message.payload +
           "}\n";
}

file_sender::file_sender(file_settings settings) : settings_(std::move(settings)) {}

file_sender::~file_sender() {
    if (descriptor_ >= 0)
        close(descriptor_);
}

std::string file_sender::open_file() {
    if (descriptor_ >= 0)
        return {};
    descriptor_ = open(settings_.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    return descriptor_ >= 0 ? std::string() : std::strerror(errno);
}

// Under the file's lock. Empty when the line is on disk.
std::string file_sender::append(const std::string& line, long long& offset) {
    off_t end = lseek(descriptor_, 0, SEEK_END);
    if (end < 0)
        return std::strerror(errno);
    // A writer that was killed may have left part of a line.
    char last = '\n';
    off_t whole = end;
    while (whole > 0) {
        if (pread(descriptor_, &last, 1, whole - 1) != 1)
            return std::strerror(errno);
        if (last == '\n')
            break;
        --whole;
    }
    if (whole < end && ftruncate(descriptor_, whole) != 0)
        return std::strerror(errno);
    offset = whole;
    std::size_t written = 0;
    int error = 0;
    while (written < line.size() && error == 0) {
        const auto n =
            pwrite(descriptor_, line.data() + written, line.size() - written, whole + static_cast<off_t>(written));
        if (n > 0)
            written += static_cast<std::size_t>(n);
        else if (n == 0 || errno != EINTR)
            error = n == 0 ? ENOSPC : errno;
    }
    if (error == 0 && fdatasync(descriptor_) != 0)
        error = errno;
    if (error == 0)
        return {};
    std::string reason = std::strerror(error);
    if (written > 0 && ftruncate(descriptor_, whole) != 0)
        reason += std::string("; and the partial line could not be removed: ") + std::strerror(errno);
    return reason;
}

delivery_result file_sender::send(const std::string& tenant_id, const db::message& message,
                                  const std::function<void()>& before_handover) {
    before_handover();
    auto problem = open_file();
    long long offset = 0;
    if (problem.empty()) {
        if (flock(descriptor_, LOCK_EX) != 0) {
            problem = std::strerror(errno);
        } else {
            problem = append(file_line(tenant_id, message), offset);
            flock(descriptor_, LOCK_UN);
        }
    }
    if (!problem.empty())
        return {delivery_result::fate::down, {}, "could not append to " + settings_.path + ": " + problem};
    return {delivery_result::fate::sent,
            "{\"path\":" + json_quote(settings_.path) + ",\"offset\":" + std::to_string(offset) + "}",
            {}};
}

} // namespace sor::destinations
