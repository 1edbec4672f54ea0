//! What `postern doctor` is told of the running service.

use super::Hub;
use crate::platform::Capabilities;
use crate::service::rights::Confinement;
use postern_api::health::Check;
use std::io::Write;
use std::path::Path;

/// Says what the network process can do and what it cannot do any more.
pub(in crate::service) fn of_network(capabilities: &Capabilities, confinement: &Confinement) -> Vec<Check> {
    let mut checks = vec![match capabilities.change_network {
        true => Check::good("network", "can be changed"),
        false => Check::bad("network", "cannot be changed", "run the service as root"),
    }];
    checks.push(match capabilities.firewall {
        true => Check::good("firewall", "nftables is at hand"),
        false => Check::bad("firewall", capabilities.reasons.join("; "), "install nftables"),
    });
    checks.extend(confinement.measures.iter().map(|measure| Check {
        check: format!("confinement: {}", measure.about),
        ok: measure.in_force,
        detail: measure.detail.as_str().into(),
        next: measure.next.as_str().into(),
    }));
    checks
}

/// Says whether the state directory takes what must be written before anything is changed.
fn of_state(directory: &Path) -> Check {
    let written = tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.as_file().sync_data()
    });
    match written {
        Ok(()) => Check::good("state", "can be written"),
        Err(error) => {
            let detail = format!("{} cannot be written: {error}", directory.display());
            Check::bad("state", detail, "make room there, or make it writable: nothing can be connected without")
        }
    }
}

impl Hub {
    /// Returns how the service stands.
    pub(in crate::service) fn health(&self) -> Vec<Check> {
        let process = match self.net_ready {
            true => Check::good("network process", "runs"),
            false => Check::bad("network process", "does not run", "journalctl -u posternd"),
        };
        let mut checks = vec![process, of_state(&self.paths.state)];
        checks.extend(self.network_health.iter().cloned());
        checks.extend(self.unattended_health());
        checks.push(match &self.sleep_is_told {
            Ok(()) => Check::good("sleep", "logind tells of it, and packets stop before it begins"),
            // No fault: the lease is over by the time the machine is awake.
            Err(why) => Check::good("sleep", format!("nobody tells of it ({why}); packets stop by the lease")),
        });
        checks.extend(self.noticing_health());
        checks
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_that_takes_nothing_is_told() {
        let directory = tempfile::tempdir().unwrap();
        assert!(of_state(directory.path()).ok);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing stays");
        let away = of_state(&directory.path().join("away"));
        assert!(!away.ok && away.detail.as_received().contains("cannot be written"), "{away:?}");
    }
}
