//! `smtp-smol`: a mail server that knows what requiring STARTTLS would cost.

mod audit;
mod failure;
mod node;
mod send;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// SMTP over smol: a mail server that knows what requiring STARTTLS would cost.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true, after_help = "Try: smtp-smol serve --help")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Options),
    Send(send::Options),
    User(serve::users::Options),
    Audit(audit::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(options) => serve::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Send(options) => send::run(&options),
        Command::User(options) => serve::users::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Audit(options) => audit::run(&options).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
