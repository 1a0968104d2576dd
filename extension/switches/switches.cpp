#include "switches/switches.hpp"

extern "C" {
#include "utils/acl.h"
#include "utils/inval.h"
}

namespace sor::switches {

using bridge::in;

namespace {

// Asked with every call, so the answer is kept until this backend learns of a changed relation, as pause() and resume()
// make each do: nothing is paused nearly always. Such news comes after the commit that made it visible.
bool anything_is_paused() {
    static bridge::statement find("select exists (select from sor.pauses)", {});
    static bool known = false;
    static bool any = false;
    static uint64 seen = 0;
    AcceptInvalidationMessages(); // a transaction that holds its locks already would not hear of it
    const uint64 now = bridge::relation_changes();
    if (!known || seen != now) {
        any = find.run_latest().boolean(0, 1);
        seen = now;
        known = true;
    }
    return any;
}

void tell_every_backend() {
    CacheInvalidateRelcacheByRelid(get_relname_relid("pauses", get_namespace_oid("sor", false)));
}

const char* pause_of(const char* kind, const char* subject) {
    if (!anything_is_paused())
        return nullptr;
    static bridge::statement find("select reason from sor.pauses where kind = $1 and subject = $2", {TEXTOID, TEXTOID});
    const auto found = find.run_latest(in(kind), in(subject));
    return found.empty() ? nullptr : found.string(0, 1);
}

} // namespace

bool stops_queue(const char* queue) {
    if (!anything_is_paused())
        return false;
    static bridge::statement find("select exists (select from sor.pauses where kind = 'queue' and subject = $2)"
                                  "    or exists (select from sor.pauses where kind = 'tenant' and subject = $1::text)",
                                  {UUIDOID, TEXTOID});
    return find.run_latest(in(context::required_tenant()), in(queue)).boolean(0, 1);
}

const char* pause_of_tool(const char* name) {
    return pause_of("tool", name);
}

void require_unpaused_tenant() {
    const pg_uuid_t& tenant = context::required_tenant();
    const char* reason = pause_of("tenant", bridge::to_cstring(tenant));
    if (reason == nullptr)
        return;
    bridge::raise(code::paused, psprintf("tenant %s is paused", bridge::to_cstring(tenant)),
                  psprintf("The reason given: %s", reason),
                  "Try again later with the same request_id; an operator lets it go on with sor.resume.");
}

bool sees_every_tenant(Oid caller) {
    return superuser_arg(caller) || has_privs_of_role(caller, get_role_oid("sor_operator", false));
}

namespace {

enum class kind { tool, queue, tenant };

kind parse_kind(const char* text) {
    if (strcmp(text, "tool") == 0)
        return kind::tool;
    if (strcmp(text, "queue") == 0)
        return kind::queue;
    if (strcmp(text, "tenant") == 0)
        return kind::tenant;
    bridge::raise(code::invalid_parameter, psprintf("a %s cannot be paused", text), nullptr,
                  "Give tool, queue or tenant.");
}

// As sor.pauses names it. A tool or queue may be gone when it is resumed, so only pause() looks for them.
const char* subject_of(kind what, const char* name) {
    if (what != kind::tenant)
        return name;
    static bridge::statement find("select tenant_id from sor.tenants where name = $1", {TEXTOID});
    const auto found = find.run(in(name));
    if (found.empty())
        bridge::raise(code::tenant_not_granted, psprintf("there is no tenant \"%s\"", name), nullptr,
                      "Give a name of sor.tenants.");
    return bridge::to_cstring(found.uuid(0, 1));
}

void require_known(kind what, const char* name) {
    // The registries belong to modules below.
    static bridge::statement tool("select $1 = any ('{claim,write,queue,read}') or exists (select from sor.tools where "
                                  "name = $1 and function is not null)",
                                  {TEXTOID});
    static bridge::statement queue("select $1 = 'outbox' or exists (select from sor.queues where name = $1)",
                                   {TEXTOID});
    if (what == kind::tool && !tool.run(in(name)).boolean(0, 1))
        bridge::raise(code::tool_not_found, psprintf("there is no tool \"%s\"", name), nullptr, "See sor.tools.");
    if (what == kind::queue && !queue.run(in(name)).boolean(0, 1))
        bridge::raise(code::not_registered, psprintf("queue \"%s\" is not registered", name), nullptr,
                      "See sor.queues; outbox is the queue of all messages.");
}

void append(kind what, const char* type, const char* kind_name, const char* name, const char* subject,
            const char* reason) {
    bridge::json_writer w;
    w.object().field("kind", kind_name).field("name", name);
    if (reason != nullptr)
        w.field("reason", reason);
    const Jsonb* payload = w.end().done();
    if (what != kind::tenant) {
        events::append_switch(type, payload);
        return;
    }
    pg_uuid_t tenant;
    bridge::parse_uuid(subject, tenant);
    context::administration(tenant, "user", [type, payload](MemoryContext) { events::append_switch(type, payload); });
}

} // namespace
} // namespace sor::switches

using namespace sor;
using bridge::in;

SOR_FUNCTION(pause) {
    using namespace sor::switches;
    const bridge::arguments a(fcinfo);
    char* kind_name = bridge::to_cstring(bridge::view(a.string(0, "kind")));
    char* name = bridge::to_cstring(bridge::view(a.string(1, "name")));
    char* reason = bridge::to_cstring(bridge::view(a.string(2, "reason")));
    const kind what = parse_kind(kind_name);
    if (*reason == '\0')
        bridge::raise(code::invalid_parameter, "reason must not be empty", nullptr,
                      "Say why, for whoever finds it paused.");
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        require_known(what, name);
        const char* subject = subject_of(what, name);
        static bridge::statement save(
            "insert into sor.pauses (kind, subject, reason, paused_by) values ($1, $2, $3, $4)"
            " on conflict (kind, subject) do update set reason = excluded.reason, paused_by = excluded.paused_by",
            {TEXTOID, TEXTOID, TEXTOID, NAMEOID});
        save.run(in(kind_name), in(subject), in(reason), bridge::in_name(context::caller_name()));
        tell_every_backend();
        append(what, "switch.paused", kind_name, name, subject, reason);
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(resume) {
    using namespace sor::switches;
    const bridge::arguments a(fcinfo);
    char* kind_name = bridge::to_cstring(bridge::view(a.string(0, "kind")));
    char* name = bridge::to_cstring(bridge::view(a.string(1, "name")));
    const kind what = parse_kind(kind_name);
    context::administration(context::system_tenant, "user", [&](MemoryContext) {
        const char* subject = subject_of(what, name);
        static bridge::statement remove("delete from sor.pauses where kind = $1 and subject = $2", {TEXTOID, TEXTOID});
        if (remove.run(in(kind_name), in(subject)).count == 0)
            bridge::raise(code::invalid_state_transition, psprintf("%s \"%s\" is not paused", kind_name, name), nullptr,
                          "sor.list_pauses lists what is.");
        tell_every_backend();
        append(what, "switch.resumed", kind_name, name, subject, nullptr);
    });
    PG_RETURN_VOID();
}

SOR_FUNCTION(list_pauses) {
    bridge::rowset rows(fcinfo);
    const Oid caller = GetUserId();
    context::as_engine([&](MemoryContext) {
        static bridge::statement list(
            "select p.kind, coalesce(t.name, p.subject), p.reason, p.paused_by, p.paused_at"
            "  from sor.pauses p left join sor.tenants t on p.kind = 'tenant' and t.tenant_id::text = p.subject"
            " where p.kind <> 'tenant' or $2"
            "    or exists (select from sor.tenant_grants g where g.login = $1 and g.tenant_id = t.tenant_id)"
            " order by p.paused_at, p.kind, p.subject",
            {NAMEOID, BOOLOID});
        const auto found =
            list.run(bridge::in_name(GetUserNameFromId(caller, false)), in(switches::sees_every_tenant(caller)));
        for (uint64 i = 0; i < found.count; ++i)
            rows.add(
                {found.column(i, 1), found.column(i, 2), found.column(i, 3), found.column(i, 4), found.column(i, 5)});
    });
    return 0;
}
