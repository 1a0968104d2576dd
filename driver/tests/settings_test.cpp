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
