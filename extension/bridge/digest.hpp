// SHA-256, by PostgreSQL's own implementation.
#pragma once

#include "bridge/values.hpp"

namespace sor::bridge {

constexpr size_t digest_size = PG_SHA256_DIGEST_LENGTH;
void sha256(const void* bytes, size_t size, unsigned char* into);
text* to_bytea(const unsigned char* digest); // a bytea of digest_size bytes
char* to_hex(const unsigned char* digest);

// The same of what comes in parts.
class sha256_stream {
public:
    sha256_stream();
    void add(const void* bytes, size_t size);
    void add(std::string_view bytes) { add(bytes.data(), bytes.size()); }
    void finish(unsigned char* into); // once; nothing is to be added then

private:
    pg_cryptohash_ctx* hash_;
};

} // namespace sor::bridge
