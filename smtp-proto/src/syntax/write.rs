//! Writes commands. Whatever it writes, the parser reads back as the same command.

use alloc::vec::Vec;

use super::{Command, Etrn, ForwardPath, Mail, Options, Rcpt, ReversePath};

/// A command with an argument that its grammar does not allow. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("this {verb} would not be read as it is meant: an argument does not fit its grammar")]
pub struct InvalidCommand {
    /// The verb of the command that was refused.
    pub verb: super::Verb,
}

impl Command<'_> {
    /// Appends the command, CRLF included.
    ///
    /// Nothing leaves here that a server would read in another way: the line must parse to this very command, so it
    /// holds no CR, LF or NUL, whatever was put into a [`Command::Noop`] or into any other.
    ///
    /// ```
    /// use smtp_proto::syntax::Command;
    ///
    /// let mut out = Vec::new();
    /// Command::Vrfy("tim").write(&mut out)?;
    /// assert!(Command::Vrfy("tim\r\nRSET").write(&mut out).is_err());
    /// assert_eq!(out, b"VRFY tim\r\n");
    /// # Ok::<(), smtp_proto::syntax::InvalidCommand>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidCommand`], and `out` is as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), InvalidCommand> {
        let start = out.len();
        self.write_line(out);
        let line = out.get(start..).unwrap_or_default();
        // UTF-8 is let through as RFC 6531 has it: in MAIL with its SMTPUTF8; RCPT follows such a MAIL.
        let options = Options::new().smtputf8(true);
        let same = Command::parse(line, &options).is_ok_and(|parsed| parsed.command == *self);
        let clean = line.iter().all(|octet| matches!(octet, b' '..=b'~' | 128..));
        if !same || !clean {
            out.truncate(start);
            return Err(InvalidCommand { verb: self.verb() });
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn write_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.verb().as_str().as_bytes());
        match *self {
            Self::Data | Self::Rset | Self::Quit | Self::StartTls | Self::Historic(_) => {}
            Self::Ehlo(host) | Self::Helo(host) | Self::Lhlo(host) => words(out, &[" ", host.as_str()]),
            Self::Mail(Mail { path, params }) => {
                let path = match path {
                    ReversePath::Null => "",
                    ReversePath::Mailbox(mailbox) => mailbox.as_str(),
                };
                words(out, &[" FROM:<", path, ">", space_before(params.as_str()), params.as_str()]);
            }
            Self::Rcpt(Rcpt { path, params }) => {
                let path = match path {
                    ForwardPath::Postmaster(text) => text,
                    ForwardPath::Mailbox(mailbox) => mailbox.as_str(),
                };
                words(out, &[" TO:<", path, ">", space_before(params.as_str()), params.as_str()]);
            }
            Self::Bdat { size, last } => {
                out.push(b' ');
                decimal(out, size);
                words(out, &[if last { " LAST" } else { "" }]);
            }
            Self::Noop(text) | Self::Help(text) => words(out, &[space_before(text), text]),
            Self::Vrfy(text) | Self::Expn(text) => words(out, &[" ", text]),
            Self::Auth { mechanism, initial } => {
                words(out, &[" ", mechanism]);
                match initial.map(|initial| initial.as_str()) {
                    None => {}
                    // RFC 4954 4: an initial response of no octets.
                    Some("") => words(out, &[" ="]),
                    Some(text) => words(out, &[" ", text]),
                }
            }
            Self::Etrn(Etrn::Host(host)) => words(out, &[" ", host.as_str()]),
            Self::Etrn(Etrn::Subdomains(host)) => words(out, &[" @", host.as_str()]),
            Self::Etrn(Etrn::Queue(name)) => words(out, &[" #", name]),
            Self::Atrn(atrn) => words(out, &[space_before(atrn.as_str()), atrn.as_str()]),
            Self::Burl { url, last } => words(out, &[" ", url, if last { " LAST" } else { "" }]),
            Self::Xclient(attributes) | Self::Xforward(attributes) => words(out, &[" ", attributes.as_str()]),
        }
    }
}

fn words(out: &mut Vec<u8>, words: &[&str]) {
    for word in words {
        out.extend_from_slice(word.as_bytes());
    }
}

const fn space_before(text: &str) -> &'static str {
    if text.is_empty() { "" } else { " " }
}

fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}
