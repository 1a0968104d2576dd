-- Run as the operator, once per tenant: psql -v tenant=Alice -v domain=alice.example -f tenant.sql
-- An admin, a member and a viewer; each login may act here for the member alone.
\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on
\o /dev/null
BEGIN;
SELECT sor.create_tenant(:'tenant') AS tenant_id \gset
SELECT sor.create_user(:'tenant_id', 'admin@' || :'domain', :'tenant' || ' (admin)') AS admin_id \gset
SELECT sor.create_user(:'tenant_id', 'bookkeeper@expenses.example', 'Bookkeeper') AS member_id \gset
SELECT sor.create_user(:'tenant_id', 'viewer@' || :'domain', :'tenant' || ' (viewer)') AS viewer_id \gset
SELECT sor.assign_role(:'tenant_id', :'admin_id', 'admin');
SELECT sor.assign_role(:'tenant_id', :'member_id', 'member');
SELECT sor.assign_role(:'tenant_id', :'viewer_id', 'viewer');
SELECT sor.grant_tenant(login, :'tenant_id', ARRAY[:'member_id']::uuid[])
FROM unnest('{reconciler_loader,reconciler_worker,reconciler_relay,reconciler_auditor}'::name[]) AS login;
COMMIT;
