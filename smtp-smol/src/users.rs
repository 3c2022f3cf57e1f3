//! Users who may submit mail, in memory.

use std::io;
use std::sync::Arc;

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{InvalidRecord, Nonce, ScramRecord};

/// Of records that are made here. RFC 7677 4 asks for 4,096 at least.
const ITERATIONS: u32 = 10_000;

/// Users and their passwords, for [`Handler::authenticate`](crate::Handler::authenticate). Clones share them.
///
/// Of each password only a SCRAM record is kept. A name that is not there is answered as a wrong password is, and takes
/// as long. Passwords are compared on a thread of their own, because that is slow on purpose.
///
/// ```
/// use smtp_proto::auth::server::{Answer, Question};
/// use smtp_smol::Users;
///
/// let users = Users::from_passwords([("ann", "pencil"), ("ben", "pen")])?;
/// let question = |password: &str| Question::Password { authzid: None, authcid: "ann".into(), password: password.into() };
/// smol::block_on(async {
///     assert!(matches!(users.answer(question("pencil")).await, Answer::Accept));
///     assert!(matches!(users.answer(question("pen")).await, Answer::Reject));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Users(Arc<smtp_proto::auth::Users>);

impl Users {
    /// Users by name, with their passwords. Each takes some milliseconds; where that is too long, make the records once
    /// and use [`Users::from_records`].
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`], with the name, for a password that cannot be one, such as an empty one; or those
    /// of the random number generator.
    pub fn from_passwords<'u>(users: impl IntoIterator<Item = (&'u str, &'u str)>) -> io::Result<Self> {
        let records = users.into_iter().map(|(name, password)| {
            let record = ScramRecord::derive(password, &random::<16>()?, ITERATIONS);
            record.map(|record| (name, record)).map_err(|error| invalid(name, &error))
        });
        Self::from_records(records.collect::<io::Result<Vec<_>>>()?)
    }

    /// Users by name, with records that were made before.
    ///
    /// # Errors
    /// Those of the random number generator.
    pub fn from_records<'u>(users: impl IntoIterator<Item = (&'u str, ScramRecord)>) -> io::Result<Self> {
        let mut all = smtp_proto::auth::Users::new(&random::<32>()?);
        for (name, record) in users {
            all.insert(name, record);
        }
        Ok(Self(Arc::new(all)))
    }

    /// The answer to the question of a mechanism: PLAIN, LOGIN and SCRAM are for users; all others are answered no.
    pub async fn answer(&self, question: Question) -> Answer {
        let users = self.0.clone();
        smol::unblock(move || match random() {
            Ok(random) => users.answer(&question, || Nonce::new(&random)),
            Err(_) => Answer::TemporaryFailure,
        })
        .await
    }
}

fn invalid(name: &str, error: &InvalidRecord) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("the password of {name:?} cannot be one: {error}"))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    Ok(octets)
}
