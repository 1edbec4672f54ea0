//! Ends the sockets that live on an address which is being taken away.
//!
//! Linux lets an IPv6 connection go on sending from an address that the machine no longer has,
//! by whatever way the destination has then. So when the tunnel's address goes, its sockets go
//! with it (`SOCK_DESTROY` of sock_diag(7)); their programs are told ECONNABORTED at once instead
//! of waiting for a way that will not come back.
//!
//! What cannot be ended: a datagram socket that a program has bound to an IPv6 address. Told the
//! error once, it may go on, and may then not even be listed until it sends again. So these are left
//! as they are, and counted ([`living_on`]): the guard stands as long as one of them lives, and tells
//! each attempt that it is not permitted.

use rtnetlink::sys::constants::NETLINK_SOCK_DIAG;
use rtnetlink::sys::{Socket, SocketAddr};
use std::io;
use std::net::{IpAddr, Ipv6Addr};

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// Flags and types of linux/netlink.h.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The lengths of `nlmsghdr` and `inet_diag_sockid`, and where the latter begins in
/// `inet_diag_req_v2` and in `inet_diag_msg`.
const HEADER: usize = 16;
const ID: usize = 48;
const ID_IN_REQUEST: usize = 8;
const ID_IN_ANSWER: usize = 4;
/// Every state but LISTEN: who only listens sends nothing by himself.
const STATES: u32 = !(1 << 10);
/// A dump of more datagrams than this is not read on.
const MOST_DATAGRAMS: usize = 100_000;

/// What names one socket to the kernel: ports, addresses, device and cookie.
type SocketId = [u8; ID];

/// Ends every TCP connection whose own address is `address`, and every UDP socket where that keeps
/// it silent; returns how many.
///
/// # Errors
/// When the kernel cannot tell or cannot end them (built without INET_DIAG_DESTROY).
pub(super) fn end_those_of(address: IpAddr) -> io::Result<usize> {
    let mut ended = 0_usize;
    let families: &[i32] = if address.is_ipv4() { &[libc::AF_INET, libc::AF_INET6] } else { &[libc::AF_INET6] };
    for &family in families {
        let family = u8::try_from(family).map_err(io::Error::other)?;
        let protocols: &[i32] =
            if address.is_ipv4() { &[libc::IPPROTO_TCP, libc::IPPROTO_UDP] } else { &[libc::IPPROTO_TCP] };
        for &protocol in protocols {
            let protocol = u8::try_from(protocol).map_err(io::Error::other)?;
            for socket in sockets_of(family, protocol, address)? {
                end(family, protocol, &socket)?;
                ended = ended.saturating_add(1);
            }
        }
    }
    Ok(ended)
}

/// Returns how many sockets could still send from `address` although the machine no longer has it.
///
/// For IPv4 Linux refuses a source that is not its own.
///
/// # Errors
/// When the kernel cannot tell.
pub(super) fn living_on(address: IpAddr) -> io::Result<usize> {
    if address.is_ipv4() {
        return Ok(0);
    }
    let family = u8::try_from(libc::AF_INET6).map_err(io::Error::other)?;
    let udp = u8::try_from(libc::IPPROTO_UDP).map_err(io::Error::other)?;
    Ok(sockets_of(family, udp, address)?.len())
}

fn sockets_of(family: u8, protocol: u8, address: IpAddr) -> io::Result<Vec<SocketId>> {
    let wanted = octets_in(family, address);
    let mut found = Vec::new();
    let socket = ask(&request(BY_FAMILY, REQUEST | DUMP, family, protocol, &[0; ID]))?;
    for _ in 0..MOST_DATAGRAMS {
        let (datagram, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&datagram) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(refusal(body)),
                _ => {}
            }
            let Some(id) = body.get(ID_IN_ANSWER..).and_then(|rest| rest.first_chunk::<ID>()) else { continue };
            // The source address stands behind the two ports.
            if id.get(4..20) == Some(wanted.as_slice()) {
                found.push(*id);
            }
        }
    }
    Ok(found)
}

fn end(family: u8, protocol: u8, id: &SocketId) -> io::Result<()> {
    let socket = ask(&request(DESTROY, REQUEST | ACK, family, protocol, id))?;
    let (datagram, _) = socket.recv_from_full()?;
    for (kind, body) in messages(&datagram) {
        if kind == ERROR {
            return match refusal(body) {
                none if none.raw_os_error() == Some(0) => Ok(()),
                // It ended by itself between the two questions.
                gone if gone.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                error => Err(error),
            };
        }
    }
    Ok(())
}

fn ask(request: &[u8]) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.send_to(request, &SocketAddr::new(0, 0), 0)?;
    Ok(socket)
}

/// `nlmsghdr`, then `inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: u8, protocol: u8, id: &SocketId) -> Vec<u8> {
    let length = u32::try_from(HEADER + ID_IN_REQUEST + ID).unwrap_or_default();
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, protocol, 0, 0]);
    message.extend(STATES.to_ne_bytes());
    message.extend(id);
    message
}

/// Returns the type and the body of each message in a datagram of the kernel.
fn messages(datagram: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let [a, b, c, d, kind_a, kind_b, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or_default();
        let Some(body) = rest.get(HEADER..length) else { break };
        found.push((u16::from_ne_bytes([kind_a, kind_b]), body));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Reads the negative error number of an error message; zero is an acknowledgement.
fn refusal(body: &[u8]) -> io::Error {
    let number = body.first_chunk::<4>().map_or(0, |octets| i32::from_ne_bytes(*octets));
    io::Error::from_raw_os_error(number.saturating_neg())
}

/// The sixteen octets in which the kernel gives an address of this family.
fn octets_in(family: u8, address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) if i32::from(family) == libc::AF_INET6 => address.to_ipv6_mapped().octets(),
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            Ipv6Addr::from([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).octets()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_is_found_by_its_own_address() {
        let listener = TcpListener::bind("127.83.7.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap();
        let family = u8::try_from(libc::AF_INET).unwrap();
        let tcp = u8::try_from(libc::IPPROTO_TCP).unwrap();
        let found = sockets_of(family, tcp, "127.83.7.1".parse().unwrap()).unwrap();
        assert_eq!(found.len(), 1, "the accepted one alone: the other has 127.0.0.1, the listener sends nothing");
        let port = listener.local_addr().unwrap().port().to_be_bytes();
        assert_eq!(found.first().and_then(|id| id.get(..2)), Some(port.as_slice()));
        drop((connection, accepted));
    }

    #[test]
    fn a_datagram_socket_lives_on_its_address_until_it_is_closed() {
        let socket = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let with = living_on("::1".parse().unwrap()).unwrap();
        assert!(with >= 1);
        let port = socket.local_addr().unwrap().port().to_be_bytes();
        let family = u8::try_from(libc::AF_INET6).unwrap();
        let udp = u8::try_from(libc::IPPROTO_UDP).unwrap();
        let lives = || {
            let found = sockets_of(family, udp, "::1".parse().unwrap()).unwrap();
            found.iter().any(|id| id.get(..2) == Some(port.as_slice()))
        };
        assert!(lives());
        drop(socket);
        assert!(!lives());
        assert_eq!(living_on("127.0.0.1".parse().unwrap()).unwrap(), 0, "IPv4 refuses by itself");
    }

    #[test]
    fn broken_messages_end_the_reading() {
        assert!(messages(&[1, 2, 3]).is_empty());
        let mut long = request(DONE, 0, 0, 0, &[0; ID]);
        if let Some(first) = long.first_mut() {
            *first = 0xff;
        }
        assert!(messages(&long).is_empty());
        let short = [0_u8; HEADER];
        assert!(messages(&short).is_empty(), "a length below the header's own must not loop");
    }
}
