//! `smtp-mio`: a sink for mail that misbehaves on request, and a load generator.

mod failure;
mod sink;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// SMTP over mio: swallow mail as fast as it comes, and misbehave on request.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true, after_help = "Try: smtp-mio sink --help")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sink(sink::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Sink(options) => sink::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
