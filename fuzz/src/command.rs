//! A line, as a command. The first octet says how to parse: bit 0 SMTPUTF8, the others a leniency of the grammar each.

use smtp_proto::syntax::{Command, Options};
use smtp_proto::{Leniencies, Leniency};

/// By the bits of the first octet.
const LENIENCIES: [&[Leniency]; 7] = [
    &[Leniency::SpaceAfterColon],
    &[Leniency::TrailingSpace],
    &[Leniency::BareBrackets],
    &[Leniency::HeloName],
    &[Leniency::DotsInLocalPart, Leniency::UnderscoreInDomain],
    &[Leniency::NoDomain],
    &[Leniency::Utf8WithoutSmtpUtf8],
];

/// What changes the command itself, which the writer does not let out.
fn content(used: Leniencies) -> bool {
    !used
        .without([Leniency::SpaceAfterColon, Leniency::TrailingSpace, Leniency::BareBrackets].into_iter().collect())
        .is_strict()
}

/// What is accepted is written, and comes back; an error points into the line; nothing depends on anything else.
pub fn run(input: &[u8]) {
    let Some((how, line)) = input.split_first() else { return };
    let on = LENIENCIES.iter().enumerate().filter(|(bit, _)| how & 2 << bit != 0);
    let lenient: Leniencies = on.flat_map(|(_, each)| each.iter().copied()).collect();
    let options = Options::new().smtputf8(how & 1 != 0).lenient(lenient);
    let parsed = match Command::parse(line, &options) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(error.offset() <= line.len());
            assert!(matches!(error.code(), 500..=599) && error.enhanced().class() == 5);
            // What is not let pass by a switch is not let pass without it.
            assert!(Command::parse(line, &Options::new()).is_err());
            return;
        }
    };
    // RFC 5321 2.3.8: the one thing that no leniency lets in.
    // Tabs are white space at the end of a line.
    let end = line.iter().rposition(|octet| !matches!(octet, b' ' | b'\t')).map_or(0, |last| last + 1);
    assert!(!line[..end].iter().any(|octet| matches!(octet, 0..=31 | 127)));
    assert!(how & 1 != 0 || line.is_ascii() || lenient.contains(Leniency::Utf8WithoutSmtpUtf8));
    // A leniency that is off is not used.
    assert!(parsed.used.without(lenient).is_strict());
    assert_eq!(parsed.used.is_strict(), Command::parse(line, &Options::new().smtputf8(options.smtputf8)).is_ok());

    let mut out = Vec::new();
    if content(parsed.used) {
        let _ = parsed.command.write(&mut out);
        assert!(out.is_empty() || parsed.used.contains(Leniency::Utf8WithoutSmtpUtf8));
        return;
    }
    parsed.command.write(&mut out).expect("what was parsed can be written");
    let written = out.strip_suffix(b"\r\n").expect("CRLF");
    // Brackets that were missing are added.
    assert!(written.len() <= line.len() + 2 * usize::from(parsed.used.contains(Leniency::BareBrackets)));
    let again = Command::parse(written, &Options::new().smtputf8(true)).expect("what was written can be parsed");
    assert_eq!(again.command, parsed.command);
    assert!(again.used.is_strict());
    match parsed.command {
        Command::Mail(mail) => super::address_params::params(&mail.params),
        Command::Rcpt(rcpt) => super::address_params::params(&rcpt.params),
        _ => {}
    }
}
