use super::*;
use posture::ems::protocol::{EmsId, Profile, RuleDocument, SnapshotTag, TagOrigin};
use posture::ems::signed::{Binding, Content, Document, Fingerprint, Floor, Signed, Verifier};
use posture::facts::{FileState, OsFamily};
use posture::rules::{Presence, TagState};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::sync::Arc;
use std::time::Duration;

const NOW: u64 = 1_800_000_000;
const GRACE: u64 = 600;

/// Signs as EMS does, and verifies as the endpoint does.
fn verified<T: Content>(content: T, issued_unix: u64, expires_unix: u64) -> Option<Arc<Verified<T>>> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let endpoint = Fingerprint([1; 32]);
    let ems = EmsId("ems".into());
    let binding =
        Binding { kind: T::KIND, ems: ems.clone(), endpoint, policy_version: 1, counter: 1, issued_unix, expires_unix };
    let body = serde_json::to_vec(&Document { binding, content }).unwrap();
    let signature = key.sign(&Signed::message(&body)).as_ref().to_vec();
    let public = key.public_key().as_ref().try_into().unwrap();
    let verifier = Verifier::new(ems, public, endpoint);
    Some(Arc::new(verifier.verify(&Signed { body, signature }, &Floor::default(), issued_unix).unwrap()))
}

fn rules() -> Vec<TaggingRuleSet> {
    serde_json::from_str(&format!(
        r#"[{{"name":"marked","tag":"Marked","systems":{{"{}":{{"rules":[{{"id":1,"type":"file","path":"/marked"}}]}}}}}}]"#,
        OsFamily::of_this_build()
    ))
    .unwrap()
}

fn tag(name: &str, origin: TagOrigin, presence: Presence) -> SnapshotTag {
    SnapshotTag { name: name.into(), origin, state: TagState::without_rule(presence, "EMS says so") }
}

/// An enrolled endpoint: EMS says how `Marked` (a rule's tag) and `Trusted` (a person's) stand,
/// the file behind `Marked` is there or not.
fn view(snapshot: Presence, file: FileState) -> View {
    let tags = TagSnapshot {
        report_sequence: 1,
        tags: vec![tag("Marked", TagOrigin::Rules, snapshot), tag("Trusted", TagOrigin::Manual, Presence::Present)],
        ..TagSnapshot::default()
    };
    let knowledge = Knowledge {
        profile: verified(Profile::default(), NOW, NOW + 86_400),
        rules: verified(RuleDocument { rule_sets: rules() }, NOW, NOW + 86_400),
        tags: verified(tags, NOW, NOW + 86_400),
        ..Knowledge::default()
    };
    let ems = EmsView {
        name: "EMS".into(),
        knowledge,
        telemetry: TelemetryState::Up { push: true },
        confirmed_unix: NOW,
        confirmed: None,
        decreed: Decreed::default(),
    };
    let mut view = View { ems: Some(ems), ..View::default() };
    view.take_facts(facts(file), NOW);
    view
}

fn facts(file: FileState) -> Facts {
    let mut facts = Facts { family: OsFamily::of_this_build(), ..Facts::default() };
    facts.files.insert("/marked".into(), Fact::known(file, "/marked", NOW));
    facts
}

fn entry(tags: &str) -> Entry {
    let text = format!("gateway = \"g\"\noffline_grace = {GRACE}\n[tags]\n{tags}");
    let tunnel = crate::profile::document::parse(std::path::Path::new("t.toml"), &text).unwrap();
    Entry { tunnel, origin: Origin::Managed, shadows: None, owner: None }
}

fn down(mut view: View) -> View {
    let ems = view.ems.as_mut().unwrap();
    ems.telemetry = TelemetryState::Down { because: "test".into(), not_trusted: false };
    view
}

/// Returns the fault's name, or none where the tunnel may be used.
fn refused(view: &View, tags: &str, now: u64) -> Option<FaultName> {
    match view.standing("t", &entry(tags), now) {
        PostureStanding::Refused { fault } => Some(fault.name),
        _ => None,
    }
}

const PROHIBITED: &str = "prohibited = [\"marked \"]";
const TRUSTED: &str = "allowed = [\"trusted\"]";

#[test]
fn without_an_enrolment_nothing_is_known_and_unknown_is_not_good() {
    let mut view = View::default();
    view.take_facts(facts(FileState::Missing), NOW);
    assert_eq!(refused(&view, PROHIBITED, NOW), Some(FaultName::TagsUnknown));
    assert_eq!(view.standing("t", &entry(""), NOW), PostureStanding::NotEnforced);
}

#[test]
fn while_ems_is_there_the_stricter_of_snapshot_and_live_facts_counts() {
    use FileState::{Missing, Present as There};
    use Presence::{Absent, Present};
    let cases =
        [(Absent, Missing, None), (Present, Missing, Some(())), (Absent, There, Some(())), (Present, There, Some(()))];
    for (snapshot, file, refusal) in cases {
        let expected = refusal.map(|()| FaultName::HostCheckFailed);
        assert_eq!(refused(&view(snapshot, file), PROHIBITED, NOW), expected, "{snapshot} {file:?}");
    }
}

#[test]
fn while_ems_is_away_its_rules_on_live_facts_decide() {
    let healed = down(view(Presence::Present, FileState::Missing));
    assert_eq!(refused(&healed, PROHIBITED, NOW), None);
    let marked = down(view(Presence::Absent, FileState::Present));
    assert_eq!(refused(&marked, PROHIBITED, NOW), Some(FaultName::HostCheckFailed));
}

#[test]
fn a_tag_that_only_ems_knows_keeps_its_value_for_the_grace_and_no_longer() {
    let away = down(view(Presence::Absent, FileState::Missing));
    assert_eq!(refused(&away, TRUSTED, NOW + GRACE), None);
    assert_eq!(refused(&away, TRUSTED, NOW + GRACE + 1), Some(FaultName::HostCheckFailed));
    let prohibited = "prohibited = [\"trusted\"]";
    assert_eq!(refused(&away, prohibited, NOW + GRACE + 1), Some(FaultName::TagsUnknown));
    assert_eq!(refused(&away, PROHIBITED, NOW + GRACE + 1), None, "a rule's tag does not lapse");
}

#[test]
fn a_snapshot_whose_time_is_over_is_no_knowledge() {
    let view = view(Presence::Absent, FileState::Missing);
    assert_eq!(refused(&view, PROHIBITED, NOW + 86_399), None);
    assert_eq!(refused(&view, PROHIBITED, NOW + 86_400), Some(FaultName::TagsUnknown));
}

#[test]
fn a_clock_before_the_snapshot_was_made_is_not_believed() {
    let view = view(Presence::Absent, FileState::Missing);
    assert_eq!(refused(&view, PROHIBITED, NOW - 86_400), Some(FaultName::TagsUnknown));
}

#[test]
fn a_refused_document_is_named() {
    let mut view = view(Presence::Absent, FileState::Missing);
    let ems = view.ems.as_mut().unwrap();
    ems.knowledge.tags = None;
    ems.knowledge.refusals = vec![(DocumentKind::Tags, posture::ems::signed::Refusal::SignatureInvalid)];
    let PostureStanding::Refused { fault } = view.standing("t", &entry(PROHIBITED), NOW) else { panic!("it passed") };
    assert!(fault.to_string().contains("not signed by EMS"), "{fault}");
}

#[test]
fn quarantine_refuses_every_tunnel_in_the_administrators_words_until_its_code_ends_it() {
    let mut view = view(Presence::Absent, FileState::Missing);
    let ems = view.ems.as_mut().unwrap();
    let message = Some("Stay \u{1b}[2J<b>away</b>".to_owned());
    ems.knowledge.quarantine = Some(Quarantine { id: "q1".into(), message: message.clone(), release: None });
    // Not even a tunnel that asks for no tag, and no break-glass code, gets past it.
    ems.decreed.break_glass = BreakGlassUse { number: 1, began_unix: NOW, until_unix: NOW + 60 };
    let PostureStanding::Refused { fault } = view.standing("t", &entry(""), NOW) else { panic!("it passed") };
    assert_eq!((fault.name, fault.exit_code()), (FaultName::Quarantined, 17));
    assert_eq!(fault.warning.as_ref().map(postern_api::PlainText::as_received), message.as_deref());
    assert_eq!(view.report(&[], NOW).decrees.quarantine, message.map(Into::into));
    let ems = view.ems.as_mut().unwrap();
    ems.decreed.released = Some("q1".into());
    assert_eq!(refused(&view, "", NOW), None);
    // The code ended that quarantine, and not the next.
    view.ems.as_mut().unwrap().knowledge.quarantine.as_mut().unwrap().id = "q2".into();
    assert_eq!(refused(&view, "", NOW), Some(FaultName::Quarantined));
}

#[test]
fn a_break_glass_code_lets_pass_what_the_host_check_refuses_and_says_so() {
    let mut view = view(Presence::Present, FileState::Present);
    assert_eq!(refused(&view, PROHIBITED, NOW), Some(FaultName::HostCheckFailed));
    view.ems.as_mut().unwrap().decreed.break_glass = BreakGlassUse { number: 4, began_unix: NOW, until_unix: NOW + 60 };
    let PostureStanding::Overridden { would_be, until } = view.standing("t", &entry(PROHIBITED), NOW) else {
        panic!("it is not overridden")
    };
    assert_eq!((would_be.name, until.as_str()), (FaultName::HostCheckFailed, "2027-01-15T08:01:00Z"));
    assert_eq!(view.report(&[], NOW).decrees.break_glass.unwrap().number, 4);
    assert_eq!(refused(&view, PROHIBITED, NOW + 60), Some(FaultName::HostCheckFailed));
    // A twin of a managed gateway is no matter of posture.
    let twin = Entry { origin: Origin::Local, shadows: Some("RA-VPN".into()), ..entry("") };
    assert!(matches!(view.standing("twin", &twin, NOW), PostureStanding::Refused { .. }));
}

#[test]
fn a_deregistered_endpoint_says_so_where_tags_are_wanted() {
    let mut view = view(Presence::Absent, FileState::Missing);
    let ems = view.ems.as_mut().unwrap();
    (ems.knowledge, ems.decreed.deregistered) = (Knowledge::default(), true);
    let PostureStanding::Refused { fault } = view.standing("t", &entry(PROHIBITED), NOW) else { panic!("it passed") };
    assert!(fault.to_string().contains("EMS has deregistered this endpoint"), "{fault}");
    assert!(view.report(&[], NOW).decrees.deregistered);
}

#[test]
fn unknown_tags_are_told_from_bad_ones() {
    let cases = [
        (Presence::Unknown, FileState::Missing, PROHIBITED, true),
        (Presence::Unknown, FileState::Present, PROHIBITED, false),
        (Presence::Present, FileState::Missing, PROHIBITED, false),
        (Presence::Absent, FileState::Missing, "prohibited = [\"nobody defined it\"]", true),
        (Presence::Absent, FileState::Missing, "allowed = [\"nobody defined it\"]", true),
        (Presence::Absent, FileState::Missing, "allowed = [\"marked\"]", false),
    ];
    for (snapshot, file, tags, lacking) in cases {
        let view = view(snapshot, file);
        assert!(refused(&view, tags, NOW).is_some(), "{tags}");
        assert_eq!(view.lacks_only_knowledge(&entry(tags), NOW), lacking, "{snapshot} {file:?} {tags}");
    }
    assert!(!View::default().lacks_only_knowledge(&entry(PROHIBITED), NOW), "no knowledge at all is another matter");
}

#[test]
fn what_counts_as_away_is_measured_by_a_clock_that_nobody_sets() {
    let mut away = down(view(Presence::Absent, FileState::Missing));
    away.ems.as_mut().unwrap().confirmed = Some(Timestamp::ZERO + Duration::from_secs(50));
    for (passed, set_back, refusal) in
        [(GRACE, 0, None), (GRACE, 200, None), (GRACE + 1, 200, Some(())), (GRACE + 1, 0, Some(()))]
    {
        away.uptime = Timestamp::ZERO + Duration::from_secs(50 + passed);
        let expected = refusal.map(|()| FaultName::HostCheckFailed);
        assert_eq!(refused(&away, TRUSTED, NOW + passed - set_back), expected, "{passed} {set_back}");
    }
}

#[test]
fn a_local_tunnel_brings_its_own_rules() {
    let tags = format!(
        "source = \"local\"\n{PROHIBITED}\n[[tags.rules]]\nname = \"n\"\ntag = \"Marked\"\n[tags.rules.systems.{}]\n\
         rules = [{{ id = 1, type = \"file\", path = \"/marked\" }}]",
        OsFamily::of_this_build()
    );
    let entry = Entry { origin: Origin::Local, ..entry(&tags) };
    let mut view = View::default();
    for (file, passes) in [(FileState::Missing, true), (FileState::Present, false)] {
        view.take_facts(facts(file), NOW);
        assert_eq!(view.standing("t", &entry, NOW) == PostureStanding::Compliant, passes, "{file:?}");
    }
    assert!(view.asked([&entry.tunnel].into_iter()).files.contains("/marked"));
}

#[test]
fn a_local_twin_of_a_managed_gateway_is_refused_before_its_tags_are_asked() {
    let twin = Entry { origin: Origin::Local, shadows: Some("RA-VPN".into()), ..entry("") };
    let view = view(Presence::Absent, FileState::Missing);
    let PostureStanding::Refused { fault } = view.standing("twin", &twin, NOW) else { panic!("it passed") };
    assert_eq!((fault.name, fault.exit_code()), (FaultName::NotPermitted, 11));
    assert!(fault.to_string().contains("RA-VPN"), "{fault}");
}

#[test]
fn the_report_counts_the_grace_down() {
    let away = down(view(Presence::Absent, FileState::Missing));
    let report = away.report(&[], NOW + 100);
    assert_eq!((report.source, report.grace_seconds), (postern_api::posture::TagSource::Cached, Some(86_300)));
    assert_eq!(report.tags.len(), 2);
    let never = away.fact_lines(NOW).into_iter().find(|fact| fact.area == "vulnerabilities").unwrap();
    assert_eq!(never.unknown_because, Some("never scanned".into()));
}
