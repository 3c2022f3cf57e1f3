//! What the application's answers do.

use super::auth::Authentication;
use super::ehlo::Audience;
use super::intake::Intake;
use super::phase::RefusedText;
use super::replies;
use super::{EndKind, Move, Pending, Role, Session};
use crate::syntax::Reply;

impl Session {
    pub(super) fn accept(&mut self, pending: Pending, words: Option<&str>) {
        match pending {
            Pending::Connect => {
                self.go(Move::Greet);
                let lmtp = self.config.role == Role::Lmtp;
                replies::greeting(self.output.tail(), &self.config.hostname, lmtp, words);
            }
            Pending::Hello { extended } => {
                // RFC 5321 4.1.4: EHLO clears what was begun.
                if self.in_transaction() {
                    self.due.reset();
                }
                self.go(Move::Hello);
                self.forget_transaction();
                self.phase.extended = extended;
                self.names.drain(..self.hello);
                self.hello = self.names.len();
                if extended {
                    let audience = self.audience();
                    self.config.write_ehlo(self.output.tail(), audience, words);
                } else {
                    replies::helo(self.output.tail(), &self.config.hostname, words);
                }
            }
            Pending::StartTls => {
                self.go(Move::StartTls);
                self.reply_in(words, &replies::READY_FOR_TLS);
            }
            Pending::Mail { utf8, binary } => {
                self.go(Move::Mail);
                self.phase.utf8 = utf8;
                self.phase.binary = binary;
                self.recipients = 0;
                self.transactions += 1;
                self.reply_in(words, &replies::SENDER_OK);
            }
            Pending::Rcpt => {
                self.go(Move::Rcpt);
                self.recipients += 1;
                self.idle_commands = 0;
                self.reply_in(words, &replies::RECIPIENT_OK);
            }
            Pending::Data => {
                self.go(Move::Data);
                self.begin_text(Intake::lines(self.config.lenient, self.offset));
                self.reply_in(words, &replies::SEND_TEXT);
            }
            Pending::Bdat => self.go(Move::Bdat),
            Pending::Xclient => {
                self.go(Move::Xclient);
                self.begin_anew();
                if let Some(rare) = &mut self.rare {
                    rare.client = rare.claimed.take().or(rare.client);
                }
                let lmtp = self.config.role == Role::Lmtp;
                replies::greeting(self.output.tail(), &self.config.hostname, lmtp, words);
            }
            Pending::Command(verb) => self.housekeeping(verb, words),
            Pending::Xforward => {
                self.go(Move::Xforward);
                self.reply_in(words, &replies::OK);
            }
            // Has tickets of its own kind, and does not come here.
            Pending::Auth => self.misused(),
            Pending::Message => {
                self.reply_in(words, &replies::MESSAGE_OK);
                self.delivered();
            }
        }
    }

    /// Accepts in the reply of another server's.
    pub(super) fn accept_as(&mut self, pending: Pending, reply: &Reply<'_>) {
        let start = self.output.tail().len();
        let own_code = matches!(pending, Pending::Mail { .. } | Pending::Rcpt | Pending::Message);
        self.accept(pending, Some(reply.text()));
        // RFC 5321 4.3.2: these may be answered 251 or 252 as well as 250.
        if own_code && matches!(reply.code(), 200..=299) {
            self.output.tail().truncate(start);
            replies::write(reply, self.output.tail(), self.config.has_enhanced_codes());
        }
    }

    pub(super) fn refuse(&mut self, pending: Pending, reply: &Reply<'_>) {
        const LOCAL_ERROR: Reply<'static> = Reply::fixed(451, (4, 3, 0), "Local error; try again later");
        let reply = if matches!(reply.code(), 400..=599) { reply } else { &LOCAL_ERROR };
        let last = pending == Pending::Connect || reply.code() == 421;
        if pending == Pending::Bdat && !last {
            self.refuse_first_chunk(reply);
            return;
        }
        replies::write(reply, self.output.tail(), self.config.has_enhanced_codes());
        match pending {
            Pending::Data => self.phase.refused = RefusedText::Data,
            Pending::Message => self.delivered(),
            _ => {}
        }
        if last {
            self.close(EndKind::Refused);
        }
    }

    /// The message was accepted or refused: for all, or in LMTP for one more of its recipients (RFC 2033 4.2).
    fn delivered(&mut self) {
        let answered = self.text.as_mut().map_or(u32::MAX, |text| {
            text.answered += 1;
            text.answered
        });
        if self.config.role != Role::Lmtp || answered >= self.recipients {
            self.go(Move::Delivered);
            self.forget_transaction();
            // Told for every end of a transaction, so that no envelope runs into the next.
            self.due.reset();
        }
    }

    /// The envelope is gone.
    pub(super) fn forget_transaction(&mut self) {
        self.recipients = 0;
        if let Some(rare) = &mut self.rare {
            rare.surplus = 0;
        }
        self.phase.utf8 = false;
        self.phase.binary = false;
    }

    /// The client is a new one, or the same behind TLS: what was learnt of it is forgotten (RFC 3207 4.2). What
    /// restricts it stays.
    pub(super) fn begin_anew(&mut self) {
        self.names.clear();
        self.hello = 0;
        self.forget_transaction();
        if let Some(rare) = &mut self.rare {
            rare.authentication = Authentication::default();
        }
        self.phase.extended = false;
        self.phase.trusted = false;
        self.phase.refused = RefusedText::None;
        self.phase.must_wait = false;
        self.phase.pipelining_reported = false;
    }

    pub(super) fn audience(&self) -> Audience {
        Audience { tls: self.tls.is_some(), trusted: self.phase.trusted, mechanisms: self.mechanisms() }
    }
}
