//! `posternd` against wireguard-go: the second engine behind the same gate, plan and verdicts.

mod carries;
mod guests;
mod refusals;

use anyhow::Result;
use lab::roadwarrior::Network;
use lab::scenario::{self, Scenario};
use lab::wireguard::{Client, KeyPair, PORT, Peer};
use std::process::ExitCode;

const SCENARIOS: &[Scenario] = &[
    ("wireguard: addresses, routes, resolver, data each way by both families", carries::data),
    ("wireguard: a file of wg-quick with a pre-shared key", carries::file_of_wg_quick),
    ("wireguard: a peer that has forgotten the session makes another", carries::peer_restarts),
    ("wireguard: the client's address changes and the tunnel goes on", carries::roams),
    ("wireguard: what is too large for the tunnel is told to the host behind the client", guests::too_big),
    ("wireguard: data after pauses, as long as the soak is", carries::pauses),
    ("wireguard: a key that the peer does not know is a peer that says nothing", refusals::wrong_keys),
    ("wireguard: on lost compliance the wire is silent", refusals::teardown_on_compliance),
    ("wireguard: a flood of forged messages costs neither memory nor the tunnel", refusals::flood),
    ("wireguard: a private key that others can read is refused", refusals::open_key_file),
];

/// The client's addresses inside.
const ADDRESSES: &str = "10.97.0.2/32,fd97::2/128";

/// A road warrior's network with a WireGuard peer in the place of the gateway.
struct Lab {
    network: Network,
    peer: Peer,
    own: KeyPair,
    client: Client,
    server: KeyPair,
}

impl Lab {
    fn new(pre_shared_key: Option<String>) -> Result<Self> {
        let network = Network::new()?;
        let (own, server) = (KeyPair::new()?, KeyPair::new()?);
        let client = Client { public_key: own.public.clone(), pre_shared_key, addresses: ADDRESSES.into() };
        let peer = Peer::start(&network.gateway, &network.folder.join("wireguard"), &server, &client)?;
        Ok(Self { network, peer, own, client, server })
    }

    /// The tunnel as TOML; its private key is the file `key`.
    fn tunnel(&self) -> String {
        format!(
            "type = \"wireguard\"\ngateway = \"vpn.example.test\"\n[wireguard]\npublic_key = \"{}\"\nport = {PORT}\n\
             private_key_file = \"@/key\"\naddresses = [\"10.97.0.2/32\", \"fd97::2/128\"]\n\
             allowed_ips = [\"10.98.0.0/24\", \"fd98::/64\"]\n[network]\ndns_servers = [\"10.98.0.53\"]\n",
            self.server.public
        )
    }
}

fn main() -> ExitCode {
    scenario::main(SCENARIOS)
}
