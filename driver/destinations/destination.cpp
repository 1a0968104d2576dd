#include "destinations/destination.hpp"
#include "destinations/file.hpp"
#include "destinations/smtp.hpp"

namespace sor::destinations {

std::unique_ptr<sender> make_sender(const destination_settings& destination) {
    if (destination.type == "smtp")
        return std::make_unique<smtp_sender>(destination.name, destination.smtp);
    return std::make_unique<file_sender>(destination.file);
}

} // namespace sor::destinations
