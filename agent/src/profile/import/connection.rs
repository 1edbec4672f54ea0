//! One `<connection>`: from its parts to a tunnel, or to the reason why there is none.

use super::reader::Reader;
use super::secret::{SecretFound, SecretKind};
use super::{Additions, Connection, Outcome, child, ike, plain, usable_name, written, xml};
use crate::profile::document;
use crate::profile::fortigate::Peer;
use crate::profile::tunnel::Tunnel;
use posture::policy::Enforcement;
use roxmltree::Node;
use std::path::Path;

/// The options of the whole export that reach into each tunnel.
pub(super) struct Options {
    secure_remote_access: Option<bool>,
    mtu: Option<u16>,
}

impl Options {
    pub(super) fn read<'d>(reader: &mut Reader<'d>, root: Node<'d, 'd>) -> Self {
        let secure = reader.flag(root, "vpn/options/secure_remote_access");
        if let Some((node, on)) = secure {
            reader.used(node, if on { "tags.enforcement = \"enforce\"" } else { "tags.enforcement = \"off\"" });
        }
        let mut options = Self { secure_remote_access: secure.map(|(_, on)| on), mtu: None };
        if let Some((node, mtu)) = reader.number::<u16>(root, "vpn/ipsecvpn/options/mtu_size") {
            match mtu {
                // FortiClient's own, which nobody chose.
                1280 | 1300 => reader.idle(node, "the size is measured"),
                576.. => {
                    reader.used(node, "network.mtu");
                    options.mtu = Some(mtu);
                }
                _ => reader.unsupported(node, "is below 576"),
            }
        }
        options
    }
}

/// A tunnel that is being put together.
pub(super) struct Draft {
    pub(super) tunnel: Tunnel,
    pub(super) needs: Vec<String>,
    pub(super) secrets: Vec<SecretFound>,
    left_out: Option<(String, String)>,
}

impl Draft {
    /// Says that there will be no tunnel; the first reason counts.
    pub(super) fn leave_out(&mut self, reason: &str, next: &str) {
        self.left_out.get_or_insert_with(|| (reason.to_owned(), next.to_owned()));
    }
}

/// Reads an IPsec connection. Its findings are collected by whoever closes the book.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    node: Node<'d, 'd>,
    options: &Options,
    additions: &Additions,
) -> Connection {
    let mut draft = Draft { tunnel: Tunnel::to(""), needs: Vec::new(), secrets: Vec::new(), left_out: None };
    draft.tunnel.peer = Peer::Fortigate;
    let name = reader.text(node, "name");
    if let Some((node, text)) = &name {
        reader.used(*node, format!("the tunnel's name: {}", usable_name(text)));
    }
    let name = name.map_or_else(|| "unnamed".to_owned(), |(_, name)| name);
    if let Some((node, on)) = reader.flag(node, "keep_running") {
        reader.used(node, format!("keep_running = {on}"));
        draft.tunnel.keep_running = on;
    }
    match reader.at(node, "ike_settings") {
        Some(settings) => ike::read(reader, &mut draft, settings, additions),
        None => draft.leave_out("it has no <ike_settings>", "export it again, whole"),
    }
    if let Some(settings) = reader.at(node, "ipsec_settings") {
        child::read(reader, &mut draft, settings);
    }
    tags(reader, &mut draft, node, options);
    draft.tunnel.network.mtu = options.mtu;
    plain::connection(reader, node);
    Connection {
        path: xml::path(node),
        line: reader.line(node),
        outcome: finished(&mut draft, &name),
        findings: Vec::new(),
        secrets: draft.secrets,
        name,
    }
}

fn finished(draft: &mut Draft, name: &str) -> Outcome {
    if let Some((reason, next)) = draft.left_out.take() {
        return Outcome::LeftOut { reason, next };
    }
    let whole = written(&draft.tunnel, name).and_then(|toml| {
        let read = document::parse::<Tunnel>(Path::new(name), &toml);
        read.map(|_| toml).map_err(|error| format!("{}: {}", error.element, error.problem))
    });
    match whole {
        Ok(toml) => {
            for secret in draft.secrets.iter().filter(|secret| secret.value.is_none()) {
                draft.needs.push(match secret.kind {
                    SecretKind::PreSharedKey => "the pre-shared key".into(),
                    SecretKind::Password => "the password".into(),
                });
            }
            Outcome::Tunnel { tunnel: usable_name(name), toml, needs: std::mem::take(&mut draft.needs) }
        }
        Err(problem) => Outcome::LeftOut {
            reason: format!("it makes no tunnel: {problem}"),
            next: "postern tunnel add makes a tunnel by hand".into(),
        },
    }
}

/// The tag policy is kept whole or the connection is left out: without it a tunnel would be a way
/// round the host check.
fn tags<'d>(reader: &mut Reader<'d>, draft: &mut Draft, node: Node<'d, 'd>, options: &Options) {
    let mut any = false;
    for tags in reader.all(node, "tags") {
        for leaf in tags.descendants().filter(|leaf| leaf.is_element() && *leaf != tags) {
            let text = super::reader::own_text(leaf);
            let list = match (leaf.tag_name().name(), leaf.parent() == Some(tags)) {
                _ if text.is_empty() => continue,
                ("allowed", true) => &mut draft.tunnel.tags.allowed,
                ("prohibited", true) => &mut draft.tunnel.tags.prohibited,
                _ => {
                    reader.unsupported(leaf, "is no part of a tag policy known here");
                    draft.leave_out("its tag policy is not understood", "postern tunnel add makes a tunnel by hand");
                    continue;
                }
            };
            any = true;
            list.push(text);
            reader.used(leaf, format!("tags.{}", leaf.tag_name().name()));
        }
    }
    if let Some((node, text)) = reader.text(node, "host_check_fail_warning") {
        reader.used(node, "tags.warning");
        draft.tunnel.tags.warning = Some(text);
    }
    if any && options.secure_remote_access == Some(false) {
        draft.tunnel.tags.enforcement = Enforcement::Off;
    } else if any {
        draft.needs.push("an enrolment (postern enroll): its tags come from EMS, unless tags.rules say them".into());
    }
}

/// Names an SSL-VPN connection and leaves it out.
pub(super) fn ssl<'d>(reader: &mut Reader<'d>, node: Node<'d, 'd>) -> Connection {
    let name = reader.text(node, "name").map_or_else(|| "unnamed".to_owned(), |(_, name)| name);
    let reason = "it is an SSL-VPN, Fortinet's own protocol, which is not supported";
    reader.unsupported(node, reason);
    reader.settle_below(node);
    Connection {
        path: xml::path(node),
        line: reader.line(node),
        outcome: Outcome::LeftOut {
            reason: reason.into(),
            next: "ask the gateway's administrator for IPsec with IKEv2; FortiGates have no SSL-VPN tunnel from FortiOS 7.6.3 on"
                .into(),
        },
        findings: reader.close(node),
        secrets: Vec::new(),
        name,
    }
}
