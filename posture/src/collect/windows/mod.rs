//! What can be seen on Windows: for now what every system tells.

pub(super) use super::unsupported::{
    antivirus, applications, certificates, disk_encryption, firewall, host_name, kernel, operating_system,
    package_database, packages, pings, registry, security, surroundings, updates, users, windows_security,
};
