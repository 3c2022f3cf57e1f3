//! Connections of load balancers whose PROXY header has yet to come: it is read to its last octet, and not one further.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use slab::Slab;
use smtp_proto::Channel;
use smtp_proto::proxy::{MAX_V2, parse};

/// Those that wait, in the order in which their time is over: each is given as much.
#[derive(Debug, Default)]
pub(crate) struct Antechamber {
    waiting: Slab<Waiting>,
    order: VecDeque<(u32, usize, u64)>,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) socket: TcpStream,
    pub(crate) balancer: SocketAddr,
    pub(crate) implicit_tls: bool,
    tls_before: bool,
    generation: u64,
    /// What has come of the header.
    header: Vec<u8>,
}

impl Antechamber {
    /// The key that the next one will have.
    pub(crate) fn next_key(&self) -> usize {
        self.waiting.vacant_key()
    }

    /// Waits until `deadline`; `generation` tells reused keys apart.
    pub(crate) fn add(
        &mut self,
        socket: TcpStream,
        balancer: SocketAddr,
        (implicit_tls, tls_before): (bool, bool),
        generation: u64,
        deadline: u32,
    ) {
        let key =
            self.waiting.insert(Waiting { socket, balancer, implicit_tls, tls_before, generation, header: Vec::new() });
        self.order.push_back((deadline, key, generation));
    }

    /// Something has come. Gives those who are done waiting, with the client's address (the balancer's own, where the
    /// header says so or does not know) and what the session runs over; an error where there was no header.
    pub(crate) fn turn(&mut self, key: usize) -> Option<(Waiting, io::Result<(SocketAddr, Channel)>)> {
        let waiting = self.waiting.get_mut(key)?;
        let client = waiting.client().transpose()?;
        let waiting = self.waiting.remove(key);
        let client = client.map(|(client, channel)| (client.unwrap_or(waiting.balancer), channel));
        Some((waiting, client))
    }

    /// Those whose time is over.
    pub(crate) fn late(&mut self, now: u32) -> Option<Waiting> {
        while let Some(&(_, key, generation)) = self.order.front().filter(|(deadline, ..)| *deadline <= now) {
            self.order.pop_front();
            if self.waiting.get(key).is_some_and(|waiting| waiting.generation == generation) {
                return Some(self.waiting.remove(key));
            }
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends all away.
    pub(crate) fn clear(&mut self) -> usize {
        let all = self.waiting.len();
        self.waiting.clear();
        self.order.clear();
        all
    }
}

impl Waiting {
    /// `None` while the header is incomplete. What follows it, of SMTP or TLS, stays in the socket.
    fn client(&mut self) -> io::Result<Option<(Option<SocketAddr>, Channel)>> {
        loop {
            let have = self.header.len();
            self.header.resize(MAX_V2, 0);
            let seen = self.socket.peek(self.header.get_mut(have..).unwrap_or_default());
            self.header.truncate(have + *seen.as_ref().unwrap_or(&0));
            match seen {
                // Nothing at all is how a load balancer finds out whether somebody listens.
                Ok(0) if have == 0 => return Err(io::ErrorKind::ConnectionAborted.into()),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let parsed = parse(&self.header).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let (client, end) = match parsed {
                Some((header, used)) => (Some((header.peer(), header.channel(self.tls_before))), used),
                None => (None, self.header.len()),
            };
            // What is known to belong to the header is taken; it is there, as it was seen.
            self.socket.read_exact(self.header.get_mut(have..end).unwrap_or_default())?;
            if client.is_some() {
                return Ok(client);
            }
        }
    }
}
