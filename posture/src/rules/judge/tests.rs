use super::*;
use crate::facts::{
    Antivirus, AntivirusProduct, EmsConnection, Facts, FileState, InterfaceAddress, Observation, OperatingSystem,
    Process, ProcessList,
};
use crate::vulnerability::{Finding, ScanResult, Severity, Standing};

const NOW: u64 = 1_700_000_000;
const DAY: u64 = 86_400;

fn known<T>(value: T) -> Fact<T> {
    Fact::known(value, "test", NOW)
}

/// Judges the rule of this JSON.
fn judged(rule: &str, facts: &Facts) -> Judgement {
    let rule: Rule = serde_json::from_str(&format!(r#"{{"id":1,{rule}}}"#)).unwrap();
    judge(&rule, &Index::new(facts), NOW)
}

fn truth(rule: &str, facts: &Facts) -> Truth {
    judged(rule, facts).truth
}

fn debian(version: &str) -> Facts {
    let os = OperatingSystem {
        id: "debian".to_owned(),
        version: Some(version.to_owned()),
        codename: None,
        name: format!("Debian {version}"),
    };
    Facts { os: known(os), ..Facts::default() }
}

fn process(name: &str, executable: Option<&str>, command: Option<&str>) -> Process {
    Process {
        pid: 7,
        name: name.to_owned(),
        executable: executable.map(str::to_owned),
        command: command.map(str::to_owned),
    }
}

fn running(processes: Vec<Process>, hidden: Option<&str>) -> Facts {
    let list = ProcessList { processes, hidden: hidden.map(str::to_owned) };
    Facts { processes: known(list), ..Facts::default() }
}

fn protected(products: Vec<AntivirusProduct>, hidden: Option<&str>) -> Facts {
    let antivirus = Antivirus { products, hidden: hidden.map(str::to_owned) };
    Facts { antivirus: known(antivirus), ..Facts::default() }
}

fn product(running: bool, signatures_unix: Observation<u64>) -> AntivirusProduct {
    AntivirusProduct { name: "ClamAV".to_owned(), running, signatures_unix }
}

fn finding(package: &str, cve: &str, severity: Severity, standing: Standing) -> Finding {
    Finding {
        package: package.to_owned(),
        version: "1.0-1".to_owned(),
        source_package: package.to_owned(),
        identifier: format!("DEBIAN-{cve}"),
        cves: vec![cve.to_owned()],
        severity,
        score_tenths: None,
        fixed: (standing == Standing::Fixable).then(|| "1.0-2".to_owned()),
        standing,
        summary: String::new(),
        ecosystem: "Debian:12".to_owned(),
    }
}

fn scanned(findings: Vec<Finding>) -> Facts {
    let scan = ScanResult {
        finished_unix: NOW,
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
    Facts { vulnerabilities: known(scan), ..Facts::default() }
}

#[test]
fn os_version_compares_as_many_parts_as_the_rule_writes() {
    let rule = |comparison: &str, version: &str| {
        format!(r#""type":"os-version","system":"Debian","comparison":"{comparison}","version":"{version}""#)
    };
    let facts = debian("12.7");
    for (comparison, version, expected) in [
        ("=", "12", Truth::True),
        ("=", "12.7", Truth::True),
        ("=", "12.8", Truth::False),
        ("!=", "12", Truth::False),
        (">", "11", Truth::True),
        (">", "12", Truth::False),
        (">=", "12.10", Truth::False),
        ("<", "12.10", Truth::True),
        ("<=", "12", Truth::True),
        ("=", "12.7.0", Truth::True),
        ("=", "bookworm", Truth::Unknown),
    ] {
        assert_eq!(truth(&rule(comparison, version), &facts), expected, "{comparison} {version}");
    }
}

#[test]
fn os_version_asks_for_the_system_first() {
    assert_eq!(truth(r#""type":"os-version","system":"debian""#, &debian("12")), Truth::True);
    assert_eq!(truth(r#""type":"os-version","system":"ubuntu""#, &debian("12")), Truth::False);
    assert_eq!(truth(r#""type":"os-version","system":"ubuntu","version":"12""#, &debian("12")), Truth::False);
    assert_eq!(truth(r#""type":"os-version","system":"debian""#, &Facts::default()), Truth::Unknown);
    assert_eq!(truth(r#""type":"os-version","system":"debian","version":"12""#, &debian("sid")), Truth::Unknown);
}

#[test]
fn a_process_is_known_by_its_executable_and_not_by_its_short_name() {
    let rule = r#""type":"running-process","name":"a-very-long-agent-name""#;
    let path = "/opt/x/a-very-long-agent-name";
    let short = "a-very-long-age";
    assert_eq!(truth(rule, &running(vec![process(short, Some(path), None)], None)), Truth::True);
    assert_eq!(truth(rule, &running(vec![process("renamed", Some(path), None)], None)), Truth::True);
    assert_eq!(truth(rule, &running(vec![process(short, Some("/usr/bin/other"), None)], None)), Truth::False);
    assert_eq!(truth(rule, &running(vec![process(short, None, Some(path))], None)), Truth::True);
    assert_eq!(truth(rule, &running(vec![process(short, None, None)], None)), Truth::Unknown);
    assert_eq!(truth(rule, &running(vec![process("bash", None, None)], None)), Truth::False);
    // A process may write another title over its command line; the kernel's name then still leaves a doubt.
    assert_eq!(truth(rule, &running(vec![process(short, None, Some("agent: main"))], None)), Truth::Unknown);
    assert_eq!(
        truth(rule, &running(vec![process(short, Some(&format!("{path} (deleted)")), None)], None)),
        Truth::True
    );
}

#[test]
fn a_rule_with_a_path_wants_that_very_executable() {
    let rule = r#""type":"running-process","name":"/usr/sbin/clamd""#;
    assert_eq!(truth(rule, &running(vec![process("clamd", Some("/usr/sbin/clamd"), None)], None)), Truth::True);
    assert_eq!(truth(rule, &running(vec![process("clamd", Some("/tmp/clamd"), None)], None)), Truth::False);
}

#[test]
fn a_process_that_may_be_hidden_is_unknown_and_not_absent() {
    let rule = r#""type":"running-process","name":"clamd""#;
    let seen = process("clamd", Some("/usr/sbin/clamd"), None);
    assert_eq!(truth(rule, &running(vec![], None)), Truth::False);
    assert_eq!(truth(rule, &running(vec![], Some("hidepid"))), Truth::Unknown);
    assert_eq!(truth(rule, &running(vec![seen], Some("hidepid"))), Truth::True);
    assert_eq!(truth(rule, &Facts::default()), Truth::Unknown);
    let denied = Facts { processes: Fact::denied("no /proc", "test", NOW), ..Facts::default() };
    let judgement = judged(rule, &denied);
    assert_eq!((judgement.truth, judgement.seen.as_str()), (Truth::Unknown, "processes: no /proc"));
}

#[test]
fn a_file_is_there_is_not_there_or_was_not_to_be_seen() {
    let rule = r#""type":"file","path":"/etc/badge""#;
    let with = |fact: Fact<FileState>| Facts { files: [("/etc/badge".to_owned(), fact)].into(), ..Facts::default() };
    assert_eq!(truth(rule, &with(known(FileState::Present))), Truth::True);
    assert_eq!(truth(rule, &with(known(FileState::Missing))), Truth::False);
    assert_eq!(truth(rule, &with(Fact::denied("sandbox", "test", NOW))), Truth::Unknown);
    assert_eq!(truth(rule, &Facts::default()), Truth::Unknown, "a file nobody looked for");
}

#[test]
fn antivirus_must_be_installed_and_run() {
    let rule = r#""type":"anti-virus""#;
    let undated = || Observation::Unknown("none".to_owned());
    assert_eq!(truth(rule, &protected(vec![product(true, undated())], None)), Truth::True);
    assert_eq!(truth(rule, &protected(vec![product(false, undated())], None)), Truth::False);
    assert_eq!(truth(rule, &protected(vec![], None)), Truth::False);
    assert_eq!(truth(rule, &protected(vec![], Some("hidepid"))), Truth::Unknown);
    assert_eq!(truth(rule, &protected(vec![product(false, undated())], Some("hidepid"))), Truth::Unknown);
    assert_eq!(truth(rule, &Facts::default()), Truth::Unknown);
    assert_eq!(judged(rule, &protected(vec![product(false, undated())], None)).change, "start ClamAV");
}

#[test]
fn antivirus_signatures_have_an_age() {
    let rule = r#""type":"anti-virus","signatures_within_days":7"#;
    let aged = |running: bool, made: u64| protected(vec![product(running, Observation::Known(made))], None);
    assert_eq!(truth(rule, &aged(true, NOW - 7 * DAY)), Truth::True);
    assert_eq!(truth(rule, &aged(true, NOW - 7 * DAY - 1)), Truth::False);
    assert_eq!(truth(rule, &aged(false, NOW)), Truth::False, "both conditions must hold");
    assert_eq!(truth(rule, &aged(true, NOW + 2 * DAY)), Truth::Unknown, "from the future");
    let undated = protected(vec![product(true, Observation::Denied("no".to_owned()))], None);
    assert_eq!(truth(rule, &undated), Truth::Unknown);
    let only_age = r#""type":"anti-virus","installed_and_running":false,"signatures_within_days":7"#;
    assert_eq!(truth(only_age, &aged(false, NOW)), Truth::True);
    let judgement = judged(rule, &aged(true, NOW - 30 * DAY));
    assert_eq!(judgement.seen, "ClamAV, signatures 30 days old");
    assert_eq!(judgement.change, "update the signatures of ClamAV");
}

#[test]
fn one_product_that_does_suffices() {
    let rule = r#""type":"anti-virus","signatures_within_days":7"#;
    let products = vec![product(false, Observation::Known(NOW)), product(true, Observation::Known(NOW))];
    assert_eq!(truth(rule, &protected(products, None)), Truth::True);
}

#[test]
fn an_address_in_range_counts_unless_it_is_loopback() {
    let rule = r#""type":"ip-range","ranges":["10.0.0.0/8","127.0.0.0/8","2001:db8::/32"]"#;
    let with = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| InterfaceAddress {
            interface: "eth0".to_owned(),
            address: address.parse().unwrap(),
            prefix_length: 24,
            hardware_address: None,
        });
        Facts { addresses: known(addresses.collect()), ..Facts::default() }
    };
    assert_eq!(truth(rule, &with(&["192.0.2.1", "10.9.9.9"])), Truth::True);
    assert_eq!(truth(rule, &with(&["2001:db8::1"])), Truth::True);
    assert_eq!(truth(rule, &with(&["127.0.0.1", "192.0.2.1"])), Truth::False);
    assert_eq!(truth(rule, &with(&[])), Truth::False);
    assert_eq!(truth(rule, &Facts::default()), Truth::Unknown);
    assert_eq!(judged(rule, &with(&["10.9.9.9"])).seen, "10.9.9.9 on eth0");
}

#[test]
fn ems_management_wants_enrolment_and_telemetry() {
    let rule = r#""type":"ems-management""#;
    let with = |enrolled, telemetry_connected| {
        let ems = EmsConnection { enrolled, telemetry_connected, name: None };
        Facts { ems: known(ems), ..Facts::default() }
    };
    assert_eq!(truth(rule, &with(true, true)), Truth::True);
    assert_eq!(truth(rule, &with(true, false)), Truth::False);
    assert_eq!(truth(rule, &with(false, true)), Truth::False);
    assert_eq!(truth(rule, &Facts::default()), Truth::Unknown);
}

#[test]
fn vulnerable_devices_counts_from_its_severity_upwards() {
    let rule = |severity: &str| format!(r#""type":"vulnerable-devices","severity":"{severity}""#);
    let severities = [Severity::Unrated, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    let thresholds = ["low", "medium", "high", "critical"];
    for (place, severity) in severities.into_iter().enumerate() {
        let facts = scanned(vec![finding("p", "CVE-1", severity, Standing::Fixable)]);
        for (threshold_place, threshold) in thresholds.into_iter().enumerate() {
            // What nobody rated counts as low.
            let expected = Truth::from(place.max(1) > threshold_place);
            assert_eq!(truth(&rule(threshold), &facts), expected, "{severity} {threshold}");
        }
    }
    assert_eq!(truth(&rule("low"), &scanned(vec![])), Truth::False);
}

#[test]
fn an_endpoint_that_was_never_scanned_is_unknown_and_not_healthy() {
    let facts: Facts = serde_json::from_str("{}").unwrap();
    let judgement = judged(r#""type":"vulnerable-devices","severity":"critical""#, &facts);
    assert_eq!(judgement.truth, Truth::Unknown);
    assert_eq!(
        (judgement.seen.as_str(), judgement.change.as_str()),
        ("vulnerabilities: never scanned", "postern scan")
    );
    let opposite = r#""negated":true,"type":"vulnerable-devices","severity":"critical""#;
    assert_eq!(truth(opposite, &facts), Truth::Unknown);
}

#[test]
fn the_evidence_names_package_fix_and_next_step() {
    let facts = scanned(vec![
        finding("openssl", "CVE-2024-5535", Severity::Critical, Standing::Fixable),
        finding("git", "CVE-2024-32002", Severity::Critical, Standing::Unfixed),
        finding("apt", "CVE-2011-3374", Severity::Low, Standing::Unfixed),
    ]);
    let judgement = judged(r#""type":"vulnerable-devices","severity":"critical""#, &facts);
    assert_eq!(judgement.seen, "openssl 1.0-1, CVE-2024-5535, fixed in 1.0-2, and 1 more");
    assert_eq!(judgement.change, "upgrade openssl, then postern scan");
    let judgement = judged(r#""type":"cve","identifiers":["CVE-2024-32002"]"#, &facts);
    assert_eq!(judgement.seen, "git 1.0-1, CVE-2024-32002, no fix yet");
    assert_eq!(judgement.change, "remove git or wait for its fix, then postern scan");
}

#[test]
fn what_the_distribution_ignores_no_rule_counts() {
    let facts = scanned(vec![finding("tar", "CVE-2005-2541", Severity::Critical, Standing::Ignored)]);
    assert_eq!(truth(r#""type":"vulnerable-devices","severity":"low""#, &facts), Truth::False);
    assert_eq!(truth(r#""type":"cve","identifiers":["CVE-2005-2541"]"#, &facts), Truth::False);
}

#[test]
fn packages_that_could_not_be_judged_leave_a_clean_scan_unknown() {
    let mut facts = scanned(vec![finding("p", "CVE-1", Severity::Low, Standing::Fixable)]);
    if let Observation::Known(scan) = &mut facts.vulnerabilities.observation {
        scan.packages_unreadable = 2;
    }
    assert_eq!(truth(r#""type":"vulnerable-devices","severity":"critical""#, &facts), Truth::Unknown);
    assert_eq!(truth(r#""type":"vulnerable-devices","severity":"low""#, &facts), Truth::True);
}

#[test]
fn a_cve_is_named_in_any_case_by_itself_or_by_its_advisory() {
    let facts = scanned(vec![finding("curl", "CVE-2023-38545", Severity::Critical, Standing::Fixable)]);
    let rule = |name: &str| format!(r#""type":"cve","identifiers":["CVE-1-1","{name}"]"#);
    assert_eq!(truth(&rule("cve-2023-38545"), &facts), Truth::True);
    assert_eq!(truth(&rule(" DEBIAN-CVE-2023-38545 "), &facts), Truth::True);
    assert_eq!(truth(&rule("CVE-2023-3854"), &facts), Truth::False);
    assert_eq!(truth(&rule("CVE-2023-38545"), &Facts::default()), Truth::Unknown);
}

#[test]
fn negation_turns_a_known_answer_and_leaves_an_unknown_one() {
    let rule = r#""negated":true,"type":"os-version","system":"debian""#;
    assert_eq!(truth(rule, &debian("12")), Truth::False);
    assert_eq!(truth(rule, &Facts::default()), Truth::Unknown);
    let unsupported = r#""negated":true,"type":"firewall-threat""#;
    assert_eq!(truth(unsupported, &debian("12")), Truth::Unknown);
}
