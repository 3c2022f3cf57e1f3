//! The PROXY header in front of a connection: read to its last octet, and not one further.

use std::io;
use std::net::{SocketAddr, TcpStream};

use smol::Async;
use smtp_proto::Channel;
use smtp_proto::proxy::{MAX_V2, parse};

/// The client's address by the header, if it tells one, and what the session runs over; `before` says that TLS ended at the
/// balancer. What follows the header, of SMTP or TLS, stays in the socket.
pub(crate) async fn read(socket: &Async<TcpStream>, before: bool) -> io::Result<(Option<SocketAddr>, Channel)> {
    let mut bytes = vec![0; MAX_V2];
    let mut have = 0;
    loop {
        let new = socket.peek(bytes.get_mut(have..).unwrap_or_default()).await?;
        // Nothing at all is how a load balancer finds out whether somebody listens.
        if new == 0 && have == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if new == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let filled = bytes.get(..have + new).unwrap_or_default();
        let (told, end) = match parse(filled).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Some((header, used)) => (Some((header.peer(), header.channel(before))), used),
            None => (None, have + new),
        };
        // What is known to belong to the header is taken, so that the next peek waits for more.
        let mut taken = bytes.get_mut(have..end).unwrap_or_default();
        while !taken.is_empty() {
            let n = smol::io::AsyncReadExt::read(&mut &*socket, taken).await?;
            taken = taken.get_mut(n..).filter(|_| n > 0).ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        if let Some(told) = told {
            return Ok(told);
        }
        have = end;
    }
}
