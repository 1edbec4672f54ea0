//! The EMS client against the real lab server, and against servers that mean harm. Everything is on
//! the loopback and in temporary directories; no root is needed.

mod administration;
mod audit;
mod conversation;
mod crash;
mod decree;
mod description;
mod endpoint;
mod enrolment;
mod fake;
mod flaws;
mod hostile;
mod rotation;
mod sharing;
