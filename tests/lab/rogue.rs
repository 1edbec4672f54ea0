//! A rogue gateway: it speaks IKE_SA_INIT properly, then lies about who it is, asks for credentials all the same,
//! and writes down everything that it hears.
//!
//! It shows that no EAP answer leaves a client before the gateway's IDr and AUTH verify. What it says in its first
//! IKE_AUTH response is a [`Lie`]; whatever the client sends after that, it keeps asking.

mod machine;
#[cfg(test)]
mod tests;

pub use machine::Rogue;

use crate::net::Host;
use anyhow::{Context, Result};
use ike_client::wire::{ExchangeType, Payload};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the first IKE_AUTH response says.
#[derive(Clone, Debug, Default)]
pub struct Lie {
    /// IDr as a host name; none is sent without it.
    pub identity: Option<String>,
    /// CERT payloads, DER, the gateway's own first.
    pub certificates: Vec<Vec<u8>>,
    /// AUTH.
    pub proof: Proof,
    /// How EAP is opened.
    pub opening: Opening,
}

/// How the rogue pretends to authenticate.
#[derive(Clone, Debug, Default)]
pub enum Proof {
    /// No AUTH payload at all.
    #[default]
    None,
    /// An AUTH payload of this method, filled with what means nothing.
    Garbage {
        /// The method's number.
        method: u8,
        /// How many octets.
        octets: usize,
    },
    /// AUTH that is right for this pre-shared key.
    PreSharedKey(Vec<u8>),
    /// AUTH that is right for this private key (PEM).
    Signature(String),
}

/// The first EAP packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// A request for the identity.
    #[default]
    Identity,
    /// An MSCHAPv2 challenge, without asking for an identity first.
    Challenge,
    /// Success, without any login.
    Success,
}

/// A message that the rogue heard, decrypted where it was encrypted.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The exchange.
    pub exchange: ExchangeType,
    /// The message id.
    pub message_id: u32,
    /// The payloads, those inside SK instead of SK itself.
    pub payloads: Vec<Payload>,
}

impl Heard {
    /// Returns the EAP packets in it.
    pub fn eap(&self) -> impl Iterator<Item = &[u8]> {
        self.payloads.iter().filter_map(|payload| match payload {
            Payload::Eap(packet) => Some(packet.as_slice()),
            _ => None,
        })
    }
}

/// A rogue on a host's ports 500 and 4500; it ends with the process that started it.
#[derive(Clone, Debug)]
pub struct RogueGateway {
    rogue: Arc<Mutex<Rogue>>,
}

impl RogueGateway {
    /// Starts to listen on a host's address.
    ///
    /// # Errors
    /// When a port cannot be bound.
    pub fn start(host: &Host, address: IpAddr, lie: Lie) -> Result<Self> {
        let rogue = Arc::new(Mutex::new(Rogue::new(lie)));
        for port in [500, 4500] {
            let local = SocketAddr::new(address, port);
            let socket = host.inside(|| UdpSocket::bind(local).with_context(|| format!("binding {local}")))?;
            let rogue = Arc::clone(&rogue);
            std::thread::spawn(move || serve(&socket, port == 4500, &rogue));
        }
        Ok(Self { rogue })
    }

    /// Returns everything that was heard so far, in order; retransmissions are left out.
    pub fn heard(&self) -> Vec<Heard> {
        locked(&self.rogue).heard().to_vec()
    }

    /// Returns every EAP packet that the client sent.
    pub fn eap_answers(&self) -> Vec<Vec<u8>> {
        self.heard().iter().flat_map(|message| message.eap().map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
    }

    /// Returns true once the client has been told the lie.
    pub fn has_lied(&self) -> bool {
        locked(&self.rogue).has_lied()
    }
}

fn locked(rogue: &Mutex<Rogue>) -> MutexGuard<'_, Rogue> {
    rogue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// On port 4500 an IKE message stands behind four zero octets (RFC 3948 §2.2); everything else there is ESP.
fn serve(socket: &UdpSocket, marked: bool, rogue: &Mutex<Rogue>) {
    const MARKER: [u8; 4] = [0; 4];
    let mut bytes = vec![0; 65_535];
    while let Ok((length, client)) = socket.recv_from(&mut bytes) {
        let datagram = &bytes[..length];
        let message = if marked { datagram.strip_prefix(&MARKER) } else { Some(datagram) };
        // What cannot be understood is nothing that the rogue could answer; a client that is gone needs none.
        let Some(Ok(Some(answer))) = message.map(|message| locked(rogue).hear(message)) else { continue };
        let datagram = if marked { [&MARKER[..], &answer].concat() } else { answer };
        let _ = socket.send_to(&datagram, client);
    }
}
