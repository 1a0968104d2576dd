# kill -9 of `sor work`: at each named point and at random ones. Its successor under the same run key finishes the night.
use strict;
use warnings FATAL => 'all';
use SorTest qw(poll_until slurp spew);
use Test::More;
use Time::HiRes qw(sleep time);

my $n = 40;

my @points = map { ("$_:1", "$_:3") } qw(after-claim in-handler before-commit after-commit);
for my $point (@points)
{
	my $world = SorTest->new(tenants => ['Alice']);
	$world->load_ok($world->statement($n), '--tenant', 'Alice', '--set', 'statement=1');
	my $log = $world->dir . '/handled';
	spew($log, '');
	# tee is the handler's own log of what it was asked
	my @arguments = ('--run-key', 'night', '--batch', 10, '--handler', "sh -c 'tee -a $log | exec @{[$world->handler]}'");

	my $killed = $world->sor($world->work_args(@arguments), binary => 'sor-faults', env => { SOR_FAULT => $point });
	is($killed->{signal}, 9, "$point: killed") or diag($killed->{err});
	my @done = split /\n/, $world->sql('SELECT transaction_id FROM reconciler.expenses');
	my $turns = $world->sql("SELECT count(*) FROM sor.turns WHERE status <> 'running' AND finished_at IS NOT NULL");
	my $events = $world->sql('SELECT count(*) FROM sor.agent_events');
	spew($log, '');
	$world->lapse;

	my $r = $world->work_on(@arguments);
	is($r->{rc}, 0, "$point: its successor finishes") or diag($r->{err});
	$world->totals_ok($n, $point);
	my $handled = slurp($log);
	is(scalar(grep { index($handled, $_) >= 0 } @done), 0,
		"$point: nothing that was committed (@{[scalar @done]} items, $turns turns) is handed over again");
	is($world->sql("SELECT count(*), min(status) FROM sor.runs"), '1|succeeded', "$point: one run, succeeded");
	is($world->sql("SELECT count(*) FROM sor.agent_events WHERE event_type = 'run.resumed'"), '1', "$point: the gap is an event");

	my $before = $world->sql('SELECT count(*) FROM sor.agent_events');
	spew($log, '');
	$world->work_ok(@arguments);
	is($world->sql('SELECT count(*) FROM sor.agent_events') . slurp($log), $before,
		"$point: the finished run's key again is a no-op");
}

# Random points: one night, its worker killed again and again.
{
	my $world = SorTest->new(tenants => [qw(Alice Bob)]);
	$n = 2000;
	$world->load_ok($world->statement($n, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
	my @arguments = ('--run-key', 'night', '--batch', 10);
	my $seed = $ENV{SOR_SEED} // int(time);
	srand $seed;
	note("seed $seed");
	my ($kills, $gaps) = (0, 0);
	while ($kills < 20)
	{
		my $run = $world->start_sor($world->work_args(@arguments));
		my $turns = $world->sql('SELECT count(*) FROM sor.turns');
		poll_until('it is at work', sub { !$run->{h}->pumpable || $world->sql('SELECT count(*) FROM sor.turns') ne $turns });
		sleep(rand 0.15);
		kill 9, $world->pid($run);
		my $r = $world->finish($run);
		if ($r->{signal} == 9) { $kills++ }
		elsif ($r->{rc} != 75)
		{
			is($r->{rc}, 0, 'a worker that was quicker than its killer') or diag($r->{err});
			last;
		}
		$world->lapse;
	}
	note("$kills kills, " . $world->sql('SELECT count(*) FROM reconciler.expenses') . " of $n done before the last run");
	cmp_ok($kills, '>', 0, 'killed at random points');
	my $r = $world->work_on(@arguments);
	is($r->{rc}, 0, 'the last one finishes') or diag($r->{err});
	$world->totals_ok($n, 'random kills');
	is($world->sql(q{SELECT count(*) FROM (SELECT stream_id FROM sor.agent_events GROUP BY tenant_id, stream_id
		HAVING max(seq) <> count(*) OR min(seq) <> 1) gap}), '0', 'no sequence of events has a gap');
	$world->relay_ok;
	is(scalar @{ $world->mails }, $n, 'one mail each');
}
done_testing;
