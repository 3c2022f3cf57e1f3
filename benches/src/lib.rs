//! What the benchmarks share: the data that they run on, and the parsers side by side.

pub mod parsers;

/// Commands as they come: one of each kind that a busy server sees.
pub const COMMANDS: &[&str] = &[
    "EHLO mail.sender.example\r\n",
    "MAIL FROM:<newsletter-bounces+user=example.net@lists.sender.example> SIZE=38212 BODY=8BITMIME RET=HDRS\r\n",
    "RCPT TO:<firstname.lastname@recipient.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;firstname.lastname@recipient.example\r\n",
    "DATA\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN AGFsaWNlAHNlY3JldHBhc3N3b3Jk\r\n",
    "BDAT 86400 LAST\r\n",
    "VRFY postmaster\r\n",
];
