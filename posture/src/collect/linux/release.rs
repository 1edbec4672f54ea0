//! Distribution, kernel and host name.

use super::text;
use crate::collect::{Context, Look};
use crate::facts::{Kernel, Observation, OperatingSystem};

/// Where `os-release`(5) says the file lies, in the order it gives.
const RELEASE_FILES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

pub(in crate::collect) fn operating_system(context: &Context) -> Look<OperatingSystem> {
    for path in RELEASE_FILES {
        match text(context, path) {
            Ok(None) => {}
            Ok(Some(text)) => {
                return match read(&text) {
                    Some(os) => Look::known(with_point_release(context, os), path),
                    None => Look::unknown(format!("{path} names no distribution (ID=)"), path),
                };
            }
            Err(error) => return Look::new(Observation::from_error(path, &error), path),
        }
    }
    Look::unknown("there is no os-release file", RELEASE_FILES.join(", "))
}

/// Debian's release file names no point release (`12`); the file `debian_version` does (`12.7`).
fn with_point_release(context: &Context, mut os: OperatingSystem) -> OperatingSystem {
    if os.id == "debian"
        && let Some(version) = &os.version
        && let Ok(Some(point)) = text(context, "/etc/debian_version")
        && point.trim().strip_prefix(version.as_str()).is_some_and(|rest| rest.starts_with('.'))
    {
        os.version = Some(point.trim().to_owned());
    }
    os
}

pub(in crate::collect) fn kernel(context: &Context) -> Look<Kernel> {
    line(context, "/proc/sys/kernel/osrelease", |release| Kernel { release })
}

pub(in crate::collect) fn host_name(context: &Context) -> Look<String> {
    line(context, "/proc/sys/kernel/hostname", |name| name)
}

fn line<T>(context: &Context, path: &str, make: impl FnOnce(String) -> T) -> Look<T> {
    let observation = match text(context, path) {
        Ok(Some(text)) => Observation::Known(make(text.trim().to_owned())),
        Ok(None) => Observation::Unknown(format!("{path} is not there")),
        Err(error) => Observation::from_error(path, &error),
    };
    Look::new(observation, path)
}

/// Reads assignments in the shell form of `os-release`.
fn read(text: &str) -> Option<OperatingSystem> {
    let value = |wanted: &str| {
        text.lines().rev().find_map(|line| {
            let (key, value) = line.trim().split_once('=')?;
            (key == wanted).then(|| unquoted(value)).filter(|value| !value.is_empty())
        })
    };
    let id = value("ID")?.to_lowercase();
    let version = value("VERSION_ID");
    let name = value("PRETTY_NAME").or_else(|| value("NAME")).unwrap_or_else(|| id.clone());
    Some(OperatingSystem { id, version, codename: value("VERSION_CODENAME"), name })
}

/// Takes the quotes and the backslashes of the shell away.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            let mut plain = String::with_capacity(inner.len());
            let mut characters = inner.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' if quote == '"' => plain.extend(characters.next()),
                    other => plain.push(other),
                }
            }
            return plain;
        }
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_file_of_debian_12_is_understood() {
        let os = read(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n",
        );
        let os = os.unwrap();
        assert_eq!(
            (os.id.as_str(), os.version.as_deref(), os.codename.as_deref()),
            ("debian", Some("12"), Some("bookworm"))
        );
        assert_eq!(os.name, "Debian GNU/Linux 12 (bookworm)");
    }

    #[test]
    fn quotes_and_escapes_are_those_of_the_shell() {
        let os = read("# comment\nID='Arch'\nPRETTY_NAME=\"A \\\"quoted\\\" \\$name\"\n").unwrap();
        assert_eq!((os.id.as_str(), os.name.as_str(), os.version), ("arch", "A \"quoted\" $name", None));
        assert_eq!(read("NAME=nothing\n"), None);
    }
}
