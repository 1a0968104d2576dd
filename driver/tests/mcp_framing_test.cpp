#include "mcp/framing.hpp"
#include <gtest/gtest.h>
#include <vector>

namespace {

using sor::mcp::line_reader;

// The lines that the bytes make, read `at_once` at a time; "(overlong)" for one too long.
std::vector<std::string> lines(std::string_view bytes, std::size_t longest, std::size_t at_once) {
    std::vector<std::string> result;
    const auto line = [&](std::string_view text) { result.emplace_back(text); };
    const auto overlong = [&] { result.emplace_back("(overlong)"); };
    line_reader reader(longest);
    for (std::size_t at = 0; at < bytes.size(); at += at_once)
        reader.feed(bytes.substr(at, at_once), line, overlong);
    reader.finish(line, overlong);
    return result;
}

TEST(mcp_framing_test, GivesTheSameLinesHoweverTheBytesAreCut) {
    const std::string bytes = "one\ntwo\r\n\n \t\r\nfive!\r\nsix678\nseven89\r\n\rx\ry\nend";
    const std::vector<std::string> expected{"one", "two", "five!", "(overlong)", "(overlong)", "\rx\ry", "end"};
    for (std::size_t at_once = 1; at_once <= bytes.size(); ++at_once)
        EXPECT_EQ(lines(bytes, 5, at_once), expected) << at_once;
}

TEST(mcp_framing_test, TheLineEndDoesNotCount) {
    for (std::size_t at_once = 1; at_once < 8; ++at_once) {
        EXPECT_EQ(lines("12345\r\n", 5, at_once), std::vector<std::string>{"12345"});
        EXPECT_EQ(lines("12345\r", 5, at_once), std::vector<std::string>{"12345"});
        EXPECT_EQ(lines("12345\rx", 5, at_once), std::vector<std::string>{"(overlong)"});
        EXPECT_EQ(lines("123456\r\n", 5, at_once), std::vector<std::string>{"(overlong)"});
    }
}

TEST(mcp_framing_test, TellsOfALineTooLongBeforeItsEnd) {
    line_reader reader(1000);
    int told = 0;
    const auto line = [](std::string_view text) { FAIL() << text.size(); };
    const auto overlong = [&] { ++told; };
    const std::string part(700, 'x');
    for (int i = 0; i < 1000; ++i) {
        reader.feed(part, line, overlong);
        EXPECT_EQ(told, i == 0 ? 0 : 1);
    }
    reader.finish(line, overlong);
    EXPECT_EQ(told, 1);
    std::string next;
    reader.feed(
        "next\n", [&](std::string_view text) { next = text; }, overlong);
    EXPECT_EQ(next, "next");
}

TEST(mcp_framing_test, NothingIsNoLine) {
    EXPECT_TRUE(lines("", 5, 1).empty());
    EXPECT_TRUE(lines("\n\r\n   \t  \n", 20, 1).empty());
}

} // namespace
