#include "migrations/reading.hpp"

extern "C" {
#include "parser/scansup.h"
}

#include <algorithm>

namespace sor::migrations {

namespace {

void tell(void* of) {
    const auto* p = static_cast<const place*>(of);
    int line = p->line;
    if (const int position = geterrposition(); p->text != nullptr && position > 0) {
        const char* c = p->text;
        for (int i = 1; i < position && *c != '\0'; ++i) {
            line += *c == '\n';
            c += pg_mblen(c);
        }
        errposition(0); // it counts in what the client has not sent
    }
    if (p->statement_no == 0)
        errcontext("migration %s, %s", p->version, p->down ? "downgrade" : "upgrade");
    else
        errcontext("migration %s, %s, statement %d, line %d", p->version, p->down ? "downgrade" : "upgrade",
                   p->statement_no, line);
}

} // namespace

void enter(place& p) {
    p.callback = {error_context_stack, tell, &p};
    error_context_stack = &p.callback;
}

void leave(const place& p) {
    error_context_stack = p.callback.previous;
}

reader::reader(place& at, std::string_view sql)
    : at_(at), text_(sql), pieces_(sql),
      memory_(AllocSetContextCreate(CurrentMemoryContext, "sor statement", ALLOCSET_DEFAULT_SIZES)) {}

bool reader::read_piece() {
    review::piece p;
    CHECK_FOR_INTERRUPTS();
    at_.text = nullptr;
    if (!pieces_.next(p)) {
        at_.statement_no = 0;
        return false;
    }
    at_.statement_no = number_ + 1;
    at_.line = p.line;
    if (p.kind == review::piece::of::psql_command) {
        const std::string_view command = text_.substr(p.start, p.end - p.start);
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                        errmsg("a command of psql is not SQL: %s",
                               pnstrdup(command.data(), std::min(command.find_first_of(" \t\r"), command.size()))),
                        errhint("Leave it out: the server reads the migration, and psql does not.")));
    }
    if (p.kind == review::piece::of::copy_data)
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the data of a COPY is not SQL"),
                        errhint("Write INSERT statements.")));
    if (p.operators > review::longest_operator)
        ereport(ERROR, (errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
                        errmsg("a statement with %zu operator characters in a row is not read", p.operators),
                        errhint("Break them up with blanks.")));
    MemoryContextReset(memory_);
    const MemoryContext outer = MemoryContextSwitchTo(memory_);
    piece_ = pnstrdup(text_.data() + p.start, p.end - p.start);
    at_.text = piece_;
    statements_ = bridge::parse_sql(piece_);
    at_.text = nullptr;
    next_ = 0;
    MemoryContextSwitchTo(outer);
    return true;
}

bool reader::next(statement& into) {
    while (next_ >= list_length(statements_))
        if (!read_piece()) {
            MemoryContextDelete(memory_);
            memory_ = nullptr;
            return false;
        }
    const auto* raw = static_cast<const RawStmt*>(list_nth(statements_, next_++));
    into.number = at_.statement_no = ++number_;
    into.line = at_.line;
    into.node = raw->stmt;
    const char* begin = piece_ + raw->stmt_location;
    while (*begin != '\0' && (scanner_isspace(*begin) || *begin == ';'))
        ++begin;
    size_t end =
        raw->stmt_len == 0 ? strlen(begin) : static_cast<size_t>(piece_ + raw->stmt_location + raw->stmt_len - begin);
    while (end > 0 && (scanner_isspace(begin[end - 1]) || begin[end - 1] == ';'))
        --end;
    char* copy = static_cast<char*>(MemoryContextAlloc(memory_, end + 1));
    memcpy(copy, begin, end);
    copy[end] = '\0';
    into.text = copy;
    return true;
}

namespace {

[[noreturn]] void no_migration_may(const char* what, const char* hint) {
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a migration cannot have %s", what), errhint("%s", hint)));
    pg_unreachable();
}

bool has_option(const List* options, const char* option) {
    ListCell* cell;
    foreach (cell, options) {
        auto* o = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(o->defname, option) == 0)
            return defGetBoolean(o);
    }
    return false;
}

constexpr const char* by_hand = "Do it by hand; it is no part of this database.";

bool detaches_concurrently(const AlterTableStmt* s) {
    ListCell* cell;
    foreach (cell, s->cmds) {
        const auto* command = static_cast<const AlterTableCmd*>(lfirst(cell));
        if (command->subtype == AT_DetachPartition && castNode(PartitionCmd, command->def)->concurrent)
            return true;
    }
    return false;
}

} // namespace

bool is_transactional(const Node* node) {
    switch (nodeTag(node)) {
    case T_TransactionStmt:
        no_migration_may(CreateCommandName(const_cast<Node*>(node)),
                         "Leave it out: a migration is one transaction, but for what no transaction can hold.");
    case T_VariableSetStmt:
        if (const char* name = reinterpret_cast<const VariableSetStmt*>(node)->name;
            name != nullptr && pg_strcasecmp(name, "standard_conforming_strings") == 0)
            no_migration_may("SET standard_conforming_strings", "Write strings with backslashes as E'…'.");
        return true;
    case T_CopyStmt: {
        const auto* s = reinterpret_cast<const CopyStmt*>(node);
        if (s->filename == nullptr && !s->is_program)
            no_migration_may(s->is_from ? "COPY FROM STDIN" : "COPY TO STDOUT",
                             s->is_from ? "Write INSERT statements." : "Leave it out: nobody reads it.");
        return true;
    }
    case T_CreatedbStmt:
    case T_DropdbStmt:
    case T_CreateTableSpaceStmt:
    case T_DropTableSpaceStmt:
    case T_AlterSystemStmt:
    case T_CreateSubscriptionStmt:
    case T_AlterSubscriptionStmt:
    case T_DropSubscriptionStmt:
        no_migration_may(CreateCommandName(const_cast<Node*>(node)), by_hand);
    case T_DiscardStmt:
        no_migration_may("DISCARD", "Leave it out: what a migration leaves in its session is undone.");
    case T_ClusterStmt:
        if (reinterpret_cast<const ClusterStmt*>(node)->relation == nullptr)
            no_migration_may("CLUSTER of every table", "Name the table.");
        return true;
    case T_IndexStmt: {
        const auto* s = reinterpret_cast<const IndexStmt*>(node);
        if (s->concurrent && s->idxname == nullptr)
            no_migration_may("CREATE INDEX CONCURRENTLY without a name",
                             "Name the index: by its name an invalid one is found after a failure.");
        return !s->concurrent;
    }
    case T_DropStmt:
        return !reinterpret_cast<const DropStmt*>(node)->concurrent;
    case T_ReindexStmt: {
        const auto* s = reinterpret_cast<const ReindexStmt*>(node);
        if (s->kind != REINDEX_OBJECT_INDEX && s->kind != REINDEX_OBJECT_TABLE)
            no_migration_may("REINDEX of more than a table", "Name the tables.");
        return !has_option(s->params, "concurrently");
    }
    case T_AlterTableStmt:
        return !detaches_concurrently(reinterpret_cast<const AlterTableStmt*>(node));
    case T_VacuumStmt:
        return !reinterpret_cast<const VacuumStmt*>(node)->is_vacuumcmd;
    default:
        return true;
    }
}

bool is_utility(const Node* node) {
    switch (nodeTag(node)) {
    case T_SelectStmt:
        return reinterpret_cast<const SelectStmt*>(node)->intoClause != nullptr;
    case T_InsertStmt:
    case T_UpdateStmt:
    case T_DeleteStmt:
    case T_MergeStmt:
        return false;
    default:
        return true;
    }
}

List* steps_of(const char* version, bool down, std::string_view text) {
    place at = {version, down, 0, 0, nullptr, {}};
    enter(at);
    reader statements(at, text);
    List* out = NIL;
    step* open = nullptr; // a transactional one that may go on
    statement s;
    while (statements.next(s)) {
        if (is_transactional(s.node) && open != nullptr) {
            open->last = s.number;
            continue;
        }
        auto* one = static_cast<step*>(palloc(sizeof(step)));
        *one = {is_transactional(s.node), s.number, s.number, s.line, nullptr};
        if (!one->transactional)
            one->text = pstrdup(s.text);
        open = one->transactional ? one : nullptr;
        out = lappend(out, one);
    }
    leave(at);
    return out;
}

} // namespace sor::migrations
