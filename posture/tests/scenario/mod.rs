//! The scenarios: a rule of each type, and facts under which it holds, fails and cannot be told.

use posture::facts::{
    Antivirus, AntivirusProduct, CertificateFact, DhcpLease, DiskEncryption, EmsConnection, Fact, Facts, FileState,
    Firewall, Gateway, InterfaceAddress, LoggedOnUser, Medium, NetworkInterface, Observation, OperatingSystem,
    OsFamily, Process, ProcessList, RegistryKeyFact, RegistryValue, Supplied, Surroundings, Updates, UserList,
    VerifiedIdentity, Volume, VolumeEncryption, WindowsSecurity,
};
use posture::vulnerability::{Finding, ScanResult, Severity, Standing};

/// When the rules are evaluated.
pub const NOW: u64 = 1_790_000_000;
const DAY: u64 = 86_400;

/// One type of rule.
pub struct Scenario {
    /// The type's published name.
    pub kind: &'static str,
    /// Its parameters, as JSON behind a comma.
    pub rule: &'static str,
    /// Facts under which it holds.
    pub holds: fn() -> Facts,
    /// Facts under which it does not.
    pub fails: fn() -> Facts,
    /// Facts under which that cannot be told.
    pub unknown: fn() -> Facts,
}

/// Every type.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            kind: "ad-groups",
            rule: r#","groups":["EXAMPLE\\VPN Users","Staff"]"#,
            holds: || users(vec![user("ann", Some("example.com"), Ok(&["domain users", "vpn users"]))]),
            // A group of this name that only this endpoint knows is not the directory's.
            fails: || users(vec![user("ann", Some("example.com"), Ok(&["guests"])), user("bob", None, Err("local"))]),
            unknown: || users(vec![user("ann", Some("example.com"), Err("sssd does not answer"))]),
        },
        Scenario {
            kind: "anti-virus",
            rule: r#","signatures_within_days":7"#,
            holds: || antivirus(true, Observation::Known(NOW - 3 * DAY)),
            fails: || antivirus(true, Observation::Known(NOW - 8 * DAY)),
            unknown: || antivirus(true, Observation::Denied("no permission".to_owned())),
        },
        Scenario {
            kind: "certificate",
            rule: r#","subject":{"match":"wildcard","text":"*.corp.example"},"issuer":"Corp CA""#,
            holds: || certificates(&[("pc7.corp.example", "Corp CA", NOW + DAY)]),
            // One has another issuer, one has lapsed.
            fails: || {
                certificates(&[("pc7.corp.example", "Other CA", NOW + DAY), ("a.corp.example", "corp ca", NOW - 1)])
            },
            unknown: || Facts { certificates: Fact::denied("root only", "/etc/ssl", NOW), ..Facts::default() },
        },
        Scenario {
            kind: "crowdstrike-zta-score",
            rule: r#","comparison":">=","score":70"#,
            holds: || supplied(Supplied { crowdstrike_score: Some(70), ..Supplied::default() }),
            fails: || supplied(Supplied { crowdstrike_score: Some(69), ..Supplied::default() }),
            unknown: || supplied(Supplied::default()),
        },
        Scenario {
            kind: "cve",
            rule: r#","identifiers":["CVE-2023-38545"],"scanned_within_days":7"#,
            holds: || scanned(NOW, vec![finding("cve-2023-38545", Severity::Critical)]),
            fails: || scanned(NOW, vec![finding("CVE-2023-38546", Severity::Low)]),
            unknown: || scanned(NOW - 8 * DAY, vec![]),
        },
        Scenario {
            kind: "ems-management",
            rule: "",
            holds: || ems(true, true),
            fails: || ems(true, false),
            unknown: Facts::default,
        },
        Scenario {
            kind: "fct-version",
            rule: r#","comparison":">=","version":"0.3""#,
            holds: || client("0.3.1-rc1"),
            fails: || client("0.2.9"),
            unknown: || client("from source"),
        },
        Scenario {
            kind: "file",
            rule: r#","path":"/etc/badge""#,
            holds: || file(Fact::known(FileState::Present, "/etc/badge", NOW)),
            fails: || file(Fact::known(FileState::Missing, "/etc/badge", NOW)),
            unknown: || file(Fact::denied("the sandbox hides it", "/etc/badge", NOW)),
        },
        Scenario {
            kind: "ip-range",
            rule: r#","ranges":["10.1.0.0/16","192.0.2.5-192.0.2.9"]"#,
            holds: || addresses(&["192.0.2.7"]),
            fails: || addresses(&["127.0.0.1", "10.2.0.1"]),
            unknown: Facts::default,
        },
        Scenario {
            kind: "logged-in-domain",
            rule: r#","domain":"Example.com""#,
            holds: || users(vec![user("ann", Some("example.COM"), Err("not asked"))]),
            fails: || users(vec![user("ann", Some("other.example"), Ok(&[])), user("bob", None, Ok(&[]))]),
            unknown: || Facts { users: Fact::denied("no sessions may be read", "sessions", NOW), ..Facts::default() },
        },
        Scenario {
            kind: "on-fabric-status",
            rule: r#","detection":{"gateways":[{"address":"10.1.0.1","hardware_address":"AA-BB-CC-00-11-22"}],
                "dhcp_servers":[{"code":"HQ"},{"address":"10.9.0.9"}],"subnets":[{"range":"10.1.0.0/16"}]}"#,
            holds: || office("10.1.0.1", Some("aa:bb:cc:00:11:22"), Some("HQ")),
            // The same addresses at home: another gateway answers there.
            fails: || office("10.1.0.1", Some("02:00:00:00:00:01"), Some("HQ")),
            unknown: || office("10.1.0.1", None, Some("HQ")),
        },
        Scenario {
            kind: "os-version",
            rule: r#","system":"debian","comparison":">=","version":"12","updated_within_days":30"#,
            holds: || debian("12.7", Observation::Known(NOW - 30 * DAY)),
            fails: || debian("12.7", Observation::Known(NOW - 31 * DAY)),
            unknown: || debian("12.7", Observation::Unknown("no log".to_owned())),
        },
        Scenario {
            kind: "registry-key",
            rule: r#","path":"HKEY_LOCAL_MACHINE\\SOFTWARE\\Example","value":
                {"name":"Level","comparison":">=","value":"0x10","is_dword":true}"#,
            holds: || registry(true, Some(RegistryValue::Number(16))),
            fails: || registry(true, Some(RegistryValue::Text("16".to_owned()))),
            // What has no registry cannot tell.
            unknown: || Facts {
                registry: [(KEY.to_owned(), Fact::unknown("only Windows has a registry", "registry", NOW))].into(),
                ..Facts::default()
            },
        },
        Scenario {
            kind: "running-process",
            rule: r#","name":"falcon-sensor-bpf""#,
            holds: || running(vec![process("falcon-sensor-b", Some("/opt/CrowdStrike/falcon-sensor-bpf"))], None),
            fails: || running(vec![process("falcon-sensor-b", Some("/tmp/falcon-sensor-bad"))], None),
            unknown: || running(vec![], Some("/proc shows no processes of others")),
        },
        Scenario {
            kind: "sandbox-detection",
            rule: r#","within_days":30"#,
            holds: || {
                supplied(Supplied {
                    sandbox_detections_unix: Some(vec![NOW - 90 * DAY, NOW - DAY]),
                    ..Supplied::default()
                })
            },
            fails: || supplied(Supplied { sandbox_detections_unix: Some(vec![NOW - 90 * DAY]), ..Supplied::default() }),
            unknown: Facts::default,
        },
        Scenario {
            kind: "security",
            rule: r#","feature":"filevault""#,
            holds: || Facts { family: OsFamily::Macos, ..disk(Ok("FileVault")) },
            fails: || Facts { family: OsFamily::Macos, ..disk(Err(None)) },
            // A Linux disk may be encrypted as well as it likes: it has no FileVault to tell of.
            unknown: || disk(Ok("LUKS2")),
        },
        Scenario {
            kind: "security-status",
            rule: r#","require":["firewall","disk-encryption"]"#,
            holds: || Facts { firewall: firewall(true), ..disk(Ok("LUKS2")) },
            fails: || Facts { firewall: firewall(false), ..disk(Err(Some("hidden"))) },
            unknown: || Facts { firewall: firewall(true), ..disk(Err(Some("hidden"))) },
        },
        Scenario {
            kind: "user-identity",
            rule: r#","service":"Google","account":{"match":"regex","text":"@example\\.com$"}"#,
            holds: || identity("google", "ann@example.com"),
            fails: || identity("google", "ann@example.com.evil.example"),
            unknown: || supplied(Supplied::default()),
        },
        Scenario {
            kind: "vulnerable-devices",
            rule: r#","severity":"high""#,
            holds: || {
                scanned(NOW, vec![finding("CVE-2023-1", Severity::Low), finding("CVE-2023-2", Severity::Critical)])
            },
            fails: || scanned(NOW, vec![finding("CVE-2023-1", Severity::Medium)]),
            unknown: || Facts { vulnerabilities: posture::facts::never_scanned(), ..Facts::default() },
        },
        Scenario {
            kind: "windows-security",
            rule: r#","features":["defender","bitlocker"]"#,
            holds: || windows(Observation::Known(true)),
            fails: || windows(Observation::Known(false)),
            unknown: || windows(Observation::Denied("needs administrator's rights".to_owned())),
        },
    ]
}

const KEY: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Example";

fn known<T>(value: T) -> Fact<T> {
    Fact::known(value, "scenario", NOW)
}

fn users(users: Vec<LoggedOnUser>) -> Facts {
    let realm = Observation::Known(Some("example.com".to_owned()));
    Facts { users: known(UserList { users, realm }), ..Facts::default() }
}

fn user(name: &str, domain: Option<&str>, groups: Result<&[&str], &str>) -> LoggedOnUser {
    LoggedOnUser {
        name: name.to_owned(),
        domain: domain.map(str::to_owned),
        groups: match groups {
            Ok(groups) => Observation::Known(groups.iter().map(|group| (*group).to_owned()).collect()),
            Err(reason) => Observation::Unknown(reason.to_owned()),
        },
    }
}

fn antivirus(running: bool, signatures_unix: Observation<u64>) -> Facts {
    let product = AntivirusProduct { name: "ClamAV".to_owned(), running, signatures_unix };
    Facts { antivirus: known(Antivirus { products: vec![product], hidden: None }), ..Facts::default() }
}

fn certificates(all: &[(&str, &str, u64)]) -> Facts {
    let certificate = |(subject, issuer, not_after_unix): &(&str, &str, u64)| CertificateFact {
        subject: (*subject).to_owned(),
        issuer: (*issuer).to_owned(),
        not_after_unix: *not_after_unix,
        not_before_unix: 0,
        sha256: String::new(),
        store: "system roots".to_owned(),
    };
    Facts { certificates: known(all.iter().map(certificate).collect()), ..Facts::default() }
}

fn supplied(supplied: Supplied) -> Facts {
    Facts { supplied: known(supplied), ..Facts::default() }
}

fn identity(service: &str, account: &str) -> Facts {
    let identity = VerifiedIdentity { service: service.to_owned(), account: account.to_owned() };
    supplied(Supplied { identities: Some(vec![identity]), ..Supplied::default() })
}

fn scanned(finished_unix: u64, findings: Vec<Finding>) -> Facts {
    let result = ScanResult {
        finished_unix,
        packages: 10,
        packages_unreadable: 0,
        packages_uncovered: 0,
        advisories: 100,
        ecosystem: "Debian:12".to_owned(),
        inventory: String::new(),
        database: String::new(),
        database_unix: NOW,
        records_unix: NOW,
        rejected: 0,
        findings,
    };
    Facts { vulnerabilities: known(result), ..Facts::default() }
}

fn finding(cve: &str, severity: Severity) -> Finding {
    Finding {
        package: "curl".to_owned(),
        version: "1-1".to_owned(),
        source_package: "curl".to_owned(),
        identifier: format!("DEBIAN-{cve}"),
        cves: vec![cve.to_owned()],
        severity,
        score_tenths: None,
        fixed: Some("2-1".to_owned()),
        standing: Standing::Fixable,
        summary: String::new(),
        ecosystem: "Debian:12".to_owned(),
    }
}

fn ems(enrolled: bool, telemetry_connected: bool) -> Facts {
    Facts { ems: known(EmsConnection { enrolled, telemetry_connected, name: None }), ..Facts::default() }
}

fn client(version: &str) -> Facts {
    Facts { client_version: known(version.to_owned()), ..Facts::default() }
}

fn file(fact: Fact<FileState>) -> Facts {
    Facts { files: [("/etc/badge".to_owned(), fact)].into(), ..Facts::default() }
}

fn addresses(all: &[&str]) -> Facts {
    let address = |text: &&str| InterfaceAddress {
        interface: "eth0".to_owned(),
        address: text.parse().expect("an address"),
        prefix_length: 24,
        hardware_address: None,
    };
    Facts { addresses: known(all.iter().map(address).collect()), ..Facts::default() }
}

fn office(gateway: &str, hardware: Option<&str>, code: Option<&str>) -> Facts {
    let network = Surroundings {
        interfaces: vec![NetworkInterface { name: "eth0".to_owned(), medium: Medium::Ethernet, connected: true }],
        gateways: Observation::Known(vec![Gateway {
            interface: "eth0".to_owned(),
            address: gateway.parse().expect("an address"),
            hardware_address: hardware.map(str::to_owned),
        }]),
        dns_servers: Observation::Known(vec![]),
        dhcp: Observation::Known(vec![DhcpLease {
            interface: Some("eth0".to_owned()),
            server: Some("10.1.0.2".parse().expect("an address")),
            hardware_address: None,
            code: code.map(str::to_owned),
        }]),
        tunnel_up: false,
    };
    Facts { surroundings: known(network), ..addresses(&["10.1.4.4"]) }
}

fn debian(version: &str, last_unix: Observation<u64>) -> Facts {
    let os = OperatingSystem {
        id: "debian".to_owned(),
        version: Some(version.to_owned()),
        codename: None,
        name: format!("Debian {version}"),
    };
    let updates = Updates { last_unix, pending: Observation::Unknown("not asked".to_owned()) };
    Facts { os: known(os), updates: known(updates), ..Facts::default() }
}

fn registry(present: bool, value: Option<RegistryValue>) -> Facts {
    let values = value.map(|value| ("level".to_owned(), value)).into_iter().collect();
    let key = RegistryKeyFact { present, values };
    Facts { family: OsFamily::Windows, registry: [(KEY.to_owned(), known(key))].into(), ..Facts::default() }
}

fn running(processes: Vec<Process>, hidden: Option<&str>) -> Facts {
    let list = ProcessList { processes, hidden: hidden.map(str::to_owned) };
    Facts { processes: known(list), ..Facts::default() }
}

fn process(name: &str, executable: Option<&str>) -> Process {
    Process { pid: 7, name: name.to_owned(), executable: executable.map(str::to_owned), command: None }
}

/// Two volumes, of which the second is encrypted, is not, or is hidden.
fn disk(second: Result<&str, Option<&str>>) -> Facts {
    let encrypted = |how: &str| Observation::Known(VolumeEncryption::Encrypted(how.to_owned()));
    let second = match second {
        Ok(how) => encrypted(how),
        Err(None) => Observation::Known(VolumeEncryption::None),
        Err(Some(reason)) => Observation::Unknown(reason.to_owned()),
    };
    let volume = |mount: &str, encryption| Volume { mount: mount.to_owned(), encryption };
    let volumes = vec![volume("/", encrypted("LUKS2")), volume("/home", second)];
    Facts { disk_encryption: known(DiskEncryption { volumes }), ..Facts::default() }
}

fn firewall(active: bool) -> Fact<Firewall> {
    known(Firewall { active, provider: if active { "nftables".to_owned() } else { String::new() } })
}

fn windows(bitlocker: Observation<bool>) -> Facts {
    let security = WindowsSecurity {
        defender: Observation::Known(true),
        bitlocker,
        exploit_guard: Observation::Known(false),
        application_guard: Observation::Known(false),
        firewall: Observation::Known(true),
    };
    Facts { family: OsFamily::Windows, windows_security: known(security), ..Facts::default() }
}
