//! Hearing of a changed packet filter at once: nftables tells each change of a table by netlink.

use super::{QUIET, tell};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::os::fd::AsFd;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;

/// `NFNLGRP_NFTABLES` as a bit of the address (linux/netfilter/nfnetlink.h).
const GROUP: u32 = 1 << (7 - 1);
/// Of each message only that it came matters.
const ROOM: usize = 4_096;

/// Who hears of the packet filter.
#[derive(Debug)]
pub struct FirewallListener(Socket);

impl FirewallListener {
    pub(in crate::collect) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind(&SocketAddr::new(0, GROUP))?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    pub(in crate::collect) async fn changes(self, changed: mpsc::Sender<()>) -> io::Result<()> {
        // To tokio the socket looks like a pipe: something to read from.
        let socket = Receiver::from_owned_fd_unchecked(self.0.as_fd().try_clone_to_owned()?)?;
        loop {
            socket.readable().await?;
            tokio::time::sleep(QUIET).await;
            loop {
                match socket.try_read(&mut [0; ROOM]) {
                    Ok(_) => {}
                    // An overflow is a change that was not told in full.
                    Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            if !tell(&changed) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Duration;

    const INSIDE: &str = "POSTERN_TEST_FIREWALL_INSIDE";
    const LIMIT: Duration = Duration::from_secs(20);

    /// Runs this very test once more in a network of its own, where it may change the packet filter.
    #[test]
    fn a_table_that_comes_and_goes_is_told() {
        if std::env::var_os(INSIDE).is_none() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let mut again = Command::new("unshare");
            again.args(["--user", "--map-root-user", "--net", "--"]).arg(std::env::current_exe().unwrap());
            let output = again.args(["--exact", &name]).env(INSIDE, "1").output();
            let output = output.expect("unshare must be installed: this test makes a network of its own");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let listener = FirewallListener::open().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (changed, mut changes) = mpsc::channel(1);
            let listening = tokio::spawn(listener.changes(changed));
            for verb in ["add", "delete"] {
                assert!(Command::new("nft").args([verb, "table", "inet", "t"]).status().unwrap().success());
                let told = tokio::time::timeout(LIMIT, changes.recv()).await;
                assert!(matches!(told, Ok(Some(()))), "{verb} is not told");
            }
            listening.abort();
        });
    }
}
