# sor status, pause, resume and redrive, as a person on call uses them.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json poll_until only_sor_calls slurp);
use Test::More;

my $world = SorTest->new(tenants => [ 'Alice', 'Bob' ], conf => "log_statement = all\n");
my ($alice, $bob) = map { $world->tenant_id($_) } qw(Alice Bob);
my @operator = ('--dbname', 'service=operator');
my $log = -s $world->node->logfile;
sub problems
{
	my ($login) = @_;
	my $r = $world->sor([ 'status', '--json', '--dbname', 'service=' . ($login // 'operator') ]);
	return ($r->{rc}, decode_json($r->{out}));
}
sub named { my ($what, @list) = @_; return grep { $_->{problem} eq $what } @list }

my $r = $world->sor([ 'status', @operator ]);
is("$r->{rc} $r->{out}", "0 nothing to do\n", 'all is well');

# a paused queue: cron's worker finds nothing to do and says nothing
$world->load_ok($world->statement(12, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
$world->ok_sor([ 'pause', 'queue', 'pending_transactions', '--reason', "the bank's statement is wrong", @operator ], 'pause a queue');
$r = $world->sor($world->work_args);
is("$r->{rc}$r->{out}$r->{err}", '0', 'a worker ends at once');
is($world->sql('SELECT count(*) FROM sor.runs'), '0', 'and begins no run');
my ($rc, $list) = problems();
is($rc, 0, 'a pause alone is no alarm');
is_deeply([ map { [ @$_{qw(severity problem subject detail action)} ] } @$list ],
	[ [ 'info', 'paused', 'queue pending_transactions', "by operator: the bank's statement is wrong", "sor resume queue 'pending_transactions'" ] ], 'status says what, why and how to go on')
	or diag(explain($list));
$world->ok_sor([ 'resume', 'queue', 'pending_transactions', @operator ], 'resume');
is($world->sor([ 'resume', 'queue', 'pending_transactions', @operator ])->{rc}, 77, 'twice is an error');
is($world->sor([ 'pause', 'queue', 'nope', '--reason', 'x', @operator ])->{rc}, 64, 'an unknown queue');
is($world->sor([ 'pause', 'table', 'nope', '--reason', 'x', @operator ])->{rc}, 64, 'an unknown kind');
is($world->sor([ 'pause', 'tool', 'write', @operator ])->{rc}, 64, 'no reason');
is($world->sor([ 'pause', 'tool', 'write', '--reason', 'x', '--dbname', 'service=reconciler_auditor' ])->{rc}, 77, 'an auditor pauses nothing');

# a paused tenant: the other goes on; a worker in the middle of its batch is told to try again
my ($handler, $asked, $release) = $world->holding_handler('held');
my $held = $world->start_sor($world->work_args('--handler', $handler, '--tenant', 'Alice'));
poll_until('the handler was asked', sub { $held->{h}->pump_nb; -e $asked });
$world->ok_sor([ 'pause', 'tenant', 'Alice', '--reason', 'an audit', @operator ], 'pause a tenant');
SorTest::spew($release, '');
my $done = $world->finish($held);
is($done->{rc}, 75, 'its worker is told to try again') or diag($done->{err});
like($done->{err}, qr/tenant \S+ is paused.*The reason given: an audit/s, 'and why');
$world->work_ok;
is($world->sql('SELECT string_agg(DISTINCT t.name, \' \') FROM reconciler.expenses e JOIN sor.tenants t USING (tenant_id)'), 'Bob', 'the others go on');
$world->ok_sor([ 'resume', 'tenant', 'Alice', @operator ], 'resume the tenant');
$world->work_on;
is($world->sql('SELECT count(*) FROM reconciler.expenses'), '12', 'and its work is done, each once');

# the relay: paused for one tenant, then for all
$world->ok_sor([ 'pause', 'tenant', 'Bob', '--reason', 'not now', @operator ], 'pause Bob');
$world->relay_ok;
is($world->sql("SELECT string_agg(DISTINCT t.name || ' ' || o.status, ', ' ORDER BY t.name || ' ' || o.status) FROM sor.outbox o JOIN sor.tenants t USING (tenant_id)"), 'Alice dispatched, Bob pending', "a paused tenant's outbox too");
$world->ok_sor([ 'resume', 'tenant', 'Bob', @operator ], 'resume Bob');
$world->ok_sor([ 'pause', 'queue', 'outbox', '--reason', 'the mail server is moved', @operator ], 'pause the outbox');
$world->relay_ok;
is($world->sql("SELECT count(*) FROM sor.outbox WHERE status = 'pending'"), '6', 'nothing is sent');
$world->ok_sor([ 'resume', 'queue', 'outbox', @operator ], 'resume the outbox');

# dead letters: named, with their error; brought back by what status says
$world->refuse_mail('550 5.1.1 no such user');
is($world->sor($world->relay_args)->{rc}, 65, 'messages are refused for good');
$world->refuse_mail(undef);
($rc, $list) = problems();
is($rc, 1, 'dead letters are an alarm');
my ($dead) = named('dead_messages', @$list);
is("$dead->{tenant} $dead->{subject} $dead->{count}", 'Bob mail 6', 'whose, where, how many');
like($dead->{detail}, qr/^the last, message [0-9a-f-]{36}: .*no such user/, 'and why');
$r = $world->sor([ 'status', @operator ]);
like($r->{out}, qr/^warning: dead_messages of tenant "Bob", mail, since \S+, 6\n  the last, message .*\n  do: sor redrive --tenant 'Bob' --destination 'mail'\n/m, 'for people');
my ($id) = $dead->{detail} =~ /message (\S+):/;
$world->ok_sor([ 'redrive', '--tenant', 'Bob', '--message', $id, @operator ], 'redrive one');
is($world->sor([ 'redrive', '--tenant', 'Bob', '--message', $id, @operator ])->{rc}, 77, 'which is dead no more');
(my $command = $dead->{action}) =~ s/^sor //;
$r = $world->ok_sor([ (map { s/^'|'$//gr } split / /, $command), @operator, '--verbose' ], 'redrive the rest, as status says');
like($r->{out} . $r->{err}, qr/5 messages are due again/, 'says how many');
is($world->sor([ 'redrive', '--tenant', 'Bob', @operator ])->{rc}, 64, 'of what?');
is($world->sor([ 'redrive', '--tenant', 'Nobody', '--destination', 'mail', @operator ])->{rc}, 77, 'an unknown tenant');
$world->relay_ok;
is($world->sql("SELECT count(*) FROM sor.outbox WHERE status <> 'dispatched'"), '0', 'and they are sent');
is((problems())[0], 0, 'all is well again');

# what is late: a relay that does not run, a queue that nobody works, holders that are gone
$world->load_ok($world->statement(2), '--tenant', 'Alice', '--set', 'statement=2');
$world->sql("SELECT sor.enqueue('$alice', 'mail', 'm', '1', '{}', 'late')");
$world->sql("SELECT count(*) FROM sor.claim('$alice', 'pending_transactions', 'gone', 1, '1 s')");
$world->sql("UPDATE sor.ready SET available_at = clock_timestamp() - interval '20 min'");
my $run = $world->sql("SELECT run_id FROM sor.start_run('$alice', 'gone')");
$world->sql("UPDATE sor.runs SET lease_until = clock_timestamp() - interval '2 hours' WHERE id = '$run'");
($rc, $list) = problems();
is($rc, 1, 'an alarm');
is(join(' ', map { "$_->{severity}:$_->{problem}:$_->{count}" } @$list),
	'critical:lapsed_run:1 critical:relay_stopped:1 warning:queue_not_worked:2 warning:expired_lease:1', 'worst first');
my ($lapsed) = named('lapsed_run', @$list);
is($lapsed->{action}, "sor report --tenant 'Alice' --run $run", 'with the command for it');
like($lapsed->{detail}, qr/select sor\.cancel_run\('$alice', '$run', 'REASON'\) ends it/, 'and what ends it');
($command = $lapsed->{action}) =~ s/^sor //;
$world->ok_sor([ (map { s/^'|'$//gr } split / /, $command), '--dbname', 'service=reconciler_auditor' ], 'which runs');
my ($auditor_rc, $auditor) = problems('reconciler_auditor');
is(scalar @$auditor, 4, 'an auditor sees its tenants');
$world->sql("SELECT sor.revoke_tenant('reconciler_auditor', '$alice')");
is(scalar @{ (problems('reconciler_auditor'))[1] }, 0, 'and no others');
my $worker = $world->sql("SELECT worker FROM sor.runs WHERE id = '$run'");
$world->sql("UPDATE sor.runs SET worker = E'ev\\x1b]0;il\\x07\\nworker' WHERE id = '$run'");
unlike($world->sor([ 'status', @operator ])->{out}, qr/[\x00-\x09\x0b-\x1f]|^worker/m, 'no control character of a row reaches the terminal');
$world->sql("UPDATE sor.runs SET worker = '$worker' WHERE id = '$run'");

# --watch goes on until a signal; on a terminal it redraws in place
my $watch = $world->start_sor([ 'status', '--watch', '--interval', '1s', @operator ]);
poll_until('it looked twice', sub { $watch->{h}->pump_nb; (() = $watch->{out} =~ /relay_stopped/g) >= 2 });
kill 'TERM', $world->pid($watch);
is($world->finish($watch)->{rc}, 1, 'a signal ends --watch');
unlike($watch->{out}, qr/\x1b/, 'a file gets no escape sequences');
my $terminal = '';
{
	my $sor = SorTest::top() . '/build/sor';
	local %ENV = $world->environment;
	my $h = IPC::Run::start([ $sor, 'status', '--watch', '--interval', '1s', @operator ], '>pty>', \$terminal, init => sub { chdir $world->home });
	poll_until('it drew twice', sub { $h->pump_nb; (() = $terminal =~ /\x1b\[H\x1b\[2J/g) >= 2 });
	$h->signal('TERM');
	$h->finish;
}
like($terminal, qr/\x1b\[H\x1b\[2J.*relay_stopped/s, 'in place');
# --watch outlives the database
$watch = $world->start_sor([ 'status', '--watch', '--interval', '1s', @operator ]);
poll_until('it looked', sub { $watch->{h}->pump_nb; $watch->{out} =~ /relay_stopped/ });
$world->node->stop('immediate');
poll_until('it misses the database', sub { $watch->{h}->pump_nb; $watch->{err} =~ /could not connect/ });
$world->node->start;
my $looked = length $watch->{out};
poll_until('it looked again', sub { $watch->{h}->pump_nb; substr($watch->{out}, $looked) =~ /relay_stopped/ });
kill 'TERM', $world->pid($watch);
is($world->finish($watch)->{rc}, 1, '--watch goes on when the database is back');

is(join("\n", grep { !only_sor_calls($_) } map { $_->[1] } @{ $world->statements($log, qr/^operator$/) }), '', 'the driver called sor. functions and nothing else');
is($world->sql('SELECT string_agg(v.first_bad::text, chr(10)) FROM sor.tenants t, sor.verify_events(t.tenant_id) v WHERE v.first_bad IS NOT NULL'), '', 'the history verifies');
done_testing;
