//! What a sink does on one connection, but for answering.

use std::net::SocketAddr;
use std::sync::Arc;

use smtp_proto::auth::server::{Answer, Identity, Question};
use smtp_proto::server::{Gather, MessageEnd, Room, Session};
use smtp_proto::syntax::{self, Mail, Rcpt};

use crate::inbox::{Inbox, Message};
use crate::rules::{Act, Decision, Rules, Verb};

/// Follows the rules, and puts what is accepted into the inbox. One for each connection.
#[derive(Debug)]
pub struct Recorder {
    rules: Arc<Rules>,
    inbox: Arc<Inbox>,
    gather: Gather,
}

impl Recorder {
    /// For a connection; the text of messages that come in has to find room in `room`.
    #[must_use]
    pub fn new(rules: &Arc<Rules>, inbox: &Arc<Inbox>, room: &Arc<Room>) -> Self {
        Self { rules: rules.clone(), inbox: inbox.clone(), gather: Gather::new(room.clone()) }
    }

    /// A command of which nothing is recorded.
    pub fn on(&self, verb: Verb, argument: impl FnOnce() -> String) -> Decision {
        self.rules.decide(verb, argument)
    }

    /// RSET, NOOP, VRFY, HELP, QUIT.
    #[must_use]
    pub fn command(&self, verb: syntax::Verb) -> Decision {
        self.on(Verb::of(verb), String::new)
    }

    /// AUTH: whoever it is, with whatever password, but for what rules say. None is to hang up.
    #[must_use]
    pub fn authenticate(&self, question: Question) -> (std::time::Duration, Option<Answer>) {
        let name = || if let Question::Password { authcid, .. } = question { authcid } else { String::new() };
        let Decision { delay, act } = self.on(Verb::Auth, name);
        let answer = match act {
            Act::HangUp => None,
            Act::Refuse(454, ..) => Some(Answer::TemporaryFailure),
            Act::Refuse(..) => Some(Answer::Reject),
            Act::Accept => Some(Answer::Accept),
        };
        (delay, answer)
    }

    /// MAIL has come: a new envelope. Gives what the rules say of it.
    pub fn mail(&mut self, mail: &Mail<'_>) -> Decision {
        self.gather.mail(mail);
        self.on(Verb::Mail, || format!("<{}>", mail.path.as_str()))
    }

    /// RCPT has come: one more recipient, unless the rules refuse it.
    pub fn rcpt(&mut self, session: &Session, rcpt: &Rcpt<'_>) -> Decision {
        self.gather.rcpt(rcpt, session.recipients());
        self.on(Verb::Rcpt, || format!("<{}>", rcpt.path.as_str()))
    }

    /// DATA, or the first BDAT.
    pub fn data(&mut self, session: &Session) -> Decision {
        self.gather.data(session.recipients());
        self.on(if session.is_by_chunks() { Verb::Bdat } else { Verb::Data }, String::new)
    }

    /// A piece of text has come, and is kept while there is room.
    pub fn chunk(&mut self, text: &[u8]) {
        self.gather.chunk(text);
    }

    /// The text is complete. What rules accept goes into the inbox.
    pub fn message(&mut self, session: &Session, peer: Option<SocketAddr>, end: MessageEnd) -> Decision {
        let mut decision = self.on(Verb::Message, String::new);
        let gathered = self.gather.finish(end);
        self.gather.answered(end);
        let envelope = match gathered {
            Ok(envelope) if decision.act == Act::Accept => envelope,
            Ok(_) => return decision,
            Err(reply) => {
                decision.act = Act::Refuse(reply.code(), reply.enhanced(), reply.text().to_owned());
                return decision;
            }
        };
        let message = Message {
            from: envelope.from,
            to: envelope.to,
            text: envelope.text,
            peer,
            hello: session.hello().map(str::to_owned),
            user: session.identity().map(Identity::name).map(str::to_owned),
            tls: session.tls().cloned(),
            protocol: session.protocol().as_str(),
        };
        if !self.inbox.add(message) {
            decision.act = Act::Refuse(452, None, "The inbox of the sink is full; empty it by take()".to_owned());
        }
        decision
    }

    /// The transaction is over.
    pub fn reset(&mut self) {
        self.gather.clear();
    }
}
