//! With rustls.

mod client_certificate;
mod der;
mod end;
pub mod failure;
mod files;
pub mod info;
mod name;
mod server_certificate;
mod stream;
mod witness;

use std::sync::Arc;

pub use client_certificate::ClientCertificates;
pub use end::{ClientEnd, End, ServerEnd};
#[cfg(feature = "system-roots")]
pub use files::authorities_of_system;
pub use files::{authorities_from_pem, server_from_pem};
pub use name::server_name;
use rustls::crypto::CryptoProvider;
pub use server_certificate::{AnyCertificate, ClientTls};
pub use stream::{ServerTls, Stream};

/// The cryptography to use: what the program [installed](CryptoProvider::install_default), or ring.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}
