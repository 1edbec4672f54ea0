//! Measures the evaluation of 1,000 rules over the facts of an endpoint with many findings.
//!
//! ```text
//! cargo run --release -p posture --example rules [RULES FINDINGS]
//! ```

use posture::facts::{Fact, Facts, OsFamily, Process, ProcessList};
use posture::rules::{TaggingRuleSet, evaluate};
use posture::vulnerability::{Finding, ScanResult, Severity, Standing};
use std::time::Instant;

fn main() -> Result<(), serde_json::Error> {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let rules = arguments.next().unwrap_or(1_000);
    let findings = arguments.next().unwrap_or(3_540);
    let sets = (0..rules.div_ceil(5)).map(set).collect::<Result<Vec<_>, _>>()?;
    let facts = facts(findings);
    let mut times: Vec<u128> = (0..200)
        .map(|_| {
            let began = Instant::now();
            let tags = evaluate(&sets, &facts, 1_790_000_000);
            let took = began.elapsed().as_micros();
            assert_eq!(tags.len(), sets.len());
            took
        })
        .collect();
    times.sort_unstable();
    println!(
        "{rules} rules in {} sets over {findings} findings: median {} us, worst {} us",
        sets.len(),
        times.get(times.len() / 2).copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default()
    );
    Ok(())
}

/// Five rules: one over the scan, one over a CVE, one over a process, one over a file, one over EMS.
fn set(number: usize) -> Result<TaggingRuleSet, serde_json::Error> {
    serde_json::from_str(&format!(
        r#"{{"name":"set {number}","tag":"tag {number}","systems":{{"{family}":{{"rules":[
            {{"id":1,"type":"vulnerable-devices","severity":"critical"}},
            {{"id":2,"type":"cve","identifiers":["CVE-2024-{number}"]}},
            {{"id":3,"type":"running-process","name":"daemon-{number}"}},
            {{"id":4,"type":"file","path":"/etc/{number}","negated":true}},
            {{"id":5,"type":"ems-management"}}],
          "logic":{{"op":"or","rules":[{{"op":"and","rules":[{{"id":1}},{{"id":2}}]}},{{"op":"and","rules":[{{"id":3}},{{"id":4}},{{"id":5}}]}}]}}}}}}}}"#,
        family = OsFamily::default()
    ))
}

fn facts(findings: usize) -> Facts {
    let severities = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    let finding = |number: usize| Finding {
        package: format!("package-{number}"),
        version: "1.0-1".to_owned(),
        source_package: format!("package-{number}"),
        identifier: format!("DEBIAN-CVE-2024-{number}"),
        cves: vec![format!("CVE-2024-{number}")],
        severity: severities.get(3 - (4 * number / findings.max(1)).min(3)).copied().unwrap_or(Severity::Low),
        score_tenths: Some(70),
        fixed: Some("1.0-2".to_owned()),
        standing: Standing::Fixable,
        summary: "generated".to_owned(),
        ecosystem: "Debian:12".to_owned(),
    };
    let scan = ScanResult {
        finished_unix: 1_790_000_000,
        packages: 2_000,
        packages_unreadable: 0,
        packages_uncovered: 0,
        advisories: 100_000,
        ecosystem: "Debian:12".to_owned(),
        inventory: String::new(),
        database: String::new(),
        database_unix: 1_790_000_000,
        records_unix: 0,
        rejected: 0,
        findings: (0..findings).map(finding).collect(),
    };
    let process = |number: u32| Process {
        pid: number,
        name: format!("daemon-{number}"),
        executable: Some(format!("/usr/sbin/daemon-{number}")),
        command: None,
    };
    let list = ProcessList { processes: (0..300).map(process).collect(), hidden: None };
    Facts {
        vulnerabilities: Fact::known(scan, "scan", 0),
        processes: Fact::known(list, "process table", 0),
        ..Facts::default()
    }
}
