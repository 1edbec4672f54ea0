//! `postern doctor`: looks at each thing that has to be so, and says what to do where it is not.

use super::{Session, output};
use crate::network::Journal;
use crate::platform;
use crate::profile::{catalogue::Catalogue, file::open_regular, settings};
use postern_api::fault::{Fault, FaultName};
use postern_api::health::Check;
use postern_api::method::{Method, Role};
use postern_api::posture::TagReport;
use std::path::Path;

pub(super) async fn run(session: &Session) -> Result<(), Fault> {
    let (findings, failure) = findings(session).await;
    for finding in &findings {
        if session.json {
            output::json(finding);
        } else {
            output::line(sentence(finding));
        }
    }
    let problems = findings.iter().filter(|finding| !finding.ok).count();
    match failure {
        Some(fault) => Err(fault),
        None if problems == 0 => Ok(()),
        None => Err(Fault::new(FaultName::Internal, "doctor", format!("found problems: {problems}"), "")),
    }
}

/// Returns one finding in one line.
pub(super) fn sentence(finding: &Check) -> String {
    let mark = if finding.ok { "ok  " } else { "FAIL" };
    let next = finding.next.for_one_line();
    let next = if next.is_empty() { next } else { format!(". Next: {next}") };
    format!("{mark} {}: {}{next}", finding.check, finding.detail.for_one_line())
}

/// Looks at everything; returns why the service could not be asked, where it could not.
pub(super) async fn findings(session: &Session) -> (Vec<Check>, Option<Fault>) {
    let mut findings = vec![settings_file(session), tunnel_files(session), tunnel_device()];
    let mut failure = None;
    match session.open().await {
        Ok(client) => {
            let role = client.welcome().role;
            findings.push(Check::good("service", format!("version {} answers", client.welcome().service)));
            let own = format!("{role:?}").to_lowercase();
            findings.push(match role >= Role::User {
                true => Check::good("rights", own),
                false => Check::bad("rights", own, "join the group postern"),
            });
            match client.ask::<Vec<Check>>(Method::Health).await {
                Ok(health) => findings.extend(health),
                Err(fault) => failure = Some(fault),
            }
            if let Ok(report) = client.ask::<TagReport>(Method::PostureTags).await {
                findings.push(telemetry(&report));
            }
        }
        Err(fault) => {
            findings.push(Check::bad("service", fault.detail.clone(), fault.next.clone()));
            findings.extend(left_behind(&session.paths.state));
            failure = Some(fault);
        }
    }
    (findings, failure)
}

fn settings_file(session: &Session) -> Check {
    match settings::load(&session.paths) {
        Ok(_) => Check::good("settings", "are valid"),
        Err(error) => Check::bad("settings", error.to_string(), "mend the file"),
    }
}

fn tunnel_files(session: &Session) -> Check {
    let mut catalogue = Catalogue::default();
    catalogue.load_local(&session.paths, |_| false);
    // The files are root's; another user cannot look into them and need not.
    let closed =
        |file: &Path| matches!(open_regular(file), Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied);
    let (hidden, broken): (Vec<_>, Vec<_>) = catalogue.all_broken().partition(|(_, error)| closed(&error.file));
    let broken: Vec<String> = broken.into_iter().map(|(_, error)| error.to_string()).collect();
    match broken.is_empty() {
        true if !hidden.is_empty() => Check::good(
            "tunnels",
            format!("{} valid, {} for root's eyes only", catalogue.entries().len(), hidden.len()),
        ),
        true => Check::good("tunnels", format!("{} valid", catalogue.entries().len())),
        false => Check::bad("tunnels", broken.join("; "), "mend the file"),
    }
}

/// Looks what a service that does not answer may have left on the network. The journal is for root's eyes only.
fn left_behind(state: &Path) -> Option<Check> {
    let left = Journal::peek(state, &platform::boot().ok()?).ok()?;
    if left.is_empty() {
        return None;
    }
    let detail = format!("changes that may stand: {}", left.len());
    let next = "systemctl start posternd; where it does not start: posternd repair, as root";
    Some(Check::bad("left behind", detail, next))
}

fn tunnel_device() -> Check {
    if !cfg!(target_os = "linux") || Path::new("/dev/net/tun").exists() {
        return Check::good("tunnel device", "is there");
    }
    Check::bad("tunnel device", "/dev/net/tun is missing", "modprobe tun, then start the service again")
}

fn telemetry(report: &TagReport) -> Check {
    match (&report.ems, report.telemetry_connected) {
        (None, _) => Check::good("EMS", "not enrolled"),
        (Some(ems), true) => Check::good("EMS", format!("Telemetry connected to {}", ems.for_one_line())),
        (Some(ems), false) => {
            Check::bad("EMS", format!("{} is out of reach", ems.for_one_line()), "check the way to EMS")
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::network::step::{Before, Purpose, Step};

    #[test]
    fn what_a_dead_service_left_is_told_with_the_way_to_take_it_back() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(left_behind(state.path()), None, "there never was a service");
        let mut journal = Journal::open(state.path(), &platform::boot().unwrap()).unwrap();
        let setting = Step::Setting { name: "net/x".into(), value: "1".into() };
        let tickets = journal.record(&[(Purpose::Tunnel, setting, Before::Absent)]).unwrap();
        // Also while somebody holds the journal.
        let told = left_behind(state.path()).unwrap();
        assert!(!told.ok && sentence(&told).contains("posternd repair"), "{}", sentence(&told));
        journal.undone(tickets[0]).unwrap();
        assert_eq!(left_behind(state.path()), None);
    }
}
