// Version 7 uuids (RFC 9562): 48 bits of milliseconds, 12 bits of the fraction, 62 random bits.
#pragma once

#include "bridge/values.hpp"

namespace sor::bridge {

// Greater than every id this backend minted before.
pg_uuid_t uuid_v7();
// Also greater than `after`, even when the clock went back since that one was minted.
pg_uuid_t uuid_v7_after(const pg_uuid_t& after);
// The least id of that moment: bounds a range of ids by time. Moments that no id has, infinity too, have the first or
// the last one.
pg_uuid_t uuid_v7_floor(TimestampTz moment);

} // namespace sor::bridge
