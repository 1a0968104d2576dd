# Each case of bad input in t/mcp/corpus against a real `sor mcp` and a real server: the exact answers, a process that goes
# on to serve, nothing but JSON-RPC on its output, memory that does not grow. Then what a client or the database may do in
# the midst of a session.
use strict;
use warnings FATAL => 'all';
use Fcntl qw(F_SETFD FD_CLOEXEC);
use IPC::Run;
use JSON::PP;
use McpCorpus qw(cases steps_of modern_meta);
use SorTest qw(decode_json poll_until slurp spew);
use Test::More;

my $world = SorTest->new(tenants => [qw(Alice Bob)], conf => "log_statement = all\n");
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub mcp_args
{
	return [ 'mcp', SorTest::arguments([ '--dbname', 'service=reconciler_worker', '--tenant', 'Alice', '--on-behalf-of', 'bookkeeper@expenses.example', '--worker', 'corpus' ], @_) ];
}
my $initialize = encode_line({ jsonrpc => '2.0', id => 'init', method => 'initialize',
	params => { protocolVersion => '2025-11-25', capabilities => {}, clientInfo => { name => 'corpus', version => '1' } } });
my @cases = cases(glob "$ENV{SOR_TOP}/t/mcp/corpus/*.json");
my $most_memory = 80 * 1024; # kB, for lines of at most 1 MiB

sub encode_line { return $json->encode($_[0]) . "\n" }

# A server process: start_client(arguments) → {run, at: how much of its output was read, answers: [...]}.
sub start_client
{
	my (@arguments) = @_;
	return { run => $world->start_sor(mcp_args(@arguments)), at => 0, answers => [] };
}

# Waits till the sub is true of the client, taking its answers meanwhile; false when the process ended before.
sub await
{
	my ($client, $what, $sub) = @_;
	my $end = time + 60;
	while (!$sub->())
	{
		die "timed out waiting: $what\n" . substr($client->{run}{err}, -2000) if time > $end;
		return 0 unless $client->{run}{h}->pumpable;
		my $before = length($client->{run}{in}) . ' ' . length $client->{run}{out};
		my $pumped = eval { $client->{run}{h}->pump_nb; 1 };
		die $@ if !$pumped && $@ !~ /ended prematurely/;
		select undef, undef, undef, 0.002 if $before eq length($client->{run}{in}) . ' ' . length $client->{run}{out};
		take($client);
	}
	return 1;
}

# Keeps the pipes so far from the processes that are started from now on: a server started in the midst of a session would
# hold our end of its input open. The handles stay, for closing them would close the pipes.
my @kept;
sub keep_pipes
{
	for my $fd (grep { $_ > 2 } map { m{(\d+)$} } glob '/proc/self/fd/*')
	{
		next unless (readlink("/proc/self/fd/$fd") // '') =~ /^pipe:/;
		open my $f, '+<&=', $fd or die "$fd: $!";
		fcntl($f, F_SETFD, FD_CLOEXEC) or die "$fd: $!";
		push @kept, $f;
	}
	return;
}

sub take
{
	my ($client) = @_;
	while ((my $end = index $client->{run}{out}, "\n", $client->{at}) >= 0)
	{
		my $line = substr $client->{run}{out}, $client->{at}, $end - $client->{at};
		$client->{at} = $end + 1;
		my $answer = eval { $json->decode($line) };
		next if ref $answer eq 'HASH' && ($answer->{method} // '') eq 'notifications/subscriptions/acknowledged';
		unless (ref $answer eq 'HASH' && ($answer->{jsonrpc} // '') eq '2.0' && (exists $answer->{result} xor exists $answer->{error}))
		{
			fail('each line is an answer');
			diag(substr $line, 0, 2000);
			next;
		}
		($answer->{id_text}) = $line =~ /"id":(-?\d+)/ unless ref $answer->{id};
		push @{ $client->{answers} }, $answer;
	}
	return;
}

sub send_bytes
{
	my ($client, $bytes) = @_;
	for (my $at = 0; $at < length $bytes; $at += 1 << 20)
	{
		$client->{run}{in} .= substr $bytes, $at, 1 << 20;
		await($client, 'it reads', sub { length($client->{run}{in}) == 0 }) or return;
	}
	return;
}

sub answered { my ($client, $id) = @_; return grep { defined $_->{id} && !ref $_->{id} && $_->{id} eq $id } @{ $client->{answers} } }

my $probes = 0;
sub serves
{
	my ($client) = @_;
	my $id = 'probe ' . ++$probes;
	send_bytes($client, encode_line({ jsonrpc => '2.0', id => $id, method => 'ping' }));
	return await($client, 'an answer to ping', sub { answered($client, $id) }) && do {
		my ($answer) = answered($client, $id);
		@{ $client->{answers} } = grep { $_ != $answer } @{ $client->{answers} };
		ref $answer->{result} eq 'HASH' && !%{ $answer->{result} };
	};
}

# Whether `given` holds what is wanted.
sub holds
{
	my ($given, $wanted) = @_;
	return !defined $given unless defined $wanted;
	if (ref $wanted eq 'HASH')
	{
		return ref $given eq 'ARRAY' && grep { holds($_, $wanted->{holds}) } @$given if exists $wanted->{holds};
		return 0 unless ref $given eq 'HASH';
		for (keys %$wanted) { return 0 unless exists $given->{$_} && holds($given->{$_}, $wanted->{$_}) }
		return 1;
	}
	return ref $given eq 'ARRAY' && @$given == @$wanted && !grep { !holds($given->[$_], $wanted->[$_]) } 0 .. $#$wanted if ref $wanted eq 'ARRAY';
	return $json->encode($given) eq $json->encode($wanted);
}

sub text_of { my ($answer) = @_; return $answer->{result}{content}[0]{text} // '' }

sub fits
{
	my ($answer, $wanted) = @_;
	if (exists $wanted->{id}) { return 0 unless exists $answer->{id} && holds($answer->{id}, $wanted->{id}) }
	elsif (exists $wanted->{id_text}) { return 0 unless ($answer->{id_text} // '') eq $wanted->{id_text} }
	elsif (exists $wanted->{id_length}) { return 0 unless length($answer->{id} // '') == $wanted->{id_length} }
	else { return 0 if exists $answer->{id} }
	for my $one ($wanted->{any} ? @{ $wanted->{any} } : $wanted)
	{
		if (exists $one->{error})
		{
			my $error = $answer->{error} or next;
			next unless $error->{code} == $one->{error} && $error->{message} =~ ($one->{message} // '.');
			next if $one->{data} && !holds($error->{data}, $one->{data});
		}
		elsif (exists $one->{tool_error})
		{
			next unless ref $answer->{result} && $answer->{result}{isError} && text_of($answer) =~ $one->{tool_error};
			next if exists $answer->{result}{structuredContent};
		}
		elsif (exists $one->{tool_ok})
		{
			next unless ref $answer->{result} && exists $answer->{result}{isError} && !$answer->{result}{isError};
			next unless holds($answer->{result}{structuredContent}, $one->{tool_ok}) && text_of($answer);
		}
		else { next unless holds($answer->{result}, $one->{result}) }
		return 1;
	}
	return 0;
}

sub memory { my ($run) = @_; my ($kb) = slurp('/proc/' . $world->pid($run) . '/status') =~ /^VmHWM:\s+(\d+)/m; return $kb }

sub finish
{
	my ($client) = @_;
	my $r = $world->finish($client->{run});
	take($client);
	return $r;
}

# Waits until the process has ended though its input is open.
sub ended_by_itself
{
	my ($client) = @_;
	my $pid = $world->pid($client->{run});
	return poll_until('the process ends', sub { (eval { slurp("/proc/$pid/stat") } // ') Z ') =~ /\) Z /s });
}

# Answers in what was said of a session that is over.
sub answers_in { my ($out) = @_; my $client = { run => { out => $out }, at => 0, answers => [] }; take($client); return @{ $client->{answers} } }

# Each case on a client of its era.
sub feed_corpus
{
	my ($over, %clients) = @_;
	send_bytes($clients{legacy}, $initialize);
	await($clients{legacy}, 'initialize', sub { answered($clients{legacy}, 'init') });
	$clients{legacy}{answers} = [];
	for my $case (@cases)
	{
		my $client = $clients{ $case->{in} };
		my $ok = eval {
			for my $step (steps_of($case))
			{
				if (ref $step) { await($client, 'an answer', sub { answered($client, $step->{wait}) }) }
				else { send_bytes($client, "$step\n") }
			}
			await($client, 'the answers', sub { @{ $client->{answers} } >= @{ $case->{answers} } }) && serves($client);
		};
		my $died = $@;
		my @left = @{ $client->{answers} };
		my @missing;
		for my $wanted (@{ $case->{answers} })
		{
			my ($found) = grep { fits($left[$_], $wanted) } 0 .. $#left;
			if (defined $found) { splice @left, $found, 1 } else { push @missing, $wanted }
		}
		ok($ok && !@missing && !@left, "$over: $case->{name}")
			or diag($died, substr join("\n", 'missing: ' . $json->encode(\@missing), 'got: ' . $json->encode(\@left)), 0, 3000);
		$client->{answers} = [];
		next if $client->{run}{h}->pumpable;
		my $r = finish($client);
		BAIL_OUT("$over: $case->{name}: the process is gone, $r->{rc}/$r->{signal} " . substr $r->{err}, -2000);
	}
	return;
}

# the corpus ---------------------------------------------------------------------------------------------------------
my %clients = map { $_ => start_client('--run-key', "corpus $_") } qw(modern legacy unready);
feed_corpus('stdio', %clients);
for my $era (sort keys %clients)
{
	my $client = $clients{$era};
	my $memory = memory($client->{run});
	cmp_ok($memory, '<', $most_memory, "$era: memory is bounded: $memory kB");
	my $r = finish($client);
	is("$r->{rc}/$r->{signal}", '0/0', "$era: ends well at the end of input");
	is(scalar @{ $client->{answers} }, 0, "$era: says nothing more");
	unlike($r->{err}, qr/terminate called|Sanitizer|unexpected error/, "$era: nothing unforeseen");
}
{
	my $socket = PostgreSQL::Test::Utils::tempdir_short() . '/socket';
	my $settings = spew($world->dir . '/mcp.toml', qq([[mcp.peers]]\nuid = $<\ntenant = "Bob"\non_behalf_of = "bookkeeper\@expenses.example"\nworker = "corpus"\n));
	my $server = $world->start_sor([ 'mcp', '--dbname', 'service=reconciler_worker', '--socket', $socket, '--settings', $settings ]);
	poll_until('the server listens', sub { $server->{h}->pump_nb; -S $socket });
	my %through = map { $_ => { run => $world->start_sor([ 'mcp', '--connect', $socket, '--run-key', "through $_" ]), at => 0, answers => [] } } qw(modern legacy unready);
	feed_corpus('socket', %through);
	for my $era (sort keys %through)
	{
		my $r = finish($through{$era});
		is("$r->{rc}/$r->{signal} $r->{err}", '0/0 ', "$era over a socket: ends well at the end of input");
	}
	my $memory = memory($server);
	cmp_ok($memory, '<', $most_memory, "the server of all: memory is bounded: $memory kB");
	kill 'TERM', $world->pid($server);
	my $r = $world->finish($server);
	is("$r->{rc}/$r->{signal}", '0/0', 'the server of all ends well');
}
is($world->sql("SELECT string_agg(DISTINCT status, ',') FROM sor.runs"), 'succeeded', 'the runs have succeeded');
is($world->sql("SELECT count(*) FROM sor.tool_calls WHERE tool NOT IN ('read', 'write', 'claim', 'queue') OR arguments ? 'request_id'"),
	'0', 'the journal has calls of tools alone');
my $log = slurp($world->node->logfile);
unlike($log, qr/no_such_tool_7f3a/, 'an unknown tool is no statement');
unlike($log, qr/PANIC|was terminated by signal/, 'no backend died');

# the ends of a session ----------------------------------------------------------------------------------------------
# The end of input anywhere: what was whole is answered, what was not is refused, the process ends well.
my $session = $initialize . encode_line({ jsonrpc => '2.0', method => 'notifications/initialized' })
	. encode_line({ jsonrpc => '2.0', id => 'call', method => 'tools/call', params => { name => 'read', arguments => { from => 'expenses' } } })
	. encode_line({ jsonrpc => '2.0', id => 'last', method => 'ping' });
my @cuts = grep { $_ % 7 == 0 || substr($session, $_ - 1, 2) =~ /\n/ } 1 .. length $session;
my @odd;
for my $cut (0, @cuts)
{
	my $part = substr $session, 0, $cut;
	my $r = $world->sor(mcp_args('--worker', "cut $cut"), stdin => $part);
	my @requests = grep { eval { exists decode_json($_)->{id} } } split /\n/, $part;
	my $broken = $part =~ /\n(?=.)|^/ && (split /\n/, $part)[-1] && !eval { decode_json((split /\n/, $part)[-1]); 1 };
	my @answers = answers_in($r->{out});
	my $refused = grep { !exists $_->{id} && $_->{error}{code} == -32700 } @answers;
	push @odd, "$cut: $r->{rc}/$r->{signal} $r->{out} $r->{err}"
		if $r->{rc} || $r->{signal} || @answers != @requests + ($broken ? 1 : 0) || $refused != ($broken ? 1 : 0) || $r->{out} =~ /[^\n]\z/;
}
is(join("\n", @odd), '', 'the end of input at ' . (1 + @cuts) . ' places');
is($world->sql("SELECT count(*) FROM sor.runs WHERE worker LIKE 'cut %' AND status <> 'succeeded'"), '0', 'leaves no run behind');

{
	# standard output closed: a client that is gone
	my $client = { run => $world->start_sor(mcp_args('--worker', 'closed'), under => [ 'bash', '-c', 'set -o pipefail; "$@" | head -n 1', 'bash' ]), at => 0, answers => [] };
	send_bytes($client, encode_line({ jsonrpc => '2.0', id => 1, method => 'tools/call', params => { name => 'read', arguments => { from => 'expenses' }, _meta => modern_meta() } }));
	await($client, 'the call', sub { answered($client, 1) });
	ok(ended_by_itself($client), 'standard output closed: the process ends');
	my $r = finish($client);
	is("$r->{rc}/$r->{signal}", '0/0', 'standard output closed: it ends well') or diag($r->{err});
	is($world->sql("SELECT status FROM sor.runs WHERE worker = 'closed'"), 'running', 'and leaves its run to be resumed');
	poll_until('its lease is over', sub { $world->sql("SELECT lease_until < now() FROM sor.runs WHERE worker = 'closed'") eq 't' });
	my $next = start_client('--worker', 'closed');
	send_bytes($next, encode_line({ jsonrpc => '2.0', id => 1, method => 'tools/call', params => { name => 'read', arguments => { from => 'expenses' }, _meta => modern_meta() } }));
	await($next, 'the call', sub { answered($next, 1) });
	finish($next);
	is($world->sql("SELECT string_agg(status, ',') FROM sor.runs WHERE worker = 'closed'"), 'succeeded', 'by the next one');
}
{
	# A client that takes its answers later than they come: the server stops reading, and holds no more than it must.
	my ($id, $pings) = ('x' x 1000, 60_000);
	my ($err, $bytes, $memory) = ('', 0, 0);
	my $all = $pings * length qq({"jsonrpc":"2.0","id":"$id","result":{}}\n);
	my $arguments = mcp_args();
	my $h = do {
		local %ENV = $world->environment;
		IPC::Run::start([ 'bash', '-c', 'exec "$@" < <(yes "$0" | head -n ' . $pings . ')', qq({"jsonrpc":"2.0","id":"$id","method":"ping"}), 'sor', @$arguments ],
			'<', \undef, '>pipe', \*ANSWERS, '2>', \$err);
	};
	my $status = "/proc/$h->{KIDS}[0]{PID}/status";
	while (my $read = sysread ANSWERS, my $part, 65536)
	{
		$bytes += $read;
		select undef, undef, undef, 0.003;
		($memory) = slurp($status) =~ /^VmHWM:\s+(\d+)/m if $bytes < $all - 1_000_000;
	}
	close ANSWERS;
	$h->finish;
	is($bytes, $all, "a slow client gets all its $pings answers") or diag($err);
	cmp_ok($memory, '<', 40 * 1024, "which are not held: $memory kB");
	is($h->full_result(0), 0, 'and the server ends well');
}
{
	# Calls that wait while the database is busy: what they hold is bounded, ids included, and each is answered.
	my $holder = $world->session($world->superuser);
	$holder->query_safe('BEGIN; LOCK TABLE reconciler.expenses');
	my ($calls, $most) = (300, 60 * 1024);
	my $line = encode_line({ jsonrpc => '2.0', id => 'ID ' . 'i' x 200_000, method => 'tools/call', params => { name => 'read', arguments => { from => 'expenses' }, _meta => modern_meta() } });
	my $writer = spew($world->dir . '/writer', "my \$line = <<'END';\n${line}END\nfor my \$n (1 .. $calls) { print \$line =~ s/ID/\$n/r }\n");
	my $run = $world->start_sor(mcp_args('--worker', 'queue'), under => [ 'bash', '-c', 'exec "$@" < <(perl "$0")', $writer ]);
	my ($memory, $since) = (0, time);
	poll_until('it takes no more', sub {
		$run->{h}->pump_nb;
		my $now = memory($run);
		($memory, $since) = ($now, time) if $now != $memory;
		return time - $since > 2;
	});
	cmp_ok($memory, '<', $most, "$calls calls with ids of 200 kB wait outside: $memory kB");
	$holder->query_safe('COMMIT');
	$holder->quit;
	my $r = $world->finish($run);
	is("$r->{rc}/$r->{signal}", '0/0', 'and the server ends well') or diag($r->{err});
	is(scalar(() = $r->{out} =~ /"isError":false/g), $calls, 'each of them is answered');
}
{
	# More subscriptions than there is room for requests.
	my $client = start_client('--worker', 'subscriber');
	send_bytes($client, join '', map { encode_line({ jsonrpc => '2.0', id => "listen $_", method => 'subscriptions/listen', params => { notifications => {}, _meta => modern_meta() } }) } 1 .. 1500);
	ok(serves($client), 'a client with 1,500 subscriptions is served') or diag(scalar @{ $client->{answers} });
	cmp_ok(scalar(grep { $_->{error} } @{ $client->{answers} }), '>=', 1000, 'most of them are refused');
	finish($client);
}
for my $signal (qw(TERM INT))
{
	my $client = start_client('--worker', "signal $signal");
	send_bytes($client, encode_line({ jsonrpc => '2.0', id => 1, method => 'tools/call', params => { name => 'read', arguments => { from => 'expenses' }, _meta => modern_meta() } }));
	await($client, 'the call', sub { answered($client, 1) });
	kill $signal, $world->pid($client->{run});
	ended_by_itself($client);
	my $r = finish($client);
	is("$r->{rc}/$r->{signal}", '0/0', "SIG$signal: ends well") or diag($r->{err});
	is(scalar(grep { $_->{id} ne '1' } answers_in($r->{out})), 0, "SIG$signal: says nothing more");
}

# the database -------------------------------------------------------------------------------------------------------
{
	my $read = sub { return encode_line({ jsonrpc => '2.0', id => $_[0], method => 'tools/call', params => { name => 'read', arguments => { from => 'expenses' }, _meta => modern_meta() } }) };
	$world->node->stop('immediate');
	my $client = start_client('--worker', 'outage');
	keep_pipes();
	ok(serves($client), 'the database down at the start: it serves');
	send_bytes($client, $read->('down'));
	await($client, 'an answer', sub { answered($client, 'down') });
	my ($down) = answered($client, 'down');
	ok($down->{result}{isError} && !exists $down->{result}{structuredContent}, 'and answers that the call failed') or diag(explain $down);
	my $socket = $world->node->host;
	unlike($json->encode($down), qr/\Q$socket\E|reconciler_worker|password|\.s\.PGSQL|port/, 'without a word of where the database is');
	$world->node->start;
	send_bytes($client, $read->('up'));
	await($client, 'an answer', sub { answered($client, 'up') });
	my ($up) = answered($client, 'up');
	ok(!$up->{result}{isError} && $up->{result}{structuredContent}, 'and serves when it is up') or diag(explain $up);
	my $errors = 0;
	for my $round (1 .. 3)
	{
		$world->node->stop($round % 2 ? 'immediate' : 'fast');
		$world->node->start;
		my $n = 0;
		poll_until('an answer', sub {
			my $id = "round $round." . ++$n;
			send_bytes($client, $read->($id));
			await($client, 'an answer', sub { answered($client, $id) });
			my ($answer) = answered($client, $id);
			$errors++ if $answer->{result}{isError};
			return !$answer->{result}{isError};
		});
		cmp_ok($n, '<=', 2, "restart $round: served again at the second call at the latest");
	}
	my $r = finish($client);
	is("$r->{rc}/$r->{signal}", '0/0', 'and ends well');
	is($world->sql("SELECT string_agg(status, ',') FROM sor.runs WHERE worker = 'outage'"), 'succeeded', 'as does its run');
}

# a role too low -----------------------------------------------------------------------------------------------------
{
	my $tenant = $world->tenant_id('Alice');
	my $email = $world->sql("SELECT email FROM sor.users u JOIN sor.user_roles r ON (r.tenant_id, r.user_id) = (u.tenant_id, u.id) WHERE r.role = 'viewer' AND u.tenant_id = '$tenant'");
	$world->sql("SELECT sor.grant_tenant('reconciler_worker', '$tenant', NULL)");
	my $client = start_client('--on-behalf-of', $email, '--worker', 'viewer');
	my @writes = map { encode_line({ jsonrpc => '2.0', id => $_->[0], method => 'tools/call', params => { name => $_->[0], _meta => modern_meta(), arguments => { request_id => $_->[1], %{ $_->[2] } } } }) }
		[ 'write', '55555555-5555-4555-8555-555555555551', { table => 'expenses', record => { transaction_id => '55555555-5555-4555-8555-555555555555' } } ],
		[ 'claim', '55555555-5555-4555-8555-555555555552', { queue => 'pending_transactions' } ],
		[ 'queue', '55555555-5555-4555-8555-555555555553', { destination => 'd', event_type => 'e', aggregate_id => 'a', payload => {}, dedup_key => 'k2' } ],
		[ 'read', '55555555-5555-4555-8555-555555555554', { from => 'expenses' } ];
	send_bytes($client, $_) for encode_line({ jsonrpc => '2.0', id => 'list', method => 'tools/list', params => { _meta => modern_meta() } }), @writes;
	await($client, 'five answers', sub { @{ $client->{answers} } >= 5 });
	my ($list) = answered($client, 'list');
	is(join(' ', sort map { $_->{name} } @{ $list->{result}{tools} }), 'read', 'a viewer is offered read alone');
	for my $tool (qw(write claim queue))
	{
		my ($answer) = answered($client, $tool);
		is($answer->{result}{_meta}{'sor/error'}{sqlstate}, 'SR003', "a viewer's $tool is refused") or diag(explain $answer);
		like(text_of($answer), qr/member/, "a viewer's $tool: says which role it needs");
	}
	my ($read) = answered($client, 'read');
	ok(!$read->{result}{isError}, "a viewer's read is answered");
	finish($client);
	is($world->sql("SELECT string_agg(tool, ' ' ORDER BY tool) FROM sor.tool_calls c JOIN sor.runs r ON (r.tenant_id, r.id) = (c.tenant_id, c.run_id) WHERE worker = 'viewer' AND c.status = 'refused'"),
		'claim queue write', 'the refusals are in the journal');
}
is($world->sql('SELECT count(*) FROM sor.tenants t, sor.verify_events(t.tenant_id) v WHERE v.first_bad IS NOT NULL'), '0', 'the history verifies');
close $_ for @kept; # some are closed already
done_testing();
