#include "mail.hpp"
#include <gtest/gtest.h>

namespace {

using namespace sor::mail;

std::string refusal(const std::string& payload) {
    try {
        parse(payload);
    } catch (const BadPayload& bad) {
        return bad.what();
    }
    return "accepted";
}

TEST(Mail, ReadsAPayload) {
    const auto mail = parse(R"({"to": ["a@b.example", "Zoë <z@b.example>"], "subject": "s", "text": "t", "html": "<p>"})");
    EXPECT_EQ(mail.to.size(), 2U);
    EXPECT_EQ(address_of(mail.to[1]), "z@b.example");
    EXPECT_EQ(mail.html, "<p>");
    EXPECT_EQ(parse(R"({"to": "a@b", "subject": "", "text": ""})").to[0], "a@b");
}

TEST(Mail, RefusesWhatCannotBecomeAMail) {
    EXPECT_EQ(refusal("[]"), "the payload is no JSON object");
    EXPECT_EQ(refusal(R"({"subject": "s", "text": "t"})"), "\"to\" is missing");
    EXPECT_EQ(refusal(R"({"to": [], "subject": "s", "text": "t"})"), "\"to\" is empty");
    EXPECT_EQ(refusal(R"({"to": "a@b", "text": "t"})"), "\"subject\" is missing");
    EXPECT_EQ(refusal(R"({"to": "a@b", "subject": 1, "text": "t"})"), "\"subject\" is no string");
    EXPECT_EQ(refusal(R"({"to": "nobody", "subject": "s", "text": "t"})"), "\"nobody\" is no e-mail address");
    EXPECT_EQ(refusal(R"({"to": "a@b", "subject": "s", "text": "t", "bcc": "x@y"})"), "the payload has the unknown member \"bcc\"");
}

TEST(Mail, LetsNobodyWriteHeaderFields) {
    const std::string reason = " holds a line end or another control character";
    EXPECT_EQ(refusal(R"({"to": "a@b", "subject": "s\r\nBcc: x@y", "text": "t"})"), "\"subject\"" + reason);
    EXPECT_EQ(refusal(R"({"to": "a@b\nBcc: x@y", "subject": "s", "text": "t"})"), "\"to\"" + reason);
    EXPECT_EQ(refusal(R"({"to": "a@b>,<x@y", "subject": "s", "text": "t"})"), "\"a@b>,<x@y\" is no e-mail address");
}

TEST(Mail, HeadersAreTheSameAtARepeat) {
    const auto mail = parse(R"({"to": ["a@b", "Zoë <z@b>"], "subject": "Grüße", "text": "t"})");
    const auto first = headers(mail, "Books <books@x.example>", "0193-id", "x.example", 1795168800);
    EXPECT_EQ(first, headers(mail, "Books <books@x.example>", "0193-id", "x.example", 1795168800));
    EXPECT_EQ(first[0], "From: \"Books\" <books@x.example>");
    EXPECT_EQ(first[1], "To: a@b,\r\n =?UTF-8?B?Wm/Dqw==?= <z@b>");
    EXPECT_EQ(first[2], "Subject: =?UTF-8?B?R3LDvMOfZQ==?=");
    EXPECT_EQ(first[3], "Date: Fri, 20 Nov 2026 10:00:00 +0000");
    EXPECT_EQ(first[4], "Message-ID: <0193-id@x.example>");
}

TEST(Mail, EncodedWordsKeepToTheirLengthAndNeverCutACharacter) {
    std::string subject;
    for (int i = 0; i < 100; ++i)
        subject += "日x";
    const auto encoded = encode_header_text(subject);
    std::size_t begin = 0;
    while (begin < encoded.size()) {
        const auto end = std::min(encoded.find("\r\n ", begin), encoded.size());
        EXPECT_LE(end - begin, 75U);
        begin = end + 3;
    }
    EXPECT_EQ(encode_header_text("plain"), "plain");
    EXPECT_NE(encode_header_text("=?UTF-8?B?eA==?="), "=?UTF-8?B?eA==?=") << "text that looks encoded is encoded";
    EXPECT_NE(encode_header_text(std::string(1200, 'x')).find("\r\n "), std::string::npos);
}

TEST(Mail, EncodesBase64) {
    EXPECT_EQ(base64(""), "");
    EXPECT_EQ(base64("f"), "Zg==");
    EXPECT_EQ(base64("fo"), "Zm8=");
    EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
    EXPECT_EQ(base64("\xff\xfe"), "//4=");
}

TEST(Mail, EndsLinesAsMailDoes) { EXPECT_EQ(with_crlf("a\nb\r\nc\rd"), "a\r\nb\r\nc\r\nd"); }

} // namespace
