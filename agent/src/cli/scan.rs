//! `postern scan`.

use super::{Session, output};
use postern_api::fault::Fault;
use postern_api::method::Method;
use postern_api::posture::{ScanReport, Severity};

pub(super) async fn run(session: &Session) -> Result<(), Fault> {
    let report: ScanReport = session.open().await?.ask(Method::Scan).await?;
    if session.json {
        output::json(&report);
        return Ok(());
    }
    output::line(format!(
        "{} packages held against {} advisories: {} findings",
        report.packages,
        report.advisories,
        report.findings.len()
    ));
    if report.findings.is_empty() {
        return Ok(());
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
                finding.fixed.as_ref().map_or_else(|| "no fix yet".into(), |fixed| format!("fixed in {fixed}")),
            ]
        })
        .collect();
    output::table(&["severity", "package", "version", "record", ""], rows);
    Ok(())
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
