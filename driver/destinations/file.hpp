#pragma once
#include "destinations/destination.hpp"

namespace sor::destinations {

// Appends one JSON line a message, on disk when send() returns. A line that a kill or a full disk cut short is removed.
class file_sender : public sender {
public:
    explicit file_sender(file_settings settings);
    ~file_sender() override;
    file_sender(const file_sender&) = delete;
    file_sender& operator=(const file_sender&) = delete;

    delivery_result send(const std::string& tenant_id, const db::message& message,
                         const std::function<void()>& before_handover) override;

private:
    std::string open_file();
    std::string append(const std::string& line, long long& offset);

    file_settings settings_;
    int descriptor_ = -1;
};

// The line for a message, its end included.
std::string file_line(const std::string& tenant_id, const db::message& message);

} // namespace sor::destinations
