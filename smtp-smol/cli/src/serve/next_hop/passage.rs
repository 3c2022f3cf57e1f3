//! One message on its way through, command by command.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use smtp_proto::client::{NoConnection, NotNow, Reason};
use smtp_proto::syntax::{
    AttributesBuilder, Body, Capability, Command, Extension, Keyword, Mail, OwnedReply, Params, Rcpt, Verb,
};
use smtp_smol::{Lent, Stopped};

use super::answer::{self, Answer, is_out_of_step};
use super::places::Taken;
use super::watch::Watch;
use super::{Announce, NextHop, Offered};
use crate::serve::id::Id;

/// Who the client is, for the next hop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    /// A Unix socket has none.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) helo: Option<&'a str>,
    /// EHLO rather than HELO.
    pub(crate) extended: bool,
    /// Whom it has authenticated as.
    pub(crate) login: Option<&'a str>,
    /// Its host's name, where somebody who is trusted has told it.
    pub(crate) name: Option<&'a str>,
    /// Our name for the session.
    pub(crate) session: &'a Id,
    /// Our name for the message.
    pub(crate) id: &'a Id,
}

/// A transaction with the next hop. Dropped, it is given up: a text that has begun can be taken back by the end of the
/// connection alone (RFC 5321 4.1.1.4).
#[derive(Debug)]
pub(crate) struct Passage {
    hop: Arc<NextHop>,
    /// By which the log names session and message.
    names: [Id; 2],
    /// Gone when the connection is of no more use.
    lent: Option<Lent>,
    _place: Taken,
    offered: Offered,
    watch: Watch,
    /// BODY=BINARYMIME.
    binary: bool,
    /// Recipients that were accepted.
    accepted: usize,
    /// The text has begun.
    in_text: bool,
    /// Why the message does not go through, found out before its end.
    wrong: Option<Answer>,
}

impl NextHop {
    /// MAIL: a transaction, and the next hop's reply; or what the client is told instead.
    pub(crate) async fn begin(self: &Arc<Self>, who: Who<'_>, mail: &Mail<'_>) -> Result<(Passage, Answer), Answer> {
        let place = self.admit(who.address).await?;
        let target = self.target(who.address);
        // XCLIENT holds for the connection: whoever has no address to be announced by must not pass for the one before.
        let mut again = self.announce == Some(Announce::Xclient) && who.address.is_none();
        loop {
            let began = Instant::now();
            let mut lent = match self.ready(&target, !again).await {
                Ok(lent) => lent,
                // By the PROXY header it knows whom it greets.
                Err(stopped) if self.announce == Some(Announce::Proxy) && is_verdict(&stopped) => {
                    return Err(Answer::of(stopped));
                }
                Err(Stopped::Ended(reason)) => {
                    self.failed(&reason, silent(&reason, began), who.session, who.id);
                    // What it says in its greeting is handed on.
                    return Err(match reason {
                        Reason::ServerClosing(_) => Answer::of(Stopped::Ended(reason)),
                        _ => answer::UNREACHABLE,
                    });
                }
                Err(stopped) => return Err(Answer::of(stopped)),
            };
            let used = lent.is_used();
            let opened = self.open(&mut lent, who, mail).await;
            let (verb, reply) = match opened {
                Ok(said) => said,
                // It had been idle, and has ended before anything was taken; or it has no more to give. A new one may do.
                Err(stopped) if used && !again && is_stale(&stopped) => {
                    tracing::debug!(session = &**who.session, id = &**who.id, "a new connection is tried: {stopped}");
                    again = true;
                    continue;
                }
                Err(stopped) => {
                    match &stopped {
                        Stopped::Ended(_) if self.is_announced(who) && is_verdict(&stopped) => {}
                        Stopped::Ended(why) => self.failed(why, silent(why, began), who.session, who.id),
                        // The next session hears what is offered now.
                        Stopped::NotSent(_) => drop(self.trouble.0.try_send(())),
                        _ => {}
                    }
                    if lent.is_idle() {
                        self.give_back(lent).await;
                    }
                    return Err(Answer::of(stopped));
                }
            };
            if let Some(mend) = answer::mend(verb, &reply) {
                self.failed(&format_args!("{reply}; {mend}"), None, who.session, who.id);
                return Err(answer::NOT_SET_UP);
            }
            self.succeeded();
            lent.wait_at_most(None);
            let offered = Offered::of(lent.session());
            self.learn(offered);
            // Behind an XCLIENT that it refuses, Postfix refuses every other one, too.
            let usable = verb != Verb::Xclient && !is_out_of_step(&reply);
            let reply = Answer::to(verb, reply);
            if !reply.is_positive() {
                if usable {
                    self.give_back(lent).await;
                }
                return Err(reply);
            }
            let binary = mail.params.body() == Body::BinaryMime;
            let passage = Passage {
                hop: self.clone(),
                names: [*who.session, *who.id],
                lent: Some(lent),
                _place: place,
                offered,
                watch: Watch::new(),
                binary,
                accepted: 0,
                in_text: false,
                wrong: None,
            };
            return Ok((passage, reply));
        }
    }

    /// Whether what it says by now may be said for this client's sake, and for no other's.
    fn is_announced(&self, who: Who<'_>) -> bool {
        matches!(self.announce, Some(Announce::Xclient | Announce::Proxy)) && who.address.is_some()
    }

    /// Tells who the client is, and says MAIL; gives the reply that there is to go by, and to what.
    async fn open(&self, hop: &mut Lent, who: Who<'_>, mail: &Mail<'_>) -> Result<(Verb, OwnedReply), Stopped> {
        if let Some(refused) = self.introduce(hop, who).await? {
            return Ok(refused);
        }
        if !hop.is_used() {
            hop.wait_at_most(None);
        }
        self.say_mail(hop, mail).await.map(|reply| (Verb::Mail, reply))
    }

    /// Tells who the client is; gives the reply if there can be no MAIL.
    pub(super) async fn introduce(&self, hop: &mut Lent, who: Who<'_>) -> Result<Option<(Verb, OwnedReply)>, Stopped> {
        let announce = self.announce.filter(|_| who.address.is_some());
        let said = match announce {
            Some(Announce::Xclient) => {
                let said = attributes(hop, Extension::XClient, who)?;
                let said = said.attributes().ok_or(not_offered(Extension::XClient))?;
                Some((Verb::Xclient, hop.xclient(&said).await?))
            }
            Some(Announce::Xforward) => {
                let said = attributes(hop, Extension::XForward, who)?;
                let said = said.attributes().ok_or(not_offered(Extension::XForward))?;
                let reply = hop.xforward(&said).await?;
                // It is for the log alone: who does not want to hear it has the mail all the same.
                let unwanted = reply.code() >= 500;
                if unwanted {
                    let (session, id) = (&**who.session, &**who.id);
                    tracing::info!(session, id, next_hop = %self.place, "the next hop refused XFORWARD: {}", reply.as_reply());
                }
                Some((Verb::Xforward, reply)).filter(|_| !unwanted)
            }
            Some(Announce::Proxy) | None => None,
        };
        Ok(said.filter(|(_, reply)| reply.code() >= 300))
    }

    pub(super) async fn say_mail(&self, hop: &mut Lent, mail: &Mail<'_>) -> Result<OwnedReply, Stopped> {
        let offers = hop.session().offers();
        // What is said of the text and its sender for this server's sake need not be said where nobody knows it.
        let needless = |keyword, value: Option<&str>| match keyword {
            Keyword::Size => !offers.has(Extension::Size),
            Keyword::Auth => !offers.has(Extension::Auth),
            Keyword::Body => {
                !offers.has(Extension::EightBitMime) && value.is_some_and(|value| value.eq_ignore_ascii_case("7BIT"))
            }
            _ => false,
        };
        let mut kept = String::new();
        for param in mail.params.iter().filter(|param| !param.known.is_some_and(|known| needless(known, param.value))) {
            if !kept.is_empty() {
                kept.push(' ');
            }
            kept.push_str(param.keyword);
            if let Some(value) = param.value {
                kept.push('=');
                kept.push_str(value);
            }
        }
        let params = Params::parse(&kept, Verb::Mail, mail.params.smtputf8()).unwrap_or(mail.params);
        // As the client said it: nothing is declared in its place.
        hop.command(&Command::Mail(Mail { path: mail.path, params })).await
    }
}

impl Passage {
    /// RCPT, and what the client is told.
    pub(crate) async fn rcpt(&mut self, rcpt: &Rcpt<'_>) -> Answer {
        let Some(hop) = &mut self.lent else { return answer::LOST };
        let said = hop.rcpt(rcpt).await;
        let told = self.told(Verb::Rcpt, said);
        self.accepted += usize::from(told.is_positive());
        told
    }

    /// DATA, and what the client is told; a positive answer says that the text may come. By BDAT it may at once.
    pub(crate) async fn data(&mut self, by_chunks: bool) -> Answer {
        let Some(hop) = &mut self.lent else { return answer::LOST };
        let lmtp = self.hop.place.is_lmtp();
        let offered = hop.session().offers().has(Extension::Chunking);
        let said = if self.binary || by_chunks && offered && !lmtp {
            hop.chunks(self.binary).await.map(|()| None)
        } else {
            hop.data().await.map(Some)
        };
        match said {
            Ok(None) => {
                self.in_text = true;
                Answer::Ours(smtp_proto::syntax::Reply::plain(354, "Send the text"))
            }
            Ok(Some(reply)) => {
                self.in_text = reply.code() < 400;
                self.told(Verb::Data, Ok(reply))
            }
            Err(stopped) => self.stopped(stopped),
        }
    }

    /// A piece of the text. While the next hop does not read, nothing more is read from the client.
    pub(crate) async fn text(&mut self, piece: &[u8]) {
        if self.wrong.is_some() {
            return;
        }
        self.watch.look(piece);
        if self.watch.is_looping() {
            self.give_up(answer::LOOP);
        } else if self.watch.is_eight_bit() && !self.offered.eight_bit && !self.binary {
            self.give_up(answer::EIGHT_BIT);
        }
        let Some(hop) = &mut self.lent else { return };
        if let Err(stopped) = hop.text(piece).await {
            let told = self.stopped(stopped);
            self.wrong = Some(told);
        }
    }

    /// The end of the text: one answer, or in LMTP one for each recipient.
    pub(crate) async fn finish(mut self) -> Vec<Answer> {
        if let Some(wrong) = self.wrong.take() {
            return vec![wrong];
        }
        let Some(hop) = &mut self.lent else { return vec![answer::LOST] };
        let said = hop.finish().await;
        self.in_text = false;
        match said {
            Ok(replies) => {
                let usable = !replies.iter().any(is_out_of_step);
                if let Some(lent) = self.lent.take_if(|lent| usable && lent.is_idle()) {
                    self.hop.give_back(lent).await;
                }
                let mut answers: Vec<_> = replies.into_iter().map(|reply| Answer::to(Verb::Bdat, reply)).collect();
                // RFC 2033 4.2: a recipient without an answer has not been taken.
                if self.hop.place.is_lmtp() {
                    answers.resize(self.accepted, answer::LOST);
                }
                answers
            }
            Err(stopped) => vec![self.stopped(stopped)],
        }
    }

    /// The client has given the transaction up.
    pub(crate) fn leave(mut self) {
        let Some(mut hop) = self.lent.take_if(|_| !self.in_text) else { return };
        // Nobody waits for it.
        smol::spawn(async move {
            if hop.reset().await.is_ok() && hop.is_idle() {
                self.hop.give_back(hop).await;
            }
        })
        .detach();
    }

    fn told(&mut self, verb: Verb, said: Result<OwnedReply, Stopped>) -> Answer {
        match said {
            Ok(reply) => {
                if let Some(mend) = answer::mend(verb, &reply) {
                    let (session, id) = (&*self.names[0], &*self.names[1]);
                    tracing::warn!(session, id, next_hop = %self.hop.place, "the next hop failed: {reply}; {mend}");
                    return answer::NOT_SET_UP;
                }
                self.lent.take_if(|_| verb != Verb::Data && is_out_of_step(&reply));
                Answer::to(verb, reply)
            }
            Err(stopped) => self.stopped(stopped),
        }
    }

    fn give_up(&mut self, why: Answer) {
        self.lent = None;
        self.wrong = Some(why);
    }

    fn stopped(&mut self, stopped: Stopped) -> Answer {
        if let Stopped::Ended(reason) | Stopped::Unknown(reason) = &stopped {
            self.lent = None;
            if *reason == Reason::TimedOut {
                self.hop.failed(reason, None, &self.names[0], &self.names[1]);
            } else {
                let (session, id) = (&*self.names[0], &*self.names[1]);
                tracing::warn!(session, id, next_hop = %self.hop.place, "a message did not go through: {stopped}");
            }
        }
        Answer::of(stopped)
    }
}

/// Whether it is a refusal that a server may have for one client and for no other.
const fn is_verdict(stopped: &Stopped) -> bool {
    matches!(stopped, Stopped::Ended(Reason::Refused(_) | Reason::ServerClosing(_)))
}

/// Since when there has been no answer, if that is why it failed.
const fn silent(reason: &Reason, began: Instant) -> Option<Instant> {
    match reason {
        Reason::TimedOut | Reason::NotConnected(NoConnection::TimedOut) => Some(began),
        _ => None,
    }
}

/// Whether a connection that was idle has turned out to be of no use, and nothing was taken over it.
fn is_stale(stopped: &Stopped) -> bool {
    match stopped {
        Stopped::Ended(reason) => matches!(reason, Reason::Eof | Reason::ServerClosing(_) | Reason::TimedOut),
        Stopped::NotSent(why) => matches!(
            why,
            NotNow::Limit | NotNow::NotOffered(Extension::XClient | Extension::XForward) | NotNow::State(_)
        ),
        _ => false,
    }
}

const fn not_offered(extension: Extension) -> Stopped {
    Stopped::NotSent(NotNow::NotOffered(extension))
}

/// Who the client is, in those attributes that the next hop knows.
fn attributes(hop: &Lent, extension: Extension, who: Who<'_>) -> Result<AttributesBuilder, Stopped> {
    let mut said = AttributesBuilder::new();
    let offers = hop.session().offers();
    let known = |name: &str| {
        offers.capabilities().any(|capability| match capability {
            Capability::XClient(names) if extension == Extension::XClient => names.contains(name),
            Capability::XForward(names) if extension == Extension::XForward => names.contains(name),
            _ => false,
        })
    };
    // Without an address the next hop would take the client for this server, and trust it as much.
    if !known("ADDR") {
        return Err(not_offered(extension));
    }
    let address = who.address.map(|address| match address.ip().to_canonical() {
        std::net::IpAddr::V4(v4) => v4.to_string(),
        std::net::IpAddr::V6(v6) => format!("IPV6:{v6}"),
    });
    let port = who.address.map(|address| address.port().to_string());
    let proto = if who.extended { "ESMTP" } else { "SMTP" };
    for (name, value) in [
        ("NAME", who.name),
        ("ADDR", address.as_deref()),
        ("PORT", port.as_deref()),
        ("PROTO", Some(proto)),
        ("HELO", who.helo),
        ("LOGIN", who.login),
        ("IDENT", Some(who.id)),
        ("SOURCE", Some("REMOTE")),
    ] {
        let value = value.filter(|value| !value.is_empty());
        // What cannot be said in an attribute is not available.
        if known(name) && said.add(name, value).is_err() {
            let _ = said.add(name, None);
        }
    }
    Ok(said)
}
