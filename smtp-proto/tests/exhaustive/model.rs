//! What an SMTP server must do, as short as can be, from the RFCs alone: it shares nothing with the session but the
//! words of the protocol. It reads octets, cuts its own lines, and says which replies and questions must come.

use smtp_proto::{Leniencies, Leniency};

/// What an application may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Hello,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Message,
    Xclient,
    Xforward,
}

/// How it answers, all through one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Say {
    Yes,
    Later,
    Never,
    HangUp,
}

impl Say {
    pub(crate) const ALL: [Self; 4] = [Self::Yes, Self::Later, Self::Never, Self::HangUp];

    pub(crate) fn code(self, yes: u16) -> u16 {
        match self {
            Self::Yes => yes,
            Self::Later => 450,
            Self::Never => 550,
            Self::HangUp => 421,
        }
    }
}

/// A reply that must come: this code, or any refusal for good, whose finer meaning is left to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    Is(u16),
    Refusal,
}

impl Code {
    pub(crate) fn fits(self, code: u16) -> bool {
        match self {
            Self::Is(expected) => code == expected,
            Self::Refusal => matches!(code, 500..=599),
        }
    }
}

/// What must come of a turn.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) replies: Vec<Code>,
    pub(crate) asked: Vec<Ask>,
    /// The text of each message that is asked about.
    pub(crate) texts: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Setting {
    pub(crate) lmtp: bool,
    pub(crate) must_authenticate: bool,
    pub(crate) must_encrypt: bool,
    pub(crate) offers_tls: bool,
    pub(crate) offers_auth: bool,
    /// AUTH is offered without TLS as well.
    pub(crate) plaintext_auth: bool,
    /// TLS is up from the first octet.
    pub(crate) implicit_tls: bool,
    /// The peer may speak for others.
    pub(crate) trusted: bool,
    /// What is let pass.
    pub(crate) lenient: Leniencies,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Doing {
    Commands,
    /// After 354.
    Text,
    /// So many octets of a chunk are to come; these replies once they have.
    Chunk {
        left: u64,
        last: bool,
        good: bool,
        then: Vec<Code>,
    },
    /// A challenge was sent.
    Auth,
    /// 220 was sent.
    Handshake,
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Model {
    setting: Setting,
    doing: Doing,
    tls: bool,
    /// EHLO or LHLO rather than HELO.
    hello: Option<bool>,
    /// The client gave a name; to give none can be let pass.
    named: bool,
    authenticated: bool,
    trusted: bool,
    mail: bool,
    recipients: usize,
    /// A chunk was accepted, and LAST has not come.
    chunks: bool,
    text: Vec<u8>,
    flawed: bool,
    /// DATA was refused, and no good command has come since.
    refused_data: bool,
    /// Octets of a line that has not ended.
    held: Vec<u8>,
    /// Whether LF alone ends the peer's lines, which its first one decides.
    lf: Option<bool>,
    /// The present line has been refused for a bare LF.
    refused_line: bool,
}

/// The longest command line that is taken here, CRLF included.
const LINE: usize = 2048;

impl Model {
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            tls: setting.implicit_tls,
            trusted: setting.trusted,
            setting,
            doing: Doing::Commands,
            hello: None,
            named: false,
            authenticated: false,
            mail: false,
            recipients: 0,
            chunks: false,
            text: Vec::new(),
            flawed: false,
            refused_data: false,
            held: Vec::new(),
            lf: None,
            refused_line: false,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.doing == Doing::Over
    }
    pub(crate) fn wants_tls(&self) -> bool {
        self.doing == Doing::Handshake
    }
    pub(crate) fn has_tls(&self) -> bool {
        self.tls
    }
    pub(crate) fn has_hello(&self) -> bool {
        self.named
    }
    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated
    }
    pub(crate) fn in_transaction(&self) -> bool {
        self.mail
    }

    /// What becomes of it does not depend on what the text says.
    pub(crate) fn without_text(mut self) -> Self {
        self.text.clear();
        self
    }

    /// RFC 3207 4.2: as after the greeting, and nothing is left of what was said before.
    pub(crate) fn tls_established(&mut self) {
        assert!(self.wants_tls());
        *self = Self { tls: true, trusted: false, ..Self::new(self.setting.clone()) };
    }

    pub(crate) fn feed(&mut self, octets: &[u8], say: Say) -> Outcome {
        let mut out = Outcome::default();
        for octet in octets {
            match &mut self.doing {
                Doing::Over => break,
                // RFC 3207 4: nothing but TLS may follow 220. It is not answered, it ends the session.
                Doing::Handshake => self.doing = Doing::Over,
                Doing::Chunk { left, good, .. } => {
                    *left -= 1;
                    let (done, good) = (*left == 0, *good);
                    self.text.extend(good.then_some(*octet));
                    if done {
                        self.chunk_end(say, &mut out);
                    }
                }
                Doing::Text => {
                    self.held.push(*octet);
                    if self.held.ends_with(b"\r\n") {
                        let mut line = std::mem::take(&mut self.held);
                        line.truncate(line.len() - 2);
                        self.text_line(&line, say, &mut out);
                    }
                }
                Doing::Commands | Doing::Auth => {
                    self.held.push(*octet);
                    if *octet == b'\n' {
                        self.lf_in_command(say, &mut out);
                    }
                }
            }
        }
        out
    }

    /// RFC 5321 2.3.8: CRLF ends a line. A LF by itself does so for a peer that is let, and whose first line ended so; for
    /// any other it is answered once, at once, and the rest of the line is thrown away. A second one is too much.
    fn lf_in_command(&mut self, say: Say, out: &mut Outcome) {
        let bare = !self.held.ends_with(b"\r\n");
        let may = self.lets(Leniency::BareLfCommands) && self.lf != Some(false);
        if bare && !may {
            if self.refused_line {
                out.replies.push(Code::Is(421));
                self.doing = Doing::Over;
            } else if self.held.len() <= LINE {
                self.refused_line = true;
                let line = std::mem::take(&mut self.held);
                self.line(&line, say, out);
            }
            return;
        }
        self.lf.get_or_insert(bare);
        let mut line = std::mem::take(&mut self.held);
        line.truncate(line.len() - if bare { 1 } else { 2 });
        if !std::mem::take(&mut self.refused_line) {
            self.line(&line, say, out);
        }
    }

    fn lets(&self, leniency: Leniency) -> bool {
        self.setting.lenient.contains(leniency)
    }

    fn line(&mut self, line: &[u8], say: Say, out: &mut Outcome) {
        match self.doing {
            Doing::Auth => self.auth_line(line, say, out),
            _ => {
                let (command, well_formed) = self.is_command(line);
                let text = self.refused_data && !command;
                self.refused_data &= !well_formed;
                if text || line.starts_with(b"GET ") {
                    // The peer sends its message regardless, or speaks another protocol: what follows are no commands.
                    out.replies.push(Code::Is(421));
                    self.doing = Doing::Over;
                } else {
                    self.command(line, say, out);
                }
            }
        }
    }

    /// Whether the line begins with a verb of SMTP, and whether it is well formed as well.
    fn is_command(&self, line: &[u8]) -> (bool, bool) {
        let text = self.without_spaces(std::str::from_utf8(line).unwrap_or_default());
        let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
        let well_formed = match verb {
            "EHLO" | "HELO" | "LHLO" => self.is_name(argument),
            "MAIL" => self.is_sender(argument.split(" SIZE=").next().unwrap_or(argument)),
            "RCPT" => self.is_recipient(argument),
            "DATA" | "RSET" | "QUIT" | "STARTTLS" => argument.is_empty(),
            "NOOP" | "VRFY" | "BDAT" => true,
            // RFC 4954 4: an initial response is base64.
            "AUTH" => !argument.ends_with('*'),
            "XCLIENT" | "XFORWARD" => argument == "ADDR=192.0.2.7",
            _ => return (false, false),
        };
        (true, well_formed && !text.ends_with(['\n', ' ']))
    }

    /// What stands before the spaces at the end, where these are let pass.
    fn without_spaces<'t>(&self, text: &'t str) -> &'t str {
        if self.lets(Leniency::TrailingSpace) { text.trim_end_matches([' ', '\t']) } else { text }
    }

    fn is_name(&self, name: &str) -> bool {
        name == "client.example" || self.lets(Leniency::HeloName) && matches!(name, "" | "a_b." | "::1")
    }

    fn is_sender(&self, argument: &str) -> bool {
        match argument {
            "FROM:<sender@client.example>" => true,
            "FROM: <sender@client.example>" => self.lets(Leniency::SpaceAfterColon),
            "FROM:sender@client.example" => self.lets(Leniency::BareBrackets),
            "FROM:<root>" => self.lets(Leniency::NoDomain),
            "FROM:<a..b@c_d>" => self.lets(Leniency::DotsInLocalPart) && self.lets(Leniency::UnderscoreInDomain),
            "FROM:<\u{fc}@client.example>" => self.lets(Leniency::Utf8WithoutSmtpUtf8),
            _ => false,
        }
    }

    fn is_recipient(&self, argument: &str) -> bool {
        match argument {
            "TO:<user@example.net>" => true,
            "TO: user@example.net" => self.lets(Leniency::SpaceAfterColon) && self.lets(Leniency::BareBrackets),
            _ => false,
        }
    }

    // ---- RFC 5321 4.5.2: text

    fn text_line(&mut self, line: &[u8], say: Say, out: &mut Outcome) {
        if line == b"." {
            self.doing = Doing::Commands;
            if self.flawed {
                // RFC 5321 2.3.8; one reply for each recipient in LMTP (RFC 2033 4.2).
                let replies = if self.setting.lmtp { self.recipients } else { 1 };
                out.replies.extend(std::iter::repeat_n(Code::Refusal, replies));
                self.forget();
            } else {
                self.message(say, out);
            }
            return;
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        self.flawed |= line.iter().any(|octet| match octet {
            b'\r' => !self.lets(Leniency::BareCrText),
            b'\n' => !self.lets(Leniency::BareLfText),
            0 => !self.lets(Leniency::NulText),
            _ => false,
        });
        self.text.extend_from_slice(line);
        self.text.extend_from_slice(b"\r\n");
    }

    /// The text is complete. RFC 5321 4.1.1.4: whatever the answer, the transaction is over.
    fn message(&mut self, say: Say, out: &mut Outcome) {
        // RFC 2033 4.2: in LMTP each recipient has its answer.
        for _ in 0..if self.setting.lmtp { self.recipients } else { 1 } {
            out.asked.push(Ask::Message);
            out.texts.push(self.text.clone());
            out.replies.push(Code::Is(say.code(250)));
            if say == Say::HangUp {
                self.doing = Doing::Over;
                break;
            }
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.mail = false;
        self.recipients = 0;
        self.chunks = false;
        self.text.clear();
        self.flawed = false;
    }

    // ---- RFC 3030 2: chunks

    fn bdat(&mut self, argument: &str, say: Say, out: &mut Outcome) {
        let (size, last) = argument.strip_suffix(" LAST").map_or((argument, false), |size| (size, true));
        let well_formed = !size.is_empty() && size.bytes().all(|octet| octet.is_ascii_digit());
        let Some(size) = size.parse::<u64>().ok().filter(|_| well_formed) else {
            // How long the chunk is cannot be known, and so not where the next command begins.
            out.replies.push(Code::Is(421));
            self.doing = Doing::Over;
            return;
        };
        let allowed = self.may_go_on() && self.hello == Some(true) && self.mail && self.recipients > 0;
        let mut good = allowed;
        let mut then = Vec::new();
        if !allowed {
            then.push(Code::Refusal);
        } else if !self.chunks {
            // The application is asked once, with the first chunk.
            out.asked.push(Ask::Data);
            good = say == Say::Yes;
            if !good {
                let replies = if self.setting.lmtp && last && say != Say::HangUp { self.recipients } else { 1 };
                then.extend(std::iter::repeat_n(Code::Is(say.code(0)), replies));
                // RFC 3030 2: after a failed chunk the message has failed.
                self.forget();
            }
        }
        if say == Say::HangUp && allowed && !good {
            out.replies.extend(then);
            self.doing = Doing::Over;
            return;
        }
        if good {
            self.chunks = true;
        }
        self.doing = Doing::Chunk { left: size, last, good, then };
        if size == 0 {
            self.chunk_end(say, out);
        }
    }

    fn chunk_end(&mut self, say: Say, out: &mut Outcome) {
        let Doing::Chunk { last, good, then, .. } = std::mem::replace(&mut self.doing, Doing::Commands) else { return };
        if !good {
            out.replies.extend(then);
        } else if last {
            self.message(say, out);
        } else {
            out.replies.push(Code::Is(250));
        }
    }

    // ---- RFC 4954: AUTH

    fn auth(&mut self, argument: &str, say: Say, out: &mut Outcome) {
        let greeted = self.hello == Some(true) || self.hello == Some(false) && self.lets(Leniency::AuthAfterHelo);
        if !self.setting.offers_auth || !greeted || self.mail || self.authenticated {
            out.replies.push(Code::Refusal);
            return;
        }
        if !self.tls && !self.setting.plaintext_auth {
            // Whatever it says: it is not looked at.
            out.replies.push(Code::Is(538));
            return;
        }
        match argument.split_once(' ').map_or((argument, None), |(name, initial)| (name, Some(initial))) {
            ("PLAIN", Some(initial)) => self.auth_line(initial.as_bytes(), say, out),
            ("PLAIN", None) => {
                out.replies.push(Code::Is(334));
                self.doing = Doing::Auth;
            }
            _ => out.replies.push(Code::Refusal),
        }
    }

    /// A response, whatever it looks like.
    fn auth_line(&mut self, line: &[u8], say: Say, out: &mut Outcome) {
        self.doing = Doing::Commands;
        if line != crate::PLAIN_RESPONSE {
            out.replies.push(Code::Refusal);
            return;
        }
        out.asked.push(Ask::Auth);
        self.authenticated = say == Say::Yes;
        // RFC 4954 4 and 6.
        out.replies.push(Code::Is(match say {
            Say::Yes => 235,
            Say::Later => 454,
            Say::Never | Say::HangUp => 535,
        }));
    }

    // ---- RFC 5321 4.1: commands

    /// RFC 3207 4: where TLS is required, mail waits for it. RFC 6409 4.3: and for AUTH.
    fn may_go_on(&self) -> bool {
        (self.tls || !self.setting.must_encrypt) && (self.authenticated || !self.setting.must_authenticate)
    }

    fn command(&mut self, line: &[u8], say: Say, out: &mut Outcome) {
        let text = match std::str::from_utf8(line) {
            Ok(text) if line.len() + 2 <= LINE => self.without_spaces(text),
            _ => return out.replies.push(Code::Refusal),
        };
        let text = match text {
            text if !text.bytes().any(|octet| octet.is_ascii_control()) && !text.ends_with(' ') => text,
            _ => return out.replies.push(Code::Refusal),
        };
        let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
        let extended = match verb {
            "EHLO" | "HELO" if !self.setting.lmtp => Some(verb == "EHLO"),
            "LHLO" if self.setting.lmtp => Some(true),
            _ => None,
        };
        match (verb, argument) {
            (_, name) if extended.is_some() && self.is_name(name) => {
                if self.ask(Ask::Hello, 250, say, out) {
                    // RFC 5321 4.1.4: as RSET.
                    self.forget();
                    self.hello = extended;
                    self.named = !name.is_empty();
                }
            }
            ("NOOP", "") => out.replies.push(Code::Is(250)),
            ("QUIT", "") => {
                out.replies.push(Code::Is(221));
                self.doing = Doing::Over;
            }
            ("RSET", "") => {
                out.replies.push(Code::Is(250));
                self.forget();
            }
            // RFC 5321 3.5.3 and 7.3: says nothing about who exists.
            ("VRFY", "user") if self.may_encrypt_later() => out.replies.push(Code::Is(252)),
            ("STARTTLS", "") => {
                // RFC 3207 4 and 4.2: once, after EHLO, and not in a transaction.
                let may = self.setting.offers_tls && !self.tls && self.hello == Some(true) && !self.mail;
                if !may {
                    out.replies.push(Code::Refusal);
                } else if self.ask(Ask::StartTls, 220, say, out) {
                    self.doing = Doing::Handshake;
                }
            }
            // Nothing is left of who it was, what it said, and that it is trusted; but the channel is the same.
            ("XCLIENT", "ADDR=192.0.2.7") if self.may_speak_for_others() => {
                if self.ask(Ask::Xclient, 220, say, out) {
                    *self = Self { tls: self.tls, trusted: false, ..Self::new(self.setting.clone()) };
                }
            }
            ("XFORWARD", "ADDR=192.0.2.7") if self.may_speak_for_others() => {
                self.ask(Ask::Xforward, 250, say, out);
            }
            ("AUTH", argument) => self.auth(argument, say, out),
            ("BDAT", argument) => self.bdat(argument, say, out),
            ("MAIL", from) if self.is_sender(from) && self.may_go_on() && self.hello.is_some() && !self.mail => {
                self.mail = self.ask(Ask::Mail, 250, say, out);
            }
            ("RCPT", to) if self.is_recipient(to) && self.may_go_on() && self.mail && !self.chunks => {
                self.recipients += usize::from(self.ask(Ask::Rcpt, 250, say, out));
            }
            ("DATA", "") => {
                let may = self.may_go_on() && self.mail && self.recipients > 0 && !self.chunks;
                if !may {
                    // RFC 5321 3.3 and 4.1.4, RFC 2033 4.2, RFC 3030 2.
                    out.replies.push(Code::Refusal);
                } else if self.ask(Ask::Data, 354, say, out) {
                    self.doing = Doing::Text;
                }
                self.refused_data = self.doing == Doing::Commands;
            }
            _ => out.replies.push(Code::Refusal),
        }
    }

    fn may_speak_for_others(&self) -> bool {
        self.trusted && self.may_encrypt_later() && self.hello.is_some() && !self.mail
    }

    /// VRFY waits for TLS where TLS is required (RFC 3207 4).
    fn may_encrypt_later(&self) -> bool {
        self.tls || !self.setting.must_encrypt
    }

    /// The application is asked, and its answer sent.
    fn ask(&mut self, what: Ask, yes: u16, say: Say, out: &mut Outcome) -> bool {
        out.asked.push(what);
        out.replies.push(Code::Is(say.code(yes)));
        if say == Say::HangUp {
            self.doing = Doing::Over;
        }
        say == Say::Yes
    }
}
