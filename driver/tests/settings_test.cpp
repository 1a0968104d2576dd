#include "settings.hpp"
#include <gtest/gtest.h>
#include "failure.hpp"

namespace {

using sor::failure;
using sor::parse_settings;

std::string refusal(const std::string& text) {
    try {
        parse_settings(text, "settings.toml");
    } catch (const failure& error) {
        EXPECT_EQ(error.code(), sor::exit_status::usage);
        return error.message();
    }
    return "accepted";
}

TEST(settings_test, ReadsDestinationsAndAliases) {
    const auto settings = parse_settings(R"(
[destinations.mail]
type = "smtp"
url = "smtp://localhost:25"
from = "a@b.example"
timeout_seconds = 5
[destinations.audit]
type = "file"
path = "/tmp/x"
[load.tenant_aliases]
"Adults & Comms" = "Adult & Communities"
)",
                                         "settings.toml");
    ASSERT_EQ(settings.destinations.size(), 2U);
    EXPECT_EQ(settings.destinations.at("mail").smtp.url, "smtp://localhost:25");
    EXPECT_EQ(settings.destinations.at("mail").smtp.timeout_seconds, 5);
    EXPECT_EQ(settings.destinations.at("mail").smtp.tls, "try");
    EXPECT_EQ(settings.destinations.at("audit").file.path, "/tmp/x");
    ASSERT_EQ(settings.tenant_aliases.size(), 1U);
    EXPECT_EQ(settings.tenant_aliases[0].second, "Adult & Communities");
}

TEST(settings_test, APasswordGoesOutUnderVerifiedTlsUnlessSaidOtherwise) {
    const std::string login =
        "[destinations.m]\ntype='smtp'\nurl='smtp://h'\nfrom='a@b'\nusername='u'\npassword_file='f'\n";
    EXPECT_EQ(parse_settings(login, "s").destinations.at("m").smtp.tls, "require");
    EXPECT_EQ(parse_settings(login + "tls='none'\n", "s").destinations.at("m").smtp.tls, "none");
}

TEST(settings_test, ReadsWhoMayConnectAndTheLimits) {
    const std::string peer = "[[mcp.peers]]\nuser = 'root'\ntenant = 'Alice'\non_behalf_of = 'a@b.example'\n";
    const auto mcp = parse_settings("[mcp]\nmax_line = 2048\n" + peer +
                                        "[[mcp.peers]]\nuid = 7\ntenant = 'Bob'\n"
                                        "on_behalf_of = 'c@d.example'\nworker = 'w'\n",
                                    "s")
                         .mcp;
    EXPECT_EQ(mcp.max_line, 2048U);
    EXPECT_EQ(mcp.calls_per_minute, 60000);
    ASSERT_EQ(mcp.peers.size(), 2U);
    EXPECT_EQ(mcp.peers[0].uid, 0U);
    EXPECT_EQ(mcp.peers[0].worker, "root");
    EXPECT_EQ(mcp.peers[1].uid, 7U);
    EXPECT_EQ(mcp.peers[1].tenant, "Bob");
    EXPECT_EQ(mcp.peers[1].worker, "w");
    EXPECT_EQ(refusal("[mcp]\nconnections = 0\n"), "settings.toml:2: \"connections\" is no whole number from 1 to 100");
    EXPECT_EQ(refusal(peer + "uid = 1\n"), "settings.toml:1: a peer has either \"uid\" or \"user\"");
    EXPECT_EQ(refusal("[[mcp.peers]]\nuid = -1\n").substr(0, 16), "settings.toml:2:");
    EXPECT_EQ(refusal("[[mcp.peers]]\nuser = 'no such account'\n"),
              "settings.toml:2: there is no account \"no such account\" on this machine");
    EXPECT_EQ(refusal("[[mcp.peers]]\nuid = 1\ntenant = 'Alice'\n"), "settings.toml:1: \"on_behalf_of\" is missing");
    EXPECT_EQ(refusal("[mcp]\npeers = 1\n"), "settings.toml:2: \"peers\" is no array of tables");
}

TEST(settings_test, ReadsHowMigrationsAreRehearsed) {
    const auto migrate = parse_settings("[migrate]\ndirectory = 'db'\n[migrate.rehearsal]\ndbname = 'service=x'\n"
                                        "copy_megabytes = 5\nclone_command = 'c'\ndrop_command = 'd'\n",
                                        "s")
                             .migrate;
    EXPECT_EQ(migrate.directory, "db");
    EXPECT_EQ(migrate.rehearsal_dbname, "service=x");
    EXPECT_EQ(migrate.copy_megabytes, 5);
    EXPECT_EQ(migrate.clone_command + migrate.drop_command + migrate.check_command, "cd");
    EXPECT_EQ(parse_settings("", "s").migrate.directory, "migrations");
    EXPECT_EQ(refusal("[migrate.rehearsal]\nclone_command = 'c'\n"),
              "settings.toml:1: \"clone_command\" and \"drop_command\" go together");
    EXPECT_EQ(refusal("[migrate]\nfolder = 'x'\n"), "settings.toml:2: unknown setting \"folder\"");
}

TEST(settings_test, NamesFileAndLineOfWhatItRefuses) {
    EXPECT_EQ(refusal("\n[destination.x]\n"), "settings.toml:2: unknown setting \"destination\"");
    EXPECT_EQ(refusal("[destinations.m]\ntype = \"smtp\"\nurl = \"smtp://h\"\nfrom = \"a@b\"\nport = 25\n"),
              "settings.toml:5: unknown setting \"port\"");
    EXPECT_EQ(refusal("[destinations.m]\ntype = \"pigeon\"\n"), "settings.toml:2: unknown destination type \"pigeon\"");
    EXPECT_EQ(refusal("[destinations.m]\ntype = \"file\"\n"), "settings.toml:1: \"path\" is missing");
    EXPECT_EQ(refusal("[destinations.m]\ntype = \"smtp\"\nurl = \"http://h\"\nfrom = \"a@b\"\n"),
              "settings.toml:3: \"url\" is neither smtp:// nor smtps://");
    EXPECT_EQ(refusal("[destinations.m]\ntype = \"smtp\"\nurl = \"smtp://h\"\nfrom = \"nobody\"\n"),
              "settings.toml:4: \"nobody\" is no e-mail address");
    EXPECT_EQ(refusal("x = \n").substr(0, 16), "settings.toml:1:");
    EXPECT_EQ(refusal("[load.tenant_aliases]\n\"a\" = 1\n").substr(0, 16), "settings.toml:2:");
}

} // namespace
