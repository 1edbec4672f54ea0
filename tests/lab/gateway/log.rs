//! Event log lines as FortiOS writes them: `key="value"` pairs, one line an event.
//!
//! Field names, order and message ids follow published samples. The line of a failed tag match is
//! not public: its reason is the one that administrators see in the log view, and the rest is
//! formed like any other failed negotiation.

use super::event::{LogEvent, LogKind, Subject};
use super::tag_refusal;
use jiff::Timestamp;

/// Returns the line of an event at `gateway`, without its end.
pub fn line(event: &LogEvent, gateway: &str, at: Timestamp) -> String {
    let (message_id, level, description, message, action) = match event.kind {
        LogKind::NegotiationFailed { .. } => {
            (37124, "error", "IPsec phase 1 error", "IPsec phase 1 error", "negotiate")
        }
        LogKind::TunnelUp => {
            (37138, "notice", "IPsec connection status changed", "IPsec connection status change", "tunnel-up")
        }
        LogKind::TunnelDown { .. } => {
            (37138, "notice", "IPsec connection status changed", "IPsec connection status change", "tunnel-down")
        }
        LogKind::LivenessFailed => (37136, "error", "IPsec DPD failed", "IPsec DPD failed", "dpd"),
    };
    let time = at.to_zoned(jiff::tz::TimeZone::UTC);
    let mut line = format!(
        "date={} time={} eventtime={} tz=\"+0000\" logid=\"01010{message_id}\" type=\"event\" subtype=\"vpn\" \
         level=\"{level}\" vd=\"root\" logdesc=\"{description}\" msg=\"{message}\" action=\"{action}\" ",
        time.strftime("%Y-%m-%d"),
        time.strftime("%H:%M:%S"),
        at.as_nanosecond(),
    );
    line.push_str(&subject(&event.subject, gateway, &event.kind));
    line
}

fn subject(subject: &Subject, gateway: &str, kind: &LogKind) -> String {
    let Subject { path, spis, peer_id, user, address, forticlient_uid } = subject;
    let quoted = |text: Option<&str>| format!("\"{}\"", text.map_or_else(|| "N/A".to_owned(), plain));
    let address = address.map_or_else(|| "N/A".to_owned(), |address| address.to_string());
    let user = user.as_deref();
    let mut fields = format!(
        "remip={} locip={} remport={} locport={} outintf=\"port1\" cookies=\"{}/{}\" user={} group=\"N/A\" \
         useralt={} xauthuser={} xauthgroup=\"N/A\" assignip={address} vpntunnel=\"{}\" ",
        path.remote.ip(),
        path.local.ip(),
        path.remote.port(),
        path.local.port(),
        spis.0,
        spis.1,
        quoted(user.or(peer_id.as_deref())),
        quoted(peer_id.as_deref()),
        quoted(user),
        plain(gateway),
    );
    fields.push_str(&match kind {
        LogKind::NegotiationFailed { reason } => {
            let told = if *reason == tag_refusal::LOG_REASON { tag_refusal::TEXT } else { "NOT-APPLICABLE" };
            format!("status=\"negotiate_error\" reason=\"{reason}\" peer_notif=\"{told}\" ")
        }
        LogKind::TunnelUp => format!("tunnelip={address} tunneltype=\"ipsec\" duration=0 "),
        LogKind::TunnelDown { seconds } => {
            format!("tunnelip={address} tunneltype=\"ipsec\" duration={seconds} ")
        }
        LogKind::LivenessFailed => "status=\"dpd_failure\" ".to_owned(),
    });
    fields.push_str(&format!("fctuid={} advpnsc=0", quoted(forticlient_uid.as_deref())));
    fields
}

/// What a client calls itself cannot end a field or a line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '"' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Path;
    use ike_client::wire::{InitiatorSpi, ResponderSpi};

    fn event(kind: LogKind) -> LogEvent {
        let path = Path { local: ([10, 9, 0, 2], 4500).into(), remote: ([172, 16, 7, 3], 5500).into() };
        LogEvent {
            subject: Subject {
                path,
                spis: (InitiatorSpi(1), ResponderSpi(2)),
                peer_id: Some("ipv4:10.0.3.2".into()),
                user: Some("al\"ice\n".into()),
                address: None,
                forticlient_uid: None,
            },
            kind,
        }
    }

    #[test]
    fn a_failed_tag_match_reads_as_the_administrator_expects() {
        let event = event(LogKind::NegotiationFailed { reason: tag_refusal::LOG_REASON });
        assert_eq!(
            line(&event, "RA-VPN", "2026-11-23T05:06:07Z".parse().unwrap()),
            "date=2026-11-23 time=05:06:07 eventtime=1795410367000000000 tz=\"+0000\" logid=\"0101037124\" \
             type=\"event\" subtype=\"vpn\" level=\"error\" vd=\"root\" logdesc=\"IPsec phase 1 error\" \
             msg=\"IPsec phase 1 error\" action=\"negotiate\" remip=172.16.7.3 locip=10.9.0.2 remport=5500 \
             locport=4500 outintf=\"port1\" cookies=\"0000000000000001/0000000000000002\" user=\"al?ice?\" \
             group=\"N/A\" useralt=\"ipv4:10.0.3.2\" xauthuser=\"al?ice?\" xauthgroup=\"N/A\" assignip=N/A \
             vpntunnel=\"RA-VPN\" status=\"negotiate_error\" reason=\"EMS ZTNA tags check failed\" \
             peer_notif=\"EMSTokenCheckFailed\" fctuid=\"N/A\" advpnsc=0"
        );
    }

    #[test]
    fn every_line_names_its_kind() {
        for (kind, logid, level, action) in [
            (LogKind::TunnelUp, "0101037138", "notice", "tunnel-up"),
            (LogKind::TunnelDown { seconds: 7 }, "0101037138", "notice", "tunnel-down"),
            (LogKind::LivenessFailed, "0101037136", "error", "dpd"),
        ] {
            let line = line(&event(kind), "RA-VPN", Timestamp::UNIX_EPOCH);
            for part in [format!("logid=\"{logid}\""), format!("level=\"{level}\""), format!("action=\"{action}\"")] {
                assert!(line.contains(&part), "{part} in {line}");
            }
        }
    }
}
