# The handler in C++ and in Python give one answer; the rules are what learn-rules learns; the true category is not needed.
use strict;
use warnings FATAL => 'all';
use IPC::Run ();
use JSON::PP ();
use SorTest qw(data_file decode_json have_data slurp top);
use Test::More;

my $example = top . '/examples/reconciler';
my $json = JSON::PP->new->canonical;
my ($i, $items) = (0, '');
for my $file ("$example/statement.csv", have_data ? data_file('2014-08') : ())
{
	open my $f, '<', $file or die;
	my $header = <$f>;
	while (<$f>)
	{
		chomp;
		my ($date, $merchant, $card, $amount, $currency) = split /,/;
		$items .= $json->encode({ item => { id => 'item ' . ++$i, attempt => 1, row =>
			{ trans_date => $date, merchant => $merchant, card => $card, amount => $amount + 0, currency => $currency } } }) . "\n";
	}
}
my ($cpp, $python, $err);
ok(IPC::Run::run([ top . '/build/reconciler-handler', "$example/rules.csv", 'x.example' ], '<', \$items, '>', \$cpp, '2>', \$err), 'C++ handler') or diag($err);
ok(IPC::Run::run([ "$example/reconcile.py", "$example/rules.csv", 'x.example' ], '<', \$items, '>', \$python, '2>', \$err), 'Python handler') or diag($err);
my @cpp = map { $json->encode(decode_json($_)) } split /\n/, $cpp;
my @python = map { $json->encode(decode_json($_)) } split /\n/, $python;
is(scalar @cpp, $i, "an answer for each of $i items");
is(scalar(grep { $cpp[$_] ne $python[$_] } 0 .. $#cpp), 0, 'the two agree on every one');
cmp_ok(scalar(split /\n/, slurp("$example/reconcile.py")), '<=', 30, 'the Python one has at most 30 lines');

my $bad = qq({"item": {"id": "a", "attempt": 1, "row": {"merchant": 7}}}\n);
ok(IPC::Run::run([ top . '/build/reconciler-handler', "$example/rules.csv", 'x.example' ], '<', \$bad, '>', \$cpp), 'a row that it cannot read');
ok(decode_json($cpp)->{error}, 'is that item\'s error, not the handler\'s end');

SKIP: {
	skip 'no statements to learn from', 2 unless have_data;
	my $learned;
	ok(IPC::Run::run([ "$example/learn-rules", map { data_file($_) } qw(2014-04 2014-06 2014-07) ], '>', \$learned), 'learn-rules');
	is($learned, slurp("$example/rules.csv"), 'rules.csv is what it learns');
}
done_testing;
