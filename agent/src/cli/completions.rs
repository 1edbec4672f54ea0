//! `postern completions` and `postern man`.

use super::output;
use clap::Args;
use clap_complete::Shell;
use postern_api::fault::{Fault, FaultName};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Fault> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::definition(), "postern", &mut text);
    output::line(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}

pub(super) fn manual() -> Result<(), Fault> {
    let mut text = Vec::new();
    clap_mangen::Man::new(super::definition())
        .render(&mut text)
        .map_err(|error| Fault::new(FaultName::Internal, "", error.to_string(), ""))?;
    output::line(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}
