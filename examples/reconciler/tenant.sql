-- Run as the operator, once per tenant: psql -v tenant=Alice -v domain=alice.example -f tenant.sql
-- An admin, a member and a viewer; the nightly Worker may act for the member alone, the other jobs for nobody.
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
SELECT sor.grant_tenant('reconciler_loader', :'tenant_id', ARRAY[:'member_id']::uuid[]);
SELECT sor.grant_tenant('reconciler_worker', :'tenant_id', ARRAY[:'member_id']::uuid[]);
SELECT sor.grant_tenant('reconciler_relay', :'tenant_id', '{}');
SELECT sor.grant_tenant('reconciler_auditor', :'tenant_id', '{}');
COMMIT;
