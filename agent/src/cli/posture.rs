//! `postern posture`.

use super::{Session, output};
use clap::{Args, Subcommand};
use postern_api::fault::Fault;
use postern_api::method::{Explain, Explanation, Method};
use postern_api::posture::{Fact, TagPresence, TagReport, TagSource};
use serde_json::Value;

/// The oldest that a fact can be, in seconds: what claims to be older was never gathered.
const LONGEST_AGE: u64 = 10 * 365 * 24 * 3_600;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the tags and why they are what they are
    Tags,
    /// Explain a tag, or a tunnel's verdict
    Explain {
        /// The tag or the tunnel
        subject: String,
    },
    /// Show what EMS would be told
    Report {
        /// Only show it; nothing is sent
        #[arg(long, required = true)]
        dry_run: bool,
    },
    /// Show the facts about this endpoint by area, those that are unknown first (this is the default)
    Facts,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let client = session.open().await?;
    match arguments.command.unwrap_or(Command::Facts) {
        Command::Tags => {
            let report: TagReport = client.ask(Method::PostureTags).await?;
            if session.json { output::json(&report) } else { print_tags(&report) }
        }
        Command::Explain { subject } => {
            let explanation: Explanation = client.call(Method::PostureExplain, &Explain { subject }).await?;
            if session.json {
                output::json(&explanation);
            } else {
                explanation.lines.iter().for_each(|line| output::line(line.for_terminal()));
            }
        }
        Command::Report { .. } => {
            let report: Value = client.ask(Method::PostureReport).await?;
            match (session.json, serde_json::to_string_pretty(&report)) {
                (false, Ok(text)) => output::line(text),
                _ => output::json(&report),
            }
        }
        Command::Facts => {
            let facts: Vec<Fact> = client.ask(Method::PostureFacts).await?;
            if session.json { output::json(&facts) } else { print_facts(&facts) }
        }
    }
    Ok(())
}

fn print_tags(report: &TagReport) {
    match (&report.ems, report.telemetry_connected) {
        (Some(ems), true) => output::line(format!("EMS {}: Telemetry connected", ems.for_one_line())),
        (Some(ems), false) => output::line(format!("EMS {}: out of reach", ems.for_one_line())),
        (None, _) => output::line("EMS: not enrolled"),
    }
    let source = match report.source {
        TagSource::Ems => "tags from EMS",
        TagSource::Cached => "tags by EMS's cached rules on live facts",
        TagSource::Local => "tags by local rules",
        TagSource::None => "no tags are known",
    };
    output::line(format!("{source}, {} old", super::status::elapsed(report.age_seconds)));
    if let Some(seconds) = report.grace_seconds {
        output::line(format!("tags that only EMS can know lapse in {}", super::status::elapsed(seconds)));
    }
    if let Some(why) = &report.unknown_because {
        output::line(why.for_one_line());
    }
    if !report.tags.is_empty() {
        let rows = report
            .tags
            .iter()
            .map(|tag| vec![tag.name.for_one_line(), presence(tag.presence).into(), tag.because.for_one_line()])
            .collect();
        output::table(&["tag", "is", "because"], rows);
    }
}

fn print_facts(facts: &[Fact]) {
    // What is not known comes first: it is what refuses without being wrong.
    let (known, unknown): (Vec<&Fact>, Vec<&Fact>) = facts.iter().partition(|fact| fact.value.is_some());
    let rows = unknown
        .into_iter()
        .chain(known)
        .map(|fact| {
            let value = match (&fact.value, &fact.unknown_because) {
                (Some(value), _) => value.for_one_line(),
                (None, Some(why)) => format!("unknown: {}", why.for_one_line()),
                (None, None) => "unknown".into(),
            };
            // What nobody gathered has no age.
            let age = match fact.source.for_one_line().is_empty() || fact.age_seconds > LONGEST_AGE {
                true => String::new(),
                false => format!("{} ago", super::status::elapsed(fact.age_seconds)),
            };
            vec![fact.area.clone(), fact.name.clone(), value, fact.source.for_one_line(), age]
        })
        .collect();
    output::table(&["area", "fact", "value", "source", "gathered"], rows);
}

/// Returns the word for a presence.
pub(super) fn presence(presence: TagPresence) -> &'static str {
    match presence {
        TagPresence::Present => "present",
        TagPresence::Absent => "absent",
        TagPresence::Unknown => "unknown",
    }
}
