//! The lab gateway on real packets: first with strongSwan as its client, a state machine of others,
//! so that what it then says about `posternd` is worth something.

#[path = "gateway/fabric.rs"]
mod fabric;
#[path = "gateway/fortigate.rs"]
mod fortigate;
#[path = "gateway/postern.rs"]
mod postern;
#[path = "gateway/redirects.rs"]
mod redirects;
#[path = "gateway/tickets.rs"]
mod tickets;

use anyhow::{Result, ensure};
use lab::gateway::settings::{ClientAuth, RemoteGatewayMatch};
use lab::gateway::{RunningGateway, Settings};
use lab::net::until;
use lab::roadwarrior::{CORPORATE, LIMIT, Network, transfer};
use lab::scenario::{self, Scenario};
use lab::strongswan;
use std::process::ExitCode;

const SCENARIOS: &[Scenario] = &[
    ("lab gateway: strongSwan connects by psk, moves data, renews, deletes", psk),
    ("lab gateway: strongSwan connects by the FortiGate habit", habit),
    ("lab gateway: strongSwan with a wrong password is refused", wrong_password),
    ("lab gateway: strongSwan is told when the gateway deletes", deleted_by_gateway),
    ("lab gateway: tags decide, and change while it runs", tags_decide),
    ("lab gateway: EMS shares tags with it, by default of connected endpoints only", fabric::ems_decides),
    ("lab gateway: posternd connects, moves data, deletes and is deleted", postern::lives),
    ("lab gateway: posternd connects and renews with ML-KEM, as its profile demands", postern::post_quantum),
    ("lab gateway: posternd comes back by its ticket after its address changed", tickets::comes_back_by_them),
    ("lab gateway: a loss of compliance destroys the ticket", tickets::destroyed_with_compliance),
    ("lab gateway: posternd is redirected in IKE_SA_INIT, once", redirects::in_the_first_exchange),
    ("lab gateway: posternd is redirected in IKE_AUTH, once", redirects::in_the_authentication),
    ("lab gateway: a redirect to a stranger is GatewayNotTrusted", redirects::to_a_stranger),
    ("lab gateway: posternd is refused by tags with a name of its own", postern::refused_by_tags),
    ("lab gateway as FortiGate: a password alone", fortigate::plain_login),
    ("lab gateway as FortiGate: a second factor by GTC, right and wrong", fortigate::second_factor),
    ("lab gateway as FortiGate: a SAML sign-on in a browser", fortigate::sign_on_in_a_browser),
    ("lab gateway as FortiGate: a sign-on given up leaves nothing", fortigate::sign_on_given_up),
];

fn main() -> ExitCode {
    scenario::main(SCENARIOS)
}

const PSK: &str = "correct horse battery staple";
const TAG: &str = "EMS1_ZTNA_Telemetry Connected";

fn settings() -> Settings {
    toml::from_str(&format!(
        r#"
        identity = "fqdn:vpn.example.test"
        gateway_auth = {{ method = "psk" }}
        client_auth = {{ method = "eap" }}
        psk = "{PSK}"
        users = {{ alice = "Passw0rd" }}
        pool_first = "10.97.0.2"
        pool_last = "10.97.0.9"
        dns = ["10.98.0.53"]
        networks = ["10.98.0.0/24"]
        daemon = {{ listen = "10.99.0.2", device = "gw0", device_address = "10.97.0.1/24" }}
        "#
    ))
    .unwrap_or_else(|error| panic!("{error}"))
}

fn client(network: &Network, local: &str, password: &str) -> Result<strongswan::Gateway> {
    let connections = format!(
        "work {{\n version = 2\n local_addrs = 10.99.0.1\n remote_addrs = 10.99.0.2\n vips = 0.0.0.0\n \
         proposals = aes256gcm16-prfsha384-ecp384\n local {{ {local} }}\n \
         remote {{ auth = psk\n id = vpn.example.test }}\n children {{ net {{\n remote_ts = 10.98.0.0/24\n \
         esp_proposals = aes256gcm16-ecp384-noesn\n mode = tunnel }} }}\n}}"
    );
    let secrets = format!(
        "ike-psk {{ id-1 = vpn.example.test\n secret = \"{PSK}\" }}\neap-alice {{ id = alice\n secret = \"{password}\" }}"
    );
    let settings = strongswan::Settings { connections, secrets, ..strongswan::Settings::default() };
    strongswan::Gateway::start(&network.client, &network.folder.join("client"), &settings)
}

const BY_PSK: &str = "auth = psk\n id = alice@example.test";
const BY_EAP: &str = "auth = eap-mschapv2\n id = alice@example.test\n eap_id = alice";
const INITIATE: &[&str] = &["--initiate", "--child", "net", "--timeout", "20"];

fn psk() -> Result<()> {
    let network = Network::new()?;
    let settings = Settings { client_auth: ClientAuth::Psk, ..settings() };
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings)?;
    let client = client(&network, BY_PSK, "")?;
    client.swanctl(INITIATE)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    transfer(&network, CORPORATE.parse()?, 5)?;
    client.swanctl(&["--rekey", "--child", "net"])?;
    until("the renewed CHILD SA", LIMIT, || Ok(client.log().contains("CHILD_SA closed").then_some(())))?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    client.swanctl(&["--rekey", "--ike", "work"])?;
    until("the renewed IKE SA", LIMIT, || {
        Ok(client.log().contains("IKE_SA work[1] state change: DELETING => DESTROYING").then_some(()))
    })?;
    transfer(&network, CORPORATE.parse()?, 5)?;
    gateway.check_liveness()?;
    until("an answer to whether it lives", LIMIT, || {
        Ok(client.log().contains("parsed INFORMATIONAL request 0 [ ]").then_some(()))
    })?;
    ensure!(gateway.established()? == 1);
    client.swanctl(&["--terminate", "--ike", "work"])?;
    until("the gateway's SA to go", LIMIT, || Ok((gateway.established()? == 0).then_some(())))?;
    let events = gateway.events()?;
    ensure!(events.len() == 2 && events[1].contains("action=\"tunnel-down\""), "{events:?}");
    Ok(())
}

fn habit() -> Result<()> {
    let network = Network::new()?;
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings())?;
    let client = client(&network, BY_EAP, "Passw0rd")?;
    client.swanctl(INITIATE)?;
    transfer(&network, CORPORATE.parse()?, 5)?;
    let list = gateway.diagnose(&["vpn", "ike", "gateway", "list"])?;
    for line in
        ["version: 2", "eap-user: alice", "assigned IPv4 address: 10.97.0.2/255.255.255.255", "  SK_ei: (not shown)"]
    {
        ensure!(list.lines().any(|present| present == line), "{line:?} is not in\n{list}");
    }
    Ok(())
}

fn wrong_password() -> Result<()> {
    let network = Network::new()?;
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings())?;
    let client = client(&network, BY_EAP, "wrong")?;
    ensure!(client.swanctl(INITIATE).is_err());
    ensure!(client.log().contains("EAP-MS-CHAPv2 failed with error ERROR_AUTHENTICATION_FAILURE"), "{}", client.log());
    let events = gateway.events()?;
    ensure!(events.len() == 1 && events[0].contains("reason=\"EAP authentication failed\""), "{events:?}");
    Ok(())
}

fn deleted_by_gateway() -> Result<()> {
    let network = Network::new()?;
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings())?;
    let client = client(&network, BY_EAP, "Passw0rd")?;
    client.swanctl(INITIATE)?;
    gateway.flush()?;
    until("the client's SA to go", LIMIT, || Ok((client.established()? == 0).then_some(())))?;
    ensure!(client.log().contains("received DELETE for IKE_SA"), "{}", client.log());
    ensure!(gateway.established()? == 0);
    Ok(())
}

fn tags_decide() -> Result<()> {
    let network = Network::new()?;
    let lists = network.folder.join("tags.json");
    let share = |addresses: &str| {
        std::fs::write(
            &lists,
            format!(r#"{{"tags": [{{"name": "Telemetry connected", "addresses": [{addresses}]}}]}}"#),
        )
    };
    share("")?;
    let mut settings = Settings {
        remote_gw_match: RemoteGatewayMatch::Ztna,
        remote_gw_ztna_tags: vec!["EMS1_ZTNA_Antivirus running".into(), TAG.into()],
        ..settings()
    };
    settings.daemon.tags = Some(lab::gateway::settings::TagSettings::File { path: lists.clone() });
    let gateway = RunningGateway::start(&network.gateway, &network.folder.join("gateway"), settings)?;
    ensure!(gateway.events()?.is_empty(), "nothing came, so nothing is logged");
    let client = client(&network, BY_EAP, "Passw0rd")?;
    let shown = |total: &str| {
        until("the shared addresses", LIMIT, || {
            let list = gateway.diagnose(&["firewall", "dynamic", "list", TAG])?;
            Ok(list.contains(&format!("Total IP dynamic addresses: {total}.")).then_some(list))
        })
    };
    shown("0")?;
    ensure!(client.swanctl(INITIATE).is_err());
    ensure!(client.log().contains("(12288)"), "the refusal has its own notify: {}", client.log());
    let events = gateway.events()?;
    ensure!(events.len() == 1, "{events:?}");
    ensure!(events[0].contains("level=\"error\"") && events[0].contains("reason=\"EMS ZTNA tags check failed\""));

    share("\"172.16.7.3\", \"10.99.0.1\"")?;
    let list = shown("2")?;
    ensure!(
        list == format!(
            "CMDB name: {TAG}\nTAG name: Telemetry Connected\n{TAG}: ID(81)\nADDR(172.16.7.3)\nADDR(10.99.0.1)\n\
             Total IP dynamic range blocks: 0.\nTotal IP dynamic addresses: 2.\n"
        ),
        "{list}"
    );
    client.swanctl(INITIATE)?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    client.swanctl(&["--terminate", "--ike", "work"])?;

    gateway.set("remote-gw-ztna-tags", &["EMS1_ZTNA_Antivirus running"])?;
    ensure!(client.swanctl(INITIATE).is_err());
    gateway.set("remote-gw-match", &["any"])?;
    client.swanctl(INITIATE).map(drop)
}
