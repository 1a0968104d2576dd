// SHA-256, by PostgreSQL's own implementation.
#pragma once

#include "bridge/values.hpp"

namespace sor::bridge {

constexpr size_t digest_size = PG_SHA256_DIGEST_LENGTH;
void sha256(const void* bytes, size_t size, unsigned char* into);
text* to_bytea(const unsigned char* digest); // a bytea of digest_size bytes

} // namespace sor::bridge
