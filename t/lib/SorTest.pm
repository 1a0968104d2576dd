# What the end-to-end tests share: a private cluster with the Expense Reconciler in database `reconciler`, the driver run
# as its logins, an SMTP server, PgBouncer.
package SorTest;
use strict;
use warnings FATAL => 'all';

use Carp qw(croak);
use Exporter 'import';
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(decode_json poll_until data_file have_data only_sor_calls slurp spew top);

my $clusters = 0;

sub top { return $ENV{SOR_TOP} // croak 'run it by scripts/test' }
sub decode_json { return JSON::PP->new->decode($_[0]) }
sub slurp { open my $f, '<:raw', $_[0] or croak "$_[0]: $!"; local $/; return scalar <$f> }
sub spew { open my $f, '>:raw', $_[0] or croak "$_[0]: $!"; print $f $_[1]; close $f or croak "$_[0]: $!"; return $_[0] }
sub data_file { return "$ENV{SOR_DATA}/$_[0].csv" }
sub have_data { return -r data_file('2014-04') }

# Polls until the sub answers true; dies after `timeout` seconds (default 60).
sub poll_until
{
	my ($what, $sub, %params) = @_;
	my $end = time + ($params{timeout} // 60);
	while (1)
	{
		my $answer = $sub->();
		return $answer if $answer;
		croak "timed out waiting: $what" if time > $end;
		sleep 0.05;
	}
}

# new(tenants => [names], conf => text, bare => 1): `bare` makes the cluster alone.
sub new
{
	my ($class, %params) = @_;
	my $self = bless { node => PostgreSQL::Test::Cluster->new('sor' . ++$clusters), children => [] }, $class;
	$self->{dir} = PostgreSQL::Test::Utils::tempdir();
	$self->{home} = "$self->{dir}/home";
	$self->{mail_log} = "$self->{dir}/mails.jsonl";
	my $node = $self->node;
	$node->init;
	# durable as in production: the tests kill servers and workers
	$node->append_conf('postgresql.conf',
		"fsync = on\nlog_statement = none\nlog_line_prefix = '%m [%p] %u@%d '\n" . ($params{conf} // ''));
	$node->start;
	$self->start_sink;
	return $self if $params{bare};
	local %ENV = $node->_get_env;
	$ENV{PGUSER} = $self->superuser;
	PostgreSQL::Test::Utils::system_or_bail(top . '/scripts/reconciler-setup',
		$self->{home}, $self->{smtp_port}, @{ $params{tenants} // [qw(Alice Bob Carol)] });
	return $self;
}

sub node { return $_[0]{node} }
sub home { return $_[0]{home} }
sub dir { return $_[0]{dir} }
sub superuser { return scalar getpwuid $> }

# The answer of SQL as superuser in the reconciler database.
sub sql { my ($self, $sql) = @_; return $self->node->safe_psql('reconciler', $sql) }

# SQL as a login: (exit code, stdout, stderr).
sub sql_as
{
	my ($self, $login, $sql, %params) = @_;
	my ($out, $err) = ('', '');
	my $rc = $self->node->psql('reconciler', $sql, stdout => \$out, stderr => \$err,
		extra_params => [ '-U', $login ], on_error_stop => 1, %params);
	return ($rc, $out, $err);
}

# A psql session kept open as a login, through another address where conninfo names one.
sub session
{
	my ($self, $login, $conninfo) = @_;
	return $self->node->background_psql('reconciler', on_error_stop => 0,
		extra_params => [ $conninfo ? ('-d', "$conninfo dbname=reconciler user=$login") : ('-U', $login) ]);
}

sub tenant_id { my ($self, $name) = @_; return $self->sql("SELECT tenant_id FROM sor.tenants WHERE name = '$name'") }

# The environment of a job: its home's and nothing of the test's.
sub environment
{
	my ($self, %more) = @_;
	return (HOME => $self->home, PATH => top . '/build:' . $ENV{PATH}, LC_ALL => 'C.UTF-8', %more);
}

# Runs the driver: sor([arguments], env => {}, stdin => text, binary => 'sor-faults', under => [command that runs it])
# → {rc, signal, out, err}.
sub sor
{
	my ($self, $arguments, %params) = @_;
	my $run = $self->start_sor($arguments, %params);
	return $self->finish($run);
}

sub start_sor
{
	my ($self, $arguments, %params) = @_;
	my $run = { out => '', err => '', in => $params{stdin} // '' };
	my @command = (@{ $params{under} // [] }, top . '/build/' . ($params{binary} // 'sor'), @$arguments);
	$run->{command} = "@command";
	{
		local %ENV = $self->environment(%{ $params{env} // {} });
		$run->{h} = IPC::Run::start(\@command, '<', \$run->{in}, '>', \$run->{out}, '2>', \$run->{err},
			init => sub { chdir $self->home or die; $params{init}->() if $params{init} });
	}
	return $run;
}

sub pid { my ($self, $run) = @_; return $run->{h}{KIDS}[0]{PID} }

sub finish
{
	my ($self, $run) = @_;
	$run->{h}->finish;
	my $status = $run->{h}->full_result(0);
	return { rc => $status >> 8, signal => $status & 127, out => $run->{out}, err => $run->{err}, command => $run->{command} };
}

# The arguments of each job as the crontab has them; those given replace them.
sub arguments
{
	my ($defaults, @more) = @_;
	my %given = map { $_ => 1 } grep { /^--/ } @more;
	my @kept;
	while (my ($option, $value) = splice @$defaults, 0, 2) { push @kept, $option, $value unless $given{$option} }
	return (@kept, @more);
}

sub load_args
{
	my ($self, $file, @more) = @_;
	return [ 'load', 'pending_transactions', $file,
		arguments([ '--dbname', 'service=reconciler_loader', '--settings', 'settings.toml' ], @more) ];
}

sub handler { return top . '/build/reconciler-handler rules.csv expenses.example' }

# A handler that holds its answers back: its command, the file it makes when it was asked, the file that lets it go on.
sub holding_handler
{
	my ($self, $name) = @_;
	my ($asked, $release) = map { $self->dir . "/$name.$_" } qw(asked release);
	my $script = spew($self->dir . "/$name", <<"END");
while IFS= read -r line; do
    : > $asked
    until [ -e $release ]; do sleep 0.05; done
    printf '%s\\n' "\$line"
done | exec @{[$self->handler]}
END
	return ("sh $script", $asked, $release);
}

sub work_args
{
	my ($self, @more) = @_;
	return [ 'work', 'pending_transactions', arguments([ '--dbname', 'service=reconciler_worker', '--settings', 'settings.toml',
		'--worker', 'reconciler', '--on-behalf-of', 'bookkeeper@expenses.example', '--handler', $self->handler ], @more) ];
}

sub relay_args
{
	my ($self, @more) = @_;
	return [ 'relay', arguments([ '--dbname', 'service=reconciler_relay', '--settings', 'settings.toml' ], @more) ];
}

# Loads, works and relays; each must end with 0.
sub load_ok { my ($self, $file, @more) = @_; return $self->ok_sor($self->load_args($file, @more), "load " . $file =~ s{.*/}{}r) }
sub work_ok { my ($self, @more) = @_; return $self->ok_sor($self->work_args(@more), "work @more") }
sub relay_ok { my ($self, @more) = @_; return $self->ok_sor($self->relay_args(@more), "relay @more") }

sub ok_sor
{
	my ($self, $arguments, $name) = @_;
	my $r = $self->sor($arguments);
	local $Test::Builder::Level = $Test::Builder::Level + 2;
	Test::More::is("$r->{rc}/$r->{signal}", '0/0', $name) or Test::More::diag("$r->{command}\n$r->{out}$r->{err}");
	return $r;
}

# A statement of n made-up purchases, merchant `shop NUMBER`, amount NUMBER.00; with tenants named, in turn theirs.
sub statement
{
	my ($self, $n, @tenants) = @_;
	my $file = "$self->{dir}/statement." . ++$self->{statements} . '.csv';
	return spew($file, join "\n", 'trans_date,merchant,card,amount,currency,category_code,category' . (@tenants ? ',directorate' : ''),
		(map { "2026-09-01,shop $_,************1001,$_.00,GBP,X1,Books" . (@tenants ? ",$tenants[ $_ % @tenants ]" : '') } 1 .. $n), '');
}

# Works until no run is left unfinished: those of killed workers are resumed when their leases are over. Returns the
# first answer that is neither done nor "try again", else the last.
sub work_on
{
	my ($self, @arguments) = @_;
	return poll_until('the runs are finished', sub {
		my $r = $self->sor($self->work_args(@arguments));
		return $r if $r->{signal} || $r->{rc} != 0 && $r->{rc} != 75;
		return $self->sql("SELECT count(*) FROM sor.runs WHERE status = 'running'") eq '0' && $r;
	});
}

# The leases of what was killed end now: tests give long ones, which a slow machine does not outlast. First their sessions
# must be gone, for what they have sent may still renew them. `stopped => 1`: of a process that is stopped, and keeps its.
sub lapse
{
	my ($self, %params) = @_;
	poll_until('the sessions of the killed are gone', sub {
		$self->sql(q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sor %'}) eq '0' }) unless $params{stopped};
	return $self->sql(q{UPDATE sor.runs SET lease_until = clock_timestamp() WHERE status = 'running';
		UPDATE sor.ready SET available_at = clock_timestamp() WHERE claimed_by IS NOT NULL AND available_at > clock_timestamp()});
}

# What must hold after any history of kills: nothing lost, nothing double, nothing half done.
sub totals_ok
{
	my ($self, $n, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	Test::More::is($self->sql(q{
		SELECT (SELECT count(*) FROM reconciler.expenses),
		       (SELECT count(*) FROM reconciler.pending_transactions p JOIN reconciler.expenses e
		          ON (e.tenant_id, e.transaction_id, e.amount) = (p.tenant_id, p.id, p.amount)),
		       (SELECT count(*) FROM sor.outbox), (SELECT count(DISTINCT aggregate_id) FROM sor.outbox),
		       (SELECT count(*) FROM sor.agent_events WHERE event_type = 'item.completed'),
		       (SELECT count(*) FROM sor.agent_events WHERE event_type = 'outbox.enqueued'),
		       (SELECT count(*) FROM sor.tool_calls WHERE tool = 'write' AND status = 'succeeded')}),
		join('|', ($n) x 7), "$name: $n expenses, mails, completions and events, each once");
	Test::More::is($self->sql('SELECT count(*) FROM sor.tenants t, sor.verify_events(t.tenant_id) v WHERE v.first_bad IS NOT NULL'),
		'0', "$name: the history verifies");
	return;
}

# Statements in the server's log --------------------------------------------------------------------------------------

# Is this statement a call of sor's functions and nothing else? Transaction brackets and LISTEN are no data access;
# everything else has sor's functions for its only sources.
sub only_sor_calls
{
	my ($sql) = @_;
	$sql =~ s/^\s+|\s*;?\s*$//g;
	return 1 if $sql =~ /^(BEGIN(?: ISOLATION LEVEL READ COMMITTED)?|COMMIT|ROLLBACK|LISTEN \w+|DEALLOCATE ALL|SET application_name TO '[^']*')$/i;
	return 0 if $sql =~ /\b(insert|update|delete|merge|copy|truncate|create|alter|drop|grant|set)\b(?!\s*=>)/i || $sql =~ /;/;
	return 0 unless $sql =~ /^\s*SELECT\b/i && $sql =~ /\bsor\.\w+\s*\(/;
	$sql =~ s/\bextract\(epoch from \w+\)//gi;
	# each FROM and JOIN item is a call of a sor function
	while ($sql =~ /\b(?:from|join)\s+(?:lateral\s+)?([\w."]+\s*\(?)/gi)
	{
		my $source = $1;
		return 0 unless $source =~ /^sor\.\w+\s*\($/;
	}
	return $sql !~ /\b(pg_catalog|information_schema|pg_class|reconciler)\./i;
}

# What the logins of `like` have had executed since the byte `from` of the log: [[login, statement], ...]. The cluster
# logs all statements (log_statement = all).
sub statements
{
	my ($self, $from, $like) = @_;
	open my $log, '<', $self->node->logfile or croak $!;
	seek $log, $from, 0;
	my ($entry, @found) = ('');
	my $end = sub {
		my ($login, $sql) = $entry =~ /\] (\w+)\@reconciler LOG:  (?:statement|execute [^:]*): (.*)/s;
		push @found, [ $login, $sql ] if $login && $login =~ $like;
	};
	while (<$log>)
	{
		if (/^\d{4}-\d\d-\d\d /) { $end->(); $entry = $_ } else { $entry .= $_ }
	}
	$end->();
	return \@found;
}

# MCP ----------------------------------------------------------------------------------------------------------------

# The Node.js of t/mcp's lock file, else one of the PATH that is new enough, else nothing; and whether the packages are there.
sub node_js
{
	return unless -e top . '/t/mcp/node_modules/.package-lock.json';
	my ($own) = glob top . '/t/mcp/node_modules/node-linux-*/bin/node';
	return $own if $own;
	my ($version) = `node --version 2>/dev/null` =~ /^v(\d+)/;
	return $version && $version >= 22 ? 'node' : undef;
}

# A command that starts `sor mcp` for Alice with these options: a script, since a client passes on little of its environment.
sub mcp_command
{
	my ($self, @options) = @_;
	my $file = $self->dir . '/sor-mcp.' . ++$self->{mcp_commands};
	my %environment = $self->environment;
	my $arguments = join ' ', map { "'$_'" } '--dbname', 'service=reconciler_worker', '--tenant', 'Alice', '--worker', 'clerk', @options;
	my $home = $self->home;
	spew($file, <<"END");
#!/bin/sh
cd '$home' && exec env -i HOME='$home' PATH='$environment{PATH}' @{[top]}/build/sor mcp $arguments "\$@"
END
	chmod 0755, $file;
	return $file;
}

# Registers the tools of t/mcp/tools.sql, and lets the worker's login act for Alice's admin and viewer too.
sub register_mcp_tools
{
	my ($self) = @_;
	$self->node->command_ok([ 'psql', '-X', '-q', '-U', 'operator', '-d', 'reconciler', '-f', top . '/t/mcp/tools.sql' ], 'tools registered');
	my $users = $self->sql("SELECT array_agg(u.id) FROM sor.users u JOIN sor.tenants t USING (tenant_id) WHERE t.name = 'Alice'");
	my ($rc, $out, $err) = $self->sql_as('operator',
		"SELECT sor.grant_tenant('reconciler_worker', '@{[$self->tenant_id('Alice')]}', '$users')");
	Test::More::is($err, '', 'the worker may act for each user of Alice');
	return;
}

# Runs a script of t/mcp; each line that it prints is a check.
sub mcp_script
{
	my ($self, $script, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($out, $err) = ('', '');
	my $h = IPC::Run::start([ node_js(), top . "/t/mcp/$script", @arguments ], '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout(180));
	$h->finish;
	for my $check (map { decode_json($_) } split /\n/, $out)
	{
		Test::More::ok($check->{ok}, $check->{name})
			or Test::More::diag(map { "$_: " . JSON::PP->new->canonical->allow_nonref->encode($check->{$_}) . "\n" } qw(got expected));
	}
	Test::More::is($h->result(0), 0, "$script has come to its end") or Test::More::diag($err);
	return $err;
}

# SMTP server -------------------------------------------------------------------------------------------------------

sub start_sink
{
	my ($self) = @_;
	my $out = '';
	my @port = $self->{smtp_port} ? ($self->{smtp_port}) : ();
	$self->{sink_err} = '';
	$self->{sink} = IPC::Run::start([ top . '/scripts/smtp-sink', '--with-parent', $self->{mail_log}, @port ],
		'<', \undef, '>', \$out, '2>', \$self->{sink_err}, IPC::Run::timeout(60));
	$self->{sink}->pump until $out =~ /^\d+\n/;
	$self->{sink}{TIMERS} = [];
	($self->{smtp_port}) = $out =~ /(\d+)/;
	return;
}

sub stop_sink { my ($self) = @_; $self->{sink}->signal('TERM'); $self->{sink}->finish; delete $self->{sink}; return }

sub mails
{
	my ($self) = @_;
	return [] unless -e $self->{mail_log};
	return [ map { decode_json($_) } split /\n/, slurp($self->{mail_log}) ];
}

# While given, the SMTP server answers DATA with this reply.
sub refuse_mail
{
	my ($self, $reply) = @_;
	my $flag = "$self->{mail_log}.refuse";
	if (defined $reply) { spew($flag, $reply) } else { unlink $flag }
	return;
}

# PgBouncer in transaction mode, one server connection per login, so that clients share it. Returns (host, port).
sub start_pgbouncer
{
	my ($self) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my ($host, $server_port) = ($self->node->host, $self->node->port);
	spew("$dir/users", join '', map { qq{"$_" ""\n} } 'operator', map { "reconciler_$_" } qw(loader worker relay auditor));
	spew("$dir/ini", <<"END");
[databases]
reconciler = host=$host port=$server_port dbname=reconciler
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 1
max_client_conn = 100
ignore_startup_parameters = extra_float_digits,options
logfile = $dir/log
pidfile = $dir/pid
END
	my $h = IPC::Run::start([ 'pgbouncer', "$dir/ini" ], '<', \undef, '>', "$dir/out", '2>', "$dir/err");
	$self->{pgbouncer} = $h;
	poll_until('PgBouncer listens', sub { -S "$dir/.s.PGSQL.$port" });
	return ($dir, $port);
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	for my $h (grep { defined } delete @$self{qw(sink pgbouncer)})
	{
		eval { $h->signal('TERM'); $h->finish };
	}
	return;
}

1;
