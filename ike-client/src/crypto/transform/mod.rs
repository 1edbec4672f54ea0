//! The transforms Postern speaks, each a row of a table: name, IANA number, sizes.
//!
//! Names are those of strongSwan's proposal strings, since administrators know them. What a profile
//! does not name is never negotiated, and no default names what is weak: groups below 14, SHA-1,
//! an ICV of 8 octets. DES and MD5 have no row at all.

mod authentication;
mod encryption;
mod group;

pub use authentication::{Integrity, PseudoRandomFunction};
pub use encryption::{Encryption, Mode};
pub use group::{Group, GroupKind};

/// Makes an enum of one registry out of its table: each line a variant, its names and its row. The
/// first name is the one that is written; the others are read as well.
macro_rules! table {
    (
        $(#[$doc:meta])*
        $registry:ident: $row:ident {
            $($(#[$line:meta])* $variant:ident: $name:literal $(| $other:literal)* = $fields:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $registry {
            $($(#[$line])* $variant,)*
        }

        impl $registry {
            /// Every row.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the name in a proposal string.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Finds the row by one of its names, in lower case.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name $(| $other)* => Some(Self::$variant),)*
                    _ => None,
                }
            }

            const fn row(self) -> $row {
                match self {
                    $(Self::$variant => $fields,)*
                }
            }
        }
    };
}
use table;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_and_every_number_belongs_to_one_row() {
        let words = Encryption::ALL.iter().map(|row| row.name());
        let words = words.chain(Integrity::ALL.iter().map(|row| row.name()));
        let words = words.chain(PseudoRandomFunction::ALL.iter().map(|row| row.name()));
        let words: Vec<_> = words.chain(Group::ALL.iter().map(|row| row.name())).collect();
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len(), "{words:?}");
        for row in Encryption::ALL {
            assert_eq!(Encryption::named(row.name()), Some(*row));
            assert_eq!(Encryption::from_id(row.id(), row.key_length_attribute()), Some(*row), "{}", row.name());
        }
        for row in Group::ALL {
            assert_eq!(Group::from_id(row.id()), Some(*row), "{}", row.name());
        }
        for row in Integrity::ALL {
            assert_eq!(Integrity::from_id(row.id()), Some(*row), "{}", row.name());
        }
        for row in PseudoRandomFunction::ALL {
            assert_eq!(PseudoRandomFunction::from_id(row.id()), Some(*row), "{}", row.name());
        }
    }
}
