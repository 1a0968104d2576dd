# The domain row and its outbox row commit or vanish together: rollback, rollback to a savepoint, kill between.
use strict;
use warnings FATAL => 'all';
use SorTest qw(poll_until);
use Test::More;

my $world = SorTest->new(tenants => ['Alice'], conf => "restart_after_crash = on\n");
my $alice = $world->tenant_id('Alice');
my $i = 0;
sub pair
{
	my $id = sprintf '00000000-0000-7000-8000-%012d', ++$i;
	return ("SELECT inserted FROM sor.upsert('$alice', 'expenses', '{\"transaction_id\": \"$id\", \"trans_date\": \"2026-09-01\", \"merchant\": \"m\", \"card\": \"c\", \"amount\": 1, \"currency\": \"GBP\", \"category\": \"Books\"}');",
		"SELECT enqueued FROM sor.enqueue('$alice', 'mail', 'expense.confirmed', '$id', '{}', '$id');");
}
sub both { return $world->sql('SELECT (SELECT count(*) FROM reconciler.expenses), (SELECT count(*) FROM sor.outbox), (SELECT count(*) FROM sor.agent_events WHERE event_type = \'outbox.enqueued\')') }

my ($row, $message) = pair();
my ($rc, $out, $err) = $world->sql_as('reconciler_loader', "BEGIN; $row $message COMMIT");
is($rc, 0, 'row and message in one transaction') or diag($err);
is(both(), '1|1|1', 'commit keeps both');

($row, $message) = pair();
$world->sql_as('reconciler_loader', "BEGIN; $row $message ROLLBACK");
is(both(), '1|1|1', 'rollback drops both');

($row, $message) = pair();
my ($row2, $message2) = pair();
($rc, $out, $err) = $world->sql_as('reconciler_loader', "BEGIN; $row $message SAVEPOINT s; $row2 $message2 ROLLBACK TO s; COMMIT");
is($rc, 0, 'a savepoint rolled back') or diag($err);
is(both(), '2|2|2', 'drops the two that followed it, and no more');

($row, $message) = pair();
$world->sql_as('reconciler_loader', "BEGIN; $row $message SELECT 1/0; COMMIT", on_error_stop => 0);
is(both(), '2|2|2', 'an error drops both');

for my $signal (qw(client TERM KILL))
{
	for my $after (1, 2)
	{
		($row, $message) = pair();
		my $session = $world->session('reconciler_loader');
		my $pid = $session->query('SELECT pg_backend_pid()');
		$session->query("BEGIN; $row" . ($after == 2 ? " $message" : ''));
		if ($signal eq 'client') { $session->{run}->kill_kill }
		elsif ($signal eq 'TERM') { $world->sql("SELECT pg_terminate_backend($pid)") }
		else { kill 'KILL', $pid or die }
		poll_until('the server is back and the backend gone', sub { $world->node->psql('reconciler',
			"SELECT 1/(count(*) = 0)::int FROM pg_stat_activity WHERE pid = $pid AND backend_type = 'client backend'") == 0 });
		is(both(), '2|2|2', "$signal killed after " . ($after == 1 ? 'the row' : 'row and message') . ': neither is there');
		$session->{run}->kill_kill if $signal ne 'client';
	}
}
is($world->sql("SELECT count(*) FROM sor.verify_events('$alice') WHERE first_bad IS NOT NULL"), '0', 'the history verifies');
done_testing;
