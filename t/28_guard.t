# The drop guard, with the real commands of a login that owns its tables and is no superuser: what it refuses, in every way
# that SQL can be run, with SR009 and nothing changed; that each attempt would have done its harm without the guard; and
# what goes on as before: dump, restore, upgrade, temporary tables, concurrent indexes, extensions.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();
use SorTest qw(slurp spew top);
use Test::More;

my $world = SorTest->new(bare => 1);
my $node = $world->node;
my $super = $world->superuser;

# Runs pieces of SQL in one session, one after the other, whatever fails: for each its SQLSTATEs, '' when it was done.
sub run_all
{
	my ($login, $pieces, %params) = @_;
	my ($out, $err) = ('', '');
	local $ENV{PGOPTIONS} = $params{options} // '';
	$node->psql($params{database} // 'shop', "\\set VERBOSITY sqlstate\n" . join("\n", map { "\\warn \@\@\@\n$_;" } @$pieces),
		stdout => \$out, stderr => \$err, on_error_stop => 0, extra_params => [ '-U', $login ]);
	my ($start, @errors) = split /^\@\@\@(?:\n|\z)/m, $err, -1;
	die "$login: $start" if @errors != @$pieces;
	return map { join ' ', /(?:ERROR|FATAL|PANIC):\s+(\w+)/g } @errors;
}

# The same in a session of its own.
sub run_as
{
	my ($login, $sql, %params) = @_;
	return (run_all($login, [$sql], %params))[0];
}

sub setup
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, slurp(top . '/t/guard_objects.sql'));
}

$node->safe_psql('postgres', <<'END');
CREATE ROLE owner LOGIN;
CREATE ROLE heir NOLOGIN;
GRANT heir TO owner;
GRANT SET ON PARAMETER session_replication_role TO owner;
END
setup('shop');
my $fingerprint = "SELECT sor.schema_fingerprint('{shop,empty,sor}'), (SELECT count(*) FROM pg_event_trigger WHERE evtenabled = 'A')";
my $before = $node->safe_psql('shop', $fingerprint);

# ---------------------------------------------------------------- attempts

# [statement, why it cannot succeed without the guard either]: the guard speaks first
my @attempts = map { ref ? $_ : [$_] } (
	[ 'DROP TABLE shop.expenses', 'a child' ], 'DROP TABLE shop.expenses CASCADE', 'DROP TABLE IF EXISTS shop.nothing, shop.free, shop.expenses CASCADE',
	'DROP TABLE shop.log', 'DROP TABLE shop.parted', 'DROP TABLE shop.parted_1', 'DROP TABLE shop.parted_later', 'DROP TABLE shop."Jobs ""q"""',
	'DROP TABLE shop.expenses_more', 'DROP TABLE shop.grandparent CASCADE',
	[ 'DROP TABLE shop.reference', 'a foreign key' ], 'DROP TABLE shop.reference CASCADE',
	'ALTER TABLE shop.expenses DROP COLUMN note', 'ALTER TABLE ONLY shop.expenses DROP COLUMN IF EXISTS note', 'ALTER TABLE IF EXISTS shop.expenses DROP COLUMN tenant_id CASCADE',
	'ALTER TABLE shop.expenses ADD COLUMN more int, DROP COLUMN note', 'ALTER TABLE shop.parted DROP COLUMN note', 'ALTER TABLE shop.grandparent DROP COLUMN old CASCADE',
	[ 'ALTER TABLE shop.reference DROP COLUMN id', 'a foreign key' ], 'ALTER TABLE shop.reference DROP COLUMN id CASCADE',
	'DROP SCHEMA shop CASCADE', [ 'DROP SCHEMA shop', 'it is not empty' ], 'DROP SCHEMA empty, shop CASCADE',
	[ 'DROP TYPE shop.mood', 'columns' ], 'DROP TYPE shop.mood CASCADE', [ 'DROP TYPE shop.address', 'columns' ], 'DROP TYPE shop.address CASCADE', [ 'DROP TYPE shop.expenses', 'the table' ],
	'ALTER TYPE shop.address DROP ATTRIBUTE street', 'ALTER TYPE shop.address RENAME ATTRIBUTE street TO road', 'ALTER TYPE shop.mood RENAME TO mood2', "ALTER TYPE shop.mood RENAME VALUE 'good' TO 'bad'",
	'ALTER TYPE shop.mood SET SCHEMA empty', 'ALTER TYPE shop.mood OWNER TO heir',
	[ 'DROP DOMAIN shop.code', 'columns' ], 'DROP DOMAIN shop.code CASCADE', 'ALTER DOMAIN shop.code DROP CONSTRAINT short', 'ALTER DOMAIN shop.code DROP NOT NULL', 'ALTER DOMAIN shop.code RENAME TO code2',
	'ALTER DOMAIN shop.code RENAME CONSTRAINT short TO long', 'ALTER DOMAIN shop.code OWNER TO heir', 'ALTER DOMAIN shop.code SET SCHEMA empty',
	[ 'DROP SEQUENCE shop.numbers', 'a default' ], 'DROP SEQUENCE shop.numbers CASCADE', [ 'DROP SEQUENCE shop.expenses_serial_no_seq', 'a default' ], 'DROP SEQUENCE shop.expenses_serial_no_seq CASCADE',
	[ 'DROP FUNCTION shop.plus()', 'a default' ], 'DROP FUNCTION shop.plus() CASCADE', [ 'DROP FUNCTION shop.watch()', 'a trigger' ], 'DROP FUNCTION shop.watch() CASCADE', 'DROP ROUTINE shop.plus CASCADE',
	[ 'DROP VIEW shop.allowed', 'a policy' ], 'DROP VIEW shop.allowed CASCADE', [ 'DROP MATERIALIZED VIEW shop.kept', 'a policy' ], 'DROP MATERIALIZED VIEW shop.kept CASCADE',
	'DROP FUNCTION shop.tool(jsonb)', 'DROP FUNCTION shop.tool', 'ALTER FUNCTION shop.tool(jsonb) OWNER TO heir', 'ALTER FUNCTION shop.tool RENAME TO tool2', 'ALTER FUNCTION shop.tool(jsonb) SET SCHEMA empty', 'ALTER ROUTINE shop.tool(jsonb) OWNER TO heir',
	'DROP OWNED BY owner CASCADE', 'DROP OWNED BY CURRENT_USER CASCADE', 'DROP OWNED BY heir, owner CASCADE',
	'DROP POLICY tenant_isolation ON shop.expenses', 'DROP POLICY IF EXISTS limits ON shop.expenses', 'ALTER POLICY tenant_isolation ON shop.expenses USING (true)',
	'ALTER POLICY tenant_isolation ON shop.expenses TO heir', 'CREATE POLICY everything ON shop.expenses USING (true)', 'CREATE POLICY everything ON shop.parted_1 FOR SELECT USING (true)',
	'ALTER POLICY tenant_isolation ON shop.expenses RENAME TO other',
	'DROP TRIGGER sor_refuse_truncate ON shop.expenses', 'DROP TRIGGER append_only_rows ON shop.log', 'DROP TRIGGER IF EXISTS append_only_truncate ON shop.log', 'DROP TRIGGER "sor_queue_Jobs ""q""_insert" ON shop."Jobs ""q"""',
	'DROP TRIGGER watch ON shop.expenses', 'ALTER TRIGGER append_only_rows ON shop.log RENAME TO gone',
	'CREATE OR REPLACE TRIGGER append_only_truncate BEFORE TRUNCATE ON shop.log FOR EACH STATEMENT EXECUTE FUNCTION shop.watch()',
	'ALTER TABLE shop.expenses DROP CONSTRAINT expenses_pkey', 'ALTER TABLE shop.expenses DROP CONSTRAINT amount_given', 'ALTER TABLE shop.expenses DROP CONSTRAINT to_reference', 'ALTER TABLE shop.expenses DROP CONSTRAINT IF EXISTS expenses_tenant_id_code_key CASCADE',
	'DROP INDEX shop.expenses_merchant', 'DROP INDEX CONCURRENTLY shop.expenses_merchant', [ 'DROP INDEX shop.expenses_pkey', 'the constraint' ],
	'ALTER TABLE shop.expenses DISABLE TRIGGER sor_refuse_truncate', 'ALTER TABLE shop.expenses DISABLE TRIGGER USER', 'ALTER TABLE shop.log DISABLE TRIGGER append_only_rows', 'ALTER TABLE shop.log ENABLE TRIGGER append_only_rows',
	'ALTER TABLE shop.log ENABLE REPLICA TRIGGER append_only_rows', 'ALTER TABLE shop.log ENABLE TRIGGER USER', 'ALTER TABLE shop.expenses DISABLE TRIGGER watch', 'ALTER TABLE shop.log ADD COLUMN x int, DISABLE TRIGGER append_only_truncate',
	'ALTER TABLE shop.expenses DISABLE ROW LEVEL SECURITY', 'ALTER TABLE shop.expenses NO FORCE ROW LEVEL SECURITY', 'ALTER TABLE shop.parted_1 NO FORCE ROW LEVEL SECURITY',
	'ALTER TABLE shop.parted DETACH PARTITION shop.parted_1', 'ALTER TABLE shop.parted DETACH PARTITION shop.parted_1 CONCURRENTLY', 'ALTER TABLE shop.expenses_more NO INHERIT shop.expenses', 'ALTER TABLE shop.expenses NO INHERIT shop.grandparent',
	'ALTER TABLE shop.log INHERIT shop.log_parent', 'ALTER TABLE shop.free_parted ATTACH PARTITION shop.expenses_like FOR VALUES IN (1)',
	'TRUNCATE shop.expenses', 'TRUNCATE ONLY shop.expenses', 'TRUNCATE shop.free, shop.expenses RESTART IDENTITY', 'TRUNCATE shop.parted', 'TRUNCATE shop.parted_1', 'TRUNCATE shop.grandparent',
	'TRUNCATE shop.reference CASCADE',
	'ALTER TABLE shop.expenses RENAME TO old', 'ALTER TABLE IF EXISTS shop.parted_1 RENAME TO old', 'ALTER TABLE shop.expenses RENAME COLUMN note TO remark', 'ALTER TABLE shop.parted RENAME tenant_id TO t', [ 'ALTER VIEW shop.expenses RENAME TO old', 'it is no view' ],
	'ALTER SCHEMA shop RENAME TO store', 'ALTER TABLE shop.expenses RENAME CONSTRAINT amount_given TO x', 'ALTER INDEX shop.expenses_pkey RENAME TO x',
	'ALTER TABLE shop.expenses SET SCHEMA empty', 'ALTER TABLE shop.parted_1 SET SCHEMA empty', 'ALTER TABLE shop.expenses OWNER TO heir', 'ALTER SCHEMA shop OWNER TO heir',
	'ALTER TABLE shop.expenses ALTER code TYPE varchar(3)', 'ALTER TABLE shop.expenses ALTER amount TYPE int', 'ALTER TABLE shop.expenses ALTER amount SET DATA TYPE numeric(4,1)', "ALTER TABLE shop.expenses ALTER note TYPE text USING ''",
	'ALTER TABLE shop.expenses ALTER id TYPE smallint', 'ALTER TABLE shop.expenses ALTER at TYPE date', 'ALTER TABLE shop.expenses ALTER id TYPE boolean USING id::boolean', 'ALTER TABLE shop.parted ALTER note TYPE varchar(3)', 'ALTER TABLE shop.expenses ALTER at TYPE timestamptz USING at::date::timestamptz',
	[ 'ALTER TABLE shop.expenses ALTER tenant_id DROP NOT NULL', 'a primary key' ], 'ALTER TABLE shop.log ALTER tenant_id DROP NOT NULL', 'ALTER TABLE shop.expenses ALTER tenant_id DROP DEFAULT',
	"ALTER TABLE shop.expenses ALTER COLUMN tenant_id SET DEFAULT '00000000-0000-7000-8000-000000000001'", [ 'ALTER TABLE shop.expenses ALTER tenant_id TYPE text', 'a policy' ],
	'ALTER TABLE shop.expenses ALTER line DROP IDENTITY',
	'CREATE RULE nothing AS ON INSERT TO shop.expenses DO INSTEAD NOTHING', 'CREATE OR REPLACE RULE kept AS ON DELETE TO shop.parted DO INSTEAD SELECT 1',
	'ALTER TABLE shop.expenses SET UNLOGGED',
	[ 'DROP EXTENSION sor', 'its owner' ], [ 'DROP EXTENSION sor CASCADE', 'its owner' ], [ 'DROP EXTENSION IF EXISTS plpgsql_not, sor CASCADE', 'its owner' ], [ 'DROP SCHEMA sor CASCADE', 'its owner' ], [ 'DROP TABLE sor.agent_events', 'its owner' ],
	[ 'DROP FUNCTION sor.guard_command() CASCADE', 'its owner' ], [ 'DROP FUNCTION sor.current_tenant() CASCADE', 'its owner' ], [ 'ALTER TABLE sor.runs DISABLE ROW LEVEL SECURITY', 'its owner' ], [ 'ALTER SCHEMA sor RENAME TO x', 'its owner' ],
	[ 'ALTER FUNCTION sor.guard_command() OWNER TO owner', 'its owner' ], [ 'ALTER FUNCTION sor.guard_command() RENAME TO x', 'its owner' ], [ 'ALTER EXTENSION sor DROP FUNCTION sor.guard_command()', 'its owner' ], [ 'ALTER EXTENSION sor SET SCHEMA shop', 'its owner' ],
	[ 'CREATE POLICY x ON sor.runs USING (true)', 'its owner' ], [ 'CREATE TRIGGER x BEFORE INSERT ON sor.runs EXECUTE FUNCTION shop.watch()', 'its owner' ], [ 'DROP TYPE sor.runs', 'the table' ],
);
# What fires no event trigger: refused where the library is in the session before, as it is when preloaded.
my @eventless = map { ref ? $_ : [$_] } (
	'REASSIGN OWNED BY owner TO heir', 'REASSIGN OWNED BY CURRENT_USER TO heir', 'TRUNCATE shop.parted_later',
	[ 'DROP EVENT TRIGGER sor_drop_guard', 'its owner' ], [ 'ALTER EVENT TRIGGER sor_drop_guard DISABLE', 'its owner' ], [ 'ALTER EVENT TRIGGER sor_drop_guard_done ENABLE REPLICA', 'its owner' ],
	[ 'ALTER EVENT TRIGGER sor_drop_guard RENAME TO x', 'its owner' ], [ 'ALTER EVENT TRIGGER sor_drop_guard OWNER TO owner', 'its owner' ],
);

sub quoted { my ($sql) = @_; return '$attempt$' . $sql . '$attempt$' }
my %ways = (
	'in a session of its own' => sub { $_[0] },
	'in a transaction' => sub { "BEGIN; $_[0]; COMMIT" },
	'in a savepoint' => sub { "BEGIN; SAVEPOINT s; $_[0]; ROLLBACK TO s; COMMIT" },
	'in a DO block' => sub { 'DO $do$ BEGIN EXECUTE ' . quoted($_[0]) . '; END $do$' },
	'in a function' => sub { 'SELECT shop.run(' . quoted($_[0]) . ')' },
	'in a procedure' => sub { 'CALL shop.run_procedure(' . quoted($_[0]) . ')' },
	"in a superuser's function" => sub { 'SELECT public.run_as_superuser(' . quoted($_[0]) . ')' },
	'in a replica session' => sub { "SET session_replication_role = replica; $_[0]" },
	'under another role' => sub { "SET ROLE heir; RESET ROLE; $_[0]" },
	'with the guard set off by one who may not' => sub { "SET sor.drop_guard = off; $_[0]" },
	'through the search path' => sub { my $sql = $_[0] =~ s/\bshop\.//gr; "SET search_path = decoy, shop; $sql" },
);

for my $way (sort keys %ways)
{
	my @of_way = grep { ($way !~ /transaction|savepoint|block|function|procedure/ || $_->[0] !~ /CONCURRENTLY/) && ($way !~ /role/ || $_->[0] !~ /heir/) } @attempts;
	my @got = $way =~ /its own/ ? map { run_as('owner', $_->[0]) } @of_way : run_all('owner', [ map { 'RESET ALL; ' . $ways{$way}->($_->[0]) } @of_way ]);
	# a superuser's function could drop history, which has an SQLSTATE of its own
	my $refused = $way =~ /may not/ ? qr/^(?:42501 )?SR009$/ : $way =~ /superuser/ ? qr/^SR00[49]$/ : qr/^SR009$/;
	my @wrong = map { $got[$_] =~ $refused ? () : "$of_way[$_][0]: " . ($got[$_] || 'done') } 0 .. $#of_way;
	is(join("\n", @wrong), '', scalar(@of_way) . " attempts $way are refused with SR009");
	is($node->safe_psql('shop', $fingerprint), $before, '… and nothing is changed');
}
{
	my @pieces = map { $_->[0] } @eventless;
	my @got = run_all('owner', [ 'SELECT sor.current_tenant()', @pieces ]);
	shift @got;
	is(join("\n", map { $got[$_] eq 'SR009' ? () : "$pieces[$_]: " . ($got[$_] || 'done') } 0 .. $#pieces), '', 'so is what fires no event trigger, in a session that has the library');
	is($node->safe_psql('shop', $fingerprint), $before, '… and nothing is changed');
}

# Each would have succeeded: forced by a superuser in the owner's place it does, and is taken back.
{
	my @possible = grep { !$_->[1] && $_->[0] !~ /CONCURRENTLY/ } @attempts, @eventless;
	my @got = run_all($super, [ map { "SET ROLE owner; BEGIN; $_->[0]; ROLLBACK" } @possible ], options => '-c sor.drop_guard=off');
	is(join("\n", map { $got[$_] eq '' ? () : "$possible[$_][0]: $got[$_]" } 0 .. $#possible), '', scalar(@possible) . ' attempts would succeed but for the guard');
	is($node->safe_psql('shop', $fingerprint), $before, '… and nothing is changed');
}
done_testing;
