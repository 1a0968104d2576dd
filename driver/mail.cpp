#include "mail.hpp"
#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include "text.hpp"

namespace sor::mail {
namespace {

using nlohmann::json;

void refuse_control_characters(const std::string& text, const std::string& member) {
    const bool found =
        std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
    if (found)
        throw bad_payload("\"" + member + "\" holds a line end or another control character");
}

std::string text_member(const json& payload, const std::string& member) {
    const auto found = payload.find(member);
    if (found == payload.end())
        throw bad_payload("\"" + member + "\" is missing");
    if (!found->is_string())
        throw bad_payload("\"" + member + "\" is no string");
    return found->get<std::string>();
}

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string date(std::int64_t seconds, const char* format) {
    const auto time = static_cast<std::time_t>(seconds);
    std::tm utc{};
    gmtime_r(&time, &utc);
    char text[64];
    return {text, std::strftime(text, sizeof text, format, &utc)};
}

// `Name <address>` with the name quoted or encoded as a header field needs it.
std::string header_mailbox(const std::string& mailbox) {
    const auto address = address_of(mailbox);
    const auto open = mailbox.rfind('<');
    if (open == std::string::npos)
        return address;
    std::string name(trim(std::string_view(mailbox).substr(0, open)));
    if (name.size() > 1 && name.front() == '"' && name.back() == '"')
        name = name.substr(1, name.size() - 2);
    if (name.empty())
        return address;
    if (!is_ascii(name))
        return encode_header_text(name) + " <" + address + ">";
    std::string quoted;
    for (const char c : name) {
        if (c == '"' || c == '\\')
            quoted += '\\';
        quoted += c;
    }
    return "\"" + quoted + "\" <" + address + ">";
}

std::string with_crlf(std::string_view text) {
    std::string result;
    result.reserve(text.size() + 16);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\r') {
            result += "\r\n";
            if (i + 1 < text.size() && text[i + 1] == '\n')
                ++i;
        } else if (text[i] == '\n') {
            result += "\r\n";
        } else {
            result += text[i];
        }
    }
    return result;
}

// Short lines of printable ASCII go as they are.
bool is_plain_body(std::string_view text) {
    constexpr std::size_t longest_line = 900; // RFC 5322 allows 998
    std::size_t line = 0;
    for (const char c : text) {
        line = c == '\n' ? 0 : line + 1;
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x7F || (byte < 0x20 && c != '\r' && c != '\n' && c != '\t') || line > longest_line)
            return false;
    }
    return true;
}

// Content header fields, an empty line and the text.
std::string body_part(const std::string& type, std::string_view text) {
    auto body = with_crlf(text);
    if (!body.ends_with("\r\n"))
        body += "\r\n";
    const auto head = "Content-Type: " + type + "; charset=UTF-8\r\nContent-Transfer-Encoding: ";
    if (is_plain_body(body))
        return head + "7bit\r\n\r\n" + body;
    const auto encoded = base64(body);
    std::string lines;
    for (std::size_t i = 0; i < encoded.size(); i += 76)
        lines += encoded.substr(i, 76) + "\r\n";
    return head + "base64\r\n\r\n" + lines;
}

} // namespace

letter parse(std::string_view payload_text) {
    const auto payload = json::parse(payload_text, nullptr, false);
    if (!payload.is_object())
        throw bad_payload("the payload is no JSON object");
    for (const auto& [member, value] : payload.items())
        if (member != "to" && member != "subject" && member != "text" && member != "html")
            throw bad_payload("the payload has the unknown member \"" + member + "\"");
    letter mail;
    const auto to = payload.find("to");
    if (to != payload.end() && to->is_array()) {
        for (const auto& one : *to) {
            if (!one.is_string())
                throw bad_payload("an entry of \"to\" is no string");
            mail.to.push_back(one.get<std::string>());
        }
        if (mail.to.empty())
            throw bad_payload("\"to\" is empty");
    } else {
        mail.to.push_back(text_member(payload, "to"));
    }
    for (const auto& mailbox : mail.to) {
        refuse_control_characters(mailbox, "to");
        address_of(mailbox);
    }
    mail.subject = text_member(payload, "subject");
    refuse_control_characters(mail.subject, "subject");
    mail.text = text_member(payload, "text");
    if (payload.contains("html"))
        mail.html = text_member(payload, "html");
    return mail;
}

std::string address_of(const std::string& mailbox) {
    std::string_view address = trim(mailbox);
    if (const auto open = address.rfind('<'); open != address.npos && address.ends_with('>'))
        address = address.substr(open + 1, address.size() - open - 2);
    const auto at = address.rfind('@');
    const bool plausible =
        at != address.npos && at > 0 && at + 1 < address.size() && address.find_first_of(" \t<>,;\r\n") == address.npos;
    if (!plausible)
        throw bad_payload("\"" + mailbox + "\" is no e-mail address");
    return std::string(address);
}

std::string domain_of(const std::string& mailbox) {
    const auto address = address_of(mailbox);
    return address.substr(address.rfind('@') + 1);
}

std::string compose(const letter& mail, const std::string& from, const std::string& message_id,
                    const std::string& message_id_domain, std::int64_t created_at) {
    std::string to;
    for (const auto& mailbox : mail.to)
        to += (to.empty() ? "" : ",\r\n ") + header_mailbox(mailbox);
    const auto head = "From: " + header_mailbox(from) + "\r\nTo: " + to +
                      "\r\nSubject: " + encode_header_text(mail.subject) + "\r\nDate: " + mail_date(created_at) +
                      "\r\nMessage-ID: <" + message_id + "@" + message_id_domain +
                      ">\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n";
    const auto text = body_part("text/plain", mail.text);
    if (mail.html.empty())
        return head + text;
    // Neither text can hold it: the id was made after them.
    const auto boundary = "=_" + message_id;
    return head + "Content-Type: multipart/alternative; boundary=\"" + boundary + "\"\r\n\r\n--" + boundary + "\r\n" +
           text + "\r\n--" + boundary + "\r\n" + body_part("text/html", mail.html) + "\r\n--" + boundary + "--\r\n";
}

std::string encode_header_text(std::string_view utf8) {
    constexpr std::size_t longest_plain = 200; // far below the 998 bytes of RFC 5322
    if (is_ascii(utf8) && utf8.size() <= longest_plain && utf8.find("=?") == utf8.npos)
        return std::string(utf8);
    constexpr std::size_t chunk = 42; // bytes: 56 in base64, 68 as an encoded word
    std::string result;
    while (!utf8.empty()) {
        auto length = std::min(chunk, utf8.size());
        // Never within a character.
        while (length < utf8.size() && length > 1 && (static_cast<unsigned char>(utf8[length]) & 0xC0) == 0x80)
            --length;
        result += (result.empty() ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?") + base64(utf8.substr(0, length)) + "?=";
        utf8.remove_prefix(length);
    }
    return result;
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string result;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        const auto length = std::min<std::size_t>(3, bytes.size() - i);
        for (std::size_t j = 0; j < 3; ++j)
            group = (group << 8) | (j < length ? static_cast<unsigned char>(bytes[i + j]) : 0U);
        for (std::size_t j = 0; j < 4; ++j)
            result += j <= length ? digits[(group >> (18 - 6 * j)) & 63] : '=';
    }
    return result;
}

std::string mail_date(std::int64_t seconds) {
    return date(seconds, "%a, %d %b %Y %H:%M:%S +0000");
}

std::string iso_date(std::int64_t seconds) {
    return date(seconds, "%Y-%m-%dT%H:%M:%SZ");
}

} // namespace sor::mail
