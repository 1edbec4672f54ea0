//! The child: asks, gathers what is said, and prints it.

use super::http;
use super::stock::Stock;
use ike_client::auth::certificate::RevocationSource;
use ike_client::auth::certificate::revocation::is_ocsp_response;
use ike_client::session::Answer;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// What is gathered in all, in octets.
pub(super) const MOST_OCTETS: usize = 3 << 19;
/// The longest OCSP response and the longest list.
const MOST_OF_RESPONSE: usize = 64 << 10;
const MOST_OF_LIST: usize = 1 << 20;
/// The longest question that is read, and the most certificates in it.
const MOST_OF_QUESTION: u64 = 1 << 20;
const MOST_CERTIFICATES: usize = 8;
/// How long one source may take, and all together.
const EACH: Duration = Duration::from_secs(2);
const TOGETHER: Duration = Duration::from_millis(4500);

/// What a source said.
enum Said {
    Response(Vec<u8>),
    List(Vec<u8>),
}

/// Reads the question from standard input and prints the answer.
///
/// # Errors
/// When it is no question, or nobody takes the answer.
pub fn main(stock: Stock) -> io::Result<()> {
    let mut question = Vec::new();
    io::stdin().lock().take(MOST_OF_QUESTION).read_to_end(&mut question)?;
    let mut certificates: Vec<Vec<RevocationSource>> = serde_json::from_slice(&question)?;
    certificates.truncate(MOST_CERTIFICATES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(gather(Arc::new(stock), certificates));
    // A resolver that hangs does not keep this process.
    runtime.shutdown_background();
    io::stdout().lock().write_all(&serde_json::to_vec(&answer)?)
}

/// Asks for all certificates at once; what has not come in time is left out.
async fn gather(stock: Arc<Stock>, certificates: Vec<Vec<RevocationSource>>) -> Answer {
    let until = Instant::now() + TOGETHER;
    let mut asking = JoinSet::new();
    for sources in certificates {
        asking.spawn(one(Arc::clone(&stock), sources));
    }
    let (mut responses, mut lists, mut octets) = (Vec::new(), Vec::new(), 0_usize);
    while let Ok(Some(said)) = timeout_at(until, asking.join_next()).await {
        let Ok(Some(said)) = said else { continue };
        let (kind, said) = match said {
            Said::Response(said) => (&mut responses, said),
            Said::List(said) => (&mut lists, said),
        };
        octets = octets.saturating_add(said.len());
        if octets <= MOST_OCTETS {
            kind.push(said);
        }
    }
    Answer::RevocationStatus { responses, lists }
}

/// Asks one after the other until one has said something.
async fn one(stock: Arc<Stock>, sources: Vec<RevocationSource>) -> Option<Said> {
    for source in sources {
        let (url, asked) = match source {
            RevocationSource::Ocsp { url, request } => {
                let asked =
                    timeout(EACH, http::post(&stock, &url, ("application/ocsp-request", request), MOST_OF_RESPONSE))
                        .await;
                let useful = |octets: &Vec<u8>| is_ocsp_response(octets);
                match asked.map(|said| said.map(|octets| useful(&octets).then_some(Said::Response(octets)))) {
                    Ok(Ok(Some(said))) => return Some(said),
                    Ok(Ok(None)) => (url, "it gives no OCSP response that says something".to_owned()),
                    Ok(Err(error)) => (url, error.to_string()),
                    Err(_) => (url, "it does not answer".to_owned()),
                }
            }
            RevocationSource::List { url } => match timeout(EACH, http::get(&stock, &url, MOST_OF_LIST)).await {
                Ok(Ok(octets)) => return Some(Said::List(octets)),
                Ok(Err(error)) => (url, error.to_string()),
                Err(_) => (url, "it does not answer".to_owned()),
            },
        };
        tracing::info!(%url, problem = %asked, "could not be asked about revocation");
    }
    None
}
