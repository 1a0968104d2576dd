#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// An e-mail out of an outbox payload, and its header fields (RFC 5322, RFC 2047).
namespace sor::mail {

// A payload that can never become an e-mail.
class bad_payload : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct letter {
    std::vector<std::string> to; // `address` or `Name <address>`
    std::string subject, text, html;
};

// {"to": address or array of them, "subject", "text", "html"?}. Throws BadPayload, for line ends in to or subject too:
// they would let a payload write header fields of its own.
letter parse(std::string_view payload);

// The address alone. Throws BadPayload when there is none.
std::string address_of(const std::string& mailbox);
std::string domain_of(const std::string& mailbox);

// The whole message in ASCII with CRLF line ends. It depends on its arguments alone, so a repeat is the same to the
// byte.
std::string compose(const letter& mail, const std::string& from, const std::string& message_id,
                    const std::string& message_id_domain, std::int64_t created_at);

// Plain ASCII as it is, anything else as encoded words, folded.
std::string encode_header_text(std::string_view utf8);

std::string base64(std::string_view bytes);

// Seconds since 1970 as `Fri, 20 Nov 2026 10:00:00 +0000` and `2026-11-20T10:00:00Z`.
std::string mail_date(std::int64_t seconds);
std::string iso_date(std::int64_t seconds);

} // namespace sor::mail
