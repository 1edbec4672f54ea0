//! `postern doctor`: looks at each thing that has to be so, and says what to do where it is not.

use super::{Session, output};
use crate::profile::{catalogue::Catalogue, settings};
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Method, Role};
use postern_api::posture::TagReport;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    next: String,
}

pub(super) async fn run(session: &Session) -> Result<(), Fault> {
    let mut findings = vec![settings_file(session), tunnel_files(session), tunnel_device()];
    let mut failure = None;
    match session.open().await {
        Ok(client) => {
            let role = client.welcome().role;
            findings.push(Finding {
                check: "service",
                ok: true,
                detail: format!("version {} answers", client.welcome().service),
                next: String::new(),
            });
            findings.push(Finding {
                check: "rights",
                ok: role >= Role::User,
                detail: format!("{role:?}").to_lowercase(),
                next: if role >= Role::User { String::new() } else { "join the group postern".into() },
            });
            if let Ok(report) = client.ask::<TagReport>(Method::PostureTags).await {
                findings.push(telemetry(&report));
            }
        }
        Err(fault) => {
            findings.push(Finding {
                check: "service",
                ok: false,
                detail: fault.detail.for_one_line(),
                next: fault.next.for_one_line(),
            });
            failure = Some(fault);
        }
    }
    for finding in &findings {
        if session.json {
            output::json(finding);
        } else {
            let mark = if finding.ok { "ok  " } else { "FAIL" };
            let next = if finding.next.is_empty() { String::new() } else { format!(". Next: {}", finding.next) };
            output::line(format!("{mark} {}: {}{next}", finding.check, finding.detail));
        }
    }
    let problems = findings.iter().filter(|finding| !finding.ok).count();
    match failure {
        Some(fault) => Err(fault),
        None if problems == 0 => Ok(()),
        None => Err(Fault::new(FaultName::Internal, "doctor", format!("found problems: {problems}"), "")),
    }
}

fn settings_file(session: &Session) -> Finding {
    match settings::load(&session.paths) {
        Ok(_) => Finding { check: "settings", ok: true, detail: "are valid".into(), next: String::new() },
        Err(error) => Finding { check: "settings", ok: false, detail: error.to_string(), next: "mend the file".into() },
    }
}

fn tunnel_files(session: &Session) -> Finding {
    let mut catalogue = Catalogue::default();
    catalogue.load_local(&session.paths);
    let broken: Vec<String> = catalogue.all_broken().map(|(_, error)| error.to_string()).collect();
    let ok = broken.is_empty();
    let detail = if ok { format!("{} valid", catalogue.entries().len()) } else { broken.join("; ") };
    Finding { check: "tunnels", ok, detail, next: if ok { String::new() } else { "mend the file".into() } }
}

fn tunnel_device() -> Finding {
    let ok = !cfg!(target_os = "linux") || Path::new("/dev/net/tun").exists();
    let detail = if ok { "is there" } else { "/dev/net/tun is missing" };
    let next = if ok { "" } else { "modprobe tun" };
    Finding { check: "tunnel device", ok, detail: detail.into(), next: next.into() }
}

fn telemetry(report: &TagReport) -> Finding {
    let (ok, detail, next) = match (&report.ems, report.telemetry_connected) {
        (None, _) => (true, "not enrolled".to_owned(), ""),
        (Some(ems), true) => (true, format!("Telemetry connected to {}", ems.for_one_line()), ""),
        (Some(ems), false) => (false, format!("{} is out of reach", ems.for_one_line()), "check the way to EMS"),
    };
    Finding { check: "EMS", ok, detail, next: next.into() }
}
