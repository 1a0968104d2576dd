# The examples of README.md and docs/*.md are run as they stand: each ```sql block by psql, in order, each page in a database
# of its own that goes on from the README's; each ```sh block that calls sor, by sh; each ```mcp block, by a client that sends
# its → lines and must get its ← lines. A ```text block right after one is what it prints, ids, tokens and times aside; without
# one an example raises no error and no warning. What pages name exists, and what is public is named on a page.
use strict;
use warnings FATAL => 'all';
use utf8;
use IPC::Run ();
use SorTest qw(decode_json slurp spew top);
use Test::More;

my %login_of = (load => 'backend', work => 'night_worker', mcp => 'night_worker', relay => 'relay', purge => 'relay', verify => 'auditor', preflight => 'operator', metrics => 'operator', status => 'auditor', pause => 'operator', resume => 'operator', redrive => 'operator', report => 'auditor', drill => 'operator', doctor => 'operator', migrate => 'operator');
my @pages = ('README.md', map { s{^\Q${\top}\E/}{}r } sort glob top . '/docs/*.md');

my $world = SorTest->new(bare => 1);
my $node = $world->node;
mkdir $world->home or die;
my %variables = map { ("request_id$_" => sprintf('b1cd2c9a-5b1c-4d5e-9b0a-%012d', $_ || 1)) } '', 2 .. 9;
$variables{superuser} = $world->superuser;
my $have = '';

sub bytes { my ($text) = @_; utf8::encode($text); return $text }

sub mask
{
	my ($text) = @_;
	for ($text)
	{
		s/^(?:psql:\S+?:\d+: )//mg;
		s/^LOCATION: .*\n//mg;
		s/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b[0-9a-f]{4,8}…/<id>/g;
		s/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d(?::?\d\d)?|Z| UTC)?|\b\d\d:\d\d:\d\d(?:\.\d+)?\b/<time>/g;
		s/\b\d{13,}\b|\b\d+…|\b\d+(?:\.\d+)?(?= ms\b)/<n>/g;
		s/(sor_rehearsal_\d+_)[0-9a-f]+/$1<id>/g;
		s/-{2,}/-/g; # widths of columns
		s/\h+/ /g;
		s/^ | $//mg;
		s/\n{2,}/\n/g;
		s/\A\n|\n\z//g;
	}
	return $text;
}

# (language, text, first line) of each fenced block.
sub blocks
{
	my ($page) = @_;
	my (@blocks, $open);
	my $line = 0;
	for (split /\n/, slurp(top . "/$page"))
	{
		utf8::decode($_);
		++$line;
		if (/^\s*```(\w*)\s*$/)
		{
			if ($open) { push @blocks, $open; undef $open }
			else { $open = { language => $1, text => '', line => $line, end => $line + 1 } }
		}
		elsif ($open) { $open->{text} .= "$_\n"; $open->{end} = $line + 1 }
	}
	die "$page: a block is not closed" if $open;
	# the ```text block that follows at once
	for my $i (0 .. $#blocks - 1)
	{
		my $next = $blocks[ $i + 1 ];
		$blocks[$i]{expected} = $next->{text} if $next->{language} eq 'text' && $next->{line} <= $blocks[$i]{end} + 2;
	}
	return @blocks;
}

sub compare
{
	my ($page, $block, $output) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $name = "$page:$block->{line}";
	if (defined $block->{expected}) { is(bytes(mask($output)), bytes(mask($block->{expected})), "$name prints what the page says") or diag(bytes($output)) }
	else { unlike(bytes($output), qr/(?:ERROR|FATAL|WARNING): |invalid command|unrecognized/, "$name runs") }
	return;
}

# All ```sql blocks of a page, in one psql session that begins as the operator, the README's as superuser.
sub run_sql
{
	my ($page, $database, $login) = @_;
	$login //= 'operator';
	my @sql = grep { $_->{language} eq 'sql' } blocks($page) or return;
	my $script = join '', map { "\\set $_ $variables{$_}\n" } sort keys %variables;
	$script .= "\\echo \@\@\@$_\n$sql[$_]{text}" for 0 .. $#sql;
	my $file = spew($world->dir . '/page.sql', bytes($script));
	my $out = '';
	my $h = do {
		local %ENV = $node->_get_env;
		IPC::Run::start([ 'psql', '-X', '-q', '-v', 'VERBOSITY=verbose', '-P', 'footer=off', '-d', "dbname=$database user=$login", '-f', $file ],
			'<', \undef, '>&', \$out);
	};
	$h->finish;
	utf8::decode($out);
	my (undef, %output) = split /^\@\@\@(\d+)\n/m, $out;
	compare($page, $sql[$_], $output{$_} // "ERROR: not reached: $out") for 0 .. $#sql;
	$have .= "|sql:$page";
	return;
}

# A line of sh in the home of the jobs.
sub start_sh
{
	my ($database, $login, $line, @redirections) = @_;
	local %ENV = $world->environment(PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $database,
		PGSERVICEFILE => $world->home . '/.pg_service.conf', $login ? (PGUSER => $login) : ());
	return IPC::Run::start([ 'sh', '-c', $line ], init => sub { chdir $world->home or die }, @redirections);
}

# What must come for a ← line, … being anything: spaces apart, and with an id or a token of its own for each on the page,
# which %$own collects and which the → lines then carry.
sub is_answer
{
	my ($got, $expected, $own, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @new;
	my $token = qr/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b\d{13,}\b/;
	my $pattern = join '', map {
		/^$token$/ ? exists $own->{$_} ? quotemeta $own->{$_} : do { push @new, $_; "($token)" } : $_ eq '…' ? '.*' : quotemeta
	} split /($token|…)/, $expected =~ s/\s+//gr;
	my @found = ($got // '') =~ s/\s+//gr =~ /^$pattern$/;
	ok(scalar @found, $name) or diag('got      ' . bytes($got // 'nothing') . "\nexpected " . bytes($expected));
	@$own{@new} = @found if @new && @found == @new;
	return;
}

# An ```mcp block: a command, then messages, → to it and ← from it, their further lines indented. For --connect the server
# runs by the settings above it. Standard error is what a ```text block after it says; the end of its input ends it with 0.
sub run_mcp
{
	my ($page, $block, $database) = @_;
	my ($line, @messages) = split /\n(?!\s)/, $block->{text};
	my ($socket, $server, $server_log) = (PostgreSQL::Test::Utils::tempdir_short() . '/mcp.sock');
	my $timeout = IPC::Run::timeout(20);
	if ($line =~ s/--connect \K\S+/$socket/)
	{
		$server = start_sh($database, $login_of{mcp}, "exec sor mcp --dbname service=$login_of{mcp} --socket $socket --settings settings.toml",
			'<', \undef, '>&', \$server_log);
		SorTest::poll_until('the server listens', sub { $server->pump_nb; -S $socket || !$server->pumpable });
	}
	my ($in, $out, $err) = ('', '', '');
	my $h = start_sh($database, $login_of{mcp}, "exec $line", '<', \$in, '>', \$out, '2>', \$err, $timeout);
	my %own;
	for my $i (0 .. $#messages)
	{
		my ($direction, $text) = $messages[$i] =~ /^(→|←) (.*)/s or die bytes("$page:$block->{line}: neither → nor ←: $messages[$i]");
		if ($direction eq '→')
		{
			$text =~ s/\s*\n\s*/ /g;
			$text =~ s/\Q$_\E/$own{$_}/g for keys %own;
			$in .= bytes($text) . "\n";
			next;
		}
		$h->pump until $out =~ /\n/ || !$h->pumpable;
		my $answer = $out =~ s/^(.*)\n// ? $1 : undef;
		utf8::decode($answer) if defined $answer;
		is_answer($answer, $text, \%own, bytes("$page:$block->{line} answers as the page says: " . substr $text, 0, 60));
	}
	$h->finish;
	utf8::decode($err);
	is($out, '', "$page:$block->{line} answers nothing else");
	is($h->full_result(0), 0, "$page:$block->{line} ends with 0") or diag(bytes($err));
	compare($page, $block, $err);
	$have .= "|mcp:$page";
	return unless $server;
	$server->signal('TERM');
	$server->finish;
	is($server->full_result(0), 0, "$page:$block->{line} and its server with it") or diag($server_log);
	return;
}

# The ```sh blocks that call sor, a line each, after the files of ```migration blocks, the lines of ```crontab, in the home of the jobs, and the ```mcp blocks.
sub run_sh
{
	my ($page, $database) = @_;
	for my $block (blocks($page))
	{
		spew($world->home . '/settings.toml', bytes($block->{text} =~ s/127\.0\.0\.1:\K25\b/$world->{smtp_port}/r =~ s/^user = "\K[^"]+|^dbname = "user=\K\w+/$world->superuser/mger))
			if $block->{language} eq 'toml';
		if ($block->{language} eq 'migration') # a file, whose first line says which
		{
			my ($file) = $block->{text} =~ m{^-- (\w+/[\w.]+)\n} or die "$page:$block->{line}: which file?";
			mkdir $world->home . '/' . $file =~ s{/.*}{}r;
			spew($world->home . "/$file", bytes($block->{text}));
		}
		run_mcp($page, $block, $database) if $block->{language} eq 'mcp';
		ok(eval { decode_json(bytes($block->{text})) }, "$page:$block->{line} is JSON") if $block->{language} eq 'json';
		my @lines = $block->{language} eq 'sh' ? $block->{text} =~ /^(sor .*)$/mg
			: $block->{language} eq 'crontab' ? map { s/\\%/%/gr } $block->{text} =~ /^(?:\S+ +){5}(sor .*)$/mg : ();
		next unless @lines;
		my $output = '';
		for my $line (@lines)
		{
			my ($command) = $line =~ /^sor (\w+)/;
			my $out = '';
			my $h = start_sh($database, $command && $login_of{$command}, $line, '<', \undef, '>&', \$out);
			$h->finish;
			utf8::decode($out);
			$output .= $out;
			is($h->full_result(0) >> 8, 0, bytes("$page:$block->{line} ends with 0: $line")) or diag(bytes($out));
		}
		compare($page, $block, $output) if defined $block->{expected};
		$have .= "|sh:$page";
	}
	return;
}

# What the README assumes: a shop.
$node->safe_psql('postgres', <<'END');
CREATE ROLE shop NOLOGIN;
END
$node->safe_psql('postgres', 'CREATE DATABASE readme');
$node->safe_psql('readme', <<'END');
CREATE EXTENSION sor;
CREATE SCHEMA shop AUTHORIZATION shop;
SET ROLE shop;
CREATE TABLE shop.expenses (tenant_id uuid, transaction_id int, merchant text NOT NULL, amount numeric NOT NULL CHECK (amount <> 0),
	category text, recorded_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant_id, transaction_id));
CREATE TABLE shop.pending_transactions (tenant_id uuid, id int, merchant text NOT NULL, amount numeric NOT NULL, PRIMARY KEY (tenant_id, id));
END
run_sql('README.md', 'readme', $world->superuser);
# what the other pages assume beyond it
$node->safe_psql('readme', <<'END');
SELECT sor.create_tenant('Bob');
SELECT sor.grant_tenant(login, tenant_id) FROM unnest('{backend,relay,auditor}'::name[]) AS login, sor.tenants;
DO $$ BEGIN
	FOR n IN 1 .. 4 LOOP -- one after the other: items are handed out in that order
		INSERT INTO shop.pending_transactions SELECT tenant_id, n, 'Shop ' || n, n FROM sor.tenants;
	END LOOP;
END $$;
END
$variables{ lc $_ } = $node->safe_psql('readme', "SELECT tenant_id FROM sor.tenants WHERE name = '$_'") for qw(Alice Bob);
$variables{bookkeeper} = $node->safe_psql('readme', "SELECT id FROM sor.users WHERE email = 'bookkeeper\@alice.example'");

# a handler that makes each pending transaction an expense and mails it; a statement to load
chmod 0755, spew($world->home . '/handler', <<'END');
#!/usr/bin/python3
import json, sys
for line in sys.stdin:
    item = json.loads(line)["item"]
    row = item["row"]
    print(json.dumps({"item_id": item["id"], "calls": [
        {"tool": "write", "arguments": {"table": "expenses", "record": {
            "transaction_id": row["id"], "merchant": row["merchant"], "amount": row["amount"], "category": "Books"}}},
        {"tool": "queue", "arguments": {"destination": "mail", "event_type": "expense.recorded", "aggregate_id": item["id"],
            "payload": {"to": "bookkeeper@alice.example", "subject": "Expense recorded", "text": row["merchant"]},
            "dedup_key": "expense.recorded/" + item["id"]}}]}), flush=True)
END
spew($world->home . '/settings.toml', "[destinations.mail]\ntype = \"smtp\"\nurl = \"smtp://127.0.0.1:$world->{smtp_port}\"\nfrom = \"reconciler\@alice.example\"\n");
spew($world->home . '/statement.csv', "id,merchant,amount\n101,Northgate Petrol,52.30\n102,Rail,18.00\n");

for my $page (@pages)
{
	my $database = lc $page =~ s{.*/|\.md$}{}gr;
	$node->safe_psql('postgres', "CREATE DATABASE page_$database TEMPLATE readme");
	spew($world->home . '/.pg_service.conf', join '', map { "[$_]\nhost=" . $node->host . "\nport=" . $node->port . "\ndbname=page_$database\nuser=$_\n" }
		'reviewer', values %login_of);
	unlink glob $world->home . '/migrations/*';
	# a page with files begins with what is done with them
	my $files_first = grep { $_->{language} eq 'migration' } blocks($page);
	run_sh($page, "page_$database") if $files_first;
	run_sql($page, "page_$database") if $page ne 'README.md';
	run_sh($page, "page_$database") if !$files_first;
	is($node->safe_psql("page_$database", 'SELECT count(*) FROM sor.tenants t, sor.verify_events(t.tenant_id) v WHERE first_bad IS NOT NULL'),
		'0', "$page leaves a history that verifies");
}

# The page of rules is printed out of the rules.
is($node->safe_psql('readme', slurp(top . '/docs/review_rules.sql')) . "\n", slurp(top . '/docs/review_rules.md'),
	'docs/review_rules.md is what docs/review_rules.sql prints');

# What the pages name -------------------------------------------------------------------------------------------------

my %arguments = map { my ($name, $list) = split /\|/; ($name => [ split /,/, $list // '' ]) } split /\n/, $node->safe_psql('readme', <<'END');
SELECT proname, array_to_string((proargnames)[1:pronargs], ',') FROM pg_proc WHERE pronamespace = 'sor'::regnamespace AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
END
my %relation = map { $_ => 1 } split /\n/, $node->safe_psql('readme', "SELECT relname FROM pg_class WHERE relnamespace = 'sor'::regnamespace");
my %setting = map { $_ => 1 } qw(tenant_id user_id actor_kind);
my %trigger = map { $_ => 1 } split /\n/, $node->safe_psql('readme', "SELECT proname FROM pg_proc WHERE pronamespace = 'sor'::regnamespace AND prorettype = 'trigger'::regtype");
my $sqlstates = join '', map { slurp($_) } glob top . '/extension/*/*.{hpp,cpp,sql}';
my (%options, %named);
for my $command (map { $_ eq 'migrate' ? map { "migrate $_" } qw(new review rehearse approve apply rollback status verify) : $_ } keys %login_of)
{
	my $help = $world->sor([ split(/ /, $command), '--help' ]);
	is($help->{rc}, 0, "sor $command --help");
	$options{$command} = { map { $_ => 1 } $help->{out} =~ /(?<![\w-])(--[a-z][a-z-]*)/g };
}
for my $page (@pages)
{
	my $text = slurp(top . "/$page");
	my @wrong;
	push @wrong, "sor.$_" for grep { !$arguments{$_} && !$relation{$_} && !$setting{$_} && !$trigger{$_} } $text =~ /(?<![\w.])sor\.([a-z_]\w*)(?!\w*\.)/g;
	# a signature: name(argument, argument…), as the function has them
	while ($text =~ /`(?:sor\.)?([a-z_]\w+)\(([a-z_, ]*)(…?)\)/g)
	{
		my ($function, $list, $more) = ($1, $2, $3);
		my @given = split /[, ]+/, $list;
		next unless $arguments{$function} && @given;
		my @has = @{ $arguments{$function} };
		push @wrong, "$function($list$more): it takes (@has)" if "@given" ne join ' ', @has[ 0 .. ($#given < $#has ? $#given : $#has) ];
	}
	$named{$_} = 1 for $text =~ /(?<!\w)([a-z_]\w*)/g;
	push @wrong, $_ for grep { !-e top . "/$_" } $text =~ m{`((?:t|sql|driver|extension|scripts|examples|bench)/[\w./-]+)`}g;
	push @wrong, $_ for grep { index($sqlstates, $_) < 0 } $text =~ /\b(SR0\d\d)\b/g;
	# the driver's options, where a command is named
	while ($text =~ /(?:^|[`\s\/])sor (load|work|mcp|relay|purge|verify|report|preflight|metrics|status|pause|resume|redrive|drill|doctor|migrate \w+)\b([^`\n]*)/g)
	{
		my ($command, $rest) = ($1, $2);
		push @wrong, "sor $command $_" for grep { !$options{$command}{$_} } $rest =~ /(?<!\S)(--[a-z][a-z-]*)/g;
	}
	push @wrong, $_ for grep { my $option = $_; !grep { $_->{$option} } values %options } $text =~ /`(--[a-z][a-z-]*)/g;
	is(join("\n", @wrong), '', "$page names what exists");
}
is(join(' ', sort grep { !$named{$_} } keys %arguments), '', 'each function is named on a page');
like($have, qr/\Q$_\E\b/, "$_ was run") for '|sql:README.md', '|sh:README.md', '|sql:docs/claim.md', '|sh:docs/driver.md', '|mcp:docs/mcp.md', '|sh:docs/mcp.md';
done_testing;
