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

#[derive(Debug, Args)]
pub(super) struct Page {
    /// The command, such as `tunnel add`
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

pub(super) fn manual(page: &Page) -> Result<(), Fault> {
    let mut command = super::definition();
    command.build();
    for name in &page.path {
        let found = command.find_subcommand(name).cloned();
        let unknown = || Fault::new(FaultName::UsageInvalid, name.as_str(), "is no command", "postern help");
        command = found.ok_or_else(unknown)?;
    }
    // `postern tunnel add` has the page postern-tunnel-add(1), as the page above it says.
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut text)
        .map_err(|error| Fault::new(FaultName::Internal, "", error.to_string(), ""))?;
    output::line(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_no_other_has_one() {
        for path in [&[][..], &["connect"], &["tunnel", "add"]] {
            let path = path.iter().map(ToString::to_string).collect();
            assert!(manual(&Page { path }).is_ok());
        }
        assert!(manual(&Page { path: vec!["reboot".into()] }).is_err());
    }
}
