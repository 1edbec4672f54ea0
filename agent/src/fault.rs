//! From what the parts say went wrong to the one name, the words and the next step that a person
//! gets. Nowhere else are causes named.

use ike_client::auth::eap::mschapv2::Decline;
use ike_client::session::{CloseCause, DistrustReason, LikelyCause, Retry};
use ike_client::tunnel::control::EndCause;
use postern_api::PlainText;
use postern_api::fault::{Fault, FaultName};
use postern_api::posture::Refusal as ShownRefusal;
use posture::ems::protocol::Quarantine;
use posture::policy::{Reason, Refusal};
use std::time::Duration;

/// Makes the fault of a refused host check:
/// `HostCheckFailed: RA-VPN refused: tag "Critical Vulnerability" (openssl 3.0.11-1, CVE-…, fixed
/// in 3.0.14-1). Next: upgrade openssl, then postern scan.`
pub fn of_refusal(tunnel: &str, refusal: &Refusal) -> Fault {
    let evidence = PlainText::new(refusal.evidence.as_str());
    let (name, detail, shown) = match &refusal.reason {
        Reason::ProhibitedTagPresent { tag, .. } => (
            FaultName::HostCheckFailed,
            format!("refused: tag \"{tag}\" ({})", refusal.evidence),
            ShownRefusal::ProhibitedTagPresent { tag: tag.as_str().into(), evidence },
        ),
        Reason::AllowedTagMissing { wanted } => {
            let names: Vec<String> = wanted.iter().map(|tag| format!("\"{tag}\"")).collect();
            let word = if names.len() == 1 { "tag" } else { "one of the tags" };
            (
                FaultName::HostCheckFailed,
                format!("refused: {word} {} is wanted ({})", names.join(", "), refusal.evidence),
                ShownRefusal::AllowedTagMissing {
                    wanted: wanted.iter().map(|tag| tag.as_str().into()).collect(),
                    evidence,
                },
            )
        }
        Reason::TagsUnknown { since_unix, .. } => (
            FaultName::TagsUnknown,
            match since_unix.filter(|since| *since > 0).and_then(at) {
                Some(since) => format!("refused: {}, since {since}", refusal.evidence),
                None => format!("refused: {}", refusal.evidence),
            },
            ShownRefusal::TagsUnknown { evidence },
        ),
    };
    let mut fault = Fault::new(name, tunnel, detail, refusal.next.as_str());
    fault.warning = Some(refusal.warning.as_str().into());
    fault.refusal = Some(shown);
    fault
}

/// Makes the fault of an endpoint in quarantine.
pub fn of_quarantine(quarantine: &Quarantine) -> Fault {
    let next = match quarantine.release {
        Some(_) => "contact the administrator, who can give a code for postern release",
        None => "contact the administrator",
    };
    Fault::new(FaultName::Quarantined, "", "refused: EMS has put this endpoint into quarantine", next)
}

/// Returns a moment (seconds since 1970) as RFC 3339.
pub fn at(unix: u64) -> Option<String> {
    let seconds = i64::try_from(unix).ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
}

/// Turns the fault of a host check into that of a tunnel that was up.
pub fn lost(fault: Fault) -> Fault {
    let detail = fault.detail.as_received();
    let detail = detail.strip_prefix("refused: ").unwrap_or(detail);
    let name = if fault.name == FaultName::Quarantined { FaultName::Quarantined } else { FaultName::ComplianceLost };
    Fault { name, detail: format!("disconnected: {detail}").into(), ..fault }
}

/// Names a tunnel in a fault that names none.
pub fn about(tunnel: &str, mut fault: Fault) -> Fault {
    if fault.subject.is_blank() {
        fault.subject = tunnel.into();
    }
    fault
}

/// Makes the fault of an attempt that took too long.
pub fn timed_out() -> Fault {
    Fault::new(FaultName::TimedOut, "", "did not come up in time", "try again, or postern connect --timeout")
}

/// Makes the fault of a lost network process.
pub fn engine_lost() -> Fault {
    Fault::new(
        FaultName::Internal,
        "",
        "failed: the network process ended unexpectedly",
        "connect again; see the service's log",
    )
}

/// Makes the fault of whoever wants a tunnel while the service stops.
pub fn stopping(tunnel: &str) -> Fault {
    Fault::new(FaultName::ServiceUnavailable, tunnel, "the service is stopping", "start it again")
}

/// Makes the fault of an engine's end.
pub fn of_end(cause: &EndCause) -> Fault {
    let text = cause.to_string();
    let (name, next) = match cause {
        EndCause::Session { cause } => return of_close(cause),
        EndCause::LookupFailed { .. } => {
            (FaultName::GatewayNameUnresolved, "check the gateway's name and the resolver")
        }
        EndCause::PeerSilent => (
            FaultName::GatewayUnreachable,
            "compare the public keys on both sides, check the peer's address and that its UDP port is let through",
        ),
        EndCause::Network { .. } => (FaultName::GatewayUnreachable, "check the network connection"),
        EndCause::PathChanged => (FaultName::GatewayLost, "connect again"),
        EndCause::Device { .. } => (FaultName::SystemChangeFailed, "postern doctor"),
        EndCause::OwnerGone => (FaultName::Internal, "connect again"),
    };
    Fault::new(name, "", format!("failed: {text}"), next)
}

fn of_close(cause: &CloseCause) -> Fault {
    let (name, next): (FaultName, String) = match cause {
        CloseCause::AuthenticationFailed { likely } => (FaultName::AuthenticationFailed, likely_next(likely)),
        CloseCause::LoginDeclined { reason, message } => return declined(*reason, message),
        CloseCause::NoAnswer => (
            FaultName::GatewayUnreachable,
            "check the gateway's address and that UDP 500 and 4500 (or its TCP port) are let through".into(),
        ),
        CloseCause::GatewayLost => (FaultName::GatewayLost, "check the network connection, then connect again".into()),
        CloseCause::AddressChangeRefused | CloseCause::GatewayRestarted => {
            (FaultName::GatewayLost, "connect again".into())
        }
        CloseCause::Redirected { .. } => (
            FaultName::GatewayUnreachable,
            "ask the gateway's administrator: its gateways send this client in a circle".into(),
        ),
        CloseCause::ClosedByPeer => {
            (FaultName::ClosedByGateway, "connect again, or ask the gateway's administrator".into())
        }
        CloseCause::Expired => (FaultName::GatewayLost, "connect again".into()),
        CloseCause::GatewayNotTrusted { why } => (FaultName::GatewayNotTrusted, distrust_next(why).into()),
        CloseCause::ProposalMismatch { .. } => {
            (FaultName::ProposalMismatch, "compare the tunnel's proposals with the gateway's".into())
        }
        CloseCause::ProtectionMissing { .. } => {
            (FaultName::ProposalMismatch, "ask the gateway's administrator to set it up".into())
        }
        CloseCause::TagCheckRefused { text } => return tag_check(text),
        CloseCause::AddressUnavailable => {
            (FaultName::AddressUnavailable, "ask the gateway's administrator for a free address".into())
        }
        CloseCause::TrafficSelectorsUnacceptable => {
            (FaultName::TrafficSelectorsUnacceptable, "compare the tunnel's networks with the gateway's".into())
        }
        CloseCause::PeerMisbehaved { .. } | CloseCause::PeerIncompatible { .. } | CloseCause::RefusedByPeer { .. } => {
            (FaultName::PeerMisbehaved, "ask the gateway's administrator".into())
        }
        CloseCause::InputRefused { .. } => (
            FaultName::InputNeeded,
            "answer at a terminal, or give it by file or standard input (postern connect --help)".into(),
        ),
        CloseCause::InputTimedOut => (FaultName::TimedOut, "connect again and answer in time".into()),
        CloseCause::ConfigurationUnusable { .. } => (FaultName::ProfileInvalid, "mend the tunnel's profile".into()),
        CloseCause::Requested { .. } => (FaultName::Cancelled, String::new()),
        CloseCause::RandomUnavailable => (FaultName::Internal, String::new()),
    };
    let what = match cause {
        CloseCause::GatewayLost | CloseCause::ClosedByPeer | CloseCause::Expired | CloseCause::Requested { .. } => {
            "ended"
        }
        _ => "failed",
    };
    Fault::new(name, "", format!("{what}: {cause}"), next)
}

fn likely_next(likely: &[LikelyCause]) -> String {
    let words: Vec<&str> = likely
        .iter()
        .map(|cause| match cause {
            LikelyCause::CredentialsWrong => "user name and password",
            LikelyCause::CertificateNotAccepted => "whether the gateway accepts this certificate",
            LikelyCause::IdentityUnknown => "the identity (auth.identity)",
            LikelyCause::PostQuantumKeyWrong => "the post-quantum key and its name (auth.ppk_id)",
            LikelyCause::PreSharedKeyWrong => "the pre-shared key",
        })
        .collect();
    if words.is_empty() { "check the credentials".into() } else { format!("check {}", words.join(", then ")) }
}

/// The gateway refused the login and said why.
fn declined(reason: Decline, message: &str) -> Fault {
    let next = match reason {
        Decline::AccountDisabled => "ask the account's administrator, who has disabled it",
        Decline::NoDialInPermission => "ask the account's administrator for leave to connect",
        Decline::PasswordChange => "connect again with a new password that the gateway's rules allow",
        Decline::PasswordExpired => "connect again at a terminal to change it, or change it where it is administered",
        Decline::RestrictedHours => "connect again at an hour at which the account may",
        Decline::WrongCredentials | Decline::Other(_) | Decline::Unstated => "check user name and password",
    };
    let said = message.trim();
    let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
    Fault::new(
        FaultName::AuthenticationFailed,
        "",
        format!("failed: the gateway declined the login: {reason}{said}"),
        next,
    )
}

const fn distrust_next(why: &DistrustReason) -> &'static str {
    match why {
        DistrustReason::Certificate { .. } => "check gateway_ca_files and the gateway's certificate",
        DistrustReason::IdentityMismatch { .. } => "check gateway_identity; do not give the password",
        DistrustReason::ProofWrong => "check the pre-shared key or the gateway's certificate",
        DistrustReason::MethodNotAccepted { .. } => "check gateway_auth",
        DistrustReason::ProofMissing => {
            "check gateway_auth; a FortiGate with EAP and a shared key wants gateway_auth = psk"
        }
        DistrustReason::SuccessUnconfirmed => {
            "ask the gateway's administrator for a server that does so (RFC 9190), or for TLS 1.2"
        }
        DistrustReason::EapProofMissing | DistrustReason::EarlySuccess | DistrustReason::LoginKeyMissing => {
            "do not use this gateway until its administrator knows why"
        }
    }
}

/// The gateway checks tags by the address from which EMS sees this endpoint, so an address list
/// that does not hold it refuses as a missing tag does.
fn tag_check(text: &str) -> Fault {
    let detail = if text.trim().is_empty() {
        "was refused by the gateway's security posture tag check".to_owned()
    } else {
        format!("was refused by the gateway's security posture tag check: {text}")
    };
    Fault::new(
        FaultName::EMSTokenCheckFailed,
        "",
        detail,
        "postern posture tags: none of the tags that the gateway wants is present, or EMS does not share this endpoint's \
         address with the gateway (only endpoints connected to this fabric device)",
    )
}

/// Returns after how long another attempt is worth making, if at all.
pub fn retry_of(cause: &EndCause) -> Option<Duration> {
    match cause {
        EndCause::Session { cause } => match cause.retry() {
            Retry::After { wait } => Some(wait),
            Retry::Never | Retry::WithNewCredentials => None,
        },
        EndCause::PathChanged => Some(Duration::ZERO),
        EndCause::LookupFailed { .. } | EndCause::Network { .. } | EndCause::PeerSilent => Some(Duration::from_secs(5)),
        EndCause::Device { .. } | EndCause::OwnerGone => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn critical() -> Fault {
        of_refusal(
            "RA-VPN",
            &Refusal {
                reason: Reason::ProhibitedTagPresent { tag: "Critical Vulnerability".into(), rule: None },
                evidence: "openssl 3.0.11-1, CVE-2024-5535, fixed in 3.0.14-1".into(),
                next: "upgrade openssl, then postern scan".into(),
                warning: "Call 4711".into(),
            },
        )
    }

    #[test]
    fn a_refusal_reads_as_the_documentation_shows_it() {
        assert_eq!(
            critical().to_string(),
            "HostCheckFailed: RA-VPN refused: tag \"Critical Vulnerability\" (openssl 3.0.11-1, CVE-2024-5535, fixed in \
             3.0.14-1). Next: upgrade openssl, then postern scan."
        );
        assert_eq!(critical().warning, Some("Call 4711".into()));
    }

    #[test]
    fn unknown_tags_have_their_own_exit_code() {
        let refusal = Refusal {
            reason: Reason::TagsUnknown { tag: None, flaw: None, since_unix: Some(1_700_000_000) },
            evidence: "tag \"x\" is unknown: never scanned".into(),
            next: "postern scan".into(),
            warning: String::new(),
        };
        let fault = of_refusal("RA-VPN", &refusal);
        assert_eq!(fault.exit_code(), 13);
        assert!(fault.to_string().contains("since 2023-11-14T22:13:20Z"), "{fault}");
    }

    #[test]
    fn a_lost_tunnel_keeps_evidence_and_next_step() {
        let fault = lost(critical());
        assert_eq!(fault.exit_code(), 7);
        assert!(fault.to_string().starts_with("ComplianceLost: RA-VPN disconnected: tag \"Critical"), "{fault}");
        assert!(fault.refusal.is_some() && fault.warning.is_some());
    }

    #[test]
    fn what_a_gateway_does_has_the_exit_code_of_its_name() {
        let close = |cause| of_end(&EndCause::Session { cause }).exit_code();
        assert_eq!(close(CloseCause::AuthenticationFailed { likely: vec![LikelyCause::CredentialsWrong] }), 4);
        let expired = CloseCause::LoginDeclined { reason: Decline::PasswordExpired, message: "old".into() };
        assert_eq!(close(expired.clone()), 4);
        let told = of_end(&EndCause::Session { cause: expired }).to_string();
        assert!(told.contains("the password has expired (old)"), "{told}");
        assert_eq!(close(CloseCause::NoAnswer), 5);
        assert_eq!(close(CloseCause::TagCheckRefused { text: String::new() }), 6);
        assert_eq!(close(CloseCause::GatewayNotTrusted { why: DistrustReason::ProofWrong }), 14);
        assert_eq!(close(CloseCause::ProposalMismatch { sa: ike_client::session::SaKind::Ike }), 15);
        assert_eq!(close(CloseCause::InputRefused { because: "no terminal".into() }), 16);
    }

    #[test]
    fn what_became_of_an_attempt_reads_as_a_sentence() {
        let told = |cause| about("work", of_end(&EndCause::Session { cause })).to_string();
        assert!(told(CloseCause::NoAnswer).starts_with("GatewayUnreachable: work failed: "));
        assert!(told(CloseCause::ClosedByPeer).starts_with("ClosedByGateway: work ended: "));
        let refused = told(CloseCause::TagCheckRefused { text: "EMSTokenCheckFailed".into() });
        assert!(refused.starts_with("EMSTokenCheckFailed: work was refused by the gateway's"), "{refused}");
    }
}
