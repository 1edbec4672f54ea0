//! The demo's program: plays the article's story in namespaces that it makes itself.

use clap::Parser;
use lab::demo::{play, timeline::Timeline};
use lab::scenario;
use std::process::ExitCode;

/// Plays the story of the article with the real programs, each act asserted.
#[derive(Parser)]
#[command(name = "demo")]
struct Arguments {
    /// One JSON object a line: {"act", "ok", "ms", ...}.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let told = scenario::alone(|| {
        play(&mut Timeline::new(arguments.json))?;
        if !arguments.json {
            println!("\n          The whole story held.");
        }
        Ok(())
    });
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demo failed {error:#}");
            ExitCode::FAILURE
        }
    }
}
