//! Where account and certificate of ACME are kept: a folder for each authority, with files that nobody else can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustls_acme::{AccountCache, CertCache};

/// The files of an account with one authority.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    account: PathBuf,
    /// Key and chain (PEM).
    certificate: PathBuf,
}

impl Shelf {
    /// In the folder of an authority. Nothing is made yet.
    pub(super) fn new(folder: &Path, first_name: &str) -> Self {
        Self { account: folder.join("account.key"), certificate: folder.join(format!("{first_name}.pem")) }
    }

    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }
}

#[async_trait]
impl CertCache for Shelf {
    type EC = io::Error;

    /// What there is is asked about before anything is ordered.
    async fn load_cert(&self, _: &[String], _: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    async fn store_cert(&self, _: &[String], _: &str, certificate: &[u8]) -> io::Result<()> {
        let (file, octets) = (self.certificate.clone(), certificate.to_owned());
        smol::unblock(move || keep(&file, &octets)).await
    }
}

#[async_trait]
impl AccountCache for Shelf {
    type EA = io::Error;

    async fn load_account(&self, _: &[String], _: &str) -> io::Result<Option<Vec<u8>>> {
        let file = self.account.clone();
        match smol::unblock(move || fs::read(file)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    async fn store_account(&self, _: &[String], _: &str, key: &[u8]) -> io::Result<()> {
        let (file, octets) = (self.account.clone(), key.to_owned());
        smol::unblock(move || keep(&file, &octets)).await
    }
}

/// The old file or the new one is there, whole, whenever somebody looks.
fn keep(file: &Path, octets: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let draft = file.with_extension("tmp");
    let _ = fs::remove_file(&draft);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    out.write_all(octets)?;
    out.sync_all()?;
    fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_kept_is_private_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::new(&folder.path().join("acme/ca.example"), "mx.example.net");
        smol::block_on(async {
            assert!(shelf.load_account(&[], "").await.expect("nothing yet").is_none());
            for key in ["one", "another"] {
                shelf.store_account(&[], "", key.as_bytes()).await.expect("kept");
                assert_eq!(shelf.load_account(&[], "").await.expect("read").as_deref(), Some(key.as_bytes()));
            }
            shelf.store_cert(&[], "", b"certificate").await.expect("kept");
            assert!(shelf.load_cert(&[], "").await.expect("asked").is_none());
        });
        assert_eq!(fs::read(shelf.certificate()).expect("read"), b"certificate");
        for file in [&shelf.account, &shelf.certificate] {
            assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(shelf.account.parent().expect("a folder")).expect("read").count(), 2);
    }
}
