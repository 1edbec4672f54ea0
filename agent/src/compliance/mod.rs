//! Posture towards the tunnels: what is known, who decides, how each tunnel stands.
//!
//! [`View`] is the whole of it as a value: the endpoint's facts, EMS's signed word, whether
//! telemetry is up. [`View::standing`] judges one tunnel; the service asks it before the first
//! packet and again on every trigger of the loop: a push from EMS, a changed fact, a changed
//! policy, a wake-up ([`clock`]), the end of a snapshot's time, the tick.
//!
//! | source of a tunnel's tags | telemetry | judged by |
//! |---|---|---|
//! | EMS | up | the signed snapshot, and its rules on live facts: the stricter counts |
//! | EMS | down | its cached rules on live facts; tags only EMS knows keep their value for the grace |
//! | the tunnel's own rules | | those rules on live facts |
//!
//! Nothing here touches the system, a socket or a clock.

pub mod clock;
mod explain;
pub mod report;

use crate::fault;
use crate::profile::tags::TagRuleSource;
use crate::profile::{Entry, Tunnel};
use ike_client::Timestamp;
use postern_api::fault::{Fault, FaultName};
use postern_api::posture::BreakGlass;
use postern_api::state::{Origin, PostureStanding};
use posture::collect::Glimpse;
use posture::ems::protocol::{DocumentKind, FactsObject, Quarantine, TagSnapshot, facts_for_ems};
use posture::ems::signed::{CLOCK_TOLERANCE_SECONDS, Verified};
use posture::ems::{BreakGlassUse, Knowledge, TelemetryState};
use posture::facts::{EmsConnection, Fact, Facts};
use posture::policy::{self, Enforcement, Flaw, TagKnowledge, TagPolicy, TagTable, Verdict, overlay};
use posture::rules::{Asked, Presence, TagName, TagState, TaggingRuleSet, evaluate};
use posture::vulnerability::ScanResult;
use std::collections::BTreeMap;

/// Everything by which posture is judged.
#[derive(Debug, Default)]
pub struct View {
    /// The endpoint's facts; none before they were gathered for the first time.
    pub facts: Option<Facts>,
    /// The last scan, or why its result no longer counts.
    pub scan: Option<Result<ScanResult, String>>,
    /// How old the advisories behind a scan may be; none where nobody asks.
    pub advisories_limit: Option<std::time::Duration>,
    /// The enrolment; none where there is none.
    pub ems: Option<EmsView>,
    /// The moment of the judgement, on the clock that goes on in sleep and that nobody can set.
    pub uptime: Timestamp,
}

/// EMS as this endpoint knows it.
#[derive(Debug)]
pub struct EmsView {
    /// Its name.
    pub name: String,
    /// What it said last.
    pub knowledge: Knowledge,
    /// Whether it is being talked to.
    pub telemetry: TelemetryState,
    /// When it last confirmed what it said, seconds since 1970: for what an earlier run has heard.
    pub confirmed_unix: u64,
    /// When it did so in this run; what counts then.
    pub confirmed: Option<Timestamp>,
    /// What was decreed here.
    pub decreed: Decreed,
}

impl EmsView {
    /// Returns for how many seconds nobody has heard of it.
    fn away(&self, now_unix: u64, uptime: Timestamp) -> u64 {
        match self.confirmed {
            Some(confirmed) => uptime.saturating_since(confirmed).as_secs(),
            None => now_unix.saturating_sub(self.confirmed_unix),
        }
    }
}

/// What codes of EMS did at this endpoint, and whether EMS still knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decreed {
    /// The quarantine that was ended here by its code.
    pub released: Option<String>,
    /// The break-glass code that was used last.
    pub break_glass: BreakGlassUse,
    /// Whether EMS no longer knows this endpoint.
    pub deregistered: bool,
}

impl View {
    /// Returns what rules ask of the system.
    pub fn asked<'a>(&self, tunnels: impl Iterator<Item = &'a Tunnel>) -> Asked {
        let family = posture::facts::OsFamily::of_this_build();
        let mut asked = Asked::by(self.ems_rules(), family);
        tunnels.for_each(|tunnel| asked.extend(Asked::by(&tunnel.tags.rules, family)));
        asked
    }

    /// Returns what EMS is told of the endpoint; none before the facts were gathered.
    pub fn for_ems(&self) -> Option<FactsObject> {
        let asked = Asked::by(self.ems_rules(), posture::facts::OsFamily::of_this_build());
        self.facts.as_ref().map(|facts| facts_for_ems(facts, &asked))
    }

    /// Takes facts that were gathered, and adds what the system cannot show: EMS and the scan.
    pub fn take_facts(&mut self, mut facts: Facts, now_unix: u64) {
        self.complete(&mut facts, now_unix);
        self.facts = Some(facts);
    }

    /// Takes what was seen first of a look that is under way; tells whether that is anything new. Before
    /// everything was looked at once, it is nothing to judge by.
    pub fn take_glimpse(&mut self, glimpse: Glimpse) -> bool {
        let Some(facts) = &mut self.facts else { return false };
        let Glimpse { files, processes } = glimpse;
        let same_files = facts.files.len() == files.len()
            && facts
                .files
                .iter()
                .zip(&files)
                .all(|((old, fact), (new, other))| old == new && fact.tells_the_same(other));
        let same = same_files && facts.processes.tells_the_same(&processes);
        (facts.files, facts.processes) = (files, processes);
        !same
    }

    /// Brings the facts up to what is known of EMS and the scan now.
    pub fn refresh(&mut self, now_unix: u64) {
        if let Some(mut facts) = self.facts.take() {
            self.complete(&mut facts, now_unix);
            self.facts = Some(facts);
        }
    }

    fn complete(&self, facts: &mut Facts, now_unix: u64) {
        let connection = EmsConnection {
            enrolled: self.ems.is_some(),
            telemetry_connected: self.ems.as_ref().is_some_and(|ems| ems.telemetry.is_up()),
            name: self.ems.as_ref().map(|ems| ems.name.clone()),
        };
        facts.ems = Fact::known(connection, "telemetry", now_unix);
        facts.supplied = match self.snapshot() {
            Some(snapshot) => Fact::known(snapshot.content().supplied.clone(), "EMS", snapshot.binding().issued_unix),
            None => Fact::unknown("EMS has told nothing", "EMS", now_unix),
        };
        facts.vulnerabilities = match &self.scan {
            None => posture::facts::never_scanned(),
            Some(Ok(result)) => match self.advisories_limit.and_then(|limit| result.outdated(now_unix, limit)) {
                None => Fact::known(result.clone(), "vulnerability scan", result.finished_unix),
                Some(why) => Fact::unknown(why, "vulnerability scan", result.finished_unix),
            },
            Some(Err(why)) => Fact::unknown(why.as_str(), "vulnerability scan", now_unix),
        };
    }

    /// Judges a tunnel.
    pub fn standing(&self, name: &str, entry: &Entry, now_unix: u64) -> PostureStanding {
        if let Some(managed) = &entry.shadows {
            let detail = format!("leads to the gateway of the managed tunnel {managed}");
            let fault = Fault::new(FaultName::NotPermitted, name, detail, format!("postern connect {managed}"));
            return PostureStanding::Refused { fault: Box::new(fault) };
        }
        if let Some(quarantine) = self.quarantine() {
            let own = || entry.tunnel.tags.policy().warning_text().to_owned();
            let mut fault = fault::of_quarantine(quarantine);
            fault.subject = name.into();
            fault.warning = Some(quarantine.message.clone().unwrap_or_else(own).into());
            return PostureStanding::Refused { fault: Box::new(fault) };
        }
        match self.verdict(entry, now_unix) {
            Verdict::NotEnforced(_) => PostureStanding::NotEnforced,
            Verdict::Pass => PostureStanding::Compliant,
            Verdict::PassWithWarning(refusal) => {
                PostureStanding::Audit { would_be: Box::new(fault::of_refusal(name, &refusal)) }
            }
            Verdict::Refuse(refusal) => {
                let fault = Box::new(fault::of_refusal(name, &refusal));
                match self.break_glass(now_unix) {
                    Some(used) => PostureStanding::Overridden { would_be: fault, until: used.until },
                    None => PostureStanding::Refused { fault },
                }
            }
        }
    }

    /// Returns the quarantine that holds, unless it was ended here by its code.
    pub fn quarantine(&self) -> Option<&Quarantine> {
        let ems = self.ems.as_ref()?;
        let quarantine = ems.knowledge.quarantine.as_ref()?;
        (ems.decreed.released.as_ref() != Some(&quarantine.id)).then_some(quarantine)
    }

    /// Returns the break-glass code by which the host check is overridden at a moment.
    pub fn break_glass(&self, now_unix: u64) -> Option<BreakGlass> {
        let used = self.ems.as_ref()?.decreed.break_glass;
        let until = fault::at(used.until_unix).unwrap_or_default();
        used.holds_at(now_unix).then_some(BreakGlass { number: used.number, until })
    }

    fn verdict(&self, entry: &Entry, now_unix: u64) -> Verdict {
        let policy = entry.tunnel.tags.policy();
        let (settled, live) = self.knowledge(entry, now_unix);
        match settled {
            Some(settled) => policy::verdict_of_both(&policy, &settled, &live),
            None => policy::verdict(&policy, &live),
        }
    }

    /// Tells whether nothing but tags that are unknown keeps the tunnel from being used: none that is
    /// known refuses.
    pub fn lacks_only_knowledge(&self, entry: &Entry, now_unix: u64) -> bool {
        let policy = entry.tunnel.tags.policy();
        let (settled, live) = self.knowledge(entry, now_unix);
        let mut all = settled.into_iter().chain([live]);
        all.all(|knowledge| match knowledge {
            TagKnowledge::Known(table) => policy::verdict(&policy, &favourable(&policy, table)).admits(),
            TagKnowledge::Unusable { .. } => false,
        })
    }

    /// EMS's word as it stands, where it counts, and what live facts say.
    fn knowledge(&self, entry: &Entry, now_unix: u64) -> (Option<TagKnowledge>, TagKnowledge) {
        let tags = &entry.tunnel.tags;
        let live = if tags.source == TagRuleSource::Local && entry.origin != Origin::Managed {
            self.by_rules(&tags.rules, now_unix)
        } else {
            self.live(entry.tunnel.offline_grace.as_secs(), now_unix)
        };
        (self.settled(now_unix).filter(|_| tags.source == TagRuleSource::Ems), live)
    }

    /// EMS's snapshot as it is, while telemetry is up.
    fn settled(&self, now_unix: u64) -> Option<TagKnowledge> {
        self.ems.as_ref().filter(|ems| ems.telemetry.is_up())?;
        let snapshot = self.usable_snapshot(now_unix).ok()?;
        Some(TagKnowledge::Known(snapshot.content().table(snapshot.binding().issued_unix)))
    }

    /// EMS's rules on live facts, laid over its snapshot.
    fn live(&self, grace_seconds: u64, now_unix: u64) -> TagKnowledge {
        let Some(ems) = &self.ems else {
            return TagKnowledge::unusable(Flaw::Missing, "this endpoint is not enrolled with an EMS", None);
        };
        let Some(facts) = &self.facts else {
            return TagKnowledge::unusable(Flaw::Missing, "the endpoint's facts are not gathered yet", None);
        };
        let snapshot = match self.usable_snapshot(now_unix) {
            Ok(snapshot) => snapshot,
            Err(unusable) => return unusable,
        };
        let away = ems.away(now_unix, self.uptime);
        let lapsed = (!ems.telemetry.is_up() && away > grace_seconds)
            .then(|| format!("EMS has been out of reach for {away} s, longer than the grace of {grace_seconds} s"));
        let table = snapshot.content().table(snapshot.binding().issued_unix);
        let live = match &ems.knowledge.rules {
            Some(rules) if rules.holds_at(now_unix) => evaluate(self.ems_rules(), facts, now_unix),
            _ => BTreeMap::new(),
        };
        TagKnowledge::Known(overlay(&table, &live, lapsed.as_deref(), now_unix))
    }

    fn by_rules(&self, rules: &[TaggingRuleSet], now_unix: u64) -> TagKnowledge {
        match &self.facts {
            Some(facts) => TagKnowledge::known(evaluate(rules, facts, now_unix), now_unix),
            None => TagKnowledge::unusable(Flaw::Missing, "the endpoint's facts are not gathered yet", None),
        }
    }

    fn usable_snapshot(&self, now_unix: u64) -> Result<&Verified<TagSnapshot>, TagKnowledge> {
        let Some(snapshot) = self.snapshot() else { return Err(self.without_snapshot()) };
        let binding = snapshot.binding();
        if now_unix.saturating_add(CLOCK_TOLERANCE_SECONDS) < binding.issued_unix {
            return Err(TagKnowledge::unusable(Flaw::ClockTurnedBack, "", None));
        }
        if !snapshot.holds_at(now_unix) {
            return Err(TagKnowledge::unusable(Flaw::Expired, "", Some(binding.expires_unix)));
        }
        Ok(snapshot)
    }

    fn without_snapshot(&self) -> TagKnowledge {
        if self.ems.as_ref().is_some_and(|ems| ems.decreed.deregistered) {
            return TagKnowledge::unusable(Flaw::Missing, "EMS has deregistered this endpoint", None);
        }
        let refusals = self.ems.iter().flat_map(|ems| &ems.knowledge.refusals);
        match refusals.into_iter().find(|(kind, _)| *kind == DocumentKind::Tags) {
            Some((_, refusal)) => TagKnowledge::unusable(refusal.flaw(), refusal.to_string(), None),
            None => TagKnowledge::unusable(Flaw::Missing, "EMS has told no tags yet", None),
        }
    }

    fn snapshot(&self) -> Option<&Verified<TagSnapshot>> {
        self.ems.as_ref()?.knowledge.tags.as_deref()
    }

    /// Returns EMS's rules.
    pub fn ems_rules(&self) -> &[TaggingRuleSet] {
        match self.ems.as_ref().and_then(|ems| ems.knowledge.rules.as_deref()) {
            Some(rules) => &rules.content().rule_sets,
            None => &[],
        }
    }

    /// Returns the report on which EMS's snapshot was evaluated.
    pub fn snapshot_sequence(&self) -> u64 {
        self.snapshot().map_or(0, |snapshot| snapshot.content().report_sequence)
    }

    /// Returns the tags as they stand, from whoever decides them here.
    fn tags(&self, local: &[(String, Entry)], now_unix: u64) -> Result<BTreeMap<TagName, TagState>, TagKnowledge> {
        let knowledge = if self.ems.is_some() {
            let grace = self.profile_grace();
            self.live(grace, now_unix)
        } else {
            let rules: Vec<TaggingRuleSet> = local
                .iter()
                .filter(|(_, entry)| entry.tunnel.tags.source == TagRuleSource::Local)
                .flat_map(|(_, entry)| entry.tunnel.tags.rules.iter().cloned())
                .collect();
            self.by_rules(&rules, now_unix)
        };
        match knowledge {
            TagKnowledge::Known(table) => Ok(table.tags),
            unusable => Err(unusable),
        }
    }

    fn profile_grace(&self) -> u64 {
        let profile = self.ems.as_ref().and_then(|ems| ems.knowledge.profile.as_deref());
        profile.map_or(0, |profile| profile.content().offline_grace_seconds)
    }
}

/// Settles every tag that is unknown as the policy would have it.
fn favourable(policy: &TagPolicy, mut table: TagTable) -> TagKnowledge {
    let settled = |presence| TagState::without_rule(presence, "not known yet");
    for (named, presence) in [(&policy.prohibited, Presence::Absent), (&policy.allowed, Presence::Present)] {
        for tag in named {
            if table.state(tag).presence == Presence::Unknown {
                table.tags.remove(tag);
                table.tags.insert(tag.clone(), settled(presence));
            }
        }
    }
    TagKnowledge::Known(table)
}

/// Tells whether a tunnel's tags can refuse at all.
pub fn is_enforced(tunnel: &Tunnel) -> bool {
    let tags = &tunnel.tags;
    tags.enforcement != Enforcement::Off && !(tags.prohibited.is_empty() && tags.allowed.is_empty())
}

#[cfg(test)]
mod tests;
