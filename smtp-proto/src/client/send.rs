//! Commands on their way out: what may be sent now, and the last gate that no CR or LF passes.

use alloc::boxed::Box;

use super::Session;
use super::event::NotNow;
use super::message::TextRules;
use super::state::{Awaited, State};
use crate::syntax::{
    AttributeValue, Attributes, Body, Capability, Command, Extension, Keyword, KeywordSet, Mail, Mailbox, Params, Verb,
};

/// Octets of a command line, CRLF included: 512 (RFC 5321 4.5.3.1.4) and what extensions add to MAIL and RCPT (RFC 3461
/// 4 alone adds more than 600 to RCPT).
const LINE: usize = 2048;
/// Of XCLIENT and XFORWARD, which add nothing to what RFC 5321 4.5.3.1.4 allows.
const ATTRIBUTES_LINE: usize = 512;

impl Session {
    /// Gives a command. Its reply is told by [`Event::Reply`](super::Event::Reply), replies coming in the order of the
    /// commands. Where the server offers PIPELINING several may be given before their replies have come, up to one
    /// that ends the group, such as DATA; and MAIL of the next message behind the end of a text that went by DATA
    /// (RFC 2920 3.1).
    ///
    /// The greeting, STARTTLS and AUTH are the session's own; for the text see [`begin_chunks`](Self::begin_chunks).
    ///
    /// # Errors
    /// [`NotNow`], and nothing was sent.
    pub fn send(&mut self, command: &Command<'_>) -> Result<(), NotNow> {
        match command {
            Command::Mail(mail) => self.mail(mail.path.as_str(), None, &[], &mail.params)?,
            Command::Rcpt(rcpt) => {
                self.may(Awaited::Rcpt)?;
                let left_out = self.params(Verb::Rcpt, &rcpt.params)?;
                self.utf8(rcpt.path.as_str())?;
                // RFC 9422 5.2.
                if self.offers.rcpt_max().is_some_and(|most| self.named >= most) {
                    return Err(NotNow::Limit);
                }
                self.line(Awaited::Rcpt, &["RCPT TO:<", rcpt.path.as_str(), ">"], &rcpt.params, left_out)?;
                self.named += 1;
                self.left_out = self.left_out.union(left_out);
            }
            Command::Data => self.simple(Awaited::Data, &["DATA"])?,
            Command::Rset => self.simple(Awaited::Rset, &["RSET"])?,
            Command::Noop(text) => self.with_text("NOOP", text)?,
            Command::Vrfy(text) => self.with_text("VRFY", text)?,
            Command::Expn(text) => self.with_text("EXPN", text)?,
            Command::Help(text) => self.with_text("HELP", text)?,
            Command::Xclient(client) => {
                self.attributes(Awaited::Xclient, Extension::XClient, client)?;
                self.spoken_for = name(client);
            }
            Command::Xforward(client) => self.attributes(Awaited::Xforward, Extension::XForward, client)?,
            Command::Quit => self.quit(),
            _ => return Err(NotNow::NotYours),
        }
        Ok(())
    }

    /// MAIL for a text that nobody has looked at: BODY=8BITMIME is added where the server offers it and nothing else is said,
    /// so that octets beyond ASCII may come (RFC 6152 3).
    ///
    /// # Errors
    /// [`NotNow`], and nothing was sent.
    pub fn send_mail(&mut self, mail: &Mail<'_>) -> Result<(), NotNow> {
        let says = mail.params.known().contains(Keyword::Body);
        let words = [" BODY=8BITMIME"];
        let words = if self.offers.has(Extension::EightBitMime) && !says { &words[..] } else { &[] };
        self.mail(mail.path.as_str(), None, words, &mail.params)
    }

    /// MAIL, with a SIZE where that is offered, and these words behind it.
    pub(super) fn mail(
        &mut self,
        path: &str,
        size: Option<u64>,
        words: &[&str],
        params: &Params<'_>,
    ) -> Result<(), NotNow> {
        self.may(Awaited::Mail)?;
        let left_out = self.params(Verb::Mail, params)?;
        // RFC 1870 6: what is too big is not tried.
        if let (Some(size), Some(most)) = (size.or(params.size()), self.offers.size())
            && size > most
        {
            return Err(NotNow::TooBig(most));
        }
        // RFC 9422 5.1.
        if self.offers.mail_max().is_some_and(|most| self.mails >= most) {
            return Err(NotNow::Limit);
        }
        let said = params.iter().any(|param| param.keyword.eq_ignore_ascii_case("SMTPUTF8"));
        self.utf8 = said || words.contains(&" SMTPUTF8");
        self.utf8(path)?;
        let mut digits = [0; 20];
        let size = size.filter(|_| self.offers.has(Extension::Size) && params.size().is_none());
        let size = size.map_or("", |size| decimal(&mut digits, size));
        let keyword = if size.is_empty() { "" } else { " SIZE=" };
        let [first, second] = [0, 1].map(|at| words.get(at).copied().unwrap_or_default());
        self.line(Awaited::Mail, &["MAIL FROM:<", path, ">", keyword, size, first, second], params, left_out)?;
        let declared = params.body() != Body::SevenBit || words.iter().any(|word| word.starts_with(" BODY=8"));
        self.text_rules = TextRules {
            ascii: !declared && !self.config.eight_bit_anyway,
            short_lines: !self.config.long_lines,
            column: 0,
        };
        self.left_out = left_out;
        self.mails += 1;
        self.named = 0;
        // Behind a text that is not answered it is still that text's end.
        self.text_end = self.text_end.filter(|_| self.state == State::Sent);
        Ok(())
    }

    /// Whether `awaited` may be sent now: there is a row for it in the table, if all that is unanswered is accepted.
    pub(super) fn may(&self, awaited: Awaited) -> Result<(), NotNow> {
        if !self.phase.opened || self.phase.parting.is_some() || self.phase.quitting {
            return Err(NotNow::State(self.state));
        }
        if self.message.is_some() {
            return Err(NotNow::State(State::Data));
        }
        let waiting = self.awaited.len();
        let group = self.offers.has(Extension::Pipelining) && waiting < self.config.limits.group;
        let follows = |last: Awaited| group && !last.ends_group(awaited);
        if self.reader.in_reply() && waiting == 0 || self.awaited.last().is_some_and(|last| !follows(last)) {
            return Err(NotNow::Busy);
        }
        // A text by BDAT that is refused may leave its transaction open (RFC 3030 2); one by DATA never does.
        if self.awaited.last() == Some(Awaited::Text) && self.state != State::Sent {
            return Err(NotNow::Busy);
        }
        let ahead = self.awaited.ahead(self.state);
        ahead.after(awaited.moves()).map(|_| ()).ok_or(NotNow::State(ahead))
    }

    fn simple(&mut self, awaited: Awaited, line: &[&str]) -> Result<(), NotNow> {
        self.may(awaited)?;
        self.line(awaited, line, &Params::default(), KeywordSet::EMPTY)
    }

    /// XCLIENT or XFORWARD, with attributes that the server has announced by name.
    fn attributes(&mut self, awaited: Awaited, needs: Extension, said: &Attributes<'_>) -> Result<(), NotNow> {
        self.may(awaited)?;
        if !self.offers.has(needs) {
            return Err(NotNow::NotOffered(needs));
        }
        let announced = |name: &str| {
            self.offers.capabilities().any(|capability| match capability {
                Capability::XClient(names) if needs == Extension::XClient => names.contains(name),
                Capability::XForward(names) if needs == Extension::XForward => names.contains(name),
                _ => false,
            })
        };
        if !said.iter().all(|(name, _)| announced(name)) {
            return Err(NotNow::UnknownParameter);
        }
        if needs.keyword().len() + 1 + said.as_str().len() + 2 > ATTRIBUTES_LINE {
            return Err(NotNow::Forbidden);
        }
        self.line(awaited, &[needs.keyword(), " ", said.as_str()], &Params::default(), KeywordSet::EMPTY)
    }

    fn with_text(&mut self, verb: &str, text: &str) -> Result<(), NotNow> {
        if text.is_empty() {
            self.simple(Awaited::Other, &[verb])
        } else {
            self.simple(Awaited::Other, &[verb, " ", text])
        }
    }

    /// Every parameter belongs to an extension that was announced (RFC 5321 4.1.1.11). Gives those that are left out.
    fn params(&self, verb: Verb, params: &Params<'_>) -> Result<KeywordSet, NotNow> {
        let mut left_out = KeywordSet::EMPTY;
        for param in params.iter() {
            let needs = match extension_of(verb, param.keyword, param.value) {
                Some(needs) => needs,
                None if self.offers.has_unknown(param.keyword) => continue,
                None => return Err(NotNow::UnknownParameter),
            };
            if !self.offers.has(needs) {
                // RFC 3461 4, RFC 4954 5, RFC 1870 6: without them the message can be sent all the same.
                let asks = matches!(needs, Extension::Dsn | Extension::Auth | Extension::Size);
                match Keyword::from_name(param.keyword) {
                    Some(keyword) if asks && !self.config.require_parameters => left_out = left_out.with(keyword),
                    _ => return Err(NotNow::NotOffered(needs)),
                }
            }
            // RFC 8689 4.2.1: only over TLS.
            if needs == Extension::RequireTls && self.tls.is_none() {
                return Err(NotNow::TlsRequired);
            }
        }
        Ok(left_out)
    }

    /// RFC 6531 3.4: an address beyond ASCII needs SMTPUTF8 on MAIL.
    fn utf8(&self, path: &str) -> Result<(), NotNow> {
        if path.is_ascii() || self.utf8 { Ok(()) } else { Err(NotNow::NotOffered(Extension::SmtpUtf8)) }
    }

    /// Puts a line out through the last gate, which looks at every octet.
    fn line(
        &mut self,
        awaited: Awaited,
        line: &[&str],
        params: &Params<'_>,
        left_out: KeywordSet,
    ) -> Result<(), NotNow> {
        let start = self.output.tail().len();
        for part in line {
            self.output.tail().extend_from_slice(part.as_bytes());
        }
        let out = |keyword| Keyword::from_name(keyword).is_some_and(|keyword| left_out.contains(keyword));
        for param in params.iter().filter(|param| left_out.is_empty() || !out(param.keyword)) {
            self.output.tail().push(b' ');
            self.output.tail().extend_from_slice(param.keyword.as_bytes());
            if let Some(value) = param.value {
                self.output.tail().push(b'=');
                self.output.tail().extend_from_slice(value.as_bytes());
            }
        }
        let utf8 = self.utf8;
        let written = self.output.tail().get(start..).unwrap_or_default();
        let passes = |octet: &u8| matches!(octet, b' '..=b'~') || utf8 && *octet >= 0x80;
        if written.len() + 2 > LINE || !written.iter().all(passes) {
            self.output.tail().truncate(start);
            return Err(NotNow::Forbidden);
        }
        self.command(awaited, &[]);
        Ok(())
    }
}

/// The name in HELO=, if it can be said in EHLO.
fn name(client: &Attributes<'_>) -> Option<Box<str>> {
    let Some(AttributeValue::Text(name)) = client.get("HELO") else { return None };
    let name = name.decode();
    Mailbox::parse(&alloc::format!("x@{name}"), false).is_ok().then(|| name.into_boxed_str())
}

/// Which extension a parameter belongs to, by the registry; `None` also where it is not one of this command.
fn extension_of(verb: Verb, keyword: &str, value: Option<&str>) -> Option<Extension> {
    let entry = Keyword::from_name(keyword)?.entry();
    // RFC 3030 3: a value of BODY with an extension of its own.
    let binary = value.is_some_and(|value| value.eq_ignore_ascii_case("BINARYMIME"));
    match entry.keyword {
        _ if entry.verb != verb => None,
        Keyword::Body if binary => Some(Extension::BinaryMime),
        _ => Extension::from_keyword(entry.announced_by.as_bytes()),
    }
}

/// A number in digits.
pub(super) fn decimal(digits: &mut [u8; 20], mut number: u64) -> &str {
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    str::from_utf8(digits.get(start..).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::extension_of;
    use crate::syntax::{Extension, Keyword, Verb};

    /// RFC 5321 4.1.1.11: a row without an extension known here would be a parameter that is never sent.
    #[test]
    fn every_row_of_the_registry_has_its_extension_and_one_command() {
        for entry in Keyword::all().map(Keyword::entry) {
            let other = if entry.verb == Verb::Mail { Verb::Rcpt } else { Verb::Mail };
            let extension = extension_of(entry.verb, &entry.name.to_ascii_lowercase(), None);
            assert_eq!(extension.map(Extension::keyword), Some(entry.announced_by), "{}", entry.name);
            assert_eq!(extension_of(other, entry.name, None), None, "{} is not one of {other:?}", entry.name);
        }
        assert_eq!(extension_of(Verb::Mail, "body", Some("binarymime")), Some(Extension::BinaryMime));
        assert_eq!(extension_of(Verb::Mail, "X-COLOUR", None), None);
    }
}
