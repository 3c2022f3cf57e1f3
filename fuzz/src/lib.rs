//! What the fuzz targets do. The core's test `seeds` includes these files too, and runs every seed on stable.

pub mod address_params;
pub mod client;
pub mod command;
pub mod hello;
pub mod pair;
pub mod proxy;
pub mod reply;
pub mod server;
pub mod text;

/// What a target does with an input: it panics when something does not hold.
pub type Body = fn(&[u8]);

/// Every target, by the name of its folder in `fuzz/seeds`.
pub const TARGETS: &[(&str, Body)] = &[
    ("address_params", address_params::run),
    ("client", client::run),
    ("command", command::run),
    ("hello", hello::run),
    ("pair", pair::run),
    ("proxy", proxy::run),
    ("reply", reply::run),
    ("server", server::run),
    ("text", text::run),
];
