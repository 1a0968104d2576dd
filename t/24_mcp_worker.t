# A Worker reconciles a statement over MCP alone, is killed with its server at each step of its work and goes on under the
# same run key; expenses, messages and queue are those of `sor work` on the same statement.
use strict;
use warnings FATAL => 'all';
use SorTest qw(data_file have_data top);
use Test::More;

my $source = have_data ? data_file('2014-08') : top . '/examples/reconciler/statement.csv';
my $file = PostgreSQL::Test::Utils::tempdir() . '/statement.csv'; # all of it is Alice's
my $n = `/usr/bin/python3 -c '
import csv, sys
rows = [{k: v for k, v in row.items() if k != "directorate"} for row in csv.DictReader(open(sys.argv[1], newline=""))]
with open(sys.argv[2], "w", newline="") as f:
    out = csv.DictWriter(f, rows[0].keys())
    out.writeheader()
    out.writerows(rows)
print(len(rows))' $source $file` + 0;

# What a night leaves, without ids and times: keys are those of the statement.
my %night = (
	expenses => q{SELECT p.trans_date, p.merchant, p.card, p.amount::numeric(14, 2), p.currency, p.occurrence, e.trans_date, e.merchant, e.card,
			e.amount::numeric(14, 2), e.currency, e.category
		FROM reconciler.pending_transactions p LEFT JOIN reconciler.expenses e ON (e.tenant_id, e.transaction_id) = (p.tenant_id, p.id)
		ORDER BY 1, 2, 3, 4, 5, 6},
	messages => q{SELECT p.trans_date, p.merchant, p.card, p.amount::numeric(14, 2), p.currency, p.occurrence, o.destination, o.event_type, o.payload,
			replace(o.dedup_key, p.id::text, 'ID'), o.status
		FROM reconciler.pending_transactions p LEFT JOIN sor.outbox o ON (o.tenant_id, o.aggregate_id) = (p.tenant_id, p.id::text)
		ORDER BY 1, 2, 3, 4, 5, 6},
	queue => q{SELECT (SELECT count(*) FROM sor.ready WHERE queue = 'pending_transactions'), (SELECT count(*) FROM sor.item_failures),
			(SELECT count(*) FROM sor.ready WHERE queue = 'outbox'), (SELECT count(DISTINCT payload ->> 'item_id') FROM sor.agent_events WHERE event_type = 'item.completed')},
);

my %cluster = (tenants => [qw(Alice)], conf => "fsync = off\n"); # it is not the database that is killed here
my $by_work = SorTest->new(%cluster);
$by_work->load_ok($file, '--tenant', 'Alice', '--set', 'statement=1');
$by_work->work_ok;

my $by_mcp = SorTest->new(%cluster);
$by_mcp->load_ok($file, '--tenant', 'Alice', '--set', 'statement=1');
my @command = (top . '/t/mcp/worker.py', '/usr/bin/python3 ' . top . '/examples/reconciler/reconcile.py rules.csv expenses.example', '--',
	$by_mcp->mcp_command('--on-behalf-of', 'bookkeeper@expenses.example', '--run-key', 'night'));

# Runs the Worker after a killed one; → its end.
sub work
{
	my ($die) = @_;
	my ($out, $err) = ('', '');
	$by_mcp->lapse;
	my $h = IPC::Run::start(\@command, '<', \undef, '>', \$out, '2>', \$err,
		init => sub { chdir $by_mcp->home or die; $ENV{DIE} = $die // '' }, IPC::Run::timeout(300));
	$h->finish;
	my $status = $h->full_result(0);
	return { signal => $status & 127, rc => $status >> 8, err => $err };
}

# A claim is made for ten items, the other calls for each of them.
my @points = map { my $call = $_; map { "$_-$call:" . ($call eq 'claim' ? 2 : have_data ? 7 : 2) } qw(before sent after) } qw(claim write queue);
for my $point (@points, map { "$_:alone" } @points[ 2, 4 ])
{
	my $r = work($point);
	is($r->{signal}, 9, "killed at $point" . ($point =~ /alone/ ? ', its server alive' : ', with its server')) or diag($r->{err});
}
cmp_ok($by_mcp->sql('SELECT count(*) FROM reconciler.expenses'), '<', $n, 'and there is work left');
my $r = work();
is("$r->{rc}/$r->{signal}", '0/0', 'the last one finishes') or diag($r->{err});

is($by_mcp->sql("SELECT run_key, status, resumptions > 0 FROM sor.runs"), 'night|succeeded|t', 'one run, resumed');
for my $what (qw(expenses messages queue))
{
	my ($got, $expected) = map { $_->sql($night{$what}) } $by_mcp, $by_work;
	ok($got eq $expected, "$what: the same as by sor work");
	next if $got eq $expected;
	my @expected = split /\n/, $expected;
	my @differing = grep { $_->[0] ne $_->[1] } map { [ $_, shift(@expected) // '' ] } split /\n/, $got;
	diag("by MCP  $_->[0]\nby work $_->[1]") for splice @differing, 0, 3;
}
$by_mcp->totals_ok($n, 'over MCP, killed again and again');
$by_mcp->relay_ok;
is(scalar @{ $by_mcp->mails }, $n, 'a mail for each');
done_testing;
