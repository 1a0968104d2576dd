-- Run as superuser, once per cluster: the owner of the domain tables and one login per job, each with the rights of
-- that job alone. Passwords come as psql variables; a site may use peer, cert or another method instead.
\set ON_ERROR_STOP on
CREATE ROLE reconciler NOLOGIN;

CREATE ROLE operator LOGIN PASSWORD :'operator_password' IN ROLE sor_operator, reconciler;
CREATE ROLE reviewer LOGIN PASSWORD :'reviewer_password' IN ROLE sor_operator; -- approves what the operator proposes
CREATE ROLE reconciler_loader LOGIN PASSWORD :'loader_password' IN ROLE sor_app;
CREATE ROLE reconciler_worker LOGIN PASSWORD :'worker_password' IN ROLE sor_worker;
CREATE ROLE reconciler_relay LOGIN PASSWORD :'relay_password' IN ROLE sor_relay;
CREATE ROLE reconciler_auditor LOGIN PASSWORD :'auditor_password' IN ROLE sor_auditor;

CREATE SCHEMA reconciler AUTHORIZATION reconciler;
