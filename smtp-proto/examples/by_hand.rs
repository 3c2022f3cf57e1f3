//! A session by hand over `std::net`: a whole driver with clock and errors, without TLS. It prints the size of messages.
//!
//! ```sh
//! cargo run -p smtp-proto --example by_hand -- 127.0.0.1:2525
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use smtp_proto::server::{Config, Event, Session, Verdict};
use smtp_proto::tls::{Policy, TlsFailure};
use smtp_proto::{Buffer, Channel, Step, Want};

fn drive(session: &mut Session, mut socket: TcpStream) -> std::io::Result<()> {
    let mut buffer = Buffer::with_capacity(8192);
    let (mut progress, mut deadline) = (session.progress(), Instant::now() + session.timeout());
    loop {
        let mut input = buffer.filled();
        let want = loop {
            match session.step(&mut input) {
                Step::Event(event) => handle(session, event),
                Step::Want(want) => break want,
            }
        };
        let unused = input.len();
        buffer.keep_last(unused);
        // Whenever the session got on, the peer has a new period.
        if progress != session.progress() {
            (progress, deadline) = (session.progress(), Instant::now() + session.timeout());
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left))?;
        socket.set_write_timeout(Some(left))?;
        // First write out, whatever is wanted. A peer that cannot be written to is lost.
        if socket.write_all(session.output()).is_err() {
            session.lost();
            continue;
        }
        session.sent(session.output().len());
        match want {
            Want::Input => match socket.read(buffer.space()) {
                Ok(0) => session.eof(),
                Ok(n) => buffer.add(n),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => session.timed_out(),
                    ErrorKind::Interrupted => {}
                    _ => session.lost(),
                },
            },
            Want::Output | Want::Decision => {} // written out, and answered, above
            Want::Tls => session.tls_failed(TlsFailure::Closed), // never: TLS is not offered
            Want::Close => return Ok(()),
        }
    }
}

/// Accepts everything, and says how much it was. A ticket is answered once: at once as here, or later.
fn handle(session: &mut Session, event: Event<'_>) {
    let ticket = match event {
        Event::Connect(t) | Event::StartTls(t) | Event::Data(t) | Event::Hello(_, t) => t,
        Event::Mail(_, ticket) | Event::Rcpt(_, ticket) => ticket,
        Event::Message(end, ticket) => {
            println!("{} octets for {} recipients", end.octets, session.recipients());
            ticket // 250 goes out: now it is yours
        }
        _ => return, // Chunk (a slice of the input, not a copy), Reset (the transaction is over), Fault, Closed
    };
    session.answer(ticket, Verdict::Accept);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::new("mx.example.net")?.tls(Policy::Off).shared();
    let listener = TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:2525"))?;
    println!("listening on {}", listener.local_addr()?);
    for socket in listener.incoming() {
        drive(&mut Session::new(config.clone(), Channel::Plain), socket?)?;
    }
    Ok(())
}
