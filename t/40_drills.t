# sor drill: nine of nine pass on the demo and one is seen to fail; the bundle's shape; every figure recomputed from what was
# kept, and each verdict turns with the rows; live rows untouched; each discipline taken away is missed by exactly the drill
# that is for it; nothing is left of a drill that was killed. What docs/drills.md has for commands is what is run.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json poll_until slurp spew top);
use IPC::Run ();
use Test::More;
use Time::HiRes qw(time);

my @keys = qw(migration_review run_journal_resume_drill idempotency_retry_test concurrency_claim_test outbox_relay_retry_test
	append_only_event_test rls_identity_flip_test mcp_boundary_test forensics_drill);
my $world = SorTest->new(tenants => [ 'Alice', 'Bob' ]);
my $node = $world->node;
$world->load_ok($world->statement(40, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
$world->work_ok;
$world->relay_ok;
$world->sql("SELECT sor.pause('queue', 'pending_transactions', 'an operator looks into it')");
$world->load_ok($world->statement(15, qw(Bob Alice)), '--tenant-from', 'directorate', '--set', 'statement=2'); # waits
my $out = $world->dir . '/evidence';
my @base = ('drill', '--dbname', 'host=' . $node->host . ' port=' . $node->port . ' dbname=reconciler user=' . $world->superuser,
	'--server-log', $node->logfile, '--handler', $world->handler, '--mail-server', top . '/scripts/smtp-sink');

# Everybody but the superuser with a password.
spew($node->data_dir . '/pg_hba.conf', 'local all ' . $world->superuser . " trust\nlocal all all scram-sha-256\n");
$node->reload;

# The commands of the docs as they stand, but for /tmp, on a demo that is this test's own.
my $docs = slurp(top . '/docs/drills.md');
my ($plain, $no, $each) = my @commands = $docs =~ /^    (make -s demo-drill .*)$/mg;
is(scalar @commands, 3, 'the docs have three commands for the demo');
my $demo = PostgreSQL::Test::Utils::tempdir_short();
mkdir "$demo/$_" or die $! for qw(state pg pg/run);
spew("$demo/state/base", "$demo\n");
symlink $_->[0], "$demo/$_->[1]" or die $! for [ $node->host . '/.s.PGSQL.' . $node->port, 'pg/run/.s.PGSQL.5432' ], [ $node->logfile, 'pg/log' ],
	[ $world->home, 'home' ];
$world->sql('CREATE ROLE postgres SUPERUSER LOGIN') unless $world->superuser eq 'postgres';

sub run_command
{
	my ($command, %env) = @_;
	my ($stdout, $stderr) = ('', '');
	local %ENV = (%ENV, $world->environment(%env));
	my $h = IPC::Run::start([ 'sh', '-c', $command ], '<', \undef, '>', \$stdout, '2>', \$stderr, init => sub { chdir top or die $! });
	$h->finish;
	return { rc => $h->result(0), out => $stdout, err => $stderr };
}
sub demo { my ($command) = @_; return run_command($command =~ s{/tmp/}{$world->dir . '/'}er, SOR_DEMO => "$demo/state") }

# every row of every table, but for the decision, and for what this test verifies itself
sub everything
{
	my @tables = split /\n/, $world->sql("SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname IN ('sor', 'reconciler', 'public', 'drill') AND c.relname <> 'verifications' ORDER BY 1");
	return join "\n", map { "$_ " . $world->sql("SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM $_ t"
		. ($_ eq 'sor.agent_events' ? " WHERE event_type <> 'drill.decided'" : '')) } @tables;
}

# What is left on the server of a drill that has ended.
sub leftovers
{
	return $node->safe_psql('postgres', "SELECT coalesce(string_agg(n, ' '), '') FROM (SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles) x(n)
		WHERE n ~ '^sor_(drill|rehearsal)_'");
}

# Nine of nine --------------------------------------------------------------------------------------------------------
my ($before, $mails, $since) = (everything(), scalar @{ $world->mails }, time);
my $r = demo($plain);
note(sprintf '%.1f s', time - $since);
is($r->{rc}, 0, 'the release is permitted') or diag($r->{out} . $r->{err});
my $text = slurp("$out/evidence.json");
my $bundle = decode_json($text);
is(join(' ', $text =~ /^  "(\w+)":/mg), join(' ', @keys, 'release_decision'), 'the bundle has these keys in this order');
is(join(' ', map { $bundle->{$_} } @keys), join(' ', ('pass') x 9), 'nine of nine pass') or diag($r->{err});
like($bundle->{release_decision}, qr/^PERMITTED\. .*idempotency_retry_test failed: the retry was executed again.*habit that was missing: idempotency keys.*smallest change/,
	'one was repeated without its discipline, and failed');
like($bundle->{release_decision}, qr/\b$_ \(\w/, "the decision names what is $_") for qw(durable addressable governed replayable inspectable policy-bound);
unlike($bundle->{release_decision}, qr/\n/, 'in one paragraph');
my $page = slurp("$out/evidence.md");
is(index($page, "```json\n$text```\n\n$bundle->{release_decision}\n"), 0, 'the page begins with the bundle, and the decision stands immediately below');
my %said = $page =~ /^\d\. `(\w+)` pass: (.*)$/mg;
is(join(' ', sort keys %said), join(' ', sort @keys), 'each drill has a line of evidence');
like($said{migration_review}, qr/^Migration 0001 adds column reconciler.expenses.notes, downgrade drops it cleanly, applied and rolled back on branch sor_rehearsal_0001_\w+\. Approved by another login than its author's.*No scope creep/, 'of the migration');
like($said{run_journal_resume_drill}, qr/resumed from turn 3 of [5-9] after its worker was killed by signal 9\. Turns 1 to 2 were not re-executed\..*one gap closed\. 10 items, 10 expenses/, 'of the resumption');
like($said{idempotency_retry_test}, qr/produced one expenses row\. The second was a no-op.*Row count delta: \+1\./, 'of the retry');
like($said{concurrency_claim_test}, qr/^Worker A claimed pending transaction (\S+)\. Worker B skipped it and claimed (?!\1)\S+\..*refused with SR007\. No lock errors/, 'of the race');
like($said{outbox_relay_retry_test}, qr/^Relay failed once, retried once, dispatched once\..*ended in dispatched\..*exactly 1 delivery.*none more/, 'of the relay');
like($said{append_only_event_test}, qr/raised 42501 for the worker and SR004 for a superuser\. Replayed run \S+ from \d+ event rows, ordered by id/, 'of the history');
like($said{rls_identity_flip_test}, qr/^Alice's context returned \d+ rows \(all Alice's\)\. Bob's context returned \d+ rows \(all Bob's\)\. Unset context returned 0 rows \(to the owner of the table: 0\)\. /, 'of row security');
like($said{mcp_boundary_test}, qr/no DATABASE_URL\. Tool surface lists four allowed operations: claim, queue, read, write\..*shows no statement for it/, 'of the boundary');
like($said{forensics_drill}, qr/Six lines populated\. Root cause and next action: ./, 'of the report');

# Live rows -----------------------------------------------------------------------------------------------------------
is(everything(), $before, 'no row of the live database has changed');
is(scalar @{ $world->mails }, $mails, 'no mail went to the live destination');
is(leftovers(), '', 'neither scratch database nor login is left');
is($world->sql("SELECT count(*), min(payload #>> '{bundle,release_decision}') FROM sor.agent_events WHERE event_type = 'drill.decided'"),
	"1|$bundle->{release_decision}", 'the decision is an event');
is($world->sql("SELECT first_bad IS NULL FROM sor.verify_events('00000000-0000-0000-0000-000000000000')"), 't', 'of the chained history');

# Recomputed, by the docs' command ----------------------------------------------------------------------------------------
my ($recompute) = $docs =~ /`(createdb d .*?)`/;
for my $kept ($out, "$out/broken")
{
	local %ENV = $node->_get_env;
	my %where = map { $_ => $ENV{$_} } qw(PGHOST PGPORT);
	my $r = run_command("cd $kept && $recompute", %where);
	is("$r->{rc} $r->{err}", '0 ', "$recompute") or next;
	my $answers = sub { return [ map { [ split /\t/, $_, 3 ] } split /\n/, `psql -X -q -At -F '\t' -d d -f $out/queries.sql 2>&1` ] };
	my $found = $answers->();
	if ($kept eq $out)
	{
		is(join("\n", map { "$_->[0] $_->[1]" } @$found), join("\n", map { "t $said{$_}" } @keys), 'and the printed queries give the same figures');
		# other rows, another verdict: where nothing of what was seen is touched
		my $of = sub { my ($drill, $name, $path) = @_; return "(SELECT (drill.seen('$keys[$drill - 1]', '$name') #>> '{$path}'))" };
		my @edits = (
			[ 1, 'UPDATE sor.migrations SET approved_by = proposed_by', qr/nobody but its author/ ],
			[ 1, q{UPDATE sor.rehearsals SET report = jsonb_set(report, '{data_reversible,answer}', '"no"')}, qr/the rehearsal on branch \S+ failed/ ],
			[ 2, 'UPDATE sor.turns SET started_at = now() WHERE turn_no = 2', qr/1 finished turns changed/ ],
			[ 3, 'DELETE FROM reconciler.expenses WHERE transaction_id::text = ' . $of->(3, 'input', 'transaction_id'), qr/0 rows for one purchase/ ],
			[ 3, 'DELETE FROM sor.idempotency_keys', qr/no response is stored/ ],
			[ 4, "DELETE FROM sor.agent_events WHERE event_type = 'item.completed'", qr/0 completions/ ],
			[ 5, q{UPDATE drill.logs SET line = replace(line, 'drill 5', 'lost') WHERE name = 'mails'}, qr/0 deliveries instead of 1/ ],
			[ 5, "UPDATE sor.outbox SET status = 'pending'", qr/ended as pending/ ],
			[ 6, "UPDATE sor.tool_calls SET status = 'refused'", qr/what events say/ ],
			[ 7, 'DELETE FROM reconciler.expenses WHERE tenant_id::text = ' . $of->(7, 'input', 'b,tenant_id') . ' AND transaction_id = (SELECT min(transaction_id::text)::uuid FROM reconciler.expenses WHERE tenant_id::text = '
				. $of->(7, 'input', 'b,tenant_id') . ')', qr/rows were seen of/ ],
			[ 8, q{UPDATE drill.logs SET line = line || ' drop_table' WHERE name = 'server' AND line_no = 1}, qr/1 lines for drop_table/ ],
			[ 8, q{INSERT INTO drill.logs SELECT drill, name, 99, 'PGPASSFILE=/root/x' FROM drill.logs WHERE name = 'environment' LIMIT 1}, qr/holds PGPASSFILE/ ],
			[ 9, "UPDATE sor.tool_calls SET status = 'succeeded'", qr/rows in the journal/ ]);
		for my $edit (@edits)
		{
			my ($drill, $sql, $reason) = @$edit;
			my $turned = $node->safe_psql('d', "SET sor.drop_guard = off; SET session_replication_role = replica;
				ALTER TABLE sor.agent_events DISABLE TRIGGER ALL; BEGIN; $sql;\n"
				. (split /^-- \d\. \w+$/m, slurp("$out/queries.sql"))[$drill] . '; ROLLBACK');
			like($turned, qr/^f\|.*\|.*$reason/, "drill $drill turns with its rows: " . substr $sql, 0, 60);
		}
		# no drill passes without rows: neither without those of the journal, nor without what was seen
		$node->safe_psql('d', 'SET sor.drop_guard = off; TRUNCATE drill.observations, drill.logs');
		is(join(' ', map { $_->[0] } @{ $answers->() }), join(' ', ('f') x 9), 'without what was seen no drill passes');
	}
	else
	{
		is($found->[2][0], 'f', 'the drill that was broken fails when recomputed');
		like($found->[2][2], qr/^the retry was executed again: 3 calls/, 'for the reason that was given');
	}
	$node->safe_psql('postgres', 'DROP DATABASE d');
}

# Each discipline taken away, where the change of drill 1 is there already, as it is after the demo ------------------------
$world->sql("SET sor.drop_guard = off; SELECT sor.propose_migration('0001', 'notes', 'ALTER TABLE reconciler.expenses ADD COLUMN notes text',
	'ALTER TABLE reconciler.expenses DROP COLUMN notes'); SELECT sor.apply_migration('0001')");
$before = everything();
$since = time;
my $all = demo($each);
my $each_out = $world->dir . '/each';
note(sprintf '%.1f s', time - $since);
is($all->{rc}, 0, 'each is missed by exactly the drill that is for it') or diag($all->{out} . $all->{err});
my %drill_of = ('drop-guard' => 0, downgrade => 0, 'forced-policy' => 6, credentials => 7, 'journal-write' => 1, 'unique-key' => 2, 'idempotency-key' => 2, 'fencing-check' => 3, 'skip-locked' => 3,
	'outbox-transaction' => 4, 'dedup-key' => 4, 'guard-trigger' => 5, policy => 6, 'allow-list' => 7, 'failure-record' => 8);
is(join(' ', sort map { (split)[1] } grep { /^ok/ } split /\n/, $all->{out}), join(' ', sort keys %drill_of), 'these');
my %reasons = ('drop-guard' => qr/let DROP TABLE pass/, 'forced-policy' => qr/owner of the table sees \d+ rows/, credentials => qr/holds STORE/, downgrade => qr/no downgrade/, 'journal-write' => qr/nothing to resume from/, 'unique-key' => qr/^2 rows for one purchase/,
	'idempotency-key' => qr/executed again/, 'fencing-check' => qr/could still complete/, 'skip-locked' => qr/SQLSTATE 55P03/,
	'outbox-transaction' => qr/domain row was rolled back/, 'dedup-key' => qr/2 messages, 2 deliveries/, 'guard-trigger' => qr/passed for a superuser/,
	policy => qr/somebody else's/, 'allow-list' => qr/drop_table/, 'failure-record' => qr/rows in the journal/);
for my $name (sort keys %drill_of)
{
	my $no = decode_json(-e "$each_out/$name/evidence.json" ? slurp("$each_out/$name/evidence.json") : '{}');
	is(join(' ', grep { ($no->{$_} // '') ne 'pass' } @keys), $keys[ $drill_of{$name} ], "$name: one drill says no");
	like($no->{ $keys[ $drill_of{$name} ] }, $reasons{$name}, "$name: and why");
	like($no->{release_decision}, qr/^BLOCKED\. $keys[ $drill_of{$name} ] failed: .*habit that was missing: .*smallest change that unblocks: /, "$name: blocks the release");
}
is($world->sql("SELECT count(*) FROM sor.agent_events WHERE event_type = 'drill.decided'"), '1', 'a sabotaged copy decides nothing');
is(everything(), $before, 'and changes no live row');
is(leftovers(), '', 'nothing is left of it');

# The folder, and a database that somebody is connected to: it is copied by a dump -----------------------------------------
my $other = $world->session('operator', 'host=' . $node->host . ' port=' . $node->port . ' passfile=' . $world->home . '/.pgpass');
$other->query('SELECT 1');
my $again = demo($no =~ s{OUT=\S+}{OUT=/tmp/evidence}r);
is($again->{rc}, 2, 'a blocked release fails make') or diag($again->{err});
like($again->{err}, qr/Error 1$/m, 'with exit code 1 of the command');
is(join(' ', grep { decode_json(slurp("$out/evidence.json"))->{$_} ne 'pass' } @keys), 'idempotency_retry_test', 'nothing of the evidence that was there counts again');
$other->quit;
my $theirs = $world->sor([ @base, '--out', $world->home ]);
is($theirs->{rc}, 64, 'a folder that holds something else is refused') or diag($theirs->{out});
ok(-e $world->home . '/settings.toml', 'and not touched');

mkdir "$out.closed", 0555 or die $!;
my $closed = $world->sor([ @base, '--out', "$out.closed/evidence" ]);
is($closed->{rc}, 64, 'a folder that cannot be made is a usage error');
like($closed->{err}, qr/could not make the folder .*\nDETAIL: Permission denied\nHINT: /, 'and says why');

# What it is not for --------------------------------------------------------------------------------------------------
my $unknown = $world->sor([ @base, '--out', "$out.no", '--sabotage', 'nothing' ]);
is($unknown->{rc}, 64, 'an unknown sabotage is a usage error');
like($unknown->{err}, qr/downgrade.*failure-record/, 'which names those there are');
my $operator = $world->sor([ 'drill', '--dbname', 'service=operator', @base[ 3 .. $#base ], '--out', "$out.no" ]);
is($operator->{rc}, 77, 'a login that is no superuser is refused') or diag($operator->{err});
# Killed; settings of the database are those of its copies --------------------------------------------------------------
$world->sql("ALTER DATABASE reconciler SET work_mem = '5MB'");
for my $signal (qw(KILL TERM))
{
	my $folder = "$out of $signal"; # not one word
	my $run = $world->start_sor([ @base, '--out', $folder ]);
	poll_until('drill 2 is in mid-turn', sub { $run->{h}->pump_nb; -e "$folder/logs/drill2.asked" });
	is($world->sql("SELECT rolname FROM pg_authid WHERE rolname ~ '^sor_drill_' AND rolpassword !~ '^SCRAM'"), '', 'each login has a password') if $signal eq 'KILL';
	is($world->sql("SELECT count(*) FROM pg_db_role_setting WHERE 'work_mem=5MB' = ANY (setconfig)"), 3, 'its copies have its settings') if $signal eq 'KILL';
	kill $signal, $world->pid($run);
	my $end = $world->finish($run);
	if ($signal eq 'KILL')
	{
		like(leftovers(), qr/^sor_drill_\w+_base sor_drill_/, 'what is killed leaves databases and logins');
	}
	else
	{
		is($end->{rc}, 75, 'SIGTERM stops it') or diag($end->{err});
		like($end->{err}, qr/warning: dropped what a killed drill had left behind: sor_drill_\w+_1, sor_drill_\w+_base, sor_drill_\w+_approver/, 'the next drill drops and names what was left');
		is(leftovers(), '', 'and leaves nothing');
	}
}

# a pg_dump that is long at the rows to keep
my $dumping = $world->dir . '/dumping';
mkdir "$dumping.bin" or die $!;
spew("$dumping.bin/pg_dump", qq{#!/bin/sh\ncase "\$*" in *rows.dump*) : > '$dumping'; exec sleep 60;; esac\nPATH=\${PATH#*:} exec pg_dump "\$@"\n});
chmod 0755, "$dumping.bin/pg_dump";
for my $when ([ 'a rehearsal', sub { $world->sql(q{SELECT EXISTS (SELECT FROM pg_database WHERE datname ~ '^sor_rehearsal_')}) eq 't' } ],
	[ 'the dump that is kept', sub { -e $dumping } ])
{
	my ($what, $there) = @$when;
	my $run = $world->start_sor([ @base, '--out', "$out stopped" ], env => { PATH => "$dumping.bin:" . { $world->environment }->{PATH} });
	poll_until($what, sub { $run->{h}->pump_nb; $there->() });
	kill 'TERM', $world->pid($run);
	my $end = $world->finish($run);
	is($end->{rc}, 75, "SIGTERM in $what") or diag($end->{err});
	is(leftovers(), '', "SIGTERM in $what leaves nothing");
}

# Another server: everybody has a password, the log shows each statement, names are not plain -----------------------------------
my $log_size = -s $node->logfile;
my $database = q{the re'con"ciler};
$world->sql(q{ALTER ROLE reconciler RENAME TO "own'er ""of"" it"});
$world->sql(q{UPDATE sor.tenants SET name = E'--O''Brien "100 %"\n$(id)' WHERE name = 'Alice'; UPDATE sor.users SET email = '-' || email WHERE email ~ '^bookkeeper'});
$world->sql(q{CREATE ROLE master SUPERUSER LOGIN PASSWORD 'known to the file alone'});
$node->safe_psql('postgres', qq{ALTER DATABASE reconciler RENAME TO "the re'con""ciler"; ALTER SYSTEM SET log_statement = 'all'});
$node->reload;
my $passwords = spew($world->dir . '/passwords', '*:' . $node->port . ":$database:master:known to the file alone\n");
chmod 0600, $passwords;
my ($elsewhere) = $docs =~ /^    (sor drill .*)$/m;
$elsewhere =~ s{'dbname=reconciler user=postgres'}{"\$CONNINFO"} or die;
$elsewhere =~ s{/var/log/\S+}{"\$LOG"} or die;
$elsewhere =~ s{--out evidence}{--out "evidence elsewhere"} or die;
$elsewhere =~ s{HANDLER}{"\$HANDLER"} or die;
$elsewhere =~ s{SMTP_SERVER}{"\$SMTP_SERVER"} or die;
my $there = run_command('cd "$HOME" && ' . $elsewhere, PGHOST => $node->host, PGPORT => $node->port, PGPASSFILE => $passwords, LOG => $node->logfile,
	CONNINFO => q{dbname='the re\'con"ciler' user=master}, HANDLER => $world->handler, SMTP_SERVER => top . '/scripts/smtp-sink');
is($there->{rc}, 0, 'nine of nine on another server, with a password that the file has for the live database alone') or diag($there->{out} . $there->{err});
my $logged = substr slurp($node->logfile), $log_size;
like($logged, qr/create role sor_drill_\w+_worker login password 'SCRAM-SHA-256\$/, 'the log shows the logins being made');
unlike($logged, qr/password '(?!SCRAM-SHA-256\$|known to)/i, 'and none of their passwords');
is(leftovers(), '', 'nothing is left');

done_testing;
