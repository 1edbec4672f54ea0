//! `postern monitor`.

use super::{Session, output};
use postern_api::event::Event;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::Method;
use serde_json::Value;

pub(super) async fn run(session: &Session) -> Result<(), Fault> {
    let mut client = session.open().await?;
    let events = client.take_events();
    client.ask::<Value>(Method::Subscribe).await?;
    if let Some(mut events) = events {
        while let Some(event) = events.recv().await {
            if session.json {
                output::json(&event);
            } else {
                print(&event);
            }
        }
    }
    Err(Fault::new(FaultName::ServiceUnavailable, "", "the service went away", "systemctl status posternd"))
}

fn print(event: &Event) {
    match event {
        Event::Snapshot { status } => {
            status.tunnels.iter().for_each(|tunnel| output::line(super::status::sentence(tunnel)))
        }
        Event::Tunnel { tunnel } => output::line(super::status::sentence(tunnel)),
        Event::Tags { report } => {
            let tags: Vec<String> = report
                .tags
                .iter()
                .map(|tag| format!("{} {}", tag.name.for_one_line(), super::posture::presence(tag.presence)))
                .collect();
            output::line(format!("tags: {}", if tags.is_empty() { "none".into() } else { tags.join(", ") }));
        }
        Event::Notice { notice } => output::notice(notice),
        Event::Prompt { prompt } => {
            output::line(format!("{} asks: {}", prompt.tunnel.for_one_line(), prompt.text.for_one_line()));
        }
        Event::Scan { step, done } => output::line(super::scan::progress(*step, *done)),
        Event::Progress { tunnel, text } => {
            output::line(format!("{}: {}", tunnel.for_one_line(), text.for_one_line()));
        }
        Event::Trace { .. } | Event::Keys { .. } | Event::PromptEnded { .. } => {}
    }
}
