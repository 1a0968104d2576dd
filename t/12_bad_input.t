# Bad input and a bad world: a clear message with a hint, the exit code, nothing lost, nothing half done.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json poll_until slurp spew);
use Test::More;

my $world = SorTest->new(conf => "restart_after_crash = on\n");
my ($alice, $bob) = map { $world->tenant_id($_) } qw(Alice Bob);
my $handler = $world->handler;
my $statement = 0;

# A fresh set of n items for Alice, waiting.
sub items { my ($n) = @_; $world->load_ok($world->statement($n), '--tenant', 'Alice', '--set', 'statement=' . ++$statement); return }
sub expenses { return $world->sql('SELECT count(*) FROM reconciler.expenses') }
# Brings failed items back at once: their backoff is not what is tested here.
sub hurry { $world->sql('UPDATE sor.ready SET available_at = now() - interval \'1 s\''); return }
sub complains
{
	my ($r, $rc, $words, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$r->{rc}/$r->{signal}", "$rc/0", "$name: exit code $rc") or diag("$r->{command}\n$r->{err}");
	like($r->{err}, $words, "$name: says what") or diag($r->{err});
	like($r->{err}, qr/^HINT: |--help/m, "$name: and what to do") or diag($r->{err});
	unlike($r->{err}, qr/password|terminate called|what\(\)/, "$name: nothing that it should not say");
}
# The handler as a shell script that answers each item with what the body prints; $id is the item's id.
my $scripts = 0;
sub script
{
	my ($body) = @_;
	return 'sh ' . spew($world->dir . '/handler' . ++$scripts, <<"END");
while IFS= read -r line; do
    id=\${line#*\\"id\\":\\"}; id=\${id%%\\"*}
    $body
done
END
}

# names that do not exist --------------------------------------------------------------------------------------------
complains($world->sor([ 'load', 'no_such_table', $world->statement(1), '--dbname', 'service=reconciler_loader', '--tenant', 'Alice' ]),
	64, qr/no_such_table/, 'unknown table');
complains($world->sor([ map { $_ eq 'pending_transactions' ? 'no_such_queue' : $_ } @{ $world->work_args } ]), 64, qr/no_such_queue/, 'unknown queue');
complains($world->sor($world->load_args($world->statement(1), '--tenant', 'Nobody', '--set', 'statement=x')), 77, qr/Nobody/, 'unknown tenant');
complains($world->sor($world->work_args('--tenant', 'Nobody')), 77, qr/Nobody/, 'unknown tenant of work');
complains($world->sor($world->work_args('--frobnicate')), 64, qr/frobnicate/, 'unknown option');
complains($world->sor([ 'work', 'pending_transactions', '--dbname', 'service=nowhere', '--worker', 'w', '--handler', 'true', '--on-behalf-of', 'x@y' ]),
	69, qr/nowhere/, 'unknown service');
items(1);
complains($world->sor($world->work_args('--handler', '/no/such/handler')), 70, qr{/no/such/handler}, 'no such handler');
hurry();
complains($world->sor($world->work_args('--handler', script(q(echo "{\"item_id\": \"$id\", \"calls\": [{\"tool\": \"no_such_tool\", \"arguments\": {}}]}")))),
	70, qr/no_such_tool/, 'unknown tool');
like($world->sql("SELECT string_agg(error, ' ') FROM sor.item_failures"), qr/no_such_tool/, 'the item is back with its error');
hurry();
$world->work_ok;
is(expenses(), 1, 'and is done when the handler is mended');

# a token of another run
my ($rc, $out, $err) = $world->sql_as('reconciler_worker', "SELECT run_id, run_token FROM sor.start_run('$alice', 'a'), sor.granted_users('$alice') u; ");
my ($run) = split /\|/, $out;
(undef, my $other) = $world->sql_as('reconciler_worker', "SELECT run_id, run_token FROM sor.start_run('$alice', 'b')");
my (undef, $token) = split /\|/, $other;
for my $call ("begin_turn('$alice', '$run', $token + 1)", "heartbeat('$alice', '$run', $token + 1)", "finish_run('$alice', '$run', $token + 1)")
{
	my ($code, $o, $e) = $world->sql_as('reconciler_worker', "\\set VERBOSITY verbose\nSELECT sor.$call");
	like($e, qr/ERROR:  SR007:.*HINT:/s, "token of another run: $call");
}
my ($code, $o, $e) = $world->sql_as('reconciler_worker', "\\set VERBOSITY verbose\nSELECT sor.begin_turn('$bob', '$run', $token)");
like($e, qr/ERROR:  SR\d\d\d:.*HINT:/s, 'the run of another tenant');
$world->sql_as('reconciler_worker', "SELECT sor.finish_run('$alice', '$_->[0]', $_->[1])") for [ split /\|/, $out ], [ split /\|/, $other ];

# a bad handler ------------------------------------------------------------------------------------------------------
my %bad_handlers = (
	'malformed JSON' => [ script('echo "{nonsense"'), qr/JSON/i ],
	'no object' => [ script('echo "[1, 2]"'), qr/object|item_id/i ],
	'answer for another item' => [ script(q(echo "{\"item_id\": \"other\", \"calls\": []}")), qr/other|item/ ],
	'dies' => [ script('exit 3'), qr/3|ended|exit|died/i ],
	'killed' => [ script('kill -9 $$'), qr/signal|killed|9/i ],
	'hangs' => [ script('sleep 1000'), qr/time|second/i, '--handler-timeout', '1' ],
	'calls are no list' => [ script(q(echo "{\"item_id\": \"$id\", \"calls\": 7}")), qr/calls/ ],
	'a zero byte' => [ script(q(printf '{"item_id": "%s", "calls": [{"tool": "write", "arguments": {"table": "expenses", "record": {"merchant": "a\\\\u0000b"}}}]}\\n' "$id")), qr/u0000|NUL|zero/i ],
);
for my $what (sort keys %bad_handlers)
{
	my ($command, $words, @more) = @{ $bad_handlers{$what} };
	my $before = expenses();
	items(3);
	complains($world->sor($world->work_args('--handler', $command, '--batch', 3, @more)), 70, $words, "handler $what");
	is(expenses(), $before, "handler $what: nothing written");
	is($world->sql("SELECT count(*) FROM sor.ready WHERE queue = 'pending_transactions'"), '3', "handler $what: the items are in the queue");
	cmp_ok($world->sql("SELECT count(*) FROM sor.item_failures WHERE error <> '' AND NOT dead"), '>=', 1, "handler $what: with the error");
	hurry();
	$world->work_ok;
	is(expenses(), $before + 3, "handler $what: done by a good one");
}
{
	# The last item's second answer may come after the first was committed: then it is reported, and the item is done.
	my $before = expenses();
	items(3);
	complains($world->sor($world->work_args('--handler', "$handler | sed -u p")), 70, qr/twice|no item asked/, 'handler answers twice');
	hurry();
	$world->work_ok;
	is(expenses(), $before + 3, 'handler answers twice: each item is done once');
}
{
	my $before = expenses();
	items(2);
	my $r = $world->sor($world->work_args('--handler', script(q(echo "{\"item_id\": \"$id\", \"error\": \"cannot decide\"}"))));
	is($r->{signal}, 0, 'a handler that gives an error');
	is($world->sql("SELECT count(*) FROM sor.item_failures WHERE error LIKE '%cannot decide%'"), '2', 'its items are back with its words');
	hurry();
	$world->work_ok;
	is(expenses(), $before + 2, 'and done later');
}
{
	# its environment
	items(1);
	my $seen = $world->dir . '/environment';
	$world->sor($world->work_args('--handler', script("env > $seen; exit 1")), env => {
		PGPASSFILE => $world->home . '/.pgpass', PGSERVICEFILE => $world->home . '/.pg_service.conf', PGAPPNAME => 'x', DATABASE_URL => 'x', SOR_FAULT => 'never', SOR_X => 'x' });
	unlike(slurp($seen), qr/^(PG|DATABASE_URL|SOR_)/m, 'the handler\'s environment holds nothing of the database');
	hurry();
	$world->work_ok;
}

# bad lines of a statement -------------------------------------------------------------------------------------------
{
	my $head = 'trans_date,merchant,card,amount,currency,category_code,category,directorate';
	my $before = $world->sql('SELECT count(*) FROM reconciler.pending_transactions');
	my $file = spew($world->dir . '/dirty.csv', join "\r\n", $head,
		'2026-09-01,good one,************1,1.00,GBP,X,Books, alice ', '', ',,,,,,,',
		'2026-02-30,bad date,************1,1.00,GBP,X,Books,Alice', '2026-09-01,bad amount,************1,12x,GBP,X,Books,Alice',
		'2026-09-01,unknown tenant,************1,1.00,GBP,X,Books,Zed', "2026-09-01,caf\xe9 windows,************1,2.00,GBP,X,Books,BOB",
		'2026-09-01,too,few', '  2026-09-02  , spaced , ************1 , 3.00 , GBP ,X,Books,Carol', '');
	my $r = $world->sor($world->load_args($file, '--tenant-from', 'directorate', '--set', 'statement=dirty'));
	is($r->{rc}, 65, 'dirty statement: exit code 65') or diag($r->{err});
	for ([ 3, 'blank' ], [ 4, 'blank|tenant' ], [ 5, 'date' ], [ 6, 'amount|numeric' ], [ 7, 'Zed' ], [ 8, 'UTF-8' ], [ 9, 'field' ])
	{
		like($r->{err}, qr/dirty\.csv:$_->[0]: .*(?:$_->[1])/, "line $_->[0] is named with its reason") or diag($r->{err});
	}
	my $other = $world->sor($world->load_args($file, '--tenant-from', 'directorate', '--set', 'statement=dirty', '--encoding', 'WINDOWS-1252'));
	is($other->{rc}, 65, 'again with the encoding named');
	is($world->sql("SELECT string_agg(merchant || ' ' || amount::numeric(12, 2), ', ' ORDER BY amount) FROM reconciler.pending_transactions WHERE statement = 'dirty' AND merchant !~ 'windows'"),
		'good one 1.00, spaced 3.00', 'the good lines are loaded, spaces trimmed');
	is($world->sql("SELECT merchant FROM reconciler.pending_transactions WHERE statement = 'dirty' AND merchant ~ 'windows'"), "caf\x{c3}\x{a9} windows", 'Windows-1252 bytes are read');
	my $had = $world->sql('SELECT count(*) FROM reconciler.pending_transactions');
	$r = $world->sor($world->load_args($file, '--tenant-from', 'directorate', '--set', 'statement=strict', '--strict'));
	is($r->{rc}, 65, '--strict: exit code 65');
	is($world->sql('SELECT count(*) FROM reconciler.pending_transactions'), $had, '--strict: nothing is loaded');
	complains($world->sor($world->load_args('/no/such/file.csv', '--tenant', 'Alice')), 64, qr{/no/such/file}, 'no such file');
	complains($world->sor($world->load_args(spew($world->dir . '/columns.csv', "a,b\n1,2\n"), '--tenant', 'Alice')), 64, qr/"a"|\ba\b/, 'unknown columns');
	$world->work_ok;
}

# a destination that is down, refuses, or is full -----------------------------------------------------------------------
$world->relay_ok;
items(3);
$world->work_ok;
my $sent = @{ $world->mails };
$world->stop_sink;
complains($world->sor($world->relay_args), 69, qr/mail/, 'SMTP server down');
is($world->sql("SELECT count(*), count(last_error) FROM sor.outbox WHERE status = 'pending'"), '3|3', 'the messages wait with their error');
$world->start_sink;
$world->refuse_mail('451 try later');
hurry();
my $r = $world->sor($world->relay_args);
isnt($r->{rc}, 0, 'SMTP server says try later');
is($world->sql("SELECT count(*) FROM sor.outbox WHERE status = 'pending' AND last_error LIKE '%451%'"), '3', 'the messages wait, its words kept');
$world->refuse_mail(undef);
hurry();
$world->relay_ok;
is(@{ $world->mails } - $sent, 3, 'and go when it is back, once each');

SKIP: {
	skip 'no /dev/full', 6 unless -c '/dev/full';
	my $settings = $world->home . '/settings.toml';
	my $original = slurp($settings);
	spew($settings, "[destinations.mail]\ntype = \"file\"\npath = \"/dev/full\"\n");
	items(2);
	$world->work_ok;
	complains($world->sor($world->relay_args), 69, qr/space|full/i, 'full disk');
	is($world->sql("SELECT count(*), count(last_error) FROM sor.outbox WHERE status = 'pending'"), '2|2', 'full disk: the messages wait');
	my $path = $world->dir . '/out.jsonl';
	spew($settings, "[destinations.mail]\ntype = \"file\"\npath = \"$path\"\n");
	hurry();
	$world->relay_ok;
	is(scalar(grep { decode_json($_) } split /\n/, slurp($path)), 2, 'and are written whole when there is room');

	# the disk fills up in the middle of a line
	my $count = 12;
	items($count);
	$world->work_ok;
	$path = $world->dir . '/small.jsonl';
	spew($settings, "[destinations.mail]\ntype = \"file\"\npath = \"$path\"\n");
	my $r = $world->sor($world->relay_args, under => [ 'bash', '-c', 'ulimit -f 2; exec "$@"', 'bash' ]);
	is("$r->{rc}/$r->{signal}", '69/0', 'disk full after 2 KiB: exit code 69') or diag($r->{err});
	my $written = () = slurp($path) =~ /\n/g;
	cmp_ok($written, '<', $count, "$written of $count messages are there");
	hurry();
	$world->relay_ok;
	my @lines = split /\n/, slurp($path);
	is(scalar(grep { eval { decode_json($_) } } @lines), scalar @lines, 'every line is whole when there is room again');
	is(scalar @lines, $count, 'and each message is there once');
	spew($settings, $original);
}
{
	# a destination that the settings do not name
	$world->sql_as('reconciler_loader', "SELECT sor.enqueue('$alice', 'nowhere', 'x', 'x', '{}', 'nowhere')");
	my $bad = $world->sor($world->relay_args);
	isnt($bad->{rc}, 0, 'a destination that the settings do not name');
	like($bad->{err}, qr/nowhere/, 'is named');
	like($world->sql("SELECT last_error FROM sor.outbox WHERE dedup_key = 'nowhere'"), qr/nowhere/, 'and the message kept with the error');
}

# the database goes mid-batch -----------------------------------------------------------------------------------------
{
	my $before = expenses();
	items(30);
	my ($flag, $release) = map { $world->dir . "/$_" } qw(flag release);
	my $held = spew($world->dir . '/held', "while IFS= read -r line; do : > $flag; until [ -e $release ]; do sleep 0.05; done; printf '%s\\n' \"\$line\"; done | exec $handler\n");
	my $run = $world->start_sor($world->work_args('--handler', "sh $held", '--run-key', 'gone'));
	poll_until('a batch is in hand', sub { -e $flag });
	$world->node->stop('immediate');
	spew($release, '');
	complains($world->finish($run), 69, qr/database|server|connection/i, 'database gone mid-batch');
	complains($world->sor($world->work_args('--run-key', 'gone')), 69, qr/database|server|connection/i, 'database down at the start');
	$world->node->start;
	$world->lapse;
	my $done = $world->work_on('--run-key', 'gone');
	is($done->{rc}, 0, 'the next one finishes the run') or diag($done->{err});
	is(expenses(), $before + 30, 'nothing is lost, nothing double');
}
is($world->sql('SELECT count(*) FROM sor.tenants t, sor.verify_events(t.tenant_id) v WHERE v.first_bad IS NOT NULL'), '0', 'after all this the history verifies');
is($world->sql('SELECT count(*) FROM (SELECT tenant_id, aggregate_id FROM sor.outbox GROUP BY 1, 2 HAVING count(*) > 1) x'), '0', 'and no mail is doubled');
done_testing;
