//! Which server is tried, and which next.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use smtp_audit::ledger::{Entry, LedgerFile, Tls};
use smtp_proto::auth::client::NoMechanism;
use smtp_proto::client::{Because, FaultKind, NoConnection, NotNow, Outcome, Reason, Session, Transaction};
use smtp_proto::syntax::{Extension, Keyword, ReplyFault};
use smtp_proto::tls::{Direction, Hop, Retries};
use smtp_smol::{Client, Connection, Target};

use super::message::Message;
use super::route::{RouteError, Routes};

/// What all attempts share.
pub(crate) struct Office<'m> {
    pub(crate) client: Client,
    /// For another try in plaintext when a handshake failed; only where TLS is opportunistic.
    pub(crate) plain: Option<Client>,
    pub(crate) message: &'m Message,
    pub(crate) ledger: Option<LedgerFile>,
    pub(crate) port: u16,
}

/// What became of a recipient.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) to: String,
    pub(crate) end: End,
    /// The server's words, or ours.
    pub(crate) words: String,
    /// The server that said it.
    pub(crate) server: Option<String>,
    pub(crate) tls: Option<Tls<'static>>,
    /// What the hop is called where it is not inside TLS.
    pub(crate) hop: &'static str,
    /// What else is to be known, whatever the outcome.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Accepted,
    Later,
    Never,
    Unknown,
}

impl Office<'_> {
    /// Everything to one server.
    pub(crate) async fn to_server(&self, target: Target) -> Vec<Fate> {
        let all: Vec<usize> = (0..self.message.to.len()).collect();
        self.attempt(&target, &target.to_string(), &all).await.unwrap_or_else(|fates| fates)
    }

    /// To the mail exchangers of each recipient's domain, a transaction a domain (RFC 5321 5.1).
    pub(crate) async fn to_exchangers(&self, routes: &Routes, name: Option<&str>) -> Vec<Fate> {
        let mut fates = vec![None; self.message.to.len()];
        let domain = |at: usize| self.message.to.get(at).and_then(|to| to.rsplit_once('@')).map(|(_, domain)| domain);
        for first in 0..fates.len() {
            if fates.get(first).is_some_and(Option::is_some) {
                continue;
            }
            let same = |at: &usize| match (domain(first), domain(*at)) {
                (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                (one, other) => one == other,
            };
            let group: Vec<usize> = (first..fates.len()).filter(same).collect();
            let ends = self.to_domain(routes, domain(first), name, &group).await;
            for (at, end) in group.into_iter().zip(ends) {
                if let Some(fate) = fates.get_mut(at) {
                    *fate = Some(end);
                }
            }
        }
        fates.into_iter().flatten().collect()
    }

    async fn to_domain(&self, routes: &Routes, domain: Option<&str>, name: Option<&str>, of: &[usize]) -> Vec<Fate> {
        let Some(domain) = domain else {
            return self.all(of, End::Never, "a recipient without a domain needs --server", None);
        };
        let none = |error: &RouteError| {
            let end = if error.is_permanent() { End::Never } else { End::Later };
            self.all(of, end, &error.to_string(), None)
        };
        // RFC 5321 4.1.3: an address literal is its own route.
        let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let literal = literal
            .map(|text| text.get(5..).filter(|_| text.to_ascii_lowercase().starts_with("ipv6:")).unwrap_or(text));
        if let Some(address) = literal.and_then(|text| text.parse::<IpAddr>().ok()) {
            let target = Target::addresses(vec![SocketAddr::new(address, self.port)]);
            return self.attempt(&target, domain, of).await.unwrap_or_else(|fates| fates);
        }
        let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
        let exchangers = match routes.exchangers(&ascii).await {
            Ok(exchangers) => exchangers,
            Err(error) => return none(&error),
        };
        let mut last = None;
        for exchanger in exchangers {
            let addresses = match routes.addresses(&exchanger.name).await {
                Ok(addresses) => addresses.into_iter().map(|address| SocketAddr::new(address, self.port)).collect(),
                Err(error) => {
                    last.get_or_insert_with(|| none(&error));
                    continue;
                }
            };
            let target = Target::addresses(addresses).called(&exchanger.name);
            let target = name.map_or(target.clone(), |name| target.named(name));
            match self.attempt(&target, &exchanger.name, of).await {
                Ok(fates) => return fates,
                Err(fates) => last = Some(fates),
            }
        }
        last.unwrap_or_else(|| none(&RouteError::NoSuchDomain(domain.to_owned())))
    }

    /// One server. `Err` when nothing was taken, for a reason that another server may not have.
    async fn attempt(&self, target: &Target, name: &str, of: &[usize]) -> Result<Vec<Fate>, Vec<Fate>> {
        match self.with(&self.client, target, name, of, false).await {
            Err((_, Some(Reason::TlsFailed(failure)))) if self.plain.is_some() => {
                eprintln!(
                    "{name}: the TLS handshake failed ({failure}); once more, in plaintext, as --tls opportunistic says"
                );
                let Some(plain) = &self.plain else { return Err(Vec::new()) };
                self.with(plain, target, name, of, true).await.map_err(|(fates, _)| fates)
            }
            other => other.map_err(|(fates, _)| fates),
        }
    }

    async fn with(
        &self,
        client: &Client,
        target: &Target,
        name: &str,
        of: &[usize],
        again: bool,
    ) -> Result<Vec<Fate>, (Vec<Fate>, Option<Reason>)> {
        let mut connection = match client.connect(target).await {
            Ok(connection) => connection,
            Err(reason) => {
                let end = if reason.is_temporary() { End::Later } else { End::Never };
                return Err((self.all(of, end, &unconnected(&reason), Some(name)), Some(reason)));
            }
        };
        // What the server offers is known before MAIL. That there is no such session is an outcome of what follows.
        let ascii = self.message.has_ascii_form(of)
            && connection.ready().await.is_ok_and(|offers| !offers.has(Extension::SmtpUtf8));
        let to = self.message.recipients(of, ascii);
        let sent = connection.send(self.message.envelope(&to, ascii), &mut &self.message.text[..]).await;
        let transaction = match sent {
            Ok(transaction) => transaction,
            Err(error) => return Err((self.all(of, End::Later, &error.to_string(), Some(name)), None)),
        };
        let peer = connection.peer().map(|peer| peer.to_string()).filter(|peer| peer != name);
        let server = peer.map_or_else(|| name.to_owned(), |peer| format!("{name} [{peer}]"));
        let mut tls = Tls::from(&connection.session().tls_outcome());
        if again {
            tls.hop = Hop::FailedThenPlaintext;
        }
        let notes = notes(&transaction, connection.session(), ascii);
        // A hop without a session inside or outside TLS is neither.
        let failed = matches!(transaction.closed(), Some(Reason::TlsFailed(_)));
        let outcomes = transaction.outcomes().zip(of).filter_map(|(outcome, at)| {
            let (end, words) = told(&outcome);
            let (server, tls, notes) = (Some(server.clone()), Some(tls.clone()), notes.clone());
            // Where the session ended by itself nothing of the message went out, in plaintext or otherwise.
            let hop = match outcome {
                _ if failed => "no TLS: the handshake failed",
                Outcome::Later(Because::Session(_)) | Outcome::Never(Because::Session(_)) => "",
                _ => "plaintext",
            };
            Some(Fate { to: self.message.to.get(*at)?.clone(), end, words, server, tls, hop, notes })
        });
        let fates: Vec<Fate> = outcomes.collect();
        let elsewhere = |outcome: Outcome<'_>| matches!(outcome, Outcome::Later(Because::Session(_)));
        let nothing = transaction.outcomes().all(elsewhere);
        let reason = transaction.closed().cloned();
        self.record(&connection, &transaction, name, of, &tls);
        drop(transaction);
        connection.quit().await;
        if nothing { Err((fates, reason)) } else { Ok(fates) }
    }

    fn all(&self, of: &[usize], end: End, words: &str, server: Option<&str>) -> Vec<Fate> {
        let fate = |to: &String| Fate {
            to: to.clone(),
            end,
            words: words.to_owned(),
            server: server.map(Into::into),
            tls: None,
            hop: "",
            notes: Vec::new(),
        };
        of.iter().filter_map(|at| self.message.to.get(*at)).map(fate).collect()
    }

    fn record(&self, connection: &Connection, transaction: &Transaction<'_>, name: &str, of: &[usize], tls: &Tls<'_>) {
        let Some(ledger) = &self.ledger else { return };
        let now = Timestamp::now();
        let record = transaction.record(connection.session(), now.as_second());
        let domain = |address: &str| address.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
        let to: Vec<&str> = of.iter().filter_map(|at| self.message.to.get(*at)).map(String::as_str).collect();
        let mut domains: Vec<String> = to.iter().map(|to| domain(to)).collect();
        domains.sort();
        domains.dedup();
        let mut entry = Entry::new(now, Direction::Outbound, record.end.into());
        entry.peer = connection.peer().map(|peer| peer.ip().to_canonical());
        entry.helo = Some(name.into());
        entry.sender_domain = Some(domain(&self.message.from).into());
        entry.recipient_domains = domains.into_iter().map(Into::into).collect();
        entry.recipients = record.recipients;
        entry.envelope = Retries::envelope(&self.message.from, to);
        entry.bytes = record.bytes;
        entry.tls = tls.clone();
        ledger.write(&entry);
    }
}

/// What the user would not see in the outcome alone.
fn notes(transaction: &Transaction<'_>, session: &Session, ascii: bool) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for fault in transaction.tolerated() {
        let note = format!("the server broke the protocol, which was let pass: {}", fault.kind);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    if let Some(refusal) = session.tls_refusal() {
        notes.push(format!("the server offered TLS and refused it: {refusal}; --tls require sends nothing then"));
    }
    let left_out = transaction.left_out();
    let left_out = [
        (Keyword::Notify, "--notify"),
        (Keyword::Ret, "--ret"),
        (Keyword::Envid, "--envid"),
        (Keyword::Orcpt, "--orcpt"),
    ]
    .into_iter()
    .filter(|(keyword, _)| left_out.contains(*keyword))
    .map(|(_, option)| option)
    .collect::<Vec<_>>();
    if !left_out.is_empty() {
        let left_out = left_out.join(", ");
        notes.push(format!(
            "the server does not offer DSN, and was not told {left_out}; --require-dsn sends nothing then"
        ));
    }
    if ascii {
        notes.push("the server does not offer SMTPUTF8, and was told the domains as A-labels".into());
    }
    notes
}

fn told(outcome: &Outcome<'_>) -> (End, String) {
    let because = |because: &Because<'_>| {
        let mend = mend(because).map_or(String::new(), |mend| format!("; {mend}"));
        format!("{because}{mend}")
    };
    match outcome {
        Outcome::Accepted(reply) => (End::Accepted, reply.to_string()),
        Outcome::Later(why) => (End::Later, because(why)),
        Outcome::Never(why) => (End::Never, because(why)),
        Outcome::Unknown(why) => (End::Unknown, because(why)),
        _ => (End::Unknown, outcome.to_string()),
    }
}

/// Why there is no connection, and what the user can do about it.
fn unconnected(reason: &Reason) -> String {
    match (mend(&Because::Session(reason)), reason) {
        (Some(mend), _) => format!("{reason}; {mend}"),
        // Before the session there is a handshake only where TLS comes first.
        (None, Reason::TlsFailed(_)) => {
            format!("{reason}; --implicit-tls is for ports where TLS comes first, such as 465")
        }
        (None, _) => reason.to_string(),
    }
}

/// A certificate that was refused, in the words of the TLS library.
fn certificate(failure: &str) -> Option<&'static str> {
    let mend = "--ca FILE names an authority to trust, --tls-name the name in the certificate; --tls require takes any";
    failure.contains("certificate").then_some(mend)
}

/// What the user can do about it.
fn mend(because: &Because<'_>) -> Option<&'static str> {
    Some(match because {
        Because::Session(reason) => match reason {
            Reason::NotConnected(NoConnection::Refused) => "nothing listens there: look at host and port",
            Reason::NotConnected(NoConnection::TimedOut) => {
                "the host is down, or a firewall keeps mail in: many networks let nothing out to port 25"
            }
            Reason::NotConnected(NoConnection::NoAddress(_)) => "look at the name of the host",
            Reason::NotConnected(NoConnection::NotFound) => "look at the path",
            Reason::NotConnected(NoConnection::Denied) => "look at the permissions of the socket",
            Reason::TlsNotOffered | Reason::TlsRefused(_) => {
                "--tls opportunistic sends in plaintext where there is no TLS; port 465 wants --implicit-tls"
            }
            Reason::TlsNotVerified => "--ca FILE names an authority to trust, --tls-name the name in the certificate",
            Reason::TlsFailed(failure) => return certificate(&failure.to_string()),
            Reason::Fault(FaultKind::Reply(ReplyFault::BareLf)) => "--lenient bare-lf lets such lines pass",
            Reason::NoMechanism(NoMechanism::NeedsTls) => {
                "use --tls require or verify, or show the password to whoever listens with --plaintext-auth"
            }
            Reason::NoMechanism(_) => {
                "many servers offer AUTH inside TLS alone, or on port 587; or send without --auth, or by another --auth-mechanism"
            }
            Reason::AuthRefused(reply) if matches!(reply.code(), 504 | 534) => "name another --auth-mechanism",
            Reason::AuthRefused(reply) if matches!(reply.code(), 530 | 535) => {
                "look at the name in --auth and the password in SMTP_PASSWORD, or the token in --token-file"
            }
            _ => return None,
        },
        Because::NotSent(NotNow::NotOffered(Extension::EightBitMime)) => {
            "encode the message (quoted-printable), or send it as it is with --8bit-anyway"
        }
        Because::NotSent(NotNow::NotOffered(_)) => "another server may offer it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use smtp_proto::syntax::{OwnedReply, ReplyLines};
    use smtp_proto::tls::TlsFailure;

    use super::*;

    fn reply(line: &str) -> OwnedReply {
        let line = format!("{line}\r\n");
        ReplyLines::parse(line.as_bytes()).expect("a reply").expect("a whole one").into()
    }

    /// What a new user meets first: each has a mend that names an option.
    #[test]
    fn a_failure_that_an_option_mends_names_it() {
        let refused = TlsFailure::Refused("its certificate comes from no authority that is trusted here".into());
        for (reason, option) in [
            (Reason::TlsFailed(refused.clone()), "--ca"),
            (Reason::TlsNotVerified, "--tls-name"),
            (Reason::TlsNotOffered, "--tls opportunistic"),
            (Reason::TlsRefused(reply("454 4.7.0 TLS not available")), "--tls opportunistic"),
            (Reason::NoMechanism(NoMechanism::NeedsTls), "--plaintext-auth"),
            (Reason::NoMechanism(NoMechanism::NoneOffered), "--auth"),
            (Reason::AuthRefused(reply("535 5.7.8 no")), "SMTP_PASSWORD"),
        ] {
            let (end, words) = told(&Outcome::Later(Because::Session(&reason)));
            let (cause, mend) = words.split_once("; ").expect("a cause and a mend");
            assert_eq!((end, cause), (End::Later, reason.to_string().as_str()));
            assert!(mend.contains(option), "{words}");
        }
        assert!(told(&Outcome::Later(Because::Session(&Reason::Eof))).1.ends_with("closed the connection"));
        assert!(unconnected(&Reason::TlsFailed(refused)).contains("--ca"));
        assert!(unconnected(&Reason::TlsFailed(TlsFailure::Closed)).contains("--implicit-tls"));
        assert!(unconnected(&Reason::NotConnected(NoConnection::Refused)).contains("host and port"));
    }
}
