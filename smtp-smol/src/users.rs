//! Users who may submit mail, in memory.

use std::io;
use std::sync::Arc;

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{Nonce, ScramRecord};

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
        Ok(Self(Arc::new(smtp_proto::auth::Users::from_passwords(users, random)?)))
    }

    /// Users by name, with records that were made before.
    ///
    /// # Errors
    /// Those of the random number generator.
    pub fn from_records<'u>(users: impl IntoIterator<Item = (&'u str, ScramRecord)>) -> io::Result<Self> {
        Ok(Self(Arc::new(smtp_proto::auth::Users::from_records(users, random)?)))
    }

    /// The answer to the question of a mechanism: PLAIN, LOGIN and SCRAM are for users; all others are answered no.
    pub async fn answer(&self, question: Question) -> Answer {
        let users = self.0.clone();
        let mut nonce = [0; 18];
        smol::unblock(move || match random(&mut nonce) {
            Ok(()) => users.answer(&question, || Nonce::new(&nonce)),
            Err(_) => Answer::TemporaryFailure,
        })
        .await
    }
}

fn random(octets: &mut [u8]) -> io::Result<()> {
    getrandom::fill(octets).map_err(|error| io::Error::other(format!("no random numbers: {error}")))
}
