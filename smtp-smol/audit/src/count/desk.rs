//! Where every reader hands in what it read: one place that decides what counts, and keeps account of what does not.

use std::net::IpAddr;
use std::path::Path;

use super::sessions::Reports;
use smtp_proto::tls::{Direction, End, EndToEnd, Hop, Ledger, Record, Retries, Wanted};

/// A message on its hop, as a reader has seen it. Names are as they were written; the desk makes them comparable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) time: i64,
    pub(crate) direction: Direction,
    pub(crate) peer: Option<IpAddr>,
    /// The other side's name by DNS, or what it called itself.
    pub(crate) host: &'a [u8],
    /// The sender's address or domain; empty for a null reverse-path, or where it is not known.
    pub(crate) sender: &'a [u8],
    /// Recipients' addresses or domains, as far as known.
    pub(crate) to: &'a [&'a [u8]],
    pub(crate) recipients: u32,
    pub(crate) envelope: u64,
    pub(crate) bytes: u64,
    pub(crate) end: End,
    pub(crate) wanted: Wanted,
    pub(crate) hop: Hop,
    /// Why, where that is not known.
    pub(crate) untold: Untold,
    pub(crate) end_to_end: EndToEnd,
}

impl Seen<'_> {
    pub(crate) const fn new(time: i64, direction: Direction) -> Self {
        Self {
            time,
            direction,
            peer: None,
            host: &[],
            sender: &[],
            to: &[],
            recipients: 1,
            envelope: 0,
            bytes: 0,
            end: End::Accepted,
            wanted: Wanted::Yes,
            hop: Hop::Unknown,
            untold: Untold::None,
            end_to_end: EndToEnd::Unknown,
        }
    }
}

/// Why it cannot be told over what a message came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Untold {
    /// It can.
    #[default]
    None,
    /// Its session began, or ended, outside of the log.
    CutOff,
    /// Postfix's log does not tell of TLS, or had not yet.
    Silent,
    /// The same, of mail that went out.
    SilentOut,
    /// Exim's log leaves `X=` out.
    EximCipher,
    /// Sendmail's log has no line about TLS.
    Sendmail,
    /// Exchange's message tracking log does not tell of TLS.
    Tracking,
    /// The export of a provider does not.
    Export,
    /// The Received field does not.
    Field,
    /// Nor does the line of the ledger.
    Line,
}

impl Untold {
    pub(crate) const ALL: [Self; 9] = [
        Self::CutOff,
        Self::Silent,
        Self::SilentOut,
        Self::EximCipher,
        Self::Sendmail,
        Self::Tracking,
        Self::Export,
        Self::Field,
        Self::Line,
    ];

    /// What is told of such messages.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::None => "for no known reason",
            Self::CutOff => "in sessions that began or ended outside of the log",
            Self::Silent => "where Postfix does not log TLS (smtpd_tls_loglevel = 1 makes it do so)",
            Self::SilentOut => "that Postfix sent and does not log TLS for (smtp_tls_loglevel = 1 makes it do so)",
            Self::EximCipher => "where Exim does not log TLS (log_selector = +tls_cipher makes it do so)",
            Self::Sendmail => "where Sendmail does not log TLS (LogLevel 9 makes it do so)",
            Self::Tracking => {
                "where Exchange's message tracking log does not tell of TLS (its SMTP protocol log does: ProtocolLoggingLevel \
                 Verbose)"
            }
            Self::Export => "of which the provider's export does not say",
            Self::Field => "of which the Received field does not say",
            Self::Line => "of which the ledger does not say",
        }
    }
}

/// What was read and not counted, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aside {
    /// Messages before `--since`.
    pub(crate) early: u64,
    /// Mail of users: they had logged in, or came to a port for them.
    pub(crate) submissions: u64,
    /// Hops from or to addresses of this machine or of a private network.
    pub(crate) internal: u64,
    /// Further copies of a message that was counted, for its other recipients.
    pub(crate) copies: u64,
    /// Attempts that were told to come again.
    pub(crate) deferred: u64,
    /// Messages on which no field of the border server was found.
    pub(crate) foreign: u64,
    /// Messages without a date.
    pub(crate) dateless: u64,
}

/// What could not be read: how much, and where it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl Broken {
    /// So many places are named.
    const NAMED: usize = 5;

    /// Reading ended before the end.
    pub(crate) fn cut_short(&mut self, file: &Path, line: u64, error: &std::io::Error) {
        self.add(file, line, &format!("cut short here: {error}"));
    }

    pub(crate) fn add(&mut self, file: &Path, line: u64, what: &str) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            let file = file.display();
            self.first.push(if line == 0 { format!("{file}: {what}") } else { format!("{file}:{line}: {what}") });
        }
    }
}

/// Lines of logs, by what they are. Their sum is the number of lines that were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// Of mail servers.
    pub(crate) mail: u64,
    /// Of other programs, or empty.
    pub(crate) other: u64,
    /// Too long, or without a time.
    pub(crate) broken: u64,
    /// In no form that is read.
    pub(crate) unread: u64,
    /// The first of these, and where it stands.
    pub(crate) first_unread: Option<String>,
}

impl Lines {
    /// A line in no form that is read.
    pub(crate) fn unread(&mut self, file: &Path, number: u64, line: &[u8]) {
        self.unread += 1;
        if self.first_unread.is_none() {
            let quoted: String = String::from_utf8_lossy(&line[..line.len().min(400)]).chars().take(160).collect();
            self.first_unread = Some(format!("{}:{number}: {quoted}", file.display()));
        }
    }
}

/// Counts what is to be counted.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) ledger: Ledger,
    retries: Retries,
    since: Option<i64>,
    /// Hops within count as well.
    internal: bool,
    pub(crate) aside: Aside,
    /// Messages counted of which it cannot be told, in the order of [`Untold::ALL`].
    pub(crate) untold: [u64; Untold::ALL.len()],
    pub(crate) broken: Broken,
    /// Lines of logs.
    pub(crate) lines: Lines,
    /// What TLS reports tell.
    pub(crate) reports: Reports,
    /// First and last year that were inferred, of logs whose times have none.
    years: Option<(i64, i64)>,
    /// What the reader of the report should know of how it came about.
    pub(crate) notes: Vec<String>,
    /// Messages counted or set aside.
    pub(crate) messages: u64,
    names: [String; 3],
}

impl Desk {
    pub(crate) fn new(ledger: Ledger, since: Option<i64>, internal: bool) -> Self {
        Self {
            ledger,
            retries: Retries::default(),
            since,
            internal,
            aside: Aside::default(),
            untold: [0; Untold::ALL.len()],
            lines: Lines::default(),
            reports: Reports::default(),
            years: None,
            broken: Broken::default(),
            notes: Vec::new(),
            messages: 0,
            names: Default::default(),
        }
    }

    /// The years of a log whose times have none were taken to be these. Where times go back by the greater part of a
    /// year, the file is of more than one, and which is which cannot be known.
    pub(crate) fn years(&mut self, (first, last): (i64, i64), file: &Path, turned: bool) {
        let (before, after) = self.years.unwrap_or((first, last));
        self.years = Some((before.min(first), after.max(last)));
        if turned {
            self.notes.push(format!(
                "{} goes over more than a year without saying which: days in it may be of another year",
                file.display()
            ));
        }
    }

    /// Whether what was then is not asked about.
    pub(crate) fn is_early(&self, time: i64) -> bool {
        self.since.is_some_and(|since| time < since)
    }

    /// Whether this address is one of the inside, which does not count.
    pub(crate) fn is_internal(&self, address: Option<IpAddr>) -> bool {
        !self.internal && address.is_some_and(is_private)
    }

    /// Takes a message from a log, where attempts at one message follow one another.
    pub(crate) fn take(&mut self, seen: &Seen<'_>) {
        self.count(seen, true);
    }

    /// Takes a message that lies in a mailbox: in no order, and each once.
    pub(crate) fn take_stored(&mut self, seen: &Seen<'_>) {
        self.count(seen, false);
    }

    /// Takes a record from a ledger file, with its names as they are.
    pub(crate) fn take_record(&mut self, record: &Record<'_>) {
        self.messages += 1;
        if self.since.is_some_and(|since| record.time < since) {
            self.aside.early += 1;
        } else {
            self.note(record.hop, Untold::Line);
            self.retries.add(record, |record| self.ledger.add(record));
        }
    }

    /// Nothing more comes from this log: what waits for a further attempt is counted as it is.
    pub(crate) fn finish(&mut self) {
        self.retries.finish(|record| self.ledger.add(record));
        if let Some((first, last)) = self.years.take() {
            let years = if first == last { format!("{first}") } else { format!("{first} to {last}") };
            self.notes.push(format!("times in the log have no year: {years}, by when the file was last written"));
        }
    }

    fn count(&mut self, seen: &Seen<'_>, retries: bool) {
        self.messages += 1;
        if self.is_internal(seen.peer) {
            self.aside.internal += 1;
            return;
        }
        if self.since.is_some_and(|since| seen.time < since) {
            self.aside.early += 1;
            return;
        }
        self.note(seen.hop, seen.untold);
        let [host, sender, to] = &mut self.names;
        let (one, many, more);
        let to: &[&str] = match seen.to {
            [] => &[],
            [address] => {
                lower_domain(address, to);
                one = [to.as_str()];
                &one
            }
            addresses => {
                many = addresses.iter().map(|address| lowered(address)).collect::<Vec<_>>();
                more = many.iter().map(String::as_str).collect::<Vec<_>>();
                &more
            }
        };
        lower_domain(seen.sender, sender);
        host.clear();
        // Of most mail nobody asks for the host's name.
        if sender.is_empty() || seen.peer.is_none() || seen.direction == Direction::Outbound {
            lower_domain(seen.host, host);
        }
        let mut record = Record::new(seen.time, seen.direction);
        record.peer = seen.peer;
        record.host = registrable(host);
        record.sender = registrable(sender);
        record.recipient_domains = to;
        record.recipients = seen.recipients;
        record.envelope = seen.envelope;
        record.bytes = seen.bytes;
        record.end = seen.end;
        record.wanted = seen.wanted;
        record.hop = seen.hop;
        record.end_to_end = seen.end_to_end;
        if retries {
            self.retries.add(&record, |record| self.ledger.add(record));
        } else {
            self.ledger.add(&record);
        }
    }

    fn note(&mut self, hop: Hop, untold: Untold) {
        if hop == Hop::Unknown
            && let Some(at) = Untold::ALL.iter().position(|why| *why == untold)
        {
            self.untold[at] += 1;
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        // fc00::/7 (RFC 4193), fe80::/10.
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn lowered(address: &[u8]) -> String {
    let mut domain = String::new();
    lower_domain(address, &mut domain);
    domain
}

/// The domain of an address, or the domain that it is, in lower case and in printable characters.
fn lower_domain(address: &[u8], into: &mut String) {
    into.clear();
    let start = address.iter().rposition(|octet| *octet == b'@').map_or(0, |at| at + 1);
    let domain = &address[start..address.len().min(start + 255)];
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    // All but always it is no more than this.
    if let Ok(domain) = std::str::from_utf8(domain)
        && domain.bytes().fold(true, |all, octet| all & octet.is_ascii_graphic())
    {
        into.push_str(domain);
        into.make_ascii_lowercase();
        if into == "unknown" {
            into.clear();
        }
        return;
    }
    let lower = String::from_utf8_lossy(domain);
    into.extend(lower.chars().flat_map(char::to_lowercase).filter(|char| !char.is_control() && *char != ' '));
}

/// The domain that somebody has registered; of an address, or of nothing, there is none.
fn registrable(domain: &str) -> Option<&str> {
    let numeric = domain.ends_with(|last: char| last.is_ascii_digit()) || domain.contains(':');
    match domain {
        "" => None,
        domain if numeric && domain.parse::<IpAddr>().is_ok() => Some(domain),
        domain => Some(crate::ledger::registrable(domain)),
    }
}

#[cfg(test)]
mod tests {
    use super::{lower_domain, registrable};

    #[test]
    fn senders_are_registrable_domains() {
        for (address, domain) in [
            ("a@News.Example.ORG", Some("example.org")),
            ("mx3.shop.example.co.uk", Some("example.co.uk")),
            ("\"x@y\"@example.net.", Some("example.net")),
            ("a@[192.0.2.1]", Some("[192.0.2.1]")),
            ("root@localhost", Some("localhost")),
            ("unknown", None),
            ("", None),
            ("a@ex\u{1}am\nple.org", Some("example.org")),
            ("a@B\u{dc}CHER.example", Some("b\u{fc}cher.example")),
            ("UNKNOWN", None),
            ("192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
        ] {
            let mut lower = String::new();
            lower_domain(address.as_bytes(), &mut lower);
            assert_eq!(registrable(&lower), domain, "{address}");
        }
    }
}
