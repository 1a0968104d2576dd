-- tools: the allow-list and the one gateway through which a Worker acts.

create table sor.tools (
    name text primary key check (name ~ '^[A-Za-z0-9_.-]{1,64}$'),
    function text,
    minimum_role text check (minimum_role in ('admin', 'member', 'viewer')),
    description text,
    input_schema jsonb,
    read_only boolean,
    output_schema jsonb,
    destructive boolean,
    response_ttl interval not null default '24 hours' check (response_ttl > '0'),
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    check ((function is null) = (minimum_role is null))
);
comment on table sor.tools is
    'The tools that operators registered. A row without a function is a setting of a built-in tool (claim, write, queue, read).';

grant select, insert, update, delete on sor.tools to sor_engine;
grant select on sor.tools to sor_auditor;

create function sor.register_tool(name text, function regprocedure, minimum_role text, description text, input_schema jsonb,
                                  read_only boolean default false, response_ttl interval default '24 h',
                                  output_schema jsonb default null, destructive boolean default true) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_register_tool'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.register_tool(text, regprocedure, text, text, jsonb, boolean, interval, jsonb, boolean) is
    'Puts a function (jsonb) returning jsonb on the allow-list, for users of at least that role; it runs as its owner in the tenant of the call. '
    'Its search_path must be pinned and end in pg_temp. Registered again, it is replaced. The caller must be a member of the owner. '
    'The schemas are JSON Schema 2020-12 of arguments and result, for clients; a property request_id of the arguments is reserved for the MCP server. '
    'destructive: it may change or remove what was there before; a read_only tool never is. '
    'Errors: 22023 the function or name is not fit (says why), 42501 not a member, or the owner has power over other tenants.';

create function sor.unregister_tool(name text) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_unregister_tool'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.unregister_tool(text) is 'Takes a registered tool off the allow-list; stored responses stay. Errors: SR008 no such tool, or a built-in one.';

create function sor.set_response_ttl(name text, ttl interval) returns void
    language c volatile as 'MODULE_PATHNAME', 'sor_set_response_ttl'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.set_response_ttl(text, interval) is
    'How long responses of a tool, built-in ones too, are kept for retries from now on (24 hours unless set). Errors: SR008 no such tool, 22023 not positive.';

create function sor.list_tools(tenant_id uuid, user_id uuid, include_forbidden boolean default false)
    returns table (name text, description text, input_schema jsonb, read_only boolean, output_schema jsonb, destructive boolean,
                   minimum_role text, permitted boolean)
    language c volatile as 'MODULE_PATHNAME', 'sor_list_tools'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.list_tools(uuid, uuid, boolean) is
    'The tools that the user''s role may call: the built-in ones, then the registered ones by name in byte order. With include_forbidden also those '
    'that need a higher role, permitted false. output_schema is null when none was registered. Errors: SR002 tenant or user not granted.';

create function sor.call_tool(tenant_id uuid, user_id uuid, run_id uuid, run_token bigint, turn_no int, request_id uuid, tool text,
                              arguments jsonb) returns jsonb
    language c volatile as 'MODULE_PATHNAME', 'sor_call_tool'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.call_tool(uuid, uuid, uuid, bigint, int, uuid, text, jsonb) is
    'Runs one tool for a user (null: the run''s) under the run''s fence: effect, stored response, journal row, events and outbox rows commit together or not at all. '
    'Returns {status: succeeded | failed | refused, result, error: {sqlstate, message, detail, hint}, replayed}. The same request_id, tool, user and arguments '
    'again return the stored response without running anything. Errors, leaving nothing: SR007 lease lost, SR010 run or turn not open, SR002, SR006 a twin '
    'is still in flight after 10 s, SR014, 22023 arguments is no object, and what is not the tool''s answer (classes 40, 53, 57, 58, XX, 55P03, 25006).';

create function sor.call_tools(tenant_id uuid, user_id uuid, run_id uuid, run_token bigint, turn_no int, calls jsonb) returns jsonb
    language c volatile as 'MODULE_PATHNAME', 'sor_call_tools'
    set search_path = pg_catalog, pg_temp set row_security = on;
comment on function sor.call_tools(uuid, uuid, uuid, bigint, int, jsonb) is
    'call_tool for an array [{request_id, tool, arguments, group?}] of at most 1,000 calls; results in the same order. Calls of one group take effect together '
    'or not at all: the mates of a failed call are failed with SR015. Errors: as call_tool; 22023 calls is not such an array.';

grant execute on function sor.list_tools(uuid, uuid, boolean), sor.call_tool(uuid, uuid, uuid, bigint, int, uuid, text, jsonb),
    sor.call_tools(uuid, uuid, uuid, bigint, int, jsonb) to sor_worker, sor_app;

select pg_catalog.pg_extension_config_dump('sor.tools', '');
