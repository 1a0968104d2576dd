#include "mcp/server.hpp"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "mcp/channel.hpp"
#include "mcp/message.hpp"
#include "stop.hpp"

namespace sor::mcp {
namespace {

using std::chrono::steady_clock;

// What a client gets to take its answers when the server ends.
constexpr std::chrono::seconds last_patience{2};

[[noreturn]] void fail(const std::string& what) {
    throw failure(exit_status::unavailable, what, std::strerror(errno));
}

// A Unix socket's address. Throws failure (usage) when the path is too long for one.
sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        throw failure(exit_status::usage, "the path of the socket is too long", path,
                      "A Unix socket's path has at most " + std::to_string(sizeof address.sun_path - 1) + " bytes.");
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

int connect_to(const std::string& path) {
    const auto address = address_of(path);
    const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        fail("could not make a socket");
    if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
        return descriptor;
    const int error = errno;
    close(descriptor);
    errno = error;
    return -1;
}

// The socket that accounts connect to. Who connects is known by SO_PEERCRED, so its file is open to all.
class listener {
public:
    explicit listener(const std::string& path) : path_(path) {
        const auto address = address_of(path);
        if (const int other = connect_to(path); other >= 0) {
            close(other);
            throw failure(exit_status::try_again, "another server has the socket", path,
                          "Stop it, or choose another path.");
        }
        const bool dead = errno == ECONNREFUSED; // its server was killed
        struct stat status {};
        if (lstat(path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode))
            throw failure(exit_status::usage, "the path of the socket is taken by something else", path);
        if (dead)
            unlink(path.c_str());
        descriptor_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (descriptor_ < 0 || bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            chmod(path.c_str(), 0666) != 0 || listen(descriptor_, SOMAXCONN) != 0 || lstat(path.c_str(), &file_) != 0)
            fail("could not listen on \"" + path + "\"");
    }
    ~listener() {
        close(descriptor_);
        struct stat status {};
        if (lstat(path_.c_str(), &status) == 0 && status.st_dev == file_.st_dev && status.st_ino == file_.st_ino)
            unlink(path_.c_str()); // not that of another server, if somebody removed this one's
    }
    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;

    int descriptor() const { return descriptor_; }

private:
    const std::string path_;
    struct stat file_ {};
    int descriptor_ = -1;
};

// Waits for whatever comes next and hands it on: one thread for all clients.
class loop {
public:
    explicit loop(services& shared) : shared_(shared) {}

    void add(std::unique_ptr<channel> way, uid_t account) { clients_.push_back({std::move(way), account}); }
    bool empty() const { return clients_.empty(); }
    std::size_t size() const { return clients_.size(); }
    auto sessions_of(uid_t account) const {
        return std::count_if(clients_.begin(), clients_.end(),
                             [account](const auto& one) { return one.account == account; });
    }
    // Whether every run so far was ended as its client wanted.
    bool ended_well() const { return ended_well_; }
    bool stopping() const { return stopping_; }

    // One round. `accepting` is a descriptor to wait for as well, or -1; true when it is readable.
    bool once(int accepting) {
        entries_.clear();
        entries_.push_back({stopping_ ? -1 : stop::descriptor(), POLLIN, 0});
        entries_.push_back({shared_.data.descriptor(), POLLIN, 0});
        entries_.push_back({accepting, POLLIN, 0});
        auto due = steady_clock::time_point::max();
        for (const auto& [channel, account] : clients_) {
            channel->add_to(entries_);
            due = std::min(due, stopping_ && channel->client().over() ? give_up_ : channel->client().due());
        }
        poll(entries_.data(), entries_.size(), wait_until(due));
        if (!stopping_ && stop::requested()) {
            stopping_ = true;
            give_up_ = steady_clock::now() + last_patience;
            shared_.data.leave();
            for (const auto& [channel, account] : clients_)
                channel->client().end(session::ending::left);
        }
        auto entry = entries_.begin() + 3;
        for (const auto& [channel, account] : clients_)
            entry += channel->handle(&*entry);
        shared_.data.run_finished();
        for (auto one = clients_.begin(); one != clients_.end();) {
            auto& channel = *one->way;
            channel.client().tick();
            if (stopping_ && channel.client().over() && steady_clock::now() >= give_up_)
                channel.lost();
            if (!channel.over()) {
                ++one;
                continue;
            }
            ended_well_ = ended_well_ && channel.client().ended_well();
            one = clients_.erase(one);
        }
        return entries_[2].revents != 0;
    }

private:
    static int wait_until(steady_clock::time_point due) {
        if (due == steady_clock::time_point::max())
            return -1;
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - steady_clock::now());
        return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60000));
    }

    services& shared_;
    struct client {
        std::unique_ptr<channel> way;
        uid_t account;
    };
    std::list<client> clients_;
    std::vector<pollfd> entries_;
    bool stopping_ = false, ended_well_ = true;
    steady_clock::time_point give_up_; // once stopping
};

std::vector<identity> identities_of(uid_t uid, const mcp_settings& settings) {
    std::vector<identity> found;
    for (const auto& peer : settings.peers)
        if (peer.uid == uid)
            found.push_back({peer.tenant, peer.on_behalf_of, peer.worker, {}});
    return found;
}

// Says why, and closes.
void turn_away(int descriptor, services& shared, const std::string& answer, const std::string& message,
               const std::string& detail, const std::string& hint) {
    if (shared.may_log())
        shared.log.warning(message, detail, hint);
    const auto line = error_line({}, error_code::invalid_request, "Invalid request: " + answer) + "\n";
    send(descriptor, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    close(descriptor);
}

void accept_client(int listening, services& shared, loop& clients) {
    const int descriptor = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0)
        return;
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        close(descriptor);
        return;
    }
    const auto who = "uid " + std::to_string(peer.uid);
    auto allowed = identities_of(peer.uid, shared.settings);
    if (allowed.empty())
        return turn_away(descriptor, shared, who + " is not served here", "refused a connection of " + who,
                         "Process " + std::to_string(peer.pid) + ".",
                         "[[mcp.peers]] of the settings names the accounts that may connect.");
    if (clients.sessions_of(peer.uid) >= shared.settings.max_sessions)
        return turn_away(descriptor, shared, who + " has too many sessions", "refused one more session of " + who,
                         "It has " + std::to_string(shared.settings.max_sessions) + ".",
                         "max_sessions of [mcp] in the settings bounds those of one account.");
    clients.add(std::make_unique<channel>(descriptor, descriptor, true, shared, std::move(allowed), true), peer.uid);
}

} // namespace

exit_status serve_stdio(services& shared, const identity& who) {
    loop clients(shared);
    clients.add(std::make_unique<channel>(STDIN_FILENO, STDOUT_FILENO, false, shared, std::vector{who}, false),
                getuid());
    while (!clients.empty())
        clients.once(-1);
    return clients.ended_well() ? exit_status::done : exit_status::unavailable;
}

exit_status serve_socket(services& shared, const std::string& path) {
    // A descriptor for each client, besides those of its own.
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    const auto own = 64 + static_cast<std::size_t>(shared.settings.connections);
    if (files.rlim_cur <= own)
        throw failure(exit_status::unavailable, "too few files may be open at once to serve anybody",
                      "They are " + std::to_string(files.rlim_cur) + ".",
                      "Raise the limit: ulimit -n, or LimitNOFILE=.");
    const listener socket(path);
    shared.log.info("serving on " + path);
    loop clients(shared);
    while (!clients.stopping() || !clients.empty()) {
        const auto before = clients.size();
        // Where descriptors run out, who waits is served when somebody leaves.
        const bool room = before + own < files.rlim_cur;
        if (clients.once(clients.stopping() || !room ? -1 : socket.descriptor()))
            accept_client(socket.descriptor(), shared, clients);
    }
    return exit_status::done;
}

namespace {

// One direction of the shim. What was read is written before more is read.
struct carrier {
    int from, to;
    bool to_is_socket;
    std::string bytes;
    bool ended = false; // nothing more comes from `from`

    bool read_some() {
        char buffer[65536];
        const auto count = read(from, buffer, sizeof buffer);
        if (count < 0)
            return errno == EINTR || errno == EAGAIN;
        if (count == 0)
            ended = true;
        else
            bytes.assign(buffer, static_cast<std::size_t>(count));
        return true;
    }
    bool write_some() {
        const auto count = write_without_waiting(to, to_is_socket, bytes);
        if (count < 0)
            return errno == EINTR || errno == EAGAIN;
        bytes.erase(0, static_cast<std::size_t>(count));
        return true;
    }
};

} // namespace

exit_status carry(const std::string& path, const std::string& hello, logger& log) {
    const int server = connect_to(path);
    if (server < 0)
        throw failure(exit_status::unavailable, "could not connect to \"" + path + "\"", std::strerror(errno),
                      "`sor mcp --socket` serves there; is it running, and may this account reach the path?");
    carrier up{STDIN_FILENO, server, true, hello, false};
    carrier down{server, STDOUT_FILENO, is_socket(STDOUT_FILENO), {}, false};
    bool said_all = false; // the server was told that no more comes
    for (;;) {
        pollfd entries[4] = {{stop::descriptor(), POLLIN, 0},
                             {up.ended || !up.bytes.empty() ? -1 : up.from, POLLIN, 0},
                             // -1 while nothing is wanted of it: an end that was closed is ready for ever
                             {up.bytes.empty() && !down.bytes.empty() ? -1 : server, 0, 0},
                             {STDOUT_FILENO, static_cast<short>(down.bytes.empty() ? 0 : POLLOUT), 0}};
        entries[2].events = static_cast<short>((down.bytes.empty() ? POLLIN : 0) | (up.bytes.empty() ? 0 : POLLOUT));
        poll(entries, 4, -1);
        if (stop::requested())
            return exit_status::done;
        if (entries[1].revents != 0 && !up.read_some())
            up.ended = true;
        if (entries[2].revents & POLLOUT && !up.write_some())
            up.bytes.clear(); // it is gone; what it said before is still to be read
        if (entries[2].revents & (POLLIN | POLLHUP | POLLERR) && down.bytes.empty() && !down.read_some())
            down.ended = true;
        // Closing the whole connection tells the server that the client was killed.
        if ((entries[3].revents & (POLLERR | POLLHUP)) != 0 || (!down.bytes.empty() && !down.write_some()))
            return exit_status::done;
        if (up.ended && up.bytes.empty() && !said_all) {
            if (nobody_reads(STDOUT_FILENO, std::chrono::milliseconds(100)))
                return exit_status::done;
            said_all = true;
            shutdown(server, SHUT_WR);
        }
        if (down.ended && down.bytes.empty()) {
            if (said_all)
                return exit_status::done;
            log.error("the server closed the connection", {}, "Its log says why.");
            return exit_status::unavailable;
        }
    }
}

} // namespace sor::mcp
