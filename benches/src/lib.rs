//! What the benchmarks share: the data that they run on.

/// Commands as they come, in the proportions of a busy server.
pub const COMMANDS: &[&str] = &[
    "EHLO mail.sender.example",
    "MAIL FROM:<newsletter-bounces+user=example.net@lists.sender.example> SIZE=38212 BODY=8BITMIME RET=HDRS",
    "RCPT TO:<firstname.lastname@recipient.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;firstname.lastname@recipient.example",
    "DATA",
    "RSET",
    "NOOP",
    "QUIT",
    "STARTTLS",
    "AUTH PLAIN AGFsaWNlAHNlY3JldHBhc3N3b3Jk",
    "BDAT 86400 LAST",
    "VRFY postmaster",
];
