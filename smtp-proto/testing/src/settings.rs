//! What a sink is told before it starts.

use std::io;
use std::sync::Arc;

use smtp_proto::auth::{Mechanism, MechanismSet};
use smtp_proto::server::{Config, Limits, Role, Room};
use smtp_proto::tls::Policy;

use crate::inbox::Inbox;
use crate::rules::{Rule, Rules};

/// What a sink is told before it starts. By default it offers STARTTLS, takes everything, and keeps 10,000 messages of
/// 256 MiB in all.
///
/// ```
/// use smtp_testing::{Rule, Settings, Verb};
///
/// let mut settings = Settings::default();
/// settings.auth = true;
/// settings.rules.add(Rule::refuse(Verb::Rcpt, "450 4.2.1 Busy")?.first(2));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct Settings {
    /// What its greeting says.
    pub hostname: String,
    /// What it does about TLS.
    pub tls: Policy,
    /// Whether it offers AUTH PLAIN and LOGIN, without TLS too, and takes any name and password.
    pub auth: bool,
    /// Whether it speaks LMTP.
    pub lmtp: bool,
    /// Octets of a message, announced as SIZE; 0 is no limit.
    pub max_size: u64,
    /// How many messages it keeps.
    pub messages: usize,
    /// Octets of text that it keeps.
    pub octets: usize,
    /// How it misbehaves.
    pub rules: Rules,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hostname: "sink.example".to_owned(),
            tls: Policy::Offer,
            auth: false,
            lmtp: false,
            max_size: 0,
            messages: 10_000,
            octets: 256 << 20,
            rules: Rules::default(),
        }
    }
}

impl Settings {
    /// Adds a rule, or several, in the words of a script of `smtp-mio sink`: one a line.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] with the line, what is wrong with it, and what it could be.
    pub fn script(&mut self, script: &str) -> io::Result<()> {
        for (number, line) in script.lines().enumerate() {
            let wrong = |wrong: String| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("line {}, {line:?}: {wrong}", number + 1))
            };
            if let Some(rule) = Rule::from_line(line).map_err(wrong)? {
                self.rules.add(rule);
            }
        }
        Ok(())
    }

    /// The configuration of its sessions.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when the name is none.
    pub fn config(&self) -> io::Result<Arc<Config>> {
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let mut limits = Limits::default();
        // What rules refuse makes faults of what was sent behind it.
        (limits.message, limits.idle_commands, limits.faults) = (self.max_size, u32::MAX, u32::MAX);
        limits.transactions = 0;
        let login = MechanismSet::EMPTY.with(Mechanism::Plain).with(Mechanism::Login);
        let config = Config::new(&self.hostname).and_then(|config| config.limits(limits)).map_err(wrong)?;
        let config = config.role(if self.lmtp { Role::Lmtp } else { Role::Mx }).tls(self.tls);
        let config = config.auth(if self.auth { login } else { MechanismSet::EMPTY });
        Ok(config.allow_plaintext_auth(true).ask_about_all(true).shared())
    }

    /// An inbox of this size, and the room for text that comes in.
    #[must_use]
    pub fn inbox(&self) -> (Arc<Inbox>, Arc<Room>) {
        (Arc::new(Inbox::new(self.messages)), Arc::new(Room::new(self.octets, self.octets)))
    }
}
