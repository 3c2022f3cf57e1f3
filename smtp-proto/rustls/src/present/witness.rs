//! What rustls does not tell of a connection without buffers, but says while the handshake runs: the name that the client
//! asked for goes to whoever chooses the certificate, the secret for a channel binding to the key log.
//!
//! rustls calls both from within the call that processes records, so that a note of the thread's is always of the
//! connection at hand. A configuration is wrapped once; nothing is made for each connection.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::crypto::tls13::OkmBlock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, KeyLog, ServerConfig, SupportedCipherSuite};

/// What was said of one connection.
#[derive(Default)]
pub(crate) struct Heard {
    /// Of the server, as the client calls it (RFC 6066 3).
    pub(crate) server_name: Option<Box<str>>,
    /// TLS 1.3's exporter secret (RFC 8446 7.5).
    exporter: Option<OkmBlock>,
}

thread_local! {
    static NOTE: RefCell<Option<Heard>> = const { RefCell::new(None) };
}

/// What is said from here on is of another connection.
pub(crate) fn listen() {
    NOTE.take();
}

/// What was said meanwhile.
pub(crate) fn heard() -> Option<Heard> {
    NOTE.take()
}

/// The same configuration, which tells.
pub(crate) fn server(config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = Arc::unwrap_or_clone(config);
    config.cert_resolver = Arc::new(Resolver(config.cert_resolver));
    Arc::new(config)
}

/// The same, which tells the secret as well.
pub(crate) fn with_binding(config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = Arc::unwrap_or_clone(config);
    config.key_log = Arc::new(Log(config.key_log));
    Arc::new(config)
}

/// The same for a client.
pub(crate) fn client(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.key_log = Arc::new(Log(config.key_log));
    Arc::new(config)
}

impl Heard {
    /// A handshake may take several turns.
    pub(crate) fn add(&mut self, more: Self) {
        self.server_name = more.server_name.or(self.server_name.take());
        self.exporter = more.exporter.or(self.exporter.take());
    }

    /// `tls-exporter` (RFC 9266 2), for TLS 1.3; in 1.2 it binds nothing without the extended master secret (4.1).
    pub(crate) fn channel_binding(&self, suite: Option<SupportedCipherSuite>) -> Option<Vec<u8>> {
        let Some(SupportedCipherSuite::Tls13(suite)) = suite else { return None };
        // RFC 8446 7.5: Derive-Secret by the label, then HKDF-Expand-Label; the context is empty.
        let expander = suite.hkdf_provider.expander_for_okm(self.exporter.as_ref()?);
        let empty = suite.common.hash_provider.hash(&[]);
        let length = expander.hash_len();
        let secret = label(length, "EXPORTER-Channel-Binding", empty.as_ref(), |info| expander.expand_block(info));
        let expander = suite.hkdf_provider.expander_for_okm(&secret);
        let mut binding = vec![0; 32];
        label(binding.len(), "exporter", empty.as_ref(), |info| expander.expand_slice(info, &mut binding)).ok()?;
        Some(binding)
    }
}

/// HkdfLabel (RFC 8446 7.1).
fn label<T>(length: usize, label: &str, context: &[u8], expand: impl FnOnce(&[&[u8]]) -> T) -> T {
    let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
    let (length, name, hash) = ([0, small(length)], [small("tls13 ".len() + label.len())], [small(context.len())]);
    expand(&[&length, &name, b"tls13 ", label.as_bytes(), &hash, context])
}

fn note(write: impl FnOnce(&mut Heard)) {
    NOTE.with_borrow_mut(|note| write(note.get_or_insert_default()));
}

#[derive(Debug)]
struct Resolver(Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has seen to it that it is a domain name.
        if let Some(name) = hello.server_name() {
            note(|heard| heard.server_name = Some(name.into()));
        }
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

const EXPORTER: &str = "EXPORTER_SECRET";

#[derive(Debug)]
struct Log(Arc<dyn KeyLog>);

impl KeyLog for Log {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if label == EXPORTER && secret.len() <= OkmBlock::MAX_LEN {
            note(|heard| heard.exporter = Some(OkmBlock::new(secret)));
        }
        if self.0.will_log(label) {
            self.0.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == EXPORTER || self.0.will_log(label)
    }
}
