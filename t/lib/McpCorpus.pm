# The cases of t/mcp/corpus: what is sent to `sor mcp` and what it must answer. A file is an array of
#   {"name", "in": "modern" (default) | "legacy" (initialized) | "unready" (not initialized), "send": [LINE…], "answers": [ANSWER…]}
# LINE: a string, sent as it is · {"base64"} · {"parts": [string or {"repeat", "times"}…]} · {"message": the JSON}
#   · {"request": {id, method, params}}: with jsonrpc and, in modern, the protocol's _meta
#   · {"call": TOOL, "arguments", "id" (default "call"), "meta"}: a tools/call, with a new request_id where the tool needs
#     one and "arguments" has none ("request_id": null leaves it away) · {"wait": ID}: what follows is sent after its answer.
# ANSWER, in any order: {"id" (none: no id member; or "id_text", "id_length"), and one of "error": CODE with "message": REGEX,
#   "data" · "result" · "tool_error": REGEX on the text · "tool_ok": structuredContent}, or "any": a list of these. What an
#   answer must hold is a part of it; {"holds": VALUE} is for an array with that value.
package McpCorpus;
use strict;
use warnings FATAL => 'all';
use Digest::MD5 qw(md5_hex);
use Exporter 'import';
use JSON::PP;
use MIME::Base64 qw(decode_base64);

our @EXPORT_OK = qw(cases steps_of write_seeds modern_meta);
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my %writes = map { $_ => 1 } qw(claim write queue);
my $uuids = 0;

sub modern_meta
{
	return { 'io.modelcontextprotocol/protocolVersion' => '2026-07-28', 'io.modelcontextprotocol/clientCapabilities' => {} };
}

sub new_uuid
{
	my $hex = md5_hex('corpus ' . ++$uuids);
	return join '-', unpack 'A8 A4 A4 A4 A12', $hex;
}

sub cases
{
	my (@files) = @_;
	my @cases;
	for my $file (@files)
	{
		open my $f, '<:raw', $file or die "$file: $!";
		my ($group) = $file =~ m{([^/]+)\.json$};
		push @cases, map { { in => 'modern', %$_, name => "$group: $_->{name}" } } @{ $json->decode(do { local $/; <$f> }) };
	}
	return @cases;
}

sub line_of
{
	my ($line, $modern) = @_;
	unless (ref $line) { utf8::encode(my $bytes = $line); return $bytes }
	return decode_base64($line->{base64}) if exists $line->{base64};
	return join '', map { ref $_ ? $_->{repeat} x $_->{times} : line_of($_) } @{ $line->{parts} } if $line->{parts};
	return $json->encode($line->{message}) if exists $line->{message};
	my %request = %{ $line->{request} // {} };
	if (exists $line->{call})
	{
		my %arguments = %{ $line->{arguments} // {} };
		$arguments{request_id} = new_uuid() if $writes{ $line->{call} } && !exists $arguments{request_id};
		delete $arguments{request_id} unless defined $arguments{request_id};
		%request = (id => $line->{id} // 'call', method => 'tools/call', params => { name => $line->{call}, arguments => \%arguments });
	}
	my %meta = ($modern ? %{ modern_meta() } : (), %{ $line->{meta} // {} });
	$request{params} = { %{ $request{params} // {} }, _meta => { %meta, %{ $request{params}{_meta} // {} } } } if %meta;
	return $json->encode({ jsonrpc => '2.0', %request });
}

# What is to be sent, one after the other: bytes of a line, or {wait => id}.
sub steps_of
{
	my ($case) = @_;
	return map { ref $_ && exists $_->{wait} ? $_ : line_of($_, $case->{in} eq 'modern') } @{ $case->{send} };
}

# A file for each case; those too large for a fuzzer are left out.
sub write_seeds
{
	my ($dir, @files) = @_;
	my $n = 0;
	for my $case (cases(@files))
	{
		my $bytes = join "\n", (grep { !ref } steps_of($case)), '';
		next if length $bytes > 4096;
		open my $f, '>:raw', sprintf('%s/%03d', $dir, ++$n) or die "$dir: $!";
		print $f $bytes;
		close $f or die "$dir: $!";
	}
	return $n;
}

1;
