//! Our cutting and joining of super-packets beside the kernel's own.
//!
//! The kernel takes a super-packet from one TUN device, forwards it, and must cut it for another
//! that offers no offload: what comes out there is what ours has to be, octet for octet.

use anyhow::{Context, Result, bail, ensure};
use ike_client::tunnel::offload::headers::{
    GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CHECKSUM, TCP, UDP, VirtioHeader, u16_at,
};
use ike_client::tunnel::offload::{Coalescer, Joins, Segments, checksum, split};
use lab::net::shell;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

/// Enough to meet every header with every size.
const CASES: u32 = 200;
const MTU: usize = 1500;

nix::ioctl_write_int!(tun_set_interface, b'T', 202);
nix::ioctl_write_int!(tun_set_offload, b'T', 208);

/// A stream's or a flow's super-packet as an application would make it.
#[derive(Clone, Debug)]
struct Case {
    ipv6: bool,
    udp: bool,
    /// Octets of IPv4 options, or of IPv6 extension headers.
    more: usize,
    /// Octets of TCP options.
    options: usize,
    flags: u8,
    id: u16,
    class: u8,
    sequence: u32,
    size: usize,
    payload: Vec<u8>,
}

fn cases() -> impl Strategy<Value = Case> {
    // Plain headers often enough that much is joined.
    let more = prop_oneof![2 => Just(0), 1 => 1_usize..4];
    let flags = prop_oneof![2 => Just(0x10), 1 => Just(0x18), 2 => any::<u8>()];
    let shape = (any::<bool>(), any::<bool>(), more, 0_usize..11, flags);
    let numbers = (any::<u16>(), any::<u8>(), prop_oneof![any::<u32>(), Just(u32::MAX - 700)]);
    // Odd sizes, tiny ones and full ones; and payloads that end anywhere in the last segment.
    let sizes = (prop_oneof![1_usize..20, 500_usize..1300, Just(1300)], 2_usize..40, 1_usize..1301);
    (shape, numbers, sizes).prop_map(|((ipv6, udp, more, options, flags), (id, class, sequence), sizes)| {
        let (size, segments, last) = sizes;
        let length = size * (segments - 1) + last.min(size);
        // Octets that differ from one place to the next, and from case to case.
        let mut state = sequence | 1;
        let payload = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        Case {
            ipv6,
            udp,
            more: more * 8,
            options: options * 4,
            // What a stream may have set in the middle: FIN, PSH, ACK, URG, ECE, CWR; no SYN, no RST.
            flags: (flags & !0x06) | 0x10,
            id,
            class,
            sequence,
            size,
            payload: payload.take(length).collect(),
        }
    })
}

impl Case {
    /// Returns the virtio header and the packet, its checksum partial; `hops` is its lifetime.
    fn super_packet(&self, hops: u8) -> (VirtioHeader, Vec<u8>) {
        let protocol = if self.udp { UDP } else { TCP };
        let mut packet = if self.ipv6 { self.ipv6(protocol, hops) } else { self.ipv4(protocol, hops) };
        let ip = packet.len();
        packet.extend([0x30, 0x39, 0x00, 0x50]);
        let checksum_offset = if self.udp {
            packet.extend([0, 0, 0, 0]);
            6
        } else {
            packet.extend(self.sequence.to_be_bytes());
            packet.extend([0, 0, 0, 9, 0x50 + ((self.options / 4) << 4) as u8, self.flags, 0x7f, 0xff, 0, 0, 0, 77]);
            packet.extend(std::iter::repeat_n(1, self.options));
            16
        };
        let headers = packet.len();
        packet.extend(&self.payload);
        self.finish(&mut packet, ip, checksum_offset, protocol);
        let kind = match (self.udp, self.ipv6) {
            (true, _) => GSO_UDP_L4,
            (false, true) => GSO_TCPV6,
            (false, false) => GSO_TCPV4,
        };
        let marks = !self.udp && self.flags & 0x80 != 0;
        let header = VirtioHeader {
            flags: NEEDS_CHECKSUM,
            gso_type: kind | if marks { GSO_ECN } else { 0 },
            header_length: headers as u16,
            gso_size: self.size as u16,
            checksum_start: ip as u16,
            checksum_offset,
        };
        (header, packet)
    }

    fn ipv4(&self, protocol: u8, hops: u8) -> Vec<u8> {
        let mut packet = vec![0x45 + (self.more / 4) as u8, self.class, 0, 0];
        packet.extend(self.id.to_be_bytes());
        // Half of them may be fragmented, half may not.
        packet.extend([if self.id & 1 == 0 { 0x40 } else { 0 }, 0, hops, protocol, 0, 0, 10, 1, 0, 2, 10, 2, 0, 2]);
        packet.extend(std::iter::repeat_n(1, self.more));
        packet
    }

    fn ipv6(&self, protocol: u8, hops: u8) -> Vec<u8> {
        // Destination options, one header of eight octets after the other: padding inside.
        let mut next: Vec<u8> = std::iter::repeat_n(60, self.more / 8).chain([protocol]).collect();
        let first = next.remove(0);
        let mut packet = vec![0x60 | self.class >> 4, self.class << 4, 0x12, 0x34, 0, 0, first, hops];
        packet.extend("fd01::2".parse::<std::net::Ipv6Addr>().map_or([0; 16], |address| address.octets()));
        packet.extend("fd02::2".parse::<std::net::Ipv6Addr>().map_or([0; 16], |address| address.octets()));
        next.iter().for_each(|next| packet.extend([*next, 0, 1, 4, 0, 0, 0, 0]));
        packet
    }

    fn finish(&self, packet: &mut [u8], ip: usize, offset: u16, protocol: u8) {
        let total = packet.len();
        let transport = total - ip;
        let addresses = if self.ipv6 { packet[8..40].to_vec() } else { packet[12..20].to_vec() };
        if self.ipv6 {
            packet[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
        } else {
            packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
            let sum = checksum::finish(checksum::sum(&packet[..ip], 0));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        if self.udp {
            packet[ip + 4..ip + 6].copy_from_slice(&(transport as u16).to_be_bytes());
        }
        let at = ip + usize::from(offset);
        let partial = checksum::fold(checksum::pseudo_header(&addresses, protocol, transport));
        packet[at..at + 2].copy_from_slice(&partial.to_be_bytes());
    }

    fn fits(&self) -> bool {
        let (_, packet) = self.super_packet(64);
        packet.len() < 65_000 && packet.len() - self.payload.len() + self.size <= MTU
    }
}

struct Cut(Vec<Vec<u8>>);

impl Segments for Cut {
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0xee; length]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }
}

fn cut(header: VirtioHeader, packet: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut segments = Cut(Vec::new());
    split(header, packet, &mut segments)?;
    Ok(segments.0)
}

/// Two devices and a kernel that forwards from one to the other.
struct Kernel {
    input: File,
    output: File,
}

impl Kernel {
    fn new() -> Result<Self> {
        let kernel = Self { input: device("in0", 0x67)?, output: device("out0", 0)? };
        shell(&format!(
            "for d in in0 out0; do ip link set $d mtu {MTU} up; done
             sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 \
                 net.ipv4.conf.in0.rp_filter=0
             ip address add 10.1.0.1/24 dev in0; ip address add 10.2.0.1/24 dev out0
             ip address add fd01::1/64 dev in0 nodad; ip address add fd02::1/64 dev out0 nodad"
        ))?;
        Ok(kernel)
    }

    /// Lets the kernel forward one packet; returns the `count` that come of it, or those that came
    /// until nothing more did.
    fn forward(&mut self, header: VirtioHeader, packet: &[u8], count: usize) -> Result<Vec<Vec<u8>>> {
        let mut octets = header.to_bytes().to_vec();
        octets.extend(packet);
        self.input.write_all(&octets).with_context(|| format!("the kernel refuses {header:?}"))?;
        let mut packets = Vec::new();
        let mut buffer = vec![0; 70_000];
        while packets.len() < count {
            let mut ready = [nix::poll::PollFd::new(self.output.as_fd(), nix::poll::PollFlags::POLLIN)];
            if nix::poll::poll(&mut ready, 2000_u16)? == 0 {
                bail!("{} packets came, {count} were expected: {packets:02x?}", packets.len());
            }
            let length = self.output.read(&mut buffer)?;
            let (virtio, packet) = VirtioHeader::read(&buffer[..length]).context("no virtio header")?;
            ensure!(virtio.gso_type == 0 && virtio.flags & NEEDS_CHECKSUM == 0, "not whole: {virtio:?}");
            // The kernel's own words on a new device (router solicitation, membership) are not meant.
            if [&[10, 2, 0, 2][..], &[0xfd, 2]]
                .iter()
                .any(|to| packet.get(16..18) == to.get(..2) || packet.get(24..26) == to.get(..2))
            {
                packets.push(packet.to_vec());
            }
        }
        Ok(packets)
    }
}

fn device(name: &str, offload: u64) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: an all-zero `ifreq` is a valid value of that plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, source) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *target = source as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR)?;
    // SAFETY: TUNSETIFF reads the `ifreq`, which lives until after the call; TUNSETOFFLOAD takes its
    // argument by value.
    unsafe {
        tun_set_interface(file.as_raw_fd(), std::ptr::from_ref(&request) as libc::c_ulong)?;
        tun_set_offload(file.as_raw_fd(), offload)?;
    }
    Ok(file)
}

fn runner() -> TestRunner {
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(Config { cases: CASES, failure_persistence: None, ..Config::default() }, random)
}

/// Runs the cases; a failure names the smallest case that fails.
fn every(test: impl Fn(&mut Kernel, &Case) -> Result<()>) -> Result<()> {
    let kernel = std::cell::RefCell::new(Kernel::new()?);
    runner()
        .run(&cases().prop_filter("too large", Case::fits), |case| {
            test(&mut kernel.borrow_mut(), &case).map_err(|error| TestCaseError::fail(format!("{error:#}")))
        })
        .map_err(|error| anyhow::anyhow!("{error}"))
}

pub fn cuts_as_the_kernel_does() -> Result<()> {
    every(|kernel, case| {
        // Forwarding takes one hop; ours is shown what the kernel cuts.
        let (header, packet) = case.super_packet(63);
        let ours = cut(header, &packet)?;
        let (header, packet) = case.super_packet(64);
        let theirs = kernel.forward(header, &packet, ours.len())?;
        ensure!(ours == theirs, "ours   {ours:02x?}\ntheirs {theirs:02x?}");
        Ok(())
    })
}

pub fn joins_what_the_kernel_cuts_again() -> Result<()> {
    let joined = std::cell::Cell::new(0);
    every(|kernel, case| {
        let (header, packet) = case.super_packet(64);
        let packets = cut(header, &packet)?;
        let (header, packet) = case.super_packet(63);
        let expected = cut(header, &packet)?;
        let mut arrived = Vec::new();
        for (header, packet, count) in join(&packets) {
            joined.set(joined.get() + usize::from(count > 1));
            ensure!(packet.len() <= 65_535 && u16_at(&packet, 0).is_some(), "not a packet");
            arrived.extend(kernel.forward(header, &packet, count)?);
        }
        ensure!(arrived == expected, "arrived  {arrived:02x?}\nexpected {expected:02x?}");
        Ok(())
    })?;
    ensure!(joined.get() > 20, "only {} were joined at all", joined.get());
    Ok(())
}

/// What says that an IPv4 packet is a fragment: the first, one in the middle, the last.
const FRAGMENTS: [u16; 3] = [0x2000, 0x2000 | 90, 180];

/// Makes a fragment of an IPv4 packet.
fn as_fragment(packet: &mut [u8], place: u16) {
    let header = usize::from(packet[0] & 15) * 4;
    packet[6..8].copy_from_slice(&place.to_be_bytes());
    packet[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(&packet[..header], 0));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

pub fn fragments_pass_as_the_kernel_passes_them() -> Result<()> {
    every(|kernel, case| {
        let case = Case { ipv6: false, ..case.clone() };
        if !case.fits() {
            return Ok(());
        }
        for place in FRAGMENTS {
            // As fragments come: one by one, nothing to be cut and nothing to be summed up.
            let one = Case { payload: case.payload[..case.size].to_vec(), ..case.clone() };
            let fragment = |hops| {
                let (_, mut packet) = one.super_packet(hops);
                as_fragment(&mut packet, place);
                packet
            };
            let ours = cut(VirtioHeader::default(), &fragment(63))?;
            let theirs = kernel.forward(VirtioHeader::default(), &fragment(64), 1)?;
            ensure!(ours == theirs, "{place:04x}: ours {ours:02x?}\ntheirs {theirs:02x?}");
            // Whatever they hold looks like a segment of a stream at most: none is joined with another.
            let (header, packet) = case.super_packet(64);
            let mut packets = cut(header, &packet)?;
            packets.iter_mut().for_each(|packet| as_fragment(packet, place));
            let joined = join(&packets);
            ensure!(joined.iter().all(|(_, _, count)| *count == 1), "{place:04x}: fragments were joined");
            ensure!(joined.into_iter().map(|(_, packet, _)| packet).eq(packets), "{place:04x}: changed on the way");
        }
        Ok(())
    })
}

/// Returns what our joining would write to a device, and of how many packets each is made.
fn join(packets: &[Vec<u8>]) -> Vec<(VirtioHeader, Vec<u8>, usize)> {
    let mut buffer = packets.concat();
    let mut at = 0;
    let ranges: Vec<Range<usize>> = packets
        .iter()
        .map(|packet| {
            at += packet.len();
            at - packet.len()..at
        })
        .collect();
    let mut coalescer = Coalescer::default();
    let mut written = Vec::new();
    coalescer.group(&buffer, &ranges, Joins::ALL);
    coalescer.deliver(&mut buffer, |buffer, delivery| {
        let parts = std::iter::once(&delivery.first).chain(delivery.rest);
        let whole: Vec<u8> = parts.flat_map(|range| buffer[range.clone()].to_vec()).collect();
        let header = VirtioHeader::read(&delivery.header).map_or_else(VirtioHeader::default, |(header, _)| header);
        written.push((header, whole, delivery.packets));
    });
    written
}
