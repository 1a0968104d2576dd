# A database that was made out of another's dump has the other's fingerprint, object by object, and its tables their digests.
use strict;
use warnings FATAL => 'all';
use SorTest qw(slurp spew top);
use Test::More;

my $world = SorTest->new(conf => "wal_level = logical\n");
my $node = $world->node;
$world->load_ok($world->statement(20), '--tenant', 'Alice', '--set', 'statement=1');

# one of each kind of object, as sql/fingerprint.sql makes them, and what a dump is known to write otherwise than it was made
my ($objects) = split /^-- The aspects/m, slurp(top . '/sql/fingerprint.sql');
my $more = <<'END';
CREATE TABLE fp.owners (at date NOT NULL, id int NOT NULL, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE fp.owners_old PARTITION OF fp.owners FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE fp.owners_new PARTITION OF fp.owners DEFAULT PARTITION BY HASH (id);
CREATE TABLE fp.owners_new_0 PARTITION OF fp.owners_new FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE fp.owned (at date NOT NULL, id int NOT NULL, word varchar(9) CHECK (word NOT IN ('x', 'y')) DEFAULT 'z',
    CONSTRAINT of FOREIGN KEY (at, id) REFERENCES fp.owners) PARTITION BY LIST (id);
CREATE TABLE fp.owned_1 (id int NOT NULL, gone int, at date NOT NULL, word varchar(9), CONSTRAINT own_name FOREIGN KEY (at, id) REFERENCES fp.owners);
ALTER TABLE fp.owned_1 DROP gone, ADD CONSTRAINT owned_word_check CHECK (word NOT IN ('x', 'y')), ALTER word SET DEFAULT 'other';
ALTER TABLE fp.owned ATTACH PARTITION fp.owned_1 FOR VALUES IN (1);
CREATE INDEX ON fp.owned (word) WHERE word IN ('p', 'q');
CREATE TRIGGER on_each AFTER INSERT ON fp.owned FOR EACH ROW EXECUTE FUNCTION fp.act();
ALTER TABLE fp.owned_1 DISABLE TRIGGER on_each;
CREATE VIEW fp.joined WITH (security_barrier) AS SELECT o.*, p.id AS of, (o.word IN ('p', 'q') AND o.at BETWEEN '2026-01-01' AND current_date) AS chosen,
    ARRAY['a'::varchar, o.word]::text[] AS both, CASE WHEN o.id > -1 THEN 'x' ELSE NULL END AS kind
    FROM fp.owned o LEFT JOIN fp.owners p USING (at) WHERE EXISTS (SELECT FROM fp.parts WHERE n = o.id) UNION ALL SELECT NULL, 1, 'w', 2, true, '{}', 'y' ORDER BY 1;
CREATE FUNCTION fp.atomic(word varchar) RETURNS boolean BEGIN ATOMIC SELECT word IN ('a', 'b'); END;
CREATE TABLE fp.many_kinds (a int[] DEFAULT '{1,2}', b jsonb DEFAULT '{"a": [1]}', c bytea DEFAULT '\x00ff', d text COLLATE "C" DEFAULT E'it''s\n\\',
    e timestamptz DEFAULT now() - interval '1 day', f fp.span DEFAULT '[1,2)', g char(3) DEFAULT 'abc', h numeric(10,2) DEFAULT -1.50, i fp.pair DEFAULT ROW(1, 'x'), j fp.email,
    k bit(3) DEFAULT B'101', l regclass DEFAULT 'fp.plain', "Mixed Case" int GENERATED ALWAYS AS IDENTITY (START 7), m serial, n fp.mood[] DEFAULT '{low}',
    CONSTRAINT "odd ""name""" CHECK (d <> 'it''s (ARRAY[' AND g IN ('abc', 'def')));
GRANT USAGE ON SCHEMA fp TO fingerprint_reader;
GRANT SELECT (a, b), UPDATE ON fp.many_kinds TO fingerprint_reader WITH GRANT OPTION;
SET ROLE fingerprint_reader; GRANT UPDATE ON fp.many_kinds TO fingerprint_owner; RESET ROLE;
REVOKE DELETE ON fp.many_kinds FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES FOR ROLE fingerprint_owner IN SCHEMA fp GRANT EXECUTE ON FUNCTIONS TO fingerprint_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE fingerprint_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
COMMENT ON COLUMN fp.many_kinds."Mixed Case" IS 'it''s';
INSERT INTO fp.plain (id, note) VALUES (1, 'x');
REFRESH MATERIALIZED VIEW fp.kept;
INSERT INTO fp.many_kinds (j) VALUES ('a@b'), (NULL);
INSERT INTO fp.owners VALUES ('2026-05-05', 1);
INSERT INTO fp.owned VALUES ('2026-05-05', 1, 'w');
END
$node->safe_psql('reconciler', $objects =~ s/^\\pset.*$//mr);
$node->safe_psql('reconciler', $more);

my $objects_of = q{SELECT object || E'\n    ' || replace(coalesce(definition, ''), E'\n', E'\n    ') FROM sor.schema_objects()};
my $digests = q{SELECT c.oid::regclass, d.row_count, d.digest FROM pg_class c, sor.table_digest(c.oid) d
	WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace IN ('fp'::regnamespace, 'reconciler'::regnamespace) ORDER BY c.oid::regclass::text COLLATE "C"};
my %live = map { $_->[0] => $node->safe_psql('reconciler', $_->[1]) } [ objects => $objects_of ], [ digests => $digests ],
	[ fingerprint => 'SELECT sor.schema_fingerprint()' ];
cmp_ok(scalar(() = $live{objects} =~ /^\w/mg), '>', 150, 'there is something to compare');
like($live{objects}, qr/^policy reconciler\.expenses\.tenant_isolation$/m, "what sor has attached to a user's table is there");
unlike($live{objects}, qr/^\w[\w ]* sor\./m, "what is sor's own is not");

for my $way ([ 'pg_dump -Fc | pg_restore', 'restored', '-Fc' ], [ 'pg_dump | psql', 'replayed', '-Fp' ])
{
	my ($name, $database, $format) = @$way;
	my $dump = $world->dir . "/$database.dump";
	$node->command_ok([ 'pg_dump', $format, '-f', $dump, 'reconciler' ], "$name: dumped");
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$node->command_ok($format eq '-Fc' ? [ 'pg_restore', '--exit-on-error', '-d', $database, $dump ]
		: [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $database, '-f', $dump ], "$name: restored");
	my $copy = $node->safe_psql($database, $objects_of);
	ok($copy eq $live{objects}, "$name: every object is what it was") or do {
		my @files = map { spew($world->dir . "/$_->[0].txt", $_->[1] . "\n") } [ live => $live{objects} ], [ copy => $copy ];
		diag(scalar `diff -u @files`);
	};
	is($node->safe_psql($database, 'SELECT sor.schema_fingerprint()'), $live{fingerprint}, "$name: and the fingerprint with them");
	is($node->safe_psql($database, $digests), $live{digests}, "$name: the tables have their digests");
	$node->safe_psql($database, 'ALTER TABLE reconciler.expenses ADD notes text');
	isnt($node->safe_psql($database, 'SELECT sor.schema_fingerprint()'), $live{fingerprint}, "$name: a column more is noticed");
}

done_testing;
