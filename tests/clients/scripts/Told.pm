# What a session's script is told, for scripts in Perl.
package Told;
use strict;
use warnings;
use utf8;
use Digest::SHA qw(sha256_hex);
use Encode qw(decode_utf8);
use Exporter qw(import);

our @EXPORT = qw(%TOLD equal sha256_hex first_fields);
our %TOLD = map { /^SESSION_(.*)/ ? ($1 => decode_utf8($ENV{$_})) : () } keys %ENV;
$TOLD{FILE} = $ENV{SESSION_FILE};    # a file's name is bytes

sub equal {
    my ($found, $wanted) = @_;
    return if $found eq $wanted;
    binmode STDERR, ':utf8';
    die "found $found\nnot   $wanted\n";
}

sub first_fields {
    return {
        project     => { key  => 'JJ' },
        issuetype   => { name => 'Bug' },
        summary     => 'first',
        description => $TOLD{DESCRIPTION},
    };
}

1;
