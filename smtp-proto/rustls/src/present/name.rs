//! The name that a server's certificate must bear.

use std::net::IpAddr;

use rustls::pki_types::ServerName;
use smtp_proto::net::PeerName;
use smtp_proto::tls::TlsFailure;

use super::failure::refused;

/// What a server is asked for (SNI), and what its certificate must bear.
///
/// A sure name that no certificate can bear is an error. One that is merely learnt is not worth a connection: then, as
/// without a name, the address stands for it. Brackets around an address are allowed.
///
/// # Errors
/// [`TlsFailure::Refused`] for a sure name that is neither a domain nor an address.
///
/// ```
/// use rustls::pki_types::ServerName;
/// use smtp_proto::net::PeerName;
/// use smtp_rustls::server_name;
///
/// let address: std::net::IpAddr = "192.0.2.1".parse()?;
/// let by_address = ServerName::IpAddress(address.into());
/// assert_eq!(server_name(&PeerName::sure("mx.example.net"), address), Ok(ServerName::try_from("mx.example.net")?));
/// assert_eq!(server_name(&PeerName::sure("[192.0.2.1]"), address), Ok(by_address.clone()));
/// assert_eq!(server_name(&PeerName::learnt("not a name"), address), Ok(by_address));
/// assert!(server_name(&PeerName::sure("not a name"), address).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn server_name(name: &PeerName, address: IpAddr) -> Result<ServerName<'static>, TlsFailure> {
    let by_address = ServerName::IpAddress(address.to_canonical().into());
    let Some(given) = name.as_str() else { return Ok(by_address) };
    match ServerName::try_from(given.trim_matches(['[', ']']).to_owned()) {
        Ok(name) => Ok(name),
        Err(_) if name.is_sure() => Err(refused(&format!("{given:?} is no name for a certificate"))),
        Err(_) => Ok(by_address),
    }
}
