//! What `postern doctor` is told of the running service.

use super::hub::Hub;
use super::rights::Confinement;
use crate::platform::Capabilities;
use postern_api::health::Check;

/// Says what the network process can do and what it cannot do any more.
pub(super) fn of_network(capabilities: &Capabilities, confinement: &Confinement) -> Vec<Check> {
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

impl Hub {
    /// Returns how the service stands.
    pub(super) fn health(&self) -> Vec<Check> {
        let process = match self.net_ready {
            true => Check::good("network process", "runs"),
            false => Check::bad("network process", "does not run", "journalctl -u posternd"),
        };
        let mut checks = vec![process];
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
