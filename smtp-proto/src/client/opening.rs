//! From the greeting to the first transaction: EHLO, STARTTLS, AUTH.

use alloc::boxed::Box;

use zeroize::Zeroize as _;

use super::config::Tls;
use super::event::{FaultKind, Reason};
use super::state::{Awaited, Move};
use super::{Protocol, Session};
use crate::auth::client::{Cancel, Credentials, Exchange, choose};
use crate::auth::{Nonce, Secret, base64};
use crate::syntax::{Extension, ReplyLines};
use crate::tls::TlsFailure;

/// What there is to authenticate with, and how far it has come.
pub(super) struct Login {
    credentials: Credentials,
    /// Used once.
    nonce: Option<Nonce>,
    exchange: Option<Exchange>,
    challenges: u32,
    cancelled: Option<Cancel>,
}

/// RFC 4954 4: a longer line has its initial response sent upon an empty challenge instead.
const AUTH_LINE: usize = 512;

impl Session {
    /// Authenticates as soon as that may be done: after TLS, where TLS comes. To be given before the session's first
    /// `step`; `nonce` is random, and used once. [`Event::Ready`](super::Event::Ready) then says that it succeeded.
    pub fn authenticate(&mut self, credentials: Credentials, nonce: Nonce) {
        self.login =
            Some(Box::new(Login { credentials, nonce: Some(nonce), exchange: None, challenges: 0, cancelled: None }));
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
        self.basic = false;
        let config = self.config.clone();
        let verb = if config.protocol == Protocol::Lmtp { "LHLO " } else { "EHLO " };
        self.command(Awaited::Ehlo, &[verb, &config.name]);
    }

    /// XCLIENT was accepted: what was learnt and won before counts no more, only TLS stays.
    pub(super) fn begin_anew(&mut self) {
        self.offers.forget();
        (self.opened, self.authenticated) = (false, false);
        (self.accepted, self.mails, self.named) = (0, 0, 0);
        self.hello();
    }

    pub(super) fn greeted(&mut self, code: u16) -> Result<(), FaultKind> {
        match code {
            220 => {
                self.go(Move::Greeting);
                self.hello();
            }
            // RFC 5321 3.1: 554, and then QUIT.
            400.. => self.leave(Reason::Refused(code)),
            _ => return Err(FaultKind::Unexpected { to: Awaited::Greeting, code }),
        }
        Ok(())
    }

    pub(super) fn helloed(&mut self, to: Awaited, reply: &ReplyLines<'_>) -> Result<(), FaultKind> {
        match reply.code() {
            250 => {
                self.go(Move::Hello);
                if to == Awaited::Ehlo {
                    self.offers.learn(reply);
                } else {
                    self.basic = true;
                }
                if self.tls.is_none() {
                    self.tls_offered = self.offers.has(Extension::StartTls);
                    return self.encrypt();
                }
                self.login();
            }
            // RFC 5321 3.2: a server that does not know EHLO may know HELO. It has no STARTTLS then.
            500 | 502 | 504 if to == Awaited::Ehlo && !self.lmtp() => {
                if self.tls.is_none() && self.config.tls.is_required() {
                    self.leave(Reason::TlsNotOffered);
                } else {
                    let config = self.config.clone();
                    self.command(Awaited::Helo, &["HELO ", &config.name]);
                }
            }
            code @ 400.. => self.leave(Reason::Refused(code)),
            code => return Err(FaultKind::Unexpected { to, code }),
        }
        Ok(())
    }

    fn encrypt(&mut self) -> Result<(), FaultKind> {
        match self.config.tls {
            Tls::Never => self.login(),
            _ if self.tls_offered => self.command(Awaited::StartTls, &["STARTTLS"]),
            Tls::Opportunistic => self.login(),
            Tls::Require | Tls::Verify => self.leave(Reason::TlsNotOffered),
        }
        Ok(())
    }

    /// The reply to STARTTLS. What is there behind 220 is looked at by `step`.
    pub(super) fn start_tls_replied(&mut self, code: u16) -> Result<(), FaultKind> {
        match code {
            220 => self.go(Move::StartTls),
            400.. => {
                self.tls_failure = Some(TlsFailure::Refused(alloc::format!("reply {code} to STARTTLS").into()));
                if self.config.tls.is_required() {
                    self.leave(Reason::TlsRefused(code));
                } else {
                    self.login();
                }
            }
            _ => return Err(FaultKind::Unexpected { to: Awaited::StartTls, code }),
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
        let mechanism = match choose(offered, &login.credentials, tls, self.config.plaintext_auth) {
            Ok(mechanism) => mechanism,
            Err(none) => {
                self.leave(Reason::NoMechanism(none));
                return;
            }
        };
        let Some(nonce) = login.nonce.take() else {
            self.leave(Reason::AuthCancelled(Cancel::Malformed));
            return;
        };
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

    /// A line that ends in a response, in base64; `empty` stands for an empty one.
    fn response(&mut self, line: &[&str], response: &Secret, empty: &str) {
        let mut encoded = base64::encode(response.expose());
        self.secret = true;
        // So that nothing is left behind where the output grows.
        let length = line.iter().map(|part| part.len()).sum::<usize>() + encoded.len() + 4;
        self.output.reserve(length);
        for part in line {
            self.output.extend_from_slice(part.as_bytes());
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
                self.authenticated = true;
                self.opened();
            }
            // RFC 4954 4: the one reply to a cancelled exchange is 501; any other failure will do.
            (235 | 334, Some(_)) => return Err(FaultKind::Challenge),
            (400.., Some(cancel)) => self.leave(Reason::AuthCancelled(cancel)),
            (400.., None) => self.leave(Reason::AuthRefused(code)),
            (334, None) => {
                login.challenges += 1;
                let response = match (&mut login.exchange, challenge(reply)) {
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
        self.opened = true;
        self.due.ready = true;
    }

    /// Ends the session by QUIT, as soon as everything that is awaited has come. A text that has begun must be finished,
    /// or [`abandon`](Self::abandon)ed.
    pub fn quit(&mut self) {
        self.quitting = true;
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
