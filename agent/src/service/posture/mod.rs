//! The posture of this endpoint inside the service: looked at, judged, decreed.
//!
//! | module | holds |
//! |---|---|
//! | [`judge`] | the hub's side of posture: facts, EMS, verdicts, the lease |
//! | `watching` | hearing of changes of this system |
//! | `settling` | patience with rules that are new and tags that flap |
//! | `decree` | quarantine, break-glass codes, deregistration |

pub(super) mod decree;
pub mod judge;
pub(super) mod settling;
pub(super) mod watching;
