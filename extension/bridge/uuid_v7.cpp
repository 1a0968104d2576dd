#include "bridge/uuid_v7.hpp"

#include <time.h>

namespace sor::bridge {

namespace {

// Milliseconds and 1/4096 ms in one ordered number of 60 bits.
uint64 last_tick = 0;

uint64 tick_of(uint64 unix_nanoseconds) {
    const uint64 millis = unix_nanoseconds / 1000000;
    return millis << 12 | (unix_nanoseconds % 1000000) * 4096 / 1000000;
}

void put_tick(pg_uuid_t& id, uint64 tick) {
    const uint64 millis = tick >> 12;
    for (int i = 0; i < 6; ++i)
        id.data[i] = static_cast<unsigned char>(millis >> (40 - 8 * i));
    id.data[6] = static_cast<unsigned char>(0x70 | (tick >> 8 & 0x0f));
    id.data[7] = static_cast<unsigned char>(tick);
}

uint64 tick_in(const pg_uuid_t& id) {
    uint64 millis = 0;
    for (int i = 0; i < 6; ++i)
        millis = millis << 8 | id.data[i];
    return millis << 12 | static_cast<uint64>(id.data[6] & 0x0f) << 8 | id.data[7];
}

pg_uuid_t mint(uint64 least) {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64 tick = tick_of(static_cast<uint64>(now.tv_sec) * 1000000000 + static_cast<uint64>(now.tv_nsec));
    if (tick <= last_tick)
        tick = last_tick + 1;
    if (tick < least)
        tick = least;
    last_tick = tick;
    // Drawn many at a time: a draw of eight bytes costs as much as one of a page.
    constexpr size_t drawn = 512;
    static unsigned char random[drawn];
    static size_t left = 0;
    if (left == 0) {
        if (!pg_strong_random(random, drawn))
            ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
        left = drawn;
    }
    left -= 8;
    pg_uuid_t id;
    memcpy(id.data + 8, random + left, 8);
    put_tick(id, tick);
    id.data[8] = static_cast<unsigned char>(0x80 | (id.data[8] & 0x3f));
    return id;
}

} // namespace

pg_uuid_t uuid_v7() {
    return mint(0);
}

pg_uuid_t uuid_v7_after(const pg_uuid_t& after) {
    return mint(tick_in(after) + 1);
}

pg_uuid_t uuid_v7_floor(TimestampTz moment) {
    const int64 unix_micros = moment + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
    pg_uuid_t id = {};
    put_tick(id, tick_of(static_cast<uint64>(unix_micros < 0 ? 0 : unix_micros) * 1000));
    id.data[8] = 0x80;
    return id;
}

} // namespace sor::bridge

SOR_FUNCTION(uuid_v7) {
    return UUIDPGetDatum(sor::bridge::copy(sor::bridge::uuid_v7()));
}
