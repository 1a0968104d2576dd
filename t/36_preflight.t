# sor preflight: the eight checks pass on a sound database and leave nothing but their marked events; each says no, it alone
# unless the line says which others share the control, when its control is taken away; every sabotage on a clone.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json only_sor_calls poll_until slurp);
use Test::More;

my $world = SorTest->new(tenants => [ 'Alice', 'Bob' ], conf => "log_statement = all\n");
$world->load_ok($world->statement(20, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
$world->work_ok;
$world->relay_ok;
$world->sql("SELECT sor.grant_tenant('operator', tenant_id) FROM sor.tenants");
$world->sql("SELECT sor.grant_tenant('reconciler_auditor', tenant_id, null, '{user}') FROM sor.tenants");
my $alice = $world->tenant_id('Alice');
my @base = ('preflight', '--settings', 'settings.toml', '--dbname', 'service=operator');

# every row of every table of the database, in any order, but for events that preflight marks as its own
sub everything
{
	my ($db) = @_;
	my @tables = split /\n/, $world->node->safe_psql($db, "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname IN ('sor', 'reconciler', 'public') ORDER BY 1");
	return join "\n", map { my $t = $_; "$t " . $world->node->safe_psql($db, "SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM $t t"
		. ($t eq 'sor.agent_events' ? " WHERE event_type NOT LIKE 'drill.%'" : '')) } @tables;
}
my $before = everything('reconciler');
my $log = -s $world->node->logfile;
my $mails = @{ $world->mails };
my $r = $world->sor([ @base, '--json' ]);
is($r->{rc}, 0, 'a sound database passes') or diag($r->{out} . $r->{err});
my $answer = decode_json($r->{out});
is(join(' ', map { $_->{tenant} } @{ $answer->{tenants} }), 'Alice Bob', 'in each granted tenant');
for my $tenant (@{ $answer->{tenants} })
{
	is(join(' ', map { $_->{check_no} } @{ $tenant->{checks} }), '1 2 3 4 5 6 7 8', "$tenant->{tenant}: eight checks in order");
	is(join(' ', map { $_->{check_no} } grep { !$_->{ok} } @{ $tenant->{checks} }), '', "$tenant->{tenant}: each says yes");
	my %said = map { $_->{check_no} => $_->{evidence} } @{ $tenant->{checks} };
	like($said{1}, qr/^0 of 3 users have no role$/, '1 says what it saw');
	like($said{2}, qr/refused, SR003: .*needs the role admin; The user has the role member/, '2 names the role boundary');
	like($said{3}, qr/lives for: 1 day; .*\(1 tool_call event, 1 outbox intent\); the second succeeded, replayed, the same response \(0 new events, 0 new intents\)/, 'check 3 says what it did and saw');
	like($said{4}, qr/first inserted 1 row; the second waited and inserted 0 rows, with the same response; 1 key, 1 event/, 'check 4 says what it did and saw');
	like($said{5}, qr/picked up, sent to a file, marked: status dispatched, attempts 1, processed_at \d/, 'check 5 says what it did and saw');
	like($said{6}, qr/1 and 1; after the rollback: 0 and 0; first transaction: row new, message new, rolled back; second transaction: row new, message new/, 'check 6 says what it did and saw');
	like($said{7}, qr/COMMIT, backend \d+: none, 0 tables .*ROLLBACK, backend \d+: none, 0 tables .*another connection, backend \d+: none, 0 tables/, 'check 7 says what it did and saw');
	like($said{8}, qr/agent \d+, system \d+, user \d+$/, 'check 8 says what it did and saw');
}
is(everything('reconciler'), $before, 'nothing is left but marked events');
is($world->sql("SELECT string_agg(DISTINCT event_type, ' ' ORDER BY event_type) FROM sor.agent_events WHERE event_type LIKE 'drill.%'"),
	'drill.preflight drill.request', 'which are drill.preflight and drill.request');
is($world->sql('SELECT count(*) FROM sor.tenants t, sor.verify_events(t.tenant_id) v WHERE v.first_bad IS NOT NULL'), '0', 'and the history verifies');
is(scalar @{ $world->mails }, $mails, 'no mail was sent');
is(join("\n", grep { !only_sor_calls($_) } map { $_->[1] } @{ $world->statements($log, qr/^operator$/) }), '', 'the driver called sor. functions and nothing else');
is(join(' ', glob '/tmp/sor-preflight.*'), '', 'no file is left');

$before = everything('reconciler'); # with that verification noted

# for people
$r = $world->sor([ @base, '--tenant', 'alice', '--destination', 'mail', '--payload', '{"to": "ops@alice.example", "subject": "Preflight", "text": "test"}',
	'--table', 'expenses', '--record', '{"transaction_id": "00000000-0000-4000-8000-000000000001", "trans_date": "2026-01-01", "merchant": "m", "card": "c", "amount": 1, "currency": "GBP", "category": "x"}' ]);
is($r->{rc}, 0, 'through a real destination, with a row of a registered table') or diag($r->{out} . $r->{err});
like($r->{out}, qr/\Atenant "Alice"\n(?:ok    \d  \w.*\n){8}\z/, 'a line for each check');
is(scalar @{ $world->mails }, $mails + 1, 'the mail was sent, once');
is($world->mails->[-1]{subject}, 'Preflight', 'to the server');
is(everything('reconciler'), $before, 'and nothing is left in the database');
is($world->sor([ @base, '--tenant', 'Nobody' ])->{rc}, 77, 'an unknown tenant');
is($world->sor([ @base, '--table', 'expenses' ])->{rc}, 64, '--table without --record');
# An e-mail address neither steers the terminal nor makes a line of its own.
my $steering = $world->sql("SELECT sor.create_user('$alice', E'\\x1b]0;il\\x07\\nok    1  all is well\\u202e\@x', 'x')");
$r = $world->sor([ @base, '--tenant', 'Alice' ]);
is($r->{rc}, 1, 'a user without a role');
like($r->{out}, qr/\Atenant "Alice"\nFAIL  1 .*: ⟨U\+001B⟩\]0;il⟨U\+0007⟩⟨U\+000A⟩ok    1  all is well⟨U\+202E⟩\@x\n(?:ok    \d  \w.*\n){7}\z/, 'whose address is shown and not obeyed');
$world->sql("SELECT sor.assign_role('$alice', '$steering', 'member')");

# A signal leaves no answer that would be read as one about all tenants.
{
	my $open = $world->session($world->superuser);
	$open->query_safe("BEGIN; SELECT sor.assign_role('$alice', '$steering', 'member')");
	my $stopped = $world->start_sor([ @base, '--json' ]);
	poll_until('it waits', sub { $stopped->{h}->pump_nb; $world->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'operator'") });
	kill 'TERM', $world->pid($stopped);
	$open->query_safe('ROLLBACK');
	$open->quit;
	$stopped = $world->finish($stopped);
	is("$stopped->{rc} $stopped->{out}", '75 ', 'a signal between two tenants ends it without an answer');
	like($stopped->{err}, qr/stopped before every tenant was checked/, 'and says so');
}

# through a transaction pooler with one server connection: the next client gets the very connection
my ($host, $port) = $world->start_pgbouncer;
$r = $world->sor([ 'preflight', '--tenant', 'Alice', '--dbname', "host=$host port=$port dbname=reconciler user=operator" ]);
is($r->{rc}, 0, 'through PgBouncer') or diag($r->{out} . $r->{err});
like($r->{out}, qr/the second was not let in before the first was done and inserted 0 rows/, 'and check 4 says that the two did not meet');
my %pids = map { $_ => 1 } $r->{out} =~ /backend (\d+)/g;
is(scalar keys %pids, 1, 'where one connection serves all');

# an auditor has the part of SQL, in its own tenants
my ($rc, $out, $err) = $world->sql_as('reconciler_auditor', "SELECT string_agg(check_no || coalesce(ok::text, '?'), ' ') FROM sor.preflight('$alice')");
is($out, '1true 2true 3true 4? 5? 6true 7? 8true', 'sor.preflight as an auditor') or diag($err);

# each control taken away on a clone: [what, SQL as superuser, the checks that say no, what one says, options]
my $outside = q{host=' || current_setting('unix_socket_directories') || ' port=' || current_setting('port') || ' dbname=' || current_database() || ' options=-csession_replication_role=replica};
my @sabotages = (
	[ 'a user without a role', "DELETE FROM sor.user_roles WHERE tenant_id = '$alice' AND role = 'viewer'", '1', qr/1 of 4 users have no role: viewer\@alice.example/ ],
	[ 'every user is made an admin', "CREATE FUNCTION public.promote() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.role := ''admin''; RETURN NEW; END';
		CREATE TRIGGER promote BEFORE INSERT ON sor.user_roles FOR EACH ROW EXECUTE FUNCTION public.promote()", '2', qr/its role: admin\)/ ],
	[ 'keys live for an hour', "ALTER TABLE sor.idempotency_keys ALTER expires_at SET DEFAULT now() + interval '1 hour'", '3', qr/lives for: 01:00:00/ ],
	[ 'the table is emptied by a crash', 'ALTER TABLE sor.idempotency_keys SET UNLOGGED', '3', qr/CRASH FORGETS ALL/ ],
	[ 'a tool that it calls is paused', "SELECT sor.pause('tool', 'queue', 'not now')", '3', qr/the first refused \(SR016: tool "queue" is paused\)/ ],
	[ 'the outbox is paused', "SELECT sor.pause('queue', 'outbox', 'not now')", '5', qr/was not handed out; \d+ others were; queue outbox is paused by \S+: not now/ ],
	[ 'the index is gone', 'DROP INDEX sor.idempotency_keys_expiry', '3', qr/index on expires_at: MISSING/ ],
	[ 'responses are not stored', "CREATE FUNCTION public.forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM sor.idempotency_keys WHERE key = NEW.key; RETURN NULL; END';
		CREATE TRIGGER forget AFTER UPDATE ON sor.idempotency_keys FOR EACH ROW WHEN (NEW.operation = 'queue') EXECUTE FUNCTION public.forget();
		ALTER FUNCTION public.forget() SECURITY DEFINER", '3', qr/RUN AGAIN|42|23/ ],
	# the one key serves a repetition and a race
	[ 'the unique key is gone', 'ALTER TABLE sor.idempotency_keys DROP CONSTRAINT idempotency_keys_pkey', '3 4', qr/42P10/ ],
	[ 'sessions are serializable', 'ALTER DATABASE %s SET default_transaction_isolation = serializable', '4', qr/second waited and failed with 40001/ ],
	[ 'messages do not become due', "CREATE FUNCTION public.hide() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER hide BEFORE INSERT ON sor.ready FOR EACH ROW WHEN (NEW.queue = 'outbox') EXECUTE FUNCTION public.hide()", '5', qr/was not handed out/ ],
	[ 'the destination is not there', 'SELECT 1', '5', qr/no destination "nowhere"/, '--destination', 'nowhere' ],
	[ 'the destination is down', 'SELECT 1', '5', qr/did not take it/, '--destination', 'mail', '--payload', '{"to": "a@b.example", "subject": "x", "text": "y"}' ],
	[ 'messages are written past the transaction', "CREATE EXTENSION dblink; CREATE FUNCTION public.past() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS \$f\$ BEGIN
			PERFORM dblink_exec('$outside', format('INSERT INTO sor.outbox SELECT (jsonb_populate_record(null::sor.outbox, %L)).*', to_jsonb(NEW))); RETURN NULL; END \$f\$;
		CREATE TRIGGER past BEFORE INSERT ON sor.outbox FOR EACH ROW WHEN (NEW.event_type = 'preflight.rollback') EXECUTE FUNCTION public.past()", '6', qr/after the rollback: 0 and 1/ ],
	[ 'a policy is off', 'ALTER TABLE sor.users DISABLE ROW LEVEL SECURITY', '7', qr/COMMIT, backend \d+: none, 1 tables with visible rows/ ],
	[ 'a policy is off of what else is told apart by tenant', "SELECT count(*) FROM sor.metrics(); ALTER TABLE sor.event_count_progress DISABLE ROW LEVEL SECURITY", '7', qr/COMMIT, backend \d+: none, 1 tables with visible rows/ ],
	[ 'an event of the system that no mechanism wrote', "INSERT INTO sor.agent_events SELECT tenant_id, sor.uuid_v7(), 1, sor.uuid_v7(), null, null, null, null, 'tool_call.succeeded', 'system', 'x', null, '{}', now(), prev_hash, hash
		FROM sor.agent_events WHERE tenant_id = '$alice' LIMIT 1", '8', qr/system \d+ \(1 that neither relay nor maintenance wrote, such as tool_call.succeeded/ ],
);
$world->stop_sink;
$world->{pgbouncer}->signal('TERM'); # a clone is made of a database that nobody uses
$world->{pgbouncer}->finish;
delete $world->{pgbouncer};
my $n = 0;
for my $sabotage (@sabotages)
{
	my ($what, $sql, $failing, $says, @options) = @$sabotage;
	my $clone = 'clone' . ++$n;
	$world->node->safe_psql('postgres', "CREATE DATABASE $clone TEMPLATE reconciler");
	$world->node->safe_psql($clone, 'SET sor.drop_guard = off; ' . $sql =~ s/ALTER DATABASE \K%s/$clone/r);
	my $no = $world->sor([ 'preflight', '--settings', 'settings.toml', '--tenant', 'Alice', '--json', '--dbname', "service=operator dbname=$clone", @options ]);
	is($no->{rc}, 1, "$what: exit 1") or diag($no->{out} . $no->{err});
	my $checks = $no->{out} ? decode_json($no->{out})->{tenants}[0]{checks} : [];
	is(join(' ', map { $_->{check_no} } grep { !$_->{ok} } @$checks), $failing, "$what: check $failing says no")
		or diag(map { "$_->{check_no} $_->{evidence}\n" } @$checks);
	like(join("\n", map { $_->{evidence} } grep { !$_->{ok} } @$checks), $says, "$what: and why");
	$world->node->safe_psql('postgres', "DROP DATABASE $clone");
}
done_testing;
