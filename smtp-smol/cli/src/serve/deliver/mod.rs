//! The handler: takes mail, puts it where it was told to, and keeps account of it.

mod account;
mod envelope;
mod limits;
mod office;
mod paths;
mod told;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use smtp_audit::ledger::{Ending, Tls};
use smtp_proto::auth::server::{self, Identity, Question};
use smtp_proto::server::{Fault, FaultKind, MessageEnd, Reason, Verdict};
use smtp_proto::syntax::{AttributeValue, Attributes, Host, Mail, Rcpt, Reply, SyntaxErrorKind};
use smtp_proto::{Leniencies, trace};
use smtp_smol::{Handler, Peer};

use super::faults::{concerns_text, line_of};
use super::id::Id;
use super::next_hop::{Answer, Who};
use super::recipients::NOT_OURS;
use super::record::{Taken, peer_name};
use super::seeing::{Metrics, Way};
use crate::outlet;
use crate::shown::Line;
use account::ending;
use envelope::{Envelope, Said};
pub(crate) use limits::Limits;
pub(crate) use office::{Desk, MailGoes, Office};
pub(crate) use paths::Paths;

const TRY_LATER: Reply<'static> = Reply::fixed(451, (4, 3, 0), "The message could not be stored; try again later");
/// RFC 5321 4.2.3, RFC 3463 3.4.
const NO_ROOM: Reply<'static> = Reply::fixed(452, (4, 3, 1), "There is no room for the message now; try again later");

/// RFC 3207 4: what the core says where nobody is excepted.
const TLS_REQUIRED: Reply<'static> = Reply::fixed(530, (5, 7, 0), "Must issue a STARTTLS command first");

const NOT_YET: Reply<'static> =
    Reply::fixed(421, (4, 3, 2), "The mail server behind this one cannot be reached; try again later");

/// The handler of a connection.
#[derive(Debug)]
pub(crate) struct Clerk {
    office: Arc<Office>,
    /// By which log and output name the session.
    id: Id,
    peer: Option<SocketAddr>,
    /// The name of its host, where somebody who is trusted has told it.
    name: Option<Box<str>>,
    /// When the transaction began.
    began: Option<Instant>,
    /// Who tries to log in.
    login: Option<Box<str>>,
    /// In a block of its own: most of the time there is none.
    envelope: Option<Box<Envelope>>,
    /// Whether the session came to a transaction, of which the ledger has its line.
    counted: bool,
    /// Whether mail was refused because it came in plaintext.
    plaintext_refused: bool,
    /// Whether it was said what a refused command would pass with.
    advised: bool,
    /// Whose that was last, if it came to a reverse-path.
    refused_sender: Option<String>,
    /// What was let pass, and holds for all mail of the session.
    lenient: Leniencies,
    /// The same of the next transaction.
    next_lenient: Leniencies,
    /// What is said of the last message; in LMTP of each recipient, or the same of all.
    said: Vec<Said>,
}

impl Clerk {
    pub(crate) fn new(office: Arc<Office>, peer: Option<SocketAddr>) -> Self {
        office.metrics.open(1);
        Self {
            office,
            id: Id::unique(),
            peer,
            name: None,
            began: None,
            login: None,
            envelope: None,
            counted: false,
            plaintext_refused: false,
            advised: false,
            refused_sender: None,
            lenient: Leniencies::STRICT,
            next_lenient: Leniencies::STRICT,
            said: Vec::new(),
        }
    }

    /// Who comes by a Unix socket has none.
    fn address(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// Whether TLS is not required of whoever has this reverse-path, and comes from there.
    fn is_excepted(&self, peer: &Peer<'_>, from: &str) -> bool {
        let excepted = self.office.excepted.as_ref();
        excepted.is_some_and(|excepted| excepted.hold(self.address(), peer.session.hello(), from))
    }

    /// Stores the message or lets the next hop have it, and keeps account of it; finds out what its sender is told.
    async fn take(&mut self, peer: &Peer<'_>) {
        self.said.clear();
        let Some(mut envelope) = self.envelope.take() else { return };
        let office = self.office.clone();
        match &office.mail_goes {
            MailGoes::Nowhere => self.said.push(Said::Taken(envelope.id)),
            MailGoes::To(maildir) => match envelope.letter.store(maildir, &envelope.id).await {
                Ok(()) => self.said.push(Said::Taken(envelope.id)),
                Err(error) => {
                    tracing::error!(%error, "a message could not be stored; its sender has been told to try again");
                    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                    self.said.push(Said::Refused(if full { NO_ROOM } else { TRY_LATER }));
                }
            },
            MailGoes::Through(_) => match envelope.passage.take() {
                Some(passage) => {
                    let finished = timed(&self.office.metrics, Box::pin(passage.finish())).await;
                    self.said.extend(finished.into_iter().map(Said::Hop));
                }
                None => self.said.push(Said::Refused(TRY_LATER)),
            },
        }
        let now = Timestamp::now();
        let accepted = self.said.iter().map(Said::code).find(|code| *code < 400);
        envelope.refused_by = self.said.iter().map(Said::code).find(|code| *code >= 400).filter(|_| accepted.is_none());
        let ending = ending(accepted.or(envelope.refused_by).unwrap_or(451));
        self.envelope = Some(envelope);
        let tls = Tls::from(peer.session);
        self.count_with(peer, now, ending, tls.clone());
        let Some(envelope) = self.envelope.take() else { return };
        if ending == Ending::Accepted {
            let taken = Taken {
                time: now,
                peer: self.address(),
                session: &self.id,
                helo: peer.session.hello(),
                user: peer.session.identity().map(Identity::name),
                tls: &tls,
                from: &envelope.from,
                to: &envelope.to,
                size: envelope.size,
                id: &envelope.id,
            };
            outlet::print(|line| taken.write(self.office.json, line));
        }
    }

    fn say(&mut self, answer: Answer) -> Verdict<'_> {
        self.said = vec![Said::Hop(answer)];
        self.said.first().map_or(Verdict::Refuse(TRY_LATER), Said::verdict)
    }
}

/// Waits for an answer of the next hop, and takes the time.
async fn timed<T>(metrics: &Metrics, answer: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let answer = answer.await;
    metrics.time(Way::NextHop, began.elapsed());
    answer
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.office.metrics.open(-1);
    }
}

impl Handler for Clerk {
    fn session(&self) -> Option<&str> {
        Some(&self.id)
    }

    async fn connect(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        self.office.metrics.opened(self.office.desks[peer.listener].role.as_str());
        if let Some(refusal) = self.limited() {
            return Verdict::Refuse(refusal);
        }
        match &self.office.mail_goes {
            // Nothing can be announced that is not known.
            MailGoes::Through(hop) if hop.offered().is_none() => Verdict::Refuse(NOT_YET),
            _ => Verdict::Accept,
        }
    }

    async fn hello(&mut self, peer: &Peer<'_>, _: &Host<'_>) -> Verdict<'_> {
        if peer.address != self.peer {
            // XCLIENT was accepted: the session is that of another client from here on.
            self.peer = peer.address;
            if let Some(refusal) = self.limited() {
                return Verdict::Refuse(refusal);
            }
        }
        if let (Some(withheld), Some(host), true) =
            (&self.office.withheld, self.address(), peer.session.tls().is_some())
        {
            withheld.succeeded(host);
        }
        Verdict::Accept
    }

    /// Whose address it is counts from the next command on; its host's name is handed on.
    async fn xclient(&mut self, _: &Peer<'_>, client: &Attributes<'_>) -> Verdict<'_> {
        self.name = match client.get("NAME") {
            Some(AttributeValue::Text(name)) => Some(name.decode().into()),
            _ => None,
        };
        Verdict::Accept
    }

    /// For the log alone: whose hop this is stays what it is.
    async fn xforward(&mut self, _: &Peer<'_>, client: &Attributes<'_>) -> Verdict<'_> {
        let (peer, client) = (peer_name(self.address()), Line(client.as_str().as_bytes()));
        tracing::info!(session = &*self.id, peer, %client, "speaks for a client");
        Verdict::Accept
    }

    async fn authenticate(&mut self, peer: &Peer<'_>, question: Question) -> server::Answer {
        self.login = match &question {
            Question::Password { authcid, .. } | Question::Scram { authcid, .. } => Some((**authcid).into()),
            _ => None,
        };
        if self.failed_too_often() {
            return server::Answer::TemporaryFailure;
        }
        match &self.office.desks[peer.listener].users {
            Some(users) => users.answer(question).await,
            None => server::Answer::Reject,
        }
    }

    async fn mail(&mut self, peer: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
        if let Some(refusal) = self.too_many_messages() {
            return Verdict::Refuse(refusal);
        }
        let from = mail.path.as_str();
        let desk = &self.office.desks[peer.listener];
        let required = desk.requires && peer.session.tls().is_none();
        let exempt = (required || desk.rehearses) && self.is_excepted(peer, from);
        if required && !exempt {
            tracing::info!(session = &*self.id, peer = peer_name(self.address()), "mail in plaintext is refused");
            self.office.metrics.fault(FaultKind::TlsRequired);
            (self.plaintext_refused, self.refused_sender) = (true, Some(from.into()));
            return Verdict::Refuse(TLS_REQUIRED);
        }
        self.began = Some(Instant::now());
        let envelope = self.envelope.insert(Box::new(Envelope::new(from)));
        (envelope.exempt, envelope.excepted) = (exempt, required);
        envelope.lenient = std::mem::take(&mut self.next_lenient);
        let MailGoes::Through(hop) = &self.office.mail_goes else { return Verdict::Accept };
        let who = Who {
            address: self.peer,
            helo: peer.session.hello(),
            extended: peer.session.protocol().extended,
            login: peer.session.identity().map(Identity::name),
            name: self.name.as_deref(),
            session: &self.id,
            id: &envelope.id,
        };
        // A next hop's futures are large: in blocks of their own they cost nothing where there is no next hop.
        let answer = match timed(&self.office.metrics, Box::pin(hop.begin(who, mail))).await {
            Ok((passage, answer)) => {
                envelope.passage = Some(Box::new(passage));
                answer
            }
            Err(answer) => {
                // There is no transaction, and nothing more is heard of it.
                let code = answer.reply().code();
                envelope.refused_by = Some(code);
                self.count(peer, Timestamp::now(), ending(code));
                self.envelope = None;
                answer
            }
        };
        self.say(answer)
    }

    async fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        let Some(envelope) = &mut self.envelope else { return Verdict::Accept };
        let to = rcpt.path.as_str();
        if !self.office.desks[peer.listener].domains.hold(&rcpt.path) {
            envelope.refused_by = Some(NOT_OURS.code());
            envelope.turned_away.push(to);
            return Verdict::Refuse(NOT_OURS);
        }
        // Whoever comes by a Unix socket has no TLS to come back with.
        let rehearsing = self.office.rehearsing.as_ref().filter(|_| self.office.desks[peer.listener].rehearses);
        if let (Some(rehearsing), Some(from), false) = (rehearsing, self.peer, envelope.exempt) {
            match rehearsing.rcpt(from.ip(), &envelope.from, to, peer.session.tls().is_some()) {
                Ok(found) => envelope.rehearsed = envelope.rehearsed.or(found),
                Err(verdict) => {
                    envelope.asked.push(to);
                    return verdict;
                }
            }
        }
        if let Some(passage) = &mut envelope.passage {
            let answer = timed(&self.office.metrics, Box::pin(passage.rcpt(rcpt))).await;
            if answer.is_positive() {
                envelope.to.push(to);
            } else {
                envelope.refused_by = Some(answer.reply().code());
                envelope.turned_away.push(to);
            }
            return self.say(answer);
        }
        envelope.to.push(to);
        Verdict::Accept
    }

    async fn data(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        let Some(envelope) = &mut self.envelope else { return Verdict::Accept };
        let received = |envelope: &Envelope| envelope.received(peer, &self.office.hostname);
        match &self.office.mail_goes {
            MailGoes::To(maildir) => {
                // The envelope would be lost otherwise.
                let mut head = Vec::with_capacity(1024);
                trace::return_path(&envelope.from, &mut head);
                envelope.to.iter().for_each(|recipient| trace::delivered_to(recipient, &mut head));
                head.extend_from_slice(&received(envelope));
                envelope.letter.add(maildir, &envelope.id, &head).await;
                Verdict::Accept
            }
            MailGoes::Through(_) => {
                let received = received(envelope);
                let Some(passage) = &mut envelope.passage else { return Verdict::Accept };
                let answer = timed(&self.office.metrics, Box::pin(passage.data(peer.session.is_by_chunks()))).await;
                if answer.is_positive() {
                    // RFC 5321 4.4: on top of the others.
                    Box::pin(passage.text(&received)).await;
                    return Verdict::Accept;
                }
                (envelope.refused_by, envelope.text_refused) = (Some(answer.reply().code()), true);
                self.say(answer)
            }
            MailGoes::Nowhere => Verdict::Accept,
        }
    }

    async fn chunk(&mut self, text: &[u8]) {
        let Some(envelope) = &mut self.envelope else { return };
        envelope.size += text.len() as u64;
        envelope.looking.add(text, &self.office.unwanted_if);
        match (&self.office.mail_goes, &mut envelope.passage) {
            (MailGoes::To(maildir), _) => envelope.letter.add(maildir, &envelope.id, text).await,
            (MailGoes::Through(_), Some(passage)) => Box::pin(passage.text(text)).await,
            _ => {}
        }
    }

    async fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Verdict<'_> {
        // RFC 2033 4.2: in LMTP each recipient is asked about. The message is stored or handed on once, for all of them.
        if end.recipient.is_none_or(|index| index == 0) {
            self.take(peer).await;
        }
        let index = usize::try_from(end.recipient.unwrap_or(0)).unwrap_or(usize::MAX);
        let said = if let [one] = &self.said[..] { Some(one) } else { self.said.get(index) };
        said.map_or(Verdict::Refuse(TRY_LATER), Said::verdict)
    }

    fn reset(&mut self, peer: &Peer<'_>) {
        let Some(envelope) = &mut self.envelope else { return };
        if let Some(passage) = envelope.passage.take() {
            passage.leave();
        }
        let nobody = envelope.to.is_empty() && envelope.asked.is_empty();
        let ending = match envelope.refused_by {
            _ if envelope.refused => Ending::Refused,
            Some(code) if nobody || envelope.text_refused => ending(code),
            _ => Ending::Abandoned,
        };
        self.count(peer, Timestamp::now(), ending);
        self.envelope = None;
    }

    fn fault(&mut self, peer: &Peer<'_>, fault: Fault) {
        let peer_name = peer_name(self.address());
        if let FaultKind::Lenient(leniency) = fault.kind {
            tracing::info!(
                session = &*self.id,
                peer = peer_name,
                helo = peer.session.hello(),
                leniency = leniency.as_str(),
                offset = fault.offset,
                "let pass"
            );
            self.office.books.let_pass(leniency);
            self.office.metrics.fault(fault.kind);
            self.let_pass(peer, leniency);
            return;
        }
        tracing::info!(session = &*self.id, peer = peer_name, helo = peer.session.hello(), kind = ?fault.kind, offset = fault.offset, code = fault.code, "fault");
        if let Some(line) = line_of(fault.kind, peer.said) {
            tracing::debug!(session = &*self.id, peer = peer_name, line = %Line(line), "the line at fault");
        }
        self.office.metrics.fault(fault.kind);
        // Of a client that ended its first command in CRLF no LF is let pass. And what has no code was served.
        let lf = fault.kind == FaultKind::Syntax(SyntaxErrorKind::BareLf) && peer.session.hello().is_some();
        if fault.code != 0 && !lf {
            self.advise(fault.kind, peer.said);
        }
        if let FaultKind::AuthFailed(why) = fault.kind {
            self.login_failed(why);
        }
        if (concerns_text(fault.kind) || fault.kind == FaultKind::MessageTooBig)
            && let Some(envelope) = &mut self.envelope
        {
            envelope.refused = true;
        }
        self.plaintext_refused |= fault.kind == FaultKind::TlsRequired;
    }

    fn closed(&mut self, peer: &Peer<'_>, reason: Reason) {
        tracing::debug!(session = &*self.id, peer = peer_name(self.address()), ?reason, "closed");
        if reason == Reason::TimedOut && self.envelope.as_ref().is_some_and(|envelope| envelope.size > 0) {
            let (session, peer) = (&*self.id, peer_name(self.address()));
            tracing::warn!(
                session,
                peer,
                "a text did not end in time: the end is CRLF . CRLF, and no LF stands in for it"
            );
        }
        self.office.metrics.tls(&Tls::from(peer.session));
        if let Some(time) = peer.handshake {
            self.office.metrics.time(Way::Handshake, time);
        }
        self.reset(peer);
        // What the founding question is about, and what would leave no trace otherwise.
        match reason {
            Reason::TlsFailed(_) => {
                if let (Some(withheld), Some(host)) = (&self.office.withheld, self.address()) {
                    withheld.failed(host, Instant::now());
                }
                self.count(peer, Timestamp::now(), Ending::HandshakeFailed);
            }
            _ if self.plaintext_refused && !self.counted => self.count(peer, Timestamp::now(), Ending::TlsRequired),
            _ => {}
        }
    }
}
