//! Manual pages and completions, made from the same definitions as the options themselves. For those who package it.

use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::failure::Failure;
use clap::{Args, Command};
use clap_complete::Shell;

/// Write a manual page for each command into a folder.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Man {
    /// The folder
    folder: PathBuf,
}

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

pub(crate) fn man(options: &Man, mut command: Command) -> Result<(), Failure> {
    command = command.disable_help_subcommand(true);
    command.build();
    let failed = |error: io::Error| {
        Failure::usage(format!("{}: {error}; name a folder that can be written", options.folder.display()))
    };
    let name = command.get_name().to_owned();
    page(&command, &name, options).map_err(failed)?;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        page(command, &format!("{name}-{}", command.get_name()), options).map_err(failed)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str, options: &Man) -> io::Result<()> {
    let file = std::fs::File::create(options.folder.join(format!("{name}.1")))?;
    let mut out = io::BufWriter::new(file);
    // The name of a page is that of the program and its command, with a hyphen between them.
    clap_mangen::Man::new(command.clone().display_name(name.to_owned())).title(name.to_uppercase()).render(&mut out)?;
    out.flush()
}

pub(crate) fn completions(options: &Completions, mut command: Command) -> Result<(), Failure> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut text);
    io::stdout().write_all(&text).map_err(|error| Failure::running(format!("standard output: {error}")))
}
