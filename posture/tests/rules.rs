//! Every type of tagging rule, three scenarios each: it holds, it fails, it cannot be told.
//!
//! The tests bear the types' own names, `rule::anti-virus::holds`, which no Rust function can.

mod scenario;

use libtest_mimic::{Arguments, Failed, Trial};
use posture::rules::{Presence, TaggingRuleSet, evaluate, explain};
use scenario::{NOW, Scenario};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for Scenario { kind, rule, holds, fails, unknown } in scenario::all() {
        for (outcome, facts, expected) in [
            ("holds", holds, Presence::Present),
            ("fails", fails, Presence::Absent),
            ("unknown", unknown, Presence::Unknown),
        ] {
            trials.push(Trial::test(format!("rule::{kind}::{outcome}"), move || check(kind, rule, &facts(), expected)));
        }
    }
    trials.push(Trial::test("rule::every-published-type-is-read", every_type));
    trials.push(Trial::test("rule::explain::every-type-in-the-words-that-people-read", || {
        insta::assert_snapshot!("explained", explained()?);
        Ok(())
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn check(kind: &str, rule: &str, facts: &posture::facts::Facts, expected: Presence) -> Result<(), Failed> {
    for negated in [false, true] {
        let rule = format!(r#"{{"id":1,"type":"{kind}","negated":{negated}{rule}}}"#);
        let system = facts.family;
        let set = format!(r#"{{"name":"scenario","tag":"t","systems":{{"{system}":{{"rules":[{rule}]}}}}}}"#);
        let set: TaggingRuleSet = serde_json::from_str(&set).map_err(|error| format!("{rule}: {error}"))?;
        set.validate().map_err(|error| error.to_string())?;
        let tags = evaluate(&[set], facts, NOW);
        let state = tags.values().next().ok_or("no tag")?;
        let wanted = match (expected, negated) {
            (Presence::Present, true) => Presence::Absent,
            (Presence::Absent, true) => Presence::Present,
            (expected, _) => expected,
        };
        if state.presence != wanted {
            return Err(format!("{rule}: {} because {}", state.presence, state.because).into());
        }
        if state.because.is_empty() {
            return Err("no reason is given".into());
        }
    }
    Ok(())
}

/// What a person reads of each type when it holds, fails and cannot be told, and of a tree of rules.
fn explained() -> Result<String, Failed> {
    let mut text = String::new();
    let mut note = |title: &str, set: &str, facts: &posture::facts::Facts| -> Result<(), Failed> {
        let set: TaggingRuleSet = serde_json::from_str(set).map_err(|error| format!("{set}: {error}"))?;
        text.push_str(&format!("== {title}\n{}\n\n", explain(&set, facts, NOW).join("\n")));
        Ok(())
    };
    for Scenario { kind, rule, holds, fails, unknown } in scenario::all() {
        for (outcome, facts) in [("holds", holds()), ("fails", fails()), ("unknown", unknown())] {
            let rule = format!(r#"{{"id":1,"type":"{kind}"{rule}}}"#);
            let set = format!(r#"{{"name":"set","tag":"Tag","systems":{{"{}":{{"rules":[{rule}]}}}}}}"#, facts.family);
            note(&format!("{kind}, {outcome}"), &set, &facts)?;
        }
    }
    let badge = scenario::all().into_iter().find(|scenario| scenario.kind == "file").ok_or("no scenario of a file")?;
    let tree = r#"{"name":"set","tag":"Tag","systems":{"linux":{
        "rules":[{"id":1,"type":"file","path":"/etc/badge"},{"id":2,"type":"file","path":"/etc/badge","negated":true},
            {"id":3,"type":"ems-management"}],
        "logic":{"op":"and","rules":[{"id":1},{"op":"or","rules":[{"id":2},{"id":3}]}]}}}}"#;
    note("a tree", tree, &(badge.holds)())?;
    note("no rules for this system", r#"{"name":"set","tag":"Tag","systems":{}}"#, &(badge.holds)())?;
    Ok(text)
}

/// The twenty types that the product family publishes, all among the scenarios.
fn every_type() -> Result<(), Failed> {
    const PUBLISHED: [&str; 20] = [
        "ad-groups",
        "anti-virus",
        "certificate",
        "file",
        "logged-in-domain",
        "running-process",
        "registry-key",
        "os-version",
        "sandbox-detection",
        "vulnerable-devices",
        "windows-security",
        "user-identity",
        "ems-management",
        "security",
        "ip-range",
        "on-fabric-status",
        "fct-version",
        "security-status",
        "cve",
        "crowdstrike-zta-score",
    ];
    let mut told: Vec<&str> = scenario::all().iter().map(|scenario| scenario.kind).collect();
    told.sort_unstable();
    let mut published = PUBLISHED;
    published.sort_unstable();
    if told == published { Ok(()) } else { Err(format!("{told:?}").into()) }
}
