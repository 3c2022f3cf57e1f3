//! What the server says when the application leaves the words to it. Texts quote nothing from the peer.

use alloc::vec::Vec;

use crate::syntax::{Enhanced, Reply};

/// A reply of one line, ready to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    code: u16,
    /// Where the words begin, behind the enhanced code if there is one.
    words: usize,
    line: &'static [u8],
}

impl Fixed {
    /// Reads the line when compiling: a wrong one does not compile.
    const fn new(line: &'static str) -> Self {
        let line = line.as_bytes();
        let mut code = 0;
        let mut at = 0;
        while at < 3 {
            assert!(line[at].is_ascii_digit());
            code = code * 10 + (line[at] - b'0') as u16;
            at += 1;
        }
        assert!(line[3] == b' ' && code >= 200 && code < 600);
        let mut words = 4;
        // RFC 2034 4: on every 2yz, 4yz and 5yz, and of its class.
        if code < 300 || code >= 400 {
            assert!(line[4] == line[0] && line[5] == b'.');
            while line[words] != b' ' {
                assert!(line[words].is_ascii_digit() || line[words] == b'.');
                words += 1;
            }
            words += 1;
        }
        at = words;
        while at < line.len() - 2 {
            assert!(line[at] >= b' ' && line[at] <= b'~');
            at += 1;
        }
        assert!(line[at] == b'\r' && line[at + 1] == b'\n' && line.len() <= 512);
        Self { code, words, line }
    }

    pub(super) const fn code(&self) -> u16 {
        self.code
    }

    /// Writes it, with its enhanced code or without.
    pub(super) fn write(&self, out: &mut Vec<u8>, enhanced: bool) {
        if enhanced {
            out.extend_from_slice(self.line);
        } else {
            out.extend_from_slice(self.line.get(..4).unwrap_or_default());
            out.extend_from_slice(self.line.get(self.words..).unwrap_or_default());
        }
    }

    /// The same codes, with the application's words.
    pub(super) fn write_in(&self, words: &str, out: &mut Vec<u8>, enhanced: bool) {
        out.extend_from_slice(self.line.get(..if enhanced { self.words } else { 4 }).unwrap_or_default());
        printable(out, words, 480);
        out.extend_from_slice(b"\r\n");
    }
}

macro_rules! replies {
    ($($name:ident = $line:literal;)*) => {
        $(pub(super) const $name: Fixed = Fixed::new(concat!($line, "\r\n"));)*
    };
}

replies! {
    OK = "250 2.0.0 Ok";
    SENDER_OK = "250 2.1.0 Sender ok";
    RECIPIENT_OK = "250 2.1.5 Recipient ok";
    CHUNK_OK = "250 2.0.0 Chunk taken";
    MESSAGE_OK = "250 2.0.0 Message accepted";
    BYE = "221 2.0.0 Bye";
    READY_FOR_TLS = "220 2.0.0 Ready to start TLS";
    SEND_TEXT = "354 End the text with CRLF.CRLF";
    NO_ADDRESS = "501 5.5.4 ADDR is no address, or PORT no port";
    CANNOT_VRFY = "252 2.5.0 Cannot verify, but will take mail and try";
    HELP = "214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT; see RFC 5321";
    HELP_LMTP = "214 2.0.0 LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT; see RFC 2033";

    AUTHENTICATED = "235 2.7.0 Authentication succeeded";
    AUTH_TEMPORARY = "454 4.7.0 Temporary authentication failure";
    AUTH_LINE_TOO_LONG = "500 5.5.6 Authentication exchange line is too long";
    AUTH_CANCELLED = "501 5.7.0 Authentication cancelled";
    NOT_BASE64 = "501 5.5.2 Not base64";
    AUTH_MALFORMED = "501 5.5.2 Malformed authentication message";
    AUTH_TWICE = "503 5.5.1 Authenticated already";
    MECHANISM_NOT_OFFERED = "504 5.5.4 Unrecognized authentication mechanism";
    AUTH_REJECTED = "535 5.7.8 Authentication credentials invalid";
    ENCRYPTION_NEEDED = "538 5.7.11 Encryption required for authentication";

    TIMED_OUT = "421 4.4.2 Nothing came in time; closing";
    SHUTTING_DOWN = "421 4.3.2 Shutting down; try again later";
    EARLY_TALKER = "554 5.5.1 Spoke before the greeting; closing";
    NOT_WAITED = "554 5.5.1 Did not wait for a reply that must be waited for; closing";
    NOT_SMTP = "421 4.7.0 This is an SMTP server; closing";
    TEXT_AS_COMMANDS = "421 4.7.0 Text of a message where a command was due; closing";
    TOO_MANY_FAULTS = "421 4.7.0 Too many errors; closing";
    TOO_MANY_COMMANDS = "421 4.7.0 Too many commands without mail; closing";
    TOO_MANY_TRANSACTIONS = "421 4.7.0 Too many transactions on one connection; closing";
    TOO_MUCH_DISCARDED = "421 4.3.4 Too much that is not wanted; closing";
    LOCAL_ERROR_CLOSING = "421 4.3.0 Local error; closing, try again later";

    LINE_TOO_LONG = "500 5.5.2 Line too long";
    BARE_LF_CLOSING = "421 4.5.2 Lines end in CRLF (RFC 5321 2.3.8); closing";
    LINE_TOO_LONG_CLOSING = "421 4.5.2 Line without an end; closing";
    CHUNK_WITHOUT_SIZE = "421 4.5.4 BDAT without a size; closing";
    NOT_IMPLEMENTED = "502 5.5.1 Command not implemented";
    LHLO_HERE = "500 5.5.1 This is LMTP: say LHLO";
    NO_LHLO_HERE = "500 5.5.1 This is SMTP: say EHLO";
    HELLO_FIRST = "503 5.5.1 Say EHLO first";
    LHLO_FIRST = "503 5.5.1 Say LHLO first";
    EHLO_FIRST = "503 5.5.1 This needs EHLO first";
    MAIL_FIRST = "503 5.5.1 Need MAIL first";
    NESTED_MAIL = "503 5.5.1 A transaction is open already";
    CHUNKS_ONLY = "503 5.5.1 The text has begun: BDAT or RSET";
    NO_RECIPIENTS = "554 5.5.1 No valid recipients";
    NO_RECIPIENTS_LMTP = "503 5.5.1 No valid recipients";
    BINARY_TAKES_CHUNKS = "503 5.5.1 BODY=BINARYMIME takes BDAT";
    NOT_NOW = "503 5.5.1 Not inside a transaction";
    TLS_ALREADY = "503 5.5.1 TLS is in use already";
    TLS_REQUIRED = "530 5.7.0 Must issue a STARTTLS command first";
    TLS_AWAITED = "450 4.7.0 Must issue a STARTTLS command first";
    AUTH_REQUIRED = "530 5.7.0 Authentication required";
    PARAMETER_NOT_OFFERED = "555 5.5.4 Parameter not recognized";
    UTF8_NOT_ASKED = "553 5.6.7 UTF-8 needs the parameter SMTPUTF8";
    BEYOND_WHAT_IS_OFFERED = "501 5.5.4 Parameter beyond what was announced";
    TOO_BIG = "552 5.3.4 Message too big";
    TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients";
    BAD_TEXT = "554 5.6.0 Bare CR, bare LF or NUL in the text (RFC 5321 2.3.8)";
    TEXT_LINE_TOO_LONG = "554 5.6.0 Line of text too long (RFC 5321 4.5.3.1.6)";
}

/// The greeting (RFC 5321 4.2; no enhanced code: RFC 2034 4).
pub(super) fn greeting(out: &mut Vec<u8>, hostname: &str, lmtp: bool, words: Option<&str>) {
    line(out, b"220 ", hostname, words.or(Some(if lmtp { "LMTP" } else { "ESMTP" })));
}

/// The reply to HELO.
pub(super) fn helo(out: &mut Vec<u8>, hostname: &str, words: Option<&str>) {
    line(out, b"250 ", hostname, words);
}

/// A reply of the application's: with an enhanced code where the extension has it on every reply (RFC 2034 4), and
/// without one where it is off.
pub(super) fn write(reply: &Reply<'_>, out: &mut Vec<u8>, enhanced: bool) {
    let code = match (enhanced, reply.enhanced()) {
        (true, None) => Some(Enhanced::new(u8::try_from(reply.code() / 100).unwrap_or(5), 0, 0)),
        (true, given) => given,
        (false, _) => None,
    };
    Reply::new(reply.code(), code, reply.text()).unwrap_or(*reply).write(out);
}

pub(super) fn line(out: &mut Vec<u8>, code: &[u8], hostname: &str, words: Option<&str>) {
    out.extend_from_slice(code);
    out.extend_from_slice(hostname.as_bytes());
    if let Some(words) = words {
        out.push(b' ');
        printable(out, words, 200);
    }
    out.extend_from_slice(b"\r\n");
}

/// The last gate: one line of printable ASCII, whatever the application gave (RFC 5321 4.2, 4.5.3.1.5).
pub(super) fn printable(out: &mut Vec<u8>, words: &str, most: usize) {
    out.extend(words.bytes().take(most).map(|octet| if matches!(octet, b' '..=b'~') { octet } else { b'?' }));
}

pub(super) fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}
