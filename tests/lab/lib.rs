//! Postern lab.
