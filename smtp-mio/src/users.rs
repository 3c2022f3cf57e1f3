//! Users who may submit mail, in memory.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{Nonce, ScramRecord};

use crate::handler::{AuthAnswer, DeferredAuth, Peer};

/// Passwords that wait to be compared. Whoever finds the queue full is asked to try again.
const QUEUE: usize = 256;

/// Users and their passwords, for [`Handler::authenticate`](crate::Handler::authenticate). Clones share them.
///
/// Of each password only a SCRAM record is kept. A name that is not there is answered as a wrong password is, and takes
/// as long. Passwords are compared on a thread of their own, because that is slow on purpose; at most 256 wait for it.
///
/// ```
/// use smtp_mio::{Answer, AuthAnswer, Handler, Peer, Users};
/// use smtp_proto::auth::server::Question;
/// use smtp_proto::server::{MessageEnd, Verdict};
///
/// struct Submission(Users);
///
/// impl Handler for Submission {
///     fn authenticate(&mut self, peer: &Peer<'_>, question: Question) -> AuthAnswer {
///         self.0.answer(peer, question)
///     }
///     fn message(&mut self, _: &Peer<'_>, _: MessageEnd) -> Answer<'_> {
///         Verdict::Accept.into()
///     }
/// }
///
/// let users = Users::from_passwords([("ann", "pencil"), ("ben", "pen")])?;
/// let handler = Submission(users.clone()); // for a connection
/// # drop(handler);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Users {
    users: Arc<smtp_proto::auth::Users>,
    queue: SyncSender<(Question, DeferredAuth)>,
}

impl Users {
    /// Users by name, with their passwords. Each takes some milliseconds; where that is too long, make the records once
    /// and use [`Users::from_records`].
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`], with the name, for a password that cannot be one, such as an empty one; or those
    /// of the random number generator, or of starting a thread.
    pub fn from_passwords<'u>(users: impl IntoIterator<Item = (&'u str, &'u str)>) -> io::Result<Self> {
        Self::of(smtp_proto::auth::Users::from_passwords(users, random)?)
    }

    /// Users by name, with records that were made before.
    ///
    /// # Errors
    /// Those of the random number generator, or of starting a thread.
    pub fn from_records<'u>(users: impl IntoIterator<Item = (&'u str, ScramRecord)>) -> io::Result<Self> {
        Self::of(smtp_proto::auth::Users::from_records(users, random)?)
    }

    fn of(users: smtp_proto::auth::Users) -> io::Result<Self> {
        let users = Arc::new(users);
        let (queue, asked) = sync_channel(QUEUE);
        let of_thread = users.clone();
        // It ends with the last clone of what is returned here.
        thread::Builder::new().name("passwords".into()).spawn(move || compare(&of_thread, &asked))?;
        Ok(Self { users, queue })
    }

    /// The answer to the question of a mechanism, at once or later: PLAIN, LOGIN and SCRAM are for users; all others are
    /// answered no.
    pub fn answer(&self, peer: &Peer<'_>, question: Question) -> AuthAnswer {
        if !matches!(question, Question::Password { .. }) {
            return decide(&self.users, &question).into();
        }
        let (later, deferred) = peer.defer_auth();
        match self.queue.try_send((question, deferred)) {
            Ok(()) => AuthAnswer::Later(later),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Answer::TemporaryFailure.into(),
        }
    }
}

fn compare(users: &smtp_proto::auth::Users, asked: &Receiver<(Question, DeferredAuth)>) {
    while let Ok((question, deferred)) = asked.recv() {
        deferred.answer(decide(users, &question));
    }
}

fn decide(users: &smtp_proto::auth::Users, question: &Question) -> Answer {
    let mut nonce = [0; 18];
    match random(&mut nonce) {
        Ok(()) => users.answer(question, || Nonce::new(&nonce)),
        Err(_) => Answer::TemporaryFailure,
    }
}

fn random(octets: &mut [u8]) -> io::Result<()> {
    getrandom::fill(octets).map_err(|error| io::Error::other(format!("no random numbers: {error}")))
}
