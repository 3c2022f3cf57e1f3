//! The messages of the mechanisms that are one message, or nearly: read by the server, written by the client.

use alloc::string::{String, ToString};

use super::scram::{escape, unescape};
use super::{InvalidCredentials, MAX_MESSAGE, MAX_NAME, MAX_PASSWORD, Secret, prepare};

/// RFC 4616 2: `[authzid] NUL authcid NUL passwd`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) authzid: Option<String>,
    pub(super) authcid: String,
    pub(super) password: Secret,
}

impl Plain {
    /// RFC 4616 2: exactly two NULs; a name and a password; UTF-8.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let mut parts = core::str::from_utf8(message).ok()?.split('\0');
        let (Some(authzid), Some(authcid), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        Some(Self { authzid: optional_name(authzid)?, authcid: name(authcid)?, password: self::password(password)? })
    }

    pub(super) fn write(authzid: Option<&str>, authcid: &str, password: &Secret) -> Secret {
        Secret::join(&[authzid.unwrap_or_default().as_bytes(), b"\0", authcid.as_bytes(), b"\0", password.expose()])
    }
}

/// A bearer token (RFC 6750), and for whom.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) user: Option<String>,
    pub(super) token: Secret,
    /// Where the client believes it is: for OAUTHBEARER.
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
}

impl Bearer {
    /// `user=NAME ^A auth=Bearer TOKEN ^A ^A`.
    pub(super) fn parse_xoauth2(message: &[u8]) -> Option<Self> {
        let message = core::str::from_utf8(message).ok()?;
        let (user, rest) = message.strip_prefix("user=")?.split_once('\x01')?;
        let auth = rest.strip_prefix("auth=")?.strip_suffix("\x01\x01")?;
        Some(Self { user: Some(name(user)?), token: token_of(auth)?, host: None, port: None })
    }

    pub(super) fn write_xoauth2(user: &str, token: &Secret) -> Secret {
        Secret::join(&[b"user=", user.as_bytes(), b"\x01auth=Bearer ", token.expose(), b"\x01\x01"])
    }

    /// RFC 7628 3.1: a GS2 header, then `key=value`, each set off by ^A, two of them at the end.
    pub(super) fn parse_oauthbearer(message: &[u8]) -> Option<Self> {
        let message = core::str::from_utf8(message).ok()?;
        let (header, pairs) = message.split_once('\x01')?;
        // There is no such mechanism with channel binding; `F`, for messages that are not of GSS, is not for it either.
        let authzid = header.strip_prefix("n,").or_else(|| header.strip_prefix("y,"))?.strip_suffix(',')?;
        let user = match authzid {
            "" => None,
            _ => Some(name(&unescape(authzid.strip_prefix("a=")?)?)?),
        };
        let (mut auth, mut host, mut port) = (None, None, None);
        for pair in pairs.strip_suffix("\x01\x01")?.split('\x01') {
            let (key, value) = pair.split_once('=')?;
            if key.is_empty() || !key.bytes().all(|octet| octet.is_ascii_alphabetic()) {
                return None;
            }
            // RFC 7628 3.1: keys that are not known are ignored; a known one twice could be read in two ways.
            let twice = match key {
                "auth" => auth.replace(token_of(value)?).is_some(),
                "host" => host.replace(name(value)?).is_some(),
                "port" => port.replace(value.parse().ok()?).is_some(),
                _ => false,
            };
            if twice {
                return None;
            }
        }
        Some(Self { user, token: auth?, host, port })
    }

    pub(super) fn write_oauthbearer(user: &str, token: &Secret, at: Option<(&str, u16)>) -> Secret {
        let at = at.map(|(host, port)| alloc::format!("\x01host={host}\x01port={port}")).unwrap_or_default();
        Secret::join(&[
            b"n,a=",
            escape(user).as_bytes(),
            b",",
            at.as_bytes(),
            b"\x01auth=Bearer ",
            token.expose(),
            b"\x01\x01",
        ])
    }
}

fn token_of(auth: &str) -> Option<Secret> {
    let (scheme, token) = auth.split_once(' ')?;
    // RFC 9110 11.1: the scheme in any case of letters.
    if scheme.eq_ignore_ascii_case("bearer") { self::token(token).ok().map(Secret::from) } else { None }
}

/// RFC 6750 2.1 gives tokens fewer characters still; what matters is that none ends the pair or the header.
pub(super) fn token(text: &str) -> Result<&str, InvalidCredentials> {
    let text = prepare(text, MAX_MESSAGE / 2)?;
    if text.bytes().all(|octet| octet.is_ascii_graphic()) { Ok(text) } else { Err(InvalidCredentials::Forbidden) }
}

pub(super) fn name(text: &str) -> Option<String> {
    prepare(text, MAX_NAME).ok().map(ToString::to_string)
}

/// `Some(None)` when it is empty, and so not there.
pub(super) fn optional_name(text: &str) -> Option<Option<String>> {
    if text.is_empty() { Some(None) } else { name(text).map(Some) }
}

pub(super) fn password(text: &str) -> Option<Secret> {
    prepare(text, MAX_PASSWORD).ok().map(Secret::from)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::{Bearer, Plain};
    use crate::auth::Secret;

    #[test]
    fn the_examples_of_rfc_4616_section_4() {
        let tim = Plain::parse(b"\0tim\0tanstaaftanstaaf").expect("PLAIN");
        assert_eq!((tim.authzid, tim.authcid.as_str()), (None, "tim"));
        assert_eq!(tim.password.expose(), b"tanstaaftanstaaf");
        let kurt = Plain::parse(b"Ursel\0Kurt\0xipj3plmq").expect("PLAIN");
        assert_eq!((kurt.authzid.as_deref(), kurt.authcid.as_str()), (Some("Ursel"), "Kurt"));
        assert_eq!(kurt.password.expose(), b"xipj3plmq");
        assert_eq!(Plain::write(Some("Ursel"), "Kurt", &kurt.password).expose(), b"Ursel\0Kurt\0xipj3plmq");
        assert_eq!(Plain::write(None, "tim", &tim.password).expose(), b"\0tim\0tanstaaftanstaaf");
    }

    #[test]
    fn plain_has_two_nuls_a_name_and_a_password() {
        let long = [&b"\0user\0"[..], &[b'x'; 4097]].concat();
        let longer = [&b"\0"[..], &[b'x'; 1025], b"\0password"].concat();
        for bad in [
            &b""[..],
            b"user",
            b"user\0password",
            b"\0user",
            b"\0\0",
            b"\0\0password",
            b"\0user\0",
            b"\0user\0password\0",
            b"\0user\0pass\0word",
            b"\0\0user\0password",
            b"authzid\0\0password",
            b"\0us\xe9r\0password",
            b"\0user\0\xc0\xaf",
            b"\0us\r\ner\0password",
            b"\0user\0pass\nword",
            b"\x01\0user\0password",
            &long,
            &longer,
        ] {
            assert_eq!(Plain::parse(bad), None, "{:?}", bad.escape_ascii().to_string());
        }
        assert!(Plain::parse(&long[..long.len() - 1]).is_some());
        assert!(Plain::parse("\0h\u{f6}lder\0p\u{e4}ss w\u{f6}rd".as_bytes()).is_some());
    }

    /// RFC 7628 4.1.
    const RFC_7628: &[u8] = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
        auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";

    #[test]
    fn the_example_of_rfc_7628_section_4_1() {
        let bearer = Bearer::parse_oauthbearer(RFC_7628).expect("OAUTHBEARER");
        let token = Secret::from("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let expected = Bearer {
            user: Some("user@example.com".into()),
            token,
            host: Some("server.example.com".into()),
            port: Some(143),
        };
        assert_eq!(bearer, expected);
        let written = Bearer::write_oauthbearer("user@example.com", &bearer.token, Some(("server.example.com", 143)));
        assert_eq!(written.expose(), RFC_7628);
    }

    #[test]
    fn a_name_with_comma_and_equals_comes_through() {
        let written = Bearer::write_oauthbearer("a,b=c", &"t".into(), None);
        assert_eq!(written.expose(), b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01");
        assert_eq!(Bearer::parse_oauthbearer(written.expose()).expect("read back").user.as_deref(), Some("a,b=c"));
    }

    #[test]
    fn what_is_no_oauthbearer() {
        assert!(Bearer::parse_oauthbearer(b"y,,\x01auth=bearer t\x01\x01").is_some());
        assert!(Bearer::parse_oauthbearer(b"n,,\x01user=x\x01auth=BEARER t\x01\x01").is_some());
        for bad in [
            &b""[..],
            b"\x01",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer t\x01",
            b"n,,\x01auth=Bearer t",
            b"n,,\x01auth=Bearer t\x01\x01\x01",
            b"n,\x01auth=Bearer t\x01\x01",
            b"n,,,\x01auth=Bearer t\x01\x01",
            b"n,user,\x01auth=Bearer t\x01\x01",
            b"n,a=,\x01auth=Bearer t\x01\x01",
            b"n,a=x=,\x01auth=Bearer t\x01\x01",
            b"n,a=x=2c,\x01auth=Bearer t\x01\x01",
            b"p=tls-exporter,,\x01auth=Bearer t\x01\x01",
            b"n,,\x01host=h\x01port=1\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer a b\x01\x01",
            b"n,,\x01auth=Basic t\x01\x01",
            b"n,,\x01auth=\x01\x01",
            b"n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
            b"n,,\x01host=a\x01host=b\x01auth=Bearer t\x01\x01",
            b"n,,\x01port=65536\x01auth=Bearer t\x01\x01",
            b"n,,\x01port=\x01auth=Bearer t\x01\x01",
            b"n,,\x01=x\x01auth=Bearer t\x01\x01",
            b"n,,\x01x\x01auth=Bearer t\x01\x01",
            b"n,,\x01auth=Bearer t\xff\x01\x01",
        ] {
            assert_eq!(Bearer::parse_oauthbearer(bad), None, "{:?}", bad.escape_ascii().to_string());
        }
    }

    #[test]
    fn xoauth2_is_read_back_and_nothing_else_is() {
        let written =
            Bearer::write_xoauth2("someuser@example.com", &"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg".into());
        assert_eq!(
            written.expose(),
            b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"
        );
        let bearer = Bearer::parse_xoauth2(written.expose()).expect("XOAUTH2");
        assert_eq!(bearer.user.as_deref(), Some("someuser@example.com"));
        for bad in [
            &b""[..],
            b"user=x",
            b"user=x\x01\x01",
            b"user=\x01auth=Bearer t\x01\x01",
            b"user=x\x01auth=Bearer t\x01",
            b"user=x\x01auth=Bearer t\x01\x01\x01",
            b"user=x\x01auth=Bearer \x01\x01",
            b"user=x\x01auth=Bearer t u\x01\x01",
            b"user=x\x01auth=Digest t\x01\x01",
            b"auth=Bearer t\x01user=x\x01\x01",
            b"user=x\ny\x01auth=Bearer t\x01\x01",
        ] {
            assert_eq!(Bearer::parse_xoauth2(bad), None, "{:?}", bad.escape_ascii().to_string());
        }
    }
}
