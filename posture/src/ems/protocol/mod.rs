//! What crosses the wire between an endpoint and EMS: JSON over HTTPS, version 1.
//!
//! Requests and replies are plain serde types; unknown members are ignored, so that either side
//! may be newer. The endpoint is whoever its TLS certificate says: no request names it. What EMS
//! decides travels as [`Signed`](super::signed::Signed) documents, never as bare JSON.
//!
//! | request | body | reply |
//! |---|---|---|
//! | `POST /v1/enrol` (no client certificate) | [`EnrolRequest`] | [`EnrolReply`] |
//! | `POST /v1/report` | [`Report`] | [`ReportReply`] |
//! | `GET /v1/documents?profile=N&rules=N&tags=N&key=N` | | [`DocumentSet`] |
//! | `GET /v1/push?profile=N&rules=N&tags=N&key=N` | | server-sent events, each a [`PushMessage`] |
//! | `POST /v1/events` | [`EventUpload`] | [`EventReceipt`] |
//! | `POST /v1/renew` | [`RenewRequest`] | [`RenewReply`] |
//! | `POST /v1/release` | [`ReleaseRequest`] | nothing |
//! | `POST /v1/unenrol` | | nothing, or 403 where the profile does not allow it |
//!
//! Every refusal carries an [`ErrorReply`].

mod document;
mod enrolment;
mod event;
mod profile;
mod push;
mod quarantine;
mod report;

pub use document::{DocumentKind, DocumentSet, Have, RuleDocument, SnapshotTag, TagOrigin, TagSnapshot};
pub use enrolment::{EmsId, EndpointId, EnrolReply, EnrolRequest, ErrorReply, RefusalCode, RenewReply, RenewRequest};
pub use event::{EndpointEvent, EventKind, EventReceipt, EventUpload};
pub use profile::{
    AfterLoss, Carrier, ClientAuthentication, GatewayAuthentication, ManagedTunnel, Profile, TunnelTags,
};
pub use push::PushMessage;
pub use quarantine::{Quarantine, ReleaseRequest, release_digest};
pub use report::{
    FactsObject, Report, ReportBody, ReportReply, difference, facts_for_ems, facts_object, merge, read_facts,
};

/// The path of enrolment.
pub const PATH_ENROL: &str = "/v1/enrol";
/// The path of reports.
pub const PATH_REPORT: &str = "/v1/report";
/// The path of documents: the polling fallback.
pub const PATH_DOCUMENTS: &str = "/v1/documents";
/// The path of the push stream.
pub const PATH_PUSH: &str = "/v1/push";
/// The path of event upload.
pub const PATH_EVENTS: &str = "/v1/events";
/// The path that tells of a quarantine that was ended at the endpoint.
pub const PATH_RELEASE: &str = "/v1/release";
/// The path of a new certificate.
pub const PATH_RENEW: &str = "/v1/renew";
/// The path of un-enrolment.
pub const PATH_UNENROL: &str = "/v1/unenrol";
