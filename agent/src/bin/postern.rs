//! The command line of Postern.

fn main() -> std::process::ExitCode {
    postern_agent::cli::run()
}
