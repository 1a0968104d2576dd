# sor metrics: what it prints is what Prometheus reads; counters miss no event however transactions overlap; the cost does
# not grow with what waits; the dashboard and the alert rules name what there is.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json poll_until slurp spew top);
use Test::More;

my $world = SorTest->new(tenants => [ 'Alice', 'Bob' ]);
my ($alice, $bob) = map { $world->tenant_id($_) } qw(Alice Bob);
my @metrics = ('metrics', '--dbname', 'service=operator');
sub have { my ($command) = @_; return system("command -v $command >/dev/null 2>&1") == 0 }
my $python_reads = system('python3 -c "import prometheus_client.parser" 2>/dev/null') == 0;

# {name{labels in the order of their names}} → value
sub read_metrics
{
	my ($text) = @_;
	my %read;
	for (grep { !/^#/ } split /\n/, $text)
	{
		my ($name, $labels, $value) = /^(\w+)(?:\{(.*)\})? (\S+)$/ or die "no sample: $_";
		$read{ $name . (defined $labels ? '{' . join(',', sort $labels =~ /\w+="(?:[^"\\]|\\.)*"/g) . '}' : '') } = $value;
	}
	return \%read;
}
sub metrics { my $r = $world->sor([ @metrics, @_ ]); is($r->{rc}, 0, 'sor metrics') or diag($r->{err}); return read_metrics($r->{out}) }
sub sum { my ($m, $like) = @_; my $sum = 0; $sum += $m->{$_} for grep { /$like/ } keys %$m; return $sum }

my $first = metrics();
my $begun = $world->sql("SELECT count(*) FROM sor.agent_events e JOIN sor.event_count_progress p USING (tenant_id) WHERE tenant_id = '$alice' AND e.id < p.counted_to");
is(sum($first, qr/^sor_events_total/), 0, 'counters begin at 0');
is($first->{'sor_tool_calls_total{status="refused",tenant="Alice"}'}, 0, 'and are there before their first event');
$world->load_ok($world->statement(20, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
$world->work_ok;
$world->relay_ok;

# A session has an event that is not committed yet while later ones are: a cursor over ids would pass it and lose it.
my $open = $world->session($world->superuser);
$open->query_safe("BEGIN; SELECT sor.append_event('$alice', 'clerk.noted', '{}')");
$world->load_ok($world->statement(10), '--tenant', 'Alice', '--set', 'statement=2');
$world->work_ok;
metrics() for 1 .. 3;
sleep 2; # the second that an id may be older than its transaction
metrics() for 1 .. 3;
$open->query_safe('COMMIT');
$open->quit;
my $m;
my $all_counted = sub {
	$m = metrics();
	return sum($m, qr/^sor_events_total\{.*tenant="Alice"/) == $world->sql("SELECT count(*) FROM sor.agent_events WHERE tenant_id = '$alice'") - $begun;
};
ok(poll_until('all events are counted', $all_counted, timeout => 20), 'every event since the first call is counted, once');
is($m->{'sor_events_total{event_type="clerk.noted",tenant="Alice"}'}, 1, 'that of the long transaction too');
is($m->{'sor_items_total{status="completed",tenant="Alice"}'}, 20, 'items');
is($m->{'sor_messages_total{status="dispatched",tenant="Alice"}'}, 10, 'messages');
is($m->{'sor_outbox_dispatch_seconds_count{tenant="Alice"}'}, 10, 'latencies');
is($m->{'sor_outbox_dispatch_seconds_bucket{le="+Inf",tenant="Alice"}'}, 10, 'of which the last bucket has all');
is($m->{'sor_outbox_pending_messages{tenant="Alice"}'}, 10, 'pending');
is($m->{'sor_queue_items{queue="outbox",tenant="Alice"}'}, 10, 'which are those of the queue outbox');
cmp_ok($m->{'sor_table_bytes{table="sor.agent_events"}'}, '>', 0, 'sizes');
cmp_ok(abs(time - $m->{sor_measured_timestamp_seconds}), '<', 10, 'and when that was');

# what stands out: a lapsed holder, dead letters, a pause, a verification
$world->load_ok($world->statement(3), '--tenant', 'Bob', '--set', 'statement=3');
$world->sql("SELECT count(*) FROM sor.claim('$bob', 'pending_transactions', 'gone', 1, '1 s')");
$world->sql("UPDATE sor.ready SET available_at = clock_timestamp() - interval '1 s' WHERE claimed_by = 'gone'");
is(metrics()->{'sor_queue_expired_leases{queue="pending_transactions",tenant="Bob"}'}, 1, 'an expired lease');
$world->work_ok;
$world->sql("SELECT sor.mark_failed('$bob', message_id, claim_token, 'no', true) FROM sor.claim_outbox('$bob', 'r', 2, '1 min')");
$world->sql("SELECT sor.pause('tool', 'write', 'a \"reason\"'), sor.verify_events('$alice')");
$world->sql("SELECT sor.create_tenant(E'Quote \" and \\\\ back\\nslash')");
ok(poll_until('expiries are counted', sub { $m = metrics(); ($m->{'sor_lease_expiries_total{of="item",tenant="Bob"}'} // 0) == 1 }, timeout => 20), 'a lease that ran out');
is($m->{'sor_queue_dead_items{queue="outbox",tenant="Bob"}'}, 2, 'dead messages');
is($m->{'sor_paused{kind="tool",name="write"}'}, 1, 'a pause');
is($m->{'sor_chain_verification_whole{tenant="Alice"}'}, 1, 'a verification');

# an auditor sees its tenants alone
$world->sql("SELECT sor.revoke_tenant('reconciler_auditor', '$bob')");
my $auditor = $world->sor([ 'metrics', '--dbname', 'service=reconciler_auditor' ]);
is($auditor->{rc}, 0, 'an auditor');
like($auditor->{out}, qr/tenant="Alice"/, 'sees what it is granted');
unlike($auditor->{out}, qr/tenant="Bob"|sor_table_bytes/, 'and nothing else');
is($world->sor([ 'metrics', '--dbname', 'service=reconciler_worker' ])->{rc}, 77, 'a worker may not');

$world->sql('ANALYZE'); # or nothing is estimated
# into a file: whole or not at all, for everybody to read
my $file = $world->dir . '/sor.prom';
spew($file, "old\n");
my $r = $world->sor([ @metrics, '--output', $file ]);
is("$r->{rc}$r->{out}$r->{err}", '0', 'into a file, silently');
like(slurp($file), qr/\A# HELP sor_\w+ .*\n# TYPE sor_\w+ gauge\n/, 'which is replaced');
is((stat $file)[2] & 07777, 0644, 'and readable');
is(join(' ', glob "$file.*"), '', 'with nothing beside it');
is($world->sor([ @metrics, '--output', '/nonexistent/sor.prom' ])->{rc}, 69, 'a folder that is not there');
$r = $world->sor([ 'metrics', '--dbname', 'service=operator dbname=nope', '--output', $file ]);
is($r->{rc}, 69, 'no database');
like(slurp($file), qr/sor_runs_unended/, 'leaves the old file');

# read by those it is for
SKIP: {
	skip 'promtool is not installed (package prometheus)', 3 unless have('promtool');
	my $check = `promtool check metrics < $file 2>&1`;
	is("$?:$check", '0:', 'promtool reads it and finds nothing to mend');
	my $rules = `promtool check rules @{[top]}/docs/watching/alerts.yml 2>&1`;
	like($rules, qr/SUCCESS: \d+ rules found/, 'promtool reads the alert rules');
	my $fired = `promtool test rules @{[top]}/t/alerts_test.yml 2>&1`;
	is($?, 0, 'which fire for what they are for') or diag($fired);
}
SKIP: {
	skip 'python3-prometheus-client is not installed', 2 unless $python_reads;
	my $script = spew($world->dir . '/read.py', <<'END');
import sys
from prometheus_client.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(open(sys.argv[1], encoding="utf-8").read()))
names = [f.name for f in families]
assert len(names) == len(set(names)), "a family stands in several places"
for f in families:
    seen = [(s.name, tuple(sorted(s.labels.items()))) for s in f.samples]
    assert len(seen) == len(set(seen)), f.name
    assert f.type in ("gauge", "counter", "histogram") and f.documentation, f.name
assert any(s.labels.get("tenant") == 'Quote " and \\ back\nslash' for f in families for s in f.samples), "labels are escaped"
histogram = next(f for f in families if f.type == "histogram")
for tenant in {s.labels["tenant"] for s in histogram.samples}:
    buckets = [s.value for s in histogram.samples if s.name.endswith("_bucket") and s.labels["tenant"] == tenant]
    assert buckets == sorted(buckets) and len(buckets) == 13
print(len(families))
END
	my $read = `python3 $script $file 2>&1`;
	is($?, 0, "prometheus_client reads it") or diag($read);
	cmp_ok($read =~ /^(\d+)$/ ? $1 : 0, '>', 20, 'all families');
}
my %family = map { /^# TYPE (\S+)/ ? ($1 => 1) : () } split /\n/, slurp($file);
for my $name ('alerts.yml', 'dashboard.json')
{
	my $text = slurp(top . "/docs/watching/$name");
	my %used = map { s/_(?:bucket|sum|count)$//r => 1 } $text =~ /\b(sor_[a-z_]+)/g;
	is(join(' ', sort grep { !$family{$_} } keys %used), '', "$name names families that are there");
	is(join(' ', sort grep { !$used{$_} } keys %family), '', 'the dashboard shows every family') if $name eq 'dashboard.json';
}
# the commands that alerts name are commands
my %command = map { $_ => 1 } slurp(top . '/docs/watching/alerts.yml') =~ /\bsor (report [^";]+)/g;
cmp_ok(scalar keys %command, '>', 1, 'alerts name reports');
for (sort keys %command)
{
	my $report = $world->sor([ (split / /, s/TENANT/Alice/r), '--dbname', 'service=reconciler_auditor' ]);
	is($report->{rc}, 0, "sor $_") or diag($report->{err});
}
my $dashboard = decode_json(slurp(top . '/docs/watching/dashboard.json'));
cmp_ok(scalar(grep { @{ $_->{targets} } } @{ $dashboard->{panels} }), '>', 10, 'the dashboard is JSON, with panels');
my $page = slurp(top . '/docs/watching.md');
is(join(' ', sort grep { index($page, $_) < 0 } keys %family), '', 'each family is explained in docs/watching.md');

# What it may not wait for, and what may not stop it: a migration that holds a table; a login whose transactions keep a snapshot.
my $held = $world->session($world->superuser);
$held->query_safe('BEGIN; LOCK TABLE reconciler.expenses');
$r = $world->sor([ 'metrics', '--dbname', 'service=operator options=-cstatement_timeout=10s' ]);
is($r->{rc}, 0, 'it does not wait for a lock') or diag($r->{err});
$m = read_metrics($r->{out});
ok(!exists $m->{'sor_table_bytes{table="reconciler.expenses"}'}, 'a locked table has no size');
cmp_ok($m->{'sor_table_bytes{table="sor.agent_events"}'}, '>', 0, 'and the others have theirs');
$world->sql("ALTER ROLE operator SET default_transaction_isolation = 'repeatable read'");
my $events = sum($m, qr/^sor_events_total\{.*tenant="Alice"/);
$world->sql("SELECT sor.append_event('$alice', 'clerk.noted', '{}')");
ok(poll_until('it is counted', sub { sum($m = metrics(), qr/^sor_events_total\{.*tenant="Alice"/) > $events }, timeout => 20), 'counters go on under REPEATABLE READ');
$world->sql('ALTER ROLE operator RESET default_transaction_isolation');

# Two at once: the slower one may not put its older counters back.
$held->query_safe('ROLLBACK; BEGIN; LOCK TABLE sor.pauses');
my $slow = $world->start_sor([ @metrics, '--output', $file ]);
poll_until('it waits', sub { $slow->{h}->pump_nb; $world->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%sor.metrics()%' AND pid <> pg_backend_pid()") });
$r = $world->sor([ @metrics, '--output', $file ]);
is($r->{rc}, 75, 'a second one on the same file ends at once');
like($r->{err}, qr/another sor metrics is at work/, 'and says why');
$held->query_safe('ROLLBACK');
$held->quit;
is($world->finish($slow)->{rc}, 0, 'the first one goes on');
is($world->sor([ @metrics, '--output', $file ])->{rc}, 0, 'and so does the next');
symlink '/dev/null', $world->dir . '/null' or die $!;
is($world->sor([ @metrics, '--output', $world->dir . '/null' ])->{rc}, 64, 'a device is not replaced');
SKIP: {
	skip 'no /dev/full', 2 unless -c '/dev/full';
	for my $command ('metrics', 'status')
	{
		open my $full, '>', '/dev/full' or die $!;
		is($world->sor([ $command, '--dbname', 'service=operator' ], init => sub { open STDOUT, '>&', $full or die })->{rc}, 69, "$command: a full disk is an error");
	}
}

# The cost: buffers with 20,000 and with 400,000 items, messages, dead letters and runs that wait.
$world->sql('ALTER TABLE sor.ready SET (autovacuum_enabled = off)');
my $add = sub {
	my ($from, $to) = @_;
	$world->sql("SET sor.drop_guard = off; INSERT INTO sor.ready (tenant_id, queue, item_id, available_at, claimed_by)
			SELECT '$alice', q, 'x' || n, clock_timestamp() - n * interval '1 s', CASE WHEN n % 2 = 0 THEN 'w' END FROM generate_series($from, $to) n, unnest('{outbox,pending_transactions}'::text[]) q;
		INSERT INTO sor.outbox (tenant_id, aggregate_id, event_type, destination, payload, dedup_key, status, next_attempt_at)
			SELECT '$alice', n, 'm', 'mail', '{}', 'cost ' || n, CASE WHEN n % 2 = 0 THEN 'dead' ELSE 'pending' END, now() FROM generate_series($from, $to) n;
		INSERT INTO sor.runs (tenant_id, id, worker, status, input, started_at, lease_until, run_token)
			SELECT '$alice', sor.uuid_v7(), 'w' || n % 10, 'running', '{}', now(), now(), 1 FROM generate_series($from, $to) n;
		INSERT INTO sor.item_failures SELECT '$alice', 'pending_transactions', n, 1, 'e', now(), true, 1 FROM generate_series($from, $to) n");
	$world->sql('VACUUM ANALYZE sor.ready'); # what autovacuum would do
	return;
};
my $buffers = sub {
	my ($function) = @_;
	my $plan = decode_json($world->sql("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM sor.$function()"))->[0]{Plan};
	return $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'};
};
$add->(1, 20000);
my %small = map { $_ => $buffers->($_) } qw(metrics status);
my $waiting = metrics();
is($waiting->{'sor_queue_items{queue="outbox",tenant="Alice"}'}, 10000, 'a gauge ends at 10000');
is($waiting->{'sor_runs_lapsed{tenant="Alice"}'}, 10000, 'this one too');
$add->(20001, 200000);
for (qw(metrics status))
{
	my $large = $buffers->($_);
	cmp_ok($large, '<', 1.5 * $small{$_} + 500, "$_: $small{$_} buffers with 20,000 of each waiting, $large with 200,000");
}
done_testing;
