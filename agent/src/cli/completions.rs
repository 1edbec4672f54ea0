//! `postern completions` and `postern man`.

use super::output;
use clap::Args;
use clap_complete::Shell;
use postern_api::fault::{Fault, FaultName};
use std::collections::BTreeMap;

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
    output::line(exit_status());
    Ok(())
}

/// The section on exit codes: the same on every page, as any command may meet any of them.
fn exit_status() -> String {
    let mut causes: BTreeMap<u8, Vec<FaultName>> = BTreeMap::new();
    FaultName::ALL.iter().for_each(|name| causes.entry(name.exit_code()).or_default().push(*name));
    let mut section = String::from(".SH \"EXIT STATUS\"\n.TP\n\\fB0\\fR\nThe command did its work.");
    for (code, names) in causes {
        section += &format!("\n.TP\n\\fB{code}\\fR");
        for (number, name) in names.iter().enumerate() {
            // Each on a line of its own; the names are words, and the sentences begin with letters.
            let between = if number == 0 { "" } else { ".br\n" };
            section += &format!("\n{between}\\fI{name}\\fR: {}", name.meaning().replace('\\', "\\e"));
        }
    }
    section
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

    #[test]
    fn the_pages_tell_every_exit_code_and_what_it_means() {
        let section = exit_status();
        for name in FaultName::ALL {
            assert!(section.contains(&format!("\n.TP\n\\fB{}\\fR\n", name.exit_code())), "{name}");
            assert!(section.contains(&format!("\\fI{name}\\fR: {}", name.meaning())), "{name}");
        }
        let strange =
            |line: &&str| line.starts_with(['.', '\'']) && ![".SH \"EXIT STATUS\"", ".TP", ".br"].contains(line);
        assert_eq!(section.lines().find(strange), None);
    }
}
