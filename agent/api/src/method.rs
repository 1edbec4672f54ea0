//! The table of methods: name, role, parameters, result.

use crate::prompt::PromptKind;
use crate::text::PlainText;
use serde::{Deserialize, Serialize};

/// What a caller must be to call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever may open the socket (group `postern`).
    Observer,
    /// A member of the group `postern`: connects, answers prompts, scans.
    User,
    /// root: changes tunnels, enrols, repairs.
    Administrator,
}

/// Declares the methods, so that name and role stand in one table.
macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $role:ident;)*) => {
        /// A method of the control socket.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method { $($(#[$doc])* $variant,)* }

        impl Method {
            /// Every method.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns its name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the least role that may call it.
            pub const fn role(self) -> Role {
                match self { $(Self::$variant => Role::$role,)* }
            }

            /// Finds a method by its name on the wire.
            pub fn by_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

methods! {
    /// First request of every client: [`Hello`] to [`Welcome`].
    Hello = "hello", Observer;
    /// Nothing to [`crate::Status`].
    Status = "status", Observer;
    /// Nothing to nothing; events follow, a snapshot first.
    Subscribe = "subscribe", Observer;
    /// [`Connect`] to [`crate::state::TunnelStatus`], when it is up.
    Connect = "connect", User;
    /// [`TunnelName`] (or none: all) to nothing, when it is down.
    Disconnect = "disconnect", User;
    /// [`TunnelName`] to nothing: lifts the block that a lost compliance left.
    Dismiss = "dismiss", User;
    /// [`PromptAnswer`] to nothing.
    PromptAnswer = "prompt.answer", User;
    /// Nothing to a list of [`crate::state::TunnelStatus`].
    TunnelList = "tunnel.list", Observer;
    /// Nothing to a list of [`InvalidTunnel`].
    TunnelInvalid = "tunnel.invalid", Administrator;
    /// [`TunnelName`] to [`TunnelDocument`].
    TunnelShow = "tunnel.show", Observer;
    /// [`TunnelAdd`] to nothing: the administrator's, or a user's own where that is allowed.
    TunnelAdd = "tunnel.add", User;
    /// [`TunnelName`] to nothing: an administrator any local one, a user his own.
    TunnelRemove = "tunnel.remove", User;
    /// Nothing to [`Policy`].
    Policy = "policy.show", Observer;
    /// [`Enroll`] to [`Enrolled`].
    Enroll = "enroll", Administrator;
    /// Nothing to [`Unenrolled`].
    Unenroll = "unenroll", Administrator;
    /// [`Code`] to nothing: ends a quarantine.
    Release = "release", User;
    /// [`Code`] to [`crate::posture::BreakGlass`]: overrides the host check for a time.
    BreakGlass = "break-glass", User;
    /// Nothing to [`crate::posture::TagReport`].
    PostureTags = "posture.tags", Observer;
    /// Nothing to a list of [`crate::posture::Fact`].
    PostureFacts = "posture.facts", Observer;
    /// [`Explain`] to [`Explanation`].
    PostureExplain = "posture.explain", Observer;
    /// Nothing to the report that EMS would receive now, as JSON.
    PostureReport = "posture.report", Observer;
    /// Nothing to [`crate::posture::ScanReport`].
    Scan = "scan", User;
    /// [`ScanExport`] to the last scan in that form, as JSON.
    ScanExport = "scan.export", User;
    /// Nothing to a list of [`crate::event::Notice`], newest first.
    Notices = "notices", Observer;
    /// Nothing to a list of [`crate::health::Check`].
    Health = "health", Observer;
    /// Nothing to [`Repaired`]: takes back whatever a crash left behind.
    Repair = "repair", Administrator;
}

/// The forms in which other tools read a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanForm {
    /// SARIF 2.1.0.
    Sarif,
    /// CycloneDX 1.6 with a vulnerability for each finding (VEX).
    Cyclonedx,
}

/// The parameters of [`Method::ScanExport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanExport {
    /// The form.
    pub form: ScanForm,
}

/// What a client says first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::rpc::PROTOCOL`].
    pub protocol: String,
    /// [`crate::rpc::PROTOCOL_VERSION`].
    pub version: u32,
    /// What the client is, for the log.
    pub client: String,
}

/// What the service answers first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// [`crate::rpc::PROTOCOL`].
    pub protocol: String,
    /// [`crate::rpc::PROTOCOL_VERSION`].
    pub version: u32,
    /// Version of the service.
    pub service: String,
    /// What the caller may do.
    pub role: Role,
}

/// Names one tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunnelName {
    /// Its name.
    pub tunnel: String,
}

/// Asks for a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connect {
    /// The tunnel's name.
    pub tunnel: String,
    /// Whether this client can answer prompts; if not, a question fails as `InputNeeded`.
    pub interactive: bool,
    /// Whether each message of the conversation with the gateway is told to this client as
    /// [`crate::event::Event::Trace`].
    #[serde(default)]
    pub trace: bool,
    /// Whether the tunnel's keys are told to this client as [`crate::event::Event::Keys`]. Refused to
    /// all but root.
    #[serde(default)]
    pub disclose_keys: bool,
    /// Seconds until `TimedOut`; the profile's limit when absent.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// Answers that this client has at hand: they are asked of it, whatever the service has kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplied: Vec<PromptKind>,
}

/// Answers a prompt. The value is a secret: it is wiped after use and never logged.
#[derive(Clone, Serialize, Deserialize)]
pub struct PromptAnswer {
    /// The prompt's number.
    pub id: u64,
    /// The answer, or none to cancel.
    pub answer: Option<String>,
}

impl std::fmt::Debug for PromptAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PromptAnswer {{ id: {}, .. }}", self.id)
    }
}

/// A tunnel as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunnelDocument {
    /// Who defined it.
    pub origin: crate::state::Origin,
    /// The tunnel as TOML, without secrets: the file as written, or what EMS gave.
    pub toml: String,
    /// The file, for a local tunnel.
    #[serde(default)]
    pub file: Option<String>,
    /// Tunnels of the same name whose authors have less to say, the weightiest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hides: Vec<HiddenDocument>,
}

/// A tunnel that another of its name hides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HiddenDocument {
    /// Who defined it.
    pub origin: crate::state::Origin,
    /// The tunnel as TOML, without secrets.
    pub toml: String,
    /// Its file.
    #[serde(default)]
    pub file: Option<String>,
}

/// What EMS's profile says of the service as a whole; nothing where there is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Policy {
    /// The profile's name.
    #[serde(default)]
    pub profile: Option<PlainText>,
    /// How often the compliance loop looks again by itself, at most.
    #[serde(default)]
    pub compliance_interval_seconds: Option<u64>,
    /// Whether users may have tunnels of their own, as far as EMS is asked.
    #[serde(default)]
    pub own_tunnels_allowed: Option<bool>,
    /// Whether the endpoint may leave EMS.
    #[serde(default)]
    pub unenrol_allowed: Option<bool>,
}

/// Adds a local tunnel.
#[derive(Clone, Serialize, Deserialize)]
pub struct TunnelAdd {
    /// The new tunnel's name.
    pub tunnel: String,
    /// The tunnel as TOML, without secrets.
    pub toml: String,
    /// Whether a tunnel of that name may be replaced.
    #[serde(default)]
    pub replace: bool,
    /// The pre-shared key, to be kept by the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_shared_key: Option<String>,
    /// The user's password, to be kept by the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The private key of a WireGuard tunnel, to be kept by the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
}

impl std::fmt::Debug for TunnelAdd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TunnelAdd").field("tunnel", &self.tunnel).finish_non_exhaustive()
    }
}

/// Enrols with an EMS.
#[derive(Clone, Serialize, Deserialize)]
pub struct Enroll {
    /// The invitation: URL, code and pin as one text.
    pub invitation: String,
}

impl std::fmt::Debug for Enroll {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Enroll { .. }")
    }
}

/// The outcome of leaving EMS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unenrolled {
    /// Whether EMS knows; otherwise it was out of reach, and still lists this endpoint.
    pub ems_told: bool,
}

/// A code that an administrator gave to whoever is at the endpoint.
#[derive(Clone, Serialize, Deserialize)]
pub struct Code {
    /// The code, as typed.
    pub code: String,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Code { .. }")
    }
}

/// The outcome of an enrolment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// EMS's name.
    pub ems: PlainText,
    /// This endpoint's identifier there.
    pub endpoint: String,
}

/// Asks why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explain {
    /// A tag's or a tunnel's name.
    pub subject: String,
}

/// Why a tag or a verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Lines of text, indented as a tree.
    pub lines: Vec<PlainText>,
}

/// A tunnel's file that is there and not valid: there is no such tunnel until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidTunnel {
    /// The name that the tunnel would have.
    pub tunnel: PlainText,
    /// The file.
    pub file: PlainText,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// The element, as a dotted path; empty for the whole file.
    pub element: PlainText,
    /// What is wrong with it.
    pub problem: PlainText,
    /// What would have been right; empty where the problem says it all.
    pub expected: PlainText,
}

/// What a repair took back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Repaired {
    /// One line for each change that was undone.
    pub undone: Vec<PlainText>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_name() {
        for method in Method::ALL {
            assert_eq!(Method::by_name(method.name()), Some(*method));
        }
        assert_eq!(Method::by_name("reboot"), None);
    }

    #[test]
    fn an_answer_is_not_printed() {
        let answer = PromptAnswer { id: 7, answer: Some("hunter2".into()) };
        assert!(!format!("{answer:?}").contains("hunter2"));
    }
}
