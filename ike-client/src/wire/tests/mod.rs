//! Proofs of the wire codec: vectors made by hand, round trips, a second parser, broken bytes.

mod broken;
mod oracle;
mod round_trip;
mod samples;
mod vectors;
