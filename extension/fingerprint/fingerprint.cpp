#include "fingerprint/fingerprint.hpp"

#include "bridge/catalog.hpp"
#include "bridge/digest.hpp"
#include "bridge/plan_cache.hpp"
#include "fingerprint/fingerprint_core.hpp"
#include "fingerprint/objects.hpp"

extern "C" {
#include "utils/rls.h"
}

namespace sor::fingerprint {

using bridge::in;
using bridge::value;

namespace {

constexpr long rows_at_a_time = 1000;

// Everything that changes how the server writes a definition or a value.
constexpr const char* settings[][2] = {
    {"search_path", "pg_catalog, pg_temp"},
    {"quote_all_identifiers", "off"},
    {"standard_conforming_strings", "on"},
    {"TimeZone", "UTC"},
    {"DateStyle", "ISO, YMD"},
    {"IntervalStyle", "postgres"},
    {"extra_float_digits", "1"},
    {"bytea_output", "hex"},
    {"lc_monetary", "C"},
    {"jit", "off"}, // the statement is large and runs once
};

// Runs f under those settings, reading what is in the database now, the transaction's own work included: system caches
// show that even under REPEATABLE READ, and what is read beside them has to agree.
template <bridge::guarded F>
void under_fixed_settings(F&& f) {
    const int level = NewGUCNestLevel();
    for (const auto& [name, set] : settings)
        set_config_option(name, set, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    PushActiveSnapshot(GetLatestSnapshot());
    bridge::with_spi([&](MemoryContext) { f(); });
    PopActiveSnapshot();
    AtEOXact_GUC(true, level);
}

// Digests do not depend on the database's encoding.
std::string_view utf8(std::string_view s) {
    if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII || s.empty())
        return s;
    const char* other = pg_server_to_any(s.data(), static_cast<int>(s.size()), PG_UTF8);
    return other == s.data() ? s : std::string_view(other);
}

void append(StringInfo buffer, std::string_view field) {
    const std::string_view bytes = utf8(field);
    const uint64 size = pg_hton64(bytes.size());
    appendBinaryStringInfo(buffer, reinterpret_cast<const char*>(&size), sizeof size);
    appendBinaryStringInfo(buffer, bytes.data(), static_cast<int>(bytes.size()));
}

char* hexadecimal(const unsigned char* digest) {
    char* out = static_cast<char*>(palloc(2 * bridge::digest_size + 1));
    hex_encode(reinterpret_cast<const char*>(digest), bridge::digest_size, out);
    out[2 * bridge::digest_size] = '\0';
    return out;
}

// The rows of a statement, each handed to f in a memory context of its own.
template <bridge::guarded F>
void each_row(const char* sql, int count, Oid* types, Datum* values, const char* nulls, F&& f) {
    Portal portal = SPI_cursor_open_with_args(nullptr, sql, count, types, values, nulls, true, CURSOR_OPT_NO_SCROLL);
    bridge::cursor rows(portal);
    const MemoryContext outer = CurrentMemoryContext;
    const MemoryContext row_memory = AllocSetContextCreate(outer, "sor fingerprint", ALLOCSET_DEFAULT_SIZES);
    for (;;) {
        const bridge::result some = rows.fetch(rows_at_a_time);
        for (uint64 row = 0; row < some.count; ++row) {
            MemoryContextSwitchTo(row_memory);
            f(some, row);
            MemoryContextSwitchTo(outer);
            MemoryContextReset(row_memory);
        }
        some.free();
        if (some.empty())
            break;
    }
    MemoryContextDelete(row_memory);
    rows.close();
}

void refuse_unknown(ArrayType* schemas) {
    Datum* names;
    bool* nulls;
    int count;
    deconstruct_array(schemas, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &count);
    for (int i = 0; i < count; ++i) {
        if (nulls[i])
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the name of a schema is null"),
                            errhint("Give the names of schemas, or null for all of them.")));
        const char* name = TextDatumGetCString(names[i]);
        if (!OidIsValid(get_namespace_oid(name, true)))
            ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA), errmsg("schema \"%s\" does not exist", name),
                            errhint("Name schemas of this database, or give null for all of them.")));
    }
}

// Hands each object and its definition to f, in order.
template <bridge::guarded F>
void each_object(ArrayType* schemas, F&& f) {
    if (schemas != nullptr)
        refuse_unknown(schemas);
    under_fixed_settings([&] {
        Oid types[] = {TEXTARRAYOID};
        Datum values[] = {PointerGetDatum(schemas)};
        each_row(objects_query, 1, types, values, schemas == nullptr ? "n" : " ",
                 [&](const bridge::result& rows, uint64 row) {
                     const char* object = rows.string(row, 1);
                     std::string_view definition = rows.string(row, 2);
                     if (rows.boolean(row, 3)) {
                         const size_t size = with_inner_casts(definition, nullptr);
                         char* stable = static_cast<char*>(palloc(size));
                         with_inner_casts(definition, stable);
                         definition = {stable, size};
                     }
                     f(std::string_view(object), definition);
                 });
    });
}

struct column {
    int number;
    const char* name;
    const char* type;
};

// SELECT of all columns in the order of their names, and what the digest begins with: names and types.
const char* select_all(Relation relation, StringInfo header) {
    const TupleDesc row = RelationGetDescr(relation);
    column* columns = static_cast<column*>(palloc(sizeof(column) * static_cast<size_t>(row->natts + 1)));
    int count = 0;
    for (int i = 0; i < row->natts; ++i) {
        const Form_pg_attribute a = TupleDescAttr(row, i);
        if (!a->attisdropped)
            columns[count++] = {i, NameStr(a->attname), format_type_with_typemod(a->atttypid, a->atttypmod)};
    }
    qsort(columns, static_cast<size_t>(count), sizeof(column), [](const void* a, const void* b) {
        return strcmp(static_cast<const column*>(a)->name, static_cast<const column*>(b)->name);
    });
    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfoString(&sql, "select ");
    for (int i = 0; i < count; ++i) {
        appendStringInfo(&sql, "%s%s", i ? ", " : "", quote_identifier(columns[i].name));
        append(header, columns[i].name);
        append(header, columns[i].type);
    }
    // A child's rows are the child's; a partitioned table has none but its partitions'.
    appendStringInfo(&sql, " from %s %s", relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "only",
                     bridge::qualified_name(RelationGetRelid(relation)));
    return sql.data;
}

// The sum of digests as 256-bit numbers: the same for the same rows in any order, and none can hide another as they
// would with exclusive or.
struct digest_sum {
    uint64 words[4] = {};
    void add(const unsigned char* digest) {
        unsigned carry = 0;
        for (int i = 3; i >= 0; --i) {
            uint64 word;
            memcpy(&word, digest + 8 * i, sizeof word);
            const uint64 before = words[i];
            const uint64 sum = before + pg_ntoh64(word);
            words[i] = sum + carry;
            carry = sum < before || words[i] < sum;
        }
    }
};

Relation open_table(Oid target) {
    Relation relation = try_relation_open(target, AccessShareLock);
    if (relation == nullptr)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", target),
                        errhint("Give a table's name, as text cast to regclass.")));
    switch (relation->rd_rel->relkind) {
    case RELKIND_RELATION:
    case RELKIND_PARTITIONED_TABLE:
    case RELKIND_MATVIEW:
    case RELKIND_FOREIGN_TABLE:
        break;
    default:
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("cannot digest what is no table"),
                        errdetail("%s is a view, a sequence or an index.", RelationGetRelationName(relation)),
                        errhint("Digest the tables that it reads.")));
    }
    if (check_enable_rls(target, InvalidOid, true) == RLS_ENABLED)
        ereport(ERROR,
                (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("cannot digest rows that row security may hide"),
                 errdetail("Table %s has row security, and %s is subject to it.", RelationGetRelationName(relation),
                           GetUserNameFromId(GetUserId(), false)),
                 errhint("Digest it as a role that has BYPASSRLS, or as a superuser.")));
    return relation;
}

} // namespace

char* schema_fingerprint(ArrayType* schemas) {
    const MemoryContext caller = CurrentMemoryContext;
    StringInfoData chain; // each row's digest covers that of the rows before
    initStringInfo(&chain);
    unsigned char digest[bridge::digest_size] = {};
    each_object(schemas, [&](std::string_view object, std::string_view definition) {
        resetStringInfo(&chain);
        appendBinaryStringInfo(&chain, reinterpret_cast<const char*>(digest), sizeof digest);
        append(&chain, object);
        append(&chain, definition);
        bridge::sha256(chain.data, static_cast<size_t>(chain.len), digest);
    });
    pfree(chain.data);
    MemoryContextSwitchTo(caller);
    return hexadecimal(digest);
}

SOR_FUNCTION(schema_fingerprint) {
    const bridge::arguments a(fcinfo);
    return CStringGetTextDatum(schema_fingerprint(a.array_or_null(0)));
}

SOR_FUNCTION(schema_objects) {
    const bridge::arguments a(fcinfo);
    ArrayType* schemas = a.array_or_null(0);
    bridge::rowset rows(fcinfo);
    each_object(schemas, [&](std::string_view object, std::string_view definition) {
        rows.add({in(object), in(definition)});
    });
    return 0;
}

SOR_FUNCTION(table_digest) {
    const bridge::arguments a(fcinfo);
    const Oid target = a.oid(0, "target");
    bridge::rowset rows(fcinfo);
    under_fixed_settings([&] {
        Relation relation = open_table(target);
        StringInfoData whole;
        initStringInfo(&whole);
        const char* sql = select_all(relation, &whole);
        int64 count = 0;
        digest_sum sum;
        StringInfoData fields;
        initStringInfo(&fields);
        each_row(sql, 0, nullptr, nullptr, nullptr, [&](const bridge::result& some, uint64 row) {
            resetStringInfo(&fields);
            for (int i = 1; i <= some.table->tupdesc->natts; ++i) {
                const char* text = SPI_getvalue(some.table->vals[row], some.table->tupdesc, i);
                appendStringInfoChar(&fields, text == nullptr ? '\0' : '\1');
                if (text != nullptr)
                    append(&fields, text);
            }
            unsigned char digest[bridge::digest_size];
            bridge::sha256(fields.data, static_cast<size_t>(fields.len), digest);
            sum.add(digest);
            ++count;
        });
        const uint64 rows_there = pg_hton64(static_cast<uint64>(count));
        appendBinaryStringInfo(&whole, reinterpret_cast<const char*>(&rows_there), sizeof rows_there);
        for (const uint64 word : sum.words) {
            const uint64 bytes = pg_hton64(word);
            appendBinaryStringInfo(&whole, reinterpret_cast<const char*>(&bytes), sizeof bytes);
        }
        unsigned char digest[bridge::digest_size];
        bridge::sha256(whole.data, static_cast<size_t>(whole.len), digest);
        rows.add({in(count), in(static_cast<const char*>(hexadecimal(digest)))});
        relation_close(relation, NoLock);
    });
    return 0;
}

} // namespace sor::fingerprint
