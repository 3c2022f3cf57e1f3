//! The handler: takes mail, puts it where it was told to, and keeps account of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use smtp_audit::ledger::{Ending, Entry, Tls};
use smtp_proto::auth::server::{Answer, Failure, Identity, Question};
use smtp_proto::server::{Fault, FaultKind, MessageEnd, Reason, Verdict};
use smtp_proto::syntax::{Mail, Rcpt, Reply};
use smtp_proto::tls::{Direction, EndToEnd, Rehearsed, Retries, Wanted};
use smtp_proto::trace::{self, Received};
use smtp_smol::{Handler, Peer};

use super::books::Books;
use super::head;
use super::maildir::{Draft, Maildir, unique};
use super::rates::Rates;
use super::recipients::{Domains, NOT_OURS};
use super::record::{Taken, peer_name};
use super::rehearse::Rehearsing;
use super::users::Users;
use crate::outlet;
use crate::shown::{Line, Shown};
use smtp_audit::UnwantedIf;

/// Text is held in memory up to here, then goes to the file piece by piece.
const PIECE: usize = 256 << 10;

const TRY_LATER: Reply<'static> = Reply::fixed(451, (4, 3, 0), "The message could not be stored; try again later");
const TOO_MANY_CONNECTIONS: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many connections from your network; try again later");
const TOO_MANY_MESSAGES: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many messages from your network; try again later");
const TOO_MANY_FAILED_LOGINS: Reply<'static> =
    Reply::fixed(421, (4, 7, 0), "Too many failed logins from your network; try again later");
/// RFC 5321 4.2.3, RFC 3463 3.4.
const NO_ROOM: Reply<'static> = Reply::fixed(452, (4, 3, 1), "There is no room for the message now; try again later");

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) hostname: String,
    /// Where mail goes; without one it is thrown away.
    pub(crate) maildir: Option<Maildir>,
    pub(crate) books: Arc<Books>,
    pub(crate) unwanted_if: Vec<UnwantedIf>,
    pub(crate) rehearsing: Option<Rehearsing>,
    /// By the number of the listener.
    pub(crate) desks: Vec<Desk>,
    pub(crate) limits: Limits,
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
    /// Whether it takes part in the rehearsal.
    pub(crate) rehearses: bool,
}

/// The handler of a connection.
#[derive(Debug)]
pub(crate) struct Clerk {
    office: Arc<Office>,
    /// By which log and output name the session.
    id: String,
    peer: Option<SocketAddr>,
    /// Who tries to log in.
    login: Option<Box<str>>,
    envelope: Option<Envelope>,
    /// Whether the session came to a transaction, of which the ledger has its line.
    counted: bool,
    /// Whether mail was refused because it came in plaintext.
    plaintext_refused: bool,
    /// What is said of the last message, if it was taken.
    taken: Result<String, Reply<'static>>,
}

#[derive(Debug)]
struct Envelope {
    from: String,
    to: Vec<String>,
    /// Recipients that were asked to come again.
    asked: Vec<String>,
    /// Recipients of domains that are not ours were refused.
    not_ours: bool,
    rehearsed: Option<Rehearsed>,
    id: String,
    size: u64,
    /// The first octets of the text.
    head: Vec<u8>,
    refused: bool,
    letter: Letter,
}

/// The message itself, on its way to the file.
#[derive(Debug, Default)]
struct Letter {
    held: Vec<u8>,
    draft: Option<Draft>,
    failed: Option<io::Error>,
}

impl Clerk {
    pub(crate) fn new(office: Arc<Office>, peer: Option<SocketAddr>) -> Self {
        Self {
            office,
            id: unique(),
            peer,
            login: None,
            envelope: None,
            counted: false,
            plaintext_refused: false,
            taken: Err(TRY_LATER),
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
        entry.tls = Tls::from(peer.session);
        if let Some(envelope) = &self.envelope {
            entry.sender_domain = Some(domain(&envelope.from).into());
            entry.bytes = envelope.size;
            entry.id = Some(envelope.id.clone().into());
            entry.rehearsed = envelope.rehearsed;
            address(&mut entry, &envelope.from, &envelope.to);
            if envelope.size > 0 {
                let seen = head::look(&envelope.head, &self.office.unwanted_if);
                entry.end_to_end = seen.end_to_end;
                let told = !self.office.unwanted_if.is_empty() && !envelope.refused;
                entry.verdict = told.then_some(if seen.unwanted { Wanted::No } else { Wanted::Yes });
            }
        }
        entry
    }

    /// Stores the message, and keeps account of it; says what its sender is told.
    async fn take(&mut self, peer: &Peer<'_>) -> Result<String, Reply<'static>> {
        let mut envelope = self.envelope.take().ok_or(TRY_LATER)?;
        let stored = store(&self.office, &mut envelope).await;
        let now = Timestamp::now();
        let envelope = self.envelope.insert(envelope);
        let words = format!("Ok: taken as {}", envelope.id);
        if let Err(error) = stored {
            tracing::error!(%error, "a message could not be stored; its sender has been told to try again");
            self.count(peer, now, Ending::Deferred);
            self.envelope = None;
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            return Err(if full { NO_ROOM } else { TRY_LATER });
        }
        self.count(peer, now, Ending::Accepted);
        let envelope = self.envelope.take().ok_or(TRY_LATER)?;
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
        Ok(words)
    }

    /// Writes a line into the ledger.
    fn count(&mut self, peer: &Peer<'_>, time: Timestamp, ending: Ending) {
        self.counted = true;
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
    /// One line of a form that does not change: others watch for it.
    fn login_failed(&self, why: Failure) {
        if !matches!(why, Failure::Rejected | Failure::ChannelBinding) {
            return;
        }
        if let (Some(address), Some(rates)) = (self.address(), &self.office.limits.failed_logins) {
            rates.count(address, Instant::now());
        }
        let (address, user) = (peer_name(self.address()), self.login.as_deref().unwrap_or_default());
        tracing::warn!(session = self.id, "failed login: address={address} user=<{}>", Shown(user));
    }
}

/// The line at fault, for the log. What may be a password, or is text and no line, is not shown.
fn line_of(kind: FaultKind, said: &[u8]) -> Option<&[u8]> {
    let secret = said.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
    let line = !matches!(
        kind,
        FaultKind::Text(_)
            | FaultKind::AuthFailed(_)
            | FaultKind::AuthMalformed
            | FaultKind::AuthCancelled
            | FaultKind::MessageTooBig
    );
    Some(said).filter(|said| line && !secret && !said.is_empty())
}

impl Handler for Clerk {
    async fn connect(&mut self, _: &Peer<'_>) -> Verdict<'_> {
        let now = Instant::now();
        let Some(address) = self.address() else { return Verdict::Accept };
        let limits = &self.office.limits;
        if limits.connections.as_ref().is_some_and(|rates| rates.count(address, now)) {
            tracing::info!(session = self.id, peer = %address, "too many connections in a short time");
            return Verdict::Refuse(TOO_MANY_CONNECTIONS);
        }
        if limits.failed_logins.as_ref().is_some_and(|rates| rates.is_full(address, now)) {
            tracing::info!(session = self.id, peer = %address, "too many failed logins in a short time");
            return Verdict::Refuse(TOO_MANY_FAILED_LOGINS);
        }
        Verdict::Accept
    }

    async fn authenticate(&mut self, peer: &Peer<'_>, question: Question) -> Answer {
        self.login = match &question {
            Question::Password { authcid, .. } | Question::Scram { authcid, .. } => Some((**authcid).into()),
            _ => None,
        };
        let full =
            |address| self.office.limits.failed_logins.as_ref().is_some_and(|r| r.is_full(address, Instant::now()));
        if self.address().is_some_and(full) {
            return Answer::TemporaryFailure;
        }
        match &self.office.desks[peer.listener].users {
            Some(users) => users.answer(question).await,
            None => Answer::Reject,
        }
    }

    async fn mail(&mut self, _: &Peer<'_>, mail: &Mail<'_>) -> Verdict<'_> {
        let too_many = |address| self.office.limits.messages.as_ref().is_some_and(|r| r.count(address, Instant::now()));
        if self.address().is_some_and(too_many) {
            tracing::info!(session = self.id, peer = peer_name(self.address()), "too many messages in a short time");
            return Verdict::Refuse(TOO_MANY_MESSAGES);
        }
        self.envelope = Some(Envelope {
            from: mail.path.as_str().into(),
            to: Vec::new(),
            asked: Vec::new(),
            not_ours: false,
            rehearsed: None,
            id: unique(),
            size: 0,
            head: Vec::new(),
            refused: false,
            letter: Letter::default(),
        });
        Verdict::Accept
    }

    async fn rcpt(&mut self, peer: &Peer<'_>, rcpt: &Rcpt<'_>) -> Verdict<'_> {
        let Some(envelope) = &mut self.envelope else { return Verdict::Accept };
        let to = rcpt.path.as_str();
        if !self.office.desks[peer.listener].domains.hold(&rcpt.path) {
            envelope.not_ours = true;
            return Verdict::Refuse(NOT_OURS);
        }
        // Whoever comes by a Unix socket has no TLS to come back with.
        let rehearsing = self.office.rehearsing.as_ref().filter(|_| self.office.desks[peer.listener].rehearses);
        if let (Some(rehearsing), Some(from)) = (rehearsing, self.peer) {
            match rehearsing.rcpt(from.ip(), &envelope.from, to, peer.session.tls().is_some()) {
                Ok(found) => envelope.rehearsed = envelope.rehearsed.or(found),
                Err(verdict) => {
                    envelope.asked.push(to.into());
                    return verdict;
                }
            }
        }
        envelope.to.push(to.into());
        Verdict::Accept
    }

    async fn data(&mut self, peer: &Peer<'_>) -> Verdict<'_> {
        if let (Some(envelope), true) = (&mut self.envelope, self.office.maildir.is_some()) {
            envelope.letter.held = head(envelope, peer, &self.office.hostname);
        }
        Verdict::Accept
    }

    async fn chunk(&mut self, text: &[u8]) {
        let Some(envelope) = &mut self.envelope else { return };
        envelope.size += text.len() as u64;
        let room = head::LOOKED_AT.saturating_sub(envelope.head.len());
        envelope.head.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
        if self.office.maildir.is_some() {
            envelope.letter.held.extend_from_slice(text);
            if envelope.letter.held.len() >= PIECE {
                spill(&self.office, envelope).await;
            }
        }
    }

    async fn message(&mut self, peer: &Peer<'_>, end: MessageEnd) -> Verdict<'_> {
        // RFC 2033 4.2: in LMTP each recipient is asked about. The message is stored once, for all of them.
        if end.recipient.is_none_or(|index| index == 0) {
            self.taken = self.take(peer).await;
        }
        match &self.taken {
            Ok(words) => Verdict::AcceptWith(words),
            Err(reply) => Verdict::Refuse(*reply),
        }
    }

    fn reset(&mut self, peer: &Peer<'_>) {
        if let Some(envelope) = &self.envelope {
            let nobody = envelope.not_ours && envelope.to.is_empty() && envelope.asked.is_empty();
            let ending = if envelope.refused || nobody { Ending::Refused } else { Ending::Abandoned };
            self.count(peer, Timestamp::now(), ending);
            self.envelope = None;
        }
    }

    fn fault(&mut self, peer: &Peer<'_>, fault: Fault) {
        let peer_name = peer_name(self.address());
        tracing::info!(session = self.id, peer = peer_name, helo = peer.session.hello(), kind = ?fault.kind, offset = fault.offset, code = fault.code, "fault");
        if let Some(line) = line_of(fault.kind, peer.said) {
            tracing::debug!(session = self.id, peer = peer_name, line = %Line(line), "the line at fault");
        }
        if let FaultKind::AuthFailed(why) = fault.kind {
            self.login_failed(why);
        }
        if matches!(fault.kind, FaultKind::Text(_) | FaultKind::MessageTooBig)
            && let Some(envelope) = &mut self.envelope
        {
            envelope.refused = true;
        }
        self.plaintext_refused |= fault.kind == FaultKind::TlsRequired;
    }

    fn closed(&mut self, peer: &Peer<'_>, reason: Reason) {
        tracing::debug!(session = self.id, peer = peer_name(self.address()), ?reason, "closed");
        if let Reason::TlsFailed(failure) = &reason {
            tracing::info!(session = self.id, peer = peer_name(self.address()), helo = peer.session.hello(), %failure, "TLS handshake failed");
        }
        self.reset(peer);
        // What the founding question is about, and what would leave no trace otherwise.
        match reason {
            Reason::TlsFailed(_) => self.count(peer, Timestamp::now(), Ending::HandshakeFailed),
            _ if self.plaintext_refused && !self.counted => self.count(peer, Timestamp::now(), Ending::TlsRequired),
            _ => {}
        }
    }
}

/// Return-Path (RFC 5321 4.4), whom the file is for, and Received. The envelope would be lost otherwise.
fn head(envelope: &Envelope, peer: &Peer<'_>, by: &str) -> Vec<u8> {
    let mut head = Vec::with_capacity(1024);
    trace::return_path(&envelope.from, &mut head);
    envelope.to.iter().for_each(|recipient| trace::delivered_to(recipient, &mut head));
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
    .write(&mut head);
    head
}

/// What is held goes to the file. An error is kept for the end, when it can be answered.
async fn spill(office: &Arc<Office>, envelope: &mut Envelope) {
    let mut letter = std::mem::take(&mut envelope.letter);
    if letter.failed.is_some() {
        letter.held.clear();
        envelope.letter = letter;
        return;
    }
    let (office, id) = (office.clone(), envelope.id.clone());
    envelope.letter = smol::unblock(move || {
        letter.failed = office.maildir.as_ref().and_then(|maildir| letter.write(maildir, &id).err());
        letter
    })
    .await;
}

/// The whole message is on disk when this returns, synced.
async fn store(office: &Arc<Office>, envelope: &mut Envelope) -> io::Result<()> {
    let mut letter = std::mem::take(&mut envelope.letter);
    let (office, id) = (office.clone(), envelope.id.clone());
    let Some(_) = office.maildir else { return Ok(()) };
    smol::unblock(move || {
        if let Some(error) = letter.failed.take() {
            return Err(error);
        }
        let Some(maildir) = &office.maildir else { return Ok(()) };
        letter.write(maildir, &id)?;
        letter.draft.take().map_or(Ok(()), |draft| maildir.commit(draft))
    })
    .await
}

impl Letter {
    fn write(&mut self, maildir: &Maildir, id: &str) -> io::Result<()> {
        let draft = match &mut self.draft {
            Some(draft) => draft,
            none => none.insert(maildir.draft(id)?),
        };
        draft.write(&self.held)?;
        self.held.clear();
        Ok(())
    }
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
