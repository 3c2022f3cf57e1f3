//! Every fuzz target of the audit over every seed, on stable: what fuzzing once found stays found.

#![allow(unreachable_pub, missing_docs, reason = "the bodies are a crate of their own when fuzzed")]

#[path = "../../../fuzz/src/audit.rs"]
mod bodies;

use std::path::Path;

#[test]
fn every_seed_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (name, run) in bodies::TARGETS {
        let seeds: Vec<_> = std::fs::read_dir(folder.join(name)).expect("a folder of seeds").collect();
        assert!(!seeds.is_empty(), "{name} has no seed");
        for seed in seeds {
            let path = seed.expect("a file").path();
            println!("{}", path.display());
            run(&std::fs::read(&path).expect("a seed"));
        }
    }
}
