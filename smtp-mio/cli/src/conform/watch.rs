//! What any client owes in any case: commands that are some, in an order that may be, and nothing ahead of its time.

use smtp_proto::syntax::{Command, Options};

/// Looks at each line of a client, and keeps what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) faults: Vec<String>,
    /// Verbs in the order in which they came.
    pub(crate) verbs: Vec<String>,
    /// Keywords that were announced.
    offered: Vec<String>,
    greeted: bool,
}

/// Parameters, and what announces them.
const PARAMETERS: [(&str, &str); 12] = [
    ("SIZE", "SIZE"),
    ("BODY", "8BITMIME"),
    ("SMTPUTF8", "SMTPUTF8"),
    ("RET", "DSN"),
    ("ENVID", "DSN"),
    ("NOTIFY", "DSN"),
    ("ORCPT", "DSN"),
    ("AUTH", "AUTH"),
    ("REQUIRETLS", "REQUIRETLS"),
    ("BY", "DELIVERBY"),
    ("HOLDFOR", "FUTURERELEASE"),
    ("MT-PRIORITY", "MT-PRIORITY"),
];

impl Watch {
    /// Only the first of a kind is of interest.
    pub(crate) fn fault(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.faults.contains(&what) {
            self.faults.push(what);
        }
    }

    /// The reply to EHLO.
    pub(crate) fn announced(&mut self, reply: &[u8]) {
        let text = String::from_utf8_lossy(reply).into_owned();
        let keyword = |line: &str| line.get(4..).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
        self.offered = text.lines().skip(1).filter_map(keyword).collect();
    }

    /// What was said and offered before the handshake is forgotten (RFC 3207 4.2).
    pub(crate) fn inside_tls(&mut self) {
        self.offered.clear();
        self.greeted = false;
    }

    /// A command, its line end included; `more` are octets that came with it. Gives its verb.
    pub(crate) fn command(&mut self, line: &[u8], more: bool) -> String {
        let text = String::from_utf8_lossy(line).into_owned();
        let text = text.trim_end_matches(['\r', '\n']);
        let verb = text.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        // RFC 5321 2.3.8: CRLF, and neither without the other; 4.5.3.1.4: 512 octets.
        let inner = line.strip_suffix(b"\r\n");
        if inner.is_none_or(|inner| inner.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0))) {
            self.fault(format!("{verb} does not end in CRLF (RFC 5321 2.3.8)"));
        }
        if line.len() > 512 && verb != "AUTH" {
            self.fault(format!("{verb} has more than 512 octets (RFC 5321 4.5.3.1.4)"));
        }
        if let Err(error) = Command::parse(text.as_bytes(), &Options::new()) {
            self.fault(format!("{:?} is no command: {error}", text.escape_debug().to_string()));
        }
        self.parameters(&verb, text);
        match verb.as_str() {
            "EHLO" | "HELO" | "LHLO" => self.greeted = true,
            // RFC 5321 4.1.4: these may come at any time.
            "NOOP" | "RSET" | "QUIT" | "HELP" | "VRFY" | "EXPN" => {}
            _ if !self.greeted => self.fault(format!("{verb} comes before EHLO (RFC 5321 4.1.4)")),
            _ => {}
        }
        if more {
            if !self.offers("PIPELINING") && verb != "BDAT" {
                self.fault(format!("more stands behind {verb}, without PIPELINING (RFC 2920 3)"));
            } else if matches!(verb.as_str(), "EHLO" | "HELO" | "LHLO" | "DATA" | "STARTTLS" | "QUIT" | "NOOP") {
                self.fault(format!("more stands behind {verb}, which ends a group (RFC 2920 3.1)"));
            }
        }
        self.verbs.push(verb.clone());
        verb
    }

    fn offers(&self, keyword: &str) -> bool {
        self.offered.iter().any(|offered| offered.eq_ignore_ascii_case(keyword))
    }

    /// RFC 5321 4.1.1.11: none that was not announced.
    fn parameters(&mut self, verb: &str, line: &str) {
        if !matches!(verb, "MAIL" | "RCPT") {
            return;
        }
        let parameters = line.rsplit_once('>').map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split_whitespace() {
            let name = parameter.split('=').next().unwrap_or_default();
            let known = PARAMETERS.iter().find(|(parameter, _)| name.eq_ignore_ascii_case(parameter));
            if known.is_none_or(|(_, keyword)| !self.offers(keyword)) {
                self.fault(format!("{verb} has {name}, which was not announced (RFC 5321 4.1.1.11)"));
            }
        }
    }

    /// The text as it came, up to its end, with its dots.
    pub(crate) fn text(&mut self, text: &[u8]) {
        let mut before = 0;
        for (at, octet) in text.iter().enumerate() {
            let wrong = match octet {
                b'\n' => before != b'\r',
                b'\r' => text.get(at + 1) != Some(&b'\n'),
                _ => false,
            };
            if wrong {
                self.fault("CR or LF stands alone in the text (RFC 5321 2.3.8)");
            }
            before = *octet;
        }
        if text.split(|octet| *octet == b'\n').any(|line| line.len() > 1000) {
            self.fault("a line of text has more than 1,000 octets (RFC 5321 4.5.3.1.6)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;

    fn faults(lines: &[(&str, bool)]) -> Vec<String> {
        let mut watch = Watch::default();
        watch.announced(b"250-mx.example.net\r\n250-PIPELINING\r\n250 SIZE 100\r\n");
        for (line, more) in lines {
            watch.command(line.as_bytes(), *more);
        }
        watch.faults
    }

    #[test]
    fn a_good_client_has_no_fault() {
        let lines = [
            ("EHLO c.example\r\n", false),
            ("MAIL FROM:<a@x.example> SIZE=1\r\n", true),
            ("RCPT TO:<b@x.example>\r\n", true),
            ("DATA\r\n", false),
            ("QUIT\r\n", false),
        ];
        assert_eq!(faults(&lines), [""; 0]);
    }

    #[test]
    fn each_departure_is_told_once() {
        for (line, more, why) in [
            ("EHLO c.example\n", false, "end in CRLF"),
            ("MAIL FROM:<a@x.example>\r\n", false, "before EHLO"),
            ("XYZZY\r\n", false, "no command"),
            ("EHLO c.example\r\n", true, "ends a group"),
        ] {
            let told = faults(&[(line, more), (line, more)]);
            assert!(told.iter().filter(|told| told.contains(why)).count() == 1, "{line:?}: {told:?}");
        }
        let told = faults(&[("EHLO c.example\r\n", false), ("MAIL FROM:<a@x.example> BODY=8BITMIME\r\n", false)]);
        assert!(told.len() == 1 && told[0].contains("BODY, which was not announced"), "{told:?}");
    }

    #[test]
    fn bare_line_ends_in_text_are_found() {
        for (text, wrong) in [("a\r\n.\r\n", false), ("a\nb\r\n", true), ("a\rb\r\n", true), ("a\r", true)] {
            let mut watch = Watch::default();
            watch.text(text.as_bytes());
            assert_eq!(!watch.faults.is_empty(), wrong, "{text:?}");
        }
    }
}
