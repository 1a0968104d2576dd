# Migrations survive what kills them: a backend killed at each statement leaves nothing, one killed in a statement that no
# transaction holds leaves what migration_status names, and the next attempt goes on from there; dump and restore keep the
# history; ten megabytes of statements are applied in bounded memory.
use strict;
use warnings FATAL => 'all';
use SorTest qw(poll_until);
use Test::More;

my $world = SorTest->new(bare => 1, conf => "restart_after_crash = on\nautovacuum = off\n");
my $node = $world->node;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
sub sql { return $node->safe_psql('shop', $_[0]) }
sql(q{CREATE EXTENSION sor;
	CREATE ROLE author LOGIN IN ROLE sor_operator; CREATE ROLE runner LOGIN IN ROLE sor_operator;
	GRANT CREATE ON SCHEMA public TO runner});

# proposed by the one, approved by the other
sub approved
{
	my ($version, $up, $down) = @_;
	$down = defined $down ? "\$down\$$down\$down\$" : 'NULL';
	sql("SET SESSION AUTHORIZATION author; SELECT sor.propose_migration('$version', 'migration $version', \$up\$$up\$up\$, $down)");
	sql("SET client_min_messages = error; SELECT sor.approve_migration('$version', '{\"branch\": \"b\", \"backup\": \"b\", \"reason\": \"r\"}')");
	return;
}
sub status { return sql("SELECT state || coalesce(': ' || detail, '') FROM sor.migration_status() WHERE version = '$_[0]'") }
sub sound { return sql("SELECT first_bad FROM sor.verify_events('00000000-0000-0000-0000-000000000000')") }

# A session that the test lets wait; its backend's number.
sub session
{
	my ($user) = @_;
	my $s = $node->background_psql('shop', on_error_stop => 0, extra_params => [ '-U', $user ]);
	return ($s, $s->query_safe('SELECT pg_backend_pid()'));
}
# Sends what will wait; returns when it does, on `event` (a prefix of wait_event_type/wait_event).
sub wait_in
{
	my ($s, $pid, $sql, $event) = @_;
	$s->query_until(qr/sent/, "\\echo sent\n$sql;\n");
	poll_until("$sql waits", sub { sql("SELECT wait_event_type || '/' || wait_event FROM pg_stat_activity WHERE pid = $pid AND state = 'active'") =~ /^\Q$event/ });
	return;
}
# SIGKILL: the server restarts, and with it every session ends.
sub crash
{
	my ($pid, @sessions) = @_;
	my $crashes = () = SorTest::slurp($node->logfile) =~ /reinitializing/g;
	kill 'KILL', $pid or die "kill $pid: $!";
	poll_until('the server is back', sub {
		my $rc = eval { $node->psql('shop', 'SELECT 1') } // 2; # psql may be gone before it is asked
		my $now = () = SorTest::slurp($node->logfile) =~ /reinitializing/g;
		return $rc == 0 && $now > $crashes;
	});
	for (@sessions) { eval { $_->{run}->kill_kill; 1 } or diag($@) }
	return;
}

# 1. killed at each statement of a migration, and once more where all are done and the commit is to come
my @statements = ('CREATE TABLE accounts (id int PRIMARY KEY, balance int)', 'INSERT INTO accounts SELECT g, g FROM generate_series(1, 100) g',
	'CREATE INDEX accounts_balance ON accounts (balance)', 'ALTER TABLE accounts ADD CHECK (balance > 0)', 'COMMENT ON TABLE accounts IS \'money\'');
my $n = 0;
approved('1', join(";\n", map { "SELECT pg_advisory_xact_lock(" . ++$n . ");\n$_" } @statements) . ";\nSELECT pg_advisory_xact_lock(" . ++$n . ")",
	"SELECT pg_advisory_xact_lock(1);\nDROP TABLE accounts;\nSELECT pg_advisory_xact_lock(2)");
my $before = sql('SELECT sor.schema_fingerprint()');
for my $at (1 .. $n)
{
	my ($blocker) = session('runner');
	$blocker->query_safe("SELECT pg_advisory_lock($at)");
	my ($s, $pid) = session('runner');
	wait_in($s, $pid, "SELECT count(*) FROM sor.apply_migration('1', lock_timeout => '0')", 'Lock/advisory');
	crash($pid, $s, $blocker);
	is(status('1') . sql('SELECT sor.schema_fingerprint()'), "approved$before", "killed at statement " . (2 * $at - 1) . ': nothing is there');
}
{
	my ($s, $pid) = session('runner');
	$s->query_safe("BEGIN; SELECT count(*) FROM sor.apply_migration('1')");
	crash($pid, $s);
	is(status('1') . sql('SELECT sor.schema_fingerprint()'), "approved$before", 'killed before the commit: nothing is there');
}
is(sql("SET SESSION AUTHORIZATION runner; SELECT count(*) FROM sor.apply_migration('1')"), 2 * $n - 1, 'then it is applied');
is(sql('SELECT count(*) FROM accounts'), '100', 'with its rows');
my $applied = sql('SELECT sor.schema_fingerprint()');
for my $at (1, 2)
{
	my ($blocker) = session('runner');
	$blocker->query_safe("SELECT pg_advisory_lock($at)");
	my ($s, $pid) = session('runner');
	wait_in($s, $pid, "SELECT count(*) FROM sor.rollback_migration('1', lock_timeout => '0')", 'Lock/advisory');
	crash($pid, $s, $blocker);
	is(status('1') . sql('SELECT sor.schema_fingerprint()'), "applied$applied", "rollback killed at statement " . (2 * $at - 1) . ': all is there');
}
is(sql('SELECT count(*) FROM accounts'), '100', 'and so are its rows');
is(sound(), '', 'the events fit together');

# 2. statements that no transaction holds
my ($runner, $pid);
sub begin_again # after a crash, in a session of its own
{
	my ($version, $direction, $step) = @_;
	($runner, $pid) = session('runner');
	$runner->query_safe('SELECT sor.lock_migrations()');
	return $runner->query_safe("SELECT cleanup, statement FROM sor.begin_migration_step('$version', '$direction', $step)");
}
approved('2', "CREATE TABLE notes (id int, note text) PARTITION BY RANGE (id);
CREATE TABLE notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (1000);
INSERT INTO notes SELECT g, g FROM generate_series(1, 100) g;
CREATE INDEX CONCURRENTLY notes_1_note ON notes_1 (note);
REINDEX INDEX CONCURRENTLY notes_1_note;
ALTER TABLE notes DETACH PARTITION notes_1 CONCURRENTLY;
DROP INDEX CONCURRENTLY notes_1_note;
COMMENT ON TABLE notes IS 'nothing'", 'DROP TABLE notes, notes_1');
($runner, $pid) = session('runner');
is($runner->query_safe('SELECT sor.lock_migrations()'), 't', 'one runner');
is($runner->query_safe("SELECT count(*) FROM sor.run_migration_step('2', 'up', 1)"), '3', 'step 1 is a transaction');
crash($pid, $runner);
is(status('2'), 'applying: 1 of 6 steps are done.', 'killed between two steps: it stands where it stood');
like(($node->psql('shop', "SELECT sor.apply_migration('2')", extra_params => [ '-U', 'runner' ]))[2], qr/half applied/, 'and nobody applies it from its start');

# killed while it waits for whoever has the table in use, an index build leaves an invalid index
my $create = 'CREATE INDEX CONCURRENTLY notes_1_note ON notes_1 (note)';
is(begin_again('2', 'up', 2), "{}|$create", 'step 2 begins');
my ($writer) = session($world->superuser);
$writer->query_safe("BEGIN; INSERT INTO notes VALUES (200, 'x')");
wait_in($runner, $pid, $create, 'Lock/virtualxid');
crash($pid, $runner, $writer);
is(sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'notes_1_note'::regclass"), 'f', 'an invalid index is left');
like(status('2'), qr/^applying: 1 of 6 steps are done; step 2 \(statement 4, line 4\) began at \S+ Index public\.notes_1_note is invalid\.$/, 'status names it');
my $cleanup = 'drop index concurrently public.notes_1_note';
is(begin_again('2', 'up', 2), "{\"$cleanup\"}|$create", 'the next attempt begins with its removal');
like(($node->psql('shop', "SELECT sor.lock_migrations()", extra_params => [ '-U', 'author' ]))[1], qr/^f/, 'nobody else may run meanwhile');
# killed again while it cleans up
($writer) = session($world->superuser);
$writer->query_safe('BEGIN; SELECT count(*) FROM notes');
wait_in($runner, $pid, $cleanup, 'Lock/virtualxid');
crash($pid, $runner, $writer);
is(begin_again('2', 'up', 2), "{\"$cleanup\"}|$create", 'and so does the one after that');
$runner->query_safe($cleanup);
($writer) = session($world->superuser);
$writer->query_safe("BEGIN; INSERT INTO notes VALUES (200, 'x')");
wait_in($runner, $pid, $create, 'Lock/virtualxid');
$writer->query_safe('COMMIT');
poll_until('the index is built', sub { sql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('notes_1_note')") eq 't' });
crash($pid, $runner, $writer); # built, and not said so
like(status('2'), qr/What it is for is there already\.$/, 'killed after the statement: status sees that it is done');
is(begin_again('2', 'up', 2), '{}|', 'nothing is left to do but to say so');
$runner->query_safe("SELECT sor.finish_migration_step('2', 'up', 2)");

# REINDEX leaves the copy it was building
my $reindex = 'REINDEX INDEX CONCURRENTLY notes_1_note';
is($runner->query_safe("SELECT cleanup, statement FROM sor.begin_migration_step('2', 'up', 3)"), "{}|$reindex", 'step 3 begins');
($writer) = session($world->superuser);
$writer->query_safe("BEGIN; INSERT INTO notes VALUES (201, 'x')");
wait_in($runner, $pid, $reindex, 'Lock/virtualxid');
crash($pid, $runner, $writer);
like(status('2'), qr/step 3 .* Invalid index public\.notes_1_note_ccnew was left\.$/, 'REINDEX: status names what was left');
is(begin_again('2', 'up', 3), "{\"drop index concurrently public.notes_1_note_ccnew\"}|$reindex", 'REINDEX: that is to be removed');
my ($out, $failed) = $runner->query("SELECT sor.finish_migration_step('2', 'up', 3)");
ok($failed, 'REINDEX: not before, is the step over');
$runner->{stderr} = '';
$runner->query_safe($_) for 'drop index concurrently public.notes_1_note_ccnew', $reindex, "SELECT sor.finish_migration_step('2', 'up', 3)";

# DETACH stays pending
my $detach = 'ALTER TABLE notes DETACH PARTITION notes_1 CONCURRENTLY';
is($runner->query_safe("SELECT cleanup, statement FROM sor.begin_migration_step('2', 'up', 4)"), "{}|$detach", 'step 4 begins');
($writer) = session($world->superuser);
$writer->query_safe('BEGIN; SELECT count(*) FROM notes');
wait_in($runner, $pid, $detach, 'Lock/');
crash($pid, $runner, $writer);
like(status('2'), qr/step 4 .* Partition public\.notes_1 is half detached from public\.notes\.$/, 'DETACH: status says that it is pending');
my $finalize = 'alter table public.notes detach partition public.notes_1 finalize';
is(begin_again('2', 'up', 4), "{\"$finalize\"}|", 'DETACH: it is to be finalized');
$runner->query_safe($_) for $finalize, "SELECT sor.finish_migration_step('2', 'up', 4)";

# DROP INDEX leaves the index, invalid
my $drop = 'DROP INDEX CONCURRENTLY notes_1_note';
is($runner->query_safe("SELECT cleanup, statement FROM sor.begin_migration_step('2', 'up', 5)"), "{}|$drop", 'step 5 begins');
($writer) = session($world->superuser);
$writer->query_safe('BEGIN; SELECT count(*) FROM notes_1');
wait_in($runner, $pid, $drop, 'Lock/virtualxid');
crash($pid, $runner, $writer);
like(status('2'), qr/step 5 .* Index public\.notes_1_note is still there\.$/, 'DROP INDEX: status says that it is there');
is(begin_again('2', 'up', 5), "{}|$drop", 'DROP INDEX: once more');
$runner->query_safe($_) for $drop, "SELECT sor.finish_migration_step('2', 'up', 5)", "SELECT sor.run_migration_step('2', 'up', 6)";
is(status('2'), 'applied', 'applied at last');
is(sql('SELECT count(*) FROM notes_1'), '101', 'with its rows');
is(sound(), '', 'the events fit together');
$runner->quit;

# 3. dump and restore
approved('3', 'CREATE TABLE after_all (i int)', 'DROP TABLE after_all');
sql("SELECT sor.record_rehearsal('3', checksum, 'branch', '{\"x\": 1}') FROM sor.migrations WHERE version = '3'");
my $history = 'SELECT m::text FROM sor.migrations m UNION ALL SELECT r::text FROM sor.rehearsals r ORDER BY 1';
my $dump = $world->dir . '/shop.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'shop' ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ], 'restored');
is($node->safe_psql('restored', $history), sql($history), 'the history is the same');
is($node->safe_psql('restored', "SELECT first_bad FROM sor.verify_events('00000000-0000-0000-0000-000000000000')"), '', 'its events fit together');
is($node->safe_psql('restored', "SET SESSION AUTHORIZATION runner; SELECT command FROM sor.apply_migration('3')"), 'CREATE TABLE', 'what was approved is applied there');
is($node->safe_psql('restored', "SET SESSION AUTHORIZATION runner; SELECT command FROM sor.rollback_migration('3')"), 'DROP TABLE', 'and rolled back');

# 4. ten megabytes, 200,000 statements
sql(q{CREATE TABLE big (i int, t text); ALTER TABLE big OWNER TO runner});
sql(q{SET SESSION AUTHORIZATION author; SELECT sor.propose_migration('4', 'many rows', string_agg(format('INSERT INTO big VALUES (%s, %L);', g, repeat('x', 20)), E'\n'), '') FROM generate_series(1, 200000) g});
sql(q{SET client_min_messages = error; SELECT sor.approve_migration('4')});
my ($s, $backend) = session('runner');
is($s->query_safe("SELECT count(*) FROM sor.apply_migration('4', true)"), '200000', '200,000 statements are applied');
my ($peak) = SorTest::slurp("/proc/$backend/status") =~ /VmHWM:\s*(\d+) kB/;
cmp_ok($peak, '<', 400_000, 'in less than 400 MB');
is(sql('SELECT count(*) FROM big'), '200000', 'each once');
cmp_ok(sql(q{SELECT octet_length(payload::text) FROM sor.agent_events WHERE event_type = 'migration.applied' AND payload ->> 'version' = '4'}), '<', 1_000_000, 'and their event is a small one');
$s->quit;
done_testing;
