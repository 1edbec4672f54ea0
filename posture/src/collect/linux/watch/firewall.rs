//! Hearing of a changed packet filter at once: nftables tells each change of a table by netlink.

use super::{QUIET, tell};
use futures_util::FutureExt;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tokio::sync::mpsc;

/// `NFNLGRP_NFTABLES` as a bit of the address (linux/netfilter/nfnetlink.h).
const GROUP: u32 = 1 << (7 - 1);

pub(in crate::collect) async fn firewall_changes(changed: mpsc::Sender<()>) -> Result<(), std::io::Error> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    socket.socket_mut().bind(&SocketAddr::new(0, GROUP))?;
    loop {
        // An overflow is a change that was not told in full.
        let told = socket.recv_from_full().await;
        if let Err(error) = told
            && error.raw_os_error() != Some(nix::libc::ENOBUFS)
        {
            return Err(error);
        }
        tokio::time::sleep(QUIET).await;
        while let Some(Ok(_)) = socket.recv_from_full().now_or_never() {}
        if !tell(&changed) {
            return Ok(());
        }
    }
}
