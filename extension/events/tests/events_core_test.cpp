#include "events/events_core.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sor::events {
namespace {

using bytes = std::vector<unsigned char>;

std::string hex(const bytes& b) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (unsigned char c : b) {
        out += digits[c >> 4];
        out += digits[c & 15];
    }
    return out;
}

// Encodes into a buffer with guard bytes, which must stay as they are.
bytes encoded(const record& e, const bytes& prev_hash = bytes(hash_size, 0)) {
    constexpr unsigned char guard = 0xa5;
    const std::size_t size = encoded_size(e);
    bytes out(size + 8, guard);
    encode(e, prev_hash.data(), out.data());
    EXPECT_EQ(bytes(out.begin() + static_cast<std::ptrdiff_t>(size), out.end()), bytes(8, guard))
        << "wrote past encoded_size";
    EXPECT_NE(out[size - 1], guard) << "wrote less than encoded_size";
    out.resize(size);
    return out;
}

const bytes tenant(uuid_size, 0x11), stream(uuid_size, 0x22), id(uuid_size, 0x33), run(uuid_size, 0x44),
    call(uuid_size, 0x55), message(uuid_size, 0x66), user(uuid_size, 0x77);

record least() {
    record e{};
    e.tenant_id = tenant.data();
    e.stream_id = stream.data();
    e.seq = 1;
    e.id = id.data();
    e.event_type = "t";
    e.actor_kind = "user";
    e.actor = "a";
    e.payload = "{}";
    e.created_at = 0;
    return e;
}

record full() {
    record e = least();
    e.seq = 0x0102030405060708;
    e.run_id = run.data();
    e.turn_no = 0x01020304;
    e.tool_call_id = call.data();
    e.message_id = message.data();
    e.on_behalf_of = user.data();
    e.created_at = 0x1112131415161718;
    return e;
}

std::string times(int count, const std::string& two_digits) {
    std::string out;
    for (int i = 0; i < count; ++i)
        out += two_digits;
    return out;
}

// The layout of docs/events.md, byte for byte: a change here makes every hash ever stored unverifiable.
TEST(Encode, LeastEventHasTheDocumentedBytes) {
    EXPECT_EQ(hex(encoded(least())), "01" + times(32, "00") + times(16, "11") + times(16, "22") + "0000000000000001" +
                                         times(16, "33") +
                                         "00"
                                         "00"
                                         "00"
                                         "00"
                                         "00000001"
                                         "74"
                                         "00000004"
                                         "75736572"
                                         "00000001"
                                         "61"
                                         "00"
                                         "00000002"
                                         "7b7d"
                                         "0000000000000000");
}

TEST(Encode, FullEventHasTheDocumentedBytes) {
    EXPECT_EQ(hex(encoded(full(), bytes(hash_size, 0xee))),
              "01" + times(32, "ee") + times(16, "11") + times(16, "22") + "0102030405060708" + times(16, "33") + "01" +
                  times(16, "44") + "0101020304" + "01" + times(16, "55") + "01" + times(16, "66") +
                  "00000001"
                  "74"
                  "00000004"
                  "75736572"
                  "00000001"
                  "61"
                  "01" +
                  times(16, "77") +
                  "00000002"
                  "7b7d"
                  "1112131415161718");
}

TEST(Encode, NegativeNumbersAreTwosComplement) {
    record e = least();
    e.created_at = -1; // 1969
    const bytes out = encoded(e);
    EXPECT_EQ(bytes(out.end() - 8, out.end()), bytes(8, 0xff));
}

TEST(Encode, AnEmptyStringIsALengthAlone) {
    record e = least();
    const std::size_t size = encoded(e).size();
    e.actor = "";
    EXPECT_EQ(encoded(e).size(), size - 1);
}

TEST(Encode, AStringMayHoldZeroBytesAndAnyLength) {
    record e = least();
    const std::string long_text(100000, 'x');
    e.payload = long_text;
    EXPECT_EQ(encoded(e).size(), encoded(least()).size() - 2 + 100000);
    e.payload = std::string_view("a\0b", 3);
    const bytes out = encoded(e);
    EXPECT_EQ(hex(bytes(out.end() - 15, out.end())), "00000003"
                                                     "610062"
                                                     "0000000000000000");
}

// Each field counts, and none can take over another's bytes.
TEST(Encode, NoTwoEventsShareTheirBytes) {
    std::vector<record> events = {least(), full()};
    const auto with = [&](auto change) {
        for (const record& base : {least(), full()}) {
            events.push_back(base);
            change(events.back());
        }
    };
    with([](record& e) { e.seq = 2; });
    with([](record& e) { e.tenant_id = user.data(); });
    with([](record& e) { e.stream_id = user.data(); });
    with([](record& e) { e.id = user.data(); });
    with([](record& e) { e.run_id = message.data(); });
    with([](record& e) { e.turn_no = 5; });
    with([](record& e) { e.turn_no = 0; });
    with([](record& e) { e.tool_call_id = user.data(); });
    with([](record& e) { e.message_id = user.data(); });
    with([](record& e) { e.on_behalf_of = message.data(); });
    with([](record& e) {
        e.event_type = "ta";
        e.actor_kind = "ser";
    });
    with([](record& e) {
        e.event_type = "";
        e.actor_kind = "tuser";
    });
    with([](record& e) {
        e.actor_kind = "usera";
        e.actor = "";
    });
    with([](record& e) { e.payload = "{} "; });
    with([](record& e) { e.created_at = 1; });
    for (std::size_t i = 0; i < events.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            EXPECT_NE(encoded(events[i]), encoded(events[j])) << i << " and " << j;
    // which of the optional uuids is given
    record a = least(), b = least(), c = least(), d = least();
    a.run_id = b.tool_call_id = c.message_id = d.on_behalf_of = user.data();
    EXPECT_NE(encoded(a), encoded(b));
    EXPECT_NE(encoded(b), encoded(c));
    EXPECT_NE(encoded(c), encoded(d));
    EXPECT_NE(encoded(least()), encoded(least(), bytes(hash_size, 1)));
}

} // namespace
} // namespace sor::events
