//! The client's side.

use std::error::Error;
use std::io;

use rustls::pki_types::ServerName;
use smtp_proto::client::{Config, Envelope, Progress, Session, Tls, Transaction};
use smtp_proto::tls::TlsFailure;
use smtp_proto::{Buffer, Channel, Want};
use smtp_rustls::{ClientTls, failure, info};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// Sends one message, inside TLS if the server offers it.
pub(crate) async fn send(
    address: &str,
    tls: &ClientTls,
    envelope: Envelope<'_>,
    text: &[u8],
) -> Result<(), Box<dyn Error>> {
    let config = Config::new("client.example")?.tls(Tls::Opportunistic).shared();
    let mut session = Session::new(config, Channel::Plain);
    let mut transaction = Transaction::new(envelope);
    let mut socket = TcpStream::connect(address).await?;
    if transact(&mut session, &mut transaction, text, &mut socket).await? {
        let connector = TlsConnector::from(tls.config(false).clone());
        match timeout_at(
            Instant::now() + session.timeout(),
            connector.connect(ServerName::try_from("localhost")?, socket),
        )
        .await
        {
            Ok(Ok(mut stream)) => {
                session.tls_established(info::of_client(stream.get_ref().1));
                transact(&mut session, &mut transaction, text, &mut stream).await?;
            }
            Ok(Err(error)) => session.tls_failed(failure::of_io(&error)),
            Err(_) => session.tls_failed(TlsFailure::TimedOut),
        }
    }
    transaction.outcomes().for_each(|outcome| println!("{outcome:?}"));
    println!("tls {}", session.tls_outcome().as_str());
    Ok(())
}

/// Drives a transaction until it wants TLS (true) or is done (false).
async fn transact<S>(
    session: &mut Session,
    transaction: &mut Transaction<'_>,
    mut text: &[u8],
    stream: &mut S,
) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Buffer::with_capacity(16 << 10);
    loop {
        let mut input = buffer.filled();
        let progress = transaction.step(session, &mut input);
        let left = input.len();
        buffer.keep_last(left);
        stream.write_all(session.output()).await?;
        stream.flush().await?;
        session.sent(session.output().len());
        match progress {
            Progress::Done | Progress::Want(Want::Close) => return Ok(false),
            Progress::Text if text.is_empty() => transaction.finish(session).map_err(io::Error::other)?,
            Progress::Text => transaction.write(session, std::mem::take(&mut text)).map_err(io::Error::other)?,
            Progress::Want(Want::Tls) => return Ok(true),
            Progress::Want(_) => {
                match timeout_at(Instant::now() + session.timeout(), stream.read(buffer.space())).await {
                    Ok(Ok(0)) => session.eof(),
                    Ok(Ok(n)) => buffer.add(n),
                    Ok(Err(_)) => session.eof(),
                    Err(_) => session.timed_out(),
                }
            }
        }
    }
}
