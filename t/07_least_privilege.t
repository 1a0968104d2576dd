# The driver issues calls of `sor.` functions and nothing else (from the server's log), and its logins hold no privilege on
# any table (from the catalog).
use strict;
use warnings FATAL => 'all';
use SorTest qw(only_sor_calls);
use Test::More;

my $world = SorTest->new(conf => "log_statement = all\nlog_line_prefix = '%m [%p] %u@%d '\n");
my $from = -s $world->node->logfile;
$world->load_ok($world->statement(30, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
$world->work_ok('--batch', 7);
$world->relay_ok;
my ($tenant, $run) = split /\|/, $world->sql("SELECT t.name, r.id FROM sor.runs r JOIN sor.tenants t USING (tenant_id) LIMIT 1");
$world->ok_sor([ 'report', '--dbname', 'service=reconciler_auditor', '--tenant', $tenant, '--run', $run ], 'report');
$world->ok_sor([ 'report', '--dbname', 'service=reconciler_auditor', '--tenant', $tenant, @$_ ], "report @$_")
	for [], [ '--since', 'yesterday' ], [ '--since', 'yesterday', '--format', 'html' ], [ '--at', 'yesterday', '--format', 'html' ];
$world->ok_sor([ $_, '--dbname', 'service=reconciler_auditor' ], $_) for 'verify', 'metrics', 'status';
$world->ok_sor([ 'purge', '--dbname', 'service=reconciler_relay' ], 'purge');
$world->ok_sor([ 'doctor', '--dbname', 'service=operator' ], 'doctor');

my (%statements, @foreign);
for (@{ $world->statements($from, qr/^(reconciler_\w+|operator)$/) })
{
	my ($login, $sql) = @$_;
	$statements{$login}++;
	push @foreign, "$login: $sql" unless only_sor_calls($sql);
}
cmp_ok($statements{$_} // 0, '>', 0, "$_ has issued statements") for qw(reconciler_loader reconciler_worker reconciler_relay reconciler_auditor);
is(join("\n", @foreign), '', 'and nothing but calls of sor. functions');
ok(!only_sor_calls($_), "the check would see: $_") for 'SELECT * FROM sor.outbox', 'INSERT INTO sor.outbox VALUES (1)',
	'SELECT sor.claim(1) FROM reconciler.expenses', 'DELETE FROM x', 'SELECT 1';

# No privilege on any table, column, sequence or schema object, by itself or by membership.
for my $login (qw(reconciler_loader reconciler_worker reconciler_relay))
{
	is($world->sql(qq{SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
		  AND (has_table_privilege('$login', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		       OR has_any_column_privilege('$login', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))}), '', "$login has no table privilege");
	is($world->sql("SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles WHERE rolname = '$login'"),
		'f', "$login has no attribute that matters");
	my ($rc, $out, $err) = $world->sql_as($login, 'SELECT * FROM sor.agent_events');
	like($err, qr/permission denied/, "$login cannot read a table");
}
is($world->sql(q{SELECT count(*) FROM pg_auth_members WHERE roleid = 'sor_engine'::regrole}), '0', 'nobody is a member of sor_engine');

# each login may execute its role's list and nothing else of sor
for (['reconciler_relay', "sor.start_run('00000000-0000-0000-0000-000000000000', 'x')"],
	['reconciler_worker', "sor.claim_outbox('00000000-0000-0000-0000-000000000000', 'x', 1, '1 min')"],
	['reconciler_worker', "sor.upsert('00000000-0000-0000-0000-000000000000', 'expenses', '{}')"],
	['reconciler_worker', "sor.create_tenant('x')"],
	['reconciler_loader', "sor.create_tenant('x')"],
	['reconciler_auditor', "sor.append_event('00000000-0000-0000-0000-000000000000', 'x', '{}')"])
{
	my ($rc, $out, $err) = $world->sql_as($_->[0], "SELECT $_->[1]");
	like($err, qr/permission denied for function/, "$_->[0] may not call $_->[1]");
}

# the driver refuses to run as a login that could go round the database's rules
my $r = $world->sor([ 'work', 'pending_transactions', '--dbname', 'host=' . $world->node->host . ' port=' . $world->node->port
	. ' dbname=reconciler user=' . $world->superuser, '--worker', 'w', '--handler', 'true', '--on-behalf-of', 'bookkeeper@expenses.example' ]);
is($r->{rc}, 77, 'as superuser it refuses to start') or diag($r->{err});
like($r->{err}, qr/superuser/, 'and says why');
done_testing;
