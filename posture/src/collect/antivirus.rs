//! Antivirus products: known by the executable of their engine and by what they install.

use super::{AntivirusPattern, Context};
use crate::facts::{Antivirus, AntivirusProduct, Observation, Process, ProcessList};

/// Products whose engine and folder are public: name, executable, folder on Linux, folder on macOS.
const KNOWN: [(&str, &str, &str, &str); 13] = [
    ("ClamAV", "clamd", "/usr/sbin/clamd", "/opt/homebrew/sbin/clamd"),
    ("CrowdStrike Falcon", "falcon-sensor", "/opt/CrowdStrike", "/Applications/Falcon.app"),
    ("CrowdStrike Falcon (BPF)", "falcon-sensor-bpf", "/opt/CrowdStrike/falcon-sensor-bpf", ""),
    ("Microsoft Defender for Endpoint", "wdavdaemon", "/opt/microsoft/mdatp", "/Applications/Microsoft Defender.app"),
    ("Sophos Protection", "sophos_threat_detector", "/opt/sophos-spl", "/Applications/Sophos"),
    ("SentinelOne", "s1-agent", "/opt/sentinelone", "/Library/Sentinel"),
    ("ESET Endpoint Security", "oaeventd", "/opt/eset/eea", "/Applications/ESET Endpoint Security.app"),
    ("Trend Micro Deep Security", "ds_am", "/opt/ds_agent", "/Library/Application Support/TrendMicro"),
    ("Bitdefender GravityZone", "bdsecd", "/opt/bitdefender-security-tools", "/Library/Bitdefender"),
    ("Palo Alto Cortex XDR", "pmd", "/opt/traps", "/Library/Application Support/PaloAltoNetworks/Traps"),
    ("VMware Carbon Black", "cbagentd", "/opt/carbonblack", "/Applications/VMware Carbon Black Cloud"),
    ("Kaspersky Endpoint Security", "kesl", "/opt/kaspersky/kesl", "/Library/Application Support/Kaspersky Lab"),
    ("WithSecure Linux Protection", "fsoaspd", "/opt/f-secure/linuxsecurity", "/Library/F-Secure"),
];

/// Returns each known product that is installed or runs; `signatures` tells their age by the executable.
pub(super) fn products(
    context: &Context,
    processes: &Observation<ProcessList>,
    signatures: impl Fn(&str) -> Observation<u64>,
) -> Antivirus {
    let mac = std::env::consts::OS == "macos";
    let known = KNOWN.iter().map(|(name, executable, linux, macos)| AntivirusPattern {
        name: (*name).to_owned(),
        executable: (*executable).to_owned(),
        installed: if mac { *macos } else { *linux }.into(),
    });
    let patterns = known.chain(context.settings.antivirus_products.iter().cloned());
    let seen = processes.known();
    let products = patterns.filter_map(|pattern| {
        let running = seen.is_some_and(|list| list.processes.iter().any(|process| runs(process, &pattern.executable)));
        let named = !pattern.installed.as_os_str().is_empty();
        let installed = named && context.path(&pattern.installed).exists();
        (running || installed).then(|| AntivirusProduct {
            running,
            signatures_unix: signatures(&pattern.executable),
            name: pattern.name,
        })
    });
    let hidden = match processes {
        Observation::Known(list) => list.hidden.clone(),
        Observation::Unknown(reason) | Observation::Denied(reason) => Some(reason.clone()),
    };
    Antivirus { products: products.collect(), hidden }
}

/// Returns the file names of the engines of all known products.
pub(super) fn executables(context: &Context) -> impl Iterator<Item = String> {
    let known = KNOWN.iter().map(|(_, executable, _, _)| (*executable).to_owned());
    known.chain(context.settings.antivirus_products.iter().map(|pattern| pattern.executable.clone()))
}

/// Says whether `process` is the engine: by its executable, else by the first word of its command line.
fn runs(process: &Process, executable: &str) -> bool {
    match process.executable.as_deref().or(process.command.as_deref()) {
        Some(path) => path.rsplit('/').next() == Some(executable),
        None => false,
    }
}
