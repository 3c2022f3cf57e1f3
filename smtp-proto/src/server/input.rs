//! What the octets of the peer mean, by state. `None` is: done, look again at what is due.

use super::{Event, Fault, FaultKind, Move, Reason, Session, replies};
use crate::framing::Framed;
use crate::syntax::{Command, Options, Reply, SyntaxError};
use crate::text::Scan;
use crate::{Step, Want};

impl Session {
    pub(super) fn step_command<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if !self.greeted {
            self.greeted = true;
            // RFC 5321 3.1: the client waits for the greeting.
            if !input.is_empty() {
                if !self.config.early_talkers {
                    return self.fatal(input, FaultKind::EarlyTalker, self.offset, &replies::EARLY_TALKER);
                }
                self.fault(FaultKind::EarlyTalker, self.offset, None);
                return None;
            }
        }
        // A TLS ClientHello (RFC 8446 5.1: record type 22, version 3.x) need not hold a CRLF: look first.
        if let [22, 3, ..] = input {
            return self.fatal(input, FaultKind::CrossProtocol, self.offset, &replies::NOT_SMTP);
        }
        let start = self.offset;
        let before = input.len();
        let framed = self.framing.next(input, self.config.limits.line);
        self.offset += (before - input.len()) as u64;
        let line = match framed {
            Framed::Line(line) => line,
            Framed::Partial => return Some(Step::Want(Want::Input)),
            Framed::TooLong { earlier } => {
                self.progress += 1;
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
        match Command::parse(line, &Options::new().lenient(self.config.lenient)) {
            Ok(parsed) => {
                if !parsed.used.is_strict() {
                    self.due.fault = Some(Fault { kind: FaultKind::Lenient, offset: start, code: 0 });
                }
                self.command(parsed.command, start, input)
            }
            Err(error) => self.unparsed(line, error, start, input),
        }
    }

    pub(super) fn step_start_tls<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if input.is_empty() {
            return Some(Step::Want(Want::Tls));
        }
        // RFC 3207 4: what came before the handshake cannot be trusted to be the client's. Never parsed.
        *input = &[];
        self.fault(FaultKind::PlaintextBehindStartTls, self.offset, None);
        self.close(Reason::Fault(FaultKind::PlaintextBehindStartTls));
        None
    }

    pub(super) fn step_text<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        let before = input.len();
        let scan = self.text.next(input);
        let used = (before - input.len()) as u64;
        self.offset += used;
        self.text_drip += used;
        if self.text_drip >= self.config.timeouts.text_octets {
            self.text_drip = 0;
            self.progress += 1;
        }
        match scan {
            Scan::Chunk(chunk) => {
                self.text_octets += chunk.len() as u64;
                let limit = self.config.limits.message;
                if self.text_fault.is_none() && limit != 0 && self.text_octets > limit {
                    self.text_fault = Some((FaultKind::MessageTooBig, self.offset));
                }
                if self.text_fault.is_some() || self.text.refused().is_some() {
                    return None;
                }
                Some(Step::Event(Event::Chunk(chunk)))
            }
            Scan::Need => Some(Step::Want(Want::Input)),
            Scan::End => {
                self.progress += 1;
                self.text_end();
                None
            }
        }
    }

    /// CRLF . CRLF has come. A text that broke a rule is refused here, once, and not before (RFC 5321 4.1.1.4).
    pub(super) fn text_end(&mut self) {
        self.recipients = 0;
        self.idle_commands = 0;
        let flaw = self.text.refused().map(|(flaw, offset)| (FaultKind::Text(flaw), self.text_base + offset));
        let fault = match (self.text_fault.take(), flaw) {
            (Some(big), Some(flaw)) => Some(if flaw.1 < big.1 { flaw } else { big }),
            (big, flaw) => big.or(flaw),
        };
        if let Some((kind, offset)) = fault {
            self.go(Move::TextRefused);
            let reply = if kind == FaultKind::MessageTooBig { &replies::TOO_BIG } else { &replies::BAD_TEXT };
            self.fault(kind, offset, Some(reply));
            self.due.reset = true;
            return;
        }
        if self.text.tolerated() {
            self.due.fault = Some(Fault { kind: FaultKind::Lenient, offset: self.text_base, code: 0 });
        }
        self.go(Move::TextEnd);
    }

    /// A line that is no command of ours.
    fn unparsed<'i>(
        &mut self,
        line: &[u8],
        error: SyntaxError,
        start: u64,
        input: &mut &'i [u8],
    ) -> Option<Step<Event<'i>>> {
        if is_cross_protocol(line) {
            return self.fatal(input, FaultKind::CrossProtocol, start, &replies::NOT_SMTP);
        }
        if self.tls_required(error.verb()) {
            self.fault(FaultKind::TlsRequired, start, Some(&replies::TLS_REQUIRED));
            return None;
        }
        let enhanced = error.enhanced();
        let reply = Reply::new(error.code(), Some(enhanced), error.text()).unwrap_or(replies::SYNTAX);
        self.fault(FaultKind::Syntax(error.kind()), start + error.offset() as u64, Some(&reply));
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
