# What a client, a row or a database that means harm, or stands still, does to `sor mcp`: nothing to the others, and the
# server ends when it is told to.
use strict;
use warnings FATAL => 'all';
use IO::Socket::UNIX;
use POSIX ();
use SorTest qw(decode_json poll_until slurp spew top);
use Test::More;
use Time::HiRes qw(sleep time);

my $world = SorTest->new(tenants => ['Alice']);
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $path = "$dir/mcp";
my $settings = spew($world->home . '/mcp.toml', "[mcp]\nconnections = 2\nstatement_timeout_seconds = 1\n[[mcp.peers]]\n"
	. "uid = $>\ntenant = 'Alice'\non_behalf_of = 'bookkeeper\@expenses.example'\nworker = 'clerk'\n");
$world->sql(q{
	SET ROLE reconciler;
	CREATE FUNCTION reconciler.nap(arguments jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp
		RETURN jsonb_build_object('slept', pg_sleep((arguments ->> 'seconds')::float8)::text);
	CREATE FUNCTION reconciler.much(arguments jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp
		RETURN jsonb_build_object('text', repeat('x', 900000));
	CREATE FUNCTION reconciler.number(arguments jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp
		RETURN jsonb_build_object('number', '1e400'::numeric)});
my ($rc, undef, $err) = $world->sql_as('operator', join '', map {
	"SELECT sor.register_tool('$_', 'reconciler.$_(jsonb)', 'member', 'A tool of the test.', '{\"type\": \"object\"}', read_only => true);"
} qw(nap much number));
is($rc, 0, 'tools are registered') or diag($err);

my $ids = 0;
sub request
{
	my ($method, $params, $meta) = @_;
	return JSON::PP->new->canonical->encode({ jsonrpc => '2.0', id => ++$ids, method => $method, params => { %{ $params // {} },
		_meta => { 'io.modelcontextprotocol/protocolVersion' => '2026-07-28', 'io.modelcontextprotocol/clientCapabilities' => {}, %{ $meta // {} } } } }) . "\n";
}
sub call { my ($tool, $arguments, $meta) = @_; return request('tools/call', { name => $tool, arguments => $arguments // {} }, $meta) }

sub serve
{
	my $server = $world->start_sor([ 'mcp', '--dbname', 'service=reconciler_worker', '--socket', $path, '--settings', $settings ],
		env => { PGCONNECT_TIMEOUT => 2 });
	poll_until('the server listens', sub { $server->{h}->pump_nb; -S $path });
	return $server;
}
sub client { return IO::Socket::UNIX->new(Peer => $path) // die "$path: $!" }
sub send_all { my ($client, $text) = @_; $client->blocking(1); print {$client} $text; $client->flush; return }

# The next line; dies after 30 s.
sub line_of
{
	my ($client) = @_;
	local $SIG{ALRM} = sub { die "no answer\n" };
	alarm 30;
	my $line = <$client>;
	alarm 0;
	return $line // die "hung up\n";
}
sub answer { my ($client) = @_; return decode_json(line_of($client)) }
sub ask { my ($client, $line) = @_; send_all($client, $line); return answer($client) }
sub error_of { return $_[0]{result}{_meta}{'sor/error'}{sqlstate} // '' }
sub memory { my ($server) = @_; return slurp('/proc/' . $world->pid($server) . '/status') =~ /^VmRSS:\s+(\d+)/m ? $1 : 0 }

# SIGTERM; the seconds until it has ended, and its exit code.
sub end_of
{
	my ($server, $what) = @_;
	my $begin = time;
	$server->{h}->signal('TERM');
	my $gone = eval { poll_until($what, sub { eval { $server->{h}->pump_nb }; !$server->{h}->pumpable }, timeout => 40) };
	ok($gone, "$what: SIGTERM ends it") or $server->{h}->signal('KILL');
	is($world->finish($server)->{rc}, 0, "$what: with 0");
	return time - $begin;
}

# Rows and names ------------------------------------------------------------------------------------------------------
my $server = serve();
my ($hostile, $other) = (client(), client());
send_all($hostile, call('number'));
like(line_of($hostile), qr/"structuredContent":\{"number": ?10{400}\}/, 'a number that no double holds is handed out as it is');
ok(!ask($hostile, call('read', { from => 'expenses' }))->{result}{isError}, 'and ends nothing');
ok(!ask($hostile, call('read', { from => 'expenses' }, { 'sor/turn_id' => 'a' . "\x{e9}" x 150 }))->{result}{isError},
	'a turn id that is cut is cut between characters');
is(ask($hostile, call("no\x{1b}[31mtool\x{7f}"))->{error}{code}, -32602, 'the name of a tool');
$server->{h}->pump_nb;
like($server->{err}, qr/unknown tool "no\\u001b\[31mtool\\u007f"/, 'is logged');
unlike($server->{err}, qr/[\0-\x09\x0b-\x1f\x7f]/, 'writes nothing on a terminal but text');

# Who hangs up as a call begins ----------------------------------------------------------------------------------------
for (1 .. 10)
{
	my $gone = client();
	ask($gone, call('read', { from => 'expenses' }));
	send_all($gone, call('nap', { seconds => 0.05 }, { progressToken => 1 }));
	close $gone;
}
is(error_of(ask($other, call('nap', { seconds => 0.3 }))), '', 'who hangs up as it is told of progress ends nothing');

# Who does not read ---------------------------------------------------------------------------------------------------
send_all($hostile, join '', map { call('much') } 1 .. 100);
my $before = memory($server);
for (1 .. 40)
{
	is(error_of(ask($other, call('read', { from => 'expenses', limit => 1 }))), '', 'another is served') if $_ % 20 == 0;
	sleep 0.05;
}
cmp_ok(memory($server) - $before, '<', 60_000, 'answers that nobody takes are not made');
my $taken = 0;
$taken += line_of($hostile) =~ /"isError":false/ for 1 .. 100;
is($taken, 100, 'and are when they are taken');
my ($half, $gone) = (client(), client());
for ($hostile, $half, $gone)
{
	send_all($_, join '', map { call('much') } 1 .. 20);
	line_of($_);
}
shutdown $_, 1 for $half, $gone;
sleep 0.5;
close $gone;
cmp_ok(end_of($server, 'a client that does not read'), '<', 20, 'soon');

# Who goes on calling after SIGTERM -----------------------------------------------------------------------------------
$server = serve();
$hostile = client();
ask($hostile, call('read', { from => 'expenses' }));
my $chatter = fork // die $!;
if (!$chatter)
{
	$SIG{PIPE} = 'DEFAULT';
	my $lines = join '', map { call('read', { from => 'expenses', limit => 1 }) =~ s/"id":\d+/"id":"$_ @{[rand]}"/r } 1 .. 10;
	my $reader = fork // POSIX::_exit(1);
	if (!$reader) { 1 while sysread $hostile, my $bytes, 65536; POSIX::_exit(0) }
	1 while syswrite $hostile, $lines;
	POSIX::_exit(0);
}
close $hostile;
sleep 0.5;
cmp_ok(end_of($server, 'a client that goes on calling'), '<', 20, 'soon');
waitpid $chatter, 0;

# Sessions without end ------------------------------------------------------------------------------------------------
spew($settings, slurp($settings) =~ s/^connections = 2$/connections = 2\nmax_sessions = 3/mr);
$server = serve();
my @sessions = map { client() } 1 .. 3;
is(error_of(ask($_, call('read', { from => 'expenses' }))), '', 'an account has the sessions it may have') for @sessions;
like(answer(client())->{error}{message}, qr/too many sessions/, 'and no more');
close shift @sessions;
poll_until('the place of one that has left is free', sub { my $next = client(); send_all($next, request('server/discover')); answer($next)->{result} });
end_of($server, 'with all sessions taken');

# A database that stands still ----------------------------------------------------------------------------------------
$server = serve();
my @clients = map { client() } 1 .. 3;
is(error_of(ask($_, call('read', { from => 'expenses' }))), '', 'served') for @clients;
my ($postmaster) = slurp($world->node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
kill 'STOP', $postmaster;
my $begin = time;
send_all($_, call('nap', { seconds => 25 })) for @clients;
my @states = map { my $client = $_; eval { error_of(answer($client)) } // $@ } @clients;
my $took = time - $begin;
my $until_ended = end_of($server, 'with a database that stands still');
kill 'CONT', $postmaster;
is(join(' ', grep { !/^08/ } @states), '', "each call is told that the database is away: @states");
cmp_ok($took, '<', 25, 'long before its statements end');
cmp_ok($until_ended, '<', 35, 'and the end does not wait for it');

# Standard streams that are closed ------------------------------------------------------------------------------------
for my $closed ('<&-', '>&-', '<&- >&- 2>&-')
{
	my $h = IPC::Run::start([ qw(timeout -s KILL 30 bash -c), "exec @{[top]}/build/sor mcp --dbname service=reconciler_worker"
		. " --tenant Alice --worker clerk --on-behalf-of bookkeeper\@expenses.example $closed" ], '<', '/dev/null', '>', \my $out, '2>', \my $err2,
		init => sub { %ENV = $world->environment });
	$h->finish;
	is($h->full_result(0), 0, "started with $closed it ends at once");
}
done_testing;
