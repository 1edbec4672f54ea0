//! What to tell the system's resolver, and the edit of a `resolv.conf` that nobody else owns.
//!
//! Two lists stay two lists from the gateway to the resolver: domains whose names are *asked*
//! of the tunnel's servers, and domains that are *appended* to short names.
//!
//! In a file our lines stand between markers, and a foreign line that must not be asked any
//! longer is put behind [`SET_ASIDE`]. [`without_ours`] takes away exactly that and gives back
//! whatever others wrote meanwhile; on a file that was replaced as a whole it changes nothing.

use crate::network::step::Device;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Begins a block of ours.
const BEGIN: &str = "# postern begin (while the tunnel is up; `postern repair` removes this)";
/// Ends a block of ours.
const END: &str = "# postern end";
/// Stands before a foreign line that is not asked while the tunnel is up.
pub const SET_ASIDE: &str = "# postern set aside: ";
/// glibc reads no more servers than this (`MAXNS` in resolv.h).
const MOST_SERVERS: usize = 3;

/// What the resolver shall ask while the tunnel is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverChange {
    /// The tunnel's device; per-link settings vanish with it.
    pub device: Device,
    /// The servers behind the tunnel.
    pub servers: Vec<IpAddr>,
    /// Domains whose names are asked of these servers.
    pub routed: Vec<String>,
    /// Domains that are appended to short names.
    pub search: Vec<String>,
    /// Whether every other name is asked of these servers too.
    pub catch_all: bool,
}

/// Who answers for the system's resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolverBackend {
    /// systemd-resolved, over D-Bus, per link.
    Resolved,
    /// The file, written in place.
    File(PathBuf),
}

impl fmt::Display for ResolverChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(IpAddr::to_string).collect();
        write!(formatter, "{} asks {}", self.device.name, servers.join(" "))?;
        if self.catch_all {
            formatter.write_str(" for everything")?;
        } else {
            write!(formatter, " for {}", self.routed.join(" "))?;
        }
        if self.search.is_empty() { Ok(()) } else { write!(formatter, ", search {}", self.search.join(" ")) }
    }
}

/// Returns `text`, a `resolv.conf`, with our lines for `change` and without any older ones of ours.
///
/// A file knows no domains to ask elsewhere: the tunnel's servers come first for every name.
/// With `catch_all` the others' servers are set aside, otherwise they follow as far as there is
/// room. Others' search domains are kept behind ours.
pub fn with_ours(text: &str, change: &ResolverChange) -> String {
    let theirs = without_ours(text);
    let mut ours = vec![BEGIN.to_owned()];
    ours.extend(change.servers.iter().take(MOST_SERVERS).map(|server| format!("nameserver {server}")));
    ours.push(END.to_owned());

    let mut lines = ours;
    let mut their_search = None;
    for line in theirs.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") if change.catch_all => lines.push(format!("{SET_ASIDE}{line}")),
            Some("search" | "domain") => {
                their_search = Some(words.map(str::to_owned).collect::<Vec<_>>());
                lines.push(line.to_owned());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    // The last `search` line is the one that counts, so ours repeats what counted before.
    let mut search = change.search.clone();
    for domain in their_search.into_iter().flatten() {
        if !search.contains(&domain) {
            search.push(domain);
        }
    }
    if !change.search.is_empty() {
        lines.extend([BEGIN.to_owned(), format!("search {}", search.join(" ")), END.to_owned()]);
    }
    joined(&lines)
}

/// Returns `text`, a `resolv.conf`, without what is ours; the same text when nothing is.
pub fn without_ours(text: &str) -> String {
    if !holds_ours(text) {
        return text.to_owned();
    }
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            BEGIN => inside = true,
            END => inside = false,
            // A block whose end somebody removed ends where something begins that we never write.
            _ if inside && is_possibly_ours(line) => {}
            _ => {
                inside = false;
                lines.push(line.strip_prefix(SET_ASIDE).unwrap_or(line).to_owned());
            }
        }
    }
    joined(&lines)
}

/// Returns whether `text`, a `resolv.conf`, holds lines of ours.
pub fn holds_ours(text: &str) -> bool {
    text.lines().any(|line| line == BEGIN || line == END || line.starts_with(SET_ASIDE))
}

fn is_possibly_ours(line: &str) -> bool {
    line.starts_with("nameserver ") || line.starts_with("search ")
}

fn joined(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(catch_all: bool) -> ResolverChange {
        ResolverChange {
            device: Device { name: "postern0".into(), index: 7 },
            servers: vec!["10.98.0.1".parse().unwrap()],
            routed: vec!["corp.example".into()],
            search: vec!["corp.example".into()],
            catch_all,
        }
    }

    const THEIRS: &str = "# by hand\nnameserver 192.0.2.53\nsearch home.example\noptions edns0\n";

    #[test]
    fn our_servers_come_first_and_their_search_domains_stay() {
        assert_eq!(
            with_ours(THEIRS, &change(false)),
            format!("{BEGIN}\nnameserver 10.98.0.1\n{END}\n{THEIRS}{BEGIN}\nsearch corp.example home.example\n{END}\n")
        );
    }

    #[test]
    fn a_tunnel_for_everything_sets_their_servers_aside() {
        let text = with_ours(THEIRS, &change(true));
        assert!(text.contains("# postern set aside: nameserver 192.0.2.53\n"));
        assert_eq!(without_ours(&text), THEIRS);
    }

    #[test]
    fn writing_ours_twice_is_writing_it_once() {
        let once = with_ours(THEIRS, &change(true));
        assert_eq!(with_ours(&once, &change(true)), once);
    }

    #[test]
    fn what_others_added_meanwhile_stays() {
        let mut text = with_ours(THEIRS, &change(true));
        text.push_str("nameserver 198.51.100.1\n");
        assert_eq!(without_ours(&text), format!("{THEIRS}nameserver 198.51.100.1\n"));
    }

    #[test]
    fn a_file_that_others_replaced_is_left_alone() {
        let replaced = "nameserver 203.0.113.9";
        assert_eq!(without_ours(replaced), replaced);
    }

    #[test]
    fn a_block_without_its_end_takes_nothing_foreign_with_it() {
        let text = format!("{BEGIN}\nnameserver 10.98.0.1\noptions rotate\nnameserver 192.0.2.53\n");
        assert_eq!(without_ours(&text), "options rotate\nnameserver 192.0.2.53\n");
    }

    proptest! {
        #[test]
        fn undoing_gives_back_what_was_there(
            lines in proptest::collection::vec("(nameserver|search|options|#|domain) [a-z0-9.]{1,12}", 0..8),
            catch_all in any::<bool>(),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(without_ours(&with_ours(&text, &change(catch_all))), text);
        }
    }
}
