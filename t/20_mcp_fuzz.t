# What reads a client's bytes holds under random input, for a few seconds; `make campaign` does so for longer.
use strict;
use warnings FATAL => 'all';
use Test::More;

my $seconds = $ENV{SOR_FUZZ_SECONDS} // 10;
my $dir = "$ENV{TESTDIR}/fuzz";
mkdir $dir or die "$dir: $!";
my $said = `"$ENV{SOR_TOP}/scripts/campaign" run $seconds "$dir" 2>&1`;
is($?, 0, "$seconds s of random input") or diag($said);
my ($runs) = $said =~ /^stat::number_of_executed_units:\s*(\d+)/m;
cmp_ok($runs // 0, '>', 100, 'inputs were tried') or diag($said);
note("$runs inputs");
done_testing();
