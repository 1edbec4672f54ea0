//! The machine's sleep, by systemd-logind.
//!
//! logind says `PrepareForSleep(true)` and then waits for those who hold a lock of the mode `delay`,
//! five seconds at most as it is shipped. So nothing has to be raced: packets are stopped, then the
//! lock is let go. After `PrepareForSleep(false)` the next lock is taken.

use crate::platform::{Sleep, SleepRoom};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use zbus::zvariant::OwnedFd;

/// After how long a bus or a logind that is gone is looked for again.
const PAUSE: Duration = Duration::from_secs(15);
/// How long sleep is held up at most; logind would wait no longer than 5 s.
const HOLD_UP: Duration = Duration::from_secs(3);

/// logind's sleep.
pub(in crate::platform) struct SystemSleep;

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1",
    gen_blocking = false
)]
trait Logind {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;
    #[zbus(signal)]
    fn prepare_for_sleep(&self, start: bool) -> zbus::Result<()>;
}

impl SleepRoom for SystemSleep {
    async fn watch(told: mpsc::UnboundedSender<Sleep>) {
        let mut last = None;
        while !told.is_closed() {
            let mut asleep = false;
            let reason = match converse(&told, &mut asleep).await {
                Ok(()) => "logind is gone".to_owned(),
                Err(error) => error.to_string(),
            };
            if asleep {
                let _ = told.send(Sleep::Ended);
            }
            if last.as_ref() != Some(&reason) {
                let _ = told.send(Sleep::Told(Err(reason.clone())));
                last = Some(reason);
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = told.closed() => {}
            }
        }
    }
}

/// Listens to logind until it is gone or nobody listens here.
async fn converse(told: &mpsc::UnboundedSender<Sleep>, asleep: &mut bool) -> zbus::Result<()> {
    let bus = zbus::Connection::system().await?;
    let logind = LogindProxy::new(&bus).await?;
    // Before the lock is taken, so that no signal falls between.
    let mut signals = logind.receive_prepare_for_sleep().await?;
    let mut owners = logind.inner().receive_owner_changed().await?;
    let mut lock = Some(lock(&logind).await?);
    let _ = told.send(Sleep::Told(Ok(())));
    loop {
        tokio::select! {
            signal = signals.next() => {
                let Some(signal) = signal else { return Ok(()) };
                *asleep = *signal.args()?.start();
                if *asleep {
                    let (ready, wait) = oneshot::channel();
                    let _ = told.send(Sleep::Begins(ready));
                    // Ready, or nobody is there to be: either way sleep may come.
                    let _ = tokio::time::timeout(HOLD_UP, wait).await;
                    lock = None;
                } else {
                    let _ = told.send(Sleep::Ended);
                    if lock.is_none() {
                        lock = Some(self::lock(&logind).await?);
                    }
                }
            }
            // Another logind knows nothing of the lock.
            Some(owner) = owners.next() => if owner.is_none() { return Ok(()) },
            () = told.closed() => return Ok(()),
        }
    }
}

async fn lock(logind: &LogindProxy<'_>) -> zbus::Result<OwnedFd> {
    logind.inhibit("sleep", "Postern", "no packet leaves the tunnel on stale posture", "delay").await
}
