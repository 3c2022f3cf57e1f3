//! `smtp-smol`: a mail server that knows what requiring STARTTLS would cost.

mod audit;
mod check;
mod failure;
#[cfg(test)]
mod hints;
mod lines;
mod manual;
mod node;
mod outlet;
mod place;
mod send;
mod serve;
mod shown;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use failure::Failure;

/// SMTP over smol: a mail server that knows what requiring STARTTLS would cost.
#[derive(Debug, Parser)]
#[command(
    name = "smtp-smol",
    version,
    about,
    arg_required_else_help = true,
    after_help = "Try: smtp-smol serve --help"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Options>),
    Send(Box<send::Options>),
    Check(Box<check::Options>),
    CheckConfig(serve::CheckConfig),
    User(serve::users::Options),
    Audit(Box<audit::Options>),
    Man(manual::Man),
    Completions(manual::Completions),
    /// Is a part of smtp-mio
    #[command(hide = true)]
    Sink(Elsewhere),
    /// Is a part of smtp-mio
    #[command(hide = true)]
    Blast(Elsewhere),
}

/// What another program does.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct Elsewhere {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _options: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    // One library for all TLS of the program. That there is one already cannot be: this comes first.
    #[cfg(feature = "aws-lc-rs")]
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let matches = Arguments::command().try_get_matches().unwrap_or_else(|error| check::end(&error));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done = match (arguments.command, matches.subcommand()) {
        (Command::Serve(_), Some((_, matches))) => serve::run(matches).map(|()| ExitCode::SUCCESS),
        (Command::Serve(_), None) => Err(Failure::usage("no settings")),
        (Command::CheckConfig(options), _) => serve::check_config(&options).map(|()| ExitCode::SUCCESS),
        (Command::Send(options), _) => send::run(&options),
        (Command::Check(options), _) => Ok(check::run(&options)),
        (Command::User(options), _) => serve::users::run(&options).map(|()| ExitCode::SUCCESS),
        (Command::Audit(options), _) => audit::run(&options).map(|()| ExitCode::SUCCESS),
        (Command::Sink(_), _) => Err(Failure::usage("sink is a part of smtp-mio: run smtp-mio sink")),
        (Command::Blast(_), _) => Err(Failure::usage("blast is a part of smtp-mio: run smtp-mio blast")),
        (Command::Man(options), _) => manual::man(&options, Arguments::command()).map(|()| ExitCode::SUCCESS),
        (Command::Completions(options), _) => {
            manual::completions(&options, Arguments::command()).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|failure| failure.report())
}
