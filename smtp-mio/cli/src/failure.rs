//! Why the program ends early: one line for its user, and an exit code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

/// One line that names what is wrong, and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// Something that the user can put right before anything starts: exit code 2, as for a wrong option.
    pub(crate) fn usage(line: impl Display) -> Self {
        Self { line: line.to_string(), code: 2 }
    }

    /// Something went wrong while running: exit code 1.
    pub(crate) fn running(line: impl Display) -> Self {
        Self { line: line.to_string(), code: 1 }
    }

    pub(crate) fn report(&self) -> ExitCode {
        // Standard error may be closed: that is no reason for another exit code.
        let _ = writeln!(std::io::stderr(), "error: {}", self.line);
        ExitCode::from(self.code)
    }
}
