//! Every short sequence of commands, well formed, malformed and oversized, with every verdict of the application,
//! against a model that is written from the RFCs and not from the session: one reply a command and of the right class,
//! no state across STARTTLS, no recipients without a sender, no text or chunk read as commands, nothing complete that
//! was cut off.
//!
//! Two sequences that leave the session and the model in the same state, but for numbers that only report or count
//! towards a limit far away, go on alike: they are folded into one, and the sequences that it stands for are counted.
//! The shortest sequences also run unfolded, which would show a fold that hides something. Each runs turn by turn, and
//! again in one read.
//!
//! `EXHAUSTIVE_DEPTH=n` goes deeper, and `EXHAUSTIVE_UNFOLDED=n` for the unfolded run.

mod model;
mod rig;

use std::collections::HashMap;

use model::{Model, Outcome, Say, Setting};
use rig::Rig;
use smtp_proto::{Leniencies, Leniency, Want};

/// `\0user\0pencil`.
pub(crate) const PLAIN_RESPONSE: &[u8] = b"AHVzZXIAcGVuY2ls";

/// What the client sends in one turn; or `None`: the handshake is done.
type Symbol = Option<Vec<u8>>;

fn symbols(setting: &Setting) -> Vec<Symbol> {
    let mut lines: Vec<&str> = vec![
        if setting.lmtp { "LHLO client.example" } else { "EHLO client.example" },
        "HELO client.example",
        "EHLO",
        "MAIL FROM:<sender@client.example>",
        "MAIL FROM:<sender@client.example> SIZE=99999999999",
        "MAIL FROM:sender@client.example",
        "RCPT TO:<user@example.net>",
        "RCPT TO:<>",
        "DATA",
        "DATA x",
        "RSET",
        "NOOP",
        "QUIT",
        "VRFY user",
        "XYZZY",
        "",
        ".",
        "..",
        "NOOP\nRSET",
        "NOOP\nRSET\nQUIT",
        "NOOP ",
        "EHLO a_b.",
        "MAIL FROM: <sender@client.example>",
        "RCPT TO: user@example.net",
        "GET / HTTP/1.1",
        "BDAT 6\r\nRSET",
        "BDAT 3\r\n.",
        "BDAT 6 LAST\r\nQUIT",
        "BDAT 0",
        "BDAT 0 LAST",
        "BDAT 6 FIRST\r\nRSET",
        "BDAT 18446744073709551616 LAST",
    ];
    if !setting.lmtp {
        lines.push("LHLO client.example");
    }
    if setting.offers_tls || setting.implicit_tls {
        lines.extend(["STARTTLS", "STARTTLS x", "STARTTLS\r\nMAIL FROM:<sender@client.example>"]);
    }
    if setting.offers_auth {
        lines.extend([
            "AUTH PLAIN",
            "AUTH PLAIN AHVzZXIAcGVuY2ls",
            "AUTH PLAIN *",
            "AUTH XYZZY",
            "AHVzZXIAcGVuY2ls",
            "*",
        ]);
    }
    if setting.lenient != Leniencies::STANDARD {
        lines.extend([
            "MAIL FROM:<root>",
            "MAIL FROM:<a..b@c_d>",
            "MAIL FROM:<\u{fc}@client.example>",
            "HELO ::1",
            "x\n.\ny\0\rz",
        ]);
    }
    if setting.trusted {
        lines.extend(["XCLIENT ADDR=192.0.2.7", "XCLIENT ADDR", "XFORWARD ADDR=192.0.2.7"]);
    }
    let mut symbols: Vec<Symbol> = lines.iter().map(|line| Some([line.as_bytes(), b"\r\n"].concat())).collect();
    symbols.push(Some([&b"x".repeat(2100)[..], b"\r\n"].concat()));
    // Chunks that do not end in CRLF: what follows must not be glued to them.
    symbols.push(Some(b"BDAT 2\r\nhi".to_vec()));
    // A client that ends its lines in LF, and one that stops in the middle.
    symbols.extend([&b"HELO client.example\n"[..], b"NOOP\n", b"\n"].map(|octets| Some(octets.to_vec())));
    symbols.push(Some(b"BDAT 4 LAST\r\nhi\r\n".to_vec()));
    if setting.offers_tls {
        symbols.push(None);
    }
    symbols
}

struct Search {
    setting: Setting,
    config: std::sync::Arc<smtp_proto::server::Config>,
    symbols: Vec<Symbol>,
    runs: u64,
}

/// Which symbol, and what the application says to all that it is asked in that turn.
type Turn = (usize, Say);

impl Search {
    fn new(setting: Setting) -> Self {
        Self { config: rig::config(&setting), symbols: symbols(&setting), setting, runs: 0 }
    }

    /// Runs a sequence; the turns before the last have been checked when they were last themselves. `None`: the last
    /// turn cannot be.
    fn run(&mut self, turns: &[Turn]) -> Option<(Rig, Model, bool)> {
        self.runs += 1;
        let (mut rig, mut model) = (Rig::new(&self.config, &self.setting), Model::new(self.setting.clone()));
        let mut asked = false;
        for &(symbol, say) in turns {
            match self.symbols.get(symbol)? {
                None if model.wants_tls() => {
                    rig.tls_established();
                    model.tls_established();
                    asked = false;
                }
                None => return None,
                Some(octets) => {
                    let seen = rig.feed(octets, say);
                    let expected = model.feed(octets, say);
                    self.compare(turns, &rig, &model, &seen, &expected);
                    asked = !expected.asked.is_empty();
                }
            }
        }
        Some((rig, model, asked))
    }

    fn compare(&self, turns: &[Turn], rig: &Rig, model: &Model, seen: &rig::Seen, expected: &Outcome) {
        let what = || {
            let turns: Vec<_> = turns.iter().map(|(symbol, say)| (self.show(*symbol), *say)).collect();
            format!("{turns:#?}\nin {:#?}\nseen {seen:?}\nexpected {expected:?}", self.setting)
        };
        let fits = seen.codes.len() == expected.replies.len()
            && expected.replies.iter().zip(&seen.codes).all(|(expected, code)| expected.fits(*code));
        assert!(fits, "other replies: {}", what());
        assert_eq!(seen.asked, expected.asked, "other questions: {}", what());
        assert_eq!(seen.texts, expected.texts, "another text: {}", what());
        let want = match () {
            () if model.is_over() => Want::Close,
            () if model.wants_tls() => Want::Tls,
            () => Want::Input,
        };
        assert_eq!(seen.want, Some(want), "{}", what());
        if !model.is_over() {
            let session = &rig.session;
            let has = (
                session.tls().is_some(),
                session.hello().is_some(),
                session.in_transaction(),
                session.identity().is_some(),
            );
            let should = (model.has_tls(), model.has_hello(), model.in_transaction(), model.is_authenticated());
            assert_eq!(has, should, "TLS, name, transaction, identity: {}", what());
        }
    }

    fn show(&self, symbol: usize) -> String {
        match &self.symbols[symbol] {
            None => "(TLS is up)".into(),
            Some(octets) if octets.len() > 100 => format!("{} octets", octets.len()),
            Some(octets) => octets.escape_ascii().to_string(),
        }
    }

    /// The same in one read: a queue of octets, taken a command at a time. Where TLS begins nothing can be glued.
    fn glued(&mut self, turns: &[Turn]) {
        let (mut rig, mut model) = (Rig::new(&self.config, &self.setting), Model::new(self.setting.clone()));
        let (mut octets, mut says, mut apart) = (Vec::new(), Vec::new(), Outcome::default());
        for &(symbol, say) in turns {
            let Some(Some(turn)) = self.symbols.get(symbol) else { return };
            let outcome = model.feed(turn, say);
            if model.wants_tls() {
                return;
            }
            octets.extend_from_slice(turn);
            says.extend(outcome.asked.iter().map(|_| say));
            apart.replies.extend(outcome.replies);
            apart.asked.extend(outcome.asked);
            apart.texts.extend(outcome.texts);
        }
        self.runs += 1;
        let mut says = says.into_iter();
        let seen = rig.feed_asking(&octets, &mut || says.next().expect("no more questions than one by one"));
        self.compare(turns, &rig, &model, &seen, &apart);
    }

    /// Every sequence of up to `depth` turns behind `beginning`, folded; how many they are.
    fn folded(&mut self, beginning: &[&str], depth: usize) -> u64 {
        let turn = |line: &&str| {
            let octets = (!line.is_empty()).then(|| [line.as_bytes(), b"\r\n"].concat());
            (self.symbols.iter().position(|symbol| *symbol == octets).expect("a symbol"), Say::Yes)
        };
        let mut layer: Vec<(Vec<Turn>, u64)> = vec![(beginning.iter().map(turn).collect(), 1)];
        let mut sequences = 0;
        for _ in 0..depth {
            let mut next: HashMap<(String, Model), (Vec<Turn>, u64)> = HashMap::new();
            for (prefix, stands_for) in layer {
                let mut turns = prefix;
                for symbol in 0..self.symbols.len() {
                    for say in Say::ALL {
                        turns.push((symbol, say));
                        let run = self.run(&turns);
                        let Some((rig, model, asked)) = run else {
                            turns.pop();
                            break;
                        };
                        sequences += stands_for;
                        if !model.is_over() {
                            let entry = next.entry((fold(&rig), model.without_text()));
                            entry.or_insert_with(|| (turns.clone(), 0)).1 += stands_for;
                        }
                        rig.end();
                        self.glued(&turns);
                        turns.pop();
                        if !asked {
                            break;
                        }
                    }
                }
            }
            layer = next.into_values().collect();
        }
        sequences
    }

    /// Every sequence of up to `depth` turns, each by itself.
    fn unfolded(&mut self, depth: usize, turns: &mut Vec<Turn>) -> u64 {
        let mut sequences = 0;
        for symbol in 0..self.symbols.len() {
            for say in Say::ALL {
                turns.push((symbol, say));
                let run = self.run(turns);
                let over = run.as_ref().is_none_or(|(_, model, _)| model.is_over());
                let asked = run.as_ref().is_some_and(|(_, _, asked)| *asked);
                if let Some((rig, ..)) = run {
                    sequences += 1;
                    rig.end();
                }
                if !over && depth > 1 {
                    sequences += self.unfolded(depth - 1, turns);
                }
                turns.pop();
                if !asked {
                    break;
                }
            }
        }
        sequences
    }
}

/// The session as its Debug shows it, without the numbers that only report (identity, offsets, progress) or count what
/// no such short sequence brings to its limit (faults, commands, transactions).
fn fold(rig: &Rig) -> String {
    let debug = format!("{:?}", rig.session);
    let (_, mut rest) = debug.split_once("}, tickets: Tickets { session: ").expect("the configuration stands first");
    rest = rest.trim_start_matches(|char: char| char.is_ascii_digit());
    let mut out = String::new();
    const NEUTRAL: [&str; 10] = [
        "serial: ",
        "offset: ",
        "progress: ",
        "faults: ",
        "idle_commands: ",
        "transactions: ",
        "discarded: ",
        "base: ",
        "drip: ",
        "octets: ",
    ];
    for name in ["state: ", "pending: ", "recipients: ", "rare: ", "phase: ", "output: ", "tls: "] {
        assert!(rest.contains(name), "{name} is not shown: {debug}");
    }
    while let Some(at) = rest.find(|char: char| char.is_ascii_digit()) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let end = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
        let (number, behind) = after.split_at(end);
        if !NEUTRAL.iter().any(|name| before.ends_with(name)) {
            out.push_str(number);
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn depth(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |depth| depth.parse().expect("a number"))
}

fn search(name: &str, setting: Setting) {
    search_to(depth("EXHAUSTIVE_DEPTH", 7), name, setting);
}

fn search_to(deep: usize, name: &str, setting: Setting) {
    let wide = depth("EXHAUSTIVE_UNFOLDED", 3);
    let mut search = Search::new(setting);
    let folded = search.folded(&[], deep);
    let folded_runs = std::mem::take(&mut search.runs);
    let unfolded = search.unfolded(wide, &mut Vec::new());
    println!(
        "{name}: {folded} sequences of up to {deep} turns in {folded_runs} runs; {unfolded} of up to {wide} by themselves"
    );
    assert_eq!(search.folded(&[], wide), unfolded, "the fold counts what there is");
}

const MX: Setting = Setting {
    lmtp: false,
    must_authenticate: false,
    must_encrypt: false,
    offers_tls: false,
    offers_auth: false,
    plaintext_auth: false,
    implicit_tls: false,
    trusted: false,
    lenient: Leniencies::STANDARD,
};

#[test]
fn an_mx_that_offers_tls() {
    search("MX", Setting { offers_tls: true, ..MX });
}

#[test]
fn an_mx_that_requires_tls() {
    search("MX, TLS required", Setting { offers_tls: true, must_encrypt: true, ..MX });
}

#[test]
fn a_submission_server_with_starttls() {
    let setting = Setting { offers_tls: true, offers_auth: true, must_authenticate: true, ..MX };
    search("submission", setting);
}

#[test]
fn a_submission_server_that_takes_passwords_in_plaintext() {
    let setting = Setting { offers_tls: true, offers_auth: true, must_authenticate: true, plaintext_auth: true, ..MX };
    search("submission, AUTH in plaintext", setting);
}

#[test]
fn a_submission_server_inside_tls() {
    search("submissions", Setting { offers_auth: true, must_authenticate: true, implicit_tls: true, ..MX });
}

#[test]
fn an_lmtp_server() {
    search("LMTP", Setting { lmtp: true, ..MX });
}

#[test]
fn an_mx_whose_peer_speaks_for_others() {
    // XCLIENT and STARTTLS each begin anew: what one more turn would add is the states of an MX once more.
    let deep = depth("EXHAUSTIVE_DEPTH", 7).saturating_sub(2);
    search_to(deep, "trusted", Setting { offers_tls: true, trusted: true, ..MX });
}

/// No leniency, and not all of them together, makes another end of text or lets a reply get out of step.
#[test]
fn with_each_leniency_and_with_all() {
    let deep = depth("EXHAUSTIVE_DEPTH", 7).saturating_sub(4).min(4);
    let search = |name: &str, setting: Setting, deep: usize| {
        let hello = if setting.lmtp { "LHLO client.example" } else { "EHLO client.example" };
        let mut search = Search::new(setting);
        let sequences = search.folded(&[], deep);
        let within = search.folded(&[&[hello], &TRANSACTION[..], &["DATA"]].concat(), deep - 1);
        println!("{name}: {sequences} sequences of up to {deep} turns, {within} in a text; {} runs", search.runs);
    };
    let tls_off = Setting { offers_auth: true, plaintext_auth: true, ..MX };
    for lmtp in [false, true] {
        for &leniency in Leniency::ALL {
            search(leniency.as_str(), Setting { lmtp, lenient: leniency.into(), ..tls_off.clone() }, deep);
        }
        search("all leniencies", Setting { lmtp, lenient: Leniencies::ALL, ..tls_off.clone() }, deep + 1);
    }
    search("strict", Setting { lenient: Leniencies::STRICT, ..tls_off }, deep);
}

const TRANSACTION: [&str; 3] =
    ["MAIL FROM:<sender@client.example>", "RCPT TO:<user@example.net>", "RCPT TO:<user@example.net>"];

/// What short sequences do not come to: a second transaction, and one behind STARTTLS.
#[test]
fn from_within() {
    let starttls =
        ["EHLO client.example", "MAIL FROM:<sender@client.example>", "RSET", "STARTTLS", "", "EHLO client.example"];
    let deep = depth("EXHAUSTIVE_DEPTH", 7).saturating_sub(2);
    for (setting, beginning) in [
        (Setting { offers_tls: true, ..MX }, [&starttls[..], &TRANSACTION].concat()),
        (Setting { offers_tls: true, ..MX }, [&starttls[..], &TRANSACTION, &["DATA", "."]].concat()),
        (Setting { lmtp: true, ..MX }, [&["LHLO client.example"], &TRANSACTION[..], &["DATA", "."]].concat()),
        (Setting { lmtp: true, ..MX }, [&["LHLO client.example"], &TRANSACTION[..], &["BDAT 0", "RSET"]].concat()),
    ] {
        let mut search = Search::new(setting);
        let sequences = search.folded(&beginning, deep);
        println!("behind {beginning:?}: {sequences} sequences of up to {deep} turns in {} runs", search.runs);
    }
}
