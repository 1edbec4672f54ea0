//! Two parties, virtual time.
