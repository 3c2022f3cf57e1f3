//! What drivers of [`smtp_proto`] have to know of rustls. The core knows no TLS library, and no driver should have to
//! write this again.
//!
//! - [`ServerTls`] and [`ClientTls`] say how each side does TLS. A client says whom it trusts, and whether it depends on
//!   that. A server may sort the certificates that clients show: [`ClientCertificates`].
//! - [`Stream`] is TLS as bytes, without a socket and without buffers of its own: an idle connection holds its keys and
//!   no more. `smtp-mio` and `smtp-smol` are built on it.
//! - [`info`] and [`failure`] turn what rustls says of a connection into [`TlsInfo`](smtp_proto::TlsInfo) and
//!   [`TlsFailure`](smtp_proto::tls::TlsFailure). A driver that has other streams, such as those of tokio-rustls, needs
//!   only these:
//!
//! ```
//! # #[cfg(feature = "rustls")] {
//! use smtp_proto::TlsInfo;
//! use smtp_proto::tls::TlsFailure;
//! use smtp_rustls::{ClientCertificates, failure, info};
//!
//! fn of_a_server(connection: &rustls::ServerConnection, certificates: &ClientCertificates) -> TlsInfo {
//!     info::of_server(connection, Some(certificates))
//! }
//!
//! // What tokio-rustls gives when a handshake fails.
//! fn of_a_failure(error: &std::io::Error) -> TlsFailure {
//!     failure::of_io(error)
//! }
//!
//! let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
//! assert_eq!(of_a_failure(&std::io::Error::other(alert)), TlsFailure::Alert("unknown_ca".into()));
//! # }
//! ```
//!
//! Without the feature `rustls`, which is on by default, the types that drivers hold are still there, but no value of them
//! can be made. So a driver can be built without TLS and without a TLS library, from the same code.

#[cfg(not(feature = "rustls"))]
mod absent;
#[cfg(feature = "rustls")]
mod present;

#[cfg(not(feature = "rustls"))]
pub use absent::{ClientCertificates, ClientEnd, ClientTls, End, ServerEnd, ServerTls, Stream};
#[cfg(feature = "rustls")]
pub use present::*;
