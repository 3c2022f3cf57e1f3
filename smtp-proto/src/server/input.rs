//! What the octets of the peer mean, by state. `None` means: nothing to tell the driver yet, take the next step.

use super::intake::Reader;
use super::phase::{Greeting, RefusedText};
use super::{EndKind, Event, Fault, FaultKind, Limits, MessageEnd, Move, Pending, Role, Session, State, replies};
use crate::framing::Framed;
use crate::syntax::{Command, Options, SyntaxError, SyntaxErrorKind, Verb};
use crate::text::Scan;
use crate::{Leniency, Step, Want};

impl Session {
    /// RFC 5321 3.1: the client waits for the greeting. RFC 5321 4.3.1: the greeting may be held back for a moment. A
    /// client that sends before it is then refused, unless [`Leniency::EarlyTalkers`] is on.
    pub(super) fn step_connected<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if self.phase.greeting != Greeting::Past && !input.is_empty() {
            let held = self.in_greet_pause();
            self.phase.greeting = Greeting::Past;
            if !held {
                self.early_talker();
            } else if self.config.lenient.contains(Leniency::EarlyTalkers) {
                self.due.lenient(Leniency::EarlyTalkers, self.offset);
                self.progress += 1;
            } else {
                return self.fatal(input, FaultKind::EarlyTalker, self.offset, &replies::EARLY_TALKER);
            }
            return None;
        }
        if self.in_greet_pause() && !self.phase.shutting_down {
            return Some(Step::Want(Want::Input));
        }
        self.end_greet_pause();
        Some(Step::Event(Event::Connect(self.ticket(Pending::Connect))))
    }

    /// Whether the greeting is held back, to find clients that do not wait for it.
    pub(super) fn in_greet_pause(&self) -> bool {
        let pause = self.config.timeouts.greet_pause;
        self.state == State::Connected
            && self.pending.is_none()
            && self.phase.greeting == Greeting::Held
            && !pause.is_zero()
    }

    /// The time to hold the greeting back is over; the next wait is another.
    pub(super) fn end_greet_pause(&mut self) {
        if self.in_greet_pause() {
            self.phase.greeting = Greeting::Due;
            self.progress += 1;
        }
    }

    /// Without a pause it is chance whether early octets have come already: they are reported, do not count as a fault,
    /// and are served either way.
    fn early_talker(&mut self) {
        self.due.fault(Fault { kind: FaultKind::EarlyTalker, offset: self.offset, code: 0 });
    }

    pub(super) fn step_command<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        // What lies there while the greeting still waits to be written came before it.
        let before = core::mem::replace(&mut self.phase.greeting, Greeting::Past);
        if before != Greeting::Past && !input.is_empty() && !self.output().is_empty() {
            self.early_talker();
            return None;
        }
        if core::mem::take(&mut self.phase.must_wait) && self.did_not_wait(input) {
            if self.config.wait_your_turn {
                return self.fatal(input, FaultKind::Pipelining, self.offset, &replies::NOT_WAITED);
            }
            return None;
        }
        // A TLS ClientHello (RFC 8446 5.1: record type 22, version 3.x) need not hold a CRLF: look first. What is within a line
        // that is skipped to its end is none.
        if let [22, 3, ..] = input
            && !self.framing.is_skipping()
        {
            return self.fatal(input, FaultKind::CrossProtocol, self.offset, &replies::NOT_SMTP);
        }
        let start = self.offset;
        let before = input.len();
        let lf = self.config.lenient.contains(Leniency::BareLfCommands);
        let limits = &self.config.limits;
        let framed = match self.framing.usual(input, limits.line.min(limits.auth_line)) {
            Some(line) => Framed::Line(line),
            None => self.framing.next(input, line_limit(limits, input), lf),
        };
        self.offset += (before - input.len()) as u64;
        let line = match framed {
            // The grammar refuses a line that has a LF in it.
            Framed::Line(line) | Framed::BareLf(line) => line,
            Framed::LfLine(line) => {
                self.due.lenient(Leniency::BareLfCommands, start);
                line
            }
            Framed::Skipped => return None,
            Framed::BareLfAgain => {
                let kind = FaultKind::Syntax(SyntaxErrorKind::BareLf);
                return self.fatal(input, kind, self.offset - 1, &replies::BARE_LF_CLOSING);
            }
            Framed::Partial => return Some(Step::Want(Want::Input)),
            Framed::TooLong { earlier } => {
                self.progress += 1;
                if self.phase.refused == RefusedText::Data {
                    return self.fatal(input, FaultKind::TextAsCommands, start - earlier, &replies::TEXT_AS_COMMANDS);
                }
                self.fault(FaultKind::LineTooLong, start - earlier, Some(&replies::LINE_TOO_LONG));
                return None;
            }
            Framed::Endless { earlier } => {
                return self.fatal(input, FaultKind::LineTooLong, start - earlier, &replies::LINE_TOO_LONG_CLOSING);
            }
        };
        self.progress += 1;
        self.idle_commands += 1;
        if self.idle_commands > self.config.limits.idle_commands {
            return self.fatal(input, FaultKind::TooManyCommands, start, &replies::TOO_MANY_COMMANDS);
        }
        match Command::parse(line, &self.grammar()) {
            Ok(parsed) => {
                self.phase.refused = RefusedText::None;
                self.due.lenient(parsed.used, start);
                self.command(parsed.command, start, input)
            }
            Err(error) => self.unparsed(line, &error, start, input),
        }
    }

    /// UTF-8 in the addresses of a transaction that asked for it, which MAIL itself does (RFC 6531 3.4).
    fn grammar(&self) -> Options {
        let utf8 = self.config.extensions.smtp_utf8 && self.phase.extended;
        let utf8 = utf8 && (self.phase.utf8 || !self.in_transaction());
        Options::new().lenient(self.config.lenient).smtputf8(utf8)
    }

    pub(super) fn step_start_tls<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if input.is_empty() {
            return Some(Step::Want(Want::Tls));
        }
        // RFC 3207 4: what came before the handshake cannot be trusted to be the client's. Never parsed.
        *input = &[];
        self.fault(FaultKind::PlaintextBehindStartTls, self.offset, None);
        self.close(EndKind::Fault(FaultKind::PlaintextBehindStartTls));
        None
    }

    pub(super) fn step_text<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if core::mem::take(&mut self.phase.must_wait) && self.did_not_wait(input) {
            return None;
        }
        if self.discarded() > self.config.limits.discard {
            return self.too_much_discarded(input);
        }
        let before = input.len();
        let Some(text) = &mut self.text else { return self.no_text(input) };
        let Reader::Lines(scanner) = &mut text.reader else { return self.no_text(input) };
        let scan = scanner.search(input);
        let used = (before - input.len()) as u64;
        self.offset += used;
        if text.progressed(used, self.config.timeouts.text_octets) {
            self.progress += 1;
        }
        match scan {
            Scan::Chunk(piece) => {
                let admitted = text.admit(piece, self.offset - piece.len() as u64, &self.config.limits);
                self.throw_away((piece.len() - admitted.len()) as u64);
                if admitted.is_empty() { None } else { Some(Step::Event(Event::Chunk(admitted))) }
            }
            Scan::Need => Some(Step::Want(Want::Input)),
            Scan::End => {
                self.progress += 1;
                self.text_end();
                None
            }
        }
    }

    /// What the table of states keeps from happening.
    #[cold]
    pub(super) fn no_text<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        debug_assert!(false, "a text has begun, and is read as it began");
        self.end(input, EndKind::Refused, &replies::LOCAL_ERROR_CLOSING)
    }

    /// A refused text has been read to the limit: it will not be read to its end.
    pub(super) fn too_much_discarded<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        let at = self.text.as_ref().and_then(|text| text.fault()).map_or(self.offset, |(_, at)| at);
        self.fatal(input, FaultKind::TooMuchDiscarded, at, &replies::TOO_MUCH_DISCARDED)
    }

    /// The whole text has come. One that broke a rule is refused here, once, and not before (RFC 5321 4.1.1.4).
    pub(super) fn text_end(&mut self) {
        self.idle_commands = 0;
        let Some(text) = &mut self.text else { return self.close(EndKind::Refused) };
        text.finish(self.offset);
        let Some((kind, offset)) = text.fault() else {
            self.due.lenient(text.used(), text.base());
            self.go(Move::TextEnd);
            return;
        };
        let reply = match kind {
            FaultKind::MessageTooBig => &replies::TOO_BIG,
            FaultKind::TextLineTooLong => &replies::TEXT_LINE_TOO_LONG,
            _ => &replies::BAD_TEXT,
        };
        // RFC 2033 4.2: in LMTP each recipient has its answer, this one too.
        for _ in 1..self.answers_to_text() {
            self.reply(reply);
        }
        self.go(Move::TextRefused);
        self.fault(kind, offset, Some(reply));
        self.due.reset();
    }

    /// Octets that were thrown away so far.
    pub(super) fn discarded(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.discarded)
    }

    pub(super) fn throw_away(&mut self, octets: u64) {
        if octets > 0 {
            self.rare.get_or_insert_default().discarded += octets;
        }
    }

    /// How many replies the end of a text has: one, or in LMTP one for each recipient (RFC 2033 4.2, 4.3).
    pub(super) fn answers_to_text(&self) -> u32 {
        if self.config.role == Role::Lmtp { self.recipients.max(1) } else { 1 }
    }

    pub(super) fn step_message<'i>(&mut self) -> Step<Event<'i>> {
        let (octets, answered) = self.text.as_ref().map_or((0, 0), |text| (text.octets(), text.answered));
        let recipient = (self.config.role == Role::Lmtp).then_some(answered);
        let end = MessageEnd { octets, recipient };
        Step::Event(Event::Message(end, self.ticket(Pending::Message)))
    }

    /// Whether octets have come together with a command whose reply had to be waited for. Reported once.
    fn did_not_wait(&mut self, input: &[u8]) -> bool {
        // Had the driver written out, it would have read after that.
        let came_together = !input.is_empty() && !self.output().is_empty();
        if !came_together || self.phase.pipelining_reported {
            return false;
        }
        self.phase.pipelining_reported = true;
        if !self.config.wait_your_turn {
            self.due.fault(Fault { kind: FaultKind::Pipelining, offset: self.offset, code: 0 });
        }
        true
    }

    /// A line that is no command of ours.
    fn unparsed<'i>(
        &mut self,
        line: &[u8],
        error: &SyntaxError,
        start: u64,
        input: &mut &'i [u8],
    ) -> Option<Step<Event<'i>>> {
        if is_cross_protocol(line) {
            return self.fatal(input, FaultKind::CrossProtocol, start, &replies::NOT_SMTP);
        }
        let at = start + error.offset() as u64;
        let kind = FaultKind::Syntax(error.kind());
        // RFC 6531 3.5: a transaction that did not ask for SMTPUTF8 is told so.
        let could_ask = self.config.extensions.smtp_utf8 && self.phase.extended && !self.phase.utf8;
        if could_ask && error.kind() == SyntaxErrorKind::EightBit && error.verb() == Some(Verb::Rcpt) {
            self.fault(kind, at, Some(&replies::UTF8_NOT_ASKED));
            return None;
        }
        // Whoever did not wait for 354 sends the text all the same: it must not run as a script.
        if self.phase.refused == RefusedText::Data && error.verb().is_none() {
            return self.fatal(input, FaultKind::TextAsCommands, start, &replies::TEXT_AS_COMMANDS);
        }
        if error.verb() == Some(Verb::Bdat) {
            // How much of what follows is text cannot be known.
            return self.fatal(input, kind, at, &replies::CHUNK_WITHOUT_SIZE);
        }
        if self.tls_required(error.verb()) {
            self.fault(FaultKind::TlsRequired, start, Some(self.tls_refusal()));
            return None;
        }
        // RFC 4954 4: what an AUTH that may not come says is not looked at.
        if error.verb() == Some(Verb::Auth)
            && let Err((refusal, kind)) = self.admit(Verb::Auth)
        {
            self.fault(kind, start, Some(refusal));
            return None;
        }
        self.syntax_fault(error, kind, at);
        None
    }
}

/// Lines that only another protocol, or a message that has lost its way, begins with: an HTTP request line (RFC 9112
/// 3), a header field (RFC 5322 2.2), a mail server's own greeting.
fn is_cross_protocol(line: &[u8]) -> bool {
    const HTTP: [&[u8]; 9] =
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE ", b"PATCH "];
    if HTTP.iter().any(|verb| line.starts_with(verb)) || line.starts_with(b"PRI * HTTP/2") {
        return true;
    }
    let word = line.split(|&octet| octet == b' ').next().unwrap_or_default();
    let header = word.len() > 1 && word.ends_with(b":") && word.iter().all(|&octet| octet.is_ascii_graphic());
    header || line.starts_with(b"220 ") || line.starts_with(b"SSH-")
}

/// RFC 4954 4: an initial response may be as long as the lines of the exchange.
fn line_limit(limits: &Limits, line: &[u8]) -> usize {
    match line.get(..5) {
        Some(start) if start.eq_ignore_ascii_case(b"AUTH ") => limits.auth_line,
        _ => limits.line,
    }
}
