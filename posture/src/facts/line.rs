//! Facts as lines that a person reads.

use super::{Fact, Facts, FileState, Observation, VolumeEncryption};

/// One fact in one line: for tables and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactLine {
    /// The area: `os`, `antivirus`, `packages`.
    pub area: &'static str,
    /// The name within the area.
    pub name: String,
    /// The value as text.
    pub value: Observation<String>,
    /// The file, interface or service that told it.
    pub source: String,
    /// When it was gathered, in seconds since 1970.
    pub gathered_unix: u64,
}

impl FactLine {
    fn of<T: Clone>(area: &'static str, name: &str, fact: &Fact<T>, tell: impl FnOnce(T) -> String) -> Self {
        Self {
            area,
            name: name.to_owned(),
            value: fact.observation.clone().map(tell),
            source: fact.source.clone(),
            gathered_unix: fact.gathered_unix,
        }
    }
}

impl Facts {
    /// Returns the facts as lines, by area: one each, long lists as their count.
    pub fn lines(&self) -> Vec<FactLine> {
        let mut lines = vec![
            FactLine::of("os", "name", &self.os, |os| os.name),
            FactLine::of("os", "kernel", &self.kernel, |kernel| kernel.release),
            FactLine::of("os", "host", &self.host_name, |name| name),
            FactLine::of("packages", "installed", &self.packages, |packages| packages.len().to_string()),
            FactLine::of("packages", "applications", &self.applications, |packages| packages.len().to_string()),
            FactLine::of("updates", "last and waiting", &self.updates, |updates| {
                let last = told(&updates.last_unix, |unix| format!("last {}", date(*unix)));
                let pending = told(&updates.pending, |number| format!("{number} wait"));
                format!("{last}, {pending}")
            }),
            FactLine::of("processes", "running", &self.processes, |list| match list.hidden {
                None => list.processes.len().to_string(),
                Some(reason) => format!("{} seen, others hidden ({reason})", list.processes.len()),
            }),
        ];
        lines.extend(self.files.iter().map(|(path, fact)| {
            FactLine::of("files", path, fact, |state| match state {
                FileState::Present => "present".to_owned(),
                FileState::Missing => "missing".to_owned(),
            })
        }));
        lines.extend(self.registry.iter().map(|(path, fact)| {
            FactLine::of("registry", path, fact, |key| if key.present { "present" } else { "missing" }.to_owned())
        }));
        lines.push(FactLine::of("addresses", "interfaces", &self.addresses, |addresses| {
            joined(
                addresses
                    .iter()
                    .filter(|entry| !entry.address.is_loopback())
                    .map(|entry| format!("{}/{} on {}", entry.address, entry.prefix_length, entry.interface)),
            )
        }));
        self.protection_lines(&mut lines);
        self.optional_lines(&mut lines);
        lines.push(FactLine::of("ems", "telemetry", &self.ems, |ems| {
            match (ems.enrolled, ems.telemetry_connected) {
                (true, true) => "connected",
                (true, false) => "not connected",
                (false, _) => "not enrolled",
            }
            .to_owned()
        }));
        lines.push(FactLine::of("client", "version", &self.client_version, |version| version));
        lines.push(FactLine::of("vulnerabilities", "last scan", &self.vulnerabilities, |scan| scan.summary()));
        lines
    }

    fn protection_lines(&self, lines: &mut Vec<FactLine>) {
        lines.push(FactLine::of("antivirus", "products", &self.antivirus, |antivirus| {
            joined(antivirus.products.iter().map(|product| {
                format!("{} ({})", product.name, if product.running { "running" } else { "not running" })
            }))
        }));
        lines.push(FactLine::of("firewall", "incoming", &self.firewall, |firewall| {
            if firewall.active { format!("filtered by {}", firewall.provider) } else { "not filtered".to_owned() }
        }));
        lines.push(FactLine::of("disk", "encryption", &self.disk_encryption, |disk| {
            joined(disk.volumes.iter().map(|volume| match &volume.encryption {
                Observation::Known(VolumeEncryption::Encrypted(how)) => format!("{} {how}", volume.mount),
                Observation::Known(VolumeEncryption::None) => format!("{} not encrypted", volume.mount),
                Observation::Unknown(reason) | Observation::Denied(reason) => {
                    format!("{} unknown ({reason})", volume.mount)
                }
            }))
        }));
        lines.push(FactLine::of("security", "secure boot, access control, screen lock", &self.security, |security| {
            let switch = |on: &bool| if *on { "on" } else { "off" }.to_owned();
            let boot = told(&security.secure_boot, switch);
            let control = told(&security.access_control, |control| match (control.name.as_str(), control.enforcing) {
                ("", _) => "none".to_owned(),
                (name, true) => format!("{name} enforces"),
                (name, false) => format!("{name} only writes down"),
            });
            let lock = told(&security.screen_lock, |lock| switch(&lock.automatic));
            format!("{boot}; {control}; {lock}")
        }));
    }

    /// What is gathered only where a rule asks has a line only then.
    fn optional_lines(&self, lines: &mut Vec<FactLine>) {
        let asked = |source: &str| !source.is_empty();
        if asked(&self.certificates.source) {
            lines.push(FactLine::of("certificates", "in stores", &self.certificates, |all| all.len().to_string()));
        }
        if asked(&self.users.source) {
            lines.push(FactLine::of("users", "logged on", &self.users, |list| {
                joined(list.users.iter().map(|user| match &user.domain {
                    Some(domain) => format!("{}@{domain}", user.name),
                    None => user.name.clone(),
                }))
            }));
        }
        if asked(&self.surroundings.source) {
            lines.push(FactLine::of("surroundings", "network", &self.surroundings, |network| {
                let gateways =
                    told(&network.gateways, |all| joined(all.iter().map(|gateway| gateway.address.to_string())));
                let servers = told(&network.dns_servers, |all| joined(all.iter().map(ToString::to_string)));
                format!("gateway {gateways}; DNS {servers}; {} interfaces", network.interfaces.len())
            }));
        }
        lines.extend(self.pings.iter().map(|(host, fact)| {
            FactLine::of("surroundings", &format!("ping {host}"), fact, |answers| {
                if answers { "answers" } else { "does not answer" }.to_owned()
            })
        }));
        if asked(&self.windows_security.source) {
            lines.push(FactLine::of("security", "Windows", &self.windows_security, |security| {
                let switch = |on: &bool| if *on { "on" } else { "off" }.to_owned();
                format!(
                    "Defender {}, BitLocker {}, Windows Firewall {}",
                    told(&security.defender, switch),
                    told(&security.bitlocker, switch),
                    told(&security.firewall, switch)
                )
            }));
        }
    }
}

fn told<T>(observed: &Observation<T>, tell: impl FnOnce(&T) -> String) -> String {
    match observed {
        Observation::Known(value) => tell(value),
        Observation::Unknown(reason) | Observation::Denied(reason) => format!("unknown ({reason})"),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// The day of a moment, as `2026-11-23`.
fn date(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "at an odd time".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}
