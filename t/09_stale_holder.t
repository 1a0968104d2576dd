# A worker is stopped past its lease, another does its items, the first wakes up: nothing that it writes is accepted.
use strict;
use warnings FATAL => 'all';
use SorTest qw(poll_until spew);
use Test::More;

my $n = 10;
my $world = SorTest->new(tenants => ['Alice']);
$world->load_ok($world->statement($n), '--tenant', 'Alice', '--set', 'statement=1');
my ($held, $asked, $release) = $world->holding_handler('held');
my $stale = $world->start_sor($world->work_args('--worker', 'first', '--handler', $held));
poll_until('the first worker holds items', sub { -e $asked });
kill 'STOP', $world->pid($stale) or die;
$world->lapse(stopped => 1);
my $second = $world->sor($world->work_args('--worker', 'second'));
is($second->{rc}, 0, 'the second worker does all') or diag($second->{err});
$world->totals_ok($n, 'before the first wakes up');
my $events = $world->sql("SELECT count(*) FROM sor.agent_events WHERE event_type IN ('item.completed', 'outbox.enqueued', 'tool_call.succeeded')");
spew($release, '');
kill 'CONT', $world->pid($stale) or die;
my $r = $world->finish($stale);
isnt($r->{rc}, 0, 'the first says that it lost its lease');
like($r->{err}, qr/lease/, 'in words') or diag($r->{err});
$world->totals_ok($n, 'after it woke up');
is($world->sql("SELECT count(*) FROM sor.tool_calls c JOIN sor.runs r ON (r.tenant_id, r.id) = (c.tenant_id, c.run_id) WHERE r.worker = 'first' AND c.tool IN ('write', 'queue') AND c.status = 'succeeded'"),
	'0', 'it wrote nothing');

# an item that is lost while its batch is in hand costs the others nothing
$world->load_ok($world->statement(5), '--tenant', 'Alice', '--set', 'statement=lost');
my ($waiting, $asked2, $release2) = $world->holding_handler('waiting');
my $batch = $world->start_sor($world->work_args('--worker', 'third', '--lease', 60, '--handler', $waiting));
poll_until('the batch is in hand', sub { -e $asked2 });
$world->sql("DELETE FROM reconciler.pending_transactions WHERE id = (SELECT id FROM reconciler.pending_transactions WHERE statement = 'lost' LIMIT 1)");
spew($release2, '');
$r = $world->finish($batch);
is($r->{rc}, 75, 'the worker says that an item was lost') or diag($r->{err});
like($r->{err}, qr/the lease of an item was lost/, 'in words');
is($world->sql("SELECT count(*), count(e.transaction_id) FROM reconciler.pending_transactions p LEFT JOIN reconciler.expenses e ON (e.tenant_id, e.transaction_id) = (p.tenant_id, p.id) WHERE p.statement = 'lost'"),
	'4|4', 'the other four are done');

# the same by hand: every function that takes a claim's or a run's token refuses the old one
my $alice = $world->tenant_id('Alice');
$world->load_ok($world->statement(1), '--tenant', 'Alice', '--set', 'statement=2');
my ($rc, $out, $err) = $world->sql_as('reconciler_loader', "SELECT item_id, claim_token FROM sor.claim('$alice', 'pending_transactions', 'x', 1, '1 s')");
my ($item, $token) = split /\|/, $out;
ok($token, 'claimed') or diag($err);
my ($item2, $token2) = split /\|/, poll_until('the lease is over', sub {
	(undef, my $o) = $world->sql_as('reconciler_loader', "SELECT item_id, claim_token FROM sor.claim('$alice', 'pending_transactions', 'y', 1, '1 min')");
	return $o;
});
is($item2, $item, 'claimed by another when the lease was over');
cmp_ok($token2, '>', $token, 'under a higher token');
for my $call ("complete('$alice', 'pending_transactions', '$item', $token)", "fail('$alice', 'pending_transactions', '$item', $token, 'x')",
	"release('$alice', 'pending_transactions', '$item', $token)", "extend('$alice', 'pending_transactions', '$item', $token, '1 min')")
{
	my ($code, $o, $e) = $world->sql_as('reconciler_loader', "\\set VERBOSITY verbose\nSELECT sor.$call");
	like($e, qr/ERROR:  SR007:.*HINT:/s, 'stale: ' . ($call =~ /(\w+)/)[0] . ' is refused');
}
my ($code, $o, $e) = $world->sql_as('reconciler_loader', "SELECT sor.complete('$alice', 'pending_transactions', '$item', $token2)");
is($code, 0, 'the holder\'s is accepted') or diag($e);
done_testing;
