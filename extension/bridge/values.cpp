#include "bridge/values.hpp"

namespace sor::bridge {

bool is_nil(const pg_uuid_t& id) {
    static constexpr pg_uuid_t nil = {};
    return equal(id, nil);
}

char* to_cstring(const pg_uuid_t& id) {
    return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&id)));
}

bool parse_uuid(const char* text, pg_uuid_t& into) {
    int digits = 0;
    pg_uuid_t id = {};
    for (const char* c = text; *c != '\0'; ++c) {
        int nibble;
        if (*c >= '0' && *c <= '9')
            nibble = *c - '0';
        else if (*c >= 'a' && *c <= 'f')
            nibble = *c - 'a' + 10;
        else if (*c >= 'A' && *c <= 'F')
            nibble = *c - 'A' + 10;
        else if (*c == '-' && (c - text == 8 || c - text == 13 || c - text == 18 || c - text == 23))
            continue;
        else
            return false;
        if (digits == 2 * UUID_LEN)
            return false;
        id.data[digits / 2] = static_cast<unsigned char>(id.data[digits / 2] << 4 | nibble);
        ++digits;
    }
    if (digits != 2 * UUID_LEN)
        return false;
    into = id;
    return true;
}

pg_uuid_t* copy(const pg_uuid_t& id) {
    auto* made = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
    *made = id;
    return made;
}

Datum arguments::required(int n, const char* name) const {
    if (null(n))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument %s must not be null", name),
                        errhint("Give a value for %s.", name)));
    return call_->args[n].value;
}

array_builder::array_builder(const element_type& type, int most)
    : type_(type), values_(static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<size_t>(most)))),
      nulls_(static_cast<bool*>(palloc(sizeof(bool) * static_cast<size_t>(most)))) {}

void array_builder::add(const value& v) {
    values_[count_] = v.datum;
    nulls_[count_++] = v.null;
}

ArrayType* array_builder::done() const {
    if (count_ == 0)
        return construct_empty_array(type_.type);
    int dimension = count_;
    int bound = 1;
    return construct_md_array(values_, nulls_, 1, &dimension, &bound, type_.type, type_.length, type_.by_value,
                              type_.alignment);
}

int64 bounded_interval(const Interval* interval, int64 least, int64 most, const char* name) {
    int64 micros;
    if (interval->month != 0 || __builtin_mul_overflow(static_cast<int64>(interval->day), USECS_PER_DAY, &micros) ||
        __builtin_add_overflow(micros, interval->time, &micros) || micros < least || micros > most)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is out of bounds", name),
                        errdetail("It is %s.",
                                  DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(interval)))),
                        errhint("Give an interval from " INT64_FORMAT " to " INT64_FORMAT " seconds.", least / second,
                                most / second)));
    return micros;
}

Datum composite(FunctionCallInfo fcinfo, const value* columns, int count) {
    TupleDesc desc;
    if (get_call_result_type(fcinfo, nullptr, &desc) != TYPEFUNC_COMPOSITE || desc->natts != count)
        elog(ERROR, "result of function %u is not a row of %d columns", fcinfo->flinfo->fn_oid, count);
    auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * count));
    auto* nulls = static_cast<bool*>(palloc(sizeof(bool) * count));
    for (int i = 0; i < count; ++i) {
        values[i] = columns[i].datum;
        nulls[i] = columns[i].null;
    }
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

rowset::rowset(FunctionCallInfo fcinfo, of kind) : info_(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo)) {
    InitMaterializedSRF(fcinfo, kind == scalars ? MAT_SRF_USE_EXPECTED_DESC : 0);
}

void rowset::add(const value* columns, int count) {
    Assert(info_->setDesc->natts == count);
    Datum values[MaxTupleAttributeNumber];
    bool nulls[MaxTupleAttributeNumber];
    for (int i = 0; i < count; ++i) {
        values[i] = columns[i].datum;
        nulls[i] = columns[i].null;
    }
    tuplestore_putvalues(info_->setResult, info_->setDesc, values, nulls);
}

} // namespace sor::bridge
