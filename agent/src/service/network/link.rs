//! MAIN's handle of NET: starts the process, speaks with it, starts it again when it dies.

use crate::ipc::{self, FromNet, Outcome, Reader, ToNet, Verb};
use crate::network::step::{Before, Step};
use crate::network::system::{System, SystemError, Undone};
use crate::platform::Capabilities;
use crate::service::child::look_up;
use crate::service::rights::Confinement;
use ike_client::Timestamp;
use ike_client::tunnel::clock;
use ike_client::tunnel::control::{Command, Event};
use ike_client::tunnel::lease::LeaseWriter;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// How long what is asked of NET at a time may take: each change is a question to the kernel, which answers
/// in less than a millisecond. A process that takes longer hangs or was stopped, and is replaced.
const CHANGE_LIMIT: Duration = Duration::from_secs(6);
/// How long the next process may take to be there and answer in its place.
const REPLACED: Duration = Duration::from_secs(10);
/// How long after its death NET is started again.
const PAUSE: Duration = Duration::from_millis(500);

/// A lease that still runs for longer than this is not renewed by command: each wakes NET, which has
/// nothing else to do while nobody sends. More than the gap between two beats that is taken for a busy
/// machine (`compliance::clock`), so that no lease ends in one.
const LEASE_KEPT: Duration = Duration::from_millis(3_500);

/// How many names are looked up at a time.
const MOST_LOOK_UPS: usize = 4;

/// What NET tells the hub.
#[derive(Debug)]
pub enum Told {
    /// It is up.
    Ready(Capabilities, Confinement),
    /// The engine says something.
    Engine(Box<Event>),
    /// It is gone; another one will be ready soon.
    Gone,
}

/// How old what was looked up ahead may be: it is for a connection that begins at this moment.
const AHEAD: Duration = Duration::from_secs(5);

/// A name that is being looked up before NET asks for it.
struct Ahead {
    name: String,
    began: Timestamp,
    found: JoinHandle<io::Result<Vec<IpAddr>>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.found.abort();
    }
}

impl Ahead {
    /// Waits for what is found.
    async fn addresses(mut self) -> io::Result<Vec<IpAddr>> {
        (&mut self.found).await.map_err(io::Error::other)?
    }
}

/// Addresses to which NET must not go, each with the managed tunnel to whose gateway it belongs.
pub type OffLimits = BTreeMap<IpAddr, String>;

type Awaited = Arc<Mutex<HashMap<u64, oneshot::Sender<Outcome>>>>;

/// Speaks with NET, whichever process that is at the moment. Cheap to clone.
#[derive(Clone)]
pub struct NetLink {
    out: mpsc::UnboundedSender<ToNet>,
    awaited: Awaited,
    next: Arc<AtomicU64>,
    stuck: Arc<Notify>,
    off_limits: Arc<Mutex<OffLimits>>,
    ahead: Arc<Mutex<Option<Ahead>>>,
    lease: Arc<Mutex<Lease>>,
}

/// How a conversation with one NET ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The handle is gone: MAIN ends.
    NobodyAsks,
    /// NET has hung up.
    NetGone,
    /// NET does not answer.
    NetStuck,
}

/// What the task that runs NET holds.
pub struct NetTask {
    stuck: Arc<Notify>,
    queue: mpsc::UnboundedReceiver<ToNet>,
    awaited: Awaited,
    /// Questions that the present NET was given.
    given: HashSet<u64>,
    told: mpsc::UnboundedSender<Told>,
    off_limits: Arc<Mutex<OffLimits>>,
    ahead: Arc<Mutex<Option<Ahead>>>,
    lease: Arc<Mutex<Lease>>,
    /// For the NET that is to come up.
    writer: Option<LeaseWriter>,
    /// How long NET may leave a message unread.
    patience: Duration,
}

/// Makes the handle and its task.
pub fn link(told: mpsc::UnboundedSender<Told>) -> (NetLink, NetTask) {
    let (out, queue) = mpsc::unbounded_channel();
    let awaited = Awaited::default();
    let stuck = Arc::new(Notify::new());
    let off_limits = Arc::default();
    let ahead = Arc::default();
    let lease = Arc::default();
    let task = NetTask {
        stuck: Arc::clone(&stuck),
        queue,
        awaited: Arc::clone(&awaited),
        given: HashSet::new(),
        told,
        off_limits: Arc::clone(&off_limits),
        ahead: Arc::clone(&ahead),
        lease: Arc::clone(&lease),
        writer: None,
        patience: CHANGE_LIMIT,
    };
    (NetLink { out, awaited, next: Arc::new(AtomicU64::new(1)), stuck, off_limits, ahead, lease }, task)
}

impl NetLink {
    /// Says where the engine must not go from now on, whatever a name or a redirect leads to.
    pub fn keep_from(&self, off_limits: OffLimits) {
        *self.off_limits.lock().unwrap_or_else(PoisonError::into_inner) = off_limits;
    }

    /// Looks a gateway's name up while its tunnel is still being judged: NET asks for it first of all.
    pub fn look_up_ahead(&self, name: String) {
        let asked = name.clone();
        let found = tokio::spawn(async move { look_up::addresses(&asked).await });
        let ahead = Ahead { name, began: clock::now(), found };
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
    }

    /// Sends a command to the engine, unless it renews a lease of which the engine learns without it.
    pub fn engine(&self, command: Command) {
        if self.lease.lock().unwrap_or_else(PoisonError::into_inner).makes_needless(&command) {
            return;
        }
        let _ = self.out.send(ToNet::Engine { command: Box::new(command) });
    }

    /// Asks NET. One that does not answer is replaced, and the next one is asked once: every verb may
    /// be carried out twice.
    async fn ask(&self, operation: &Step, verb: Verb) -> Result<Outcome, SystemError> {
        match self.ask_once(operation, verb.clone(), CHANGE_LIMIT).await {
            Some(outcome) => outcome,
            None => {
                self.stuck.notify_one();
                let failed =
                    |detail: &str| SystemError::Failed { operation: operation.to_string(), detail: detail.into() };
                let again = self.ask_once(operation, verb, REPLACED).await;
                again.unwrap_or_else(|| Err(failed("the network process does not answer")))
            }
        }
    }

    /// Asks, and waits so long.
    async fn ask_once(&self, operation: &Step, verb: Verb, limit: Duration) -> Option<Result<Outcome, SystemError>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer_in, answer) = oneshot::channel();
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer_in);
        let _ = self.out.send(ToNet::System { id, verb });
        let failed = |detail: &str| SystemError::Failed { operation: operation.to_string(), detail: detail.into() };
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(Outcome::Failed(error))) => Some(Err(error)),
            Ok(Ok(outcome)) => Some(Ok(outcome)),
            Ok(Err(_)) => Some(Err(failed("the network process is gone"))),
            Err(_) => {
                self.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                None
            }
        }
    }
}

impl System for NetLink {
    async fn look(&mut self, step: &Step) -> Result<Before, SystemError> {
        self.look_all(&[step]).await?.pop().ok_or_else(|| confused(step))
    }

    async fn look_all(&mut self, steps: &[&Step]) -> Result<Vec<Before>, SystemError> {
        let Some(first) = steps.first() else { return Ok(Vec::new()) };
        match self.ask(first, Verb::Look { steps: steps.iter().copied().cloned().collect() }).await? {
            Outcome::Looked(before) if before.len() == steps.len() => Ok(before),
            _ => Err(confused(first)),
        }
    }

    async fn apply(&mut self, step: &Step, before: &Before) -> Result<(), SystemError> {
        self.apply_all(&[(step, before)]).await.map_err(|(_, error)| error)
    }

    async fn apply_all(&mut self, steps: &[(&Step, &Before)]) -> Result<(), (usize, SystemError)> {
        let Some((first, _)) = steps.first() else { return Ok(()) };
        let changes = steps.iter().map(|(step, before)| ((*step).clone(), (*before).clone())).collect();
        // Of one that does not answer nobody knows how far it came.
        let last = steps.len().saturating_sub(1);
        match self.ask(first, Verb::Apply { steps: changes }).await {
            Ok(Outcome::Applied) => Ok(()),
            Ok(Outcome::Stopped { position, error }) => Err((position.min(last), error)),
            Ok(_) => Err((last, confused(first))),
            Err(error) => Err((last, error)),
        }
    }

    async fn undo(&mut self, step: &Step, before: &Before) -> Result<Undone, SystemError> {
        match self.ask(step, Verb::Undo { step: step.clone(), before: before.clone() }).await? {
            Outcome::Undone(undone) => Ok(undone),
            _ => Err(confused(step)),
        }
    }

    async fn restore(&mut self, step: &Step, before: &Before) -> Result<bool, SystemError> {
        self.restore_all(&[(step, before)]).await.pop().unwrap_or_else(|| Err(confused(step)))
    }

    async fn restore_all(&mut self, steps: &[(&Step, &Before)]) -> Vec<Result<bool, SystemError>> {
        let Some((first, _)) = steps.first() else { return Vec::new() };
        let verb = Verb::Restore { steps: steps.iter().map(|(step, _)| (*step).clone()).collect() };
        match self.ask(first, verb).await {
            Ok(Outcome::Restored(outcomes)) if outcomes.len() == steps.len() => outcomes,
            Ok(_) => steps.iter().map(|(step, _)| Err(confused(step))).collect(),
            Err(error) => steps.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

fn confused(step: &Step) -> SystemError {
    SystemError::Failed { operation: step.to_string(), detail: "the network process answered another question".into() }
}

impl NetTask {
    /// Runs NET as a child of this process, and again when it dies, until the handle is dropped.
    pub async fn run_child(mut self) {
        loop {
            match spawn() {
                Ok((mut child, stream, writer)) => {
                    self.writer = writer;
                    let (read, write) = tokio::io::split(stream);
                    let over = self.converse(read, write).await;
                    if over == Over::NetStuck {
                        tracing::error!("the network process does not answer: it is ended and started again");
                        let _ = child.kill().await;
                    } else if tokio::time::timeout(Duration::from_secs(8), child.wait()).await.is_err() {
                        let _ = child.kill().await;
                    }
                    if over == Over::NobodyAsks {
                        return;
                    }
                }
                Err(error) => tracing::error!(%error, "the network process cannot be started"),
            }
            self.bury();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What the dead one was asked is never answered; what it was not given yet is for the next.
    fn bury(&mut self) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        self.given.drain().for_each(|id| drop(awaited.remove(&id)));
        drop(awaited);
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Lease::default();
        let _ = self.told.send(Told::Gone);
    }

    /// Writes a message. One who does not read it would hold up everything else that is said here, also the word
    /// that it is stuck.
    async fn tell(&self, write: &mut (impl AsyncWrite + Unpin), message: &ToNet) -> Result<(), Over> {
        match tokio::time::timeout(self.patience, ipc::write(write, message)).await {
            Ok(written) => written.map_err(|_| Over::NetGone),
            Err(_) => Err(Over::NetStuck),
        }
    }

    /// Speaks with one NET, and returns how that ended.
    pub async fn converse(&mut self, read: impl AsyncRead + Unpin, mut write: impl AsyncWrite + Unpin) -> Over {
        let mut reader = Reader::new(read);
        let mut ready = false;
        // Ends with the conversation: another NET did not ask.
        let mut looking_up = JoinSet::new();
        let stuck = Arc::clone(&self.stuck);
        loop {
            tokio::select! {
                Some(found) = looking_up.join_next(), if !looking_up.is_empty() => {
                    if let Ok(found) = found
                        && let Err(over) = self.tell(&mut write, &found).await
                    {
                        return over;
                    }
                }
                () = stuck.notified(), if ready => return Over::NetStuck,
                message = self.queue.recv() => {
                    let Some(message) = message else { return Over::NobodyAsks };
                    match &message {
                        ToNet::System { id, .. } => drop(self.given.insert(*id)),
                        // Commands for an engine that died with its process are void.
                        ToNet::Engine { .. } if !ready => continue,
                        ToNet::Engine { .. } | ToNet::LookedUp { .. } => {}
                    }
                    if let Err(over) = self.tell(&mut write, &message).await {
                        return over;
                    }
                }
                message = reader.next::<FromNet>() => match message {
                    Ok(Some(FromNet::Ready { capabilities, confinement, shares_lease })) => {
                        ready = true;
                        let shared = self.writer.take().filter(|_| shares_lease);
                        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Lease { shared, until: None };
                        // Whoever complained did so about an earlier one, or was impatient with this.
                        tokio::select! {
                            biased;
                            () = stuck.notified() => {}
                            () = std::future::ready(()) => {}
                        }
                        let _ = self.told.send(Told::Ready(capabilities, confinement));
                    }
                    Ok(Some(FromNet::LookUp { id, name })) => {
                        // Whoever parses strangers' datagrams does not start processes without end.
                        if looking_up.len() < MOST_LOOK_UPS {
                            let off_limits = Arc::clone(&self.off_limits);
                            let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
                            let ahead = ahead.filter(|ahead| {
                                ahead.name == name && clock::now().saturating_since(ahead.began) < AHEAD
                            });
                            looking_up.spawn(async move {
                                let found = match ahead {
                                    Some(ahead) => ahead.addresses().await,
                                    None => look_up::addresses(&name).await,
                                };
                                let found = found.map_err(|error| error.to_string());
                                ToNet::LookedUp { id, outcome: found.and_then(|found| allowed(found, &off_limits)) }
                            });
                        }
                    }
                    Ok(Some(FromNet::Engine { event })) => drop(self.told.send(Told::Engine(event))),
                    Ok(Some(FromNet::System { id, outcome })) => {
                        self.given.remove(&id);
                        let waiting = self.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                        if let Some(waiting) = waiting {
                            let _ = waiting.send(outcome);
                        }
                    }
                    Ok(None) => return Over::NetGone,
                    Err(error) => {
                        tracing::error!(%error, "the network process cannot be understood");
                        return Over::NetGone;
                    }
                },
            }
        }
    }
}

/// What the engine has of the lease.
#[derive(Debug, Default)]
struct Lease {
    /// Where the engine reads when it ends, if NET shares that.
    shared: Option<LeaseWriter>,
    /// Until when it was granted.
    until: Option<Timestamp>,
}

impl Lease {
    /// Notes what a command says of the lease. Tells whether it need not be sent: it grants what the engine
    /// holds for long enough already, or finds by itself.
    fn makes_needless(&mut self, command: &Command) -> bool {
        match command {
            Command::GrantLease { until } => {
                let left = self.until.map_or(Duration::ZERO, |held| held.saturating_since(clock::now()));
                // A shorter one than the one that runs is meant as it is.
                let longer = self.until.is_some_and(|held| held <= *until);
                let needless = match &self.shared {
                    Some(shared) => {
                        shared.grant(*until);
                        // One that has ended was noticed, and begins again by command.
                        !left.is_zero()
                    }
                    None => left > LEASE_KEPT && longer,
                };
                if self.shared.is_some() || !needless {
                    self.until = Some(*until);
                }
                needless
            }
            Command::RevokeLease | Command::Stop { .. } | Command::Start { .. } | Command::StartWireGuard { .. } => {
                if let Some(shared) = &self.shared {
                    shared.revoke();
                }
                self.until = None;
                false
            }
            _ => false,
        }
    }
}

/// Leaves out where the engine must not go; says so where nothing is left.
fn allowed(mut found: Vec<IpAddr>, off_limits: &Mutex<OffLimits>) -> Result<Vec<IpAddr>, String> {
    let off_limits = off_limits.lock().unwrap_or_else(PoisonError::into_inner);
    let owner = found.iter().find_map(|address| off_limits.get(&address.to_canonical())).cloned();
    found.retain(|address| !off_limits.contains_key(&address.to_canonical()));
    match owner {
        Some(owner) if found.is_empty() => Err(format!("leads to the gateway of the managed tunnel {owner}")),
        _ => Ok(found),
    }
}

#[cfg(unix)]
fn spawn() -> io::Result<(tokio::process::Child, tokio::net::UnixStream, Option<LeaseWriter>)> {
    use std::os::fd::OwnedFd;
    use std::process::Stdio;
    let (near, far) = std::os::unix::net::UnixStream::pair()?;
    near.set_nonblocking(true)?;
    // Without it each renewal of the lease is a command.
    let (writer, lease) = LeaseWriter::share().map_or((None, None), |(writer, lease)| (Some(writer), Some(lease)));
    let child = tokio::process::Command::new(crate::platform::own_program()?)
        .arg("net")
        .stdin(Stdio::from(OwnedFd::from(far)))
        .stdout(lease.map_or_else(Stdio::null, Stdio::from))
        .spawn()?;
    Ok((child, tokio::net::UnixStream::from_std(near)?, writer))
}

#[cfg(not(unix))]
fn spawn() -> io::Result<(tokio::process::Child, tokio::io::DuplexStream, Option<LeaseWriter>)> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "the network process is not supported on this system yet"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::step::{RouteTarget, RoutingTable};

    #[test]
    fn a_lease_is_renewed_before_it_runs_short_and_always_after_it_was_taken_away() {
        let now = clock::now();
        let grant = |seconds| Command::GrantLease { until: now + Duration::from_secs(seconds) };
        let mut lease = Lease::default();
        assert!(!lease.makes_needless(&grant(60)));
        assert!(lease.makes_needless(&grant(61)), "it runs for long enough");
        assert!(!lease.makes_needless(&grant(50)), "a shorter one is no renewal");
        assert_eq!(lease.until, Some(now + Duration::from_secs(50)));
        assert!(!lease.makes_needless(&Command::Liveness));
        assert!(lease.makes_needless(&grant(51)));
        assert!(!lease.makes_needless(&Command::RevokeLease));
        assert!(!lease.makes_needless(&grant(3)), "it was taken away");
        assert!(!lease.makes_needless(&grant(8)), "it runs short");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_shared_lease_is_renewed_without_a_word_and_begins_and_ends_by_command() {
        let (writer, file) = LeaseWriter::share().unwrap();
        let reader = ike_client::tunnel::lease::LeaseReader::find(file).unwrap();
        let now = clock::now();
        let mut lease = Lease { shared: Some(writer), until: None };
        let mut grant = |until: Timestamp| {
            let needless = lease.makes_needless(&Command::GrantLease { until });
            assert_eq!(reader.end(), until);
            needless
        };
        let second = Duration::from_secs(1);
        assert!(!grant(now + second * 5), "it begins");
        assert!(grant(now + second * 6) && grant(now + second * 3), "also when it is shortened");
        assert!(grant(now), "the last one that runs");
        assert!(!grant(now + second * 5), "one that has ended begins again");
        assert!(!lease.makes_needless(&Command::RevokeLease));
        assert_eq!(reader.end(), Timestamp::ZERO);
        assert!(!lease.makes_needless(&Command::GrantLease { until: now + second * 5 }));
    }

    #[tokio::test]
    async fn a_complaint_about_one_that_has_gone_is_not_held_against_the_next() {
        let (told, mut telling) = mpsc::unbounded_channel();
        let (net, mut task) = link(told);
        let (near, far) = tokio::io::duplex(1 << 16);
        net.stuck.notify_one();
        let conversation = tokio::spawn(async move {
            let (read, write) = tokio::io::split(near);
            let over = task.converse(read, write).await;
            (over, task)
        });
        let (mut read, mut write) = tokio::io::split(far);
        let capabilities =
            Capabilities { change_network: true, firewall: false, strict_reverse_path: false, reasons: vec![] };
        ipc::write(
            &mut write,
            &FromNet::Ready { capabilities, confinement: Confinement::default(), shares_lease: false },
        )
        .await
        .unwrap();
        assert!(matches!(telling.recv().await, Some(Told::Ready(..))));
        let step = Step::Route {
            table: RoutingTable(1),
            destination: "192.0.2.0/24".parse().unwrap(),
            target: RouteTarget::Prohibit,
        };
        let mut asking = net.clone();
        let question = tokio::spawn(async move { asking.look(&step).await });
        let mut reader = Reader::new(&mut read);
        assert!(matches!(reader.next::<ToNet>().await, Ok(Some(ToNet::System { .. }))), "it is asked, and not ended");
        // A complaint while it is there ends it.
        net.stuck.notify_one();
        assert_eq!(conversation.await.unwrap().0, Over::NetStuck);
        question.abort();
    }

    #[tokio::test]
    async fn one_that_reads_nothing_is_stuck() {
        let (told, _telling) = mpsc::unbounded_channel();
        let (net, mut task) = link(told);
        task.patience = Duration::from_millis(50);
        let (near, _far) = tokio::io::duplex(64);
        let step = Step::Route {
            table: RoutingTable(1),
            destination: "192.0.2.0/24".parse().unwrap(),
            target: RouteTarget::Prohibit,
        };
        let mut asking = net.clone();
        let question = tokio::spawn(async move { asking.look(&step).await });
        let (read, write) = tokio::io::split(near);
        let over = tokio::time::timeout(Duration::from_secs(20), task.converse(read, write)).await;
        assert_eq!(over, Ok(Over::NetStuck));
        question.abort();
    }

    #[test]
    fn nothing_is_found_where_the_engine_must_not_go() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let off_limits = Mutex::new(OffLimits::from([(address("192.0.2.1"), "RA-VPN".to_owned())]));
        let both = vec![address("192.0.2.1"), address("192.0.2.2")];
        assert_eq!(allowed(both, &off_limits), Ok(vec![address("192.0.2.2")]));
        for spelling in ["192.0.2.1", "::ffff:192.0.2.1"] {
            let refused = allowed(vec![address(spelling)], &off_limits).unwrap_err();
            assert!(refused.contains("RA-VPN"), "{refused}");
        }
        assert_eq!(allowed(Vec::new(), &off_limits), Ok(Vec::new()));
    }
}
