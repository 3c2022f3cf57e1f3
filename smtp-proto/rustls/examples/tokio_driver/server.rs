//! The server's side.

use std::io;
use std::sync::Arc;

use smtp_proto::server::{Config, Event, Gather, Room, Session, Verdict};
use smtp_proto::{Buffer, Channel, Step, Want};
use smtp_rustls::{failure, info};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

/// One connection of the server.
pub(crate) async fn serve(
    mut socket: TcpStream,
    config: Arc<Config>,
    tls: TlsAcceptor,
    room: Arc<Room>,
) -> io::Result<()> {
    let (mut session, mut gather) = (Session::new(config, Channel::Plain), Gather::new(room));
    if !talk(&mut session, &mut gather, &mut socket).await? {
        return Ok(());
    }
    let until = Instant::now() + session.timeout();
    match timeout_at(until, tls.accept(socket)).await {
        Ok(Ok(mut stream)) => {
            session.tls_established(info::of_server(stream.get_ref().1, None));
            talk(&mut session, &mut gather, &mut stream).await?;
            stream.shutdown().await
        }
        // Nothing more is said after a handshake that failed (RFC 3207 4.1).
        Ok(Err(error)) => Err(io::Error::other(failure::of_io(&error).to_string())),
        Err(late) => Err(late.into()),
    }
}

/// Drives a session until it wants TLS (true) or its end (false).
async fn talk<S>(session: &mut Session, gather: &mut Gather, stream: &mut S) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Buffer::with_capacity(16 << 10);
    let (mut progress, mut until) = (session.progress(), Instant::now() + session.timeout());
    loop {
        let mut input = buffer.filled();
        let want = loop {
            match session.step(&mut input) {
                Step::Event(event) => handle(session, gather, event),
                Step::Want(want) => break want,
            }
        };
        let left = input.len();
        buffer.keep_last(left);
        if progress != session.progress() {
            (progress, until) = (session.progress(), Instant::now() + session.timeout());
        }
        // First write out, whatever is wanted.
        let written = async { stream.write_all(session.output()).await.and(stream.flush().await) };
        timeout_at(until, written).await??;
        session.sent(session.output().len());
        match want {
            Want::Input => match timeout_at(until, stream.read(buffer.space())).await {
                Ok(Ok(0)) => session.eof(),
                Ok(Ok(n)) => buffer.add(n),
                Ok(Err(error)) => return Err(error),
                Err(_) => session.timed_out(),
            },
            // What came behind STARTTLS never reaches the TLS library: the session ends on it.
            Want::Tls if buffer.is_empty() => return Ok(true),
            Want::Tls | Want::Output | Want::Decision => {}
            Want::Close => return Ok(false),
        }
    }
}

fn handle(session: &mut Session, gather: &mut Gather, event: Event<'_>) {
    let ticket = match event {
        Event::Connect(ticket) | Event::StartTls(ticket) | Event::Hello(_, ticket) => ticket,
        Event::Mail(mail, ticket) => (gather.mail(&mail), ticket).1,
        Event::Rcpt(rcpt, ticket) => (gather.rcpt(&rcpt, session.recipients()), ticket).1,
        Event::Data(ticket) => (gather.data(session.recipients()), ticket).1,
        Event::Chunk(text) => return gather.chunk(text),
        Event::Message(end, ticket) => {
            let envelope = gather.finish(end);
            gather.answered(end);
            match envelope {
                Ok(mail) => println!("{} to {:?}, tls {}", mail.from, mail.to, session.tls_outcome().as_str()),
                Err(reply) => return session.answer(ticket, Verdict::Refuse(reply)),
            }
            ticket
        }
        _ => return,
    };
    session.answer(ticket, Verdict::Accept);
}
