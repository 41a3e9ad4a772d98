//! What the fuzz targets start from, and what they once found, goes through their entry points again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use poptools::fuzzing::TARGETS;
use std::fs;
use std::path::Path;

#[test]
fn corpora_are_replayed() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, run) in TARGETS {
        let entries: Vec<_> = fs::read_dir(corpora.join(target)).unwrap().collect();
        assert!(!entries.is_empty(), "fuzz/corpus/{target} is empty");
        for entry in entries {
            let path = entry.unwrap().path();
            // The name of the file is known when it panics: the harness prints what a test says.
            println!("{}", path.display());
            run(&fs::read(path).unwrap());
        }
    }
}

#[test]
fn every_target_is_built_and_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (script, manifest) = (read("run"), read("Cargo.toml"));
    for (target, _) in TARGETS {
        assert!(script.contains(target), "fuzz/run leaves {target} out");
        assert!(manifest.contains(&format!("targets/{target}.rs")), "fuzz/Cargo.toml leaves {target} out");
        assert!(read(&format!("targets/{target}.rs")).contains(&format!("fuzzing::{target}(")));
    }
}
