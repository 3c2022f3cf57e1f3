//! The ClientHello, read before a TLS library sees it: what a client offers, whether or not a handshake comes of it.
//!
//! Only what a policy or a log cares about is read. The TLS library judges the rest, and does the handshake.

use alloc::vec::Vec;

use nom::bytes::complete::take;
use nom::combinator::{all_consuming, map_parser, rest, verify};
use nom::multi::length_data;
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Parser};

use super::{TlsOffer, TlsVersion};

/// Octets of a ClientHello; those of the field are some 2,000 at most, and the length field could say 16 million.
pub const MOST_OCTETS: usize = 32 << 10;
/// Octets of a record before it is encrypted (RFC 8446 5.1).
const MOST_IN_RECORD: usize = 1 << 14;

/// Takes the first octets of a connection, however they are cut and over however many records, until the ClientHello is
/// complete. In linear time, and in memory of [`MOST_HELLO_OCTETS`](super::MOST_HELLO_OCTETS) and a record.
///
/// ```
/// use smtp_proto::tls::{HelloReader, TlsVersion};
///
/// // ClientHello of TLS 1.0: one cipher suite, no extensions.
/// let mut octets = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01".to_vec();
/// octets.extend([7; 32]);
/// octets.extend(b"\x00\x00\x02\x00\x35\x01\x00");
/// let mut reader = HelloReader::default();
/// assert_eq!(reader.feed(&octets[..20]), Ok(false));
/// assert_eq!(reader.feed(&octets[20..]), Ok(true));
/// let hello = reader.hello().expect("complete");
/// assert_eq!(hello.offered().version, TlsVersion::Tls10);
/// assert!(hello.cipher_suites.eq([0x35]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct HelloReader {
    header: [u8; 5],
    /// How much of the header of a record has come.
    have: usize,
    /// How much of the record is still to come.
    left: usize,
    message: Vec<u8>,
    end: Option<Result<(), HelloError>>,
    /// A ClientHello in the form of SSL 2 has no more than this that matters.
    ssl2: Option<u16>,
}

/// Why octets are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// Not even a record of TLS.
    #[error("sent no TLS")]
    NoTls,
    /// TLS, but not a ClientHello first (RFC 8446 4.1.1).
    #[error("sent no ClientHello")]
    NoClientHello,
    /// A ClientHello that contradicts itself.
    #[error("sent a broken ClientHello")]
    Malformed,
    /// A ClientHello of more than [`MOST_HELLO_OCTETS`](super::MOST_HELLO_OCTETS) octets.
    #[error("sent an endless ClientHello")]
    TooLong,
}

impl HelloReader {
    /// Takes the next octets of the connection. True when the ClientHello is complete: what comes behind it is not looked
    /// at. Once it has ended, one way or the other, it gives the same again.
    ///
    /// # Errors
    /// Why they are no ClientHello, as soon as that is known.
    pub fn feed(&mut self, mut octets: &[u8]) -> Result<bool, HelloError> {
        while self.end.is_none() && !octets.is_empty() {
            octets = match self.step(octets) {
                Ok(behind) => behind,
                Err(error) => {
                    self.end = Some(Err(error));
                    self.message = Vec::new();
                    break;
                }
            };
        }
        self.end.unwrap_or(Ok(())).map(|()| self.end.is_some())
    }

    /// What the client offers, when it is complete.
    #[must_use]
    pub fn hello(&self) -> Option<ClientHello<'_>> {
        match (self.end, self.ssl2) {
            (Some(Ok(())), Some(version)) => Some(ClientHello { legacy_version: version, ..ClientHello::default() }),
            (Some(Ok(())), None) => parse(self.message.get(4..)?).ok(),
            _ => None,
        }
    }

    /// Whether the ClientHello came in the form of SSL 2, which no version since takes (RFC 6176).
    #[must_use]
    pub const fn is_ssl2(&self) -> bool {
        self.ssl2.is_some()
    }

    fn step<'o>(&mut self, octets: &'o [u8]) -> Result<&'o [u8], HelloError> {
        if self.left == 0 {
            let n = octets.len().min(self.header.len() - self.have);
            let (new, behind) = octets.split_at(n);
            self.header.get_mut(self.have..self.have + n).unwrap_or_default().copy_from_slice(new);
            self.have += n;
            self.record()?;
            return Ok(behind);
        }
        let (new, behind) = octets.split_at(octets.len().min(self.left));
        self.left -= new.len();
        self.message.extend_from_slice(new);
        self.message()?;
        Ok(behind)
    }

    /// The header of a record, as much of it as there is (RFC 8446 5.1). Or the beginning of a ClientHello of SSL 2, in which
    /// clients of another age say that they have better (RFC 5246 appendix E.2).
    fn record(&mut self) -> Result<(), HelloError> {
        match (self.header, self.have) {
            ([22, ..], 1) | ([22, 3, ..], 2..5) | ([0x80..=0xff, ..], 1..3) | ([0x80..=0xff, _, 1, ..], 3..5) => Ok(()),
            ([0x80..=0xff, _, 1, major, minor], 5) if self.message.is_empty() => {
                self.ssl2 = Some(u16::from_be_bytes([major, minor]));
                self.end = Some(Ok(()));
                Ok(())
            }
            ([22, 3, _, high, low], 5) => {
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.have = 0;
                // RFC 8446 5.1: records of a handshake are not empty.
                if (1..=MOST_IN_RECORD).contains(&self.left) { Ok(()) } else { Err(HelloError::Malformed) }
            }
            // Alerts and the like.
            ([20..=23, 3, ..], 5) => Err(HelloError::NoClientHello),
            ([20..=23, ..], 1) | ([20..=23, 3, ..], 2..5) => Ok(()),
            // Between the records of a message (RFC 8446 5.1).
            _ if !self.message.is_empty() => Err(HelloError::Malformed),
            _ => Err(HelloError::NoTls),
        }
    }

    /// The beginning of a handshake's message: type, and length (RFC 8446 4).
    fn message(&mut self) -> Result<(), HelloError> {
        match *self.message.as_slice() {
            [] => Ok(()),
            [1, high, middle, low, ref body @ ..] => {
                let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
                if length > MOST_OCTETS {
                    return Err(HelloError::TooLong);
                }
                if let Some(body) = body.get(..length) {
                    parse(body).map_err(|_| HelloError::Malformed)?;
                    self.message.truncate(4 + length);
                    self.end = Some(Ok(()));
                }
                Ok(())
            }
            [1, ..] => Ok(()),
            _ => Err(HelloError::NoClientHello),
        }
    }
}

/// What a client offers (RFC 8446 4.1.2, RFC 5246 7.4.1.2), in its own order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientHello<'i> {
    /// The version field. TLS 1.3 has it for compatibility alone and lists its versions in
    /// [`versions`](Self::versions).
    pub legacy_version: u16,
    /// Versions (`supported_versions`, RFC 8446 4.2.1). Empty where the client does not know that extension.
    pub versions: CodePoints<'i>,
    /// Cipher suites, by their numbers.
    pub cipher_suites: CodePoints<'i>,
    /// Groups for the key exchange (`supported_groups`, RFC 8446 4.2.7).
    pub groups: CodePoints<'i>,
    /// Signature schemes (`signature_algorithms`, RFC 8446 4.2.3).
    pub signature_schemes: CodePoints<'i>,
    /// The server's name (RFC 6066 3), if there is one and it is of letters, digits, `-`, `_` and `.` alone.
    pub server_name: Option<&'i str>,
    /// Application protocols (ALPN, RFC 7301 3.1).
    pub protocols: ProtocolNames<'i>,
}

impl ClientHello<'_> {
    /// What policies need to know of it: the highest version, and whether post-quantum key exchange is offered.
    #[must_use]
    pub fn offered(&self) -> TlsOffer {
        TlsOffer::new(self.highest(), self.groups.into_iter().any(is_post_quantum))
    }

    /// The highest version that is known here. What comes after 1.3 would be offered beside it.
    fn highest(&self) -> TlsVersion {
        let of = |number| match number {
            0x0304 => Some(TlsVersion::Tls13),
            0x0303 => Some(TlsVersion::Tls12),
            0x0302 => Some(TlsVersion::Tls11),
            0x0301 => Some(TlsVersion::Tls10),
            _ => None,
        };
        // RFC 8446 4.2.1: with the extension the other version is not looked at; without it there is no 1.3.
        match self.versions.into_iter().filter_map(of).max() {
            Some(highest) => highest,
            None => of(self.legacy_version.min(0x0303)).unwrap_or(TlsVersion::Ssl),
        }
    }
}

/// Groups with ML-KEM, alone or beside a curve (draft-ietf-tls-ecdhe-mlkem, draft-ietf-tls-mlkem), and its drafts, which
/// clients offered before.
const fn is_post_quantum(group: u16) -> bool {
    matches!(group, 0x11eb..=0x11ed | 0x0200..=0x0202 | 0x6399 | 0x639a)
}

/// Code points of 16 bits, such as those of cipher suites, in the order of the client's preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodePoints<'i>(&'i [u8]);

impl Iterator for CodePoints<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let (first, behind) = self.0.split_first_chunk()?;
        self.0 = behind;
        Some(u16::from_be_bytes(*first))
    }
}

/// Names of protocols, as octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolNames<'i>(&'i [u8]);

impl<'i> Iterator for ProtocolNames<'i> {
    type Item = &'i [u8];

    fn next(&mut self) -> Option<&'i [u8]> {
        let (behind, name) = vector8(self.0).ok()?;
        self.0 = behind;
        Some(name)
    }
}

fn vector8(input: &[u8]) -> IResult<&[u8], &[u8]> {
    length_data(be_u8).parse(input)
}

fn vector16(input: &[u8]) -> IResult<&[u8], &[u8]> {
    length_data(be_u16).parse(input)
}

/// Numbers that fill what they stand in: at least one (RFC 8446 3.4).
fn numbers(input: &[u8]) -> IResult<&[u8], CodePoints<'_>> {
    verify(rest, |octets: &[u8]| !octets.is_empty() && octets.len().is_multiple_of(2)).map(CodePoints).parse(input)
}

fn parse(body: &[u8]) -> Result<ClientHello<'_>, nom::Err<nom::error::Error<&[u8]>>> {
    let fixed = (be_u16, take(32_usize), verify(vector8, |session: &[u8]| session.len() <= 32));
    let suites = map_parser(vector16, numbers);
    let compressions = verify(vector8, |methods: &[u8]| !methods.is_empty());
    let (behind, ((legacy_version, ..), cipher_suites, _)) = (fixed, suites, compressions).parse(body)?;
    let mut hello = ClientHello { legacy_version, cipher_suites, ..ClientHello::default() };
    // RFC 5246 7.4.1.2: there may be no extensions at all; and there is nothing behind them.
    if !behind.is_empty() {
        let (_, mut extensions) = all_consuming(vector16).parse(behind)?;
        let mut seen = 0_u8;
        while !extensions.is_empty() {
            let (next, (kind, value)) = (be_u16, vector16).parse(extensions)?;
            let bit = extension(&mut hello, kind, value)?;
            // RFC 8446 4.2: none comes twice.
            if seen & bit != 0 {
                return Err(nom::Err::Failure(nom::error::Error::new(value, nom::error::ErrorKind::Many0)));
            }
            seen |= bit;
            extensions = next;
        }
    }
    Ok(hello)
}

/// Takes up an extension; each that is known has a bit of its own.
fn extension<'i>(
    hello: &mut ClientHello<'i>,
    kind: u16,
    value: &'i [u8],
) -> Result<u8, nom::Err<nom::error::Error<&'i [u8]>>> {
    match kind {
        0 => {
            // An empty list is what servers send; some clients do as well.
            let mut names = if value.is_empty() { value } else { all_consuming(vector16).parse(value)?.1 };
            while !names.is_empty() {
                let (next, (form, name)) = (be_u8, vector16).parse(names)?;
                // RFC 6066 3: a host's name, in ASCII.
                if form == 0 && hello.server_name.is_none() {
                    hello.server_name = domain(name);
                }
                names = next;
            }
            Ok(1)
        }
        10 => {
            hello.groups = all_consuming(map_parser(vector16, numbers)).parse(value)?.1;
            Ok(2)
        }
        13 => {
            hello.signature_schemes = all_consuming(map_parser(vector16, numbers)).parse(value)?.1;
            Ok(4)
        }
        16 => {
            let (_, mut names) = all_consuming(vector16).parse(value)?;
            hello.protocols = ProtocolNames(names);
            while !names.is_empty() {
                names = verify(vector8, |name: &[u8]| !name.is_empty()).parse(names)?.0;
            }
            Ok(8)
        }
        43 => {
            hello.versions = all_consuming(map_parser(vector8, numbers)).parse(value)?.1;
            Ok(16)
        }
        _ => Ok(0),
    }
}

fn domain(name: &[u8]) -> Option<&str> {
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    let name = core::str::from_utf8(name).ok()?;
    ((1..=255).contains(&name.len()) && name.as_bytes().iter().all(plain)).then_some(name)
}
