//! `postern-tray`: the tray icon and the desktop notifications of the user's session.
//!
//! It knows nothing but the control socket's types. Events come in and become a [`model::Model`];
//! a pure function turns the model into a [`view::View`] (icon, tooltip, menu); the tray draws it.
//! Menu entries become requests to the service. It holds no rights and keeps no state of its own:
//! when it is ended, nothing of the connection changes.
//!
//! | module | holds |
//! |---|---|
//! | [`session`] | the conversation with the service, reconnecting when it goes |
//! | [`model`] | what is known, changed by events; pure |
//! | [`view`] | what is shown; pure |
//! | [`icon`] | the icons, drawn by shape and colour; pure |
//! | [`notification`] | notices to the desktop's notification service |
//! | [`prompt`] | questions to a person, through pinentry |
//! | [`tray`] | the status notifier item (Linux) |

mod icon;
mod model;
mod notification;
mod prompt;
mod session;
mod tray;
mod view;

use clap::Parser;
use std::path::PathBuf;

/// The Postern tray icon and desktop notifications.
#[derive(Debug, Parser)]
#[command(name = "postern-tray", version)]
struct Arguments {
    /// Folder of the service's control socket.
    #[arg(long, env = "RUNTIME_DIRECTORY", default_value = "/run/postern")]
    runtime: PathBuf,
    /// Program that asks for secrets (any pinentry).
    #[arg(long, default_value = "pinentry")]
    pinentry: PathBuf,
    /// Show notifications only, no tray icon.
    #[arg(long)]
    no_icon: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let (commands, requests) = tokio::sync::mpsc::unbounded_channel();
    let tray = if arguments.no_icon { tray::Tray::none() } else { tray::Tray::show(commands.clone()).await };
    session::run(&arguments.runtime.join("control.sock"), &arguments.pinentry, tray, commands, requests).await
}
