//! Why the program ends early: one line for its user, and an exit code.

use std::fmt::{Display, Formatter};
use std::io::Write as _;
use std::process::ExitCode;

/// One line that names what is wrong, with the option and its value, and the mend; and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// Something that the user can put right before anything starts: exit code 2, as for a wrong option.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { line: line.into(), code: 2 }
    }

    /// An option, its value, what is wrong with it, and what to do.
    pub(crate) fn option(option: &str, value: impl Display, wrong: impl Display, mend: &str) -> Self {
        Self::usage(format!("{option} {value}: {wrong}; {mend}"))
    }

    /// Something went wrong while running: exit code 1.
    pub(crate) fn running(line: impl Into<String>) -> Self {
        Self { line: line.into(), code: 1 }
    }

    /// Says it on stderr, and gives the exit code.
    #[must_use]
    pub(crate) fn report(&self) -> ExitCode {
        // Standard error may be closed: that is no reason for another exit code.
        let _ = writeln!(std::io::stderr(), "error: {self}");
        ExitCode::from(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.line)
    }
}
