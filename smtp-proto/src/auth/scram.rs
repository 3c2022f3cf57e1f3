//! SCRAM-SHA-256 (RFC 5802 with the hash of RFC 7677): the record of a user, the keys, and the parts of the messages.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{InvalidCredentials, MAX_PASSWORD, base64, prepare};

/// RFC 7677 4: at least so many iterations. A client does not go below, or a false server could make guessing cheap.
pub(super) const MIN_ITERATIONS: u32 = 4096;
/// A client does not go above, or a false server could keep it busy.
pub(super) const MAX_ITERATIONS: u32 = 1_000_000;
/// Octets of a salt.
pub(super) const MAX_SALT: usize = 1024;
/// Octets of a nonce, both parts: ours has 24.
pub(super) const MAX_NONCE: usize = 512;

pub(super) type Key = [u8; 32];

/// What a server keeps of a user's password (RFC 5802 3): enough to verify it, too little to log in elsewhere.
///
/// Reads and writes as `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey` (base64), as in databases and password files.
///
/// ```
/// use smtp_proto::auth::ScramRecord;
///
/// let record = ScramRecord::derive("pencil", b"16 random octets", 4096)?;
/// assert!(record.verify("pencil") && !record.verify("pen"));
/// assert_eq!(record.to_string().parse(), Ok(record));
/// # Ok::<(), smtp_proto::auth::InvalidRecord>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ScramRecord {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
    pub(super) stored_key: Zeroizing<Key>,
    pub(super) server_key: Zeroizing<Key>,
}

/// What is no record of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// The password cannot be used, for this reason.
    #[error(transparent)]
    Password(#[from] InvalidCredentials),
    /// The salt is empty or longer than 1,024 octets.
    #[error("a salt has 1 to 1024 octets")]
    Salt,
    /// RFC 7677 4 asks for 4,096 iterations or more; over 1,000,000 clients may give up.
    #[error("the iterations are not 4096 to 1000000")]
    Iterations,
    /// The text does not have the form of a record.
    #[error("not of the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")]
    Form,
}

impl ScramRecord {
    /// The record of `password`, with a random salt of 16 octets or so, fresh for each record. This is slow on
    /// purpose: some milliseconds for each 10,000 iterations.
    ///
    /// # Errors
    /// [`InvalidRecord`] for a password, salt or number of iterations that cannot be used.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Result<Self, InvalidRecord> {
        let password = prepare(password, MAX_PASSWORD)?;
        check(salt, iterations)?;
        let (client_key, server_key) = keys(password.as_bytes(), salt, iterations);
        Ok(Self { salt: salt.to_vec(), iterations, stored_key: hash(&*client_key), server_key })
    }

    /// The record to answer with for a user that does not exist: no password fits it, and nobody can tell it from a
    /// true one, as it is the same each time. `secret` is random, kept for as long as true records are, and tells what
    /// users exist; `iterations` are those of true records (RFC 5802 9).
    ///
    /// # Errors
    /// [`InvalidRecord::Iterations`] as for [`ScramRecord::derive`].
    pub fn decoy(user: &str, secret: &[u8], iterations: u32) -> Result<Self, InvalidRecord> {
        let part = |name: &[u8]| hmac(secret, &[name, user.as_bytes()]);
        let salt: Vec<u8> = part(b"salt").iter().take(16).copied().collect();
        check(&salt, iterations)?;
        Ok(Self { salt, iterations, stored_key: part(b"stored"), server_key: part(b"server") })
    }

    /// Whether this is the record of `password`: for PLAIN and LOGIN. As slow as [`ScramRecord::derive`], whatever the
    /// answer, also for a [`ScramRecord::decoy`].
    #[must_use]
    pub fn verify(&self, password: &str) -> bool {
        let possible = prepare(password, MAX_PASSWORD).is_ok();
        let (client_key, _) = keys(password.as_bytes(), &self.salt, self.iterations);
        self.is_key(&client_key) && possible
    }

    /// How often the password was hashed; what a [`ScramRecord::decoy`] must have, too.
    #[must_use]
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Whether `client_key` is the key whose hash is stored.
    pub(super) fn is_key(&self, client_key: &Key) -> bool {
        hash(client_key).ct_eq(&*self.stored_key).into()
    }
}

impl fmt::Debug for ScramRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramRecord").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl fmt::Display for ScramRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &*self.stored_key, &*self.server_key].map(|octets| Zeroizing::new(base64::encode(octets)));
        write!(f, "SCRAM-SHA-256${}:{}${}:{}", self.iterations, *salt, *stored, *server)
    }
}

impl FromStr for ScramRecord {
    type Err = InvalidRecord;

    fn from_str(text: &str) -> Result<Self, InvalidRecord> {
        let parts = || {
            let (cost, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
            let ((iterations, salt), (stored, server)) = (cost.split_once(':')?, keys.split_once(':')?);
            let key = |text: &str| Key::try_from(base64::decode(text.as_bytes())?.expose()).ok().map(Zeroizing::new);
            Some((number(iterations)?, base64::decode(salt.as_bytes())?, key(stored)?, key(server)?))
        };
        let (iterations, salt, stored_key, server_key) = parts().ok_or(InvalidRecord::Form)?;
        check(salt.expose(), iterations)?;
        Ok(Self { salt: salt.expose().to_vec(), iterations, stored_key, server_key })
    }
}

fn check(salt: &[u8], iterations: u32) -> Result<(), InvalidRecord> {
    if salt.is_empty() || salt.len() > MAX_SALT {
        return Err(InvalidRecord::Salt);
    }
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
        return Err(InvalidRecord::Iterations);
    }
    Ok(())
}

// ---- keys (RFC 5802 3)

/// The keys of the client and of the server.
pub(super) fn keys(password: &[u8], salt: &[u8], iterations: u32) -> (Zeroizing<Key>, Zeroizing<Key>) {
    let salted = salted_password(password, salt, iterations);
    (hmac(&*salted, &[b"Client Key"]), hmac(&*salted, &[b"Server Key"]))
}

/// RFC 5802 2.2, `Hi`: PBKDF2 (RFC 8018 5.2) for one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<Key> {
    let keyed = keyed(password);
    let mut block = finish(keyed.clone(), &[salt, &1_u32.to_be_bytes()]);
    let mut sum = block.clone();
    for _ in 1..iterations {
        block = finish(keyed.clone(), &[&*block]);
        sum = xor(&sum, &block);
    }
    sum
}

/// Whether `proof` is the client's for this message: `Some` with the client's key that it amounts to.
pub(super) fn unmask(proof: &[u8], stored_key: &Key, auth_message: &[&[u8]]) -> Option<Zeroizing<Key>> {
    let proof = Key::try_from(proof).ok()?;
    Some(xor(&proof, &hmac(stored_key, auth_message)))
}

/// The client's proof that it has the password.
pub(super) fn proof(client_key: &Key, auth_message: &[&[u8]]) -> Zeroizing<Key> {
    xor(client_key, &hmac(&*hash(client_key), auth_message))
}

pub(super) fn hmac(key: &[u8], message: &[&[u8]]) -> Zeroizing<Key> {
    finish(keyed(key), message)
}

/// RFC 2104 2: a key longer than a block is hashed, a shorter one filled up with zeros.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    let hashed;
    let key = if key.len() > block.len() {
        hashed = hash(key);
        &hashed[..]
    } else {
        key
    };
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&(*block).into())
}

fn finish(mut mac: Hmac<Sha256>, message: &[&[u8]]) -> Zeroizing<Key> {
    message.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn hash(octets: &[u8]) -> Zeroizing<Key> {
    Zeroizing::new(Sha256::digest(octets).into())
}

fn xor(a: &Key, b: &Key) -> Zeroizing<Key> {
    let mut out = Zeroizing::new(*a);
    out.iter_mut().zip(b).for_each(|(to, from)| *to ^= from);
    out
}

// ---- messages (RFC 5802 7)

/// How a client stands to channel binding (RFC 5802 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// `n`: it cannot.
    No,
    /// `y`: it could, and saw that the server did not offer it.
    Unoffered,
    /// `p=tls-exporter` (RFC 9266).
    Exporter,
    /// `p=` and another type.
    Other,
}

/// The client's first message.
#[derive(Debug)]
pub(super) struct ClientFirst<'m> {
    pub(super) flag: Flag,
    pub(super) authzid: Option<String>,
    /// `gs2-header`, to the comma before [`ClientFirst::bare`].
    pub(super) header: &'m str,
    pub(super) bare: &'m str,
    pub(super) user: String,
    pub(super) nonce: &'m str,
}

impl<'m> ClientFirst<'m> {
    pub(super) fn parse(message: &'m str) -> Option<Self> {
        let (flag, rest) = message.split_once(',')?;
        let flag = match flag {
            "n" => Flag::No,
            "y" => Flag::Unoffered,
            "p=tls-exporter" => Flag::Exporter,
            _ if is_name_of_binding(flag.strip_prefix("p=")?) => Flag::Other,
            _ => return None,
        };
        let (authzid, bare) = rest.split_once(',')?;
        let authzid = match authzid {
            "" => None,
            _ => Some(unescape(authzid.strip_prefix("a=")?)?),
        };
        // RFC 5802 5.1: `m=`, extensions that must be understood, would stand before `n=`. None is known.
        let (user, rest) = bare.strip_prefix("n=")?.split_once(',')?;
        let nonce = nonce(after_extensions(rest, "r=")?)?;
        let header = message.get(..message.len() - bare.len())?;
        Some(Self { flag, authzid, header, bare, user: unescape(user)?, nonce })
    }
}

/// The client's last message.
#[derive(Debug)]
pub(super) struct ClientFinal<'m> {
    /// The channel binding, in base64.
    pub(super) binding: &'m str,
    pub(super) nonce: &'m str,
    pub(super) without_proof: &'m str,
    /// In base64.
    pub(super) proof: &'m str,
}

impl<'m> ClientFinal<'m> {
    pub(super) fn parse(message: &'m str) -> Option<Self> {
        // The proof stands last, and its base64 holds no comma.
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let (binding, rest) = without_proof.strip_prefix("c=")?.split_once(',')?;
        Some(Self { binding, nonce: nonce(after_extensions(rest, "r=")?)?, without_proof, proof })
    }
}

/// The server's first message.
#[derive(Debug)]
pub(super) struct ServerFirst<'m> {
    pub(super) nonce: &'m str,
    /// In base64.
    pub(super) salt: &'m str,
    pub(super) iterations: u32,
}

impl<'m> ServerFirst<'m> {
    pub(super) fn parse(message: &'m str) -> Option<Self> {
        let (r, rest) = message.strip_prefix("r=")?.split_once(',')?;
        let (salt, rest) = rest.strip_prefix("s=")?.split_once(',')?;
        Some(Self { nonce: nonce(r)?, salt, iterations: number(after_extensions(rest, "i=")?)? })
    }
}

/// The value of the attribute that `rest` begins with; what stands behind must be optional extensions, which are
/// ignored (RFC 5802 7: `attr-val`, a letter, `=` and a value).
fn after_extensions<'m>(rest: &'m str, attribute: &str) -> Option<&'m str> {
    let mut parts = rest.strip_prefix(attribute)?.split(',');
    let value = parts.next()?;
    parts
        .all(|part| {
            matches!(part.as_bytes(), [letter, b'=', _, ..] if letter.is_ascii_alphabetic()) && !part.contains('\0')
        })
        .then_some(value)
}

/// RFC 5802 7: printable, and no comma.
fn nonce(text: &str) -> Option<&str> {
    let fits = (1..=MAX_NONCE).contains(&text.len());
    (fits && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',')).then_some(text)
}

/// RFC 5802 7 `cb-name`.
fn is_name_of_binding(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'))
}

/// RFC 5802 7 `posit-number`: no sign, no leading zero.
fn number(text: &str) -> Option<u32> {
    let digits = !text.starts_with('0') && text.bytes().all(|octet| octet.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// RFC 5802 5.1: `,` is written `=2C`, and `=` is written `=3D`.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

pub(super) fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut out = parts.next()?.to_string();
    for part in parts {
        // RFC 5802 5.1: `=` and anything else fails.
        let (char, rest) = match part.split_at_checked(2)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return None,
        };
        out.push(char);
        out.push_str(rest);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{ScramRecord, unescape};
    use crate::auth::{Mechanism, Nonce, base64, client, server};

    /// RFC 7677 3.
    #[test]
    fn the_example_of_rfc_7677_section_3() {
        let user = "rOprNGfwEbeRWgbNEkqO";
        let scram = Mechanism::ScramSha256;
        let credentials = client::Credentials::password("user", "pencil").expect("credentials");
        let mut client = client::Exchange::new(scram, &credentials, scram.into(), None, Nonce::of_example(user));
        let mut server = server::Exchange::new(scram, scram.into(), None);

        let first = client.initial_response().expect("the client speaks first");
        assert_eq!(first.expose_str(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let asked = server::Question::Scram { authzid: None, authcid: "user".into() };
        assert_eq!(server.start(Some(first.expose())), server::Turn::Ask(asked));

        let salt = base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let record = ScramRecord::derive("pencil", salt.expose(), 4096).expect("a record");
        let nonce = Nonce::of_example("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(server.answer(server::Answer::Scram { record, nonce }), server::Turn::Challenge(challenge.into()));

        let response = client.respond(challenge.as_bytes()).expect("a response");
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(response.expose_str(), expected);

        let challenge = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(server.respond(response.expose()), server::Turn::Challenge(challenge.into()));
        assert_eq!(client.succeeded(), Err(client::Cancel::Early));
        let response = client.respond(challenge.as_bytes()).expect("the server has the password as well");
        assert_eq!(response.expose(), b"");
        let server::Turn::Success(identity) = server.respond(b"") else { panic!("no success") };
        assert_eq!(identity.name(), "user");
        assert_eq!(client.succeeded(), Ok(()));
    }

    #[test]
    fn names_with_comma_and_equals() {
        assert_eq!(unescape("a=2Cb=3D").as_deref(), Some("a,b="));
        for bad in ["=", "=2", "=2c", "=3d", "a=", "=2C=", "==3D"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }
}
