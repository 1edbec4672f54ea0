//! `running-process`: a process of this executable.

use super::Judgement;
use crate::rules::Truth;
use crate::rules::index::Index;

/// How many bytes of a process's name Linux keeps (`TASK_COMM_LEN` less the terminator).
const KERNEL_NAME_LENGTH: usize = 15;

/// The kernel's name of a process is sure only where the executable can be seen: it may be cut, and a
/// process can give itself another. It serves to say that a process may be the one.
pub(super) fn judge(index: &Index<'_>, name: &str) -> Judgement {
    let observed = &index.facts.processes;
    let Some(list) = observed.value() else {
        return Judgement::without("processes", observed, "let Postern see the running processes");
    };
    let processes = index.processes(list);
    if let Some(pid) = processes.running(name) {
        return Judgement::new(
            Truth::True,
            "processes",
            format!("{name} runs (process {pid})"),
            format!("stop {name}"),
        );
    }
    let file_name = name.rsplit('/').next().unwrap_or(name);
    let kept = file_name.as_bytes().get(..KERNEL_NAME_LENGTH).unwrap_or(file_name.as_bytes());
    if let Some(pid) = std::str::from_utf8(kept).ok().and_then(|kept| processes.unseen(kept)) {
        let seen = format!("process {pid} may be {name}: its executable cannot be seen");
        return Judgement::new(Truth::Unknown, "processes", seen, "let Postern see the executables of all processes");
    }
    match &list.hidden {
        Some(reason) => Judgement::new(
            Truth::Unknown,
            "processes",
            format!("{name} was not seen, but processes are hidden ({reason})"),
            "let Postern see all processes",
        ),
        None => Judgement::new(Truth::False, "processes", format!("{name} does not run"), format!("start {name}")),
    }
}
