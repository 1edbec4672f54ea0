use super::*;

fn store() -> Box<dyn Store> {
    Box::new(Sqlite::in_memory().unwrap())
}

fn value(store: &dyn Store) -> Option<String> {
    store.setting("x").unwrap()
}

#[test]
fn changes_last_together_or_not_at_all() {
    let mut store = store();
    store.transaction(|store| store.set_setting("x", "kept")).unwrap();
    let refused = store.transaction(|store| {
        store.set_setting("x", "lost")?;
        Err::<(), _>(StoreError::new("refused"))
    });
    assert_eq!(refused.unwrap_err().to_string(), "refused");
    assert_eq!(value(&*store).as_deref(), Some("kept"));
}

#[test]
fn changes_within_changes_are_undone_alone_and_last_with_the_outer_ones() {
    let mut store = store();
    store.begin().unwrap();
    store.transaction(|store| store.set_setting("x", "outer")).unwrap();
    let inner = store.transaction(|store| {
        store.set_setting("x", "inner")?;
        Err::<(), _>(StoreError::new("refused"))
    });
    assert!(inner.is_err());
    assert_eq!(value(&*store).as_deref(), Some("outer"));
    store.roll_back().unwrap();
    assert_eq!(value(&*store), None, "what was begun around them is taken back too");
}

#[test]
fn a_panic_within_changes_leaves_none_of_them_and_the_store_usable() {
    let mut store = store();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.transaction(|store| {
            store.set_setting("x", "lost")?;
            if value(store).is_some() {
                std::panic::resume_unwind(Box::new("as a defect would"));
            }
            Ok::<_, StoreError>(())
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(value(&*store), None);
    store.transaction(|store| store.set_setting("x", "again")).unwrap();
    assert_eq!(value(&*store).as_deref(), Some("again"));
}

/// What the office relies on is in the interface alone.
#[test]
fn only_the_sqlite_store_knows_sqlite() {
    let ems = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/ems");
    let mut folders = vec![ems];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                seen += 1;
                let inside = path.components().any(|part| part.as_os_str() == "sqlite");
                let names = std::fs::read_to_string(&path).unwrap().contains(concat!("rus", "qlite"));
                assert!(inside || !names, "{} knows what its store is made of", path.display());
            }
        }
    }
    assert!(seen > 20, "{seen} files were looked at");
}
