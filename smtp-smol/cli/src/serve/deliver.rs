//! The handler: takes mail, puts it where it was told to, and keeps account of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use smtp_audit::ledger::{Ending, Entry, NOT_OFFERED_AGAIN, Tls};
use smtp_proto::auth::server::{self, Failure, Identity, Question};
use smtp_proto::server::{Fault, FaultKind, MessageEnd, Reason, Verdict};
use smtp_proto::syntax::{AttributeValue, Attributes, Host, Mail, Rcpt, Reply, SyntaxErrorKind};
use smtp_proto::tls::{Direction, EndToEnd, Hop, Rehearsed, Retries, Wanted};
use smtp_proto::trace::{self, Received};
use smtp_proto::{Leniencies, Leniency};
use smtp_smol::{Handler, Peer};

use super::books::Books;
use super::except::Excepted;
use super::faults::{concerns_text, is_private, line_of, mend};
use super::head;
use super::letter::{Letter, hold};
use super::maildir::{Maildir, unique};
use super::next_hop::{Answer, NextHop, Passage, Who};
use super::rates::Rates;
use super::recipients::{Domains, NOT_OURS};
use super::record::{Taken, peer_name};
use super::rehearse::Rehearsing;
use super::role::Role;
use super::seeing::{Metrics, Way};
use super::users::Users;
use super::withheld::Withheld;
use crate::outlet;
use crate::shown::{Line, Shown};
use smtp_audit::UnwantedIf;

const TRY_LATER: Reply<'static> = Reply::fixed(451, (4, 3, 0), "The message could not be stored; try again later");
const TOO_MANY_CONNECTIONS: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many connections from your network; try again later");
const TOO_MANY_MESSAGES: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many messages from your network; try again later");
const TOO_MANY_FAILED_LOGINS: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many failed logins from your network; try again later");
/// RFC 5321 4.2.3, RFC 3463 3.4.
const NO_ROOM: Reply<'static> = Reply::fixed(452, (4, 3, 1), "There is no room for the message now; try again later");

/// RFC 3207 4: what the core says where nobody is excepted.
const TLS_REQUIRED: Reply<'static> = Reply::fixed(530, (5, 7, 0), "Must issue a STARTTLS command first");

const NOT_YET: Reply<'static> =
    Reply::fixed(421, (4, 3, 2), "The mail server behind this one cannot be reached; try again later");

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) hostname: String,
    pub(crate) mail_goes: MailGoes,
    pub(crate) books: Arc<Books>,
    pub(crate) unwanted_if: Vec<UnwantedIf>,
    pub(crate) rehearsing: Option<Rehearsing>,
    /// Who may go on in plaintext.
    pub(crate) excepted: Option<Arc<Excepted>>,
    pub(crate) withheld: Option<Arc<Withheld>>,
    /// By the number of the listener.
    pub(crate) desks: Vec<Desk>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) json: bool,
}

/// How often something may happen in a network.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) connections: Option<Rates>,
    pub(crate) messages: Option<Rates>,
    pub(crate) failed_logins: Option<Rates>,
}

/// What is particular to a listener.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Who may submit mail.
    pub(crate) users: Option<Arc<Users>>,
    /// Whose mail is taken.
    pub(crate) domains: Domains,
    pub(crate) role: Role,
    /// Whether it takes part in the rehearsal.
    pub(crate) rehearses: bool,
    /// Whether TLS is required, but of some.
    pub(crate) requires: bool,
    /// Whether STARTTLS is offered there, but to some.
    pub(crate) offers_tls: bool,
}

/// Where mail goes.
#[derive(Clone, Debug)]
pub(crate) enum MailGoes {
    Nowhere,
    To(Arc<Maildir>),
    Through(Arc<NextHop>),
}

/// The handler of a connection.
#[derive(Debug)]
pub(crate) struct Clerk {
    office: Arc<Office>,
    /// By which log and output name the session.
    id: Arc<str>,
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

#[derive(Debug)]
struct Envelope {
    from: String,
    to: Vec<String>,
    /// Recipients that were asked to come again.
    asked: Vec<String>,
    /// Recipients that were refused.
    turned_away: Vec<String>,
    /// The code by which recipients were refused last: those of domains that are not ours, and by the next hop.
    refused_by: Option<u16>,
    rehearsed: Option<Rehearsed>,
    /// Its sender is one of whom TLS is not required,
    exempt: bool,
    /// and that is why it was let in.
    excepted: bool,
    /// What was let pass in it.
    lenient: Leniencies,
    id: Arc<str>,
    size: u64,
    /// The first octets of the text.
    head: Vec<u8>,
    refused: bool,
    /// The next hop did not want the text, before it came.
    text_refused: bool,
    letter: Letter,
    /// On the way through.
    passage: Option<Passage>,
}

/// What is said to the client.
#[derive(Debug)]
enum Said {
    /// It was taken here.
    Taken(String),
    /// It was not.
    Refused(Reply<'static>),
    /// What the next hop says.
    Hop(Answer),
}

impl Said {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Taken(words) => Verdict::AcceptWith(words),
            Self::Refused(reply) => Verdict::Refuse(*reply),
            Self::Hop(answer) => answer.verdict(),
        }
    }
}

impl Clerk {
    pub(crate) fn new(office: Arc<Office>, peer: Option<SocketAddr>) -> Self {
        office.metrics.open(1);
        Self {
            office,
            id: unique().into(),
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

    fn entry(&self, peer: &Peer<'_>, time: Timestamp, ending: Ending) -> Entry<'static> {
        let mut entry = Entry::new(time, Direction::Inbound, ending);
        entry.peer = self.address();
        entry.helo = peer.session.hello().map(|name| name.to_owned().into());
        entry.tls = self.tls(peer);
        entry.lenient =
            self.lenient.union(self.envelope.as_ref().map_or(Leniencies::STRICT, |envelope| envelope.lenient));
        if ending == Ending::TlsRequired {
            entry.sender_domain = self.refused_sender.as_deref().map(|from| domain(from).into());
        }
        if let Some(envelope) = &self.envelope {
            entry.sender_domain = Some(domain(&envelope.from).into());
            entry.bytes = envelope.size;
            entry.id = Some(envelope.id.to_string().into());
            (entry.rehearsed, entry.excepted) = (envelope.rehearsed, envelope.excepted);
            entry.code = envelope.refused_by.filter(|_| matches!(ending, Ending::Refused | Ending::Deferred));
            // Those who were all refused may come again: by them the retry is known.
            let to = if envelope.to.is_empty() { &envelope.turned_away } else { &envelope.to };
            address(&mut entry, &envelope.from, to);
            if envelope.size > 0 {
                let seen = head::look(&envelope.head, &self.office.unwanted_if);
                entry.end_to_end = seen.end_to_end;
                let told = !self.office.unwanted_if.is_empty() && !envelope.refused && ending != Ending::Refused;
                entry.verdict = told.then_some(if seen.unwanted { Wanted::No } else { Wanted::Yes });
            }
        }
        entry
    }

    /// Notes what the mail that it concerns would have been refused for.
    fn let_pass(&mut self, peer: &Peer<'_>, leniency: Leniency) {
        let of_session = matches!(
            leniency,
            Leniency::HeloName | Leniency::EarlyTalkers | Leniency::BareLfCommands | Leniency::AuthAfterHelo
        );
        let noted = match &mut self.envelope {
            _ if of_session || peer.session.hello().is_none() => &mut self.lenient,
            Some(envelope) => &mut envelope.lenient,
            None => &mut self.next_lenient,
        };
        *noted = noted.with(leniency);
    }

    /// Whether TLS is not required of whoever has this reverse-path, and comes from there.
    fn is_excepted(&self, peer: &Peer<'_>, from: &str) -> bool {
        let excepted = self.office.excepted.as_ref();
        excepted.is_some_and(|excepted| excepted.hold(self.address(), peer.session.hello(), from))
    }

    /// What became of TLS. Where it was not offered since it had failed before, that is what became of it.
    fn tls(&self, peer: &Peer<'_>) -> Tls<'static> {
        let mut tls = Tls::from(peer.session);
        let withheld =
            |address| self.office.withheld.as_ref().is_some_and(|held| held.is_from(address, Instant::now()));
        let offers = self.office.desks.get(peer.listener).is_some_and(|desk| desk.offers_tls);
        if tls.hop == Hop::NotOffered && offers && self.address().is_some_and(withheld) {
            (tls.hop, tls.reason) = (Hop::FailedThenPlaintext, Some(NOT_OFFERED_AGAIN.into()));
        }
        tls
    }

    /// Stores the message or lets the next hop have it, and keeps account of it; says what its sender is told.
    async fn take(&mut self, peer: &Peer<'_>) -> Vec<Said> {
        let Some(mut envelope) = self.envelope.take() else { return Vec::new() };
        let office = self.office.clone();
        let said = match &office.mail_goes {
            MailGoes::Nowhere => vec![taken(&envelope)],
            MailGoes::To(maildir) => match envelope.letter.store(maildir, &envelope.id).await {
                Ok(()) => vec![taken(&envelope)],
                Err(error) => {
                    tracing::error!(%error, "a message could not be stored; its sender has been told to try again");
                    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                    vec![Said::Refused(if full { NO_ROOM } else { TRY_LATER })]
                }
            },
            MailGoes::Through(_) => match envelope.passage.take() {
                Some(passage) => {
                    let finished = timed(&self.office.metrics, Box::pin(passage.finish())).await;
                    finished.into_iter().map(Said::Hop).collect()
                }
                None => vec![Said::Refused(TRY_LATER)],
            },
        };
        let code = |said: &Said| match said.verdict() {
            Verdict::Refuse(reply) => reply.code(),
            _ => 250,
        };
        let codes: Vec<u16> = said.iter().map(code).collect();
        let now = Timestamp::now();
        let accepted = codes.iter().find(|code| **code < 400);
        envelope.refused_by = codes.iter().find(|code| **code >= 400).copied().filter(|_| accepted.is_none());
        let ending = ending(accepted.copied().or(envelope.refused_by).unwrap_or(451));
        self.envelope = Some(envelope);
        self.count(peer, now, ending);
        let Some(envelope) = self.envelope.take() else { return said };
        if ending == Ending::Accepted {
            let taken = Taken {
                time: now,
                peer: self.address(),
                session: &self.id,
                helo: peer.session.hello(),
                user: peer.session.identity().map(Identity::name),
                tls: &Tls::from(peer.session),
                from: &envelope.from,
                to: &envelope.to,
                size: envelope.size,
                id: &envelope.id,
            };
            outlet::print(taken.line(self.office.json));
        }
        said
    }

    fn say(&mut self, answer: Answer) -> Verdict<'_> {
        self.said = vec![Said::Hop(answer)];
        self.said.first().map_or(Verdict::Refuse(TRY_LATER), Said::verdict)
    }

    /// Writes a line into the ledger.
    fn count(&mut self, peer: &Peer<'_>, time: Timestamp, ending: Ending) {
        self.counted = true;
        let metrics = &self.office.metrics;
        metrics.ended(ending, self.envelope.as_ref().map_or(0, |envelope| envelope.size));
        if let Some(began) = self.began.take() {
            metrics.time(Way::Transaction, began.elapsed());
        }
        let mut entry = self.entry(peer, time, ending);
        let Some(envelope) = self.envelope.as_mut().filter(|envelope| !envelope.asked.is_empty()) else {
            self.office.books.add(&entry);
            return;
        };
        // Those that were asked to come again will, as a message of their own.
        let asked = std::mem::take(&mut envelope.asked);
        if !envelope.to.is_empty() {
            self.office.books.add(&entry);
        }
        (entry.ending, entry.rehearsed) = (Ending::Deferred, Some(Rehearsed::Asked));
        (entry.verdict, entry.end_to_end, entry.id, entry.bytes) = (None, EndToEnd::Unknown, None, 0);
        address(&mut entry, &envelope.from, &asked);
        self.office.books.add(&entry);
    }
}

impl Clerk {
    /// Says what its operator can do about what was refused: of a message always, and of commands once a session, and no
    /// louder than `info` where anybody can connect from.
    fn advise(&mut self, kind: FaultKind, said: &[u8]) {
        let Some(mend) = mend(kind, said) else { return };
        let (session, peer) = (&*self.id, peer_name(self.address()));
        let what = match kind {
            FaultKind::Text(flaw) => flaw.to_string(),
            FaultKind::TextLineTooLong => "a line that is too long".into(),
            FaultKind::MessageTooBig => "too large".into(),
            _ => {
                let line = Line(said);
                if is_private(self.address()) && !std::mem::replace(&mut self.advised, true) {
                    tracing::warn!(session, peer, "command refused: {line}; {mend}");
                } else {
                    tracing::info!(session, peer, "command refused: {line}; {mend}");
                }
                return;
            }
        };
        tracing::warn!(session, peer, "message refused: {what}; {mend}");
    }

    /// Whether there is too much from this network.
    fn limited(&self) -> Option<Reply<'static>> {
        let (address, limits, now) = (self.address()?, &self.office.limits, Instant::now());
        if limits.connections.as_ref().is_some_and(|rates| rates.count(address, now)) {
            tracing::info!(session = &*self.id, peer = %address, "too many connections in a short time");
            self.office.metrics.limited("connections");
            return Some(TOO_MANY_CONNECTIONS);
        }
        if limits.failed_logins.as_ref().is_some_and(|rates| rates.is_full(address, now)) {
            tracing::info!(session = &*self.id, peer = %address, "too many failed logins in a short time");
            self.office.metrics.limited("failed-logins");
            return Some(TOO_MANY_FAILED_LOGINS);
        }
        None
    }

    /// One line of a form that does not change: others watch for it.
    fn login_failed(&self, why: Failure) {
        if !matches!(why, Failure::Rejected | Failure::ChannelBinding) {
            return;
        }
        if let (Some(address), Some(rates)) = (self.address(), &self.office.limits.failed_logins) {
            rates.count(address, Instant::now());
        }
        let (address, user) = (peer_name(self.address()), self.login.as_deref().unwrap_or_default());
        self.office.metrics.failed_login();
        tracing::warn!(session = &*self.id, "failed login: address={address} user=<{}>", Shown(user));
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
        let full =
            |address| self.office.limits.failed_logins.as_ref().is_some_and(|r| r.is_full(address, Instant::now()));
        if self.address().is_some_and(full) {
            return server::Answer::TemporaryFailure;
        }
        match &self.office.desks[peer.listener].users {
            Some(users) => users.answer(question).await,
            None => server::Answer::Reject,
        }
    }

    async fn mail(&mut self, peer: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
        let too_many = |address| self.office.limits.messages.as_ref().is_some_and(|r| r.count(address, Instant::now()));
        if self.address().is_some_and(too_many) {
            tracing::info!(session = &*self.id, peer = peer_name(self.address()), "too many messages in a short time");
            self.office.metrics.limited("messages");
            return Verdict::Refuse(TOO_MANY_MESSAGES);
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
                envelope.passage = Some(passage);
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
            envelope.turned_away.push(to.into());
            return Verdict::Refuse(NOT_OURS);
        }
        // Whoever comes by a Unix socket has no TLS to come back with.
        let rehearsing = self.office.rehearsing.as_ref().filter(|_| self.office.desks[peer.listener].rehearses);
        if let (Some(rehearsing), Some(from), false) = (rehearsing, self.peer, envelope.exempt) {
            match rehearsing.rcpt(from.ip(), &envelope.from, to, peer.session.tls().is_some()) {
                Ok(found) => envelope.rehearsed = envelope.rehearsed.or(found),
                Err(verdict) => {
                    envelope.asked.push(to.into());
                    return verdict;
                }
            }
        }
        if let Some(passage) = &mut envelope.passage {
            let answer = timed(&self.office.metrics, Box::pin(passage.rcpt(rcpt))).await;
            if answer.is_positive() {
                envelope.to.push(to.into());
            } else {
                envelope.refused_by = Some(answer.reply().code());
                envelope.turned_away.push(to.into());
            }
            return self.say(answer);
        }
        envelope.to.push(to.into());
        Verdict::Accept
    }

    async fn data(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        let Some(envelope) = &mut self.envelope else { return Verdict::Accept };
        let received = received(envelope, peer, &self.office.hostname);
        match (&self.office.mail_goes, &mut envelope.passage) {
            (MailGoes::To(maildir), _) => {
                // The envelope would be lost otherwise.
                let mut head = Vec::with_capacity(1024);
                trace::return_path(&envelope.from, &mut head);
                envelope.to.iter().for_each(|recipient| trace::delivered_to(recipient, &mut head));
                head.extend_from_slice(&received);
                envelope.letter.add(maildir, &envelope.id, &head).await;
                Verdict::Accept
            }
            (MailGoes::Through(_), Some(passage)) => {
                let answer = timed(&self.office.metrics, Box::pin(passage.data(peer.session.is_by_chunks()))).await;
                if answer.is_positive() {
                    // RFC 5321 4.4: on top of the others.
                    Box::pin(passage.text(&received)).await;
                    return Verdict::Accept;
                }
                (envelope.refused_by, envelope.text_refused) = (Some(answer.reply().code()), true);
                self.say(answer)
            }
            _ => Verdict::Accept,
        }
    }

    async fn chunk(&mut self, text: &[u8]) {
        let Some(envelope) = &mut self.envelope else { return };
        envelope.size += text.len() as u64;
        let room = head::LOOKED_AT.saturating_sub(envelope.head.len());
        hold(&mut envelope.head, text.get(..room.min(text.len())).unwrap_or_default());
        match (&self.office.mail_goes, &mut envelope.passage) {
            (MailGoes::To(maildir), _) => envelope.letter.add(maildir, &envelope.id, text).await,
            (MailGoes::Through(_), Some(passage)) => Box::pin(passage.text(text)).await,
            _ => {}
        }
    }

    async fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Verdict<'_> {
        // RFC 2033 4.2: in LMTP each recipient is asked about. The message is stored or handed on once, for all of them.
        if end.recipient.is_none_or(|index| index == 0) {
            self.said = self.take(peer).await;
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

impl Envelope {
    fn new(from: &str) -> Self {
        Self {
            from: from.into(),
            to: Vec::new(),
            asked: Vec::new(),
            turned_away: Vec::new(),
            refused_by: None,
            rehearsed: None,
            exempt: false,
            excepted: false,
            lenient: Leniencies::STRICT,
            id: unique().into(),
            size: 0,
            head: Vec::new(),
            refused: false,
            text_refused: false,
            letter: Letter::default(),
            passage: None,
        }
    }
}

fn taken(envelope: &Envelope) -> Said {
    Said::Taken(format!("Ok: taken as {}", envelope.id))
}

/// How a transaction ends by this code.
const fn ending(code: u16) -> Ending {
    match code {
        ..400 => Ending::Accepted,
        400..500 => Ending::Deferred,
        500.. => Ending::Refused,
    }
}

/// Our own trace field (RFC 5321 4.4).
fn received(envelope: &Envelope, peer: &Peer<'_>, by: &str) -> Vec<u8> {
    let mut field = Vec::with_capacity(512);
    Received {
        hello: peer.session.hello(),
        peer: peer.address.map(|address| address.ip().to_canonical()),
        by,
        protocol: peer.session.protocol(),
        tls: peer.session.tls(),
        id: &envelope.id,
        // RFC 5321 7.2: more than one would tell them of each other.
        recipient: if let [only] = envelope.to.as_slice() { Some(only) } else { None },
        date: &date(),
    }
    .write(&mut field);
    field
}

/// The envelope, as far as the ledger keeps it.
fn address(entry: &mut Entry<'static>, from: &str, to: &[String]) {
    let mut domains: Vec<String> = to.iter().map(|recipient| domain(recipient)).collect();
    domains.sort();
    domains.dedup();
    entry.recipient_domains = domains.into_iter().map(Into::into).collect();
    entry.recipients = u32::try_from(to.len()).unwrap_or(u32::MAX);
    entry.envelope = Retries::envelope(from, to.iter().map(String::as_str));
}

/// In lower case; empty for the null reverse-path.
fn domain(path: &str) -> String {
    path.rsplit_once('@').map_or_else(String::new, |(_, domain)| domain.to_ascii_lowercase())
}

/// RFC 5322 3.3, for fields.
fn date() -> String {
    jiff::fmt::rfc2822::to_string(&Timestamp::now().to_zoned_datetime(TimeZone::UTC)).unwrap_or_default()
}
