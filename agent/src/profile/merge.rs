//! A tunnel written over another of its name, without losing what a person wrote beside it.

use toml_edit::{DocumentMut, Item, Table};

/// Returns `new` with the comments and the order of `old`: what `old` has and `new` has not is gone,
/// what both have takes the new value in the old place.
///
/// # Errors
/// Where one of them is no TOML.
pub fn merged(old: &str, new: &str) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = old.parse()?;
    let fresh: DocumentMut = new.parse()?;
    merge(document.as_table_mut(), fresh.as_table());
    Ok(document.to_string())
}

fn merge(old: &mut Table, new: &Table) {
    old.retain(|key, _| new.contains_key(key));
    for (key, item) in new {
        match (old.get_mut(key), item) {
            (Some(Item::Table(under)), Item::Table(over)) => merge(under, over),
            (Some(Item::Value(under)), Item::Value(over)) => {
                let decor = under.decor().clone();
                *under = over.clone();
                *under.decor_mut() = decor;
            }
            _ => drop(old.insert(key, item.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stay_and_values_are_new() {
        let old = "# Head office; ask Ada.\ngateway = \"old.example.com\" # moved in May\nkeep_running = true\n\n\
                   # The login.\n[auth]\nuser = \"ada\"\n";
        let new = "gateway = \"new.example.com\"\n[auth]\nuser = \"bob\"\nkind = \"eap\"\n[carrier]\nkind = \"tcp\"\n";
        let merged = merged(old, new).unwrap();
        assert_eq!(
            merged,
            "# Head office; ask Ada.\ngateway = \"new.example.com\" # moved in May\n\n\
             # The login.\n[auth]\nuser = \"bob\"\nkind = \"eap\"\n[carrier]\nkind = \"tcp\"\n"
        );
    }

    #[test]
    fn what_is_merged_means_what_the_new_one_means() {
        let old = "a = 1\n[t]\nb = 2\n[[l]]\nc = 3\n";
        for new in ["a = [1, 2]\n", "t = 1\n", "[a]\nx = 1\n", "[[l]]\nc = 4\n[[l]]\nc = 5\n", ""] {
            let merged = merged(old, new).unwrap();
            assert_eq!(merged.parse::<toml::Table>().unwrap(), new.parse::<toml::Table>().unwrap(), "{new:?}");
        }
    }
}
