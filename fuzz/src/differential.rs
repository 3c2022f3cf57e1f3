//! Commands and replies through our parsers and two others of crates.io, A and B. Where two take the same octets they must take them
//! for the same thing, and for as much of them: a peer and a proxy that differ in that can be talked out of step. What we take the
//! others must take, too, but for what is listed here with its reason. (What they take and we do not is the grammar's to say:
//! benches/tests/differential.rs has it by section.)

use smtp_proto::syntax::{Command, Options, Params, ReplyLimits, ReplyLines, ReplyReader};

/// The first octet says what the rest is: lines with commands, or replies.
pub fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    if how & 1 == 0 {
        rest.split_inclusive(|octet| *octet == b'\n').for_each(command);
    } else {
        replies(rest);
    }
}

/// What a command means, as far as all three say it.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    verb: &'static str,
    /// The path without brackets.
    path: Option<String>,
    size: Option<u64>,
}

impl Meaning {
    const fn of(verb: &'static str) -> Self {
        Self { verb, path: None, size: None }
    }

    fn path(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    fn size(self, size: Option<u64>) -> Self {
        Self { size, ..self }
    }
}

fn command(line: &[u8]) {
    let Some(ours) = line.strip_suffix(b"\r\n") else { return };
    let Ok(parsed) = Command::parse(ours, &Options::new()) else { return };
    let text = str::from_utf8(ours).expect("strict commands are ASCII");
    let Some(meaning) = meaning(&parsed.command) else { return };

    let mut octets = line.iter();
    match stalwart_smtp_proto::Request::parse(&mut octets) {
        Ok(theirs) => {
            assert!(octets.as_slice().is_empty(), "A takes {text:?} for a shorter line");
            assert_eq!(of_a(&theirs, &meaning), meaning, "A, of {text:?}");
        }
        Err(error) => {
            assert!(
                INTENDED_A.iter().any(|(excuses, _)| excuses(&parsed.command, text)),
                "A refuses {text:?}: {error:?}"
            );
        }
    }
    match smtp_message::Command::<&str>::parse(line) {
        Ok((behind, theirs)) => {
            assert!(behind.is_empty(), "B takes {text:?} for a shorter line");
            assert_eq!(of_b(&theirs), meaning, "B, of {text:?}");
        }
        Err(error) => {
            assert!(
                INTENDED_B.iter().any(|(excuses, _)| excuses(&parsed.command, text)),
                "B refuses {text:?}: {error:?}"
            );
        }
    }
}

/// Of ours. None for commands that neither of the others has, and for paths that each writes in its own way: with a source route,
/// which is dropped (RFC 5321 appendix C), in quotes, or Postmaster without a domain (RFC 5321 4.5.1).
fn meaning(command: &Command<'_>) -> Option<Meaning> {
    let plain = |path: &str| {
        (!path.contains(['"', '\\', ':', '[']) && (path.contains('@') || path.is_empty())).then(|| path.to_owned())
    };
    Some(match command {
        Command::Ehlo(_) => Meaning::of("EHLO"),
        Command::Helo(_) => Meaning::of("HELO"),
        Command::Lhlo(_) => Meaning::of("LHLO"),
        Command::Mail(mail) => Meaning::of("MAIL").path(&plain(mail.path.as_str())?).size(mail.params.size()),
        Command::Rcpt(rcpt) => Meaning::of("RCPT").path(&plain(rcpt.path.as_str())?),
        Command::Data => Meaning::of("DATA"),
        Command::Bdat { size, last } => Meaning::of(if *last { "BDAT LAST" } else { "BDAT" }).size(Some(*size)),
        Command::Rset => Meaning::of("RSET"),
        Command::Noop(_) => Meaning::of("NOOP"),
        Command::Vrfy(_) => Meaning::of("VRFY"),
        Command::Expn(_) => Meaning::of("EXPN"),
        Command::Help(_) => Meaning::of("HELP"),
        Command::Quit => Meaning::of("QUIT"),
        Command::StartTls => Meaning::of("STARTTLS"),
        _ => return None,
    })
}

type Request<'a> = stalwart_smtp_proto::Request<std::borrow::Cow<'a, str>>;

fn of_a(request: &Request<'_>, ours: &Meaning) -> Meaning {
    use stalwart_smtp_proto::Request as R;
    let wide = |size: usize| size as u64;
    match request {
        R::Ehlo { .. } => Meaning::of("EHLO"),
        R::Helo { .. } => Meaning::of("HELO"),
        R::Lhlo { .. } => Meaning::of("LHLO"),
        // Of SIZE it says 0 where there is none.
        R::Mail { from } => {
            let size = if from.size == 0 && ours.size.is_none() { None } else { Some(wide(from.size)) };
            Meaning::of("MAIL").path(&from.address).size(size)
        }
        R::Rcpt { to } => Meaning::of("RCPT").path(&to.address),
        R::Data => Meaning::of("DATA"),
        R::Bdat { chunk_size, is_last } => {
            Meaning::of(if *is_last { "BDAT LAST" } else { "BDAT" }).size(Some(wide(*chunk_size)))
        }
        R::Rset => Meaning::of("RSET"),
        R::Noop { .. } => Meaning::of("NOOP"),
        R::Vrfy { .. } => Meaning::of("VRFY"),
        R::Expn { .. } => Meaning::of("EXPN"),
        R::Help { .. } => Meaning::of("HELP"),
        R::Quit => Meaning::of("QUIT"),
        R::StartTls => Meaning::of("STARTTLS"),
        _ => Meaning::of("another"),
    }
}

fn of_b(command: &smtp_message::Command<&str>) -> Meaning {
    use smtp_message::Command as C;
    let path = |email: &smtp_message::Email<&str>| match &email.hostname {
        Some(host) => format!("{}@{}", email.localpart.raw(), host.raw()),
        None => (*email.localpart.raw()).to_owned(),
    };
    match command {
        C::Ehlo { .. } => Meaning::of("EHLO"),
        C::Helo { .. } => Meaning::of("HELO"),
        C::Lhlo { .. } => Meaning::of("LHLO"),
        C::Mail { email, params, .. } => {
            let is_size = |name: &str| name.eq_ignore_ascii_case("SIZE");
            let size = params.0.iter().find_map(|(name, value)| match (name, value) {
                (smtp_message::ParameterName::Other(name), Some(value)) if is_size(name) => value.as_str().parse().ok(),
                _ => None,
            });
            Meaning::of("MAIL").path(&email.as_ref().map(path).unwrap_or_default()).size(size)
        }
        C::Rcpt { email, .. } => Meaning::of("RCPT").path(&path(email)),
        C::Data => Meaning::of("DATA"),
        C::Rset => Meaning::of("RSET"),
        C::Noop { .. } => Meaning::of("NOOP"),
        C::Vrfy { .. } => Meaning::of("VRFY"),
        C::Expn { .. } => Meaning::of("EXPN"),
        C::Help { .. } => Meaning::of("HELP"),
        C::Quit => Meaning::of("QUIT"),
        C::Starttls => Meaning::of("STARTTLS"),
    }
}

type Row = (fn(&Command<'_>, &str) -> bool, &'static str);

fn params<'a>(command: &Command<'a>) -> Params<'a> {
    match command {
        Command::Mail(mail) => mail.params,
        Command::Rcpt(rcpt) => rcpt.params,
        _ => Params::NONE,
    }
}

/// What we take and A does not.
const INTENDED_A: &[Row] = &[
    (
        |command, _| params(command).iter().next().is_some(),
        "parameters: benches/tests/differential.rs compares them one by one",
    ),
    (|command, _| matches!(command, Command::Bdat { .. }), "chunks of any size that 64 bits hold, 0 among them"),
    (
        |command, _| matches!(command, Command::Vrfy(_) | Command::Expn(_) | Command::Noop(_) | Command::Help(_)),
        "what stands behind these is kept as it came: nothing is done by it",
    ),
];

/// What we take and B does not.
const INTENDED_B: &[Row] = &[
    (|command, _| matches!(command, Command::Bdat { .. }), "BDAT"),
    (|command, _| params(command).iter().any(|param| param.known.is_none()), "unknown parameters are kept"),
    (|_, text| text.contains('['), "address literals with any tag"),
];

/// Our limits are no matter here.
fn reader() -> ReplyReader {
    ReplyReader::new(ReplyLimits::default())
}

fn replies(mut input: &[u8]) {
    let mut reader = reader();
    loop {
        let before = input;
        let Ok(Some(reply)) = reader.next(&mut input) else { return };
        let used = before.len() - input.len();
        reply_of_a(before, &reply, used);
        reply_of_b(before, &reply, used);
    }
}

fn reply_of_a(octets: &[u8], reply: &ReplyLines<'_>, used: usize) {
    let mut rest = octets.iter();
    match stalwart_smtp_proto::response::parser::ResponseReceiver::default().parse(&mut rest) {
        Ok(theirs) => {
            assert_eq!(theirs.code, reply.code(), "A, of {reply}");
            assert_eq!(octets.len() - rest.len(), used, "A takes {reply} for another length");
        }
        // Its bound is 4,096 octets.
        Err(error) => assert!(used > 4096, "A refuses {reply}: {error:?}"),
    }
}

fn reply_of_b(octets: &[u8], reply: &ReplyLines<'_>, used: usize) {
    match smtp_message::Reply::<&str>::parse(octets) {
        Ok((rest, theirs)) => {
            assert_eq!(theirs.code.code(), reply.code(), "B, of {reply}");
            assert_eq!(octets.len() - rest.len(), used, "B takes {reply} for another length");
            assert_eq!(theirs.text.len(), reply.lines().count(), "B, of {reply}");
        }
        Err(error) => {
            // RFC 5321 4.2.1 has no second digit beyond 5; a client acts on the first (4.3.2).
            let other_digit = !matches!(reply.code() / 10 % 10, 0..=5);
            // RFC 5321 4.2 has printable text; what a server says beyond it must not cost the connection.
            let printable = |octet: &u8| matches!(octet, b'\t' | b' '..=b'~');
            let other_text = reply.lines().any(|line| !line.text().iter().all(printable));
            assert!(other_digit || other_text, "B refuses {reply}: {error:?}");
        }
    }
}
