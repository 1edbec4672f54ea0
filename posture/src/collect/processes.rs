//! Running processes, through `sysinfo`.

use super::{Context, Look};
use crate::facts::{Process, ProcessList};
use std::fs::File;
use std::io::ErrorKind;
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

/// How many characters of a path are kept.
const PATH_LIMIT: usize = 1_024;

pub(super) fn processes(context: &Context) -> Look<ProcessList> {
    if !context.is_running_system() {
        return Look::not_below_another_root();
    }
    let kind = ProcessRefreshKind::nothing().with_exe(UpdateKind::Always).with_cmd(UpdateKind::Always).without_tasks();
    let mut system = match System::new() {
        Ok(system) => system,
        Err(error) => return Look::unknown(format!("the process table cannot be read: {error}"), SOURCE),
    };
    if system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind) == 0 {
        return Look::unknown("no process can be seen", SOURCE);
    }
    // The kernel's own threads come and go all the time and run no program.
    let parent = Pid::from_u32(KERNEL_THREADS);
    let threads = system.process(parent).filter(|process| process.name() == "kthreadd");
    let is_thread = |pid: &Pid, process: &sysinfo::Process| {
        threads.is_some() && (*pid == parent || process.parent() == Some(parent))
    };
    let mut processes: Vec<Process> = system
        .processes()
        .iter()
        .filter(|(_, process)| !matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead))
        .filter(|(pid, process)| !is_thread(pid, process))
        .map(|(pid, process)| Process {
            pid: pid.as_u32(),
            name: process.name().to_string_lossy().into_owned(),
            executable: process.exe().map(|path| shortened(&path.to_string_lossy())),
            command: process.cmd().first().map(|word| shortened(&word.to_string_lossy())),
        })
        .collect();
    // Each program once and in an order of its own, so that other identifiers are not another list.
    processes.sort_by(|left, right| left.program().cmp(&right.program()).then(left.pid.cmp(&right.pid)));
    processes.dedup();
    Look::known(ProcessList { processes, hidden: hidden() }, SOURCE)
}

const SOURCE: &str = "process table";

/// The number of the parent of the kernel's threads on Linux, where it can be seen.
const KERNEL_THREADS: u32 = 2;

fn shortened(text: &str) -> String {
    text.chars().take(PATH_LIMIT).collect()
}

/// Says why processes of others are hidden, when they are. Linux hides them with the mount option
/// `hidepid`, which systemd sets for `ProtectProc=`: then the first process cannot be seen. Other
/// systems have no such file and hide nothing in this way.
fn hidden() -> Option<String> {
    if std::env::consts::OS != "linux" {
        return None;
    }
    match File::open("/proc/1/stat") {
        Ok(_) => None,
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {
            Some("/proc shows no processes of others".to_owned())
        }
        Err(error) => Some(format!("/proc/1/stat: {error}")),
    }
}
