//! What the gateway's `diagnose` commands print, in FortiOS's layout.

use super::responder::Responder;
use super::sa::{IkeSa, State};
use super::tags::{TagDirectory, own_name};
use ike_client::time::Timestamp;
use std::fmt::Write;

/// A command that this gateway does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unknown action 0: {0}")]
pub struct UnknownCommand(String);

/// Runs the command whose words follow `diagnose`.
///
/// # Errors
/// [`UnknownCommand`].
pub fn run(words: &[String], responder: &Responder, now: Timestamp) -> Result<String, UnknownCommand> {
    let parts: Vec<_> = words.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["firewall", "dynamic", "list", name] => Ok(dynamic_list(responder.tags(), name)),
        ["vpn", "ike", "gateway", "list"] => Ok(gateway_list(responder, now)),
        _ => Err(UnknownCommand(words.join(" "))),
    }
}

/// Prints a tag and its addresses. The name is printed as it was asked for: names are compared
/// without regard to case, and EMS may spell the tag another way.
pub fn dynamic_list(tags: &TagDirectory, name: &str) -> String {
    let name = name.trim();
    let Some((id, tag)) = tags.find(name) else { return String::new() };
    let mut text = format!("CMDB name: {name}\nTAG name: {}\n{name}: ID({id})\n", own_name(name));
    for address in &tag.addresses {
        text.push_str(&format!("ADDR({address})\n"));
    }
    text.push_str("Total IP dynamic range blocks: 0.\n");
    text.push_str(&format!("Total IP dynamic addresses: {}.\n", tag.addresses.len()));
    text
}

fn gateway_list(responder: &Responder, now: Timestamp) -> String {
    let settings = responder.settings();
    responder.listed().iter().map(|sa| gateway(sa, &settings.name, now) + "\n").collect()
}

fn gateway(sa: &IkeSa, name: &str, now: Timestamp) -> String {
    let none = || "N/A".to_owned();
    let age = now.saturating_since(sa.created).as_secs();
    let established = match sa.state {
        State::Established { since } => Some(since),
        _ => None,
    };
    let negotiation = established.map_or(0, |since| since.saturating_since(sa.created).as_millis());
    let up = u8::from(established.is_some());
    let address = sa.facts.address.map_or_else(none, |address| format!("{address}/255.255.255.255"));
    let inner = sa.facts.address.map_or_else(|| "0.0.0.0".to_owned(), |address| address.to_string());
    let peer = sa.facts.peer_id.clone().unwrap_or_else(none);
    let mut text = format!(
        "vd: root/0\nname: {name}_{}\nversion: 2\ninterface: port1 3\naddr: {} -> {}\ntun_id: {inner}/::10.0.0.{}\n\
         remote_location: 0.0.0.0\nnetwork-id: 0\ntransport: UDP\ncreated: {age}s ago\n",
        sa.serial, sa.path.local, sa.path.remote, sa.serial,
    );
    if let Some(user) = &sa.facts.user {
        let _ = writeln!(text, "eap-user: {user}\n2FA: no");
    }
    let _ = writeln!(text, "peer-id: {peer}\npeer-id-auth: no");
    if let Some(uid) = &sa.facts.forticlient_uid {
        let _ = writeln!(text, "FortiClient UID: {uid}");
    }
    let _ = writeln!(text, "assigned IPv4 address: {address}\nnat: me peer\npending-queue: 0\nPPK: no");
    let _ =
        writeln!(text, "IKE SA: created 1/1  established {up}/{up}  time {negotiation}/{negotiation}/{negotiation} ms");
    let children = sa.children.len();
    let _ =
        writeln!(text, "IPsec SA: created {children}/{children}  established {children}/{children}  time 0/0/0 ms\n");
    let suite = sa.suite.to_string();
    let proposal = suite.rsplit_once('-').map_or(suite.as_str(), |(without_group, _)| without_group);
    let status = established.map_or_else(
        || "connecting".to_owned(),
        |since| {
            let ago = now.saturating_since(since).as_secs();
            format!("established {age}-{ago}s ago = {negotiation}ms")
        },
    );
    let _ = writeln!(text, "  id/spi: {} {}/{}", sa.serial, sa.initiator_spi, sa.responder_spi);
    let _ = writeln!(text, "  direction: responder\n  status: {status}\n  proposal: {proposal}\n  child: no");
    for key in ["SK_ei", "SK_er", "SK_ai", "SK_ar"] {
        let _ = writeln!(text, "  {key}: (not shown)");
    }
    let sent = sa.outgoing.awaited().or(sa.outgoing.free().and_then(|next| next.checked_sub(1))).unwrap_or(0);
    let _ = writeln!(text, "  PPK: no\n  message-id sent: {sent}\n  QKD: no");
    for child in &sa.children {
        let _ = writeln!(text, "  IPsec SA: {}/{} {}", child.outbound, child.inbound, child.suite);
    }
    let _ = writeln!(text, "  peer-id: {peer}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::tags::TagAddresses;

    fn tags() -> TagDirectory {
        let addresses = vec![[172, 16, 7, 3].into(), [10, 0, 3, 2].into()];
        TagDirectory { tags: vec![TagAddresses { name: "Telemetry connected".into(), addresses }] }
    }

    #[test]
    fn the_list_of_a_tags_addresses_is_the_articles_to_the_letter() {
        assert_eq!(
            dynamic_list(&tags(), "EMS1_ZTNA_Telemetry Connected"),
            "CMDB name: EMS1_ZTNA_Telemetry Connected\n\
             TAG name: Telemetry Connected\n\
             EMS1_ZTNA_Telemetry Connected: ID(81)\n\
             ADDR(172.16.7.3)\n\
             ADDR(10.0.3.2)\n\
             Total IP dynamic range blocks: 0.\n\
             Total IP dynamic addresses: 2.\n"
        );
    }

    #[test]
    fn a_tag_that_ems_does_not_share_prints_nothing() {
        assert_eq!(dynamic_list(&tags(), "EMS1_ZTNA_Antivirus running"), "");
    }
}
