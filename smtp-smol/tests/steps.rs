//! A message by its commands, each with its reply, against servers that follow a script.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use smtp_proto::client::{Because, Config, Envelope, NoConnection, Outcome, Protocol, Reason, Tls};
use smtp_proto::proxy::{Addresses, Transport};
use smtp_proto::syntax::{
    AttributesBuilder, Extension, ForwardPath, Mail, OwnedReply, Params, ParamsBuilder, Rcpt, ReversePath,
};
use smtp_smol::{Client, Pool, PoolLimits, Stopped, Target};

/// A server that reads up to the end of each first part and then says the second; gives what it has read.
fn scripted(script: &'static [(&'static str, &'static str)]) -> (Target, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Target::addresses(vec![listener.local_addr().expect("an address")]);
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut said = Vec::new();
        for (until, reply) in script {
            let from = said.len();
            while !said[from..].ends_with(until.as_bytes()) {
                let mut octet = [0];
                let n = socket.read(&mut octet).expect("to read");
                assert_eq!(n, 1, "the client has gone after {:?}", String::from_utf8_lossy(&said));
                said.extend_from_slice(&octet);
            }
            socket.write_all(reply.as_bytes()).expect("to write");
        }
        String::from_utf8(said).expect("text")
    });
    (target, server)
}

fn client(protocol: Protocol) -> Client {
    Client::new(Config::new("client.example").expect("a name").protocol(protocol).tls(Tls::Never).shared())
}

fn mail() -> Mail<'static> {
    Mail { path: ReversePath::parse("a@example.org", false).expect("a path"), params: Params::default() }
}

fn rcpt(to: &str) -> Rcpt<'_> {
    Rcpt { path: ForwardPath::parse(to, false).expect("a path"), params: Params::default() }
}

fn codes(replies: &[OwnedReply]) -> Vec<u16> {
    replies.iter().map(OwnedReply::code).collect()
}

/// RFC 5321 3.3: each command has its reply, and a connection carries one transaction after the other.
#[test]
fn each_reply_is_told_when_it_comes() {
    let (target, server) = scripted(&[
        ("", "220 hop\r\n"),
        ("\r\n", "250-hop\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"),
        ("\r\n", "250 2.1.0 ok\r\n"),
        ("\r\n", "550-5.1.1 who\r\n550 5.1.1 is that?\r\n"),
        ("\r\n", "250 2.1.5 ok\r\n"),
        ("\r\n", "354 go on\r\n"),
        ("\r\n.\r\n", "250 2.0.0 kept as 7\r\n"),
        ("\r\n", "250 2.1.0 again\r\n"),
        ("\r\n", "250 2.0.0 forgotten\r\n"),
        ("QUIT\r\n", "221 bye\r\n"),
    ]);
    smol::block_on(async {
        let mut hop = client(Protocol::Smtp).connect(&target).await.expect("connected");
        assert_eq!(hop.ready().await.expect("ready").size(), Some(1000));
        assert!(hop.mail(&mail()).await.expect("MAIL").is_positive());
        let refused = hop.rcpt(&rcpt("nobody@example.net")).await.expect("RCPT");
        assert_eq!(refused.as_reply().to_string(), "550 5.1.1 who is that?");
        // Nobody is to have it yet: not sent, and nothing is lost by it.
        assert!(matches!(hop.data().await, Err(Stopped::NotSent(_))));
        assert_eq!(hop.text(b"x\r\n").await, Err(Stopped::NoText));
        assert!(hop.rcpt(&rcpt("b@example.net")).await.expect("RCPT").is_positive());
        assert_eq!(hop.data().await.expect("DATA").code(), 354);
        for piece in [&b"Subject: x\r\n\r"[..], b"\n.dot\r\n", b"last\r\n"] {
            hop.text(piece).await.expect("taken");
        }
        let replies = hop.finish().await.expect("replies");
        assert_eq!(replies[0].to_string(), "250 2.0.0 kept as 7");
        assert_eq!(hop.finish().await, Err(Stopped::NoText));
        assert!(hop.is_idle());
        assert!(hop.mail(&mail()).await.expect("MAIL").is_positive());
        assert!(hop.reset().await.expect("RSET").is_positive());
        assert!(hop.is_idle());
        hop.quit().await;
    });
    let said = server.join().expect("the server ended well");
    let (mail, rcpt) = ("MAIL FROM:<a@example.org>\r\n", "RCPT TO:<b@example.net>\r\n");
    let text = "DATA\r\nSubject: x\r\n\r\n..dot\r\nlast\r\n.\r\n";
    let expected =
        format!("EHLO client.example\r\n{mail}RCPT TO:<nobody@example.net>\r\n{rcpt}{text}{mail}RSET\r\nQUIT\r\n");
    assert_eq!(said, expected);
}

/// RFC 2033 4.2: a reply for each recipient that was accepted.
#[test]
fn lmtp_gives_a_reply_for_each_recipient() {
    let (target, server) = scripted(&[
        ("", "220 store\r\n"),
        ("\r\n", "250 store\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "354 go on\r\n"),
        ("\r\n.\r\n", "250 kept\r\n"),
        ("", "452 4.2.2 full\r\n"),
    ]);
    smol::block_on(async {
        let mut store = client(Protocol::Lmtp).connect(&target).await.expect("connected");
        store.mail(&mail()).await.expect("MAIL");
        store.rcpt(&rcpt("b@example.net")).await.expect("RCPT");
        store.rcpt(&rcpt("c@example.net")).await.expect("RCPT");
        store.data().await.expect("DATA");
        store.text(b"x\r\n").await.expect("taken");
        assert_eq!(codes(&store.finish().await.expect("replies")), [250, 452]);
        assert!(store.is_idle());
    });
    server.join().expect("the server ended well");
}

/// RFC 3030 2: what was sent in chunks is taken back by RSET when one is refused, and the connection is of use again.
#[test]
fn a_refused_chunk_ends_the_text_and_not_the_session() {
    let (target, server) = scripted(&[
        ("", "220 hop\r\n"),
        ("\r\n", "250-hop\r\n250 CHUNKING\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("BDAT 100000\r\n", ""),
        ("\r\nend\r\n", "552 5.3.4 too large\r\n"),
        ("RSET\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("BDAT 5 LAST\r\ntwo\r\n", "250 kept\r\n"),
    ]);
    smol::block_on(async {
        let mut hop = client(Protocol::Smtp).connect(&target).await.expect("connected");
        hop.mail(&mail()).await.expect("MAIL");
        hop.rcpt(&rcpt("b@example.net")).await.expect("RCPT");
        hop.chunks(false).await.expect("begun");
        let mut large = b"0123456789abcdef\r\n".repeat(5556);
        large.truncate(100_000 - 7);
        large.extend_from_slice(b"\r\nend\r\n");
        hop.text(&large).await.expect("taken");
        let refused = hop.text(b"more\r\n").await.expect_err("refused");
        assert!(matches!(&refused, Stopped::Refused(reply) if reply.code() == 552), "{refused}");
        assert!(!refused.is_temporary() && hop.is_idle());
        assert_eq!(hop.finish().await, Err(refused));
        hop.mail(&mail()).await.expect("MAIL");
        hop.rcpt(&rcpt("b@example.net")).await.expect("RCPT");
        hop.chunks(false).await.expect("begun");
        hop.text(b"two\r\n").await.expect("taken");
        assert_eq!(codes(&hop.finish().await.expect("replies")), [250]);
    });
    server.join().expect("the server ended well");
}

/// RFC 1047: when the reply to the whole text does not come nobody knows; before its end the server cannot have it.
#[test]
fn what_is_not_known_is_said_to_be_unknown() {
    let dialogue = &[
        ("", "220 hop\r\n"),
        ("\r\n", "250 hop\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "354 go on\r\n"),
        ("\r\n.\r\n", ""),
    ];
    for (script, unknown) in [(&dialogue[..], true), (&dialogue[..4], false)] {
        let (target, server) = scripted(script);
        smol::block_on(async {
            let mut hop = client(Protocol::Smtp).connect(&target).await.expect("connected");
            hop.mail(&mail()).await.expect("MAIL");
            hop.rcpt(&rcpt("b@example.net")).await.expect("RCPT");
            let mut stopped = hop.data().await.err();
            if stopped.is_none() {
                hop.text(b"x\r\n").await.expect("taken");
                stopped = hop.finish().await.err();
            }
            let expected = if unknown { Stopped::Unknown(Reason::Eof) } else { Stopped::Ended(Reason::Eof) };
            assert_eq!(stopped, Some(expected.clone()));
            // And so from then on.
            assert!(matches!(hop.mail(&mail()).await, Err(Stopped::Unknown(_) | Stopped::Ended(_))));
        });
        server.join().expect("the server ended well");
    }
}

/// A text with a flaw is not sent on; after DATA nothing but the end of the connection takes it back (RFC 5321 2.3.8).
#[test]
fn a_flaw_in_the_text_is_told() {
    let (target, server) = scripted(&[
        ("", "220 hop\r\n"),
        ("\r\n", "250 hop\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "354 go on\r\n"),
    ]);
    smol::block_on(async {
        let mut hop = client(Protocol::Smtp).connect(&target).await.expect("connected");
        hop.mail(&mail()).await.expect("MAIL");
        hop.rcpt(&rcpt("b@example.net")).await.expect("RCPT");
        hop.data().await.expect("DATA");
        hop.text(b"bare\nlf\r\n").await.expect("gathered");
        assert!(matches!(hop.finish().await, Err(Stopped::Text(_))));
        assert!(!hop.is_idle());
    });
    assert!(!server.join().expect("the server ended well").contains("bare"));
}

/// A proxy hands on whom it speaks for; the session then begins anew, and what the server offers is learnt again.
#[test]
fn xclient_and_xforward_are_said_to_a_server_that_offers_them() {
    let (target, server) = scripted(&[
        ("", "220 hop\r\n"),
        ("\r\n", "250-hop\r\n250-XCLIENT NAME ADDR PORT HELO\r\n250 XFORWARD NAME ADDR\r\n"),
        ("\r\n", "220 hop\r\n"),
        ("\r\n", "250-hop\r\n250 XFORWARD NAME ADDR\r\n"),
        ("\r\n", "250 ok\r\n"),
    ]);
    smol::block_on(async {
        let mut hop = client(Protocol::Smtp).connect(&target).await.expect("connected");
        let mut said = AttributesBuilder::new();
        said.address("192.0.2.7:40000".parse().expect("an address")).expect("ADDR and PORT");
        said.add("HELO", Some("a+b\u{20}c")).expect("HELO");
        assert!(said.add("NAME", Some("x\r\nDATA")).is_err() && said.add("helo", Some("again")).is_err());
        let attributes = said.attributes().expect("some");
        assert_eq!(hop.xclient(&attributes).await.expect("XCLIENT").code(), 220);
        assert!(!hop.session().offers().has(Extension::XClient));
        assert!(matches!(hop.xclient(&attributes).await, Err(Stopped::NotSent(_))), "no longer offered");
        // PORT is not among the names that the server announced.
        assert!(matches!(hop.xforward(&attributes).await, Err(Stopped::NotSent(_))));
        let mut said = AttributesBuilder::new();
        said.add("NAME", None).expect("NAME").add("ADDR", Some("192.0.2.7")).expect("ADDR");
        assert_eq!(hop.xforward(&said.attributes().expect("some")).await.expect("XFORWARD").code(), 250);
        assert!(hop.is_idle());
    });
    let said = server.join().expect("the server ended well");
    let ehlo = "EHLO client.example\r\n";
    let expected = format!(
        "{ehlo}XCLIENT ADDR=192.0.2.7 PORT=40000 HELO=a+2Bb+20c\r\n{ehlo}XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.7\r\n"
    );
    assert_eq!(said, expected);
}

/// PROXY protocol, section 2: the header is the first thing on the connection.
#[test]
fn a_proxy_header_comes_before_everything() {
    let (source, destination) = ("192.0.2.7:40000", "198.51.100.1:25");
    let between = Addresses::Ip {
        transport: Transport::Stream,
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    };
    let (target, server) = scripted(&[("\r\n", "220 hop\r\n"), ("\r\n", "250 hop\r\n"), ("QUIT\r\n", "221 bye\r\n")]);
    let proxied = target.clone().proxy_v1(&between).expect("a header");
    // So that a pool does not give the one client's connection to the other.
    assert_ne!(target, proxied);
    assert_ne!(proxied, target.proxy_v2(&between, &[]).expect("a header"));
    smol::block_on(async {
        let mut hop = client(Protocol::Smtp).connect(&proxied).await.expect("connected");
        hop.ready().await.expect("ready");
        hop.quit().await;
    });
    let said = server.join().expect("the server ended well");
    assert_eq!(said, "PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\nEHLO client.example\r\nQUIT\r\n");
}

/// That there is no connection is the outcome of each recipient, and says what to try.
#[test]
fn no_connection_is_an_outcome() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = Target::addresses(vec![listener.local_addr().expect("an address")]);
    drop(listener);
    let to = [rcpt("b@example.net"), rcpt("c@example.net")];
    let envelope = Envelope::new(mail().path, &to);
    for (target, reason) in [
        (closed, NoConnection::Refused),
        (Target::unix("/nonexistent/lmtp".into()), NoConnection::NotFound),
        (Target::addresses(Vec::new()), NoConnection::NoAddress("the host has no address".into())),
    ] {
        let reason = Reason::NotConnected(reason);
        let pool = Pool::new(client(Protocol::Smtp), PoolLimits::default());
        let by_pool = smol::block_on(pool.send(&target, envelope, b"x\r\n"));
        let by_client = smol::block_on(client(Protocol::Smtp).send(&target, envelope, &mut &b"x\r\n"[..]));
        for transaction in [by_pool, by_client.expect("read")] {
            let expected = [Outcome::Later(Because::Session(&reason)); 2];
            assert_eq!(transaction.outcomes().collect::<Vec<_>>(), expected);
        }
    }
}

/// A pool lends a connection to whoever sends by commands, and takes it back.
#[test]
fn a_pool_lends_connections() {
    let (target, server) = scripted(&[
        ("", "220 hop\r\n"),
        ("\r\n", "250-hop\r\n250 DSN\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("\r\n", "452 4.3.1 later\r\n"),
        ("\r\n", "250 ok\r\n"),
        ("QUIT\r\n", "221 bye\r\n"),
    ]);
    let pool = Pool::new(client(Protocol::Smtp), PoolLimits::default());
    smol::block_on(async {
        let mut hop = pool.connection(&target).await.expect("connected");
        assert!(!hop.is_used());
        let mut params = ParamsBuilder::mail();
        params.envid("order 66").expect("ENVID");
        hop.mail(&Mail { params: params.params(), ..mail() }).await.expect("MAIL");
        hop.reset().await.expect("RSET");
        pool.give_back(hop).await;
        let mut hop = pool.connection(&target).await.expect("the same");
        assert!(hop.is_used());
        assert_eq!(hop.mail(&mail()).await.expect("MAIL").as_reply().to_string(), "452 4.3.1 later");
        assert!(matches!(hop.rcpt(&rcpt("b@example.net")).await, Err(Stopped::NotSent(_))));
        assert_eq!(hop.reset().await.expect("RSET").code(), 250);
        pool.give_back(hop).await;
        pool.close_idle(true).await;
    });
    assert!(server.join().expect("the server ended well").contains("MAIL FROM:<a@example.org> ENVID=order+2066\r\n"));
}
