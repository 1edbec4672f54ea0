//! `postern scan`.

use super::{Session, output};
use clap::{Args, ValueEnum};
use postern_api::event::{Event, ScanStep};
use postern_api::fault::Fault;
use postern_api::method::{Method, ScanExport, ScanForm};
use postern_api::posture::{Finding, ScanReport, Severity};
use serde_json::Value;
use std::io::{IsTerminal, Write};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print the result in a form for other tools
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A table for people
    Table,
    /// SARIF 2.1.0
    Sarif,
    /// CycloneDX 1.6 (VEX)
    Cyclonedx,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let mut client = session.open().await?;
    let events = client.take_events();
    let watching = std::io::stderr().is_terminal() && !session.json;
    if let (Some(mut events), true) = (events, watching) {
        client.ask::<Value>(Method::Subscribe).await?;
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::Scan { step, done } = event {
                    // One line that is written over; the table below it is what stays.
                    let _ = write!(std::io::stderr(), "\r\x1b[K{}", progress(step, done));
                }
            }
        });
    }
    let report: Result<ScanReport, Fault> = client.ask(Method::Scan).await;
    if watching {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let report = report?;
    let form = match arguments.format {
        Form::Table => {
            if session.json {
                output::json(&report)
            } else {
                print(&report)
            }
            return Ok(());
        }
        Form::Sarif => ScanForm::Sarif,
        Form::Cyclonedx => ScanForm::Cyclonedx,
    };
    let document: Value = client.call(Method::ScanExport, &ScanExport { form }).await?;
    match (session.json, serde_json::to_string_pretty(&document)) {
        (false, Ok(text)) => output::line(text),
        _ => output::json(&document),
    }
    Ok(())
}

/// Returns how far a scan is, in one line.
pub(super) fn progress(step: ScanStep, done: u64) -> String {
    match step {
        ScanStep::Importing => format!("reading advisories: {done} records"),
        ScanStep::Scanning => format!("scanning {done} packages"),
    }
}

fn print(report: &ScanReport) {
    output::line(format!(
        "{} packages held against {} advisories: {} findings{}",
        report.packages,
        report.advisories,
        report.findings.len(),
        shares(&report.findings)
    ));
    for (number, what) in [
        (report.packages_unreadable, "packages have a version that cannot be read"),
        (report.packages_uncovered, "packages are not covered by the database"),
        (report.records_rejected, "records of the feed could not be used"),
    ] {
        if number > 0 {
            output::line(format!("{number} {what}"));
        }
    }
    if report.findings.is_empty() {
        return;
    }
    let rows = report
        .findings
        .iter()
        .map(|finding| {
            let score =
                finding.score_tenths.map(|tenths| format!(" {}.{}", tenths / 10, tenths % 10)).unwrap_or_default();
            vec![
                format!("{}{score}", severity(finding.severity)),
                finding.package.for_one_line(),
                finding.version.for_one_line(),
                finding.identifier.for_one_line(),
                finding
                    .fixed
                    .as_ref()
                    .map_or_else(|| "no fix yet".into(), |fixed| format!("fixed in {}", fixed.for_one_line())),
            ]
        })
        .collect();
    output::table(&["severity", "package", "version", "record", ""], rows);
}

/// The findings by severity: ` (1 critical, 2 medium)`.
fn shares(findings: &[Finding]) -> String {
    let all = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Unrated];
    let shares: Vec<String> = all
        .into_iter()
        .map(|wanted| (findings.iter().filter(|finding| finding.severity == wanted).count(), wanted))
        .filter(|(number, _)| *number > 0)
        .map(|(number, wanted)| format!("{number} {}", severity(wanted)))
        .collect();
    if shares.is_empty() { String::new() } else { format!(" ({})", shares.join(", ")) }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Unrated => "unrated",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}
