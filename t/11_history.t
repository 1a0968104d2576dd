# History cannot be edited unseen: an edit, a deletion, an insertion and a swap, made by a superuser who has taken the guard
# off, are found by verify_events and by a verifier of another language that knows docs/events.md alone.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use SorTest qw(slurp top);
use Test::More;

my $world = SorTest->new(tenants => ['Alice']);
$world->load_ok($world->statement(15), '--tenant', 'Alice', '--set', 'statement=1');
$world->work_ok('--batch', 5);
$world->relay_ok;
my $alice = $world->tenant_id('Alice');

my $verifier = top . '/t/verify_events.py';
cmp_ok(scalar(grep { /\S/ && !/^#/ } split /\n/, slurp($verifier)), '<=', 40, 'the verifier has at most 40 lines');

# what each says of the history after $tamper, which is rolled back
sub verdicts
{
	my ($tamper) = @_;
	my $file = $world->dir . '/events.tsv';
	my $sql = "BEGIN; SET LOCAL sor.drop_guard = off; ALTER TABLE sor.agent_events DISABLE TRIGGER USER; $tamper\n" .
		"SELECT coalesce(first_bad::text, 'clean') FROM sor.verify_events('$alice');\n" . slurp(top . '/t/export_events.sql') . "\nROLLBACK;";
	my ($out, $err) = ('', '');
	unlink $file;
	my $rc = $world->node->psql('reconciler', $sql, stdout => \$out, stderr => \$err, extra_params => [ '-q', '-v', "tenant=$alice", '-v', "file=$file" ], on_error_stop => 1);
	die "$tamper\n$err" if $rc != 0 || !-e $file;
	my ($said, $complaint) = ('', '');
	IPC::Run::run([ '/usr/bin/python3', $verifier, $file ], '>', \$said, '2>', \$complaint);
	return ($out =~ s/\n.*//sr, $? == 0 ? 'clean' : $said . $complaint);
}

is_deeply([ verdicts('') ], [ 'clean', 'clean' ], 'untouched: both find nothing');
my $one = "(SELECT id FROM sor.agent_events WHERE tenant_id = '$alice' AND seq = 2 ORDER BY id LIMIT 1)";
my $run_stream = "(SELECT stream_id FROM sor.agent_events WHERE tenant_id = '$alice' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)";
my %tampering = (
	'an edited payload' => "UPDATE sor.agent_events SET payload = payload || '{\"x\": 1}' WHERE id = $one;",
	'an edited actor' => "UPDATE sor.agent_events SET actor = 'somebody else' WHERE id = $one;",
	'an edited time' => "UPDATE sor.agent_events SET created_at = created_at + interval '1 us' WHERE id = $one;",
	'a deleted event' => "DELETE FROM sor.agent_events WHERE id = $one;",
	'a deletion with the rest renumbered' => "DELETE FROM sor.agent_events WHERE stream_id = $run_stream AND seq = 3;
		UPDATE sor.agent_events SET seq = seq + 1000000 WHERE stream_id = $run_stream AND seq > 3;
		UPDATE sor.agent_events SET seq = seq - 1000001 WHERE seq > 1000000;",
	'an inserted event' => "CREATE TEMP TABLE e ON COMMIT DROP AS SELECT * FROM sor.agent_events WHERE stream_id = $run_stream ORDER BY seq DESC LIMIT 1;
		UPDATE e SET seq = seq + 1, id = sor.uuid_v7(), prev_hash = hash; INSERT INTO sor.agent_events SELECT * FROM e;",
	'two events swapped' => "UPDATE sor.agent_events SET seq = seq + 1000000 WHERE stream_id = $run_stream AND seq IN (2, 3);
		UPDATE sor.agent_events SET seq = 1000005 - seq WHERE seq > 1000000;",
);
for my $what (sort keys %tampering)
{
	my ($ours, $theirs) = verdicts($tampering{$what});
	like($ours, qr/^\{/, "$what: verify_events finds it");
	isnt($theirs, 'clean', "$what: the other verifier finds it");
}

# memory is that of one event, however many there are
$world->sql("SELECT count(sor.append_event('$alice', 'expense.scanned', jsonb_build_object('scan', repeat('x', 1000000)))) FROM generate_series(1, 200)");
my ($verdict, $peak) = split /\n/, $world->sql("SELECT first_bad IS NULL FROM sor.verify_events('$alice');
	SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\\s+(\\d+)'))[1]");
is($verdict, 't', 'large events are verified');
cmp_ok($peak, '<', 300_000, "200 of 1 MB in $peak kB");

# what a turn was given and what it answered fit a jsonb each, and not together
my ($run, $token) = split /\|/, $world->sql("SELECT run_id, run_token FROM sor.start_run('$alice', 'reconciler', 'large', (SELECT on_behalf_of FROM sor.runs LIMIT 1))");
$world->sql("SELECT sor.begin_turn('$alice', '$run', $token, jsonb_build_object('in', repeat('i', 140000000)));
	SELECT sor.finish_turn('$alice', '$run', $token, 1, jsonb_build_object('out', repeat('o', 140000000)))");
is($world->sql("SELECT first_bad IS NULL FROM sor.verify_events('$alice')"), 't', 'large rows are verified as well');

# with the guard on, nobody edits
for ('UPDATE sor.agent_events SET actor = actor', 'DELETE FROM sor.agent_events', 'TRUNCATE sor.agent_events')
{
	my ($rc, $out, $err) = $world->sql_as($world->superuser, "\\set VERBOSITY verbose\n$_");
	like($err, qr/ERROR:  SR004:.*HINT:/s, "refused: $_");
}
done_testing;
