# kill -9 of `sor relay`: nothing is lost; what is sent twice carries the same Message-ID; nothing repeats after the mark.
use strict;
use warnings FATAL => 'all';
use SorTest;
use Test::More;

my $n = 20;
my %repeats = ('before-send' => 0, 'after-send' => 1, 'after-mark' => 0);
for my $point (sort keys %repeats)
{
	my $world = SorTest->new(tenants => ['Alice']);
	$world->load_ok($world->statement($n), '--tenant', 'Alice', '--set', 'statement=1');
	$world->work_ok;
	my $killed = $world->sor($world->relay_args, binary => 'sor-faults', env => { SOR_FAULT => "$point:3" });
	is($killed->{signal}, 9, "$point: killed") or diag("$killed->{rc} $killed->{err}");
	my %marked = map { $_ => 1 } split /\n/, $world->sql("SELECT id FROM sor.outbox WHERE status = 'dispatched'");
	my %before;
	$before{ $_->{message_id} }++ for @{ $world->mails };
	cmp_ok(scalar keys %before, '<', $n, "$point: not all were sent");

	$world->lapse;
	$world->relay_ok;
	is($world->sql("SELECT count(*) FROM sor.outbox WHERE status <> 'dispatched'"), '0', "$point: all is dispatched");
	my (%mails, %of_id);
	for my $mail (@{ $world->mails })
	{
		$mails{ $mail->{subject} }++;
		$of_id{ $mail->{message_id} }{ $mail->{subject} }++;
	}
	is(scalar keys %mails, $n, "$point: no mail is lost");
	is(scalar keys %of_id, $n, "$point: a repeated mail has the Message-ID of the first");
	is(scalar(grep { keys %$_ > 1 } values %of_id), 0, "$point: no Message-ID is of two mails");
	my $doubles = grep { $_ > 1 } values %mails;
	if ($repeats{$point}) { cmp_ok($doubles, '>=', 1, "$point: $doubles mails were sent twice (at least once, as documented)") }
	else { is($doubles, 0, "$point: none was sent twice") }
	my $repeated = 0;
	for my $id (keys %marked) { $repeated++ for grep { index($_, $id) >= 0 && $mails{ (keys %{ $of_id{$_} })[0] } > 1 } keys %of_id }
	is($repeated, 0, "$point: none that was marked was sent again (@{[scalar keys %marked]} marked)");
	is($world->sql("SELECT count(*), count(DISTINCT message_id) FROM sor.agent_events WHERE event_type = 'outbox.dispatched'"),
		"$n|$n", "$point: one execution event each");
	$world->relay_ok;
	is(scalar @{ $world->mails }, scalar(map { ($_) x $mails{$_} } keys %mails), "$point: run again it sends nothing");
	$world->totals_ok($n, $point);
}
done_testing;
