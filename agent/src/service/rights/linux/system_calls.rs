//! System calls that nothing here makes and whoever broke in would like to, by seccomp.
//!
//! A list of what is refused, not of what is allowed: the libraries below us may use another call
//! tomorrow. It stands behind user, capabilities and Landlock, and shuts what those leave open:
//! running programs, local sockets (where a service might trust a caller by his user), and kernel
//! interfaces that were holes before.

use super::super::Measure;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::collections::BTreeMap;

const ABOUT: &str = "system calls";

/// The kinds of sockets that may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sockets {
    /// IP and netlink.
    Network,
    /// And local ones, which resolvers are asked by.
    NetworkAndLocal,
    /// None at all.
    Nothing,
}

/// Refused whatever the arguments.
const REFUSED: &[libc::c_long] = &[
    // Other programs, and what is in other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Another view of the system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_fanotify_init,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_personality,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

/// The second set of numbers that x86-64 kernels may answer to (x32): the same, with this bit, and
/// some with numbers of their own (execve, ptrace, process_vm_readv and _writev, execveat).
#[cfg(target_arch = "x86_64")]
const X32: (libc::c_long, &[libc::c_long]) = (0x4000_0000, &[520, 521, 539, 540, 545]);
#[cfg(not(target_arch = "x86_64"))]
const X32: (libc::c_long, &[libc::c_long]) = (0, &[]);

/// Puts the filter in force for this thread and those that it will make.
pub(super) fn restrict(sockets: Sockets) -> Measure {
    let programs = TargetArch::try_from(std::env::consts::ARCH).and_then(|arch| programs(sockets, arch));
    let applied = programs.map_err(|error| error.to_string()).and_then(|programs| {
        programs.iter().try_for_each(|program| apply_filter(program).map_err(|error| error.to_string()))
    });
    match applied {
        Ok(()) => Measure::holds(ABOUT, "no programs, no other processes, no mounts, no sockets but the network's"),
        Err(error) => Measure::lacks(ABOUT, format!("all are allowed: {error}"), "a kernel with seccomp filters"),
    }
}

fn programs(sockets: Sockets, arch: TargetArch) -> Result<[BpfProgram; 2], BackendError> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for number in REFUSED {
        refused.insert(*number, Vec::new());
        refused.insert(*number | X32.0, Vec::new());
    }
    refused.extend(X32.1.iter().map(|number| (*number | X32.0, Vec::new())));
    let domains: &[i32] = match sockets {
        Sockets::Network => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
        Sockets::NetworkAndLocal => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_UNIX],
        Sockets::Nothing => &[],
    };
    let other = domains.iter().map(|domain| {
        let domain = u64::try_from(*domain).unwrap_or_default();
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, domain)
    });
    // No rule is every call.
    let other = match domains {
        [] => Vec::new(),
        _ => vec![SeccompRule::new(other.collect::<Result<_, _>>()?)?],
    };
    let namespace = |flag: libc::c_int| {
        let flag = u64::from(flag.cast_unsigned());
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?])
    };
    let namespaces: Vec<SeccompRule> = [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET, libc::CLONE_NEWPID]
        .into_iter()
        .map(namespace)
        .collect::<Result<_, _>>()?;
    for bit in [0, X32.0] {
        refused.insert(libc::SYS_socket | bit, other.clone());
        refused.insert(libc::SYS_clone | bit, namespaces.clone());
    }
    // Its arguments cannot be looked at; libraries that are told it is unknown use `clone`.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new()), (libc::SYS_clone3 | X32.0, Vec::new())]);
    Ok([program(refused, libc::EPERM, arch)?, program(unknown, libc::ENOSYS, arch)?])
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    answer: libc::c_int,
    arch: TargetArch,
) -> Result<BpfProgram, BackendError> {
    let answer = SeccompAction::Errno(answer.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::process::Command;

    /// In a thread of its own, which takes its filter with it.
    fn confined<T: Send + 'static>(sockets: Sockets, work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(move || {
            nix::sys::prctl::set_no_new_privs().unwrap();
            let measure = restrict(sockets);
            assert!(measure.in_force, "{measure:?}");
            work()
        })
        .join()
        .unwrap()
    }

    #[test]
    fn a_confined_process_runs_nothing_and_still_has_threads_and_sockets() {
        confined(Sockets::Network, || {
            let error = Command::new("/bin/true").status().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(std::os::unix::net::UnixDatagram::unbound().is_err(), "no local socket");
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            std::thread::spawn(|| {}).join().unwrap();
        });
    }

    #[test]
    fn a_scan_opens_no_socket_at_all() {
        confined(Sockets::Nothing, || {
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err());
            assert!(std::os::unix::net::UnixDatagram::unbound().is_err());
            assert!(Command::new("/bin/true").status().is_err());
            std::thread::spawn(|| {}).join().unwrap();
        });
    }

    #[test]
    fn a_look_up_may_ask_local_services() {
        confined(Sockets::NetworkAndLocal, || {
            std::os::unix::net::UnixDatagram::unbound().unwrap();
            assert!(Command::new("/bin/true").status().is_err());
        });
    }
}
