#include "mail.hpp"
#include <algorithm>
#include <gtest/gtest.h>

namespace {

using namespace sor::mail;

std::string refusal(const std::string& payload) {
    try {
        parse(payload);
    } catch (const bad_payload& bad) {
        return bad.what();
    }
    return "accepted";
}

TEST(mail_test, ReadsAPayload) {
    const auto mail =
        parse(R"({"to": ["a@b.example", "Zoë <z@b.example>"], "subject": "s", "text": "t", "html": "<p>"})");
    EXPECT_EQ(mail.to.size(), 2U);
    EXPECT_EQ(address_of(mail.to[1]), "z@b.example");
    EXPECT_EQ(mail.html, "<p>");
    EXPECT_EQ(parse(R"({"to": "a@b", "subject": "", "text": ""})").to[0], "a@b");
}

TEST(mail_test, RefusesWhatCannotBecomeAMail) {
    EXPECT_EQ(refusal("[]"), "the payload is no JSON object");
    EXPECT_EQ(refusal(R"({"subject": "s", "text": "t"})"), "\"to\" is missing");
    EXPECT_EQ(refusal(R"({"to": [], "subject": "s", "text": "t"})"), "\"to\" is empty");
    EXPECT_EQ(refusal(R"({"to": "a@b", "text": "t"})"), "\"subject\" is missing");
    EXPECT_EQ(refusal(R"({"to": "a@b", "subject": 1, "text": "t"})"), "\"subject\" is no string");
    EXPECT_EQ(refusal(R"({"to": "nobody", "subject": "s", "text": "t"})"), "\"nobody\" is no e-mail address");
    EXPECT_EQ(refusal(R"({"to": "a@b", "subject": "s", "text": "t", "bcc": "x@y"})"),
              "the payload has the unknown member \"bcc\"");
}

TEST(mail_test, LetsNobodyWriteHeaderFields) {
    const std::string reason = " holds a line end or another control character";
    EXPECT_EQ(refusal(R"({"to": "a@b", "subject": "s\r\nBcc: x@y", "text": "t"})"), "\"subject\"" + reason);
    EXPECT_EQ(refusal(R"({"to": "a@b\nBcc: x@y", "subject": "s", "text": "t"})"), "\"to\"" + reason);
    EXPECT_EQ(refusal(R"({"to": "a@b>,<x@y", "subject": "s", "text": "t"})"), "\"a@b>,<x@y\" is no e-mail address");
}

TEST(mail_test, ComposesPlainText) {
    const auto mail = parse(R"({"to": "a@b", "subject": "s", "text": "one\ntwo"})");
    EXPECT_EQ(compose(mail, "Books <books@x.example>", "0193-id", "x.example", 1795168800),
              "From: \"Books\" <books@x.example>\r\nTo: a@b\r\nSubject: s\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
              "Message-ID: <0193-id@x.example>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
              "Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\none\r\ntwo\r\n");
}

TEST(mail_test, ComposesAnythingElseInAscii) {
    const auto mail = parse(R"({"to": ["a@b", "Zoë <z@b>"], "subject": "Grüße", "text": "ü\r", "html": "<p>"})");
    const auto message = compose(mail, "books@x", "id", "x", 0);
    EXPECT_EQ(message, compose(mail, "books@x", "id", "x", 0));
    EXPECT_TRUE(
        std::all_of(message.begin(), message.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
    EXPECT_NE(message.find("\r\nTo: a@b,\r\n =?UTF-8?B?Wm/Dqw==?= <z@b>\r\nSubject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"),
              std::string::npos);
    EXPECT_NE(
        message.find(
            "Content-Type: multipart/alternative; boundary=\"=_id\"\r\n\r\n--=_id\r\n"
            "Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: "
            "base64\r\n\r\nw7wNCg==\r\n\r\n--=_id\r\n"
            "Content-Type: text/html; charset=UTF-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n<p>\r\n\r\n--=_id--\r\n"),
        std::string::npos)
        << message;
    const auto long_line = compose(parse(R"({"to": "a@b", "subject": "s", "text": ")" + std::string(2000, 'x') + "\"}"),
                                   "b@x", "id", "x", 0);
    EXPECT_NE(long_line.find("base64"), std::string::npos);
}

TEST(mail_test, EncodedWordsKeepToTheirLengthAndNeverCutACharacter) {
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

TEST(mail_test, EncodesBase64) {
    EXPECT_EQ(base64(""), "");
    EXPECT_EQ(base64("f"), "Zg==");
    EXPECT_EQ(base64("fo"), "Zm8=");
    EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
    EXPECT_EQ(base64("\xff\xfe"), "//4=");
}

} // namespace
