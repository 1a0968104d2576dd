# sor migrate from files to an applied schema and back: the seed's example on loaded rows, every naming scheme, bad input,
# rehearsals that tell the truth, statements that no transaction can hold, kills, two runners, verify.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json poll_until slurp spew);
use Test::More;

my $world = SorTest->new(tenants => ['Alice']);
my $n = 12;
$world->load_ok($world->statement($n), '--tenant', 'Alice', '--set', 'statement=1');
$world->work_ok;
my $home = $world->home;
my $superuser = $world->superuser;
$world->sql('CREATE ROLE approver LOGIN IN ROLE sor_operator, reconciler');
spew("$home/migrate.toml", qq{[migrate.rehearsal]\ndbname = "service=operator user=$superuser"\n});
my $dir = "$home/migrations";

# migrate(login or undef, arguments…): as the operator, or another login
sub migrate_arguments
{
	my ($login, $command, @arguments) = @_;
	return [ 'migrate', $command, '--dbname', 'service=operator' . ($login ? " user=$login" : ''),
		(grep({ $_ eq '--settings' } @arguments) ? () : ('--settings', 'migrate.toml')), (grep({ $_ eq '--dir' } @arguments) ? () : ('--dir', $dir)), @arguments ];
}
sub migrate { my ($login, @arguments) = @_; return $world->sor(migrate_arguments($login, @arguments)) }
sub ends
{
	my ($r, $rc, $name, %matches) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$r->{rc}/$r->{signal}", "$rc/0", $name) or diag("$r->{command}\n$r->{out}$r->{err}");
	for my $stream (sort keys %matches)
	{
		like($r->{$stream}, $_, "$name: $stream") for ref $matches{$stream} eq 'ARRAY' ? @{ $matches{$stream} } : $matches{$stream};
	}
	return $r;
}
sub quiet { my ($r, $name) = @_; ends($r, 0, $name); is($r->{out} . $r->{err}, '', "$name: quiet"); return }
# Writes files: name => text.
sub files
{
	my ($where, %files) = @_;
	mkdir $where;
	spew("$where/$_", $files{$_}) for keys %files;
	return $where;
}
# An up and a down, proposed by the operator and approved by the other login.
my @override = ('--branch', 'b', '--backup', 'base', '--reason', 'a test');
sub approved
{
	my ($where, $version, %files) = @_;
	files($where, %files);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $r = migrate(undef, 'review', '--dir', $where, '--json', '--propose', $version);
	my $hash = decode_json($r->{out})->{migrations}[0]{review};
	ends(migrate('approver', 'approve', '--dir', $where, $version, '--review', $hash, @override), 0, "$version approved");
	return;
}
sub state_of { return $world->sql("SELECT state FROM sor.migration_status() WHERE version = '$_[0]'") }
sub branches { return $world->sql(q{SELECT count(*) FROM pg_database WHERE datname LIKE 'sor_rehearsal%'}) }

# 1. the seed's example ------------------------------------------------------------------------------------------------
my $r = ends(migrate(undef, 'new', 'add notes to-expenses'), 0, 'new');
is($r->{out}, "$dir/0001_add_notes_to_expenses.up.sql\n$dir/0001_add_notes_to_expenses.down.sql\n", 'it names the two files');
spew("$dir/0001_add_notes_to_expenses.up.sql", "-- 0001\n\nALTER TABLE reconciler.expenses ADD COLUMN notes text;\n");
spew("$dir/0001_add_notes_to_expenses.down.sql", "ALTER TABLE reconciler.expenses DROP COLUMN notes;\n");
$r = ends(migrate(undef, 'review', '-v'), 0, 'review', out => [ qr/^0001 add_notes_to_expenses \(not proposed\)$/m,
	qr/^  (safe|locking)  [a-z_-]+  \Q$dir\E\/0001_add_notes_to_expenses\.up\.sql:3  statement 1 of the upgrade$/m ]);
my ($hash) = $r->{out} =~ /^  review ([0-9a-f]{64})$/m or fail('the review ends with its hash');
is(state_of('0001'), '', 'a review proposes nothing');
ends(migrate('approver', 'approve', '1', '--review', $hash), 77, 'approved before it is proposed', err => qr/is not proposed.*HINT/s);
ends(migrate(undef, 'apply'), 77, 'not approved', err => qr/SR0(09|10).*HINT/s);
my $digest = q{SELECT count(*) || md5(string_agg(md5((e.transaction_id, merchant, amount, recorded_at)::text), '' ORDER BY transaction_id)) FROM reconciler.expenses e};
my $rows = $world->sql($digest);
$r = ends(migrate(undef, 'rehearse', '1'), 0, 'rehearse', out => [ qr/^copied: .*reconciler\.expenses \($n rows\)/m,
	qr/^upgrade: succeeded\n.*AccessExclusiveLock on reconciler\.expenses, [\d.]+ (m?s)/ms, qr/^downgrade: succeeded$/m, qr/^upgrade again: succeeded$/m,
	qr/^schema reversible: yes$/m, qr/^data reversible: yes\n  rows of reconciler\.expenses: $n rows, the same before and after$/m,
	qr/what is written into column reconciler\.expenses\.notes after the upgrade is lost/, qr/^rehearsal: succeeded$/m ]);
is(branches(), 0, 'the branch is dropped');
is($world->sql("SELECT report ->> 'succeeded' FROM sor.rehearsals"), 'true', 'the rehearsal is recorded');
is($world->sql($digest), $rows, 'the live rows are as they were');
ends(migrate(undef, 'approve', '1', '--review', $hash), 77, 'approved by who proposed it');
ends(migrate('approver', 'approve', '1', '--review', '0' x 64), 77, 'approved by another hash', err => qr/SR011/);
ends(migrate('approver', 'approve', '1', '--review', $hash, '--branch', 'b'), 64, 'half an override', err => qr/go together/);
$r = migrate('approver', 'approve', '1', '--review', $hash);
# a downgrade that drops what its upgrade made may need the override
$r = migrate('approver', 'approve', '1', '--review', $hash, @override) if $r->{rc} == 77;
quiet($r, 'approve');
quiet(migrate(undef, 'apply'), 'apply');
quiet(migrate(undef, 'apply'), 'apply again: nothing to do');
is($world->sql('SELECT count(*), count(notes) FROM reconciler.expenses'), "$n|0", 'the column is there, the rows too');
is($world->sql($digest), $rows, 'intact');
quiet(migrate(undef, 'verify'), 'verify');
quiet(migrate(undef, 'rollback', '1'), 'rollback');
is($world->sql("SELECT count(*) FROM information_schema.columns WHERE column_name = 'notes'"), '0', 'the column is gone');
is($world->sql($digest), $rows, 'the rows are intact');
quiet(migrate(undef, 'verify'), 'verify after a rollback');
quiet(migrate(undef, 'apply'), 'apply leaves what was rolled back');
is(state_of('0001'), 'rolled_back', 'rolled back');
$r = migrate(undef, 'apply', '1', '-v');
if ($r->{rc} == 77)
{
	# the override is spent by one apply and one rollback
	quiet(migrate('approver', 'approve', '1', '--review', $hash, @override), 'approved again');
	$r = migrate(undef, 'apply', '1', '-v');
}
ends($r, 0, 'apply again', err => qr/migration 0001 add_notes_to_expenses is applied: 1 statement, .*AccessExclusiveLock/s);
is($world->sql($digest), $rows, 'and still intact');
ends(migrate(undef, 'status'), 0, 'status', out => qr/^0001 +add_notes_to_expenses +applied +operator +approver +yes /m);
my $status = decode_json(ends(migrate(undef, 'status', '--json'), 0, 'status --json')->{out});
is("$status->{migrations}[0]{state} $status->{migrations}[0]{approved_by}", 'applied approver', 'as JSON');
is($world->sql(q{SELECT string_agg(DISTINCT event_type, ' ' ORDER BY event_type) FROM sor.agent_events WHERE event_type LIKE 'migration.%' AND event_type NOT LIKE '%guard%'}),
	'migration.applied migration.approved migration.proposed migration.rehearsed migration.rolled_back', 'each has its event');

# 2. verify ------------------------------------------------------------------------------------------------------------
my $up = slurp("$dir/0001_add_notes_to_expenses.up.sql");
spew("$dir/0001_add_notes_to_expenses.up.sql", "$up-- edited\n");
ends(migrate(undef, 'verify'), 1, 'verify finds an edited file', out => qr/^edited file: .*0001_add_notes/m);
ends(migrate(undef, 'apply'), 77, 'nothing is applied beside an edited file', err => qr/0001_add_notes_to_expenses\.up\.sql: .*SR011/);
spew("$dir/0001_add_notes_to_expenses.up.sql", $up =~ s/\n/\r\n/gr);
quiet(migrate(undef, 'verify'), 'another system\'s line ends are no change');
rename $dir, "$dir.away";
files($dir);
ends(migrate(undef, 'verify'), 1, 'verify finds a missing file', out => qr/^missing file: migration 0001/m);
rmdir $dir;
rename "$dir.away", $dir;
$world->sql('CREATE TABLE reconciler.strange()');
my $verified = decode_json(ends(migrate(undef, 'verify', '--json'), 1, 'verify finds drift')->{out});
is_deeply([ map { "$_->{finding} $_->{version}" } @{ $verified->{findings} } ], ['schema drift 0001'], 'as JSON');
$world->node->safe_psql('reconciler', 'DROP TABLE reconciler.strange');
quiet(migrate(undef, 'verify'), 'and nothing when it is gone');

# 3. rehearsals that fail ----------------------------------------------------------------------------------------------
sub rehearsed
{
	my ($name, $up_sql, $down_sql, $rc) = @_;
	my $where = files("$home/rehearse_$name", "99990101000000_$name.up.sql" => $up_sql, "99990101000000_$name.down.sql" => $down_sql);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $answer = ends(migrate(undef, 'rehearse', '--dir', $where, '--json', '99990101000000'), $rc, "rehearse $name");
	is(branches(), 0, "$name: the branch is dropped");
	return decode_json($answer->{out});
}
my $report = rehearsed('not_restored', "ALTER TABLE reconciler.expenses ADD COLUMN a int;\nCREATE INDEX notes_of ON reconciler.expenses (notes);\n",
	"ALTER TABLE reconciler.expenses DROP COLUMN a;\n", 1);
is("$report->{schema_reversible}{answer} $report->{data_reversible}{answer}", 'no yes', 'a downgrade that leaves something');
like("@{ $report->{schema_reversible}{why} }", qr/notes_of is left over/, 'it is named');
$report = rehearsed('rows_lost', "SELECT 1;\n", "DELETE FROM reconciler.expenses WHERE amount > 6;\n", 1);
is("$report->{schema_reversible}{answer} $report->{data_reversible}{answer}", 'yes no', 'a downgrade that loses rows');
like("@{ $report->{data_reversible}{why} }", qr/rows of reconciler\.expenses are not what they were: $n rows before, 6 rows after/, 'it says which');
$report = rehearsed('column_lost', "ALTER TABLE reconciler.expenses DROP COLUMN notes;\n", "ALTER TABLE reconciler.expenses ADD COLUMN notes text;\n", 0);
is($report->{schema_reversible}{answer}, 'yes', 'the last column dropped and added again: the schema is the same');
$world->sql("UPDATE reconciler.expenses SET notes = 'n' || amount");
$report = rehearsed('column_lost', "ALTER TABLE reconciler.expenses DROP COLUMN notes;\n", "ALTER TABLE reconciler.expenses ADD COLUMN notes text;\n", 1);
is("$report->{schema_reversible}{answer} $report->{data_reversible}{answer}", 'yes no', 'with values in it, they are lost');
$report = rehearsed('fails', "SELECT 1;\n\nALTER TABLE reconciler.expenses\n  ADD COLUMN notes text;\n", '', 1);
like($report->{upgrade}{error}{message}, qr{/99990101000000_fails\.up\.sql:3: column "notes" .* already exists}, 'an upgrade that fails: file and line');
$report = rehearsed('no_way_back', "CREATE TABLE reconciler.extra ();\n", "\n", 1);
is("@{ $report->{schema_reversible}{why} }", 'there is no downgrade', 'no downgrade');
is($world->sql("SELECT rehearsed FROM sor.migration_status() WHERE version = '99990101000000'"), 'f', 'a failed rehearsal is none');
spew("$home/check.toml", slurp("$home/migrate.toml") . qq{check_command = "psql -Xqc 'SELECT notes FROM reconciler.expenses'"\n});
ends(migrate(undef, 'rehearse', '--dir', "$home/rehearse_column_lost", '99990101000000', '--settings', 'check.toml'), 1, 'the check command of the settings', out => qr/^FAIL  psql .*column "notes" does not exist/m);
# a clone in place of a dump
my ($host, $port) = ($world->node->host, $world->node->port);
spew("$home/clone", <<"END");
set -e
server='-h $host -p $port -U $superuser'
createdb \$server \$SOR_BRANCH
pg_dump \$server reconciler | psql \$server -Xq -v ON_ERROR_STOP=1 -d \$SOR_BRANCH >/dev/null
echo made
echo "host=$host port=$port user=$superuser dbname=\$SOR_BRANCH"
END
spew("$home/clone.toml", qq{[migrate.rehearsal]\nclone_command = "sh ./clone"\n} .
	qq{drop_command = "psql -Xq -h $host -p $port -U $superuser -d postgres -c \\"DROP DATABASE \$SOR_BRANCH\\""\n});
$r = ends(migrate(undef, 'rehearse', '--dir', "$home/rehearse_column_lost", '99990101000000', '--settings', 'clone.toml', '--json'), 1, 'on a clone');
is(decode_json($r->{out})->{data_reversible}{answer}, 'no', 'the answers are the same');
is(branches(), 0, 'the drop command has dropped it');
spew("$home/clone", "echo no room >&2; exit 3\n");
ends(migrate(undef, 'rehearse', '--dir', "$home/rehearse_column_lost", '99990101000000', '--settings', 'clone.toml'), 69, 'a clone command that fails', err => qr/DETAIL: no room/);
# where sessions must not be idle: that of the operator is gone when the dump begins, the others are idle while the check runs
$world->sql(q{ALTER DATABASE reconciler SET idle_session_timeout = '3s'});
spew("$home/check.toml", slurp("$home/migrate.toml") . qq{check_command = "sleep 4"\n});
files("$home/dump.bin", pg_dump => qq{#!/bin/sh\nPATH=\${PATH#*:}\npsql -Xqc "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'operator'" >&2 &&\nexec pg_dump "\$@"\n});
chmod 0755, "$home/dump.bin/pg_dump";
files("$home/idle", '99990103000000_idle.sql' => "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 1;\n");
ends($world->sor(migrate_arguments(undef, 'rehearse', '--dir', "$home/idle", '99990103000000', '--settings', 'check.toml'),
	env => { PATH => "$home/dump.bin:" . { $world->environment }->{PATH} }), 0, 'a rehearsal longer than a session may be idle', err => qr/\A\z/);
is($world->sql(q{SELECT rehearsed FROM sor.migration_status() WHERE version = '99990103000000'}), 't', 'and it is recorded');
$world->sql('ALTER DATABASE reconciler RESET idle_session_timeout');
# not by who may not
$r = $world->sor([ 'migrate', 'rehearse', '--dbname', 'service=operator', '--dir', "$home/rehearse_column_lost", '99990101000000' ]);
ends($r, 77, 'a branch is made by a superuser', err => qr/HINT: .*\[migrate\.rehearsal\]/);

# signals in the midst of one
my $slow = files("$home/slow", '99990102000000_slow.up.sql' => "SELECT pg_sleep(60);\n", '99990102000000_slow.down.sql' => '');
my $run = $world->start_sor(migrate_arguments(undef, 'rehearse', '--dir', $slow, '99990102000000'));
poll_until('the upgrade runs on the branch', sub { $world->sql("SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'sor_rehearsal%' AND query LIKE '%apply_migration%'") });
ends(migrate(undef, 'status', '--dir', $slow), 0, 'a rehearsal in progress is not left behind', err => qr/^$/);
$world->node->safe_psql('postgres', 'CREATE DATABASE sor_rehearsal_0001_elsewhere');
my $elsewhere = $world->node->background_psql('postgres');
$elsewhere->query(q{SELECT pg_advisory_lock(hashtextextended('sor_rehearsal_0001_elsewhere', 0))});
ends(migrate(undef, 'status', '--dir', $slow), 0, 'nor is that of another database', err => qr/^$/);
$elsewhere->quit;
$world->node->safe_psql('postgres', 'DROP DATABASE sor_rehearsal_0001_elsewhere');
$world->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sor migrate rehearse' AND datname = 'reconciler'");
kill 'HUP', $world->pid($run) or die;
ends($world->finish($run), 75, 'SIGHUP ends a rehearsal, whose other connections were lost', err => qr/\Asor migrate rehearse: error: the rehearsal was stopped by a signal/);
is(branches(), 0, 'its branch is dropped');
for my $point ('after-create-branch', 'after-branch', 'after-upgrade')
{
	my $killed = $world->sor(migrate_arguments(undef, 'rehearse', '--dir', "$home/rehearse_column_lost", '99990101000000'), binary => 'sor-faults', env => { SOR_FAULT => $point });
	is($killed->{signal}, 9, "rehearse killed $point");
	my $status_run = poll_until('the lock of its session is gone', sub {
		my $answer = migrate(undef, 'status', '--json');
		return @{ decode_json($answer->{out})->{branches_left_behind} } && $answer;
	});
	my ($left) = @{ decode_json($status_run->{out})->{branches_left_behind} };
	like($status_run->{err}, qr/branch "$left" was left behind.*\nHINT: DROP DATABASE $left;/, "$point: status names the branch");
	ends(migrate(undef, 'rehearse', '--dir', "$home/rehearse_column_lost", '99990101000000'), 1, "$point: the next rehearsal", err => qr/branch "$left" was left behind/);
	$world->node->safe_psql('postgres', "DROP DATABASE $left");
	my $stopped = $world->sor(migrate_arguments(undef, 'rehearse', '--dir', "$home/rehearse_column_lost", '99990101000000'), binary => 'sor-faults', env => { SOR_STOP => $point });
	ends($stopped, 75, "rehearse stopped $point", err => qr/\Asor migrate rehearse: error: the rehearsal was stopped by a signal\nDETAIL: .*\nHINT: .*\n\z/);
	is(branches(), 0, "$point: the branch is dropped");
}

# 4. naming schemes ----------------------------------------------------------------------------------------------------
my $schemes = "$home/schemes";
approved($schemes, '20260101000000', '20260101000000_dbmate.sql' => "-- migrate:up\nCREATE TABLE reconciler.dbmate ();\n\n-- migrate:down\nDROP TABLE reconciler.dbmate;\n");
approved($schemes, '20260102', 'V20260102__flyway.sql' => "CREATE TABLE reconciler.flyway ();\n", 'U20260102__flyway.sql' => "DROP TABLE reconciler.flyway;\n",
	'R__views.sql' => 'SELECT 1;');
approved($schemes, '0201', '0201_golang.up.sql' => "CREATE TABLE reconciler.golang ();\n", '0201_golang.down.sql' => "DROP TABLE reconciler.golang;\n");
$r = ends(migrate(undef, 'apply', '--dir', $schemes, '--to', '20260102', '-v', '--json'), 0, 'apply of three schemes', err => qr/R__views\.sql" is not read/);
is_deeply([ map { $_->{version} } @{ decode_json($r->{out})->{applied} } ], [qw(0201 20260102)], 'in order, to where it was asked');
ends(migrate(undef, 'apply', '--dir', $schemes), 0, 'and the rest');
is($world->sql("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('dbmate', 'flyway', 'golang')"), 'dbmate flyway golang', 'all are there');
ends(migrate(undef, 'rollback', '--dir', $schemes, '201'), 77, 'rolled back out of order', err => qr/SR010/);
quiet(migrate(undef, 'rollback', '--out-of-order', '201', '--dir', "$home/rehearse_fails"), 'rollback needs no file');
ends(migrate(undef, 'rollback', $_, '--dir', $schemes), 0, "rollback $_") for qw(20260101000000 20260102);

# 5. bad input ---------------------------------------------------------------------------------------------------------
my $bad = "$home/bad";
my $before = $world->sql('SELECT sor.schema_fingerprint() || (SELECT count(*) FROM sor.migrations)');
my %refused = (
	'0301_a.up.sql' => [ "\\set x 1\nSELECT 1;\n", 1 ],
	'0302_b.up.sql' => [ "SELECT 1;\nCOPY reconciler.expenses FROM stdin;\n1\n\\.\n", 2 ],
	'0303_c.up.sql' => [ "SELECT 1;\n\nSELECT 'open;\n", 3 ],
	'0304_d.up.sql' => [ "SELECT 1;\nDO \$\$ BEGIN;\n", 2 ],
	'0305_e.up.sql' => [ "SELECT 1;\nSELECT (\n", 3 ],
	'0306_f.up.sql' => [ "CREATE TABLE reconciler.f ();\nCOMMIT;\n", 2 ],
	'0307_g.up.sql' => [ "SELECT 1;\nSELECT " . '(' x 100_000 . '1' . ')' x 100_000 . ";\n", 2 ]);
for my $file (sort keys %refused)
{
	my ($text, $line) = @{ $refused{$file} };
	my ($version) = $file =~ /^(\d+)/;
	files("$bad.$version", $file => $text, $file =~ s/up/down/r => '');
	ends(migrate(undef, 'apply', '--dir', "$bad.$version"), 65, "$file is refused", err => qr{\Q$bad.$version/$file\E:$line: });
}
files("$bad.utf", '0308_h.up.sql' => "SELECT 1;\nSELECT '\xe9';\n", '0308_h.down.sql' => '', '0309_i.sql' => "SELECT 1;\n", '0310_j.up.sql' => 'SELECT 1;');
ends(migrate(undef, 'apply', '--dir', "$bad.utf"), 65, 'faults in files', err => [ qr{/0308_h\.up\.sql:2: is no UTF-8 at byte 0xe9},
	qr{/0309_i\.sql:1: a statement before}, qr{/0310_j\.up\.sql:0: has no \.down\.sql beside it} ]);
ends(migrate(undef, 'review', '--dir', "$bad.none"), 64, 'no such directory', err => qr/HINT/);
ends(migrate(undef, 'apply', '999'), 64, 'no such version');
ends(migrate(undef, 'apply', 'x'), 64, 'no version');
ends(migrate(undef, 'frobnicate'), 64, 'no such command', err => qr/unknown command "frobnicate"/);
is($world->sql('SELECT sor.schema_fingerprint() || (SELECT count(*) FROM sor.migrations)'), $before, 'nothing of that has changed anything');

# a failing statement: file and line, and what came before it is undone
approved("$home/failing", '0311', '0311_failing.sql' => "-- a comment\n-- migrate:up\nCREATE TABLE reconciler.half ();\nSELECT 1\n  / 0;\n-- migrate:down\nDROP TABLE reconciler.half;\n");
$r = ends(migrate(undef, 'apply', '--dir', "$home/failing", '--out-of-order', '--json', '311'), 65, 'a statement that fails',
	err => [ qr{/0311_failing\.sql:4: division by zero \(22012\)}, qr/CONTEXT: .*migration 0311, upgrade, statement 2, line 2/s ]);
is(decode_json($r->{out})->{error}{sqlstate}, '22012', 'as JSON');
is($world->sql("SELECT to_regclass('reconciler.half') IS NULL"), 't', 'nothing is left of it');
is($world->sql(q{SELECT count(*) FROM sor.agent_events WHERE event_type = 'migration.failed' AND payload ->> 'version' = '0311'}), '1', 'and recorded');

# 6. statements that no transaction can hold ---------------------------------------------------------------------------
$world->sql('SET ROLE reconciler; CREATE TABLE reconciler.dup (id int); INSERT INTO reconciler.dup VALUES (1), (1)');
my $steps = "$home/steps";
approved($steps, '0401', '0401_index.up.sql' => "CREATE TABLE reconciler.beside ();\nCREATE UNIQUE INDEX CONCURRENTLY dup_id ON reconciler.dup (id);\nCOMMENT ON TABLE reconciler.beside IS 'after';\n",
	'0401_index.down.sql' => "DROP INDEX CONCURRENTLY reconciler.dup_id;\nDROP TABLE reconciler.beside;\n");
my @apply_index = ('apply', '--dir', $steps, '--out-of-order', '401');
my $invalid = q{SELECT coalesce(bool_or(NOT indisvalid)::text, 'none') FROM pg_index WHERE indexrelid = to_regclass('reconciler.dup_id')};
ends(migrate(undef, @apply_index), 65, 'a unique index over what is not unique', err => [ qr/23505/, qr/is half applied.*sor migrate apply 0401 goes on from there/s ]);
is($world->sql($invalid), 'true', 'it leaves an invalid index');
is(state_of('0401'), 'applying', 'half applied');
ends(migrate(undef, 'verify', '--dir', $steps), 1, 'verify says so', out => qr/^half done: .*0401/m);
ends(migrate(undef, 'status', '--dir', $steps), 0, 'status names the index', out => qr/dup_id/);
$world->sql('DELETE FROM reconciler.dup WHERE ctid = (SELECT min(ctid) FROM reconciler.dup)');
quiet(migrate(undef, @apply_index), 'the next apply goes on');
is($world->sql($invalid) . ' ' . state_of('0401'), 'false applied', 'a valid index, applied');
is($world->sql("SELECT obj_description('reconciler.beside'::regclass)"), 'after', 'and what comes after it');
quiet(migrate(undef, 'rollback', '--dir', $steps, '--out-of-order', '401'), 'rolled back in steps');
is($world->sql("SELECT to_regclass('reconciler.dup_id') IS NULL AND to_regclass('reconciler.beside') IS NULL"), 't', 'all of it');

# killed at each point: the next one goes on, and the end is the same
my $review = decode_json(migrate(undef, 'review', '--dir', $steps, '--json', '401')->{out})->{migrations}[0]{review};
for my $kill ((map { [ 'apply', $_ ] } qw(after-begin-step after-statement after-finish-step after-step after-step:2)),
	(map { [ 'rollback', $_ ] } qw(after-begin-step after-statement after-finish-step)))
{
	my ($command, $point) = @$kill;
	my @arguments = ($command, '--dir', $steps, '--out-of-order', '401');
	my ($from, $to) = $command eq 'apply' ? qw(rolled_back applied) : qw(applied rolled_back);
	ends(migrate('approver', 'approve', '--dir', $steps, '401', '--review', $review, @override), 0, "$command $point: approved");
	ends(migrate(undef, $from eq 'applied' ? 'apply' : 'rollback', @arguments[1 .. 4]), 0, "$command $point: $from first") if state_of('0401') ne $from;
	my $killed = $world->sor(migrate_arguments(undef, @arguments), binary => 'sor-faults', env => { SOR_FAULT => $point });
	is($killed->{signal}, 9, "$command killed $point") or diag($killed->{err});
	ends(migrate(undef, @arguments), 0, "$command goes on where it was killed $point");
	is(state_of('0401'), $to, "$command $point: done");
	is($world->sql($invalid), $to eq 'applied' ? 'false' : 'none', "$command $point: the index is as it should be");
}
# stopped at each point: nothing is begun after it, what had its effect is recorded, and nothing else
sub steps_of
{
	return $world->sql(qq{SELECT string_agg(substr(event_type, 11) || coalesce(' ' || (payload ->> 'step'), ''), ', ' ORDER BY seq) FROM sor.agent_events
		WHERE payload ->> 'version' = '$_[0]' AND event_type ~ 'step|applied|rolled|failed' AND seq > $_[1]});
}
sub newest { return $world->sql(q{SELECT max(seq) FROM sor.agent_events WHERE event_type ~ '^migration'}) }
my %leaves = ('after-begin-step' => 'step_finished 1, step_started 2', 'after-statement' => 'step_finished 1, step_started 2, step_finished 2',
	'after-finish-step' => 'step_finished 1, step_started 2, step_finished 2', 'after-step' => 'step_finished 1', 'after-step:3' => 'step_finished 1, step_started 2, step_finished 2, step_finished 3, applied');
for my $point (sort keys %leaves)
{
	migrate(undef, 'rollback', '--dir', $steps, '--out-of-order', '401') if state_of('0401') eq 'applied';
	ends(migrate('approver', 'approve', '--dir', $steps, '401', '--review', $review, @override), 0, "stop $point: approved");
	my $seen = newest();
	my $stopped = $world->sor(migrate_arguments(undef, @apply_index), binary => 'sor-faults', env => { SOR_STOP => $point });
	my $done = $leaves{$point} =~ /applied/;
	ends($stopped, $done ? 0 : 75, "apply stopped $point", err => $done ? qr/\A\z/ : qr/is half applied.*\nsor migrate apply: error: stopped by a signal\n(?!.*error)/s);
	is(steps_of('0401', $seen), $leaves{$point}, "$point: what is recorded");
	quiet(migrate(undef, @apply_index), "$point: the next apply goes on");
	is($world->sql($invalid) . ' ' . state_of('0401'), 'false applied', "$point: and ends as it should");
}
my $two = "$home/two";
approved($two, $_, "${_}_of_two.up.sql" => "CREATE TABLE reconciler.of_two_$_ ();\n", "${_}_of_two.down.sql" => '') for '0403', '0404';
ends($world->sor(migrate_arguments(undef, 'apply', '--dir', $two, '--out-of-order'), binary => 'sor-faults', env => { SOR_STOP => 'after-migration' }), 75,
	'stopped between two migrations', err => qr/\Asor migrate apply: error: stopped by a signal\nHINT: .*\n\z/);
is(state_of('0403') . ' ' . state_of('0404'), 'applied approved', 'the second is not begun');
is($world->sql(q{SELECT count(*) FROM sor.agent_events WHERE event_type = 'migration.failed' AND payload ->> 'version' = '0404'}), '0', 'and has not failed');
quiet(migrate(undef, 'apply', '--dir', $two, '--out-of-order'), 'but is applied by the same command');
$r = $world->sor(migrate_arguments(undef, 'rollback', '--dir', $steps, '--out-of-order', '--json', '401'), binary => 'sor-faults', env => { SOR_STOP => 'after-begin-step' });
is(decode_json(ends($r, 75, 'a rollback is stopped', err => qr/half rolled back/)->{out})->{error}{message}, 'stopped by a signal', 'and its document says so');
quiet(migrate(undef, 'rollback', '--dir', $steps, '--out-of-order', '401'), 'it goes on too');
approved("$home/killed", '0402', '0402_killed.sql' => "-- migrate:up\nCREATE TABLE reconciler.killed ();\n");
for my $point (qw(before-migration after-migration))
{
	my $killed = $world->sor(migrate_arguments(undef, 'apply', '--dir', "$home/killed", '402', '--out-of-order'), binary => 'sor-faults', env => { SOR_FAULT => $point });
	is($killed->{signal}, 9, "apply killed $point");
	is(state_of('0402'), $point eq 'before-migration' ? 'approved' : 'applied', "$point: all or nothing");
}
quiet(migrate(undef, 'apply', '--dir', "$home/killed", '402'), 'the next one has nothing to do');

# 7. two runners, and a lock that is not to be had ---------------------------------------------------------------------
my $racing = "$home/racing";
approved($racing, '0501', '0501_slow.up.sql' => "CREATE TABLE reconciler.raced ();\nSELECT pg_sleep(2);\n", '0501_slow.down.sql' => "DROP TABLE reconciler.raced;\n");
my @two = map { $world->start_sor(migrate_arguments(undef, 'apply', '--dir', $racing, '--out-of-order', '501')) } 1 .. 2;
my @ended = map { $world->finish($_) } @two;
is($world->sql(q{SELECT count(*) FROM sor.agent_events WHERE event_type = 'migration.applied' AND payload ->> 'version' = '0501'}), '1', 'two runners apply it once');
is(scalar(grep { $_->{rc} == 0 } @ended) >= 1, 1, 'one of them did') or diag(map { "$_->{rc} $_->{err}" } @ended);
my $holder = $world->session($superuser);
$holder->query_safe('SELECT sor.lock_migrations()');
approved($racing, '0502', '0502_locked.up.sql' => "ALTER TABLE reconciler.dup ADD COLUMN more int;\n", '0502_locked.down.sql' => "ALTER TABLE reconciler.dup DROP COLUMN more;\n");
ends(migrate(undef, 'apply', '--dir', $racing, '--out-of-order', '--wait', '1s', '502'), 75, 'another runner is waited for, and not for ever', err => qr/SR012/);
$holder->query_safe('SELECT sor.unlock_migrations(); BEGIN; LOCK TABLE reconciler.dup IN ACCESS SHARE MODE');
ends(migrate(undef, 'apply', '--dir', $racing, '--out-of-order', '--lock-timeout', '1s', '--retries', 1, '-v', '502'), 75, 'a lock that is not to be had', err => [ qr/trying again/, qr/55P03/ ]);
$run = $world->start_sor(migrate_arguments(undef, 'apply', '--dir', $racing, '--out-of-order', '--lock-timeout', '1s', '502'));
poll_until('it waits for the lock', sub { $world->sql("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'reconciler.dup'::regclass") });
$holder->query_safe('COMMIT');
ends($world->finish($run), 0, 'when it is to be had, it is applied');
# SIGTERM
approved($racing, '0503', '0503_long.up.sql' => "CREATE TABLE reconciler.never ();\nSELECT pg_sleep(60);\n", '0503_long.down.sql' => '');
$run = $world->start_sor(migrate_arguments(undef, 'apply', '--dir', $racing, '503', '--out-of-order'));
poll_until('it runs', sub { $world->sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%apply_migration%' AND state = 'active' AND wait_event = 'PgSleep'") });
$holder->query_safe('BEGIN; LOCK TABLE sor.agent_events IN SHARE MODE');
kill 'TERM', $world->pid($run) or die;
poll_until('what became of it is to be recorded', sub { $world->sql("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sor.agent_events'::regclass") });
$holder->query_safe('COMMIT');
ends($world->finish($run), 75, 'SIGTERM ends an apply', err => qr/\A(?!.*could not be recorded).*stopped by a signal/s);
is($world->sql("SELECT to_regclass('reconciler.never') IS NULL") . state_of('0503'), 'tapproved', 'nothing is left of it');
is($world->sql(q{SELECT payload -> 'error' ->> 'sqlstate' FROM sor.agent_events WHERE event_type = 'migration.failed' AND payload ->> 'version' = '0503'}), '57014', 'but that it was tried');
$holder->quit;
is($world->sql("SELECT first_bad IS NULL FROM sor.verify_events('00000000-0000-0000-0000-000000000000')"), 't', 'the history verifies');
done_testing;
