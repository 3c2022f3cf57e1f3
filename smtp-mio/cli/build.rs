//! Puts the transcripts that can be played on the wire into the program: all that have a `wire:` line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smtp-proto/tests/transcripts");
    let mut list = String::from("&[\n");
    for side in ["server", "client"] {
        println!("cargo::rerun-if-changed={}", folder.join(side).display());
        let read: io::Result<Vec<PathBuf>> =
            fs::read_dir(folder.join(side))?.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut files = read?;
        files.sort();
        for file in files {
            println!("cargo::rerun-if-changed={}", file.display());
            if fs::read_to_string(&file)?.lines().any(|line| line.starts_with("wire:")) {
                let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                // Writing to a string cannot fail.
                let _ = writeln!(list, "({:?}, include_str!({:?})),", format!("{side}/{name}"), file);
            }
        }
    }
    list.push_str("]\n");
    let out = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    fs::write(out.join("transcripts.rs"), list)
}
