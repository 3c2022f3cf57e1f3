//! What was read is counted here, and handed on: as rows, as cells.

pub(crate) mod account;
pub(crate) mod arrivals;
pub(crate) mod aside;
pub(crate) mod cells;
pub(crate) mod clients;
pub(crate) mod day;
mod days;
pub(crate) mod desk;
pub(crate) mod held;
pub(crate) mod names;
mod per_sender;
pub(crate) mod rows;
pub(crate) mod seal;
pub(crate) mod seen;
pub(crate) mod sessions;
pub(crate) mod silenced;
