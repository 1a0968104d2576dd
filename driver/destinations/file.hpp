#pragma once
#include "destinations/destination.hpp"

namespace sor::destinations {

// Appends one JSON line a message, on disk when send() returns. A line that a kill or a full disk cut short is removed.
class File : public Sender {
public:
    explicit File(FileSettings settings);
    ~File() override;
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    Delivery send(const std::string& tenant_id, const db::Message& message,
                  const std::function<void()>& before_handover) override;

private:
    std::string open_file();
    std::string append(const std::string& line, long long& offset);

    FileSettings settings_;
    int descriptor_ = -1;
};

// The line for a message, its end included.
std::string file_line(const std::string& tenant_id, const db::Message& message);

} // namespace sor::destinations
