//! Waiting for sockets on the thread that serves them: each is registered once, and what happens on it is told by edges.
//!
//! smol's own reactor is one for all threads, takes a socket's wish anew for each wait, and sets a timer of the system at each
//! of its turns: several calls where one does. Whatever else a task waits for may still be smol's, and wakes this thread.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Events, Interest, Registry, Token};
use slab::Slab;

use crate::socket::Ready;

/// What other threads wake the loop by; no socket has this number.
const ALARM: Token = Token(usize::MAX);
/// Taken from the system at a time.
const EVENTS: usize = 1024;

thread_local! {
    /// The reactor that this thread turns.
    static HERE: RefCell<Option<Arc<Reactor>>> = const { RefCell::new(None) };
}

/// A thread's loop, before it runs.
pub(crate) struct Loop(mio::Poll, Arc<Reactor>);

impl Loop {
    /// # Errors
    /// Those of the operating system: no descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let reactor = Reactor {
            registry: poll.registry().try_clone()?,
            alarm: mio::Waker::new(poll.registry(), ALARM)?,
            woken: AtomicBool::new(false),
            waiting: Mutex::default(),
        };
        Ok(Self(poll, Arc::new(reactor)))
    }

    /// Runs a future on this thread, and waits for sockets whenever it does. Ends all waits when it has ended.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn run<T>(self, future: impl Future<Output = T>) -> io::Result<T> {
        let Self(mut poll, reactor) = self;
        let (mut future, waker) = (pin!(future), Waker::from(reactor.clone()));
        let (mut events, mut wakers) = (Events::with_capacity(EVENTS), Vec::new());
        let _here = Here::enter(reactor.clone());
        loop {
            reactor.woken.store(false, Ordering::SeqCst);
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Ok(done);
            }
            let first = reactor.waiting().timers.first().map(|(at, _)| *at);
            let time = match reactor.woken.load(Ordering::SeqCst) {
                true => Some(Duration::ZERO),
                false => first.map(|at| at.saturating_duration_since(Instant::now())),
            };
            match poll.poll(&mut events, time) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) => events.clear(),
                Ok(()) => {}
            }
            reactor.waiting().tell(&events, &mut wakers);
            // Not while the reactor is locked: who is woken may ask it at once.
            wakers.drain(..).for_each(Waker::wake);
        }
    }
}

/// Makes a reactor this thread's while it lives.
struct Here(Option<Arc<Reactor>>);

impl Here {
    fn enter(reactor: Arc<Reactor>) -> Self {
        Self(HERE.replace(Some(reactor)))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let Some(reactor) = HERE.replace(self.0.take()) else { return };
        let mut wakers = Vec::new();
        {
            let mut waiting = reactor.waiting();
            waiting.ended = true;
            wakers.extend(waiting.sockets.iter_mut().filter_map(|(_, socket)| socket.waiter.take()));
        }
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// That of this thread, if it has one.
pub(crate) fn here() -> Option<Arc<Reactor>> {
    HERE.with_borrow(Clone::clone)
}

pub(crate) struct Reactor {
    registry: Registry,
    alarm: mio::Waker,
    /// The future of the loop has something to do.
    woken: AtomicBool,
    waiting: Mutex<Waiting>,
}

impl Reactor {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_here(&self) -> bool {
        let here = |here: &RefCell<Option<Arc<Self>>>| {
            here.borrow().as_ref().is_some_and(|here| std::ptr::eq(Arc::as_ptr(here), self))
        };
        HERE.try_with(here).unwrap_or(false)
    }
}

impl Wake for Reactor {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst) && !self.is_here() {
            // It fails only where there is no loop any more.
            let _ = self.alarm.wake();
        }
    }
}

#[derive(Default)]
struct Waiting {
    sockets: Slab<Told>,
    /// When which socket's wait may be over.
    timers: BTreeSet<(Instant, usize)>,
    /// The loop has ended: nobody is told anything any more.
    ended: bool,
}

/// What was told of a socket, and whom to tell more.
#[derive(Default)]
struct Told {
    /// Since somebody waited for it.
    readable: bool,
    writable: bool,
    /// Its peer says no more. That is told once, perhaps together with octets; whoever has read those may wait again, and
    /// must hear of the end all the same.
    ended: bool,
    waiter: Option<(Ready, Waker)>,
    /// When its timer goes off: at the deadline or before, as to set it anew is dear, and few waits last so long.
    goes_off: Option<Instant>,
}

impl Waiting {
    fn tell(&mut self, events: &Events, wakers: &mut Vec<Waker>) {
        for event in events {
            // Of a socket that has been closed since, or a new one by that number: to try in vain does no harm.
            let Some(told) = self.sockets.get_mut(event.token().0) else { continue };
            told.ended |= event.is_read_closed();
            told.readable |= event.is_readable() || told.ended || event.is_error();
            told.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
            let waiter = told.waiter.take_if(|(ready, _)| match ready {
                Ready::Read => told.readable,
                Ready::Write => told.writable,
            });
            wakers.extend(waiter.map(|(_, waker)| waker));
        }
        if self.timers.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some((_, key)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.pop_first();
            if let Some(told) = self.sockets.get_mut(key) {
                told.goes_off = None;
                wakers.extend(told.waiter.take().map(|(_, waker)| waker));
            }
        }
    }
}

/// A socket that a thread's reactor watches.
pub(crate) struct Watched<S: Source> {
    socket: S,
    key: usize,
    reactor: Arc<Reactor>,
}

impl<S: Source> Watched<S> {
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn new(mut socket: S, interest: Interest, reactor: Arc<Reactor>) -> io::Result<Self> {
        let key = reactor.waiting().sockets.insert(Told::default());
        if let Err(error) = reactor.registry.register(&mut socket, Token(key), interest) {
            reactor.waiting().sockets.remove(key);
            return Err(error);
        }
        Ok(Self { socket, key, reactor })
    }

    /// Has it watched by the loop of the thread that this is called on, if that has one: a connection to a server may be used
    /// by one task after the other. What has come by then is told anew there.
    ///
    /// # Errors
    /// Those of the operating system: it cannot be watched, and is not watched any more.
    pub(crate) fn follow(&mut self, interest: Interest) -> io::Result<()> {
        if self.reactor.is_here() {
            return Ok(());
        }
        let Some(reactor) = here() else { return Ok(()) };
        self.reactor.registry.deregister(&mut self.socket)?;
        self.forget();
        self.key = reactor.waiting().sockets.insert(Told::default());
        self.reactor = reactor;
        self.reactor.registry.register(&mut self.socket, Token(self.key), interest)
    }

    pub(crate) const fn socket(&self) -> &S {
        &self.socket
    }

    /// Whether it is ready, or may be, after something was tried that would block: false when the deadline came first.
    pub(crate) fn poll(
        &self,
        ready: Ready,
        deadline: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let mut waiting = self.reactor.waiting();
        let Waiting { sockets, timers, ended } = &mut *waiting;
        let Some(told) = sockets.get_mut(self.key).filter(|_| !*ended) else {
            return Poll::Ready(Err(io::Error::other("the server that watched this connection has ended")));
        };
        let news = match ready {
            Ready::Read => &mut told.readable,
            Ready::Write => &mut told.writable,
        };
        // Also when the time is over by now: what came in time counts, and the next wait finds out.
        if std::mem::take(news) || told.ended && ready == Ready::Read {
            return Poll::Ready(Ok(true));
        }
        let mut sooner = false;
        if let Some(deadline) = deadline.filter(|deadline| told.goes_off.is_none_or(|early| early > *deadline)) {
            if deadline <= Instant::now() {
                return Poll::Ready(Ok(false));
            }
            if let Some(early) = told.goes_off.replace(deadline) {
                timers.remove(&(early, self.key));
            }
            timers.insert((deadline, self.key));
            sooner = true;
        }
        let before = told.waiter.replace((ready, context.waker().clone()));
        drop(waiting);
        drop(before);
        if sooner && !self.reactor.is_here() {
            let _ = self.reactor.alarm.wake();
        }
        Poll::Pending
    }
}

impl<S: Source> Watched<S> {
    fn forget(&self) {
        let gone = {
            let mut waiting = self.reactor.waiting();
            let gone = waiting.sockets.try_remove(self.key);
            if let Some(at) = gone.as_ref().and_then(|told| told.goes_off) {
                waiting.timers.remove(&(at, self.key));
            }
            gone
        };
        // A waker's last owner may be a task that holds another socket.
        drop(gone);
    }
}

impl<S: Source> Drop for Watched<S> {
    fn drop(&mut self) {
        // Closing the socket takes it out of the poll.
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use smol::Timer;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(600);

    fn pair() -> (UnixStream, Watched<mio::net::UnixStream>) {
        let (there, here) = UnixStream::pair().expect("a pair");
        here.set_nonblocking(true).expect("nonblocking");
        let here = mio::net::UnixStream::from_std(here);
        let reactor = super::here().expect("within a loop");
        (there, Watched::new(here, Interest::READABLE | Interest::WRITABLE, reactor).expect("watched"))
    }

    async fn readable(socket: &Watched<mio::net::UnixStream>, within: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + within;
        poll_fn(|context| socket.poll(Ready::Read, Some(deadline), context)).await
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        Loop::new().expect("a loop").run(future).expect("it runs")
    }

    #[test]
    fn a_wait_ends_by_the_peer_or_at_its_deadline() {
        run(async {
            let (mut there, here) = pair();
            assert!(!readable(&here, SOON).await.expect("in time"), "nothing came");
            let peer = thread::spawn(move || {
                thread::sleep(SOON);
                there.write_all(b"now").expect("written");
                there
            });
            assert!(readable(&here, LATE).await.expect("told"));
            let mut space = [0; 8];
            assert_eq!(here.socket().read(&mut space).expect("read"), 3);
            drop(peer.join().expect("no panic"));
            assert!(readable(&here, LATE).await.expect("told of the end"));
            assert_eq!(here.socket().read(&mut space).expect("the end"), 0);
        });
    }

    #[test]
    fn a_deadline_that_comes_nearer_is_kept() {
        run(async {
            let (_there, here) = pair();
            let far = Instant::now() + LATE;
            poll_fn(|context| {
                assert!(here.poll(Ready::Read, Some(far), context).is_pending());
                Poll::Ready(())
            })
            .await;
            assert!(!readable(&here, SOON).await.expect("in time"));
        });
    }

    #[test]
    fn what_is_smols_wakes_the_loop() {
        run(async {
            Timer::after(SOON).await;
            smol::unblock(|| thread::sleep(SOON)).await;
        });
    }

    #[test]
    fn the_end_is_told_to_whoever_waits_again() {
        run(async {
            let (mut there, here) = pair();
            there.write_all(b"x").expect("written");
            drop(there);
            assert!(readable(&here, LATE).await.expect("told"));
            let mut space = [0; 8];
            assert_eq!(here.socket().read(&mut space).expect("read"), 1);
            // There is no news of it: both came together.
            assert!(readable(&here, LATE).await.expect("told of the end"));
            assert_eq!(here.socket().read(&mut space).expect("the end"), 0);
        });
    }

    #[test]
    fn it_follows_to_the_loop_that_waits_for_it() {
        let (mut there, mut here) = run(async { pair() });
        // What has come by then is told anew.
        there.write_all(b"x").expect("written");
        run(async {
            here.follow(Interest::READABLE | Interest::WRITABLE).expect("it can be watched");
            assert!(readable(&here, LATE).await.expect("told"));
            let mut space = [0; 8];
            assert_eq!(here.socket().read(&mut space).expect("read"), 1);
            assert!(!readable(&here, SOON).await.expect("in time"), "nothing more came");
        });
    }

    #[test]
    fn nobody_waits_for_a_loop_that_has_ended() {
        let (_there, here) = run(async { pair() });
        smol::block_on(readable(&here, LATE)).expect_err("the loop has ended");
    }
}
