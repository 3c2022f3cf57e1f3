//! Words for protocols and versions of TLS that several sources share.

use smtp_proto::tls::TlsVersion;

use crate::read::scan::{eq, find_no_case, near};

/// The word behind `with`: the registry of "Mail Transmission Types" (RFC 3848, RFC 6531 4.3), and what Exim writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) tls: bool,
    pub(crate) login: bool,
    pub(crate) lmtp: bool,
}

impl Word {
    pub(crate) fn parse(word: &[u8]) -> Option<Self> {
        let mut upper = [0; 12];
        // Cisco's appliances: `ESMTP/TLS/ECDHE-RSA-AES256-GCM-SHA384`.
        let (word, tls) = match near(word, b'/').and_then(|_| find_no_case(word, b"/TLS/")) {
            Some(at) => (&word[..at], true),
            None => (word, false),
        };
        let upper = upper.get_mut(..word.len())?;
        upper.copy_from_slice(word);
        upper.make_ascii_uppercase();
        let word = upper.strip_prefix(b"UTF8").unwrap_or(upper);
        let (lmtp, suffix) = if let Some(suffix) = word.strip_prefix(b"LMTP") {
            (true, suffix)
        } else {
            // ASMTP: as Exim once called ESMTPA.
            if word == b"ASMTP" {
                return Some(Self { tls: false, login: true, lmtp: false });
            }
            (false, word.strip_prefix(b"ESMTP").or_else(|| word.strip_prefix(b"SMTP"))?)
        };
        let (secure, login) = match suffix {
            b"" => (false, false),
            b"A" => (false, true),
            b"S" => (true, false),
            b"SA" => (true, true),
            _ => return None,
        };
        Some(Self { tls: tls || secure, login, lmtp })
    }
}

/// `TLSv1.3`, `TLS1.3`, `TLS1_3`, `TLSv1_3`, `TLS-1.0` (Exim with GnuTLS, once), `SSLv3` at the start.
pub(crate) fn version(text: &[u8]) -> Option<TlsVersion> {
    let rest = match text.get(..3)? {
        b"TLS" | b"tls" => &text[3..],
        b"SSL" | b"ssl" if matches!(text.get(3..5), Some(b"v2" | b"v3")) => return Some(TlsVersion::Ssl),
        _ => return None,
    };
    version_number(rest.strip_prefix(b"v").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest))
}

/// The group of a key exchange as OpenSSL calls it, by the name that the ledger has for it: `X25519`, `ECDHE (prime256v1)`,
/// `DHE (2048 bits)`, `X25519MLKEM768`.
pub(crate) fn group(text: &[u8]) -> &'static str {
    const GROUPS: [(&[u8], &str); 22] = [
        (b"X25519", "x25519"),
        (b"X448", "x448"),
        (b"prime256v1", "secp256r1"),
        (b"P-256", "secp256r1"),
        (b"secp256r1", "secp256r1"),
        (b"P-384", "secp384r1"),
        (b"secp384r1", "secp384r1"),
        (b"P-521", "secp521r1"),
        (b"secp521r1", "secp521r1"),
        (b"2048", "ffdhe2048"),
        (b"3072", "ffdhe3072"),
        (b"4096", "ffdhe4096"),
        (b"6144", "ffdhe6144"),
        (b"8192", "ffdhe8192"),
        (b"FFDHE2048", "ffdhe2048"),
        (b"FFDHE3072", "ffdhe3072"),
        (b"FFDHE4096", "ffdhe4096"),
        (b"FFDHE6144", "ffdhe6144"),
        (b"FFDHE8192", "ffdhe8192"),
        (b"X25519MLKEM768", "X25519MLKEM768"),
        (b"SecP256r1MLKEM768", "SecP256r1MLKEM768"),
        (b"SecP384r1MLKEM1024", "SecP384r1MLKEM1024"),
    ];
    let text = text.strip_prefix(b"ECDHE (").or_else(|| text.strip_prefix(b"DHE (")).unwrap_or(text);
    let end = text.iter().position(|octet| !octet.is_ascii_alphanumeric() && *octet != b'-').unwrap_or(text.len());
    let name = &text[..end];
    match GROUPS.iter().find(|(known, _)| eq(known, name)) {
        Some((_, group)) => group,
        // ML-KEM alone, and hybrids that are yet to come.
        None if find_no_case(name, b"MLKEM").is_some() => "MLKEM",
        None => "other",
    }
}

/// What a cipher's name tells of the group. GnuTLS's names do, as Exim writes them: `ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM`,
/// `HYBRID_X25519_MLKEM768__…`. So did those of Windows before 2016: `TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384_P384`.
pub(crate) fn group_of(cipher: &[u8]) -> Option<&'static str> {
    if let Some(end) = memchr::memmem::find(cipher, b"__") {
        let exchange = &cipher[..end];
        let named = [&b"HYBRID_"[..], b"ECDHE_PSK_", b"DHE_PSK_", b"ECDHE_", b"DHE_"]
            .iter()
            .find_map(|kind| exchange.strip_prefix(*kind))?;
        let named: Vec<u8> = named.iter().copied().filter(|octet| *octet != b'_').collect();
        return Some(group(&named));
    }
    match cipher.get(cipher.len().checked_sub(5)?..)? {
        b"_P256" => Some("secp256r1"),
        b"_P384" => Some("secp384r1"),
        b"_P521" => Some("secp521r1"),
        _ => None,
    }
}

/// What a cipher suite tells of the version: those of TLS 1.3 are of no other (RFC 8446 B.4).
pub(crate) fn version_of(cipher: &[u8]) -> Option<TlsVersion> {
    const SUITES: [&[u8]; 5] = [
        b"TLS_AES_128_GCM_SHA256",
        b"TLS_AES_256_GCM_SHA384",
        b"TLS_CHACHA20_POLY1305_SHA256",
        b"TLS_AES_128_CCM_SHA256",
        b"TLS_AES_128_CCM_8_SHA256",
    ];
    SUITES.contains(&cipher).then_some(TlsVersion::Tls13)
}

pub(crate) fn version_number(text: &[u8]) -> Option<TlsVersion> {
    let version = match text.get(..3) {
        Some(b"1.3" | b"1_3") => TlsVersion::Tls13,
        Some(b"1.2" | b"1_2") => TlsVersion::Tls12,
        Some(b"1.1" | b"1_1") => TlsVersion::Tls11,
        Some(b"1.0" | b"1_0") => TlsVersion::Tls10,
        // OpenSSL calls TLS 1.0 "TLSv1".
        _ if text.first() == Some(&b'1')
            && !text.get(1).is_some_and(|octet| matches!(octet, b'.' | b'_' | b'0'..=b'9')) =>
        {
            return Some(TlsVersion::Tls10);
        }
        _ => return None,
    };
    (!text.get(3).is_some_and(u8::is_ascii_digit)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::{group, group_of};

    #[test]
    fn groups_have_the_names_of_the_ledger() {
        for (text, name) in [
            ("X25519 server-signature RSA-PSS (2048 bits)", "x25519"),
            ("x25519", "x25519"),
            ("ECDHE (prime256v1) server-signature ECDSA (prime256v1)", "secp256r1"),
            ("ECDHE (P-384) server-signature RSA-PSS (4096 bits)", "secp384r1"),
            ("DHE (2048 bits) server-signature RSA-PSS (2048 bits)", "ffdhe2048"),
            ("X25519MLKEM768 server-signature RSA-PSS (4096 bits) server-digest SHA256", "X25519MLKEM768"),
            ("x25519mlkem768", "X25519MLKEM768"),
            ("MLKEM1024 server-signature", "MLKEM"),
            ("ECDHE (brainpoolP256r1)", "other"),
            ("", "other"),
        ] {
            assert_eq!(group(text.as_bytes()), name, "{text}");
        }
    }

    #[test]
    fn ciphers_that_name_a_group() {
        for (cipher, name) in [
            ("ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM", Some("x25519")),
            ("ECDHE_SECP256R1__RSA_SHA256__AES_256_GCM", Some("secp256r1")),
            ("DHE_FFDHE2048__RSA_SHA256__AES_256_GCM", Some("ffdhe2048")),
            ("DHE_CUSTOM2048__RSA_SHA256__AES_256_GCM", Some("other")),
            ("HYBRID_X25519_MLKEM768__RSA_PSS_RSAE_SHA256__AES_256_GCM", Some("X25519MLKEM768")),
            ("HYBRID_SECP256R1_MLKEM768__ECDSA_SECP256R1_SHA256__AES_128_GCM", Some("SecP256r1MLKEM768")),
            ("RSA__AES_256_GCM", None),
            ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384_P384", Some("secp384r1")),
            ("ECDHE_RSA_AES_256_GCM_SHA384", None),
            ("TLS_AES_256_GCM_SHA384", None),
            ("P256", None),
            ("", None),
        ] {
            assert_eq!(group_of(cipher.as_bytes()), name, "{cipher}");
        }
    }
}
