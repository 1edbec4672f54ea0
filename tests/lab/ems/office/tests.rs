//! Decisions of EMS, without a network.
