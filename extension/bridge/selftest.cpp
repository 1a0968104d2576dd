// What sql/bridge.sql calls to try the bridge. The extension defines no SQL function for any of this: only a superuser
// can, as the test does.
#include "bridge/json.hpp"
#include "bridge/uuid_v7.hpp"

#include <malloc.h>

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

using namespace sor;

namespace {

// Objects that a longjmp would leak: beyond any small-string buffer.
struct live {
    std::string text = std::string(2000, 'x');
    std::vector<std::string> parts = std::vector<std::string>(20, std::string(100, 'y'));
    int64 size() const { return static_cast<int64>(text.size() + parts.size()); }
};

void throw_of_kind(std::string_view kind) {
    const live objects;
    if (kind == "error")
        throw error(code::lease_lost, "a core's error", "its detail, " + std::to_string(objects.size()), "its hint");
    if (kind == "long") {
        std::string accents;
        for (int i = 0; i < 1000; ++i)
            accents += "\u00e9";
        throw error(code::invalid_parameter, accents, accents, accents);
    }
    if (kind == "bad_alloc")
        throw std::bad_alloc();
    if (kind == "runtime_error")
        throw std::runtime_error("a library's error");
    if (kind == "int")
        throw 42;
}

} // namespace

// (kind text) → bigint. Throws what the kind says, or returns for any other kind.
SOR_FUNCTION(selftest_throw) {
    const live objects;
    throw_of_kind(bridge::view(bridge::arguments(fcinfo).string(0, "kind")));
    return Int64GetDatum(objects.size());
}

// (divisor int) → int. A PostgreSQL error crosses live objects by way of bridge::call.
SOR_FUNCTION(selftest_call) {
    const live objects;
    const Datum divisor = fcinfo->args[0].value;
    return bridge::call([&] { return DirectFunctionCall2(int4div, Int32GetDatum(2022), divisor); }) +
           Int32GetDatum(static_cast<int32>(objects.size() - 2020));
}

// (divisor int) → int. What was thrown by bridge::call is looked at on its way and thrown on.
SOR_FUNCTION(selftest_rethrow) {
    const live objects;
    const Datum divisor = fcinfo->args[0].value;
    try {
        return bridge::call([&] { return DirectFunctionCall2(int4div, Int32GetDatum(2022), divisor); });
    } catch (const bridge::pg_error& e) {
        if (e.data->sqlerrcode != ERRCODE_DIVISION_BY_ZERO)
            throw std::runtime_error("not the error that was raised");
        throw;
    }
}

// (depth int, kind text) → bigint. Entries within calls within entries; the innermost throws, or divides by zero.
SOR_FUNCTION(selftest_nested) {
    const live objects;
    const int depth = DatumGetInt32(fcinfo->args[0].value);
    const Datum kind = fcinfo->args[1].value;
    if (depth > 0)
        return bridge::call([&] { return DirectFunctionCall2(sor_selftest_nested, Int32GetDatum(depth - 1), kind); });
    throw_of_kind(bridge::view(DatumGetTextPP(kind)));
    return bridge::call([&] { return DirectFunctionCall2(int4div, Int32GetDatum(1), Int32GetDatum(0)); });
}

// () → void. A C++ exception leaves bridge::call's own closure; then PostgreSQL raises: it must find its handler.
SOR_FUNCTION(selftest_throw_in_call) {
    try {
        bridge::call([] { throw_of_kind("runtime_error"); });
    } catch (const std::runtime_error&) {
    }
    ereport(ERROR, (errcode(ERRCODE_DIVISION_BY_ZERO), errmsg("raised after the exception")));
    return 0;
}

// () → bigint: bytes that malloc has handed out.
SOR_FUNCTION(selftest_allocated) {
    return Int64GetDatum(static_cast<int64>(mallinfo2().uordblks));
}

// (count int) → int: how many of so many fresh ids are not greater than the one before, or no version 7 of variant 10.
SOR_FUNCTION(selftest_uuid_faults) {
    int faults = 0;
    pg_uuid_t last = bridge::uuid_v7();
    for (int i = DatumGetInt32(fcinfo->args[0].value); i > 0; --i) {
        const pg_uuid_t id = bridge::uuid_v7();
        faults += memcmp(id.data, last.data, UUID_LEN) <= 0 || id.data[6] >> 4 != 7 || id.data[8] >> 6 != 2;
        last = id;
    }
    return Int32GetDatum(faults);
}

// (after uuid) → uuid
SOR_FUNCTION(selftest_uuid_after) {
    return UUIDPGetDatum(bridge::copy(bridge::uuid_v7_after(bridge::arguments(fcinfo).uuid(0, "after"))));
}

// (moment timestamptz) → uuid
SOR_FUNCTION(selftest_uuid_floor) {
    return UUIDPGetDatum(bridge::copy(bridge::uuid_v7_floor(bridge::arguments(fcinfo).time(0, "moment"))));
}

// (text) → uuid, null when it is none
SOR_FUNCTION(selftest_parse_uuid) {
    pg_uuid_t id;
    if (!bridge::parse_uuid(bridge::to_cstring(bridge::view(bridge::arguments(fcinfo).string(0, "text"))), id))
        PG_RETURN_NULL();
    return UUIDPGetDatum(bridge::copy(id));
}

// (object jsonb) → bigint: the whole number under "n", or null
SOR_FUNCTION(selftest_find_integer) {
    int64 n;
    if (!bridge::find_integer(bridge::arguments(fcinfo).json(0, "object"), "n", n))
        PG_RETURN_NULL();
    return Int64GetDatum(n);
}

// (object jsonb) → text: the string under "s", or null
SOR_FUNCTION(selftest_find_string) {
    const char* s = bridge::find_string(bridge::arguments(fcinfo).json(0, "object"), "s");
    if (s == nullptr)
        PG_RETURN_NULL();
    return CStringGetTextDatum(s);
}

// (object jsonb) → void: refuses keys other than "a" and "b"
SOR_FUNCTION(selftest_only_keys) {
    bridge::only_keys(bridge::arguments(fcinfo).json(0, "object"), "the test", {"a", "b"});
    PG_RETURN_VOID();
}

// (array jsonb, moment timestamptz) → jsonb: the array's elements and one of each kind of field
SOR_FUNCTION(selftest_write_json) {
    const bridge::arguments a(fcinfo);
    const Jsonb* array = a.json(0, "array");
    bridge::json_writer w;
    w.object()
        .field("text", "t")
        .field("none", static_cast<const char*>(nullptr))
        .field("number", PG_INT64_MIN)
        .field("flag", true);
    w.key("moment").time(a.time(1, "moment")).key("elements").array();
    bridge::each_element(array, [&](int index, const Jsonb* element) {
        w.object().field("index", index).field("value", element).end();
    });
    return JsonbPGetDatum(w.end().field("whole", array).end().done());
}

// (interval) → bigint: its microseconds when it is a lease
SOR_FUNCTION(selftest_lease) {
    return Int64GetDatum(bridge::bounded_interval(bridge::arguments(fcinfo).interval(0, "lease"), bridge::lease_least,
                                                  bridge::lease_most, "lease"));
}
