//! Looking a gateway's name up, in a process of its own.
//!
//! The system's resolver parses what strangers answer, and reads files that others replace while
//! the service runs. So neither MAIN nor NET does it: a child that lives for one question, without
//! a capability, reads what the resolver reads and nothing else.

use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How long the system's resolver may take.
const LIMIT: Duration = Duration::from_secs(30);
/// What is read of the answer.
const MOST_OCTETS: u64 = 1 << 16;
/// The longest name (RFC 1035), with a dot at its end.
const LONGEST_NAME: usize = 254;

/// Returns the addresses of `name`.
///
/// # Errors
/// What the resolver said, or that the child did not end in time.
pub async fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    // An address is its own, and needs nobody.
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    // A name is an argument of a program here, and not an option.
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with('-') || !name.chars().all(plain) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no name of a host"));
    }
    let mut child = Command::new(crate::platform::own_program()?)
        .args(["look-up", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut text = String::new();
    let read = async {
        if let Some(output) = child.stdout.take() {
            output.take(MOST_OCTETS).read_to_string(&mut text).await?;
        }
        child.wait().await
    };
    let status = tokio::time::timeout(LIMIT, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if !status.success() {
        let said = text.lines().next().filter(|line| !line.is_empty());
        return Err(io::Error::other(said.map_or_else(|| format!("the look-up ended: {status}"), str::to_owned)));
    }
    text.lines().map(|line| line.parse().map_err(io::Error::other)).collect()
}

/// The child: prints the addresses one a line, or what the resolver said.
///
/// # Errors
/// When the name has no address; what was said is printed too, for whoever asked.
pub fn child(name: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match (name, 0).to_socket_addrs() {
        Ok(found) => {
            let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            found.dedup();
            found.iter().try_for_each(|address| writeln!(out, "{address}"))
        }
        Err(error) => {
            writeln!(out, "{error}")?;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_its_own() {
        assert_eq!(addresses("192.0.2.1").await.unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses("2001:db8::1").await.unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn what_is_no_name_starts_no_program() {
        for name in ["", "-h", "--help", "a b", "a;b", &"a".repeat(300)] {
            assert_eq!(addresses(name).await.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
