//! What the server says when the application leaves the words to it. Texts quote nothing from the peer.

use alloc::vec::Vec;

use super::Config;
use crate::syntax::{KeywordSet, Reply};

const fn fixed(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Reply<'static> {
    Reply::fixed(code, enhanced, text)
}

pub(super) const OK: Reply<'static> = fixed(250, (2, 0, 0), "Ok");
pub(super) const SENDER_OK: Reply<'static> = fixed(250, (2, 1, 0), "Sender ok");
pub(super) const RECIPIENT_OK: Reply<'static> = fixed(250, (2, 1, 5), "Recipient ok");
pub(super) const MESSAGE_OK: Reply<'static> = fixed(250, (2, 0, 0), "Message accepted");
pub(super) const BYE: Reply<'static> = fixed(221, (2, 0, 0), "Bye");
pub(super) const READY_FOR_TLS: Reply<'static> = fixed(220, (2, 0, 0), "Ready to start TLS");
pub(super) const SEND_TEXT: Reply<'static> = Reply::plain(354, "End the text with CRLF.CRLF");
pub(super) const CANNOT_VRFY: Reply<'static> = fixed(252, (2, 5, 0), "Cannot verify, but will take mail and try");
pub(super) const HELP: Reply<'static> =
    fixed(214, (2, 0, 0), "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP STARTTLS QUIT; see RFC 5321");

pub(super) const TIMED_OUT: Reply<'static> = fixed(421, (4, 4, 2), "Nothing came in time; closing");
pub(super) const SHUTTING_DOWN: Reply<'static> = fixed(421, (4, 3, 2), "Shutting down; try again later");
pub(super) const EARLY_TALKER: Reply<'static> = fixed(554, (5, 5, 1), "Spoke before the greeting; closing");
pub(super) const NOT_SMTP: Reply<'static> = fixed(421, (4, 7, 0), "This is an SMTP server; closing");
pub(super) const TOO_MANY_FAULTS: Reply<'static> = fixed(421, (4, 7, 0), "Too many errors; closing");
pub(super) const TOO_MANY_COMMANDS: Reply<'static> = fixed(421, (4, 7, 0), "Too many commands without mail; closing");
pub(super) const LOCAL_ERROR: Reply<'static> = fixed(451, (4, 3, 0), "Local error; try again later");
pub(super) const LOCAL_ERROR_CLOSING: Reply<'static> = fixed(421, (4, 3, 0), "Local error; closing, try again later");

pub(super) const SYNTAX: Reply<'static> = fixed(500, (5, 5, 2), "Syntax error");
pub(super) const LINE_TOO_LONG: Reply<'static> = fixed(500, (5, 5, 2), "Line too long");
pub(super) const LINE_TOO_LONG_CLOSING: Reply<'static> = fixed(421, (4, 5, 2), "Line without an end; closing");
pub(super) const NOT_IMPLEMENTED: Reply<'static> = fixed(502, (5, 5, 1), "Command not implemented");
pub(super) const HELLO_FIRST: Reply<'static> = fixed(503, (5, 5, 1), "Say EHLO first");
pub(super) const EHLO_FIRST: Reply<'static> = fixed(503, (5, 5, 1), "STARTTLS needs EHLO first");
pub(super) const MAIL_FIRST: Reply<'static> = fixed(503, (5, 5, 1), "Need MAIL first");
pub(super) const NESTED_MAIL: Reply<'static> = fixed(503, (5, 5, 1), "A transaction is open already");
pub(super) const NO_RECIPIENTS: Reply<'static> = fixed(554, (5, 5, 1), "No valid recipients");
pub(super) const NOT_NOW: Reply<'static> = fixed(503, (5, 5, 1), "Not in a transaction");
pub(super) const TLS_ALREADY: Reply<'static> = fixed(503, (5, 5, 1), "TLS is in use already");
pub(super) const TLS_REQUIRED: Reply<'static> = fixed(530, (5, 7, 0), "Must issue a STARTTLS command first");
pub(super) const PARAMETER_NOT_OFFERED: Reply<'static> = fixed(555, (5, 5, 4), "Parameter not recognized");
pub(super) const TOO_BIG: Reply<'static> = fixed(552, (5, 3, 4), "Message too big");
pub(super) const TOO_MANY_RECIPIENTS: Reply<'static> = fixed(452, (4, 5, 3), "Too many recipients");
pub(super) const BAD_TEXT: Reply<'static> =
    fixed(554, (5, 6, 0), "Bare CR, bare LF or NUL in the text (RFC 5321 2.3.8)");

/// The parameters of the extensions that the EHLO reply announces.
pub(super) const OFFERED: KeywordSet = KeywordSet::EMPTY.with_size().with_body();

/// The greeting (RFC 5321 4.2; no enhanced code: RFC 2034 4).
pub(super) fn greeting(out: &mut Vec<u8>, hostname: &str, words: Option<&str>) {
    line(out, b"220 ", hostname, words.or(Some("ESMTP")));
}

/// The reply to HELO.
pub(super) fn helo(out: &mut Vec<u8>, hostname: &str, words: Option<&str>) {
    line(out, b"250 ", hostname, words);
}

/// The reply to EHLO (RFC 5321 4.1.1.1); STARTTLS only in plaintext (RFC 3207 4.2).
pub(super) fn ehlo(out: &mut Vec<u8>, config: &Config, plaintext: bool, words: Option<&str>) {
    line(out, b"250-", &config.hostname, words);
    out.extend_from_slice(b"250-PIPELINING\r\n250-SIZE");
    if config.limits.message > 0 {
        out.push(b' ');
        decimal(out, config.limits.message);
    }
    out.extend_from_slice(b"\r\n250-8BITMIME\r\n");
    if plaintext && config.tls.offers() {
        out.extend_from_slice(b"250-STARTTLS\r\n");
    }
    out.extend_from_slice(b"250 ENHANCEDSTATUSCODES\r\n");
}

/// The usual codes, with the application's words.
pub(super) fn in_words(out: &mut Vec<u8>, usual: &Reply<'_>, words: &str) {
    decimal(out, u64::from(usual.code()));
    if let Some(enhanced) = usual.enhanced() {
        for (separator, part) in
            [(b' ', u16::from(enhanced.class())), (b'.', enhanced.subject()), (b'.', enhanced.detail())]
        {
            out.push(separator);
            decimal(out, u64::from(part));
        }
    }
    out.push(b' ');
    printable(out, words, 480);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, code: &[u8], hostname: &str, words: Option<&str>) {
    out.extend_from_slice(code);
    out.extend_from_slice(hostname.as_bytes());
    if let Some(words) = words {
        out.push(b' ');
        printable(out, words, 200);
    }
    out.extend_from_slice(b"\r\n");
}

/// The last gate: one line of printable ASCII, whatever the application gave (RFC 5321 4.2, 4.5.3.1.5).
fn printable(out: &mut Vec<u8>, words: &str, most: usize) {
    out.extend(words.bytes().take(most).map(|octet| if matches!(octet, b' '..=b'~') { octet } else { b'?' }));
}

fn decimal(out: &mut Vec<u8>, mut number: u64) {
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
