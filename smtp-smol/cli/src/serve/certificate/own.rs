//! A certificate that the server makes for itself once, and keeps.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::pairs::Pair;
use crate::failure::Failure;

/// A self-signed certificate for `host`, made at the first start.
pub(super) fn self_signed(state: &Path, host: &str) -> Result<Pair, Failure> {
    let file: PathBuf = state.join(format!("{}.pem", host.replace(['/', ':', '[', ']'], "_")));
    let unusable = |wrong: String| {
        Failure::option(
            "--state",
            state.display(),
            format_args!("{}: {wrong}", file.display()),
            "name a folder that can be written, or give --cert and --key",
        )
    };
    if !file.exists() {
        make(&file, host).map_err(unusable)?;
    }
    Pair::read(&file, &file).map_err(|wrong| Failure::usage(format!("{wrong}. Or remove it: a new one is made then")))
}

fn make(file: &Path, host: &str) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let name = host.trim_start_matches('[').trim_start_matches("IPv6:").trim_end_matches(']');
    let wrong = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(wrong)?;
    // People look at the subject first.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().map_err(wrong)?;
    let made = params.self_signed(&key).map_err(wrong)?;
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(words)?;
    }
    // Complete or not there: two servers may start at once, and one may be killed.
    let draft = file.with_extension(format!("{}.tmp", std::process::id()));
    let pem = format!("{}{}", made.pem(), key.serialize_pem());
    let write = || {
        let _ = fs::remove_file(&draft);
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        out.write_all(pem.as_bytes())?;
        out.sync_all()?;
        match fs::hard_link(&draft, file) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    };
    let written = write();
    let _ = fs::remove_file(&draft);
    written.map_err(words)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("a/b");
        let made = super::self_signed(&state, "mx.example.net").expect("made");
        let file = made.file();
        let first = std::fs::read(file).expect("read");
        assert_eq!(std::fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
        super::self_signed(&state, "mx.example.net").expect("kept");
        assert_eq!(std::fs::read(file).expect("read"), first);
        assert_eq!(std::fs::read_dir(&state).expect("read").count(), 1, "nothing else is left there");
    }
}
