//! The table of what is proven against whom names tests that exist.

use std::path::{Path, PathBuf};

/// Every Rust source below the folders that hold tests.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = ["tests", "ike-client/src"].iter().map(|name| root.join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The names in the table's last column.
fn named() -> Vec<&'static str> {
    let rows = include_str!("lab/matrix.md").lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit('|').next());
    cells.filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`')).collect()
}

#[test]
fn every_test_that_the_matrix_names_exists() {
    let texts: Vec<String> = sources().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for name in named() {
        let scenario = format!("\"{name}\"");
        let function = format!("fn {name}(");
        let exists = texts.iter().any(|text| text.contains(&scenario) || text.contains(&function));
        assert!(exists, "tests/lab/matrix.md names a test that does not exist: {name}");
    }
}

#[test]
fn the_matrix_has_at_least_forty_rows_with_an_independent_peer() {
    let table = include_str!("lab/matrix.md");
    assert!(table.lines().filter(|line| line.contains("| yes |")).count() >= 40);
    assert_eq!(named().len(), table.lines().filter(|line| line.starts_with("| ")).count() - 1, "a row without a test");
}
