# A real cron daemon runs the example's crontab: the jobs' own lines, the nightly one put on every minute.
use strict;
use warnings FATAL => 'all';
use SorTest qw(poll_until slurp spew);
use Test::More;

plan skip_all => 'cron is not installed' unless -x '/usr/sbin/cron' || $ENV{SOR_ROOT};
# cron as root alone reads users' crontabs: scripts/test starts one when it is root
plan skip_all => 'no cron daemon is running, and only root can start one' if !$ENV{SOR_ROOT} && system('pidof cron >/dev/null 2>&1');
plan skip_all => 'this user has a crontab already' if `crontab -l 2>/dev/null` =~ /\S/;

my $world = SorTest->new(tenants => [qw(Alice Bob)]);
my $n = 12;
$world->load_ok($world->statement($n, qw(Alice Bob)), '--tenant-from', 'directorate', '--set', 'statement=1');
chmod 0755, $world->dir, $world->home;
my $crontab = slurp($world->home . '/crontab');
my $jobs = $crontab =~ s{^(?:\S+ ){5}( *sor (\w+) .*)$}{* * * * * $1 2>>$2.err}gm;
is($jobs, 4, 'the four jobs of the example');
note($crontab);
my $file = spew($world->dir . '/crontab', $crontab);
is(system('crontab', $file), 0, 'crontab installed');
eval {
	poll_until('cron has done the night', sub {
		return $world->sql('SELECT count(*) FROM reconciler.expenses') eq $n && @{ $world->mails } >= $n;
	}, timeout => 200);
};
is($@, '', 'cron has run work and relay');
is(system('crontab', '-r'), 0, 'crontab removed');
$world->totals_ok($n, 'under cron');
is($world->sql("SELECT DISTINCT run_key = to_char(now(), 'YYYY-MM-DD') OR run_key = to_char(now() - interval '5 min', 'YYYY-MM-DD') FROM sor.runs"),
	't', 'the run key is the day, as the crontab\'s line says');
is(slurp($world->home . "/$_.err"), '', "$_ was quiet") for qw(work relay purge verify);
is($world->sql('SELECT count(*) FROM sor.verifications WHERE whole'), 2, 'history was verified');
done_testing;
