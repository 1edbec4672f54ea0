//! `postern status`.

use super::{Session, output};
use clap::Args;
use postern_api::event::Notice;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::Method;
use postern_api::posture::{BreakGlass, Decrees, TagSource};
use postern_api::state::{Origin, PostureStanding, Status, TunnelStatus};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this tunnel
    tunnel: Option<String>,
    /// Also the last notices, so that a dismissed warning can be read again
    #[arg(long)]
    notices: bool,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let client = session.open().await?;
    let mut status: Status = client.ask(Method::Status).await?;
    if let Some(name) = &arguments.tunnel {
        status.tunnels.retain(|tunnel| tunnel.name.as_received() == name);
        if status.tunnels.is_empty() {
            return Err(Fault::new(
                FaultName::TunnelUnknown,
                name.as_str(),
                "is no tunnel here",
                "postern tunnel list",
            ));
        }
    }
    if session.json {
        output::json(&status);
    } else {
        print(&status);
    }
    if arguments.notices {
        let notices: Vec<Notice> = client.ask(Method::Notices).await?;
        for notice in &notices {
            if session.json {
                output::json(notice);
            } else {
                output::line(format!("\n{} {}", notice.time, notice.tunnel.for_one_line()));
                output::notice(notice);
            }
        }
    }
    Ok(())
}

fn print(status: &Status) {
    decrees(&status.posture.decrees).into_iter().for_each(output::line);
    if status.tunnels.is_empty() {
        output::line("no tunnels; add one: postern tunnel add NAME --gateway HOST --user NAME");
    }
    for tunnel in &status.tunnels {
        output::line(sentence(tunnel));
        for detail in details(tunnel) {
            output::line(format!("  {detail}"));
        }
    }
    let posture = &status.posture;
    let ems = match (&posture.ems, posture.telemetry_connected) {
        (Some(ems), _) if posture.decrees.deregistered => {
            format!("EMS: {} (has deregistered this endpoint; to come back: postern enroll)", ems.for_one_line())
        }
        (Some(ems), true) => format!("EMS: {} (Telemetry connected)", ems.for_one_line()),
        (Some(ems), false) => format!("EMS: {} (out of reach)", ems.for_one_line()),
        (None, _) => "EMS: not enrolled".into(),
    };
    output::line(ems);
    if let (TagSource::Cached, Some(seconds)) = (posture.source, posture.grace_seconds) {
        output::line(format!("tags are cached; {} left", elapsed(seconds)));
    }
}

/// Tells what holds for the endpoint as a whole, before everything else.
fn decrees(decrees: &Decrees) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(words) = &decrees.quarantine {
        lines.push("THIS ENDPOINT IS IN QUARANTINE; a code of the administrator ends it: postern release".into());
        lines.extend((!words.is_blank()).then(|| words.for_terminal()));
    }
    if let Some(used) = &decrees.break_glass {
        let BreakGlass { number, until } = used;
        lines.push(format!("BREAK-GLASS: the host check is overridden until {until} (code {number}); EMS is told"));
    }
    lines
}

/// Tells where a tunnel stands, in one line.
pub(super) fn sentence(tunnel: &TunnelStatus) -> String {
    let name = tunnel.name.for_one_line();
    let origin = if tunnel.origin == Origin::Managed { " (managed)" } else { "" };
    match &tunnel.established {
        Some(up) => {
            let addresses: Vec<String> = up.addresses.iter().map(ToString::to_string).collect();
            format!(
                "{name}{origin}: {} as {} to {} over {}, {}",
                tunnel.state,
                addresses.join(", "),
                up.gateway,
                up.carrier,
                elapsed(up.seconds)
            )
        }
        None => format!("{name}{origin}: {}", tunnel.state),
    }
}

fn details(tunnel: &TunnelStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(up) = &tunnel.established {
        lines.push(format!("networks: {}", up.networks.join(", ")));
        if !up.dns.is_empty() {
            let dns: Vec<String> = up.dns.iter().map(ToString::to_string).collect();
            lines.push(format!("DNS: {}", dns.join(", ")));
        }
        lines.push(format!("IKE {}, ESP {}", up.ike_suite, up.esp_suite));
        lines.push(format!("received {} bytes, sent {} bytes", up.bytes_received, up.bytes_sent));
        lines.extend(up.warnings.iter().map(|warning| format!("warning: {}", warning.for_one_line())));
    }
    match &tunnel.posture {
        PostureStanding::NotEnforced => lines.push("posture not enforced".into()),
        PostureStanding::Compliant => lines.push("posture: compliant".into()),
        PostureStanding::Overridden { would_be, until } => {
            lines.push(format!("posture: OVERRIDDEN by a break-glass code until {until}, would refuse: {would_be}"));
        }
        PostureStanding::Audit { would_be } => lines.push(format!("posture: audit only, would refuse: {would_be}")),
        PostureStanding::Refused { fault } => lines.push(format!("posture: {fault}")),
    }
    if tunnel.blocked {
        lines.push(format!(
            "what it protected is blocked, also after a restart of this machine; lift that: postern disconnect --dismiss {}",
            tunnel.name.for_one_line()
        ));
    }
    if let Some(fault) = &tunnel.last_fault {
        if let Some(warning) = &fault.warning {
            lines.push(warning.for_one_line());
        }
        lines.push(format!("last: {fault}"));
    }
    lines
}

/// Returns a time span as a person reads it.
pub(super) fn elapsed(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}
