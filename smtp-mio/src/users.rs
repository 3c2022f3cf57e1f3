//! Users who may submit mail, in memory.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use smtp_proto::auth::server::{Answer, Question};
use smtp_proto::auth::{InvalidRecord, Nonce, ScramRecord};

use crate::handler::{AuthAnswer, DeferredAuth, Peer};

/// Of records that are made here. RFC 7677 4 asks for 4,096 at least.
const ITERATIONS: u32 = 10_000;
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
        let records = users.into_iter().map(|(name, password)| {
            let record = ScramRecord::derive(password, &random::<16>()?, ITERATIONS);
            record.map(|record| (name, record)).map_err(|error| invalid(name, &error))
        });
        Self::from_records(records.collect::<io::Result<Vec<_>>>()?)
    }

    /// Users by name, with records that were made before.
    ///
    /// # Errors
    /// Those of the random number generator, or of starting a thread.
    pub fn from_records<'u>(users: impl IntoIterator<Item = (&'u str, ScramRecord)>) -> io::Result<Self> {
        let mut all = smtp_proto::auth::Users::new(&random::<32>()?);
        for (name, record) in users {
            all.insert(name, record);
        }
        let users = Arc::new(all);
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
    match random() {
        Ok(random) => users.answer(question, || Nonce::new(&random)),
        Err(_) => Answer::TemporaryFailure,
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
