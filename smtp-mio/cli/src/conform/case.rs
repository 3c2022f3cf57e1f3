//! A case: a transcript that can be played on the wire, read from its file. The format is that of docs/conformance.md.

use std::fmt;
use std::path::Path;

/// The transcripts that are a part of the program: their ids and texts.
static EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/transcripts.rs"));

/// How much an implementation owes, the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Level {
    /// What an RFC says MUST or MUST NOT be
    Must,
    /// What an RFC says SHOULD be
    Should,
    /// What is wise, and no RFC asks for
    Practice,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Practice => "practice",
        })
    }
}

pub(crate) const CLASSES: [&str; 7] = ["syntax", "order", "text", "TLS", "AUTH", "LMTP", "extension"];

/// The role of who is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// A line of the dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// What the client sends.
    Client(Vec<u8>),
    /// What the server says: for a case of a server the codes that will do, for one of a client the octets.
    Server(Expected),
    /// The handshake.
    Tls,
    /// Either the server closes, or the handshake follows.
    TlsOrClose,
    /// The end of the connection.
    Eof,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Codes, or their first digits.
    pub(crate) codes: Vec<String>,
    /// As it stands in the transcript, with its line end.
    pub(crate) octets: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) side: Side,
    /// What its first comment says behind the sections.
    pub(crate) title: String,
    /// Such as `RFC 5321 4.1.4`; empty where no RFC has it.
    pub(crate) source: String,
    pub(crate) level: Level,
    pub(crate) class: &'static str,
    /// Keywords of the reply to EHLO without which it cannot be played, such as `SIZE` or `AUTH:PLAIN`.
    pub(crate) needs: Vec<String>,
    /// Keywords with which it cannot be played.
    pub(crate) absent: Vec<String>,
    /// Recipients that must be taken; `None` if any address of the domain must be.
    pub(crate) recipients: Option<usize>,
    /// A name and a password must be known.
    pub(crate) users: bool,
    /// What is sent goes out in pieces of so many octets, too.
    pub(crate) pieces: Option<usize>,
    pub(crate) lmtp: bool,
    /// The dialogue begins inside TLS.
    pub(crate) inside_tls: bool,
    /// The server closes at the end.
    pub(crate) closed: bool,
    /// Whether the client has to report success or failure, if the case says.
    pub(crate) tell: Option<bool>,
    /// Verbs that the client must not send.
    pub(crate) never: Vec<String>,
    /// The message must arrive as it was given to the client.
    pub(crate) text: bool,
    pub(crate) lines: Vec<Line>,
}

/// Those that are a part of the program.
pub(crate) fn embedded() -> Result<Vec<Case>, String> {
    EMBEDDED.iter().map(|(id, text)| Case::parse(id, text)).filter_map(Result::transpose).collect()
}

/// Those of a folder with `server` and `client` in it.
pub(crate) fn from_folder(folder: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for side in ["server", "client"] {
        let folder = folder.join(side);
        if !folder.is_dir() {
            continue;
        }
        let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                files.push(path);
            }
        }
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            cases.extend(Case::parse(&format!("{side}/{name}"), &text)?);
        }
    }
    if cases.is_empty() { Err(format!("{}: no transcript with a wire line", folder.display())) } else { Ok(cases) }
}

impl Case {
    /// `None` for a transcript that is not to be played on the wire.
    pub(crate) fn parse(id: &str, text: &str) -> Result<Option<Self>, String> {
        let Some(marks) = text.lines().find_map(|line| line.strip_prefix("wire:")) else { return Ok(None) };
        let side = if id.starts_with("client/") { Side::Client } else { Side::Server };
        let (source, title) = first_comment(text);
        let mut case = Self {
            id: id.to_owned(),
            side,
            title,
            source,
            level: Level::Must,
            class: "",
            needs: Vec::new(),
            absent: Vec::new(),
            recipients: Some(1),
            users: false,
            pieces: None,
            lmtp: false,
            inside_tls: false,
            closed: false,
            tell: None,
            never: Vec::new(),
            text: false,
            lines: Vec::new(),
        };
        case.marks(marks)?;
        for line in text.lines() {
            case.line(line).map_err(|wrong| format!("{id}: {wrong}: {line:?}"))?;
        }
        let last = case.lines.iter().rev().find_map(|line| match line {
            Line::Server(expected) => Some(&expected.octets),
            _ => None,
        });
        case.closed |= last.is_some_and(|last| last.starts_with(b"221") || last.starts_with(b"421"));
        // What stands behind `W!` says itself how it ends.
        case.closed &= !case.lines.contains(&Line::TlsOrClose);
        Ok(Some(case))
    }

    /// `LEVEL CLASS key=value …`
    fn marks(&mut self, marks: &str) -> Result<(), String> {
        let wrong = |what: &str| format!("{}: {what:?} is not understood in wire:{marks}", self.id);
        let mut words = marks.split_whitespace();
        self.level = match words.next() {
            Some("MUST") => Level::Must,
            Some("SHOULD") => Level::Should,
            Some("practice") => Level::Practice,
            other => return Err(wrong(other.unwrap_or_default())),
        };
        let class = words.next().unwrap_or_default();
        self.class = CLASSES.into_iter().find(|known| *known == class).ok_or_else(|| wrong(class))?;
        for word in words {
            match word.split_once('=') {
                Some(("needs", keyword)) => self.needs.push(keyword.to_owned()),
                Some(("absent", keyword)) => self.absent.push(keyword.to_owned()),
                Some(("recipients", "any")) => self.recipients = None,
                Some(("recipients", count)) => self.recipients = Some(count.parse().map_err(|_| wrong(word))?),
                Some(("users", "yes")) => self.users = true,
                Some(("text", "yes")) => self.text = true,
                Some(("pieces", count)) => {
                    self.pieces = Some(count.parse().ok().filter(|count| *count > 0).ok_or_else(|| wrong(word))?);
                }
                Some(("tell", "success")) => self.tell = Some(true),
                Some(("tell", "failure")) => self.tell = Some(false),
                Some(("never", verbs)) => self.never = verbs.split(',').map(str::to_owned).collect(),
                _ => return Err(wrong(word)),
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let server = self.side == Side::Server;
        let (mark, rest) = line.split_at_checked(3).unwrap_or((line, ""));
        let reply = |rest: &str| {
            let codes = vec![rest.get(..1).unwrap_or_default().to_owned()];
            Line::Server(Expected { codes, octets: format!("{rest}\r\n").into_bytes() })
        };
        let item = match mark {
            _ if line.is_empty() || line.starts_with('#') || line.starts_with("wire:") => return Ok(()),
            _ if line.starts_with("config:") => {
                let mut settings = line["config:".len()..].split_whitespace();
                self.lmtp |= settings.clone().any(|setting| matches!(setting, "role=lmtp" | "lmtp=yes"));
                self.inside_tls |= settings.clone().any(|setting| setting == "channel=tls");
                self.closed |= settings.any(|setting| setting == "closed=yes");
                return Ok(());
            }
            "C: " => Line::Client(format!("{rest}\r\n").into_bytes()),
            "C= " => Line::Client(unescape(rest)),
            "C:" => Line::Client(b"\r\n".to_vec()),
            "S: " if server && rest.as_bytes().get(3) == Some(&b'-') => return Ok(()),
            "S: " => reply(rest),
            "S= " if !server => Line::Server(Expected { codes: Vec::new(), octets: unescape(rest) }),
            "W: " => {
                let Some(Line::Server(last)) = self.lines.last_mut() else { return Err("stands behind no reply") };
                last.codes = rest.split(' ').map(str::to_owned).collect();
                return Ok(());
            }
            "W! " if rest == "tls-or-close" => Line::TlsOrClose,
            "WC:" => Line::Client(format!("{}\r\n", rest.trim_start()).into_bytes()),
            "WS:" => reply(rest.trim_start()),
            // Events, outcomes, and what the application does are not seen on the wire.
            "E: " | "O: " | "T: " | "A: " if !server || mark == "E: " => return Ok(()),
            "V: " if rest.starts_with("AUTH ") => return Ok(()),
            _ if line == "! tls" => Line::Tls,
            _ if line == "! eof" => Line::Eof,
            _ => return Err("cannot be played on the wire"),
        };
        self.lines.push(item);
        Ok(())
    }

    /// Whether TLS begins in the middle of the dialogue.
    pub(crate) fn starts_tls(&self) -> bool {
        self.lines.iter().any(|line| matches!(line, Line::Tls | Line::TlsOrClose))
    }

    /// Whether the client says this verb.
    pub(crate) fn says(&self, verb: &[u8]) -> bool {
        self.lines.iter().any(|line| match line {
            Line::Client(octets) => octets.get(..verb.len()).is_some_and(|start| start.eq_ignore_ascii_case(verb)),
            _ => false,
        })
    }
}

/// `# RFC 5321 4.1.4: words`: where it is from, and what it says.
fn first_comment(text: &str) -> (String, String) {
    let comment = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
    match comment.split_once(':') {
        Some((source, title)) if source.starts_with("RFC ") => (source.to_owned(), title.trim().to_owned()),
        _ if comment.starts_with("RFC ") => (comment.trim_end_matches('.').to_owned(), String::new()),
        _ => (String::new(), comment.to_owned()),
    }
}

/// `\r`, `\n`, `\0`, `\t`, `\\`, `\xNN`, and `\*9_x` for nine `x`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let kind = rest.bytes().next().unwrap_or_default();
        rest = rest.get(1..).unwrap_or_default();
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'x' => {
                let (digits, after) = rest.split_at_checked(2).unwrap_or((rest, ""));
                out.push(u8::from_str_radix(digits, 16).unwrap_or_default());
                rest = after;
            }
            b'*' => {
                let (count, after) = rest.split_once('_').unwrap_or_default();
                let octet = after.bytes().next().unwrap_or_default();
                out.extend(std::iter::repeat_n(octet, count.parse().unwrap_or(0)));
                rest = after.get(1..).unwrap_or_default();
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::{Case, Level, Line, Side, embedded, unescape};

    #[test]
    fn every_embedded_case_can_be_read() {
        let cases = embedded().expect("cases");
        let of = |side| cases.iter().filter(|case| case.side == side).count();
        assert!(of(Side::Server) >= 90 && of(Side::Client) >= 20, "{} {}", of(Side::Server), of(Side::Client));
        for case in &cases {
            assert!(!case.source.is_empty() || case.level == Level::Practice, "{} owes something to no RFC", case.id);
            assert!(
                case.side == Side::Server || case.tell.is_some() || case.class == "TLS",
                "{} judges nothing",
                case.id
            );
        }
    }

    #[test]
    fn a_case_says_where_it_is_from_and_what_will_do() {
        let text = "# RFC 5321 4.1.4: order\nwire: SHOULD order needs=SIZE recipients=2\nS: 220 a\nC: MAIL\nS: 503 b\nW: 2 503\n";
        let case = Case::parse("server/x", text).expect("read").expect("a case");
        assert_eq!((case.source.as_str(), case.title.as_str()), ("RFC 5321 4.1.4", "order"));
        assert_eq!((case.level, case.class, case.recipients), (Level::Should, "order", Some(2)));
        let Some(Line::Server(last)) = case.lines.last() else { panic!("{case:?}") };
        assert_eq!(last.codes, ["2", "503"]);
        assert!(Case::parse("server/x", "# no\nS: 220 a\n").expect("read").is_none());
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        for wrong in [
            "wire: MAY order\n",
            "wire: MUST order colour=red\n",
            "wire: MUST order pieces=0\n",
            "wire: MUST order\n! timeout\n",
            "wire: MUST order\nV: RCPT 550 5.1.1 Unknown\n",
            "wire: MUST order\nC: NOOP\nW: 2\n",
        ] {
            assert!(Case::parse("server/x", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r"a\r\n\0\\\xff\*3_xb"), b"a\r\n\0\\\xffxxxb");
    }
}
