//! The UDP sockets to the gateway.
//!
//! Each is bound to the address that the system would reach the gateway from, and marked before
//! that is found out, so that policy rules keep it out of the tunnel. IP may fragment what leaves:
//! IKE_AUTH outgrows a path now and then, and ESP's size is kept below it by the device's MTU. What
//! ICMP says of the path's size is not heeded: nobody has proven it, and the search of `path_mtu` finds out.

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// What a path offers when the system does not say: Ethernet.
pub const ETHERNET: usize = 1500;
/// The receive buffer asked for: some milliseconds at several gigabits a second. The system may
/// give less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The send buffer asked for.
const SEND_BUFFER: usize = 2 << 20;

/// The most octets of a stream that wait in the system unsent.
#[cfg(target_os = "linux")]
const UNSENT: libc::c_int = 32 * 1024;

/// The sockets of one tunnel.
#[derive(Debug)]
pub struct Sockets {
    /// Speaks with port 500.
    pub ike: UdpSocket,
    /// Speaks with port 4500: IKE behind a marker, and ESP.
    pub encapsulated: UdpSocket,
    /// The local address and port of [`Self::ike`].
    pub local: SocketAddr,
    /// The size of the largest IP packet on the first hop.
    pub path_mtu: usize,
}

/// Opens the sockets for a gateway at `gateway`.
///
/// # Errors
/// The system's, when there is no route or no right.
pub fn open(gateway: SocketAddr, firewall_mark: u32) -> io::Result<Sockets> {
    let (probe, source) = probe(gateway, firewall_mark)?;
    let path_mtu = interface_mtu(source).or_else(|| first_hop(&probe, gateway)).unwrap_or(ETHERNET);
    let local = SocketAddr::new(source, 0);
    let (ike, encapsulated) = (bound(local, gateway, firewall_mark)?, bound(local, gateway, firewall_mark)?);
    Ok(Sockets { local: ike.local_addr()?, ike, encapsulated, path_mtu })
}

/// Returns the address of this machine that the way to `gateway` begins at now, and what the system believes
/// of the way's size: the first hop's, unless ICMP said otherwise to somebody.
///
/// # Errors
/// The system's, when there is no way.
pub fn way(gateway: SocketAddr, firewall_mark: u32) -> io::Result<(IpAddr, usize)> {
    probe(gateway, firewall_mark).map(|(probe, source)| (source, first_hop(&probe, gateway).unwrap_or(ETHERNET)))
}

/// Connecting a datagram socket sends nothing; the system only finds the way.
fn probe(gateway: SocketAddr, firewall_mark: u32) -> io::Result<(Socket, IpAddr)> {
    let probe = create(gateway, firewall_mark)?;
    probe.connect(&gateway.into())?;
    let source = probe.local_addr()?.as_socket().map(|address| address.ip()).ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((probe, source))
}

/// Connects a stream to `gateway`.
///
/// # Errors
/// The system's: no route, no right, nobody there.
pub async fn connect(gateway: SocketAddr, firewall_mark: u32) -> io::Result<tokio::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(gateway), Type::STREAM, Some(Protocol::TCP))?;
    mark(&socket, firewall_mark)?;
    socket.set_nonblocking(true)?;
    // What waits unsent in the system leaves however the gate stands: it should be little.
    #[cfg(target_os = "linux")]
    let _ = linux::set(&SockRef::from(&socket), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, UNSENT);
    let stream = tokio::net::TcpSocket::from_std_stream(socket.into()).connect(gateway).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends a connection at once; what the system has not sent of it is forgotten and never sent.
///
/// # Errors
/// The system's, when the connection is gone already.
#[cfg(target_os = "linux")]
pub fn abort(stream: &tokio::net::TcpStream) -> io::Result<()> {
    linux::disconnect(&SockRef::from(stream))
}

/// Ends a connection; what the system has not sent of it is forgotten when the last handle closes.
///
/// # Errors
/// The system's, when the connection is gone already.
#[cfg(not(target_os = "linux"))]
pub fn abort(stream: &tokio::net::TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_linger(Some(std::time::Duration::ZERO))?;
    socket.shutdown(std::net::Shutdown::Both)
}

/// Makes one marked socket with large buffers, bound to `local`, that does not block.
///
/// # Errors
/// The system's, when the address or the port cannot be had.
pub fn bound(local: SocketAddr, gateway: SocketAddr, firewall_mark: u32) -> io::Result<UdpSocket> {
    let socket = create(gateway, firewall_mark)?;
    socket.bind(&local.into())?;
    enlarge(&socket);
    Ok(socket.into())
}

fn create(gateway: SocketAddr, firewall_mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(gateway), Type::DGRAM, Some(Protocol::UDP))?;
    mark(&socket, firewall_mark)?;
    let_ip_fragment(&SockRef::from(&socket), gateway)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn mark(socket: &Socket, firewall_mark: u32) -> io::Result<()> {
    if firewall_mark == 0 { Ok(()) } else { socket.set_mark(firewall_mark) }
}

#[cfg(not(target_os = "linux"))]
fn mark(_: &Socket, _: u32) -> io::Result<()> {
    Ok(())
}

fn enlarge(socket: &Socket) {
    // As much as the system gives without more rights; a smaller buffer costs packets, not the tunnel.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    #[cfg(target_os = "linux")]
    for (option, octets) in [(libc::SO_RCVBUFFORCE, RECEIVE_BUFFER), (libc::SO_SNDBUFFORCE, SEND_BUFFER)] {
        let octets = libc::c_int::try_from(octets).unwrap_or(libc::c_int::MAX);
        let _ = linux::set(&SockRef::from(socket), libc::SOL_SOCKET, option, octets);
    }
}

/// Tells whether [`send_of_class`] is there.
pub const fn class_is_settable() -> bool {
    cfg!(target_os = "linux")
}

/// Sends datagrams of `segment` octets each, the last may be shorter, whose IP headers say `class`.
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub fn send_of_class(
    socket: &UdpSocket,
    to: SocketAddr,
    contents: &[u8],
    segment: Option<usize>,
    class: u8,
) -> io::Result<()> {
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
    use std::os::fd::AsRawFd;
    let wide = i32::from(class);
    let of_class = if to.is_ipv4() { ControlMessage::Ipv4Tos(&class) } else { ControlMessage::Ipv6TClass(&wide) };
    let size = segment.map(u16::try_from).transpose().map_err(|_| io::ErrorKind::InvalidInput)?;
    let (one, two);
    let control: &[ControlMessage<'_>] = match &size {
        Some(size) => {
            two = [of_class, ControlMessage::UdpGsoSegments(size)];
            &two
        }
        None => {
            one = [of_class];
            &one
        }
    };
    let to = SockaddrStorage::from(to);
    sendmsg(socket.as_raw_fd(), &[io::IoSlice::new(contents)], control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

/// Elsewhere the class of a single datagram cannot be set.
///
/// # Errors
/// Always: see [`class_is_settable`].
#[cfg(not(target_os = "linux"))]
pub fn send_of_class(_: &UdpSocket, _: SocketAddr, _: &[u8], _: Option<usize>, _: u8) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets the system fragment what is too large for the first hop, and routers of IPv4 what is too large
/// for theirs: quinn-udp and some systems forbid it. What ICMP says of the path is passed over.
#[cfg(target_os = "linux")]
pub fn let_ip_fragment(socket: &SockRef<'_>, gateway: SocketAddr) -> io::Result<()> {
    if gateway.is_ipv4() {
        return linux::set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT);
    }
    linux::set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)?;
    linux::set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
}

/// Tells the system to leave out with each datagram what nobody here asks for: when it came, and to which
/// address. quinn-udp asks for both; taking the time of each packet is not for nothing.
#[cfg(target_os = "linux")]
pub fn leave_out_details(socket: &SockRef<'_>) {
    let details = [
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
        (libc::IPPROTO_IP, libc::IP_PKTINFO),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    ];
    for (level, option) in details {
        // A socket of the other family has no such option, and one too many does no harm.
        let _ = linux::set(socket, level, option, 0);
    }
}

/// Elsewhere it is left at what quinn-udp asks for.
#[cfg(not(target_os = "linux"))]
pub fn leave_out_details(_: &SockRef<'_>) {}

/// Tells whether [`send_whole`] is there.
pub const fn path_is_askable() -> bool {
    cfg!(target_os = "linux")
}

/// Sends one datagram that nobody on the way may fragment.
///
/// # Errors
/// The system's; that the first hop does not take it.
#[cfg(target_os = "linux")]
pub fn send_whole(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
    let reference = SockRef::from(socket);
    if to.is_ipv4() {
        linux::set(&reference, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    } else {
        // Its routers cut nothing; it is enough that this host does not.
        linux::set(&reference, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)?;
        linux::set(&reference, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)?;
    }
    let sent = socket.send_to(datagram, to);
    let_ip_fragment(&reference, to)?;
    sent.map(drop)
}

/// Lets the system cut what ICMP says is too large for a path of IPv6, whose routers cut nothing themselves,
/// or passes ICMP over again. For a path that does not take the smallest packets of the tunnel in one piece:
/// there is nothing left that a forged word could spoil, for the system never cuts below 1280 octets.
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub fn cut_for_ipv6(socket: &UdpSocket, cut: bool) -> io::Result<()> {
    let heed = if cut { libc::IPV6_PMTUDISC_DONT } else { libc::IPV6_PMTUDISC_OMIT };
    linux::set(&SockRef::from(socket), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, heed)
}

/// Elsewhere the path is not asked, so nothing asks for this.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn cut_for_ipv6(_: &UdpSocket, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Elsewhere the path is not asked: see [`path_is_askable`].
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn send_whole(_: &UdpSocket, _: &[u8], _: SocketAddr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Elsewhere fragments are allowed unless somebody forbids them.
#[cfg(not(target_os = "linux"))]
pub fn let_ip_fragment(_: &SockRef<'_>, _: SocketAddr) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn first_hop(connected: &Socket, gateway: SocketAddr) -> Option<usize> {
    let (level, option) =
        if gateway.is_ipv4() { (libc::IPPROTO_IP, libc::IP_MTU) } else { (libc::IPPROTO_IPV6, libc::IPV6_MTU) };
    linux::get(&SockRef::from(connected), level, option).ok().and_then(|mtu| usize::try_from(mtu).ok())
}

/// Returns what the interface with that address takes.
#[cfg(target_os = "linux")]
pub fn interface_mtu(address: IpAddr) -> Option<usize> {
    let own = |interface: &nix::ifaddrs::InterfaceAddress| {
        let found = interface.address.as_ref()?;
        let ipv4 = found.as_sockaddr_in().map(|found| IpAddr::V4(found.ip()));
        ipv4.or_else(|| found.as_sockaddr_in6().map(|found| IpAddr::V6(found.ip())))
    };
    let interface = nix::ifaddrs::getifaddrs().ok()?.find(|interface| own(interface) == Some(address))?;
    linux::interface_mtu(&interface.interface_name).ok().and_then(|mtu| usize::try_from(mtu).ok())
}

/// Elsewhere what the system says of the way has to do.
#[cfg(not(target_os = "linux"))]
pub fn interface_mtu(_: IpAddr) -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
fn first_hop(_: &Socket, _: SocketAddr) -> Option<usize> {
    None
}

#[cfg(target_os = "linux")]
pub(crate) mod linux {
    //! Options and requests that the crates do not have.

    use socket2::SockRef;
    use std::io;
    use std::os::fd::AsRawFd;

    /// Sets an option that is an integer.
    pub fn set(socket: &SockRef<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
        // SAFETY: the descriptor is borrowed for the call, and the kernel reads `length` octets of
        // `value`, which lives until the call is over.
        let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Dissolves the association of a connected socket: a TCP connection is reset and its queues are
    /// dropped, whoever else holds a descriptor of it (`connect` with `AF_UNSPEC`).
    pub fn disconnect(socket: &SockRef<'_>) -> io::Result<()> {
        // SAFETY: an address of all zeros is valid, and zero is AF_UNSPEC.
        let nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).unwrap_or(0);
        // SAFETY: the descriptor is borrowed for the call, and the kernel reads `length` octets of
        // `nobody`, which lives until the call is over.
        let result = unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Reads what an interface takes.
    pub fn interface_mtu(name: &str) -> io::Result<libc::c_int> {
        let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
        let mut request = named(name);
        // SAFETY: SIOCGIFMTU reads and writes one `ifreq`, which lives until the call is over; the
        // descriptor is the socket's, which does too.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as libc::Ioctl, &raw mut request) };
        // SAFETY: the kernel has written this member, an integer, when the call was good.
        if result == 0 { Ok(unsafe { request.ifr_ifru.ifru_mtu }) } else { Err(io::Error::last_os_error()) }
    }

    /// Makes a request about the interface of that name.
    pub fn named(name: &str) -> libc::ifreq {
        // SAFETY: a request of all zeros is valid: no name, no value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last octet stays zero, which ends the name.
        let places = request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1);
        places.zip(name.bytes()).for_each(|(place, octet)| *place = octet.cast_signed());
        request
    }

    /// Reads an option that is an integer.
    pub fn get(socket: &SockRef<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
        let mut value: libc::c_int = 0;
        let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
        // SAFETY: the descriptor is borrowed for the call, and the kernel writes at most `length`
        // octets to `value`, which both live until the call is over.
        let result =
            unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length) };
        if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn sockets_are_bound_to_the_address_that_reaches_the_gateway() {
        let sockets = open("127.0.0.1:500".parse().unwrap(), 0).unwrap();
        assert_eq!(sockets.local.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_ne!(sockets.local.port(), 0);
        assert!(sockets.path_mtu >= 1280);
    }
}
