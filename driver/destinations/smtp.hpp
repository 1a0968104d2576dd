#pragma once
#include <curl/curl.h>
#include "destinations/destination.hpp"

namespace sor::destinations {

// Sends the payload as an e-mail. One connection to the server, kept between messages.
class smtp_sender : public sender {
public:
    smtp_sender(std::string name, smtp_settings settings);

    delivery_result send(const std::string& tenant_id, const db::message& message,
                         const std::function<void()>& before_handover) override;

private:
    // What of a message's dialogue decides where its failure lies.
    struct smtp_dialogue {
        std::string last_command; // MAIL, RCPT, DATA …
        std::string last_reply;
        bool body_begun = false;
    };
    static int listen(CURL*, curl_infotype type, char* data, std::size_t size, void* dialogue);
    std::string set_up();

    std::string name_;
    smtp_settings settings_;
    std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_;
    smtp_dialogue dialogue_;
    char error_[CURL_ERROR_SIZE] = "";
};

} // namespace sor::destinations
