//! Errors as users meet them: one stable name for each cause that the client can observe.
//!
//! A [`Fault`] prints as `NAME: SUBJECT DETAIL. Next: STEP.` and maps to one exit code of
//! `postern` ([`FaultName::exit_code`]).

use crate::text::PlainText;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares the names, so that the enum, its text form and its exit code cannot disagree.
macro_rules! fault_names {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)*) => {
        /// The stable name of a cause. The text form is the identifier itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum FaultName { $($(#[doc = $doc])+ $name,)* }

        impl FaultName {
            /// Every name, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the text form.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Returns what it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)* }
            }

            /// Returns the exit code with which `postern` ends when this is why it failed.
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

fault_names! {
    /// The command or the request was not understood.
    UsageInvalid = 2,
    /// The host check refused: a prohibited tag is present or an allowed tag is missing.
    HostCheckFailed = 3,
    /// The gateway refused the credentials, or the peer's AUTHENTICATION_FAILED gave no cause.
    AuthenticationFailed = 4,
    /// Nothing answered at the gateway's address, or there is no way to it.
    GatewayUnreachable = 5,
    /// The name of the gateway could not be resolved.
    GatewayNameUnresolved = 5,
    /// The gateway's own security posture tag check refused.
    EMSTokenCheckFailed = 6,
    /// An established tunnel was torn down because the posture tags changed.
    ComplianceLost = 7,
    /// The service does not answer on its control socket.
    ServiceUnavailable = 8,
    /// A profile, a setting or an invitation is not valid.
    ProfileInvalid = 9,
    /// There is no tunnel of that name.
    TunnelUnknown = 10,
    /// The caller may not do this.
    NotPermitted = 11,
    /// It took longer than allowed.
    TimedOut = 12,
    /// Tag knowledge is missing, expired, foreign or incomplete: unknown is not good.
    TagsUnknown = 13,
    /// The gateway could not prove that it is the configured one.
    GatewayNotTrusted = 14,
    /// Client and gateway have no algorithm set in common.
    ProposalMismatch = 15,
    /// A question needs an answer and there is nobody to ask.
    InputNeeded = 16,
    /// EMS has put this endpoint into quarantine.
    Quarantined = 17,
    /// The gateway accepted none of the requested networks.
    TrafficSelectorsUnacceptable = 1,
    /// The gateway has no address to give.
    AddressUnavailable = 1,
    /// The peer broke the protocol.
    PeerMisbehaved = 1,
    /// The established tunnel's gateway stopped answering.
    GatewayLost = 5,
    /// The gateway closed the tunnel.
    ClosedByGateway = 1,
    /// State could not be written, so nothing was changed on the system.
    StateUnwritable = 1,
    /// The system refused a route, an address, a firewall or a resolver change.
    SystemChangeFailed = 1,
    /// EMS did not answer, or answered nonsense.
    EmsUnavailable = 1,
    /// EMS could not prove that it is the one of the invitation.
    EmsNotTrusted = 14,
    /// EMS refused the request.
    EmsRefused = 11,
    /// The endpoint is not enrolled with an EMS.
    NotEnrolled = 1,
    /// A person or a script asked to stop.
    Cancelled = 130,
    /// Something else went wrong inside Postern.
    Internal = 1,
}

impl fmt::Display for FaultName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One failure, told to a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The stable name.
    pub name: FaultName,
    /// What it is about: a tunnel's name, a file, EMS; empty when that is obvious.
    #[serde(default, skip_serializing_if = "PlainText::is_blank")]
    pub subject: PlainText,
    /// What happened, without a full stop at its end.
    pub detail: PlainText,
    /// The next step, without a full stop at its end; empty when there is none.
    #[serde(default, skip_serializing_if = "PlainText::is_blank")]
    pub next: PlainText,
    /// The administrator's own words, to be shown first and verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<PlainText>,
    /// For host-check faults: which row of the verdict table it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<crate::posture::Refusal>,
}

impl Fault {
    /// Makes a fault without warning or refusal.
    pub fn new(
        name: FaultName,
        subject: impl Into<PlainText>,
        detail: impl Into<PlainText>,
        next: impl Into<PlainText>,
    ) -> Self {
        Self { name, subject: subject.into(), detail: detail.into(), next: next.into(), warning: None, refusal: None }
    }

    /// Returns the exit code for this failure: [`FaultName::exit_code`].
    pub fn exit_code(&self) -> u8 {
        self.name.exit_code()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.name)?;
        if !self.subject.is_blank() {
            write!(formatter, " {}", self.subject.for_one_line())?;
        }
        write!(formatter, " {}", ended(self.detail.for_one_line()))?;
        if !self.next.is_blank() {
            write!(formatter, " Next: {}", ended(self.next.for_one_line()))?;
        }
        Ok(())
    }
}

/// Ends a sentence, unless somebody else's words end it already.
fn ended(text: String) -> String {
    if text.ends_with(['.', '?', '!']) { text } else { text + "." }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_the_documentation_shows_it() {
        let fault = Fault::new(
            FaultName::HostCheckFailed,
            "RA-VPN",
            "refused: tag \"Critical Vulnerability\" (openssl 3.0.11-1, CVE-2024-5535, fixed in 3.0.14-1)",
            "upgrade openssl, then postern scan",
        );
        assert_eq!(
            fault.to_string(),
            "HostCheckFailed: RA-VPN refused: tag \"Critical Vulnerability\" (openssl 3.0.11-1, CVE-2024-5535, fixed in 3.0.14-1). Next: upgrade openssl, then postern scan."
        );
        assert_eq!(fault.exit_code(), 3);
    }

    #[test]
    fn a_sentence_ends_once() {
        let fault = Fault::new(FaultName::ProfileInvalid, "", "was it copied whole?", "copy it whole");
        assert_eq!(fault.to_string(), "ProfileInvalid: was it copied whole? Next: copy it whole.");
    }

    #[test]
    fn names_are_their_own_json() {
        for name in FaultName::ALL {
            assert_eq!(serde_json::to_string(name).unwrap(), format!("\"{name}\""));
        }
    }
}
