// context: who acts, in which tenant, for the rest of the transaction.
//
// The context is three settings (sor.tenant_id, sor.user_id, sor.actor_kind) that only this module can set, always
// for the transaction: they end with it, roll back with savepoints and reach parallel workers.
//
// Every entry point of the extension that touches tables runs inside one of the three frames below. A frame checks
// the caller's authority, switches to sor_engine, connects SPI, and undoes the switch when it returns; an error undoes
// it through the (sub)transaction's abort.
#pragma once

#include "bridge/plan_cache.hpp"

namespace sor::context {

void load(); // called once, when the library is loaded

const pg_uuid_t* current_tenant();  // null: none
const pg_uuid_t* current_user_id(); // null: none
const char* current_actor_kind();   // null: none
const char* caller_name();          // the role that made the outermost call now running
bool caller_is_superuser();
bool inside_entry(); // an entry point of ours is on the stack

constexpr pg_uuid_t system_tenant = {}; // of events that belong to no tenant

// What the caller says of itself; the frame checks it against the grant.
struct identity {
    const pg_uuid_t* user = nullptr;  // null: the context's user if one is set
    const char* actor_kind = nullptr; // null: the context's, else the only kind granted, else agent
    bool acts = false;                // writes in a user's name: a grant restricted to users then needs to know which
};

namespace detail {
struct switched {
    Oid user;
    int security;
    int depth;
};
switched open_tenant(const pg_uuid_t& tenant, const identity& who);
switched open_as(const pg_uuid_t& tenant, const char* actor_kind, const pg_uuid_t* user);
switched open_engine();
void close(const switched& saved);
int save_settings();
void restore_settings(int level);
void undo_settings(int level);
void drop_settings(int level, bool was_open);
bool is_open();
} // namespace detail

// A data-plane call: opens the tenant for the rest of the transaction. f(caller's memory context) runs as the engine.
// Errors: SR002 the calling role was not granted the tenant, user or kind; SR014 another tenant is open.
template <bridge::guarded F>
auto data_plane(const pg_uuid_t& tenant, const identity& who, F&& f) {
    const detail::switched saved = detail::open_tenant(tenant, who);
    if constexpr (std::is_void_v<std::invoke_result_t<F, MemoryContext>>) {
        bridge::with_spi(f);
        detail::close(saved);
    } else {
        auto out = bridge::with_spi(f);
        detail::close(saved);
        return out;
    }
}

// A data-plane call that only reads: as above, but the context is gone when it returns, so that an auditor can look at
// several tenants in one statement.
template <bridge::guarded F>
auto inspection(const pg_uuid_t& tenant, F&& f) {
    const bool was_open = detail::is_open();
    const int level = detail::save_settings();
    if constexpr (std::is_void_v<std::invoke_result_t<F, MemoryContext>>) {
        data_plane(tenant, {}, f);
        detail::drop_settings(level, was_open);
    } else {
        auto out = data_plane(tenant, {}, f);
        detail::drop_settings(level, was_open);
        return out;
    }
}

// An administrative call or a trigger: f runs as the engine in that tenant, and the former context is back afterwards.
// EXECUTE on the function is the authority. user: whom it acts for; null: the context's where the tenant is open.
template <bridge::guarded F>
auto administration(const pg_uuid_t& tenant, const char* actor_kind, F&& f, const pg_uuid_t* user = nullptr) {
    const int level = detail::save_settings();
    const detail::switched saved = detail::open_as(tenant, actor_kind, user);
    if constexpr (std::is_void_v<std::invoke_result_t<F, MemoryContext>>) {
        bridge::with_spi(f);
        detail::close(saved);
        detail::restore_settings(level);
    } else {
        auto out = bridge::with_spi(f);
        detail::close(saved);
        detail::restore_settings(level);
        return out;
    }
}

// A lookup that needs no tenant: f runs as the engine with the context as it is.
template <bridge::guarded F>
auto as_engine(F&& f) {
    const detail::switched saved = detail::open_engine();
    if constexpr (std::is_void_v<std::invoke_result_t<F, MemoryContext>>) {
        bridge::with_spi(f);
        detail::close(saved);
    } else {
        auto out = bridge::with_spi(f);
        detail::close(saved);
        return out;
    }
}

// Runs f as another role in a restricted operation (the owner of a registered table or tool), within a frame. Settings
// that its code changes are undone: what the engine runs next must be read under the search_path of our entry points.
template <bridge::guarded F>
auto as_role(Oid role, F&& f) {
    Oid user;
    int security;
    GetUserIdAndSecContext(&user, &security);
    const int level = detail::save_settings();
    SetUserIdAndSecContext(role, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
        f();
        detail::undo_settings(level);
        SetUserIdAndSecContext(user, security);
    } else {
        auto out = f();
        detail::undo_settings(level);
        SetUserIdAndSecContext(user, security);
        return out;
    }
}

// Makes deferred triggers fire now, as the present role: before as_role ends, or at commit the owner's would fire as
// the caller. Their code can neither put any off again nor leave settings behind. Errors: theirs.
void fire_deferred_triggers();
// The same before as_role, or the caller's would fire as the owner: as who they would fire as at commit, which within a
// SECURITY DEFINER function is its caller.
void fire_deferred_triggers_of_caller();

// The run on whose behalf the entry point now running acts; the gateway sets it, events and claims read it.
struct origin {
    pg_uuid_t run;
    int64 run_token;
    int turn_no;
    pg_uuid_t tool_call;
    const char* worker; // of the run; lives as long as the frame
};
void set_origin(const origin& from); // of the innermost frame
const origin* current_origin();      // of the innermost frame that has one, or null

// Makes that user the one the open context acts for, within a data-plane frame. Errors: SR002 not granted.
void act_for(const pg_uuid_t& user);

// SR001 unless a tenant is open.
const pg_uuid_t& required_tenant();

// Rows and tools run as their owner, so an owner must hold no power over history or other tenants: 42501 when it is
// superuser, BYPASSRLS, or member of a sor_ role.
void require_fit_owner(Oid owner, const char* what);
// The same at each use, for the owner may have changed since; out of the catalog's caches.
void require_harmless_owner(Oid owner, const char* what);

// What else protecting a table does, beside row security: called with SPI connected, as the operator who calls, for each
// table that protect_tenant isolates, partitions included.
using protector = void (*)(Oid relid);
void also_protect(protector with); // once, when the library is loaded

// Raises 42501 unless the calling role is a member of that role (superusers are of every one).
void require_member_of(Oid role, const char* why);

} // namespace sor::context
