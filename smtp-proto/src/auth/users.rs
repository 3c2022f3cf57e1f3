//! Users in a map, and what is answered to AUTH about them.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::scram::hmac;
use super::server::{Answer, Question};
use super::{InvalidRecord, Nonce, ScramRecord, Secret};

/// Users and the records of their passwords; answers the [`Question`]s of PLAIN, LOGIN and SCRAM.
///
/// A name that is not there is answered as a wrong password is, and takes as long: there is always a record to compare
/// with, if need be a [`ScramRecord::decoy`]. Users may act as themselves only (RFC 4422 2).
///
/// ```
/// use smtp_proto::auth::server::{Answer, Question};
/// use smtp_proto::auth::{Nonce, ScramRecord, Users};
///
/// let mut users = Users::new(b"16 random octets"); // from your generator
/// users.insert("ann", ScramRecord::derive("pencil", b"salt of ann", 4096)?);
///
/// let password = |name: &str, password: &str| Question::Password {
///     authzid: None,
///     authcid: name.into(),
///     password: password.into(),
/// };
/// let random = || Nonce::new(&[0; 18]); // as random, for SCRAM
/// assert!(matches!(users.answer(&password("ann", "pencil"), random), Answer::Accept));
/// assert!(matches!(users.answer(&password("ann", "pen"), random), Answer::Reject));
/// assert!(matches!(users.answer(&password("bob", "pencil"), random), Answer::Reject));
/// # Ok::<(), smtp_proto::auth::InvalidRecord>(())
/// ```
pub struct Users {
    /// By a keyed hash of the name: how long a look-up takes says nothing about the names that are there.
    records: BTreeMap<[u8; 32], ScramRecord>,
    secret: Secret,
    /// Of decoys.
    iterations: u32,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users(<{}>)", self.records.len())
    }
}

impl Users {
    /// RFC 7677 4: the least that a record should have.
    const ITERATIONS: u32 = 4096;
    /// Of records that are made here.
    const ITERATIONS_MADE: u32 = 10_000;

    /// Nobody yet. `secret` is what decoys are made of: random, and best kept for as long as the records are, so that a
    /// name that is not there looks the same after a restart.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self { records: BTreeMap::new(), secret: Secret::from_bytes(secret), iterations: Self::ITERATIONS }
    }

    /// Users by name, with their passwords, of which only records are kept. Each takes some milliseconds; where that is too
    /// long, make the records once and use [`Users::from_records`]. `random` fills a slice with random octets.
    ///
    /// # Errors
    /// [`UnusablePassword`], or what `random` gives.
    pub fn from_passwords<'u, E: From<UnusablePassword>>(
        users: impl IntoIterator<Item = (&'u str, &'u str)>,
        mut random: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let records = users.into_iter().map(|(user, password)| {
            let mut salt = [0; 16];
            random(&mut salt)?;
            let record = ScramRecord::derive(password, &salt, Self::ITERATIONS_MADE);
            Ok((user, record.map_err(|why| UnusablePassword { user: user.into(), why })?))
        });
        let records = records.collect::<Result<Vec<_>, E>>()?;
        Self::from_records(records, random)
    }

    /// Users by name, with records that were made before. `random` fills a slice with random octets.
    ///
    /// # Errors
    /// What `random` gives.
    pub fn from_records<'u, E>(
        users: impl IntoIterator<Item = (&'u str, ScramRecord)>,
        mut random: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = [0; 32];
        random(&mut secret)?;
        let mut all = Self::new(&secret);
        for (name, record) in users {
            all.insert(name, record);
        }
        Ok(all)
    }

    /// Adds a user, or replaces the record; gives the one that was there. All records should have the same number of
    /// iterations, because that number shows in how long an answer takes.
    pub fn insert(&mut self, name: &str, record: ScramRecord) -> Option<ScramRecord> {
        self.iterations = record.iterations();
        self.records.insert(self.key(name), record)
    }

    /// Removes a user, and returns its record; `None` if there is no such user.
    pub fn remove(&mut self, name: &str) -> Option<ScramRecord> {
        self.records.remove(&self.key(name))
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The answer to a question. To compare a password takes milliseconds on purpose: ask where that holds nobody up.
    /// `nonce` is asked for in SCRAM only.
    #[must_use]
    pub fn answer(&self, question: &Question, nonce: impl FnOnce() -> Nonce) -> Answer {
        match question {
            Question::Password { authzid, authcid, password } => {
                let right = self.record(authzid.as_deref(), authcid).map(|record| record.verify(password.expose_str()));
                if right == Ok(true) { Answer::Accept } else { Answer::Reject }
            }
            Question::Scram { authzid, authcid } => match self.record(authzid.as_deref(), authcid) {
                Ok(record) => Answer::Scram { record, nonce: nonce() },
                Err(_) => Answer::TemporaryFailure,
            },
            _ => Answer::Reject,
        }
    }

    /// The record of a user; or one that no password fits, for a name that is not there, and for a user that wants to act
    /// as another.
    fn record(&self, authzid: Option<&str>, name: &str) -> Result<ScramRecord, InvalidRecord> {
        let decoy = ScramRecord::decoy(name, self.secret.expose(), self.iterations);
        let known = self.records.get(&self.key(name)).filter(|_| authzid.is_none_or(|other| other == name));
        known.cloned().map_or(decoy, Ok)
    }

    fn key(&self, name: &str) -> [u8; 32] {
        let hash = hmac(self.secret.expose(), &[b"name", name.as_bytes()]);
        let mut key = [0; 32];
        key.copy_from_slice(&*hash);
        key
    }
}

/// A password that cannot be one, such as an empty one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password of {user:?} cannot be one: {why}")]
pub struct UnusablePassword {
    /// The name of the user.
    pub user: String,
    /// What is wrong with it.
    pub why: InvalidRecord,
}

#[cfg(feature = "std")]
impl From<UnusablePassword> for std::io::Error {
    fn from(error: UnusablePassword) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    fn users() -> Users {
        let mut users = Users::new(b"a secret");
        for name in ["ann", "ben"] {
            users.insert(name, ScramRecord::derive("pencil", name.as_bytes(), 5000).expect("a record"));
        }
        users
    }

    fn accepts(users: &Users, authzid: Option<&str>, name: &str, password: &str) -> bool {
        let question =
            Question::Password { authzid: authzid.map(Into::into), authcid: name.into(), password: password.into() };
        matches!(users.answer(&question, || unreachable!()), Answer::Accept)
    }

    fn record(users: &Users, authzid: Option<&str>, name: &str) -> ScramRecord {
        let question = Question::Scram { authzid: authzid.map(Into::into), authcid: name.into() };
        match users.answer(&question, || Nonce::new(&[7; 18])) {
            Answer::Scram { record, .. } => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_right_password_of_a_user_is_taken() {
        let mut users = users();
        assert!(accepts(&users, None, "ann", "pencil") && accepts(&users, Some("ann"), "ann", "pencil"));
        for (authzid, name, password) in [
            (None, "ann", "pen"),
            (None, "ann", ""),
            (None, "Ann", "pencil"),
            (None, "cyd", "pencil"),
            (Some("ben"), "ann", "pencil"),
        ] {
            assert!(!accepts(&users, authzid, name, password), "{name} as {authzid:?}");
        }
        assert_eq!((users.len(), users.is_empty()), (2, false));
        assert!(users.remove("ann").is_some() && users.remove("ann").is_none());
        assert!(!accepts(&users, None, "ann", "pencil"));
    }

    /// RFC 5802 9: a name that is not there has a record, too: always the same, with the iterations of true ones, and
    /// not that of another name. Likewise for a user that wants to act as another.
    #[test]
    fn who_is_not_there_looks_as_if_it_were() {
        let users = users();
        assert_eq!(record(&users, None, "ann").iterations(), record(&users, None, "cyd").iterations());
        assert_eq!(record(&users, None, "cyd"), record(&users, None, "cyd"));
        assert_ne!(record(&users, None, "cyd"), record(&users, None, "dan"));
        assert_ne!(record(&users, Some("ben"), "ann"), record(&users, None, "ann"));
        assert!(!record(&users, None, "cyd").verify("pencil"));
    }

    /// Each record has a salt of its own, and whose password cannot be one is told.
    #[test]
    fn users_are_made_of_passwords() {
        let mut count = 0;
        let mut random = |octets: &mut [u8]| {
            count += 1;
            octets.fill(count);
            Ok::<(), UnusablePassword>(())
        };
        let users = Users::from_passwords([("ann", "pencil"), ("ben", "pencil")], &mut random).expect("users");
        assert!(accepts(&users, None, "ann", "pencil") && !accepts(&users, None, "ann", "pen"));
        assert_ne!(record(&users, None, "ann").salt, record(&users, None, "ben").salt);
        assert_eq!(record(&users, None, "cyd").iterations(), record(&users, None, "ann").iterations());
        let error = Users::from_passwords([("ann", "pencil"), ("ben", "")], &mut random).expect_err("an empty one");
        assert_eq!(error.user, "ben");
        let failed = Users::from_records([], |_| Err("no random numbers"));
        assert_eq!(failed.err(), Some("no random numbers"));
    }

    /// RFC 5802 9: without random numbers there is no salt, and nothing that a decoy could be made of: no users, rather than users
    /// that can be guessed. Whether it is the first salt that cannot be had, the second, or the secret.
    #[cfg(feature = "std")]
    #[test]
    fn without_random_numbers_there_are_no_users() {
        for failing in 1..=4 {
            let mut call = 0;
            let random = |octets: &mut [u8]| {
                call += 1;
                octets.fill(call);
                let failed = std::io::Error::from(std::io::ErrorKind::WouldBlock);
                if call == failing { Err(failed) } else { Ok(()) }
            };
            let made = Users::from_passwords([("ann", "pencil"), ("ben", "pencil")], random);
            let told = made.map(|users| users.len()).map_err(|error| error.kind());
            assert_eq!(told, if failing > 3 { Ok(2) } else { Err(std::io::ErrorKind::WouldBlock) }, "call {failing}");
        }
        // RFC 4616 2: a password is not empty. As an error of the system's it still says whose it is.
        let failed = Users::from_passwords([("ben", "")], |_| Ok::<(), std::io::Error>(())).expect_err("an empty one");
        assert_eq!(failed.kind(), std::io::ErrorKind::InvalidInput);
        assert!(failed.to_string().starts_with("the password of \"ben\" cannot be one: "), "{failed}");
    }

    #[test]
    fn users_are_counted_in_debug_and_not_named() {
        assert_eq!(alloc::format!("{:?}", users()), "Users(<2>)");
    }

    #[test]
    fn other_questions_are_not_answered_with_yes() {
        let external = Question::External { authzid: Some("ann".into()) };
        assert!(matches!(users().answer(&external, || unreachable!()), Answer::Reject));
    }
}
