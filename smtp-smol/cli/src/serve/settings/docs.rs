//! The table of all settings in `docs/configuration.md` is made from their definitions.

use std::fmt::Write as _;
use std::path::Path;

use super::{NOT_IN_A_FILE, PREFIX, find, listener_command, server_command, takes_several};

const BEGIN: &str = "<!-- made from the definitions; see below -->\n";

fn table() -> String {
    let (server, listener) = (server_command(), listener_command());
    let mut out = String::from(BEGIN);
    for (title, of_listeners) in [("Of a listener", true), ("Of the whole server", false)] {
        let _ = writeln!(out, "\n## {title}\n\n| in the file | value | default | meaning |\n|---|---|---|---|");
        for arg in server.get_arguments() {
            let name = arg.get_long().unwrap_or_default();
            if NOT_IN_A_FILE.contains(&name) || find(&listener, name).is_some() != of_listeners {
                continue;
            }
            let value = arg.get_value_names().and_then(<[_]>::first).map_or("", |name| name.as_str());
            let value = if takes_several(arg) { format!("list of {value}") } else { value.to_owned() };
            let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ");
            let known: Vec<_> = arg.get_possible_values().iter().map(|known| known.get_name().to_owned()).collect();
            let one_of = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
            let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
            let name = name.replace('-', "_");
            let (default, help) = (cell(&default.join(", ")), cell(&help));
            let _ = writeln!(out, "| `{name}` | {} | {default} | {help}{one_of} |", cell(&value));
        }
    }
    let _ = writeln!(
        out,
        "\nIn the environment a setting is `{PREFIX}` and its name in capitals; on the command line it begins with `--`, \
         and has hyphens.\nThe tables are written by `UPDATE_DOCS=1 cargo test -p smtp-smol-cli the_table_of_settings`."
    );
    out
}

#[test]
fn the_table_of_settings_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = std::fs::read_to_string(&path).expect("the page");
    let (head, found) = text.split_at(text.find(BEGIN).expect("where the tables begin"));
    let table = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{table}")).expect("written");
        return;
    }
    assert!(found == table, "docs/configuration.md is stale; write it anew with UPDATE_DOCS=1, as its last line says");
}
