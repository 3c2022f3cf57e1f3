//! The text of a message on its way out: by DATA or by BDAT.

use super::Session;
use super::event::{MessageTicket, NotNow, Reason, TextError};
use super::send::decimal;
use super::state::{Awaited, Move};
use crate::syntax::Extension;
use crate::text::{TextFlaw, Writer, append};

/// A text that is being written.
#[derive(Debug)]
pub(super) struct Message {
    kind: Kind,
    writer: Writer,
    /// Octets of the present chunk that are still to be given out by `piece`.
    left: u64,
}

/// What the lines of a text must be like, other than ending in CRLF; BINARYMIME has no lines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextRules {
    /// RFC 6152 3: nothing else was declared.
    pub(super) ascii: bool,
    /// RFC 5321 4.5.3.1.6.
    pub(super) short_lines: bool,
    /// Octets of the present line before the next piece.
    pub(super) column: usize,
}

/// RFC 5321 4.5.3.1.6: 1,000 octets with CRLF, a doubled dot not counted.
const LINE: usize = 1000;

impl TextRules {
    /// Looks at the next piece of the text.
    fn check(&mut self, text: &[u8]) -> Result<(), TextFlaw> {
        if self.ascii && !text.is_ascii() {
            return Err(TextFlaw::EightBit);
        }
        if !self.short_lines {
            return Ok(());
        }
        let mut rest = text;
        loop {
            // The last line end that the present line could have, not the next: that skips most of the text.
            let most = LINE - self.column;
            match memchr::memrchr(b'\n', rest.get(..most).unwrap_or(rest)) {
                Some(end) => {
                    rest = rest.get(end + 1..).unwrap_or_default();
                    self.column = 0;
                }
                // With a CR as its last octet the line is too long as well: its LF would be one more.
                None if rest.len() >= most => return Err(TextFlaw::LongLine),
                None => {
                    self.column += rest.len();
                    return Ok(());
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// DATA, dots doubled.
    Data,
    /// BDAT, checked (RFC 3030 2).
    Chunks,
    /// BDAT with BINARYMIME: any octets (RFC 3030 3).
    Binary,
}

impl Session {
    /// Begins a text by BDAT instead of DATA, where CHUNKING is offered (RFC 3030 2); `binary` if MAIL said
    /// BODY=BINARYMIME. RCPT may still be unanswered where PIPELINING is offered.
    ///
    /// # Errors
    /// [`NotNow`].
    pub fn begin_chunks(&mut self, binary: bool) -> Result<MessageTicket, NotNow> {
        if !self.offers.has(Extension::Chunking) || !self.config.chunking {
            return Err(NotNow::NotOffered(Extension::Chunking));
        }
        self.may(Awaited::Chunk)?;
        let ticket = self.begin_text();
        if let Some(message) = &mut self.message {
            message.kind = if binary { Kind::Binary } else { Kind::Chunks };
            message.writer = Writer::unstuffed(self.config.newlines);
        }
        Ok(ticket)
    }

    pub(super) fn begin_text(&mut self) -> MessageTicket {
        let writer = Writer::new(self.config.newlines);
        self.message = Some(Message { kind: Kind::Data, writer, left: 0 });
        MessageTicket(self.tickets.issue(&self.config))
    }

    /// Puts the next piece of the text out, of any size, dots doubled where that is needed. It waits in
    /// [`output`](Self::output), which the driver should write out before it gives the next piece. By BDAT each call makes a
    /// chunk, so that its pieces should not be small.
    ///
    /// # Errors
    /// [`TextError`].
    pub fn write(&mut self, ticket: &MessageTicket, mut text: &[u8]) -> Result<(), TextError> {
        self.put(ticket, &mut text, false)
    }

    /// The same without a copy: takes the next piece off the front of `text`, and gives the octets to be sent for it. The
    /// driver writes out [`output`](Self::output) first, then these, all of them. `None` when all of `text` is taken.
    ///
    /// # Errors
    /// [`TextError`].
    pub fn piece<'t>(&mut self, ticket: &MessageTicket, text: &mut &'t [u8]) -> Result<Option<&'t [u8]>, TextError> {
        let piece = self.next_piece(ticket, text, false)?;
        if let Some(piece) = piece {
            self.output.passed_by(piece.len());
            self.drip(piece.len());
        }
        Ok(piece)
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`TextError`]: the text as a whole may have a flaw.
    pub fn finish(&mut self, ticket: MessageTicket) -> Result<(), TextError> {
        self.finish_with(ticket, b"")
    }

    /// The last piece, and the end: by BDAT they are one chunk, so that a small message is one command.
    ///
    /// # Errors
    /// [`TextError`]. After [`TextError::Busy`] the ticket comes back by [`Event::Message`](super::Event::Message).
    pub fn finish_with(&mut self, ticket: MessageTicket, mut text: &[u8]) -> Result<(), TextError> {
        let kind = self.kind(&ticket)?;
        if kind != Kind::Data
            && let Err(error) = self.begin_chunk(kind, text, true)
        {
            if error == TextError::Busy {
                self.due.message = Some(ticket);
            }
            return Err(error);
        }
        self.put(&ticket, &mut text, true)?;
        drop(ticket);
        let Some(message) = self.message.take() else { return Err(TextError::Gone) };
        let end = message.writer.finish().map_err(|flaw| self.flawed(kind, flaw))?;
        if kind != Kind::Binary {
            self.output.tail().extend_from_slice(end);
        }
        if kind == Kind::Data {
            self.go(Move::TextEnd);
            self.awaited.push(Awaited::Text, self.output.end());
        }
        self.text_end = Some(self.output.end());
        Ok(())
    }

    /// Gives a text up between its chunks: RSET takes back what has been sent (RFC 3030 2). In DATA only
    /// [`abandon`](Self::abandon) does.
    pub fn drop_chunks(&mut self, ticket: MessageTicket) {
        let kind = self.kind(&ticket);
        drop(ticket);
        match kind {
            Ok(Kind::Chunks | Kind::Binary) => {
                self.message = None;
                self.command(Awaited::Rset, &["RSET"]);
            }
            Ok(Kind::Data) => self.abandon(),
            Err(_) => {}
        }
    }

    fn kind(&mut self, MessageTicket(stamp): &MessageTicket) -> Result<Kind, TextError> {
        match &self.message {
            Some(message) if self.tickets.is_latest(stamp, &self.config) => Ok(message.kind),
            _ if self.tickets.is_ours(stamp, &self.config) => Err(TextError::Gone),
            _ => {
                self.misused();
                Err(TextError::Gone)
            }
        }
    }

    fn put(&mut self, ticket: &MessageTicket, text: &mut &[u8], last: bool) -> Result<(), TextError> {
        loop {
            let before = *text;
            let Some(piece) = self.next_piece(ticket, text, last)? else { return Ok(()) };
            append(self.output.tail(), piece, before);
        }
    }

    fn next_piece<'t>(
        &mut self,
        ticket: &MessageTicket,
        text: &mut &'t [u8],
        last: bool,
    ) -> Result<Option<&'t [u8]>, TextError> {
        let kind = self.kind(ticket)?;
        let begun = self.message.as_ref().is_some_and(|message| message.left > 0);
        if kind != Kind::Data && !begun && !last && !text.is_empty() {
            self.begin_chunk(kind, text, false)?;
        }
        let Some(message) = &mut self.message else { return Err(TextError::Gone) };
        let before = *text;
        let piece = match kind {
            Kind::Binary => Ok(Some(core::mem::take(text)).filter(|piece| !piece.is_empty())),
            _ => message.writer.next(text),
        };
        // Chunks have been looked at as a whole.
        let taken = before.get(..before.len() - text.len()).unwrap_or_default();
        let rules = if kind == Kind::Data { self.text_rules.check(taken) } else { Ok(()) };
        let piece = piece.and_then(|piece| rules.map(|()| piece));
        match piece {
            Ok(piece) => {
                message.left = message.left.saturating_sub(piece.map_or(0, |piece| piece.len() as u64));
                Ok(piece)
            }
            Err(flaw) => Err(self.flawed(kind, flaw)),
        }
    }

    /// Puts out the command of a chunk that holds all of `text`; how long that is depends on what the writer makes of it.
    fn begin_chunk(&mut self, kind: Kind, mut text: &[u8], last: bool) -> Result<(), TextError> {
        let busy = self.awaited.len() > 0 && !self.offers.has(Extension::Pipelining);
        let Some(message) = &mut self.message else { return Err(TextError::Gone) };
        let (whole, mut rules) = (text, self.text_rules);
        let octets = match kind {
            Kind::Binary => Ok(text.len() as u64),
            _ => measure(message.writer.clone(), &mut text, last).and_then(|n| rules.check(whole).map(|()| n)),
        };
        let octets = match octets {
            Ok(octets) => octets,
            Err(flaw) => return Err(self.flawed(kind, flaw)),
        };
        // Only a CR that waits for its LF.
        if octets == 0 && !last {
            return Ok(());
        }
        if busy {
            return Err(TextError::Busy);
        }
        message.left = octets;
        self.text_rules = rules;
        self.output.tail().extend_from_slice(b"BDAT ");
        self.output.tail().extend_from_slice(decimal(&mut [0; 20], octets).as_bytes());
        self.output.tail().extend_from_slice(if last { b" LAST\r\n" } else { b"\r\n" });
        let awaited = if last { Awaited::Text } else { Awaited::Chunk };
        self.awaited.push(awaited, self.output.end() + octets);
        Ok(())
    }

    /// The text must not go on. In DATA only the end of the connection takes back what has been sent; chunks are taken
    /// back by RSET, as the flaw was found before its chunk was begun.
    fn flawed(&mut self, kind: Kind, flaw: TextFlaw) -> TextError {
        self.message = None;
        if kind == Kind::Data {
            self.output.drop_all();
            self.close(Reason::Text(flaw));
        } else {
            self.command(Awaited::Rset, &["RSET"]);
        }
        TextError::Flaw(flaw)
    }
}

fn measure(mut writer: Writer, text: &mut &[u8], last: bool) -> Result<u64, TextFlaw> {
    let mut octets = 0;
    while let Some(piece) = writer.next(text)? {
        octets += piece.len() as u64;
    }
    if last {
        octets += writer.finish()?.len() as u64;
    }
    Ok(octets)
}
