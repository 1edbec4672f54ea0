//! What rules ask of the system beside what is always looked at.

use super::TaggingRuleSet;
use super::rule::RuleKind;
use crate::facts::OsFamily;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What the rules ask for: what no rule asks for is not looked at, nor told to EMS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Files, by absolute path.
    pub files: BTreeSet<String>,
    /// Registry keys, with the names of the values that count, in lower case.
    pub registry: BTreeMap<String, BTreeSet<String>>,
    /// Hosts that are to be pinged.
    pub ping: BTreeSet<IpAddr>,
    /// Whether the running programs count.
    pub processes: bool,
    /// Which of them do, by the names of their files.
    pub programs: BTreeSet<String>,
    /// Whether antivirus products count.
    pub antivirus: bool,
    /// Whether the certificates in the stores count.
    pub certificates: bool,
    /// Whether the logged-on users and their groups count.
    pub users: bool,
    /// Whether the network around the endpoint counts.
    pub surroundings: bool,
}

impl Asked {
    /// Returns what the rules of `sets` for `family` ask for.
    pub fn by(sets: &[TaggingRuleSet], family: OsFamily) -> Self {
        let mut asked = Self::default();
        let systems = sets.iter().filter_map(|set| set.systems.get(&family));
        systems.flat_map(|system| &system.rules).for_each(|rule| asked.note(&rule.kind));
        asked
    }

    /// Tells whether the rules of `sets` for `family` ask for nothing but what is seen first of a look: files
    /// and running programs (`collect::Glimpse`).
    pub fn is_seen_first(sets: &[TaggingRuleSet], family: OsFamily) -> bool {
        let systems = sets.iter().filter_map(|set| set.systems.get(&family));
        let mut rules = systems.flat_map(|system| &system.rules);
        rules.all(|rule| matches!(rule.kind, RuleKind::File { .. } | RuleKind::RunningProcess { .. }))
    }

    /// Adds what `other` asks for.
    pub fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        for (path, values) in other.registry {
            self.registry.entry(path).or_default().extend(values);
        }
        self.ping.extend(other.ping);
        self.processes |= other.processes;
        self.programs.extend(other.programs);
        self.antivirus |= other.antivirus;
        self.certificates |= other.certificates;
        self.users |= other.users;
        self.surroundings |= other.surroundings;
    }

    /// Tells whether this asks for anything that `other` does not ask for.
    pub fn asks_beyond(&self, other: &Self) -> bool {
        let mut both = other.clone();
        both.extend(self.clone());
        both != *other
    }

    fn note(&mut self, kind: &RuleKind) {
        match kind {
            RuleKind::File { path } => drop(self.files.insert(path.clone())),
            RuleKind::RegistryKey { path, value } => {
                let values = self.registry.entry(path.to_string()).or_default();
                values.extend(value.iter().map(|value| value.name.to_lowercase()));
            }
            RuleKind::RunningProcess { name } => {
                self.processes = true;
                let program = name.rsplit('/').next().unwrap_or(name);
                self.programs.extend(Some(program.to_owned()).filter(|program| !program.is_empty()));
            }
            RuleKind::AntiVirus { .. } => self.antivirus = true,
            RuleKind::Certificate { .. } => self.certificates = true,
            RuleKind::AdGroups { .. } | RuleKind::LoggedInDomain { .. } => self.users = true,
            RuleKind::OnFabricStatus { detection } => {
                self.surroundings = true;
                self.ping.extend(&detection.ping_servers);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_rule_of_the_family_needs_is_asked() {
        let set: TaggingRuleSet = serde_json::from_str(
            r#"{"name":"n","tag":"t","systems":{
                "linux":{"rules":[{"id":1,"type":"file","path":"/a"},{"id":2,"type":"ems-management"},
                    {"id":3,"type":"on-fabric-status","detection":{"ping_servers":["192.0.2.1"]}}]},
                "windows":{"rules":[{"id":1,"type":"registry-key","path":"HKLM\\A","value":{"name":"V","value":"1"}},
                    {"id":2,"type":"certificate"},{"id":3,"type":"ad-groups","groups":["g"]}]}}}"#,
        )
        .unwrap();
        let linux = Asked::by(std::slice::from_ref(&set), OsFamily::Linux);
        assert_eq!(linux.files, BTreeSet::from(["/a".to_owned()]));
        assert!(linux.surroundings && !linux.certificates && !linux.users && linux.registry.is_empty());
        assert_eq!(linux.ping.len(), 1);
        let windows = Asked::by(&[set], OsFamily::Windows);
        assert_eq!(windows.registry["HKLM\\A"], BTreeSet::from(["v".to_owned()]));
        assert!(linux.asks_beyond(&windows) && windows.asks_beyond(&linux) && !linux.asks_beyond(&linux));
        let mut both = linux.clone();
        both.extend(windows);
        assert!(both.asks_beyond(&linux) && !linux.asks_beyond(&both));
        assert!(both.certificates && both.users && both.surroundings && both.files.len() == 1);
        assert_eq!(Asked::by(&[], OsFamily::Linux), Asked::default());
    }

    #[test]
    fn rules_about_files_and_programs_alone_are_answered_by_what_is_seen_first() {
        let sets = |rule: &str| {
            let file = r#"{"id":1,"type":"file","path":"/a"}"#;
            let text = format!(r#"[{{"name":"n","tag":"t","systems":{{"linux":{{"rules":[{file},{rule}]}}}}}}]"#);
            serde_json::from_str::<Vec<TaggingRuleSet>>(&text).unwrap()
        };
        let (program, ems) = (r#"{"id":2,"type":"running-process","name":"x"}"#, r#"{"id":2,"type":"ems-management"}"#);
        assert!(Asked::is_seen_first(&sets(program), OsFamily::Linux));
        assert!(!Asked::is_seen_first(&sets(ems), OsFamily::Linux));
        assert!(Asked::is_seen_first(&sets(ems), OsFamily::Windows), "there is none for it");
    }
}
