//! What a session knows of its TLS connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustls::{ALL_VERSIONS, HandshakeKind, ProtocolVersion};
use smtp_mio::Limits;
use smtp_proto::auth::MechanismSet;
use smtp_proto::server::Config;
use smtp_proto::tls::{ClientCertificate, Policy, TlsVersion};

use crate::running::{Running, handshake};

/// RFC 6066 3, RFC 9266: the name that was asked for, and the binding as the client has it, resumed or not; over implicit
/// TLS and STARTTLS.
#[test]
fn a_session_knows_name_and_channel_binding() {
    let config = Config::new("mx.example.net").expect("a name").tls(Policy::Offer).auth(MechanismSet::PASSWORD);
    let running = Running::of(config, Limits::default());
    for version in ALL_VERSIONS {
        let config = running.tls_config(&[version]);
        let mut kinds = Vec::new();
        for implicit in [true, false, true] {
            let mut client = if implicit {
                let socket = TcpStream::connect(running.tls_address).expect("connected");
                socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
                let mut client = handshake(socket, &config);
                client.expect("220");
                client
            } else {
                let mut client = running.connect();
                client.say("EHLO c.example\r\nSTARTTLS\r\n");
                client.expect("250");
                client.expect("220");
                handshake(client.0.into_inner(), &config)
            };
            client.say("EHLO c.example\r\n");
            let announced = client.expect("250 ENHANCEDSTATUSCODES");
            let known = running.kept.tls.lock().expect("lock").pop().expect("EHLO").expect("TLS");
            let tls = &client.0.get_ref().conn;
            kinds.push(tls.handshake_kind());
            assert_eq!(known.server_name.as_deref(), Some("mx.example.net"));
            assert_eq!(known.client_certificate, ClientCertificate::Unknown);
            let is_tls13 = version.version == ProtocolVersion::TLSv1_3;
            assert_eq!(known.version == Some(TlsVersion::Tls13), is_tls13);
            let own = tls.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).expect("a binding");
            assert_eq!(known.channel_binding, is_tls13.then_some(own));
            assert_eq!(announced.contains("SCRAM-SHA-256-PLUS"), is_tls13, "{announced}");
            client.say("QUIT\r\n");
            client.expect("221");
            client.closed();
        }
        assert_eq!(kinds[2], Some(HandshakeKind::Resumed), "{kinds:?}");
    }
    running.stop();
}

/// The alert that says why comes even when more messages stand behind the one at fault (RFC 8446 5.1 lets one record hold
/// several).
#[test]
fn a_broken_handshake_is_answered_with_an_alert() {
    let running = Running::start(Policy::Offer);
    // Two Finished instead of a ClientHello.
    let record = b"\x16\x03\x01\x00\x08\x14\x00\x00\x00\x14\x00\x00\x00";
    for implicit in [true, false] {
        let mut socket = if implicit {
            TcpStream::connect(running.tls_address).expect("connected")
        } else {
            let mut client = running.connect();
            client.say("EHLO c.example\r\nSTARTTLS\r\n");
            client.expect("250");
            client.expect("220");
            client.0.into_inner()
        };
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        socket.write_all(record).expect("written");
        let mut said = Vec::new();
        socket.read_to_end(&mut said).expect("the end");
        // Fatal: unexpected_message.
        assert_eq!(said, b"\x15\x03\x03\x00\x02\x02\x0a");
    }
    assert_eq!(running.handle.stats().handshakes_failed, 2);
    running.stop();
}
