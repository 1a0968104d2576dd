#include "migrations/effect.hpp"

#include "bridge/catalog.hpp"
#include "bridge/plan_cache.hpp"
#include "migrations/runner.hpp"

extern "C" {
#include "catalog/index.h"
#include "nodes/makefuncs.h"
}

namespace sor::migrations {

namespace {

Jsonb* effect(const char* kind, const char* table, const char* object) {
    bridge::json_writer out;
    return out.object().field("kind", kind).field("table", table).field("object", object).end().done();
}

Oid lookup(const RangeVar* name) {
    return RangeVarGetRelid(name, NoLock, true);
}

const char* name_or_null(Oid relation) {
    return OidIsValid(relation) ? bridge::qualified_name(relation) : nullptr;
}

Jsonb* effect_of_index(const IndexStmt* s) {
    const Oid table = lookup(s->relation);
    if (!OidIsValid(table))
        return effect("none", nullptr, nullptr); // the statement says so
    const char* schema = get_namespace_name(get_rel_namespace(table));
    return effect("create_index", bridge::qualified_name(table),
                  psprintf("%s.%s", quote_identifier(schema), quote_identifier(s->idxname)));
}

Jsonb* effect_of_node(const Node* node) {
    switch (nodeTag(node)) {
    case T_IndexStmt:
        return effect_of_index(reinterpret_cast<const IndexStmt*>(node));
    case T_DropStmt: {
        const auto* s = reinterpret_cast<const DropStmt*>(node);
        const Oid index = lookup(makeRangeVarFromNameList(static_cast<List*>(linitial(s->objects))));
        return OidIsValid(index) ? effect("drop_index", nullptr, bridge::qualified_name(index))
                                 : effect("none", nullptr, nullptr);
    }
    case T_ReindexStmt: {
        const auto* s = reinterpret_cast<const ReindexStmt*>(node);
        Oid table = lookup(s->relation);
        if (OidIsValid(table) && s->kind == REINDEX_OBJECT_INDEX)
            table = IndexGetRelation(table, true);
        return OidIsValid(table) ? effect("reindex", bridge::qualified_name(table), nullptr)
                                 : effect("none", nullptr, nullptr);
    }
    case T_AlterTableStmt: {
        const auto* s = reinterpret_cast<const AlterTableStmt*>(node);
        const auto* command = static_cast<const AlterTableCmd*>(linitial(s->cmds));
        const char* parent = name_or_null(lookup(s->relation));
        const char* partition = name_or_null(lookup(castNode(PartitionCmd, command->def)->name));
        return parent && partition ? effect("detach_partition", parent, partition) : effect("none", nullptr, nullptr);
    }
    default:
        return effect("none", nullptr, nullptr);
    }
}

struct parts {
    const char* kind;
    const char* table;
    const char* object;
    bool is(const char* k) const { return strcmp(kind, k) == 0; }
};
parts parts_of(const Jsonb* e) {
    const parts p = {bridge::find_string(e, "kind"), bridge::find_string(e, "table"), bridge::find_string(e, "object")};
    return p.kind ? p : parts{"none", nullptr, nullptr};
}

// By the caches, which need no right to the schema.
bridge::value relation(const char* name) {
    return bridge::value::of(ObjectIdGetDatum(name ? bridge::find_relation(name) : InvalidOid));
}

enum class index_state { absent, of_another_table, invalid, valid };
index_state state_of(const parts& p) {
    static bridge::statement state("select indisvalid and indisready and indislive, $2 in (indrelid, 0)"
                                   "  from pg_catalog.pg_index where indexrelid = $1",
                                   {OIDOID, OIDOID});
    const auto found = state.run_latest(relation(p.object), relation(p.table));
    return found.empty()          ? index_state::absent
           : !found.boolean(0, 2) ? index_state::of_another_table
           : found.boolean(0, 1)  ? index_state::valid
                                  : index_state::invalid;
}

// Indexes that an interrupted REINDEX CONCURRENTLY left on the table or on its TOAST table.
List* half_rebuilt(const parts& p) {
    static bridge::statement left(
        "select pg_catalog.format('%I.%I', n.nspname, c.relname)"
        "  from pg_catalog.pg_class t join pg_catalog.pg_index i on i.indrelid in (t.oid, t.reltoastrelid)"
        "  join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
        " where t.oid = $1 and not i.indisvalid and c.relname ~ '_cc(new|old)[0-9]*$'"
        " order by c.oid",
        {OIDOID});
    List* out = NIL;
    const auto found = left.run_latest(relation(p.table));
    for (uint64 i = 0; i < found.count; ++i)
        out = lappend(out, found.string(i, 1));
    return out;
}

enum class partition_state { apart, pending, attached };
partition_state state_of_partition(const parts& p) {
    static bridge::statement state("select inhdetachpending from pg_catalog.pg_inherits"
                                   " where inhrelid = $1 and inhparent = $2",
                                   {OIDOID, OIDOID});
    const auto found = state.run_latest(relation(p.object), relation(p.table));
    return found.empty()         ? partition_state::apart
           : found.boolean(0, 1) ? partition_state::pending
                                 : partition_state::attached;
}

} // namespace

Jsonb* effect_of(const char* version, bool down, const step& s) {
    Jsonb* out = nullptr;
    place at = {version, down, s.first, s.line, nullptr, {}};
    enter(at);
    as_at_login([&] {
        const List* statements = bridge::parse_sql(s.text);
        out = effect_of_node(static_cast<const RawStmt*>(linitial(statements))->stmt);
    });
    leave(at);
    return out;
}

List* remains_of(MemoryContext into, const Jsonb* e, bool& statement_too) {
    const parts p = parts_of(e);
    List* out = NIL;
    const auto clean_up = [&](const char* with) {
        const MemoryContext outer = MemoryContextSwitchTo(into);
        out = lappend(out, pstrdup(with));
        MemoryContextSwitchTo(outer);
    };
    statement_too = true;
    if (p.is("create_index")) {
        const index_state now = state_of(p);
        statement_too = now != index_state::valid;
        if (now == index_state::invalid)
            clean_up(psprintf("drop index concurrently %s", p.object));
    } else if (p.is("drop_index")) {
        statement_too = state_of(p) != index_state::absent;
    } else if (p.is("reindex")) {
        ListCell* cell;
        const List* left = half_rebuilt(p);
        foreach (cell, left)
            clean_up(psprintf("drop index concurrently %s", static_cast<const char*>(lfirst(cell))));
    } else if (p.is("detach_partition")) {
        const partition_state now = state_of_partition(p);
        statement_too = now == partition_state::attached;
        if (now == partition_state::pending)
            clean_up(psprintf("alter table %s detach partition %s finalize", p.table, p.object));
    }
    return out;
}

const char* missing_of(const Jsonb* e) {
    const parts p = parts_of(e);
    if (p.is("create_index")) {
        const index_state now = state_of(p);
        return now == index_state::valid     ? nullptr
               : now == index_state::invalid ? psprintf("Index %s is invalid.", p.object)
               : now == index_state::absent  ? psprintf("There is no index %s.", p.object)
                                             : psprintf("Index %s is not one of table %s.", p.object, p.table);
    }
    if (p.is("drop_index"))
        return state_of(p) == index_state::absent ? nullptr : psprintf("Index %s is still there.", p.object);
    if (p.is("reindex")) {
        const List* left = half_rebuilt(p);
        return left == NIL ? nullptr : psprintf("Invalid index %s was left.", static_cast<const char*>(linitial(left)));
    }
    if (p.is("detach_partition"))
        switch (state_of_partition(p)) {
        case partition_state::pending:
            return psprintf("Partition %s is half detached from %s.", p.object, p.table);
        case partition_state::attached:
            return psprintf("%s is still a partition of %s.", p.object, p.table);
        case partition_state::apart:
            break;
        }
    return nullptr;
}

const char* standing_of(const Jsonb* progress) {
    int64 done = 0, steps = 0, step = 0, statement_no = 0, line = 0;
    bridge::find_integer(progress, "done", done);
    bridge::find_integer(progress, "steps", steps);
    const char* so_far = psprintf(INT64_FORMAT " of " INT64_FORMAT " steps are done", done, steps);
    if (!bridge::find_integer(progress, "step", step))
        return psprintf("%s.", so_far);
    bridge::find_integer(progress, "statement", statement_no);
    bridge::find_integer(progress, "line", line);
    const char* missing = missing_of(bridge::find_json(progress, "effect"));
    return psprintf("%s; step " INT64_FORMAT " (statement " INT64_FORMAT ", line " INT64_FORMAT ") began at %s. %s",
                    so_far, step, statement_no, line, bridge::find_string(progress, "began_at"),
                    missing ? missing : "What it is for is there already.");
}

} // namespace sor::migrations
