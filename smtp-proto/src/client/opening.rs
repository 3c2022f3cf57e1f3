//! From the greeting to the first transaction: EHLO, STARTTLS, AUTH.

use alloc::boxed::Box;

use zeroize::Zeroize as _;

use super::config::Tls;
use super::event::{FaultKind, Reason};
use super::state::{Awaited, Move};
use super::{Protocol, Session};
use crate::auth::client::{Cancel, Credentials, Exchange, choose};
use crate::auth::{Mechanism, MechanismSet, Nonce, Secret, base64};
use crate::syntax::{Extension, OwnedReply, ReplyLines};
use crate::tls::TlsFailure;

/// What there is to authenticate with, and how far it has come.
pub(super) struct Login {
    credentials: Credentials,
    /// Used once.
    nonce: Option<Nonce>,
    exchange: Option<Exchange>,
    /// Mechanisms that the server has refused as such.
    refused: MechanismSet,
    challenges: u32,
    cancelled: Option<Cancel>,
}

/// RFC 4954 4: a longer line has its initial response sent upon an empty challenge instead.
const AUTH_LINE: usize = 512;

impl Session {
    /// Authenticates as soon as that may be done: after TLS, where TLS comes. To be given before the session's first
    /// `step`; `nonce` is random, and used once. [`Event::Ready`](super::Event::Ready) then says that it succeeded.
    pub fn authenticate(&mut self, credentials: Credentials, nonce: Nonce) {
        self.login = Some(Box::new(Login {
            credentials,
            nonce: Some(nonce),
            exchange: None,
            refused: MechanismSet::EMPTY,
            challenges: 0,
            cancelled: None,
        }));
    }

    /// With [`Tls::Verify`], TLS that was not verified is the end.
    pub(super) fn check_verified(&mut self) -> bool {
        let verified = self.tls.as_ref().is_none_or(|tls| tls.server_verified);
        if !verified && self.config.tls == Tls::Verify {
            self.close(Reason::TlsNotVerified);
            return false;
        }
        true
    }

    pub(super) fn hello(&mut self) {
        let config = self.config.clone();
        let verb = if config.protocol == Protocol::Lmtp { "LHLO " } else { "EHLO " };
        let name = self.spoken_for.take();
        self.command(Awaited::Ehlo, &[verb, name.as_deref().unwrap_or(&config.name)]);
        self.spoken_for = name;
    }

    /// XCLIENT was accepted: what was learnt and won before counts no more, only TLS stays. Where it told the name of the
    /// client, EHLO says that too: the server would forget it otherwise.
    pub(super) fn begin_anew(&mut self) {
        self.offers.forget();
        (self.phase.opened, self.phase.authenticated) = (false, false);
        (self.accepted, self.mails, self.named) = (0, 0, 0);
        self.hello();
    }

    pub(super) fn greeted(&mut self, reply: &ReplyLines<'_>) -> Result<(), FaultKind> {
        match reply.code() {
            // 221 says that the server closes (RFC 5321 4.2.3).
            200..=220 | 222..300 => {
                self.go(Move::Greeting);
                self.hello();
            }
            // RFC 5321 3.1: 554, and then QUIT.
            400.. => self.leave(Reason::Refused((*reply).into())),
            code => return Err(FaultKind::Unexpected { to: Awaited::Greeting, code }),
        }
        Ok(())
    }

    pub(super) fn helloed(&mut self, to: Awaited, reply: &ReplyLines<'_>) -> Result<(), FaultKind> {
        match reply.code() {
            200..=220 | 222..300 => {
                self.go(Move::Hello);
                // What EHLO was refused with does not count any more.
                self.phase.parting = None;
                if to == Awaited::Ehlo {
                    self.offers.learn(reply);
                }
                if self.tls.is_none() {
                    self.phase.tls_offered = self.offers.has(Extension::StartTls);
                    return self.encrypt();
                }
                self.login();
            }
            // RFC 5321 3.2: a server that does not know EHLO may know HELO. Some say so by the codes of a refusal. It has
            // no STARTTLS then.
            code @ (500..=504 | 521 | 550 | 554) if to == Awaited::Ehlo && !self.lmtp() => {
                let unknown = matches!(code, 500..=504);
                if self.tls.is_none() && self.config.tls.is_required() {
                    self.leave(if unknown { Reason::TlsNotOffered } else { Reason::Refused((*reply).into()) });
                } else {
                    let (config, name) = (self.config.clone(), self.spoken_for.take());
                    self.command(Awaited::Helo, &["HELO ", name.as_deref().unwrap_or(&config.name)]);
                    self.spoken_for = name;
                    // Should HELO fail too, the server's first words say more.
                    self.phase.parting = (!unknown).then(|| Reason::Refused((*reply).into()));
                }
            }
            400.. => {
                let reason = self.phase.parting.take().unwrap_or_else(|| Reason::Refused((*reply).into()));
                self.leave(reason);
            }
            // It closes, having said why.
            221 if self.phase.parting.is_some() => self.cut_off(Reason::Eof),
            code => return Err(FaultKind::Unexpected { to, code }),
        }
        Ok(())
    }

    fn encrypt(&mut self) -> Result<(), FaultKind> {
        match self.config.tls {
            Tls::Never => self.login(),
            _ if self.phase.tls_offered => self.command(Awaited::StartTls, &["STARTTLS"]),
            Tls::Opportunistic => self.login(),
            Tls::Require | Tls::Verify => self.leave(Reason::TlsNotOffered),
        }
        Ok(())
    }

    /// The reply to STARTTLS. What is there behind 220 is looked at by `step`.
    pub(super) fn start_tls_replied(&mut self, reply: &ReplyLines<'_>) -> Result<(), FaultKind> {
        match reply.code() {
            220 => self.go(Move::StartTls),
            code @ 400.. => {
                self.tls_failure = Some(TlsFailure::Refused(alloc::format!("reply {code} to STARTTLS").into()));
                let reply = OwnedReply::from(*reply);
                if self.config.tls.is_required() {
                    self.leave(Reason::TlsRefused(reply));
                } else {
                    self.tls_refusal = Some(reply);
                    self.login();
                }
            }
            code => return Err(FaultKind::Unexpected { to: Awaited::StartTls, code }),
        }
        Ok(())
    }

    /// TLS is settled: authenticate, if that is wanted.
    fn login(&mut self) {
        let Some(login) = &mut self.login else {
            self.opened();
            return;
        };
        let (tls, offered) = (self.tls.as_deref(), self.offers.mechanisms());
        match choose(offered, &login.credentials, tls, self.config.plaintext_auth) {
            Ok(mechanism) => self.authenticate_by(mechanism),
            Err(none) => self.leave(Reason::NoMechanism(none)),
        }
    }

    fn authenticate_by(&mut self, mechanism: Mechanism) {
        let (tls, offered) = (self.tls.as_deref(), self.offers.mechanisms());
        let Some(login) = &mut self.login else { return };
        let Some(nonce) = login.nonce.take() else {
            self.leave(Reason::AuthCancelled(Cancel::Malformed));
            return;
        };
        // RFC 5802 5.1: another one for each exchange; it is as hard to foresee as the first was.
        login.nonce = Some(nonce.next());
        login.challenges = 0;
        let mut exchange = Exchange::new(mechanism, &login.credentials, offered, tls, nonce);
        let line = |response: usize| "AUTH  \r\n".len() + mechanism.name().len() + response.div_ceil(3) * 4;
        let fits = exchange.initial_len().is_some_and(|len| line(len) <= AUTH_LINE);
        let initial = if fits { exchange.initial_response() } else { None };
        login.exchange = Some(exchange);
        match initial {
            Some(initial) => self.response(&["AUTH ", mechanism.name(), " "], &initial, "="),
            None => self.command(Awaited::Auth, &["AUTH ", mechanism.name()]),
        }
    }

    /// The server has refused a mechanism as such, before it heard or saw any proof. Another may do, which the server offers
    /// as well; the next in strength.
    fn next_mechanism(&mut self) -> Option<Mechanism> {
        let login = self.login.as_mut()?;
        login.refused = login.refused.with(login.exchange.as_ref()?.mechanism());
        let left: MechanismSet =
            self.offers.mechanisms().iter().filter(|each| !login.refused.contains(*each)).collect();
        choose(left, &login.credentials, self.tls.as_deref(), self.config.plaintext_auth).ok()
    }

    /// A line that ends in a response, in base64; `empty` stands for an empty one.
    fn response(&mut self, line: &[&str], response: &Secret, empty: &str) {
        let mut encoded = base64::encode(response.expose());
        self.output.mark_secret();
        // So that nothing is left behind where the output grows.
        let length = line.iter().map(|part| part.len()).sum::<usize>() + encoded.len() + 4;
        self.output.tail().reserve(length);
        for part in line {
            self.output.tail().extend_from_slice(part.as_bytes());
        }
        let text = if encoded.is_empty() { empty } else { &encoded };
        self.command(Awaited::Auth, &[text]);
        encoded.zeroize();
    }

    pub(super) fn auth_replied(&mut self, reply: &ReplyLines<'_>) -> Result<(), FaultKind> {
        let code = reply.code();
        let most = self.config.limits.challenges;
        let Some(login) = &mut self.login else { return Err(FaultKind::Inconsistent(Awaited::Auth)) };
        match (code, login.cancelled) {
            (235, None) => {
                let proven = login.exchange.as_ref().map_or(Err(Cancel::Early), Exchange::succeeded);
                proven.map_err(FaultKind::Unproven)?;
                self.go(Move::Auth);
                self.phase.authenticated = true;
                self.opened();
            }
            // RFC 4954 4: the one reply to a cancelled exchange is 501; any other failure will do.
            (235 | 334, Some(_)) => return Err(FaultKind::Challenge),
            (400.., Some(cancel)) => self.leave(Reason::AuthCancelled(cancel)),
            // RFC 4954 4, 6: 504 and 534 are about the mechanism. 535 is about the password, which is not tried in another way.
            (504 | 534, None) if login.challenges == 0 => match self.next_mechanism() {
                Some(mechanism) => self.authenticate_by(mechanism),
                None => self.leave(Reason::AuthRefused((*reply).into())),
            },
            (400.., None) => self.leave(Reason::AuthRefused((*reply).into())),
            (334, None) => {
                login.challenges += 1;
                // LOGIN was never specified: whatever its prompts are, the name comes first, and then the password.
                let any = login.exchange.as_ref().is_some_and(|exchange| exchange.mechanism() == Mechanism::Login);
                let challenge = challenge(reply).or_else(|| any.then(|| Secret::from("")));
                let response = match (&mut login.exchange, challenge) {
                    _ if login.challenges > most => Err(Cancel::Malformed),
                    (Some(exchange), Some(challenge)) => exchange.respond(challenge.expose()),
                    _ => Err(Cancel::Malformed),
                };
                match response {
                    Ok(response) => self.response(&[], &response, ""),
                    Err(cancel) => {
                        login.cancelled = Some(cancel);
                        self.command(Awaited::Auth, &["*"]);
                    }
                }
            }
            _ => return Err(FaultKind::Unexpected { to: Awaited::Auth, code }),
        }
        Ok(())
    }

    fn opened(&mut self) {
        self.login = None;
        self.phase.opened = true;
        self.due.ready = true;
    }

    /// Ends the session by QUIT, as soon as everything that is awaited has come. A text that has begun must be finished,
    /// or [`abandon`](Self::abandon)ed.
    pub fn quit(&mut self) {
        self.phase.quitting = true;
    }
}

/// The challenge in 334: base64 on one line (RFC 4954 4).
fn challenge(reply: &ReplyLines<'_>) -> Option<Secret> {
    let mut lines = reply.lines();
    match (lines.next(), lines.next()) {
        (Some(line), None) => base64::decode(line.text()),
        _ => None,
    }
}

impl core::fmt::Debug for Login {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Login")
    }
}
