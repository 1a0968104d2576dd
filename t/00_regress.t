# pg_regress and the isolation specs, on a fresh server.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Utils ();
use SorTest qw(slurp top);
use Test::More;

my $world = SorTest->new(bare => 1);
my $node = $world->node;
my $bin = `$ENV{PG_CONFIG} --bindir`;
chomp $bin;

sub suite
{
	my ($name, $runner, $input, @files) = @_;
	my @tests = sort map { s{.*/([^/]+)\.\w+$}{$1}r } @files;
	cmp_ok(scalar @tests, '>', 0, "there are $name tests");
	my $output = "$ENV{TESTDIR}/$name";
	mkdir $output or die "$output: $!";
	local %ENV = $node->_get_env;
	my $rc = system("'$runner' --inputdir='$input' --outputdir='$output' --bindir='$bin' --dbname=$name " .
		"--host='" . $node->host . "' --port=" . $node->port . " @tests >'$output/log' 2>&1");
	is($rc, 0, "$name: " . scalar(@tests) . ' tests pass') or do {
		diag(slurp("$output/log"));
		diag(slurp("$output/regression.diffs")) if -e "$output/regression.diffs";
	};
}

suite('regress', $ENV{PG_REGRESS}, top, glob(top . '/sql/*.sql'));
suite('isolation', $ENV{PG_ISOLATION_REGRESS}, top . '/extension', glob(top . '/extension/specs/*.spec'));
done_testing;
