//! Running processes, through `sysinfo`.

use super::{Context, Look};
use crate::facts::{Process, ProcessList};
use std::fs::File;
use std::io::ErrorKind;
use sysinfo::{ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

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
    let mut processes: Vec<Process> = system
        .processes()
        .iter()
        .filter(|(_, process)| !matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead))
        .map(|(pid, process)| Process {
            pid: pid.as_u32(),
            name: process.name().to_string_lossy().into_owned(),
            executable: process.exe().map(|path| shortened(&path.to_string_lossy())),
            command: process.cmd().first().map(|word| shortened(&word.to_string_lossy())),
        })
        .collect();
    processes.sort_by_key(|process| process.pid);
    Look::known(ProcessList { processes, hidden: hidden() }, SOURCE)
}

const SOURCE: &str = "process table";

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
