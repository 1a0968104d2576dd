#include "destinations/destination.hpp"
#include "destinations/file.hpp"
#include "destinations/smtp.hpp"

namespace sor::destinations {

std::unique_ptr<Sender> make_sender(const Destination& destination) {
    if (destination.type == "smtp")
        return std::make_unique<Smtp>(destination.name, destination.smtp);
    return std::make_unique<File>(destination.file);
}

} // namespace sor::destinations
