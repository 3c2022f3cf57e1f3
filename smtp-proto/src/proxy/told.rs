//! TLS that ended at a balancer: what its header says of it, as a session knows TLS.

use super::{Addresses, Header, Ssl, SslTlv, Tlv};
use crate::tls::{Channel, ClientCertificate, TlsInfo, TlsVersion};

impl Header<'_> {
    /// What the session runs over, by what the balancer says of TLS between the client and itself (section 2.2.6). Its word
    /// is taken: which proxies to believe is for the driver to decide.
    ///
    /// `before` says that TLS ends at the balancer even where it does not tell. What the balancer says for itself, as in a
    /// health check, is in plaintext.
    #[must_use]
    pub fn channel(&self, before: bool) -> Channel {
        let ssl = self.tlvs.into_iter().find_map(|tlv| if let Tlv::Ssl(ssl) = tlv { Some(ssl) } else { None });
        let mut info = match (self.addresses, ssl) {
            (Addresses::Local, _) => return Channel::Plain,
            (_, Some(ssl)) if ssl.used() => told(&ssl),
            (_, None) if before => TlsInfo::by_proxy(),
            _ => return Channel::Plain,
        };
        for tlv in self.tlvs {
            match tlv {
                Tlv::Alpn(protocol) => info.alpn = Some(protocol.into()),
                Tlv::Authority(name) => info.server_name = Some(name.into()),
                _ => {}
            }
        }
        Channel::Tls(info)
    }
}

fn told(ssl: &Ssl<'_>) -> TlsInfo {
    let mut info = TlsInfo::by_proxy();
    for detail in ssl.tlvs {
        match detail {
            SslTlv::Version(name) => info.version = version(name),
            SslTlv::Cipher(name) => info.cipher = alloc::string::String::from(name).into(),
            SslTlv::CommonName(name) => info.client_name = Some(name.into()),
            _ => {}
        }
    }
    info.client_certificate = match ssl.client & 6 {
        // It may not have been asked for one.
        0 => ClientCertificate::Unknown,
        _ if ssl.verified() => ClientCertificate::Verified,
        _ => ClientCertificate::Untrusted,
    };
    info
}

/// As OpenSSL has it.
fn version(name: &str) -> Option<TlsVersion> {
    Some(match name {
        "TLSv1.3" => TlsVersion::Tls13,
        "TLSv1.2" => TlsVersion::Tls12,
        "TLSv1.1" => TlsVersion::Tls11,
        "TLSv1" | "TLSv1.0" => TlsVersion::Tls10,
        "SSLv3" | "SSLv2" => TlsVersion::Ssl,
        _ => return None,
    })
}
