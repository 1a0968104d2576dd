# sor verify: silent while history is sound; after a change it names the tenant and the event, and every other tenant is verified too.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json);
use Test::More;

my $world = SorTest->new(tenants => [ 'Alice', 'Bob', 'Carol' ]);
my ($alice, $bob) = map { $world->tenant_id($_) } qw(Alice Bob);
$world->load_ok($world->statement(12, qw(Alice Bob Carol)), '--tenant-from', 'directorate', '--set', 'statement=1');
$world->work_ok;
my @verify = ('verify', '--dbname', 'service=reconciler_auditor');
my $r = $world->ok_sor(\@verify, 'sound history');
is("$r->{out}$r->{err}", '', 'is verified silently');
is($world->sql('SELECT count(*) FROM sor.verifications WHERE whole'), 3, 'of every tenant, and noted');
my $events = $world->sql("SELECT count(*) FROM sor.agent_events WHERE tenant_id = '$alice'");
like($world->ok_sor([ @verify, '--verbose', '--tenant', 'ALICE ' ], 'of one tenant')->{out}, qr/\Aok    tenant "Alice": $events events in \d+ streams?\n\z/, 'says what was read');

# nor is anything found while it grows: a verification sees one state
$world->load_ok($world->statement(200, qw(Alice Bob Carol)), '--tenant-from', 'directorate', '--set', 'statement=2');
my $relay = $world->start_sor($world->relay_args('--follow', '--interval', '1s'));
my $work = $world->start_sor($world->work_args('--batch', 1));
my $found = '';
do
{
	$r = $world->sor(\@verify);
	$found .= "$r->{rc}/$r->{signal} $r->{out}$r->{err}" if $r->{rc} || $r->{signal};
	$work->{h}->pump_nb;
} while ($work->{h}->pumpable);
is($world->finish($work)->{rc}, 0, 'history grows');
kill TERM => $world->pid($relay);
is($world->finish($relay)->{rc}, 0, 'and is relayed');
is($found, '', 'with nothing found meanwhile');

# Bob's history is changed by somebody whom nothing in the database stops
my ($id, $stream, $seq) = split /\|/, $world->sql("SELECT id, stream_id, seq FROM sor.agent_events WHERE tenant_id = '$bob' AND event_type = 'turn.finished' ORDER BY id LIMIT 1");
$world->sql("SET sor.drop_guard = off; ALTER TABLE sor.agent_events DISABLE TRIGGER ALL; UPDATE sor.agent_events SET actor = 'somebody else' WHERE id = '$id'");
$r = $world->sor(\@verify);
is($r->{rc}, 1, 'changed history');
like($r->{out}, qr/\AFAIL  tenant "Bob": .+\n      stream "$stream", seq $seq, event "$id"\n\z/, 'is named, with the event, and nothing else is');
is($world->sql("SELECT string_agg(name || ' ' || whole, ', ' ORDER BY name) FROM sor.verifications JOIN sor.tenants USING (tenant_id)"), 'Alice true, Bob false, Carol true', 'each as it is');
like($world->sor([ 'status', '--dbname', 'service=operator' ])->{out}, qr/history_unsound of tenant "Bob".*sor verify --tenant 'Bob'/s, 'sor status repeats it');
my $rows = decode_json($world->sor([ @verify, '--json' ])->{out});
is(join(' ', map { $_->{tenant} . (defined $_->{first_bad} ? " $_->{first_bad}{id}" : '') } @$rows), "Alice Bob $id Carol", 'for programs');

# a tenant that cannot be read is said to be, and the others are verified
$world->sql("SET sor.drop_guard = off; CREATE FUNCTION public.unreadable(t uuid) RETURNS boolean LANGUAGE sql AS \$\$ SELECT 1 / (t <> '$alice')::int = 1 \$\$;
	CREATE POLICY unreadable ON sor.turns AS RESTRICTIVE USING (public.unreadable(tenant_id)); GRANT USAGE ON SCHEMA public TO sor_engine");
$r = $world->sor(\@verify);
like($r->{err}, qr/tenant "Alice" was not verified: division by zero/, 'an error is named with its tenant');
like($r->{out}, qr/\AFAIL  tenant "Bob".*/, 'the next tenants are verified');
isnt($r->{rc}, $_, "the exit code is not $_") for 0, 1;
$world->sql('SET sor.drop_guard = off; DROP POLICY unreadable ON sor.turns; DROP FUNCTION public.unreadable');

# a row that its events tell otherwise; a row that is gone
my ($message, $of_run) = split /\|/, $world->sql("SELECT id, run_id FROM sor.outbox WHERE tenant_id = '$alice' ORDER BY id LIMIT 1");
$world->sql("UPDATE sor.outbox SET payload = payload || '{\"to\": \"thief\@example.com\"}' WHERE id = '$message'");
is($world->sor([ @verify, '--tenant', 'Alice' ])->{out}, qq{FAIL  tenant "Alice": its row of outbox is not what its events tell: payload\n      stream "$of_run", row "$message"\n}, 'an edited message');
my $gone = $world->sql("SELECT id FROM sor.runs WHERE tenant_id = '$alice' ORDER BY id LIMIT 1");
$world->sql("SET session_replication_role = replica; DELETE FROM sor.runs WHERE id = '$gone'");
is($world->sor([ @verify, '--tenant', 'Alice' ])->{out}, qq{FAIL  tenant "Alice": the run is gone, and its events say that it is succeeded\n      stream "$gone"\n}, 'a run without its row');

# who may
is($world->sor([ @verify, '--tenant', 'nobody' ])->{rc}, 77, 'an unknown tenant');
is($world->sor([ 'verify', '--dbname', 'service=reconciler_worker' ])->{rc}, 77, 'a worker may not');
$world->sql("SELECT sor.revoke_tenant('reconciler_auditor', tenant_id) FROM sor.tenants");
$r = $world->sor(\@verify);
is($r->{rc}, 77, 'without a grant there is nothing to be sure of');
like($r->{err}, qr/no tenant is granted to the login/, 'which it says');
done_testing;
