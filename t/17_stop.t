# A live run's key is refused; SIGTERM ends a worker, a relay and a load with the batch in hand finished or rolled back.
use strict;
use warnings FATAL => 'all';
use SorTest qw(poll_until spew);
use Test::More;

my $n = 40;
my $world = SorTest->new(tenants => ['Alice']);
$world->load_ok($world->statement($n), '--tenant', 'Alice', '--set', 'statement=1');
my ($held, $asked, $release) = $world->holding_handler('held');
my @arguments = ('--run-key', 'night', '--batch', 5);
my $first = $world->start_sor($world->work_args(@arguments, '--handler', $held));
poll_until('the first worker has a batch in hand', sub { -e $asked });
my $twin = $world->sor($world->work_args(@arguments));
is($twin->{rc}, 75, 'a second worker under a live run\'s key: try again');
like($twin->{err}, qr/SR012.*HINT/s, 'it says why, and what to do');
kill 'TERM', $world->pid($first) or die;
spew($release, '');
my $r = $world->finish($first);
is($r->{signal}, 0, 'SIGTERM: the worker ends by itself') or diag($r->{err});
my $done = $world->sql('SELECT count(*) FROM reconciler.expenses');
cmp_ok($done, '<', $n, "with the batch in hand: $done of $n are done");
is($world->sql('SELECT count(*) FROM sor.outbox'), $done, 'nothing is half done');
is($world->work_on(@arguments)->{rc}, 0, 'the next one takes over');
$world->totals_ok($n, 'after SIGTERM');

# relay --follow: goes on until SIGTERM, sends what comes in meanwhile
my $relay = $world->start_sor($world->relay_args('--follow', '--interval', '1s'));
poll_until('the backlog is sent', sub { @{ $world->mails } == $n });
$world->load_ok($world->statement(3), '--tenant', 'Alice', '--set', 'statement=2');
$world->work_ok;
poll_until('what came in is sent', sub { @{ $world->mails } == $n + 3 });
kill 'TERM', $world->pid($relay) or die;
$r = $world->finish($relay);
is("$r->{rc}/$r->{signal}", '0/0', 'SIGTERM: relay --follow ends well') or diag($r->{err});
is($world->sql("SELECT count(*) FROM sor.outbox WHERE status <> 'dispatched'"), '0', 'all is marked');
done_testing;
