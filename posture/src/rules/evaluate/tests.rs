use super::*;
use crate::facts::{EmsConnection, Fact, FileState, OsFamily, ProcessList};
use crate::rules::{RuleKind, explain};
use crate::vulnerability::{ScanResult, Severity};
use proptest::prelude::*;

fn set(tag: &str, linux: &str) -> TaggingRuleSet {
    serde_json::from_str(&format!(r#"{{"name":"set of {tag}","tag":"{tag}","systems":{{"linux":{linux}}}}}"#)).unwrap()
}

/// A file rule: `/t` is there, `/f` is not, `/u` nobody could look at.
fn file(id: u32, path: &str) -> String {
    format!(r#"{{"id":{id},"type":"file","path":"{path}"}}"#)
}

fn facts() -> Facts {
    let files = [
        ("/t".to_owned(), Fact::known(FileState::Present, "/t", 0)),
        ("/f".to_owned(), Fact::known(FileState::Missing, "/f", 0)),
        ("/u".to_owned(), Fact::denied("sandbox", "/u", 0)),
    ];
    Facts { files: files.into(), ..Facts::default() }
}

fn presence(set: &TaggingRuleSet) -> Presence {
    evaluate_set(set, &facts(), 0).presence
}

#[test]
fn without_a_tree_all_rules_must_hold() {
    let rules = |paths: &[&str]| {
        let rules: Vec<String> = (1..).zip(paths).map(|(id, path)| file(id, path)).collect();
        set("t", &format!(r#"{{"rules":[{}]}}"#, rules.join(",")))
    };
    assert_eq!(presence(&rules(&["/t", "/t"])), Presence::Present);
    assert_eq!(presence(&rules(&["/t", "/f"])), Presence::Absent);
    assert_eq!(presence(&rules(&["/t", "/u"])), Presence::Unknown);
    assert_eq!(presence(&rules(&["/u", "/f"])), Presence::Absent, "one that fails decides alone");
    assert_eq!(presence(&rules(&[])), Presence::Unknown, "no rules were never meant");
}

#[test]
fn a_tree_combines_as_it_is_written() {
    let tree = |first: &str, second: &str, third: &str| {
        let rules = [file(1, first), file(2, second), file(3, third)].join(",");
        let logic = r#"{"op":"and","rules":[{"op":"or","rules":[{"id":1},{"id":2}]},{"id":3}]}"#;
        presence(&set("t", &format!(r#"{{"rules":[{rules}],"logic":{logic}}}"#)))
    };
    assert_eq!(tree("/f", "/t", "/t"), Presence::Present);
    assert_eq!(tree("/f", "/f", "/t"), Presence::Absent);
    assert_eq!(tree("/f", "/u", "/t"), Presence::Unknown);
    assert_eq!(tree("/u", "/t", "/t"), Presence::Present);
    assert_eq!(tree("/u", "/u", "/f"), Presence::Absent);
}

#[test]
fn each_family_has_rules_of_its_own() {
    let text = format!(
        r#"{{"name":"n","tag":"t","systems":{{"linux":{{"rules":[{}]}},"windows":{{"rules":[{}]}}}}}}"#,
        file(1, "/t"),
        file(1, "/f")
    );
    let set: TaggingRuleSet = serde_json::from_str(&text).unwrap();
    let on = |family| evaluate_set(&set, &Facts { family, ..facts() }, 0);
    assert_eq!(on(OsFamily::Linux).presence, Presence::Present);
    assert_eq!(on(OsFamily::Windows).presence, Presence::Absent);
    let macos = on(OsFamily::Macos);
    assert_eq!((macos.presence, macos.because.as_str()), (Presence::Absent, "rule set \"n\" has no rules for macos"));
}

#[test]
fn several_sets_may_give_one_tag_and_one_that_holds_suffices() {
    let one = |path: &str| set("Fit", &format!(r#"{{"rules":[{}]}}"#, file(1, path)));
    let given = |paths: &[&str]| {
        let mut sets: Vec<TaggingRuleSet> = paths.iter().map(|path| one(path)).collect();
        sets[0].tag = TagName::new(" fit ");
        evaluate(&sets, &facts(), 0)[&TagName::new("FIT")].presence
    };
    assert_eq!(given(&["/f", "/t"]), Presence::Present);
    assert_eq!(given(&["/t", "/f"]), Presence::Present);
    assert_eq!(given(&["/f", "/u"]), Presence::Unknown);
    assert_eq!(given(&["/u", "/f"]), Presence::Unknown);
    assert_eq!(given(&["/f", "/f"]), Presence::Absent);
}

#[test]
fn the_state_names_the_rule_the_fact_and_the_next_step() {
    let rules = format!(r#"{{"rules":[{},{}]}}"#, file(1, "/t"), file(2, "/u"));
    let state = evaluate_set(&set("t", &rules), &facts(), 0);
    assert_eq!(state.because, "files: sandbox");
    assert_eq!(state.next, "let Postern look at /u");
    let rule = state.rule.unwrap();
    assert_eq!((rule.set.as_str(), rule.rule.as_str()), ("set of t", "rule 2, file /u"));
}

#[test]
fn when_all_decide_together_all_are_named_up_to_a_few() {
    let rules: Vec<String> = (1..=5).map(|id| format!(r#"{{"id":{id},"type":"file","path":"/{id}"}}"#)).collect();
    let set = set("t", &format!(r#"{{"rules":[{}]}}"#, rules.join(",")));
    let files = (1..=5).map(|id| (format!("/{id}"), Fact::known(FileState::Present, "", 0)));
    let state = evaluate_set(&set, &Facts { files: files.collect(), ..Facts::default() }, 0);
    assert_eq!(state.because, "/1 is there; /2 is there; /3 is there; and 2 more");
}

#[test]
fn a_broken_set_is_unknown_and_says_why() {
    let one = file(1, "/t");
    for (linux, why) in [
        (format!(r#"{{"rules":[{one}],"logic":{{"id":7}}}}"#), "the logic names rule 7, which is missing"),
        (format!(r#"{{"rules":[{one}],"logic":{{"op":"or","rules":[]}}}}"#), "a branch of the logic is empty"),
        (r#"{"rules":[]}"#.to_owned(), "the rule set has no rules"),
        (
            r#"{"rules":[{"id":1,"type":"firewall-threat"}]}"#.to_owned(),
            "this version cannot read a rule of type firewall-threat",
        ),
    ] {
        let state = evaluate_set(&set("t", &linux), &facts(), 0);
        assert_eq!((state.presence, state.because.as_str()), (Presence::Unknown, why));
    }
    let mut deep = set("t", &format!(r#"{{"rules":[{one}]}}"#));
    let mut logic = Logic::Rule { id: 1 };
    for _ in 0..10_000 {
        logic = Logic::Group { op: Operator::And, rules: vec![logic] };
    }
    deep.systems.get_mut(&OsFamily::Linux).unwrap().logic = Some(logic);
    assert_eq!(presence(&deep), Presence::Unknown);
    // Its destructor would recurse as deeply as the tree.
    std::mem::forget(deep);
}

#[test]
fn the_explanation_shows_every_leaf() {
    let logic = r#"{"op":"or","rules":[{"id":1},{"op":"and","rules":[{"id":2},{"id":3}]}]}"#;
    let negated = r#"{"id":3,"negated":true,"type":"ems-management"}"#;
    let rules = format!(r#"{{"rules":[{},{},{negated}],"logic":{logic}}}"#, file(1, "/u"), file(2, "/f"));
    let lines = explain(&set("Fit", &rules), &facts(), 0);
    assert_eq!(
        lines.join("\n"),
        "Fit: unknown (rule set \"set of Fit\")\n\
         └─ any of:\n\
         \u{20}  ├─ rule 1, file /u: unknown: files: sandbox\n\
         \u{20}  │    files: told by /u, 0 s ago\n\
         \u{20}  │    to settle it: let Postern look at /u\n\
         \u{20}  └─ all of:\n\
         \u{20}     ├─ rule 2, file /f: does not hold: /f is not there\n\
         \u{20}     │    files: told by /f, 0 s ago\n\
         \u{20}     │    to change it: provide /f\n\
         \u{20}     └─ rule 3, not ems-management: unknown: ems: not collected\n\
         \u{20}          to settle it: wait until the state of telemetry is known"
    );
}

/// Facts in which everything may be known, unknown or denied.
fn any_facts() -> impl Strategy<Value = Facts> {
    let file = (0_u8..4).prop_map(|state| match state {
        0 => Some(Fact::known(FileState::Present, "", 0)),
        1 => Some(Fact::known(FileState::Missing, "", 0)),
        2 => Some(Fact::denied("no", "", 0)),
        _ => None,
    });
    let files = [file.clone(), file.clone(), file];
    let ems = prop::option::of((any::<bool>(), any::<bool>()));
    let scan = prop::option::of(0_u64..3);
    let hidden = prop::option::of(prop::option::of(Just("hidden".to_owned())));
    (files, ems, scan, hidden).prop_map(|(files, ems, scan, hidden)| {
        let mut facts = Facts::default();
        for (name, file) in ["/a", "/b", "/c"].into_iter().zip(files) {
            facts.files.extend(file.map(|file| (name.to_owned(), file)));
        }
        if let Some((enrolled, telemetry_connected)) = ems {
            facts.ems = Fact::known(EmsConnection { enrolled, telemetry_connected, name: None }, "", 0);
        }
        if let Some(unreadable) = scan {
            let scan = ScanResult {
                finished_unix: 0,
                packages: 1,
                packages_unreadable: unreadable,
                advisories: 1,
                ecosystem: String::new(),
                packages_uncovered: 0,
                inventory: String::new(),
                database: String::new(),
                database_unix: 0,
                records_unix: 0,
                rejected: 0,
                findings: Vec::new(),
            };
            facts.vulnerabilities = Fact::known(scan, "", 0);
        }
        if let Some(hidden) = hidden {
            facts.processes = Fact::known(ProcessList { processes: Vec::new(), hidden }, "", 0);
        }
        facts
    })
}

fn any_kind() -> impl Strategy<Value = RuleKind> {
    let text = || "[ -~]{0,12}";
    prop_oneof![
        prop::sample::select(vec!["/a", "/b", "/c", "/d", ""])
            .prop_map(|path| RuleKind::File { path: path.to_owned() }),
        Just(RuleKind::EmsManagement {}),
        Just(RuleKind::VulnerableDevices { severity: Severity::High, scanned_within_days: None }),
        Just(RuleKind::Certificate { subject: None, issuer: None }),
        Just(RuleKind::SandboxDetection { within_days: None }),
        any_details(),
        text().prop_map(|name| RuleKind::RunningProcess { name }),
        text().prop_map(|name| RuleKind::Unsupported { name, parameters: serde_json::Map::new() }),
        (text(), prop::option::of(text())).prop_map(|(system, version)| RuleKind::OsVersion {
            system,
            comparison: crate::rules::Comparison::Newer,
            version,
            updated_within_days: None,
        }),
    ]
}

/// Rules of the other types, as administrators could write them.
fn any_details() -> impl Strategy<Value = RuleKind> {
    let json = prop::sample::select(vec![
        r#"{"id":1,"type":"registry-key","path":"HKLM\\A","value":{"name":"v","value":"1"}}"#,
        r#"{"id":1,"type":"on-fabric-status","detection":{"dns_servers":["10.0.0.0/8"],"ems_connected":true}}"#,
        r#"{"id":1,"type":"on-fabric-status","detection":{}}"#,
        r#"{"id":1,"type":"fct-version","comparison":">=","version":"0.1"}"#,
        r#"{"id":1,"type":"windows-security","features":["defender"]}"#,
        r#"{"id":1,"type":"windows-security","features":[]}"#,
        r#"{"id":1,"type":"security"}"#,
        r#"{"id":1,"type":"security-status","require":["firewall","antivirus","secure-boot"]}"#,
        r#"{"id":1,"type":"ad-groups","groups":["staff"]}"#,
        r#"{"id":1,"type":"logged-in-domain","domain":"example.com"}"#,
        r#"{"id":1,"type":"user-identity","service":"Google"}"#,
        r#"{"id":1,"type":"crowdstrike-zta-score","comparison":">","score":50}"#,
    ]);
    json.prop_map(|json| serde_json::from_str::<Rule>(json).unwrap().kind)
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec((0_u32..6, any::<bool>(), any_kind()), 0..6)
        .prop_map(|rules| rules.into_iter().map(|(id, negated, kind)| Rule { id, negated, kind }).collect())
}

fn any_logic() -> impl Strategy<Value = Logic> {
    let leaf = (0_u32..8).prop_map(|id| Logic::Rule { id });
    leaf.prop_recursive(6, 40, 4, |part| {
        (any::<bool>(), prop::collection::vec(part, 0..4))
            .prop_map(|(all, rules)| Logic::Group { op: if all { Operator::And } else { Operator::Or }, rules })
    })
}

/// The meaning of a tree, told as plainly as possible.
fn meaning(logic: &Logic, system: &SystemRules, facts: &Facts) -> Truth {
    match logic {
        // Of two rules with one number the later one counts; validation names the mistake.
        Logic::Rule { id } => match system.rules.iter().rev().find(|rule| rule.id == *id) {
            Some(rule) => judge(rule, &Index::new(facts), 0).truth,
            None => Truth::Unknown,
        },
        Logic::Group { rules, .. } if rules.is_empty() => Truth::Unknown,
        Logic::Group { op: Operator::And, rules } => {
            rules.iter().map(|part| meaning(part, system, facts)).fold(Truth::True, Truth::and)
        }
        Logic::Group { op: Operator::Or, rules } => {
            rules.iter().map(|part| meaning(part, system, facts)).fold(Truth::False, Truth::or)
        }
    }
}

proptest! {
    #[test]
    fn evaluation_never_panics_and_means_what_the_tree_says(
        facts in any_facts(),
        rules in any_rules(),
        logic in prop::option::of(any_logic()),
    ) {
        let system = SystemRules { rules, logic };
        let set = TaggingRuleSet {
            name: "n".to_owned(),
            tag: TagName::new("t"),
            systems: [(OsFamily::Linux, system.clone())].into(),
        };
        let state = evaluate_set(&set, &facts, 0);
        if let Some(logic) = &system.logic {
            prop_assert_eq!(state.presence, Presence::from(meaning(logic, &system, &facts)));
        }
        prop_assert!(!state.because.is_empty());
        prop_assert!(!explain(&set, &facts, 0).is_empty());
        let text = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(serde_json::from_str::<TaggingRuleSet>(&text).unwrap(), set);
    }

    #[test]
    fn learning_a_fact_never_turns_a_known_tag_round(
        facts in any_facts(),
        rules in any_rules(),
        logic in any_logic(),
    ) {
        let system = SystemRules { rules, logic: Some(logic) };
        let set = TaggingRuleSet {
            name: "n".to_owned(),
            tag: TagName::new("t"),
            systems: [(OsFamily::Linux, system)].into(),
        };
        let before = evaluate_set(&set, &facts, 0).presence;
        for state in [FileState::Present, FileState::Missing] {
            let mut learned = facts.clone();
            for path in ["/a", "/b", "/c"] {
                if learned.files.get(path).is_none_or(|fact| fact.value().is_none()) {
                    learned.files.insert(path.to_owned(), Fact::known(state, "", 0));
                }
            }
            let after = evaluate_set(&set, &learned, 0).presence;
            if before != Presence::Unknown {
                prop_assert_eq!(after, before);
            }
        }
    }
}
