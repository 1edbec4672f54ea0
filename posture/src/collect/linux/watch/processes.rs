//! Hearing of programs that start and end: the kernel's process connector (`CONFIG_PROC_EVENTS`), and
//! looking twice a second where it does not tell.
//!
//! Only the programs that rules ask for matter, and while no rule asks, nothing listens. One thread does
//! it all, and sleeps in between: the kernel tells of every program of the system, so what it tells is
//! gathered for a moment and worked off at once, and a look costs one waking.

use super::tell;
use crate::collect::watch::{Notices, Noticing};
use netlink_sys::protocols::NETLINK_CONNECTOR;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeSet;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What is told about.
const ABOUT: &str = "processes";
/// How often is looked where nobody tells, and what share of the time looking may take; but never more
/// seldom than a change may go unseen.
const LOOK: Duration = Duration::from_millis(500);
const LOOKING_SHARE: u32 = 20;
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// How long what the kernel tells is gathered: a machine at work starts hundreds of programs a second.
const GATHERED: Duration = Duration::from_millis(300);
/// How long the kernel may take to agree to tell.
const AGREEMENT: Duration = Duration::from_millis(300);
/// Room for what is told in the meantime; what does not fit causes a look.
const ROOM: i32 = 1 << 20;
/// The longest message is shorter.
const LONGEST_MESSAGE: usize = 256;

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

/// What the kernel tells.
struct Teller(Socket);

impl Teller {
    /// Asks the kernel to tell.
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_CONNECTOR)?;
        socket.bind(&SocketAddr::new(0, CONNECTOR))?;
        socket.set_non_blocking(true)?;
        // What the system does not grant is seen by overflows, which cause looks.
        let _ = socket.set_rx_buf_sz(ROOM);
        let teller = Self(socket);
        for filtered in [true, false] {
            teller.0.send_to(&request(filtered), &SocketAddr::new(0, 0), 0)?;
            let end = Instant::now() + AGREEMENT;
            while wait(&mut [PollFd::new(teller.0.as_fd(), PollFlags::POLLIN)], Some(end))? {
                match teller.next()? {
                    Some(Told::Agreed(0)) => return Ok(teller),
                    Some(Told::Agreed(error)) => {
                        return Err(io::Error::from_raw_os_error(i32::try_from(error).unwrap_or_default()));
                    }
                    _ => {}
                }
            }
        }
        Err(io::Error::other("the kernel has no process events, or not for this namespace"))
    }

    /// Takes the next message; none for one that does not matter. `WouldBlock` where there is none.
    fn next(&self) -> io::Result<Option<Told>> {
        let mut room = [0; LONGEST_MESSAGE];
        let length = self.0.recv(&mut room.as_mut_slice(), 0)?;
        Ok(room.get(..length).and_then(read))
    }

    /// Takes all that was told; tells whether any of it matters.
    fn drain(&self, running: &BTreeSet<u32>, programs: &BTreeSet<String>) -> io::Result<bool> {
        let (mut matters, mut executed) = (false, BTreeSet::new());
        loop {
            match self.next() {
                Ok(Some(Told::Executed(process))) => drop(executed.insert(process)),
                Ok(Some(Told::Exited(process))) => matters |= running.contains(&process),
                Ok(Some(Told::Agreed(_)) | None) => {}
                // More was told than was heard.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => matters = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let other = |process: &u32| running.contains(process) || is_one_of(*process, programs);
        Ok(matters || executed.iter().any(other))
    }
}

/// Waits until one of the descriptors can be read, or until `end`; tells whether one can.
fn wait(descriptors: &mut [PollFd<'_>], end: Option<Instant>) -> io::Result<bool> {
    loop {
        let timeout = match end.map(|end| end.saturating_duration_since(Instant::now())) {
            // Rounded up, so that a wait does not end before its time.
            Some(left) => PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        match poll(descriptors, timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(in crate::collect) async fn process_changes(
    wanted: mpsc::UnboundedReceiver<BTreeSet<String>>,
    changed: mpsc::Sender<()>,
    notices: Notices,
) {
    follow(wanted, changed, notices, Teller::open).await;
}

/// Hands the names to the thread that follows them.
async fn follow(
    mut wanted: mpsc::UnboundedReceiver<BTreeSet<String>>,
    changed: mpsc::Sender<()>,
    notices: Notices,
    open: fn() -> io::Result<Teller>,
) {
    let (names, named) = channel();
    let (bell, mut ring) = match io::pipe() {
        Ok(pipe) => pipe,
        Err(error) => {
            let how = Err(format!("looked at at each tick: {error}"));
            let _ = notices.send(Noticing { about: ABOUT, how });
            return;
        }
    };
    tokio::task::spawn_blocking(move || {
        let mut follower = Follower { named, bell, changed, notices, open };
        // The bell is our own: it does not fail while there are descriptors.
        if let Err(error) = follower.run() {
            let _ = follower.notices.send(Noticing { about: ABOUT, how: Err(error.to_string()) });
        }
    });
    while let Some(programs) = wanted.recv().await {
        if names.send(programs).is_err() || ring.write_all(&[0]).is_err() {
            return;
        }
    }
}

/// The thread that hears and looks. It ends when nobody names programs any more.
struct Follower {
    named: Receiver<BTreeSet<String>>,
    /// Rings when programs are named, and when nobody will any more.
    bell: PipeReader,
    changed: mpsc::Sender<()>,
    notices: Notices,
    open: fn() -> io::Result<Teller>,
}

impl Follower {
    fn run(&mut self) -> io::Result<()> {
        let mut programs = BTreeSet::new();
        loop {
            while programs.is_empty() {
                match self.names()? {
                    Some(named) => programs = named,
                    None => return Ok(()),
                }
            }
            let teller = (self.open)();
            let how = teller.as_ref().map(|_| "told by the kernel").map_err(ToString::to_string);
            let _ = self.notices.send(Noticing { about: ABOUT, how });
            let going_on = match teller {
                Ok(teller) => self.by_telling(&teller, &mut programs)?,
                Err(_) => self.by_looking(&mut programs)?,
            };
            if !going_on {
                return Ok(());
            }
        }
    }

    /// Waits for the names of programs; none when nobody will name any.
    fn names(&mut self) -> io::Result<Option<BTreeSet<String>>> {
        if self.bell.read(&mut [0; 64])? == 0 {
            return Ok(None);
        }
        let mut last = None;
        loop {
            match self.named.try_recv() {
                Ok(programs) => last = Some(programs),
                // A ring for names that were taken already.
                Err(TryRecvError::Empty) if last.is_none() => return self.names(),
                Err(_) => return Ok(last),
            }
        }
    }

    /// Follows what the kernel tells until no program matters; returns whether anybody listens.
    fn by_telling(&mut self, teller: &Teller, programs: &mut BTreeSet<String>) -> io::Result<bool> {
        let mut running = look(programs);
        loop {
            let mut ready =
                [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN), PollFd::new(teller.0.as_fd(), PollFlags::POLLIN)];
            wait(&mut ready, None)?;
            let [rung, _] = ready.map(|descriptor| descriptor.any().unwrap_or(true));
            let mut matters = false;
            if rung {
                let Some(named) = self.names()? else { return Ok(false) };
                *programs = named;
                // What started or ended before the listening began is found by a look.
                matters = true;
            } else {
                std::thread::sleep(GATHERED);
            }
            if programs.is_empty() {
                return Ok(true);
            }
            match teller.drain(&running, programs) {
                Ok(told) => matters |= told,
                // The kernel tells no more: it is asked again.
                Err(_) => return Ok(true),
            }
            if matters {
                running = look(programs);
                if !tell(&self.changed) {
                    return Ok(false);
                }
            }
        }
    }

    /// Looks again and again until no program matters; returns whether anybody listens.
    fn by_looking(&mut self, programs: &mut BTreeSet<String>) -> io::Result<bool> {
        let mut running = look(programs);
        let mut pause = LOOK;
        loop {
            let mut ready = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
            if wait(&mut ready, Some(Instant::now() + pause))? {
                match self.names()? {
                    Some(named) => *programs = named,
                    None => return Ok(false),
                }
            }
            if programs.is_empty() {
                return Ok(true);
            }
            let began = Instant::now();
            let now = look(programs);
            pause = (began.elapsed() * LOOKING_SHARE).clamp(LOOK, LONGEST_PAUSE);
            if std::mem::replace(&mut running, now.clone()) != now && !tell(&self.changed) {
                return Ok(false);
            }
        }
    }
}

/// Returns the processes that run one of the programs.
fn look(programs: &BTreeSet<String>) -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.filter(|process| is_one_of(*process, programs)).collect()
}

/// Tells whether a process runs one of the programs: by its executable, or by its name where that may not
/// be seen. What has none is a thread of the kernel, or has ended and waits to be buried.
fn is_one_of(process: u32, programs: &BTreeSet<String>) -> bool {
    let place = Path::new("/proc").join(process.to_string());
    match std::fs::read_link(place.join("exe")) {
        Ok(executable) => executable.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            let name = name.strip_suffix(" (deleted)").unwrap_or(name);
            programs.contains(name)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(_) => std::fs::read_to_string(place.join("comm")).is_ok_and(|name| {
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

    /// The kernel that does not tell.
    fn refused() -> io::Result<Teller> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    #[tokio::test]
    async fn a_program_that_starts_and_one_that_ends_are_told_whoever_tells() {
        let folder = tempfile::tempdir().unwrap();
        let (name, start) = program(folder.path());
        for open in [Teller::open, refused] {
            let (names, wanted) = mpsc::unbounded_channel();
            let (changed, mut changes) = mpsc::channel(1);
            let (notices, mut told) = mpsc::unbounded_channel();
            let following = tokio::spawn(follow(wanted, changed, notices, open));
            names.send([name.clone()].into()).unwrap();
            tokio::time::timeout(LIMIT, told.recv()).await.unwrap().unwrap();
            play(&start, &mut changes).await;
            drop(names);
            following.await.unwrap();
            // The thread ends too: nobody holds the other end.
            let ended = tokio::time::timeout(LIMIT, async { while changes.recv().await.is_some() {} });
            ended.await.expect("the thread goes on though nobody names programs");
        }
    }

    #[test]
    fn one_that_ended_and_is_not_buried_runs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (name, start) = program(folder.path());
        let (mut child, programs) = (start(), BTreeSet::from([name]));
        let end = Instant::now() + LIMIT;
        while !is_one_of(child.id(), &programs) {
            assert!(Instant::now() < end, "it does not run the program");
        }
        child.kill().unwrap();
        while is_one_of(child.id(), &programs) {
            assert!(Instant::now() < end, "a zombie counts as running");
        }
        child.wait().unwrap();
    }

    /// Returns how often the threads of this process have gone to sleep.
    fn switches() -> u64 {
        let of_thread = |task: io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            let number = |line: &str| line.split_whitespace().last()?.parse::<u64>().ok();
            Some(status.lines().filter(|line| line.starts_with("voluntary")).filter_map(number).sum::<u64>())
        };
        std::fs::read_dir("/proc/thread-self/..").unwrap().filter_map(of_thread).sum()
    }

    #[tokio::test]
    async fn looking_wakes_the_process_about_twice_a_second() {
        const INSIDE: &str = "POSTERN_TEST_LOOKING_INSIDE";
        // Alone in its process, so that no other test's threads are counted.
        if std::env::var_os(INSIDE).is_none() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            let mut again = Command::new(std::env::current_exe().unwrap());
            let output = again.args(["--exact", &name, "--nocapture"]).env(INSIDE, "1").output().unwrap();
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let (names, wanted) = mpsc::unbounded_channel();
        let (changed, _changes) = mpsc::channel(1);
        let (notices, mut told) = mpsc::unbounded_channel();
        let _following = tokio::spawn(follow(wanted, changed, notices, refused));
        names.send(["no such program".to_owned()].into()).unwrap();
        tokio::time::timeout(LIMIT, told.recv()).await.unwrap().unwrap();
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let before = switches();
        tokio::time::sleep(LOOK * 4).await;
        let (woken, looks) = (switches() - before, began.elapsed().as_millis() / LOOK.as_millis() + 1);
        // One for each look; the rest is the test itself.
        assert!(u128::from(woken) <= looks * 5, "{woken} switches for {looks} looks");
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
