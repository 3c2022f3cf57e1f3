//! Counting: what every reader hands in becomes records of the core's ledger, and what does not count is noted.

pub(crate) mod desk;
pub(crate) mod sessions;
