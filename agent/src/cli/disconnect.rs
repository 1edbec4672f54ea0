//! `postern disconnect`.

use super::{Session, output};
use clap::Args;
use postern_api::fault::Fault;
use postern_api::method::{Method, TunnelName};
use postern_api::state::{ConnectionState, TunnelStatus};
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
    let done = if arguments.dismiss { "dismissed" } else { "disconnected" };
    let method = if arguments.dismiss { Method::Dismiss } else { Method::Disconnect };
    match &arguments.tunnel {
        Some(tunnel) => client.call::<Value>(method, &TunnelName { tunnel: tunnel.clone() }).await?,
        None => client.ask::<Value>(method).await?,
    };
    // Asked for all, the service leaves what belongs to another user.
    let left: Vec<String> = match arguments.tunnel {
        Some(_) => Vec::new(),
        None => {
            let tunnels: Vec<TunnelStatus> = client.ask(Method::TunnelList).await?;
            tunnels.iter().filter(|tunnel| is_held(tunnel.state)).map(|tunnel| tunnel.name.for_one_line()).collect()
        }
    };
    if session.json {
        output::json(&json!({ "tunnel": arguments.tunnel, "state": "disconnected", "left": left }));
    } else if left.is_empty() {
        output::line(done);
    } else {
        output::line(format!("left to the user who connected it: {}", left.join(", ")));
    }
    Ok(())
}

const fn is_held(state: ConnectionState) -> bool {
    !matches!(state, ConnectionState::Disconnected | ConnectionState::Quarantined)
}
