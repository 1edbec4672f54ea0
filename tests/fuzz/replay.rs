//! Replays every fuzz corpus: once found, an input is tried on every run.

use lab::fuzz::TARGETS;
use std::path::{Path, PathBuf};

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_target_survives_its_corpus() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "the corpus of {name} is empty");
        for path in inputs {
            let bytes = std::fs::read(&path).unwrap();
            let survived = std::panic::catch_unwind(|| target(&bytes)).is_ok();
            assert!(survived, "{name} fails on {}", path.display());
        }
    }
}

#[test]
fn every_target_survives_its_corpus_cut_and_with_any_bit_flipped() {
    for (name, target) in TARGETS {
        for path in corpus(name) {
            let bytes = std::fs::read(&path).unwrap();
            for end in 0..bytes.len() {
                target(&bytes[..end]);
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                target(&flipped);
            }
        }
    }
}
