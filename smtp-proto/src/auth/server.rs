//! The server's side of an exchange.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;

use super::message::{Bearer, Plain, name, optional_name, password};
use super::scram::{ClientFinal, ClientFirst, Flag, Key, ScramRecord, hmac, unmask};
use super::{MAX_MESSAGE, Mechanism, MechanismSet, Nonce, Secret, base64};
use crate::TlsInfo;

/// One attempt of a client to authenticate. A fresh one for each AUTH.
///
/// [`start`](Self::start) with the initial response, then as each [`Turn`] says: send its challenge and give the
/// client's response to [`respond`](Self::respond), or put its question to the application and give what it says to
/// [`answer`](Self::answer), until success or failure. Whatever comes out of turn is a failure.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    /// RFC 5802 6: whether the client could have had channel binding.
    plus_offered: bool,
    binding: Option<Secret>,
    state: State,
}

/// What a server does next in an exchange.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the client waits for it"]
pub enum Turn {
    /// Send this (334), then give the client's response to [`Exchange::respond`].
    Challenge(Vec<u8>),
    /// The application decides; give its answer to [`Exchange::answer`].
    Ask(Question),
    /// 235: the client is who it says.
    Success(Identity),
    /// It is not, or it broke the rules of the mechanism.
    Failure(Failure),
}

/// What a mechanism asks the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// PLAIN, LOGIN: is this the password of `authcid`? Answer with [`Answer::Accept`] or [`Answer::Reject`], after as
    /// long a time for a user that does not exist: [`ScramRecord::decoy`] and [`ScramRecord::verify`] see to that.
    Password {
        /// As whom the client wants to act, if not as itself (RFC 4422 2): accept only if it may.
        authzid: Option<String>,
        /// The user whose credentials these are (the authentication identity, RFC 4422 2).
        authcid: String,
        /// The password that the client sent.
        password: Secret,
    },
    /// SCRAM: the record of this user. Answer with [`Answer::Scram`], also for a user that does not exist, or that may
    /// not act as `authzid`: then with a [`ScramRecord::decoy`]. Any other answer tells the client that there is none.
    Scram {
        /// As whom the client wants to act, if not as itself.
        authzid: Option<String>,
        /// The user whose credentials these are (the authentication identity, RFC 4422 2).
        authcid: String,
    },
    /// OAUTHBEARER, XOAUTH2: is this token good for `authzid`? When the client named nobody, answer with
    /// [`Answer::AcceptAs`] whose token it is.
    Token {
        /// As whom the client wants to act; always there in XOAUTH2.
        authzid: Option<String>,
        /// The token (RFC 6750).
        token: Secret,
        /// The host the client meant to reach (RFC 7628 3.1). Its own claim.
        host: Option<String>,
        /// The port the client meant to reach.
        port: Option<u16>,
    },
    /// EXTERNAL: may the client, by what the channel has shown of it, act as `authzid`? When it named nobody, answer
    /// with [`Answer::AcceptAs`] who it is.
    External {
        /// As whom the client wants to act.
        authzid: Option<String>,
    },
}

/// The application's answer to a [`Question`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Yes: the client is whom it named.
    Accept,
    /// Yes, and this is who it is.
    AcceptAs(String),
    /// The client is refused: wrong credentials, or it may not act as it asked to.
    Reject,
    /// It cannot be said now: 454 4.7.0.
    TemporaryFailure,
    /// To [`Question::Scram`]: the record of the user, or a decoy.
    Scram {
        /// What is stored of the user's password, or a [`ScramRecord::decoy`].
        record: ScramRecord,
        /// The server's nonce: random, and never used before (RFC 5802 5.1).
        nonce: Nonce,
    },
}

/// Who the client has proved to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// Whose credentials they were; nobody's, for the mechanisms that have no such name.
    pub authcid: Option<String>,
    /// As whom the client asked to act.
    pub authzid: Option<String>,
    /// Who it is in the application's words ([`Answer::AcceptAs`]).
    pub answered: Option<String>,
}

impl Identity {
    /// As whom the client acts: what the application said, else what the client asked for, else who it is.
    #[must_use]
    pub fn name(&self) -> &str {
        self.answered.as_deref().or(self.authzid.as_deref()).or(self.authcid.as_deref()).unwrap_or_default()
    }
}

/// Why an exchange failed. All but [`Failure::Temporary`] may be answered alike; what the client is told differs only
/// by what it knows already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The application said no, or the proof is wrong: 535 5.7.8 (RFC 4954 6).
    #[error("authentication credentials invalid")]
    Rejected,
    /// The application cannot say: 454 4.7.0 (RFC 4954 6).
    #[error("temporary authentication failure")]
    Temporary,
    /// No message of this mechanism: 501 5.5.2 (RFC 4954 4).
    #[error("malformed authentication message")]
    Malformed,
    /// The client is bound to another channel than this one, or thinks that binding was not offered when it was:
    /// somebody stands in between (RFC 5802 6). 535 5.7.8.
    #[error("the channel binding does not match")]
    ChannelBinding,
    /// The application's answer does not fit the question. 454 4.7.0.
    #[error("an answer that does not fit the question")]
    Misused,
}

#[derive(Debug)]
enum State {
    /// Before [`Exchange::start`].
    New,
    /// The challenge was empty: the first message comes now.
    First,
    /// LOGIN: the password comes.
    LoginPassword {
        authcid: String,
    },
    /// The application is asked.
    Asked(Asked),
    /// SCRAM: the client's final message comes.
    ScramFinal(Scram),
    /// SCRAM: the client has got the server's signature; its empty response comes (RFC 4954 4).
    ScramDone(Identity),
    /// RFC 7628 3.2.3: the client has got the error; its dummy response comes.
    TokenError,
    Over,
}

#[derive(Debug)]
enum Asked {
    Identity(Identity),
    Token(Identity),
    Scram { identity: Identity, header: String, bare: String, nonce: String },
}

#[derive(Debug)]
struct Scram {
    identity: Identity,
    record: ScramRecord,
    /// `gs2-header`.
    header: String,
    bare: String,
    first: String,
    /// Both parts.
    nonce: String,
}

impl Exchange {
    /// An exchange by `mechanism`, one of those that were `offered` on this channel.
    #[must_use]
    pub fn new(mechanism: Mechanism, offered: MechanismSet, tls: Option<&TlsInfo>) -> Self {
        let binding = tls.and_then(|tls| tls.channel_binding.as_deref()).map(Secret::from_bytes);
        let plus_offered = offered.contains(Mechanism::ScramSha256Plus) && binding.is_some();
        Self { mechanism, plus_offered, binding, state: State::New }
    }

    /// The mechanism of this exchange.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Begins, with the initial response if the command had one (`=` is an empty one, RFC 4954 4).
    pub fn start(&mut self, initial: Option<&[u8]>) -> Turn {
        match (mem::replace(&mut self.state, State::Over), initial) {
            (State::New, Some(message)) => self.first(message),
            (State::New, None) => {
                self.state = State::First;
                // LOGIN has the server speak first; the words are what clients look for.
                let login = self.mechanism == Mechanism::Login;
                Turn::Challenge(if login { b"Username:".to_vec() } else { Vec::new() })
            }
            _ => Turn::Failure(Failure::Malformed),
        }
    }

    /// Takes the client's response to the challenge.
    pub fn respond(&mut self, message: &[u8]) -> Turn {
        match mem::replace(&mut self.state, State::Over) {
            State::First => self.first(message),
            State::LoginPassword { authcid } => self.login(authcid, message),
            State::ScramFinal(scram) => self.scram_final(scram, message),
            // RFC 4954 4: the response to the server's last word is empty.
            State::ScramDone(identity) if message.is_empty() => Turn::Success(identity),
            // Whatever the dummy is (RFC 7628 3.2.3: ^A; XOAUTH2: nothing), the answer was no.
            State::TokenError => Turn::Failure(Failure::Rejected),
            _ => Turn::Failure(Failure::Malformed),
        }
    }

    /// Takes the application's answer to the question.
    pub fn answer(&mut self, answer: Answer) -> Turn {
        let State::Asked(asked) = mem::replace(&mut self.state, State::Over) else {
            return Turn::Failure(Failure::Misused);
        };
        match (asked, answer) {
            (_, Answer::TemporaryFailure) => Turn::Failure(Failure::Temporary),
            (Asked::Token(_), Answer::Reject) => {
                self.state = State::TokenError;
                // RFC 7628 3.2.2; XOAUTH2 likewise.
                Turn::Challenge(br#"{"status":"invalid_token"}"#.to_vec())
            }
            (_, Answer::Reject) => Turn::Failure(Failure::Rejected),
            (Asked::Identity(identity) | Asked::Token(identity), Answer::Accept) if !identity.name().is_empty() => {
                Turn::Success(identity)
            }
            (Asked::Identity(identity) | Asked::Token(identity), Answer::AcceptAs(name)) if !name.is_empty() => {
                Turn::Success(Identity { answered: Some(name), ..identity })
            }
            (Asked::Scram { identity, header, bare, nonce }, Answer::Scram { record, nonce: ours }) => {
                let nonce = nonce + ours.as_str();
                let first = alloc::format!("r={nonce},s={},i={}", base64::encode(&record.salt), record.iterations);
                let challenge = first.clone().into_bytes();
                self.state = State::ScramFinal(Scram { identity, record, header, bare, first, nonce });
                Turn::Challenge(challenge)
            }
            _ => Turn::Failure(Failure::Misused),
        }
    }

    // ---- by mechanism

    fn first(&mut self, message: &[u8]) -> Turn {
        if message.len() > MAX_MESSAGE {
            return Turn::Failure(Failure::Malformed);
        }
        match self.mechanism {
            Mechanism::Plain => self.plain(message),
            Mechanism::Login => match core::str::from_utf8(message).ok().and_then(name) {
                Some(authcid) => {
                    self.state = State::LoginPassword { authcid };
                    Turn::Challenge(b"Password:".to_vec())
                }
                None => Turn::Failure(Failure::Malformed),
            },
            Mechanism::XOAuth2 => self.bearer(Bearer::parse_xoauth2(message)),
            Mechanism::OAuthBearer => self.bearer(Bearer::parse_oauthbearer(message)),
            Mechanism::External => self.external(message),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => self.scram_first(message),
        }
    }

    fn plain(&mut self, message: &[u8]) -> Turn {
        let Some(Plain { authzid, authcid, password }) = Plain::parse(message) else {
            return Turn::Failure(Failure::Malformed);
        };
        self.ask_password(authzid, authcid, password)
    }

    fn login(&mut self, authcid: String, message: &[u8]) -> Turn {
        match core::str::from_utf8(message).ok().and_then(password) {
            Some(password) => self.ask_password(None, authcid, password),
            None => Turn::Failure(Failure::Malformed),
        }
    }

    fn ask_password(&mut self, authzid: Option<String>, authcid: String, password: Secret) -> Turn {
        let identity = Identity { authcid: Some(authcid.clone()), authzid: authzid.clone(), answered: None };
        self.state = State::Asked(Asked::Identity(identity));
        Turn::Ask(Question::Password { authzid, authcid, password })
    }

    fn bearer(&mut self, bearer: Option<Bearer>) -> Turn {
        let Some(Bearer { user, token, host, port }) = bearer else {
            return Turn::Failure(Failure::Malformed);
        };
        let identity = Identity { authcid: None, authzid: user.clone(), answered: None };
        self.state = State::Asked(Asked::Token(identity));
        Turn::Ask(Question::Token { authzid: user, token, host, port })
    }

    /// RFC 4422 appendix A.1: the authorization identity or nothing; UTF-8 without NUL.
    fn external(&mut self, message: &[u8]) -> Turn {
        let Some(authzid) = core::str::from_utf8(message).ok().and_then(optional_name) else {
            return Turn::Failure(Failure::Malformed);
        };
        let identity = Identity { authcid: None, authzid: authzid.clone(), answered: None };
        self.state = State::Asked(Asked::Identity(identity));
        Turn::Ask(Question::External { authzid })
    }

    /// RFC 5802 5: the client's first message.
    fn scram_first(&mut self, message: &[u8]) -> Turn {
        let parsed = core::str::from_utf8(message).ok().and_then(ClientFirst::parse);
        let Some(ClientFirst { flag, authzid, header, bare, user, nonce }) = parsed else {
            return Turn::Failure(Failure::Malformed);
        };
        let authzid = authzid.as_deref().map_or(Some(None), |authzid| name(authzid).map(Some));
        let (Some(authzid), Some(authcid)) = (authzid, name(&user)) else {
            return Turn::Failure(Failure::Malformed);
        };
        match (self.mechanism == Mechanism::ScramSha256Plus, flag) {
            (false, Flag::No) => {}
            // RFC 5802 6: it saw no PLUS, and yet it was offered: taken out on the way.
            (false, Flag::Unoffered) if self.plus_offered => return Turn::Failure(Failure::ChannelBinding),
            (false, Flag::Unoffered) => {}
            (true, Flag::Exporter) if self.binding.is_some() => {}
            // RFC 5802 6: a binding of a type that is not known here.
            (true, Flag::Exporter | Flag::Other) => return Turn::Failure(Failure::ChannelBinding),
            // RFC 5802 5.1: PLUS is `p`, and `p` is PLUS.
            (true, Flag::No | Flag::Unoffered) | (false, Flag::Exporter | Flag::Other) => {
                return Turn::Failure(Failure::Malformed);
            }
        }
        let identity = Identity { authcid: Some(authcid.clone()), authzid: authzid.clone(), answered: None };
        self.state = State::Asked(Asked::Scram {
            identity,
            header: header.to_string(),
            bare: bare.to_string(),
            nonce: nonce.to_string(),
        });
        Turn::Ask(Question::Scram { authzid, authcid })
    }

    /// RFC 5802 5: the client's final message.
    fn scram_final(&mut self, scram: Scram, message: &[u8]) -> Turn {
        let within = message.len() <= MAX_MESSAGE;
        let parsed = core::str::from_utf8(message).ok().filter(|_| within).and_then(ClientFinal::parse);
        let Some(ClientFinal { binding, nonce, without_proof, proof }) = parsed else {
            return Turn::Failure(Failure::Malformed);
        };
        let (Some(binding), Some(proof)) = (base64::decode(binding.as_bytes()), base64::decode(proof.as_bytes()))
        else {
            return Turn::Failure(Failure::Malformed);
        };
        // RFC 5802 5.1, `r`: both parts, as the server sent them.
        if nonce != scram.nonce {
            return Turn::Failure(Failure::Malformed);
        }
        // RFC 5802 5.1, `c`: the header as it was sent first, and the channel as it is seen here.
        let bound = if self.mechanism == Mechanism::ScramSha256Plus { self.binding.as_ref() } else { None };
        if binding != Secret::join(&[scram.header.as_bytes(), bound.map_or(&[], Secret::expose)]) {
            return Turn::Failure(Failure::ChannelBinding);
        }
        let auth_message: [&[u8]; 5] =
            [scram.bare.as_bytes(), b",", scram.first.as_bytes(), b",", without_proof.as_bytes()];
        let key = unmask(proof.expose(), &scram.record.stored_key, &auth_message);
        if !key.is_some_and(|key| scram.record.is_key(&key)) {
            return Turn::Failure(Failure::Rejected);
        }
        let signature: &Key = &hmac(&*scram.record.server_key, &auth_message);
        self.state = State::ScramDone(scram.identity);
        Turn::Challenge(alloc::format!("v={}", base64::encode(signature)).into_bytes())
    }
}
