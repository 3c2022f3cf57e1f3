//! A line, as a command. The first octet says how to parse: bit 0 SMTPUTF8, bits 1 and 2 the leniencies.

use smtp_proto::syntax::{Command, Leniency, Options};

/// What is accepted is written, and comes back; an error points into the line; nothing depends on anything else.
pub fn run(input: &[u8]) {
    let Some((how, line)) = input.split_first() else { return };
    let mut lenient = Leniency::STRICT;
    lenient.space_after_colon = how & 2 != 0;
    lenient.trailing_space = how & 4 != 0;
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
    assert!(!line.iter().any(|octet| matches!(octet, 0..=31 | 127)));
    assert!(how & 1 != 0 || line.is_ascii());
    // A leniency that is off is not used.
    assert!(!parsed.used.space_after_colon || lenient.space_after_colon);
    assert!(!parsed.used.trailing_space || lenient.trailing_space);
    assert_eq!(parsed.used.is_strict(), Command::parse(line, &Options::new().smtputf8(options.smtputf8)).is_ok());

    let mut out = Vec::new();
    parsed.command.write(&mut out).expect("what was parsed can be written");
    let written = out.strip_suffix(b"\r\n").expect("CRLF");
    assert!(written.len() <= line.len());
    let again = Command::parse(written, &Options::new().smtputf8(true)).expect("what was written can be parsed");
    assert_eq!(again.command, parsed.command);
    assert!(again.used.is_strict());
    match parsed.command {
        Command::Mail(mail) => super::address_params::params(&mail.params),
        Command::Rcpt(rcpt) => super::address_params::params(&rcpt.params),
        _ => {}
    }
}
