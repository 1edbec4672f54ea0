//! The lab's advisories and package databases: files beside this one, described in their README.

use std::path::{Path, PathBuf};

/// The version of curl in [`vulnerable_packages`].
pub const VULNERABLE_CURL: &str = "7.88.1-10+deb12u1";

/// The version of curl without the critical vulnerability, by the advisory.
pub const FIXED_CURL: &str = "7.88.1-10+deb12u4";

/// The critical vulnerability of [`vulnerable_packages`].
pub const CRITICAL_CVE: &str = "CVE-2023-38545";

/// Returns the folder of OSV records for Debian 12.
pub fn advisories() -> PathBuf {
    folder().join("debian-12")
}

/// Returns the package database of a Debian 12 with one critical vulnerability, in curl.
pub fn vulnerable_packages() -> PathBuf {
    folder().join("dpkg/vulnerable")
}

/// Returns the same package database after the upgrade of curl.
pub fn upgraded_packages() -> PathBuf {
    folder().join("dpkg/upgraded")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/feeds")
}
