//! What can be wrong with a source or a question so that there is no answer.

/// Why there is no answer. Each says what is wrong, and how it can be mended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source cannot be read, or it is not clear what it is.
    #[error("{source_name}: {wrong}; {mend}")]
    Source {
        /// As it was named.
        source_name: String,
        /// What is wrong with it.
        wrong: String,
        /// What to do.
        mend: String,
    },
    /// It is not clear whose Received fields are to be believed.
    #[error("{0}; name your border server")]
    Border(String),
    /// The rows cannot be written.
    #[error("the rows cannot be written: {0}")]
    Rows(std::io::Error),
    /// The cells cannot be written.
    #[error("the cells cannot be written: {0}")]
    Cells(std::io::Error),
}

impl Error {
    pub(crate) fn source(name: impl std::fmt::Display, wrong: impl std::fmt::Display, mend: impl Into<String>) -> Self {
        Self::Source { source_name: name.to_string(), wrong: wrong.to_string(), mend: mend.into() }
    }
}
