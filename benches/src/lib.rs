//! What the benchmarks share: the data that they run on, and the parsers side by side.

pub mod parsers;
pub mod session;

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

/// Texts of about so many octets, as they are on the wire, and for each what it stands for.
pub fn texts(octets: usize) -> Vec<(&'static str, Vec<u8>)> {
    let repeat = |line: &[u8]| line.repeat(octets / line.len());
    let words = "Offering STARTTLS whenever the other side has it is right, requiring it is a policy. ".as_bytes();
    let mut prose = Vec::new();
    for number in 0.. {
        // Lines of 40 to 75 octets.
        prose.extend(words.iter().cycle().skip(number * 7).take(40 + number * 11 % 36));
        prose.extend_from_slice(b"\r\n");
        if prose.len() > octets {
            break;
        }
    }
    vec![
        ("base64", repeat(&[&[b'A'; 76][..], b"\r\n"].concat())),
        ("prose", prose),
        ("one-character lines", repeat(b"a\r\n")),
        ("a dot before each line", repeat(&[b"..", &[b'x'; 66][..], b"\r\n"].concat())),
        ("a dot for each line", repeat(b"..\r\n")),
    ]
}

/// What a server announces, as Postfix and others say it.
const ANNOUNCED: [&str; 13] = [
    "mx.example.net Hello client.example [192.0.2.1]",
    "PIPELINING",
    "SIZE 52428800",
    "VRFY",
    "ETRN",
    "STARTTLS",
    "AUTH PLAIN LOGIN SCRAM-SHA-256",
    "AUTH=PLAIN LOGIN",
    "ENHANCEDSTATUSCODES",
    "8BITMIME",
    "DSN",
    "SMTPUTF8",
    "CHUNKING",
];

/// A reply to EHLO of so many of these lines; of none it is empty, and of more there is none.
pub fn reply_to_ehlo(lines: usize) -> Option<String> {
    let mut reply = String::new();
    for (at, line) in ANNOUNCED.get(..lines)?.iter().enumerate() {
        reply += &format!("250{}{line}\r\n", if at + 1 == lines { ' ' } else { '-' });
    }
    Some(reply)
}
