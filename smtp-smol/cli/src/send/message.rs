//! The message and its envelope, checked.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use smtp_proto::client::{Body, Envelope};
use smtp_proto::syntax::{ForwardPath, Mailbox, Notify, ParamsBuilder, Rcpt, Ret, ReversePath, SyntaxError};
use smtp_proto::text::{Newlines, Writer};
use smtp_proto::{Leniencies, Leniency};

use super::options::{GiveBack, Lenience, Newlines as LineEnds, Options, When};
use crate::failure::Failure;

/// What is to be sent, and to whom.
#[derive(Debug)]
pub(crate) struct Message {
    /// What addresses may be like.
    lenient: Leniencies,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// The same addresses with their domains as A-labels (RFC 5891), where that is all that is beyond ASCII in them.
    ascii_from: Option<String>,
    ascii_to: Vec<Option<String>>,
    pub(crate) text: Vec<u8>,
    body: Body,
    utf8: bool,
    mail: ParamsBuilder,
    rcpt: Vec<ParamsBuilder>,
}

impl Message {
    /// Reads it, and checks everything that can be checked before there is a server.
    pub(crate) fn read(options: &Options) -> Result<Self, Failure> {
        let bare = |address: &String| address.trim_start_matches('<').trim_end_matches('>').to_owned();
        let (from, to) = (bare(&options.from), options.to.iter().map(bare).collect::<Vec<_>>());
        let lenient = lenient(options);
        let mend = "give a mailbox such as a@example.org; --lenient dots-in-local-part or underscore-in-domain takes some that \
                    are none";
        reverse_path(&from, lenient).map_err(|error| Failure::option("--from", &from, error, mend))?;
        for to in &to {
            forward_path(to, lenient).map_err(|error| Failure::option("--to", to, error, mend))?;
        }
        let (mail, rcpt) = notifications(options, to.len())?;
        let file = &options.file;
        let text = if file == Path::new("-") {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
        } else {
            fs::read(file)
        };
        let text = text
            .map_err(|error| Failure::option("FILE", file.display(), error, "name a message file, or - for stdin"))?;
        let wrong =
            |line, wrong: &str, mend| Failure::option("FILE", format_args!("{}:{line}", file.display()), wrong, mend);
        let text = lines(&text, options.newlines == LineEnds::Convert).map_err(|(line, flaw)| {
            wrong(line, &flaw, "RFC 5321 section 2.3.8 wants CRLF; --newlines convert makes it so")
        })?;
        if let Some(line) = long_line(&text).filter(|_| !options.long_lines) {
            let mend = "RFC 5321 section 4.5.3.1.6 allows no more; fold or encode it, or send it all the same with --long-lines";
            return Err(wrong(line, "a line of more than 998 octets", mend));
        }
        let body = if text.is_ascii() { Body::SevenBit } else { Body::EightBitMime };
        let head = text.windows(4).position(|four| four == b"\r\n\r\n").map_or(&text[..], |end| &text[..end]);
        let utf8 = !head.is_ascii();
        let (ascii_from, ascii_to) = (in_ascii(&from), to.iter().map(|to| in_ascii(to)).collect());
        Ok(Self { lenient, from, to, ascii_from, ascii_to, text, body, utf8, mail, rcpt })
    }

    /// Whether addresses go beyond ASCII, and only in their domains, so that a server without SMTPUTF8 can be told them as
    /// A-labels.
    pub(crate) fn has_ascii_form(&self, of: &[usize]) -> bool {
        let to = of.iter().filter_map(|at| Some((self.to.get(*at)?, self.ascii_to.get(*at)?.as_ref())));
        let all = to.chain([(&self.from, self.ascii_from.as_ref())]);
        let (mut beyond, mut possible) = (false, !self.utf8);
        for (address, ascii) in all {
            beyond |= !address.is_ascii();
            possible &= address.is_ascii() || ascii.is_some();
        }
        beyond && possible
    }

    /// The recipients as they are said to a server, of those with these indices.
    pub(crate) fn recipients(&self, of: &[usize], ascii: bool) -> Vec<Rcpt<'_>> {
        let rcpt = |at: &usize| {
            let to = self.ascii_to.get(*at)?.as_deref().filter(|_| ascii).unwrap_or(self.to.get(*at)?);
            Some(Rcpt { path: forward_path(to, self.lenient).ok()?, params: self.rcpt.get(*at)?.params() })
        };
        of.iter().filter_map(rcpt).collect()
    }

    pub(crate) fn envelope<'e>(&'e self, to: &'e [Rcpt<'e>], ascii: bool) -> Envelope<'e> {
        let from = self.ascii_from.as_deref().filter(|_| ascii).unwrap_or(&self.from);
        let from = reverse_path(from, self.lenient).unwrap_or(ReversePath::Null);
        let mut envelope = Envelope::new(from, to).size(self.text.len() as u64).body(self.body);
        envelope.utf8 = self.utf8;
        envelope.params = self.mail.params();
        envelope
    }
}

/// The parameters of RFC 3461, for MAIL and for each RCPT.
fn notifications(options: &Options, recipients: usize) -> Result<(ParamsBuilder, Vec<ParamsBuilder>), Failure> {
    let (mut mail, mut each) = (ParamsBuilder::mail(), ParamsBuilder::rcpt());
    if let Some(ret) = options.ret {
        let ret = if ret == GiveBack::Full { Ret::Full } else { Ret::Headers };
        mail.ret(ret).map_err(|error| Failure::option("--ret", "", error, "give full or hdrs"))?;
    }
    if let Some(envid) = &options.envid {
        let mend = "give up to 100 characters of printable ASCII";
        mail.envid(envid).map_err(|error| Failure::option("--envid", envid, error, mend))?;
    }
    if !options.notify.is_empty() {
        let has = |when| options.notify.contains(&when);
        if has(When::Never) && options.notify.len() > 1 {
            let mend = "give never alone, or some of success, failure, delay";
            return Err(Failure::option("--notify", "never", "it excludes every other", mend));
        }
        let mut notify = Notify::NEVER;
        (notify.success, notify.failure, notify.delay) = (has(When::Success), has(When::Failure), has(When::Delay));
        let mend = "give never, or some of success, failure, delay";
        each.notify(notify).map_err(|error| Failure::option("--notify", "", error, mend))?;
    }
    let mut rcpt = vec![each; recipients];
    if !options.orcpt.is_empty() && options.orcpt.len() != recipients {
        let (wrong, mend) = ("not as many as recipients", "give one for each --to, in their order");
        return Err(Failure::option("--orcpt", options.orcpt.len(), wrong, mend));
    }
    for (rcpt, orcpt) in rcpt.iter_mut().zip(&options.orcpt) {
        let mend = "give an address of printable characters";
        rcpt.orcpt(orcpt).map_err(|error| Failure::option("--orcpt", orcpt, error, mend))?;
    }
    Ok((mail, rcpt))
}

/// An address beyond ASCII with its domain as A-labels, if its local part is ASCII (RFC 6531 3.2, RFC 5891 5).
fn in_ascii(address: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    if address.is_ascii() || !local.is_ascii() {
        return None;
    }
    let ascii = format!("{local}@{}", idna::domain_to_ascii(domain).ok()?);
    Mailbox::parse(&ascii, false).is_ok().then_some(ascii)
}

/// The number of the first line with more than 998 octets.
fn long_line(text: &[u8]) -> Option<usize> {
    text.split(|octet| *octet == b'\n').position(|line| line.len() > 999).map(|at| at + 1)
}

fn lenient(options: &Options) -> Leniencies {
    options.lenient.iter().fold(Leniencies::STRICT, |set, each| match each {
        Lenience::BareLf => set,
        Lenience::DotsInLocalPart => set.with(Leniency::DotsInLocalPart),
        Lenience::UnderscoreInDomain => set.with(Leniency::UnderscoreInDomain),
    })
}

fn reverse_path(text: &str, lenient: Leniencies) -> Result<ReversePath<'_>, SyntaxError> {
    if text.is_empty() { Ok(ReversePath::Null) } else { Ok(ReversePath::Mailbox(mailbox(text, lenient)?)) }
}

fn forward_path(text: &str, lenient: Leniencies) -> Result<ForwardPath<'_>, SyntaxError> {
    // RFC 5321 4.5.1.
    if text.eq_ignore_ascii_case("postmaster") {
        return Ok(ForwardPath::Postmaster(text));
    }
    Ok(ForwardPath::Mailbox(mailbox(text, lenient)?))
}

fn mailbox(text: &str, lenient: Leniencies) -> Result<Mailbox<'_>, SyntaxError> {
    Mailbox::parse_with(text, !text.is_ascii(), lenient)
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
    use super::{in_ascii, lines, long_line};

    #[test]
    fn line_ends_are_kept_refused_or_converted() {
        // RFC 5321 2.3.8
        assert_eq!(lines(b"a\r\n.b\r\n", false).expect("kept"), b"a\r\n.b\r\n");
        assert_eq!(lines(b"a\r\nb\nc\r\n", false).expect_err("refused").0, 2);
        assert_eq!(lines(b"a\nb\rc", true).expect("converted"), b"a\r\nb\r\nc\r\n");
    }

    #[test]
    fn a_line_has_998_octets_at_most() {
        // RFC 5321 4.5.3.1.6
        let line = |octets| format!("a\r\n{}\r\n", "x".repeat(octets));
        assert_eq!((long_line(line(998).as_bytes()), long_line(line(999).as_bytes())), (None, Some(2)));
    }

    #[test]
    fn a_domain_is_said_in_ascii_if_the_local_part_is() {
        // RFC 5891 4.4
        assert_eq!(in_ascii("a@b\u{fc}cher.example").as_deref(), Some("a@xn--bcher-kva.example"));
        assert_eq!(in_ascii("A@B\u{dc}CHER.example").as_deref(), Some("A@xn--bcher-kva.example"));
        for none in ["a@b.example", "j\u{fc}@b\u{fc}cher.example", "postmaster", "a@\u{200b}.example"] {
            assert_eq!(in_ascii(none), None, "{none:?}");
        }
    }
}
