//! As much of HTTP/1.1 (RFC 9112) as it takes to be asked for a page: GET and HEAD, one request a connection, everything
//! bounded.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use smol::Async;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::serve::callers;

/// Octets of a request.
const MAX_REQUEST: usize = 8 << 10;
/// For a whole connection.
const TIME: Duration = Duration::from_secs(10);
/// Connections at once.
const MOST: usize = 32;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'r> {
    head_only: bool,
    pub(super) path: &'r str,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Answer {
    pub(super) const fn good(kind: &'static str, body: String) -> Self {
        Self { status: "200 OK", kind, body }
    }

    pub(super) fn not_found() -> Self {
        Self::plain("404 Not Found", "there are /metrics, /healthz, /readyz, /loss and /loss.json\n")
    }

    pub(super) fn not_ready(why: &str) -> Self {
        Self::plain("503 Service Unavailable", &format!("not ready: {why}\n"))
    }

    fn plain(status: &'static str, body: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Answers whoever connects, for as long as the program runs.
pub(super) async fn serve(
    listener: Async<TcpListener>,
    answer: impl Fn(&Request<'_>) -> Answer + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    callers::each(listener, MOST, TIME, move |socket| {
        let answer = answer.clone();
        async move { converse(socket, &*answer).await }
    })
    .await;
}

async fn converse(
    mut socket: Async<TcpStream>,
    answer: &(dyn Fn(&Request<'_>) -> Answer + Send + Sync),
) -> io::Result<()> {
    let mut octets = Vec::new();
    let head = loop {
        let mut piece = [0; 1024];
        let n = socket.read(&mut piece).await?;
        if n == 0 {
            return Ok(());
        }
        octets.extend_from_slice(piece.get(..n).unwrap_or_default());
        if let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") {
            break octets.get(..end).unwrap_or_default();
        }
        if octets.len() > MAX_REQUEST {
            return reply(&mut socket, &Answer::plain("431 Request Header Fields Too Large", "too long\n"), false)
                .await;
        }
    };
    match parse(head) {
        Ok(request) => {
            let answered = answer(&request);
            reply(&mut socket, &answered, request.head_only).await
        }
        Err(refusal) => reply(&mut socket, &refusal, false).await,
    }
}

/// The request line (RFC 9112 3); fields are not looked at.
fn parse(head: &[u8]) -> Result<Request<'_>, Answer> {
    let malformed = || Answer::plain("400 Bad Request", "not understood\n");
    let line = head.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
    let mut words = line.ok_or_else(malformed)?.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed());
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !target.starts_with('/') {
        return Err(malformed());
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Answer::plain("405 Method Not Allowed", "GET and HEAD alone\n")),
    };
    Ok(Request { head_only, path: target.split('?').next().unwrap_or_default() })
}

async fn reply(socket: &mut Async<TcpStream>, answer: &Answer, head_only: bool) -> io::Result<()> {
    let Answer { status, kind, body } = answer;
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    if !head_only {
        socket.write_all(body.as_bytes()).await?;
    }
    socket.flush().await?;
    socket.get_ref().shutdown(std::net::Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let path = |head: &'static str| parse(head.as_bytes()).map(|request| (request.path, request.head_only));
        assert_eq!(path("GET /metrics HTTP/1.1\r\nHost: x").ok(), Some(("/metrics", false)));
        assert_eq!(path("HEAD /loss?a=b HTTP/1.0").ok(), Some(("/loss", true)));
        for (head, status) in [
            ("POST / HTTP/1.1", "405"),
            ("GET / HTTP/2.0", "400"),
            ("GET http://x/ HTTP/1.1", "400"),
            ("GET /", "400"),
            ("GET  / HTTP/1.1", "400"),
            ("GET /\u{e4} HTTP/1.1", "400"),
            ("", "400"),
        ] {
            assert!(parse(head.as_bytes()).expect_err(head).status.starts_with(status), "{head}");
        }
    }
}
