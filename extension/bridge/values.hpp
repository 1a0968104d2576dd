// Arguments, results and small conversions. Everything here is trivially destructible and lives in palloc'd memory.
#pragma once

#include "bridge/entry.hpp"

#include <initializer_list>
#include <string_view>

namespace sor::bridge {

// A statement parameter or a column to return.
struct value {
    Datum datum = 0;
    bool null = true;

    static value of(Datum d) { return {d, false}; }
    static value none() { return {}; }
};

inline bool equal(const pg_uuid_t& a, const pg_uuid_t& b) {
    return memcmp(a.data, b.data, UUID_LEN) == 0;
}
bool is_nil(const pg_uuid_t& id);
char* to_cstring(const pg_uuid_t& id);
// False when the text is no uuid; raises nothing.
bool parse_uuid(const char* text, pg_uuid_t& into);
pg_uuid_t* copy(const pg_uuid_t& id);

inline std::string_view view(const text* t) {
    return {VARDATA_ANY(t), static_cast<size_t>(VARSIZE_ANY_EXHDR(t))};
}
inline text* to_text(std::string_view s) {
    return cstring_to_text_with_len(s.data(), static_cast<int>(s.size()));
}
inline char* to_cstring(std::string_view s) {
    return pnstrdup(s.data(), s.size());
}

inline value in(const pg_uuid_t& id) {
    return value::of(UUIDPGetDatum(&id));
}
inline value in(const pg_uuid_t* id) {
    return id ? value::of(UUIDPGetDatum(id)) : value::none();
}
inline value in(const char* s) {
    return s ? value::of(CStringGetTextDatum(s)) : value::none();
}
inline value in(std::string_view s) {
    return value::of(PointerGetDatum(to_text(s)));
}
inline value in(const text* t) {
    return t ? value::of(PointerGetDatum(t)) : value::none();
}
inline value in(const Jsonb* j) {
    return j ? value::of(JsonbPGetDatum(j)) : value::none();
}
inline value in(const Interval* i) {
    return i ? value::of(IntervalPGetDatum(i)) : value::none();
}
inline value in(const ArrayType* a) {
    return a ? value::of(PointerGetDatum(a)) : value::none();
}
inline value in(int64 n) {
    return value::of(Int64GetDatum(n));
}
inline value in(int n) {
    return value::of(Int32GetDatum(n));
}
inline value in(bool b) {
    return value::of(BoolGetDatum(b));
}
inline value in_time(TimestampTz t) {
    return value::of(TimestampTzGetDatum(t));
}
inline value in_name(const char* name) {
    return value::of(DirectFunctionCall1(namein, CStringGetDatum(name)));
}

// The arguments of a SQL call. The functions are not STRICT: a null where none is allowed raises 22004 naming it.
class arguments {
public:
    explicit arguments(FunctionCallInfo call) : call_(call) {}
    bool null(int n) const { return past_end(n) || call_->args[n].isnull; }
    const pg_uuid_t& uuid(int n, const char* name) const { return *DatumGetUUIDP(required(n, name)); }
    const pg_uuid_t* uuid_or_null(int n) const { return null(n) ? nullptr : DatumGetUUIDP(call_->args[n].value); }
    const text* string(int n, const char* name) const { return DatumGetTextPP(required(n, name)); }
    const text* string_or_null(int n) const { return null(n) ? nullptr : DatumGetTextPP(call_->args[n].value); }
    const Jsonb* json(int n, const char* name) const { return DatumGetJsonbP(required(n, name)); }
    const Jsonb* json_or_null(int n) const { return null(n) ? nullptr : DatumGetJsonbP(call_->args[n].value); }
    int64 bigint(int n, const char* name) const { return DatumGetInt64(required(n, name)); }
    int integer(int n, const char* name) const { return DatumGetInt32(required(n, name)); }
    bool boolean(int n, const char* name) const { return DatumGetBool(required(n, name)); }
    const Interval* interval(int n, const char* name) const { return DatumGetIntervalP(required(n, name)); }
    TimestampTz time(int n, const char* name) const { return DatumGetTimestampTz(required(n, name)); }
    Oid oid(int n, const char* name) const { return DatumGetObjectId(required(n, name)); }
    ArrayType* array_or_null(int n) const { return null(n) ? nullptr : DatumGetArrayTypeP(call_->args[n].value); }
    ArrayType* array(int n, const char* name) const { return DatumGetArrayTypeP(required(n, name)); }
    const char* name(int n, const char* what) const { return NameStr(*DatumGetName(required(n, what))); }
    FunctionCallInfo call() const { return call_; }

private:
    bool past_end(int n) const { return n >= call_->nargs; }
    Datum required(int n, const char* name) const;
    FunctionCallInfo call_;
};

// An array column for a statement that writes many rows with unnest.
struct element_type {
    Oid type;
    int16 length;
    bool by_value;
    char alignment;
};
constexpr element_type array_of_uuid = {UUIDOID, UUID_LEN, false, TYPALIGN_CHAR};
constexpr element_type array_of_text = {TEXTOID, -1, false, TYPALIGN_INT};
constexpr element_type array_of_bytea = {BYTEAOID, -1, false, TYPALIGN_INT};
constexpr element_type array_of_jsonb = {JSONBOID, -1, false, TYPALIGN_INT};
constexpr element_type array_of_interval = {INTERVALOID, sizeof(Interval), false, TYPALIGN_DOUBLE};
constexpr element_type array_of_int4 = {INT4OID, 4, true, TYPALIGN_INT};
constexpr element_type array_of_int8 = {INT8OID, 8, true, TYPALIGN_DOUBLE};
constexpr element_type array_of_timestamptz = {TIMESTAMPTZOID, 8, true, TYPALIGN_DOUBLE};
class array_builder {
public:
    array_builder(const element_type& type, int most);
    void add(const value& v);
    ArrayType* done() const;

private:
    element_type type_;
    Datum* values_;
    bool* nulls_;
    int count_ = 0;
};

// Microseconds of an interval of days and smaller units; raises 22023 when it is not within [least, most] or has
// months.
int64 bounded_interval(const Interval* interval, int64 least, int64 most, const char* name);
constexpr int64 second = USECS_PER_SEC;
constexpr int64 lease_least = USECS_PER_SEC;
constexpr int64 lease_most = USECS_PER_HOUR;

// One composite result; columns as the function's OUT parameters, in the memory context current at the call.
Datum composite(FunctionCallInfo fcinfo, const value* columns, int count);

// Rows of a set-returning function; columns as its OUT parameters, or the one value of a set of scalars.
class rowset {
public:
    enum of { rows, scalars };
    explicit rowset(FunctionCallInfo fcinfo, of kind = rows);
    void add(const value* columns, int count);
    void add(std::initializer_list<value> columns) { add(columns.begin(), static_cast<int>(columns.size())); }

private:
    ReturnSetInfo* info_;
};

} // namespace sor::bridge
