//! `postern disconnect`.

use super::{Session, output};
use clap::Args;
use postern_api::fault::Fault;
use postern_api::method::{Method, TunnelName};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The tunnel; all when none is named
    tunnel: Option<String>,
    /// Lift the block that a lost compliance left, and nothing else
    #[arg(long, requires = "tunnel")]
    dismiss: bool,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let client = session.open().await?;
    let method = if arguments.dismiss { Method::Dismiss } else { Method::Disconnect };
    match &arguments.tunnel {
        Some(tunnel) => client.call::<Value>(method, &TunnelName { tunnel: tunnel.clone() }).await?,
        None => client.ask::<Value>(method).await?,
    };
    if session.json {
        output::json(&json!({ "tunnel": arguments.tunnel, "state": "disconnected" }));
    } else {
        output::line("disconnected");
    }
    Ok(())
}
