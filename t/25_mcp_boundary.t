# `sor mcp` as the boundary of a Worker: the database sees calls of functions alone, and nothing of what is refused; the
# Worker's side holds no credential; who may do more, or is not known, is not served.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json only_sor_calls poll_until slurp spew top);
use Test::More;

my $world = SorTest->new(tenants => [qw(Alice Bob)], conf => "log_statement = all\n");
$world->load_ok($world->statement(5), '--tenant', $_, '--set', 'statement=1') for qw(Alice Bob);
my @mcp = ('mcp', '--dbname', 'service=reconciler_worker', '--tenant', 'Alice', '--worker', 'clerk',
	'--on-behalf-of', 'bookkeeper@expenses.example');
my $ids = 0;

sub request
{
	my ($method, $params) = @_;
	return JSON::PP->new->canonical->encode({ jsonrpc => '2.0', id => ++$ids, method => $method, params => { %{ $params // {} },
		_meta => { 'io.modelcontextprotocol/protocolVersion' => '2026-07-28', 'io.modelcontextprotocol/clientCapabilities' => {} } } }) . "\n";
}
sub call { my ($tool, %arguments) = @_; return request('tools/call', { name => $tool, arguments => \%arguments }) }
sub uuid { return sprintf '00000000-0000-4000-8000-%012d', ++$ids }

# The answer of a server that runs.
sub ask
{
	my ($run, $line) = @_;
	$run->{in} .= $line;
	$run->{out} = '';
	$run->{h}->pump until $run->{out} =~ /\n/ || !$run->{h}->pumpable;
	return decode_json($run->{out});
}

# What the database sees ----------------------------------------------------------------------------------------------
my $from = -s $world->node->logfile;
my $run = $world->start_sor(\@mcp);
is(ask($run, request('tools/list'))->{result}{tools}[0]{name}, 'claim', 'tools are listed');
ok(!ask($run, call('read', from => 'expenses'))->{result}{isError}, 'read');
my $refused_from = -s $world->node->logfile;
for my $name ('drop_table', 'read; DROP TABLE reconciler.expenses', 'sor.create_tenant', 'READ', '')
{
	is(ask($run, call($name, request_id => uuid, table => 'expenses'))->{error}{code}, -32602, "no tool: \"$name\"");
}
ok(ask($run, call('write', request_id => uuid, table => 'expenses', record => 'DROP'))->{result}{isError}, 'arguments against the schema');
ok(ask($run, call('write', table => 'expenses', record => {}))->{result}{isError}, 'no request_id');
is_deeply($world->statements($refused_from, qr/^reconciler_worker$/), [], 'of which the database sees nothing');
my $item = ask($run, call('claim', request_id => uuid, queue => 'pending_transactions', limit => 1, lease_seconds => 60))
	->{result}{structuredContent}{items}[0];
ok(!ask($run, call('write', request_id => uuid, table => 'expenses', record => { transaction_id => $item->{item_id}, category => 'Books',
	map { $_ => $item->{item}{$_} } qw(trans_date merchant card amount currency) }))->{result}{isError}, 'a write');
is(ask($run, call('read', from => 'tenants'))->{result}{_meta}{'sor/error'}{sqlstate}, 'SR013', 'no table of sor\'s own can be read');
is_deeply(ask($run, call('read', from => 'pending_transactions', where => { tenant_id => $world->tenant_id('Bob') }))
	->{result}{structuredContent}{rows} // [], [], 'nor a row of another tenant');
$world->finish($run);
my $statements = $world->statements($from, qr/^reconciler_worker$/);
cmp_ok(scalar @$statements, '>', 5, 'statements of the worker\'s login');
is(join("\n", grep { !only_sor_calls($_) } map { $_->[1] } @$statements), '', 'and nothing but calls of sor\'s functions');

# Which logins it serves ----------------------------------------------------------------------------------------------
$world->sql(q{
	CREATE ROLE a_reader LOGIN IN ROLE sor_worker; GRANT USAGE ON SCHEMA reconciler TO a_reader; GRANT SELECT ON reconciler.expenses TO a_reader;
	CREATE ROLE a_column LOGIN IN ROLE sor_worker; GRANT UPDATE (category) ON reconciler.expenses TO a_column;
	CREATE ROLE an_owner LOGIN IN ROLE sor_worker, reconciler;
	CREATE ROLE an_operator LOGIN IN ROLE sor_worker, sor_operator;
	CREATE ROLE a_bypasser LOGIN BYPASSRLS IN ROLE sor_worker;
	CREATE ROLE a_creator LOGIN CREATEROLE IN ROLE sor_worker;
	CREATE ROLE a_superuser LOGIN SUPERUSER});
for my $login (qw(a_reader a_column an_owner an_operator a_bypasser a_creator a_superuser))
{
	$world->sql_as('operator', "SELECT sor.grant_tenant('$login', '@{[$world->tenant_id('Alice')]}')");
	my $r = $world->sor([ 'mcp', '--dbname', 'host=' . $world->node->host . ' port=' . $world->node->port . " dbname=reconciler user=$login",
		@mcp[3 .. $#mcp] ], stdin => call('read', from => 'expenses'));
	is($r->{rc}, 77, "$login is refused") or diag($r->{out} . $r->{err});
	like($r->{err}, qr/\Q$login\E|login/, 'and told why');
	unlike($r->{out}, qr/"rows"/, 'and served nothing');
}
is($world->sql("SELECT count(*) FROM sor.runs WHERE worker = 'clerk'"), '1', 'no run was started for them');

# Two users -----------------------------------------------------------------------------------------------------------
SKIP:
{
	skip 'only root can start a process of another user: scripts/test does when it is root', 1 unless $ENV{SOR_AS_NOBODY};
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	mkdir "$dir/worker";
	chmod 0755, $dir;
	chmod 01777, "$dir/worker";
	my $settings = sub {
		my ($user) = @_;
		return spew($world->home . "/mcp.$user.toml",
			qq{[[mcp.peers]]\nuser = "$user"\ntenant = "Alice"\non_behalf_of = "bookkeeper\@expenses.example"\nworker = "clerk"\n});
	};
	my $start = sub {
		my ($name, $user) = @_;
		my $server = $world->start_sor([ 'mcp', '--dbname', 'service=reconciler_worker', '--socket', "$dir/$name", '--settings', $settings->($user) ]);
		poll_until('the server listens', sub { $server->{h}->pump_nb; -S "$dir/$name" || !$server->{h}->pumpable });
		return $server;
	};
	# Has nobody's shell execute it; → {out, err, rc}.
	my $as_nobody = sub {
		my ($script) = @_;
		spew("$dir/script", "cd $dir/worker && rm -f rc out err\n( $script\n) >out 2>err\necho \$? >rc.new && mv rc.new rc\n");
		unlink "$dir/worker/rc";
		spew($ENV{SOR_AS_NOBODY}, ". $dir/script\n");
		poll_until('nobody is done', sub { -e "$dir/worker/rc" });
		return { map { $_ => slurp("$dir/worker/$_") =~ s/\n\z//r } qw(out err rc) };
	};

	my $server = $start->('known', 'nobody');
	my $line = call('read', from => 'pending_transactions', limit => 1);
	my $pid = $world->pid($server);
	my $r = $as_nobody->(<<"END");
	mkfifo in || exit 1
	env -i PATH=/usr/bin:/bin HOME=/nonexistent @{[top]}/build/sor mcp --connect $dir/known <in >answer &
	shim=\$!
	exec 4>in
	cat >&4 <<'LINE'
$line
LINE
	for i in \$(seq 200); do [ -s answer ] && break; sleep 0.1; done
	id -u
	tr '\\0' '\\n' </proc/\$shim/environ | tr '\\n' ' '; echo
	for f in /proc/\$shim/fd/*; do readlink \$f; done | sed 's/:.*//' | sort | uniq -c | tr -s ' ' | tr '\\n' ','; echo
	cat /proc/$pid/environ @{[$world->home]}/.pgpass 2>&1 | grep -c 'Permission denied'
	grep -c . answer
	exec 4>&-
	wait \$shim
END
	is($r->{rc}, 0, 'the shim ends with its client') or diag($r->{err});
	my ($uid, $environ, $open, $denied, $answers) = split /\n/, $r->{out};
	is($uid, scalar getpwnam('nobody'), 'a Worker under another user');
	unlike($environ, qr/PG|DATABASE|SOR_/, "holds no credential in its environment: $environ");
	like($open, qr{^( \d (/dev/null|pipe|socket|$dir/worker/(in|answer|err)),)+$}, "nor in its open files: $open");
	is(() = $open =~ / socket,/g, 1, 'one socket, to the server');
	is($denied, 2, 'it can read neither the server\'s environment nor its password file');
	my $answer = decode_json(slurp("$dir/worker/answer"));
	is(scalar @{ $answer->{result}{structuredContent}{rows} }, 1, 'and is served');

	# its client is the test's own user, whom the settings do not name
	my $stranger = $world->sor([ 'mcp', '--connect', "$dir/known" ], stdin => $line);
	like($stranger->{out} . $stranger->{err}, qr/is not served/, 'a user whom the settings do not name is refused');
	unlike($stranger->{out}, qr/"rows"/, 'and served nothing');
	$server->{h}->signal('TERM');
	is($world->finish($server)->{rc}, 0, 'SIGTERM ends the server') or diag($server->{err});
}
done_testing;
