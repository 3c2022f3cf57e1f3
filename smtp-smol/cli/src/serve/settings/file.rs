//! The file of `--config`: TOML, with a `[[listener]]` table for each place to listen at that is not like the others.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use clap::Command;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{NOT_IN_A_FILE, check, find, nearest};

/// Octets of the file.
const MAX_FILE: u64 = 4 << 20;
/// A table of this name in the file is a listener.
const LISTENER: &str = "listener";
/// In a table, the setting of the table's own name: `[tls] policy = "offer"` is `tls = "offer"`.
const OWN: &str = "policy";

/// The settings in a file, checked one by one.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) server: BTreeMap<String, Given>,
    pub(super) listeners: Vec<Table>,
}

/// A `[[listener]]`.
#[derive(Debug)]
pub(super) struct Table {
    /// For messages: file and line.
    pub(super) place: String,
    pub(super) given: BTreeMap<String, Given>,
}

/// What is given for a setting.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) values: Vec<String>,
}

impl File {
    /// Reads and checks a file.
    pub(super) fn read(path: &Path, server: &Command, listener: &Command) -> Result<Self, Failure> {
        let unreadable = |wrong: &dyn fmt::Display| {
            Failure::option("--config", path.display(), wrong, "name a TOML file that can be read")
        };
        let length = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
        if length > MAX_FILE {
            return Err(unreadable(&"larger than 4 MiB"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        Self::parse(&text, path, server, listener).map_err(Failure::usage)
    }

    pub(super) fn parse(text: &str, path: &Path, server: &Command, listener: &Command) -> Result<Self, String> {
        // An editor on another system may have put a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let reader = Reader { text, path: path.to_owned(), server, listener };
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            format!("{}: {}", reader.place(at), error.message().replace('\n', "; "))
        })?;
        reader.file(table.get_ref())
    }
}

struct Reader<'t> {
    text: &'t str,
    path: PathBuf,
    server: &'t Command,
    listener: &'t Command,
}

impl Reader<'_> {
    fn file(&self, table: &DeTable<'_>) -> Result<File, String> {
        let mut file = File::default();
        for (key, value) in table {
            if key.get_ref() != LISTENER {
                self.setting(self.server, "", key, value, &mut file.server)?;
                continue;
            }
            let tables = value.get_ref().as_array().ok_or_else(|| self.no_listener(value))?;
            for table in tables {
                let mut given = BTreeMap::new();
                for (key, value) in table.get_ref().as_table().ok_or_else(|| self.no_listener(table))? {
                    self.setting(self.listener, "", key, value, &mut given)?;
                }
                file.listeners.push(Table { place: self.place(table.span().start), given });
            }
        }
        Ok(file)
    }

    fn no_listener(&self, value: &Spanned<DeValue<'_>>) -> String {
        format!("{}: listeners are tables; begin each with a line [[listener]]", self.place(value.span().start))
    }

    /// A setting, or a table of settings whose names begin with its own.
    fn setting(
        &self,
        command: &Command,
        prefix: &str,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        into: &mut BTreeMap<String, Given>,
    ) -> Result<(), String> {
        let place = self.place(key.span().start);
        let shown = format!("{}{}", prefix.replace('-', "_"), key.get_ref().as_ref());
        let name = format!("{prefix}{}", key.get_ref().as_ref().replace('_', "-"));
        if let Some(table) = value.get_ref().as_table() {
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    OWN => self.one(command, &name, &format!("{shown}.{OWN}"), value, into)?,
                    _ => self.setting(command, &format!("{name}-"), key, value, into)?,
                }
            }
            return if table.is_empty() { self.known(command, &name, &shown, &place) } else { Ok(()) };
        }
        self.known(command, &name, &shown, &place)?;
        self.one(command, &name, &shown, value, into)
    }

    /// Whether there is a setting of this name.
    fn known(&self, command: &Command, name: &str, shown: &str, place: &str) -> Result<(), String> {
        if find(command, name).is_some() && !NOT_IN_A_FILE.contains(&name) {
            return Ok(());
        }
        if find(self.server, name).is_some() && !NOT_IN_A_FILE.contains(&name) {
            return Err(format!(
                "{place}: {shown} is a setting of the whole server; move it above the first [[listener]]"
            ));
        }
        let near = nearest(command, name).map(|near| near.replace('-', "_"));
        let mend = near.map_or_else(
            || "`smtp-smol serve --help` tells of all that there are".into(),
            |near| format!("did you mean {near}?"),
        );
        Err(format!("{place}: unknown key {shown}; {mend}"))
    }

    fn one(
        &self,
        command: &Command,
        name: &str,
        shown: &str,
        value: &Spanned<DeValue<'_>>,
        into: &mut BTreeMap<String, Given>,
    ) -> Result<(), String> {
        let place = self.place(value.span().start);
        self.known(command, name, shown, &place)?;
        let Some(arg) = find(command, name) else { return Ok(()) };
        let values = match value.get_ref() {
            DeValue::Array(values) => values.iter().map(|value| scalar(value.get_ref())).collect(),
            one => scalar(one).map(|one| vec![one]),
        };
        let values =
            values.ok_or_else(|| format!("{place}: {shown}: give text, a number, true or false, or a list of them"))?;
        let octets: Vec<_> = values.iter().map(Into::into).collect();
        check(arg, &octets).map_err(|wrong| format!("{place}: {shown} = {:?}: {wrong}", values.join(", ")))?;
        if into.insert(name.to_owned(), Given { values }).is_some() {
            return Err(format!("{place}: {shown} is given twice; leave one out"));
        }
        Ok(())
    }

    /// File and line, for messages.
    fn place(&self, at: usize) -> String {
        let line = self.text.as_bytes().iter().take(at).filter(|octet| **octet == b'\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}
