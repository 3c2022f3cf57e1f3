//! The message and its envelope, checked.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use smtp_proto::client::{Body, Envelope};
use smtp_proto::syntax::{ForwardPath, Mailbox, Params, Rcpt, ReversePath};
use smtp_proto::text::{Newlines, Writer};

use crate::failure::Failure;

/// What is to be sent, and to whom.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) text: Vec<u8>,
    body: Body,
    utf8: bool,
}

impl Message {
    /// Reads it, and checks everything that can be checked before there is a server.
    pub(crate) fn read(file: &Path, from: &str, to: &[String], convert: bool) -> Result<Self, Failure> {
        let from = from.trim_start_matches('<').trim_end_matches('>').to_owned();
        let to: Vec<String> = to.iter().map(|to| to.trim_start_matches('<').trim_end_matches('>').to_owned()).collect();
        let mend = "give a mailbox such as a@example.org";
        reverse_path(&from).map_err(|error| Failure::option("--from", &from, error, mend))?;
        for to in &to {
            forward_path(to).map_err(|error| Failure::option("--to", to, error, mend))?;
        }
        let text = if file == Path::new("-") {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
        } else {
            fs::read(file)
        };
        let text = text
            .map_err(|error| Failure::option("FILE", file.display(), error, "name a message file, or - for stdin"))?;
        let text = lines(&text, convert).map_err(|(line, flaw)| {
            let mend = "RFC 5321 section 2.3.8 wants CRLF; --newlines convert makes it so";
            Failure::option("FILE", format_args!("{}:{line}", file.display()), flaw, mend)
        })?;
        let body = if text.is_ascii() { Body::SevenBit } else { Body::EightBitMime };
        let head = text.windows(4).position(|four| four == b"\r\n\r\n").map_or(&text[..], |end| &text[..end]);
        let utf8 = !head.is_ascii();
        Ok(Self { from, to, body, utf8, text })
    }

    /// The recipients as they are said to a server, of those with these indices.
    pub(crate) fn recipients(&self, of: &[usize]) -> Vec<Rcpt<'_>> {
        let path = |at: &usize| forward_path(self.to.get(*at)?).ok();
        of.iter().filter_map(path).map(|path| Rcpt { path, params: Params::default() }).collect()
    }

    pub(crate) fn envelope<'e>(&'e self, to: &'e [Rcpt<'e>]) -> Envelope<'e> {
        let from = reverse_path(&self.from).unwrap_or(ReversePath::Null);
        let mut envelope = Envelope::new(from, to).size(self.text.len() as u64).body(self.body);
        envelope.utf8 = self.utf8;
        envelope
    }
}

fn reverse_path(text: &str) -> Result<ReversePath<'_>, smtp_proto::syntax::SyntaxError> {
    if text.is_empty() { Ok(ReversePath::Null) } else { Ok(ReversePath::Mailbox(mailbox(text)?)) }
}

fn forward_path(text: &str) -> Result<ForwardPath<'_>, smtp_proto::syntax::SyntaxError> {
    // RFC 5321 4.5.1.
    if text.eq_ignore_ascii_case("postmaster") {
        return Ok(ForwardPath::Postmaster(text));
    }
    Ok(ForwardPath::Mailbox(mailbox(text)?))
}

fn mailbox(text: &str) -> Result<Mailbox<'_>, smtp_proto::syntax::SyntaxError> {
    Mailbox::parse(text, !text.is_ascii())
}

/// The text with CRLF everywhere, its end included; or the line of the first flaw.
fn lines(text: &[u8], convert: bool) -> Result<Vec<u8>, (usize, String)> {
    let mut writer = Writer::unstuffed(if convert { Newlines::Convert } else { Newlines::Strict });
    let (mut rest, mut out) = (text, Vec::with_capacity(text.len() + 2));
    let flaw = loop {
        match writer.next(&mut rest) {
            Ok(Some(piece)) => out.extend_from_slice(piece),
            Ok(None) => match writer.finish() {
                Ok(end) => {
                    out.extend_from_slice(end);
                    if !out.is_empty() && !out.ends_with(b"\r\n") {
                        out.extend_from_slice(b"\r\n");
                    }
                    return Ok(out);
                }
                Err(flaw) => break flaw,
            },
            Err(flaw) => break flaw,
        }
    };
    let line = 1 + out.iter().filter(|octet| **octet == b'\n').count();
    Err((line, flaw.to_string()))
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn line_ends_are_kept_refused_or_converted() {
        // RFC 5321 2.3.8
        assert_eq!(lines(b"a\r\n.b\r\n", false).expect("kept"), b"a\r\n.b\r\n");
        assert_eq!(lines(b"a\r\nb\nc\r\n", false).expect_err("refused").0, 2);
        assert_eq!(lines(b"a\nb\rc", true).expect("converted"), b"a\r\nb\r\nc\r\n");
    }
}
