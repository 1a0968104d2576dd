#include "settings.hpp"
#include <algorithm>
#include <fstream>
#include <iterator>
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
        if (const auto* node = table.get("timeout_seconds")) {
            const auto seconds = node->value_exact<std::int64_t>();
            if (!seconds || *seconds < 1 || *seconds > 3600)
                reader.refuse(*node, "\"timeout_seconds\" is no whole number from 1 to 3600");
            smtp.timeout_seconds = static_cast<int>(*seconds);
        }
    } else if (destination.type == "file") {
        reader.only(table, {"type", "path"});
        destination.file.path = reader.required(table, "path");
    } else {
        reader.refuse(*table.get("type"), "unknown destination type \"" + destination.type + "\"",
                      "Known: smtp, file.");
    }
    return destination;
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
    reader.only(root, {"destinations", "load"});
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
