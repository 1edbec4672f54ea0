//! The administrator's interface as HTTP resources, described by `administration.json`.
//!
//! It is served on the administrator's socket and, where [`Settings`](super::Settings) say so, on a
//! loopback address; on both only to who shows the token that lies in EMS's state directory. Each
//! resource is one request of the office: nothing is decided here.

use super::Door;
use super::reply::{read, write};
use crate::ems::office::{Actor, AdministratorRequest as Request, Denial, Sharing};
use crate::ems::store::GroupRow;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use posture::ems::protocol::Profile;
use posture::ems::signed::Fingerprint;
use posture::rules::{TagName, TaggingRuleSet};
use serde::Deserialize;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

/// The description of everything that is served here.
pub const ADMINISTRATION: &str = include_str!("../administration.json");
/// The token's file within the state directory.
pub const ADMINISTRATOR_TOKEN: &str = "administrator.token";

/// The digest of the administrator's token. Digests are compared, so how long that takes says nothing
/// about the token.
#[derive(Clone)]
pub(super) struct Token(Arc<Fingerprint>);

impl Token {
    /// Reads the token; makes it, for EMS's owner alone, where there is none.
    pub(super) fn open(state: &std::path::Path) -> Result<Self> {
        let place = state.join(ADMINISTRATOR_TOKEN);
        let token = match std::fs::read_to_string(&place) {
            Ok(token) if token.trim().len() >= 20 => token,
            _ => {
                let token = crate::ems::office::random_token()?;
                let pending = place.with_extension("new");
                let _ = std::fs::remove_file(&pending);
                let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&pending)?;
                file.write_all(token.as_bytes())?;
                file.sync_all()?;
                std::fs::rename(&pending, &place).with_context(|| place.display().to_string())?;
                token
            }
        };
        Ok(Self(Arc::new(Fingerprint::of(token.trim().as_bytes()))))
    }

    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
        shown.is_some_and(|shown| Fingerprint::of(shown.as_bytes()) == *self.0)
    }
}

/// What stands behind each resource: the office, and whose word comes to it.
#[derive(Clone)]
struct Desk {
    door: Door,
    actor: Arc<Actor>,
}

pub(super) fn routes(door: Door, token: Token) -> Router {
    let desk = Desk { door: door.clone(), actor: Arc::new(Actor::Token(*token.0)) };
    let resources = Router::new()
        .route("/endpoints", get(|State(desk)| ask(desk, Ok(Request::ListEndpoints))))
        .route("/endpoints/{endpoint}", delete(remove_endpoint))
        .route("/endpoints/{endpoint}/facts", get(facts))
        .route("/endpoints/{endpoint}/certificates", get(certificates))
        .route("/endpoints/{endpoint}/tags/{tag}", put(set_tag).delete(unset_tag))
        .route("/endpoints/{endpoint}/group", put(assign_group))
        .route("/endpoints/{endpoint}/quarantine", put(quarantine).delete(release))
        .route("/endpoints/{endpoint}/break-glass", post(break_glass))
        .route("/endpoints/{endpoint}/scan", post(scan))
        .route("/invitations", get(|State(desk)| ask(desk, Ok(Request::ListInvitations))).post(invite))
        .route("/invitations/{id}", delete(revoke_invitation))
        .route("/profile", get(|State(desk)| ask(desk, Ok(Request::ShowProfile))).put(set_profile))
        .route("/profiles", get(|State(desk)| ask(desk, Ok(Request::ListProfiles))))
        .route("/profiles/{name}", put(put_profile).delete(remove_profile))
        .route("/rule-sets", get(|State(desk)| ask(desk, Ok(Request::ShowRules))).put(set_rules))
        .route("/rule-sets/{name}", put(put_rule_set).delete(remove_rule_set))
        .route("/groups", get(|State(desk)| ask(desk, Ok(Request::ListGroups))))
        .route("/groups/{name}", put(put_group).delete(remove_group))
        .route("/certificates/{serial}", delete(revoke_certificate))
        .route("/signing-key", post(rotate_signing_key))
        .route("/devices/{device}", put(add_device))
        .route("/devices/{device}/sharing", put(set_sharing))
        .route("/devices/{device}/addresses", get(addresses))
        .route("/events", get(events))
        .route("/audit", get(audit))
        .route("/authority", get(|State(desk)| ask(desk, Ok(Request::ShowAuthority))))
        .route_layer(middleware::from_fn_with_state((token, door), authorised))
        .route("/openapi.json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], ADMINISTRATION) }))
        .fallback(|| async { Denial::missing("there is no such resource").into_response() })
        .with_state(desk);
    Router::new().nest("/admin/v1", resources)
}

async fn authorised(State((token, door)): State<(Token, Door)>, request: HttpRequest, next: Next) -> Response {
    if token.is_shown(request.headers()) {
        return next.run(request).await;
    }
    let wanted = format!("{} {}", request.method(), request.uri().path());
    if let Err(error) = door.enter(move |office, now| office.refuse_stranger(&wanted, now)).await {
        tracing::error!(?error, "a refused stranger is not noted");
    }
    let denial = Denial::stranger().reply();
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], axum::Json(denial)).into_response()
}

async fn ask(desk: Desk, request: Result<Request, Denial>) -> Response {
    write(match request {
        Ok(request) => {
            let actor = desk.actor;
            desk.door.enter(move |office, now| office.administer(request, &actor, now)).await
        }
        Err(denial) => Err(denial),
    })
}

type Named = Result<Path<String>, PathRejection>;

fn named(name: Named) -> Result<String, Denial> {
    name.map(|Path(name)| name).map_err(Denial::invalid)
}

async fn remove_endpoint(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|endpoint| Request::RemoveEndpoint { endpoint })).await
}

async fn facts(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|endpoint| Request::ShowFacts { endpoint })).await
}

async fn certificates(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|endpoint| Request::ListCertificates { endpoint })).await
}

async fn scan(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|endpoint| Request::Scan { endpoint })).await
}

async fn release(State(desk): State<Desk>, name: Named) -> Response {
    let request = |endpoint| Request::Quarantine { endpoint, on: false, message: None };
    ask(desk, named(name).map(request)).await
}

type TwoNames = Result<Path<(String, String)>, PathRejection>;

async fn set_tag(State(desk): State<Desk>, names: TwoNames) -> Response {
    let names = names.map_err(Denial::invalid);
    ask(desk, names.map(|Path((endpoint, tag))| Request::SetTag { endpoint, tag: TagName::new(tag) })).await
}

async fn unset_tag(State(desk): State<Desk>, names: TwoNames) -> Response {
    let names = names.map_err(Denial::invalid);
    ask(desk, names.map(|Path((endpoint, tag))| Request::UnsetTag { endpoint, tag: TagName::new(tag) })).await
}

#[derive(Deserialize)]
struct Assignment {
    group: Option<String>,
}

async fn assign_group(State(desk): State<Desk>, name: Named, body: Bytes) -> Response {
    let request = || {
        let Assignment { group } = read(&body)?;
        Ok(Request::AssignGroup { endpoint: named(name)?, group })
    };
    ask(desk, request()).await
}

#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    message: Option<String>,
}

async fn quarantine(State(desk): State<Desk>, name: Named, body: Bytes) -> Response {
    let request = || {
        let Words { message } = read(&body)?;
        Ok(Request::Quarantine { endpoint: named(name)?, on: true, message })
    };
    ask(desk, request()).await
}

#[derive(Deserialize)]
struct Emergency {
    use_within_seconds: u32,
    lasts_seconds: u32,
    reason: String,
}

async fn break_glass(State(desk): State<Desk>, name: Named, body: Bytes) -> Response {
    let request = || {
        let Emergency { use_within_seconds, lasts_seconds, reason } = read(&body)?;
        Ok(Request::MakeBreakGlass { endpoint: named(name)?, use_within_seconds, lasts_seconds, reason })
    };
    ask(desk, request()).await
}

#[derive(Deserialize)]
struct Invite {
    #[serde(default)]
    label: String,
    valid_seconds: u64,
    #[serde(default = "once")]
    uses: u64,
    #[serde(default)]
    group: Option<String>,
}

fn once() -> u64 {
    1
}

async fn invite(State(desk): State<Desk>, body: Bytes) -> Response {
    let request = || {
        let Invite { label, valid_seconds, uses, group } = read(&body)?;
        Ok(Request::MakeInvitation { label, valid_seconds, uses, group })
    };
    ask(desk, request()).await
}

async fn revoke_invitation(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|id| Request::RevokeInvitation { id })).await
}

async fn set_profile(State(desk): State<Desk>, body: Bytes) -> Response {
    ask(desk, read::<Profile>(&body).map(|profile| Request::SetProfile { profile: Box::new(profile) })).await
}

/// What is written under a name says that name itself, or another one was meant.
fn same_name(path: &str, own: &str) -> Result<(), Denial> {
    match path == own {
        true => Ok(()),
        false => Err(Denial::invalid("the document has another name than its place")),
    }
}

async fn put_profile(State(desk): State<Desk>, name: Named, body: Bytes) -> Response {
    let request = || {
        let profile: Profile = read(&body)?;
        same_name(&named(name)?, &profile.name)?;
        Ok(Request::PutProfile { profile: Box::new(profile) })
    };
    ask(desk, request()).await
}

async fn remove_profile(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|name| Request::RemoveProfile { name })).await
}

#[derive(Deserialize)]
struct RuleSets {
    rule_sets: Vec<TaggingRuleSet>,
}

async fn set_rules(State(desk): State<Desk>, body: Bytes) -> Response {
    ask(desk, read::<RuleSets>(&body).map(|RuleSets { rule_sets }| Request::SetRules { rule_sets })).await
}

async fn put_rule_set(State(desk): State<Desk>, name: Named, body: Bytes) -> Response {
    let request = || {
        let rule_set: TaggingRuleSet = read(&body)?;
        same_name(&named(name)?, &rule_set.name)?;
        Ok(Request::PutRuleSet { rule_set: Box::new(rule_set) })
    };
    ask(desk, request()).await
}

async fn remove_rule_set(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|name| Request::RemoveRuleSet { name })).await
}

async fn put_group(State(desk): State<Desk>, name: Named, body: Bytes) -> Response {
    let request = || {
        let group: GroupRow = read(&body)?;
        same_name(&named(name)?, &group.name)?;
        Ok(Request::PutGroup { group })
    };
    ask(desk, request()).await
}

async fn remove_group(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|name| Request::RemoveGroup { name })).await
}

async fn revoke_certificate(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|serial| Request::RevokeCertificate { serial })).await
}

#[derive(Deserialize)]
struct Rotation {
    overlap_seconds: u64,
}

async fn rotate_signing_key(State(desk): State<Desk>, body: Bytes) -> Response {
    let request = |Rotation { overlap_seconds }| Request::RotateSigningKey { overlap_seconds };
    ask(desk, read(&body).map(request)).await
}

async fn add_device(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|device| Request::AddDevice { device })).await
}

#[derive(Deserialize)]
struct Shared {
    sharing: Sharing,
}

async fn set_sharing(State(desk): State<Desk>, name: Named, body: Bytes) -> Response {
    let request = || {
        let Shared { sharing } = read(&body)?;
        Ok(Request::SetSharing { device: named(name)?, sharing })
    };
    ask(desk, request()).await
}

async fn addresses(State(desk): State<Desk>, name: Named) -> Response {
    ask(desk, named(name).map(|device| Request::ShowAddresses { device })).await
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    endpoint: Option<String>,
}

type Wanted = Result<Query<After>, QueryRejection>;

async fn events(State(desk): State<Desk>, wanted: Wanted) -> Response {
    let wanted = wanted.map_err(Denial::invalid);
    ask(desk, wanted.map(|Query(After { after, endpoint })| Request::ListEvents { after, endpoint })).await
}

async fn audit(State(desk): State<Desk>, wanted: Wanted) -> Response {
    let wanted = wanted.map_err(Denial::invalid);
    ask(desk, wanted.map(|Query(After { after, .. })| Request::ListAudit { after })).await
}
