//! `serve` as a program: its settings, its listeners, what it says, its end.

mod ending;
mod except;
mod lenient;
mod noted;
mod program;
mod said;
mod seeing;
mod settings;
mod system;
mod trust;
mod unread;
