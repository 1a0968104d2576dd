# The official MCP clients of both generations, and the Inspector, work with `sor mcp` over stdio; what they did, and what
# was refused, is in the journal.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json poll_until spew top);
use Test::More;

plan skip_all => 'the MCP clients are not installed (scripts/install-node-packages)' unless SorTest::node_js;

my $world = SorTest->new(tenants => [qw(Alice)]);
$world->register_mcp_tools;
$world->load_ok($world->statement(20), '--tenant', 'Alice', '--set', 'statement=1');

# The third night goes over a socket: its server may act as any of the three for this account, and each client picks one.
my $settings = spew($world->home . '/mcp.toml', join '', map { qq{[[mcp.peers]]\nuid = $>\ntenant = "Alice"\non_behalf_of = "$_"\nworker = "clerk"\n} }
	qw(bookkeeper@expenses.example admin@alice.example viewer@alice.example));
my $socket = PostgreSQL::Test::Utils::tempdir_short() . '/socket';
my $server = $world->start_sor([ 'mcp', '--dbname', 'service=reconciler_worker', '--socket', $socket, '--settings', $settings, '--lease', 2 ]);
poll_until('the server listens', sub { $server->{h}->pump_nb; -S $socket });
my %nights = (sdk => [ 'sdk', $world->mcp_command('--lease', 2) ], client => [ 'client', $world->mcp_command('--lease', 2) ],
	socket => [ 'client', top . '/build/sor', 'mcp', '--connect', $socket ]);

for my $night (qw(sdk client socket))
{
	my ($client, @command) = @{ $nights{$night} };
	my $err = $world->mcp_script('clients.mjs', $client, $night, @command);
	$server->{h}->pump_nb;
	like($err . $server->{err}, qr/drop_table/, "$night: a call of an unknown tool is named on standard error");
	my $journal = sub {
		my ($key, $sql) = @_;
		return $world->sql("SELECT $sql FROM sor.tool_calls c JOIN sor.runs r ON (r.tenant_id, r.id) = (c.tenant_id, c.run_id)
			WHERE r.run_key = '$night $key'");
	};
	is($world->sql("SELECT string_agg(substr(run_key, length('$night ') + 1) || ' ' || status || ' ' || u.email, ', ' ORDER BY r.started_at)
			FROM sor.runs r JOIN sor.users u ON (u.tenant_id, u.id) = (r.tenant_id, r.on_behalf_of) WHERE run_key LIKE '$night %'"),
		join(', ', 'first succeeded bookkeeper@expenses.example', 'member succeeded bookkeeper@expenses.example',
			'admin succeeded admin@alice.example', 'viewer succeeded viewer@alice.example', 'killed succeeded bookkeeper@expenses.example'),
		"$night: a run for each connection that called a tool, for its user, finished by the close");
	is($journal->('first', q{string_agg(DISTINCT tool || ' ' || c.status, ', ' ORDER BY tool || ' ' || c.status) FILTER (WHERE tool <> 'break_promise')}),
		'claim succeeded, nap succeeded, queue succeeded, read failed, read succeeded, write refused, write succeeded', "$night: the journal of the first");
	is($journal->('first', q{count(*) FILTER (WHERE tool = 'write' AND c.status = 'succeeded')}), '1', "$night: a replay is no new call");
	is($journal->('first', q{count(*) FILTER (WHERE tool = 'drop_table' OR arguments ->> 'record' = 'a book' OR arguments = '{"table": "expenses", "record": {}}')}),
		'0', "$night: what breaks the schema or names no tool does not reach the database");
	is($world->sql("SELECT array_agg(calls ORDER BY turn_no DESC) FROM (SELECT t.turn_no, (SELECT count(*) FROM sor.tool_calls c
			WHERE (c.tenant_id, c.run_id, c.turn_no) = (t.tenant_id, t.run_id, t.turn_no)) AS calls
			FROM sor.turns t JOIN sor.runs r ON (r.tenant_id, r.id) = (t.tenant_id, t.run_id)
			WHERE run_key = '$night first' ORDER BY t.turn_no DESC LIMIT 2) x"), '{1,2}', "$night: a turn for each turn id");
	is($world->sql("SELECT count(*) FROM sor.turns t JOIN sor.runs r ON (r.tenant_id, r.id) = (t.tenant_id, t.run_id)
			WHERE run_key LIKE '$night %' AND t.status <> 'succeeded' AND r.resumptions = 0"), '0', "$night: no turn is left open");
	is($journal->('member', q{string_agg(tool || ' ' || c.status || ' ' || (c.error ->> 'sqlstate'), ', ')}), 'close_books refused SR003',
		"$night: a refusal is journaled");
	is($journal->('admin', q{string_agg(tool || ' ' || c.status, ', ')}), 'close_books succeeded', "$night: the admin's call too");
	is($journal->('viewer', q{string_agg(tool || ' ' || c.status, ', ' ORDER BY tool)}), 'read succeeded, write refused', "$night: and the viewer's");
	is($world->sql("SELECT resumptions > 0 FROM sor.runs WHERE run_key = '$night killed'"), 't', "$night: a killed server's run is resumed");
}
is($world->sql("SELECT count(*) FROM reconciler.expenses WHERE merchant = 'nap'"), '0', 'cancelled calls have left nothing');
is($world->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), '0', 'and do not sleep on');
is($world->sql('SELECT count(*), count(DISTINCT aggregate_id) FROM sor.outbox'), '3|3', 'a message for each item');

# the Inspector
my $as_bookkeeper = $world->mcp_command('--on-behalf-of', 'bookkeeper@expenses.example');
sub inspector
{
	my @arguments = @_;
	my ($out, $err) = ('', '');
	my $h = IPC::Run::start([ SorTest::node_js, top . '/t/mcp/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js',
		'--cli', $as_bookkeeper, @arguments ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	$h->finish;
	return ($h->result(0), $out, $err);
}
my ($rc, $out, $err) = inspector('--method', 'tools/list', '--strict');
is($rc, 0, 'the Inspector finds no fault with the schemas of the tools') or diag($err);
cmp_ok(scalar @{ decode_json($out)->{tools} }, '>=', 4, 'and lists them');
($rc, $out, $err) = inspector('--method', 'tools/call', '--tool-name', 'read', '--tool-arg', 'from=expenses', 'limit=3');
is($rc, 0, 'and calls one') or diag($err);
is(scalar @{ decode_json($out)->{structuredContent}{rows} }, 3, 'which answers with rows');
$server->{h}->signal('TERM');
is($world->finish($server)->{rc}, 0, 'SIGTERM ends the server') or diag($server->{err});
done_testing;
