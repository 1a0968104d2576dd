# The main job end to end: six monthly statements of a city council (or the example's own where these are missing) become
# expenses and mails, nothing lost, nothing double, to the penny.
use strict;
use warnings FATAL => 'all';
use SorTest qw(data_file have_data slurp top);
use Test::More;

my %files = have_data
	? map { $_ => data_file($_) } qw(2014-04 2014-06 2014-07 2014-08 2014-09)
	: ('2026-09' => top . '/examples/reconciler/statement.csv');
note(have_data ? "statements of $ENV{SOR_DATA}" : "no $ENV{SOR_DATA}: the example's own statement");
my @months = sort keys %files;

# What the files hold, counted by another program than the one under test.
sub census
{
	my $code = <<'END';
import collections, csv, decimal, sys
count, total = collections.Counter(), collections.Counter()
alias = {"adults & comms": "adult & communities", "adults & communities": "adult & communities"}
for name in sys.argv[1:]:
    for row in csv.DictReader(open(name, newline="")):
        who = row["directorate"].strip().lower()
        who = alias.get(who, who)
        count[who] += 1
        total[who] += decimal.Decimal(row["amount"])
for who in sorted(count):
    print(who, count[who], f"{total[who]:.2f}", sep="|")
END
	open my $p, '-|', '/usr/bin/python3', '-c', $code, @_ or die $!;
	local $/;
	my $text = <$p>;
	close $p or die 'census failed';
	$text =~ s/\n\z//;
	return $text;
}

my %names;
for my $file (values %files)
{
	$names{lc $_} //= $_ for split /\n/, `'@{[top]}/scripts/tenant-names' '$file' directorate '@{[top]}/examples/reconciler/settings.toml'`;
}
my $world = SorTest->new(tenants => [ map { $names{$_} } sort keys %names ]);
my $census = census(@files{@months});
my $total = 0;
$total += (split /\|/)[1] for split /\n/, $census;
is($total, 17797, 'the five months hold 17,797 rows') if have_data;

sub load { my ($month, $file) = @_; return $world->load_ok($file, '--tenant-from', 'directorate', '--set', "statement=$month") }
load($_, $files{$_}) for @months;
my $per_tenant = sub {
	my ($table) = @_;
	return $world->sql("SELECT lower(t.name), count(*), sum(x.amount)::numeric(14, 2) FROM sor.tenants t JOIN reconciler.$table x USING (tenant_id) GROUP BY 1 ORDER BY lower(t.name) COLLATE \"C\"");
};
is($per_tenant->('pending_transactions'), $census, 'every row is loaded for its tenant, to the penny');

my ($again, $file) = have_data ? ('2014-06', data_file('2014-06-2')) : ($months[0], $files{ $months[0] });
load($again, $file);
is($per_tenant->('pending_transactions'), $census, 'the republished month adds nothing');

$world->work_ok('--run-key', 'night 1');
is($per_tenant->('expenses'), $census, 'one expense per transaction, to the penny');
is($world->sql(q{SELECT count(*) FROM reconciler.pending_transactions p LEFT JOIN reconciler.expenses e
	ON (e.tenant_id, e.transaction_id, e.amount, e.trans_date, e.merchant) = (p.tenant_id, p.id, p.amount, p.trans_date, p.merchant)
	WHERE e.transaction_id IS NULL}), '0', 'each expense is that of its transaction');
is($world->sql("SELECT count(*) FROM sor.agent_events WHERE event_type = 'item.completed'"), $total, 'every claim is completed');

$world->relay_ok;
my $mails = $world->mails;
is(scalar @$mails, $total, 'one mail per transaction arrives');
my %seen;
$seen{ $_->{message_id} }++ for @$mails;
is(scalar keys %seen, $total, 'each under its own Message-ID');
is($world->sql("SELECT status, count(*), count(DISTINCT aggregate_id) FROM sor.outbox GROUP BY 1"), "dispatched|$total|$total",
	'every message is dispatched, one per transaction');
is($world->sql(q{SELECT count(*) FROM sor.outbox o WHERE
	(SELECT array_agg(event_type ORDER BY seq) FROM sor.agent_events e WHERE (e.tenant_id, e.message_id) = (o.tenant_id, o.id))
	<> '{outbox.enqueued,outbox.dispatched}'}), '0', 'each with one intent and one execution event, in that order');
$world->totals_ok($total, 'after the night');

my $share = $world->sql(q{SELECT round(100.0 * count(*) FILTER (WHERE e.category = p.category) / count(*), 1)
	FROM reconciler.pending_transactions p JOIN reconciler.expenses e ON (e.tenant_id, e.transaction_id) = (p.tenant_id, p.id)}
	. (have_data ? " WHERE p.statement IN ('2014-08', '2014-09')" : ''));
cmp_ok($share, '>=', 50, "the handler agrees with the true category on $share % of rows that its rules were not learned from");

is($world->sql(q{
	SELECT count(*) FROM sor.runs r, sor.rebuild_run(r.tenant_id, r.id) b
	WHERE b -> 'run' ->> 'status' IS DISTINCT FROM r.status OR b -> 'run' ->> 'worker' IS DISTINCT FROM r.worker
	   OR b -> 'run' ->> 'run_key' IS DISTINCT FROM r.run_key
	   OR (b -> 'run' ->> 'finished_at')::timestamptz IS DISTINCT FROM r.finished_at
	   OR (b -> 'run' ->> 'on_behalf_of')::uuid IS DISTINCT FROM r.on_behalf_of
	   OR jsonb_array_length(b -> 'turns') <> (SELECT count(*) FROM sor.turns t WHERE (t.tenant_id, t.run_id) = (r.tenant_id, r.id))
	   OR jsonb_array_length(b -> 'tool_calls') <> (SELECT count(*) FROM sor.tool_calls c WHERE (c.tenant_id, c.run_id) = (r.tenant_id, r.id))}),
	'0', 'each run rebuilt from its events has the journal\'s run, turns and tool calls');
is($world->sql(q{
	WITH rebuilt AS (SELECT r.tenant_id, c.value AS call FROM sor.runs r, sor.rebuild_run(r.tenant_id, r.id) b, jsonb_array_elements(b -> 'tool_calls') c)
	SELECT count(*) FROM sor.tool_calls c FULL JOIN rebuilt b ON c.tenant_id = b.tenant_id AND c.id = (b.call ->> 'id')::uuid
	WHERE (c.tool, c.status, c.request_id, c.turn_no, c.arguments, c.response) IS DISTINCT FROM
	      (b.call ->> 'tool', b.call ->> 'status', (b.call ->> 'request_id')::uuid, (b.call ->> 'turn_no')::int, b.call -> 'arguments',
	       nullif(b.call -> 'response', 'null'))}),
	'0', 'call by call');

$world->work_ok('--run-key', 'night 2');
$world->relay_ok;
is(scalar @{ $world->mails }, $total, 'the next night finds nothing to do');
is($per_tenant->('expenses'), $census, 'and adds no expense');
done_testing;
