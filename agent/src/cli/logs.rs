//! `postern logs`: what the service logged, from systemd's journal or from the file into which the
//! service's output goes.
//!
//! The service writes lines of its own form, `TIME LEVEL where: what`, and the journal keeps them as they
//! are: both sources are read alike, with the rights of whoever asks. No secret is logged; what looks like
//! one all the same is not printed.

mod line;
mod source;

use super::{Session, output};
use clap::Args;
use jiff::Timestamp;
pub(super) use line::{Filter, Level, Line, without_secrets};
use postern_api::PlainText;
use postern_api::fault::{Fault, FaultName};
use source::Source;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Go on with what is logged from now on
    #[arg(long, short)]
    follow: bool,
    /// Only what was logged since then: a time such as 2026-11-23T05:00:00Z, or for how long, such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines as grave as this, or graver
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    level: Level,
    /// How many lines at most, the last ones; all of them where a time is named
    #[arg(long, short = 'n', value_name = "NUMBER")]
    lines: Option<usize>,
    /// Read this file, not the journal
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// How many lines are shown where nobody says.
const LINES: usize = 200;

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let since = arguments.since.as_deref().map(|text| moment(text, Timestamp::now())).transpose()?;
    let most = match (arguments.lines, since) {
        (Some(lines), _) => lines,
        (None, Some(_)) => usize::MAX,
        (None, None) => LINES,
    };
    let source = Source::of(arguments.file);
    let mut filter = Filter::new(arguments.level, since);
    let (mut reading, written) = source.open(since, most, arguments.follow).await?;
    let kept: Vec<Line> = written.into_iter().filter_map(|text| filter.take(&text)).collect();
    let first = kept.len().saturating_sub(most);
    kept.iter().skip(first).for_each(|line| print(session, line));
    if kept.is_empty() && !arguments.follow {
        output::aside(format!("{source}: nothing of that kind{}", source.advice()));
    }
    while let Some(text) = reading.next().await? {
        if let Some(line) = filter.take(&text) {
            print(session, &line);
        }
    }
    Ok(())
}

/// Returns the last lines that were logged, for a bundle.
pub(super) async fn last(most: usize, file: Option<PathBuf>) -> Result<Vec<String>, Fault> {
    let source = Source::of(file);
    let (_, written) = source.open(None, most, false).await?;
    let mut filter = Filter::new(Level::Trace, None);
    let kept: Vec<Line> = written.into_iter().filter_map(|text| filter.take(&text)).collect();
    if kept.is_empty() {
        let detail = format!("shows nothing{}", source.advice());
        return Err(Fault::new(FaultName::NotPermitted, source.to_string(), detail, ""));
    }
    let first = kept.len().saturating_sub(most);
    Ok(kept.into_iter().skip(first).map(|line| line.text).collect())
}

fn print(session: &Session, line: &Line) {
    let text = PlainText::new(line.text.as_str());
    if session.json {
        let time = line.time.map(|time| time.to_string());
        output::json(&serde_json::json!({ "time": time, "level": line.level, "text": text }));
    } else {
        output::line(text.for_one_line());
    }
}

/// Reads a moment, or how long ago it was.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Fault> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let ago = text.parse::<jiff::SignedDuration>().ok().filter(|ago| !ago.is_negative());
    ago.and_then(|ago| now.checked_sub(ago).ok()).ok_or_else(|| {
        let detail = "is neither a time nor for how long";
        Fault::new(FaultName::UsageInvalid, text, detail, "write 2026-11-23T05:00:00Z, or 2h")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (text, wanted) in [
            ("2026-11-23T05:00:00Z", "2026-11-23T05:00:00Z"),
            ("2026-11-23T05:00:00+01:00", "2026-11-23T04:00:00Z"),
            ("2h", "2026-11-23T10:00:00Z"),
            ("90m", "2026-11-23T10:30:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap(), wanted.parse().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "-2h", "2"] {
            assert_eq!(moment(text, now).unwrap_err().name, FaultName::UsageInvalid, "{text}");
        }
    }
}
