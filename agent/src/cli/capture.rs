//! The capture of `postern connect --capture`: what crosses the network, in pcap's form, taken by this
//! program and not by the service. Of all packets it keeps IKE and ESP in UDP on ports 500 and 4500, and
//! ESP itself; what a TCP carrier sends looks like any other connection and is not kept.
//!
//! Packets are kept as the system hands them over: where it lets the network card cut what was sent,
//! what is kept is not cut yet.

use super::keys::new_file;
use crate::platform;
use postern_api::fault::{Fault, FaultName};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest packet there is.
const LONGEST: usize = 65_535;
/// The ports of IKE, and of IKE and ESP in UDP (RFC 7296 §2, RFC 3948).
const PORTS: [u16; 2] = [500, 4500];
/// pcap's LINKTYPE_RAW: packets begin with their IP header.
const LINK_RAW: u32 = 101;

/// A capture that goes on until it is dropped.
#[derive(Debug)]
pub(super) struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Makes the file and begins.
    ///
    /// # Errors
    /// `NotPermitted` where this user may not see packets, `UsageInvalid` when the file is there already
    /// or cannot be made.
    pub(super) fn start(path: &Path) -> Result<Self, Fault> {
        let source = platform::every_packet().map_err(|error| {
            let name = match error.kind() {
                ErrorKind::PermissionDenied => FaultName::NotPermitted,
                _ => FaultName::UsageInvalid,
            };
            Fault::new(name, "packets", format!("cannot be captured: {error}"), "run it as root, on Linux")
        })?;
        let file = new_file(path).and_then(|file| begin(BufWriter::new(file))).map_err(|error| {
            let subject = path.display().to_string();
            Fault::new(FaultName::UsageInvalid, subject, format!("cannot be written: {error}"), "name a new file")
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        Ok(Self { stop, thread: Some(std::thread::spawn(move || keep(source, file, &told))) })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only ever returns.
            let _ = thread.join();
        }
    }
}

/// Copies packets until told to stop, or until the disk is full: that must not end the connection.
fn keep(mut source: File, mut file: BufWriter<File>, stop: &AtomicBool) {
    let mut packet = vec![0; LONGEST];
    while !stop.load(Ordering::Relaxed) {
        let length = match source.read(&mut packet) {
            Ok(length) => length,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::TimedOut) =>
            {
                if file.flush().is_err() {
                    return;
                }
                continue;
            }
            // A link that went down says so once.
            Err(error) if error.kind() == ErrorKind::NetworkDown => continue,
            Err(_) => return,
        };
        let Some(packet) = packet.get(..length).filter(|packet| is_wanted(packet)) else { continue };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if record(&mut file, now, packet).is_err() {
            return;
        }
    }
    let _ = file.flush();
}

/// Writes the head of the file, with microseconds.
fn begin<W: Write>(mut file: W) -> io::Result<W> {
    let longest = u32::try_from(LONGEST).unwrap_or(u32::MAX);
    for word in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, longest, LINK_RAW] {
        file.write_all(&word.to_le_bytes())?;
    }
    Ok(file)
}

fn record(file: &mut impl Write, at: Duration, packet: &[u8]) -> io::Result<()> {
    let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
    let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    for word in [seconds, at.subsec_micros(), length, length] {
        file.write_all(&word.to_le_bytes())?;
    }
    file.write_all(packet)
}

/// Tells whether a packet is IKE or ESP, from its IP header on. Later fragments of a packet say
/// nothing of ports: those of UDP are kept.
fn is_wanted(packet: &[u8]) -> bool {
    let (protocol, fragment, payload) = match packet.first().map(|first| first >> 4) {
        Some(4) => {
            let Some(header) = packet.first_chunk::<20>() else { return false };
            let [first, .., protocol, _, _, _, _, _, _, _, _, _, _] = *header;
            let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
            (protocol, later, packet.get(usize::from(first & 15) * 4..))
        }
        Some(6) => match packet.get(6).copied() {
            // A fragment (RFC 8200 §4.5): its own header says what it is of, and from where on.
            Some(44) => {
                let Some(&[protocol, _, high, low, ..]) = packet.get(40..) else { return false };
                (protocol, u16::from_be_bytes([high, low]) & 0xfff8 != 0, packet.get(48..))
            }
            Some(protocol) => (protocol, false, packet.get(40..)),
            None => return false,
        },
        _ => return false,
    };
    match (protocol, payload) {
        (50, _) => true,
        (17, _) if fragment => true,
        (17, Some(&[a, b, c, d, ..])) => {
            [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])].iter().any(|port| PORTS.contains(port))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45; 20];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[9] = protocol;
        packet.extend(payload);
        packet
    }

    fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60; 40];
        packet[6] = next;
        packet.extend(payload);
        packet
    }

    #[test]
    fn ike_and_esp_are_kept_and_nothing_else() {
        let ports = |from: u16, to: u16| [from.to_be_bytes(), to.to_be_bytes(), [0, 9], [0, 0]].concat();
        for (wanted, packet) in [
            (true, ipv4(17, 0, &ports(40_000, 500))),
            (true, ipv4(17, 0x4000, &ports(4500, 1))),
            (true, ipv4(17, 0x2001, b"more")),
            (true, ipv4(50, 0, b"")),
            (true, ipv6(17, &ports(4500, 4500))),
            (true, ipv6(50, b"")),
            (true, ipv6(44, &[&[17, 0, 0, 1, 0, 0, 0, 1][..], &ports(4500, 4500)].concat())),
            (true, ipv6(44, &[17, 0, 5, 0xa8, 0, 0, 0, 1, 1])),
            (false, ipv4(17, 0, &ports(53, 40_000))),
            (false, ipv4(6, 0, &ports(500, 4500))),
            (false, ipv4(17, 0, b"ab")),
            (false, ipv6(6, &ports(4500, 500))),
            (false, ipv6(44, &[17, 0])),
            (false, vec![0x45; 19]),
            (false, vec![0x60; 6]),
            (false, Vec::new()),
        ] {
            assert_eq!(is_wanted(&packet), wanted, "{packet:02x?}");
        }
    }

    #[test]
    fn the_file_is_pcap() {
        let mut file = begin(Vec::new()).unwrap();
        record(&mut file, Duration::new(7, 8_000), b"abc").unwrap();
        let words: Vec<u32> = file[..40].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 101, 7, 8, 3, 3]);
        assert_eq!(&file[40..], b"abc");
    }
}
