//! systemd-resolved, played by a service of the same name on a bus of our own.
//!
//! The real one wants systemd around it; what it answers to these calls was tried by hand. Here
//! the calls themselves are shown: which, with what, and that they are reverted.

use crate::client::{Client, block_on, full, split};
use anyhow::{Context, Result, ensure};
use postern_agent::network::Block;
use postern_agent::network::plan::{Plan, TunnelNetworkSettings};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn note(&self, line: String) {
        if let Ok(mut lines) = self.0.lock() {
            lines.push(line);
        }
    }

    fn take(&self) -> Vec<String> {
        self.0.lock().map(|mut lines| std::mem::take(&mut *lines)).unwrap_or_default()
    }
}

#[zbus::interface(name = "org.freedesktop.resolve1.Manager")]
impl Told {
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, index: i32, servers: Vec<(i32, Vec<u8>)>) {
        self.note(format!("dns {index} {servers:?}"));
    }

    fn set_link_domains(&self, index: i32, domains: Vec<(String, bool)>) {
        self.note(format!("domains {index} {domains:?}"));
    }

    fn set_link_default_route(&self, index: i32, enable: bool) {
        self.note(format!("default {index} {enable}"));
    }

    fn revert_link(&self, index: i32) {
        self.note(format!("revert {index}"));
    }

    fn flush_caches(&self) {}
}

pub fn is_told_and_reverted() -> Result<()> {
    let client = Client::new()?;
    let _bus = lab::bus::system()?;
    let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\n";
    std::fs::write("/etc/resolv.conf", stub)?;
    let told = Told::default();
    let index = client.granted()?.device.index;
    block_on(async {
        let _service = zbus::connection::Builder::system()?
            .name("org.freedesktop.resolve1")?
            .serve_at("/org/freedesktop/resolve1", told.clone())?
            .build()
            .await
            .context("the service on the bus")?;
        client.settle(&client.plan(&full()).await?).await?;
        let lines = told.take();
        ensure!(
            lines
                == [
                    format!("dns {index} [(2, [10, 98, 0, 1])]"),
                    format!("domains {index} [(\"corp.example\", true), (\".\", true)]"),
                    format!("default {index} true"),
                ],
            "{lines:#?}"
        );
        let settings = TunnelNetworkSettings { search: vec!["lab.example".into()], ..split(Block::Open)? };
        client.settle(&Plan::default()).await?;
        ensure!(told.take() == [format!("revert {index}")]);
        client.settle(&client.plan(&settings).await?).await?;
        let lines = told.take();
        ensure!(
            lines
                == [
                    format!("dns {index} [(2, [10, 98, 0, 1])]"),
                    format!("domains {index} [(\"lab.example\", false), (\"corp.example\", true)]"),
                    format!("default {index} false"),
                ],
            "{lines:#?}"
        );
        client.settle(&Plan::default()).await?;
        ensure!(told.take() == [format!("revert {index}")]);
        ensure!(std::fs::read_to_string("/etc/resolv.conf")? == stub, "the file is resolved's, not ours");
        Ok(())
    })
}
