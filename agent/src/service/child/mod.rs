//! Work in processes of their own, with fewer rights than the service has.
//!
//! | module | holds |
//! |---|---|
//! | [`look_up`] | finding the addresses of a gateway, or of EMS |
//! | [`inquiry`] | asking whether a gateway's certificate was revoked |
//! | [`scan`] | the vulnerability scan |
//! | [`probe`] | tries what the network process must not be able to do |

pub mod inquiry;
pub mod look_up;
pub mod probe;
pub mod scan;
