# sor drill: nine of nine pass on the demo and one is seen to fail; the bundle's shape; every figure recomputed from what was
# kept; live rows untouched; each discipline taken away is missed by exactly the drill that is for it.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json slurp top);
use Test::More;
use Time::HiRes qw(time);

my @keys = qw(migration_review run_journal_resume_drill idempotency_retry_test concurrency_claim_test outbox_relay_retry_test
	append_only_event_test rls_identity_flip_test mcp_boundary_test forensics_drill);
my $world = SorTest->new(tenants => [ 'Alice', 'Bob' ]);
my $node = $world->node;
$world->load_ok($world->statement(40, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
$world->work_ok;
$world->relay_ok;
my $out = $world->dir . '/evidence';
my @base = ('drill', '--dbname', 'host=' . $node->host . ' port=' . $node->port . ' dbname=reconciler user=' . $world->superuser,
	'--server-log', $node->logfile, '--handler', $world->handler, '--mail-server', top . '/scripts/smtp-sink');

# every row of every table, but for the decision, and for what this test verifies itself
sub everything
{
	my @tables = split /\n/, $world->sql("SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname IN ('sor', 'reconciler', 'public', 'drill') AND c.relname <> 'verifications' ORDER BY 1");
	return join "\n", map { "$_ " . $world->sql("SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM $_ t"
		. ($_ eq 'sor.agent_events' ? " WHERE event_type <> 'drill.decided'" : '')) } @tables;
}

# What is left on the server of a drill that has ended.
sub leftovers
{
	return $world->sql("SELECT coalesce(string_agg(n, ' '), '') FROM (SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles) x(n)
		WHERE n ~ '^sor_drill_'");
}

# Nine of nine --------------------------------------------------------------------------------------------------------
my ($before, $mails, $since) = (everything(), scalar @{ $world->mails }, time);
my $r = $world->sor([ @base, '--out', $out, '--verbose' ]);
note(sprintf '%.1f s', time - $since);
is($r->{rc}, 0, 'the release is permitted') or diag($r->{out} . $r->{err});
my $text = slurp("$out/evidence.json");
my $bundle = decode_json($text);
is(join(' ', $text =~ /^  "(\w+)":/mg), join(' ', @keys, 'release_decision'), 'the bundle has these keys in this order');
is(join(' ', map { $bundle->{$_} } @keys), join(' ', ('pass') x 9), 'nine of nine pass') or diag($r->{err});
like($bundle->{release_decision}, qr/^PERMITTED\. .*idempotency_retry_test failed: the retry was executed again.*habit that was missing: idempotency keys.*smallest change/,
	'one was repeated without its discipline, and failed');
like($bundle->{release_decision}, qr/$_: /i, "the decision names what is $_") for qw(durable addressable governed replayable inspectable policy-bound);
unlike($bundle->{release_decision}, qr/\n/, 'in one paragraph');
my $page = slurp("$out/evidence.md");
is(index($page, "```json\n$text```\n\n$bundle->{release_decision}\n"), 0, 'the page begins with the bundle, and the decision stands immediately below');
my %said = $page =~ /^\d\. `(\w+)` pass: (.*)$/mg;
is(join(' ', sort keys %said), join(' ', sort @keys), 'each drill has a line of evidence');
like($said{migration_review}, qr/^Migration 0001 adds reconciler.expenses.notes, downgrade drops it cleanly, applied and rolled back on branch \w+_cap_migration_1\..*No scope creep/, 'of the migration');
like($said{run_journal_resume_drill}, qr/resumed from turn 3 of [5-9] after its worker was killed by signal 9\. Turns 1 to 2 were not re-executed\..*one gap closed\. 10 items, 10 expenses/, 'of the resumption');
like($said{idempotency_retry_test}, qr/produced one expenses row\. The second was a no-op.*Row count delta: \+1\./, 'of the retry');
like($said{concurrency_claim_test}, qr/^Worker A claimed pending transaction (\S+)\. Worker B skipped it and claimed (?!\1)\S+\..*refused with SR007\. No lock errors/, 'of the race');
like($said{outbox_relay_retry_test}, qr/^Relay failed once, retried once, dispatched once\..*ended in dispatched\..*exactly 1 delivery.*none more/, 'of the relay');
like($said{append_only_event_test}, qr/raised 42501 for the worker and SR004 for a superuser\. Replayed run \S+ from \d+ event rows, ordered by id/, 'of the history');
like($said{rls_identity_flip_test}, qr/^Alice's context returned \d+ rows \(all Alice's\)\. Bob's context returned \d+ rows \(all Bob's\)\. Unset context returned 0 rows\./, 'of row security');
like($said{mcp_boundary_test}, qr/no DATABASE_URL\. Tool surface lists four allowed operations: claim, queue, read, write\..*shows no statement for it/, 'of the boundary');
like($said{forensics_drill}, qr/Six lines populated\. Root cause and next action: ./, 'of the report');

# Live rows -----------------------------------------------------------------------------------------------------------
is(everything(), $before, 'no row of the live database has changed');
is(scalar @{ $world->mails }, $mails, 'no mail went to the live destination');
is(leftovers(), '', 'neither scratch database nor login is left');
is($world->sql("SELECT count(*), min(payload #>> '{bundle,release_decision}') FROM sor.agent_events WHERE event_type = 'drill.decided'"),
	"1|$bundle->{release_decision}", 'the decision is an event');
is($world->sql("SELECT first_bad IS NULL FROM sor.verify_events('00000000-0000-0000-0000-000000000000')"), 't', 'of the chained history');

# Recomputed ----------------------------------------------------------------------------------------------------------
for my $kept ($out, "$out/broken")
{
	$world->node->safe_psql('postgres', 'CREATE DATABASE recomputed');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '--dbname=recomputed', "$kept/rows.dump" ], 'the rows can be restored');
	my $answers = sub { return [ map { [ split /\t/, $_, 3 ] } split /\n/, `psql -X -q -At -F '\t' -d recomputed -f $out/queries.sql 2>&1` ] };
	local %ENV = $node->_get_env;
	my $found = $answers->();
	if ($kept eq $out)
	{
		is(join("\n", map { "$_->[0] $_->[1]" } @$found), join("\n", map { "t $said{$_}" } @keys), 'and the printed queries give the same figures');
		# no drill passes without rows: neither without those of the journal, nor without what was seen
		$node->safe_psql('recomputed', 'SET sor.drop_guard = off; TRUNCATE drill.observations, drill.logs');
		is(join(' ', map { $_->[0] } @{ $answers->() }), join(' ', ('f') x 9), 'without what was seen no drill passes');
	}
	else
	{
		is($found->[2][0], 'f', 'the drill that was broken fails when recomputed');
		like($found->[2][2], qr/^the retry was executed again: 3 calls/, 'for the reason that was given');
	}
	$node->safe_psql('postgres', 'DROP DATABASE recomputed');
}

# Each discipline taken away, where the change of drill 1 is there already, as it is after the demo ------------------------
$world->sql("SET sor.drop_guard = off; SELECT sor.propose_migration('0001', 'notes', 'ALTER TABLE reconciler.expenses ADD COLUMN notes text',
	'ALTER TABLE reconciler.expenses DROP COLUMN notes'); SELECT sor.apply_migration('0001')");
$before = everything();
$since = time;
my $all = $world->sor([ @base, '--out', "$out.all", '--sabotage', 'all', '--verbose' ]);
note(sprintf '%.1f s', time - $since);
is($all->{rc}, 0, 'each is missed by exactly the drill that is for it') or diag($all->{out} . $all->{err});
my %drill_of = (downgrade => 0, 'journal-write' => 1, 'unique-key' => 2, 'idempotency-key' => 2, 'fencing-check' => 3, 'skip-locked' => 3,
	'outbox-transaction' => 4, 'dedup-key' => 4, 'guard-trigger' => 5, policy => 6, 'allow-list' => 7, 'failure-record' => 8);
is(join(' ', sort map { (split)[1] } grep { /^ok/ } split /\n/, $all->{out}), join(' ', sort keys %drill_of), 'these');
my %reasons = (downgrade => qr/no downgrade/, 'journal-write' => qr/nothing to resume from/, 'unique-key' => qr/^2 rows for one purchase/,
	'idempotency-key' => qr/executed again/, 'fencing-check' => qr/could still complete/, 'skip-locked' => qr/SQLSTATE 55P03/,
	'outbox-transaction' => qr/domain row was rolled back/, 'dedup-key' => qr/2 messages, 2 deliveries/, 'guard-trigger' => qr/passed for a superuser/,
	policy => qr/somebody else's/, 'allow-list' => qr/drop_table/, 'failure-record' => qr/rows in the journal/);
for my $name (sort keys %drill_of)
{
	my $no = decode_json(-e "$out.all/$name/evidence.json" ? slurp("$out.all/$name/evidence.json") : '{}');
	is(join(' ', grep { ($no->{$_} // '') ne 'pass' } @keys), $keys[ $drill_of{$name} ], "$name: one drill says no");
	like($no->{ $keys[ $drill_of{$name} ] }, $reasons{$name}, "$name: and why");
	like($no->{release_decision}, qr/^BLOCKED\. $keys[ $drill_of{$name} ] failed: .*habit that was missing: .*smallest change that unblocks: /, "$name: blocks the release");
}
is($world->sql("SELECT count(*) FROM sor.agent_events WHERE event_type = 'drill.decided'"), '1', 'a sabotaged copy decides nothing');
is(everything(), $before, 'and changes no live row');
is(leftovers(), '', 'nothing is left of it');

# The folder, and a database that somebody is connected to: it is copied by a dump -----------------------------------------
my $other = $world->session('operator');
$other->query('SELECT 1');
my $again = $world->sor([ @base, '--out', $out, '--sabotage', 'policy' ]);
is($again->{rc}, 1, 'a blocked release is exit code 1') or diag($again->{err});
is(join(' ', grep { decode_json(slurp("$out/evidence.json"))->{$_} ne 'pass' } @keys), 'rls_identity_flip_test', 'nothing of the evidence that was there counts again');
$other->quit;
my $theirs = $world->sor([ @base, '--out', $world->home ]);
is($theirs->{rc}, 64, 'a folder that holds something else is refused') or diag($theirs->{out});
ok(-e $world->home . '/settings.toml', 'and not touched');

# What it is not for --------------------------------------------------------------------------------------------------
my $unknown = $world->sor([ @base, '--out', "$out.no", '--sabotage', 'nothing' ]);
is($unknown->{rc}, 64, 'an unknown sabotage is a usage error');
like($unknown->{err}, qr/downgrade.*failure-record/, 'which names those there are');
my $operator = $world->sor([ 'drill', '--dbname', 'service=operator', @base[ 3 .. $#base ], '--out', "$out.no" ]);
is($operator->{rc}, 77, 'a login that is no superuser is refused') or diag($operator->{err});
done_testing;
