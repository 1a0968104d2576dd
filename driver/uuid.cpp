#include "uuid.hpp"
#include <uuid/uuid.h>

namespace sor {

std::string uuid_v5(std::initializer_list<std::string_view> parts) {
    // Fixed for ever: another namespace would give a retried call another id.
    static const uuid_t name_space = {0x8f, 0x1d, 0x5c, 0x3a, 0x6b, 0x42, 0x4e, 0x0d,
                                      0x9a, 0x77, 0x51, 0x0c, 0xe2, 0x94, 0xb8, 0x16};
    std::string name;
    for (const auto part : parts) {
        name += std::to_string(part.size());
        name += ':';
        name += part;
    }
    uuid_t id;
    uuid_generate_sha1(id, name_space, name.data(), name.size());
    char text[UUID_STR_LEN];
    uuid_unparse_lower(id, text);
    return text;
}

std::string uuid_v4() {
    uuid_t id;
    uuid_generate_random(id);
    char text[UUID_STR_LEN];
    uuid_unparse_lower(id, text);
    return text;
}

} // namespace sor
