#include "bridge/digest.hpp"

namespace sor::bridge {

namespace {

void check(pg_cryptohash_ctx* hash, bool good) {
    if (!good)
        elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash));
}

} // namespace

sha256_stream::sha256_stream() : hash_(pg_cryptohash_create(PG_SHA256)) {
    check(hash_, hash_ != nullptr && pg_cryptohash_init(hash_) >= 0);
}

void sha256_stream::add(const void* bytes, size_t size) {
    check(hash_, pg_cryptohash_update(hash_, static_cast<const uint8*>(bytes), size) >= 0);
}

void sha256_stream::finish(unsigned char* into) {
    check(hash_, pg_cryptohash_final(hash_, into, digest_size) >= 0);
    pg_cryptohash_free(hash_);
}

void sha256(const void* bytes, size_t size, unsigned char* into) {
    sha256_stream hash;
    hash.add(bytes, size);
    hash.finish(into);
}

text* to_bytea(const unsigned char* digest) {
    return cstring_to_text_with_len(reinterpret_cast<const char*>(digest), digest_size);
}

char* to_hex(const unsigned char* digest) {
    char* out = static_cast<char*>(palloc(2 * digest_size + 1));
    for (size_t i = 0; i < digest_size; ++i)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return out;
}

} // namespace sor::bridge
