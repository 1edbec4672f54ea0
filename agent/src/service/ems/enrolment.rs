//! Joining an EMS by invitation, and leaving it as EMS allows.
//!
//! Leaving is asked of EMS, which strikes the endpoint off. Where the signed profile forbids it nobody is
//! asked. While EMS is out of reach, only what it said before counts: an endpoint that may leave leaves,
//! and is told that EMS still lists it; one in quarantine, or one whose profile was never seen, stays.

use crate::service::hub::call::written;
use crate::service::hub::{Hub, Message, Reply};
use postern_api::PlainText;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Enroll, Enrolled, Unenrolled};
use posture::ems::protocol::RefusalCode;
use posture::ems::{Cache, EmsClient, EmsError, Identity, Introduction, Invitation};

impl Hub {
    /// Begins an enrolment by invitation.
    pub(in crate::service) fn enroll(&mut self, request: &Enroll, reply: Reply) {
        if let Some(ems) = self.view.ems.as_ref().filter(|ems| !ems.decreed.deregistered) {
            let detail = format!("this endpoint is enrolled with {} already", ems.name);
            return drop(reply.send(Err(Fault::new(FaultName::EmsRefused, "", detail, "postern unenroll"))));
        }
        let invitation: Invitation = match request.invitation.parse() {
            Ok(invitation) => invitation,
            Err(error) => return drop(reply.send(Err(of_ems(&EmsError::Invitation(error))))),
        };
        let facts = self.view.facts.as_ref();
        let introduction = Introduction {
            host_name: facts.and_then(|facts| facts.host_name.value().cloned()).unwrap_or_default(),
            system: facts.and_then(|facts| facts.os.value().map(|os| os.name.clone())).unwrap_or_default(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
        };
        let network = self.examination.dial.network(&self.paths.runtime);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let outcome = posture::ems::enrol(&invitation, &introduction, &network).await;
            let _ = inbox.send(Message::Enrolled(outcome.map(Box::new).map_err(|error| of_ems(&error)), reply));
        });
    }

    /// Ends an enrolment.
    pub(in crate::service) fn enrolled(&mut self, outcome: Result<Box<Identity>, Fault>, reply: Reply) {
        let answer = outcome.and_then(|identity| {
            let cache = Cache::open(self.paths.enrolment()).map_err(|error| of_ems(&EmsError::Cache(error)))?;
            // That of an EMS which has deregistered this endpoint.
            self.end_telemetry();
            cache.store_identity(&identity).map_err(|error| of_ems(&EmsError::Cache(error)))?;
            self.examination.enrolment_problem = None;
            self.start_telemetry(&identity, cache);
            let enrolled = Enrolled { ems: identity.ems_name.as_str().into(), endpoint: identity.endpoint.0.clone() };
            self.examine();
            self.rejudge();
            written(&enrolled)
        });
        let _ = reply.send(answer);
    }

    /// Begins to leave EMS.
    pub(in crate::service) fn unenroll(&mut self, reply: Reply) {
        let deregistered = self.view.ems.as_ref().is_some_and(|ems| ems.decreed.deregistered);
        let profile = self.view.ems.as_ref().and_then(|ems| ems.knowledge.profile.clone());
        let profile = profile.as_ref().map(|profile| profile.content());
        if let Some(profile) = profile.filter(|profile| !profile.unenrol_allowed && !deregistered) {
            return drop(reply.send(Err(forbidden(profile.unenrol_refusal.as_deref()))));
        }
        let alone = match (deregistered, profile, self.view.quarantine()) {
            (true, ..) | (false, Some(_), None) => Ok(()),
            (false, None, _) => Err("whether this endpoint may leave is not known"),
            (false, Some(_), Some(_)) => Err("this endpoint is in quarantine, and only EMS can let it leave"),
        };
        let cache = Cache::open(self.paths.enrolment()).and_then(|cache| cache.identity());
        let client = match cache {
            Ok(Some(identity)) => EmsClient::new(&identity, &self.examination.dial.network(&self.paths.runtime)),
            Ok(None) => {
                let fault = Fault::new(FaultName::NotEnrolled, "", "this endpoint is not enrolled", "");
                return drop(reply.send(Err(fault)));
            }
            Err(error) => Err(EmsError::Cache(error)),
        };
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let left = match client {
                Ok(client) => client.unenrol().await,
                Err(error) => Err(error),
            };
            let outcome = match (left, alone) {
                (Ok(()), _) => Ok(true),
                // EMS has forgotten us already.
                (Err(error), _) if error.is_removal() => Ok(true),
                (Err(EmsError::Unreachable(_) | EmsError::TimedOut), Ok(())) => Ok(false),
                (Err(EmsError::Unreachable(_) | EmsError::TimedOut), Err(why)) => {
                    let detail = format!("EMS is out of reach, and {why}");
                    Err(Fault::new(FaultName::EmsUnavailable, "", detail, "bring EMS within reach, then try again"))
                }
                (Err(EmsError::Refused { code: RefusalCode::NotAllowed, detail }), _) => Err(forbidden(Some(&detail))),
                (Err(error), _) => Err(of_ems(&error)),
            };
            let _ = inbox.send(Message::Left(outcome, reply));
        });
    }

    /// Ends the leaving: what EMS gave is dropped. `outcome` says whether EMS knows.
    pub(in crate::service) fn left(&mut self, outcome: Result<bool, Fault>, reply: Reply) {
        let answer = outcome.and_then(|ems_told| {
            let managed = self.catalogue.managed_names();
            self.end_telemetry();
            self.drop_vanished();
            for name in managed {
                self.tickets.destroy(&name);
                if self.catalogue.find(&name).is_none() {
                    self.secrets.forget(None, &name);
                }
            }
            let cleared = Cache::open(self.paths.enrolment()).and_then(|cache| cache.clear());
            cleared.map_err(|error| of_ems(&EmsError::Cache(error)))?;
            tracing::info!(ems_told, "left EMS");
            written(&Unenrolled { ems_told })
        });
        let _ = reply.send(answer);
    }
}

/// Makes the fault of a profile that forbids leaving; the administrator's words come first.
fn forbidden(words: Option<&str>) -> Fault {
    let detail = "refused: the profile of EMS does not allow this endpoint to leave";
    let mut fault = Fault::new(FaultName::NotPermitted, "", detail, "ask the administrator of EMS");
    fault.warning = words.map(PlainText::from).filter(|words| !words.is_blank());
    fault
}

/// Makes the fault of an invitation that cannot be read.
pub(in crate::service) fn of_invitation(error: posture::ems::invitation::InvitationError) -> Fault {
    of_ems(&EmsError::Invitation(error))
}

/// Makes the fault of a conversation with EMS.
fn of_ems(error: &EmsError) -> Fault {
    let (name, next) = match error {
        EmsError::Unreachable(_) | EmsError::TimedOut => {
            (FaultName::EmsUnavailable, "check the way to EMS, then try again")
        }
        EmsError::Nonsense(_) | EmsError::TooLarge { .. } | EmsError::Local(_) => {
            (FaultName::EmsUnavailable, "ask the administrator of EMS")
        }
        EmsError::NotTrusted { .. } => (FaultName::EmsNotTrusted, "ask the administrator for a new invitation"),
        EmsError::Document(_) => (FaultName::EmsNotTrusted, "ask the administrator of EMS"),
        EmsError::Refused { code: RefusalCode::NotEnrolled, .. } => (FaultName::NotEnrolled, "postern enroll"),
        EmsError::Refused { .. } => (FaultName::EmsRefused, "ask the administrator for a new invitation"),
        EmsError::Invitation(_) => (FaultName::ProfileInvalid, "copy the whole invitation"),
        EmsError::Cache(_) => (FaultName::StateUnwritable, "make the state directory writable"),
    };
    Fault::new(name, "", error.to_string(), next)
}
