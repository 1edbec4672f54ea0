//! How each process of the service begins and ends.

use crate::control;
use crate::platform;
use crate::profile::{Paths, settings};
use crate::service::child::inquiry;
use crate::service::child::look_up;
use crate::service::ems::dial::EmsDial;
use crate::service::hub::call::ToHub;
use crate::service::hub::{Hub, Message, Parts};
use crate::service::network::hands::Hands;
use crate::service::network::keeper::Keeper;
use crate::service::network::link as net_link;
use crate::service::network::process::{self, Engine};
use crate::service::posture::judge::Examination;
use crate::service::posture::watching;
use crate::service::rights;
use crate::service::tunnel::own_key;
use anyhow::Context;
use ike_client::tunnel::lease::LeaseReader;
use posture::collect::{Collector, FirewallListener, Settings as CollectorSettings};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long a farewell may take when the service stops.
const FAREWELL: Duration = Duration::from_secs(10);

/// How long the service manager waits for what stood before to be settled.
const SETTLING: Duration = Duration::from_secs(10);

/// How long the lock of the service before is waited for. A service killed while it was starting a
/// child leaves its lock with the child until that runs its program: a restart
/// at once, on a busy machine, may not fail over that.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Runs MAIN to its end. Called before any thread is made.
///
/// # Errors
/// What keeps the service from running at all: settings that are not valid, another service on
/// the same directories, a control socket that cannot be opened.
pub fn main(paths: Paths) -> anyhow::Result<()> {
    let firewall = FirewallListener::open();
    rights::keep_for_main().context("capabilities cannot be reduced")?;
    let settings = settings::load(&paths)?;
    let _lock = take_directories(&paths)?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = control::listen(&paths.socket(), &settings.control.group)
            .with_context(|| format!("the control socket {}", paths.socket().display()))?;
        let (inbox, messages) = mpsc::unbounded_channel();
        let (told, mut telling) = mpsc::unbounded_channel();
        let (net, net_task) = net_link::link(told);
        let net_process = tokio::spawn(net_task.run_child());
        let to_hub = inbox.clone();
        tokio::spawn(async move {
            while let Some(mut told) = telling.recv().await {
                if let net_link::Told::Ready(capabilities, _) = &mut told {
                    *capabilities = platform::of_host(capabilities.clone()).await;
                }
                if to_hub.send(Message::Net(told)).is_err() {
                    return;
                }
            }
        });
        let (jobs, jobs_in) = mpsc::unbounded_channel();
        let keeper = tokio::spawn(Keeper::new(paths.state.clone(), Hands::new(net.clone())).run(jobs_in));
        let watched = watching::begin(&inbox, firewall);
        let (asleep, mut sleeping) = mpsc::unbounded_channel();
        tokio::spawn(platform::watch_sleep(asleep));
        let to_hub = inbox.clone();
        tokio::spawn(async move {
            while let Some(told) = sleeping.recv().await {
                if to_hub.send(Message::Sleep(told)).is_err() {
                    return;
                }
            }
        });
        let collector = Collector::new(
            settings.posture.root.clone(),
            CollectorSettings {
                dpkg_status: settings.posture.dpkg_status.clone(),
                ignored_interfaces: vec![crate::service::tunnel::configuration::DEVICE.into()],
                ..CollectorSettings::default()
            },
        );
        let socket = paths.socket();
        let examination = Examination::new(collector, EmsDial::open(&paths.state), watched);
        let (settled, before) = oneshot::channel();
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let hub =
            Hub::new(Parts { paths, settings, inbox: inbox.clone(), net, jobs, examination, credentials, settled });
        let hub = tokio::spawn(hub.run(messages));
        tokio::spawn(control::serve(listener, ToHub(inbox.clone())));
        // Who waits for this service (the network, at boot) finds a block standing that is to stand.
        let _ = tokio::time::timeout(SETTLING, before).await;
        ready();
        terminated().await;
        tracing::info!("stopping");
        let (stopped, wait) = oneshot::channel();
        let _ = inbox.send(Message::Shutdown(stopped));
        if tokio::time::timeout(FAREWELL, wait).await.is_err() {
            tracing::warn!("the farewell takes too long");
            hub.abort();
        }
        drop(inbox);
        let _ = fs::remove_file(socket);
        // The journal is settled before the network process hears that it is over.
        let _ = tokio::time::timeout(FAREWELL, keeper).await;
        let _ = tokio::time::timeout(FAREWELL, net_process).await;
        anyhow::Ok(())
    })?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// Runs NET to its end: standard input is its end of the socket pair, standard output the file by which MAIN
/// shares the end of the lease. Called before any thread is
/// made.
///
/// # Errors
/// When standard input is no socket, or the network cannot be opened.
pub fn net_main<E: Engine>(engine: E) -> anyhow::Result<()> {
    let confinement = rights::confine_net().context("the network process cannot be confined")?;
    // One thread: packets have threads of their own, and what is left is to wake as seldom as it can.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (read, write) = tokio::io::split(pair()?);
        // The end of MAIN is the end of this process, not a signal to the whole group.
        // Where MAIN has nothing to share it is another file, and renewals are commands.
        let serving = process::serve(engine, read, write, (confinement, shared_lease()));
        tokio::pin!(serving);
        loop {
            tokio::select! {
                outcome = &mut serving => return anyhow::Ok(outcome?),
                () = terminated() => tracing::debug!("waiting for MAIN to end"),
            }
        }
    })
}

/// Looks a name up and prints what came of it. Called before any thread is made.
///
/// # Errors
/// When the process cannot be confined, or the name has no address.
pub fn look_up_main(name: &str) -> anyhow::Result<()> {
    rights::confine_look_up().context("the look-up cannot be confined")?;
    Ok(look_up::child(name)?)
}

/// Asks those whom certificates name whether they were revoked. Called before any thread is made.
///
/// # Errors
/// When the process cannot be confined, or the question cannot be read.
pub fn inquire_main() -> anyhow::Result<()> {
    let stock = inquiry::stock::Stock::lay_in();
    rights::confine_look_up().context("the inquiry cannot be confined")?;
    Ok(inquiry::child::main(stock)?)
}

/// Imports advisories, or scans. Called before any thread is made.
///
/// # Errors
/// When the process cannot be confined.
pub fn scan_main() -> anyhow::Result<std::process::ExitCode> {
    rights::confine_scan().context("the scan's process cannot be confined")?;
    Ok(posture::vulnerability::child::main(std::iter::empty()))
}

/// Does one thing with a key in a token. Called before any thread is made.
///
/// # Errors
/// When the process cannot be confined, or the question cannot be read.
pub fn token_main() -> anyhow::Result<()> {
    rights::confine_token().context("the token's process cannot be confined")?;
    Ok(own_key::token::child::main()?)
}

#[cfg(unix)]
fn shared_lease() -> Option<LeaseReader> {
    let found = LeaseReader::find(std::io::stdout());
    found.inspect_err(|error| tracing::debug!(%error, "the lease is renewed by command")).ok()
}

#[cfg(not(unix))]
fn shared_lease() -> Option<LeaseReader> {
    None
}

#[cfg(unix)]
fn pair() -> anyhow::Result<tokio::net::UnixStream> {
    use std::os::fd::AsFd;
    let end = std::io::stdin().as_fd().try_clone_to_owned()?;
    let end = std::os::unix::net::UnixStream::from(end);
    end.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(end).context("standard input is not the socket pair of the service")
}

#[cfg(not(unix))]
fn pair() -> anyhow::Result<tokio::io::DuplexStream> {
    anyhow::bail!("the network process is not supported on this system yet")
}

/// Makes the service's directories this process's alone, as long as what is returned lives.
///
/// # Errors
/// When they cannot be made, belong to others, or are another service's.
pub(super) fn take_directories(paths: &Paths) -> anyhow::Result<File> {
    prepare(&paths.state, 0o700)?;
    prepare(&paths.runtime, 0o755)?;
    let lock = paths.runtime.join("posternd.lock");
    let lock = File::create(&lock).with_context(|| format!("{} cannot be written (is this root?)", lock.display()))?;
    let begun = Instant::now();
    while let Err(refused) = lock.try_lock() {
        match refused {
            TryLockError::WouldBlock if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_RETRY),
            TryLockError::WouldBlock => anyhow::bail!("another posternd runs on this runtime directory"),
            TryLockError::Error(cause) => return Err(cause).context("the runtime directory's lock cannot be taken"),
        }
    }
    Ok(lock)
}

fn prepare(directory: &Path, mode: u32) -> anyhow::Result<()> {
    let made = fs::create_dir_all(directory);
    made.with_context(|| format!("the directory {} cannot be made", directory.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The mode of a directory that is not ours to change is its owner's business.
        let _ = fs::set_permissions(directory, fs::Permissions::from_mode(mode));
        check_owner(directory)?;
    }
    #[cfg(not(unix))]
    let _ = mode;
    Ok(())
}

/// Whoever can write the service's directories can put a journal, keys or a socket of theirs there.
#[cfg(unix)]
fn check_owner(directory: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(directory).with_context(|| format!("{} cannot be looked at", directory.display()))?;
    let own = nix::unistd::geteuid().as_raw();
    anyhow::ensure!(
        found.uid() == 0 || found.uid() == own,
        "{} belongs to user {}: chown root {}",
        directory.display(),
        found.uid(),
        directory.display()
    );
    anyhow::ensure!(
        found.mode() & 0o022 == 0,
        "{} can be written by others (mode {:o}): chmod go-w {}",
        directory.display(),
        found.mode() & 0o777,
        directory.display()
    );
    Ok(())
}

fn ready() {
    #[cfg(target_os = "linux")]
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "systemd is not told");
    }
    tracing::info!("ready");
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(not(unix))]
async fn terminated() {
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path(), 0o700).unwrap();
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(check_owner(directory.path()).unwrap_err().to_string().contains("mode 777"));
    }

    #[test]
    fn a_lock_that_a_child_of_the_killed_service_still_has_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| Some(directory.path().join(name));
        let paths = Paths::settle(place("etc"), place("state"), place("run"));
        let service = take_directories(&paths).unwrap();
        let childs = service.try_clone().unwrap();
        drop(service);
        let child = std::thread::spawn(move || {
            std::thread::sleep(LOCK_RETRY * 5);
            drop(childs);
        });
        take_directories(&paths).unwrap();
        child.join().unwrap();
    }
}
