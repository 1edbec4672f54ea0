//! The lab EMS: an endpoint management server, whole enough for every proof.
//!
//! | module | holds |
//! |---|---|
//! | [`authority`] | the certificate authority, the TLS key, the key that signs documents |
//! | [`store`] | what must survive `kill -9`, behind an interface; SQLite behind that |
//! | [`office`] | every decision, as one synchronous state machine without a network |
//! | [`server`] | HTTPS for endpoints and gateways, the administrator's local socket |
//! | [`administration`] | the administrator's client: what `lab-ems admin` and the demo call |
//! | [`fabric_client`] | a gateway's client: addresses of tags, sessions |
//! | [`stamp`] | when a change was made, in the clock that the wire tap uses too |
//!
//! An endpoint is whoever its TLS certificate says: no handler reads an identity from a body or from
//! a header. Every change an administrator makes is one command and answers with its [`stamp`], so
//! that the time from the change to silence on the wire can be told.
//!
//! This is a lab: one process, one profile for all. What a gateway is told about tags has the shape
//! of Fortinet's feature, and none of its encoding, which is not public.

pub mod administration;
pub mod authority;
pub mod fabric_client;
pub mod office;
pub mod server;
pub mod stamp;
pub mod store;

pub use administration::Administrator;
pub use fabric_client::FabricClient;
pub use office::Sharing;
pub use server::{LabEms, Settings};
