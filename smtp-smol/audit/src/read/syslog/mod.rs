//! A line of a log as syslog, the journal or a container's runtime writes it: when, on which host, by which program.

mod line;
mod stamp;

pub(crate) use line::Line;
pub(crate) use stamp::{Calendar, FORMS, Stamp};
