#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sor {

// [destinations.NAME] type = "smtp"
struct smtp_settings {
    std::string url;               // smtp://HOST:PORT, smtps:// for TLS from the start
    std::string from;              // the sender's address; `Name <address>` is allowed
    std::string username;          // with password_file: the login at the mail server
    std::string password_file;     // its first line is the password
    std::string tls = "try";       // STARTTLS: "require", "try" or "none"
    std::string message_id_domain; // right of the @ in Message-ID; the sender's domain unless given
    int timeout_seconds = 30;      // for one message
};

// [destinations.NAME] type = "file"
struct file_settings {
    std::string path; // JSON lines are appended here
};

struct destination_settings {
    std::string name;
    std::string type; // "smtp" or "file"; says which of the two below counts
    smtp_settings smtp;
    file_settings file;
};

// [[mcp.peers]]: whom an account of this machine acts for when it connects to `sor mcp --socket`
struct mcp_peer {
    unsigned uid = 0;         // `uid`, or that of `user`
    std::string tenant;       // its name
    std::string on_behalf_of; // e-mail address
    std::string worker;       // the name its runs are recorded under; that of the account unless given
};

// [mcp]
struct mcp_settings {
    int connections = 4;                // to the database, for all Workers together
    int max_sessions = 2000;            // of one account at once
    int calls_per_minute = 60000;       // of one user
    int statement_timeout_seconds = 30; // of one call
    std::size_t max_line = 1 << 20;     // bytes of one message
    std::size_t max_result = 1 << 20;   // bytes of one result
    std::vector<mcp_peer> peers;
};

// [migrate] and [migrate.rehearsal]
struct migrate_settings {
    std::string directory = "migrations";
    std::string rehearsal_dbname;        // CONNINFO of a superuser of the live database; the command's own unless given
    std::int64_t copy_megabytes = 100;   // of rows of the touched tables that a rehearsal copies
    std::string clone_command;           // makes the branch instead: prints its CONNINFO, $SOR_BRANCH is its name
    std::string drop_command;            // and removes it
    std::string check_command;           // on the branch after the upgrade; fails by its exit status
};

struct driver_settings {
    std::map<std::string, destination_settings> destinations;
    mcp_settings mcp;
    migrate_settings migrate;
    std::vector<std::pair<std::string, std::string>> tenant_aliases; // [load.tenant_aliases]: as in the file = tenant
};

// Throws Failure (usage) that names file and line for anything it does not know. An empty path gives no settings.
driver_settings read_settings(const std::string& path);
driver_settings parse_settings(std::string_view text, const std::string& name);

} // namespace sor
