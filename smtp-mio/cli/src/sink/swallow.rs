//! The handler of a sink's connection: follows the rules, swallows the rest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smtp_mio::{Answer, AuthAnswer, Handler, OwnedVerdict, Peer};
use smtp_proto::auth::server::{Answer as Login, Identity, Question};
use smtp_proto::server::{Fault, FaultKind, MessageEnd, Reason, Verdict};
use smtp_proto::syntax::{self, Host, Mail, Rcpt, Reply};
use smtp_proto::tls::TlsVersion;
use smtp_proto::{Leniencies, LeniencyCounts};
use smtp_testing::{Act, Decision, Rules, Verb};

use super::store::{Draft, Store};

const NOT_STORED: Reply<'static> = Reply::fixed(452, (4, 3, 1), "The message could not be stored");

/// What all connections of a sink share.
#[derive(Debug)]
pub(crate) struct Kitchen {
    pub(crate) rules: Rules,
    pub(crate) store: Store,
    /// Messages that were refused, or dropped at their end, by a rule.
    pub(crate) refused: AtomicU64,
    /// What was let pass, by name.
    pub(crate) lenient: Mutex<LeniencyCounts>,
}

#[derive(Debug)]
pub(crate) struct Swallow {
    kitchen: Arc<Kitchen>,
    /// Only where mail is kept.
    letter: Option<Box<Letter>>,
}

#[derive(Debug, Default)]
struct Letter {
    sender: String,
    recipients: Vec<String>,
    draft: Option<Draft>,
    failed: bool,
    /// Whether it could be kept, once that was tried: LMTP asks for each recipient.
    kept: Option<bool>,
}

impl Swallow {
    pub(crate) const fn new(kitchen: Arc<Kitchen>) -> Self {
        Self { kitchen, letter: None }
    }

    fn letter(&mut self) -> Option<&mut Letter> {
        if matches!(self.kitchen.store, Store::Discard) {
            return None;
        }
        Some(self.letter.get_or_insert_default())
    }

    fn decide(&self, verb: Verb, argument: impl FnOnce() -> String) -> Answer<'static> {
        let Decision { delay, act } = self.kitchen.rules.decide(verb, argument);
        let verdict = match act {
            Act::Accept if delay.is_zero() => return Verdict::Accept.into(),
            Act::HangUp if delay.is_zero() => return Answer::HangUp,
            Act::Accept => OwnedVerdict::Accept,
            Act::Refuse(code, enhanced, text) => OwnedVerdict::Refuse(code, enhanced, text),
            Act::HangUp => OwnedVerdict::HangUp,
        };
        Answer::After(delay, verdict)
    }

    fn forget(&mut self) {
        if let Some(draft) = self.letter.take().and_then(|letter| letter.draft) {
            draft.discard();
        }
    }
}

impl Handler for Swallow {
    fn connect(&mut self, peer: &Peer<'_>) -> Answer<'_> {
        self.decide(Verb::Connect, || peer.address.map_or_else(|| "unix".into(), |address| address.to_string()))
    }

    fn hello(&mut self, _: &Peer<'_>, host: &Host<'_>) -> Answer<'_> {
        self.decide(Verb::Ehlo, || host.as_str().to_owned())
    }

    fn start_tls(&mut self, _: &Peer<'_>) -> Answer<'_> {
        self.decide(Verb::StartTls, String::new)
    }

    /// Whoever it is, with whatever password.
    fn authenticate(&mut self, _: &Peer<'_>, question: Question) -> AuthAnswer {
        let name = || if let Question::Password { authcid, .. } = question { authcid } else { String::new() };
        let login = |verdict| match verdict {
            OwnedVerdict::HangUp => None,
            OwnedVerdict::Refuse(454, ..) => Some(Login::TemporaryFailure),
            OwnedVerdict::Refuse(..) => Some(Login::Reject),
            _ => Some(Login::Accept),
        };
        match self.decide(Verb::Auth, name) {
            Answer::After(time, verdict) => AuthAnswer::After(time, login(verdict)),
            Answer::HangUp => AuthAnswer::HangUp,
            Answer::Now(_) | Answer::Later(_) => Login::Accept.into(),
        }
    }

    fn command(&mut self, _: &Peer<'_>, verb: syntax::Verb) -> Answer<'_> {
        self.decide(Verb::of(verb), String::new)
    }

    fn mail(&mut self, _: &Peer<'_>, mail: &Mail<'_>) -> Answer<'_> {
        self.forget();
        if let Some(letter) = self.letter() {
            *letter = Letter { sender: mail.path.as_str().to_owned(), ..Letter::default() };
        }
        self.decide(Verb::Mail, || format!("<{}>", mail.path.as_str()))
    }

    fn rcpt(&mut self, _: &Peer<'_>, rcpt: &Rcpt<'_>) -> Answer<'_> {
        let answer = self.decide(Verb::Rcpt, || format!("<{}>", rcpt.path.as_str()));
        if accepts(&answer)
            && let Some(letter) = self.letter()
        {
            letter.recipients.push(rcpt.path.as_str().to_owned());
        }
        answer
    }

    fn data(&mut self, peer: &Peer<'_>) -> Answer<'_> {
        let verb = if peer.session.is_by_chunks() { Verb::Bdat } else { Verb::Data };
        let answer = self.decide(verb, String::new);
        if accepts(&answer) {
            let kitchen = self.kitchen.clone();
            if let Some(letter) = self.letter() {
                match kitchen.store.draft(&letter.sender, &letter.recipients, || how(letter, peer)) {
                    Ok(draft) => letter.draft = draft,
                    Err(error) => {
                        tracing::error!(%error, "a message cannot be stored");
                        letter.failed = true;
                    }
                }
            }
        }
        answer
    }

    fn chunk(&mut self, text: &[u8]) {
        if let Some(letter) = &mut self.letter
            && let Some(draft) = &mut letter.draft
            && let Err(error) = draft.write(text)
        {
            tracing::error!(%error, "a message cannot be stored");
            letter.failed = true;
        }
    }

    fn message(&mut self, _: &Peer<'_>, end: MessageEnd) -> Answer<'_> {
        let answer = self.decide(Verb::Message, String::new);
        if !accepts(&answer) {
            self.kitchen.refused.fetch_add(1, Ordering::Relaxed);
            if end.recipient.is_none() {
                self.forget();
            }
            return answer;
        }
        let kitchen = self.kitchen.clone();
        let Some(letter) = self.letter() else { return answer };
        let kept = letter.kept.unwrap_or_else(|| match letter.draft.take() {
            Some(draft) if letter.failed => {
                draft.discard();
                false
            }
            Some(draft) => kitchen.store.keep(draft).inspect_err(|error| tracing::error!(%error, "not stored")).is_ok(),
            None => false,
        });
        letter.kept = Some(kept);
        if kept { answer } else { NOT_STORED.into() }
    }

    fn fault(&mut self, peer: &Peer<'_>, fault: Fault) {
        if let FaultKind::Lenient(leniency) = fault.kind {
            // What the standard asks for is no news.
            if !Leniencies::STANDARD.contains(leniency) {
                tracing::warn!(peer = ?peer.address, leniency = leniency.as_str(), "let pass");
            }
            self.kitchen.lenient.lock().unwrap_or_else(PoisonError::into_inner).add(leniency);
        }
        // What has no code was served.
        if let Some(mend) = fault.kind.mend(peer.said).filter(|_| fault.code != 0) {
            tracing::warn!(peer = ?peer.address, "refused: {:?}; {mend}", fault.kind);
        }
    }

    fn reset(&mut self, _: &Peer<'_>) {
        self.forget();
    }

    fn closed(&mut self, _: &Peer<'_>, _: Reason) {
        self.forget();
    }
}

/// What is known of a message beside its text.
fn how(letter: &Letter, peer: &Peer<'_>) -> serde_json::Value {
    let tls = peer.session.tls().map(|tls| {
        serde_json::json!({
            "version": tls.version.map(TlsVersion::as_str),
            "cipher": tls.cipher,
            "server_name": tls.server_name.as_deref().filter(|name| name.bytes().all(|octet| octet.is_ascii_graphic())),
        })
    });
    serde_json::json!({
        "from": letter.sender,
        "to": letter.recipients,
        "peer": peer.address.map(|address| address.to_string()),
        "hello": peer.session.hello(),
        "user": peer.session.identity().map(Identity::name),
        "protocol": peer.session.protocol().as_str(),
        "tls": tls,
    })
}

/// Whether it is a yes, now or later.
fn accepts(answer: &Answer<'_>) -> bool {
    matches!(answer, Answer::Now(Verdict::Accept) | Answer::After(_, OwnedVerdict::Accept))
}
