# The server scenarios of the MCP conformance suite that apply to `sor mcp`, over stdio-to-http.mjs, since the suite speaks
# HTTP alone.
use strict;
use warnings FATAL => 'all';
use SorTest qw(top);
use Test::More;

plan skip_all => 'the MCP clients are not installed (scripts/install-node-packages)' unless SorTest::node_js;

# Left out:
#   logging-set-level, completion-complete, prompts-*, resources-*   capabilities that sor mcp does not offer
#   tools-call-image, -audio, -embedded-resource, -mixed-content     its results are JSON
#   tools-call-with-logging, -sampling, -elicitation, elicitation-*  it asks nothing of the client
#   server-sse-polling, dns-rebinding-protection                     of HTTP: they would test the shim
my @scenarios = qw(server-initialize ping tools-list tools-call-simple-text tools-call-error tools-call-with-progress
	json-schema-2020-12 server-sse-multiple-streams);

my $world = SorTest->new(tenants => [qw(Alice)]);
$world->register_mcp_tools;
my ($url, $err) = ('', '');
my $shim = IPC::Run::start([ SorTest::node_js, top . '/t/mcp/stdio-to-http.mjs', $world->mcp_command('--on-behalf-of', 'bookkeeper@expenses.example') ],
	'<', \my $in, '>', \$url, '2>', \$err, IPC::Run::timeout(300));
$shim->pump until $url =~ /\n/;
chomp $url;
for my $scenario (@scenarios)
{
	my $out = '';
	my $suite = IPC::Run::start([ SorTest::node_js, top . '/t/mcp/node_modules/@modelcontextprotocol/conformance/dist/index.js',
		'server', '--url', $url, '--scenario', $scenario, '--verbose' ], '<', \undef, '>', \$out, '2>&1',
		init => sub { chdir $world->dir or die }, IPC::Run::timeout(60));
	$suite->finish;
	ok($suite->result(0) == 0 && $out =~ /Passed: [1-9]/, $scenario) or diag($out);
}
$shim->finish; # its standard input ends, and with it each session
is($world->sql("SELECT count(*) FROM sor.runs WHERE status <> 'succeeded'"), '0', 'each session has finished its run');
is($err =~ s/^sor mcp:.*\n//gmr, '', 'nothing else on standard error');
done_testing;
