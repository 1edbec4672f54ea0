//! Measures, in namespaces that it makes itself, ours and others in turn within one run. It asserts
//! nothing: on a noisy machine only the ratios within one run say something.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lab::bench::figures::{Figures, json, table};
use lab::bench::{connect, micro, picture, system, visit};
use lab::scenario;
use std::path::PathBuf;
use std::process::ExitCode;

/// What is measured beside what is measured on every system: with the real service, and without a
/// network.
const BESIDE: &[&str] = &["connect", "tag", "micro"];

/// Reports measures; asserts nothing.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// One JSON object a line: {"measure", "system", "value", "unit", "vs", "ratio"}.
    #[arg(long)]
    json: bool,
    /// Draws the figures into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How often each is measured; medians are reported.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each transfer goes on, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Only what this word is part of: a measure (tcp, steady, datagrams, latency, idle, calls,
    /// connect, tag, micro) or the name of a system. Can be given more than once.
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Prints measures and systems, and measures nothing.
    #[arg(long)]
    list: bool,
}

/// What `--only` leaves.
struct Choice {
    measures: Vec<&'static str>,
    systems: Vec<system::System>,
}

impl Choice {
    fn new(words: &[String]) -> Result<Self> {
        let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        let named = |name: &str| words.iter().any(|word| name.to_lowercase().contains(word.as_str()));
        let all: Vec<&'static str> = visit::MEASURES.iter().chain(BESIDE).copied().collect();
        for word in &words {
            let known = all.iter().any(|name| name.contains(word.as_str()))
                || system::ALL.iter().any(|system| system.name.to_lowercase().contains(word.as_str()));
            ensure!(known, "{word:?} is part of no measure and of no system; see --list");
        }
        let chosen: Vec<&'static str> = all.iter().copied().filter(|name| named(name)).collect();
        let systems: Vec<system::System> = system::ALL.iter().copied().filter(|system| named(system.name)).collect();
        Ok(Self {
            measures: if chosen.is_empty() { all } else { chosen },
            systems: if systems.is_empty() { system::ALL.to_vec() } else { systems },
        })
    }

    fn wants(&self, measure: &str) -> bool {
        self.measures.contains(&measure)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Choice::new(&arguments.only).and_then(|choice| {
        if arguments.list {
            println!("measures: {}\nsystems:", choice.measures.join(" "));
            choice.systems.iter().for_each(|system| println!("  {}", system.name));
            Ok(())
        } else {
            scenario::alone(|| measure(&arguments, &choice))
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments, choice: &Choice) -> Result<()> {
    let Arguments { rounds, seconds, .. } = *arguments;
    let mut figures = Figures::default();
    if visit::MEASURES.iter().any(|measure| choice.wants(measure)) {
        for round in 1..=rounds {
            for system in &choice.systems {
                if !system.is_installed() {
                    eprintln!("{} is not installed", system.name);
                    continue;
                }
                eprintln!("round {round} of {rounds}: {}", system.name);
                visit::visit(system, &|measure| choice.wants(measure), seconds, &mut figures)
                    .with_context(|| system.name)?;
            }
        }
    }
    if choice.wants("connect") {
        eprintln!("the real service and strongSwan");
        connect::measure(rounds, seconds, &mut figures)?;
    }
    if choice.wants("tag") {
        connect::tag_change(rounds, &mut figures)?;
    }
    if choice.wants("micro") {
        micro::measure(rounds, &mut figures)?;
    }
    let lines = figures.lines(&|name| match name {
        connect::OURS => vec![connect::THEIRS],
        micro::OURS => vec![micro::CIPHER],
        name => system::rivals(name),
    });
    if arguments.json {
        lines.iter().for_each(|line| println!("{}", json(line)));
    } else {
        println!("{}", table(&lines));
    }
    if let Some(path) = &arguments.svg {
        let systems: Vec<&str> =
            system::ALL.iter().map(|system| system.name).chain([connect::OURS, connect::THEIRS]).collect();
        let is_ours = |name: &str| {
            name == connect::OURS || system::ALL.iter().any(|system| system.is_ours && system.name == name)
        };
        std::fs::write(path, picture::draw(&figures, &systems, &is_ours))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}
