#include "idempotency/idempotency.hpp"

#include "bridge/catalog.hpp"
#include "bridge/subtransaction.hpp"

namespace sor::idempotency {

using bridge::in;
using bridge::result;
using bridge::value;

namespace {

value in_oid(Oid oid) {
    return value::of(ObjectIdGetDatum(oid));
}

column_list columns_of(const value& text_array) {
    column_list out;
    if (text_array.null)
        return out;
    Datum* items;
    deconstruct_array(DatumGetArrayTypeP(text_array.datum), TEXTOID, -1, false, TYPALIGN_INT, &items, nullptr,
                      &out.count);
    out.names = static_cast<char**>(palloc(sizeof(char*) * static_cast<size_t>(out.count + 1)));
    for (int i = 0; i < out.count; ++i)
        out.names[i] = TextDatumGetCString(items[i]);
    return out;
}

// Null when the relation is gone.
table* read_registration(const result& row, uint64 seen) {
    auto* t = static_cast<table*>(palloc0(sizeof(table)));
    t->seen = seen;
    t->name = row.string(0, 1);
    t->qualified = row.string(0, 2);
    t->relid = bridge::find_relation(t->qualified);
    if (!OidIsValid(t->relid))
        return nullptr;
    t->owner = bridge::owner_of_relation(t->relid);
    context::require_harmless_owner(t->owner, psprintf("the registered table \"%s\"", t->name));
    t->key = columns_of(row.column(0, 3));
    t->readable = columns_of(row.column(0, 4));
    t->writable = columns_of(row.column(0, 5));
    t->owner_column = row.string_or_null(0, 6);
    row.free();
    return t;
}

// What the plans below are kept for; unique among the extension's purposes of relation_plan.
enum purpose : uint32 { insert_record = 100, insert_records, existing_record, update_record };

constexpr int most_records = 10000;

// ---------------------------------------------------------------- SQL text

void append_list(StringInfo out, const column_list& columns, const char* format) {
    for (int i = 0; i < columns.count; ++i) {
        if (i > 0)
            appendStringInfoString(out, ", ");
        appendStringInfo(out, format, quote_identifier(columns.names[i]));
    }
}

struct column {
    char* name;      // quoted
    char* literal;   // as an SQL string
    char* fallback;  // SQL of its default, or "null"
    bool insertable; // neither the tenant's nor generated
    bool updatable;  // besides, not of the key
};

column* columns_for(const table& target, int* count) {
    static bridge::statement list("select a.attname::text, pg_catalog.quote_literal(a.attname),"
                                  "       coalesce(case when a.attidentity <> '' then "
                                  "pg_catalog.format('pg_catalog.nextval(%L::pg_catalog.regclass)',"
                                  "                       pg_catalog.pg_get_serial_sequence($2, a.attname))"
                                  "                     else pg_catalog.pg_get_expr(d.adbin, d.adrelid) end, 'null'),"
                                  "       a.attgenerated = '' and a.attidentity <> 'a' and a.attname <> 'tenant_id'"
                                  "  from pg_catalog.pg_attribute a"
                                  "  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum"
                                  " where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum",
                                  {OIDOID, TEXTOID});
    const auto found = list.run(in_oid(target.relid), in(static_cast<const char*>(target.qualified)));
    *count = static_cast<int>(found.count);
    auto* columns = static_cast<column*>(palloc(sizeof(column) * found.count));
    for (uint64 i = 0; i < found.count; ++i) {
        const char* name = found.string(i, 1);
        columns[i] = {pstrdup(quote_identifier(name)), found.string(i, 2), found.string(i, 3), found.boolean(i, 4),
                      found.boolean(i, 4) && !target.key.has(name)};
    }
    found.free();
    return columns;
}

// As the table's owner sees nothing of the registry, and its code may have run already.
char* row_expression(const table& target, const char* alias) {
    if (target.readable.count == 0)
        return psprintf("pg_catalog.to_jsonb(%s)", alias);
    // Pairs by way of a row type keep column types and pass the limit of 100 arguments.
    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfoString(&sql, "(select pg_catalog.to_jsonb(visible) from (select ");
    for (int i = 0; i < target.readable.count; ++i) {
        const char* column = quote_identifier(target.readable.names[i]);
        appendStringInfo(&sql, "%s%s.%s", i ? ", " : "", alias, column);
    }
    appendStringInfoString(&sql, ") visible)");
    return sql.data;
}

constexpr Oid record_types[] = {UUIDOID, JSONBOID, UUIDOID};

// $1 tenant, $2 record or array of records, $3 the user that an absent owner column means (null: its default).
const char* insert_text(const table& target, bool many) {
    int count;
    const column* columns = columns_for(target, &count);
    const char* owner = target.owner_column ? quote_identifier(target.owner_column) : "";
    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfo(&sql, "insert into %s as t (tenant_id", target.qualified);
    for (int i = 0; i < count; ++i)
        if (columns[i].insertable)
            appendStringInfo(&sql, ", %s", columns[i].name);
    appendStringInfoString(&sql, ") select $1");
    for (int i = 0; i < count; ++i)
        if (columns[i].insertable)
            appendStringInfo(&sql, ", case when %s ? %s then r.%s else %s%s%s end", many ? "r.\"sor record\"" : "$2",
                             columns[i].literal, columns[i].name,
                             strcmp(columns[i].name, owner) == 0 ? "coalesce($3, " : "", columns[i].fallback,
                             strcmp(columns[i].name, owner) == 0 ? ")" : "");
    if (many) {
        appendStringInfo(&sql,
                         " from rows from (pg_catalog.jsonb_array_elements($2),"
                         " pg_catalog.jsonb_populate_recordset(null::%s, $2)) as r(\"sor record\"",
                         target.qualified);
        for (int i = 0; i < count; ++i)
            appendStringInfo(&sql, ", %s", columns[i].name);
        appendStringInfoChar(&sql, ')');
    } else {
        appendStringInfo(&sql, " from pg_catalog.jsonb_populate_record(null::%s, $2) r", target.qualified);
    }
    appendStringInfoString(&sql, " on conflict (tenant_id, ");
    append_list(&sql, target.key, "%s");
    appendStringInfoString(&sql, ") do nothing");
    if (!many)
        appendStringInfo(&sql, " returning %s", row_expression(target, "t"));
    else
        appendStringInfoString(&sql, " returning 1");
    return sql.data;
}

void append_key_match(StringInfo sql, const table& target) {
    for (int i = 0; i < target.key.count; ++i)
        appendStringInfo(sql, " and t.%s = r.%s", quote_identifier(target.key.names[i]),
                         quote_identifier(target.key.names[i]));
}

const char* existing_text(const table& target) {
    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfo(&sql,
                     "select %s from pg_catalog.jsonb_populate_record(null::%s, $2) r, %s t where t.tenant_id = $1",
                     row_expression(target, "t"), target.qualified, target.qualified);
    append_key_match(&sql, target);
    return sql.data;
}

// $3: only a row of that owner.
const char* update_text(const table& target) {
    int count;
    const column* columns = columns_for(target, &count);
    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfo(&sql, "update %s t set ", target.qualified);
    bool first = true;
    for (int i = 0; i < count; ++i)
        if (columns[i].updatable) {
            appendStringInfo(&sql, "%s%s = case when $2 ? %s then r.%s else t.%s end", first ? "" : ", ",
                             columns[i].name, columns[i].literal, columns[i].name, columns[i].name);
            first = false;
        }
    if (first) // a table of nothing but its key
        appendStringInfo(&sql, "%s = t.%s", quote_identifier(target.key.names[0]),
                         quote_identifier(target.key.names[0]));
    appendStringInfo(&sql, " from pg_catalog.jsonb_populate_record(null::%s, $2) r where t.tenant_id = $1",
                     target.qualified);
    append_key_match(&sql, target);
    if (target.owner_column != nullptr)
        appendStringInfo(&sql, " and ($3 is null or t.%s = $3)", quote_identifier(target.owner_column));
    else
        appendStringInfoString(&sql, " and ($3::uuid is null or true)");
    appendStringInfo(&sql, " returning %s", row_expression(target, "t"));
    return sql.data;
}

result run_for(const table& target, purpose what, const Jsonb* record, const pg_uuid_t* user) {
    SPIPlanPtr plan = bridge::relation_plan(target.relid, what, target.seen, [&]() -> bridge::relation_plan_text {
        const char* sql = what == insert_record    ? insert_text(target, false)
                          : what == insert_records ? insert_text(target, true)
                          : what == update_record  ? update_text(target)
                                                   : existing_text(target);
        return {sql, record_types, what == existing_record ? 2 : 3};
    });
    const value values[] = {in(context::required_tenant()), in(record), in(user)};
    return bridge::execute_plan(plan, values, what == existing_record ? 2 : 3);
}

// ---------------------------------------------------------------- rules

// What the context's user may write: null when any row, else the one whose rows it may write.
const pg_uuid_t* writing_user(const table& target) {
    const pg_uuid_t* user = context::current_user_id();
    if (user == nullptr)
        return nullptr; // a trusted backend without a user
    const char* role = access::role_of(*user);
    if (!access::permits(role ? role : "", "member"))
        bridge::raise(code::role_not_permitted, psprintf("writing table \"%s\" needs the role member", target.name),
                      psprintf("User %s has %s.", bridge::to_cstring(*user),
                               role ? psprintf("the role %s", role) : "no role in this tenant"),
                      "Act for a member, or have an operator call sor.assign_role.");
    return target.owner_column == nullptr || access::permits(role, "admin") ? nullptr : bridge::copy(*user);
}

// Why a record cannot be written; message null: it can, as far as one sees without writing it.
struct fault {
    code which = code::invalid_parameter;
    const char* message = nullptr;
    const char* hint = nullptr;
};

bool is_uuid(const JsonbValue* v, const pg_uuid_t& wanted) {
    pg_uuid_t id;
    return v->type == jbvString && bridge::parse_uuid(pnstrdup(v->val.string.val, v->val.string.len), id) &&
           bridge::equal(id, wanted);
}

fault find_fault(const table& target, const Jsonb* record, const pg_uuid_t* only_owner) {
    if (!bridge::is_object(record))
        return {code::invalid_parameter, "a record must be a JSON object", "Give {\"column\": value, …}."};
    JsonbIterator* it = JsonbIteratorInit(const_cast<JsonbContainer*>(&record->root));
    JsonbValue v;
    JsonbIteratorToken token;
    while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE) {
        if (token != WJB_KEY)
            continue;
        const std::string_view name{v.val.string.val, static_cast<size_t>(v.val.string.len)};
        const char* column = bridge::to_cstring(name);
        if (name == "tenant_id") {
            if (!is_uuid(bridge::find(record, name), context::required_tenant()))
                return {code::context_already_set, "the record belongs to another tenant",
                        "Leave tenant_id out: it is the call's."};
            continue;
        }
        if (get_attnum(target.relid, column) <= 0)
            return {code::invalid_parameter, psprintf("table \"%s\" has no column \"%s\"", target.name, column),
                    "sor.describe_table lists its columns."};
        if (!target.may_write(name) && !target.key.has(name))
            return {code::invalid_parameter,
                    psprintf("column \"%s\" of table \"%s\" is not writable", column, target.name),
                    "Leave it out, or have an operator register the table with it."};
    }
    for (int i = 0; i < target.key.count; ++i) {
        const JsonbValue* given = bridge::find(record, target.key.names[i]);
        if (given == nullptr || given->type == jbvNull)
            return {code::invalid_parameter,
                    psprintf("key column \"%s\" of table \"%s\" is missing", target.key.names[i], target.name),
                    "The natural key is what makes a repeated write harmless: give all of it."};
    }
    if (only_owner != nullptr) {
        const JsonbValue* given = bridge::find(record, target.owner_column);
        if (given != nullptr && given->type != jbvNull && !is_uuid(given, *only_owner))
            return {code::role_not_permitted,
                    psprintf("writing rows of another user in table \"%s\" needs the role admin", target.name),
                    "A member writes its own rows."};
    }
    return {};
}

// ---------------------------------------------------------------- upsert_many

struct batch {
    const table* target;
    const pg_uuid_t* only_owner;
    const pg_uuid_t* default_owner;
    bool update;
    Jsonb** records;
    int* index; // of each record in the caller's array
    int inserted = 0;
    int existing = 0;
    struct refusal {
        int sqlstate;
        const char* message; // null: not refused
    };
    refusal* refused; // by the caller's index
};

void write_range(batch& b, int from, int to) {
    const table& target = *b.target;
    if (b.update) {
        const written w = upsert(target, b.records[from], true);
        (w.inserted ? b.inserted : b.existing) += 1;
        return;
    }
    bridge::json_writer records;
    records.array();
    for (int i = from; i < to; ++i)
        records.json(b.records[i]);
    const Jsonb* all = records.end().done();
    const int count = static_cast<int>(context::as_role(target.owner, [&] {
        const auto rows = run_for(target, insert_records, all, b.default_owner);
        const uint64 n = rows.count;
        rows.free();
        context::fire_deferred_triggers();
        return n;
    }));
    b.inserted += count;
    b.existing += to - from - count;
}

// Writes what can be written: a range with a bad record is halved until the record stands alone.
void write_or_halve(batch& b, int from, int to) {
    check_stack_depth();
    if (from >= to)
        return;
    if (!b.update || to - from == 1) {
        const int inserted = b.inserted;
        const int existing = b.existing;
        ErrorData* error = bridge::attempt([&] { write_range(b, from, to); });
        if (error == nullptr)
            return;
        if (bridge::is_not_the_answer(error))
            ReThrowError(error);
        b.inserted = inserted;
        b.existing = existing;
        if (to - from == 1) {
            b.refused[b.index[from]] = {error->sqlerrcode, error->message};
            return;
        }
    }
    const int middle = from + (to - from) / 2;
    write_or_halve(b, from, middle);
    write_or_halve(b, middle, to);
}

} // namespace

// ---------------------------------------------------------------- registered tables

bool column_list::has(std::string_view name) const {
    for (int i = 0; i < count; ++i)
        if (name == names[i])
            return true;
    return false;
}

const table* find_table(const char* name) {
    static bridge::statement find("select name, target, key, readable, writable, owner_column"
                                  "  from sor.registered_tables where name = $1",
                                  {TEXTOID});
    const uint64 seen = bridge::relation_changes();
    const auto found = find.run(in(name));
    const table* target = found.empty() ? nullptr : read_registration(found, seen);
    if (target == nullptr)
        bridge::raise(code::not_registered, psprintf("table \"%s\" is not registered", name), nullptr,
                      "An operator registers it with sor.register_table.");
    return target;
}

const table* find_table_of(Oid relid) {
    static bridge::statement find("select name, target, key, readable, writable, owner_column"
                                  "  from sor.registered_tables where target = $1",
                                  {TEXTOID});
    const uint64 seen = bridge::relation_changes();
    const auto found = find.run(in(bridge::qualified_name(relid)));
    return found.empty() ? nullptr : read_registration(found, seen);
}

char* row_expression(Oid relid, const char* alias) {
    // Plans are built as the table's owner, who may not read the registry.
    const table* target = context::as_role(get_role_oid("sor_engine", false), [&] { return find_table_of(relid); });
    return target == nullptr ? psprintf("pg_catalog.to_jsonb(%s)", alias) : row_expression(*target, alias);
}

void require_fit_table(Oid relid) {
    static bridge::statement check(
        "select c.relkind in ('r', 'p') and c.relpersistence = 'p',"
        "       exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'"
        "                 and a.atttypid = 'uuid'::pg_catalog.regtype and a.attnotnull and not a.attisdropped),"
        "       c.relrowsecurity and c.relforcerowsecurity,"
        "       exists (select from pg_catalog.pg_constraint f where f.contype = 'f' and f.conrelid = c.oid"
        "                 and (f.confdeltype in ('c', 'n', 'd') or f.confupdtype in ('c', 'n', 'd')))"
        "       and exists (select from pg_catalog.pg_trigger g join pg_catalog.pg_proc p on p.oid = g.tgfoid"
        "                 where g.tgrelid = c.oid and not g.tgisinternal and g.tgtype & 1 = 1"
        "                   and p.pronamespace <> 'sor'::pg_catalog.regnamespace)"
        "  from pg_catalog.pg_class c where c.oid = $1",
        {OIDOID});
    const auto found = check.run(in_oid(relid));
    const char* name = get_rel_name(relid);
    if (found.empty() || !found.boolean(0, 1))
        bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no ordinary table", name ? name : "?"), nullptr,
                      "Views, foreign and temporary tables cannot be registered.");
    if (!found.boolean(0, 2) || !found.boolean(0, 3))
        bridge::raise(code::invalid_parameter, psprintf("table \"%s\" is not under tenant isolation", name), nullptr,
                      "Call sor.protect_tenant on it first.");
    if (found.boolean(0, 4))
        bridge::raise(code::invalid_parameter,
                      psprintf("table \"%s\" is the target of a cascade and has row triggers", name),
                      "A cascade would fire them with the rights of whoever changes the other table.",
                      "Use ON DELETE NO ACTION, or a table without row triggers.");
}

bool parse_on_conflict(const char* text) {
    if (text == nullptr || strcmp(text, "nothing") == 0)
        return false;
    if (strcmp(text, "update") == 0)
        return true;
    bridge::raise(code::invalid_parameter, psprintf("\"%s\" is no way to treat a conflict", text), nullptr,
                  "Give nothing or update.");
}

written upsert(const table& target, const Jsonb* record, bool update) {
    const pg_uuid_t* only_owner = writing_user(target);
    const pg_uuid_t* default_owner = target.owner_column ? context::current_user_id() : nullptr;
    if (const fault found = find_fault(target, record, only_owner); found.message != nullptr)
        bridge::raise(found.which, found.message, nullptr, found.hint);
    written out = {false, nullptr};
    context::as_role(target.owner, [&] {
        // A row deleted between the two looks is written at the next round.
        for (int round = 0;; ++round) {
            auto rows = run_for(target, insert_record, record, default_owner);
            if (!rows.empty()) {
                out = {true, rows.json(0, 1)};
                break;
            }
            rows.free();
            if (update) {
                rows = run_for(target, update_record, record, only_owner);
                if (!rows.empty()) {
                    out = {false, rows.json(0, 1)};
                    break;
                }
                rows.free();
            }
            rows = run_for(target, existing_record, record, nullptr);
            if (!rows.empty()) {
                if (update)
                    bridge::raise(
                        code::role_not_permitted,
                        psprintf("changing rows of another user in table \"%s\" needs the role admin", target.name),
                        nullptr, "A member writes its own rows.");
                out = {false, rows.json(0, 1)};
                break;
            }
            rows.free();
            if (round == 10)
                ereport(ERROR,
                        (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
                         errmsg("a row of table \"%s\" could neither be inserted nor found", target.name),
                         errdetail("A trigger of the table leaves it out or changes its key, or a policy hides it."),
                         errhint("Have the table's owner mend that.")));
        }
        context::fire_deferred_triggers();
    });
    return out;
}

// ---------------------------------------------------------------- stored responses

fingerprint fingerprint_of(const char* operation, const pg_uuid_t* user, const Jsonb* arguments) {
    StringInfoData bytes;
    initStringInfo(&bytes);
    appendBinaryStringInfo(&bytes, operation, static_cast<int>(strlen(operation)) + 1); // its NUL ends it
    static constexpr pg_uuid_t nobody = {};
    appendBinaryStringInfo(&bytes, reinterpret_cast<const char*>((user ? user : &nobody)->data), UUID_LEN);
    JsonbToCString(&bytes, const_cast<JsonbContainer*>(&arguments->root), VARSIZE(arguments));
    fingerprint out;
    bridge::sha256(bytes.data, static_cast<size_t>(bytes.len), out.bytes);
    pfree(bytes.data);
    return out;
}

void look_up(request* requests, int count) {
    static bridge::statement find(
        "select fingerprint, response, expires_at from sor.idempotency_keys where tenant_id = $1 and key = $2",
        {UUIDOID, UUIDOID});
    const TimestampTz now = GetCurrentTimestamp();
    for (int i = 0; i < count; ++i) {
        request& r = requests[i];
        if (r.state != request::unknown)
            continue;
        const auto found = find.run(in(context::required_tenant()), in(r.key));
        if (!found.empty() && found.time(0, 3) > now) {
            const bool same =
                memcmp(VARDATA_ANY(DatumGetByteaPP(found.datum(0, 1))), r.print.bytes, bridge::digest_size) == 0;
            r.state = same ? request::replay : request::mismatch;
            r.response = same ? DatumGetJsonbPCopy(found.datum(0, 2)) : nullptr;
        }
        found.free();
    }
}

void reserve(request* requests, int count) {
    for (int round = 0; round < 10; ++round) {
        bridge::array_builder keys(bridge::array_of_uuid, count), operations(bridge::array_of_text, count),
            prints(bridge::array_of_bytea, count), ttls(bridge::array_of_interval, count);
        int wanted = 0;
        for (int i = 0; i < count; ++i) {
            const request& r = requests[i];
            if (r.state != request::unknown)
                continue;
            keys.add(in(r.key));
            operations.add(in(r.operation));
            prints.add(in(bridge::to_bytea(r.print.bytes)));
            ttls.add(in(r.ttl));
            ++wanted;
        }
        if (wanted == 0)
            return;
        // In key order, so that two batches wait for each other in one direction only.
        static bridge::statement claim(
            "insert into sor.idempotency_keys as k (tenant_id, key, operation, fingerprint, response, created_at, "
            "expires_at)"
            " select $1, r.key, r.operation, r.print, 'null', $6, $6 + r.ttl"
            "   from rows from (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
            "pg_catalog.unnest($5))"
            "     as r(key, operation, print, ttl) order by r.key"
            " on conflict (tenant_id, key) do update set operation = excluded.operation, fingerprint = "
            "excluded.fingerprint,"
            "   response = excluded.response, created_at = excluded.created_at, expires_at = excluded.expires_at"
            "   where k.expires_at <= $6"
            " returning k.key",
            {UUIDOID, UUIDARRAYOID, TEXTARRAYOID, BYTEAARRAYOID, INTERVALARRAYOID, TIMESTAMPTZOID});
        const auto mine = claim.run(in(context::required_tenant()), in(keys.done()), in(operations.done()),
                                    in(prints.done()), in(ttls.done()), bridge::in_time(GetCurrentTimestamp()));
        for (uint64 row = 0; row < mine.count; ++row)
            for (int i = 0; i < count; ++i)
                if (requests[i].state == request::unknown && bridge::equal(requests[i].key, mine.uuid(row, 1))) {
                    requests[i].state = request::mine;
                    break;
                }
        if (mine.count == static_cast<uint64>(wanted))
            return;
        look_up(requests, count); // what a twin committed meanwhile
    }
    ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("request keys change too fast to be claimed"),
                    errhint("Try again.")));
}

void settle(const request* requests, int count) {
    static bridge::statement store("update sor.idempotency_keys set response = $3 where tenant_id = $1 and key = $2",
                                   {UUIDOID, UUIDOID, JSONBOID});
    static bridge::statement forget("delete from sor.idempotency_keys where tenant_id = $1 and key = $2",
                                    {UUIDOID, UUIDOID});
    for (int i = 0; i < count; ++i) {
        const request& r = requests[i];
        if (r.state != request::mine)
            continue;
        if (r.response != nullptr)
            store.run(in(context::required_tenant()), in(r.key), in(r.response));
        else
            forget.run(in(context::required_tenant()), in(r.key));
    }
}

} // namespace sor::idempotency

using namespace sor;
using bridge::in;

SOR_FUNCTION(register_table) {
    const bridge::arguments a(fcinfo);
    const Oid relid = a.oid(0, "target");
    ArrayType* key = a.array(1, "key");
    ArrayType* readable = a.array_or_null(2);
    ArrayType* writable = a.array_or_null(3);
    const text* owner_column = a.string_or_null(4);
    const char* name = a.null(5) ? get_rel_name(relid) : bridge::to_cstring(bridge::view(a.string(5, "name")));
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        idempotency::require_fit_table(relid);
        const char* target = bridge::qualified_name(relid);
        const Oid owner = bridge::owner_of_relation(relid);
        context::require_member_of(owner, "Only a member of a table's owner can register it.");
        context::require_fit_owner(owner, psprintf("the registered table \"%s\"", get_rel_name(relid)));
        static bridge::statement check(
            "with named as (select pg_catalog.unnest($2 || coalesce($3, '{}') || coalesce($4, '{}')"
            "                                        || case when $5 is null then '{}'::text[] else array[$5] end) as "
            "column_name)"
            "select (select pg_catalog.string_agg(distinct coalesce(n.column_name, 'null'), ', ') from named n"
            "         where not exists (select from pg_catalog.pg_attribute a where a.attrelid = $1 and a.attname = "
            "n.column_name"
            "                             and a.attnum > 0 and not a.attisdropped)),"
            "       exists (select from pg_catalog.pg_index i"
            "                where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indpred is null and "
            "i.indexprs is null"
            "                  and (select pg_catalog.array_agg(a.attname::text order by a.attname::text)"
            "                         from pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k"
            "                         join pg_catalog.pg_attribute a on a.attrelid = $1 and a.attnum = k)"
            "                      = (select pg_catalog.array_agg(k order by k) from pg_catalog.unnest($2 || "
            "'{tenant_id}'::text[]) k)),"
            "       $5 is null or exists (select from pg_catalog.pg_attribute a where a.attrelid = $1 and a.attname = "
            "$5"
            "                               and a.atttypid = 'uuid'::pg_catalog.regtype),"
            "       pg_catalog.cardinality($2) > 0 and not coalesce('tenant_id' = any ($2), false)",
            {OIDOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID});
        const auto found = check.run(bridge::value::of(ObjectIdGetDatum(relid)), in(key), in(readable), in(writable),
                                     in(owner_column));
        if (!found.boolean(0, 4))
            bridge::raise(code::invalid_parameter, "the natural key needs at least one column beside tenant_id",
                          nullptr, "Name the columns that make two writes the same write.");
        if (!found.null(0, 1))
            bridge::raise(code::invalid_parameter,
                          psprintf("table \"%s\" has no column %s", get_rel_name(relid), found.string(0, 1)), nullptr,
                          nullptr);
        if (!found.boolean(0, 2))
            bridge::raise(code::invalid_parameter,
                          psprintf("table \"%s\" has no unique index on tenant_id and its key", get_rel_name(relid)),
                          nullptr, "Create a plain unique index or constraint on exactly those columns.");
        if (!found.boolean(0, 3))
            bridge::raise(code::invalid_parameter, "the owner column must be of type uuid", nullptr,
                          "It holds a user id.");
        static bridge::statement save(
            "insert into sor.registered_tables (name, target, key, readable, writable, owner_column)"
            " values ($1, $2, $3, $4, $5, $6) on conflict (name) do update set target = excluded.target, key = "
            "excluded.key,"
            " readable = excluded.readable, writable = excluded.writable, owner_column = excluded.owner_column",
            {TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID});
        save.run(in(name), in(target), in(key), in(readable), in(writable), in(owner_column));
        CacheInvalidateRelcacheByRelid(relid); // kept plans were made for the former registration
        static bridge::statement describe(
            "select pg_catalog.jsonb_build_object('kind', 'table', 'name', $1, 'target', $2,"
            " 'key', $3, 'readable', $4, 'writable', $5, 'owner_column', $6)",
            {TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID});
        events::append_system(
            "registered",
            describe.run(in(name), in(target), in(key), in(readable), in(writable), in(owner_column)).json(0, 1));
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(describe_table) {
    const bridge::arguments a(fcinfo);
    char* name = bridge::to_cstring(bridge::view(a.string(0, "target")));
    bridge::rowset rows(fcinfo);
    context::as_engine([&](MemoryContext) {
        const idempotency::table* target = idempotency::find_table(name);
        static bridge::statement list("select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),"
                                      "       a.attnotnull and not a.atthasdef and a.attidentity = '', a.attgenerated "
                                      "= '' and a.attidentity <> 'a'"
                                      "  from pg_catalog.pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not "
                                      "a.attisdropped and a.attname <> 'tenant_id'"
                                      " order by a.attnum",
                                      {OIDOID});
        const auto found = list.run(bridge::value::of(ObjectIdGetDatum(target->relid)));
        for (uint64 i = 0; i < found.count; ++i) {
            const char* column = found.string(i, 1);
            const bool key = target->key.has(column);
            rows.add({found.column(i, 1), found.column(i, 2), in(key), in(target->may_read(column)),
                      in(found.boolean(i, 4) && (key || target->may_write(column))), found.column(i, 3)});
        }
    });
    return 0;
}

SOR_FUNCTION(upsert) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    char* name = bridge::to_cstring(bridge::view(a.string(1, "target")));
    const Jsonb* record = a.json(2, "record");
    const bool update = idempotency::parse_on_conflict(bridge::to_cstring(bridge::view(a.string(3, "on_conflict"))));
    context::fire_deferred_triggers_of_caller();
    context::identity who;
    who.acts = true;
    return context::data_plane(tenant, who, [&](MemoryContext caller) -> Datum {
        const auto written = idempotency::upsert(*idempotency::find_table(name), record, update);
        const MemoryContext here = MemoryContextSwitchTo(caller);
        const bridge::value columns[] = {in(written.inserted), in(written.stored)};
        const Datum row = bridge::composite(fcinfo, columns, 2);
        MemoryContextSwitchTo(here);
        return row;
    });
}

SOR_FUNCTION(upsert_many) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    char* name = bridge::to_cstring(bridge::view(a.string(1, "target")));
    const Jsonb* records = a.json(2, "records");
    const bool update = idempotency::parse_on_conflict(bridge::to_cstring(bridge::view(a.string(3, "on_conflict"))));
    const bool dry_run = a.boolean(4, "dry_run");
    if (!bridge::is_array(records) || JB_ROOT_COUNT(const_cast<Jsonb*>(records)) > idempotency::most_records)
        bridge::raise(code::invalid_parameter, "records must be a JSON array of at most 10000 objects", nullptr,
                      "Send them in batches.");
    context::fire_deferred_triggers_of_caller();
    context::identity who;
    who.acts = true;
    return context::data_plane(tenant, who, [&](MemoryContext caller) -> Datum {
        idempotency::batch b;
        b.target = idempotency::find_table(name);
        b.only_owner = idempotency::writing_user(*b.target);
        b.default_owner = b.target->owner_column ? context::current_user_id() : nullptr;
        b.update = update;
        const auto most = static_cast<size_t>(JB_ROOT_COUNT(const_cast<Jsonb*>(records)));
        b.records = static_cast<Jsonb**>(palloc(sizeof(Jsonb*) * (most + 1)));
        b.index = static_cast<int*>(palloc(sizeof(int) * (most + 1)));
        b.refused =
            static_cast<idempotency::batch::refusal*>(palloc0(sizeof(idempotency::batch::refusal) * (most + 1)));
        int good = 0;
        bridge::each_element(records, [&](int index, Jsonb* record) {
            if (const auto found = idempotency::find_fault(*b.target, record, b.only_owner); found.message != nullptr) {
                b.refused[index] = {bridge::sqlstate(found.which), found.message};
                return;
            }
            b.records[good] = record;
            b.index[good++] = index;
        });
        if (dry_run)
            bridge::rehearse([&] { idempotency::write_or_halve(b, 0, good); });
        else
            idempotency::write_or_halve(b, 0, good);
        const MemoryContext here = MemoryContextSwitchTo(caller);
        bridge::json_writer refused;
        refused.array();
        for (size_t i = 0; i < most; ++i)
            if (b.refused[i].message != nullptr)
                refused.object()
                    .field("index", static_cast<int>(i))
                    .field("sqlstate", unpack_sql_state(b.refused[i].sqlstate))
                    .field("message", b.refused[i].message)
                    .end();
        const bridge::value columns[] = {in(b.inserted), in(b.existing), in(refused.end().done())};
        const Datum row = bridge::composite(fcinfo, columns, 3);
        MemoryContextSwitchTo(here);
        return row;
    });
}

SOR_FUNCTION(purge_idempotency_keys) {
    const bridge::arguments a(fcinfo);
    const pg_uuid_t& tenant = a.uuid(0, "tenant_id");
    const int most = a.integer(1, "max");
    if (most < 1)
        bridge::raise(code::invalid_parameter, "max must be at least 1", nullptr, nullptr);
    context::identity who;
    who.actor_kind = "system";
    return context::data_plane(tenant, who, [&](MemoryContext) -> Datum {
        static bridge::statement purge(
            "with expired as materialized (select key from sor.idempotency_keys where tenant_id = $1 and expires_at <= "
            "$2"
            "                               order by expires_at limit $3 for update skip locked)"
            " delete from sor.idempotency_keys k using expired e where k.tenant_id = $1 and k.key = e.key",
            {UUIDOID, TIMESTAMPTZOID, INT4OID});
        return Int32GetDatum(
            static_cast<int>(purge.run(in(tenant), bridge::in_time(GetCurrentTimestamp()), in(most)).count));
    });
}
