// How a migration's texts are framed before they are hashed, so that no two migrations have the same bytes: the length
// of the upgrade in bytes, as eight bytes, most significant first, and the upgrade; then the same of the downgrade. In
// place of a downgrade that there is none of stand eight bytes ff.
#pragma once

#include <array>
#include <cstdint>

namespace sor::review {

using frame = std::array<unsigned char, 8>;

constexpr frame no_text_frame = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

constexpr frame length_frame(std::uint64_t length) {
    frame out = {};
    for (std::size_t i = out.size(); i-- > 0; length >>= 8)
        out[i] = static_cast<unsigned char>(length & 0xff);
    return out;
}

} // namespace sor::review
