#include "bridge/uuid_v7.hpp"

#include <time.h>

namespace sor::bridge {

namespace {

// Milliseconds and 1/4096 ms in one ordered number of 60 bits.
uint64 last_tick = 0;

constexpr uint64 last_milli = (UINT64CONST(1) << 48) - 1; // in the year 10889

uint64 tick_of(uint64 unix_millis, uint64 nanoseconds) {
    return unix_millis << 12 | nanoseconds * 4096 / 1000000;
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
    const auto nanos = static_cast<uint64>(now.tv_nsec);
    uint64 tick = tick_of(static_cast<uint64>(now.tv_sec) * 1000 + nanos / 1000000, nanos % 1000000);
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
    constexpr int64 unix_epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
    pg_uuid_t id = {};
    if (moment >= static_cast<int64>(last_milli) * 1000 - unix_epoch) {
        memset(id.data, 0xff, UUID_LEN);
        return id;
    }
    const auto micros = static_cast<uint64>(moment <= -unix_epoch ? 0 : moment + unix_epoch);
    put_tick(id, tick_of(micros / 1000, micros % 1000 * 1000));
    id.data[8] = 0x80;
    return id;
}

} // namespace sor::bridge

SOR_FUNCTION(uuid_v7) {
    return UUIDPGetDatum(sor::bridge::copy(sor::bridge::uuid_v7()));
}
