//! What each reply does to the session.

use super::Session;
use super::event::{Event, Fault, FaultKind, Reason};
use super::state::{Awaited, Move, State};
use crate::syntax::{Extension, ReplyFault, ReplyLines};
use crate::{Step, Want};

impl Session {
    /// Reads a reply, or says what is needed. `None` is: look again at what is due.
    pub(super) fn read<'i>(&mut self, input: &mut &'i [u8]) -> Option<Step<Event<'i>>> {
        if self.phase.quitting && self.awaited.len() == 0 && self.message.is_none() && !self.reader.in_reply() {
            self.phase.quitting = false;
            self.leave(Reason::Quit);
        }
        if input.is_empty() {
            return Some(Step::Want(self.want()));
        }
        // What is there already cannot be the reply to a command that has not gone out.
        let head = self.awaited.first();
        let gone_out = head.is_some_and(|(_, end)| end <= self.output.gone_out());
        self.phase.early |= !gone_out;
        let (start, before) = (self.offset, input.len());
        let reply = match self.reader.next(input) {
            Ok(Some(reply)) => reply,
            Ok(None) => return Some(Step::Want(Want::Input)),
            Err(fault) => {
                *input = &[];
                match head {
                    Some((Awaited::Quit, _)) => self.cut_off(Reason::Quit),
                    _ => self.fault(FaultKind::Reply(fault), start),
                }
                return None;
            }
        };
        self.offset += (before - input.len()) as u64;
        self.progress += 1;
        let early = core::mem::take(&mut self.phase.early);
        let to = head.map_or(Awaited::Nothing, |(to, _)| if early { Awaited::Nothing } else { to });
        let done = match to {
            // RFC 5321 3.8: 421 may come at any time, to any command or to none.
            Awaited::Quit => {
                self.cut_off(Reason::Quit);
                Ok(())
            }
            _ if reply.code() == 421 => {
                // Replies come in order: with 421 to a command the server never came to a text behind it.
                if to != Awaited::Nothing {
                    self.text_end = None;
                }
                self.output.drop_all();
                self.cut_off(Reason::ServerClosing(reply.into()));
                Ok(())
            }
            Awaited::Nothing if head.is_some() => Err(FaultKind::OutOfStep),
            Awaited::Nothing if self.message.is_some() => Err(FaultKind::EarlyReply),
            Awaited::Nothing => Err(FaultKind::Unsolicited),
            to => {
                if to != Awaited::Text || self.last_delivery() {
                    self.text_end = self.text_end.filter(|_| to != Awaited::Text);
                    self.awaited.pop();
                }
                self.replied(to, &reply)
            }
        };
        match done {
            Ok(()) if self.state != State::Closed && !to.lists(reply.code()) => {
                let kind = FaultKind::Unexpected { to, code: reply.code() };
                self.due.tolerated = Some(Fault { kind, offset: start });
            }
            Ok(()) if self.config.bare_lf && reply.has_bare_lf() => {
                self.due.tolerated = Some(Fault { kind: FaultKind::Reply(ReplyFault::BareLf), offset: start });
            }
            Ok(()) => {}
            Err(kind) => self.fault(kind, start),
        }
        Some(Step::Event(Event::Reply(to, reply)))
    }

    /// Whose turn it is when nothing is there to be read.
    fn want(&self) -> Want {
        let waiting = self.awaited.len();
        let ours = match self.message {
            // RFC 3030 4.2: chunks may wait for their replies where PIPELINING is offered; not too many.
            Some(_) => waiting == 0 || (self.offers.has(Extension::Pipelining) && waiting < self.config.limits.group),
            None => waiting == 0 && !self.reader.in_reply(),
        };
        if ours { Want::Decision } else { Want::Input }
    }

    fn replied(&mut self, to: Awaited, reply: &ReplyLines<'_>) -> Result<(), FaultKind> {
        let code = reply.code();
        match (to, code) {
            (Awaited::Greeting, _) => self.greeted(reply)?,
            (Awaited::Ehlo | Awaited::Helo, _) => self.helloed(to, reply)?,
            (Awaited::StartTls, _) => self.start_tls_replied(reply)?,
            (Awaited::Auth, _) => self.auth_replied(reply)?,

            // RFC 5321 4.2: a code that is not listed is handled by its first digit.
            (Awaited::Mail, 200..300) => {
                self.consistently(to)?;
                self.accepted = 0;
            }
            (Awaited::Rcpt, 200..300) => {
                self.consistently(to)?;
                self.accepted += 1;
            }
            (Awaited::Data, 300..400) => self.data_accepted()?,
            (Awaited::Chunk, 200..300) => self.consistently(to)?,
            (Awaited::Text, 200..300) => {
                if self.state != State::Sent {
                    self.consistently(to)?;
                }
                self.delivered();
            }
            // A refused chunk leaves nothing but RSET (RFC 3030 2).
            (Awaited::Chunk, 400..) if self.lmtp() && self.awaited.last() == Some(Awaited::Text) => {
                // Whether BDAT LAST behind it has one reply or one for each recipient (RFC 2033 4.2) nobody says; a reply
                // taken for one to the next command would be worse than another connection.
                self.output.drop_all();
                self.cut_off(Reason::Uncounted);
            }
            (Awaited::Chunk, 400..) => self.chunk_refused(),
            (Awaited::Text, 400..) => {
                if self.lmtp() && self.state.after(Move::TextEnd).is_some() {
                    self.go(Move::TextEnd);
                }
                if self.state == State::Sent {
                    self.delivered();
                } else {
                    self.chunk_refused();
                }
            }
            (Awaited::Rset, 200..300) => {
                self.consistently(to)?;
                self.accepted = 0;
            }
            // Not of an RFC: 220 begins the session anew. It opens a door, so the code is exact.
            (Awaited::Xclient, 220) => {
                self.consistently(to)?;
                self.begin_anew();
            }
            (Awaited::Xforward, 200..300) => self.consistently(to)?,
            (Awaited::Xclient | Awaited::Xforward, 400..) => {}
            (Awaited::Mail | Awaited::Rcpt | Awaited::Data, 400..) => {}
            (Awaited::Other, 200..300 | 400..) => {}
            _ => return Err(FaultKind::Unexpected { to, code }),
        }
        Ok(())
    }

    /// A command was accepted: was that possible, after what the server said before?
    fn consistently(&mut self, to: Awaited) -> Result<(), FaultKind> {
        if self.state.after(to.moves()).is_none() {
            return Err(FaultKind::Inconsistent(to));
        }
        self.go(to.moves());
        Ok(())
    }

    fn data_accepted(&mut self) -> Result<(), FaultKind> {
        if self.accepted > 0 && self.state == State::Rcpt {
            self.go(Move::Data);
            self.due.message = Some(self.begin_text());
            return Ok(());
        }
        // In LMTP no reply would come to a text for nobody (RFC 2033 4.2).
        if self.lmtp() || self.state.after(Move::DataForNobody).is_none() {
            return Err(FaultKind::Inconsistent(Awaited::Data));
        }
        // RFC 2920 3.1: all were refused, and DATA was accepted: an empty text, for nobody.
        self.go(Move::DataForNobody);
        self.go(Move::TextEnd);
        self.output.tail().extend_from_slice(b".\r\n");
        self.awaited.push(Awaited::Text, self.output.end());
        Ok(())
    }

    fn chunk_refused(&mut self) {
        if self.state == State::Rcpt {
            self.go(Move::Chunk);
        }
    }

    /// Counts the replies to a text in LMTP: one for each recipient that was accepted (RFC 2033 4.2).
    fn last_delivery(&mut self) -> bool {
        if !self.lmtp() {
            return true;
        }
        if self.deliveries == 0 {
            self.deliveries = self.accepted.max(1);
        }
        self.deliveries -= 1;
        self.deliveries == 0
    }

    fn delivered(&mut self) {
        if self.deliveries == 0 {
            self.accepted = 0;
            self.go(Move::Delivered);
        }
    }
}
