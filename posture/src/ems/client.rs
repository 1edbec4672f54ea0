//! One request, one reply. Every reply is bounded in bytes and time and judged as a whole.

use super::error::{EmsError, detail_of};
use super::identity::{Applicant, Identity};
use super::invitation::{EmsAddress, Invitation};
use super::network::Network;
use super::network::relay::Relay;
use super::protocol::{
    DocumentSet, EnrolReply, EnrolRequest, ErrorReply, EventReceipt, EventUpload, Have, PATH_DOCUMENTS, PATH_ENROL,
    PATH_EVENTS, PATH_PUSH, PATH_RELEASE, PATH_RENEW, PATH_REPORT, PATH_UNENROL, RefusalCode, ReleaseRequest,
    RenewReply, RenewRequest, Report, ReportReply,
};
use super::push::PushStream;
use super::trust;
use reqwest::{Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::time::timeout;

/// What an endpoint says about itself when it enrols; for people, nobody relies on it.
#[derive(Clone, Debug, Default)]
pub struct Introduction {
    /// The host name.
    pub host_name: String,
    /// The operating system.
    pub system: String,
    /// The agent's version.
    pub agent_version: String,
}

/// Enrols: proves to itself that the server holds the pinned key, sends the code and a request for
/// a fresh key, and checks what comes back. Nothing is stored here.
pub async fn enrol(
    invitation: &Invitation,
    introduction: &Introduction,
    network: &Network,
) -> Result<Identity, EmsError> {
    let tls = trust::of_invitation(invitation.pin)?;
    let client = EmsClient::build(tls, invitation.address.clone(), network, "invitation")?;
    let applicant = Applicant::new()?;
    let request = EnrolRequest {
        code: invitation.code.clone(),
        certificate_request: applicant.certificate_request()?,
        host_name: introduction.host_name.clone(),
        system: introduction.system.clone(),
        agent_version: introduction.agent_version.clone(),
    };
    let reply: EnrolReply = client.post(PATH_ENROL, &request).await?;
    applicant.accept(invitation.address.clone(), reply)
}

/// A client of one EMS as one endpoint. Cheap to clone.
#[derive(Clone)]
pub struct EmsClient {
    http: reqwest::Client,
    shared: Arc<Shared>,
}

struct Shared {
    address: EmsAddress,
    network: Network,
    /// To make the client anew.
    tls: rustls::ClientConfig,
    relay: Option<Relay>,
    expected: &'static str,
}

impl EmsClient {
    /// Makes a client. Needs a tokio runtime when the network brings a dialler.
    pub fn new(identity: &Identity, network: &Network) -> Result<Self, EmsError> {
        Self::build(trust::of_enrolment(identity)?, identity.address.clone(), network, "enrolment")
    }

    fn build(
        tls: rustls::ClientConfig,
        address: EmsAddress,
        network: &Network,
        expected: &'static str,
    ) -> Result<Self, EmsError> {
        let relay = match &network.dial {
            Some(dial) => Some(Relay::start(network, Arc::clone(dial), address.clone())?),
            None => None,
        };
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(network.limits.connect)
            .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")));
        let builder = match &relay {
            Some(relay) => relay.carry(builder),
            None => builder,
        };
        let http = builder.build().map_err(|error| EmsError::Local(error.to_string()))?;
        Ok(Self { http, shared: Arc::new(Shared { address, network: network.clone(), tls, relay, expected }) })
    }

    /// Makes the same client without the connections of this one.
    pub fn anew(&self) -> Result<Self, EmsError> {
        let Shared { address, network, tls, expected, .. } = &*self.shared;
        Self::build(tls.clone(), address.clone(), network, expected)
    }

    /// Sends a report.
    pub async fn report(&self, report: &Report) -> Result<ReportReply, EmsError> {
        self.post(PATH_REPORT, report).await
    }

    /// Fetches the documents that are newer than those at hand.
    pub async fn documents(&self, have: Have) -> Result<DocumentSet, EmsError> {
        let request = self.http.get(self.url_with(PATH_DOCUMENTS, have));
        self.exchange(request).await
    }

    /// Uploads events.
    pub async fn upload(&self, upload: &EventUpload) -> Result<EventReceipt, EmsError> {
        self.post(PATH_EVENTS, upload).await
    }

    /// Asks for a certificate for a new key, to follow the one that this client shows.
    pub async fn renew(&self, identity: &Identity) -> Result<Identity, EmsError> {
        let applicant = Applicant::new()?;
        let request = RenewRequest { certificate_request: applicant.certificate_request()? };
        let reply: RenewReply = self.post(PATH_RENEW, &request).await?;
        applicant.succeed(identity, reply)
    }

    /// Makes a client that shows another certificate of the same endpoint.
    pub fn succeeded_by(&self, identity: &Identity) -> Result<Self, EmsError> {
        Self::new(identity, &self.shared.network)
    }

    /// Tells of a quarantine that was ended at this endpoint by its code.
    pub async fn release(&self, release: &ReleaseRequest) -> Result<(), EmsError> {
        let _: serde_json::Value = self.post(PATH_RELEASE, release).await?;
        Ok(())
    }

    /// Leaves EMS; [`RefusalCode::NotAllowed`] where the profile forbids it.
    pub async fn unenrol(&self) -> Result<(), EmsError> {
        let _: serde_json::Value = self.post(PATH_UNENROL, &serde_json::json!({})).await?;
        Ok(())
    }

    /// Opens the push stream, after the event of that id where one is named.
    pub async fn push(&self, have: Have, last_id: Option<&str>) -> Result<PushStream, EmsError> {
        let mut request = self.http.get(self.url_with(PATH_PUSH, have)).header(header::ACCEPT, "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = timeout(self.shared.network.limits.reply, request.send())
            .await
            .map_err(|_| EmsError::TimedOut)?
            .map_err(|error| self.judge(&error))?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let is_stream = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if !is_stream {
            return Err(EmsError::Nonsense("the push reply is no event stream".into()));
        }
        Ok(PushStream::new(self.clone(), response))
    }

    fn url_with(&self, path: &str, have: Have) -> String {
        let Have { profile, rules, tags, key } = have;
        format!("{}?profile={profile}&rules={rules}&tags={tags}&key={key}", self.shared.address.url(path))
    }

    async fn post<Q: Serialize + Sync, A: DeserializeOwned>(&self, path: &str, body: &Q) -> Result<A, EmsError> {
        self.exchange(self.http.post(self.shared.address.url(path)).json(body)).await
    }

    /// One limit covers the whole: a server that drips a reply must not hold the endpoint longer
    /// than one that says nothing.
    async fn exchange<A: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<A, EmsError> {
        let whole = async {
            let response = request.send().await.map_err(|error| self.judge(&error))?;
            if response.status() != StatusCode::OK {
                return Err(self.refusal(response).await);
            }
            let body = self.body(response).await?;
            serde_json::from_slice(&body).map_err(|error| EmsError::Nonsense(error.to_string()))
        };
        timeout(self.shared.network.limits.reply, whole).await.map_err(|_| EmsError::TimedOut)?
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, EmsError> {
        let limit = self.shared.network.limits.reply_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.judge(&error))? {
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(EmsError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn refusal(&self, response: Response) -> EmsError {
        let status = response.status();
        let body = match timeout(self.shared.network.limits.reply, self.body(response)).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return error,
            Err(_) => return EmsError::TimedOut,
        };
        match serde_json::from_slice::<ErrorReply>(&body) {
            Ok(reply) => EmsError::Refused { code: reply.code, detail: detail_of(&reply.detail) },
            Err(_) if status == StatusCode::TOO_MANY_REQUESTS => {
                EmsError::Refused { code: RefusalCode::RateLimited, detail: status.to_string() }
            }
            Err(_) => EmsError::Nonsense(format!("status {status} without a reason")),
        }
    }

    fn judge(&self, error: &reqwest::Error) -> EmsError {
        match self.shared.relay.as_ref().and_then(Relay::take_failure) {
            Some(failure) => EmsError::Unreachable(failure),
            None => EmsError::of_http(error, self.shared.expected),
        }
    }
}
