//! `postern repair`.

use super::{Session, output};
use postern_api::fault::Fault;
use postern_api::method::{Method, Repaired};

pub(super) async fn run(session: &Session) -> Result<(), Fault> {
    let repaired: Repaired = session.open().await?.ask(Method::Repair).await?;
    if session.json {
        output::json(&repaired);
    } else if repaired.undone.is_empty() {
        output::line("nothing was left behind");
    } else {
        repaired.undone.iter().for_each(|line| output::line(format!("undone: {}", line.for_one_line())));
    }
    Ok(())
}
