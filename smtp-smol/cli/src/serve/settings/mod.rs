//! Where settings come from: the command line, the environment (`SMTP_SMOL_...`), and the file of `--config`, in this
//! order. All go through the parsers of the options, so that a name or a value means the same in each.

mod file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::failure::Failure;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::listener::ListenerOptions;
use super::options::Options;
use file::{File, Given};

/// What the names in the environment begin with.
const PREFIX: &str = "SMTP_SMOL_";
/// Where a listener listens is its own: the other settings it shares with the rest, unless it has its own.
const OF_ONE_LISTENER: [&str; 3] = ["listen", "implicit-tls", "proxy"];
/// These are no settings.
const NOT_IN_A_FILE: [&str; 3] = ["config", "help", "version"];

/// All settings of a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Those of the whole server.
    pub(crate) server: Options,
    /// The listeners, of which there is at least one.
    pub(crate) listeners: Vec<ListenerOptions>,
}

/// The command of which the settings are the options.
pub(crate) fn server_command() -> Command {
    Options::augment_args(Command::new("serve").no_binary_name(true))
}

fn listener_command() -> Command {
    ListenerOptions::augment_args(Command::new("listener").no_binary_name(true))
}

/// The settings of `serve`, from its part of the command line and what else there is.
pub(crate) fn gather(matches: &ArgMatches) -> Result<Settings, Failure> {
    let command = server_command();
    let mut values: BTreeMap<String, Vec<OsString>> = environment(&command, std::env::vars_os())?;
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        if matches.value_source(id) == Some(ValueSource::CommandLine)
            && let (Some(name), Some(given)) = (arg.get_long(), matches.get_raw(id))
        {
            values.insert(name.to_owned(), given.map(ToOwned::to_owned).collect());
        }
    }
    let file = values.get("config").and_then(|values| values.last()).map(Path::new);
    let file = file.map(|path| File::read(path, &command, &listener_command())).transpose()?;
    merge(values, file.unwrap_or_default())
}

/// The settings of a file alone.
pub(crate) fn of_file(path: &Path) -> Result<Settings, Failure> {
    merge(BTreeMap::new(), File::read(path, &server_command(), &listener_command())?)
}

fn merge(mut values: BTreeMap<String, Vec<OsString>>, file: File) -> Result<Settings, Failure> {
    for (name, given) in file.server {
        values.entry(name).or_insert_with(|| given.into_os());
    }
    let server: Options = parse(server_command(), &values)?;
    let mut listeners = Vec::new();
    if server.listener.has_address() || file.listeners.is_empty() {
        listeners.push(server.listener.clone());
    }
    for table in file.listeners {
        let mut here = values.clone();
        for name in OF_ONE_LISTENER {
            here.remove(name);
        }
        here.extend(table.given.into_iter().map(|(name, given)| (name, given.into_os())));
        let known = listener_command();
        here.retain(|name, _| find(&known, name).is_some());
        let listener: ListenerOptions = parse(known, &here)?;
        if !listener.has_address() {
            return Err(Failure::usage(format!(
                "{}: this [[listener]] listens nowhere; give it listen, implicit_tls or proxy with an address",
                table.place
            )));
        }
        listeners.push(listener);
    }
    Ok(Settings { server, listeners })
}

/// All values are known to be good one by one; here they become one structure.
fn parse<T: FromArgMatches>(command: Command, values: &BTreeMap<String, Vec<OsString>>) -> Result<T, Failure> {
    let arguments = values.iter().flat_map(|(name, values)| values.iter().map(move |value| option(name, value)));
    let matches = command.try_get_matches_from(arguments);
    matches.and_then(|matches| T::from_arg_matches(&matches)).map_err(|error| Failure::usage(words(&error)))
}

fn option(name: &str, value: &OsString) -> OsString {
    let mut option = OsString::from(format!("--{name}="));
    option.push(value);
    option
}

/// What the environment says: several values have commas between them.
fn environment(
    command: &Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, Vec<OsString>>, Failure> {
    let mut found = BTreeMap::new();
    for (variable, value) in variables {
        let Some(name) = variable.to_str().and_then(|variable| variable.strip_prefix(PREFIX)) else { continue };
        if value.is_empty() {
            continue;
        }
        let variable = format!("{PREFIX}{name}");
        let name = name.to_ascii_lowercase().replace('_', "-");
        let Some(arg) = find(command, &name) else {
            let near = nearest(command, &name).map(|near| PREFIX.to_owned() + &near.to_uppercase().replace('-', "_"));
            let mend = near.map_or_else(|| "remove it".into(), |near| format!("did you mean {near}?"));
            return Err(Failure::usage(format!("{variable}: there is no such setting; {mend}")));
        };
        let values: Vec<OsString> = match value.to_str() {
            Some(text) if takes_several(arg) => {
                text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(Into::into).collect()
            }
            _ => vec![value],
        };
        check(arg, &values).map_err(|wrong| {
            let shown = values.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
            Failure::usage(format!("{variable}={shown}: {wrong}"))
        })?;
        found.insert(name, values);
    }
    Ok(found)
}

/// The setting of this name.
fn find<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

/// The known name that is most like this one, if one is at all.
fn nearest(command: &Command, name: &str) -> Option<String> {
    let names = command.get_arguments().filter_map(Arg::get_long).filter(|known| !NOT_IN_A_FILE.contains(known));
    let near = names.map(|known| (strsim::jaro_winkler(known, name), known));
    near.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known.to_owned())
}

fn takes_several(arg: &Arg) -> bool {
    matches!(arg.get_action(), clap::ArgAction::Append)
}

/// Whether these can be values of the setting; what is wrong, if not.
fn check(arg: &Arg, values: &[OsString]) -> Result<(), String> {
    let name = arg.get_long().unwrap_or_default();
    if values.len() > 1 && !takes_several(arg) {
        return Err("it takes one value; leave the others out".into());
    }
    let alone = Command::new("setting").no_binary_name(true).disable_help_flag(true).arg(arg.clone());
    let tried = alone.try_get_matches_from(values.iter().map(|value| option(name, value)));
    tried.map(drop).map_err(|error| words(&error))
}

/// What the parser of options says, without what belongs to a command line.
fn words(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(known))) => format!("give one of {}", known.join(", ")),
        _ => error.render().to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

impl Given {
    fn into_os(self) -> Vec<OsString> {
        self.values.into_iter().map(Into::into).collect()
    }
}

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;
