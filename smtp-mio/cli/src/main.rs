//! `smtp-mio`: a sink for mail that misbehaves on request, a load generator, and tests of conformance.

mod blast;
mod conform;
mod failure;
mod log;
mod sink;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use failure::Failure;
use rustix::process::{Resource, getrlimit, setrlimit};

/// SMTP over mio: swallow mail as fast as it comes and misbehave on request, send it and measure, or test servers and clients.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    arg_required_else_help = true,
    after_help = "Try: smtp-mio sink --help, smtp-mio blast --help, smtp-mio conform --help"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sink(sink::Options),
    Blast(blast::Options),
    Conform(conform::Options),
    /// Is a part of smtp-smol
    #[command(hide = true)]
    Serve(Elsewhere),
    /// Is a part of smtp-smol
    #[command(hide = true)]
    Send(Elsewhere),
    /// Is a part of smtp-smol
    #[command(hide = true)]
    Audit(Elsewhere),
}

/// What another program does.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct Elsewhere {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _options: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Sink(options) => sink::run(&options).map(|()| true),
        Command::Blast(options) => blast::run(&options),
        Command::Conform(options) => conform::run(&options),
        Command::Serve(_) => Err(Failure::usage("serve is a part of smtp-smol: run smtp-smol serve")),
        Command::Send(_) => Err(Failure::usage("send is a part of smtp-smol: run smtp-smol send")),
        Command::Audit(_) => Err(Failure::usage("audit is a part of smtp-smol: run smtp-smol audit")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => failure.report(),
    }
}

/// Such as `200ms`, `1.5s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; give one such as 200ms, 1.5s or 2m");
    let signed: jiff::SignedDuration = text.trim().parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

/// A connection is a descriptor: the soft limit of many systems is 1,024.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}
