//! Posture as a person reads it.

use super::View;
use crate::profile::Entry;
use postern_api::event::{Event, ScanStep};
use postern_api::posture::{Decrees, Fact, Finding, ScanReport, Severity, Tag, TagPresence, TagReport, TagSource};
use posture::facts::Observation;
use posture::policy::TagKnowledge;
use posture::rules::Presence;
use posture::vulnerability::child::Progress;
use posture::vulnerability::{self, ScanResult};

impl View {
    /// Returns the tags with their sources and ages.
    pub fn report(&self, local: &[(String, Entry)], now_unix: u64) -> TagReport {
        let up = self.ems.as_ref().map(|ems| ems.telemetry.is_up());
        let source = match up {
            Some(true) => TagSource::Ems,
            Some(false) => TagSource::Cached,
            None if local.iter().any(|(_, entry)| !entry.tunnel.tags.rules.is_empty()) => TagSource::Local,
            None => TagSource::None,
        };
        let (tags, unknown_because) = match self.tags(local, now_unix) {
            Ok(tags) => {
                let tags = tags.iter().map(|(name, state)| Tag {
                    name: name.as_str().into(),
                    presence: presence(state.presence),
                    because: state.because.as_str().into(),
                });
                (tags.collect(), None)
            }
            Err(TagKnowledge::Unusable { flaw, detail, .. }) if source != TagSource::None => {
                let why = if detail.is_empty() { flaw.to_string() } else { format!("{flaw}: {detail}") };
                (Vec::new(), Some(why.into()))
            }
            Err(_) => (Vec::new(), None),
        };
        let settled = match (&self.ems, self.snapshot()) {
            (Some(_), Some(snapshot)) => snapshot.binding().issued_unix,
            _ => self.facts.as_ref().map_or(now_unix, |facts| facts.os.gathered_unix),
        };
        let away = self.ems.as_ref().map_or(0, |ems| ems.away(now_unix, self.uptime));
        TagReport {
            source,
            ems: self.ems.as_ref().map(|ems| ems.name.as_str().into()),
            telemetry_connected: up == Some(true),
            age_seconds: now_unix.saturating_sub(settled),
            grace_seconds: (source == TagSource::Cached).then(|| self.profile_grace().saturating_sub(away)),
            tags,
            unknown_because,
            decrees: Decrees {
                quarantine: self.quarantine().map(|quarantine| quarantine.message.clone().unwrap_or_default().into()),
                break_glass: self.break_glass(now_unix),
                deregistered: self.ems.as_ref().is_some_and(|ems| ems.decreed.deregistered),
            },
        }
    }

    /// Returns the facts, one line each.
    pub fn fact_lines(&self, now_unix: u64) -> Vec<Fact> {
        let lines = self.facts.as_ref().map(posture::facts::Facts::lines).unwrap_or_default();
        let shown = lines.into_iter().map(|line| {
            let (value, unknown_because) = match line.value {
                Observation::Known(value) => (Some(value.into()), None),
                Observation::Unknown(why) => (None, Some(why.into())),
                Observation::Denied(why) => (None, Some(format!("denied: {why}").into())),
            };
            Fact {
                area: line.area.to_owned(),
                name: line.name,
                value,
                unknown_because,
                source: line.source.into(),
                age_seconds: now_unix.saturating_sub(line.gathered_unix),
            }
        });
        shown.collect()
    }
}

/// Returns how far a scan is as an event.
pub fn scan_progress(progress: Progress) -> Event {
    match progress {
        Progress::Importing(done) => Event::Scan { step: ScanStep::Importing, done },
        Progress::Scanning(done) => Event::Scan { step: ScanStep::Scanning, done },
    }
}

/// Returns a scan as a person reads it.
pub fn scan_report(result: &ScanResult) -> ScanReport {
    ScanReport {
        finished: crate::fault::at(result.finished_unix).unwrap_or_default(),
        packages: result.packages,
        advisories: result.advisories,
        packages_unreadable: result.packages_unreadable,
        packages_uncovered: result.packages_uncovered,
        records_rejected: result.rejected,
        database_made: crate::fault::at(result.database_unix).unwrap_or_default(),
        findings: result
            .counted()
            .map(|finding| Finding {
                package: finding.package.as_str().into(),
                version: finding.version.as_str().into(),
                identifier: finding.name().into(),
                severity: severity(finding.severity),
                score_tenths: finding.score_tenths,
                fixed: finding.fixed.as_deref().map(Into::into),
                advisory: finding.identifier.as_str().into(),
            })
            .collect(),
    }
}

/// Returns a presence in the words of the control socket.
pub const fn presence(presence: Presence) -> TagPresence {
    match presence {
        Presence::Present => TagPresence::Present,
        Presence::Absent => TagPresence::Absent,
        Presence::Unknown => TagPresence::Unknown,
    }
}

const fn severity(severity: vulnerability::Severity) -> Severity {
    match severity {
        vulnerability::Severity::Unrated => Severity::Unrated,
        vulnerability::Severity::Low => Severity::Low,
        vulnerability::Severity::Medium => Severity::Medium,
        vulnerability::Severity::High => Severity::High,
        vulnerability::Severity::Critical => Severity::Critical,
    }
}
