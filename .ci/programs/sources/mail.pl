# Net::SMTP of Perl: perl mail.pl PORT MODE FILE [USER PASSWORD MECHANISM], with the envelope in $FROM and $TO.
use strict;
use warnings;
use Net::SMTP;
use Authen::SASL qw(Perl);

my ($port, $mode, $file, $user, $password, $mechanism) = @ARGV;
my %tls = (SSL_ca_file => $ENV{CA}, SSL_verifycn_name => "localhost");
my $smtp = Net::SMTP->new("127.0.0.1", Port => $port, Hello => "client.example", SSL => $mode eq "tls", %tls)
    or die "no connection: $@";
if ($mode eq "starttls") { $smtp->starttls(%tls) or die "starttls: " . $smtp->message }
if (defined $user) {
    my $sasl = Authen::SASL->new(mechanism => $mechanism, callback => { user => $user, pass => $password });
    $smtp->auth($sasl) or die "auth: " . $smtp->message;
}
open(my $in, "<:raw", $file) or die $!;
my $text = do { local $/; <$in> };
$smtp->mail($ENV{FROM}) or die "mail: " . $smtp->message;
for my $to (split /,/, $ENV{TO}) { $smtp->to($to) or die "to: " . $smtp->message }
$smtp->data() && $smtp->datasend($text) && $smtp->dataend() or die "data: " . $smtp->message;
$smtp->quit;
