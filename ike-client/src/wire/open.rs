//! Registries as open enumerations: a number on the wire with names for the values we know.
//!
//! A peer may send any number, so these are newtypes with constants and not Rust enums: an unknown
//! number survives decoding, can be shown, and encodes back to itself.

/// Declares a newtype over `$repr` with named constants and a `Display` that prints the name.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ty) {
            $( $(#[$item_meta:meta])* $item:ident = $value:literal => $text:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl $name {
            $( $(#[$item_meta])* pub const $item: Self = Self($value); )*

            /// Returns the registry's name of this number, if it is one we know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $value => Some($text), )*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => out.write_str(name),
                    None => write!(out, "{}", self.0),
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => write!(out, "{name}({})", self.0),
                    None => write!(out, concat!(stringify!($name), "({})"), self.0),
                }
            }
        }
    };
}

pub(crate) use open_enum;
