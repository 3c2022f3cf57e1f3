//! A Received field (RFC 5321 4.4) as mail servers write it: who, by whom, and over what.
//!
//! What is said of TLS stands in the word behind `with` (RFC 3848, RFC 6531 4.3) and in comments of each server's own
//! make. The client's part of the field is its own claim, and the server's part comes after it; a field in which `by`
//! or `with` is there twice is therefore not believed.

use std::net::IpAddr;

use smtp_proto::tls::{ClientCertificate, Hop, TlsVersion};

use crate::read::scan::{eq, find, find_no_case, starts_no_case, text_ip};
use crate::read::words::{Word, group, group_of, version, version_number, version_of};

/// What is needed of a field. All slices are of the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    /// What the client called itself, or empty.
    pub(crate) from: &'a [u8],
    pub(crate) address: Option<IpAddr>,
    /// The server that wrote this field, and its address where that stands behind the name.
    pub(crate) by: &'a [u8],
    server: Option<IpAddr>,
    /// The server's name for the message.
    pub(crate) id: &'a [u8],
    /// The recipient, if one is named, without brackets.
    pub(crate) recipient: &'a [u8],
    /// What stands behind the semicolon.
    pub(crate) date: &'a [u8],
    pub(crate) hop: Hop,
    /// Of the key exchange, where the field names it.
    pub(crate) group: Option<&'static str>,
    pub(crate) kind: Kind,
}

/// What a hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Mail from another host.
    Smtp,
    /// Mail from a user who has logged in (`ESMTPA`, `ESMTPSA`): no other server's.
    Submission,
    /// Delivery within, or none that a network saw: LMTP, a local program, HTTP.
    Local,
}

/// Parses a field, its name and colon taken off; folded lines may still be folded. `None` where no server is named,
/// or where two are.
pub(crate) fn parse(field: &[u8]) -> Option<Received<'_>> {
    let mut received = Received {
        from: &[],
        address: None,
        by: &[],
        server: None,
        id: &[],
        recipient: &[],
        date: &[],
        hop: Hop::Unknown,
        group: None,
        kind: Kind::Local,
    };
    let mut found = Found::default();
    let mut clause = Clause::Start;
    let mut rest = field;
    loop {
        let (token, after) = next(rest);
        rest = after;
        match token {
            Token::End => break,
            Token::Semicolon => {
                // OpenSMTPD once wrote one before each of its clauses.
                if let (Token::Word(word), _) = next(rest)
                    && Clause::named(word).is_some()
                {
                    continue;
                }
                received.date = rest;
                break;
            }
            // RFC 5322 2.2.3: comments may be folded, and lists fold them anew.
            Token::Comment(comment) if memchr::memchr(b'\n', comment).is_some() => {
                let words: Vec<&[u8]> =
                    comment.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
                found.comment(clause, &words.join(&b' '));
            }
            Token::Comment(comment) => found.comment(clause, comment),
            Token::Word(word) => {
                // A client may call itself "over", but stands before `by`.
                if let Some(opened) = Clause::named(word).filter(|opened| *opened != Clause::Over || found.bys == 1) {
                    let before = std::mem::replace(&mut clause, opened);
                    match clause {
                        Clause::Tls if before == Clause::Over => found.uses(None),
                        Clause::By => found.bys += 1,
                        Clause::With => found.withs += 1,
                        _ => {}
                    }
                    continue;
                }
                match clause {
                    Clause::From if received.from.is_empty() => received.from = word,
                    Clause::By if received.by.is_empty() => received.by = word,
                    Clause::With => found.with(word),
                    Clause::Tls if found.cipher_word.is_none() => found.cipher_word = Some(word),
                    Clause::Id if received.id.is_empty() => received.id = word,
                    Clause::For if received.recipient.is_empty() => received.recipient = bare(word),
                    _ => {}
                }
            }
        }
    }
    if received.by.is_empty() || found.bys > 1 {
        return None;
    }
    received.address = found.address.or_else(|| bracketed(received.from));
    received.server = found.server;
    (received.hop, received.kind) = found.judge(received.from.is_empty(), received.id);
    received.group = found.group.filter(|_| matches!(received.hop, Hop::Used { .. }));
    Some(received)
}

impl Received<'_> {
    /// Whether client and server are of one network, as the hops within Exchange Online are, whose addresses are public: by what
    /// the server observed, not by names.
    pub(crate) fn is_within(&self) -> bool {
        match (self.address.map(|address| address.to_canonical()), self.server.map(|server| server.to_canonical())) {
            (Some(IpAddr::V6(client)), Some(IpAddr::V6(server))) => client.octets()[..3] == server.octets()[..3],
            (Some(IpAddr::V4(client)), Some(IpAddr::V4(server))) => client.octets()[..3] == server.octets()[..3],
            _ => false,
        }
    }
}

/// Where in a field we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clause {
    Start,
    From,
    By,
    With,
    /// `tls TLS_AES_256_GCM_SHA384` (RFC 8314 4.3).
    Tls,
    /// `over TLS secured channel`, of Microsoft's SMTPSVC.
    Over,
    Id,
    For,
    Via,
}

impl Clause {
    fn named(word: &[u8]) -> Option<Self> {
        match word.len() {
            2 if eq(word, b"by") => Some(Self::By),
            2 if eq(word, b"id") => Some(Self::Id),
            3 if eq(word, b"for") => Some(Self::For),
            3 if eq(word, b"via") => Some(Self::Via),
            3 if eq(word, b"tls") => Some(Self::Tls),
            4 if eq(word, b"from") => Some(Self::From),
            4 if eq(word, b"with") => Some(Self::With),
            4 if eq(word, b"over") => Some(Self::Over),
            _ => None,
        }
    }
}

/// What was found while reading.
#[derive(Default)]
struct Found<'a> {
    address: Option<IpAddr>,
    server: Option<IpAddr>,
    bys: u32,
    withs: u32,
    protocol: Option<&'a [u8]>,
    exchange: bool,
    cipher_word: Option<&'a [u8]>,
    /// A comment says that TLS was used; its version, if that was understood.
    tls: Option<Option<TlsVersion>>,
    group: Option<&'static str>,
    certificate: Option<ClientCertificate>,
    /// A comment says that a user had logged in.
    login: bool,
}

impl<'a> Found<'a> {
    fn with(&mut self, word: &'a [u8]) {
        match self.protocol {
            None if eq(word, b"Microsoft") => self.exchange = true,
            // "Microsoft SMTP Server"
            None if self.exchange && eq(word, b"Server") => self.protocol = Some(b"Microsoft"),
            None if self.exchange => {}
            None => self.protocol = Some(word),
            // qmail: "with DHE-RSA-AES256-GCM-SHA384 encrypted SMTP".
            Some(cipher) if eq(word, b"encrypted") => self.uses(version_of(cipher)),
            // "with MailEnable ESMTP", and whoever else says its own name first.
            Some(other) if Word::parse(other).is_none() && Word::parse(word).is_some() => self.protocol = Some(word),
            // "with ESMTP with STARTTLS (version=…)", as some gateways write.
            Some(_) if eq(word, b"STARTTLS") && self.withs == 2 && self.bys == 1 => {
                self.withs = 1;
                self.uses(None);
            }
            Some(_) => {}
        }
    }

    /// Comments are read in the order of trust: the first address in `from` is the server's own observation.
    fn comment(&mut self, clause: Clause, comment: &[u8]) {
        if clause == Clause::From && self.address.is_none() && !starts_no_case(comment, b"helo ") {
            self.address = bracketed(comment).or_else(|| after_at(comment));
        } else if clause == Clause::By && self.server.is_none() {
            self.server = bracketed(comment);
        }
        self.login |= is_login(comment);
        self.postfix(comment);
        // In `from` stand names that are not the server's: a client's may be `version=TLS1_3.example`.
        if !matches!(clause, Clause::Start | Clause::From) {
            self.assignments(comment);
        }
        self.colons(clause, comment);
    }

    /// Postfix: `using TLSv1.3 with cipher X (256/256 bits) …`, and what it says of certificates.
    fn postfix(&mut self, comment: &[u8]) {
        if starts_no_case(comment, b"using ") {
            self.uses(version(&comment[6..]));
            self.group = find(comment, b" key-exchange ").map(|at| group(&comment[at + 14..])).or(self.group);
        } else if comment.starts_with(b"Client CN ") || comment.starts_with(b"Client certificate ") {
            self.certificate = Some(if find(comment, b"(verified OK)").is_some() {
                ClientCertificate::Verified
            } else {
                ClientCertificate::Untrusted
            });
        } else if comment == b"Client did not present a certificate" {
            self.certificate = Some(ClientCertificate::None);
        } else if comment == b"No client certificate requested" {
            self.certificate = Some(ClientCertificate::Unknown);
        }
    }

    /// Sendmail, Exchange, Gmail: `version=TLSv1.3 cipher=X bits=256 verify=NO`.
    fn assignments(&mut self, comment: &[u8]) {
        if let Some(at) = find_no_case(comment, b"version=") {
            let value = &comment[at + 8..];
            let value = value.split(|octet| matches!(octet, b' ' | b',')).next().unwrap_or(value);
            // OpenSSL's "TLSv1/SSLv3" is the family of the cipher, not the version.
            if memchr::memchr(b'/', value).is_some() {
                self.uses(None);
            } else if let Some(version) = version(value) {
                self.uses(Some(version));
            } else if !starts_no_case(value, b"none") {
                self.uses(None);
            }
        } else if starts_no_case(comment, b"cipher=") {
            self.uses(None);
        } else {
            return;
        }
        if let Some(at) = find_no_case(comment, b"cipher=") {
            let value = comment[at + 7..].split(|octet| matches!(octet, b' ' | b',')).next().unwrap_or_default();
            self.group = group_of(value).or(self.group);
        }
        if let Some(at) = find(comment, b"verify=") {
            let value = &comment[at + 7..];
            let value = &value[..value.iter().position(|octet| !octet.is_ascii_alphabetic()).unwrap_or(value.len())];
            // Sendmail's macro {verify}.
            self.certificate = match value {
                b"OK" => Some(ClientCertificate::Verified),
                // Not asked for one.
                b"NOT" => Some(ClientCertificate::Unknown),
                b"NO" => Some(ClientCertificate::None),
                b"FAIL" => Some(ClientCertificate::Untrusted),
                _ => self.certificate,
            };
        }
    }

    /// OpenSMTPD: `TLSv1.3:X:256:NO`. Exim: `TLS1.3`, once `TLS1.3:X:256`, which Debian writes behind `Cipher `. Courier: `TLS:
    /// TLSv1.3,256bits,X`. Our own: `TLS1.3 X`. qmail: `X encrypted`.
    fn colons(&mut self, clause: Clause, comment: &[u8]) {
        let courier = comment.strip_prefix(b"TLS: ");
        let comment = comment.strip_prefix(b"Cipher ").unwrap_or(comment);
        if courier.is_some() || matches!(clause, Clause::With | Clause::Tls | Clause::Id) {
            let words = courier.unwrap_or(comment);
            if let Some(version) = version(words).or_else(|| version_number(words)) {
                self.uses(Some(version));
                self.group = words.split(|octet| *octet == b':').nth(1).and_then(group_of).or(self.group);
                if comment.ends_with(b":YES") {
                    self.certificate = Some(ClientCertificate::Verified);
                } else if comment.ends_with(b":FAIL") {
                    self.certificate = Some(ClientCertificate::Untrusted);
                } else if comment.ends_with(b":NO") {
                    self.certificate = Some(ClientCertificate::None);
                }
            } else if comment == b"TLS" || comment.ends_with(b" encrypted") {
                self.uses(None);
            }
        }
    }

    fn uses(&mut self, version: Option<TlsVersion>) {
        self.tls = Some(self.tls.flatten().or(version));
    }

    fn judge(&self, no_from: bool, id: &[u8]) -> (Hop, Kind) {
        let (hop, kind) = self.by_word(no_from, id);
        (hop, if kind == Kind::Smtp && self.login { Kind::Submission } else { kind })
    }

    fn by_word(&self, no_from: bool, id: &[u8]) -> (Hop, Kind) {
        let certificate = self.certificate.unwrap_or(ClientCertificate::Unknown);
        let commented = self.tls.map(|version| Hop::Used { version, certificate });
        // A client that calls itself "x with ESMTPS" would have its own words taken for the server's.
        if self.withs > 1 {
            return (Hop::Unknown, Kind::Smtp);
        }
        let Some(protocol) = self.protocol else {
            return (commented.unwrap_or(Hop::Unknown), if no_from { Kind::Local } else { Kind::Smtp });
        };
        if protocol == b"Microsoft" {
            // Exchange 2013 and later, and Exchange Online, have a comment wherever there was TLS. Before, it may have been either.
            let without = if id.starts_with(b"15.") { Hop::NotTried } else { Hop::Unknown };
            return (commented.unwrap_or(without), Kind::Smtp);
        }
        let Some(word) = Word::parse(protocol) else {
            return (commented.unwrap_or(Hop::Unknown), Kind::Local);
        };
        let kind = match word {
            Word { lmtp: true, .. } => Kind::Local,
            Word { login: true, .. } => Kind::Submission,
            _ if no_from => Kind::Local,
            _ => Kind::Smtp,
        };
        let hop = match (commented, word.tls || self.cipher_word.is_some()) {
            (Some(hop), _) => hop,
            (None, true) => {
                let cipher = self.cipher_word.or_else(|| protocol.rsplit(|octet| *octet == b'/').next());
                Hop::Used { version: cipher.and_then(version_of), certificate }
            }
            (None, false) => Hop::NotTried,
        };
        (hop, kind)
    }
}

/// Whether a comment says that a user had logged in, where the word behind `with` does not: Postfix writes `Authenticated
/// sender: u@a` (smtpd_sasl_authenticated_header), Sendmail `authenticated bits=0`, Courier `AUTH: PLAIN u`, qpsmtpd
/// `smtp-auth username u, mechanism plain`, CommuniGate `account u@a`.
fn is_login(comment: &[u8]) -> bool {
    let word =
        &comment[..comment.iter().position(|octet| matches!(octet, b' ' | b':' | b'=')).unwrap_or(comment.len())];
    [&b"authenticated"[..], b"auth", b"smtp-auth", b"account"].iter().any(|login| eq(word, login))
}

enum Token<'a> {
    Word(&'a [u8]),
    /// Without its parentheses.
    Comment(&'a [u8]),
    Semicolon,
    End,
}

/// The next token, and what is left. Quoted strings, addresses in angle brackets and literals belong to their words.
fn next(text: &[u8]) -> (Token<'_>, &[u8]) {
    let start = text.iter().position(|octet| !octet.is_ascii_whitespace()).unwrap_or(text.len());
    let text = &text[start..];
    match text.first() {
        None => (Token::End, text),
        Some(b';') => (Token::Semicolon, &text[1..]),
        Some(b'(') => {
            let end = closing(text);
            let inner = text[1..end].trim_ascii();
            (Token::Comment(inner), text.get(end + 1..).unwrap_or_default())
        }
        Some(_) => {
            let (mut at, mut quoted, mut angle) = (0, false, false);
            while let Some(&octet) = text.get(at) {
                match octet {
                    b'\\' if quoted => at += 1,
                    b'"' => quoted = !quoted,
                    _ if quoted => {}
                    b'<' => angle = true,
                    b'>' => angle = false,
                    _ if angle => {}
                    b'(' | b';' => break,
                    octet if octet.is_ascii_whitespace() => break,
                    _ => {}
                }
                at += 1;
            }
            let at = at.min(text.len());
            (Token::Word(&text[..at]), &text[at..])
        }
    }
}

/// Where the comment that begins here ends (RFC 5322 3.2.2): comments nest, a backslash quotes.
fn closing(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(&octet) = text.get(at) {
        match octet {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The first address in square brackets, or the whole where it is an address, as Exchange writes it.
fn bracketed(text: &[u8]) -> Option<IpAddr> {
    let mut rest = text;
    while let Some(open) = memchr::memchr(b'[', rest) {
        rest = &rest[open + 1..];
        let close = memchr::memchr(b']', rest)?;
        if let Some(address) = text_ip(&rest[..close]) {
            return Some(address);
        }
    }
    text_ip(text)
}

/// qmail: `user@192.0.2.1`.
fn after_at(text: &[u8]) -> Option<IpAddr> {
    let at = memchr::memrchr(b'@', text)?;
    text_ip(&text[at + 1..])
}

fn bare(word: &[u8]) -> &[u8] {
    word.strip_prefix(b"<").and_then(|word| word.strip_suffix(b">")).unwrap_or(word)
}

#[cfg(test)]
#[path = "received_tests.rs"]
mod tests;
