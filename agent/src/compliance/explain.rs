//! Why a tag or a verdict is what it is.

use super::View;
use crate::profile::Entry;
use postern_api::PlainText;
use postern_api::state::PostureStanding;
use posture::rules::{TagName, TaggingRuleSet, explain};

impl View {
    /// Explains a tunnel's verdict, or a tag; none where neither has that name.
    pub fn explain(&self, subject: &str, tunnels: &[(String, Entry)], now_unix: u64) -> Option<Vec<PlainText>> {
        let lines = match tunnels.iter().find(|(name, _)| name == subject) {
            Some((name, entry)) => self.explain_tunnel(name, entry, now_unix),
            None => self.explain_tag(&TagName::new(subject), tunnels, now_unix)?,
        };
        Some(lines.into_iter().map(Into::into).collect())
    }

    fn explain_tunnel(&self, name: &str, entry: &Entry, now_unix: u64) -> Vec<String> {
        let mut lines = vec![match self.standing(name, entry, now_unix) {
            PostureStanding::NotEnforced => format!("{name}: posture not enforced"),
            PostureStanding::Compliant => format!("{name}: may be connected"),
            PostureStanding::Audit { would_be } => format!("{name}: audit only, would be refused: {would_be}"),
            PostureStanding::Overridden { would_be, until } => {
                format!("{name}: passes by a break-glass code until {until}, would refuse: {would_be}")
            }
            PostureStanding::Refused { fault } => fault.to_string(),
        }];
        let tags = &entry.tunnel.tags;
        let rules = self.rules_of(entry);
        for (list, meaning) in [(&tags.prohibited, "prohibited"), (&tags.allowed, "one suffices")] {
            for tag in list {
                lines.push(format!("{meaning}: {tag}"));
                let told = self.tag_lines(&rules, &TagName::new(tag.as_str()), now_unix);
                if told.is_empty() {
                    lines.push("  unknown: no rule and no EMS entry tells of it".into());
                    lines.push("    to settle it: ask the administrator whether the tag's name is right".into());
                }
                lines.extend(told.into_iter().map(|line| format!("  {line}")));
            }
        }
        lines
    }

    fn explain_tag(&self, tag: &TagName, tunnels: &[(String, Entry)], now_unix: u64) -> Option<Vec<String>> {
        let rules: Vec<TaggingRuleSet> = tunnels
            .iter()
            .flat_map(|(_, entry)| entry.tunnel.tags.rules.iter())
            .chain(self.ems_rules())
            .cloned()
            .collect();
        let lines = self.tag_lines(&rules, tag, now_unix);
        (!lines.is_empty()).then_some(lines)
    }

    /// The trees of the rules that give a tag, then EMS's own word on it, and for how long that counts.
    fn tag_lines(&self, rules: &[TaggingRuleSet], tag: &TagName, now_unix: u64) -> Vec<String> {
        let mut lines = self.trees(rules, tag, now_unix);
        let (Some(ems), Some(snapshot)) = (&self.ems, self.snapshot()) else { return lines };
        let by_rules = !lines.is_empty();
        let age = now_unix.saturating_sub(snapshot.binding().issued_unix);
        for said in snapshot.content().tags.iter().filter(|said| said.name == *tag) {
            lines.push(format!("EMS says: {} ({}), {age} s ago", said.state.presence, said.state.because));
            if !ems.telemetry.is_up() {
                let away = ems.away(now_unix, self.uptime);
                lines.push(match by_rules {
                    true => format!("  EMS is out of reach for {away} s: its rules on the facts above count"),
                    false => format!("  EMS is out of reach for {away} s: only it can tell, until the grace is over"),
                });
            }
        }
        lines
    }

    fn trees(&self, rules: &[TaggingRuleSet], tag: &TagName, now_unix: u64) -> Vec<String> {
        let Some(facts) = &self.facts else { return vec!["the facts are not gathered yet".into()] };
        rules.iter().filter(|set| set.tag == *tag).flat_map(|set| explain(set, facts, now_unix)).collect()
    }

    fn rules_of(&self, entry: &Entry) -> Vec<TaggingRuleSet> {
        if entry.tunnel.tags.rules.is_empty() { self.ems_rules().to_vec() } else { entry.tunnel.tags.rules.clone() }
    }
}
