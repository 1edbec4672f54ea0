//! The gateway's TUN device.

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// Inner packets of this size fit an Ethernet frame with UDP and ESP around them.
const MTU: u16 = 1400;

nix::ioctl_write_int!(tun_set_interface, b'T', 202);

/// Makes a TUN device with an address and brings it up. Reads never wait.
///
/// # Errors
/// When the system refuses; it needs the right to administer the network.
pub(super) fn open(name: &str, address: Ipv4Net) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("/dev/net/tun")?;
    // SAFETY: an all-zero `ifreq` is a valid value of that plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        bail!("{name:?} is too long for a device");
    }
    for (target, source) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *target = libc::c_char::try_from(source).context("a device name is ASCII")?;
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI)?;
    let argument = std::ptr::from_ref(&request) as libc::c_ulong;
    // SAFETY: TUNSETIFF reads the `ifreq` that the argument points to, which lives until after the call.
    unsafe { tun_set_interface(file.as_raw_fd(), argument) }.with_context(|| format!("making device {name}"))?;
    crate::net::shell(&format!(
        "ip address add {address} dev {name}
         ip link set {name} mtu {MTU} up
         echo 1 > /proc/sys/net/ipv4/ip_forward"
    ))?;
    Ok(file)
}
