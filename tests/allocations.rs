//! The packet path allocates nothing once it runs: super-packets are cut, sealed, sent, received,
//! opened and joined in memory that was there before.

use ike_client::tunnel::batch::{InboundBatch, OutboundBatch};
use ike_client::tunnel::clock;
use ike_client::tunnel::encapsulation::Encapsulation;
use ike_client::tunnel::gate::Gate;
use ike_client::tunnel::link::{Link, Received, SLOTS};
use ike_client::tunnel::offload::{Coalescer, Joins, split};
use ike_client::tunnel::tally::Tally;
use ike_client::tunnel::wake::Wake;
use lab::bench::packets::{Filling, SEGMENTS, esp, super_packet};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;
use std::time::Duration;

/// Counts what the thread allocates.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches a cell of
// the thread that needs neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system's demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system's demands.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system's demands.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn a_super_packet_goes_the_whole_way_without_an_allocation() {
    // The counter itself must see what it is there for.
    assert!(counted(|| drop(std::hint::black_box(vec![1_u8; 100]))) > 0);
    for suite in ["aes256gcm16-noesn", "chacha20poly1305-noesn", "aes256-sha256-noesn"] {
        let esp = esp(suite).expect("an SA");
        let sockets: Vec<UdpSocket> = (0..2)
            .map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                socket.set_nonblocking(true).expect("a mode");
                socket
            })
            .collect();
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().expect("an address")).collect();
        let mut sockets = sockets.into_iter();
        let mut link = |peer: usize| Link::udp(sockets.next().expect("two sockets"), addresses[peer]).expect("a link");
        let (from, to) = (link(1), link(0));
        let (gate, wake, tally) = (Gate::new(), Wake::new().expect("a switch"), Tally::default());
        gate.grant(clock::now() + Duration::from_secs(600));
        let (mut outbound, mut inbound) = (OutboundBatch::new(), InboundBatch::new(SLOTS));
        let mut coalescer = Coalescer::default();
        let (header, packet) = super_packet();
        let mut delivered = (0, 0);
        let mut once = || {
            outbound.start(esp.layout().expect("an SA"));
            split(header, &packet, &mut Filling(&mut outbound)).expect("it can be cut");
            esp.seal(&mut outbound, &tally);
            from.send(&outbound, &gate, &wake, &tally);
            loop {
                inbound.start();
                if to.receive(&mut inbound, &tally).expect("the loopback") == Received::Nothing {
                    break;
                }
                esp.open(&mut inbound, &tally, &mut |_| {});
                let (buffer, ranges) = inbound.opened();
                coalescer.group(buffer, ranges, Joins::ALL);
                coalescer.deliver(buffer, |_, delivery| {
                    delivered = (delivered.0 + 1, delivered.1 + delivery.packets);
                });
            }
        };
        (0..20).for_each(|_| once());
        let allocated = counted(|| (0..100).for_each(|_| once()));
        assert_eq!(allocated, 0, "{suite}: in a hundred super-packets");
        assert_eq!(delivered.1, 120 * SEGMENTS, "{suite}: packets arrived");
        assert!(delivered.0 < delivered.1 / 8, "{suite}: they were joined");
        let counters = tally.read();
        assert_eq!((counters.dropped_inbound, counters.dropped_outbound, counters.replayed), (0, 0, 0), "{suite}");
    }
}
