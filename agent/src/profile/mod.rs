//! What is configured: tunnels, and the service's own settings.
//!
//! In go TOML texts (from `/etc/postern` or from EMS), out come a [`Tunnel`], [`Settings`] or a
//! [`ProfileError`] that names file, line, element and what was expected. The [`Catalogue`] holds
//! every tunnel under one name and settles who wins: EMS first, then the local administrator.
//! Nothing here opens a socket or holds a secret; secrets are named by the file that holds them.
//!
//! | file | holds |
//! |---|---|
//! | [`tunnel`] | the model of one tunnel, with its defaults |
//! | [`tags`] | a tunnel's tag policy and what happens after its loss |
//! | [`settings`] | `postern.toml` and its drop-ins |
//! | [`document`] | TOML with errors that a person can act on |
//! | [`mod@file`] | reading a file that a name leads to, within bounds |
//! | [`import`] | tunnels out of FortiClient's exports |
//! | [`merge`] | a tunnel written over another, comments kept |
//! | [`key_uri`] | which key in which token |
//! | [`managed`] | tunnels that come from EMS |
//! | [`span`] | durations such as `24h` |
//! | [`catalogue`] | all tunnels, and who may shadow whom |
//! | [`wg_quick`] | tunnels from WireGuard's own files |
//! | [`paths`] | where the files lie |

pub mod catalogue;
pub mod document;
pub mod file;
pub mod fortigate;
pub mod gateways;
pub mod import;
pub mod key_uri;
pub mod managed;
pub mod merge;
pub mod paths;
pub mod settings;
pub mod span;
pub mod tags;
pub mod tunnel;
pub mod wg_quick;

pub use catalogue::{Catalogue, Entry};
pub use document::ProfileError;
pub use gateways::Gateways;
pub use paths::Paths;
pub use settings::Settings;
pub use tags::{AfterLoss, TagSettings};
pub use tunnel::{AuthenticationKind, GatewayAuthentication, Tunnel};
