//! What was found: an identifier that stays, how bad it is, and words.

use serde::Serialize;

/// How bad it is, in the order in which it counts for the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing, and nothing to be woken for.
    Note,
    /// It could not be found out, as where the server answers 421.
    Unknown,
    Warning,
    Critical,
}

impl Level {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// What monitoring calls it, and the exit code that it expects: those of Nagios's plugins.
    pub(super) const fn state(self) -> (&'static str, u8) {
        match self {
            Self::Ok | Self::Note => ("OK", 0),
            Self::Warning => ("WARNING", 1),
            Self::Critical => ("CRITICAL", 2),
            Self::Unknown => ("UNKNOWN", 3),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Which of the server's addresses it is about; none where it is about all of them.
    pub(super) address: Option<String>,
    pub(super) id: &'static str,
    pub(super) level: Level,
    pub(super) words: String,
    /// What to do about it.
    pub(super) mend: Option<&'static str>,
}

impl Finding {
    pub(super) fn new(id: &'static str, level: Level, words: impl Into<String>) -> Self {
        Self { address: None, id, level, words: words.into(), mend: None }
    }

    pub(super) fn ok(id: &'static str, words: impl Into<String>) -> Self {
        Self::new(id, Level::Ok, words)
    }

    pub(super) fn note(id: &'static str, words: impl Into<String>) -> Self {
        Self::new(id, Level::Note, words)
    }

    pub(super) fn unknown(id: &'static str, words: impl Into<String>) -> Self {
        Self::new(id, Level::Unknown, words)
    }

    pub(super) fn warning(id: &'static str, words: impl Into<String>) -> Self {
        Self::new(id, Level::Warning, words)
    }

    pub(super) fn critical(id: &'static str, words: impl Into<String>) -> Self {
        Self::new(id, Level::Critical, words)
    }

    pub(super) const fn mend(mut self, mend: &'static str) -> Self {
        self.mend = Some(mend);
        self
    }
}
