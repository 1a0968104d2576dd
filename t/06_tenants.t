# Each tenant sees its own rows alone: through psql, through a join, through the driver, through PgBouncer in transaction
# mode with two tenants interleaved on one server connection; no context sees nothing.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json top);
use Test::More;

my $world = SorTest->new;
my %id = map { $_ => $world->tenant_id($_) } qw(Alice Bob Carol);
my %rows = (Alice => 0, Bob => 0, Carol => 0);
open my $csv, '<', top . '/examples/reconciler/statement.csv' or die;
while (<$csv>) { chomp; my $who = (split /,/)[-1]; $rows{$who}++ if exists $rows{$who} }
$world->load_ok(top . '/examples/reconciler/statement.csv', '--tenant-from', 'directorate', '--set', 'statement=1');
$world->work_ok;

my $count = q{SELECT count(*), count(DISTINCT tenant_id), min(tenant_id::text) FROM reconciler.pending_transactions};
my $join = q{SELECT count(*), count(DISTINCT p.tenant_id), min(e.tenant_id::text) FROM reconciler.pending_transactions p JOIN reconciler.expenses e ON e.transaction_id = p.id};
my $cross = q{SELECT count(*) FROM reconciler.pending_transactions p, reconciler.expenses e WHERE p.tenant_id <> e.tenant_id};
my $sor_rows = q{SELECT (SELECT count(DISTINCT tenant_id) FROM sor.outbox), (SELECT count(DISTINCT tenant_id) FROM sor.agent_events), (SELECT count(DISTINCT tenant_id) FROM sor.tool_calls), (SELECT count(*) FROM sor.outbox)};

# psql, as the auditor
for my $who (sort keys %id)
{
	my ($rc, $out, $err) = $world->sql_as('reconciler_auditor',
		"BEGIN; SELECT FROM sor.set_context('$id{$who}'); $count; $join; $cross; $sor_rows; COMMIT");
	is($out =~ s/\A\n+//r, "$rows{$who}|1|$id{$who}\n$rows{$who}|1|$id{$who}\n0\n1|1|1|$rows{$who}",
		"auditor with $who\'s context: $who\'s rows alone, joined too") or diag($err);
}
for my $table (qw(reconciler.pending_transactions reconciler.expenses sor.outbox sor.agent_events sor.tool_calls sor.runs sor.turns sor.users sor.user_roles))
{
	my ($rc, $out, $err) = $world->sql_as('reconciler_auditor', "SELECT count(*) FROM $table");
	is($out, '0', "auditor without context: no row of $table") or diag($err);
}
my ($rc, $out, $err) = $world->sql_as('reconciler_auditor', "BEGIN; SELECT sor.set_context('$id{Alice}'); SELECT sor.set_context('$id{Bob}')");
like($err, qr/ERROR:.*\n(?:.*\n)*HINT:/, 'one transaction, one tenant: the switch is refused, with a hint');
for my $forgery ("SET LOCAL sor.tenant_id = '$id{Bob}'", "SELECT set_config('sor.tenant_id', '$id{Bob}', true)")
{
	# before the library is loaded the name is a placeholder that means nothing; afterwards setting it is refused
	($rc, $out, $err) = $world->sql_as('reconciler_auditor', "BEGIN; $forgery; $count");
	like($out, qr/^0\|0\|$/m, "no context: $forgery");
	($rc, $out, $err) = $world->sql_as('reconciler_auditor', "BEGIN; SELECT sor.current_tenant(); $forgery; $count");
	isnt($rc, 0, 'refused where the library is loaded') or diag($out);
}

# a tenant that was not granted
$world->sql_as('operator', "SELECT sor.revoke_tenant('reconciler_auditor', '$id{Carol}')");
($rc, $out, $err) = $world->sql_as('reconciler_auditor', "BEGIN; SELECT sor.set_context('$id{Carol}')");
isnt($rc, 0, 'a tenant whose grant was revoked is refused');
$world->sql_as('operator', "SELECT sor.grant_tenant('reconciler_auditor', '$id{Carol}')");

# the driver: a report of a run, asked for under each tenant
my %run = map { $_ => $world->sql("SELECT id FROM sor.runs WHERE tenant_id = '$id{$_}'") } keys %id;
for my $who (sort keys %id)
{
	for my $asker (sort keys %id)
	{
		my $r = $world->sor([ 'report', '--dbname', 'service=reconciler_auditor', '--tenant', $asker, '--run', $run{$who}, '--format', 'json' ]);
		if ($asker eq $who)
		{
			is($r->{rc}, 0, "report of $who\'s run for $who") or diag($r->{err});
			my $others = grep { $_ ne $who && index($r->{out}, $id{$_}) >= 0 } keys %id;
			is($others, 0, 'it names no other tenant');
			is(scalar @{ decode_json($r->{out})->{outbox} }, $rows{$who}, 'and all of its mails') if $r->{rc} == 0;
		}
		else
		{
			isnt($r->{rc}, 0, "report of $who\'s run is not there for $asker");
			unlike($r->{out}, qr/\Q$id{$who}\E|Expense confirmed/, 'nothing of it is shown');
		}
	}
}

# the driver: a load for Bob reaches Bob alone
$world->load_ok($world->statement(7), '--tenant', 'Bob', '--set', 'statement=2');
is($world->sql("SELECT t.name, count(*) FROM sor.tenants t JOIN reconciler.pending_transactions p USING (tenant_id) WHERE statement = '2' GROUP BY 1"),
	'Bob|7', 'load --tenant Bob is Bob\'s');
$world->work_ok('--tenant', 'Bob');
$rows{Bob} += 7;

# PgBouncer in transaction mode: two clients share one server connection
my ($host, $port) = $world->start_pgbouncer;
my ($alice, $bob) = map { $world->session('reconciler_auditor', "host=$host port=$port") } 1 .. 2;
my $pid_a = $alice->query('SELECT pg_backend_pid()');
is($bob->query('SELECT pg_backend_pid()'), $pid_a, 'both clients are on one server connection');
my $bled = 0;
for my $round (1 .. 25)
{
	for ([ $alice, 'Alice' ], [ $bob, 'Bob' ])
	{
		my ($client, $who) = @$_;
		my $got = $client->query("BEGIN; SELECT FROM sor.set_context('$id{$who}'); $count; COMMIT");
		$got =~ s/\A\n+//;
		$bled++, diag("$who saw: $got") if $got ne "$rows{$who}|1|$id{$who}";
		for my $other ($alice, $bob)
		{
			my $without = $other->query($count);
			$bled++, diag("after $who, without context: $without") if $without ne '0|0|';
		}
	}
	# ended by an error, by a rollback, inside a savepoint
	$alice->query("BEGIN; SELECT FROM sor.set_context('$id{Alice}'); SAVEPOINT s; SELECT 1/0; ROLLBACK TO s; SELECT 1/0; ROLLBACK");
	my $after = $bob->query($count);
	$bled++, diag("after an aborted transaction: $after") if $after ne '0|0|';
}
is($bled, 0, '25 rounds of two tenants interleaved: no context bleeds');
$alice->quit;
$bob->quit;

# the driver through PgBouncer: load, work and relay of two tenants
$world->load_ok($world->statement(20, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=3', '--dbname',
	"host=$host port=$port dbname=reconciler user=reconciler_loader");
$world->work_ok('--dbname', "host=$host port=$port dbname=reconciler user=reconciler_worker");
$world->relay_ok('--dbname', "host=$host port=$port dbname=reconciler user=reconciler_relay");
is($world->sql("SELECT t.name, count(*) FROM sor.tenants t JOIN reconciler.expenses e USING (tenant_id)
	JOIN reconciler.pending_transactions p ON (p.tenant_id, p.id) = (e.tenant_id, e.transaction_id) WHERE statement = '3' GROUP BY 1 ORDER BY 1"),
	"Alice|10\nBob|10", 'the driver works through PgBouncer');
is($world->sql('SELECT count(*) FROM sor.outbox WHERE status <> \'dispatched\''), '0', 'and relays all');

# two tenants over MCP, their calls in turns
my @clients = map { { who => $_, run => $world->start_sor([ 'mcp', '--dbname', "host=$host port=$port dbname=reconciler user=reconciler_worker",
	'--tenant', $_, '--on-behalf-of', 'bookkeeper@expenses.example' ]) } } qw(Alice Bob);
my $strangers = 0;
for my $round (1 .. 5)
{
	for my $client (@clients)
	{
		my $run = $client->{run};
		$run->{in} .= qq({"jsonrpc": "2.0", "id": $round, "method": "tools/call", "params": {"name": "read", "arguments": {"from": "expenses"},
			"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}}) =~ s/\n\s*//r . "\n";
		$run->{h}->pump until $run->{out} =~ /\n/ || !$run->{h}->pumpable;
		my $rows = decode_json($run->{out})->{result}{structuredContent}{rows} // [];
		$run->{out} = '';
		$strangers += !@$rows + grep { $_->{tenant_id} ne $id{ $client->{who} } } @$rows;
	}
}
is($strangers, 0, 'over MCP each reads its own rows');
is($world->finish($_->{run})->{rc}, 0, "the session of $_->{who} ends well") for @clients;
done_testing;
