#include "bridge/json.hpp"

namespace sor::bridge {

json_writer& json_writer::push(JsonbIteratorToken token) {
    if (depth_ == deepest)
        elog(ERROR, "json nested deeper than %d", deepest);
    in_object_[depth_++] = token == WJB_BEGIN_OBJECT;
    result_ = pushJsonbValue(&state_, token, nullptr);
    return *this;
}

json_writer& json_writer::end() {
    result_ = pushJsonbValue(&state_, in_object_[--depth_] ? WJB_END_OBJECT : WJB_END_ARRAY, nullptr);
    return *this;
}

json_writer& json_writer::put(JsonbValue& v) {
    result_ = pushJsonbValue(&state_, in_object_[depth_ - 1] ? WJB_VALUE : WJB_ELEM, &v);
    return *this;
}

json_writer& json_writer::key(std::string_view name) {
    JsonbValue v;
    v.type = jbvString;
    v.val.string.val = to_cstring(name);
    v.val.string.len = static_cast<int>(name.size());
    result_ = pushJsonbValue(&state_, WJB_KEY, &v);
    return *this;
}

json_writer& json_writer::string(std::string_view s) {
    JsonbValue v;
    v.type = jbvString;
    v.val.string.val = to_cstring(s);
    v.val.string.len = static_cast<int>(s.size());
    return put(v);
}

json_writer& json_writer::integer(int64 n) {
    JsonbValue v;
    v.type = jbvNumeric;
    v.val.numeric = int64_to_numeric(n);
    return put(v);
}

json_writer& json_writer::boolean(bool b) {
    JsonbValue v;
    v.type = jbvBool;
    v.val.boolean = b;
    return put(v);
}

json_writer& json_writer::null() {
    JsonbValue v;
    v.type = jbvNull;
    return put(v);
}

json_writer& json_writer::json(const Jsonb* j) {
    JsonbValue v;
    if (JB_ROOT_IS_SCALAR(const_cast<Jsonb*>(j))) {
        JsonbExtractScalar(const_cast<JsonbContainer*>(&j->root), &v);
    } else {
        v.type = jbvBinary;
        v.val.binary.data = const_cast<JsonbContainer*>(&j->root);
        v.val.binary.len = VARSIZE(j) - VARHDRSZ;
    }
    return put(v);
}

json_writer& json_writer::time(TimestampTz t) {
    pg_tm broken;
    fsec_t fraction;
    int zone = 0;
    if (timestamp2tm(t, nullptr, &broken, &fraction, nullptr, nullptr) != 0)
        ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
    broken.tm_isdst = 0; // unknown would leave the zone out
    char buffer[MAXDATELEN + 1];
    EncodeDateTime(&broken, fraction, true, zone, nullptr, USE_XSD_DATES, buffer);
    return string(buffer);
}

Jsonb* json_writer::done() {
    return JsonbValueToJsonb(result_);
}

namespace {

// What convertJsonbArray and convertJsonbObject of jsonb_util.c write: a header, an entry for each part with its length
// or, every so often, the end of its data, then the data, containers aligned.
class layout {
public:
    layout(StringInfo entries, StringInfo data) : entries_(entries), data_(data) {}

    void string(uint32 index, std::string_view s) {
        const int start = data_->len;
        appendBinaryStringInfo(data_, s.data(), static_cast<int>(s.size()));
        entry(index, JENTRY_ISSTRING, start);
    }
    void container(uint32 index, const Jsonb* part) {
        if (JB_ROOT_IS_SCALAR(const_cast<Jsonb*>(part)))
            elog(ERROR, "a scalar cannot be joined");
        const int start = data_->len;
        while (data_->len % static_cast<int>(sizeof(int32)) != 0)
            appendStringInfoCharMacro(data_, '\0');
        require(static_cast<Size>(data_->len) + VARSIZE(part));
        appendBinaryStringInfo(data_, VARDATA(part), VARSIZE(part) - VARHDRSZ);
        entry(index, JENTRY_ISCONTAINER, start);
    }
    // In the given context.
    static Jsonb* assemble(uint32 header, const StringInfo entries, const StringInfo data, MemoryContext where) {
        const Size size = VARHDRSZ + sizeof(header) + static_cast<Size>(entries->len) + static_cast<Size>(data->len);
        auto* made = static_cast<Jsonb*>(MemoryContextAlloc(where, size));
        SET_VARSIZE(made, size);
        char* at = VARDATA(made);
        memcpy(at, &header, sizeof(header));
        memcpy(at + sizeof(header), entries->data, static_cast<size_t>(entries->len));
        memcpy(at + sizeof(header) + entries->len, data->data, static_cast<size_t>(data->len));
        return made;
    }

private:
    static void require(Size bytes) {
        if (bytes > JENTRY_OFFLENMASK)
            ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("the answer is larger than a jsonb can be"),
                            errdetail("A jsonb holds at most %u bytes.", JENTRY_OFFLENMASK),
                            errhint("Read the tables themselves, or sor.replay, which returns rows.")));
    }
    void entry(uint32 index, uint32 type, int start) {
        require(static_cast<Size>(data_->len));
        const JEntry meta = index % JB_OFFSET_STRIDE == 0 ? type | static_cast<uint32>(data_->len) | JENTRY_HAS_OFF
                                                          : type | static_cast<uint32>(data_->len - start);
        appendBinaryStringInfo(entries_, reinterpret_cast<const char*>(&meta), sizeof(meta));
    }
    StringInfo entries_;
    StringInfo data_;
};

} // namespace

json_joiner::json_joiner() {
    initStringInfo(&entries_);
    initStringInfo(&data_);
}

void json_joiner::add(const Jsonb* part) {
    layout(&entries_, &data_).container(count_++, part);
}

Jsonb* json_joiner::done() {
    Jsonb* made = layout::assemble(JB_FARRAY | count_, &entries_, &data_, CurrentMemoryContext);
    pfree(entries_.data);
    pfree(data_.data);
    *this = json_joiner();
    return made;
}

Jsonb* join_object(std::initializer_list<json_part> parts, MemoryContext where) {
    StringInfoData entries;
    StringInfoData data;
    initStringInfo(&entries);
    initStringInfo(&data);
    layout l(&entries, &data);
    uint32 index = 0;
    for (const json_part& part : parts)
        l.string(index++, part.key);
    for (const json_part& part : parts)
        l.container(index++, part.value);
    Jsonb* made = layout::assemble(JB_FOBJECT | static_cast<uint32>(parts.size()), &entries, &data, where);
    pfree(entries.data);
    pfree(data.data);
    return made;
}

Jsonb* empty_object() {
    return json_writer().object().end().done();
}

Jsonb* json_of(const JsonbValue* v) {
    return JsonbValueToJsonb(const_cast<JsonbValue*>(v));
}

bool is_object(const Jsonb* j) {
    return JB_ROOT_IS_OBJECT(const_cast<Jsonb*>(j));
}

bool is_array(const Jsonb* j) {
    return JB_ROOT_IS_ARRAY(const_cast<Jsonb*>(j)) && !JB_ROOT_IS_SCALAR(const_cast<Jsonb*>(j));
}

JsonbValue* find(const Jsonb* object, std::string_view key) {
    return getKeyJsonValueFromContainer(const_cast<JsonbContainer*>(&object->root), key.data(),
                                        static_cast<int>(key.size()), nullptr);
}

namespace {

[[noreturn]] void wrong_type(const char* key, const char* wanted) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"%s\" has the wrong type", key),
                    errhint("Give a %s.", wanted)));
    pg_unreachable();
}

} // namespace

char* find_string(const Jsonb* object, const char* key) {
    const JsonbValue* v = find(object, key);
    if (v == nullptr || v->type == jbvNull)
        return nullptr;
    if (v->type != jbvString)
        wrong_type(key, "string");
    return pnstrdup(v->val.string.val, v->val.string.len);
}

bool find_integer(const Jsonb* object, const char* key, int64& into) {
    const JsonbValue* v = find(object, key);
    if (v == nullptr || v->type == jbvNull)
        return false;
    if (v->type != jbvNumeric)
        wrong_type(key, "whole number of 64 bits");
    const Datum number = NumericGetDatum(v->val.numeric);
    const auto below = [&](int64 n) {
        return DatumGetBool(DirectFunctionCall2(numeric_lt, number, NumericGetDatum(int64_to_numeric(n))));
    };
    const bool fits =
        !below(PG_INT64_MIN) &&
        (below(PG_INT64_MAX) ||
         DatumGetBool(DirectFunctionCall2(numeric_eq, number, NumericGetDatum(int64_to_numeric(PG_INT64_MAX)))));
    if (!fits || !DatumGetBool(DirectFunctionCall2(numeric_eq, DirectFunctionCall1(numeric_floor, number), number)))
        wrong_type(key, "whole number of 64 bits");
    into = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
    return true;
}

Jsonb* find_json(const Jsonb* object, const char* key) {
    const JsonbValue* v = find(object, key);
    return v == nullptr ? nullptr : json_of(v);
}

void only_keys(const Jsonb* object, const char* what, std::initializer_list<const char*> allowed) {
    if (!is_object(object))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be a JSON object", what)));
    JsonbIterator* it = JsonbIteratorInit(const_cast<JsonbContainer*>(&object->root));
    JsonbValue v;
    JsonbIteratorToken token;
    while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE) {
        if (token != WJB_KEY)
            continue;
        const std::string_view name{v.val.string.val, static_cast<size_t>(v.val.string.len)};
        bool known = false;
        for (const char* a : allowed)
            known = known || name == a;
        if (!known) {
            StringInfoData list;
            initStringInfo(&list);
            for (const char* a : allowed)
                appendStringInfo(&list, "%s%s", list.len ? ", " : "", a);
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("%s has no argument \"%.*s\"", what, static_cast<int>(name.size()), name.data()),
                            errhint("It takes: %s.", list.data)));
        }
    }
}

char* to_cstring(const Jsonb* j) {
    return JsonbToCString(nullptr, const_cast<JsonbContainer*>(&j->root), VARSIZE(j));
}

Jsonb* parse_json(const char* text) {
    return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

} // namespace sor::bridge
