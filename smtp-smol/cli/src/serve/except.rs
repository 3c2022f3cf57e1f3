//! Who may go on in plaintext where TLS is required, or rehearsed: the file of `--except`.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use smtp_proto::tls::Exceptions;

use crate::failure::Failure;

/// Octets of the file.
const MAX_FILE: u64 = 64 << 20;

/// The exceptions, as the file was when it was read last.
#[derive(Debug)]
pub(crate) struct Excepted {
    file: PathBuf,
    list: RwLock<Arc<Exceptions>>,
}

impl Excepted {
    /// Reads the file.
    pub(crate) fn open(file: &Path) -> Result<Self, Failure> {
        let list = read(file)?;
        Ok(Self { file: file.into(), list: RwLock::new(Arc::new(list)) })
    }

    /// Reads it again; where it cannot be, what was read before still holds.
    pub(crate) fn reload(&self) -> Result<(), Failure> {
        let list = read(&self.file)?;
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
        Ok(())
    }

    /// Whether mail with this reverse-path, from a client there of that name, may come in plaintext.
    pub(crate) fn hold(&self, peer: Option<IpAddr>, helo: Option<&str>, from: &str) -> bool {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        list.hold(peer, helo, from.rsplit_once('@').map_or("", |(_, domain)| domain))
    }
}

/// The list in a file of `--except`.
pub(crate) fn read(file: &Path) -> Result<Exceptions, Failure> {
    let wrong = |wrong: &dyn std::fmt::Display, mend: &str| Failure::option("--except", file.display(), wrong, mend);
    let size = fs::metadata(file).map_err(|error| wrong(&error, "name a file that can be read"))?.len();
    if size > MAX_FILE {
        return Err(wrong(
            &"is too long",
            "name a list of exceptions, as `smtp-smol audit --exceptions FILE` writes it",
        ));
    }
    let text = fs::read_to_string(file).map_err(|error| wrong(&error, "name a file that can be read"))?;
    Exceptions::parse(&text)
        .map_err(|(line, mend)| wrong(&format!("line {line} is neither a domain nor a network"), &mend.to_string()))
}
