//! The system's sleep: not heard of here yet; the lease alone stops packets.

use crate::platform::{Sleep, SleepRoom};
use tokio::sync::mpsc;

/// A sleep that nobody tells of.
pub(in crate::platform) struct SystemSleep;

impl SleepRoom for SystemSleep {
    async fn watch(told: mpsc::UnboundedSender<Sleep>) {
        let _ = told.send(Sleep::Told(Err("is not heard of on this operating system yet".to_owned())));
    }
}
