#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <poll.h>
#include "mcp/framing.hpp"
#include "mcp/session.hpp"

namespace sor::mcp {

bool is_socket(int descriptor);
// Whether the other end of a pipe or socket was closed, or is within `patience`.
bool nobody_reads(int descriptor, std::chrono::milliseconds patience);
// write(2) that never blocks; -1 with EAGAIN when nothing can be written now.
ssize_t write_without_waiting(int descriptor, bool socket, std::string_view bytes);

// A session's way to its client as lines over two descriptors, which may be one socket. The seam between the protocol
// and what carries it: another transport makes sessions of its own.
class channel {
public:
    // Owns the descriptors when `owns` is set.
    channel(int in, int out, bool owns, services& shared, std::vector<identity> allowed, bool chooses);
    ~channel();
    channel(const channel&) = delete;
    channel& operator=(const channel&) = delete;

    // What to wait for: one or two entries for poll.
    void add_to(std::vector<pollfd>& entries) const;
    // What came of it. Returns how many entries are its own.
    int handle(const pollfd* entries);

    session& client() { return *session_; }
    // Hangs up on a client that cannot be served any more, or does not take its answers when the server ends.
    void lost();
    // The session is over and all was written, or cannot be.
    bool over() const;

private:
    void read_some();
    void write_some();

    const int in_, out_;
    const bool owns_;
    const bool out_is_socket_;
    bool reading_ = true;
    bool lost_ = false; // nothing more can be written
    line_reader lines_;
    std::string output_;
    std::size_t written_ = 0;
    std::shared_ptr<session> session_;
};

} // namespace sor::mcp
