//! The header of the PROXY protocol, versions 1 and 2, as pure bytes: what a load balancer in front of the server says of
//! the real client. (The specification is `proxy-protocol.txt` of HAProxy; sections are cited from it.)
//!
//! **It is a claim.** Believe it only on a listener that is set up for it and only from the balancer's own [`Network`]; there
//! it must be the first thing that comes, and its absence ends the connection (section 5).
//!
//! ```
//! use smtp_proto::proxy;
//!
//! let mut input = &b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\nEHLO client.example\r\n"[..];
//! if let Some((header, used)) = proxy::parse(input)? {
//!     assert_eq!(header.peer(), Some("192.0.2.7:40000".parse().unwrap()));
//!     input = &input[used..];
//! } // else read more
//! assert_eq!(input, b"EHLO client.example\r\n");
//! # Ok::<(), proxy::ProxyError>(())
//! ```

mod network;
mod tlv;
mod told;

use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use memchr::memchr;

pub use network::{Network, NotANetwork};
pub use tlv::{Ssl, SslTlv, SslTlvs, Tlv, Tlvs};

/// The longest version 1 header, its CRLF included (section 2.1).
pub const MAX_V1: usize = 107;
/// The longest version 2 header that is accepted or written, in octets. The largest addresses are 216, so this leaves
/// room for every registered TLV; the format itself would allow 65,551.
pub const MAX_V2: usize = 4096;

/// What version 2 begins with (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;

/// What the header says about the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header<'i> {
    /// The version of the header: 1 (a line of text) or 2 (binary).
    pub version: u8,
    /// The two ends of the original connection, the one between the client and the proxy.
    pub addresses: Addresses<'i>,
    /// Further information; always empty in version 1.
    pub tlvs: Tlvs<'i>,
}

/// The two ends of the original connection, the one between the client and the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addresses<'i> {
    /// The balancer speaks for itself, as in a health check: its own address counts.
    Local,
    /// It does not know or does not tell. What it may have said of addresses all the same is ignored.
    Unknown,
    /// Internet addresses, both of one family.
    Ip {
        /// Whether the connection is TCP or UDP.
        transport: Transport,
        /// The client's address and port.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
    /// Unix sockets: paths, filled up with NUL.
    Unix {
        /// Whether the socket is for a stream or for datagrams.
        transport: Transport,
        /// The path of the client's socket.
        source: &'i [u8; 108],
        /// Where the client connected to.
        destination: &'i [u8; 108],
    },
}

/// The kind of the original connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, or a Unix stream.
    Stream,
    /// UDP, or Unix datagrams. No SMTP client speaks so.
    Datagram,
}

/// Why the bytes are not a valid header. The connection must be closed without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The bytes begin with the signature of neither version.
    #[error("no PROXY header")]
    Missing,
    /// The header is longer than [`MAX_V1`] or [`MAX_V2`] octets.
    #[error("the PROXY header is too long")]
    TooLong,
    /// Version 1: the line does not end in CRLF, or has a CR or LF within.
    #[error("a bare CR or LF in the PROXY line")]
    LineEnd,
    /// Version 1: not `TCP4`, `TCP6` or `UNKNOWN`.
    #[error("an unknown protocol in the PROXY line")]
    Protocol,
    /// Version 1: an address that is not valid, or of the other family.
    #[error("a bad address in the PROXY line")]
    Address,
    /// Version 1: a port that is no plain number up to 65535.
    #[error("a bad port in the PROXY line")]
    Port,
    /// Version 1: a field too few or too many, or spaces where none belong.
    #[error("fields missing from, or added to, the PROXY line")]
    Fields,
    /// Version 2: the signature with a version other than 2.
    #[error("PROXY version {0}")]
    Version(u8),
    /// Version 2: neither LOCAL nor PROXY.
    #[error("PROXY command {0}")]
    Command(u8),
    /// Version 2: a family or transport that is not assigned.
    #[error("PROXY family and transport {0:#04x}")]
    Family(u8),
    /// Version 2: the addresses do not fit into the length.
    #[error("PROXY addresses are cut short")]
    Short,
    /// Version 2: a TLV of this type is malformed, cut short, or one too many.
    #[error("a malformed PROXY TLV of type {0:#04x}")]
    Tlv(u8),
    /// Version 2: the checksum is wrong.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
    /// On writing: version 1 has no word for it.
    #[error("not expressible in PROXY version 1")]
    NotInVersion1,
}

/// Reads a header off the front of `input`, and says how many octets it took. `None`: it is not yet complete. At most
/// [`MAX_V2`] octets need be at hand.
///
/// # Errors
/// When the bytes are no header, however they go on.
pub fn parse(input: &[u8]) -> Result<Option<(Header<'_>, usize)>, ProxyError> {
    if begins(input, SIGNATURE) {
        v2(input)
    } else if begins(input, b"PROXY ") {
        v1(input)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Whether input begins with all, or as much as it has, of `start`.
fn begins(input: &[u8], start: &[u8]) -> bool {
    input.iter().zip(start).all(|(a, b)| a == b)
}

/// Section 2.1.
fn v1(input: &[u8]) -> Result<Option<(Header<'_>, usize)>, ProxyError> {
    let within = input.get(..MAX_V1).unwrap_or(input);
    let Some(end) = memchr(b'\n', within) else {
        return if within.len() == MAX_V1 { Err(ProxyError::TooLong) } else { Ok(None) };
    };
    let line = within.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(ProxyError::LineEnd)?;
    if line.contains(&b'\r') {
        return Err(ProxyError::LineEnd);
    }
    let mut fields = line.split(|octet| *octet == b' ').skip(1);
    let addresses = match fields.next() {
        // "the receiver must ignore anything presented before the CRLF"
        Some(b"UNKNOWN") => Addresses::Unknown,
        Some(b"TCP4") => v1_addresses::<Ipv4Addr>(fields)?,
        Some(b"TCP6") => v1_addresses::<Ipv6Addr>(fields)?,
        _ => return Err(ProxyError::Protocol),
    };
    Ok(Some((Header { version: 1, addresses, tlvs: Tlvs::default() }, end + 1)))
}

fn v1_addresses<'i, A: FromStr + Into<IpAddr>>(
    mut fields: impl Iterator<Item = &'i [u8]>,
) -> Result<Addresses<'static>, ProxyError> {
    let mut text = || fields.next().ok_or(ProxyError::Fields).map(|field| str::from_utf8(field).unwrap_or_default());
    let (source, destination, source_port, destination_port) = (text()?, text()?, text()?, text()?);
    if fields.next().is_some() {
        return Err(ProxyError::Fields);
    }
    let address = |text: &str| text.parse::<A>().map(Into::into).map_err(|_| ProxyError::Address);
    Ok(Addresses::Ip {
        transport: Transport::Stream,
        source: SocketAddr::new(address(source)?, port(source_port)?),
        destination: SocketAddr::new(address(destination)?, port(destination_port)?),
    })
}

/// Digits only, and no leading zero but in 0 itself.
fn port(text: &str) -> Result<u16, ProxyError> {
    let plain = text.bytes().all(|octet| octet.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(ProxyError::Port)
}

/// Section 2.2.
fn v2(input: &[u8]) -> Result<Option<(Header<'_>, usize)>, ProxyError> {
    let Some(&version_command) = input.get(12) else { return Ok(None) };
    if version_command >> 4 != 2 {
        return Err(ProxyError::Version(version_command >> 4));
    }
    let local = match version_command & 0xf {
        0 => true,
        1 => false,
        command => return Err(ProxyError::Command(command)),
    };
    let Some(&family) = input.get(13) else { return Ok(None) };
    // What LOCAL says of a family "is ignored".
    if !local && (family >> 4 > 3 || family & 0xf > 2) {
        return Err(ProxyError::Family(family));
    }
    let (Some(&high), Some(&low)) = (input.get(14), input.get(15)) else { return Ok(None) };
    let used = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if used > MAX_V2 {
        return Err(ProxyError::TooLong);
    }
    let (Some(header), Some(block)) = (input.get(..used), input.get(FIXED..used)) else { return Ok(None) };
    let transport = if family & 0xf == 1 { Transport::Stream } else { Transport::Datagram };
    let (addresses, rest) = match family {
        0x11 | 0x12 if !local => {
            let ([source, destination], ports, rest) = pair::<4>(block)?;
            (ip(transport, source, destination, ports), rest)
        }
        0x21 | 0x22 if !local => {
            let ([source, destination], ports, rest) = pair::<16>(block)?;
            (ip(transport, source, destination, ports), rest)
        }
        0x31 | 0x32 if !local => {
            let (source, rest) = block.split_first_chunk().ok_or(ProxyError::Short)?;
            let (destination, rest) = rest.split_first_chunk().ok_or(ProxyError::Short)?;
            (Addresses::Unix { transport, source, destination }, rest)
        }
        // UNSPEC has no addresses before its TLVs; but what is there may be anything, which is to be ignored then.
        0 => (if local { Addresses::Local } else { Addresses::Unknown }, tlv::or_nothing(block)),
        _ => (if local { Addresses::Local } else { Addresses::Unknown }, &[][..]),
    };
    let tlvs = Tlvs::checked(rest, header)?;
    Ok(Some((Header { version: 2, addresses, tlvs }, used)))
}

type Pair<'i, const N: usize> = ([[u8; N]; 2], [u16; 2], &'i [u8]);

/// Two addresses, then two ports.
fn pair<const N: usize>(block: &[u8]) -> Result<Pair<'_, N>, ProxyError> {
    let (source, rest) = block.split_first_chunk().ok_or(ProxyError::Short)?;
    let (destination, rest) = rest.split_first_chunk().ok_or(ProxyError::Short)?;
    let (&[a, b, c, d], rest) = rest.split_first_chunk().ok_or(ProxyError::Short)?;
    Ok(([*source, *destination], [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])], rest))
}

fn ip(transport: Transport, source: impl Into<IpAddr>, to: impl Into<IpAddr>, ports: [u16; 2]) -> Addresses<'static> {
    let [source_port, port] = ports;
    let source = SocketAddr::new(source.into(), source_port);
    Addresses::Ip { transport, source, destination: SocketAddr::new(to.into(), port) }
}

impl Header<'_> {
    /// The client's address, if there is one to be believed instead of the connection's own.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        match self.addresses {
            Addresses::Ip { transport: Transport::Stream, source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Addresses<'_> {
    /// Appends a version 1 header.
    ///
    /// # Errors
    /// [`ProxyError::NotInVersion1`] for all but TCP and [`Addresses::Unknown`], and where the two addresses are of
    /// different families.
    pub fn write_v1(&self, out: &mut Vec<u8>) -> Result<(), ProxyError> {
        let mut line = alloc::string::String::new();
        match self {
            Addresses::Unknown => line.push_str("PROXY UNKNOWN\r\n"),
            Addresses::Ip { transport: Transport::Stream, source, destination }
                if source.is_ipv4() == destination.is_ipv4() =>
            {
                let family = if source.is_ipv4() { 4 } else { 6 };
                let (from, to) = (source.ip(), destination.ip());
                // Writing into a String does not fail.
                let _ = write!(line, "PROXY TCP{family} {from} {to} {} {}\r\n", source.port(), destination.port());
            }
            _ => return Err(ProxyError::NotInVersion1),
        }
        out.extend_from_slice(line.as_bytes());
        Ok(())
    }

    /// Appends a version 2 header with these TLVs. [`Tlv::Crc32c`] among them gets the right value, whatever it has. Where
    /// one address is IPv4 and the other IPv6, both are written as IPv6.
    ///
    /// # Errors
    /// [`ProxyError::TooLong`] if it would be over [`MAX_V2`], [`ProxyError::Tlv`] if a TLV is not valid; then nothing is
    /// appended.
    pub fn write_v2(&self, tlvs: &[Tlv<'_>], out: &mut Vec<u8>) -> Result<(), ProxyError> {
        let mut block = Vec::new();
        let family = match self {
            Addresses::Local | Addresses::Unknown => 0,
            Addresses::Ip { transport, source, destination } => {
                let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
                let family = match (source.ip(), destination.ip()) {
                    (IpAddr::V4(source), IpAddr::V4(destination)) => {
                        block.extend_from_slice(&[source.octets(), destination.octets()].concat());
                        0x10
                    }
                    (source, destination) => {
                        block.extend_from_slice(&[source, destination].map(v6).concat());
                        0x20
                    }
                };
                block.extend_from_slice(&ports.concat());
                family | transport.nibble()
            }
            Addresses::Unix { transport, source, destination } => {
                block.extend_from_slice(*source);
                block.extend_from_slice(*destination);
                0x30 | transport.nibble()
            }
        };
        let addresses = FIXED + block.len();
        for tlv in tlvs {
            tlv.write(&mut block)?;
        }
        let length = u16::try_from(block.len()).ok().filter(|length| FIXED + usize::from(*length) <= MAX_V2);
        let length = length.ok_or(ProxyError::TooLong)?;
        let mut header = SIGNATURE.to_vec();
        header.push(0x20 | u8::from(*self != Addresses::Local));
        header.push(family);
        header.extend_from_slice(&length.to_be_bytes());
        header.append(&mut block);
        tlv::set_checksum(&mut header, addresses);
        Tlvs::checked(header.get(addresses..).unwrap_or_default(), &header)?;
        out.append(&mut header);
        Ok(())
    }
}

impl Transport {
    const fn nibble(self) -> u8 {
        match self {
            Transport::Stream => 1,
            Transport::Datagram => 2,
        }
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
