//! What is known of a connection when its handshake is done, by the names of the registries.

use std::borrow::Cow;

use rustls::pki_types::UnixTime;
use rustls::{ClientConnection, CommonState, NamedGroup, ProtocolVersion, ServerConnection, SupportedCipherSuite};
use smtp_proto::TlsInfo;
use smtp_proto::tls::{ClientCertificate, TlsVersion};

use super::ClientCertificates;

/// Of a server's connection. `certificates` are those that the configuration asks clients for, and sorts.
#[must_use]
pub fn of_server(connection: &ServerConnection, certificates: Option<&ClientCertificates>) -> TlsInfo {
    let mut info = of(connection);
    info.client_certificate = class(connection, certificates);
    info.server_name = connection.server_name().map(Into::into);
    if info.version == Some(TlsVersion::Tls13) {
        info.channel_binding = connection.export_keying_material(vec![0; 32], BINDING, None).ok();
    }
    info
}

/// Of a client's connection. Whether the server's certificate [verifies](crate::ClientTls::is_trusted) is for the caller
/// to add.
#[must_use]
pub fn of_client(connection: &ClientConnection) -> TlsInfo {
    let mut info = of(connection);
    if info.version == Some(TlsVersion::Tls13) {
        info.channel_binding = connection.export_keying_material(vec![0; 32], BINDING, None).ok();
    }
    info
}

/// The label of `tls-exporter` (RFC 9266 section 2). Not in TLS 1.2, where it binds nothing without the extended master
/// secret (section 4.1).
const BINDING: &[u8] = b"EXPORTER-Channel-Binding";

/// What both ends know, of any kind of connection: version, cipher suite, group, application protocol.
#[must_use]
pub fn of(state: &CommonState) -> TlsInfo {
    let version = match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Tls13,
    };
    let mut info = TlsInfo::new(version, state.negotiated_cipher_suite().map_or(Cow::Borrowed("unknown"), suite_name));
    info.group = state.negotiated_key_exchange_group().map(|group| group_name(group.name()));
    info.alpn = state.alpn_protocol().map(Into::into);
    info
}

/// Of which class the client's certificate is; unknown where it may not have been asked for one.
pub(crate) fn class(state: &CommonState, certificates: Option<&ClientCertificates>) -> ClientCertificate {
    let chain = state.peer_certificates().unwrap_or_default();
    match certificates {
        Some(certificates) => certificates.class(chain, UnixTime::now()),
        None if chain.is_empty() => ClientCertificate::Unknown,
        None => ClientCertificate::Untrusted,
    }
}

/// rustls writes TLS13_AES_…; the registry, and everyone's logs, TLS_AES_….
fn suite_name(suite: SupportedCipherSuite) -> Cow<'static, str> {
    let name = suite.suite().as_str().unwrap_or("unknown");
    name.strip_prefix("TLS13_").map_or(Cow::Borrowed(name), |rest| format!("TLS_{rest}").into())
}

/// rustls writes X25519, and FFDHE2048; the registry in small letters (RFC 8446 section 4.2.7).
fn group_name(group: NamedGroup) -> Cow<'static, str> {
    match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768".into(),
        other => other.as_str().map_or("unknown".into(), |name| name.to_ascii_lowercase().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_registry() {
        let provider = crate::provider();
        let names: Vec<_> = provider.cipher_suites.iter().map(|suite| suite_name(*suite)).collect();
        assert!(names.contains(&"TLS_AES_256_GCM_SHA384".into()), "{names:?}");
        assert!(names.contains(&"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".into()), "{names:?}");
        let groups = [NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::FFDHE2048, NamedGroup::X25519MLKEM768];
        assert_eq!(groups.map(group_name), ["x25519", "secp256r1", "ffdhe2048", "X25519MLKEM768"]);
    }
}
