//! The service and its EMS.
//!
//! | module | holds |
//! |---|---|
//! | [`dial`] | how EMS is reached under a tunnel and a block |
//! | `enrolment` | joining an EMS, and leaving it |
//! | [`unattended`] | joining it without a person |

pub mod dial;
pub(super) mod enrolment;
pub mod unattended;
