# kill -9 of `sor load` between its batches: the same command again finishes what it began, nothing twice.
use strict;
use warnings FATAL => 'all';
use SorTest qw(spew);
use Test::More;

my $world = SorTest->new(tenants => [qw(Alice Bob)]);
my $n = 500;
my $file = $world->statement($n, qw(Alice Bob));
my @arguments = ($file, '--tenant-from', 'directorate', '--set', 'statement=1', '--batch', 50);
for my $at (1, 3)
{
	my $r = $world->sor($world->load_args(@arguments), binary => 'sor-faults', env => { SOR_FAULT => "after-batch:$at" });
	is($r->{signal}, 9, "killed after batch $at") or diag($r->{err});
	my $rows = $world->sql('SELECT count(*) FROM reconciler.pending_transactions');
	ok($rows > 0 && $rows < $n && $rows % 50 == 0, "whole batches are there: $rows rows");
}
$world->load_ok(@arguments);
is($world->sql('SELECT count(*), count(DISTINCT merchant), sum(amount)::numeric(14, 2) FROM reconciler.pending_transactions'),
	"$n|$n|" . $n * ($n + 1) / 2 . '.00', 'the same command finishes the load, nothing twice');
is($world->sql("SELECT count(*) FROM sor.ready WHERE queue = 'pending_transactions'"), $n, 'each row waits in the queue once');

# two equal purchases are two rows, in whatever batch they fall; the same file again adds none
my $equal = spew($world->dir . '/equal.csv', "trans_date,merchant,card,amount,currency,category_code,category\n"
	. "2026-09-01,twin,************1,5.00,GBP,X,Books\n" x 3 . "2026-09-01,twin,************1,5.0,GBP,X,Books\n");
$world->load_ok($equal, '--tenant', 'Alice', '--set', 'statement=2', '--batch', 2) for 1 .. 2;
is($world->sql("SELECT string_agg(occurrence::text, ',' ORDER BY occurrence) FROM reconciler.pending_transactions WHERE statement = '2'"),
	'1,2,3,4', 'equal purchases are numbered');

# standard input
my $r = $world->sor($world->load_args('-', '--tenant', 'Bob', '--set', 'statement=3'),
	stdin => "trans_date,merchant,card,amount,currency,category_code,category\n2026-09-01,piped,************1,5.00,GBP,X,Books\n");
is($r->{rc}, 0, 'from standard input') or diag($r->{err});
is($r->{out} . $r->{err}, '', 'and silent');
is($world->sql("SELECT count(*) FROM reconciler.pending_transactions WHERE statement = '3'"), '1', 'loaded');
done_testing;
