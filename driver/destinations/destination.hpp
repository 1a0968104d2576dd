#pragma once
#include <functional>
#include <memory>
#include <string>
#include "db/calls.hpp"
#include "settings.hpp"

namespace sor::destinations {

// What became of one message.
struct delivery_result {
    enum class fate {
        sent,
        refused, // this message will never go: a bad payload, an address that does not exist
        failed,  // this message did not go now
        down,    // nothing goes to this destination now
    };
    fate state = fate::sent;
    std::string receipt; // JSON, when sent
    std::string error;   // otherwise
};

// Where messages go. A message may come twice (its relay was killed before it could mark it), always with the same id.
class sender {
public:
    virtual ~sender() = default;
    // Calls `before_handover` at most once, just before the message becomes the receiver's; when that throws, the
    // receiver has not got it.
    virtual delivery_result send(const std::string& tenant_id, const db::message& message,
                                 const std::function<void()>& before_handover) = 0;
};

std::unique_ptr<sender> make_sender(const destination_settings& destination);

} // namespace sor::destinations
