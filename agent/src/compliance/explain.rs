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
        for (list, meaning) in [(&tags.prohibited, "prohibited"), (&tags.allowed, "one suffices")] {
            for tag in list {
                lines.push(format!("{meaning}: {tag}"));
                let rules = self.rules_of(entry);
                lines.extend(
                    self.trees(&rules, &TagName::new(tag.as_str()), now_unix)
                        .into_iter()
                        .map(|line| format!("  {line}")),
                );
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
        let mut lines = self.trees(&rules, tag, now_unix);
        let said = self.snapshot().into_iter().flat_map(|snapshot| &snapshot.content().tags);
        lines.extend(
            said.into_iter()
                .filter(|known| known.name == *tag)
                .map(|known| format!("EMS says: {} ({})", known.state.presence, known.state.because)),
        );
        (!lines.is_empty()).then_some(lines)
    }

    fn trees(&self, rules: &[TaggingRuleSet], tag: &TagName, now_unix: u64) -> Vec<String> {
        let Some(facts) = &self.facts else { return vec!["the facts are not gathered yet".into()] };
        rules.iter().filter(|set| set.tag == *tag).flat_map(|set| explain(set, facts, now_unix)).collect()
    }

    fn rules_of(&self, entry: &Entry) -> Vec<TaggingRuleSet> {
        if entry.tunnel.tags.rules.is_empty() { self.ems_rules().to_vec() } else { entry.tunnel.tags.rules.clone() }
    }
}
