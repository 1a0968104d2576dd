# An acknowledged write survives the server's death, whatever the session says; pg_dump and restore keep every row, key,
# chain, guard and policy, and the restored database goes on working.
use strict;
use warnings FATAL => 'all';
use SorTest;
use Test::More;

my $world = SorTest->new(tenants => [qw(Alice Bob)], conf => "wal_writer_delay = 10s\nautovacuum = off\nrestart_after_crash = on\n");
my $node = $world->node;
my $alice = $world->tenant_id('Alice');
$world->load_ok($world->statement(30, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
$world->work_ok;
$world->relay_ok;

# 1. immediate shutdown after the reply. The bare table is the control: the test could not fail if it survived.
$world->sql('CREATE TABLE public.control (i int)');
$world->sql('GRANT INSERT ON public.control TO PUBLIC; CHECKPOINT');
my ($rc, $out, $err) = $world->sql_as('reconciler_worker', q{SET synchronous_commit = off;
	SELECT run_id FROM sor.start_run('} . $alice . q{', 'durable', 'k', (SELECT user_id FROM sor.granted_users('} . $alice . q{') LIMIT 1))});
is($rc, 0, 'start_run with synchronous_commit off') or diag($err);
my $run = $out =~ s/\s//gr;
($rc, my $seq, $err) = $world->sql_as('reconciler_loader', qq{SET synchronous_commit = off;
	SELECT enqueued FROM sor.enqueue('$alice', 'mail', 'durable', 'a', '{"to": "a\@b.example", "subject": "s", "text": "t"}', 'durable');
	INSERT INTO public.control VALUES (1)});
is($rc, 0, 'enqueue with synchronous_commit off') or diag($err);
$node->stop('immediate');
$node->start;
is($world->sql('SELECT count(*) FROM public.control'), '0', 'an unlogged reply is lost in such a shutdown (control)');
is($world->sql("SELECT status FROM sor.runs WHERE id = '$run'"), 'running', 'the acknowledged run is there');
is($world->sql("SELECT count(*) FROM sor.agent_events WHERE run_id = '$run' AND event_type = 'run.started'"), '1', 'with its event');
is($world->sql("SELECT count(*) FROM sor.outbox WHERE dedup_key = 'durable'"), '1', 'the acknowledged message is there');
$world->relay_ok;

# 2. dump and restore
my $tables = $world->sql(q{SELECT string_agg(oid::regclass::text, ' ' ORDER BY oid::regclass::text) FROM pg_class
	WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace IN ('sor'::regnamespace, 'reconciler'::regnamespace)});
sub contents
{
	my ($db) = @_;
	return { map { my $t = $_; $t => $node->safe_psql($db, "SELECT count(*), md5(string_agg(x::text, E'\\n' ORDER BY x::text COLLATE \"C\")) FROM $t x") }
		split / /, $tables };
}
sub rules
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT format('%s|%s|%s|%s|%s|%s|%s', schemaname, tablename, policyname, roles, cmd, qual, with_check) FROM pg_policies
		UNION ALL SELECT format('%s|%s|%s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace IN ('sor'::regnamespace, 'reconciler'::regnamespace)
		UNION ALL SELECT format('%s|%s|%s', tgrelid::regclass, pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT format('%s|%s|%s|%s|%s', oid::regclass, relrowsecurity, relforcerowsecurity, relowner::regrole, relacl) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN ('sor'::regnamespace, 'reconciler'::regnamespace)
		UNION ALL SELECT format('%s|%s|%s', oid::regprocedure, proowner::regrole, proacl) FROM pg_proc WHERE pronamespace = 'sor'::regnamespace
		UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace IN ('sor'::regnamespace, 'reconciler'::regnamespace)
		ORDER BY 1});
}
my ($was, $had) = (contents('reconciler'), rules('reconciler'));
for my $format (qw(custom plain))
{
	my ($db, $file) = ("restored_$format", $world->dir . "/dump.$format");
	$node->command_ok([ 'pg_dump', '-F', $format, '-f', $file, '-d', $node->connstr('reconciler') ], "$format: pg_dump");
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	if ($format eq 'custom') { $node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr($db), $file ], "$format: restore") }
	else { $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr($db), '-f', $file ], "$format: restore") }
	is_deeply(contents($db), $was, "$format: every row of every table");
	is(rules($db), $had, "$format: every policy, key, trigger, owner and grant");
	is($node->safe_psql($db, 'SELECT count(*) FROM sor.tenants t, sor.verify_events(t.tenant_id) v WHERE v.first_bad IS NOT NULL'), '0', "$format: the chains verify");
	my ($code, $stdout, $stderr) = $node->psql($db, 'DELETE FROM sor.agent_events');
	like($stderr, qr/ERROR/, "$format: the guard holds");
	my $at = sub { ('--dbname', 'host=' . $node->host . ' port=' . $node->port . " dbname=$db user=reconciler_$_[0]") };
	$world->load_ok($world->statement(10), '--tenant', 'Alice', '--set', 'statement=2', $at->('loader'));
	$world->work_ok($at->('worker'));
	$world->relay_ok($at->('relay'));
	is($node->safe_psql($db, 'SELECT count(*) FROM reconciler.expenses'), '40', "$format: the restored database goes on working");
	is($node->safe_psql($db, 'SELECT count(*) FROM sor.tenants t, sor.verify_events(t.tenant_id) v WHERE v.first_bad IS NOT NULL'), '0', "$format: its chains grow on");
}
done_testing;
