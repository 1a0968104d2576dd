# The permission matrix, cell by cell: what a user's role allows, a person and the agent that acts for that person alike.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json);
use Test::More;

my @roles = qw(admin member viewer);
my @columns = qw(view_dashboard edit_own_data run_agent_action invite_user see_billing);
my %matrix = (admin => [ 1, 1, 1, 1, 1 ], member => [ 1, 1, 1, 0, 0 ], viewer => [ 1, 0, 0, 0, 0 ]);
my %minimum = (view_dashboard => 'viewer', edit_own_data => 'member', run_agent_action => 'member', invite_user => 'admin', see_billing => 'admin');

my $world = SorTest->new(tenants => ['Alice']);
my $alice = $world->tenant_id('Alice');
my %user = map { split /\|/ } split /\n/, $world->sql("SELECT role, user_id FROM sor.user_roles WHERE tenant_id = '$alice'");
my $sql = "SET ROLE reconciler;\n";
$sql .= "CREATE FUNCTION reconciler.$_(jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp AS \$\$ SELECT jsonb_build_object('$_', sor.current_user_id()) \$\$;\n"
	for @columns;
$sql .= "RESET ROLE;\n";
$sql .= "SELECT sor.register_tool('$_', 'reconciler.$_(jsonb)', '$minimum{$_}', 'the column $_ of the matrix', '{\"type\": \"object\"}');\n" for @columns;
my $all = join ',', values %user;
$sql .= "SELECT sor.grant_tenant('reconciler_worker', '$alice', '{$all}', '{agent}');\n";
$sql .= "SELECT sor.grant_tenant('reconciler_loader', '$alice', '{$all}', '{user}');\n";
my ($rc, $out, $err) = $world->sql_as('operator', $sql);
is($rc, 0, 'five tools registered') or diag($err);

sub call
{
	my ($login, $user, $run, $tool, $arguments) = @_;
	my ($code, $answer, $error) = $world->sql_as($login, "SELECT sor.call_tool('$alice', '$user', '$run->[0]', $run->[1], 1, sor.uuid_v7(), '$tool', '$arguments')");
	return $code == 0 ? decode_json($answer) : { status => "raised: $error" };
}
for my $login (qw(reconciler_worker reconciler_loader))
{
	my $who = $login eq 'reconciler_worker' ? 'the agent for' : 'a person,';
	for my $role (@roles)
	{
		my (undef, $started, $e) = $world->sql_as($login, "SELECT run_id, run_token FROM sor.start_run('$alice', '$login $role', null, '$user{$role}')");
		my $run = [ split /\|/, $started ];
		is(scalar @$run, 2, "$who $role: a run") or diag($e);
		$world->sql_as($login, "SELECT sor.begin_turn('$alice', '$run->[0]', $run->[1])");
		for my $i (0 .. $#columns)
		{
			my $tool = $columns[$i];
			my $answer = call($login, $user{$role}, $run, $tool, '{}');
			if ($matrix{$role}[$i])
			{
				is($answer->{status}, 'succeeded', "$who $role may $tool") or diag(explain($answer));
				is($answer->{result}{$tool}, $user{$role}, "as $role") if $answer->{status} eq 'succeeded';
			}
			else
			{
				is($answer->{status}, 'refused', "$who $role may not $tool");
				is($answer->{error}{sqlstate}, 'SR003', 'SR003');
				like("$answer->{error}{message} $answer->{error}{hint}", qr/$minimum{$tool}/, 'it names the role needed');
			}
		}
		my (undef, $tools) = $world->sql_as($login, "SELECT string_agg(name, ',' ORDER BY name) FROM sor.list_tools('$alice', '$user{$role}') WHERE name = ANY ('{@{[join ',', @columns]}}')");
		is($tools, join(',', sort map { $columns[$_] } grep { $matrix{$role}[$_] } 0 .. $#columns), "$who $role: list_tools shows what may be called");
	}
}
is($world->sql("SELECT count(*) FROM sor.tool_calls WHERE status = 'refused'"), '12', 'each refusal is journaled');
is($world->sql("SELECT count(*) FROM sor.agent_events WHERE event_type = 'tool_call.refused'"), '12', 'and an event');

# own data: a member writes the rows that it owns, an admin all of the tenant's
($rc, $out, $err) = $world->sql_as('operator', q{SET ROLE reconciler;
	CREATE TABLE reconciler.notes (tenant_id uuid NOT NULL, id text NOT NULL, owner uuid NOT NULL, body text, PRIMARY KEY (tenant_id, id));
	RESET ROLE;
	SELECT sor.protect_tenant('reconciler.notes');
	SELECT sor.register_table('reconciler.notes', key => '{id}', owner_column => 'owner')});
is($rc, 0, 'a table with an owner column') or diag($err);
my %run = map {
	my $role = $_;
	my (undef, $started) = $world->sql_as('reconciler_worker', "SELECT run_id, run_token FROM sor.start_run('$alice', 'own $role', null, '$user{$role}')");
	my $run = [ split /\|/, $started ];
	$world->sql_as('reconciler_worker', "SELECT sor.begin_turn('$alice', '$run->[0]', $run->[1])");
	$role => $run
} @roles;
sub note_write { my ($role, $id, $owner) = @_; return call('reconciler_worker', $user{$role}, $run{$role}, 'write',
	qq({"table": "notes", "on_conflict": "update", "record": {"id": "$id", "owner": "$user{$owner}", "body": "by $role"}})) }
is(note_write('member', 'm', 'member')->{status}, 'succeeded', 'a member writes its own row');
isnt(note_write('member', 'a', 'admin')->{status}, 'succeeded', 'not one in another\'s name');
is(note_write('admin', 'a', 'admin')->{status}, 'succeeded', 'an admin its own');
isnt(note_write('member', 'a', 'member')->{status}, 'succeeded', 'a member cannot take over another\'s row');
is(note_write('admin', 'm', 'member')->{status}, 'succeeded', 'an admin edits any row of the tenant');
isnt(note_write('viewer', 'v', 'viewer')->{status}, 'succeeded', 'a viewer none');
is($world->sql('SELECT string_agg(id || body, \',\' ORDER BY id) FROM reconciler.notes'), 'aby admin,mby admin', 'what was written');

# neither user nor kind beyond the grant
my ($c, $o, $e) = $world->sql_as('reconciler_relay', "SELECT sor.start_run('$alice', 'x')");
like($e, qr/permission denied for function/, 'a relay starts no run');
$world->sql_as('operator', "SELECT sor.grant_tenant('reconciler_worker', '$alice', '{$user{viewer}}', '{agent}')");
($c, $o, $e) = $world->sql_as('reconciler_worker', "\\set VERBOSITY verbose\nSELECT sor.start_run('$alice', 'x', null, '$user{admin}')");
like($e, qr/ERROR:  SR002:.*HINT:/s, 'a worker cannot act for a user that it was not given');
done_testing;
