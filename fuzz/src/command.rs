//! A line, as a command.

use smtp_proto::syntax::{Command, Options};

/// An error points into the line, and parsing again says the same.
pub fn run(line: &[u8]) {
    let parsed = Command::parse(line, &Options::new());
    assert_eq!(parsed, Command::parse(line, &Options::new()));
    if let Err(error) = parsed {
        assert!(error.offset() <= line.len());
    }
}
