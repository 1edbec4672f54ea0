//! `postern release` and `postern break-glass`: codes of the administrator.

use super::{Session, ask, output};
use clap::Args;
use postern_api::fault::Fault;
use postern_api::method::{Code, Method};
use postern_api::posture::BreakGlass;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Read the code from a file; by default it is asked for, or read from standard input
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
}

impl Arguments {
    async fn code(self) -> Result<Code, Fault> {
        let code = match self.code_file {
            Some(path) => ask::from_file(&path)?,
            None if output::has_terminal() => ask::at_terminal("Code: ".into(), false).await?,
            None => ask::from_stdin()?,
        };
        Ok(Code { code: code.to_string() })
    }
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let code = arguments.code().await?;
    session.open().await?.call::<Value>(Method::Release, &code).await?;
    if session.json {
        output::json(&json!({ "quarantined": false }));
    } else {
        output::line("the quarantine is over");
    }
    Ok(())
}

pub(super) async fn break_glass(session: &Session, arguments: Arguments) -> Result<(), Fault> {
    let code = arguments.code().await?;
    let used: BreakGlass = session.open().await?.call(Method::BreakGlass, &code).await?;
    if session.json {
        output::json(&used);
    } else {
        output::line(format!("BREAK-GLASS: the host check is overridden until {}; EMS is told", used.until));
    }
    Ok(())
}
