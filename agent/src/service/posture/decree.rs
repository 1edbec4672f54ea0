//! What is decreed over the endpoint as a whole: quarantine and its release, break-glass codes,
//! deregistration.

use crate::fault;
use crate::service::hub::Hub;
use ike_client::Timestamp;
use ike_client::tunnel::clock;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::Code;
use postern_api::posture::BreakGlass as Shown;
use posture::ems::protocol::{EndpointEvent, EventKind, ReleaseRequest};
use posture::ems::{BreakGlass, BreakGlassUse, Cache, Knowledge};
use posture::policy::DEFAULT_WARNING;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How many wrong codes are taken in [`WRONG_WINDOW`]. Nobody finds one by trying; who tries is told.
const MOST_WRONG: usize = 5;
const WRONG_WINDOW: Duration = Duration::from_secs(60);

/// What the hub remembers of codes while it runs.
#[derive(Debug, Default)]
pub struct Codes {
    wrong: VecDeque<Timestamp>,
    /// When the override ends, by a clock that nobody can turn back.
    until: Option<Timestamp>,
    /// The quarantine of which people were told.
    told: Option<String>,
}

impl Codes {
    fn check_attempts(&mut self) -> Result<(), Fault> {
        let now = clock::now();
        self.wrong.retain(|wrong| now.saturating_since(*wrong) < WRONG_WINDOW);
        if self.wrong.len() < MOST_WRONG {
            return Ok(());
        }
        Err(Fault::new(FaultName::NotPermitted, "", "too many wrong codes", "wait a minute, then try again"))
    }

    fn wrong(&mut self, detail: String, next: &str) -> Fault {
        self.wrong.push_back(clock::now());
        Fault::new(FaultName::NotPermitted, "", detail, next)
    }
}

impl Hub {
    /// Reads what was decreed in earlier runs. To be called once telemetry has begun.
    pub(in crate::service) fn begin_decrees(&mut self, cache: &Cache) {
        let now = self.now_unix();
        let Some(ems) = self.view.ems.as_mut() else { return };
        let warn = |error: &posture::ems::cache::CacheError| tracing::error!(%error, "what was decreed is lost");
        ems.decreed.deregistered = cache.deregistered().inspect_err(warn).unwrap_or_default().is_some();
        ems.decreed.break_glass = cache.break_glass().inspect_err(warn).unwrap_or_default();
        let release = cache.release().inspect_err(warn).unwrap_or_default();
        ems.decreed.released = release.as_ref().map(|release| release.quarantine.clone());
        if let (Some(release), Some(telemetry)) = (release, &self.examination.telemetry) {
            telemetry.release(release);
        }
        let used = ems.decreed.break_glass;
        if used.holds_at(now) {
            let left = Duration::from_secs(used.until_unix.saturating_sub(now.max(used.began_unix)));
            self.examination.codes.until = Some(clock::now() + left);
        }
        if used.number > 0 {
            self.report_break_glass(EventKind::BreakGlassUsed, used);
        }
    }

    /// Ends a quarantine, when the code is its code; EMS is told as soon as it can be.
    pub(in crate::service) fn release(&mut self, Code { code }: Code) -> Result<(), Fault> {
        self.examination.codes.check_attempts()?;
        let Some(quarantine) = self.view.quarantine().cloned() else {
            return Err(Fault::new(FaultName::UsageInvalid, "", "this endpoint is not in quarantine", ""));
        };
        if !quarantine.is_released_by(&code) {
            let detail = "the code does not end this quarantine".to_owned();
            return Err(self.examination.codes.wrong(detail, "compare it with what the administrator said"));
        }
        let release = ReleaseRequest { quarantine: quarantine.id.clone(), code };
        self.enrolment()?.store_release(&release).map_err(unwritable)?;
        tracing::warn!(quarantine = quarantine.id, "the quarantine was ended here by its code");
        if let Some(ems) = self.view.ems.as_mut() {
            ems.decreed.released = Some(quarantine.id);
        }
        if let Some(telemetry) = &self.examination.telemetry {
            telemetry.release(release);
        }
        self.report_event(EventKind::QuarantineReleased, "", "", "by its code");
        self.rejudge();
        Ok(())
    }

    /// Overrides the host check, when the code is one of EMS for this endpoint and was not used before.
    pub(in crate::service) fn use_break_glass(&mut self, Code { code }: Code) -> Result<Shown, Fault> {
        self.examination.codes.check_attempts()?;
        let cache = self.enrolment()?;
        let not_enrolled =
            || Fault::new(FaultName::NotEnrolled, "", "this endpoint is not enrolled: no code holds here", "");
        let identity = cache.identity().map_err(unwritable)?.ok_or_else(not_enrolled)?;
        if self.view.ems.as_ref().is_none_or(|ems| ems.decreed.deregistered) {
            return Err(not_enrolled());
        }
        let unusable = |error: posture::ems::EmsError| Fault::new(FaultName::Internal, "", error.to_string(), "");
        let verifier = cache.verifier(&identity).map_err(unusable)?;
        let (used, now) = (cache.break_glass().map_err(unwritable)?, self.now_unix());
        let code = match BreakGlass::judge(&code, &verifier, &identity.endpoint, used.number, now) {
            Ok(code) => code,
            Err(error) => {
                let next = "ask the administrator for a new code";
                return Err(self.examination.codes.wrong(error.to_string(), next));
            }
        };
        let lasts = Duration::from_secs(code.lasts_seconds.into());
        let used = BreakGlassUse {
            number: code.number,
            began_unix: now,
            until_unix: now.saturating_add(code.lasts_seconds.into()),
        };
        cache.store_break_glass(&used).map_err(unwritable)?;
        tracing::warn!(number = used.number, seconds = code.lasts_seconds, "BREAK-GLASS: the host check is overridden");
        self.examination.codes.until = Some(clock::now() + lasts);
        if let Some(ems) = self.view.ems.as_mut() {
            ems.decreed.break_glass = used;
        }
        self.report_break_glass(EventKind::BreakGlassUsed, used);
        self.rejudge();
        Ok(Shown { number: used.number, until: fault::at(used.until_unix).unwrap_or_default() })
    }

    /// At each beat: an override ends by its time, whatever the clock of the wall says.
    pub(in crate::service) fn end_override_if_due(&mut self) {
        let Some(until) = self.examination.codes.until else { return };
        let Some(used) = self.view.ems.as_ref().map(|ems| ems.decreed.break_glass) else { return };
        if clock::now() < until && used.holds_at(self.now_unix()) {
            return;
        }
        self.examination.codes.until = None;
        let over = BreakGlassUse { until_unix: 0, ..used };
        if let Some(ems) = self.view.ems.as_mut() {
            ems.decreed.break_glass = over;
        }
        if let Err(error) = self.enrolment().and_then(|cache| cache.store_break_glass(&over).map_err(unwritable)) {
            tracing::error!(%error, "the end of the override cannot be kept");
        }
        tracing::warn!(number = used.number, "the override by a break-glass code is over");
        self.report_break_glass(EventKind::BreakGlassEnded, used);
    }

    /// Tells people once of each quarantine.
    pub(in crate::service) fn tell_quarantine(&mut self) {
        let quarantine = self.view.quarantine().cloned();
        let id = quarantine.as_ref().map(|quarantine| quarantine.id.clone());
        if id == self.examination.codes.told {
            return;
        }
        self.examination.codes.told = id;
        match quarantine {
            Some(quarantine) => {
                let mut fault = fault::of_quarantine(&quarantine);
                fault.warning = Some(quarantine.message.unwrap_or_else(|| DEFAULT_WARNING.into()).into());
                tracing::warn!(%fault, "quarantine");
                self.notify("", "This endpoint is in quarantine", fault, None);
            }
            None => tracing::info!("the quarantine is over"),
        }
    }

    /// EMS no longer knows this endpoint: what it managed goes, and people are told.
    pub(in crate::service) fn deregistered(&mut self) {
        let Some(ems) = self.view.ems.as_mut() else { return };
        ems.knowledge = Knowledge::default();
        if std::mem::replace(&mut ems.decreed.deregistered, true) {
            return;
        }
        let detail = format!("{} has deregistered this endpoint: its tunnels are gone", ems.name);
        let fault = Fault::new(FaultName::NotEnrolled, "", detail, "postern enroll, with a new invitation");
        tracing::warn!(%fault, "deregistered");
        self.catalogue.set_managed(BTreeMap::new());
        self.drop_vanished();
        self.notify("", "This endpoint was deregistered", fault, None);
    }

    fn enrolment(&self) -> Result<Cache, Fault> {
        Cache::open(self.paths.enrolment()).map_err(unwritable)
    }

    /// The event's id is that of the code: told again after a restart, it is stored once.
    fn report_break_glass(&self, kind: EventKind, used: BreakGlassUse) {
        let (word, unix) = match kind {
            EventKind::BreakGlassUsed => ("used", used.began_unix),
            _ => ("ended", self.now_unix()),
        };
        let Some(telemetry) = &self.examination.telemetry else { return };
        telemetry.event(EndpointEvent {
            id: format!("break-glass-{}-{word}", used.number),
            unix_milliseconds: unix.saturating_mul(1_000),
            kind,
            tunnel: String::new(),
            cause: format!("break-glass code {}", used.number),
            detail: String::new(),
        });
    }
}

fn unwritable(error: posture::ems::cache::CacheError) -> Fault {
    Fault::new(FaultName::StateUnwritable, "", error.to_string(), "make the state directory writable")
}
