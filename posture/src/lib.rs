//! The posture of an endpoint: facts, the tagging rules over them, tags, and the verdict on a tunnel.
//!
//! | module | holds | may touch |
//! |---|---|---|
//! | [`facts`] | what is known of the endpoint, each with source and time | nothing |
//! | [`collect`] | looking at the system | files, process table, interfaces |
//! | [`rules`] | tagging rule sets and their three-valued evaluation | nothing |
//! | [`policy`] | tag policy and tag knowledge to verdict | nothing |
//! | [`vulnerability`] | inventory, advisories, version order, severity, scan | files it is pointed at |
//! | [`ems`] | enrolment, reports, signed documents, push | the network, through what it is handed |
//!
//! Values flow one way: collected facts, with the rules, become tags; tags, with a policy, become a
//! verdict. Nothing here opens a socket except the EMS client.

pub mod collect;
pub mod ems;
pub mod facts;
pub mod policy;
pub mod rules;
pub mod vulnerability;
