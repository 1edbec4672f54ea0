//! What is read while the story plays: lines for a person, or one JSON object a line.

use anyhow::{Context, Result};
use serde_json::json;
use std::time::Instant;

/// Tells the acts as they happen.
#[derive(Debug)]
pub struct Timeline {
    json: bool,
    start: Instant,
    measures: Vec<(String, u64)>,
}

impl Timeline {
    /// Starts the clock.
    pub fn new(json: bool) -> Self {
        Self { json, start: Instant::now(), measures: Vec::new() }
    }

    /// Plays one act and tells how it went.
    ///
    /// # Errors
    /// As the act says, with the act's name.
    pub fn act<T>(&mut self, name: &str, play: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if !self.json {
            println!("\n{:>6.1} s  ━━ {name}", self.start.elapsed().as_secs_f32());
        }
        let begin = Instant::now();
        self.measures.clear();
        let outcome = play(self);
        let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.json {
            let mut line = json!({"act": name, "ok": outcome.is_ok(), "ms": milliseconds});
            for (measure, value) in &self.measures {
                line[measure] = json!(value);
            }
            if let Err(error) = &outcome {
                line["reason"] = json!(format!("{error:#}"));
            }
            println!("{line}");
        } else if outcome.is_ok() {
            println!("          ✔ {milliseconds} ms");
        }
        outcome.with_context(|| format!("in the act \"{name}\""))
    }

    /// Tells one thing that happened.
    pub fn say(&mut self, what: &str) {
        if !self.json {
            for line in what.trim_end().lines() {
                println!("          {line}");
            }
        }
    }

    /// Tells one thing that happened, as somebody else's words.
    pub fn quote(&mut self, what: &str) {
        if !self.json {
            for line in what.trim_end().lines() {
                println!("          │ {line}");
            }
        }
    }

    /// Tells a measured time in milliseconds.
    pub fn measure(&mut self, name: &str, milliseconds: u64) {
        self.say(&format!("{}: {milliseconds} ms", name.replace('_', " ")));
        self.measures.push((name.into(), milliseconds));
    }
}
