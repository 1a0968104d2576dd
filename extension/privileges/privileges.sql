-- privileges: the last word of the installation. What each role may execute stands beside each function; here is what
-- holds for all of them.

do $install$
declare
    f record;
begin
    for f in select p.oid::regprocedure as signature from pg_catalog.pg_proc p where p.pronamespace = 'sor'::regnamespace loop
        execute pg_catalog.format('revoke all on routine %s from public', f.signature);
        execute pg_catalog.format('grant execute on routine %s to sor_operator', f.signature);
        execute pg_catalog.format('alter routine %s owner to sor_engine', f.signature);
    end loop;
end
$install$;

-- Policies call the first three, column defaults the last.
grant execute on function sor.current_tenant(), sor.current_user_id(), sor.current_actor_kind(), sor.uuid_v7() to public;
