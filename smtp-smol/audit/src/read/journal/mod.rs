//! Entries of the journal, and of others who wrap lines of a log: what is in them is a line as syslog knows it.

pub(crate) mod export;
mod flat;
pub(crate) mod json;
mod shape;

pub(crate) use shape::Shapes;
