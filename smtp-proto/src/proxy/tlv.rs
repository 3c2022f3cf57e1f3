//! What a version 2 header says beside addresses (sections 2.2.1 to 2.2.8): type, length, value.

use alloc::vec::Vec;
use core::ops::Range;

use super::ProxyError;

const CRC32C: u8 = 0x03;
const SSL: u8 = 0x20;

/// One piece of further information in a version 2 header: type, length and value (section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tlv<'i> {
    /// The protocol agreed on by ALPN.
    Alpn(&'i [u8]),
    /// The name the client asked for, as in SNI.
    Authority(&'i str),
    /// The checksum of the header; it has been verified.
    Crc32c(u32),
    /// Padding, which means nothing (`PP2_TYPE_NOOP`).
    Noop(&'i [u8]),
    /// What identifies the connection across balancers; 128 octets at most.
    UniqueId(&'i [u8]),
    /// TLS, which the balancer ended.
    Ssl(Ssl<'i>),
    /// The name of the namespace.
    NetNs(&'i str),
    /// A type that is not known here. Types 0xE0 to 0xEF are free for applications.
    Other {
        /// The type, as the octet on the wire.
        kind: u8,
        /// The value, as octets; its meaning is not known here.
        value: &'i [u8],
    },
}

/// What the balancer says of TLS between the client and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssl<'i> {
    /// Bits: 1 TLS was used; 2 a certificate was given in this connection, 4 or in this TLS session.
    pub client: u8,
    /// 0 if the client's certificate was verified.
    pub verify: u32,
    /// Further details: version, cipher suite, certificate.
    pub tlvs: SslTlvs<'i>,
}

impl Ssl<'_> {
    /// Whether the client came by TLS.
    #[must_use]
    pub const fn used(&self) -> bool {
        self.client & 1 != 0
    }

    /// Whether it gave a certificate that was verified.
    #[must_use]
    pub const fn verified(&self) -> bool {
        self.client & 6 != 0 && self.verify == 0
    }
}

/// One detail of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslTlv<'i> {
    /// The version of TLS, as the balancer names it: such as `TLSv1.3`.
    Version(&'i str),
    /// The Common Name of the client's certificate.
    CommonName(&'i str),
    /// The cipher suite, by the name that the balancer has for it.
    Cipher(&'i str),
    /// By which algorithm the balancer's certificate was signed.
    SignatureAlgorithm(&'i str),
    /// The algorithm of the key in the balancer's certificate.
    KeyAlgorithm(&'i str),
    /// A detail of a type that is not known here.
    Other {
        /// The type, as the octet on the wire.
        kind: u8,
        /// The value, as octets; its meaning is not known here.
        value: &'i [u8],
    },
}

/// The TLVs of a header, all of them known to be well formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'i>(&'i [u8]);

/// The details of TLS, all of them known to be well formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SslTlvs<'i>(&'i [u8]);

impl<'i> Tlvs<'i> {
    /// All of `block`, which is the end of `header`.
    pub(super) fn checked(block: &'i [u8], header: &[u8]) -> Result<Self, ProxyError> {
        let (mut rest, mut checksum) = (block, None);
        while !rest.is_empty() {
            let (kind, value, next) = split(rest)?;
            if let Tlv::Crc32c(value) = Tlv::new(kind, value)? {
                let start = header.len() - next.len() - 4;
                if checksum.replace((value, start..start + 4)).is_some() {
                    return Err(ProxyError::Tlv(CRC32C));
                }
            }
            rest = next;
        }
        match checksum {
            Some((value, zeroed)) if crc32c(header, &zeroed) != value => Err(ProxyError::Checksum),
            _ => Ok(Self(block)),
        }
    }
}

impl<'i> Iterator for Tlvs<'i> {
    type Item = Tlv<'i>;

    fn next(&mut self) -> Option<Tlv<'i>> {
        let (kind, value, rest) = split(self.0).ok()?;
        self.0 = rest;
        Tlv::new(kind, value).ok()
    }
}

impl<'i> SslTlvs<'i> {
    /// The details of a balancer that tells none.
    #[must_use]
    pub const fn empty() -> Self {
        Self(&[])
    }

    fn checked(block: &'i [u8]) -> Result<Self, ProxyError> {
        let mut rest = block;
        while !rest.is_empty() {
            let (kind, value, next) = split(rest)?;
            SslTlv::new(kind, value)?;
            rest = next;
        }
        Ok(Self(block))
    }
}

impl<'i> Iterator for SslTlvs<'i> {
    type Item = SslTlv<'i>;

    fn next(&mut self) -> Option<SslTlv<'i>> {
        let (kind, value, rest) = split(self.0).ok()?;
        self.0 = rest;
        SslTlv::new(kind, value).ok()
    }
}

impl<'i> Tlv<'i> {
    fn new(kind: u8, value: &'i [u8]) -> Result<Self, ProxyError> {
        let bad = ProxyError::Tlv(kind);
        Ok(match kind {
            0x01 => Tlv::Alpn(value),
            0x02 => Tlv::Authority(str::from_utf8(value).map_err(|_| bad)?),
            CRC32C => Tlv::Crc32c(u32::from_be_bytes(value.try_into().map_err(|_| bad)?)),
            0x04 => Tlv::Noop(value),
            0x05 if value.len() <= 128 => Tlv::UniqueId(value),
            0x05 => return Err(bad),
            SSL => {
                let (&[client, verify @ ..], rest) = value.split_first_chunk::<5>().ok_or(bad)?;
                Tlv::Ssl(Ssl { client, verify: u32::from_be_bytes(verify), tlvs: SslTlvs::checked(rest)? })
            }
            0x30 => Tlv::NetNs(ascii(value).ok_or(bad)?),
            _ => Tlv::Other { kind, value },
        })
    }

    /// Appends it. A [`Tlv::Crc32c`] is written as 0.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), ProxyError> {
        match self {
            Tlv::Alpn(value) => join(0x01, value, out),
            Tlv::Authority(value) => join(0x02, value.as_bytes(), out),
            Tlv::Crc32c(_) => join(CRC32C, &[0; 4], out),
            Tlv::Noop(value) => join(0x04, value, out),
            Tlv::UniqueId(value) => join(0x05, value, out),
            Tlv::Ssl(ssl) => {
                let mut value = [ssl.client].to_vec();
                value.extend_from_slice(&ssl.verify.to_be_bytes());
                value.extend_from_slice(ssl.tlvs.0);
                join(SSL, &value, out)
            }
            Tlv::NetNs(value) => join(0x30, value.as_bytes(), out),
            Tlv::Other { kind, value } => join(*kind, value, out),
        }
    }
}

impl<'i> SslTlv<'i> {
    fn new(kind: u8, value: &'i [u8]) -> Result<Self, ProxyError> {
        let bad = ProxyError::Tlv(kind);
        let text = || ascii(value).ok_or(bad);
        Ok(match kind {
            0x21 => SslTlv::Version(text()?),
            // Section 2.2.6: this one is UTF-8, the others are ASCII.
            0x22 => SslTlv::CommonName(str::from_utf8(value).map_err(|_| bad)?),
            0x23 => SslTlv::Cipher(text()?),
            0x24 => SslTlv::SignatureAlgorithm(text()?),
            0x25 => SslTlv::KeyAlgorithm(text()?),
            _ => SslTlv::Other { kind, value },
        })
    }

    /// Appends it to what [`SslTlvs::try_from`] then takes.
    ///
    /// # Errors
    /// [`ProxyError::TooLong`] when the value is over 65,535 octets.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), ProxyError> {
        match self {
            SslTlv::Version(value) => join(0x21, value.as_bytes(), out),
            SslTlv::CommonName(value) => join(0x22, value.as_bytes(), out),
            SslTlv::Cipher(value) => join(0x23, value.as_bytes(), out),
            SslTlv::SignatureAlgorithm(value) => join(0x24, value.as_bytes(), out),
            SslTlv::KeyAlgorithm(value) => join(0x25, value.as_bytes(), out),
            SslTlv::Other { kind, value } => join(*kind, value, out),
        }
    }
}

impl<'i> TryFrom<&'i [u8]> for SslTlvs<'i> {
    type Error = ProxyError;

    fn try_from(block: &'i [u8]) -> Result<Self, ProxyError> {
        Self::checked(block)
    }
}

/// `block` if all of it is TLVs by their lengths, or else nothing.
pub(super) fn or_nothing(block: &[u8]) -> &[u8] {
    let mut rest = block;
    while !rest.is_empty() {
        match split(rest) {
            Ok((_, _, next)) => rest = next,
            Err(_) => return &[],
        }
    }
    block
}

/// Fills in the checksum, if the header has a place for it behind `at`.
pub(super) fn set_checksum(header: &mut [u8], mut at: usize) {
    while let Ok((kind, value, _)) = split(header.get(at..).unwrap_or_default()) {
        let place = at + 3..at + 3 + value.len();
        at = place.end;
        if kind == CRC32C {
            let sum = crc32c(header, &place).to_be_bytes();
            if let Some(place) = header.get_mut(place).and_then(<[u8]>::first_chunk_mut) {
                *place = sum;
            }
        }
    }
}

/// The type and the value of the first TLV, and what follows it.
fn split(block: &[u8]) -> Result<(u8, &[u8], &[u8]), ProxyError> {
    let cut = ProxyError::Tlv(block.first().copied().unwrap_or_default());
    let (&[kind, high, low], rest) = block.split_first_chunk().ok_or(cut)?;
    let (value, rest) = rest.split_at_checked(u16::from_be_bytes([high, low]).into()).ok_or(cut)?;
    Ok((kind, value, rest))
}

fn join(kind: u8, value: &[u8], out: &mut Vec<u8>) -> Result<(), ProxyError> {
    let length = u16::try_from(value.len()).map_err(|_| ProxyError::TooLong)?;
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

fn ascii(value: &[u8]) -> Option<&str> {
    str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

/// RFC 4960 appendix B (Castagnoli's polynomial, reflected), over a header of which these octets count as 0.
fn crc32c(header: &[u8], zeroed: &Range<usize>) -> u32 {
    let mut crc = u32::MAX;
    for (at, octet) in header.iter().enumerate() {
        crc ^= u32::from(if zeroed.contains(&at) { 0 } else { *octet });
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    /// The check value of CRC-32C, and one of RFC 3720 B.4.
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(super::crc32c(b"123456789", &(0..0)), 0xe306_9283);
        assert_eq!(super::crc32c(&[0xff; 32], &(0..0)), 0x62a8_ab43);
        assert_eq!(super::crc32c(&[0xff; 32], &(0..32)), super::crc32c(&[0; 32], &(0..0)));
    }
}
