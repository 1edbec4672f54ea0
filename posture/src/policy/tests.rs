use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn state(presence: Presence) -> TagState {
    TagState {
        presence,
        because: format!("the fact behind {presence}"),
        next: "the next step".to_owned(),
        rule: Some(DecidingRule { set: "s".to_owned(), rule: "rule 1, file /x".to_owned() }),
    }
}

fn table(tags: &[(&str, Presence)]) -> TagTable {
    let tags = tags.iter().map(|(name, presence)| (TagName::new(*name), state(*presence)));
    TagTable { tags: tags.collect(), settled_unix: 100 }
}

fn known(tags: &[(&str, Presence)]) -> TagKnowledge {
    TagKnowledge::Known(table(tags))
}

fn names(tags: &[&str]) -> Vec<TagName> {
    tags.iter().map(|tag| TagName::new(*tag)).collect()
}

fn policy(prohibited: &[&str], allowed: &[&str]) -> TagPolicy {
    TagPolicy {
        enforcement: Enforcement::Enforce,
        prohibited: names(prohibited),
        allowed: names(allowed),
        warning: Some("Call the help desk.".to_owned()),
    }
}

fn refusal(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refuse(refusal) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

use Presence::{Absent, Present, Unknown};

#[test]
fn row_1_enforcement_off_passes_whatever_is_known() {
    let off = TagPolicy { enforcement: Enforcement::Off, ..policy(&["Bad"], &["Good"]) };
    let switched_off = Verdict::NotEnforced(NotEnforced::SwitchedOff);
    assert_eq!(verdict(&off, &known(&[("Bad", Present)])), switched_off);
    assert_eq!(verdict(&off, &TagKnowledge::unusable(Flaw::Missing, "", None)), switched_off);
}

#[test]
fn row_1_a_policy_that_names_no_tag_passes() {
    let nothing_named = Verdict::NotEnforced(NotEnforced::NoTagNamed);
    assert_eq!(verdict(&policy(&[], &[]), &TagKnowledge::unusable(Flaw::Missing, "", None)), nothing_named);
    assert_eq!(verdict(&policy(&[" "], &[""]), &known(&[])), nothing_named, "blank names name nothing");
}

#[test]
fn row_2_unusable_knowledge_refuses_and_says_since_when_and_why() {
    for flaw in [Flaw::Missing, Flaw::Expired, Flaw::Foreign, Flaw::RolledBack, Flaw::ClockTurnedBack, Flaw::Forged] {
        let knowledge = TagKnowledge::unusable(flaw, "counter 3 after 5", Some(77));
        for policy in [policy(&["Bad"], &[]), policy(&[], &["Good"])] {
            let refusal = refusal(verdict(&policy, &knowledge));
            assert_eq!(refusal.reason, Reason::TagsUnknown { tag: None, flaw: Some(flaw), since_unix: Some(77) });
            assert_eq!(refusal.evidence, format!("{flaw}: counter 3 after 5"));
            assert!(!refusal.next.is_empty());
        }
    }
}

#[test]
fn row_3_a_prohibited_tag_that_is_present_refuses_with_tag_rule_and_fact() {
    let refusal = refusal(verdict(&policy(&["bad "], &["Good"]), &known(&[("Bad", Present), ("Good", Present)])));
    let rule = state(Present).rule;
    assert_eq!(refusal.reason, Reason::ProhibitedTagPresent { tag: TagName::new("bad"), rule });
    assert_eq!(refusal.evidence, "the fact behind present");
    assert_eq!((refusal.next.as_str(), refusal.warning.as_str()), ("the next step", "Call the help desk."));
}

#[test]
fn row_3_comes_before_row_4() {
    let refusal = refusal(verdict(&policy(&["Dim", "Bad"], &[]), &known(&[("Dim", Unknown), ("Bad", Present)])));
    assert!(matches!(refusal.reason, Reason::ProhibitedTagPresent { tag, .. } if tag == TagName::new("Bad")));
}

#[test]
fn row_4_a_prohibited_tag_that_is_unknown_refuses_and_names_what_would_settle_it() {
    let refusal = refusal(verdict(&policy(&["Dim"], &["Good"]), &known(&[("Dim", Unknown), ("Good", Present)])));
    let tag = Some(TagName::new("Dim"));
    assert_eq!(refusal.reason, Reason::TagsUnknown { tag, flaw: None, since_unix: Some(100) });
    assert_eq!(refusal.evidence, "tag \"Dim\" is unknown: the fact behind unknown");
    assert_eq!(refusal.next, "the next step");
}

#[test]
fn row_4_a_prohibited_tag_that_nobody_defined_is_unknown_and_not_absent() {
    let refusal =
        refusal(verdict(&policy(&["Critcal Vulnerability"], &[]), &known(&[("Critical Vulnerability", Absent)])));
    assert!(matches!(refusal.reason, Reason::TagsUnknown { tag: Some(_), .. }));
    assert_eq!(refusal.next, "ask the administrator whether the tag's name is right");
}

#[test]
fn row_5_nothing_allowed_named_and_nothing_prohibited_present_passes() {
    assert_eq!(verdict(&policy(&["Bad"], &[]), &known(&[("Bad", Absent)])), Verdict::Pass);
}

#[test]
fn row_5_one_allowed_tag_suffices() {
    let knowledge = known(&[("Bad", Absent), ("A", Absent), ("B", Present), ("C", Unknown)]);
    assert_eq!(verdict(&policy(&["Bad"], &["A", "b", "C"]), &knowledge), Verdict::Pass);
    assert_eq!(verdict(&policy(&[], &["B"]), &knowledge), Verdict::Pass);
}

#[test]
fn row_6_without_an_allowed_tag_refuses_and_says_why_each_is_missing() {
    let refusal = refusal(verdict(&policy(&[], &["A", "C"]), &known(&[("A", Absent), ("C", Unknown)])));
    assert_eq!(refusal.reason, Reason::AllowedTagMissing { wanted: names(&["A", "C"]) });
    assert_eq!(
        refusal.evidence,
        "tag \"A\" is absent: the fact behind absent; tag \"C\" is unknown: the fact behind unknown"
    );
}

#[test]
fn audit_judges_the_same_and_passes_with_a_warning() {
    let audit = TagPolicy { enforcement: Enforcement::Audit, ..policy(&["Bad"], &[]) };
    let enforced = refusal(verdict(&policy(&["Bad"], &[]), &known(&[("Bad", Present)])));
    let audited = verdict(&audit, &known(&[("Bad", Present)]));
    assert_eq!(audited, Verdict::PassWithWarning(enforced.clone()));
    assert!(audited.admits());
    assert_eq!(audited.refusal(), Some(&enforced));
    assert_eq!(verdict(&audit, &known(&[("Bad", Absent)])), Verdict::Pass);
}

#[test]
fn without_words_of_the_administrator_the_default_is_shown() {
    for warning in [None, Some(String::new()), Some(" \n".to_owned())] {
        let policy = TagPolicy { warning, ..policy(&["Bad"], &[]) };
        let refusal = refusal(verdict(&policy, &known(&[("Bad", Present)])));
        assert_eq!(refusal.warning, "VPN blocked, please contact IT administrator");
    }
    let long = TagPolicy { warning: Some("ü".repeat(10_000)), ..TagPolicy::default() };
    assert_eq!(long.warning_text().chars().count(), WARNING_LIMIT);
}

#[test]
fn of_snapshot_and_live_evaluation_the_stricter_counts() {
    let policy = policy(&["Bad"], &["Good"]);
    let fit = known(&[("Bad", Absent), ("Good", Present)]);
    let unfit = known(&[("Bad", Present), ("Good", Present)]);
    let missing = TagKnowledge::unusable(Flaw::Expired, "", None);
    assert_eq!(verdict_of_both(&policy, &fit, &fit), Verdict::Pass);
    for (snapshot, live) in [(&fit, &unfit), (&unfit, &fit), (&fit, &missing), (&missing, &fit)] {
        assert!(!verdict_of_both(&policy, snapshot, live).admits());
    }
    let both = refusal(verdict_of_both(&policy, &unfit, &missing));
    assert!(matches!(both.reason, Reason::ProhibitedTagPresent { .. }), "the snapshot's when both refuse");
}

#[test]
fn a_live_evaluation_lies_over_the_snapshot_and_leaves_what_only_ems_knows() {
    let snapshot = table(&[("Rule", Absent), ("Manual", Present)]);
    let live = BTreeMap::from([(TagName::new("RULE"), state(Present)), (TagName::new("New"), state(Unknown))]);
    let laid = overlay(&snapshot, &live, None, 200);
    assert_eq!(laid.state(&TagName::new("rule")).presence, Present);
    assert_eq!(laid.state(&TagName::new("Manual")).presence, Present);
    assert_eq!(laid.state(&TagName::new("New")).presence, Unknown);
    assert_eq!((laid.tags.len(), laid.settled_unix), (3, 200));
    assert!(laid.tags.keys().any(|tag| tag.as_str() == "RULE"), "the spelling is the newer one");
}

#[test]
fn when_the_grace_is_over_what_only_ems_knows_is_unknown() {
    let snapshot = table(&[("Rule", Absent), ("Manual", Present)]);
    let live = BTreeMap::from([(TagName::new("Rule"), state(Absent))]);
    let laid = overlay(&snapshot, &live, Some("EMS has been out of reach for 25 h"), 200);
    assert_eq!(laid.state(&TagName::new("Rule")).presence, Absent);
    let manual = laid.state(&TagName::new("Manual"));
    assert_eq!(manual.presence, Unknown);
    assert_eq!(manual.because, "only EMS can tell, and EMS has been out of reach for 25 h");
}

#[test]
fn policies_and_verdicts_survive_serialisation() {
    let text = r#"{"enforcement":"enforce","prohibited":["Critical Vulnerability"]}"#;
    let policy: TagPolicy = serde_json::from_str(text).unwrap();
    assert_eq!(policy.prohibited, names(&["critical vulnerability"]));
    for verdict in [
        verdict(&policy, &known(&[("Critical Vulnerability", Present)])),
        verdict(&policy, &known(&[("Critical Vulnerability", Absent)])),
        verdict(&policy, &TagKnowledge::unusable(Flaw::Foreign, "", None)),
        verdict(&TagPolicy::default(), &known(&[])),
    ] {
        let text = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict, "{text}");
    }
}

const TAGS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn any_names() -> impl Strategy<Value = Vec<TagName>> {
    prop::collection::vec(prop::sample::select(TAGS.to_vec()), 0..4)
        .prop_map(|tags| tags.into_iter().map(TagName::from).collect())
}

fn any_policy() -> impl Strategy<Value = TagPolicy> {
    let enforcement = prop::sample::select(vec![Enforcement::Off, Enforcement::Audit, Enforcement::Enforce]);
    (enforcement, any_names(), any_names()).prop_map(|(enforcement, prohibited, allowed)| TagPolicy {
        enforcement,
        prohibited,
        allowed,
        warning: None,
    })
}

fn any_knowledge() -> impl Strategy<Value = TagKnowledge> {
    let presence = prop::option::of(prop::sample::select(vec![Present, Absent, Unknown]));
    let table = prop::collection::vec(presence, TAGS.len()).prop_map(|presences| {
        let tags =
            TAGS.iter().zip(presences).filter_map(|(tag, presence)| Some((TagName::from(*tag), state(presence?))));
        TagKnowledge::known(tags.collect(), 100)
    });
    prop_oneof![9 => table, 1 => Just(TagKnowledge::unusable(Flaw::Missing, "", None))]
}

proptest! {
    #[test]
    fn prohibiting_one_tag_more_never_turns_a_refusal_into_a_pass(
        policy in any_policy(),
        knowledge in any_knowledge(),
        tag in prop::sample::select(TAGS.to_vec()),
    ) {
        let before = verdict(&policy, &knowledge);
        let mut stricter = policy.clone();
        stricter.prohibited.push(TagName::from(tag));
        let after = verdict(&stricter, &knowledge);
        prop_assert!(after.strictness() >= before.strictness(), "{:?} then {:?}", before, after);
    }

    #[test]
    fn allowing_one_tag_more_never_turns_a_pass_into_a_refusal_once_one_was_demanded(
        policy in any_policy(),
        knowledge in any_knowledge(),
        tag in prop::sample::select(TAGS.to_vec()),
    ) {
        prop_assume!(!policy.allowed.is_empty());
        let mut milder = policy.clone();
        milder.allowed.push(TagName::from(tag));
        if verdict(&policy, &knowledge).admits() {
            prop_assert!(verdict(&milder, &knowledge).admits());
        }
    }

    #[test]
    fn two_judgements_admit_only_what_both_admit(
        policy in any_policy(),
        snapshot in any_knowledge(),
        live in any_knowledge(),
    ) {
        let both = verdict_of_both(&policy, &snapshot, &live).admits();
        prop_assert_eq!(both, verdict(&policy, &snapshot).admits() && verdict(&policy, &live).admits());
    }

    #[test]
    fn nothing_that_is_unknown_passes_where_it_is_prohibited(policy in any_policy(), knowledge in any_knowledge()) {
        if let (Verdict::Pass, TagKnowledge::Known(table)) = (verdict(&policy, &knowledge), &knowledge) {
            for tag in &policy.prohibited {
                prop_assert_eq!(table.state(tag).presence, Absent);
            }
        }
    }
}
