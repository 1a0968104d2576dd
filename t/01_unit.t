# The unit tests of the driver and of the extension's pure cores, which CMake has built.
use strict;
use warnings FATAL => 'all';
use SorTest qw(slurp top);
use Test::More;

# gtest's own summary, because ctest would write into the build folder
my $log = "$ENV{TESTDIR}/unit.log";
my $rc = system("'" . top . "/build/unit_tests' >'$log' 2>&1");
my $out = slurp($log);
is($rc, 0, 'unit tests pass') or diag($out);
my ($run) = $out =~ /\[==========\] (\d+) tests? from .* ran/;
cmp_ok($run // 0, '>', 0, 'unit tests: ' . ($run // 'none') . ' ran');
done_testing;
