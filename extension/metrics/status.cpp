// What a person on call has to know, and the command for it.
#include "metrics/metrics.hpp"

namespace sor::metrics {

using bridge::in;
using bridge::in_time;

namespace {

constexpr int most_listed = 20; // runs of one tenant

enum class severity { critical, warning, info };
constexpr const char* severity_names[] = {"critical", "warning", "info"};

struct problem {
    severity how_bad;
    const char* what;
    const char* tenant; // null: of none
    const char* subject;
    TimestampTz since;
    int64 count;
    const char* detail;
    const char* action;
};

struct problems {
    List* list = NIL;
    MemoryContext memory;

    const char* keep(const char* s) const { return s ? MemoryContextStrdup(memory, s) : nullptr; }
    void add(const problem& p) {
        const MemoryContext here = MemoryContextSwitchTo(memory);
        auto* kept = static_cast<problem*>(palloc(sizeof(problem)));
        *kept = {p.how_bad, p.what, keep(p.tenant), keep(p.subject), p.since, p.count, keep(p.detail), keep(p.action)};
        list = lappend(list, kept);
        MemoryContextSwitchTo(here);
    }
};

// A word of a shell command.
const char* quoted(const char* s) {
    StringInfoData out;
    initStringInfo(&out);
    appendStringInfoChar(&out, '\'');
    for (; *s != '\0'; ++s)
        if (*s == '\'')
            appendStringInfoString(&out, "'\\''");
        else
            appendStringInfoChar(&out, *s);
    appendStringInfoChar(&out, '\'');
    return out.data;
}
const char* literal(const char* s) {
    return quote_literal_cstr(s);
}

void look_at_runs(problems& out, const watched_tenant& t, TimestampTz now) {
    static bridge::statement find(
        "select id::text, worker, run_key, lease_until from (select id, worker, run_key, lease_until from sor.runs"
        "  where tenant_id = $1 and status = 'running' limit $3) x"
        " where lease_until <= $2 and not exists (select from sor.pauses p where p.kind = 'tenant' and"
        "       p.subject = $1::text) order by lease_until limit $4",
        {UUIDOID, TIMESTAMPTZOID, INT4OID, INT4OID});
    const auto found = find.run(in(t.id), in_time(now), in(most_counted), in(most_listed));
    for (uint64 i = 0; i < found.count; ++i) {
        const TimestampTz since = found.time(i, 4);
        const char* run = found.string(i, 1);
        const char* key = found.string_or_null(i, 3);
        out.add({now - since > USECS_PER_HOUR ? severity::critical : severity::warning, "lapsed_run", t.name, run,
                 since, 1,
                 psprintf("worker \"%s\"%s%s%s stopped without ending it; its next start resumes it, and"
                          " select sor.cancel_run(%s, %s, 'REASON') ends it",
                          found.string(i, 2), key ? ", run key \"" : "", key ? key : "", key ? "\"," : "",
                          literal(bridge::to_cstring(t.id)), literal(run)),
                 psprintf("sor report --tenant %s --run %s", quoted(t.name), run)});
    }
}

void look_at_queues(problems& out, const watched_tenant& t, TimestampTz now) {
    static bridge::statement find(
        "select q.name, d.due, d.lapsed, d.oldest, d.oldest_lapsed, exists (select from sor.pauses p where p.subject = "
        "case p.kind when 'queue' then q.name when 'tenant' then $1::text end)"
        " from (select queues.name from sor.queues union all select 'outbox') q,"
        " lateral (select count(*) as due, count(*) filter (where x.claimed_by is not null) as lapsed, "
        "min(x.available_at) "
        "as oldest, min(x.available_at) filter (where x.claimed_by is not null) as oldest_lapsed"
        "  from (select r.claimed_by, r.available_at from sor.ready r where r.tenant_id = $1 and r.queue = q.name"
        "         and r.available_at <= $2 order by r.available_at limit $3) x) d"
        " order by 1",
        {UUIDOID, TIMESTAMPTZOID, INT4OID});
    constexpr int64 minute = USECS_PER_MINUTE;
    const auto found = find.run(in(t.id), in_time(now), in(most_counted));
    for (uint64 i = 0; i < found.count; ++i) {
        const char* queue = found.string(i, 1);
        const int64 due = found.bigint(i, 2);
        if (due == 0 || found.boolean(i, 6)) // paused: that is said by itself
            continue;
        const bool outbox = strcmp(queue, claim::outbox_queue) == 0;
        const TimestampTz oldest = found.time(i, 4);
        if (outbox && now - oldest > 5 * minute)
            out.add({severity::critical, "relay_stopped", t.name, queue, oldest, due,
                     "messages are due and no relay takes them", "sor relay --settings settings.toml --verbose"});
        if (!outbox && now - oldest > 15 * minute)
            out.add({severity::warning, "queue_not_worked", t.name, queue, oldest, due,
                     "items are due and no worker takes them",
                     psprintf("sor work %s --tenant %s --worker WORKER --handler COMMAND --on-behalf-of EMAIL",
                              quoted(queue), quoted(t.name))});
        if (found.bigint(i, 3) > 0)
            out.add(
                {severity::warning, "expired_lease", t.name, queue, found.time(i, 5), found.bigint(i, 3),
                 outbox ? "a relay took messages and did not mark them" : "a worker took items and did not settle them",
                 outbox ? "sor relay --settings settings.toml --verbose"
                        : psprintf("sor work %s --tenant %s --worker WORKER --handler COMMAND --on-behalf-of EMAIL",
                                   quoted(queue), quoted(t.name))});
    }
}

void look_at_the_dead(problems& out, const watched_tenant& t) {
    static bridge::statement items(
        "select queue, count(*), min(failed_at), (array_agg(item_id order by failed_at desc))[1], (array_agg(error "
        "order by "
        "failed_at desc))[1] from (select queue, item_id, failed_at, error from sor.item_failures"
        "  where tenant_id = $1 and dead limit $2) x group by queue order by queue",
        {UUIDOID, INT4OID});
    static bridge::statement messages(
        "select destination, count(*), min(created_at), (array_agg(id::text order by id desc))[1], "
        "(array_agg(last_error "
        "order by id desc))[1] from (select destination, id, created_at, last_error from sor.outbox"
        "  where tenant_id = $1 and status = 'dead' limit $2) x group by destination order by destination",
        {UUIDOID, INT4OID});
    const auto of_items = items.run(in(t.id), in(most_counted));
    for (uint64 i = 0; i < of_items.count; ++i)
        out.add({severity::warning, "dead_items", t.name, of_items.string(i, 1), of_items.time(i, 3),
                 of_items.bigint(i, 2), psprintf("the last, item %s: %s", of_items.string(i, 4), of_items.string(i, 5)),
                 psprintf("select sor.requeue(%s, %s, %s)", literal(bridge::to_cstring(t.id)),
                          literal(of_items.string(i, 1)), literal(of_items.string(i, 4)))});
    const auto of_messages = messages.run(in(t.id), in(most_counted));
    for (uint64 i = 0; i < of_messages.count; ++i)
        out.add(
            {severity::warning, "dead_messages", t.name, of_messages.string(i, 1), of_messages.time(i, 3),
             of_messages.bigint(i, 2),
             psprintf("the last, message %s: %s", of_messages.string(i, 4),
                      of_messages.null(i, 5) ? "no error was recorded" : of_messages.string(i, 5)),
             psprintf("sor redrive --tenant %s --destination %s", quoted(t.name), quoted(of_messages.string(i, 1)))});
}

void look_at_history(problems& out, const watched_tenant& t) {
    static bridge::statement find("select verified_at from sor.verifications where tenant_id = $1 and not whole",
                                  {UUIDOID});
    const auto found = find.run(in(t.id));
    if (!found.empty())
        out.add({severity::critical, "history_unsound", t.name, nullptr, found.time(0, 1), 1,
                 "the last verification found changed or missing events, or rows that say something else than theirs",
                 psprintf("sor verify --tenant %s", quoted(t.name))});
}

void look_at_pauses(problems& out, Oid caller) {
    static bridge::statement list(
        "select p.kind, coalesce(t.name, p.subject), p.reason, p.paused_by::text, p.paused_at, t.name"
        "  from sor.pauses p left join sor.tenants t on p.kind = 'tenant' and t.tenant_id::text = p.subject"
        " where p.kind <> 'tenant' or $2"
        "    or exists (select from sor.tenant_grants g where g.login = $1 and g.tenant_id = t.tenant_id)"
        " order by p.paused_at",
        {NAMEOID, BOOLOID});
    const auto found =
        list.run(bridge::in_name(GetUserNameFromId(caller, false)), in(switches::sees_every_tenant(caller)));
    for (uint64 i = 0; i < found.count; ++i)
        out.add({severity::info, "paused", found.string_or_null(i, 6),
                 psprintf("%s %s", found.string(i, 1), found.string(i, 2)), found.time(i, 5), 1,
                 psprintf("by %s: %s", found.string(i, 4), found.string(i, 3)),
                 psprintf("sor resume %s %s", found.string(i, 1), quoted(found.string(i, 2)))});
}

} // namespace
} // namespace sor::metrics

using namespace sor;
using bridge::in;

SOR_FUNCTION(status) {
    using namespace sor::metrics;
    bridge::rowset rows(fcinfo);
    const Oid caller = GetUserId();
    auto* found = static_cast<problems*>(palloc0(sizeof(problems)));
    found->memory = CurrentMemoryContext;
    const watched_tenants tenants = tenants_of(caller);
    const TimestampTz now = GetCurrentTimestamp();
    for (int i = 0; i < tenants.count; ++i) {
        CHECK_FOR_INTERRUPTS();
        const watched_tenant& one = tenants.list[i];
        context::administration(one.id, "system", [&one, found, now](MemoryContext) {
            look_at_history(*found, one);
            look_at_runs(*found, one, now);
            look_at_queues(*found, one, now);
            look_at_the_dead(*found, one);
        });
    }
    context::as_engine([found, caller](MemoryContext) { look_at_pauses(*found, caller); });
    for (const severity s : {severity::critical, severity::warning, severity::info}) {
        ListCell* cell;
        foreach (cell, found->list) {
            const auto* p = static_cast<problem*>(lfirst(cell));
            if (p->how_bad == s)
                rows.add({in(severity_names[static_cast<int>(s)]), in(p->what), in(p->tenant), in(p->subject),
                          bridge::in_time(p->since), in(p->count), in(p->detail), in(p->action)});
        }
    }
    return 0;
}
