//! Hearing of programs that start and end at once: the kernel's process connector (`CONFIG_PROC_EVENTS`),
//! and looking twice a second where it does not tell.
//!
//! Only the programs that rules ask for matter, and while no rule asks, nothing listens: each new program
//! on the system would wake us.

use super::{QUIET, tell};
use crate::collect::watch::{Notices, Noticing};
use netlink_sys::protocols::NETLINK_CONNECTOR;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What is told about.
const ABOUT: &str = "processes";
/// How often is looked where nobody tells, and what share of the time looking may take.
const LOOK: Duration = Duration::from_millis(500);
const LOOKING_SHARE: u32 = 20;
/// How long the kernel may take to agree to tell.
const AGREEMENT: Duration = Duration::from_millis(300);

/// `CN_IDX_PROC` and `CN_VAL_PROC` (linux/connector.h).
const CONNECTOR: u32 = 1;
/// `PROC_CN_MCAST_LISTEN` (linux/cn_proc.h).
const LISTEN: u32 = 1;
/// Kinds of `struct proc_event` (linux/cn_proc.h).
const AGREED: u32 = 0;
const EXECUTED: u32 = 2;
const EXITED: u32 = 0x8000_0000;
/// `struct nlmsghdr` and `struct cn_msg`.
const HEADERS: usize = 16 + 20;

/// What the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It agreed to tell, or refused with that error.
    Agreed(u32),
    /// This process runs another program now.
    Executed(u32),
    /// This process has ended.
    Exited(u32),
}

/// Reads one message; `None` for what does not matter, such as the end of a thread.
fn read(message: &[u8]) -> Option<Told> {
    let event = message.get(HEADERS..)?;
    let number = |place: usize| Some(u32::from_ne_bytes(event.get(place..place + 4)?.try_into().ok()?));
    // Kind, processor, time of eight octets; then what the kind says.
    let (kind, first, second) = (number(0)?, number(16)?, number(20));
    match kind {
        AGREED => Some(Told::Agreed(first)),
        EXECUTED => second.map(Told::Executed),
        EXITED if second == Some(first) => Some(Told::Exited(first)),
        _ => None,
    }
}

/// Makes the message that asks for programs that start and end; `filtered` where the kernel (6.6 and
/// newer) lets nothing else through.
fn request(filtered: bool) -> Vec<u8> {
    let mut operation = LISTEN.to_ne_bytes().to_vec();
    if filtered {
        operation.extend((EXECUTED | EXITED).to_ne_bytes());
    }
    let length = u16::try_from(operation.len()).unwrap_or_default();
    let mut message = Vec::new();
    message.extend((HEADERS as u32 + u32::from(length)).to_ne_bytes());
    // `NLMSG_DONE`, no flags, no numbers.
    message.extend(3_u16.to_ne_bytes());
    message.extend([0; 10]);
    for number in [CONNECTOR, CONNECTOR, 0, 0] {
        message.extend(number.to_ne_bytes());
    }
    message.extend(length.to_ne_bytes());
    message.extend([0; 2]);
    message.extend(operation);
    message
}

/// Asks the kernel to tell.
async fn listen() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_CONNECTOR)?;
    socket.socket_mut().bind(&SocketAddr::new(0, CONNECTOR))?;
    for filtered in [true, false] {
        socket.socket_ref().send_to(&request(filtered), &SocketAddr::new(0, 0), 0)?;
        let end = tokio::time::Instant::now() + AGREEMENT;
        while let Ok(told) = tokio::time::timeout_at(end, socket.recv_from_full()).await {
            match read(&told?.0) {
                Some(Told::Agreed(0)) => return Ok(socket),
                Some(Told::Agreed(error)) => {
                    return Err(io::Error::from_raw_os_error(i32::try_from(error).unwrap_or_default()));
                }
                _ => {}
            }
        }
    }
    Err(io::Error::other("the kernel has no process events, or not for this namespace"))
}

pub(in crate::collect) async fn process_changes(
    mut wanted: mpsc::UnboundedReceiver<BTreeSet<String>>,
    changed: mpsc::Sender<()>,
    notices: Notices,
) {
    let mut programs = BTreeSet::new();
    loop {
        while programs.is_empty() {
            match wanted.recv().await {
                Some(named) => programs = named,
                None => return,
            }
        }
        let listening = listen().await;
        let how = listening.as_ref().map(|_| "told by the kernel").map_err(ToString::to_string);
        let _ = notices.send(Noticing { about: ABOUT, how });
        let going_on = match listening {
            Ok(socket) => by_telling(&socket, &mut wanted, &mut programs, &changed).await,
            Err(_) => by_looking(&mut wanted, &mut programs, &changed).await,
        };
        if !going_on {
            return;
        }
    }
}

/// Follows what the kernel tells until no program matters; returns whether anybody listens.
async fn by_telling(
    socket: &TokioSocket,
    wanted: &mut mpsc::UnboundedReceiver<BTreeSet<String>>,
    programs: &mut BTreeSet<String>,
    changed: &mpsc::Sender<()>,
) -> bool {
    let mut running = look(programs).await;
    loop {
        let matters = tokio::select! {
            named = wanted.recv() => {
                let Some(named) = named else { return false };
                *programs = named;
                // What started or ended before the listening began is found by a look.
                true
            }
            told = socket.recv_from_full() => match told {
                Ok((message, _)) => match read(&message) {
                    Some(Told::Executed(process)) => running.contains(&process) || is_one_of(process, programs),
                    Some(Told::Exited(process)) => running.contains(&process),
                    Some(Told::Agreed(_)) | None => false,
                },
                // More was told than was heard.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => true,
                Err(_) => return true,
            },
        };
        if programs.is_empty() {
            return true;
        }
        if matters {
            tokio::time::sleep(QUIET).await;
            running = look(programs).await;
            if !tell(changed) {
                return false;
            }
        }
    }
}

/// Looks again and again until no program matters; returns whether anybody listens.
async fn by_looking(
    wanted: &mut mpsc::UnboundedReceiver<BTreeSet<String>>,
    programs: &mut BTreeSet<String>,
    changed: &mpsc::Sender<()>,
) -> bool {
    let mut running = look(programs).await;
    let mut pause = LOOK;
    loop {
        tokio::select! {
            named = wanted.recv() => match named {
                None => return false,
                Some(named) => *programs = named,
            },
            () = tokio::time::sleep(pause) => {}
        }
        if programs.is_empty() {
            return true;
        }
        let began = Instant::now();
        let now = look(programs).await;
        pause = LOOK.max(began.elapsed() * LOOKING_SHARE);
        if std::mem::replace(&mut running, now.clone()) != now && !tell(changed) {
            return false;
        }
    }
}

/// Returns the processes that run one of the programs.
async fn look(programs: &BTreeSet<String>) -> BTreeSet<u32> {
    let programs = programs.clone();
    let found = tokio::task::spawn_blocking(move || {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        processes.filter(|process| is_one_of(*process, &programs)).collect()
    });
    found.await.unwrap_or_default()
}

/// Tells whether a process runs one of the programs: by its executable, or by its name where that cannot
/// be seen.
fn is_one_of(process: u32, programs: &BTreeSet<String>) -> bool {
    let place = Path::new("/proc").join(process.to_string());
    let executable = std::fs::read_link(place.join("exe")).ok();
    let executable = executable.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    match executable {
        Some(name) => programs.contains(name.trim_end_matches(" (deleted)")),
        None => std::fs::read_to_string(place.join("comm")).is_ok_and(|name| {
            // The kernel cuts it.
            let name = name.trim_end();
            programs.iter().any(|program| program.starts_with(name) && !name.is_empty())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    const LIMIT: Duration = Duration::from_secs(20);

    fn event(kind: u32, numbers: [u32; 2]) -> Vec<u8> {
        let mut message = vec![0; HEADERS];
        message.extend(kind.to_ne_bytes());
        message.extend([0; 12]);
        numbers.iter().for_each(|number| message.extend(number.to_ne_bytes()));
        message
    }

    #[test]
    fn the_kernel_s_messages_are_read_and_what_is_cut_off_is_nothing() {
        assert_eq!(read(&event(AGREED, [0, 0])), Some(Told::Agreed(0)));
        assert_eq!(read(&event(EXECUTED, [7, 8])), Some(Told::Executed(8)), "the process, not the thread");
        assert_eq!(read(&event(EXITED, [7, 7])), Some(Told::Exited(7)));
        assert_eq!(read(&event(EXITED, [9, 7])), None, "a thread of it");
        assert_eq!(read(&event(1, [7, 7])), None);
        for length in 0..HEADERS + 20 {
            assert_eq!(read(event(EXITED, [7, 7]).get(..length).unwrap()), None);
        }
        assert_eq!(request(false).len(), HEADERS + 4);
        assert_eq!(request(true).len(), HEADERS + 8);
    }

    /// A program of a name that nothing else on the machine has.
    fn program(folder: &Path) -> (String, impl Fn() -> Child) {
        let name = format!("postern-{}", std::process::id());
        let path = folder.join(&name);
        std::fs::copy("/bin/sleep", &path).unwrap();
        (name, move || Command::new(&path).arg("600").spawn().unwrap())
    }

    #[tokio::test]
    async fn a_program_that_starts_and_one_that_ends_are_told_whoever_tells() {
        let folder = tempfile::tempdir().unwrap();
        let (name, start) = program(folder.path());
        let (mut names, mut wanted) = mpsc::unbounded_channel();
        let (changed, mut changes) = mpsc::channel(1);
        let (notices, mut told) = mpsc::unbounded_channel();
        let watching = tokio::spawn({
            let changed = changed.clone();
            async move { process_changes(wanted, changed, notices).await }
        });
        names.send([name.clone()].into()).unwrap();
        tokio::time::timeout(LIMIT, told.recv()).await.unwrap().unwrap();
        play(&start, &mut changes).await;
        watching.abort();

        // The same where the kernel does not tell.
        (names, wanted) = mpsc::unbounded_channel();
        let looking = tokio::spawn(async move { by_looking(&mut wanted, &mut [name].into(), &changed).await });
        play(&start, &mut changes).await;
        drop(names);
        assert!(!looking.await.unwrap());
    }

    /// The watching may begin a little after it is asked for; what changed until then is not told.
    async fn play(start: &impl Fn() -> Child, changes: &mut mpsc::Receiver<()>) {
        let heard = async {
            loop {
                let mut child = start();
                let began = tokio::time::timeout(Duration::from_secs(2), changes.recv()).await.is_ok();
                let _ = child.kill();
                let _ = child.wait();
                let ended = tokio::time::timeout(Duration::from_secs(2), changes.recv()).await.is_ok();
                if began && ended {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, heard).await.expect("start and end are told");
    }
}
