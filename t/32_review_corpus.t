# The corpus of migrations in t/corpus: each is reviewed where schema.sql has been run, and must be judged as its heading says.
#     -- == NAME | SEVERITY RULES | SEVERITY RULES        of the upgrade and of the downgrade: the worst, and every rule that is not safe
# What is destructive and called less is missed; what only adds and is called destructive or opaque, or is safe and called
# locking or rewriting, is a false alarm.
use strict;
use warnings FATAL => 'all';
use SorTest qw(decode_json slurp spew top);
use JSON::PP ();
use Test::More;

my @severities = qw(safe locking rewriting destructive opaque);
my %rank = map { $severities[$_] => $_ } 0 .. $#severities;

# (file, name, up, down, [severity, rules] of each) of every migration.
sub corpus
{
	my @corpus;
	for my $file (sort glob top . '/t/corpus/*.sql')
	{
		next if $file =~ m{/schema\.sql$};
		my (undef, @parts) = split /^-- == (.*)\n/m, slurp($file);
		while (my ($heading, $text) = splice @parts, 0, 2)
		{
			my ($name, @expected) = split /\s*\|\s*/, $heading;
			my ($up, $down) = split /^-- down\n/m, $text, 2;
			die "$file: $name: a downgrade and what is expected of it go together" if (@expected == 2) != defined $down;
			push @corpus, {
				kind => $file =~ m{(\w+)\.sql$}, name => $name, up => $up, down => $down,
				expected => [ map { my ($severity, $rules) = split / /, $_, 2; die "$file: $name: $severity" unless exists $rank{$severity}; [ $severity, $rules // '' ] } @expected ],
			};
		}
	}
	return @corpus;
}

my $world = SorTest->new(bare => 1);
my $node = $world->node;
$node->safe_psql('postgres', slurp(top . '/t/corpus/schema.sql'));

my @corpus = corpus();
my $json = JSON::PP->new->canonical;
my $input = $json->encode([ map { { up => $_->{up}, down => $_->{down}, name => $_->{name} } } @corpus ]);
my $query = <<~'SQL';
	select jsonb_agg(jsonb_build_object('n', n, 'direction', direction, 'severity', severity, 'rule', rule) order by n, direction desc, rule)
	  from jsonb_array_elements(:'input') with ordinality as m (m, n), sor.review_migration(m ->> 'up', m ->> 'down', m ->> 'name')
	SQL
my $rows = decode_json($node->safe_psql('postgres', $query =~ s/:'input'/\$in\$$input\$in\$/r));

my @found; # of each migration: up and down, as severity and rules
for my $row (@$rows)
{
	my $f = $found[ $row->{n} - 1 ][ $row->{direction} eq 'down' ] //= { severity => 'safe', rules => {} };
	$f->{severity} = $row->{severity} if $rank{ $row->{severity} } > $rank{ $f->{severity} };
	$f->{destructive} ||= $row->{severity} eq 'destructive';
	$f->{rules}{ $row->{rule} } = 1 if $row->{severity} ne 'safe';
}

my (%count, %cases, @missed, @false_alarms, @other);
for my $i (0 .. $#corpus)
{
	my $m = $corpus[$i];
	$count{ $m->{kind} }++;
	for my $down (0 .. $#{ $m->{expected} })
	{
		my ($severity, $rules) = @{ $m->{expected}[$down] };
		my $got = $found[$i][$down];
		my $name = "$m->{kind}/$m->{name}" . ($down ? ', downgrade' : '');
		my $was = "$name: $got->{severity} " . join(', ', sort keys %{ $got->{rules} });
		$cases{$severity}++;
		push @missed, $was if $severity eq 'destructive' && !$got->{destructive};
		push @missed, $was if $severity eq 'opaque' && $rank{ $got->{severity} } < $rank{destructive};
		push @false_alarms, $was if $severity eq 'safe' && $got->{severity} ne 'safe';
		push @other, "$was, not $severity $rules"
		  if ($severity ne 'destructive' && $got->{severity} ne $severity) || join(', ', sort keys %{ $got->{rules} }) ne $rules;
	}
}
note("$_: $count{$_} migrations") for sort keys %count;
note("expected $_: $cases{$_}") for @severities;
note(sprintf '%d migrations, %d missed, %d false alarms', scalar @corpus, scalar @missed, scalar @false_alarms);

cmp_ok(scalar @corpus, '>=', 150, 'the corpus is large enough');
cmp_ok($cases{$_}, '>=', 20, "it has enough that is $_") for @severities;
is_deeply(\@missed, [], 'nothing destructive or opaque is called less');
cmp_ok(scalar @false_alarms, '<=', 0.02 * $cases{safe}, 'at most 2 % of what is safe is called something else') or diag(join "\n", @false_alarms);
is(scalar @other, 0, 'each is judged by the rules that its heading names') or diag(join "\n", @other);

# Each migration alone, and all of them as one text: what one creates must not hide what another does.
my $all = join "\n", map { $_->{up} } grep { $_->{kind} eq 'destructive' } @corpus;
my $alone = grep { $found[$_][0]{destructive} } grep { $corpus[$_]{kind} eq 'destructive' } 0 .. $#corpus;
my $together = $node->safe_psql('postgres', "select count(distinct statement_no) from sor.review_migration(\$all\$$all\$all\$) where severity = 'destructive'");
cmp_ok($together, '>=', $alone, 'as one text no fewer are destructive');
done_testing;
