//! Facts as lines that a person reads.

use super::{Fact, Facts, Observation, VolumeEncryption};

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
    /// Returns the facts as lines: one each, long lists as their count.
    pub fn lines(&self) -> Vec<FactLine> {
        let mut lines = vec![
            FactLine::of("os", "name", &self.os, |os| os.name),
            FactLine::of("os", "kernel", &self.kernel, |kernel| kernel.release),
            FactLine::of("os", "host", &self.host_name, |name| name),
            FactLine::of("packages", "installed", &self.packages, |packages| packages.len().to_string()),
            FactLine::of("processes", "running", &self.processes, |list| match list.hidden {
                None => list.processes.len().to_string(),
                Some(reason) => format!("{} seen, others hidden ({reason})", list.processes.len()),
            }),
        ];
        lines.extend(self.files.iter().map(|(path, fact)| {
            FactLine::of("files", path, fact, |state| match state {
                super::FileState::Present => "present".to_owned(),
                super::FileState::Missing => "missing".to_owned(),
            })
        }));
        lines.push(FactLine::of("addresses", "interfaces", &self.addresses, |addresses| {
            let shown: Vec<String> = addresses
                .iter()
                .filter(|entry| !entry.address.is_loopback())
                .map(|entry| format!("{}/{} on {}", entry.address, entry.prefix_length, entry.interface))
                .collect();
            if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
        }));
        lines.push(FactLine::of("antivirus", "products", &self.antivirus, |antivirus| {
            let shown: Vec<String> = antivirus
                .products
                .iter()
                .map(|product| {
                    format!("{} ({})", product.name, if product.running { "running" } else { "not running" })
                })
                .collect();
            if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
        }));
        lines.push(FactLine::of("firewall", "incoming", &self.firewall, |firewall| {
            if firewall.active { format!("filtered by {}", firewall.provider) } else { "not filtered".to_owned() }
        }));
        lines.push(FactLine::of("disk", "encryption", &self.disk_encryption, |disk| {
            let shown: Vec<String> = disk
                .volumes
                .iter()
                .map(|volume| match &volume.encryption {
                    Observation::Known(VolumeEncryption::Encrypted(how)) => format!("{} {how}", volume.mount),
                    Observation::Known(VolumeEncryption::None) => format!("{} not encrypted", volume.mount),
                    Observation::Unknown(reason) | Observation::Denied(reason) => {
                        format!("{} unknown ({reason})", volume.mount)
                    }
                })
                .collect();
            shown.join(", ")
        }));
        lines.push(FactLine::of("ems", "telemetry", &self.ems, |ems| {
            match (ems.enrolled, ems.telemetry_connected) {
                (true, true) => "connected",
                (true, false) => "not connected",
                (false, _) => "not enrolled",
            }
            .to_owned()
        }));
        lines.push(FactLine::of("vulnerabilities", "last scan", &self.vulnerabilities, |scan| scan.summary()));
        lines
    }
}
