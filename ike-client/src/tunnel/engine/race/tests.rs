//! The race on this machine's loopback, where no gateway gives an answer.

use super::*;
use crate::session::{CloseReason, RedirectTarget, SaKind};
use crate::tunnel::engine::traffic::Lease;
use crate::tunnel::lookup;
use crate::tunnel::outbox::Outbox;
use crate::tunnel::remembered::Remembered;
use crate::wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload, ResponderSpi};
use tokio::net::{TcpListener, UdpSocket};

fn tunnel(carrier: CarrierChoice) -> TunnelConfiguration {
    serde_json::from_value(serde_json::json!({
        "gateways": ["gateway.test"],
        "carrier": carrier,
        "session": {
            "gateway_name": "gateway.test",
            "gateway_auth": { "method": "pre-shared-key" },
            "client_auth": { "method": "pre-shared-key" },
            "local_identity": { "fqdn": "client.test" },
            "ike_suites": ["aes256gcm16-prfsha256-x25519"],
            "esp_suites": ["aes256gcm16-noesn"],
        },
    }))
    .unwrap()
}

fn owner() -> (Owner, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(64);
    let owner = Owner {
        outbox: Outbox::new(sender),
        lease: Lease::default(),
        names: lookup::of_system(),
        ticket: None,
        remembered: Remembered::default(),
    };
    (owner, events)
}

fn udp(gateway: SocketAddr) -> Candidate {
    Candidate { gateway, carrier: Carrier::Udp }
}

fn tcp(gateway: SocketAddr) -> Candidate {
    Candidate { gateway, carrier: Carrier::Tcp { port: gateway.port() } }
}

fn nowhere() -> SocketAddr {
    ([127, 0, 0, 1], 9).into()
}

/// Returns what the owner was told, by its steps.
fn steps(events: &mut mpsc::Receiver<Event>) -> Vec<Progress> {
    std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| if let Event::Progress { step } = event { Some(step) } else { None })
        .collect()
}

#[test]
fn what_a_gateway_says_outweighs_silence_and_ends_nothing_but_its_way() {
    let tunnel = tunnel(CarrierChoice::Udp);
    let turns = [(Duration::ZERO, udp(nowhere())), (Duration::from_secs(1), udp(nowhere()))].into();
    let mut race = Race::new(&tunnel, "gateway.test", &turns, clock::now());
    race.lost(unheard());
    race.lost(network(io::ErrorKind::ConnectionRefused.into()));
    assert_eq!((&race.end, race.turns.len()), (&unheard(), 2), "others may still be heard");
    let refusal = EndCause::from(CloseCause::ProposalMismatch { sa: SaKind::Ike });
    race.lost(refusal.clone());
    assert_eq!((&race.end, race.turns.len()), (&refusal, 2), "somebody on this way may have said so");
    race.lost(unheard());
    race.lost(network(io::ErrorKind::ConnectionRefused.into()));
    assert_eq!(race.end, refusal, "nothing that says less takes its place");
}

#[test]
fn what_holds_for_every_way_ends_what_has_not_begun() {
    let tunnel = tunnel(CarrierChoice::Udp);
    let to = RedirectTarget::Name("other.test".to_owned());
    let unusable = CloseCause::ConfigurationUnusable { what: "no IKE suite".to_owned() };
    for cause in [CloseCause::Redirected { to }, unusable] {
        let turns = [(Duration::from_secs(1), udp(nowhere()))].into();
        let mut race = Race::new(&tunnel, "gateway.test", &turns, clock::now());
        race.lost(cause.clone().into());
        assert_eq!((&race.end, race.turns.len()), (&cause.into(), 0));
    }
}

#[tokio::test]
async fn attack_somebody_who_refuses_on_one_way_does_not_keep_the_other_from_being_tried() {
    let (forger, gateway) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let ways = [forger.local_addr().unwrap(), gateway.local_addr().unwrap()];
    let turns = [(Duration::ZERO, udp(ways[0])), (Duration::from_secs(3600), udp(ways[1]))].into();
    let tunnel = tunnel(CarrierChoice::Udp);
    let (mut owner, _events) = owner();
    let (commands, mut queue) = mpsc::channel(1);
    let race = Race::new(&tunnel, "gateway.test", &turns, clock::now());
    let mut race = std::pin::pin!(race.run(None, &mut queue, &mut owner));
    let (mut asked, mut message) = ([0; 4096], [0; 4096]);
    // HDR(A,0), SAi1, KEi, Ni -->   <-- HDR(A,0), N(NO_PROPOSAL_CHOSEN), each time
    let heard = loop {
        tokio::select! {
            _ = &mut race => panic!("the race is over although a way has not been tried"),
            received = forger.recv_from(&mut asked) => {
                let (length, from) = received.unwrap();
                let spi = Message::decode(&asked[..length]).unwrap().header.initiator_spi;
                let flags = Flags::new(false, true);
                let header = Header::new(spi, ResponderSpi::ZERO, ExchangeType::IKE_SA_INIT, flags, 0);
                let refusal = Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
                let refused = Message::new(header, vec![Payload::Notify(refusal)]).encode().unwrap();
                forger.send_to(&refused, from).await.unwrap();
            }
            heard = gateway.recv_from(&mut message) => break heard.unwrap().0,
        }
    };
    assert!(heard > 28 && message[18] == 34, "{:02x?}", &message[..28]);
    commands.send(Command::Stop { reason: CloseReason::User }).await.unwrap();
    let requested = EndCause::from(CloseCause::Requested { reason: CloseReason::User });
    assert_eq!(race.await.err(), Some(requested));
}

#[test]
fn where_there_was_no_way_at_all_the_system_s_words_are_the_reason() {
    let tunnel = tunnel(CarrierChoice::Udp);
    let mut race = Race::new(&tunnel, "gateway.test", &VecDeque::new(), clock::now());
    let refused = network(io::ErrorKind::NetworkUnreachable.into());
    race.lost(refused.clone());
    assert_eq!(race.end, refused);
}

#[test]
fn each_has_its_turn_in_time_and_the_other_carrier_is_announced_once() {
    let tunnel = tunnel(CarrierChoice::Auto { port: 443, tcp_first: false });
    let [first, second, third] = [1, 2, 3].map(|last| SocketAddr::from(([192, 0, 2, last], 500)));
    let hour = Duration::from_secs(3600);
    let turns =
        [(Duration::ZERO, udp(first)), (Duration::ZERO, tcp(second)), (Duration::ZERO, tcp(third)), (hour, udp(third))];
    let (mut owner, mut events) = owner();
    let mut race = Race::new(&tunnel, "gateway.test", &VecDeque::from(turns), clock::now());
    race.begin_turns(&mut owner);
    let contacting = |gateway| Progress::Contacting { gateway };
    // A stream is no answer to silence as long as a datagram has not had its turn.
    assert_eq!(steps(&mut events), [contacting(first), contacting(second), contacting(third)]);
    assert_eq!((race.runners.len(), race.turns.len()), (3, 1));
    assert!(race.next_due().is_some_and(|due| due > clock::now() + hour / 2));

    let turns = [(Duration::ZERO, udp(first)), (Duration::ZERO, tcp(second)), (Duration::ZERO, tcp(third))];
    let mut race = Race::new(&tunnel, "gateway.test", &VecDeque::from(turns), clock::now());
    race.begin_turns(&mut owner);
    let told = [contacting(first), Progress::UdpSilent, contacting(second), contacting(third)];
    assert_eq!(steps(&mut events), told);
}

#[tokio::test]
async fn a_way_that_is_closed_gives_its_turn_to_the_next_at_once_and_the_owner_ends_it() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = gateway.local_addr().unwrap();
    let turns = [(Duration::ZERO, tcp(closed)), (Duration::from_secs(3600), udp(silent))].into();
    let tunnel = tunnel(CarrierChoice::Auto { port: closed.port(), tcp_first: true });
    let (mut owner, _events) = owner();
    let (commands, mut queue) = mpsc::channel(1);
    let race = Race::new(&tunnel, "gateway.test", &turns, clock::now());
    let heard = async {
        let mut message = [0; 4096];
        let (length, _) = gateway.recv_from(&mut message).await.unwrap();
        // IKE_SA_INIT is exchange type 34 (RFC 7296 §3.1).
        assert!(length > 28 && message[18] == 34, "{:02x?}", &message[..28]);
        commands.send(Command::Stop { reason: CloseReason::User }).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(race.run(None, &mut queue, &mut owner), heard);
    let requested = EndCause::from(CloseCause::Requested { reason: CloseReason::User });
    assert_eq!(outcome.err(), Some(requested));
}

#[tokio::test]
async fn patience_ends_a_race_that_nobody_answers() {
    let gateway = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let turns = [(Duration::ZERO, udp(gateway.local_addr().unwrap()))].into();
    let tunnel = tunnel(CarrierChoice::Udp);
    let (mut owner, _events) = owner();
    let (_commands, mut queue) = mpsc::channel(1);
    let race = Race::new(&tunnel, "gateway.test", &turns, clock::now());
    let outcome = race.run(Some(Duration::from_millis(20)), &mut queue, &mut owner).await;
    assert_eq!(outcome.err(), Some(unheard()));
    assert!(gateway.try_recv(&mut [0; 4096]).is_ok_and(|length| length > 28), "it was asked");
}
