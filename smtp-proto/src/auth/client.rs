//! The client's side of an exchange.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::mem;

use zeroize::Zeroizing;

use super::message::{Bearer, Plain, token};
use super::scram::{self, Key, MAX_ITERATIONS, MAX_SALT, MIN_ITERATIONS, ServerFirst, hmac, proof};
use super::{
    InvalidCredentials, MAX_MESSAGE, MAX_NAME, MAX_PASSWORD, Mechanism, MechanismSet, Nonce, Secret, base64, prepare,
};
use crate::TlsInfo;

/// What a client has to show for itself.
///
/// ```
/// use smtp_proto::auth::{Mechanism, client::Credentials};
///
/// let password = Credentials::password("ann", "pencil")?;
/// // Never by a mechanism that sends the password itself.
/// let password = password.only(Mechanism::ScramSha256.into());
/// let token = Credentials::token("ann@example.org", "ya29.token")?; // OAUTHBEARER, XOAUTH2
/// assert!(!format!("{password:?} {token:?}").contains("pencil"));
/// # Ok::<(), smtp_proto::auth::InvalidCredentials>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    kind: Kind,
    authzid: Option<String>,
    /// Where it believes it is, for OAUTHBEARER.
    at: Option<(String, u16)>,
    /// The mechanisms that may be used; without any, all of them.
    only: MechanismSet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Password { authcid: String, password: Secret },
    Token { user: String, token: Secret },
    External,
}

impl Credentials {
    /// A name and a password, for SCRAM, PLAIN and LOGIN.
    ///
    /// # Errors
    /// [`InvalidCredentials`] when one is empty, too long, or holds a control.
    pub fn password(user: &str, password: &str) -> Result<Self, InvalidCredentials> {
        let authcid = prepare(user, MAX_NAME)?.to_string();
        let password = Secret::from(prepare(password, MAX_PASSWORD)?);
        Ok(Self { kind: Kind::Password { authcid, password }, authzid: None, at: None, only: MechanismSet::EMPTY })
    }

    /// A bearer token (RFC 6750), for OAUTHBEARER and XOAUTH2.
    ///
    /// # Errors
    /// [`InvalidCredentials`] when one is empty, too long, or holds a control; or the token a blank or non-ASCII.
    pub fn token(user: &str, token: &str) -> Result<Self, InvalidCredentials> {
        let user = prepare(user, MAX_NAME)?.to_string();
        let token = Secret::from(self::token(token)?);
        Ok(Self { kind: Kind::Token { user, token }, authzid: None, at: None, only: MechanismSet::EMPTY })
    }

    /// What the channel has shown already, such as a certificate, for EXTERNAL.
    #[must_use]
    pub const fn external() -> Self {
        Self { kind: Kind::External, authzid: None, at: None, only: MechanismSet::EMPTY }
    }

    /// To act as somebody else (RFC 4422 2), for EXTERNAL, SCRAM and PLAIN.
    ///
    /// # Errors
    /// [`InvalidCredentials`] as for any name.
    pub fn acting_as(mut self, authzid: &str) -> Result<Self, InvalidCredentials> {
        self.authzid = Some(prepare(authzid, MAX_NAME)?.to_string());
        Ok(self)
    }

    /// The server that is meant, for OAUTHBEARER (RFC 7628 3.1).
    ///
    /// # Errors
    /// [`InvalidCredentials`] as for any name.
    pub fn at(mut self, host: &str, port: u16) -> Result<Self, InvalidCredentials> {
        self.at = Some((prepare(host, MAX_NAME)?.to_string(), port));
        Ok(self)
    }

    /// To be used by these mechanisms alone, where the server offers them. The default, and an empty set, is all for which
    /// the credentials are good.
    #[must_use]
    pub const fn only(mut self, mechanisms: MechanismSet) -> Self {
        self.only = mechanisms;
        self
    }

    /// Whether `mechanism` can do with these.
    fn fit(&self, mechanism: Mechanism) -> bool {
        match (mechanism, &self.kind) {
            _ if !self.only.is_empty() && !self.only.contains(mechanism) => false,
            // LOGIN has no place for whom to act as.
            (Mechanism::Login, Kind::Password { .. }) => self.authzid.is_none(),
            (Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha256Plus, Kind::Password { .. })
            | (Mechanism::XOAuth2 | Mechanism::OAuthBearer, Kind::Token { .. })
            | (Mechanism::External, Kind::External) => true,
            _ => false,
        }
    }
}

/// Why no mechanism can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoMechanism {
    /// The server offers none that these credentials are good for.
    #[error("the server offers no mechanism for these credentials")]
    NoneOffered,
    /// It may not be done without TLS.
    #[error("credentials are not shown without TLS")]
    NeedsTls,
}

/// The strongest of the mechanisms that the server `offered` and that `credentials` are good for.
///
/// Without TLS there is none, SCRAM included, whose exchange lets who listens try passwords at home; unless
/// `allow_plaintext` says otherwise (RFC 4954 4, RFC 5802 9).
///
/// # Errors
/// [`NoMechanism`].
pub fn choose(
    offered: MechanismSet,
    credentials: &Credentials,
    tls: Option<&TlsInfo>,
    allow_plaintext: bool,
) -> Result<Mechanism, NoMechanism> {
    let bound = tls.is_some_and(|tls| tls.channel_binding.is_some());
    let usable = |mechanism: &Mechanism| credentials.fit(*mechanism) && (bound || !mechanism.binds_channel());
    let mechanism = offered.iter().find(usable).ok_or(NoMechanism::NoneOffered)?;
    if tls.is_some() || allow_plaintext { Ok(mechanism) } else { Err(NoMechanism::NeedsTls) }
}

/// One attempt to authenticate. A fresh one for each AUTH.
///
/// Send [`initial_response`](Self::initial_response) with the command, if there is one and the line has room for it.
/// Give each challenge (334) to [`respond`](Self::respond), and send what it returns. When 235 has come, ask
/// [`succeeded`](Self::succeeded): a server may be false.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
}

/// Why a client gives an exchange up: send `*` (RFC 4954 4), or end the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Cancel {
    /// No challenge of this mechanism, or one too many.
    #[error("the server's challenge is not one of this mechanism")]
    Malformed,
    /// It asks for fewer iterations than RFC 7677 4 does, or for so many that it would keep the client busy.
    #[error("the server asks for too few or too many iterations")]
    Iterations,
    /// It answers to another client's nonce.
    #[error("the server's nonce does not go on from the client's")]
    Nonce,
    /// It does not know the password either (RFC 5802 5.1).
    #[error("the server's signature is wrong")]
    Server,
    /// 235 came before the exchange was over: the server has not shown who it is, or has not heard who we are.
    #[error("the server says yes too early")]
    Early,
    /// The server has refused the token (RFC 7628 3.2.2).
    #[error("the server has refused the token")]
    Token,
}

#[derive(Debug)]
enum State {
    /// The first message waits to be sent, with the command or upon an empty challenge.
    First {
        message: Secret,
        then: Box<Self>,
    },
    /// LOGIN: upon a challenge, this; then that.
    Login {
        authcid: Secret,
        password: Secret,
    },
    LoginPassword {
        password: Secret,
    },
    /// SCRAM: the server's first message comes.
    ScramFirst(Scram),
    /// SCRAM: the server's final message comes.
    ScramFinal {
        signature: Zeroizing<Key>,
    },
    /// The client has said all. A token may yet be refused by a challenge, and that has this response.
    Sent {
        on_error: Option<&'static str>,
    },
    /// PLAIN has been sent with the command. Some servers ask for it all the same, by an empty challenge.
    SentPlain {
        message: Secret,
    },
    /// RFC 7628 3.2.3: it was, and what is left is the server's no.
    Refused,
    Failed(Cancel),
}

#[derive(Debug)]
struct Scram {
    password: Secret,
    /// `c`, channel binding and all, not yet in base64.
    binding: Secret,
    bare: String,
    nonce: Nonce,
}

impl Exchange {
    /// An exchange by `mechanism`, as [`choose`] has it. `offered` is what the server announced on this channel, so
    /// that the server can see whether somebody took `SCRAM-SHA-256-PLUS` out of it (RFC 5802 6).
    ///
    /// With credentials that are not for this mechanism the exchange is [`Cancel::Malformed`] from the start.
    #[must_use]
    pub fn new(
        mechanism: Mechanism,
        credentials: &Credentials,
        offered: MechanismSet,
        tls: Option<&TlsInfo>,
        nonce: Nonce,
    ) -> Self {
        let bound = tls.and_then(|tls| tls.channel_binding.as_deref());
        let authzid = credentials.authzid.as_deref();
        let first = |message, then| State::First { message, then: Box::new(then) };
        let state = match (mechanism, &credentials.kind) {
            _ if !credentials.fit(mechanism) => State::Failed(Cancel::Malformed),
            (Mechanism::Login, Kind::Password { authcid, password }) => {
                State::Login { authcid: authcid.as_str().into(), password: password.clone() }
            }
            (Mechanism::Plain, Kind::Password { authcid, password }) => {
                first(Plain::write(authzid, authcid, password), State::Sent { on_error: None })
            }
            (_, Kind::Password { authcid, password }) => {
                let flag = match (mechanism, bound) {
                    (Mechanism::ScramSha256Plus, _) => "p=tls-exporter",
                    (_, Some(_)) if !offered.contains(Mechanism::ScramSha256Plus) => "y",
                    _ => "n",
                };
                let authzid = authzid.map(|name| alloc::format!("a={}", scram::escape(name))).unwrap_or_default();
                let header = alloc::format!("{flag},{authzid},");
                let bare = alloc::format!("n={},r={}", scram::escape(authcid), nonce.as_str());
                let bound = if mechanism.binds_channel() { bound } else { None };
                let binding = Secret::join(&[header.as_bytes(), bound.unwrap_or_default()]);
                let message = Secret::join(&[header.as_bytes(), bare.as_bytes()]);
                first(message, State::ScramFirst(Scram { password: password.clone(), binding, bare, nonce }))
            }
            (Mechanism::XOAuth2, Kind::Token { user, token }) => {
                first(Bearer::write_xoauth2(user, token), State::Sent { on_error: Some("") })
            }
            (_, Kind::Token { user, token }) => {
                let at = credentials.at.as_ref().map(|(host, port)| (host.as_str(), *port));
                first(Bearer::write_oauthbearer(user, token, at), State::Sent { on_error: Some("\x01") })
            }
            (_, Kind::External) => first(authzid.unwrap_or_default().into(), State::Sent { on_error: None }),
        };
        Self { mechanism, state }
    }

    /// The mechanism of this exchange.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What to send with the command, if the mechanism has the client speak first. An empty one is sent as `=`
    /// (RFC 4954 4). Where it makes the line too long leave it: ask [`initial_len`](Self::initial_len) first.
    pub fn initial_response(&mut self) -> Option<Secret> {
        match mem::replace(&mut self.state, State::Failed(Cancel::Malformed)) {
            State::First { message, then } => {
                let plain = self.mechanism == Mechanism::Plain;
                self.state = if plain { State::SentPlain { message: message.clone() } } else { *then };
                Some(message)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// How many octets [`initial_response`](Self::initial_response) has, if there is one; in base64 a third more.
    #[must_use]
    pub fn initial_len(&self) -> Option<usize> {
        match &self.state {
            State::First { message, .. } => Some(message.expose().len()),
            _ => None,
        }
    }

    /// The response to a challenge (334). After an error every further challenge is one.
    ///
    /// # Errors
    /// [`Cancel`]: cancel the exchange by `*`.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Secret, Cancel> {
        let state = mem::replace(&mut self.state, State::Failed(Cancel::Malformed));
        let (state, response) = next(state, challenge).unwrap_or_else(|cancel| (State::Failed(cancel), Err(cancel)));
        self.state = state;
        response
    }

    /// Whether 235 may be believed, now that it has come.
    ///
    /// # Errors
    /// [`Cancel`]: it may not. End the session.
    pub fn succeeded(&self) -> Result<(), Cancel> {
        match &self.state {
            State::Sent { .. } | State::SentPlain { .. } => Ok(()),
            State::Failed(cancel) => Err(*cancel),
            State::Refused => Err(Cancel::Token),
            _ => Err(Cancel::Early),
        }
    }
}

type Next = (State, Result<Secret, Cancel>);

fn next(state: State, challenge: &[u8]) -> Result<Next, Cancel> {
    if challenge.len() > MAX_MESSAGE {
        return Err(Cancel::Malformed);
    }
    Ok(match state {
        // RFC 4954 4: a challenge without words is the request for it.
        State::First { message, then } if challenge.is_empty() => (*then, Ok(message)),
        State::SentPlain { message } if challenge.is_empty() => (State::Sent { on_error: None }, Ok(message)),
        // Whatever its words: servers differ, and name comes before password.
        State::Login { authcid, password } => (State::LoginPassword { password }, Ok(authcid)),
        State::LoginPassword { password } => (State::Sent { on_error: None }, Ok(password)),
        State::ScramFirst(scram) => {
            let (signature, message) = scram_final(&scram, challenge)?;
            (State::ScramFinal { signature }, Ok(message))
        }
        State::ScramFinal { signature } => {
            // RFC 5802 7: `v=`, then extensions; or `e=`, and then 535 would have done.
            let verifier = challenge.strip_prefix(b"v=").and_then(|rest| rest.split(|&octet| octet == b',').next());
            let verifier = verifier.and_then(base64::decode).ok_or(Cancel::Malformed)?;
            if verifier != Secret::from_bytes(&*signature) {
                return Err(Cancel::Server);
            }
            (State::Sent { on_error: None }, Ok(Secret::from("")))
        }
        State::Sent { on_error: Some(response) } => (State::Refused, Ok(response.into())),
        State::Failed(cancel) => return Err(cancel),
        State::First { .. } | State::SentPlain { .. } | State::Sent { on_error: None } | State::Refused => {
            return Err(Cancel::Malformed);
        }
    })
}

/// RFC 5802 3 and 5: the server's signature as it must come, and the client's final message.
fn scram_final(scram: &Scram, challenge: &[u8]) -> Result<(Zeroizing<Key>, Secret), Cancel> {
    let first = core::str::from_utf8(challenge).map_err(|_| Cancel::Malformed)?;
    let ServerFirst { nonce, salt, iterations } = ServerFirst::parse(first).ok_or(Cancel::Malformed)?;
    let salt = base64::decode(salt.as_bytes()).ok_or(Cancel::Malformed)?;
    if salt.expose().is_empty() || salt.expose().len() > MAX_SALT {
        return Err(Cancel::Malformed);
    }
    // RFC 5802 5.1, `r`: ours, and something of the server's.
    if nonce.strip_prefix(scram.nonce.as_str()).is_none_or(str::is_empty) {
        return Err(Cancel::Nonce);
    }
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
        return Err(Cancel::Iterations);
    }
    let without_proof = alloc::format!("c={},r={nonce}", base64::encode(scram.binding.expose()));
    let auth_message: [&[u8]; 5] = [scram.bare.as_bytes(), b",", challenge, b",", without_proof.as_bytes()];
    let (client_key, server_key) = scram::keys(scram.password.expose(), salt.expose(), iterations);
    let proof = Zeroizing::new(base64::encode(&*proof(&client_key, &auth_message)));
    let message = Secret::join(&[without_proof.as_bytes(), b",p=", proof.as_bytes()]);
    Ok((hmac(&*server_key, &auth_message), message))
}
