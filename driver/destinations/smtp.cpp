#include "destinations/smtp.hpp"
#include <algorithm>
#include <exception>
#include <fstream>
#include "mail.hpp"
#include "text.hpp"

namespace sor::destinations {
namespace {

using string_list = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

void append(string_list& list, const std::string& text) {
    curl_slist* longer = curl_slist_append(list.get(), text.c_str());
    if (!longer)
        throw std::bad_alloc();
    if (longer != list.get()) {
        [[maybe_unused]] auto* former = list.release();
        list.reset(longer);
    }
}

// A message on its way, for libcurl to read.
struct upload_state {
    std::string_view left;
    const std::function<void()>& before_handover;
    bool handed_over = false;
    std::exception_ptr failure = nullptr;
};

std::size_t read_upload(char* to, std::size_t size, std::size_t count, void* pointer) {
    auto& upload = *static_cast<upload_state*>(pointer);
    const auto length = std::min(size * count, upload.left.size());
    upload.left.copy(to, length);
    upload.left.remove_prefix(length);
    // The server takes the message at the line after its last.
    if (length == 0 && !upload.handed_over) {
        upload.handed_over = true;
        try {
            upload.before_handover();
        } catch (...) { // libcurl is C
            upload.failure = std::current_exception();
            return CURL_READFUNC_ABORT;
        }
    }
    return length;
}

} // namespace

smtp_sender::smtp_sender(std::string name, smtp_settings settings)
    : name_(std::move(name)), settings_(std::move(settings)), curl_(nullptr, &curl_easy_cleanup) {
    if (settings_.message_id_domain.empty())
        settings_.message_id_domain = mail::domain_of(settings_.from);
}

int smtp_sender::listen(CURL*, curl_infotype type, char* data, std::size_t size, void* pointer) {
    auto& dialogue = *static_cast<smtp_dialogue*>(pointer);
    const std::string_view text(data, size);
    if (type == CURLINFO_HEADER_OUT)
        dialogue.last_command = text.substr(0, text.find_first_of(" \r\n"));
    else if (type == CURLINFO_HEADER_IN)
        dialogue.last_reply = trim(text);
    else if (type == CURLINFO_DATA_OUT)
        dialogue.body_begun = true;
    return 0;
}

// What is the same for all messages. Empty when done, else the problem.
std::string smtp_sender::set_up() {
    if (curl_)
        return {};
    std::string password;
    if (!settings_.password_file.empty()) {
        std::ifstream file(settings_.password_file);
        if (!std::getline(file, password))
            return "could not read the password file " + settings_.password_file;
    }
    curl_.reset(curl_easy_init());
    CURL* curl = curl_.get();
    if (!curl)
        throw std::bad_alloc();
    curl_easy_setopt(curl, CURLOPT_URL, settings_.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, &read_upload);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, static_cast<long>(settings_.timeout_seconds));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error_);
    curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L); // for listen(), which prints nothing
    curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, &smtp_sender::listen);
    curl_easy_setopt(curl, CURLOPT_DEBUGDATA, &dialogue_);
    const bool require = settings_.tls == "require";
    curl_easy_setopt(curl, CURLOPT_USE_SSL,
                     static_cast<long>(require                  ? CURLUSESSL_ALL
                                       : settings_.tls == "try" ? CURLUSESSL_TRY
                                                                : CURLUSESSL_NONE));
    if (settings_.tls == "try" && !settings_.url.starts_with("smtps://")) {
        // It would go in plain text to a server without TLS: a certificate that nobody vouches for is no worse.
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (!settings_.username.empty()) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, settings_.username.c_str());
        curl_easy_setopt(curl, CURLOPT_PASSWORD, password.c_str());
    }
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail::address_of(settings_.from).c_str());
    return {};
}

delivery_result smtp_sender::send(const std::string&, const db::message& message,
                                  const std::function<void()>& before_handover) {
    mail::letter mail;
    try {
        mail = mail::parse(message.payload);
    } catch (const mail::bad_payload& bad) {
        return {delivery_result::fate::refused, {}, std::string("no e-mail can be made of the payload: ") + bad.what()};
    }
    if (const auto problem = set_up(); !problem.empty())
        return {delivery_result::fate::down, {}, problem};
    CURL* curl = curl_.get();

    string_list recipients(nullptr, &curl_slist_free_all);
    for (const auto& mailbox : mail.to)
        append(recipients, mail::address_of(mailbox));
    const auto text = mail::compose(mail, settings_.from, message.id, settings_.message_id_domain, message.created_at);
    upload_state upload{{}, before_handover};
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients.get());
    curl_easy_setopt(curl, CURLOPT_READDATA, &upload);

    CURLcode code = CURLE_OK;
    long connects = 0, reply = 0;
    for (int tries = 0; tries < 2; ++tries) {
        dialogue_ = {};
        upload.left = text;
        error_[0] = '\0';
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, static_cast<long>(tries));
        code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply);
        curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connects);
        // A kept connection may have been closed meanwhile (idle, or so many messages a connection). As long as the
        // server has no body the message cannot arrive twice.
        const bool kept_and_lost =
            code != CURLE_OK && connects == 0 && !dialogue_.body_begun && (reply == 421 || reply < 400);
        if (!kept_and_lost)
            break;
    }
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, nullptr);
    if (upload.failure)
        std::rethrow_exception(upload.failure);
    if (code == CURLE_OK)
        return {delivery_result::fate::sent,
                "{\"destination\":" + json_quote(name_) +
                    ",\"message_id\":" + json_quote("<" + message.id + "@" + settings_.message_id_domain + ">") +
                    ",\"reply\":" + json_quote(dialogue_.last_reply) + "}",
                {}};

    const bool of_message =
        dialogue_.body_begun || dialogue_.last_command == "RCPT" || dialogue_.last_command == "DATA";
    if (reply >= 400 && (of_message || reply == 552)) {
        const auto error = "the mail server answered: " + dialogue_.last_reply;
        if (reply >= 500)
            return {delivery_result::fate::refused, {}, error};
        if (reply != 421)
            return {delivery_result::fate::failed, {}, error};
    }
    std::string error = error_[0] ? error_ : curl_easy_strerror(code);
    if (reply >= 400)
        error += "; the mail server answered: " + dialogue_.last_reply;
    return {delivery_result::fate::down, {}, error};
}

} // namespace sor::destinations
