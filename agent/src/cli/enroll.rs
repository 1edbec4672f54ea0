//! `postern enroll` and `postern unenroll`.

use super::{Session, ask, output};
use clap::Args;
use postern_api::fault::Fault;
use postern_api::method::{Enroll, Enrolled, Method, Unenrolled};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Read the invitation from a file; by default it is asked for, or read from standard input
    #[arg(long, value_name = "FILE")]
    invitation_file: Option<PathBuf>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let invitation = match arguments.invitation_file {
        Some(path) => ask::from_file(&path)?,
        None if output::has_terminal() => ask::at_terminal("Invitation: ".into(), true).await?,
        None => ask::from_stdin()?,
    };
    let request = Enroll { invitation: invitation.to_string() };
    let enrolled: Enrolled = session.open().await?.call(Method::Enroll, &request).await?;
    if session.json {
        output::json(&enrolled);
    } else {
        output::line(format!("enrolled with {} as {}", enrolled.ems.for_one_line(), enrolled.endpoint));
    }
    Ok(())
}

pub(super) async fn leave(session: &Session) -> Result<(), Fault> {
    let left: Unenrolled = session.open().await?.ask(Method::Unenroll).await?;
    if session.json {
        output::json(&json!({ "enrolled": false, "ems_told": left.ems_told }));
    } else if left.ems_told {
        output::line("no longer enrolled");
    } else {
        output::line("no longer enrolled; EMS was out of reach, still lists this endpoint, and should be told");
    }
    Ok(())
}
