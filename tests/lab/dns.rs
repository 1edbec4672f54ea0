//! A resolver for the lab: answers A and AAAA questions from a table and counts them by name.

use crate::net::Host;
use anyhow::{Context, Result};
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// A running resolver; it ends with the process that started it.
#[derive(Debug)]
pub struct Resolver {
    asked: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Resolver {
    /// Starts a resolver on a host's address, with the names it knows (lower case, no final dot).
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(host: &Host, address: SocketAddr, names: &[(&str, IpAddr)]) -> Result<Self> {
        let socket = host.inside(|| UdpSocket::bind(address).with_context(|| format!("binding {address}")))?;
        let names: BTreeMap<String, Vec<IpAddr>> = names.iter().fold(BTreeMap::new(), |mut table, (name, address)| {
            table.entry((*name).to_owned()).or_insert_with(Vec::new).push(*address);
            table
        });
        let asked = Arc::new(Mutex::new(BTreeMap::new()));
        std::thread::spawn({
            let asked = Arc::clone(&asked);
            move || {
                let mut bytes = [0; 1500];
                while let Ok((length, client)) = socket.recv_from(&mut bytes) {
                    if let Some(answer) = answer(&bytes[..length], &names, &asked) {
                        // A client that is gone needs no answer.
                        let _ = socket.send_to(&answer, client);
                    }
                }
            }
        });
        Ok(Self { asked })
    }

    /// Returns how often a name was asked for.
    pub fn asked(&self, name: &str) -> u64 {
        self.asked.lock().ok().and_then(|asked| asked.get(name).copied()).unwrap_or_default()
    }
}

fn answer(
    bytes: &[u8],
    names: &BTreeMap<String, Vec<IpAddr>>,
    asked: &Mutex<BTreeMap<String, u64>>,
) -> Option<Vec<u8>> {
    let question = Packet::parse(bytes).ok()?;
    let mut reply = Packet::new_reply(question.id());
    if question.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    }
    for entry in &question.questions {
        let name = entry.qname.to_string().to_lowercase();
        *asked.lock().ok()?.entry(name.clone()).or_insert(0) += 1;
        match names.get(&name) {
            None => *reply.rcode_mut() = RCODE::NameError,
            Some(addresses) => {
                for address in addresses {
                    let data = match (entry.qtype, address) {
                        (QTYPE::TYPE(TYPE::A), IpAddr::V4(address)) => RData::A(A::from(*address)),
                        (QTYPE::TYPE(TYPE::AAAA), IpAddr::V6(address)) => RData::AAAA(AAAA::from(*address)),
                        _ => continue,
                    };
                    reply.answers.push(ResourceRecord::new(entry.qname.clone(), CLASS::IN, 60, data));
                }
            }
        }
        reply.questions.push(entry.clone());
    }
    reply.build_bytes_vec().ok()
}
