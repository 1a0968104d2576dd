# Eight workers at once on one queue: each item once, no lock error, nobody waits for another.
use strict;
use warnings FATAL => 'all';
use SorTest qw(slurp);
use Test::More;

my $n = 800;
my $world = SorTest->new(conf => "log_lock_waits = on\ndeadlock_timeout = 1s\n");
$world->load_ok($world->statement($n, qw(Alice Bob Carol)), '--tenant-from', 'directorate', '--set', 'statement=1');
my @workers = map { $world->start_sor($world->work_args('--worker', "reconciler-$_", '--batch', 10)) } 1 .. 8;
for my $i (1 .. 8)
{
	my $r = $world->finish($workers[ $i - 1 ]);
	is($r->{rc}, 0, "worker $i ends well");
	is($r->{err}, '', "worker $i says nothing");
}
$world->totals_ok($n, 'eight workers');
cmp_ok($world->sql("SELECT count(DISTINCT r.worker) FROM sor.tool_calls c JOIN sor.runs r ON (r.tenant_id, r.id) = (c.tenant_id, c.run_id) WHERE c.tool = 'write'"),
	'>', 1, 'the work was shared');
unlike(slurp($world->node->logfile), qr/deadlock|could not obtain lock|could not serialize|still waiting/, 'no lock error in the server\'s log');
is($world->sql("SELECT count(*) FROM sor.agent_events WHERE event_type IN ('item.failed', 'item.dead', 'tool_call.failed', 'tool_call.refused')"),
	'0', 'nothing failed on the way');
$world->relay_ok;
is(scalar @{ $world->mails }, $n, 'one mail each');
done_testing;
