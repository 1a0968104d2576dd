// jsonb: building and looking up. Everything is palloc'd in the memory context current at the call.
#pragma once

#include "bridge/values.hpp"

namespace sor::bridge {

// json_writer w; w.object().field("a", 1).field("b", text).end(); Jsonb* j = w.done();
// field() with a null pointer writes null.
class json_writer {
public:
    json_writer& object() { return push(WJB_BEGIN_OBJECT); }
    json_writer& array() { return push(WJB_BEGIN_ARRAY); }
    json_writer& end(); // of the innermost object or array
    json_writer& key(std::string_view name);
    json_writer& string(std::string_view s);
    json_writer& integer(int64 n);
    json_writer& boolean(bool b);
    json_writer& null();
    json_writer& json(const Jsonb* j);
    json_writer& time(TimestampTz t); // ISO 8601, UTC, microseconds

    json_writer& field(std::string_view name, std::string_view s) { return key(name).string(s); }
    json_writer& field(std::string_view name, const char* s) { return s ? key(name).string(s) : key(name).null(); }
    json_writer& field(std::string_view name, char* s) { return field(name, static_cast<const char*>(s)); }
    json_writer& field(std::string_view name, const text* s) {
        return s ? key(name).string(view(s)) : key(name).null();
    }
    json_writer& field(std::string_view name, const pg_uuid_t& id) { return key(name).string(to_cstring(id)); }
    json_writer& field(std::string_view name, const pg_uuid_t* id) { return id ? field(name, *id) : key(name).null(); }
    json_writer& field(std::string_view name, int64 n) { return key(name).integer(n); }
    json_writer& field(std::string_view name, int n) { return key(name).integer(n); }
    json_writer& field(std::string_view name, bool b) { return key(name).boolean(b); }
    json_writer& field(std::string_view name, const Jsonb* j) { return j ? key(name).json(j) : key(name).null(); }
    json_writer& field(std::string_view name, Jsonb* j) { return field(name, static_cast<const Jsonb*>(j)); }
    Jsonb* done();

private:
    static constexpr int deepest = 16;
    json_writer& push(JsonbIteratorToken token);
    json_writer& put(JsonbValue& v);
    JsonbParseState* state_ = nullptr;
    JsonbValue* result_ = nullptr;
    bool in_object_[deepest] = {};
    int depth_ = 0;
};

// An array out of jsonb objects and arrays, copied as they are: json_writer takes its parts to pieces, and many large
// ones would need many times their size. Raises 54000 beyond the 256 MB that a jsonb can hold.
class json_joiner {
public:
    json_joiner();
    void add(const Jsonb* part);
    Jsonb* done(); // and an empty array from then on
private:
    StringInfoData entries_;
    StringInfoData data_;
    uint32 count_ = 0;
};
struct json_part {
    std::string_view key;
    const Jsonb* value; // an object or array
};
// Likewise an object. The parts in jsonb's own order: shorter keys first, those of one length by their bytes.
Jsonb* join_object(std::initializer_list<json_part> parts, MemoryContext where);

Jsonb* empty_object();
Jsonb* json_of(const JsonbValue* v); // a value found inside another jsonb, as a jsonb of its own

// Null when absent. The parent must be an object (check with is_object).
bool is_object(const Jsonb* j);
bool is_array(const Jsonb* j);
JsonbValue* find(const Jsonb* object, std::string_view key);
// The value's text, or null when it is absent or JSON null; raises 22023 naming the key when it has another type.
char* find_string(const Jsonb* object, const char* key);
// False when absent or JSON null; raises 22023 when it is no whole number of int64.
bool find_integer(const Jsonb* object, const char* key, int64& into);
Jsonb* find_json(const Jsonb* object, const char* key); // null when absent
// Calls f(index, element as jsonb) for each element of an array.
template <class F>
void each_element(const Jsonb* array, F&& f) {
    JsonbIterator* it = JsonbIteratorInit(const_cast<JsonbContainer*>(&array->root));
    JsonbValue v;
    int index = 0;
    JsonbIteratorToken token = JsonbIteratorNext(&it, &v, true);
    while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_ELEM)
        f(index++, json_of(&v));
}
// Raises 22023 naming the first key of the object that is not in the list.
void only_keys(const Jsonb* object, const char* what, std::initializer_list<const char*> allowed);

char* to_cstring(const Jsonb* j);
Jsonb* parse_json(const char* text);

} // namespace sor::bridge
