#include "bridge/digest.hpp"

namespace sor::bridge {

void sha256(const void* bytes, size_t size, unsigned char* into) {
    pg_cryptohash_ctx* hash = pg_cryptohash_create(PG_SHA256);
    if (hash == nullptr || pg_cryptohash_init(hash) < 0 ||
        pg_cryptohash_update(hash, static_cast<const uint8*>(bytes), size) < 0 ||
        pg_cryptohash_final(hash, into, digest_size) < 0)
        elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash));
    pg_cryptohash_free(hash);
}

text* to_bytea(const unsigned char* digest) {
    return cstring_to_text_with_len(reinterpret_cast<const char*>(digest), digest_size);
}

} // namespace sor::bridge
