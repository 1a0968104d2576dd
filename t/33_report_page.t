# The report of every kind of run, as text and as a page: what a person needs to know is there, the cause has its rows, hostile
# text stays text; and in a real browser the page shows it, asks nobody for anything, and can be used by keyboard, in the dark and
# on paper.
use strict;
use warnings FATAL => 'all';
use utf8;
use Digest::SHA qw(sha256_base64);
use IPC::Run ();
use SorTest qw(decode_json poll_until slurp spew top);
use Test::More;


my $world = SorTest->new(tenants => ['Alice']);
my $alice = $world->tenant_id('Alice');
my $user = $world->sql("SELECT id FROM sor.users WHERE tenant_id = '$alice' AND email = 'bookkeeper\@expenses.example'");
my $pages = $world->dir . '/pages';
mkdir $pages or die;
chmod 0777, $pages;

# SQL of the worker within a run of that key, which is begun or resumed: :run, :token
sub begin
{
	my ($key, $sql, $worker) = @_;
	spew("$world->{dir}/key", $key);
	$worker //= 'clerk';
	my $quoted = $worker =~ s/'/''/gr;
	my $file = spew("$world->{dir}/begin.sql", "\\set VERBOSITY verbose\n" .
		"SELECT run_id AS run, run_token AS token FROM sor.start_run('$alice', '$quoted', '" . ($key =~ s/'/''/gr) . "', '$user', '{\"queue\": \"pending_transactions\"}') \\gset\n$sql\n");
	my ($out, $err) = ('', '');
	my $rc = $world->node->psql('reconciler', undef, stdout => \$out, stderr => \$err, on_error_stop => 1,
		extra_params => [ '-U', 'reconciler_worker', '-f', $file ]);
	die "$key: $err" if $rc;
	return $out;
}
sub call { my ($tool, $arguments, $turn) = @_; return "SELECT sor.call_tool('$alice', null, :'run', :token, " . ($turn // 1) . ", sor.uuid_v7(), '$tool', \$\$$arguments\$\$);\n" }
sub message
{
	my ($key, $to) = @_;
	return call('queue', qq({"destination": "mail", "event_type": "expense.recorded", "aggregate_id": "$key", "dedup_key": "$key", "payload": {"to": "$to", "subject": "s", "text": "t"}}));
}
my $turn = "SELECT sor.begin_turn('$alice', :'run', :token);\n";
my $end_turn = "SELECT sor.finish_turn('$alice', :'run', :token, 1);\n";
my $finish = "SELECT sor.finish_run('$alice', :'run', :token);\n";
sub lapse { my ($key) = @_; return $world->sql("UPDATE sor.runs SET lease_until = clock_timestamp() - interval '1 ms' WHERE run_key = '$key'") }

# one of each kind
my %kinds = (
	success => 'succeeded', crash => 'crashed', failed => 'failed', failed_tool => 'failed_tool', refused_tool => 'refused_tool', stale => 'resumed',
	cancelled => 'cancelled', dead_letter => 'dead_letter', unknown => 'unknown_outcome', tampered => 'tampered', hostile => 'failed');
$world->load_ok($world->statement(20), '--tenant', 'Alice', '--set', 'statement=1');
$world->work_ok('--run-key', 'success', '--batch', 8);
$world->relay_ok;
my $bad_record = '{"table": "expenses", "record": {"transaction_id": "no uuid"}}';
begin('crash', $turn . message('crash', 'a@b.example') . "SELECT sor.begin_tool_call('$alice', :'run', :token, 1, sor.uuid_v7(), 'model', '{}');");
lapse('crash');
begin('failed', $turn . call('write', $bad_record) . "SELECT sor.finish_run('$alice', :'run', :token, 'failed', '{\"message\": \"the handler died\"}');");
begin('failed_tool', $turn . call('write', $bad_record) . $end_turn . $finish);
begin('refused_tool', $turn . call('drop_table', '{}') . $end_turn . $finish);
begin('stale', $turn);
my $stale = $world->sql("SELECT run_token FROM sor.runs WHERE run_key = 'stale'");
lapse('stale');
begin('stale', $turn . message('stale', 'a@b.example') . $end_turn . $finish);
my $stale_run = $world->sql("SELECT id FROM sor.runs WHERE run_key = 'stale'");
my (undef, undef, $lost) = $world->sql_as('reconciler_worker', "SELECT sor.heartbeat('$alice', '$stale_run', $stale)");
like($lost, qr/SR0(07|10)|ended|lease/, 'the stale holder is refused');
my $cancel = begin('cancelled', "SELECT :'run';\n$turn");
$world->sql_as('reconciler_worker', "SELECT sor.cancel_run('$alice', '" . $world->sql("SELECT id FROM sor.runs WHERE run_key = 'cancelled'") . "', 'wrong month')");
$world->relay_ok;
begin('dead_letter', $turn . message('dead_letter', 'nobody@nowhere.example') . $end_turn . $finish);
$world->refuse_mail('550 5.1.1 no such user');
$world->sor($world->relay_args);
$world->refuse_mail(undef);
begin('unknown', $turn . "SELECT sor.begin_tool_call('$alice', :'run', :token, 1, sor.uuid_v7(), 'model', '{\"prompt\": \"p\"}');");
lapse('unknown');
begin('unknown', $turn . $end_turn . $finish);
begin('tampered', $turn . message('tampered', 'a@b.example') . $end_turn . $finish);

# text that would be more: markup, script, quotes, controls, bidirectional overrides, an escape sequence, and a megabyte
my $markup = q{<script>window.hostile = 1</script><img src=x onerror="window.hostile=1">'"&amp;]]>--><svg/onload=alert(1)>};
my $trick = "\x{202E}desrever\x{2066}\x{1b}[31mred\x{7}\x{200B}";
my $long = 'ab ' . 'x' x (1 << 20);
sub json { my ($text) = @_; my $json = JSON::PP->new->allow_nonref->ascii->encode($text); return $json =~ s/\$\$/\\u0024\\u0024/gr }
my ($hostile, $huge) = (json("$markup $trick"), json($long));
my $hostile_key = "hostile $markup";
utf8::encode(my $worker = "evil $markup $trick");
begin($hostile_key, $turn . call('write', qq({"table": $hostile, "record": {$hostile: $huge}, "completes": {"queue": $hostile, "item_id": $huge, "claim_token": 1}})) .
	call('no tool', qq({$hostile: $huge})) . call('read', qq({"from": $huge, "limit": 1})) .
	call('queue', qq({"destination": $hostile, "event_type": $hostile, "aggregate_id": $hostile, "dedup_key": $hostile, "payload": {"to": [$hostile, $huge], "x": 1e400}})) .
	"SELECT sor.finish_run('$alice', :'run', :token, 'failed', \$\${\"message\": $hostile, \"more\": $huge}\$\$);", $worker);

# a superuser changes history
$world->sql("SET sor.drop_guard = off; ALTER TABLE sor.agent_events DISABLE TRIGGER USER; UPDATE sor.agent_events SET payload = payload || '{\"x\": 1}' WHERE seq = 3
	AND run_id = (SELECT id FROM sor.runs WHERE run_key = 'tampered'); ALTER TABLE sor.agent_events ENABLE ALWAYS TRIGGER append_only_rows;
	ALTER TABLE sor.agent_events ENABLE ALWAYS TRIGGER append_only_truncate");

my @auditor = ('report', '--dbname', 'service=reconciler_auditor');
sub report { my $r = $world->sor([ @auditor, @_ ]); is("$r->{rc}/$r->{signal}", '0/0', "sor report @_") or diag($r->{err}); return $r->{out} }
sub unescaped
{
	my ($text) = @_;
	$text =~ s/<[^>]*>//g;
	$text =~ s/&lt;/</g; $text =~ s/&gt;/>/g; $text =~ s/&quot;/"/g; $text =~ s/&#39;/'/g; $text =~ s/&amp;/&/g;
	return $text;
}

for my $kind (sort keys %kinds)
{
	my $run = $world->sql("SELECT id FROM sor.runs WHERE run_key LIKE '$kind%' AND (run_key = '$kind' OR '$kind' = 'hostile')");
	my $json = report($run, '--format', 'json');
	my $whole = JSON::PP->new->utf8->allow_bignum->decode($json);
	is($whole->{finding}{kind}, $kinds{$kind}, "$kind: the finding is $kinds{$kind}");
	is(scalar(grep { !$world->sql("SELECT EXISTS (SELECT FROM sor.$_->{table} WHERE id = '$_->{id}')") } @{ $whole->{finding}{evidence} }), 0, "$kind: its evidence is there");
	cmp_ok(scalar @{ $whole->{finding}{evidence} }, '>', 0, "$kind: there is evidence");
	if ($kind ne 'success' && $kind ne 'stale') { ok($whole->{finding}{command}, "$kind: the next action is a command") }

	my $text = report($run);
	utf8::decode($text);
	my @lines = split /\n/, $text;
	like(shift @lines, qr/^HISTORY WAS CHANGED: event 3 of stream $run, id [0-9a-f-]{36}: its columns/, 'tampered: the first line says so') if $kind eq 'tampered';
	like(join("\n", @lines[ 0 .. 5 ]), qr/^run: +Run $run .*\nscope: .*\ntimeline: .*\nfailure point: .*\nside effects: .*\ncause and next action: /, "$kind: six lines");
	like($lines[7], qr/^timeline \(\d+\)$/, "$kind: then the timeline");
	like($lines[8], qr/^  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\S*: Worker ".*" for bookkeeper\@expenses\.example started the run/, "$kind: which says when, who and for whom");
	unlike($text, qr/[\x00-\x09\x0b-\x1f\x7f-\x9f\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]/, "$kind: nothing steers the terminal");

	my $page = report($run, '--format', 'html');
	spew("$pages/$kind.html", $page);
	spew("$pages/$kind.json", $json);
	utf8::decode($page);
	my ($style) = $page =~ m{<style>(.*?)</style>}s;
	my ($script) = $page =~ m{<script>(.*?)</script>\n</body>}s;
	utf8::encode($_) for $style, $script;
	is(($page =~ /http-equiv="Content-Security-Policy" content="([^"]*)"/)[0], "default-src 'none'; style-src 'sha256-" . sha256_base64($style) .
		"='; script-src 'sha256-" . sha256_base64($script) . "='; base-uri 'none'; form-action 'none'", "$kind: the policy lets nothing run but the page's own");
	is(scalar(() = $page =~ /<(?:script|style|img|iframe|link|object|embed|image|foreignObject)\b/gi), 2, "$kind: one style, one script, nothing that loads");
	unlike($page =~ s{<script>.*?</script>\n</body>}{}sr, qr/\s(?:src|on\w+|style|action|xlink:href)\s*=\s*["'](?![^"]*&)|href="[^#]|url\(|\@import/i, "$kind: no address, no handler");
	unlike($page, qr/[\x00-\x08\x0b-\x1f\x7f-\x9f\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]/, "$kind: nothing turns the text round");
	cmp_ok(length $page, '<', 3_000_000, "$kind: the page is bounded");
	my $plain = unescaped($page =~ s{<(script|style)>.*?</\1>}{}gsr);
	my $shown = sub { my ($s) = @_; $s =~ s/([\x00-\x08\x0b-\x1f\x7f-\x9f\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}])/sprintf '⟨U+%04X⟩', ord $1/ger };
	for my $part ([ 'the run id', $run ], [ 'the failure point', $whole->{summary}{failure_point} ], [ 'what reached the outside', $whole->{summary}{side_effects} ],
		[ 'the root cause', $whole->{finding}{root_cause} ], [ 'what to do next', $whole->{finding}{next_action} ], [ 'the command', $whole->{finding}{command} // '' ])
	{
		cmp_ok(index($plain, $shown->($part->[1])), '>=', 0, "$kind: a reader without script finds $part->[0]") or diag($part->[1]);
	}
	like($plain, qr/select .*\n?.* is tenant Alice/, "$kind: ids in the command have names") if ($whole->{finding}{command} // '') =~ /^select/;
	if (my ($sent) = grep { $_->{status} eq 'dispatched' } @{ $whole->{outbox} })
	{
		my ($day, $time) = $sent->{processed_at} =~ /^(\S{10})T(\S{8}(?:\.\d{1,3})?)/;
		like($plain, qr/dispatched \Q$day $time\E: “/, "$kind: when a message was accepted");
	}
	like($plain, qr/given up \d{4}-\d\d-\d\d \S+: “/, 'and when one was given up') if $kind eq 'dead_letter';
	is(scalar(() = $page =~ /<tr[^>]* id="event-/g), scalar @{ $whole->{events} }, "$kind: a row for each event");
	is(scalar(() = $page =~ /<tr[^>]* id="call-/g), scalar @{ $whole->{tool_calls} }, "$kind: and for each call");
	is(scalar(() = $page =~ /<tr[^>]* id="message-/g), scalar @{ $whole->{outbox} }, "$kind: and for each message");
	like($page, qr/role="alert"><h2>✕ The history of this run was changed/, 'tampered: the page says so on top') if $kind eq 'tampered';
}
my $hostile_page = slurp("$pages/hostile.html");
like($hostile_page, qr/\b10\d{5} characters in all/, 'what is cut says how long it is');
like($hostile_page, qr/take the command from --format json/, 'of a command with what nobody would see, a copy would be another');
unlike($hostile_page, qr/data-of="command"/, 'so there is no button for one');
like(slurp("$pages/crash.html"), qr/data-of="command"/, 'as there is elsewhere');
is(join(' ', map { my $lane = slurp("$pages/$_.html") =~ m{data-lane="run">(.*?)\n</g>\n<g class="lane"}s ? $1 : ''; scalar(() = $lane =~ /<rect/g) } qw(stale failed)), '2 1', 'nobody held the run in its gap');
like(unescaped(slurp("$pages/crash.html")), qr/Statusrunning, its holder lost/, 'a crashed run has the status that it has, and its holder lost');
like(unescaped(slurp("$pages/unknown.html")), qr/unknown[^\n]*no answer/, 'a call without an answer took no time');
unlike(slurp("$pages/crash.html"), qr/take the command from --format json/, 'of no other');
like(slurp("$pages/hostile.json"), qr/"x": 1e400|"x": 10{400}/, 'a number beyond a double passes');

# what was asked for otherwise
my ($at, $in_berlin) = split /\|/, $world->sql("SELECT to_char(started_at, 'YYYY-MM-DD HH24:MI:SS.US OF'), to_char(started_at AT TIME ZONE 'Europe/Berlin', 'YYYY-MM-DD HH24:MI:SS.US')
	FROM sor.runs WHERE run_key = 'success'");
my $period = report('--at', $at, '--format', 'html');
spew("$pages/period.html", $period);
like($period, qr/<h1>9 of 11 runs need attention/, '--at among several runs: the hour around it');
my ($since, $until) = split /\|/, $world->sql("SELECT to_char(started_at - interval '30 min', 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(started_at + interval '30 min', 'YYYY-MM-DD HH24:MI:SS.MS') FROM sor.runs WHERE run_key = 'success'");
like(unescaped($period), qr/From\Q$since\E.*Until\Q$until\E, later than this page was made/s, 'a period: its bounds as moments, and that it is not over');
utf8::decode(my $of_period = $period);
my @cards = $of_period =~ m{<article class="run [a-z]+" id="run-(.*?)</article>}gs;
is_deeply([ map { /run key (\w+)/ } map { unescaped($_) } @cards ], [qw(tampered crash hostile failed dead_letter unknown cancelled failed_tool refused_tool)],
	'a period: the runs that need attention, the gravest first');
for my $card (@cards)
{
	my ($id) = $card =~ /^([^"]*)"/;
	my ($kind) = grep { slurp("$pages/$_.json") =~ /"run": \{[^{}]*"id": "$id"/ } keys %kinds;
	my $whole = JSON::PP->new->utf8->allow_bignum->decode(slurp("$pages/$kind.json"));
	my $plain = unescaped($card);
	like($plain, qr/[0-9a-f-]{36} is the message “expense.recorded” about dead_letter/, 'a period: ids in the command have names') if $kind eq 'dead_letter';
	next if $kind eq 'hostile'; # the same, with what nobody would see written out
	for my $part (@{$whole->{finding}}{qw(root_cause next_action command)}, @{$whole->{summary}}{qw(failure_point side_effects)})
	{
		cmp_ok(index($plain, $part), '>=', 0, "a period: $kind: what the run's own page says") or diag("$part\n$plain");
	}
}
like(unescaped($of_period), qr/What reached the outside world in that time\?22 messages were accepted by their destinations, 1 given up\. 2 calls outside the database were begun; the outcome of 1 cannot be known\. Of the runs that were looked into, 2 messages wait to be sent and 1 call outside the database has no recorded answer yet\./,
	'a period: what reached the outside');
like(unescaped($of_period), qr/20 messages of reconciler success, /, 'and which run sent it');
is(scalar(() = $of_period =~ /<tr class="bad"[^>]*data-run="[^"]*" data-kind="call" data-bad="yes">(?:(?!<tr).)*the first event that does not fit/gs), 1, 'a period: the altered event is marked');
my $nothing = report('--since', '1999-12-31', '--until', '2000-01-01', '--format', 'html');
like($nothing, qr/<h1>No run was in progress.*No message was accepted.*Nothing happened/s, 'a period without runs');
like(report('--since', 'yesterday', '--tenant', 'alice'), qr/^  .* started the run.*\n.*\nruns \(11\)\n/s, '--since: the events, then the runs');
$world->sql("UPDATE sor.runs SET started_at = started_at - interval '3 days', finished_at = finished_at - interval '3 days' WHERE run_key = 'success'");
my $alone = report('--at', "$in_berlin", '--time-zone', 'Europe/Berlin', '--format', 'text', '--tenant', 'Alice');
unlike($alone, qr/run key "success"/, '--at: a run of another day is not meant');
my $then = $world->sql("SELECT to_char(started_at AT TIME ZONE 'Europe/Berlin', 'YYYY-MM-DD HH24:MI') FROM sor.runs WHERE run_key = 'success'");
like(report('--at', $then, '--time-zone', 'Europe/Berlin'), qr/^(?:HISTORY.*\n)?run: +Run \S+ of worker "reconciler", run key "success".*UTC\+0[12], finished/s, '--at: the run of that minute, in that zone');
# of many runs those that failed and the newest are looked into, and the page says of which it knows the status alone
my $marker = $world->sql("SELECT clock_timestamp()");
begin('early', $turn . "SELECT sor.finish_run('$alice', :'run', :token, 'failed', '{\"message\": \"too early\"}');");
$world->sql_as('reconciler_worker', "SELECT sor.finish_run('$alice', r.run_id, r.run_token) FROM generate_series(1, 105) n, sor.start_run('$alice', 'clerk', 'many ' || n, '$user', '{}') r");
my $many = report('--since', $marker, '--format', 'html');
utf8::decode(my $of_many = $many);
spew("$pages/many.html", $many);
like($of_many, qr/<h1>2 of 107 runs need attention/, 'many runs: those that are wrong are counted');
is_deeply([ map { /run key (\w+)/ } map { unescaped($_) } $of_many =~ m{<article class="run [a-z]+" id="run-(.*?)</article>}gs ], [qw(crash early)], 'the oldest of them is looked into, for it failed');
is(scalar(() = $of_many =~ /not looked into<\/td>/g), 7, 'and all but a hundred are not');
like(unescaped($of_many), qr/7 runs not looked into/, 'which the page says');
my ($picture) = $of_many =~ m{<svg class="timeline wide".*?</svg>}s ? $& : '';
like($picture, qr{data-lane="clerk crash">\n.*\n<g class="mark bad".*<title>Crashed: the holder of the run was lost, not in that time<}, 'what went wrong before is marked too');
like($picture, qr{data-lane="91 other runs">\n<g class="mark ok"}, 'the picture has a lane for the rest');
like(unescaped($of_period), qr/Is this history whole\?\n✕ No, 1 of 11 runs has a history that was changed/, 'whether the history of the period is whole');

# somebody changes a message's row, and removes the row of a run
begin('bent', $turn . message('bent', 'a@b.example') . $end_turn . $finish);
$world->sql("UPDATE sor.outbox SET payload = '{\"to\": \"c\@d.example\"}' WHERE dedup_key = 'bent'");
my $bent = report('--run-key', 'bent', '--format', 'html');
like(unescaped($bent), qr/What does not fit is in stream [0-9a-f-]+, row [0-9a-f-]+: /, 'a changed row: the page says which');
like($bent, qr/<tr class="bad" id="message-(?:(?!<tr).)*the first row that does not fit/s, 'and marks it');
begin('late', $turn . message('late', 'late@nowhere.example') . $end_turn . $finish);
my $since_late = $world->sql("SELECT clock_timestamp()");
$world->refuse_mail('550 5.1.1 no such user');
$world->sor($world->relay_args);
$world->refuse_mail(undef);
my $of_late = report('--since', $since_late, '--format', 'html');
my ($late_card) = grep { /run key late/ } $of_late =~ m{(<article class="run bad".*?</article>)}gs;
like(unescaped($late_card // $of_late), qr/Succeeded, but something was given up.*550 5\.1\.1 no such user.*--message [0-9a-f-]{36}/s, 'a message given up in a period of a run that had ended before: the page says so');
is(scalar(grep { /run key success/ } $of_late =~ m{<article.*?</article>}gs), 0, 'and nothing of a run of which nothing happened');
my $since_gone = $world->sql("SELECT clock_timestamp()");
begin('gone', $turn . $end_turn . $finish);
my $gone_run = $world->sql("SELECT id FROM sor.runs WHERE run_key = 'gone'");
$world->sql("SET session_replication_role = replica; DELETE FROM sor.turns WHERE run_id = '$gone_run'; DELETE FROM sor.runs WHERE id = '$gone_run'");
my $without_row = report('--since', $since_gone, '--format', 'html');
my ($gone_card) = $without_row =~ m{(<article class="run bad" id="run-$gone_run".*?</article>)}s;
like(unescaped($gone_card // $without_row), qr/History was changed.*its row is gone.*the row of run $gone_run is gone.*select narrative from sor.replay/s, 'a run without its row is on the page of a period');

like(unescaped(report('--since=-infinity', '--until', 'infinity', '--time-zone', 'Asia/Kolkata', '--format', 'html')), qr/From-infinity\s*Untilinfinity, later than this page was made\s*Times areUTC\+05:30/, 'for ever, in the zone that was asked for');
for my $wrong ([ '--at', 'teatime' ], [ '--time-zone', 'Mars/Olympus', 'latest' ], [ '--at', 'now', '--since', 'now' ], [ '--since', 'now', '--until', 'yesterday', '--tenant', 'Alice' ], ['01a1f8cb-e6df-77a9-ae6f-da0362f8d57e'], ['no uuid'], [ '--format', 'html' ])
{
	my $r = $world->sor([ @auditor, @$wrong ]);
	is($r->{rc}, 64, "refused: sor report @$wrong") or diag($r->{err});
}

my $full = $world->sor([ @auditor, $world->sql("SELECT id FROM sor.runs WHERE run_key LIKE 'hostile%'"), '--format', 'json' ],
	under => [ 'sh', '-c', 'exec "$@" >/dev/full', 'sh' ]);
is($full->{rc}, 69, 'a disk that is full is no success') or diag($full->{err});

SKIP:
{
	my $node = SorTest::node_js();
	my ($chromium) = grep { -x } '/usr/bin/chromium', '/usr/bin/chromium-browser';
	skip 'no browser: needs node, chromium and the packages of t/browser/package-lock.json (scripts/install-node-packages)', 1
		unless $node && $chromium && -e top . '/t/browser/node_modules/.package-lock.json';
	my ($out, $err) = ('', '');
	my $h = IPC::Run::start([ $node, top . '/t/browser/page.mjs', $chromium, $pages, $world->dir ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(300));
	$h->finish;
	for my $check (map { decode_json($_) } split /\n/, $out)
	{
		ok($check->{ok}, "browser: $check->{name}") or diag(JSON::PP->new->canonical->allow_nonref->encode($check->{got} // ''));
	}
	is($h->result(0), 0, 'the browser has come to its end') or diag($err);
}
done_testing;
