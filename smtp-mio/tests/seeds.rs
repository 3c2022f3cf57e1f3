//! The fuzz target over every seed, on stable: what fuzzing once found stays found.

#![cfg(all(unix, feature = "tls"))]
#![allow(unreachable_pub, missing_docs, reason = "the body is a program of its own when fuzzed")]

#[path = "../../fuzz/src/mio.rs"]
mod adapter;

use std::path::Path;

#[test]
fn every_seed_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/mio");
    let seeds: Vec<_> = std::fs::read_dir(folder).expect("a folder of seeds").collect();
    assert!(!seeds.is_empty(), "no seed");
    for seed in seeds {
        let path = seed.expect("a file").path();
        println!("{}", path.display());
        adapter::run(&std::fs::read(&path).expect("a seed"));
    }
}
