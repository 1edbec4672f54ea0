//! The demo's program: plays the article's story in namespaces that it makes itself.

use clap::Parser;
use lab::demo::{play, timeline::Timeline};
use lab::scenario;
use std::process::ExitCode;

/// Set in the child that is inside the namespaces.
const INSIDE: &str = "POSTERN_LAB_DEMO_INSIDE";

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
    if std::env::var_os(INSIDE).is_none() {
        return outside();
    }
    match scenario::make_private().and_then(|()| play(&mut Timeline::new(arguments.json))) {
        Ok(()) => {
            if !arguments.json {
                println!("\n          The whole story held.");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nthe demo failed {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the same program in namespaces of its own; they end with it, however it ends.
fn outside() -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("finding this program: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut command = scenario::isolated_here(&program.to_string_lossy());
    match command.args(std::env::args_os().skip(1)).env(INSIDE, "1").status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            if status.code().is_none_or(|code| code != 1) {
                eprintln!("{}", scenario::ADVICE);
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("starting unshare (package util-linux): {error}\n{}", scenario::ADVICE);
            ExitCode::FAILURE
        }
    }
}
