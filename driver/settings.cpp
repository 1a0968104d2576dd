#include "settings.hpp"
#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <pwd.h>
#include <toml++/toml.h>
#include "failure.hpp"
#include "mail.hpp"

namespace sor {
namespace {

class reader {
public:
    explicit reader(std::string name) : name_(std::move(name)) {}

    [[noreturn]] void refuse(const toml::node& node, const std::string& message, const std::string& hint = {}) const {
        refuse(node.source(), message, hint);
    }
    [[noreturn]] void refuse(const toml::source_region& source, const std::string& message,
                             const std::string& hint = {}) const {
        throw failure(exit_status::usage, name_ + ":" + std::to_string(source.begin.line) + ": " + message, {}, hint);
    }

    const toml::table& table(const toml::node& node, const std::string& key) const {
        if (const auto* found = node.as_table())
            return *found;
        refuse(node, "\"" + key + "\" is no table");
    }

    void only(const toml::table& table, std::initializer_list<std::string_view> known) const {
        for (const auto& [key, node] : table) {
            if (std::find(known.begin(), known.end(), key.str()) != known.end())
                continue;
            std::string hint = "Known here:";
            for (const auto name : known)
                hint += " " + std::string(name);
            refuse(key.source(), "unknown setting \"" + std::string(key.str()) + "\"", hint + ".");
        }
    }

    std::string text(const toml::table& table, std::string_view key, std::string otherwise) const {
        const auto* node = table.get(key);
        if (!node)
            return otherwise;
        if (const auto value = node->value_exact<std::string>())
            return *value;
        refuse(*node, "\"" + std::string(key) + "\" is no string");
    }

    std::string required(const toml::table& table, std::string_view key) const {
        auto value = text(table, key, {});
        if (value.empty())
            refuse(table, "\"" + std::string(key) + "\" is missing");
        return value;
    }

    // A whole number within bounds; `otherwise` when it is not there.
    std::int64_t number(const toml::table& table, std::string_view key, std::int64_t otherwise, std::int64_t least,
                        std::int64_t most) const {
        const auto* node = table.get(key);
        if (!node)
            return otherwise;
        const auto value = node->value_exact<std::int64_t>();
        if (!value || *value < least || *value > most)
            refuse(*node, "\"" + std::string(key) + "\" is no whole number from " + std::to_string(least) + " to " +
                              std::to_string(most));
        return *value;
    }

private:
    std::string name_;
};

destination_settings read_destination(const reader& reader, const std::string& name, const toml::table& table) {
    destination_settings destination{name, reader.required(table, "type"), {}, {}};
    if (destination.type == "smtp") {
        reader.only(
            table, {"type", "url", "from", "username", "password_file", "tls", "message_id_domain", "timeout_seconds"});
        auto& smtp = destination.smtp;
        smtp.url = reader.required(table, "url");
        if (!smtp.url.starts_with("smtp://") && !smtp.url.starts_with("smtps://"))
            reader.refuse(*table.get("url"), "\"url\" is neither smtp:// nor smtps://",
                          "For example smtp://localhost:25.");
        smtp.from = reader.required(table, "from");
        try {
            mail::address_of(smtp.from);
        } catch (const mail::bad_payload& bad) {
            reader.refuse(*table.get("from"), bad.what());
        }
        smtp.username = reader.text(table, "username", {});
        smtp.password_file = reader.text(table, "password_file", {});
        if (smtp.username.empty() != smtp.password_file.empty())
            reader.refuse(table, "\"username\" and \"password_file\" go together");
        // A password goes out under verified TLS unless the settings say otherwise.
        smtp.tls = reader.text(table, "tls", smtp.username.empty() ? "try" : "require");
        if (smtp.tls != "require" && smtp.tls != "try" && smtp.tls != "none")
            reader.refuse(*table.get("tls"), "\"tls\" is none of require, try, none");
        smtp.message_id_domain = reader.text(table, "message_id_domain", {});
        smtp.timeout_seconds = static_cast<int>(reader.number(table, "timeout_seconds", smtp.timeout_seconds, 1, 3600));
    } else if (destination.type == "file") {
        reader.only(table, {"type", "path"});
        destination.file.path = reader.required(table, "path");
    } else {
        reader.refuse(*table.get("type"), "unknown destination type \"" + destination.type + "\"",
                      "Known: smtp, file.");
    }
    return destination;
}

mcp_peer read_peer(const reader& reader, const toml::table& table) {
    reader.only(table, {"uid", "user", "tenant", "on_behalf_of", "worker"});
    mcp_peer peer;
    auto user = reader.text(table, "user", {});
    if (user.empty() == !table.contains("uid"))
        reader.refuse(table, "a peer has either \"uid\" or \"user\"");
    if (user.empty()) {
        peer.uid = static_cast<unsigned>(reader.number(table, "uid", 0, 0, std::numeric_limits<uid_t>::max() - 1));
        const auto* account = getpwuid(peer.uid);
        user = account ? account->pw_name : "uid " + std::to_string(peer.uid);
    } else {
        const auto* account = getpwnam(user.c_str());
        if (!account)
            reader.refuse(*table.get("user"), "there is no account \"" + user + "\" on this machine");
        peer.uid = account->pw_uid;
    }
    peer.tenant = reader.required(table, "tenant");
    peer.on_behalf_of = reader.required(table, "on_behalf_of");
    peer.worker = reader.text(table, "worker", user);
    return peer;
}

mcp_settings read_mcp(const reader& reader, const toml::table& table) {
    reader.only(table, {"connections", "max_sessions", "calls_per_minute", "statement_timeout_seconds", "max_line",
                        "max_result", "peers"});
    mcp_settings mcp;
    mcp.connections = static_cast<int>(reader.number(table, "connections", mcp.connections, 1, 100));
    mcp.max_sessions = static_cast<int>(reader.number(table, "max_sessions", mcp.max_sessions, 1, 1000000));
    mcp.calls_per_minute =
        static_cast<int>(reader.number(table, "calls_per_minute", mcp.calls_per_minute, 1, 100000000));
    mcp.statement_timeout_seconds =
        static_cast<int>(reader.number(table, "statement_timeout_seconds", mcp.statement_timeout_seconds, 1, 3600));
    constexpr std::int64_t least_size = 1024, most_size = 64 << 20;
    mcp.max_line = static_cast<std::size_t>(
        reader.number(table, "max_line", static_cast<std::int64_t>(mcp.max_line), least_size, most_size));
    mcp.max_result = static_cast<std::size_t>(
        reader.number(table, "max_result", static_cast<std::int64_t>(mcp.max_result), least_size, most_size));
    if (const auto* peers = table.get("peers")) {
        if (!peers->is_array_of_tables())
            reader.refuse(*peers, "\"peers\" is no array of tables", "Begin each peer with [[mcp.peers]].");
        for (const auto& peer : *peers->as_array())
            mcp.peers.push_back(read_peer(reader, *peer.as_table()));
    }
    return mcp;
}

migrate_settings read_migrate(const reader& reader, const toml::table& table) {
    reader.only(table, {"directory", "rehearsal"});
    migrate_settings migrate;
    migrate.directory = reader.text(table, "directory", migrate.directory);
    if (const auto* node = table.get("rehearsal")) {
        const auto& rehearsal = reader.table(*node, "rehearsal");
        reader.only(rehearsal, {"dbname", "copy_megabytes", "clone_command", "drop_command", "check_command"});
        migrate.rehearsal_dbname = reader.text(rehearsal, "dbname", {});
        migrate.copy_megabytes = reader.number(rehearsal, "copy_megabytes", migrate.copy_megabytes, 0, 1 << 20);
        migrate.clone_command = reader.text(rehearsal, "clone_command", {});
        migrate.drop_command = reader.text(rehearsal, "drop_command", {});
        migrate.check_command = reader.text(rehearsal, "check_command", {});
        if (migrate.clone_command.empty() != migrate.drop_command.empty())
            reader.refuse(rehearsal, "\"clone_command\" and \"drop_command\" go together");
    }
    return migrate;
}

} // namespace

driver_settings parse_settings(std::string_view text, const std::string& name) {
    const reader reader(name);
    toml::table root;
    try {
        root = toml::parse(text, std::string_view(name));
    } catch (const toml::parse_error& error) {
        reader.refuse(error.source(), std::string(error.description()), "The file is TOML: https://toml.io.");
    }
    driver_settings settings;
    reader.only(root, {"destinations", "load", "mcp", "migrate"});
    if (const auto* node = root.get("mcp"))
        settings.mcp = read_mcp(reader, reader.table(*node, "mcp"));
    if (const auto* node = root.get("migrate"))
        settings.migrate = read_migrate(reader, reader.table(*node, "migrate"));
    if (const auto* node = root.get("destinations"))
        for (const auto& [key, entry] : reader.table(*node, "destinations")) {
            const std::string destination(key.str());
            settings.destinations.emplace(destination,
                                          read_destination(reader, destination, reader.table(entry, destination)));
        }
    if (const auto* node = root.get("load")) {
        const auto& load = reader.table(*node, "load");
        reader.only(load, {"tenant_aliases"});
        if (const auto* aliases = load.get("tenant_aliases"))
            for (const auto& [key, entry] : reader.table(*aliases, "tenant_aliases")) {
                const auto tenant = entry.value_exact<std::string>();
                if (!tenant)
                    reader.refuse(entry, "the tenant of alias \"" + std::string(key.str()) + "\" is no string");
                settings.tenant_aliases.emplace_back(key.str(), *tenant);
            }
    }
    return settings;
}

driver_settings read_settings(const std::string& path) {
    if (path.empty())
        return {};
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw failure(exit_status::usage, "could not open the settings file \"" + path + "\"", {},
                      "--settings names a TOML file that this account can read.");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return parse_settings(text, path);
}

} // namespace sor
