//! `serve` as a program: its file of settings, its listeners, its end.

mod ending;
mod program;
mod settings;
