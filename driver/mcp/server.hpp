#pragma once
#include <string>
#include "command.hpp"
#include "mcp/session.hpp"

namespace sor::mcp {

// Serves the one client on standard input and output, until it ends or SIGTERM comes.
exit_status serve_stdio(services& shared, const identity& who);

// Serves every account that the settings name, on a Unix socket, until SIGTERM comes. Throws failure (try_again) when
// another server has the socket.
exit_status serve_socket(services& shared, const std::string& path);

// Carries standard input and output to and from a server's socket; `hello` is sent first.
exit_status carry(const std::string& path, const std::string& hello, logger& log);

} // namespace sor::mcp
