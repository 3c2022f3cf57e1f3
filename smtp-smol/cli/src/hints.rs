//! What the program advises can be followed: each option that its words name is there.

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory as _;

use crate::Arguments;

/// Options of other programs, which are named as theirs.
const OTHERS: [&str; 6] = ["--crlf", "--ssl-reqd", "--insecure", "--mail-from", "--mail-rcpt", "--upload-file"];

/// Options of these commands, as they are given.
fn options(commands: &[&str]) -> BTreeSet<String> {
    let program = Arguments::command();
    let commands =
        program.get_subcommands().filter(|command| commands.is_empty() || commands.contains(&command.get_name()));
    let longs = commands.flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_long);
    longs.map(|long| format!("--{long}")).chain(["--help", "--version"].map(Into::into)).collect()
}

/// What looks like an option in a text.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("--").map(|(at, _)| at);
    let begins = starts.filter(|at| !text[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '-'));
    begins.filter_map(|at| {
        let rest = &text[at + 2..];
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '-').unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches('-');
        (!name.is_empty()).then(|| &text[at..at + 2 + name.len()])
    })
}

/// Names that are not there, with their files.
fn missing(folder: &Path, commands: &[&str], wrong: &mut Vec<String>, seen: &mut usize) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("read").path();
        if path.is_dir() {
            missing(&path, commands, wrong, seen);
            continue;
        }
        let known = options(match path.file_name().and_then(|name| name.to_str()) {
            // How to send a first message.
            Some("listen.rs") => &["serve", "send"],
            // How a list of exceptions is made.
            Some("except.rs") => &["serve", "audit"],
            Some("options.rs") if commands == ["serve"] => &["serve", "audit"],
            _ => commands,
        });
        let text = std::fs::read_to_string(&path).expect("text");
        // Its own tests may give what is wrong.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for name in named(text) {
            *seen += 1;
            if !known.contains(name) && !OTHERS.contains(&name) {
                wrong.push(format!("{}: {name}", path.display()));
            }
        }
    }
}

#[test]
fn every_option_that_is_named_is_there() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    missing(&source.join("send"), &["send"], &mut wrong, &mut seen);
    missing(&source.join("serve"), &["serve"], &mut wrong, &mut seen);
    missing(&source.join("check"), &["check"], &mut wrong, &mut seen);
    assert!(seen > 100, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_looks_like_an_option() {
    let text = "give --ca FILE, --tls=require or `--lenient`; not a---b, --, c--d or --x-";
    assert!(named(text).eq(["--ca", "--tls", "--lenient", "--x"]), "{:?}", named(text).collect::<Vec<_>>());
}
