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
	'TRUNCATE shop.expenses', 'TRUNCATE ONLY shop.expenses', 'TRUNCATE shop.free, shop.expenses RESTART IDENTITY', 'TRUNCATE shop.parted', 'TRUNCATE shop.parted_1', 'TRUNCATE shop.parted_later', 'TRUNCATE shop.grandparent',
	'TRUNCATE shop.reference CASCADE',
	'ALTER TABLE shop.expenses RENAME TO old', 'ALTER TABLE IF EXISTS shop.parted_1 RENAME TO old', 'ALTER TABLE shop.expenses RENAME COLUMN note TO remark', 'ALTER TABLE shop.parted RENAME tenant_id TO t', [ 'ALTER VIEW shop.expenses RENAME TO old', 'it is no view' ],
	'ALTER SCHEMA shop RENAME TO store', 'ALTER TABLE shop.expenses RENAME CONSTRAINT amount_given TO x', 'ALTER INDEX shop.expenses_pkey RENAME TO x',
	'ALTER TABLE shop.expenses SET SCHEMA empty', 'ALTER TABLE shop.parted_1 SET SCHEMA empty', 'ALTER TABLE shop.expenses OWNER TO heir', 'ALTER SCHEMA shop OWNER TO heir',
	'ALTER TABLE shop.expenses ALTER code TYPE varchar(3)', 'ALTER TABLE shop.expenses ALTER amount TYPE int', 'ALTER TABLE shop.expenses ALTER amount SET DATA TYPE numeric(4,1)', "ALTER TABLE shop.expenses ALTER note TYPE text USING ''",
	'ALTER TABLE shop.expenses ALTER id TYPE smallint', 'ALTER TABLE shop.expenses ALTER at TYPE date', 'ALTER TABLE shop.expenses ALTER id TYPE boolean USING id::boolean', 'ALTER TABLE shop.parted ALTER note TYPE varchar(3)', 'ALTER TABLE shop.expenses ALTER at TYPE timestamptz USING at::date::timestamptz',
	[ 'ALTER TABLE shop.expenses ALTER tenant_id DROP NOT NULL', 'a primary key' ], 'ALTER TABLE shop.log ALTER tenant_id DROP NOT NULL', 'ALTER TABLE shop.expenses ALTER tenant_id DROP DEFAULT',
	"ALTER TABLE shop.expenses ALTER COLUMN tenant_id SET DEFAULT '00000000-0000-7000-8000-000000000001'", [ 'ALTER TABLE shop.expenses ALTER tenant_id TYPE text', 'a policy' ],
	'ALTER TABLE shop.expenses ALTER line DROP IDENTITY',
	# a table of a type, a column of a parent's, a cast of one's own, deeds that a foreign key does past row security
	'ALTER TYPE shop.shape ALTER ATTRIBUTE amount TYPE numeric(10, 0) CASCADE', 'ALTER TYPE shop.shape RENAME ATTRIBUTE note TO remark CASCADE', 'ALTER TYPE shop.shape DROP ATTRIBUTE note CASCADE',
	'ALTER TABLE shop.base ALTER tenant_id DROP NOT NULL', "ALTER TABLE shop.base ALTER tenant_id SET DEFAULT '00000000-0000-7000-8000-000000000001'", 'ALTER TABLE shop.base ALTER tenant_id DROP DEFAULT',
	'ALTER TABLE shop.expenses ALTER m TYPE text', 'ALTER TABLE shop.expenses ALTER m TYPE text USING m::text',
	'ALTER TABLE shop.expenses ADD FOREIGN KEY (id) REFERENCES shop.reference ON DELETE CASCADE', 'ALTER TABLE shop.expenses ADD COLUMN other int DEFAULT 1 REFERENCES shop.reference ON UPDATE SET NULL',
	'CREATE RULE nothing AS ON INSERT TO shop.expenses DO INSTEAD NOTHING', 'CREATE OR REPLACE RULE kept AS ON DELETE TO shop.parted DO INSTEAD SELECT 1',
	'ALTER TABLE shop.expenses SET UNLOGGED',
	[ 'DROP EXTENSION sor', 'its owner' ], [ 'DROP EXTENSION sor CASCADE', 'its owner' ], [ 'DROP EXTENSION IF EXISTS plpgsql_not, sor CASCADE', 'its owner' ], [ 'DROP SCHEMA sor CASCADE', 'its owner' ], [ 'DROP TABLE sor.agent_events', 'its owner' ],
	[ 'DROP FUNCTION sor.guard_command() CASCADE', 'its owner' ], [ 'DROP FUNCTION sor.current_tenant() CASCADE', 'its owner' ], [ 'ALTER TABLE sor.runs DISABLE ROW LEVEL SECURITY', 'its owner' ], [ 'ALTER SCHEMA sor RENAME TO x', 'its owner' ],
	[ 'ALTER FUNCTION sor.guard_command() OWNER TO owner', 'its owner' ], [ 'ALTER FUNCTION sor.guard_command() RENAME TO x', 'its owner' ], [ 'ALTER EXTENSION sor DROP FUNCTION sor.guard_command()', 'its owner' ], [ 'ALTER EXTENSION sor SET SCHEMA shop', 'its owner' ],
	[ 'CREATE POLICY x ON sor.runs USING (true)', 'its owner' ], [ 'CREATE TRIGGER x BEFORE INSERT ON sor.runs EXECUTE FUNCTION shop.watch()', 'its owner' ], [ 'DROP TYPE sor.runs', 'the table' ],
);
# What fires no event trigger: refused where the library is in the session before, as it is when preloaded.
my @eventless = map { ref ? $_ : [$_] } (
	'REASSIGN OWNED BY owner TO heir', 'REASSIGN OWNED BY CURRENT_USER TO heir',
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

# ---------------------------------------------------------------- what stays possible

my @harmless = (
	# another table of that name: the search path decides, in the guard as in the command
	'SET search_path = decoy, shop; CREATE TABLE expenses (id int); ALTER TABLE expenses DROP COLUMN id; TRUNCATE expenses; DROP TABLE expenses',
	'CREATE TEMP TABLE expenses (id int, more int); SET search_path = pg_temp, shop; ALTER TABLE expenses DROP COLUMN id; TRUNCATE expenses; DROP TABLE expenses',
	'BEGIN; CREATE TEMP TABLE gone (id serial PRIMARY KEY) ON COMMIT DROP; COMMIT', 'CREATE TEMP TABLE kept_until_end (id int); DISCARD TEMP',
	'BEGIN; CREATE TEMP VIEW v AS SELECT 1; CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql RETURN 1; DROP FUNCTION pg_temp.f(); DROP VIEW v; COMMIT',
	# additions
	'ALTER TABLE shop.expenses ADD COLUMN added text, ADD COLUMN numbered int DEFAULT 7', 'ALTER TABLE shop.expenses ADD COLUMN other int REFERENCES shop.reference', 'ALTER TABLE shop.base ALTER id SET DEFAULT 7', 'ALTER TYPE shop.shape ADD ATTRIBUTE more int CASCADE', "ALTER TABLE shop.expenses ADD CONSTRAINT positive CHECK (id > 0) NOT VALID; ALTER TABLE shop.expenses VALIDATE CONSTRAINT positive",
	'ALTER TABLE shop.expenses ALTER code TYPE varchar(30)', 'ALTER TABLE shop.expenses ALTER code TYPE text, ALTER id TYPE bigint', 'ALTER TABLE shop.expenses ALTER amount TYPE numeric(12, 2) USING amount',
	"ALTER TABLE shop.expenses ALTER note SET DEFAULT 'none', ALTER note SET NOT NULL", 'ALTER TABLE shop.expenses ALTER note DROP NOT NULL, ALTER note DROP DEFAULT',
	'ALTER TABLE shop.expenses ALTER note SET STATISTICS 500, SET (fillfactor = 90), CLUSTER ON expenses_note, REPLICA IDENTITY FULL', 'ALTER TABLE shop.expenses SET TABLESPACE pg_default', 'ALTER TABLE ALL IN TABLESPACE pg_default OWNED BY owner SET TABLESPACE pg_default',
	'CREATE POLICY narrower ON shop.expenses AS RESTRICTIVE USING (id > 0)', 'CREATE POLICY open ON shop.free USING (true); ALTER TABLE shop.free ENABLE ROW LEVEL SECURITY; ALTER TABLE shop.free DISABLE ROW LEVEL SECURITY; DROP POLICY open ON shop.free',
	'CREATE TRIGGER second AFTER INSERT ON shop.expenses FOR EACH ROW EXECUTE FUNCTION shop.watch(); ALTER TABLE shop.expenses ENABLE ALWAYS TRIGGER second; CREATE OR REPLACE TRIGGER second AFTER DELETE ON shop.expenses FOR EACH ROW EXECUTE FUNCTION shop.watch()',
	'CREATE TABLE shop.parted_2 PARTITION OF shop.parted FOR VALUES FROM (20) TO (30)', 'CREATE TABLE shop.parted_3 (LIKE shop.parted INCLUDING ALL); ALTER TABLE shop.parted ATTACH PARTITION shop.parted_3 FOR VALUES FROM (30) TO (40)',
	"ALTER TYPE shop.mood ADD VALUE 'bad'; ALTER TYPE shop.address ADD ATTRIBUTE country text; ALTER DOMAIN shop.code SET DEFAULT 'y'", 'CREATE OR REPLACE VIEW shop.allowed AS SELECT id, 1 AS more FROM shop.allowing',
	'CREATE OR REPLACE FUNCTION shop.tool(jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp AS \'SELECT null::jsonb\'; ALTER FUNCTION shop.tool(jsonb) STABLE', 'CREATE INDEX further ON shop.expenses (tenant_id, id, note)',
	'GRANT SELECT ON shop.expenses TO heir; REVOKE SELECT ON shop.expenses FROM heir', "COMMENT ON TABLE shop.expenses IS 'spent'", 'ALTER TABLE shop.expenses OWNER TO owner', 'ALTER SEQUENCE shop.numbers INCREMENT BY 2',
	# upkeep
	'DROP INDEX CONCURRENTLY shop.further', 'CREATE INDEX CONCURRENTLY again ON shop.expenses (note)', 'DROP INDEX shop.again', 'ALTER INDEX shop.expenses_note RENAME TO expenses_remark', 'REINDEX TABLE CONCURRENTLY shop.expenses', 'VACUUM FULL shop.expenses', 'CLUSTER shop.expenses USING expenses_pkey',
	'REFRESH MATERIALIZED VIEW shop.kept', 'ANALYZE shop.expenses', 'BEGIN; LOCK TABLE shop.expenses; COMMIT', 'DELETE FROM shop.allowing',
	# what nothing protects
	'TRUNCATE shop.free RESTART IDENTITY', 'ALTER TABLE shop.free RENAME TO free2; ALTER TABLE shop.free2 DROP COLUMN note, ALTER id TYPE smallint, DROP CONSTRAINT free_pkey, SET UNLOGGED; DROP TABLE shop.free2',
	'CREATE SCHEMA own; CREATE TYPE own.kind AS ENUM (\'a\'); CREATE TABLE own.t (id serial, k own.kind); CREATE VIEW own.v AS SELECT * FROM own.t; ALTER SCHEMA own RENAME TO mine; DROP TYPE mine.kind CASCADE; DROP SCHEMA mine CASCADE',
	'CREATE FUNCTION shop.other() RETURNS int LANGUAGE sql RETURN 1; ALTER FUNCTION shop.other() RENAME TO another; DROP FUNCTION shop.another()', 'CREATE RULE r AS ON INSERT TO shop.log_parent DO INSTEAD NOTHING; DROP RULE r ON shop.log_parent',
	'CREATE TABLE shop.p (id int) PARTITION BY LIST (id); CREATE TABLE shop.p1 PARTITION OF shop.p FOR VALUES IN (1); ALTER TABLE shop.p DETACH PARTITION shop.p1 CONCURRENTLY; DROP TABLE shop.p, shop.p1',
	'DROP TABLE IF EXISTS shop.nothing, nowhere.nothing; ALTER TABLE IF EXISTS shop.nothing DROP COLUMN x', 'DROP OWNED BY heir',
);
{
	my @got = run_all('owner', [ map { "RESET ALL; $_" } @harmless ]);
	is(join("\n", map { $got[$_] eq '' ? () : "$harmless[$_]: $got[$_]" } 0 .. $#harmless), '', scalar(@harmless) . ' things go on as before');
	$node->safe_psql('shop', 'DROP INDEX shop.expenses_remark; CREATE TABLE shop.free (id serial PRIMARY KEY, note text)');
	is(run_as('owner', 'SELECT sor.protect_tenant($$shop.expenses$$)'), '42501', 'only who may protect protects');
	is(join(' ', run_all($super, [ map { "SELECT sor.$_" } q{protect_tenant('shop.expenses')}, q{protect_append_only('shop.log')}, q{register_table('shop.expenses', '{id}')}, q{register_queue('shop."Jobs ""q"""')}, q{protect_tenant('shop.parted')} ])),
		'    ', '… and does so again');
	is(join(' ', map { run_as('owner', "TRUNCATE shop.$_") } qw(parted_2 parted_3)), 'SR009 SR009', '… partitions made or attached since are guarded in sessions that have loaded nothing');
	is(join(' ', run_all($super, [ "CREATE EXTENSION pg_stat_statements VERSION '1.4'", 'ALTER EXTENSION pg_stat_statements UPDATE', 'DROP EXTENSION pg_stat_statements' ])), '  ', 'extensions come, are updated, and go');
}

# ---------------------------------------------------------------- force

{
	my $recorded = "SELECT payload ->> 'command', payload -> 'forced', payload ->> 'login' FROM sor.agent_events WHERE event_type = 'migration.guard_bypassed' ORDER BY id DESC LIMIT 1";
	is(run_as($super, 'DROP TRIGGER watch ON shop.expenses'), 'SR009', 'a superuser is refused as well');
	is(run_as($super, 'SET sor.drop_guard = off; DROP TRIGGER watch ON shop.expenses'), '', '… unless it says so');
	is($node->safe_psql('shop', $recorded), qq{DROP TRIGGER|["dropping trigger watch on shop.expenses"]|$super}, '… which is recorded');
	is(run_as($super, 'TRUNCATE shop.expenses CASCADE', options => '-c sor.drop_guard=off'), '', 'or in the options it connects with');
	is($node->safe_psql('shop', $recorded), qq{TRUNCATE TABLE|["truncating table shop.expenses"]|$super}, '… which is recorded');
	is(run_as($super, 'DROP INDEX CONCURRENTLY shop.expenses_merchant', options => '-c sor.drop_guard=off'), '', 'a unique index goes, concurrently');
	is($node->safe_psql('shop', $recorded), qq{DROP INDEX|["dropping index shop.expenses_merchant"]|$super}, '… which is recorded');
	is(run_as($super, 'BEGIN; SET LOCAL sor.drop_guard = off; COMMIT; DROP TABLE shop.log'), 'SR009', 'for a transaction only');
	is(run_as('owner', 'DROP TABLE shop.log', options => '-c sor.drop_guard=off'), 'SR009', 'another login cannot');
	is(run_as($super, 'SET sor.drop_guard = off; SET SESSION AUTHORIZATION owner; DROP TABLE shop.log'), 'SR009', '… nor a session that a superuser hands over');
	is(join(' ', run_all($super, [ 'SELECT sor.current_tenant()', 'ALTER ROLE owner SET sor.drop_guard = off', 'ALTER DATABASE shop SET sor.drop_guard = off', 'ALTER SYSTEM SET sor.drop_guard = off', 'ALTER FUNCTION shop.run(text) SET sor.drop_guard = off' ])),
		' 22023 22023 55P02 22023', 'and nobody puts it down for others');
	is($node->safe_psql('shop', 'SELECT first_bad IS NULL FROM sor.verify_events($$00000000-0000-0000-0000-000000000000$$)'), 't', 'the history of it verifies');
}

# ---------------------------------------------------------------- dump and restore

my $bin = $node->config_data('--bindir');
sub command_succeeds { my ($what, @command) = @_; local %ENV = $node->_get_env; my $out = `@command 2>&1`; is($? >> 8, 0, $what) or diag($out); return }
my $fingerprints = "SELECT sor.schema_fingerprint('{shop,empty,sor}'), string_agg(evtname || evtenabled::text, ' ' ORDER BY evtname) FROM pg_event_trigger";
my $archive = $world->dir . '/shop.dump';

$node->safe_psql('shop', q{SELECT sor.set_drop_guard('database')});
command_succeeds('a dump', "pg_dump -Fc -f $archive shop");
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_succeeds('restores into another database with no force', "pg_restore --exit-on-error -d restored $archive");
is($node->safe_psql('restored', $fingerprints), $node->safe_psql('shop', $fingerprints), '… as it was, guard and all');
is(join(' ', run_all('owner', [ 'DROP TABLE shop.expenses CASCADE', 'DROP TABLE shop.free', 'TRUNCATE shop.expenses' ], database => 'restored')), 'SR009 SR009 SR009', '… and guarded at once, as far as it was');
$node->safe_psql('postgres', 'CREATE DATABASE restored_in_parallel');
command_succeeds('… by several jobs too', "pg_restore -j 2 --exit-on-error -d restored_in_parallel $archive");
is($node->safe_psql('restored_in_parallel', $fingerprints), $node->safe_psql('shop', $fingerprints), '… as it was');
{
	local $ENV{PGOPTIONS} = '';
	local %ENV = $node->_get_env;
	my $out = `pg_restore --clean --exit-on-error -d restored $archive 2>&1`;
	isnt($? >> 8, 0, 'a restore over it is refused');
	like($out, qr/was refused/, '… by the guard');
	$ENV{PGOPTIONS} = '-c sor.drop_guard=off';
	$out = `pg_restore --clean --if-exists --exit-on-error -d restored $archive 2>&1`;
	is($? >> 8, 0, '… and done by a superuser who forces it') or diag($out);
	is($node->safe_psql('restored', $fingerprints), $node->safe_psql('shop', $fingerprints), '… as it was');
}

# ---------------------------------------------------------------- the whole database

{
	is($node->safe_psql('shop', 'SELECT * FROM sor.drop_guard()'), 'database|t|f', 'the guard covers the database and new sessions have the library');
	is($node->safe_psql('shop', 'SHOW session_preload_libraries'), 'sor', '… from their start');
	$node->safe_psql('shop', "INSERT INTO shop.free (note) VALUES ('kept')");
	my @more = (
		'TRUNCATE shop.free', 'TRUNCATE shop.grandparent, shop.free', 'DROP TABLE shop.free', 'ALTER TABLE shop.free DROP COLUMN note', 'ALTER TABLE shop.free RENAME TO x', 'ALTER TABLE shop.free RENAME note TO x', 'ALTER TABLE shop.free ALTER id TYPE smallint',
		'ALTER TABLE shop.free SET SCHEMA empty', 'ALTER TABLE shop.free OWNER TO heir', 'ALTER TABLE shop.free DROP CONSTRAINT free_pkey', 'ALTER TABLE shop.free SET UNLOGGED', 'DROP VIEW shop.allowed CASCADE', 'DROP MATERIALIZED VIEW shop.kept CASCADE', 'DROP SEQUENCE shop.numbers CASCADE',
		'DROP FUNCTION shop.run(text)', 'DROP PROCEDURE shop.run_procedure(text)', 'DROP SCHEMA empty', 'ALTER SCHEMA empty RENAME TO x', 'DROP TYPE shop.address CASCADE', 'DROP DOMAIN shop.code CASCADE', 'DROP OWNED BY owner CASCADE', 'REASSIGN OWNED BY owner TO heir', @{ $attempts[0] }[0]);
	my @got = run_all('owner', \@more);
	is(join("\n", map { $got[$_] eq 'SR009' ? () : "$more[$_]: " . ($got[$_] || 'done') } 0 .. $#more), '', scalar(@more) . ' attempts at what only the database holds are refused');
	is(run_as('owner', 'REASSIGN OWNED BY owner TO heir'), 'SR009', 'REASSIGN OWNED in a session of its own too');
	my @still = ('CREATE TABLE shop.more (id int PRIMARY KEY, note text); CREATE INDEX more_note ON shop.more (note); DROP INDEX shop.more_note; INSERT INTO shop.more VALUES (1); ALTER TABLE shop.more ADD COLUMN x int; ALTER TABLE shop.more ALTER id TYPE bigint',
		'CREATE TEMP TABLE t (id serial) ON COMMIT DROP', 'CREATE TEMP TABLE t (id int); ALTER TABLE t RENAME TO u; TRUNCATE u; DROP TABLE u', 'CREATE STATISTICS shop.s ON id, note FROM shop.more; DROP STATISTICS shop.s', 'REINDEX TABLE CONCURRENTLY shop.more', 'VACUUM FULL shop.more', 'REFRESH MATERIALIZED VIEW shop.kept',
		'CREATE OR REPLACE FUNCTION shop.plus() RETURNS int LANGUAGE sql AS $$SELECT 2$$');
	@got = run_all('owner', \@still);
	is(join("\n", map { $got[$_] eq '' ? () : "$still[$_]: $got[$_]" } 0 .. $#still), '', '… while additions and upkeep go on');
	is(join(' ', run_all($super, [ "CREATE EXTENSION pg_stat_statements VERSION '1.4'", 'ALTER EXTENSION pg_stat_statements UPDATE', 'DROP EXTENSION pg_stat_statements' ])), '  SR009', 'and extensions come and are updated');
	is(join(' ', run_all('owner', [ "SELECT sor.set_drop_guard('protected')", "UPDATE sor.guard_coverage SET coverage = 'protected'", 'DELETE FROM sor.guard_coverage' ])), '42501 42501 42501', 'who is no operator cannot take it back');
	$node->safe_psql('shop', q{CREATE ROLE guard_operator LOGIN; GRANT sor_operator TO guard_operator});
	is(run_as('guard_operator', "SELECT sor.set_drop_guard('protected')"), '', 'an operator can');
	is(run_as('owner', 'DROP TABLE shop.free'), '', '… and it is as it was');
	is(run_as('guard_operator', "SELECT sor.set_drop_guard('database')"), '', '… and widen it again');
	is($node->safe_psql('shop', q{SELECT string_agg(payload ->> 'coverage', ' ' ORDER BY id) FROM sor.agent_events WHERE event_type = 'migration.guard_set'}), 'database protected database', '… which is recorded');
	$node->safe_psql('postgres', q{CREATE DATABASE others; ALTER DATABASE others SET session_preload_libraries = 'auto_explain'});
	$node->safe_psql('others', q{CREATE EXTENSION sor; SELECT sor.set_drop_guard('database'); SELECT sor.set_drop_guard('database')});
	is($node->safe_psql('others', 'SHOW session_preload_libraries') =~ tr/"//dr, 'auto_explain, sor', 'what the database loads besides stays');
}

# ---------------------------------------------------------------- databases

{
	$node->safe_psql('postgres', 'ALTER DATABASE others OWNER TO owner; ALTER ROLE owner CREATEDB; CREATE DATABASE scratch OWNER owner');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sor'");
	$node->restart;
	is($node->safe_psql('shop', 'SELECT * FROM sor.drop_guard()'), 'database|t|t', 'with shared_preload_libraries, databases are guarded');
	is(join(' ', run_all('owner', [ 'DROP DATABASE others', 'DROP DATABASE IF EXISTS others WITH (FORCE)' ], database => 'postgres')), 'SR009 SR009', 'its owner cannot drop a database that loads sor');
	is(run_as($super, 'DROP DATABASE others', database => 'postgres'), 'SR009', '… nor a superuser');
	is(run_as('owner', 'DROP DATABASE scratch', database => 'postgres'), '', '… but another');
	is(run_as($super, 'DROP DATABASE others', database => 'postgres', options => '-c sor.drop_guard=off'), '', 'and by force a superuser');
	like(slurp($node->logfile), qr/WARNING:  the drop guard was bypassed: dropping database others/, '… which the log says');
	is(run_as('owner', 'CREATE TABLE no_sor (id int); TRUNCATE no_sor; ALTER TABLE no_sor RENAME TO t; DROP TABLE t', database => 'postgres'), '42501 42P01 42P01 42P01', 'a database without sor is as it was');
	is(run_as($super, 'CREATE TABLE no_sor (id int); TRUNCATE no_sor; ALTER TABLE no_sor RENAME TO t; DROP TABLE t', database => 'postgres'), '', '… a database without sor is as it was');
}

# ---------------------------------------------------------------- pg_upgrade

SKIP:
{
	skip 'no pg_upgrade', 4 unless -x "$bin/pg_upgrade";
	my $expected = $node->safe_psql('shop', $fingerprints);
	my $new = PostgreSQL::Test::Cluster->new('upgraded');
	$new->init;
	$new->append_conf('postgresql.conf', "shared_preload_libraries = 'sor'");
	$node->stop;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chdir $dir or die;
	my $out = `$bin/pg_upgrade -b $bin -B $bin -d @{[ $node->data_dir ]} -D @{[ $new->data_dir ]} -p @{[ $node->port ]} -P @{[ $new->port ]} -s @{[ $new->host ]} -U $super 2>&1`;
	is($? >> 8, 0, 'pg_upgrade passes') or diag($out);
	chdir top or die;
	$new->start;
	is($new->safe_psql('shop', $fingerprints), $expected, '… everything is as it was');
	$node = $new;
	is(join(' ', run_all('owner', [ 'DROP TABLE shop.expenses CASCADE', 'TRUNCATE shop.log', 'DROP TABLE shop.grandparent CASCADE' ])), 'SR009 SR004 SR009', '… and guarded');
}
done_testing;
