//! Hearing of a changed network at once: the kernel tells of addresses, links, routes and rules by netlink.

use super::{QUIET, tell};
use futures_util::{FutureExt, StreamExt};
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc;

pub(in crate::collect) async fn network_changes(changed: mpsc::Sender<()>) -> Result<(), std::io::Error> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Rule,
    ];
    let (connection, _, mut messages) = rtnetlink::new_multicast_connection(&groups)?;
    let connection = tokio::spawn(connection);
    while messages.next().await.is_some() {
        tokio::time::sleep(QUIET).await;
        while let Some(Some(_)) = messages.next().now_or_never() {}
        if !tell(&changed) {
            break;
        }
    }
    connection.abort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const INSIDE: &str = "POSTERN_TEST_WATCH_INSIDE";

    /// Runs this very test once more in a network of its own, where it may add an address.
    #[test]
    fn an_address_that_comes_is_told() {
        if std::env::var_os(INSIDE).is_none() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let output = std::process::Command::new("unshare")
                .args(["--user", "--map-root-user", "--net", "--"])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", &name])
                .env(INSIDE, "1")
                .output()
                .expect("unshare must be installed: this test makes a network of its own");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (changed, mut changes) = mpsc::channel(1);
            let watching = tokio::spawn(network_changes(changed));
            // What is told before the socket listens is missed, so the change is made until it is heard.
            let heard = async {
                loop {
                    for verb in ["add", "del"] {
                        let status = tokio::process::Command::new("ip")
                            .args(["address", verb, "192.0.2.1/32", "dev", "lo"])
                            .status();
                        assert!(status.await.unwrap().success());
                        if tokio::time::timeout(Duration::from_millis(300), changes.recv())
                            .await
                            .is_ok_and(|told| told.is_some())
                        {
                            return;
                        }
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(60), heard).await.expect("a change is told");
            watching.abort();
        });
    }
}
