#include "mcp/channel.hpp"
#include <algorithm>
#include <cerrno>
#include <climits>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sor::mcp {
namespace {

// Past these a client is not read from until it took its answers, so that none can fill the memory of all.
constexpr std::size_t most_output = 4 << 20;
constexpr std::size_t most_waiting = 1000;

} // namespace

bool is_socket(int descriptor) {
    struct stat status {};
    return fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

bool nobody_reads(int descriptor, std::chrono::milliseconds patience) {
    pollfd entry{descriptor, 0, 0};
    return poll(&entry, 1, static_cast<int>(patience.count())) > 0 && (entry.revents & (POLLERR | POLLHUP)) != 0;
}

ssize_t write_without_waiting(int descriptor, bool socket, std::string_view bytes) {
    if (socket)
        return send(descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    // A pipe that others share may not be set to O_NONBLOCK; what poll promises it takes is PIPE_BUF bytes.
    pollfd entry{descriptor, POLLOUT, 0};
    if (poll(&entry, 1, 0) > 0 && (entry.revents & POLLOUT) == 0 && (entry.revents & (POLLERR | POLLHUP)) != 0) {
        errno = EPIPE;
        return -1;
    }
    if ((entry.revents & POLLOUT) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(descriptor, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
}

channel::channel(int in, int out, bool owns, services& shared, std::vector<identity> allowed, bool chooses)
    : in_(in), out_(out), owns_(owns), out_is_socket_(is_socket(out)), lines_(shared.settings.max_line),
      session_(std::make_shared<session>(shared, std::move(allowed), chooses, [this](std::string message) {
          if (lost_)
              return;
          output_ += message;
          output_ += '\n';
          write_some();
      })) {}

channel::~channel() {
    if (!owns_)
        return;
    close(in_);
    if (out_ != in_)
        close(out_);
}

void channel::add_to(std::vector<pollfd>& entries) const {
    const bool full = output_.size() - written_ > most_output || session_->requests_in_flight() >= most_waiting ||
                      session_->bytes_waiting() > most_output;
    const short in = reading_ && !full ? POLLIN : 0;
    const short out = written_ < output_.size() ? POLLOUT : 0;
    // -1 is passed over: an end that was closed is readable for ever
    if (in_ == out_) {
        entries.push_back({lost_ ? -1 : in_, static_cast<short>(in | out), 0});
        return;
    }
    entries.push_back({in == 0 ? -1 : in_, in, 0});
    entries.push_back({lost_ ? -1 : out_, out, 0});
}

int channel::handle(const pollfd* entries) {
    const pollfd& in = entries[0];
    const pollfd& out = entries[in_ == out_ ? 0 : 1];
    constexpr short gone = POLLERR | POLLHUP;
    if (reading_ && (in.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && in.events & POLLIN)
        read_some();
    if (out.revents & POLLOUT)
        write_some();
    // A peer that closed its socket for good, or the reader of standard output. What it sent before is read first, if
    // anything is read from it.
    if (!lost_ && (out.revents & gone) != 0 && (in_ != out_ || (in.events & POLLIN) == 0))
        lost();
    return in_ == out_ ? 1 : 2;
}

void channel::read_some() {
    char buffer[65536];
    const auto count = read(in_, buffer, sizeof buffer);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    const auto take = [this](std::string_view line) { session_->receive(line); };
    const auto refuse = [this] { session_->overlong(); };
    if (count > 0)
        return lines_.feed({buffer, static_cast<std::size_t>(count)}, take, refuse);
    reading_ = false;
    lines_.finish(take, refuse);
    // A client that is done closes its end and waits; one that was killed is gone altogether, and its run goes on under
    // whoever comes next. A killed process closes its descriptors one by one.
    if (count < 0 || nobody_reads(out_, in_ == out_ ? std::chrono::milliseconds(0) : std::chrono::milliseconds(100)))
        lost();
    else
        session_->end(session::ending::finished);
}

void channel::write_some() {
    while (written_ < output_.size()) {
        const auto count = write_without_waiting(out_, out_is_socket_, std::string_view(output_).substr(written_));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (written_ > most_output / 4) { // a slow client may never have taken it all
                output_.erase(0, written_);
                written_ = 0;
            }
            return session_->hold(output_.size() - written_ > most_output);
        }
        if (count < 0)
            return lost();
        written_ += static_cast<std::size_t>(count);
    }
    output_.clear();
    written_ = 0;
    session_->hold(false);
    if (output_.capacity() > 65536)
        output_.shrink_to_fit();
}

void channel::lost() {
    lost_ = true;
    reading_ = false;
    output_.clear();
    written_ = 0;
    session_->end(session::ending::left);
}

bool channel::over() const {
    return session_->over() && (lost_ || written_ == output_.size());
}

} // namespace sor::mcp
